/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of a session before the hand-off: feeds its bytes to the preauth dialogue, and
 * turns verdicts into phases. While a login is under way the client's further bytes are kept,
 * bounded and unread: they are the backend's if it succeeds, ours if it does not.
 */
#include <string.h>

#include "core/metrics.h"
#include "imap/sasl.h"
#include "session_internal.h"

/* What some clients look for and no later time, where nothing is known of the backends yet: both
 * work after the login. */
#define USUAL_ATOMS "ENABLE IDLE"

static const struct refusal farewell_timeout = {"UNAVAILABLE", "No login in the time allowed."};
static const struct refusal farewell_shutdown = {"UNAVAILABLE", "Server shutting down."};

static const struct stream_events client_side_events;

bool client_side_send(struct session *session, struct buffer *reply)
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

static bool is_in_dialogue(const struct session *session)
{
	return session->phase >= SESSION_GREETED && session->phase < SESSION_RELAYING;
}

/* The next command, or the next response, is ours to read. */
static bool listens(const struct session *session)
{
	return session->phase == SESSION_GREETED || session->phase == SESSION_CHALLENGED;
}

/* How much more may be kept that nobody has consumed. */
static size_t room_for_input(const struct session *session)
{
	size_t kept = session->login->input.length;

	return kept < SESSION_PIPELINE_MAX ? SESSION_PIPELINE_MAX - kept : 0;
}

/* Reads on unless too much is unread or unsent already. */
static void update_reading(struct session *session)
{
	bool room = room_for_input(session) > 0;

	stream_set_reading(&session->client, room && !stream_is_congested(&session->client));
}

void client_side_bye(struct session *session, const struct refusal *why, enum close_reason reason)
{
	struct buffer reply = {0};

	preauth_bye(why, &reply);
	if (client_side_send(session, &reply)) {
		session_finish(session, reason, STREAM_ENDING_CLEAN);
	}
}

void client_side_expired(struct session *session)
{
	client_side_bye(session, &farewell_timeout, CLOSE_LOGIN_TIMEOUT);
}

void client_side_drain(struct session *session)
{
	client_side_bye(session, &farewell_shutdown, CLOSE_DRAINED);
}

void client_side_await(struct session *session)
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

void client_side_challenge(struct session *session, const char *challenge)
{
	struct buffer reply = {0};

	preauth_challenge(session->login->preauth, challenge, &reply);
	if (!client_side_send(session, &reply)) {
		return;
	}
	session_enter(session, SESSION_CHALLENGED, session_login_deadline(session));
	update_reading(session);
	client_side_continue(session);
}

/* --- The dialogue --------------------------------------------------------------------------- */

/* What is announced is what is allowed, and follows what the backends were last seen to offer. */
static void update_front(struct session *session)
{
	struct login *login = session->login;
	const struct config_listener *listener = session->listener;
	const struct capability_offer *offer = route_offer(session->set->house.router);
	bool secured = stream_tls_version(&session->client) != NULL;
	unsigned possible = SASL_PASSWORDS;

	if (offer->known) {
		possible |= offer->mechanisms & (SASL_TOKENS | SASL_EXCHANGES);
	}
	if (login->certified_user[0] != '\0' && session->set->may_vouch) {
		possible |= SASL_BIT(SASL_EXTERNAL);
	}
	login->front = (struct capability_front){
		.secrets_allowed = secured || login->secured_in_front || listener->allow_plaintext,
		.starttls = listener->tls == CONFIG_TLS_STARTTLS && !secured,
		.mechanisms = listener->mechanisms & possible,
		.atoms = offer->known ? offer->atoms : USUAL_ATOMS,
	};
	if (listener->capabilities[0] != '\0') {
		login->front.atoms = listener->capabilities;
	}
}

/* Somebody fills the memory with lines that do not end. */
static void count_refused_lines(struct session *session, uint64_t refused)
{
	if (refused > 0) {
		metrics_add(session->set->house.metrics, METRIC_LIMIT_SASL_LINES, refused);
		session_set_log_refusal(session->set, "login refused", &session->peer,
					"limits.sasl_lines is reached");
	}
}

static enum preauth_verdict feed(struct session *session, struct buffer *reply)
{
	struct login *login = session->login;
	uint64_t refused = session->set->preauth_ration.refused;
	enum preauth_verdict verdict;

	update_front(session);
	verdict = preauth_feed(login->preauth, &login->input, reply);
	count_refused_lines(session, session->set->preauth_ration.refused - refused);
	return verdict;
}

/* True when there may be more to feed. */
static bool feed_once(struct session *session)
{
	struct buffer reply = {0};
	enum preauth_verdict verdict = feed(session, &reply);

	if (!client_side_send(session, &reply)) {
		return false;
	}
	switch (verdict) {
	case PREAUTH_LOGIN:
		client_login_begin(session);
		return true;
	case PREAUTH_RESPONSE:
		backend_login_respond(session, preauth_response(session->login->preauth));
		return true;
	case PREAUTH_STARTTLS:
		opening_secure(session);
		return false;
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
		return session->login->input.length > 0;
	}
	return false;
}

/* What the client does not read is not answered on: its commands wait. */
static bool may_feed(const struct session *session)
{
	return listens(session) && !stream_is_congested(&session->client);
}

/* A login may be answered before client_login_begin returns; the loop then goes on where it was,
 * instead of deeper down the stack. */
void client_side_continue(struct session *session)
{
	if (session->login->feeding) {
		return;
	}
	session->login->feeding = true;
	while (may_feed(session) && feed_once(session)) {
	}
	if (session->login == NULL) {
		return; /* it relays, or is closed */
	}
	session->login->feeding = false;
	if (is_in_dialogue(session)) {
		update_reading(session);
	}
}

static void take_input(struct session *session, const uint8_t *bytes, size_t count)
{
	if (!buffer_append(&session->login->input, bytes, count)) {
		session_close(session, CLOSE_NO_MEMORY);
	} else if (listens(session)) {
		client_side_continue(session);
	} else {
		update_reading(session);
	}
}

static void on_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	uint8_t bytes[SESSION_PIPELINE_MAX];
	struct error error = {0};
	size_t count = 0;

	while (is_in_dialogue(session) && stream->reading) {
		size_t room = room_for_input(session);

		switch (stream_read(stream, bytes, room, &count, &error)) {
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

static bool make_dialogue(struct session *session)
{
	struct login *login = session->login;

	login->settings = (struct preauth_settings){
		.front = &login->front,
		.limits = &session->set->preauth_limits,
		.ration = &session->set->preauth_ration,
		.certified_user = login->certified_user[0] != '\0' ? login->certified_user : NULL,
		.trusted = login->trusted,
	};
	login->preauth = preauth_new(&login->settings);
	return login->preauth != NULL;
}

static bool greet(struct session *session)
{
	struct buffer reply = {0};

	update_front(session);
	preauth_greet(session->login->preauth, &reply);
	return client_side_send(session, &reply);
}

void client_side_begin(struct session *session, bool greets)
{
	stream_set_events(&session->client, &client_side_events);
	if (!make_dialogue(session)) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	if (greets && !greet(session)) {
		return;
	}
	client_side_await(session);
	if (listens(session)) {
		client_side_continue(session); /* what came with a PROXY header */
	}
}

static void on_ready(struct stream *stream)
{
	(void)stream;
	invariant(!"the stream is ready already");
}

static void on_drained(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);

	if (listens(session)) {
		client_side_continue(session);
	} else {
		update_reading(session);
	}
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	session_log_failure(session, "client connection failed", why);
	session_close(session, CLOSE_CLIENT_LOST);
}

static const struct stream_events client_side_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};
