/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands to Redis and its replies, as the rooms above the codec see them.
 */
#ifndef GATEPOST_ROUTING_REDIS_REPLY_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_REPLY_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* struct redis_command is a command of binary-safe words: `words[i]` has `lengths[i]` bytes. All
 * borrowed for the call. */
struct redis_command {
	size_t word_count;
	const char *const *words;
	const size_t *lengths;
};

enum redis_reply_kind {
	REDIS_REPLY_FAILED, /* there is none: down, late or refused; `text` says why, printable */
	REDIS_REPLY_TEXT,   /* a string: `text`, `length` */
	REDIS_REPLY_NIL,
	REDIS_REPLY_STATUS, /* "OK" and its kin: `text` */
	REDIS_REPLY_ERROR,  /* `text`, as the server has it */
	REDIS_REPLY_NUMBER, /* `number` */
	REDIS_REPLY_ARRAY,  /* `count` elements */
};

/* struct redis_reply: text is NUL-terminated, and may hold others. Borrowed for the call that
 * brings it. */
struct redis_reply {
	enum redis_reply_kind kind;
	const char *text;
	size_t length;
	int64_t number;
	size_t count;
	const void *object; /* the codec's */
};

/* redis_reply_element gives an element of an array, index < count. */
void redis_reply_element(const struct redis_reply *array, size_t index,
			 struct redis_reply *element);

/* redis_reply_explain says what a reply that is no use says: the words of an error, or why there is
 * none, escaped and cut; or that its type is wrong. */
void redis_reply_explain(const struct redis_reply *reply, struct error *error);

#endif
