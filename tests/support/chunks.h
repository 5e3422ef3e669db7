/* SPDX-License-Identifier: Apache-2.0
 *
 * One input, cut in many ways: a parser or dialogue must come to the same outcome whether its
 * bytes arrive whole, one by one, or in pieces of random sizes.
 */
#ifndef GATEPOST_TESTS_CHUNKS_H
#define GATEPOST_TESTS_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

struct buffer;

/* How many random cuts chunks_check tries; the seeds are 1 to CHUNKS_RANDOM_RUNS. */
#define CHUNKS_RANDOM_RUNS 20

/* struct chunks_subject is what gets the pieces. For each way of cutting: `begin` makes a fresh
 * subject, `feed` gets the pieces in order (never an empty one), `end` appends to `outcome` all
 * that must not depend on the cutting (output, verdict, bytes left over), and frees. `context` is
 * handed to all three. */
struct chunks_subject {
	void (*begin)(void *context);
	void (*feed)(void *context, const void *bytes, size_t length);
	void (*end)(void *context, struct buffer *outcome);
	void *context;
};

/* chunks_check runs the subject over the input whole, byte by byte and at CHUNKS_RANDOM_RUNS random
 * cuts, and fails the running cmocka test when an outcome differs from `expected`, saying `name`,
 * the way of cutting with its seed, and both outcomes. `expected` is NUL-terminated; NULL means: as
 * when fed whole. */
void chunks_check(const struct chunks_subject *subject, const char *name, const void *input,
		  size_t length, const char *expected);

/* chunks_run does one run with the cuts of `seed`; 0 is whole, CHUNKS_BYTEWISE byte by byte. */
#define CHUNKS_BYTEWISE UINT32_MAX
void chunks_run(const struct chunks_subject *subject, uint32_t seed, const void *input,
		size_t length, struct buffer *outcome);

#endif
