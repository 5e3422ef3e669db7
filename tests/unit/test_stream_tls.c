/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams with TLS: handshakes that fail, bytes that TLS holds while the socket is silent, and
 * the buffers shared by the streams of a worker. The client is the test's own.
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
#include "net/tls.h"
#include "support/stream_world.h"
#include "support/tls_line.h"
#include "support/tls_peer.h"
#include "support/turns.h"

/* --- Handshakes ----------------------------------------------------------------------------- */

static void check_failed_once(struct tls_line *line)
{
	stream_world_until_count(line->world, &line->owner.failures, 1);
	stream_world_settle(line->world);
	assert_string_equal(line->owner.events, "F");
	assert_false(stream_is_open(&line->owner.stream));
	assert_memory_equal(line->owner.why.text, "TLS handshake: ", 15);
	assert_null(strstr(line->owner.why.text, "Success"));
}

static void test_no_tls_at_all(void **state)
{
	static const char *const rows[] = {"a LOGIN joe secret\r\n", "\x16\x03\x01\xff\xff\x01"};

	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_line line = {0};
		uint8_t alert[16];

		tls_line_begin(&line, *state, 0, false);
		line.world->peer = NULL;
		assert_int_equal(send(line.peer.fd, rows[i], strlen(rows[i]), 0), strlen(rows[i]));
		check_failed_once(&line);
		/* The alert, then the end. */
		assert_int_equal(recv(line.peer.fd, alert, sizeof(alert), 0), 7);
		assert_int_equal(alert[0], SSL3_RT_ALERT);
		assert_int_equal(alert[5], SSL3_AL_FATAL);
		assert_int_equal(recv(line.peer.fd, alert, sizeof(alert), 0), 0);
		tls_line_close(&line);
	}
}

/* The peer goes away after so many bytes of its hello, in order or not. */
static void test_leaving_in_the_middle(void **state)
{
	for (size_t cut = 0; cut < 200; cut += 33) {
		for (int reset = 0; reset < 2; reset++) {
			struct tls_line line = {0};

			tls_line_begin(&line, *state, 0, false);
			line.world->peer = NULL;
			line.peer.hand_written = true;
			tls_peer_pump(&line.peer);
			if (cut > 0) {
				tls_peer_send(&line.peer, cut);
			}
			stream_world_settle(line.world);
			assert_string_equal(line.owner.events, "");
			if (reset) {
				reset_connection(line.peer.fd);
			} else {
				close(line.peer.fd);
			}
			line.peer.fd = -1;
			check_failed_once(&line);
			assert_string_equal(line.owner.why.text + strlen("TLS handshake: "),
					    reset ? "Connection reset by peer"
						  : "the peer closed the connection");
			tls_line_close(&line);
		}
	}
}

/* It has our flight, and goes instead of finishing. */
static void test_leaving_before_finished(void **state)
{
	for (size_t i = 0; i < array_length(line_versions) * 2; i++) {
		struct tls_line line = {0};

		tls_line_begin(&line, *state, line_versions[i / 2], false);
		line.peer.hand_written = true;
		tls_peer_pump(&line.peer);
		tls_peer_send(&line.peer, line.peer.outgoing.length);
		while (line.peer.outgoing.length == 0) {
			stream_world_turn(line.world);
			tls_peer_pump(&line.peer);
		}
		line.world->peer = NULL;
		if (i % 2 == 0) {
			close(line.peer.fd);
		} else {
			reset_connection(line.peer.fd);
		}
		line.peer.fd = -1;
		check_failed_once(&line);
		tls_line_close(&line);
	}
}

/* close_notify in place of a hello, and a client that does not like our certificate. */
static void test_alerts_of_the_peer(void **state)
{
	static const uint8_t close_notify[] = {21, 3, 1, 0, 2, 1, 0};
	static const uint8_t unknown_ca[] = {21, 3, 1, 0, 2, 2, 48};
	struct tls_line line = {0};

	tls_line_begin(&line, *state, 0, false);
	line.world->peer = NULL;
	assert_int_equal(send(line.peer.fd, close_notify, sizeof(close_notify), 0), 7);
	check_failed_once(&line);
	assert_string_equal(line.owner.why.text, "TLS handshake: the peer closed the connection");
	tls_line_close(&line);

	line = (struct tls_line){0};
	tls_line_begin(&line, *state, 0, false);
	line.world->peer = NULL;
	assert_int_equal(send(line.peer.fd, unknown_ca, sizeof(unknown_ca), 0), 7);
	check_failed_once(&line);
	assert_string_equal(line.owner.why.text, "TLS handshake: TLSV1_ALERT_UNKNOWN_CA");
	tls_line_close(&line);
}

static void test_handshake_byte_by_byte(void **state)
{
	for (size_t i = 0; i < array_length(line_versions); i++) {
		struct tls_line line = {0};

		tls_line_begin(&line, *state, line_versions[i], false);
		line.peer.hand_written = true;
		while (!line.peer.finished || line.owner.events[0] == '\0') {
			tls_peer_pump(&line.peer);
			if (line.peer.outgoing.length > 0) {
				tls_peer_send(&line.peer, 1);
			}
			stream_world_turn(line.world);
		}
		assert_string_equal(line.owner.events, "R");
		tls_line_close(&line);
	}
}

/* The client's first command comes with its Finished, before we have said a word. */
static void test_early_command(void **state)
{
	for (int quiet = 0; quiet < 2; quiet++) {
		struct tls_line line = {.owner.quiet = quiet != 0};

		tls_line_begin(&line, *state, TLS1_3_VERSION, false);
		line.peer.hand_written = true;
		while (!line.peer.finished) {
			tls_peer_pump(&line.peer);
			if (!line.peer.finished && line.peer.outgoing.length > 0) {
				tls_peer_send(&line.peer, line.peer.outgoing.length);
			}
			stream_world_turn(line.world);
		}
		tls_peer_write(&line.peer, line_pattern, 1000, 10);
		tls_line_send_all(&line);
		stream_world_settle(line.world);
		if (quiet) {
			assert_string_equal(line.owner.events, "R");
			stream_set_reading(&line.owner.stream, true);
			stream_world_settle(line.world);
		}
		assert_string_equal(line.owner.events, "Rr");
		tls_line_check_received(&line, 1000);
		tls_line_close(&line);
	}
}

/* A client that sends, but does not take our flight, costs no turns. */
static void test_deaf_client(void **state)
{
	struct tls_files large;
	struct tls_line line = {0};
	struct stream_world *world = *state;
	unsigned turns;

	tls_files_make(&large, 10 * MEBIBYTE);
	world->context = tls_files_context(&large);
	tls_line_begin(&line, *state, TLS1_3_VERSION, true);
	line.peer.deaf = true;
	stream_world_settle(line.world);
	assert_true(stream_is_congested(&line.owner.stream));
	assert_int_equal(send(line.peer.fd, "\x16\x03\x01", 3, 0), 3);
	line.world->peer = NULL;
	stream_world_settle(line.world);
	turns = line.world->turns;
	turns_for(line.world->loop, 50);
	assert_true(line.world->turns - turns < 20);
	assert_string_equal(line.owner.events, "");
	tls_line_close(&line);
	tls_files_remove(&large);
}

/* --- Reading -------------------------------------------------------------------------------- */

static void test_reading_in_pieces(void **state)
{
	static const size_t pieces[] = {1, 100, 16384, STREAM_CHUNK_MAX};
	static const size_t records[] = {1, 999, 16384};

	for (size_t i = 0; i < array_length(pieces) * array_length(records) * 2; i++) {
		size_t record = records[i / 2 % array_length(records)];
		size_t length = record == 1 ? 2000 : 40000;
		struct tls_line line = {.owner.piece = pieces[i / 2 / array_length(records)],
					.owner.reads = i / 2 % 2 == 0 ? 1 : 0};

		tls_line_open(&line, *state, line_versions[i % 2], false);
		tls_peer_write(&line.peer, line_pattern, length, record);
		stream_world_until_received(line.world, &line.owner.received, length);
		stream_world_settle(line.world);
		tls_line_check_received(&line, length);
		assert_string_equal(line.owner.events, "Rr");
		assert_null(line.owner.stream.held);
		tls_line_close(&line);
	}
}

/* The socket is silent from the beginning on: what is reported comes from within. */
static void test_reading_held_bytes(void **state)
{
	for (size_t i = 0; i < array_length(line_versions); i++) {
		struct tls_line line = {.owner.piece = 100, .owner.reads = 1};

		tls_line_open(&line, *state, line_versions[i], false);
		tls_peer_write(&line.peer, line_pattern, 3000, 500);
		tls_line_send_all(&line);
		stream_world_turn(line.world);
		while (line.owner.received.length < 3000) {
			size_t before = line.owner.received.length;
			unsigned readables = line.owner.readables;

			stream_set_reading(&line.owner.stream, false);
			stream_world_turn(line.world);
			stream_world_turn(line.world);
			assert_int_equal(line.owner.readables, readables);
			stream_set_reading(&line.owner.stream, true);
			stream_world_turn(line.world);
			assert_true(line.owner.received.length > before);
		}
		tls_line_check_received(&line, 3000);
		tls_line_close(&line);
	}
}

/* However slowly an owner reads and however much the peer has sent: one receive per turn, so that
 * no stream starves the others. */
static void test_fair_receiving(void **state)
{
	struct tls_line line = {.owner.piece = 64, .owner.reads = 1, .owner.quiet = true};
	unsigned turns = 0;

	tls_line_open(&line, *state, TLS1_3_VERSION, false);
	tls_peer_write(&line.peer, line_pattern, 110000, 1000);
	tls_line_send_all(&line);
	stream_set_reading(&line.owner.stream, true);
	while (line.owner.received.length < 110000) {
		size_t before = line.owner.received.length;

		stream_world_turn(line.world);
		/* What one receive brings, and what was there before. */
		assert_true(line.owner.received.length - before <= STREAM_CHUNK_MAX + 1000);
		turns++;
	}
	tls_line_check_received(&line, 110000);
	assert_true(turns >= 2);
	tls_line_close(&line);
}

/* However much the peer has sent: beside a record that is not whole, or not read out, only a sip of
 * it is kept; and a record that is there is whole within one turn. */
static void test_sipping(void **state)
{
	static const size_t records[] = {500, 16384};

	for (size_t i = 0; i < array_length(records); i++) {
		struct tls_line line = {.owner.piece = 100, .owner.reads = 1, .owner.quiet = true};

		tls_line_open(&line, *state, TLS1_3_VERSION, false);
		stream_set_sipping(&line.owner.stream, true);
		tls_peer_write(&line.peer, line_pattern, 49152, records[i]);
		tls_line_send_all(&line);
		while (line.owner.received.length < 49152) {
			size_t before = line.owner.received.length;

			stream_set_reading(&line.owner.stream, true);
			stream_world_turn(line.world);
			stream_set_reading(&line.owner.stream, false);
			assert_true(line.owner.received.length > before);
			assert_in_range(line.owner.stream.held_length, 0, STREAM_SIP_MAX);
		}
		tls_line_check_received(&line, 49152);
		tls_line_close(&line);
	}
}

static void test_one_byte_on_the_wire(void **state)
{
	struct tls_line line = {0};
	unsigned readables;

	tls_line_open(&line, *state, TLS1_3_VERSION, false);
	line.peer.hand_written = true;
	tls_peer_write(&line.peer, line_pattern, 50, 25);
	while (line.peer.outgoing.length > 0) {
		tls_peer_send(&line.peer, 1);
		usleep(100);
		stream_world_turn(line.world);
	}
	stream_world_settle(line.world);
	tls_line_check_received(&line, 50);
	readables = line.owner.readables;
	stream_world_settle(line.world);
	assert_int_equal(line.owner.readables, readables); /* nothing spins */
	tls_line_close(&line);
}

static void test_key_updates(void **state)
{
	struct tls_line line = {0};

	tls_line_open(&line, *state, TLS1_3_VERSION, false);
	for (int i = 0; i < 10; i++) {
		tls_peer_update(&line.peer);
		tls_peer_write(&line.peer, line_pattern + i * 100, 100, 0);
		stream_world_until_received(line.world, &line.owner.received,
					    (size_t)(i + 1) * 100);
		stream_write(&line.owner.stream, line_pattern + i * 10, 10);
		stream_world_until_received(line.world, &line.peer.received, (size_t)(i + 1) * 10);
	}
	tls_line_check_received(&line, 1000);
	assert_memory_equal(buffer_bytes(&line.peer.received), line_pattern, 100);
	/* Asked for again and again while we say nothing: the library has enough at some time. */
	for (int i = 0; i < 100; i++) {
		tls_peer_update(&line.peer);
		tls_peer_write(&line.peer, line_pattern + 1000, 1, 0);
	}
	stream_world_settle(line.world);
	assert_false(stream_is_congested(&line.owner.stream));
	tls_line_close(&line);
}

/* --- Writing -------------------------------------------------------------------------------- */

static void check_much(struct stream_world *world, uint16_t version, size_t step)
{
	struct tls_line line = {0};
	size_t written = 0;

	tls_line_open(&line, world, version, true);
	tls_peer_write(&line.peer, line_pattern, MEBIBYTE, step);
	while (written < MEBIBYTE) {
		size_t part = step < MEBIBYTE - written ? step : MEBIBYTE - written;

		stream_write(&line.owner.stream, line_pattern + written, part);
		written += part;
		/* A record adds 22 bytes under TLS 1.3 and 29 under TLS 1.2. */
		assert_true(line.owner.stream.spill_length <=
			    written + (written / step + 64) * 30 + 1024);
		if (written > MEBIBYTE / 2) {
			stream_world_turn(world);
			tls_peer_pump(&line.peer);
		}
	}
	stream_world_until_received(world, &line.peer.received, MEBIBYTE);
	stream_world_until_received(world, &line.owner.received, MEBIBYTE);
	stream_world_settle(world);
	tls_line_check_received(&line, MEBIBYTE);
	assert_int_equal(line.peer.received.length, MEBIBYTE);
	assert_memory_equal(buffer_bytes(&line.peer.received), line_pattern, MEBIBYTE);
	assert_true(line.owner.drains >= 1);
	assert_int_equal(line.owner.failures, 0);
	assert_null(line.owner.stream.spill);
	assert_null(line.owner.stream.held);
	tls_line_close(&line);
}

static void test_much_both_ways(void **state)
{
	for (size_t i = 0; i < array_length(line_versions); i++) {
		check_much(*state, line_versions[i], 5000);
		check_much(*state, line_versions[i], STREAM_CHUNK_MAX);
	}
}

/* The largest chunk in the smallest number of records fits into the shared buffer. */
static void test_chunk_sizes(void **state)
{
	static const size_t sizes[] = {1, 16383, 16384, 16385, 65535, 65536, 70000, 200000};

	for (size_t i = 0; i < array_length(sizes) * 2; i++) {
		struct tls_line line = {0};

		tls_line_open(&line, *state, line_versions[i % 2], false);
		stream_write(&line.owner.stream, NULL, 0);
		stream_write(&line.owner.stream, line_pattern, sizes[i / 2]);
		stream_world_until_received(line.world, &line.peer.received, sizes[i / 2]);
		assert_memory_equal(buffer_bytes(&line.peer.received), line_pattern, sizes[i / 2]);
		tls_line_close(&line);
	}
}

/* --- Two streams and the buffers they share ------------------------------------------------- */

/* In the event of one: read and write the other, which interrupts the one in the middle. */
static void disturb(struct stream_owner *owner)
{
	struct stream_owner *other = owner->other;
	uint8_t bytes[100];
	size_t count = 0;

	assert_int_equal(stream_read(&owner->stream, bytes, 10, &count, NULL), STREAM_READ_BYTES);
	assert_true(buffer_append(&owner->received, bytes, count));
	if (stream_is_open(&other->stream) && !stream_has_ended(&other->stream)) {
		if (stream_read(&other->stream, bytes, sizeof(bytes), &count, NULL) ==
		    STREAM_READ_BYTES) {
			assert_true(buffer_append(&other->received, bytes, count));
		}
		stream_write(&owner->stream, line_pattern, 1);
		stream_write(&other->stream, line_pattern, 1);
		stream_write(&owner->stream, line_pattern + 1, 1);
	}
	owner->on_readable = NULL;
}

static void test_shared_buffers(void **state)
{
	for (int round = 0; round < 4; round++) {
		struct tls_line lines[2] = {{.owner.quiet = true}, {.owner.quiet = true}};

		for (int i = 0; i < 2; i++) {
			tls_line_open(&lines[i], *state, line_versions[round % 2], false);
			lines[i].owner.other = &lines[1 - i].owner;
			lines[i].owner.on_readable = round < 2 || i == 0 ? disturb : NULL;
			lines[i].peer.hand_written = true;
			tls_peer_write(&lines[i].peer, line_pattern, 60000, 999);
			tls_line_send_all(&lines[i]);
		}
		stream_set_reading(&lines[0].owner.stream, true);
		stream_set_reading(&lines[1].owner.stream, true);
		for (int i = 0; i < 2; i++) {
			lines[0].world->peer = &lines[i].peer;
			stream_world_until_received(lines[0].world, &lines[i].owner.received,
						    60000);
			stream_world_settle(lines[0].world);
			tls_line_check_received(&lines[i], 60000);
			assert_true(lines[i].peer.received.length >= 1);
			assert_int_equal(lines[i].owner.failures, 0);
			assert_null(lines[i].owner.stream.held);
		}
		tls_line_close(&lines[0]);
		tls_line_close(&lines[1]);
	}
}

static struct tls_line *disturbed;
static struct tls_line *silent;

/* Reading another stream in the event of one gives neither a further receive. */
static void read_between(struct stream_owner *owner)
{
	uint8_t bytes[1000];
	size_t count = 0;

	while (stream_read(&owner->stream, bytes, sizeof(bytes), &count, NULL) ==
	       STREAM_READ_BYTES) {
		assert_true(buffer_append(&owner->received, bytes, count));
	}
	tls_peer_write(&disturbed->peer, line_pattern + 100, 100, 0);
	tls_line_send_all(disturbed);
	assert_int_equal(stream_read(&silent->owner.stream, bytes, 10, &count, NULL),
			 STREAM_READ_BYTES);
	assert_int_equal(stream_read(&owner->stream, bytes, sizeof(bytes), &count, NULL),
			 STREAM_READ_LATER);
	owner->on_readable = NULL;
}

static void test_one_receive_in_spite_of_others(void **state)
{
	struct tls_line lines[2] = {{.owner.on_readable = read_between}, {.owner.quiet = true}};
	uint8_t bytes[10];
	size_t count = 0;

	for (int i = 0; i < 2; i++) {
		tls_line_open(&lines[i], *state, TLS1_3_VERSION, false);
		lines[i].peer.hand_written = true;
	}
	for (int i = 0; i < 2; i++) {
		tls_peer_write(&lines[i].peer, line_pattern, 100, 10);
		tls_line_send_all(&lines[i]);
	}
	disturbed = &lines[0];
	silent = &lines[1];
	assert_int_equal(stream_read(&lines[1].owner.stream, bytes, 10, &count, NULL),
			 STREAM_READ_BYTES);
	stream_world_until_received(lines[0].world, &lines[0].owner.received, 200);
	tls_line_check_received(&lines[0], 200);
	tls_line_close(&lines[0]);
	tls_line_close(&lines[1]);
}

/* A worker's whole day in short: the plaintext of one goes to the other, and back, each way through
 * a socket that takes little. */
static void pass_on(struct stream_owner *owner)
{
	struct stream *to = &owner->other->stream;
	struct error error;
	size_t count;
	enum stream_read_result result = STREAM_READ_BYTES;

	while (result == STREAM_READ_BYTES && !stream_is_congested(to)) {
		result = stream_read(&owner->stream, owner->world->shared.chunk, STREAM_CHUNK_MAX,
				     &count, &error);
		if (result == STREAM_READ_BYTES) {
			stream_write(to, owner->world->shared.chunk, count);
		}
	}
	if (stream_is_congested(to)) {
		stream_set_reading(&owner->stream, false);
	}
}

static void resume_other(struct stream_owner *owner)
{
	stream_set_reading(&owner->other->stream, true);
}

static void test_relaying(void **state)
{
	struct tls_line lines[2] = {{.owner.reads = 1}, {.owner.reads = 1}};
	struct stream_world *world = *state;

	for (int i = 0; i < 2; i++) {
		tls_line_open(&lines[i], world, line_versions[i], true);
	}
	for (int i = 0; i < 2; i++) {
		lines[i].owner.other = &lines[1 - i].owner;
		lines[i].owner.on_readable = pass_on;
		lines[i].owner.on_drained = resume_other;
		tls_peer_write(&lines[i].peer, line_pattern, MEBIBYTE, i == 0 ? 777 : 0);
	}
	while (lines[0].peer.received.length < MEBIBYTE ||
	       lines[1].peer.received.length < MEBIBYTE) {
		world->peer = NULL;
		tls_peer_pump(&lines[0].peer);
		tls_peer_pump(&lines[1].peer);
		stream_world_turn(world);
		for (int i = 0; i < 2; i++) {
			/* One chunk sealed, and no more. */
			assert_true(lines[i].owner.stream.spill_length <= STREAM_CHUNK_MAX + 4096);
			lines[i].owner.events[1] = '\0';
			memset(lines[i].owner.events + 1, 0, sizeof(lines[i].owner.events) - 1);
		}
	}
	for (int i = 0; i < 2; i++) {
		assert_memory_equal(buffer_bytes(&lines[i].peer.received), line_pattern, MEBIBYTE);
		tls_line_close(&lines[i]);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, tls_line_begin_test, stream_world_end)

int main(void)
{
	const struct CMUnitTest handshakes[] = {
		TEST(test_no_tls_at_all),
		TEST(test_leaving_in_the_middle),
		TEST(test_leaving_before_finished),
		TEST(test_alerts_of_the_peer),
		TEST(test_handshake_byte_by_byte),
		TEST(test_early_command),
		TEST(test_deaf_client),
	};
	const struct CMUnitTest tests[] = {
		TEST(test_reading_in_pieces),
		TEST(test_reading_held_bytes),
		TEST(test_fair_receiving),
		TEST(test_sipping),
		TEST(test_one_byte_on_the_wire),
		TEST(test_key_updates),
		TEST(test_much_both_ways),
		TEST(test_chunk_sizes),
		TEST(test_shared_buffers),
		TEST(test_one_receive_in_spite_of_others),
		TEST(test_relaying),
	};
	int failed = cmocka_run_group_tests_name("handshakes of a server", handshakes,
						 tls_line_begin_group, tls_line_end_group);

	failed += cmocka_run_group_tests_name("stream as TLS's server", tests, tls_line_begin_group,
					      tls_line_end_group);
	failed += cmocka_run_group_tests_name("stream as TLS's client", tests,
					      tls_line_begin_client_group, tls_line_end_group);
	return failed;
}
