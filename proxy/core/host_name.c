/* SPDX-License-Identifier: Apache-2.0
 *
 * Host names and their wildcards, label by label.
 */
#include "host_name_internal.h"

#include <string.h>

#include "base/addr.h"

#define LABEL_MAX  63
#define DIGITS     "0123456789"
#define LABEL_WITH "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_" DIGITS

static bool is_label(const char *label, size_t length)
{
	return length > 0 && length <= LABEL_MAX && label[0] != '-' && label[length - 1] != '-' &&
	       strspn(label, LABEL_WITH) >= length;
}

bool host_name_is(const char *text)
{
	const char *label = text;

	if (strlen(text) > ENDPOINT_HOST_MAX) {
		return false;
	}
	for (;;) {
		size_t length = strcspn(label, ".");

		if (!is_label(label, length)) {
			return false;
		}
		if (label[length] == '\0') {
			return strspn(label, DIGITS) < length;
		}
		label += length + 1;
	}
}

bool host_name_is_pattern(const char *text)
{
	return strlen(text) <= ENDPOINT_HOST_MAX &&
	       host_name_is(strncmp(text, "*.", 2) == 0 ? text + 2 : text);
}
