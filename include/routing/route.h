/* SPDX-License-Identifier: Apache-2.0
 *
 * Where does this user live? One router per worker: normalises the name, asks the configuration
 * and then the directory, reads the answer strictly, and chooses a backend of the pool. It never
 * guesses: who is not known is placed only as routing.unknown says.
 */
#ifndef GATEPOST_ROUTING_ROUTE_H
#define GATEPOST_ROUTING_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/error.h"
#include "core/config.h"
#include "routing/directory.h"

struct addr;
struct backend;
struct canary;
struct capability_offer;
struct referral;
struct route_place;
struct router;

enum route_result {
	ROUTE_FOUND,
	ROUTE_UNKNOWN,     /* every source was asked and none knows the user */
	ROUTE_UNAVAILABLE, /* a source cannot be asked, or its answer used; or the backend is down
			    */
};

/* struct route_answer: `backend` comes with one reference that the receiver owns (ROUTE_FOUND
 * only); `mailbox` is the name that the route gives the user there, NULL where it gives none,
 * borrowed for the call; `why` is a sentence for the log (ROUTE_UNAVAILABLE only), borrowed for the
 * call. */
struct route_answer {
	enum route_result result;
	struct backend *backend;
	const char *mailbox;
	const char *why;
};

/* struct route_events is how a router speaks to sessions: see stay_events of the directory. Every
 * function may call route_leave. */
struct route_events {
	/* After FOUND the place is taken until route_leave; after the others it is not. */
	void (*answered)(struct route_place *place, const struct route_answer *answer);
	void (*parked)(struct route_place *place);
	void (*released)(struct route_place *place);
	/* Another answer holds now for a place that is taken. */
	void (*changed)(struct route_place *place, const struct route_answer *answer);
	void (*held)(struct route_place *place);
	/* A member drains, or serves again: router_moves_away may say otherwise now. */
	void (*drains_changed)(void *owner);
};

/* struct route_place is a login's, and then its session's, place in the directory: embedded in it,
 * zero is none taken. */
struct route_place {
	struct stay stay;
	uint8_t tried;  /* ranks that were given out, a bit for each */
	bool placed;    /* by hash or assign, not by name */
	uint16_t group; /* of a "srv:" backend: its index plus 1 */
	bool taken;
	bool reassigned; /* the route was to be assigned anew, once a login */
};

/* What a router is made of; all borrowed and outlives it, but for a reference of its own to
 * `config`. */
struct router_settings {
	struct config *config;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct pool *pool;
	struct directory *directory;           /* NULL where the source is static */
	struct canary *canary;                 /* NULL where there is none */
	struct tls_client *const *tls_clients; /* one for each backend of the configuration, NULL
						* where it has no TLS; NULL where none has */
	struct tls_client *url_tls_client;     /* for those that a URL names, NULL: none by TLS */
	const struct route_events *events;
	void *owner;
};

/* router_new: NULL, and `error`, when memory ran out. */
must_use struct router *router_new(const struct router_settings *settings, struct error *error);

/* route_ask is answered by an event, perhaps before it returns. `user` is the name as the client
 * wrote it (credentials_mailbox), borrowed for the call. [routing.users] is asked first, then the
 * source. A name without a routing key is an unknown one. The place is free before. */
void route_ask(struct router *router, struct route_place *place, const char *user);

/* route_next gives the next backend by rank that is up, after one that could not be reached: for a
 * place that hash or assign gave, where routing.failover allows it. False where there is none. */
bool route_next(struct router *router, struct route_place *place, const char *user,
		const struct backend *failed, struct route_answer *answer);

/* route_refer gives the backend that another one refers to, as far as routing.referrals allows it:
 * a member of the pool at that address, or one as a URL names it. False, and `error`, otherwise. */
must_use bool route_refer(struct router *router, const struct referral *referral,
			  struct backend **backend, struct error *error);

/* route_leave gives the place back, or stops the question; see directory_leave. Nothing happens
 * where none is taken or asked for. */
void route_leave(struct route_place *place, bool settled);

/* route_linger gives the place back to all but moves, which wait for `heir` until directory_leave:
 * see directory_linger. False, and nothing happens, where the place is not taken, or moves do not
 * ask for it. */
must_use bool route_linger(struct route_place *place, struct stay *heir);

/* router_start_probes asks every backend of the configuration what it offers, soon, a few at a
 * time, and then again from time to time. router_stop_probes closes what they have open;
 * router_free stops them too. The clock, the streams and the resolver must still live then. */
void router_start_probes(struct router *router);
void router_stop_probes(struct router *router);

/* route_offer is what all backends of the configuration offer before login, of those heard of so
 * far; where none was, what those have in common that URLs named of late. Not known where there is
 * none either. Valid as long as the router; what it holds changes as it learns. */
const struct capability_offer *route_offer(const struct router *router);

/* route_learn keeps what a backend was just seen to offer; what is not known is ignored. Cheap
 * where nothing is news. */
void route_learn(struct router *router, struct backend *backend,
		 const struct capability_offer *offer);

/* route_observe tells how a login at `backend` ended, for health and canary: it was answered with
 * yes or no, or there was no answer (`why`). */
enum route_outcome { ROUTE_ACCEPTED, ROUTE_REFUSED, ROUTE_FAILED };
void route_observe(struct router *router, struct backend *backend, const struct addr *client,
		   enum route_outcome outcome, const char *why);

/* router_is_moving tells whether any member moves users away now; router_moves_away whether the
 * session of this place, at `backend`, is one of those, and its turn has come. */
bool router_is_moving(const struct router *router);
bool router_moves_away(struct router *router, const struct route_place *place,
		       const struct backend *backend, uint64_t now_ms);

/* router_free: no place may be taken, and not from within an event. NULL is fine. */
void router_free(struct router *router);

/* route_normalise writes the routing key of a user name: default domain (where the name has no '@')
 * and lower case (A-Z only) as configured. False when there is none: the name is empty or holds a
 * control character, or the key would be longer than CONFIG_USER_MAX. */
bool route_normalise(const struct config *config, const char *user, char key[CONFIG_USER_MAX + 1]);

#endif
