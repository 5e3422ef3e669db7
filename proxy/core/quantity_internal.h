/* SPDX-License-Identifier: Apache-2.0
 *
 * Amounts of time and of memory as operators write them: "500ms", "64KiB".
 */
#ifndef GATEPOST_CORE_QUANTITY_INTERNAL_H
#define GATEPOST_CORE_QUANTITY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

/* Longest text of an amount with its NUL. */
#define QUANTITY_TEXT_MAX 32

struct quantity_unit {
	const char *name; /* NULL ends a table */
	uint64_t amount;
};

/* Largest unit first. */
extern const struct quantity_unit quantity_time[];  /* in milliseconds */
extern const struct quantity_unit quantity_bytes[]; /* in bytes */

/* quantity_parse reads digits and a unit, nothing between or around them. False when it is not
 * so, or more than 64 bits can say. */
must_use bool quantity_parse(const struct quantity_unit *units, const char *text, uint64_t *amount);

/* quantity_format writes the amount in the largest unit that divides it. */
void quantity_format(const struct quantity_unit *units, uint64_t amount,
		     char text[QUANTITY_TEXT_MAX]);

#endif
