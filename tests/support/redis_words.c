/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands as they come from a client of Redis.
 */
#include "support/redis_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The number behind `type` at `*at`, which moves behind its CRLF; -1 when it is not all there. */
static long take_number(const char *text, size_t length, size_t *at, char type)
{
	const char *end = memmem(text + *at, length - *at, "\r\n", 2);
	long number;

	if (end == NULL) {
		return -1;
	}
	assert_int_equal(text[*at], type);
	number = strtol(text + *at + 1, NULL, 10);
	*at = (size_t)(end - text) + 2;
	return number;
}

size_t redis_words_take(const struct buffer *input, char *joined, size_t size)
{
	const char *text = (const char *)buffer_bytes(input);
	size_t at = 0;
	size_t used = 0;
	long words = take_number(text, input->length, &at, '*');

	for (long i = 0; i < words; i++) {
		long length = take_number(text, input->length, &at, '$');

		if (length < 0 || at + (size_t)length + 2 > input->length) {
			return 0;
		}
		assert_true(used + (size_t)length + 2 <= size);
		used += (size_t)snprintf(joined + used, size - used, "%s%.*s", i > 0 ? " " : "",
					 (int)length, text + at);
		at += (size_t)length + 2;
	}
	return words < 0 ? 0 : at;
}
