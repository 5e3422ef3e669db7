/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the log of the house in a test that includes it, so that the test can read what was
 * logged. It defines log_write, so only one file of a program may include it.
 */
#ifndef GATEPOST_TESTS_LOG_CAPTURE_H
#define GATEPOST_TESTS_LOG_CAPTURE_H

#include <stddef.h>
#include <string.h>

#include "base/buffer.h"
#include "core/log.h"

static struct buffer logged;

void log_write(enum config_log_level level, const char *event, const struct log_field *fields,
	       size_t count)
{
	(void)level;
	buffer_append_text(&logged, event);
	for (size_t i = 0; i < count; i++) {
		buffer_append_text(&logged, " ");
		buffer_append_text(&logged, fields[i].text != NULL ? fields[i].text : "");
	}
	buffer_append_text(&logged, "\n");
}

/* How often `words` were logged. */
static unsigned count_logged(const char *words)
{
	unsigned count = 0;
	const char *at;

	buffer_append_byte(&logged, '\0');
	at = (const char *)buffer_bytes(&logged);
	while ((at = strstr(at, words)) != NULL) {
		count++;
		at++;
	}
	buffer_truncate(&logged, logged.length - 1);
	return count;
}

#endif
