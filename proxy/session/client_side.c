/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of a session before the hand-off: feeds its bytes to the preauth dialogue, and
 * turns verdicts into phases. While a login is under way the client's further bytes are kept,
 * bounded and unread: they are the backend's if it succeeds, ours if it does not.
 */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "imap/credentials.h"
#include "routing/backend.h"
#include "session_internal.h"

static const struct refusal farewell_timeout = {"UNAVAILABLE", "No login in the time allowed."};
static const struct refusal farewell_shutdown = {"UNAVAILABLE", "Server shutting down."};
static const struct refusal farewell_failures = {"LIMIT", "Too many failed logins."};

static void client_side_continue(struct session *session);

static const struct config_limits *limits_of(const struct session *session)
{
	return &session->set->house.config->limits;
}

/* Sends and empties the reply. False when the session could not go on. */
static bool send_reply(struct session *session, struct buffer *reply)
{
	bool complete = !reply->failed;

	if (complete) {
		stream_write(&session->client, buffer_bytes(reply), reply->length);
	}
	buffer_done(reply);
	if (!complete) {
		session_close(session, CLOSE_NO_MEMORY);
	}
	return complete;
}

static bool is_before_hand_off(const struct session *session)
{
	return session->login != NULL && session->phase < SESSION_RELAYING;
}

/* Reads on unless too much is unread or unsent already. */
static void update_reading(struct session *session)
{
	bool room = session->login->input.length < SESSION_PIPELINE_MAX;

	stream_set_reading(&session->client, room && !stream_is_congested(&session->client));
}

static void say_bye(struct session *session, const struct refusal *why, enum close_reason reason)
{
	struct buffer reply = {0};

	preauth_bye(why, &reply);
	if (send_reply(session, &reply)) {
		session_finish(session, reason, STREAM_ENDING_CLEAN);
	}
}

void client_side_expired(struct session *session)
{
	say_bye(session, &farewell_timeout, CLOSE_LOGIN_TIMEOUT);
}

void client_side_drain(struct session *session)
{
	say_bye(session, &farewell_shutdown, CLOSE_DRAINED);
}

/* --- Logins --------------------------------------------------------------------------------- */

static void await_command(struct session *session)
{
	session_enter(session, SESSION_GREETED, session_login_deadline(session));
	if (session->set->draining) {
		client_side_drain(session);
	} else if (timeouts_now_ms() >= session_login_deadline(session)) {
		client_side_expired(session); /* before what is pipelined begins another login */
	} else {
		update_reading(session);
	}
}

void client_side_answer(struct session *session)
{
	struct login *login = session->login;
	struct refusal refusal = {login->refusal_code, login->refusal_text};
	struct buffer reply = {0};

	preauth_refuse(login->preauth, &refusal, &reply);
	if (!send_reply(session, &reply)) {
		return;
	}
	if (login->failures >= limits_of(session)->login_failures) {
		metrics_count(session->set->house.metrics, METRIC_LIMIT_LOGIN_FAILURES);
		say_bye(session, &farewell_failures, CLOSE_LOGIN_FAILURES);
		return;
	}
	await_command(session);
	if (session->phase == SESSION_GREETED && !login->feeding) {
		client_side_continue(session);
	}
}

static void keep_refusal(struct login *login, const struct refusal *refusal)
{
	strncpy(login->refusal_code, refusal->code, sizeof(login->refusal_code) - 1);
	strncpy(login->refusal_text, refusal->text, sizeof(login->refusal_text) - 1);
}

static void log_refusal(struct session *session, enum config_log_level level, const char *event,
			const char *why, uint64_t held_back)
{
	char id[SESSION_ID_TEXT_MAX];
	char peer[ADDR_TEXT_MAX];

	session_format_id(session, id);
	addr_format(&session->peer, peer);
	log_at(level, event, log_text("session", id), log_text("client", peer),
	       log_text("user", session->user),
	       log_text("backend", session->backend != NULL ? session->backend->name : NULL),
	       log_text("detail", why), log_number("held_back", (int64_t)held_back));
}

/* A dead backend or directory fails thousands of logins a second; one line a second tells it. */
static void log_failure(struct session *session, const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&session->set->warnings, timeouts_now_ms(), &held_back)) {
		log_refusal(session, CONFIG_LOG_WARN, "login failed", why, held_back);
	}
}

void client_side_fail(struct session *session, const struct refusal *refusal, const char *why)
{
	metrics_count(session->set->house.metrics, METRIC_LOGINS_FAILED);
	log_failure(session, why);
	keep_refusal(session->login, refusal);
	session_drop_backend(session);
	session->login->fails++;
	if (session->login->fails > SESSION_FAILS_AT_ONCE) {
		session_enter(session, SESSION_REFUSING, session_after(SESSION_FAIL_PAUSE_MS));
	} else {
		client_side_answer(session);
	}
}

/* When the answer is due: counted from the question, so that it does not matter how long which
 * source took; with up to a tenth more, so that averages tell less. */
static uint64_t refusal_due_ms(const struct session *session)
{
	uint64_t delay_ms = limits_of(session)->failure_delay_ms;
	uint64_t scatter = (session->id + session->login->failures) * UINT64_C(0x9E3779B97F4A7C15);

	return session->login->started_ms + delay_ms + (scatter >> 32) % (delay_ms / 10 + 1);
}

void client_side_reject(struct session *session, const struct refusal *refusal, const char *why)
{
	struct login *login = session->login;
	uint64_t due_ms = refusal_due_ms(session);

	metrics_count(session->set->house.metrics, METRIC_LOGINS_REFUSED);
	log_refusal(session, CONFIG_LOG_INFO, "login refused", why, 0);
	keep_refusal(login, refusal);
	session_drop_backend(session);
	login->failures++;
	if (due_ms <= timeouts_now_ms()) {
		client_side_answer(session);
		return;
	}
	session_enter(session, SESSION_REFUSING, due_ms);
}

static void on_route(struct route_query *query, const struct route_answer *answer)
{
	struct session *session = container_of(query, struct login, route)->session;

	switch (answer->result) {
	case ROUTE_FOUND:
		backend_side_enter(session, answer->backend);
		break;
	case ROUTE_UNKNOWN:
		client_side_reject(session, &REFUSAL_CREDENTIALS, "unknown user");
		break;
	case ROUTE_UNAVAILABLE:
		client_side_fail(session, &REFUSAL_UNAVAILABLE, answer->why);
		break;
	}
}

/* What a proxy in front of us allows, but never more than where a login begins. */
static unsigned proxies_to_pass(const struct login *login)
{
	unsigned ttl = SESSION_PROXY_TTL;

	preauth_proxy_ttl(login->preauth, &ttl);
	return ttl < SESSION_PROXY_TTL ? ttl : SESSION_PROXY_TTL;
}

static void begin_login(struct session *session)
{
	struct login *login = session->login;
	const struct credentials *credentials = preauth_credentials(login->preauth);

	login->started_ms = timeouts_now_ms();
	free(session->user);
	session->user = strdup(credentials->user);
	if (session->user == NULL) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	session_enter(session, SESSION_ROUTING, session_login_deadline(session));
	login->proxy_ttl = proxies_to_pass(login);
	if (login->proxy_ttl == 0) {
		client_side_fail(session, &REFUSAL_SERVERBUG, "passed through too many proxies");
		return;
	}
	route_ask(session->set->house.router, &login->route, credentials_mailbox(credentials),
		  on_route);
}

/* --- The dialogue --------------------------------------------------------------------------- */

/* True when there may be more to feed. */
static bool feed_once(struct session *session)
{
	struct login *login = session->login;
	struct buffer reply = {0};
	enum preauth_verdict verdict = preauth_feed(login->preauth, &login->input, &reply);

	if (!send_reply(session, &reply)) {
		return false;
	}
	switch (verdict) {
	case PREAUTH_LOGIN:
		begin_login(session);
		return true;
	case PREAUTH_LOGOUT:
		session_finish(session, CLOSE_LOGOUT, STREAM_ENDING_CLEAN);
		return false;
	case PREAUTH_NOT_IMAP:
		session_finish(session, CLOSE_NOT_IMAP, STREAM_ENDING_CLEAN);
		return false;
	case PREAUTH_ABUSE:
		session_finish(session, CLOSE_BAD_COMMANDS, STREAM_ENDING_CLEAN);
		return false;
	case PREAUTH_TOO_BIG:
		session_finish(session, CLOSE_TOO_BIG, STREAM_ENDING_CLEAN);
		return false;
	case PREAUTH_MORE:
		return false;
	}
	return false;
}

/* A login may be answered before begin_login returns; the loop then goes on where it was, instead
 * of deeper down the stack. */
static void client_side_continue(struct session *session)
{
	session->login->feeding = true;
	while (session->phase == SESSION_GREETED && feed_once(session)) {
	}
	if (is_before_hand_off(session)) {
		session->login->feeding = false;
		update_reading(session);
	}
}

static void take_input(struct session *session, const uint8_t *bytes, size_t count)
{
	if (!buffer_append(&session->login->input, bytes, count)) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	if (session->phase == SESSION_GREETED) {
		client_side_continue(session);
	} else {
		update_reading(session);
	}
}

static void on_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	uint8_t bytes[SESSION_READ_BEFORE_LOGIN];
	struct error error = {0};
	size_t count = 0;

	while (is_before_hand_off(session) && stream->reading) {
		switch (stream_read(stream, bytes, sizeof(bytes), &count, &error)) {
		case STREAM_READ_BYTES:
			take_input(session, bytes, count);
			explicit_bzero(bytes, count);
			break;
		case STREAM_READ_LATER:
			return;
		case STREAM_READ_END:
		case STREAM_READ_TRUNCATED:
			session_close(session, CLOSE_CLIENT_LEFT);
			return;
		case STREAM_READ_FAILED:
			session_close(session, CLOSE_CLIENT_LOST);
			return;
		}
	}
}

static struct login *login_new(struct session *session)
{
	struct login *login = calloc(1, sizeof(*login));

	if (login == NULL) {
		return NULL;
	}
	login->session = session;
	login->settings.secrets_allowed =
		session->listener->tls != CONFIG_TLS_NONE || session->listener->allow_plaintext;
	login->settings.line_max = limits_of(session)->preauth_line;
	login->preauth = preauth_new(&login->settings);
	if (login->preauth == NULL) {
		free(login);
		return NULL;
	}
	return login;
}

static void count_handshake(const struct session *session)
{
	enum metric metric = stream_tls_resumed(&session->client) ? METRIC_HANDSHAKES_RESUMED
								  : METRIC_HANDSHAKES_FULL;

	if (session->listener->tls != CONFIG_TLS_NONE) {
		metrics_count(session->set->house.metrics, metric);
	}
}

static void on_ready(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	struct buffer reply = {0};

	count_handshake(session);
	session->login = login_new(session);
	if (session->login == NULL) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	preauth_greet(session->login->preauth, &reply);
	if (send_reply(session, &reply)) {
		await_command(session);
	}
}

static void on_drained(struct stream *stream)
{
	update_reading(container_of(stream, struct session, client));
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);
	bool handshake = session->phase == SESSION_HANDSHAKE;

	session_log_failure(session, "client connection failed", why);
	if (handshake) {
		metrics_count(session->set->house.metrics, METRIC_HANDSHAKES_FAILED);
	}
	session_close(session, handshake ? CLOSE_HANDSHAKE_FAILED : CLOSE_CLIENT_LOST);
}

const struct stream_events client_side_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};
