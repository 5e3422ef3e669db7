/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire format of Redis (RESP 2): words to bytes, and bytes to replies. A guard reads along in
 * front of hiredis and refuses what would allocate or nest beyond reason, since hiredis believes
 * the lengths that a server announces.
 */
#ifndef GATEPOST_ROUTING_REDIS_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buffer.h"
#include "base/error.h"
#include "redis_reply_internal.h"

/* Arrays within arrays; CLUSTER SLOTS has four. */
#define REDIS_DEPTH_MAX 5

/* struct redis_limits: bytes of one reply with all its framing, and elements of all its arrays
 * together. */
struct redis_limits {
	size_t bytes;
	size_t elements;
};

/* struct redis_guard follows the framing of replies byte by byte; zero but for its limits is "at
 * the start of one". */
struct redis_guard {
	struct redis_limits limits;
	char header[24]; /* type and number of the element that is just being read */
	size_t header_length;
	size_t element_count;             /* announced by this reply so far */
	size_t elements[REDIS_DEPTH_MAX]; /* to come, of each array that is open */
	unsigned depth;
	size_t body_left;    /* bytes of a string and its CRLF to come */
	size_t reply_length; /* bytes of this reply so far */
	bool complete;
	bool line_open;   /* inside the line that begins an element */
	bool return_seen; /* the last byte of the line was CR */
};

enum redis_guard_verdict {
	REDIS_GUARD_MORE,    /* all bytes belong to a reply that is not complete */
	REDIS_GUARD_REPLY,   /* the first *used bytes complete a reply */
	REDIS_GUARD_REFUSED, /* `error` says why; nothing more may be read */
};

/* redis_guard_scan reads `length` > 0 bytes; see the verdicts. */
enum redis_guard_verdict redis_guard_scan(struct redis_guard *guard, const void *bytes,
					  size_t length, size_t *used, struct error *error);

/* struct redis_codec reads the replies of one connection. */
struct redis_codec {
	struct redis_guard guard;
	struct redisReader *reader;
};

enum redis_codec_verdict {
	REDIS_CODEC_MORE,   /* all bytes were taken; the reply is not complete */
	REDIS_CODEC_REPLY,  /* one was taken; it goes to redis_reply_done */
	REDIS_CODEC_BROKEN, /* `error` says why; end the connection */
};

/* redis_codec_init: false when memory ran out. */
must_use bool redis_codec_init(struct redis_codec *codec, const struct redis_limits *limits);

/* struct redis_input is what was received; redis_codec_feed moves it on. */
struct redis_input {
	const uint8_t *bytes;
	size_t length;
};

/* redis_codec_feed takes received bytes, at least one, up to the end of one reply. */
enum redis_codec_verdict redis_codec_feed(struct redis_codec *codec, struct redis_input *input,
					  struct redis_reply *reply, struct error *error);

void redis_reply_done(struct redis_reply *reply);
void redis_codec_done(struct redis_codec *codec);

/* redis_codec_write appends a command of binary-safe words; out->failed when memory ran out. */
void redis_codec_write(struct buffer *out, const struct redis_command *command);

/* redis_codec_write_text does so for words that are texts. */
void redis_codec_write_text(struct buffer *out, size_t count, const char *const *words);

#endif
