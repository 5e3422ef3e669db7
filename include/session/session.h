/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: one client joined with one backend. A worker owns a set of them; each session is in
 * exactly one phase, and each phase is a list, so that the length of a list is the gauge.
 *
 *   [proxy_header ->] handshake -> greeted -> routing -> [queued ->] connecting -> [securing ->]
 *   greeting -> authenticating -> relaying
 *
 *   routing                    <-> parked               the user is on hold
 *   queued to authenticating   -> queued or connecting  another backend, by rank or referral
 *   queued to greeting         -> routing               the user was moved or held meanwhile
 *   greeted                    -> handshake             the client asked for STARTTLS
 *   authenticating             <-> securing             STARTTLS to the backend
 *   authenticating             <-> challenged           the backend asks the client something
 *   routing to challenged      -> greeted               the login failed, not for the user's fault
 *   routing to challenged      -> refusing -> greeted   the credentials were refused
 *   relaying                   -> leaving               it shall end, at a quiet moment
 *   relaying, leaving          -> half_closed           the client has ended its side, or we for it
 *   relaying, leaving          -> orphaned              the backend has gone, with many sessions
 *   greeted to half_closed     -> closing               in order: what was written still leaves
 *   any                        -> closed
 */
#ifndef GATEPOST_SESSION_SESSION_H
#define GATEPOST_SESSION_SESSION_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/log_bound.h"
#include "imap/preauth.h"
#include "net/timeouts.h"
#include "session/close_reason.h"

struct addr;
struct config;
struct config_listener;
struct limit;
struct metrics;
struct resolver;
struct route_events;
struct router;
struct session;
struct ssl_ctx_st;
struct stream_loop;

enum session_phase {
#define SESSION_PHASE(symbol, name, next) SESSION_##symbol,
#include "session/session_phase.def"
#undef SESSION_PHASE
	SESSION_PHASE_COUNT
};

/* What sessions need of the floors below; all borrowed, and outlives the set. */
struct session_house {
	const struct config *config;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct router *router;
	struct resolver *resolver;
	struct metrics *metrics;
	struct limit *limit;
	struct ssl_ctx_st *tls; /* NULL where no listener wants TLS */
};

/* struct session_set is a worker's sessions: a list for each phase. Fields are the set's own, but
 * anybody on the worker's thread may read the counts. */
struct session_set {
	struct session_house house;
	struct timeout_list phases[SESSION_PHASE_COUNT];
	uint64_t closed[CLOSE_REASON_COUNT];
	uint64_t id_prefix;
	uint64_t id_next;
	struct preauth_limits preauth_limits;
	struct preauth_ration preauth_ration;
	struct timeout_list farewells; /* connections to backends that have not ended yet */
	struct timeout_list farewells_gone;
	struct timeout_list movers; /* when to look again for sessions that drains move away */
	struct timeout mover;
	uint64_t leave_ms;         /* when the next session that shall leave is looked at, */
	unsigned leave_count;      /* and how many are then already */
	struct ev_prepare reaper;  /* frees what was closed, once the loop's turn is over */
	struct log_bound warnings; /* of logins that fail for no fault of the user */
	struct log_bound refusals; /* of clients that may not come, or not in this way */
	bool may_vouch;            /* every backend has a master user: SASL EXTERNAL is possible */
	bool draining;
	bool closing;
};

void session_set_init(struct session_set *set, const struct session_house *house);

/* session_route_events are those of the router of a set, whose owner is the set. */
extern const struct route_events session_route_events;

/* session_set_done frees what was closed; no session may be alive. */
void session_set_done(struct session_set *set);

/* session_set_count is the number of sessions that are not closed, here or at their backends. */
unsigned session_set_count(const struct session_set *set);

/* session_accept begins a session with a connected client. Owns `fd` from now on: at the limit, or
 * out of memory, it is closed. */
void session_accept(struct session_set *set, const struct config_listener *listener, int fd,
		    const struct addr *peer);

/* session_set_drain ends all sessions that have not logged in and are not about to, and lets the
 * others go on; new ones must not come. Logins of users on hold, from now on too, are told BYE:
 * another proxy can take them. And the ends of sessions whose backend is gone are not spread any
 * more: a proxy that ends has no time for that, and those of other proxies still are. */
void session_set_drain(struct session_set *set);

/* session_set_finish ends all others in order: what their backends sent still reaches the clients.
 */
void session_set_finish(struct session_set *set);

/* session_set_close ends every session now. */
void session_set_close(struct session_set *set);

const char *session_phase_name(enum session_phase phase);

#endif
