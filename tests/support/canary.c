/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching our own memory.
 */
#include "support/canary.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_IS_ELSEWHERE 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_IS_ELSEWHERE 1
#endif

/* The middle: a freed block loses its first octets to the allocator. */
#define MIDDLE_START  24
#define MIDDLE_LENGTH 24

/* No two neighbours are alike, and no copy of the text is needed to compare with it. */
static char canary_at(size_t i)
{
	return (char)('A' + (i * 7 + i / 13) % 26);
}

void canary_write(char *text)
{
	for (size_t i = 0; i < CANARY_LENGTH; i++) {
		text[i] = canary_at(i);
	}
}

static size_t count_between(const char *from, const char *to)
{
	size_t found = 0;

	for (const char *at = from; at + MIDDLE_LENGTH <= to; at++) {
		size_t equal = 0;

		while (equal < MIDDLE_LENGTH && at[equal] == canary_at(MIDDLE_START + equal)) {
			equal++;
		}
		found += equal == MIDDLE_LENGTH ? 1 : 0;
	}
	return found;
}

/* A line of /proc/self/maps begins with FROM-TO in hexadecimal. */
static size_t count_in_mapping(const char *line)
{
	char *rest;
	uintptr_t from = strtoull(line, &rest, 16);
	uintptr_t to = *rest == '-' ? strtoull(rest + 1, NULL, 16) : from;

	return count_between((const char *)from, (const char *)to);
}

size_t canary_count(void)
{
	char line[512];
	size_t found = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	if (maps == NULL) {
		return 0;
	}
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (strstr(line, "[heap]") != NULL || strstr(line, "[stack]") != NULL) {
			found += count_in_mapping(line);
		}
	}
	fclose(maps);
	return found;
}

bool canary_can_count(void)
{
#ifdef HEAP_IS_ELSEWHERE
	return false;
#else
	return true;
#endif
}
