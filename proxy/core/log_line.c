/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the log: logfmt and JSON, escaped and bounded whatever the fields hold.
 */
#include "log_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

#define KEY_MAX  64
#define ELLIPSIS "..."
/* One field with its key, quotes, separators and NUL. */
#define FIELD_MAX (LOG_VALUE_MAX + KEY_MAX + 16)
/* What must still fit behind the last field: the mark of a cut line and the end of the line. */
#define TAIL_MAX sizeof(",\"cut\":true}\n")

/* struct writing is a line being written. */
struct writing {
	char *line;
	size_t length;
	enum config_log_format format;
	bool cut;
};

/* One byte as it stands in a quoted value. */
static size_t escape_byte(char unit[8], enum config_log_format format, unsigned char byte)
{
	if (byte == '"' || byte == '\\') {
		return (size_t)snprintf(unit, 8, "\\%c", byte);
	}
	if (byte >= 0x20 && byte < 0x7F) {
		return (size_t)snprintf(unit, 8, "%c", byte);
	}
	return (size_t)snprintf(unit, 8, format == CONFIG_LOG_JSON ? "\\u%04X" : "\\x%02X", byte);
}

/* Writes the escaped text and a NUL; a cut never splits an escape. */
static void escape(char value[LOG_VALUE_MAX + 1], enum config_log_format format, const char *text)
{
	size_t length = 0;
	size_t safe = 0; /* where "..." still fits behind */

	for (; *text != '\0'; text++) {
		char unit[8];
		size_t size = escape_byte(unit, format, (unsigned char)*text);

		if (length + size > LOG_VALUE_MAX) {
			memcpy(value + safe, ELLIPSIS, sizeof(ELLIPSIS));
			return;
		}
		memcpy(value + length, unit, size);
		length += size;
		if (length <= LOG_VALUE_MAX - strlen(ELLIPSIS)) {
			safe = length;
		}
	}
	value[length] = '\0';
}

/* logfmt: a value that no reader could misunderstand needs no quotes. */
static bool is_plain(const char *text)
{
	const char *at = text;

	while (*at > 0x20 && *at < 0x7F && *at != '"' && *at != '=' && *at != '\\') {
		at++;
	}
	return *text != '\0' && *at == '\0';
}

static void append(struct writing *writing, const char *text)
{
	size_t size = strlen(text);

	if (writing->cut || writing->length + size + TAIL_MAX > LOG_LINE_MAX) {
		writing->cut = true;
		return;
	}
	memcpy(writing->line + writing->length, text, size);
	writing->length += size;
}

static void append_pair(struct writing *writing, const char *key, const char *value, bool quoted)
{
	char field[FIELD_MAX];
	const char *quote = quoted ? "\"" : "";

	if (writing->format == CONFIG_LOG_JSON) {
		snprintf(field, sizeof(field), "%c\"%.*s\":%s%s%s",
			 writing->length == 0 ? '{' : ',', KEY_MAX, key, quote, value, quote);
	} else {
		snprintf(field, sizeof(field), "%s%.*s=%s%s%s", writing->length == 0 ? "" : " ",
			 KEY_MAX, key, quote, value, quote);
	}
	append(writing, field);
}

static void append_text(struct writing *writing, const char *key, const char *text, bool quoted)
{
	char value[LOG_VALUE_MAX + 1];

	escape(value, writing->format, text);
	append_pair(writing, key, value, quoted || writing->format == CONFIG_LOG_JSON);
}

static void append_field(struct writing *writing, const struct log_field *field)
{
	char number[24];

	switch (field->kind) {
	case LOG_FIELD_TEXT:
		if (field->text != NULL) {
			append_text(writing, field->key, field->text, !is_plain(field->text));
		}
		break;
	case LOG_FIELD_NUMBER:
		snprintf(number, sizeof(number), "%lld", (long long)field->number);
		append_pair(writing, field->key, number, false);
		break;
	case LOG_FIELD_FLAG:
		append_pair(writing, field->key, field->number != 0 ? "true" : "false", false);
		break;
	}
}

/* RFC 3339 section 5.6, UTC. */
static void append_time(struct writing *writing, const struct timespec *time)
{
	struct tm parts;
	char day[32] = "";
	char text[48];

	if (gmtime_r(&time->tv_sec, &parts) != NULL) {
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts);
	}
	snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(time->tv_nsec / 1000000));
	append_text(writing, "time", text, false);
}

static size_t finish(struct writing *writing)
{
	bool json = writing->format == CONFIG_LOG_JSON;
	const char *mark = json ? ",\"cut\":true" : " cut=true";
	int size = snprintf(writing->line + writing->length, LOG_LINE_MAX - writing->length, "%s%s",
			    writing->cut ? mark : "", json ? "}" : "");

	/* In the place of snprintf's NUL, for which TAIL_MAX has room. */
	writing->length += (size_t)size;
	writing->line[writing->length++] = '\n';
	return writing->length;
}

size_t log_line(char line[LOG_LINE_MAX], enum config_log_format format,
		const struct log_event *event)
{
	static const char *const levels[] = {
		[CONFIG_LOG_ERROR] = "error",
		[CONFIG_LOG_WARN] = "warn",
		[CONFIG_LOG_INFO] = "info",
		[CONFIG_LOG_DEBUG] = "debug",
	};
	struct writing writing = {.line = line, .format = format};

	append_time(&writing, &event->time);
	append_text(&writing, "level", levels[event->level], false);
	append_text(&writing, "event", event->event, true);
	for (size_t i = 0; i < event->count; i++) {
		append_field(&writing, &event->fields[i]);
	}
	return finish(&writing);
}
