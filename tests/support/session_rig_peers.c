/* SPDX-License-Identifier: Apache-2.0
 *
 * The sockets around a floor of sessions, and what is said over them.
 */
#include "support/session_rig_peers.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config.h"
#include "support/session_rig.h"
#include "support/tls_peer.h"

/* --- Connections ---------------------------------------------------------------------------- */

/* What a peer says shall leave at once, even if a reset follows. */
static void send_at_once(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void rig_connect_to(struct session_rig *rig, enum rig_listener listener, struct rig_peer *client)
{
	struct sockaddr_storage from = {0};
	socklen_t length = sizeof(from);
	struct addr peer;
	int fd;

	*client = (struct rig_peer){.fd = rig_connect_socket(rig->front)};
	send_at_once(client->fd);
	do {
		fd = accept4(rig->front, (struct sockaddr *)&from, &length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno == EAGAIN);
	assert_true(fd >= 0);
	addr_from_sockaddr(&peer, (const struct sockaddr *)&from);
	session_accept(&rig->set, &rig->config->listeners[listener], fd, &peer);
}

void rig_connect(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect_to(rig, RIG_PLAIN, client);
}

void rig_connect_tls(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect_to(rig, RIG_TLS, client);
}

void rig_connect_unix(struct session_rig *rig, struct rig_peer *client)
{
	struct addr peer = {.family = AF_UNIX};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	*client = (struct rig_peer){.fd = pair[0]};
	session_accept(&rig->set, &rig->config->listeners[RIG_UNIX], pair[1], &peer);
}

struct accepting {
	int listening;
	struct rig_peer *peer;
};

static bool has_accepted(struct session_rig *rig, const void *context)
{
	const struct accepting *accepting = context;

	(void)rig;
	accepting->peer->fd =
		accept4(accepting->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (accepting->peer->fd < 0) {
		return false;
	}
	send_at_once(accepting->peer->fd);
	return true;
}

void rig_accept(struct session_rig *rig, int listening, struct rig_peer *peer)
{
	*peer = (struct rig_peer){.fd = -1};
	rig_wait(rig, has_accepted, &(struct accepting){listening, peer});
}

/* --- TLS ------------------------------------------------------------------------------------ */

static void open_tls(struct rig_peer *peer, const struct tls_peer_settings *settings)
{
	assert_null(peer->tls);
	assert_int_equal(peer->heard.length, 0);
	peer->tls = calloc(1, sizeof(*peer->tls));
	assert_non_null(peer->tls);
	tls_peer_open(peer->tls, peer->fd, settings);
}

void rig_begin_tls(struct rig_peer *peer, const struct certified *identity)
{
	open_tls(peer, &(struct tls_peer_settings){.name = "imap.test", .identity = identity});
}

void rig_serve_tls(struct session_rig *rig, struct rig_peer *peer, struct ssl_ctx_st *context)
{
	open_tls(peer, &(struct tls_peer_settings){.server = context != NULL ? context
									     : rig->backend_tls});
}

static bool has_finished(struct session_rig *rig, const void *context)
{
	struct rig_peer *const *peer = context;

	(void)rig;
	rig_hear(*peer);
	return (*peer)->tls->finished;
}

void rig_secure(struct session_rig *rig, struct rig_peer *peer, const struct certified *identity)
{
	rig_begin_tls(peer, identity);
	rig_wait(rig, has_finished, &peer);
}

void rig_serve(struct session_rig *rig, struct rig_peer *peer, struct ssl_ctx_st *context)
{
	rig_serve_tls(rig, peer, context);
	rig_wait(rig, has_finished, &peer);
}

static void hear_tls(struct rig_peer *peer)
{
	struct test_peer *tls = peer->tls;

	while (tls_peer_pump(tls)) {
	}
	buffer_append(&peer->heard, buffer_bytes(&tls->received), tls->received.length);
	buffer_truncate(&tls->received, 0);
	peer->ended = tls->closed || tls->fin || tls->reset;
	peer->reset = tls->reset;
}

/* --- Hearing -------------------------------------------------------------------------------- */

static void hear_plain(struct rig_peer *peer)
{
	uint8_t bytes[16384];
	ssize_t count;

	while (!peer->ended) {
		count = recv(peer->fd, bytes, sizeof(bytes), 0);
		if (count > 0) {
			buffer_append(&peer->heard, bytes, (size_t)count);
		} else if (count < 0 && errno == EAGAIN) {
			return;
		} else {
			peer->ended = true;
			peer->reset = count < 0;
		}
	}
}

void rig_hear(struct rig_peer *peer)
{
	if (peer->tls != NULL) {
		hear_tls(peer);
	} else {
		hear_plain(peer);
	}
}

static const uint8_t *find(const struct rig_peer *peer, const char *text)
{
	return memmem(buffer_bytes(&peer->heard), peer->heard.length, text, strlen(text));
}

bool rig_has_heard(const struct rig_peer *peer, const char *text)
{
	return find(peer, text) != NULL;
}

struct expecting {
	struct rig_peer *peer;
	const char *text;
};

static bool has_heard(struct session_rig *rig, const void *context)
{
	const struct expecting *expecting = context;

	(void)rig;
	rig_hear(expecting->peer);
	return find(expecting->peer, expecting->text) != NULL || expecting->peer->ended;
}

static void wait_text(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	rig_wait(rig, has_heard, &(struct expecting){peer, text});
	if (!rig_has_heard(peer, text)) {
		print_error("expected %s, heard %.*s\n", text, (int)peer->heard.length,
			    (const char *)buffer_bytes(&peer->heard));
		fail();
	}
}

static void drop_through(struct rig_peer *peer, const char *text)
{
	size_t before = (size_t)(find(peer, text) - buffer_bytes(&peer->heard));

	buffer_consume(&peer->heard, before + strlen(text));
}

void rig_expect(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	wait_text(rig, peer, text);
	drop_through(peer, text);
}

void rig_expect_only(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	wait_text(rig, peer, text);
	assert_ptr_equal(find(peer, text), buffer_bytes(&peer->heard));
	drop_through(peer, text);
}

static bool has_ended(struct session_rig *rig, const void *context)
{
	const struct expecting *expecting = context;

	(void)rig;
	rig_hear(expecting->peer);
	return expecting->peer->ended;
}

void rig_expect_end(struct session_rig *rig, struct rig_peer *peer)
{
	rig_wait(rig, has_ended, &(struct expecting){peer, NULL});
}

/* --- Saying and leaving --------------------------------------------------------------------- */

static void say_plain(struct session_rig *rig, struct rig_peer *peer, const void *bytes,
		      size_t length)
{
	time_t given_up = time(NULL) + RIG_PATIENCE_SECONDS;
	const uint8_t *next = bytes;

	while (length > 0) {
		ssize_t sent = send(peer->fd, next, length, MSG_NOSIGNAL);

		assert_true(sent > 0 || errno == EAGAIN);
		assert_true(time(NULL) < given_up);
		if (sent > 0) {
			next += sent;
			length -= (size_t)sent;
		}
		rig_turn(rig);
	}
}

static void say_tls(struct session_rig *rig, struct rig_peer *peer, const void *bytes,
		    size_t length)
{
	time_t given_up = time(NULL) + RIG_PATIENCE_SECONDS;

	tls_peer_write(peer->tls, bytes, length, 0);
	do {
		rig_hear(peer);
		assert_true(time(NULL) < given_up);
		rig_turn(rig);
	} while (peer->tls->outgoing.length > 0);
}

void rig_say_bytes(struct session_rig *rig, struct rig_peer *peer, const void *bytes, size_t length)
{
	if (peer->tls != NULL) {
		say_tls(rig, peer, bytes, length);
	} else {
		say_plain(rig, peer, bytes, length);
	}
}

void rig_say(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	rig_say_bytes(rig, peer, text, strlen(text));
}

void rig_say_cut(struct session_rig *rig, struct rig_peer *peer, const struct buffer *bytes,
		 size_t cut)
{
	const uint8_t *all = buffer_bytes(bytes);
	size_t first = cut < bytes->length ? cut : 0;

	for (size_t i = 0; cut >= bytes->length && i < bytes->length; i++) {
		rig_say_bytes(rig, peer, all + i, 1);
		rig_turn(rig);
	}
	rig_say_bytes(rig, peer, all, first);
	rig_turn(rig);
	rig_turn(rig);
	if (cut < bytes->length) {
		rig_say_bytes(rig, peer, all + first, bytes->length - first);
	}
}

void rig_begin_tls_behind(struct session_rig *rig, struct rig_peer *client, const void *bytes,
			  size_t length, size_t cut)
{
	struct buffer all = {0};
	struct test_peer *tls;

	rig_begin_tls(client, NULL);
	tls = client->tls;
	tls->hand_written = true;
	tls->deaf = true; /* what is still to be heard came in the clear */
	tls_peer_pump(tls);
	tls->hand_written = false;
	tls->deaf = false;
	buffer_append(&all, bytes, length);
	buffer_append(&all, buffer_bytes(&tls->outgoing), tls->outgoing.length);
	buffer_truncate(&tls->outgoing, 0);
	client->tls = NULL;
	rig_say_cut(rig, client, &all, cut);
	client->tls = tls;
	buffer_done(&all);
}

static void end_tls(struct rig_peer *peer)
{
	if (peer->tls != NULL && peer->tls->finished && !peer->tls->reset) {
		tls_peer_end(peer->tls);
		tls_peer_send(peer->tls, peer->tls->outgoing.length);
	}
}

void rig_half_close(struct rig_peer *peer)
{
	end_tls(peer);
	assert_int_equal(shutdown(peer->fd, SHUT_WR), 0);
}

static void close_peer(struct rig_peer *peer)
{
	if (peer->tls != NULL) {
		tls_peer_close(peer->tls);
		free(peer->tls);
		peer->tls = NULL;
	} else if (peer->fd >= 0) {
		close(peer->fd);
	}
	peer->fd = -1;
}

void rig_hang_up(struct rig_peer *peer)
{
	end_tls(peer);
	close_peer(peer);
}

void rig_reset(struct rig_peer *peer)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_peer(peer);
}

void rig_forget(struct rig_peer *peer)
{
	close_peer(peer);
	buffer_done(&peer->heard);
	*peer = (struct rig_peer){.fd = -1};
}

/* --- The way into a phase ------------------------------------------------------------------- */

static void say_login(struct session_rig *rig, struct rig_peer *client, const char *login)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, login);
}

static void reach_authenticating(struct session_rig *rig, struct rig_peer *client,
				 struct rig_peer *backend)
{
	say_login(rig, client, RIG_LOGIN);
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE PLAIN ");
	rig_expect(rig, backend, "\r\n");
}

void rig_log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	reach_authenticating(rig, client, backend);
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	rig_expect(rig, client, "a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
}

static void reach_securing(struct session_rig *rig, struct rig_peer *client,
			   struct rig_peer *backend)
{
	say_login(rig, client, "a LOGIN erin secret\r\n");
	rig_accept(rig, rig->secure, backend);
	rig_say(rig, backend, "* OK [CAPABILITY IMAP4rev1 STARTTLS] backend\r\n");
	rig_expect_only(rig, backend, "G1 STARTTLS\r\n");
	rig_say(rig, backend, "G1 OK go\r\n");
}

static void reach_challenged(struct session_rig *rig, struct rig_peer *client,
			     struct rig_peer *backend)
{
	rig_teach(rig, RIG_MECHANISMS);
	say_login(rig, client, "a " RIG_EXCHANGE);
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] backend\r\n");
	rig_expect_only(rig, backend, "G1 " RIG_EXCHANGE);
	rig_say(rig, backend, "+ cj14WVo=\r\n");
	rig_expect_only(rig, client, "+ cj14WVo=\r\n");
}

void rig_reach(struct session_rig *rig, enum session_phase phase, struct rig_peer *client,
	       struct rig_peer *backend)
{
	unsigned before = rig_count(rig, phase);

	*backend = (struct rig_peer){.fd = -1};
	switch (phase) {
	case SESSION_PROXY_HEADER:
		rig_connect_to(rig, RIG_PROXY, client);
		break;
	case SESSION_HANDSHAKE:
		rig_connect_tls(rig, client);
		break;
	case SESSION_GREETED:
		say_login(rig, client, "");
		break;
	case SESSION_ROUTING:
		say_login(rig, client, "a LOGIN bob secret\r\n");
		break;
	case SESSION_CONNECTING:
		say_login(rig, client, "a LOGIN stuck secret\r\n");
		break;
	case SESSION_GREETING:
		say_login(rig, client, RIG_LOGIN);
		rig_accept(rig, rig->backend, backend);
		break;
	case SESSION_AUTHENTICATING:
		reach_authenticating(rig, client, backend);
		break;
	case SESSION_SECURING:
		reach_securing(rig, client, backend);
		break;
	case SESSION_CHALLENGED:
		reach_challenged(rig, client, backend);
		break;
	case SESSION_REFUSING:
		reach_authenticating(rig, client, backend);
		rig_say(rig, backend, "G1 NO [AUTHENTICATIONFAILED] no\r\n");
		rig_expect_end(rig, backend);
		rig_forget(backend);
		break;
	case SESSION_RELAYING:
		rig_log_in(rig, client, backend);
		break;
	case SESSION_HALF_CLOSED:
		rig_log_in(rig, client, backend);
		rig_half_close(client);
		break;
	case SESSION_CLOSING:
		say_login(rig, client, "a LOGOUT\r\n");
		break;
	default:
		fail();
	}
	rig_wait_phase(rig, phase, before + 1);
}
