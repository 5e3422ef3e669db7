/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend's side of a session before the hand-off: names to addresses, addresses in turn,
 * the upstream dialogue, and the hand-off itself.
 */
#include <stdio.h>
#include <string.h>

#include "core/metrics.h"
#include "imap/credentials.h"
#include "routing/backend.h"
#include "session_internal.h"

/* Bytes that one read takes from a backend before the hand-off. */
#define DIALOGUE_READ 4096

static const struct stream_events backend_side_events;

static void fail(struct session *session, const char *why)
{
	client_side_fail(session, &REFUSAL_UNAVAILABLE, why);
}

/* Logins would go round for ever. */
static void fail_loop(struct session *session)
{
	client_side_fail(session, &REFUSAL_SERVERBUG, "the route leads back to this proxy");
}

/* The deadline of a step that may take so long, but not longer than the login as a whole. */
static uint64_t step_deadline(const struct session *session, uint64_t milliseconds)
{
	uint64_t step_ms = session_after(milliseconds);
	uint64_t login_ms = session_login_deadline(session);

	return step_ms < login_ms ? step_ms : login_ms;
}

/* --- Connecting ----------------------------------------------------------------------------- */

static bool begin_connect(struct session *session, const struct stream_target *target)
{
	session_enter(session, SESSION_CONNECTING,
		      step_deadline(session, session->backend->connect_timeout_ms));
	return stream_connect(&session->upstream, session->set->house.shared, target,
			      &backend_side_events, &session->login->last_failure);
}

/* Tries the next address; when none is left, the login fails for the reason of the last. */
static void connect_next(struct session *session)
{
	struct login *login = session->login;
	struct error why;

	while (login->address_next < login->address_count) {
		struct stream_target target = {.address = &login->addresses[login->address_next]};

		login->address_next++;
		if (begin_connect(session, &target)) {
			return;
		}
	}
	why = login->last_failure;
	error_prefix(&why, "cannot connect");
	fail(session, why.text);
}

static bool is_our_own_path(const struct session *session, const struct endpoint *endpoint)
{
	const struct config *config = session->set->house.config;

	for (size_t i = 0; i < config->listener_count; i++) {
		if (endpoint_equal(&config->listeners[i].address, endpoint)) {
			return true;
		}
	}
	return false;
}

static void connect_path(struct session *session, const struct endpoint *endpoint)
{
	struct stream_target target = {.path = endpoint->name};

	if (is_our_own_path(session, endpoint)) {
		fail_loop(session);
	} else if (!begin_connect(session, &target)) {
		connect_next(session); /* there is none: fails for the reason at hand */
	}
}

static void on_resolved(struct resolver_query *query, const struct addr *addresses, size_t count,
			const char *why)
{
	struct login *login = container_of(query, struct login, resolve);

	if (count == 0) {
		fail(login->session, why);
		return;
	}
	login->address_count = count < RESOLVER_ADDRESSES_MAX ? count : RESOLVER_ADDRESSES_MAX;
	memcpy(login->addresses, addresses, login->address_count * sizeof(addresses[0]));
	connect_next(login->session);
}

void backend_side_enter(struct session *session, struct backend *backend)
{
	struct login *login = session->login;
	const struct endpoint *endpoint = &backend->address;

	session->backend = backend;
	login->address_next = 0;
	login->address_count = 0;
	switch (endpoint->kind) {
	case ENDPOINT_IP:
		login->addresses[0] = endpoint->ip;
		login->address_count = 1;
		connect_next(session);
		break;
	case ENDPOINT_NAME:
		session_enter(session, SESSION_CONNECTING,
			      step_deadline(session, backend->connect_timeout_ms));
		resolver_ask(session->set->house.resolver, &login->resolve, endpoint->name,
			     endpoint->port, on_resolved);
		break;
	case ENDPOINT_UNIX:
		connect_path(session, endpoint);
		break;
	case ENDPOINT_NONE:
		invariant(!"a backend without an address");
	}
}

void backend_side_expired(struct session *session)
{
	switch ((enum session_phase)session->phase) {
	case SESSION_CONNECTING:
		stream_close(&session->upstream);
		resolver_cancel(&session->login->resolve);
		error_set(&session->login->last_failure, "no answer in time");
		connect_next(session);
		break;
	case SESSION_GREETING:
		fail(session, "no greeting in time");
		break;
	default:
		fail(session, "no answer to the login in time");
	}
}

/* --- The dialogue --------------------------------------------------------------------------- */

/* Whether the backend that we reached is one of our own listeners. The kernel answers for all of
 * 127.0.0.0/8 from one address, so there the port alone decides. */
static bool leads_back_to_us(const struct session *session)
{
	const struct config *config = session->set->house.config;
	struct addr peer;
	struct addr local;

	stream_peer(&session->upstream, &peer);
	stream_local(&session->upstream, &local);
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct endpoint *own = &config->listeners[i].address;

		if (own->kind != ENDPOINT_IP || own->port != addr_port(&peer)) {
			continue;
		}
		if (addr_same_host(&own->ip, &peer) ||
		    (addr_is_wildcard(&own->ip) &&
		     (addr_same_host(&peer, &local) || addr_is_loopback(&peer)))) {
			return true;
		}
	}
	return false;
}

/* What ID tells the backend of the client; NULL where it should not, or has nothing to tell. */
static const struct upstream_identity *describe_client(struct session *session)
{
	struct login *login = session->login;
	struct addr local;

	if (!session->backend->send_id || session->peer.family == AF_UNIX) {
		return NULL;
	}
	stream_local(&session->client, &local);
	addr_format_ip(&session->peer, login->originating_ip);
	addr_format_ip(&local, login->connected_ip);
	session_format_id(session, login->session_id);
	login->identity = (struct upstream_identity){
		.originating_ip = login->originating_ip,
		.originating_port = addr_port(&session->peer),
		.connected_ip = login->connected_ip,
		.connected_port = addr_port(&local),
		.session_id = login->session_id,
	};
	return &login->identity;
}

static void on_ready(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, upstream);
	struct upstream_settings settings = {
		.credentials = preauth_credentials(session->login->preauth),
		.identity = describe_client(session),
		.proxy_ttl = session->login->proxy_ttl - 1,
		.ask_capability = session->backend->ask_capability,
	};

	if (leads_back_to_us(session)) {
		fail_loop(session);
		return;
	}
	session->login->upstream = upstream_new(&settings);
	if (session->login->upstream == NULL) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	session_enter(session, SESSION_GREETING,
		      step_deadline(session, session->backend->login_timeout_ms));
	stream_set_reading(stream, true);
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
		session_shed_login(session);
		relay_start(session);
	} else {
		session_close(session, CLOSE_NO_MEMORY);
	}
	buffer_done(&reply);
}

static void refuse(struct session *session, enum upstream_verdict verdict)
{
	struct refusal refusal = upstream_refusal(session->login->upstream);
	char why[256];

	snprintf(why, sizeof(why), "%s", upstream_reason(session->login->upstream));
	if (verdict == UPSTREAM_REFUSED) {
		client_side_reject(session, &refusal, why);
	} else {
		client_side_fail(session, &refusal, why);
	}
}

/* False when the dialogue has come to its end, whichever. */
static bool feed(struct session *session)
{
	struct login *login = session->login;
	struct buffer output = {0};
	enum upstream_verdict verdict =
		upstream_feed(login->upstream, &login->backend_input, &output);
	bool complete = !output.failed;

	if (complete) {
		stream_write(&session->upstream, buffer_bytes(&output), output.length);
	}
	buffer_done(&output);
	if (!complete) {
		session_close(session, CLOSE_NO_MEMORY);
		return false;
	}
	if (session->phase == SESSION_GREETING && upstream_greeted(login->upstream)) {
		session_enter(session, SESSION_AUTHENTICATING,
			      step_deadline(session, session->backend->login_timeout_ms));
	}
	switch (verdict) {
	case UPSTREAM_MORE:
		return true;
	case UPSTREAM_READY:
		hand_off(session);
		return false;
	default:
		refuse(session, verdict);
		return false;
	}
}

static void on_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, upstream);
	uint8_t bytes[DIALOGUE_READ];
	struct error error = {0};
	size_t count = 0;

	for (;;) {
		switch (stream_read(stream, bytes, sizeof(bytes), &count, &error)) {
		case STREAM_READ_BYTES:
			if (!buffer_append(&session->login->backend_input, bytes, count)) {
				session_close(session, CLOSE_NO_MEMORY);
				return;
			}
			if (!feed(session)) {
				return;
			}
			break;
		case STREAM_READ_LATER:
			return;
		case STREAM_READ_FAILED:
			error_prefix(&error, "connection lost before the login was answered");
			fail(session, error.text);
			return;
		default:
			refuse(session, upstream_end(session->login->upstream));
			return;
		}
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream; /* the dialogue goes on when the backend answers */
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, upstream);

	session->login->last_failure = *why;
	if (session->phase == SESSION_CONNECTING) {
		stream_close(stream);
		connect_next(session);
		return;
	}
	fail(session, why->text);
}

static const struct stream_events backend_side_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};
