/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors in words, and the end of a broken invariant.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void invariant_broken(const char *condition, const char *file, int line)
{
	fprintf(stderr, "gatepost: broken invariant at %s:%d: %s\n", file, line, condition);
	abort();
}

bool error_set(struct error *error, const char *format, ...)
{
	va_list arguments;

	if (error == NULL) {
		return false;
	}
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return false;
}

void error_prefix(struct error *error, const char *prefix)
{
	char old[sizeof(error->text)];

	if (error == NULL) {
		return;
	}
	memcpy(old, error->text, sizeof(old));
	error_set(error, "%.80s: %.170s", prefix, old);
}
