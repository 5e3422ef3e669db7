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

#include "base/base.h"
#include "base/buffer.h"
#include "base/error.h"
#include "routing/redis.h"

/* Elements of all arrays of one reply together. No command of ours is answered by an array; small
 * ones are read only so that a wrong lookup command does not cost the connection. */
#define REDIS_ELEMENTS_MAX 1024

/* struct redis_guard follows the framing of replies byte by byte; zero is "at the start of one". */
struct redis_guard {
	char header[24]; /* type and number of the element that is just being read */
	size_t header_length;
	size_t element_count; /* announced by this reply so far */
	size_t elements_left; /* to come, once the reply has begun */
	size_t body_left;     /* bytes of a string and its CRLF to come */
	size_t reply_length;  /* bytes of this reply so far */
	bool begun;
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

enum redis_reply_kind {
	REDIS_REPLY_IS_TEXT, /* a string */
	REDIS_REPLY_IS_NIL,
	REDIS_REPLY_IS_STATUS, /* "OK" and its kin */
	REDIS_REPLY_IS_ERROR,
	REDIS_REPLY_IS_OTHER, /* an integer or an array */
};

/* struct redis_reply_view is a complete reply; `object` owns what `text` points at. */
struct redis_reply_view {
	size_t used; /* bytes that this feed took */
	enum redis_reply_kind kind;
	const char *text; /* of TEXT, STATUS and ERROR; NUL-terminated, may hold others */
	size_t length;
	void *object;
};

/* struct redis_codec reads the replies of one connection. */
struct redis_codec {
	struct redis_guard guard;
	struct redisReader *reader;
};

enum redis_codec_verdict {
	REDIS_CODEC_MORE,   /* all bytes were taken; the reply is not complete */
	REDIS_CODEC_REPLY,  /* reply->used bytes were taken; it goes to redis_reply_done */
	REDIS_CODEC_BROKEN, /* `error` says why; end the connection */
};

/* redis_codec_init: false when memory ran out. */
must_use bool redis_codec_init(struct redis_codec *codec);

/* redis_codec_feed takes `length` > 0 received bytes up to the end of one reply. */
enum redis_codec_verdict redis_codec_feed(struct redis_codec *codec, const void *bytes,
					  size_t length, struct redis_reply_view *reply,
					  struct error *error);

/* redis_reply_explain says what a reply that is no use says: the words of an error, escaped, or
 * that its type is wrong. */
void redis_reply_explain(const struct redis_reply_view *reply, struct error *error);

void redis_reply_done(struct redis_reply_view *reply);
void redis_codec_done(struct redis_codec *codec);

/* redis_codec_write appends a command of binary-safe words; out->failed when memory ran out. */
void redis_codec_write(struct buffer *out, const struct redis_command *command);

#endif
