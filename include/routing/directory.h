/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory: where users live, for all workers of the process. It keeps what Redis said (a
 * bounded cache), who is here (every login and session of every user), and which users are on hold;
 * and it is this proxy's half of a strict move (docs/moves.md, tests/model/move.pml).
 *
 * Workers enter and leave stays; that costs a lock on one of DIRECTORY_SHARDS and, where the answer
 * is known, nothing else. Redis is spoken to on one thread, the keeper's.
 *
 * The rules that make a strict move safe, all kept by this room:
 *   - a login is present from the moment it is told a route, in the same locked step in which no
 *     hold was known, until directory_leave;
 *   - a hold is confirmed only while its user is not present, and only by a script that finds that
 *     very hold in Redis;
 *   - hold and route are read in this order, and what they say counts only if nothing was heard of
 *     the user since they were asked, and no change may have been missed;
 *   - after a gap in what is heard, nothing that was known is fresh, and whoever is here is asked
 *     for anew;
 *   - the process is registered before the first route is told.
 */
#ifndef GATEPOST_ROUTING_DIRECTORY_H
#define GATEPOST_ROUTING_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/error.h"
#include "net/inbox.h"

struct config;
struct directory;
struct directory_desk;
struct ev_loop;
struct member;
struct metrics;
struct pool;
struct resident;
struct resolver;
struct route_text;
struct stay;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Users on hold whose hold is remembered although none of their logins is here, so that it can be
 * confirmed; of those beyond, it is not. */
#define DIRECTORY_HOLDS_MAX 100000

/* Parts of the tables, each with a lock of its own. */
#define DIRECTORY_SHARDS 64

enum directory_verdict {
	DIRECTORY_ROUTE,   /* the directory says `route` */
	DIRECTORY_UNKNOWN, /* it knows no route of the user */
	DIRECTORY_FAILED,  /* it could not be asked, and there is no route to go on with */
};

/* struct directory_answer: strings are borrowed for the call. */
struct directory_answer {
	enum directory_verdict verdict;
	const char *route; /* ROUTE only: `length` bytes as Redis has them */
	size_t length;
	bool stale;      /* Redis could not be asked: this is the last that was known */
	const char *why; /* FAILED only: a sentence for the log */
};

/* struct stay_events is how the directory speaks to a worker, on the worker's thread. Every
 * function may call directory_leave, and free what the stay is embedded in at the end of the turn.
 */
struct stay_events {
	/* The answer to directory_enter. After ROUTE and UNKNOWN the stay is present; after FAILED
	 * it has left. */
	void (*answered)(struct stay *stay, const struct directory_answer *answer);
	/* The user is on hold: the stay waits, and is not present. `released` follows, unless it
	 * leaves. Also in the place of `answered`. */
	void (*parked)(struct stay *stay);
	/* The hold is over, and the route is read anew: the stay has left, and may enter again. */
	void (*released)(struct stay *stay);
	/* The directory says something else now than it told this stay, which is present: ROUTE or
	 * UNKNOWN. */
	void (*changed)(struct stay *stay, const struct directory_answer *answer);
	/* A present stay shall come to an end, since its user is on hold. It is told again as often
	 * as the hold is renewed. */
	void (*held)(struct stay *stay);
	/* A member of the pool drains, or serves again, or a canary is over. */
	void (*drains_changed)(struct directory_desk *desk);
};

/* struct stay is one login, or session, of a user: embedded in it, zero is nowhere. All fields are
 * the directory's. */
struct stay {
	struct inbox_item item;
	struct directory_desk *desk;
	struct resident *resident; /* NULL: nowhere */
	struct stay *previous;     /* of the resident */
	struct stay *next;
	struct route_text *route; /* what it was told, NULL for UNKNOWN */
	uint8_t state;
	uint8_t news;
};

/* struct directory_desk is where a worker's stays hear from the directory. */
struct directory_desk {
	struct directory *directory;
	struct directory_desk *next; /* of all desks */
	struct inbox inbox;
	struct inbox_item drains; /* lies in the inbox when they have changed */
	const struct stay_events *events;
	struct metrics *metrics;
};

/* directory_new makes an empty one; only for routing.source = "redis". `pool` serves
 * unknown = "assign", and hears which members drain; both are borrowed, but for a reference of its
 * own to `config`. NULL when memory ran out. */
must_use struct directory *directory_new(struct config *config, struct pool *pool);

/* directory_free: nobody is attached, and it was stopped. NULL is fine. */
void directory_free(struct directory *directory);

/* --- For workers ---------------------------------------------------------------------------- */

/* directory_attach opens the desk of a worker, on its thread or before that begins. */
void directory_attach(struct directory *directory, struct directory_desk *desk,
		      struct ev_loop *loop, const struct stay_events *events,
		      struct metrics *metrics);

/* directory_detach: no stay of the desk may be left. */
void directory_detach(struct directory_desk *desk);

/* directory_enter asks for the route of `user`, a routing key of at most CONFIG_USER_MAX bytes that
 * is borrowed for the call. The stay is nowhere before. `answered` or `parked` follows, perhaps
 * before it returns; where a question is needed, at the latest when redis.timeout is over. */
void directory_enter(struct directory_desk *desk, struct stay *stay, const char *user);

/* directory_user is the routing key that the stay entered with; borrowed while it is somewhere. */
const char *directory_user(const struct stay *stay);

/* directory_leave ends the stay: no event follows. `settled` tells that the backend has no session
 * of it any more (its own end was seen, or no login was sent); otherwise a move waits for
 * DIRECTORY_SETTLE_MS more. Nothing happens to a stay that is nowhere. */
void directory_leave(struct stay *stay, bool settled);
#define DIRECTORY_SETTLE_MS 500

/* directory_reassign tells that the route of a present stay, which the fleet had assigned, is of no
 * use any more (its member left, or moves its users away): it is assigned anew, unless somebody
 * has changed it meanwhile. The stay has left; `released` follows. */
void directory_reassign(struct stay *stay);

/* directory_end_canary tells that logins fail at a canary: its share goes home, on every proxy. Any
 * thread; what is over stays over until `gatepost:canary:NAME` is deleted. */
void directory_end_canary(struct directory *directory, struct member *member);

/* --- For the keeper ------------------------------------------------------------------------- */

/* What the directory is kept with; all borrowed and outlives it. */
struct directory_house {
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct tls_client *tls_client; /* for rediss:// and its kin, NULL without */
	const char *version;           /* of the program, for people; NULL: not told */
};

/* directory_start begins to connect, on the thread that runs the house's loop. False, and `error`,
 * when memory ran out. */
must_use bool directory_start(struct directory *directory, const struct directory_house *house,
			      struct error *error);

/* directory_retire takes the registration back, once nobody is here any more and nobody will come;
 * `retired` is called when Redis knows, or when redis.timeout is over. */
void directory_retire(struct directory *directory, void (*retired)(void *owner), void *owner);

/* directory_stop closes the connections; on the same thread. Nothing happens where it was not
 * started. */
void directory_stop(struct directory *directory);

#endif
