/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: one line per event on standard error, logfmt or JSON, written by a thread of its own so
 * that a slow reader never holds up a worker. Lines that find the queue full, or that cannot be
 * written, are dropped and counted; the next line that goes through is event="log lines lost"
 * with lost=N.
 */
#ifndef GATEPOST_CORE_LOG_H
#define GATEPOST_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"

/* Longest value of a field after escaping: what is longer is cut and ends in "...". Longest line,
 * its newline included: fields that do not fit are left out, and cut=true is the last. So long a
 * line enters a pipe whole or not at all (PIPE_BUF). */
#define LOG_VALUE_MAX 512
#define LOG_LINE_MAX  4096

/* Bytes of lines that wait to be written. */
#define LOG_QUEUE_MAX (1 << 20)

enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_FLAG };

/* struct log_field is one key=value; both strings are borrowed for the call. Any byte may stand in
 * a text: it is escaped. A key is a word of ours of at most 32 letters. */
struct log_field {
	const char *key;
	enum log_field_kind kind;
	const char *text; /* NULL: the field is left out */
	int64_t number;
};

static inline struct log_field log_text(const char *key, const char *text)
{
	return (struct log_field){.key = key, .kind = LOG_FIELD_TEXT, .text = text};
}

static inline struct log_field log_number(const char *key, int64_t number)
{
	return (struct log_field){.key = key, .kind = LOG_FIELD_NUMBER, .number = number};
}

static inline struct log_field log_flag(const char *key, bool flag)
{
	return (struct log_field){.key = key, .kind = LOG_FIELD_FLAG, .number = flag};
}

/* log_open starts the writing thread; call it once, before other threads. Until then (level info,
 * logfmt), after log_close, and where no thread can be had, lines are written directly. */
void log_open(enum config_log_level level, enum config_log_format format);

/* log_close writes what is queued and ends the thread. Where nobody reads the log it gives up after
 * about a second. */
void log_close(void);

/* log_write logs `event`, a fixed phrase of ours, with its fields: time=... level=... event="..."
 * and then the fields in order. Never blocks on the reader of the log. */
void log_write(enum config_log_level level, const char *event, const struct log_field *fields,
	       size_t count);

#define log_at(level, event, ...)                                                                  \
	log_write((level), (event), (struct log_field[]){__VA_ARGS__},                             \
		  sizeof((struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#define log_error(event, ...) log_at(CONFIG_LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at(CONFIG_LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_at(CONFIG_LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_at(CONFIG_LOG_DEBUG, event, __VA_ARGS__)

#endif
