/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands as they come from a client of Redis, for servers that a test plays.
 */
#ifndef GATEPOST_TESTS_REDIS_WORDS_H
#define GATEPOST_TESTS_REDIS_WORDS_H

#include <stddef.h>

#include "base/buffer.h"

/* redis_words_take writes the words of the command at the front of the input, joined by spaces, and
 * returns how many bytes it has; 0 when it is not all there. What is no command fails the test. */
size_t redis_words_take(const struct buffer *input, char *joined, size_t size);

#endif
