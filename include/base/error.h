/* SPDX-License-Identifier: Apache-2.0
 *
 * An error in words, written by the place that knows, carried upwards as the last argument, and
 * logged once by whoever decides what to do about it.
 */
#ifndef GATEPOST_BASE_ERROR_H
#define GATEPOST_BASE_ERROR_H

#include <stdbool.h>

#include "base/base.h"

/* struct error is a sentence without a final stop; all zero is "no error yet". */
struct error {
	char text[256];
};

/* error_set writes the sentence, cut at the size of `error`. A NULL `error` is ignored. Always
 * returns false, so that a failing function may end with `return error_set(...)`. */
bool error_set(struct error *error, const char *format, ...) printf_format(2, 3);

/* error_prefix puts "PREFIX: " before what `error` already says; a NULL `error` is ignored. */
void error_prefix(struct error *error, const char *prefix);

#endif
