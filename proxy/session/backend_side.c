/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to the backend: what the login is presented as there, the connection, the PROXY header,
 * and TLS. What is said then is in backend_login.c.
 */
#include "core/metrics.h"
#include "imap/presentation.h"
#include "net/proxy_header.h"
#include "routing/backend.h"
#include "routing/member.h"
#include "session_internal.h"

static const struct stream_events backend_side_events;

/* By rank, where the configuration allows it, and nobody else has said where the user lives. */
static bool try_next(struct session *session)
{
	const struct credentials *credentials = preauth_credentials(session->login->preauth);
	struct route_answer answer = {0};

	if (session->login->referrals > 0 ||
	    !route_next(session->set->house.router, &session->place,
			credentials_mailbox(credentials), session->backend, &answer)) {
		return false;
	}
	session_leave_backend(session);
	backend_side_enter(session, answer.backend);
	return true;
}

static void go_elsewhere(struct session *session, const struct refusal *refusal, const char *why)
{
	if (!try_next(session)) {
		client_login_fail(session, refusal, why);
	}
}

void backend_side_fail(struct session *session, const struct refusal *refusal, const char *why)
{
	route_observe(session->set->house.router, session->backend, &session->peer, ROUTE_FAILED,
		      why);
	go_elsewhere(session, refusal, why);
}

static void fail(struct session *session, const char *why)
{
	backend_side_fail(session, &REFUSAL_UNAVAILABLE, why);
}

/* Logins would go round for ever. */
static void fail_loop(struct session *session)
{
	client_login_fail(session, &REFUSAL_SERVERBUG, "the route leads back to this proxy");
}

uint64_t backend_side_deadline(const struct session *session, uint64_t milliseconds)
{
	uint64_t step_ms = session_after(milliseconds);
	uint64_t login_ms = session_login_deadline(session);

	return step_ms < login_ms ? step_ms : login_ms;
}

/* --- Connecting ----------------------------------------------------------------------------- */

static struct session *session_of(struct dial *dial)
{
	return container_of(dial, struct login, dial)->session;
}

/* That this host has no descriptor left says nothing about the backend. */
static void on_unreachable(struct dial *dial, const struct error *why)
{
	if (dial->is_ours) {
		go_elsewhere(session_of(dial), &REFUSAL_UNAVAILABLE, why->text);
	} else {
		fail(session_of(dial), why->text);
	}
}

static const struct dial_events dial_events = {
	.failed = on_unreachable,
};

static bool is_our_own_path(const struct session *session, const struct endpoint *endpoint)
{
	const struct config *config = session->set->house.config;

	for (size_t i = 0; i < config->listener_count; i++) {
		if (endpoint->kind == ENDPOINT_UNIX &&
		    endpoint_equal(&config->listeners[i].address, endpoint)) {
			return true;
		}
	}
	return false;
}

static void reach(struct session *session)
{
	struct member *member = session->backend->member;
	struct dial_settings settings = {
		.shared = session->set->house.shared,
		.resolver = session->set->house.resolver,
		.timeout_ms = session->backend->connect_timeout_ms,
		.metrics = session->set->house.metrics,
		.sources = member != NULL ? member->sources : NULL,
		.stream = &session->upstream,
		.stream_events = &backend_side_events,
		.events = &dial_events,
	};

	if (is_our_own_path(session, &session->backend->address)) {
		fail_loop(session);
		return;
	}
	/* How long it takes is the dial's business. */
	session_enter(session, SESSION_CONNECTING, session_login_deadline(session));
	dial_begin(&session->login->dial, &settings, &session->backend->address);
}

void backend_side_go(struct session *session)
{
	session->login->slot_ms = 0;
	reach(session);
}

/* Where everybody comes at once, each has its turn. */
static void take_turn(struct session *session)
{
	struct member *member = session->backend->member;
	uint64_t now_ms = timeouts_now_ms();
	uint64_t wait_ms = member != NULL ? member_book_connect(member, now_ms) : 0;

	if (wait_ms == 0) {
		reach(session);
	} else if (wait_ms == MEMBER_NO_SLOT) {
		metrics_count(session->set->house.metrics, METRIC_LIMIT_CONNECT_QUEUE);
		client_login_fail(session, &REFUSAL_UNAVAILABLE,
				  "too many wait to connect to the backend (connect_queue)");
	} else {
		metrics_count(session->set->house.metrics, METRIC_LOGINS_QUEUED);
		session->login->slot_ms = now_ms + wait_ms;
		session_enter(session, SESSION_QUEUED, backend_side_deadline(session, wait_ms));
	}
}

void backend_side_enter(struct session *session, struct backend *backend)
{
	struct login *login = session->login;
	struct presentation presentation = {
		.user = backend->user,
		.mailbox = login->mailbox,
		.master_user = backend->master_user,
		.master_password = &backend->master_password,
	};
	enum presentation_fault fault;

	session->backend = backend;
	fault = presentation_make(&login->presented, preauth_credentials(login->preauth),
				  &presentation);
	switch (fault) {
	case PRESENTATION_FINE:
		take_turn(session);
		break;
	case PRESENTATION_NO_MEMORY:
		session_close(session, CLOSE_NO_MEMORY);
		break;
	default:
		client_login_fail(session, &REFUSAL_SERVERBUG, presentation_sentence(fault));
	}
}

/* Nothing is said yet to the address that was reached: another one may serve. */
static bool may_try_another(const struct session *session)
{
	return session->phase == SESSION_SECURING && session->login->upstream == NULL;
}

static void try_another(struct session *session, const struct error *why)
{
	session_enter(session, SESSION_CONNECTING, session_login_deadline(session));
	dial_next(&session->login->dial, why);
}

void backend_side_expired(struct session *session)
{
	if (session->phase == SESSION_SECURING) {
		metrics_count(session->set->house.metrics, METRIC_BACKEND_HANDSHAKES_FAILED);
	}
	if (session->phase == SESSION_QUEUED) {
		backend_side_go(session);
	} else if (may_try_another(session)) {
		struct error why = {0};

		error_set(&why, "no answer in time");
		try_another(session, &why);
	} else if (session->phase == SESSION_CONNECTING) {
		fail(session, "cannot connect: no answer in time");
	} else if (session->phase == SESSION_SECURING) {
		fail(session, "no TLS in time");
	} else if (session->phase == SESSION_GREETING) {
		fail(session, "no greeting in time");
	} else {
		backend_lost(session, "no answer to the login in time");
	}
}

/* --- Connected ------------------------------------------------------------------------------ */

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

/* TLS that ended in front of us is the client's too. */
static void describe_tls(const struct session *session, struct proxy_header_client *client)
{
	const struct login *login = session->login;

	client->tls_version = stream_tls_version(&session->client);
	client->tls_cipher = stream_tls_cipher(&session->client);
	client->authority = stream_tls_server_name(&session->client);
	if (client->tls_version == NULL && login->secured_in_front) {
		client->tls_version = "";
	}
	if (client->authority == NULL) {
		client->authority = login->front_authority;
	}
}

static bool send_proxy_header(struct session *session)
{
	struct buffer header = {0};
	char id[SESSION_ID_TEXT_MAX];
	struct proxy_header_client client = {
		.source = session->peer,
		.destination = session->login->connected,
		.unique_id = id,
	};
	bool complete;

	describe_tls(session, &client);
	session_format_id(session, id);
	proxy_header_write(&header, &client);
	complete = !header.failed;
	if (complete) {
		stream_write(&session->upstream, buffer_bytes(&header), header.length);
	}
	buffer_done(&header);
	return complete;
}

void backend_side_start_tls(struct session *session)
{
	struct backend *backend = session->backend;
	struct error why = {0};

	session_enter(session, SESSION_SECURING,
		      backend_side_deadline(session, backend->connect_timeout_ms));
	if (!backend_start_tls(backend, &session->upstream, &why)) {
		fail(session, why.text);
	}
}

static void count_handshake(const struct session *session)
{
	bool resumed = stream_tls_resumed(&session->upstream);

	metrics_count(session->set->house.metrics,
		      resumed ? METRIC_BACKEND_HANDSHAKES_RESUMED : METRIC_BACKEND_HANDSHAKES_FULL);
}

/* Each part of the way reports itself: the connection, TLS from the first byte, STARTTLS. */
static void on_ready(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, upstream);
	bool secured = stream_tls_version(stream) != NULL;

	if (secured) {
		count_handshake(session);
	} else if (leads_back_to_us(session)) {
		fail_loop(session);
		return;
	} else if (session->backend->send_proxy && !send_proxy_header(session)) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	if (session->login->upstream != NULL) {
		backend_login_secured(session);
	} else if (session->backend->tls == CONFIG_TLS_IMPLICIT && !secured) {
		backend_side_start_tls(session);
	} else {
		backend_login_begin(session);
	}
}

static void on_readable(struct stream *stream)
{
	backend_login_readable(container_of(stream, struct session, upstream));
}

static void on_drained(struct stream *stream)
{
	(void)stream; /* the dialogue goes on when the backend answers */
}

/* Some servers end a handshake that offers a session instead of making a full one. The session is
 * forgotten, and the same address is asked again. */
static void connect_again(struct session *session)
{
	struct login *login = session->login;

	upstream_free(login->upstream);
	login->upstream = NULL;
	buffer_truncate(&login->backend_input, 0);
	session_enter(session, SESSION_CONNECTING, session_login_deadline(session));
	dial_again(&login->dial);
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, upstream);
	bool handshake = session->phase == SESSION_SECURING;

	if (handshake) {
		metrics_count(session->set->house.metrics, METRIC_BACKEND_HANDSHAKES_FAILED);
	}
	if (handshake && stream_tls_offered(stream)) {
		connect_again(session);
	} else if (may_try_another(session)) {
		try_another(session, why);
	} else {
		backend_lost(session, why->text);
	}
}

static const struct stream_events backend_side_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};
