/* SPDX-License-Identifier: Apache-2.0
 *
 * One session: its phases, its orderly end, and the one exit. What happens within a phase is in
 * client_side.c, backend_side.c and relay.c; all sessions of a worker are in session_set.c.
 */
#include "session/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "imap/sasl.h"
#include "routing/backend.h"
#include "routing/member.h"
#include "session/limit.h"
#include "session_internal.h"

#define PHASE(symbol) (1U << SESSION_##symbol)

struct phase_entry {
	const char *name;
	unsigned next;
};

static const struct phase_entry phase_table[] = {
#define SESSION_PHASE(symbol, name, next) {name, next},
#include "session/session_phase.def"
#undef SESSION_PHASE
};

const char *session_phase_name(enum session_phase phase)
{
	invariant(phase < SESSION_PHASE_COUNT);
	return phase_table[phase].name;
}

/* --- Phases --------------------------------------------------------------------------------- */

uint64_t session_after(uint64_t milliseconds)
{
	return timeouts_now_ms() + milliseconds;
}

uint64_t session_login_deadline(const struct session *session)
{
	const struct config_limits *limits = &session->set->house.config->limits;
	uint64_t waited_ms = session->login != NULL ? session->login->waited_ms : 0;

	return session->accepted_ms + limits->login_timeout_ms + waited_ms;
}

void session_enter(struct session *session, enum session_phase phase, uint64_t deadline_ms)
{
	bool same = session->phase == phase && timeout_is_waiting(&session->timeout);
	bool first = !timeout_is_waiting(&session->timeout);

	invariant(first || same || phase == SESSION_CLOSED ||
		  (phase_table[session->phase].next & (1U << phase)) != 0);
	timeout_remove(&session->timeout);
	session->phase = (uint8_t)phase;
	timeout_add(&session->set->phases[phase], &session->timeout, deadline_ms);
}

void session_format_id(const struct session *session, char text[SESSION_ID_TEXT_MAX])
{
	snprintf(text, SESSION_ID_TEXT_MAX, "%016" PRIx64, session->id);
}

/* --- Death ---------------------------------------------------------------------------------- */

static enum config_log_level level_of(enum close_reason reason)
{
	switch (close_reason_blame(reason)) {
	case BLAME_OURSELVES:
		return CONFIG_LOG_ERROR;
	case BLAME_BACKEND:
		return CONFIG_LOG_WARN;
	default:
		return CONFIG_LOG_INFO; /* what clients do is no news */
	}
}

static const char *mechanism_of(const struct session *session)
{
	return session->user != NULL ? sasl_name((enum sasl_mechanism)session->mechanism) : NULL;
}

static void log_end(const struct session *session, enum close_reason reason)
{
	uint64_t seconds = (timeouts_now_ms() - session->accepted_ms) / 1000;
	char id[SESSION_ID_TEXT_MAX];
	char peer[ADDR_TEXT_MAX];
	char listener[ENDPOINT_TEXT_MAX];

	session_format_id(session, id);
	addr_format(&session->peer, peer);
	endpoint_format(&session->listener->address, listener);
	log_at(level_of(reason), "session", log_text("session", id), log_text("client", peer),
	       log_text("listener", listener),
	       log_text("sni", stream_tls_server_name(&session->client)),
	       log_text("user", session->user), log_text("mechanism", mechanism_of(session)),
	       log_text("backend", session->backend != NULL ? session->backend->name : NULL),
	       log_text("tls", stream_tls_version(&session->client)),
	       log_text("cipher", stream_tls_cipher(&session->client)),
	       log_flag("resumed", stream_tls_resumed(&session->client)),
	       log_number("login_ms", session->login_ms), log_number("seconds", (int64_t)seconds),
	       log_number("bytes_in", (int64_t)session->bytes_upstream),
	       log_number("bytes_out", (int64_t)session->bytes_downstream),
	       log_text("reason", close_reason_label(reason)),
	       log_text("detail", close_reason_sentence(reason)));
}

void session_log_failure(const struct session *session, const char *event, const struct error *why)
{
	char id[SESSION_ID_TEXT_MAX];

	session_format_id(session, id);
	log_debug(event, log_text("session", id), log_text("detail", why->text));
}

static void stop_login(struct login *login)
{
	if (login == NULL) {
		return;
	}
	dial_cancel(&login->dial);
	upstream_free(login->upstream);
	login->upstream = NULL;
	credentials_done(&login->presented);
	buffer_done(&login->backend_input);
}

bool session_has_presented(const struct session *session)
{
	const struct login *login = session->login;

	return login == NULL ||
	       (login->upstream != NULL && upstream_has_presented(login->upstream));
}

/* Whether the backend has no session of this one: it was told nothing, has refused it, or has said
 * that it is over. */
static bool is_settled(const struct session *session)
{
	return !session_has_presented(session) || stream_has_ended(&session->upstream) ||
	       (session->login != NULL && session->login->refused);
}

static void return_slot(struct session *session)
{
	struct login *login = session->login;

	if (login != NULL && login->slot_ms != 0) {
		member_book_return(session->backend->member, login->slot_ms);
		login->slot_ms = 0;
	}
}

void session_vacate(struct session *session)
{
	bool settled = is_settled(session) || farewell_begin(session);

	return_slot(session);
	stream_close(&session->upstream);
	if (session->counted) {
		member_session_ended(session->backend->member);
		session->counted = false;
	}
	route_leave(&session->place, settled);
}

void session_leave_backend(struct session *session)
{
	return_slot(session);
	stream_close(&session->upstream);
	stop_login(session->login);
	if (session->backend != NULL) {
		backend_unref(session->backend);
		session->backend = NULL;
	}
}

void session_drop_backend(struct session *session)
{
	session_vacate(session);
	session_leave_backend(session);
}

void session_shed_login(struct session *session)
{
	struct login *login = session->login;

	if (login == NULL) {
		return;
	}
	stop_login(login);
	preauth_free(login->preauth);
	buffer_done(&login->input);
	free(login->mailbox);
	free(login->front_authority);
	free(login);
	session->login = NULL;
}

static void finish_if_client_is_done(struct session *session)
{
	if (stream_has_ended(&session->client) && !stream_is_congested(&session->client)) {
		session_close(session, (enum close_reason)session->reason);
	}
}

/* What the client still says is read and dropped: unread bytes would turn our end into a reset,
 * which destroys the last lines on their way. */
static void closing_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	struct error error = {0};
	size_t count;
	enum stream_read_result result;

	do {
		result = stream_read(stream, stream->shared->chunk, STREAM_CHUNK_MAX, &count,
				     &error);
	} while (result == STREAM_READ_BYTES);
	if (result == STREAM_READ_FAILED) {
		session_close(session, (enum close_reason)session->reason);
	} else if (result != STREAM_READ_LATER) {
		finish_if_client_is_done(session);
	}
}

static void closing_drained(struct stream *stream)
{
	finish_if_client_is_done(container_of(stream, struct session, client));
}

static void closing_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	(void)why;
	session_close(session, (enum close_reason)session->reason);
}

static const struct stream_events closing_events = {
	.readable = closing_readable,
	.drained = closing_drained,
	.failed = closing_failed,
};

void session_finish(struct session *session, enum close_reason reason, enum stream_ending ending)
{
	uint64_t close_timeout_ms = session->set->house.config->limits.close_timeout_ms;

	session_vacate(session);
	session_shed_login(session);
	session->reason = (uint8_t)reason;
	session_enter(session, SESSION_CLOSING, session_after(close_timeout_ms));
	stream_set_events(&session->client, &closing_events);
	stream_shutdown(&session->client, ending);
	stream_set_reading(&session->client, true);
	finish_if_client_is_done(session);
}

void session_close(struct session *session, enum close_reason reason)
{
	struct session_set *set = session->set;

	if (session->phase == SESSION_CLOSED) {
		return;
	}
	log_end(session, reason);
	set->closed[reason]++;
	limit_give(set->house.limit); /* what is left at the backend may need the place */
	session_drop_backend(session);
	session_shed_login(session);
	stream_close(&session->client);
	session_enter(session, SESSION_CLOSED, TIMEOUT_NEVER);
	session_set_reap_later(set);
}
