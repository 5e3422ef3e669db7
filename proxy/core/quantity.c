/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing amounts of time and memory.
 */
#include "quantity_internal.h"

#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000)

const struct quantity_unit quantity_time[] = {
	{"d", 24 * 60 * 60 * SECOND},
	{"h", 60 * 60 * SECOND},
	{"m", 60 * SECOND},
	{"s", SECOND},
	{"ms", 1},
	{NULL, 0},
};

const struct quantity_unit quantity_bytes[] = {
	{"GiB", UINT64_C(1) << 30},
	{"MiB", UINT64_C(1) << 20},
	{"KiB", UINT64_C(1) << 10},
	{"", 1},
	{NULL, 0},
};

bool quantity_parse(const struct quantity_unit *units, const char *text, uint64_t *amount)
{
	uint64_t number = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits == 0) {
		return false;
	}
	for (size_t i = 0; i < digits; i++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number)) {
			return false;
		}
	}
	for (; units->name != NULL; units++) {
		if (strcmp(text + digits, units->name) == 0) {
			return !__builtin_mul_overflow(number, units->amount, amount);
		}
	}
	return false;
}

void quantity_format(const struct quantity_unit *units, uint64_t amount,
		     char text[QUANTITY_TEXT_MAX])
{
	if (amount == 0) { /* of no unit a multiple that anybody would write */
		snprintf(text, QUANTITY_TEXT_MAX, "0%s", units == quantity_time ? "s" : "");
		return;
	}
	while (amount % units->amount != 0) {
		units++;
	}
	snprintf(text, QUANTITY_TEXT_MAX, "%llu%s", (unsigned long long)(amount / units->amount),
		 units->name);
}
