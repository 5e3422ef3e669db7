/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing run of bytes that leaves nothing readable behind.
 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_CAPACITY 64

const uint8_t *buffer_bytes(const struct buffer *buffer)
{
	static const uint8_t nothing[1];

	return buffer->data != NULL ? buffer->data + buffer->start : nothing;
}

static void move_to_front(struct buffer *buffer)
{
	size_t old_end = buffer->start + buffer->length;

	memmove(buffer->data, buffer->data + buffer->start, buffer->length);
	explicit_bzero(buffer->data + buffer->length, old_end - buffer->length);
	buffer->start = 0;
}

static size_t next_capacity(size_t current, size_t needed)
{
	size_t capacity = current > SMALLEST_CAPACITY ? current : SMALLEST_CAPACITY;

	while (capacity < needed) {
		capacity *= 2;
	}
	return capacity;
}

/* realloc would leave a readable copy of the bytes behind, so: new block, copy, wipe, free. */
static bool grow(struct buffer *buffer, size_t needed)
{
	size_t capacity = next_capacity(buffer->capacity, needed);
	uint8_t *data = malloc(capacity);

	if (data == NULL) {
		buffer->failed = true;
		return false;
	}
	memcpy(data, buffer_bytes(buffer), buffer->length);
	if (buffer->data != NULL) {
		explicit_bzero(buffer->data, buffer->capacity);
		free(buffer->data);
	}
	buffer->data = data;
	buffer->start = 0;
	buffer->capacity = capacity;
	return true;
}

static bool make_room(struct buffer *buffer, size_t count)
{
	if (buffer->failed || count > SIZE_MAX / 4 - buffer->length) {
		buffer->failed = true;
		return false;
	}
	if (buffer->start + buffer->length + count <= buffer->capacity) {
		return true;
	}
	if (buffer->length + count <= buffer->capacity) {
		move_to_front(buffer);
		return true;
	}
	return grow(buffer, buffer->length + count);
}

bool buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
	if (length == 0) {
		return !buffer->failed;
	}
	if (!make_room(buffer, length)) {
		return false;
	}
	memcpy(buffer->data + buffer->start + buffer->length, bytes, length);
	buffer->length += length;
	return true;
}

bool buffer_append_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

bool buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
	return buffer_append(buffer, &byte, 1);
}

bool buffer_printf(struct buffer *buffer, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	int length;
	bool appended;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	invariant(length >= 0 && (size_t)length < sizeof(text));
	appended = buffer_append(buffer, text, (size_t)length);
	explicit_bzero(text, (size_t)length);
	return appended;
}

void buffer_consume(struct buffer *buffer, size_t count)
{
	if (count > buffer->length) {
		count = buffer->length;
	}
	if (count == 0) {
		return;
	}
	explicit_bzero(buffer->data + buffer->start, count);
	buffer->start += count;
	buffer->length -= count;
	if (buffer->length == 0) {
		buffer->start = 0;
	}
}

void buffer_truncate(struct buffer *buffer, size_t length)
{
	if (length >= buffer->length) {
		return;
	}
	explicit_bzero(buffer->data + buffer->start + length, buffer->length - length);
	buffer->length = length;
}

void buffer_done(struct buffer *buffer)
{
	if (buffer->data != NULL) {
		explicit_bzero(buffer->data, buffer->capacity);
		free(buffer->data);
	}
	*buffer = (struct buffer){0};
}
