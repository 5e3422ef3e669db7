/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory: where users live, for all workers of the process. It keeps what Redis said (a
 * bounded cache), who is here (every login and session of every user), and which users are on hold;
 * and it is this proxy's half of a strict move (docs/moves.md, tests/model).
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

#include "base/base.h"
#include "base/error.h"
#include "routing/stay.h"

struct config;
struct directory;
struct ev_loop;
struct member;
struct metrics;
struct pool;
struct resolver;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Users on hold whose hold is remembered although none of their logins is here, so that it can be
 * confirmed; of those beyond, it is not. */
#define DIRECTORY_HOLDS_MAX 100000

/* Parts of the tables, each with a lock of its own. */
#define DIRECTORY_SHARDS 64

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
 * before it returns; where a question is needed, at the latest when redis.timeout is over; at once
 * where the directory was not started, or was stopped. */
void directory_enter(struct directory_desk *desk, struct stay *stay, const char *user);

/* directory_user is the routing key that the stay entered with; borrowed while it is somewhere. */
const char *directory_user(const struct stay *stay);

/* directory_leave ends the stay: no event follows. `settled` tells that the backend has no session
 * of it any more (its own end was seen, or no login was sent); otherwise a move waits for
 * DIRECTORY_SETTLE_MS more. Nothing happens to a stay that is nowhere. */
void directory_leave(struct stay *stay, bool settled);
#define DIRECTORY_SETTLE_MS 500

/* directory_linger ends a stay that is present, as directory_leave does, but what is left of it
 * stays: `heir`, which is nowhere before, is told nothing more, and a move waits for it until it
 * leaves. False, and nothing happens, where the stay is not present. */
must_use bool directory_linger(struct stay *stay, struct stay *heir);

/* directory_reassign tells that the route of a present stay, which the fleet had assigned, is of no
 * use any more (its member left, or moves its users away): it is assigned anew, unless somebody
 * has changed it meanwhile. The stay has left; `released` follows, whatever came of it: where
 * Redis is away, or nobody else takes users, the same route is told again, so that nobody should
 * reassign it twice in a row. */
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

/* directory_retire takes the registration back, once nobody is here any more and nobody will come,
 * and all who left are settled; `retired` is called when Redis knows, or when redis.timeout is over
 * then, or DIRECTORY_RETIRE_MS: who ends the process does not wait for a Redis that hangs. */
void directory_retire(struct directory *directory, void (*retired)(void *owner), void *owner);
#define DIRECTORY_RETIRE_MS 1000

/* directory_stop closes the connections; on the same thread. Nothing happens where it was not
 * started. */
void directory_stop(struct directory *directory);

#endif
