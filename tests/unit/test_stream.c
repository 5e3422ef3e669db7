/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams without TLS: connecting, reading in all sizes, writing more than fits, every way to end,
 * and closing from within every callback. The other end is a bare socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/stream_world.h"
#include "support/tls_peer.h"

#define MEBIBYTE (1 << 20)

static uint8_t pattern[MEBIBYTE];

/* An open stream and the bare socket at its other end. */
struct line {
	struct stream_world *world;
	struct stream_owner owner;
	int peer;
	struct buffer heard; /* by the peer */
	bool fin;
	bool reset;
};

static void open_line(struct line *line, struct stream_world *world, bool small)
{
	int ours;

	stream_world_pair(small, &ours, &line->peer);
	line->world = world;
	stream_owner_accept(&line->owner, world, ours, NULL);
}

static void close_line(struct line *line)
{
	stream_owner_done(&line->owner);
	buffer_done(&line->heard);
	close(line->peer);
}

static void say(const struct line *line, const void *bytes, size_t length)
{
	assert_int_equal(send(line->peer, bytes, length, MSG_NOSIGNAL), length);
}

/* What the peer hears without waiting; true when that was something. */
static bool listen_once(struct line *line)
{
	uint8_t bytes[4096];
	ssize_t count = recv(line->peer, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (count > 0) {
		assert_true(buffer_append(&line->heard, bytes, (size_t)count));
	}
	line->fin = line->fin || count == 0;
	line->reset = line->reset || (count < 0 && errno != EAGAIN);
	return count > 0;
}

static bool heard_end(const void *context)
{
	struct line *line = (struct line *)context;

	listen_once(line);
	return line->fin || line->reset;
}

/* --- Connecting ----------------------------------------------------------------------------- */

static void check_connected(struct stream_world *world, const struct addr *address,
			    const char *path, int listening)
{
	struct stream_owner owner = {.world = world};
	struct error error = {0};
	uint8_t byte;
	int peer;

	assert_true(stream_connect(&owner.stream, &world->shared,
				   &(struct stream_target){.address = address, .path = path},
				   &stream_owner_events, &error));
	assert_string_equal(owner.events, ""); /* never before it returns */
	assert_true(stream_is_open(&owner.stream));
	stream_world_until_events(world, &owner, 1);
	assert_string_equal(owner.events, "R");
	peer = accept(listening, NULL, NULL);
	assert_true(peer >= 0);
	stream_write(&owner.stream, "x", 1);
	assert_int_equal(recv(peer, &byte, 1, 0), 1);
	assert_int_equal(send(peer, "y", 1, 0), 1);
	stream_world_until_received(world, &owner.received, 1);
	assert_string_equal(owner.events, "Rr");
	assert_null(stream_tls_version(&owner.stream));
	assert_null(stream_tls_cipher(&owner.stream));
	assert_null(stream_tls_server_name(&owner.stream));
	assert_false(stream_tls_resumed(&owner.stream));
	close(peer);
	stream_owner_done(&owner);
}

static void test_connect_ip(void **state)
{
	struct stream_world *world = *state;
	struct addr address;
	socklen_t length = sizeof(address.v4);
	struct stream_owner owner = {.world = world};
	struct error error = {0};
	int listening = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(addr_parse(&address, "127.0.0.1", 0));
	assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(listen(listening, 4), 0);
	check_connected(world, &address, NULL, listening);
	close(listening);
	assert_true(stream_connect(&owner.stream, &world->shared,
				   &(struct stream_target){.address = &address},
				   &stream_owner_events, &error));
	stream_world_until_count(world, &owner.failures, 1);
	assert_string_equal(owner.events, "F");
	assert_string_equal(owner.why.text, "Connection refused");
	assert_false(stream_is_open(&owner.stream));
	stream_world_settle(world);
	assert_string_equal(owner.events, "F");
}

static void test_connect_unix(void **state)
{
	struct stream_world *world = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stream_owner owner = {.world = world};
	struct error error = {0};
	char too_long[sizeof(address.sun_path) + 1];
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/gatepost-stream-%d",
		 (int)getpid());
	unlink(address.sun_path);
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listening, 4), 0);
	check_connected(world, NULL, address.sun_path, listening);
	close(listening);
	assert_false(stream_connect(&owner.stream, &world->shared,
				    &(struct stream_target){.path = address.sun_path},
				    &stream_owner_events, &error));
	assert_string_equal(error.text, "Connection refused");
	unlink(address.sun_path);
	assert_false(stream_connect(&owner.stream, &world->shared,
				    &(struct stream_target){.path = address.sun_path},
				    &stream_owner_events, &error));
	assert_string_equal(error.text, "No such file or directory");
	memset(too_long, 'x', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	assert_false(stream_connect(&owner.stream, &world->shared,
				    &(struct stream_target){.path = too_long}, &stream_owner_events,
				    &error));
	assert_string_equal(error.text, "File name too long");
	assert_false(stream_is_open(&owner.stream));
	stream_owner_done(&owner);
}

static void test_addresses(void **state)
{
	struct line line = {0};
	struct addr address;
	struct sockaddr_in theirs;
	socklen_t length = sizeof(theirs);

	open_line(&line, *state, false);
	assert_int_equal(getsockname(line.peer, (struct sockaddr *)&theirs, &length), 0);
	stream_peer(&line.owner.stream, &address);
	assert_int_equal(addr_port(&address), ntohs(theirs.sin_port));
	assert_int_equal(getpeername(line.peer, (struct sockaddr *)&theirs, &length), 0);
	stream_local(&line.owner.stream, &address);
	assert_int_equal(addr_port(&address), ntohs(theirs.sin_port));
	stream_close(&line.owner.stream);
	stream_peer(&line.owner.stream, &address);
	assert_int_equal(address.family, AF_UNSPEC);
	close_line(&line);
}

/* A descriptor is a descriptor, also the first of all. */
static void test_descriptor_zero(void **state)
{
	struct line line = {0};
	int saved = dup(0);

	assert_true(saved > 0);
	close(0);
	open_line(&line, *state, false); /* the sockets of the pair take 0, in some order */
	if (line.owner.stream.watcher.fd != 0) {
		int ours = line.owner.stream.watcher.fd;

		stream_close(&line.owner.stream);
		stream_world_pair(false, &ours, &line.peer);
		close(0);
		assert_int_equal(fcntl(ours, F_DUPFD, 0), 0);
		close(ours);
		line.owner = (struct stream_owner){0};
		stream_owner_accept(&line.owner, line.world, 0, NULL);
	}
	stream_close(&line.owner.stream);
	assert_false(ev_is_active(&line.owner.stream.watcher));
	assert_int_equal(fcntl(0, F_GETFD), -1);
	assert_int_equal(dup2(saved, 0), 0);
	close(saved);
	close_line(&line);
}

/* --- Reading -------------------------------------------------------------------------------- */

static void test_reading_in_pieces(void **state)
{
	static const size_t pieces[] = {1, 7, 4096, STREAM_CHUNK_MAX};

	for (size_t i = 0; i < array_length(pieces); i++) {
		struct line line = {.owner.piece = pieces[i]};

		open_line(&line, *state, false);
		say(&line, pattern, 5000);
		stream_world_until_received(line.world, &line.owner.received, 5000);
		stream_world_settle(line.world);
		assert_int_equal(line.owner.received.length, 5000);
		assert_memory_equal(buffer_bytes(&line.owner.received), pattern, 5000);
		assert_string_equal(line.owner.events, "Rr");
		/* One receive per event. */
		assert_true(line.owner.readables >= 5000 / pieces[i]);
		close_line(&line);
	}
}

static void test_reading_switched(void **state)
{
	struct line line = {.owner.quiet = true};

	open_line(&line, *state, false);
	say(&line, "abc", 3);
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "R");
	stream_set_reading(&line.owner.stream, true);
	assert_string_equal(line.owner.events, "R");
	stream_world_until_received(line.world, &line.owner.received, 3);
	stream_set_reading(&line.owner.stream, false);
	say(&line, "def", 3);
	stream_world_settle(line.world);
	assert_int_equal(line.owner.received.length, 3);
	stream_set_reading(&line.owner.stream, true);
	stream_set_reading(&line.owner.stream, false);
	stream_set_reading(&line.owner.stream, true);
	stream_world_until_received(line.world, &line.owner.received, 6);
	assert_memory_equal(buffer_bytes(&line.owner.received), "abcdef", 6);
	assert_false(line.owner.ended);
	close_line(&line);
}

/* Read without an event: allowed, and what is not there yet comes as an event. */
static void test_reading_outside(void **state)
{
	struct line line = {.owner.quiet = true};
	uint8_t bytes[8];
	size_t count = 0;

	open_line(&line, *state, false);
	assert_int_equal(stream_read(&line.owner.stream, bytes, sizeof(bytes), &count, NULL),
			 STREAM_READ_LATER);
	say(&line, "abc", 3);
	assert_int_equal(stream_read(&line.owner.stream, bytes, 2, &count, NULL),
			 STREAM_READ_BYTES);
	assert_int_equal(count, 2);
	assert_int_equal(stream_read(&line.owner.stream, bytes, 2, &count, NULL),
			 STREAM_READ_BYTES);
	assert_int_equal(count, 1);
	close_line(&line);
}

/* --- Writing -------------------------------------------------------------------------------- */

static bool heard_all(const void *context)
{
	struct line *line = (struct line *)context;

	for (int i = 0; i < 16 && listen_once(line); i++) {
	}
	return line->heard.length >= MEBIBYTE && line->owner.received.length >= MEBIBYTE;
}

struct talk {
	struct line line;
	size_t said;
};

static bool talked(const void *context)
{
	struct talk *talk = (struct talk *)context;
	size_t left = MEBIBYTE - talk->said;
	ssize_t sent = send(talk->line.peer, pattern + talk->said, left < 10000 ? left : 10000,
			    MSG_DONTWAIT | MSG_NOSIGNAL);

	talk->said += sent > 0 ? (size_t)sent : 0;
	return heard_all(&talk->line);
}

static void test_much_both_ways(void **state)
{
	struct talk talk = {0};
	struct line *line = &talk.line;
	const struct stream *stream = &line->owner.stream;
	size_t written = 0;

	open_line(line, *state, true);
	for (size_t size = 1; written < MEBIBYTE; size = size * 3 % 70001 + 1) {
		size_t part = size < MEBIBYTE - written ? size : MEBIBYTE - written;

		stream_write(&line->owner.stream, pattern + written, part);
		written += part;
		assert_true(stream->spill_length <= written);
		assert_int_equal(stream_is_congested(stream), stream->spill_length > 0);
	}
	assert_true(stream_is_congested(stream));
	stream_world_until(line->world, talked, &talk);
	stream_world_settle(line->world);
	assert_memory_equal(buffer_bytes(&line->heard), pattern, MEBIBYTE);
	assert_memory_equal(buffer_bytes(&line->owner.received), pattern, MEBIBYTE);
	assert_int_equal(line->owner.drains, 1);
	assert_null(stream->spill);
	assert_null(stream->held);
	close_line(line);
}

static void test_empty_writes(void **state)
{
	struct line line = {0};

	open_line(&line, *state, false);
	stream_write(&line.owner.stream, "", 0);
	stream_write(&line.owner.stream, NULL, 0);
	assert_false(stream_is_congested(&line.owner.stream));
	stream_world_settle(line.world);
	assert_false(listen_once(&line));
	assert_string_equal(line.owner.events, "R");
	close_line(&line);
}

/* --- Ends ----------------------------------------------------------------------------------- */

static void test_shutdown(void **state)
{
	static const enum stream_ending endings[] = {STREAM_ENDING_CLEAN, STREAM_ENDING_CUT};

	for (size_t i = 0; i < 2 * array_length(endings); i++) {
		struct line line = {0};
		size_t length = i < 2 ? 100 : MEBIBYTE / 2;

		open_line(&line, *state, i >= 2);
		stream_write(&line.owner.stream, pattern, length);
		assert_int_equal(stream_is_congested(&line.owner.stream), i >= 2);
		stream_shutdown(&line.owner.stream, endings[i % 2]);
		stream_shutdown(&line.owner.stream, endings[i % 2]);
		stream_write(&line.owner.stream, "ignored", 7);
		stream_world_until(line.world, heard_end, &line);
		assert_true(line.fin);
		assert_int_equal(line.heard.length, length);
		assert_memory_equal(buffer_bytes(&line.heard), pattern, length);
		say(&line, "still", 5); /* reading goes on */
		stream_world_until_received(line.world, &line.owner.received, 5);
		stream_write(&line.owner.stream, "ignored", 7);
		shutdown(line.peer, SHUT_WR);
		stream_world_until_flag(line.world, &line.owner.ended);
		assert_int_equal(line.owner.ending, STREAM_READ_END);
		assert_true(stream_has_ended(&line.owner.stream));
		assert_int_equal(line.owner.failures, 0);
		close_line(&line);
	}
}

/* The end is told once, and costs no turns afterwards. */
static void test_end_of_input(void **state)
{
	struct line line = {0};
	unsigned readables;

	open_line(&line, *state, false);
	assert_false(stream_has_ended(&line.owner.stream));
	say(&line, "abc", 3);
	shutdown(line.peer, SHUT_WR);
	stream_world_until_flag(line.world, &line.owner.ended);
	assert_int_equal(line.owner.ending, STREAM_READ_END);
	assert_memory_equal(buffer_bytes(&line.owner.received), "abc", 3);
	readables = line.owner.readables;
	stream_set_reading(&line.owner.stream, true);
	stream_world_settle(line.world);
	assert_int_equal(line.owner.readables, readables);
	stream_write(&line.owner.stream, "answer", 6);
	stream_world_settle(line.world);
	assert_true(listen_once(&line));
	close_line(&line);
}

static void test_reset(void **state)
{
	struct line line = {0};

	open_line(&line, *state, false);
	reset_connection(line.peer);
	line.peer = -1;
	stream_world_until_flag(line.world, &line.owner.ended);
	assert_int_equal(line.owner.ending, STREAM_READ_FAILED);
	assert_string_equal(line.owner.why.text, "Connection reset by peer");
	assert_true(stream_has_ended(&line.owner.stream));
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "Rr");
	close_line(&line);
}

/* Our sending fails first; what the peer said before it went comes before the bad news. */
static void test_last_words(void **state)
{
	static const size_t lengths[] = {10, 100000};

	for (size_t i = 0; i < array_length(lengths); i++) {
		struct line line = {0};

		open_line(&line, *state, false);
		say(&line, pattern, lengths[i]);
		reset_connection(line.peer);
		line.peer = -1;
		stream_write(&line.owner.stream, "x", 1);
		assert_string_equal(line.owner.events, "R"); /* never from within stream_write */
		stream_write(&line.owner.stream, "y", 1);
		stream_world_until_count(line.world, &line.owner.failures, 1);
		assert_int_equal(line.owner.received.length, lengths[i]);
		assert_memory_equal(buffer_bytes(&line.owner.received), pattern, lengths[i]);
		assert_string_equal(line.owner.events, "RrF");
		assert_false(stream_is_open(&line.owner.stream));
		close_line(&line);
	}
}

/* The same while the owner does not want to read: the failure does not wait for it. */
static void test_failure_unread(void **state)
{
	struct line line = {.owner.quiet = true};

	open_line(&line, *state, false);
	say(&line, pattern, 100);
	reset_connection(line.peer);
	line.peer = -1;
	stream_write(&line.owner.stream, "x", 1);
	stream_world_until_count(line.world, &line.owner.failures, 1);
	assert_string_equal(line.owner.events, "RF");
	assert_non_null(strstr("Broken pipe Connection reset by peer", line.owner.why.text));
	close_line(&line);
}

/* Spilled bytes that nobody will ever take. */
static void test_failure_of_spill(void **state)
{
	struct line line = {0};

	open_line(&line, *state, true);
	stream_write(&line.owner.stream, pattern, MEBIBYTE);
	assert_true(stream_is_congested(&line.owner.stream));
	reset_connection(line.peer);
	line.peer = -1;
	stream_world_until_events(line.world, &line.owner, 2);
	stream_world_settle(line.world);
	assert_true(line.owner.failures == 1 ||
		    (line.owner.ended && line.owner.ending == STREAM_READ_FAILED));
	assert_int_equal(line.owner.drains, 0);
	close_line(&line);
}

/* --- Closing from within -------------------------------------------------------------------- */

static void close_self(struct stream_owner *owner)
{
	stream_close(&owner->stream);
}

static void close_other(struct stream_owner *owner)
{
	stream_close(&owner->other->stream);
	owner->on_readable = NULL;
}

static void test_closing_in_ready(void **state)
{
	struct line line = {.owner.on_ready = close_self};

	open_line(&line, *state, false);
	assert_false(stream_is_open(&line.owner.stream));
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "R");
	close_line(&line);
}

static void test_closing_in_readable(void **state)
{
	struct line line = {.owner.on_readable = close_self};

	open_line(&line, *state, false);
	say(&line, "abc", 3);
	stream_world_until_count(line.world, &line.owner.readables, 1);
	stream_world_settle(line.world);
	assert_string_equal(line.owner.events, "Rr");
	close_line(&line);
}

static void test_closing_in_drained(void **state)
{
	struct line line = {.owner.on_drained = close_self};

	open_line(&line, *state, true);
	say(&line, "abc", 3);
	stream_set_reading(&line.owner.stream, false);
	stream_write(&line.owner.stream, pattern, 300000);
	stream_world_until(line.world, heard_end, &line);
	assert_int_equal(line.owner.drains, 1);
	assert_false(stream_is_open(&line.owner.stream));
	close_line(&line);
}

static void reconnect(struct stream_owner *owner)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct error error = {0};

	owner->on_failed = NULL;
	owner->on_readable = NULL;
	stream_close(&owner->stream);
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/gatepost-again-%d",
		 (int)getpid());
	assert_true(stream_connect(&owner->stream, &owner->world->shared,
				   &(struct stream_target){.path = address.sun_path},
				   &stream_owner_events, &error));
}

/* The same stream, connected anew in the middle of the failure of its former life. */
static void check_reconnecting(struct line *line)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/gatepost-again-%d",
		 (int)getpid());
	unlink(address.sun_path);
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listening, 4), 0);
	reset_connection(line->peer);
	stream_write(&line->owner.stream, "x", 1);
	stream_world_until_events(line->world, &line->owner, 3);
	line->peer = accept(listening, NULL, NULL);
	stream_world_settle(line->world);
	assert_int_equal(line->owner.stream.phase, STREAM_OPEN);
	say(line, "new", 3);
	stream_world_until_received(line->world, &line->owner.received, 3);
	assert_memory_equal(buffer_bytes(&line->owner.received), "new", 3);
	close(listening);
	unlink(address.sun_path);
}

static void test_reconnecting_in_failed(void **state)
{
	struct line line = {.owner.on_failed = reconnect, .owner.quiet = true};

	open_line(&line, *state, false);
	line.owner.quiet = false;
	check_reconnecting(&line);
	assert_string_equal(line.owner.events, "RFRr");
	close_line(&line);
}

static void test_reconnecting_in_readable(void **state)
{
	struct line line = {.owner.on_readable = reconnect};

	open_line(&line, *state, false);
	check_reconnecting(&line);
	assert_string_equal(line.owner.events, "RrRr");
	close_line(&line);
}

/* Two streams have an event in the same turn; the first to be told closes the other. */
static void test_closing_each_other(void **state)
{
	struct line lines[2] = {{.owner.on_readable = close_other},
				{.owner.on_readable = close_other}};
	unsigned open = 0;

	for (int i = 0; i < 2; i++) {
		lines[i].owner.other = &lines[1 - i].owner;
		open_line(&lines[i], *state, false);
	}
	say(&lines[0], "a", 1);
	say(&lines[1], "b", 1);
	usleep(1000);
	stream_world_settle(lines[0].world);
	for (int i = 0; i < 2; i++) {
		open += stream_is_open(&lines[i].owner.stream);
		assert_int_equal(lines[i].owner.readables, stream_is_open(&lines[i].owner.stream));
	}
	assert_int_equal(open, 1);
	close_line(&lines[0]);
	close_line(&lines[1]);
}

/* Closed by the other in the turn in which its sending failed: no event follows. */
static void test_closing_failed_other(void **state)
{
	struct line lines[2] = {{.owner.on_readable = close_other}, {0}};

	lines[0].owner.other = &lines[1].owner;
	open_line(&lines[0], *state, false);
	open_line(&lines[1], *state, false);
	reset_connection(lines[1].peer);
	lines[1].peer = -1;
	stream_set_reading(&lines[1].owner.stream, false);
	say(&lines[0], "a", 1);
	usleep(1000);
	stream_write(&lines[1].owner.stream, "x", 1);
	stream_close(&lines[1].owner.stream);
	stream_world_settle(lines[0].world);
	assert_string_equal(lines[1].owner.events, "R");
	assert_string_equal(lines[0].owner.events, "Rr");
	close_line(&lines[0]);
	close_line(&lines[1]);
}

/* --- Releasing ------------------------------------------------------------------------------ */

/* The descriptor goes on as another stream. */
static void test_release(void **state)
{
	struct line line = {0};
	struct stream_owner heir = {0};
	struct source *source = NULL;
	int fd;

	open_line(&line, *state, false);
	stream_write(&line.owner.stream, "before", 6);
	fd = stream_release(&line.owner.stream, &source);
	assert_true(fd >= 0);
	assert_null(source);
	assert_false(stream_is_connected(&line.owner.stream));
	assert_int_equal(stream_release(&line.owner.stream, &source), -1);
	stream_owner_accept(&heir, line.world, fd, NULL);
	assert_true(stream_is_connected(&heir.stream));
	say(&line, "hello", 5);
	stream_world_until_received(line.world, &heir.received, 5);
	assert_int_equal(line.owner.received.length, 0);
	stream_shutdown(&heir.stream, STREAM_ENDING_CUT);
	stream_world_until(line.world, heard_end, &line);
	assert_int_equal(line.heard.length, 6);
	assert_true(line.fin);
	stream_owner_done(&heir);
	close_line(&line);
}

static void test_closed_is_quiet(void **state)
{
	struct stream_world *world = *state;
	struct stream_owner owner = {.world = world};

	assert_false(stream_is_open(&owner.stream));
	assert_false(stream_is_congested(&owner.stream));
	assert_false(stream_has_ended(&owner.stream));
	stream_close(&owner.stream);
	stream_write(&owner.stream, "x", 1);
	stream_shutdown(&owner.stream, STREAM_ENDING_CLEAN);
	stream_set_reading(&owner.stream, true);
	stream_owner_done(&owner);
	stream_world_settle(world);
	assert_string_equal(owner.events, "");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, stream_world_begin, stream_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connect_ip),
		TEST(test_connect_unix),
		TEST(test_addresses),
		TEST(test_descriptor_zero),
		TEST(test_reading_in_pieces),
		TEST(test_reading_switched),
		TEST(test_reading_outside),
		TEST(test_much_both_ways),
		TEST(test_empty_writes),
		TEST(test_shutdown),
		TEST(test_end_of_input),
		TEST(test_reset),
		TEST(test_last_words),
		TEST(test_failure_unread),
		TEST(test_failure_of_spill),
		TEST(test_closing_in_ready),
		TEST(test_closing_in_readable),
		TEST(test_closing_in_drained),
		TEST(test_reconnecting_in_failed),
		TEST(test_reconnecting_in_readable),
		TEST(test_closing_each_other),
		TEST(test_closing_failed_other),
		TEST(test_release),
		TEST(test_closed_is_quiet),
	};

	stream_pattern(pattern, sizeof(pattern), 1);
	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
