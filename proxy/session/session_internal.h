/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share: the session itself, and the login that it sheds once it
 * relays. session.c keeps its phase and its death; session_set.c begins sessions and hears of their
 * deadlines. In the order of a session's life: opening.c brings PROXY header and TLS, client_side.c
 * speaks to the client, client_login.c has its logins begun, refused and counted, client_park.c has
 * them wait for holds, backend_side.c reaches the backend, backend_login.c logs in there and hands
 * off, backend_refusal.c acts where it does not let in, relay.c moves bytes, departure.c ends what
 * neither side has ended, farewell.c waits for a backend that goes on.
 */
#ifndef GATEPOST_SESSION_SESSION_INTERNAL_H
#define GATEPOST_SESSION_SESSION_INTERNAL_H

#include "base/addr.h"
#include "base/buffer.h"
#include "base/error.h"
#include "core/config.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "imap/upstream.h"
#include "net/dial.h"
#include "net/stream.h"
#include "routing/route.h"
#include "session/session.h"

/* Bytes that are read of a PROXY header at a time, and client bytes that are read before the login
 * and kept while one is under way: what comes behind it belongs to the backend. Past it reading
 * stops (back-pressure). */
#define SESSION_HEADER_READ  2048
#define SESSION_PIPELINE_MAX 2048

/* Logins of one connection that fail for no fault of the user, as when the backend is down: so many
 * are answered at once, then one each pause, so that no client can hammer what is down already. */
#define SESSION_FAILS_AT_ONCE 5
#define SESSION_FAIL_PAUSE_MS 50

/* Referrals that one login follows. */
#define SESSION_REFERRALS_MAX 3

/* A session that shall leave is looked at so often: nothing moved since is quiet enough. Of
 * thousands, a worker looks at so many in a millisecond, as far as moves.kick_grace allows. And so
 * often those are looked for that drains move away. */
#define SESSION_QUIET_MS     250
#define SESSION_LEAVE_PER_MS 10
#define SESSION_LOOK_MS      100

/* A backend that has not ended a session so long after its client was gone is believed to have: a
 * move does not wait for it any longer. */
#define SESSION_FAREWELL_MS 60000

/* Proxies that one login may pass through before it must be a loop. */
#define SESSION_PROXY_TTL 5

/* The identifier of a session as text: 16 hexadecimal digits and a NUL. */
#define SESSION_ID_TEXT_MAX 17

/* struct login is all that only the time before relaying needs. */
struct login {
	struct session *session;

	/* The client's side. */
	struct addr came_from; /* the client, and where it connected to, by the connection or the */
	struct addr came_to;   /* PROXY header: what holds where no trusted ID says otherwise */
	struct addr connected; /* where to, as the session's peer is from where */
	bool secured_in_front; /* the PROXY header says that it speaks TLS to who sent it */
	char *front_authority; /* the SNI there, NULL for none */
	bool unnamed;          /* the PROXY header does not say who it is */
	bool trusted;          /* the x- keys of its ID are believed */
	char certified_user[STREAM_CERTIFIED_USER_MAX + 1]; /* "" = none */
	struct capability_front front;
	struct preauth_settings settings;
	struct preauth *preauth;
	struct buffer input; /* client bytes that nobody has consumed yet */
	bool feeding;        /* client_side_continue is on the stack: do not enter it again */

	/* The way to the backend. */
	char *mailbox; /* the user's name there, where the route gives one */
	struct credentials presented;
	struct dial dial;
	uint64_t slot_ms;   /* the turn to connect that is booked, 0 for none */
	uint64_t parked_ms; /* since when it waits for a hold to end, 0 where it does not */
	uint64_t waited_ms; /* so long it has waited for holds: no fault of the client */
	unsigned referrals; /* that were followed */
	bool released;      /* the hold is over: it goes on at its deadline */
	bool refused;       /* the backend said no: it has no session */
	bool must_leave;    /* as soon as it relays, for the reason of the session */

	/* The dialogue there. */
	struct upstream *upstream;
	struct upstream_identity identity;
	char originating_ip[ADDR_IP_TEXT_MAX];
	char connected_ip[ADDR_IP_TEXT_MAX];
	char session_id[SESSION_ID_TEXT_MAX];
	struct buffer backend_input; /* backend bytes not consumed yet */

	/* Its outcome so far. */
	char refusal_code[40];
	char refusal_text[256];
	uint64_t started_ms; /* when the credentials were complete */
	unsigned failures;   /* refused credentials on this connection */
	unsigned fails;      /* logins that failed for no fault of the user */
	unsigned proxy_ttl;  /* proxies that it may pass, this one included */
};

/* struct session: 528 bytes and its user's name while it relays; keep it small, there are
 * thousands. */
struct session {
	struct timeout timeout; /* its place in the list of its phase */
	struct session_set *set;
	struct stream client;
	struct stream upstream; /* the connection to the backend */
	struct login *login;    /* NULL after the hand-off */
	struct backend *backend;
	const struct config_listener *listener;
	char *user; /* as the client wrote it; NULL until it logs in */
	uint64_t id;
	uint64_t accepted_ms;
	uint64_t bytes_upstream;
	uint64_t bytes_downstream;
	struct route_place place; /* of its user in the directory, while it has a backend */
	uint64_t leave_by_ms;     /* while LEAVING: at the latest */
	uint32_t leave_bytes;     /* and what had been moved when it was last looked at */
	uint32_t login_ms;
	struct addr peer;  /* the client, as far as we believe those in front of us */
	uint8_t phase;     /* enum session_phase */
	uint8_t reason;    /* enum close_reason, once it is known */
	bool ends_clean;   /* while ORPHANED: how the backend ended */
	bool renamed;      /* the route gave the user a name of its own on the backend */
	bool counted;      /* among the sessions of the member */
	uint8_t mechanism; /* enum sasl_mechanism of the last login, where there is a user */
};

/* session_enter is the only line that changes the phase. `deadline_ms` may be TIMEOUT_NEVER. */
void session_enter(struct session *session, enum session_phase phase, uint64_t deadline_ms);

/* session_after is the deadline that lies so many milliseconds ahead. */
uint64_t session_after(uint64_t milliseconds);

/* session_login_deadline is when limits.login_timeout is over, whatever phase that finds. */
uint64_t session_login_deadline(const struct session *session);

/* session_finish ends the session in order: the backend's connection closes, what was written to
 * the client leaves, then the end, and after the client's own end (or close_timeout) it is closed.
 */
void session_finish(struct session *session, enum close_reason reason, enum stream_ending ending);

/* session_close ends it now: the one exit. Idempotent; the memory lives to the end of the turn. */
void session_close(struct session *session, enum close_reason reason);

/* session_format_id writes the identifier under which the log and ID know the session. */
void session_format_id(const struct session *session, char text[SESSION_ID_TEXT_MAX]);

/* session_set_log_refusal warns of a client that may not come, or not in this way: one line a
 * second for all of a worker's. */
void session_set_log_refusal(struct session_set *set, const char *event, const struct addr *client,
			     const char *why);

/* session_log_failure says, to those who look closely, why a connection failed. */
void session_log_failure(const struct session *session, const char *event, const struct error *why);

/* session_leave_backend leaves the backend, connection and dialogue, for another one.
 * session_drop_backend gives up the place in the directory too, and whatever is asked there. */
void session_leave_backend(struct session *session);
void session_drop_backend(struct session *session);

/* session_vacate closes the connection to the backend and gives up the place in the directory; the
 * backend is still the one that the log names. */
void session_vacate(struct session *session);

/* session_has_presented tells whether the backend was told anything of the credentials: it may have
 * a session then, and no other is tried. */
bool session_has_presented(const struct session *session);

/* session_shed_login wipes and frees what only the login needed. */
void session_shed_login(struct session *session);

/* session_set_reap_later frees what has ended once the turn of the loop is over. */
void session_set_reap_later(struct session_set *set);

/* --- opening.c --- */

/* opening_start begins with a connected client, whose `fd` it owns: PROXY header and TLS where the
 * listener has them first, then client_side_begin. */
void opening_start(struct session *session, int fd);

/* opening_expired is told that no PROXY header came in time, or no TLS. */
void opening_expired(struct session *session);

/* opening_secure begins TLS by STARTTLS. The unconsumed input is its beginning; all else that the
 * client said is forgotten. */
void opening_secure(struct session *session);

/* --- client_side.c --- */

/* client_side_begin begins the dialogue; greets unless TLS came by STARTTLS. */
void client_side_begin(struct session *session, bool greets);

/* client_side_await waits for the next command, if the session may go on at all. */
void client_side_await(struct session *session);

/* client_side_challenge passes a backend's challenge on, and waits for the answer. */
void client_side_challenge(struct session *session, const char *challenge);

/* client_side_continue feeds what has come already. Nothing happens within itself: the loop there
 * goes on. */
void client_side_continue(struct session *session);

/* client_side_send sends and empties the reply. False when the session could not go on. */
bool client_side_send(struct session *session, struct buffer *reply);

/* client_side_bye says BYE, and ends in order. */
void client_side_bye(struct session *session, const struct refusal *why, enum close_reason reason);

/* client_side_expired and client_side_drain do so when the time is over, or the proxy's. */
void client_side_expired(struct session *session);
void client_side_drain(struct session *session);

/* --- client_login.c --- */

/* client_login_ask asks where the user lives, also anew after a hold. */
void client_login_ask(struct session *session);

/* client_login_answered takes what the directory says. */
void client_login_answered(struct route_place *place, const struct route_answer *answer);

/* client_login_renew asks anew for a login that has said nothing of its user to a backend yet. */
void client_login_renew(struct session *session);

/* client_login_begin asks where the user of the complete credentials lives. */
void client_login_begin(struct session *session);

/* client_login_fail gives the login up for a reason that is not the user's: one bounded log line,
 * and the refusal at once. */
void client_login_fail(struct session *session, const struct refusal *refusal, const char *why);

/* client_login_reject refuses the credentials, which counts as a failure of the client: answered
 * when failure_delay is over, so that all reasons look alike. `why` is for the log. */
void client_login_reject(struct session *session, const struct refusal *refusal, const char *why);

/* client_login_answer gives the delayed refusal, and reads on. */
void client_login_answer(struct session *session);

/* --- client_park.c --- */

/* client_park_begin and client_park_release: the user is on hold, and is not any more. */
void client_park_begin(struct route_place *place);
void client_park_release(struct route_place *place);

/* client_park_end: it waits no longer. What it waited is not the client's time. */
void client_park_end(struct session *session);

/* client_park_expired is told that a line is due, or that time is over. */
void client_park_expired(struct session *session);

/* --- backend_side.c --- */

/* backend_side_enter takes the login to `backend`, whose reference it owns now, as soon as it is
 * its turn. */
void backend_side_enter(struct session *session, struct backend *backend);

/* backend_side_go is told that it is. */
void backend_side_go(struct session *session);

/* backend_side_fail is told that nothing can be had of the backend, to which nothing of the
 * credentials was said yet: the next by rank is tried, or the login fails. */
void backend_side_fail(struct session *session, const struct refusal *refusal, const char *why);

/* backend_side_expired is told that the backend did not do its part in time. */
void backend_side_expired(struct session *session);

/* backend_side_deadline is that of a step which may take so long, but not longer than the login as
 * a whole. */
uint64_t backend_side_deadline(const struct session *session, uint64_t milliseconds);

/* backend_side_start_tls begins TLS to the backend, on a connection that is open. */
void backend_side_start_tls(struct session *session);

/* --- backend_login.c --- */

/* backend_login_begin waits for the greeting of a backend that is reached. */
void backend_login_begin(struct session *session);

/* backend_login_secured goes on after STARTTLS. */
void backend_login_secured(struct session *session);

/* backend_login_readable reads what the backend said. */
void backend_login_readable(struct session *session);

/* backend_login_respond gives the backend the client's answer to its challenge; NULL: there is
 * none. */
void backend_login_respond(struct session *session, const char *response);

/* --- backend_refusal.c --- */

/* backend_refused acts on a verdict that is neither yes nor on the way to it. */
void backend_refused(struct session *session, enum upstream_verdict verdict);

/* backend_lost gives up a backend that answers no more. Where it was told anything of the
 * credentials already, it may have taken the login, so no other is tried. */
void backend_lost(struct session *session, const char *why);

/* --- farewell.c --- */

/* farewell_begin is told that a session leaves a backend that may still have it. True when the
 * connection, and its place in the directory, go on without the session until the backend ends;
 * false where nobody would wait for that, or that cannot be. */
bool farewell_begin(struct session *session);
timeout_callback_t farewell_expired;

/* farewells_close ends all of a set now, farewells_reap frees what has ended. */
void farewells_close(struct session_set *set);
void farewells_reap(struct session_set *set);

/* --- relay.c --- */

/* relay_start splices from now on. */
void relay_start(struct session *session);

/* relay_end ends it from the proxy's side: the backend learns that nothing more comes, and what it
 * still sends reaches the client until it ends too. */
void relay_end(struct session *session, enum close_reason reason);

/* --- departure.c --- */

/* departure_begin ends a session that relays as soon as it is quiet; moves.kick_grace later at the
 * latest. departure_expired looks again. */
void departure_begin(struct session *session, enum close_reason reason);
void departure_expired(struct session *session);

/* departure_orphan is told that the backend has ended the session: the client is told at once, or
 * in its turn where many are. departure_orphan_expired: that is now. */
void departure_orphan(struct session *session, enum close_reason reason, enum stream_ending ending);
void departure_orphan_expired(struct session *session);

/* What the directory tells of users who are logged in. */
void departure_changed(struct route_place *place, const struct route_answer *answer);
void departure_held(struct route_place *place);
void departure_drains_changed(void *set);

/* departure_look is told that it is time to look for sessions that drains move away. */
void departure_look(struct timeout *mover);

#endif
