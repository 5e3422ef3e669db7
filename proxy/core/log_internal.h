/* SPDX-License-Identifier: Apache-2.0
 *
 * A line of the log as text: pure, so that tests need no thread and no file.
 */
#ifndef GATEPOST_CORE_LOG_INTERNAL_H
#define GATEPOST_CORE_LOG_INTERNAL_H

#include <stddef.h>
#include <time.h>

#include "core/log.h"

/* struct log_event is what log_write was given, and when. */
struct log_event {
	struct timespec time;
	enum config_log_level level;
	const char *event;
	const struct log_field *fields;
	size_t count;
};

/* log_line writes one line with its newline and no NUL. Returns its length. */
size_t log_line(char line[LOG_LINE_MAX], enum config_log_format format,
		const struct log_event *event);

#endif
