/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams that begin in the clear and become TLS's server or client: what was read already, what
 * was written already, what came too early, and where all that may be done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/base.h"
#include "support/stream_world.h"
#include "support/tls_call.h"
#include "support/tls_peer.h"
#include "support/turns.h"

static const uint16_t versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* --- The server's side ---------------------------------------------------------------------- */

/* A plain stream and, at its other end, a client that will speak TLS. */
struct line {
	struct stream_world *world;
	struct stream_owner owner;
	struct test_peer peer;
};

static void line_begin(struct line *line, struct stream_world *world, uint16_t version, bool small)
{
	struct tls_peer_settings settings = {.version = version};
	int ours;
	int theirs;

	line->world = world;
	stream_world_pair(small, &ours, &theirs);
	tls_peer_open(&line->peer, theirs, &settings);
	line->peer.hand_written = true;
	stream_owner_accept(&line->owner, world, ours, NULL);
	assert_string_equal(line->owner.events, "R");
}

static void line_end(struct line *line)
{
	line->world->peer = NULL;
	stream_owner_done(&line->owner);
	tls_peer_close(&line->peer);
}

/* What the client says first. */
static void make_hello(struct line *line, uint8_t *hello, size_t size, size_t *length)
{
	tls_peer_pump(&line->peer);
	*length = line->peer.outgoing.length;
	assert_in_range(*length, 1, size);
	memcpy(hello, buffer_bytes(&line->peer.outgoing), *length);
	buffer_consume(&line->peer.outgoing, *length);
}

static void finish(struct line *line)
{
	line->peer.hand_written = false;
	line->world->peer = &line->peer;
	stream_world_settle(line->world);
	assert_string_equal(line->owner.why.text, "");
	assert_memory_equal(line->owner.events, "RR", 2); /* then perhaps r: the tickets */
	assert_true(line->peer.finished);
	tls_peer_write(&line->peer, "a NOOP\r\n", 8, 0);
	stream_write(&line->owner.stream, "* OK\r\n", 6);
	stream_world_until_received(line->world, &line->owner.received, 8);
	stream_world_until_received(line->world, &line->peer.received, 6);
	assert_memory_equal(buffer_bytes(&line->owner.received), "a NOOP\r\n", 8);
	assert_memory_equal(buffer_bytes(&line->peer.received), "* OK\r\n", 6);
}

/* The owner has read the first bytes of the hello; the rest comes by the socket, or nothing does.
 */
static void check_early(struct stream_world *world, uint16_t version, size_t early)
{
	struct line line = {0};
	uint8_t hello[1024];
	size_t length;

	line_begin(&line, world, version, false);
	make_hello(&line, hello, sizeof(hello), &length);
	early = early < length ? early : length;
	assert_true(stream_start_tls(&line.owner.stream, call_house.context, hello, early));
	assert_string_equal(line.owner.events, "R");
	memset(hello, 0, early); /* they were copied */
	if (early < length) {
		stream_world_turn(world);
		assert_int_equal(send(line.peer.fd, hello + early, length - early, 0),
				 length - early);
	}
	finish(&line);
	assert_null(line.owner.stream.held);
	line_end(&line);
}

static void test_early_bytes(void **state)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		for (size_t early = 0; early < 300; early++) {
			check_early(*state, versions[i], early);
		}
		check_early(*state, versions[i], SIZE_MAX);
	}
}

/* The socket never speaks: what the owner had read is enough to be answered. */
static void test_early_bytes_while_the_socket_is_silent(void **state)
{
	struct line line = {0};
	uint8_t hello[1024];
	size_t length;

	line_begin(&line, *state, TLS1_3_VERSION, false);
	make_hello(&line, hello, sizeof(hello), &length);
	assert_true(stream_start_tls(&line.owner.stream, call_house.context, hello, length));
	stream_world_turn(*state);
	tls_peer_pump(&line.peer);
	assert_true(line.peer.finished);
	line_end(&line);
}

/* --- Where it may be done ------------------------------------------------------------------- */

static void start_server(struct stream_owner *owner)
{
	if (owner->stream.phase == STREAM_OPEN && owner->stream.tls == NULL) {
		const char *events = owner->events;
		size_t told = strlen(events);

		stream_write(&owner->stream, "a OK\r\n", 6);
		assert_true(stream_start_tls(&owner->stream, call_house.context, NULL, 0));
		assert_int_equal(strlen(events), told);
	}
}

static void start_other(struct stream_owner *owner)
{
	start_server(owner->other);
}

/* Reads the first line from the wire, as it is, and byte by byte, since TLS follows. */
static void expect_plain(struct line *line, const char *text)
{
	for (size_t i = 0; i < strlen(text); i++) {
		char byte;

		assert_int_equal(recv(line->peer.fd, &byte, 1, 0), 1);
		assert_int_equal(byte, text[i]);
	}
}

static void test_within_readable(void **state)
{
	struct line line = {.owner.on_readable = start_server};

	line_begin(&line, *state, TLS1_3_VERSION, false);
	assert_int_equal(send(line.peer.fd, "\x16\x03", 2, 0), 2);
	line.world->peer = NULL;
	stream_world_until_events(*state, &line.owner, 2);
	assert_int_equal(line.owner.stream.phase, STREAM_HANDSHAKE);
	expect_plain(&line, "a OK\r\n");
	/* Two bytes of the hello were in the socket all the time. */
	tls_peer_pump(&line.peer);
	buffer_consume(&line.peer.outgoing, 2);
	line.peer.hand_written = false;
	line.world->peer = &line.peer;
	stream_world_until_events(*state, &line.owner, 3);
	assert_string_equal(line.owner.events, "RrR");
	assert_true(line.peer.finished);
	assert_int_equal(line.owner.received.length, 0);
	line_end(&line);
}

static void test_within_ready(void **state)
{
	struct line line = {.owner.on_ready = start_server};

	line_begin(&line, *state, TLS1_2_VERSION, false);
	assert_int_equal(line.owner.stream.phase, STREAM_HANDSHAKE);
	expect_plain(&line, "a OK\r\n");
	finish(&line);
	line_end(&line);
}

static void test_within_the_event_of_another(void **state)
{
	struct line line = {.owner.quiet = true};
	struct line other = {.owner.other = &line.owner, .owner.on_readable = start_other};

	line_begin(&line, *state, TLS1_3_VERSION, false);
	line_begin(&other, *state, 0, false);
	stream_set_reading(&line.owner.stream, true);
	assert_int_equal(send(other.peer.fd, "x", 1, 0), 1);
	stream_world_until_received(*state, &other.owner.received, 1);
	expect_plain(&line, "a OK\r\n");
	finish(&line);
	line_end(&other);
	line_end(&line);
}

static void start_when_drained(struct stream_owner *owner)
{
	assert_true(stream_start_tls(&owner->stream, call_house.context, NULL, 0));
}

static uint8_t pattern[1 << 20];

static void receive_pattern(struct line *line)
{
	static uint8_t received[sizeof(pattern)];
	size_t count = 0;

	while (count < sizeof(received)) {
		ssize_t more = recv(line->peer.fd, received + count, sizeof(received) - count,
				    MSG_DONTWAIT);

		count += more > 0 ? (size_t)more : 0;
		stream_world_turn(line->world);
	}
	assert_memory_equal(received, pattern, sizeof(pattern));
}

static void test_within_drained(void **state)
{
	struct line line = {.owner.on_drained = start_when_drained};

	line_begin(&line, *state, TLS1_3_VERSION, true);
	stream_write(&line.owner.stream, pattern, sizeof(pattern));
	assert_true(stream_is_congested(&line.owner.stream));
	receive_pattern(&line);
	assert_int_equal(line.owner.stream.phase, STREAM_HANDSHAKE);
	assert_string_equal(line.owner.events, "Rd");
	line.world->peer = &line.peer;
	line.peer.hand_written = false;
	stream_world_until_events(*state, &line.owner, 3);
	assert_string_equal(line.owner.events, "RdR");
	line_end(&line);
}

/* What was written in the clear is still on its way: it arrives as it is, and before any record.
 * Until then the handshake costs no turns, though its first bytes are there. */
static void test_plain_bytes_leave_first(void **state)
{
	for (int early = 0; early < 2; early++) {
		struct line line = {0};
		uint8_t hello[1024];
		size_t length;
		unsigned turns;

		line_begin(&line, *state, TLS1_3_VERSION, true);
		make_hello(&line, hello, sizeof(hello), &length);
		stream_write(&line.owner.stream, pattern, sizeof(pattern));
		assert_true(stream_is_congested(&line.owner.stream));
		assert_true(stream_start_tls(&line.owner.stream, call_house.context, hello,
					     early ? length : 0));
		if (!early) {
			assert_int_equal(send(line.peer.fd, hello, length, 0), length);
		}
		line.world->peer = NULL;
		stream_world_settle(*state);
		turns = line.world->turns;
		turns_for(line.world->loop, 50);
		assert_true(line.world->turns - turns < 20);
		receive_pattern(&line);
		finish(&line);
		line_end(&line);
	}
}

static void test_reading_is_off(void **state)
{
	struct line line = {.owner.quiet = true};

	line_begin(&line, *state, TLS1_3_VERSION, false);
	assert_true(stream_start_tls(&line.owner.stream, call_house.context, NULL, 0));
	line.peer.hand_written = false;
	line.world->peer = &line.peer;
	stream_world_settle(*state);
	assert_string_equal(line.owner.events, "RR");
	tls_peer_write(&line.peer, "hello", 5, 0);
	stream_world_settle(*state);
	assert_string_equal(line.owner.events, "RR");
	stream_set_reading(&line.owner.stream, true);
	stream_world_until_received(*state, &line.owner.received, 5);
	line_end(&line);
}

/* --- Failures ------------------------------------------------------------------------------- */

static void say_goodbye(struct stream_owner *owner)
{
	stream_write(&owner->stream, "* BYE\r\n", 7);
	stream_shutdown(&owner->stream, STREAM_ENDING_CLEAN);
}

/* No TLS comes, neither early nor late: an alert goes back, and nothing else. */
static void test_failure_writes_nothing_plain(void **state)
{
	static const char command[] = "b NOOP\r\n";

	for (size_t early = 0; early <= strlen(command); early++) {
		struct line line = {.owner.on_failed = say_goodbye};
		uint8_t alert[64];

		line_begin(&line, *state, 0, false);
		assert_true(
			stream_start_tls(&line.owner.stream, call_house.context, command, early));
		stream_write(&line.owner.stream, "* OK\r\n", 6);
		assert_string_equal(line.owner.events, "R");
		if (early < strlen(command)) {
			assert_int_equal(
				send(line.peer.fd, command + early, strlen(command) - early, 0),
				strlen(command) - early);
		}
		line.world->peer = NULL;
		stream_world_until_count(*state, &line.owner.failures, 1);
		assert_string_equal(line.owner.events, "RF");
		assert_false(stream_is_open(&line.owner.stream));
		assert_int_equal(recv(line.peer.fd, alert, sizeof(alert), MSG_WAITALL), 7);
		assert_int_equal(alert[0], SSL3_RT_ALERT);
		line_end(&line);
	}
}

static void start_and_close(struct stream_owner *owner)
{
	start_server(owner);
	stream_close(&owner->stream);
}

static void close_it(struct stream_owner *owner)
{
	if (owner->stream.tls != NULL) {
		stream_close(&owner->stream);
	}
}

static void test_closing(void **state)
{
	struct line within = {.owner.on_readable = start_and_close};
	struct line at_once = {0};
	struct line when_ready = {.owner.on_ready = close_it};
	struct line when_failed = {.owner.on_failed = close_it};

	line_begin(&within, *state, 0, false);
	assert_int_equal(send(within.peer.fd, "x", 1, 0), 1);
	stream_world_until_events(*state, &within.owner, 2);
	stream_world_settle(*state);
	assert_string_equal(within.owner.events, "Rr");
	line_end(&within);

	line_begin(&at_once, *state, 0, false);
	assert_true(stream_start_tls(&at_once.owner.stream, call_house.context, "\x16", 1));
	stream_close(&at_once.owner.stream);
	stream_world_settle(*state);
	assert_string_equal(at_once.owner.events, "R");
	line_end(&at_once);

	line_begin(&when_ready, *state, 0, false);
	assert_true(stream_start_tls(&when_ready.owner.stream, call_house.context, NULL, 0));
	when_ready.peer.hand_written = false;
	when_ready.world->peer = &when_ready.peer;
	stream_world_settle(*state);
	assert_string_equal(when_ready.owner.events, "RR");
	assert_false(stream_is_open(&when_ready.owner.stream));
	line_end(&when_ready);

	line_begin(&when_failed, *state, 0, false);
	assert_true(stream_start_tls(&when_failed.owner.stream, call_house.context, "GET /", 5));
	stream_world_settle(*state);
	assert_string_equal(when_failed.owner.events, "RF");
	line_end(&when_failed);
}

/* What was said in the clear cannot be sent. */
static void test_sending_fails(void **state)
{
	struct line line = {0};

	line_begin(&line, *state, 0, true);
	stream_write(&line.owner.stream, pattern, sizeof(pattern));
	assert_true(stream_start_tls(&line.owner.stream, call_house.context, NULL, 0));
	reset_connection(line.peer.fd);
	line.peer.fd = -1;
	stream_world_until_count(*state, &line.owner.failures, 1);
	assert_string_equal(line.owner.events, "RF");
	line_end(&line);
}

/* --- The client's side ---------------------------------------------------------------------- */

static const struct tls_peer *to_whom(void)
{
	static struct tls_peer peer = {.name = CALL_NAME};

	peer.client = call_house.client;
	return &peer;
}

/* CVE-2021-38371: what a server says in the clear before TLS must not count as said under it. */
static void test_injection(void **state)
{
	static const char injected[] = "S OK go\r\n* CAPABILITY IMAP4rev1\r\n";

	for (size_t read = 0; read <= strlen(injected); read++) {
		struct line line = {.owner.piece = read, .owner.reads = 1, .owner.quiet = true};
		uint8_t bytes[64];
		size_t count = 0;

		line_begin(&line, *state, 0, false);
		assert_int_equal(send(line.peer.fd, injected, strlen(injected), 0),
				 strlen(injected));
		if (read > 0) {
			assert_int_equal(stream_read(&line.owner.stream, bytes, read, &count, NULL),
					 STREAM_READ_BYTES);
			assert_int_equal(count, read);
		}
		line.world->peer = NULL;
		assert_true(stream_start_tls_client(&line.owner.stream, to_whom()));
		assert_string_equal(line.owner.events, "R");
		stream_world_turn(*state);
		if (read < strlen(injected)) {
			assert_string_equal(line.owner.events, "RF");
			assert_string_equal(line.owner.why.text,
					    "TLS handshake: the peer spoke in the clear where TLS "
					    "should begin");
			/* Not even a hello. */
			assert_true(recv(line.peer.fd, bytes, sizeof(bytes), 0) <= 0);
		} else {
			assert_string_equal(line.owner.events, "R");
			assert_true(recv(line.peer.fd, bytes, sizeof(bytes), 0) > 0);
			assert_int_equal(bytes[0], SSL3_RT_HANDSHAKE);
		}
		line_end(&line);
	}
}

static void test_server_without_tls(void **state)
{
	struct line plain = {0};
	struct line gone = {0};

	line_begin(&plain, *state, 0, false);
	assert_true(stream_start_tls_client(&plain.owner.stream, to_whom()));
	stream_world_turn(*state);
	assert_int_equal(send(plain.peer.fd, "* OK hello\r\n", 12, 0), 12);
	stream_world_until_count(*state, &plain.owner.failures, 1);
	assert_string_equal(plain.owner.why.text, "TLS handshake: WRONG_VERSION_NUMBER");
	line_end(&plain);

	line_begin(&gone, *state, 0, false);
	shutdown(gone.peer.fd, SHUT_WR);
	assert_true(stream_start_tls_client(&gone.owner.stream, to_whom()));
	stream_world_until_count(*state, &gone.owner.failures, 1);
	assert_string_equal(gone.owner.why.text, "TLS handshake: the peer closed the connection");
	line_end(&gone);
}

static void start_client(struct stream_owner *owner)
{
	if (owner->stream.tls == NULL) {
		stream_write(&owner->stream, "PROXY UNKNOWN\r\n", 15);
		assert_true(stream_start_tls_client(&owner->stream, to_whom()));
		assert_string_equal(owner->events, "R");
	}
}

/* TLS from the first byte, or from the first behind a PROXY header. */
static void test_client_when_connected(void **state)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_peer_settings settings = {.version = versions[i],
						     .server = call_house.context};
		struct line line = {.world = *state, .owner.on_ready = start_client};
		struct stream_target target = {.path = NULL};
		struct sockaddr_storage name;
		struct addr address;
		socklen_t length = sizeof(name);
		int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(listen(listening, 1), 0);
		assert_int_equal(getsockname(listening, (struct sockaddr *)&name, &length), 0);
		addr_from_sockaddr(&address, (struct sockaddr *)&name);
		assert_true(addr_parse(&address, "127.0.0.1", addr_port(&address)));
		target.address = &address;
		line.owner.world = *state;
		assert_true(stream_connect(&line.owner.stream, &line.world->shared, &target,
					   &stream_owner_events, NULL));
		line.world->peer = NULL;
		stream_world_until_events(*state, &line.owner, 1);
		tls_peer_open(&line.peer, accept(listening, NULL, NULL), &settings);
		expect_plain(&line, "PROXY UNKNOWN\r\n");
		finish(&line);
		line_end(&line);
		close(listening);
	}
}

/* The header does not leave: the hello waits behind it. */
static void test_client_behind_a_full_socket(void **state)
{
	struct tls_peer_settings settings = {.server = call_house.context};
	struct line line = {.world = *state};
	int ours;
	int theirs;

	stream_world_pair(true, &ours, &theirs);
	tls_peer_open(&line.peer, theirs, &settings);
	line.world->peer = NULL;
	stream_owner_accept(&line.owner, *state, ours, NULL);
	stream_write(&line.owner.stream, pattern, sizeof(pattern));
	assert_true(stream_is_congested(&line.owner.stream));
	assert_true(stream_start_tls_client(&line.owner.stream, to_whom()));
	stream_world_settle(*state);
	receive_pattern(&line);
	finish(&line);
	line_end(&line);
}

/* --- The handshake as a client -------------------------------------------------------------- */

/* The server goes away after so many bytes of what it has to say. */
static size_t leave_after(struct stream_world *world, uint16_t version, size_t cut, bool reset)
{
	struct tls_call call = {.version = version};
	size_t length;

	tls_call_begin(&call, world);
	call.peer.hand_written = true;
	while (call.peer.outgoing.length == 0) {
		stream_world_turn(world);
		tls_peer_pump(&call.peer);
	}
	length = call.peer.outgoing.length;
	world->peer = NULL;
	if (cut < length) {
		tls_peer_send(&call.peer, cut);
		if (reset) {
			stream_world_settle(world);
			reset_connection(call.peer.fd);
		} else {
			close(call.peer.fd);
		}
		call.peer.fd = -1;
		stream_world_until_count(world, &call.owner.failures, 1);
		assert_string_equal(call.owner.events, "RF");
		assert_string_equal(call.owner.why.text + strlen("TLS handshake: "),
				    reset ? "Connection reset by peer"
					  : "the peer closed the connection");
	}
	tls_call_close(&call);
	return length;
}

static void test_server_leaves(void **state)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		size_t length = leave_after(*state, versions[i], SIZE_MAX, false);

		assert_true(length > 300);
		for (size_t cut = 0; cut < length - 16; cut++) {
			leave_after(*state, versions[i], cut, false);
		}
		for (size_t cut = 0; cut < length - 16; cut += 101) {
			leave_after(*state, versions[i], cut, true);
		}
	}
}

static void test_handshake_byte_by_byte(void **state)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_call call = {.version = versions[i]};

		tls_call_begin(&call, *state);
		call.peer.hand_written = true;
		while (!call.peer.finished || strlen(call.owner.events) < 2) {
			tls_peer_pump(&call.peer);
			if (call.peer.outgoing.length > 0) {
				tls_peer_send(&call.peer, 1);
			}
			stream_world_turn(*state);
		}
		assert_memory_equal(call.owner.events, "RR", 2);
		tls_call_close(&call);
	}
}

static int begin_group(void **state)
{
	stream_pattern(pattern, sizeof(pattern), 3);
	return call_house_begin(state);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, stream_world_begin, stream_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_early_bytes),
		TEST(test_early_bytes_while_the_socket_is_silent),
		TEST(test_within_readable),
		TEST(test_within_ready),
		TEST(test_within_the_event_of_another),
		TEST(test_within_drained),
		TEST(test_plain_bytes_leave_first),
		TEST(test_reading_is_off),
		TEST(test_failure_writes_nothing_plain),
		TEST(test_closing),
		TEST(test_sending_fails),
		TEST(test_injection),
		TEST(test_server_without_tls),
		TEST(test_client_when_connected),
		TEST(test_client_behind_a_full_socket),
		TEST(test_server_leaves),
		TEST(test_handshake_byte_by_byte),
	};

	return cmocka_run_group_tests_name("TLS on an open stream", tests, begin_group,
					   call_house_end);
}
