/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting one input in many ways.
 */
#include "support/chunks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

/* Longest piece of a random run; short ones are as likely as long ones. */
#define LONGEST_PIECE_BITS 9

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static size_t piece_size(uint32_t seed, uint32_t *state, size_t left)
{
	uint32_t bits;
	size_t size;

	if (seed == 0) {
		return left;
	}
	if (seed == CHUNKS_BYTEWISE) {
		return 1;
	}
	bits = next_random(state) % (LONGEST_PIECE_BITS + 1);
	size = 1 + next_random(state) % (1U << bits);
	return size < left ? size : left;
}

void chunks_run(const struct chunks_subject *subject, uint32_t seed, const void *input,
		size_t length, struct buffer *outcome)
{
	const uint8_t *bytes = input;
	uint32_t state = seed * 2654435761U;

	subject->begin(subject->context);
	for (size_t at = 0; at < length;) {
		size_t size = piece_size(seed, &state, length - at);

		subject->feed(subject->context, bytes + at, size);
		at += size;
	}
	subject->end(subject->context, outcome);
}

static void print_bytes(const char *title, const void *bytes, size_t length)
{
	const uint8_t *text = bytes;

	fprintf(stderr, "  %s (%zu octets): ", title, length);
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\n') {
			fprintf(stderr, "\\n\n    ");
		} else if (text[i] >= 0x20 && text[i] <= 0x7E) {
			fputc(text[i], stderr);
		} else {
			fprintf(stderr, "\\x%02x", text[i]);
		}
	}
	fputc('\n', stderr);
}

static void check_run(const struct chunks_subject *subject, uint32_t seed, const char *name,
		      const struct buffer *input, const struct buffer *expected)
{
	struct buffer outcome = {0};

	chunks_run(subject, seed, buffer_bytes(input), input->length, &outcome);
	if (outcome.length != expected->length ||
	    memcmp(buffer_bytes(&outcome), buffer_bytes(expected), expected->length) != 0) {
		fprintf(stderr, "%s, fed %s (seed %u):\n", name,
			seed == 0                 ? "whole"
			: seed == CHUNKS_BYTEWISE ? "byte by byte"
						  : "in random pieces",
			seed);
		print_bytes("expected", buffer_bytes(expected), expected->length);
		print_bytes("got", buffer_bytes(&outcome), outcome.length);
		buffer_done(&outcome);
		fail_msg("%s", name);
	}
	buffer_done(&outcome);
}

void chunks_check(const struct chunks_subject *subject, const char *name, const void *input,
		  size_t length, const char *expected)
{
	struct buffer copy = {0};
	struct buffer wanted = {0};

	buffer_append(&copy, input, length);
	if (expected != NULL) {
		buffer_append_text(&wanted, expected);
	} else {
		chunks_run(subject, 0, buffer_bytes(&copy), copy.length, &wanted);
	}
	for (uint32_t seed = 0; seed <= CHUNKS_RANDOM_RUNS; seed++) {
		check_run(subject, seed, name, &copy, &wanted);
	}
	check_run(subject, CHUNKS_BYTEWISE, name, &copy, &wanted);
	buffer_done(&copy);
	buffer_done(&wanted);
}
