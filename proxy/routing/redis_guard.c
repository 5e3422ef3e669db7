/* SPDX-License-Identifier: Apache-2.0
 *
 * The framing of Redis replies (RESP 2), and what of it is too much. Pure; the bytes are not
 * trusted.
 */
#include "redis_internal.h"

#include <stdlib.h>
#include <string.h>

static void close_line(struct redis_guard *guard)
{
	guard->header_length = 0;
	guard->line_open = false;
	guard->return_seen = false;
}

static void element_done(struct redis_guard *guard)
{
	close_line(guard);
	while (guard->depth > 0 && --guard->elements[guard->depth - 1] == 0) {
		guard->depth--;
	}
	guard->complete = guard->depth == 0;
}

static bool refuse_length(const struct redis_guard *guard, struct error *error)
{
	return error_set(error, "a reply of more than %zu bytes", guard->limits.bytes);
}

/* The number behind the type; false when it is none, or one that no reply of ours can have. */
static bool read_number(const struct redis_guard *guard, long *number)
{
	const char *digits = guard->header + 1;
	size_t count = guard->header_length - 1;

	if (count == 2 && memcmp(digits, "-1", 2) == 0) {
		*number = -1;
		return true;
	}
	if (count == 0 || count > 9 || strspn(digits, "0123456789") != count) {
		return false;
	}
	*number = strtol(digits, NULL, 10);
	return true;
}

static bool begin_string(struct redis_guard *guard, long length, struct error *error)
{
	if (length < 0) {
		element_done(guard);
		return true;
	}
	if (guard->reply_length + (size_t)length + 2 > guard->limits.bytes) {
		return refuse_length(guard, error);
	}
	guard->line_open = false;
	guard->body_left = (size_t)length + 2;
	return true;
}

static bool begin_array(struct redis_guard *guard, long count, struct error *error)
{
	if (count <= 0) {
		element_done(guard);
		return true;
	}
	guard->element_count += (size_t)count;
	if (guard->element_count > guard->limits.elements) {
		return error_set(error, "a reply of more than %zu elements",
				 guard->limits.elements);
	}
	if (guard->depth == REDIS_DEPTH_MAX) {
		return error_set(error, "a reply of more than %d arrays within each other",
				 REDIS_DEPTH_MAX);
	}
	guard->elements[guard->depth++] = (size_t)count;
	close_line(guard);
	return true;
}

static bool line_done(struct redis_guard *guard, struct error *error)
{
	long number = 0;

	if (guard->header[0] != '$' && guard->header[0] != '*') {
		element_done(guard);
		return true;
	}
	guard->header_length--; /* the CR */
	guard->header[guard->header_length] = '\0';
	if (!read_number(guard, &number)) {
		return error_set(error, "a reply with a length that cannot be");
	}
	return guard->header[0] == '$' ? begin_string(guard, number, error)
				       : begin_array(guard, number, error);
}

static bool line_begin(struct redis_guard *guard, char type, struct error *error)
{
	if (type == '\0' || strchr("+-:$*", type) == NULL) {
		return error_set(error, "a reply that begins with byte 0x%02X",
				 (unsigned char)type);
	}
	guard->line_open = true;
	guard->header[0] = type;
	guard->header_length = 1;
	return true;
}

static bool line_byte(struct redis_guard *guard, char byte, struct error *error)
{
	guard->reply_length++;
	if (!guard->line_open) {
		return line_begin(guard, byte, error);
	}
	if (guard->return_seen && byte == '\n') {
		return line_done(guard, error);
	}
	guard->return_seen = byte == '\r';
	if (guard->header_length < sizeof(guard->header) - 1) {
		guard->header[guard->header_length++] = byte;
	}
	return true;
}

/* Bytes of a string, up to its CRLF, which must be there. */
static bool body_bytes(struct redis_guard *guard, const char *bytes, size_t length, size_t *taken,
		       struct error *error)
{
	if (guard->body_left > 2) {
		*taken = length < guard->body_left - 2 ? length : guard->body_left - 2;
	} else {
		*taken = 1;
		if (*bytes != (guard->body_left == 2 ? '\r' : '\n')) {
			return error_set(error, "a string that is longer than announced");
		}
	}
	guard->body_left -= *taken;
	guard->reply_length += *taken;
	if (guard->body_left == 0) {
		element_done(guard);
	}
	return true;
}

enum redis_guard_verdict redis_guard_scan(struct redis_guard *guard, const void *bytes,
					  size_t length, size_t *used, struct error *error)
{
	const char *text = bytes;
	size_t position = 0;

	while (position < length) {
		size_t taken = 1;
		bool valid;

		if (guard->body_left > 0) {
			valid = body_bytes(guard, text + position, length - position, &taken,
					   error);
		} else {
			valid = line_byte(guard, text[position], error);
		}
		if (!valid) {
			return REDIS_GUARD_REFUSED;
		}
		position += taken;
		if (guard->reply_length > guard->limits.bytes) {
			refuse_length(guard, error);
			return REDIS_GUARD_REFUSED;
		}
		if (guard->complete) {
			*guard = (struct redis_guard){.limits = guard->limits};
			*used = position;
			return REDIS_GUARD_REPLY;
		}
	}
	*used = length;
	return REDIS_GUARD_MORE;
}
