/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue with a backend that is reached, from its greeting to the hand-off.
 */
#include "core/metrics.h"
#include "routing/backend.h"
#include "routing/member.h"
#include "session_internal.h"

/* Bytes that one read takes from a backend before the hand-off. */
#define DIALOGUE_READ 4096

/* --- What it is told ------------------------------------------------------------------------ */

/* The text of an IP address; NULL of a Unix socket, which has none. */
static const char *ip_of(const struct addr *addr, char text[ADDR_IP_TEXT_MAX])
{
	if (addr->family == AF_UNIX) {
		return NULL;
	}
	addr_format_ip(addr, text);
	return text;
}

/* What ID tells the backend of the client; NULL where it should not. */
static const struct upstream_identity *describe_client(struct session *session)
{
	struct login *login = session->login;
	struct preauth_identity own = preauth_identity(login->preauth);

	if (!session->backend->send_id) {
		return NULL;
	}
	session_format_id(session, login->session_id);
	login->identity = (struct upstream_identity){
		.originating_ip = ip_of(&session->peer, login->originating_ip),
		.originating_port = addr_port(&session->peer),
		.connected_ip = ip_of(&login->connected, login->connected_ip),
		.connected_port = addr_port(&login->connected),
		.session_id = own.session_id != NULL ? own.session_id : login->session_id,
		.pairs = own.pairs,
	};
	return &login->identity;
}

void backend_login_begin(struct session *session)
{
	const struct backend *backend = session->backend;
	struct upstream_settings settings = {
		.credentials = &session->login->presented,
		.identity = describe_client(session),
		.proxy_ttl = session->login->proxy_ttl - 1,
		.starttls = backend->tls == CONFIG_TLS_STARTTLS,
		.ask_capability = backend->ask_capability,
		.form = backend_form(backend),
	};

	session->login->upstream = upstream_new(&settings);
	if (session->login->upstream == NULL) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	session_enter(session, SESSION_GREETING,
		      backend_side_deadline(session, backend->login_timeout_ms));
	stream_set_reading(&session->upstream, true);
}

/* --- What comes of it ----------------------------------------------------------------------- */

/* Whatever the outcome: the next client is told what this backend can do. */
static void learn_offer(struct session *session)
{
	route_learn(session->set->house.router, session->backend,
		    upstream_offer(session->login->upstream));
}

/* What each side has said already is spliced like all that follows, and counts like it. */
static void count_early_bytes(struct session *session)
{
	const struct login *login = session->login;
	struct metrics *metrics = session->set->house.metrics;

	session->bytes_downstream += login->backend_input.length;
	session->bytes_upstream += login->input.length;
	metrics_add(metrics, METRIC_BYTES_DOWNSTREAM, login->backend_input.length);
	metrics_add(metrics, METRIC_BYTES_UPSTREAM, login->input.length);
}

static void begin_relay(struct session *session)
{
	struct member *member = session->backend->member;
	bool must_leave = session->login->must_leave;

	route_observe(session->set->house.router, session->backend, &session->peer, ROUTE_ACCEPTED,
		      NULL);
	if (member != NULL) {
		member_session_began(member);
		session->counted = true;
	}
	session_shed_login(session);
	relay_start(session);
	if (must_leave) {
		departure_begin(session, (enum close_reason)session->reason);
	}
}

/* From here on the session is two streams and a few numbers. What each side has said already goes
 * first: the tagged reply and all behind it to the client, pipelined commands to the backend. */
static void hand_off(struct session *session)
{
	struct login *login = session->login;
	struct buffer reply = {0};
	bool complete;

	upstream_write_ready(login->upstream, preauth_tag(login->preauth),
			     preauth_asked_capability(login->preauth), &reply);
	complete = buffer_append(&reply, buffer_bytes(&login->backend_input),
				 login->backend_input.length);
	if (complete) {
		session->login_ms = (uint32_t)(timeouts_now_ms() - login->started_ms);
		metrics_count(session->set->house.metrics, METRIC_LOGINS_OK);
		count_early_bytes(session);
		stream_write(&session->client, buffer_bytes(&reply), reply.length);
		stream_write(&session->upstream, buffer_bytes(&login->input), login->input.length);
		begin_relay(session);
	} else {
		session_close(session, CLOSE_NO_MEMORY);
	}
	buffer_done(&reply);
}

/* --- The dialogue --------------------------------------------------------------------------- */

/* Sends what the dialogue says. False when the session could not go on. */
static bool send_output(struct session *session, struct buffer *output)
{
	bool complete = !output->failed;

	if (complete) {
		stream_write(&session->upstream, buffer_bytes(output), output->length);
	}
	buffer_done(output);
	if (!complete) {
		session_close(session, CLOSE_NO_MEMORY);
	}
	return complete;
}

static void await_answer(struct session *session)
{
	session_enter(session, SESSION_AUTHENTICATING,
		      backend_side_deadline(session, session->backend->login_timeout_ms));
}

/* False when the backend's next bytes are not for the dialogue, or there are none to come. */
static bool act_on(struct session *session, enum upstream_verdict verdict)
{
	switch (verdict) {
	case UPSTREAM_MORE:
		return true;
	case UPSTREAM_STARTTLS:
		backend_side_start_tls(session);
		return false;
	case UPSTREAM_CHALLENGE:
		client_side_challenge(session, upstream_challenge(session->login->upstream));
		return false;
	case UPSTREAM_READY:
		learn_offer(session);
		hand_off(session);
		return false;
	default:
		learn_offer(session);
		backend_refused(session, verdict);
		return false;
	}
}

static bool feed(struct session *session)
{
	struct login *login = session->login;
	struct buffer output = {0};
	enum upstream_verdict verdict =
		upstream_feed(login->upstream, &login->backend_input, &output);

	if (!send_output(session, &output)) {
		return false;
	}
	if (session->phase == SESSION_GREETING && upstream_greeted(login->upstream)) {
		await_answer(session);
	}
	return act_on(session, verdict);
}

void backend_login_secured(struct session *session)
{
	struct buffer output = {0};

	upstream_secured(session->login->upstream, &output);
	if (send_output(session, &output)) {
		await_answer(session);
		stream_set_reading(&session->upstream, true);
	}
}

void backend_login_respond(struct session *session, const char *response)
{
	struct login *login = session->login;
	struct buffer output = {0};

	if (response == NULL) {
		client_login_reject(session, &REFUSAL_CREDENTIALS,
				    "the client cancelled the exchange");
		return;
	}
	upstream_respond(login->upstream, response, &output);
	if (send_output(session, &output)) {
		await_answer(session);
	}
}

static bool is_in_dialogue(const struct session *session)
{
	return session->phase >= SESSION_GREETING && session->phase <= SESSION_CHALLENGED;
}

static void take_end(struct session *session, enum stream_read_result result, struct error *error)
{
	if (result == STREAM_READ_FAILED) {
		error_prefix(error, "connection lost before the login was answered");
		backend_lost(session, error->text);
	} else {
		upstream_end(session->login->upstream);
		backend_lost(session, upstream_reason(session->login->upstream));
	}
}

void backend_login_readable(struct session *session)
{
	uint8_t bytes[DIALOGUE_READ];
	struct error error = {0};
	size_t count = 0;

	while (is_in_dialogue(session)) {
		enum stream_read_result result =
			stream_read(&session->upstream, bytes, sizeof(bytes), &count, &error);

		if (result == STREAM_READ_LATER) {
			return;
		}
		if (result != STREAM_READ_BYTES) {
			take_end(session, result, &error);
			return;
		}
		if (!buffer_append(&session->login->backend_input, bytes, count)) {
			session_close(session, CLOSE_NO_MEMORY);
			return;
		}
		if (!feed(session)) {
			return;
		}
	}
}
