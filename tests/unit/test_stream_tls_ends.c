/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams with TLS: every way to end, ours and the peer's, and closing from within callbacks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/base.h"
#include "support/stream_world.h"
#include "support/tls_line.h"
#include "support/tls_peer.h"

/* --- Ends ----------------------------------------------------------------------------------- */

static void test_shutdown(void **state)
{
	static const enum stream_ending endings[] = {STREAM_ENDING_CLEAN, STREAM_ENDING_CUT};

	for (size_t i = 0; i < 8; i++) {
		struct tls_line line = {0};
		size_t length = i < 4 ? 100 : MEBIBYTE;
		enum stream_ending ending = endings[i % 2];

		tls_line_open(&line, *state, line_versions[i / 2 % 2], i >= 4);
		stream_write(&line.owner.stream, line_pattern, length);
		assert_int_equal(stream_is_congested(&line.owner.stream), i >= 4);
		stream_shutdown(&line.owner.stream, ending);
		stream_shutdown(&line.owner.stream, STREAM_ENDING_CLEAN);
		stream_write(&line.owner.stream, "ignored", 7);
		stream_world_until_flag(line.world, &line.peer.fin);
		tls_peer_pump(&line.peer);
		assert_int_equal(line.peer.closed, ending == STREAM_ENDING_CLEAN);
		assert_int_equal(line.peer.received.length, length);
		assert_memory_equal(buffer_bytes(&line.peer.received), line_pattern, length);
		tls_peer_write(&line.peer, line_pattern, 50, 0); /* reading goes on */
		stream_world_until_received(line.world, &line.owner.received, 50);
		tls_peer_end(&line.peer);
		stream_world_until_flag(line.world, &line.owner.ended);
		assert_int_equal(line.owner.ending, STREAM_READ_END);
		assert_int_equal(line.owner.failures, 0);
		tls_line_close(&line);
	}
}

enum departure { IN_ORDER, WITHOUT_NOTIFY, IN_A_RECORD, BY_RESET, WITH_GARBAGE };

static void leave(struct tls_line *line, enum departure departure)
{
	switch (departure) {
	case IN_ORDER:
		tls_peer_end(&line->peer);
		tls_line_send_all(line);
		break;
	case WITHOUT_NOTIFY:
		shutdown(line->peer.fd, SHUT_WR);
		break;
	case IN_A_RECORD:
		tls_peer_write(&line->peer, line_pattern, 1000, 0);
		tls_peer_send(&line->peer, 500);
		shutdown(line->peer.fd, SHUT_WR);
		break;
	case BY_RESET:
		reset_connection(line->peer.fd);
		line->peer.fd = -1;
		break;
	case WITH_GARBAGE:
		assert_int_equal(send(line->peer.fd, "this is no record", 17, 0), 17);
	}
}

static void test_end_of_input(void **state)
{
	static const enum stream_read_result results[] = {
		[IN_ORDER] = STREAM_READ_END,          [WITHOUT_NOTIFY] = STREAM_READ_TRUNCATED,
		[IN_A_RECORD] = STREAM_READ_TRUNCATED, [BY_RESET] = STREAM_READ_FAILED,
		[WITH_GARBAGE] = STREAM_READ_FAILED,
	};

	for (size_t i = 0; i < array_length(results) * 4; i++) {
		enum departure departure = (enum departure)(i / 4);
		struct tls_line line = {.owner.piece = i / 2 % 2 == 0 ? 0 : 30,
					.owner.quiet = true};
		unsigned readables;

		tls_line_open(&line, *state, line_versions[i % 2], false);
		line.world->peer = NULL;
		line.peer.hand_written = true;
		tls_peer_write(&line.peer, line_pattern, 100, 50);
		tls_line_send_all(&line);
		leave(&line, departure);
		usleep(1000);
		stream_set_reading(&line.owner.stream, true);
		stream_world_until_flag(line.world, &line.owner.ended);
		assert_int_equal(line.owner.ending, results[departure]);
		tls_line_check_received(&line, 100);
		assert_true(departure == IN_ORDER || line.owner.why.text[0] != '\0');
		assert_null(strstr(line.owner.why.text, "Success"));
		readables = line.owner.readables;
		stream_set_reading(&line.owner.stream, true);
		stream_world_settle(line.world);
		assert_int_equal(line.owner.readables, readables);
		tls_line_close(&line);
	}
}

/* A reset that is met while bytes from before it are still in the process. */
static void test_reset_behind_held_bytes(void **state)
{
	struct tls_line line = {.owner.quiet = true};
	uint8_t bytes[12];
	size_t count = 0;

	tls_line_open(&line, *state, TLS1_3_VERSION, false);
	line.peer.hand_written = true;
	tls_peer_write(&line.peer, line_pattern, 20, 10);
	tls_line_send_all(&line);
	assert_int_equal(stream_read(&line.owner.stream, bytes, 10, &count, NULL),
			 STREAM_READ_BYTES);
	assert_true(buffer_append(&line.owner.received, bytes, count));
	assert_int_equal(count, 10);
	assert_non_null(line.owner.stream.held);
	reset_connection(line.peer.fd);
	line.peer.fd = -1;
	line.world->peer = NULL;
	usleep(1000);
	assert_int_equal(stream_read(&line.owner.stream, bytes, sizeof(bytes), &count, NULL),
			 STREAM_READ_BYTES);
	assert_true(buffer_append(&line.owner.received, bytes, count));
	tls_line_check_received(&line, 20);
	stream_set_reading(&line.owner.stream, true);
	stream_world_until_flag(line.world, &line.owner.ended);
	assert_int_equal(line.owner.ending, STREAM_READ_FAILED);
	assert_string_equal(line.owner.why.text, "Connection reset by peer");
	tls_line_close(&line);
}

/* One receive brings the last records and the end behind them; the owner, which has got the bytes,
 * switches reading off, and learns of the end when it switches it on again. */
static void read_once_and_switch_off(struct stream_owner *owner)
{
	uint8_t *bytes = owner->stream.shared->chunk;
	size_t count = 0;

	owner->on_readable = NULL;
	assert_int_equal(stream_read(&owner->stream, bytes, STREAM_CHUNK_MAX, &count, NULL),
			 STREAM_READ_BYTES);
	assert_true(buffer_append(&owner->received, bytes, count));
	stream_set_reading(&owner->stream, false);
}

static void test_end_behind_bytes_waits(void **state)
{
	for (size_t i = 0; i < 4; i++) {
		struct tls_line line = {.owner.quiet = true,
					.owner.on_readable = read_once_and_switch_off};
		size_t length = i / 2 == 0 ? 100 : 20000;

		tls_line_open(&line, *state, line_versions[i % 2], false);
		line.peer.hand_written = true;
		tls_peer_write(&line.peer, line_pattern, length, 0);
		tls_peer_end(&line.peer);
		tls_line_send_all(&line);
		stream_set_reading(&line.owner.stream, true);
		stream_world_settle(line.world);
		tls_line_check_received(&line, length);
		assert_false(line.owner.ended);
		assert_false(stream_has_ended(&line.owner.stream));
		stream_set_reading(&line.owner.stream, true);
		stream_world_settle(line.world);
		assert_true(line.owner.ended);
		assert_int_equal(line.owner.ending, STREAM_READ_END);
		assert_int_equal(line.owner.readables, 2);
		tls_line_check_received(&line, length);
		tls_line_close(&line);
	}
}

static void test_last_words(void **state)
{
	struct tls_line line = {0};

	tls_line_open(&line, *state, TLS1_3_VERSION, false);
	line.peer.hand_written = true;
	tls_peer_write(&line.peer, line_pattern, 100000, 0);
	tls_line_send_all(&line);
	reset_connection(line.peer.fd);
	line.peer.fd = -1;
	line.world->peer = NULL;
	stream_write(&line.owner.stream, "x", 1);
	stream_world_until_count(line.world, &line.owner.failures, 1);
	tls_line_check_received(&line, 100000);
	assert_string_equal(line.owner.events, "RrF");
	tls_line_close(&line);
}

/* --- Closing from within -------------------------------------------------------------------- */

static void close_both(struct stream_owner *owner)
{
	stream_close(&owner->stream);
	if (owner->other != NULL) {
		stream_close(&owner->other->stream);
	}
}

static void test_closing_in_ready(void **state)
{
	struct tls_line line = {.owner.on_ready = close_both};

	tls_line_begin(&line, *state, TLS1_3_VERSION, false);
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "R");
	assert_false(stream_is_open(&line.owner.stream));
	tls_line_close(&line);
}

static void test_closing_in_failed(void **state)
{
	struct tls_line line = {.owner.on_failed = close_both};

	tls_line_begin(&line, *state, TLS1_1_VERSION, false);
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "F");
	assert_int_equal(line.peer.alert, SSL_AD_PROTOCOL_VERSION);
	tls_line_close(&line);
}

static void test_closing_in_drained(void **state)
{
	struct tls_line line = {.owner.on_drained = close_both};

	tls_line_open(&line, *state, TLS1_3_VERSION, true);
	stream_write(&line.owner.stream, line_pattern, MEBIBYTE);
	assert_true(stream_is_congested(&line.owner.stream));
	stream_world_until_flag(line.world, &line.peer.fin);
	assert_string_equal(line.owner.events, "Rd");
	assert_int_equal(line.peer.received.length, MEBIBYTE);
	tls_line_close(&line);
}

/* Both have bytes that TLS holds and an event in this turn; the first closes both. */
static void test_closing_with_held_bytes(void **state)
{
	struct tls_line lines[2] = {{.owner.reads = 1, .owner.piece = 1},
				    {.owner.reads = 1, .owner.piece = 1}};

	for (int i = 0; i < 2; i++) {
		tls_line_open(&lines[i], *state, TLS1_3_VERSION, false);
		lines[i].owner.other = &lines[1 - i].owner;
		lines[i].peer.hand_written = true;
		tls_peer_write(&lines[i].peer, line_pattern, 1000, 1);
	}
	for (int i = 0; i < 2; i++) {
		stream_set_reading(&lines[i].owner.stream, false);
		tls_line_send_all(&lines[i]);
		stream_set_reading(&lines[i].owner.stream, true);
		lines[i].owner.on_readable = close_both;
	}
	stream_world_settle(lines[0].world);
	assert_int_equal(lines[0].owner.readables + lines[1].owner.readables, 1);
	tls_line_close(&lines[0]);
	tls_line_close(&lines[1]);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, tls_line_begin_test, stream_world_end)

int main(void)
{
	const struct CMUnitTest handshakes[] = {
		TEST(test_closing_in_failed),
	};
	const struct CMUnitTest tests[] = {
		TEST(test_shutdown),
		TEST(test_end_of_input),
		TEST(test_reset_behind_held_bytes),
		TEST(test_end_behind_bytes_waits),
		TEST(test_last_words),
		TEST(test_closing_in_ready),
		TEST(test_closing_in_drained),
		TEST(test_closing_with_held_bytes),
	};
	int failed = cmocka_run_group_tests_name("a handshake's end", handshakes,
						 tls_line_begin_group, tls_line_end_group);

	failed += cmocka_run_group_tests_name("ends of TLS's server", tests, tls_line_begin_group,
					      tls_line_end_group);
	failed += cmocka_run_group_tests_name("ends of TLS's client", tests,
					      tls_line_begin_client_group, tls_line_end_group);
	return failed;
}
