/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing run of bytes, read at the front and written at the back. Used where bytes may be
 * secret: whatever leaves a buffer, or is left behind when it grows, is wiped.
 *
 *      data                start             start + length          capacity
 *      |--- consumed, wiped ---|--- bytes ---------|--- free ----------|
 */
#ifndef GATEPOST_BASE_BUFFER_H
#define GATEPOST_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* struct buffer: all zero is a valid empty buffer. `failed` is sticky: once memory ran out, every
 * append is ignored until buffer_done, so a writer checks once, at its end. */
struct buffer {
	uint8_t *data;
	size_t start;
	size_t length;
	size_t capacity;
	bool failed;
};

/* buffer_bytes points at the first byte; valid until the next append, consume or done. Never NULL.
 */
const uint8_t *buffer_bytes(const struct buffer *buffer);

/* buffer_append copies `length` bytes to the end. False, and `failed`, when memory ran out. */
bool buffer_append(struct buffer *buffer, const void *bytes, size_t length);

/* buffer_append_text appends a NUL-terminated string without its NUL. */
bool buffer_append_text(struct buffer *buffer, const char *text);

/* buffer_append_byte appends one byte. */
bool buffer_append_byte(struct buffer *buffer, uint8_t byte);

/* buffer_printf appends formatted text of at most 1023 bytes; longer text is an invariant. */
bool buffer_printf(struct buffer *buffer, const char *format, ...) printf_format(2, 3);

/* buffer_consume wipes and drops the first `count` bytes, at most all of them. */
void buffer_consume(struct buffer *buffer, size_t count);

/* buffer_truncate wipes and drops what lies behind the first `length` bytes. */
void buffer_truncate(struct buffer *buffer, size_t length);

/* buffer_done wipes, frees, and leaves the empty zero state. */
void buffer_done(struct buffer *buffer);

#endif
