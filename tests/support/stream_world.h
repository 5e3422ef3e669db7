/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams under test, their owners that write down what they are told, and the loop that they live
 * in. The other end is a bare socket of the test, or a struct test_peer.
 */
#ifndef GATEPOST_TESTS_STREAM_WORLD_H
#define GATEPOST_TESTS_STREAM_WORLD_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "net/stream.h"

struct ssl_ctx_st;
struct stream_owner;
struct test_peer;

typedef void stream_owner_hook_t(struct stream_owner *owner);

struct stream_world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct ev_prepare watcher;
	unsigned turns;
	struct test_peer *peer; /* pumped by stream_world_until, NULL: none */
	struct ssl_ctx_st *context; /* of struct tls_line; the test's */
};

/* struct stream_owner: `events` is one letter per event: R ready, r readable (a run of them is one
 * letter), d drained, F failed. */
struct stream_owner {
	struct stream stream;
	struct stream_world *world;
	char events[64];
	unsigned readables;
	unsigned failures;
	unsigned drains;
	struct buffer received;
	bool ended;
	enum stream_read_result ending; /* once `ended` */
	struct error why;
	size_t piece;   /* bytes of one read; 0: as many as go */
	unsigned reads; /* reads of one event; 0: until there is nothing more */
	bool quiet;     /* `ready` does not switch reading on */
	struct stream_owner *other; /* for the hooks */
	stream_owner_hook_t *on_ready;
	stream_owner_hook_t *on_readable; /* before reading; may close the stream */
	stream_owner_hook_t *on_drained;
	stream_owner_hook_t *on_failed;
};

/* A cmocka setup and its teardown; the state is the struct stream_world. */
int stream_world_begin(void **state);
int stream_world_end(void **state);

/* stream_world_turn does what is to be done now, without waiting. */
void stream_world_turn(struct stream_world *world);

/* stream_world_until turns the loop and the peer until `done(context)`; a test that waits for what
 * does not come fails. */
void stream_world_until(struct stream_world *world, bool (*done)(const void *context),
			const void *context);
void stream_world_until_count(struct stream_world *world, const unsigned *counter, unsigned count);
void stream_world_until_received(struct stream_world *world, const struct buffer *buffer,
				 size_t length);
void stream_world_until_events(struct stream_world *world, const struct stream_owner *owner,
			       size_t count);
void stream_world_until_flag(struct stream_world *world, const bool *flag);

/* stream_world_settle turns until nothing is left to be done. */
void stream_world_settle(struct stream_world *world);

/* stream_world_pair makes a connected pair of TCP sockets over the loopback, ours non-blocking;
 * with `small` as little as possible fits on its way out. */
void stream_world_pair(bool small, int *ours, int *theirs);

/* stream_owner_accept hands `fd` to the owner's stream, as a server. */
void stream_owner_accept(struct stream_owner *owner, struct stream_world *world, int fd,
			 struct ssl_ctx_st *context);

/* stream_owner_done closes the stream and forgets what was received. */
void stream_owner_done(struct stream_owner *owner);

extern const struct stream_events stream_owner_events;

/* stream_pattern fills a block with bytes that tell a wrong order. */
void stream_pattern(uint8_t *bytes, size_t length, unsigned seed);

static inline bool stream_is_open(const struct stream *stream)
{
	return stream->phase != STREAM_CLOSED;
}

#endif
