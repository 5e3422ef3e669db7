/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes of the pieces that a fuzz target cuts its input into, drawn from the input itself, so that
 * every finding repeats.
 */
#ifndef GATEPOST_TESTS_CUTS_H
#define GATEPOST_TESTS_CUTS_H

#include <stddef.h>
#include <stdint.h>

/* cuts_next gives the next size, 1 to `left`. `state` begins as any number but 0. */
static inline size_t cuts_next(uint32_t *state, size_t left)
{
	size_t size;

	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	size = 1 + (*state >> 8) % (1U << (*state & 7));
	return size < left ? size : left;
}

/* cuts_seed makes the state out of what is cut. */
static inline uint32_t cuts_seed(const uint8_t *bytes, size_t length)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < length; i++) {
		hash = (hash ^ bytes[i]) * 16777619U;
	}
	return hash | 1;
}

#endif
