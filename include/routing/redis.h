/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to Redis per worker: commands in, replies out, in order, each bounded in time.
 * hiredis is the codec, net/stream.h the wire. A lost connection is made again with growing,
 * jittered pauses; questions that wait meanwhile are answered by their own deadline.
 */
#ifndef GATEPOST_ROUTING_REDIS_H
#define GATEPOST_ROUTING_REDIS_H

#include <stddef.h>

#include "base/base.h"

struct config_redis;
struct metrics;
struct redis;
struct redis_question;
struct resolver;
struct stream_loop;
struct timeouts;

/* Questions asked and not yet answered, per connection; one more is refused at once. And the
 * longest reply that is read, with all its framing; a longer one ends the connection. */
#define REDIS_IN_FLIGHT_MAX 1024
#define REDIS_REPLY_MAX     65536

enum redis_result {
	REDIS_STRING, /* `text`, `length` bytes, borrowed for the call */
	REDIS_NIL,    /* no such key or field */
	REDIS_FAILED, /* down, late, refused, an error reply or one of another type: `text` says in
		       * printable words */
};

typedef void redis_callback_t(struct redis_question *question, enum redis_result result,
			      const char *text, size_t length);

/* struct redis_question is embedded in the asker; zero is "nothing asked". */
struct redis_question {
	struct redis_pending *pending; /* NULL when nothing is being asked */
	redis_callback_t *callback;
};

/* What a connection to Redis is made of; all borrowed and outlives it. */
struct redis_settings {
	const struct config_redis *config;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
};

/* redis_new begins to connect. NULL when memory ran out. */
must_use struct redis *redis_new(const struct redis_settings *settings);

/* struct redis_command is a command of binary-safe words: `words[i]` has `lengths[i]` bytes. All
 * borrowed for the call. */
struct redis_command {
	size_t word_count;
	const char *const *words;
	const size_t *lengths;
};

/* redis_ask sends one command. Answers once through `callback` unless cancelled, at the latest when
 * the configured timeout is over, perhaps before it returns. */
void redis_ask(struct redis *redis, struct redis_question *question,
	       const struct redis_command *command, redis_callback_t *callback);

/* redis_cancel: the callback will not be called; the reply, when it comes, is dropped. */
void redis_cancel(struct redis_question *question);

/* redis_free closes the connection; no question may be waiting, and not from within a callback.
 * NULL is fine. */
void redis_free(struct redis *redis);

#endif
