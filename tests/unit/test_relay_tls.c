/* SPDX-License-Identifier: Apache-2.0
 *
 * The splice where the backend has TLS: every byte, both ways; back-pressure, whose spills and held
 * bytes are bounded; and how an end on one side becomes the end of the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/session_rig.h"
#include "support/tls_peer.h"

#include "../../proxy/session/session_internal.h"

static const struct rig_options patient = {
	.limits = "login_timeout = \"10m\"\nclose_timeout = \"10m\"\n",
};

static void leave(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
}

/* As dora, whose backend has TLS from the first byte, or by STARTTLS as erin. */
static void log_in(struct session_rig *rig, bool starttls, struct rig_peer *client,
		   struct rig_peer *backend)
{
	if (starttls) {
		rig_reach(rig, SESSION_SECURING, client, backend);
		rig_serve(rig, backend, NULL);
		rig_expect_only(rig, backend, "G2 CAPABILITY\r\n");
		rig_say(rig, backend, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nG2 OK\r\n");
		rig_expect_only(rig, backend, "G3 AUTHENTICATE PLAIN ");
		rig_expect(rig, backend, "\r\n");
		rig_say(rig, backend, "G3 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	} else {
		rig_connect(rig, client);
		rig_expect(rig, client, "\r\n");
		rig_say(rig, client, "a LOGIN dora secret\r\n");
		rig_accept(rig, rig->secure, backend);
		rig_serve(rig, backend, NULL);
		rig_say(rig, backend, RIG_GREETING);
		rig_expect_only(rig, backend, "G1 AUTHENTICATE PLAIN ");
		rig_expect(rig, backend, "\r\n");
		rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	}
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	assert_int_equal(rig_count(rig, SESSION_RELAYING), 1);
}

static struct session *relaying(const struct session_rig *rig)
{
	return container_of(rig->set.phases[SESSION_RELAYING].head, struct session, timeout);
}

#define BULK          ((size_t)2 << 20)
#define MOVES_AT_ONCE 64

static void set_size(int fd, int option)
{
	int size = 16384;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)), 0);
}

static void make_tiny(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	const struct session *session = relaying(rig);

	set_size(client->fd, SO_RCVBUF);
	set_size(backend->fd, SO_RCVBUF);
	set_size(session->client.watcher.fd, SO_SNDBUF);
	set_size(session->upstream.watcher.fd, SO_SNDBUF);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)((i * 2654435761U) >> 13);
}

static void make_bulk(struct buffer *bulk, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		buffer_append_byte(bulk, byte_at(i));
	}
}

/* What a client still has to say. */
static void push(struct rig_peer *client, struct buffer *bulk)
{
	ssize_t sent = bulk->length > 0
			       ? send(client->fd, buffer_bytes(bulk), bulk->length, MSG_NOSIGNAL)
			       : 0;

	buffer_consume(bulk, sent > 0 ? (size_t)sent : 0);
}

static void check_heard(const struct rig_peer *peer, size_t length)
{
	assert_int_equal(peer->heard.length, length);
	for (size_t i = 0; i < length; i++) {
		if (buffer_bytes(&peer->heard)[i] != byte_at(i)) {
			fail_msg("byte %zu is wrong", i);
		}
	}
}

struct splice {
	struct rig_peer *client;
	struct rig_peer *backend;
	struct buffer *up; /* not sent yet */
	size_t up_length;
	size_t down_length;
};

static bool has_moved(struct session_rig *rig, const void *context)
{
	const struct splice *splice = context;

	for (unsigned i = 0; i < MOVES_AT_ONCE; i++) {
		push(splice->client, splice->up);
		rig_turn(rig);
		rig_hear(splice->client);
		rig_hear(splice->backend);
	}
	return splice->client->heard.length >= splice->down_length &&
	       splice->backend->heard.length >= splice->up_length;
}

static void test_both_ways_at_once(void **state)
{
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &patient);
	for (unsigned i = 0; i < 2; i++) {
		struct rig_peer client;
		struct rig_peer backend;
		struct buffer bulk = {0};
		struct splice splice = {&client, &backend, &bulk, BULK, BULK / 2};

		log_in(&rig, i == 1, &client, &backend);
		make_tiny(&rig, &client, &backend);
		make_bulk(&bulk, BULK);
		tls_peer_write(backend.tls, buffer_bytes(&bulk), BULK / 2, 0);
		rig_wait(&rig, has_moved, &splice);
		check_heard(&client, BULK / 2);
		check_heard(&backend, BULK);
		assert_int_equal(relaying(&rig)->bytes_upstream, BULK);
		assert_int_equal(relaying(&rig)->bytes_downstream, BULK / 2);
		assert_null(relaying(&rig)->client.spill);
		assert_null(relaying(&rig)->upstream.spill);
		assert_null(relaying(&rig)->upstream.held);
		buffer_done(&bulk);
		leave(&rig, &client, &backend);
	}
	session_rig_close(&rig);
}

struct stalling {
	struct splice *splice;
	bool upwards;
};

/* We hold what one side does not take, and have stopped to read the other. */
static bool has_stalled(struct session_rig *rig, const void *context)
{
	const struct stalling *stalling = context;
	const struct session *session = relaying(rig);
	const struct stream *blocked = stalling->upwards ? &session->upstream : &session->client;
	const struct stream *source = stalling->upwards ? &session->client : &session->upstream;

	push(stalling->splice->client, stalling->splice->up);
	if (!stalling->upwards) {
		rig_hear(stalling->splice->backend);
	}
	return stream_is_congested(blocked) && !source->reading;
}

/* Records make a spill a little longer than what is in it. */
#define SPILL_MOST (STREAM_CHUNK_MAX + STREAM_CHUNK_MAX / 16)

static void stall(bool upwards)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct buffer bulk = {0};
	struct buffer nothing = {0};
	struct splice splice = {&client, &backend, upwards ? &bulk : &nothing, upwards ? BULK : 0,
				upwards ? 0 : BULK};
	const struct session *session;

	session_rig_open(&rig, &patient);
	log_in(&rig, false, &client, &backend);
	make_tiny(&rig, &client, &backend);
	make_bulk(&bulk, BULK);
	if (!upwards) {
		tls_peer_write(backend.tls, buffer_bytes(&bulk), BULK, 0);
	}
	rig_wait(&rig, has_stalled, &(struct stalling){&splice, upwards});
	rig_settle(&rig);
	session = relaying(&rig);
	assert_in_range(upwards ? session->upstream.spill_length : session->client.spill_length, 1,
			SPILL_MOST);
	assert_in_range(session->upstream.held_length, 0, STREAM_CHUNK_MAX);
	rig_wait(&rig, has_moved, &splice);
	check_heard(upwards ? &backend : &client, BULK);
	rig_settle(&rig);
	assert_true(session->client.reading && session->upstream.reading);
	assert_null(session->upstream.held);
	buffer_done(&bulk);
	leave(&rig, &client, &backend);
	session_rig_close(&rig);
}

static void test_a_backend_that_does_not_read(void **state)
{
	(void)state;
	stall(true);
}

static void test_a_client_that_does_not_read(void **state)
{
	(void)state;
	stall(false);
}

/* The client's FIN becomes close_notify and FIN behind all that it said; the backend goes on. */
static void test_client_half_closes(void **state)
{
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &patient);
	for (unsigned i = 0; i < 2; i++) {
		struct rig_peer client;
		struct rig_peer backend;

		log_in(&rig, i == 1, &client, &backend);
		rig_say(&rig, &client, "z LOGOUT\r\n");
		rig_half_close(&client);
		rig_expect_only(&rig, &backend, "z LOGOUT\r\n");
		rig_expect_end(&rig, &backend);
		assert_true(backend.tls->closed);
		assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
		rig_say(&rig, &backend, "* BYE\r\nz OK\r\n");
		rig_hang_up(&backend);
		rig_expect_only(&rig, &client, "* BYE\r\nz OK\r\n");
		rig_expect_end(&rig, &client);
		assert_false(client.reset);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[CLOSE_CLIENT_ENDED], i + 1);
		leave(&rig, &client, &backend);
	}
	session_rig_close(&rig);
}

/* How a backend ends, and what that is called; what it said before reaches the client. */
static void test_backend_ends(void **state)
{
	static const enum close_reason reasons[] = {CLOSE_BACKEND_ENDED, CLOSE_BACKEND_CUT,
						    CLOSE_BACKEND_LOST};
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(reasons); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		log_in(&rig, false, &client, &backend);
		rig_say(&rig, &backend, "* BYE\r\n");
		if (reasons[i] == CLOSE_BACKEND_ENDED) {
			rig_half_close(&backend);
		} else if (reasons[i] == CLOSE_BACKEND_CUT) {
			assert_int_equal(shutdown(backend.fd, SHUT_WR), 0);
		} else {
			rig_reset(&backend);
		}
		rig_expect_only(&rig, &client, "* BYE\r\n");
		rig_expect_end(&rig, &client);
		assert_false(client.reset);
		leave(&rig, &client, &backend);
		assert_int_equal(rig.set.closed[reasons[i]], 1);
	}
	session_rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_a_backend_that_does_not_read),
		cmocka_unit_test(test_a_client_that_does_not_read),
		cmocka_unit_test(test_client_half_closes),
		cmocka_unit_test(test_backend_ends),
	};

	return cmocka_run_group_tests_name("relay_tls", tests, NULL, NULL);
}
