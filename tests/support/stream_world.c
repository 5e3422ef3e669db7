/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams under test and their owners.
 */
#include "support/stream_world.h"

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

#include "support/tls_peer.h"

#define PATIENCE_SECONDS 30
#define QUIET_TURNS      10

static void count_turn(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
	(void)loop;
	(void)events;
	((struct stream_world *)watcher->data)->turns++;
}

int stream_world_begin(void **state)
{
	struct stream_world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_non_null(world->loop);
	assert_true(stream_loop_init(&world->shared, world->loop, 300));
	ev_prepare_init(&world->watcher, count_turn);
	world->watcher.data = world;
	ev_prepare_start(world->loop, &world->watcher);
	*state = world;
	return 0;
}

int stream_world_end(void **state)
{
	struct stream_world *world = *state;

	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	free(world);
	return 0;
}

void stream_world_turn(struct stream_world *world)
{
	ev_run(world->loop, EVRUN_NOWAIT);
	assert_null(world->shared.current);
	assert_null(world->shared.reading);
	assert_null(world->shared.writing);
}

static bool turn_both(struct stream_world *world)
{
	stream_world_turn(world);
	return world->peer != NULL && tls_peer_pump(world->peer);
}

void stream_world_until(struct stream_world *world, bool (*done)(const void *context),
			const void *context)
{
	time_t begin = time(NULL);

	while (!done(context)) {
		if (!turn_both(world)) {
			usleep(20);
		}
		assert_true(time(NULL) - begin < PATIENCE_SECONDS);
	}
}

void stream_world_settle(struct stream_world *world)
{
	for (int quiet = 0; quiet < QUIET_TURNS; quiet++) {
		if (turn_both(world)) {
			quiet = 0;
		}
		usleep(500);
	}
}

struct awaited {
	const unsigned *counter;
	const struct buffer *buffer;
	const struct stream_owner *owner;
	size_t count;
};

static bool count_reached(const void *context)
{
	const struct awaited *awaited = context;

	return *awaited->counter >= awaited->count;
}

static bool length_reached(const void *context)
{
	const struct awaited *awaited = context;

	return awaited->buffer->length >= awaited->count;
}

static bool events_reached(const void *context)
{
	const struct awaited *awaited = context;

	return strlen(awaited->owner->events) >= awaited->count;
}

static bool flag_set(const void *context)
{
	return *(const bool *)context;
}

void stream_world_until_count(struct stream_world *world, const unsigned *counter, unsigned count)
{
	stream_world_until(world, count_reached,
			   &(struct awaited){.counter = counter, .count = count});
}

void stream_world_until_received(struct stream_world *world, const struct buffer *buffer,
				 size_t length)
{
	stream_world_until(world, length_reached,
			   &(struct awaited){.buffer = buffer, .count = length});
}

void stream_world_until_events(struct stream_world *world, const struct stream_owner *owner,
			       size_t count)
{
	stream_world_until(world, events_reached,
			   &(struct awaited){.owner = owner, .count = count});
}

void stream_world_until_flag(struct stream_world *world, const bool *flag)
{
	stream_world_until(world, flag_set, flag);
}

static void make_small(int fd)
{
	int size = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

void stream_world_pair(bool small, int *ours, int *theirs)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_true(listening >= 0);
	if (small) {
		make_small(listening);
	}
	assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	*theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (small) {
		make_small(*theirs);
	}
	assert_int_equal(connect(*theirs, (struct sockaddr *)&address, length), 0);
	*ours = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*ours >= 0);
	assert_int_equal(setsockopt(*theirs, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	close(listening);
}

/* --- The owner ------------------------------------------------------------------------------ */

static struct stream_owner *note(struct stream *stream, char letter)
{
	struct stream_owner *owner = container_of(stream, struct stream_owner, stream);
	size_t length = strlen(owner->events);

	if (letter != 'r' || length == 0 || owner->events[length - 1] != 'r') {
		assert_true(length + 1 < sizeof(owner->events));
		owner->events[length] = letter;
	}
	return owner;
}

static void call(stream_owner_hook_t *hook, struct stream_owner *owner)
{
	if (hook != NULL) {
		hook(owner);
	}
}

static void owner_ready(struct stream *stream)
{
	struct stream_owner *owner = note(stream, 'R');

	if (!owner->quiet) {
		stream_set_reading(stream, true);
	}
	call(owner->on_ready, owner);
}

/* True when there may be more. */
static bool read_once(struct stream_owner *owner, uint8_t *bytes)
{
	size_t size = owner->piece != 0 ? owner->piece : STREAM_CHUNK_MAX;
	size_t count = 0;
	enum stream_read_result result =
		stream_read(&owner->stream, bytes, size, &count, &owner->why);

	switch (result) {
	case STREAM_READ_BYTES:
		assert_true(count > 0 && count <= size);
		assert_true(buffer_append(&owner->received, bytes, count));
		return true;
	case STREAM_READ_LATER:
		return false;
	default:
		assert_false(owner->ended);
		owner->ended = true;
		owner->ending = result;
		return false;
	}
}

static void owner_readable(struct stream *stream)
{
	struct stream_owner *owner = note(stream, 'r');
	unsigned reads = 0;

	owner->readables++;
	call(owner->on_readable, owner);
	while (stream->phase == STREAM_OPEN && stream->reading &&
	       (owner->reads == 0 || reads < owner->reads)) {
		reads++;
		if (!read_once(owner, stream->shared->chunk)) {
			break;
		}
	}
}

static void owner_drained(struct stream *stream)
{
	struct stream_owner *owner = note(stream, 'd');

	owner->drains++;
	assert_false(stream_is_congested(stream));
	call(owner->on_drained, owner);
}

static void owner_failed(struct stream *stream, const struct error *why)
{
	struct stream_owner *owner = note(stream, 'F');

	owner->failures++;
	owner->why = *why;
	assert_true(why->text[0] != '\0');
	call(owner->on_failed, owner);
}

const struct stream_events stream_owner_events = {
	.ready = owner_ready,
	.readable = owner_readable,
	.drained = owner_drained,
	.failed = owner_failed,
};

void stream_owner_accept(struct stream_owner *owner, struct stream_world *world, int fd,
			 struct ssl_ctx_st *context)
{
	owner->world = world;
	assert_true(stream_accept(&owner->stream, &world->shared, fd, context,
				  &stream_owner_events));
}

void stream_owner_done(struct stream_owner *owner)
{
	stream_close(&owner->stream);
	stream_close(&owner->stream);
	assert_false(stream_is_open(&owner->stream));
	buffer_done(&owner->received);
}

void stream_pattern(uint8_t *bytes, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}
