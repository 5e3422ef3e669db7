/* SPDX-License-Identifier: Apache-2.0
 *
 * The opening of a session: who the client is, where somebody passes it on (PROXY header), and TLS,
 * whether it comes first or by STARTTLS. Nothing of IMAP is read here.
 */
#include <string.h>
#include <unistd.h>

#include "base/cidr.h"
#include "core/metrics.h"
#include "net/proxy_header.h"
#include "session_internal.h"

static const struct stream_events header_events;
static const struct stream_events handshake_events;

static bool is_trusted(const struct session *session)
{
	const struct config_networks *trusted = &session->listener->trusted;

	return cidr_contains(trusted->networks, trusted->count, &session->peer);
}

/* The peer is the one that connected, or of whom the PROXY header speaks. Whom it does not name may
 * be anybody, although the address is that of the sender. */
static void meet_client(struct session *session)
{
	session->login->trusted = is_trusted(session) && !session->login->unnamed;
	session->login->came_from = session->peer;
}

/* The time for PROXY header and TLS is part of the time for the login. */
static uint64_t opening_deadline(const struct session *session)
{
	uint64_t step_ms = session_after(session->set->house.config->limits.handshake_timeout_ms);
	uint64_t login_ms = session_login_deadline(session);

	return step_ms < login_ms ? step_ms : login_ms;
}

/* --- TLS ------------------------------------------------------------------------------------ */

/* `early` has been read behind what came before TLS. */
static void start_tls(struct session *session, const void *early, size_t length)
{
	session_enter(session, SESSION_HANDSHAKE, opening_deadline(session));
	stream_set_events(&session->client, &handshake_events);
	if (!stream_start_tls(&session->client, session->set->house.tls, early, length)) {
		session_close(session, CLOSE_NO_MEMORY);
	}
}

void opening_secure(struct session *session)
{
	struct login *login = session->login;
	struct buffer early = login->input;

	login->input = (struct buffer){0};
	preauth_free(login->preauth);
	login->preauth = NULL;
	start_tls(session, buffer_bytes(&early), early.length);
	buffer_done(&early);
}

static void count_handshake(const struct session *session)
{
	enum metric metric = stream_tls_resumed(&session->client) ? METRIC_HANDSHAKES_RESUMED
								  : METRIC_HANDSHAKES_FULL;

	metrics_count(session->set->house.metrics, metric);
}

static void learn_certificate(struct session *session)
{
	char *user = session->login->certified_user;
	enum config_client_name which = session->set->house.config->tls.client_name;

	if (!stream_tls_certified_user(&session->client, which, user)) {
		user[0] = '\0';
	}
}

static void on_secured(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);

	count_handshake(session);
	learn_certificate(session);
	client_side_begin(session, session->listener->tls == CONFIG_TLS_IMPLICIT);
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	session_log_failure(session, "client connection failed", why);
	metrics_count(session->set->house.metrics, METRIC_HANDSHAKES_FAILED);
	session_close(session, CLOSE_HANDSHAKE_FAILED);
}

static void on_unexpected(struct stream *stream)
{
	(void)stream;
	invariant(!"an event that its phase does not have");
}

static const struct stream_events handshake_events = {
	.ready = on_secured,
	.readable = on_unexpected,
	.drained = on_unexpected,
	.failed = on_failed,
};

/* What follows the connection, or the PROXY header; `rest` has been read behind it. */
static void begin(struct session *session, const uint8_t *rest, size_t length)
{
	meet_client(session);
	if (session->listener->tls == CONFIG_TLS_IMPLICIT) {
		start_tls(session, rest, length);
		return;
	}
	if (session->phase == SESSION_PROXY_HEADER) {
		session_enter(session, SESSION_HANDSHAKE, TIMEOUT_NEVER);
	}
	if (buffer_append(&session->login->input, rest, length)) {
		client_side_begin(session, true);
	} else {
		session_close(session, CLOSE_NO_MEMORY);
	}
}

/* --- The PROXY header ----------------------------------------------------------------------- */

/* It is the setting of a load balancer that is wrong, or of ours. */
static void refuse_header(struct session *session, const char *why)
{
	metrics_count(session->set->house.metrics, METRIC_PROXY_HEADERS_REFUSED);
	session_set_log_refusal(session->set, "client refused", &session->peer, why);
	session_close(session, CLOSE_PROXY_HEADER);
}

void opening_expired(struct session *session)
{
	if (session->phase == SESSION_PROXY_HEADER) {
		refuse_header(session, "no whole PROXY header came in time");
	} else {
		metrics_count(session->set->house.metrics, METRIC_HANDSHAKES_FAILED);
		session_close(session, CLOSE_HANDSHAKE_TIMEOUT);
	}
}

static bool take_header(struct session *session, const struct proxy_header *header)
{
	struct login *login = session->login;

	login->unnamed = header->unnamed;
	if (header->local) {
		return true; /* the sender speaks for itself */
	}
	session->peer = header->source;
	login->came_to = header->destination;
	login->secured_in_front = header->tls;
	if (header->authority[0] != '\0') {
		login->front_authority = strdup(header->authority);
		return login->front_authority != NULL;
	}
	return true;
}

/* A header comes in one piece as a rule, and never in many. */
static void read_header(struct session *session)
{
	struct buffer *input = &session->login->input;
	struct proxy_header header;
	struct buffer rest = {0};
	const char *why = NULL;
	size_t size = 0;

	switch (proxy_header_read(&header, buffer_bytes(input), input->length, &size, &why)) {
	case PROXY_HEADER_MORE:
		break;
	case PROXY_HEADER_BAD:
		refuse_header(session, why);
		break;
	case PROXY_HEADER_DONE:
		if (!take_header(session, &header)) {
			session_close(session, CLOSE_NO_MEMORY);
			break;
		}
		buffer_consume(input, size);
		rest = *input;
		*input = (struct buffer){0};
		begin(session, buffer_bytes(&rest), rest.length);
		buffer_done(&rest);
		break;
	}
}

static void on_header_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	uint8_t bytes[SESSION_HEADER_READ];
	struct error error = {0};
	size_t count = 0;

	while (session->phase == SESSION_PROXY_HEADER) {
		switch (stream_read(stream, bytes, sizeof(bytes), &count, &error)) {
		case STREAM_READ_BYTES:
			if (!buffer_append(&session->login->input, bytes, count)) {
				session_close(session, CLOSE_NO_MEMORY);
				return;
			}
			explicit_bzero(bytes, count); /* a login may stand behind it */
			read_header(session);
			break;
		case STREAM_READ_LATER:
			return;
		case STREAM_READ_FAILED:
			session_close(session, CLOSE_CLIENT_LOST);
			return;
		default:
			session_close(session, CLOSE_CLIENT_LEFT);
			return;
		}
	}
}

static void on_header_ready(struct stream *stream)
{
	stream_set_reading(stream, true);
}

static void on_header_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	session_log_failure(session, "client connection failed", why);
	session_close(session, CLOSE_CLIENT_LOST);
}

static const struct stream_events header_events = {
	.ready = on_header_ready,
	.readable = on_header_readable,
	.drained = on_unexpected,
	.failed = on_header_failed,
};

/* --- The connection ------------------------------------------------------------------------- */

static void on_connected(struct stream *stream)
{
	begin(container_of(stream, struct session, client), NULL, 0);
}

static const struct stream_events plain_events = {
	.ready = on_connected,
	.readable = on_unexpected,
	.drained = on_unexpected,
	.failed = on_header_failed,
};

static void start_header(struct session *session, int fd)
{
	if (!is_trusted(session)) {
		close(fd);
		refuse_header(session, "not from an address in listener.trusted");
		return;
	}
	if (!stream_accept(&session->client, session->set->house.shared, fd, NULL,
			   &header_events)) {
		session_close(session, CLOSE_NO_MEMORY);
	}
}

static void start_plain(struct session *session, int fd)
{
	if (!stream_accept(&session->client, session->set->house.shared, fd, NULL, &plain_events)) {
		session_close(session, CLOSE_NO_MEMORY);
	}
}

static void start_implicit(struct session *session, int fd)
{
	struct session_set *set = session->set;

	meet_client(session);
	if (!stream_accept(&session->client, set->house.shared, fd, set->house.tls,
			   &handshake_events)) {
		session_close(session, CLOSE_NO_MEMORY);
	}
}

void opening_start(struct session *session, int fd)
{
	if (session->listener->proxy_protocol) {
		session_enter(session, SESSION_PROXY_HEADER, opening_deadline(session));
		start_header(session, fd);
		stream_set_sipping(&session->client, true);
		return;
	}
	session_enter(session, SESSION_HANDSHAKE, opening_deadline(session));
	if (session->listener->tls == CONFIG_TLS_IMPLICIT) {
		start_implicit(session, fd);
	} else {
		start_plain(session, fd);
	}
	stream_set_sipping(&session->client, true); /* relay_start ends it */
}
