/* SPDX-License-Identifier: Apache-2.0
 *
 * How deep a TOML text nests, found before a recursive parser sees it: brackets, and the dots of
 * keys, outside strings and comments.
 */
#include "toml_internal.h"

/* struct scan is a cursor; `brackets` are open now, `dots` were seen since the last key began. */
struct scan {
	const char *text;
	size_t length;
	size_t at;
	struct config_place place;
	unsigned brackets;
	unsigned dots;
};

static void scan_step(struct scan *scan)
{
	uint8_t byte = (uint8_t)scan->text[scan->at++];

	if (byte == '\n') {
		scan->place.line++;
		scan->place.column = 1;
	} else if ((byte & 0xC0) != 0x80) {
		scan->place.column++;
	}
}

static void scan_skip(struct scan *scan, size_t count)
{
	for (size_t i = 0; i < count && scan->at < scan->length; i++) {
		scan_step(scan);
	}
}

static bool scan_is_triple(const struct scan *scan, char quote)
{
	return scan->length - scan->at >= 3 && scan->text[scan->at] == quote &&
	       scan->text[scan->at + 1] == quote && scan->text[scan->at + 2] == quote;
}

/* A string in one line ends at its quote or, being wrong then, at the end of the line. */
static void scan_string(struct scan *scan, char quote)
{
	scan_step(scan);
	while (scan->at < scan->length && scan->text[scan->at] != '\n') {
		char byte = scan->text[scan->at];

		scan_skip(scan, byte == '\\' && quote == '"' ? 2 : 1);
		if (byte == quote) {
			return;
		}
	}
}

/* Up to two quotes may stand right before the three that close: they belong to the string. */
static void scan_long_string(struct scan *scan, char quote)
{
	scan_skip(scan, 3);
	while (scan->at < scan->length && !scan_is_triple(scan, quote)) {
		scan_skip(scan, scan->text[scan->at] == '\\' && quote == '"' ? 2 : 1);
	}
	scan_skip(scan, 3);
	for (int i = 0; i < 2 && scan->at < scan->length && scan->text[scan->at] == quote; i++) {
		scan_step(scan);
	}
}

static void scan_comment(struct scan *scan)
{
	while (scan->at < scan->length && scan->text[scan->at] != '\n') {
		scan_step(scan);
	}
}

static void scan_mark(struct scan *scan, char byte)
{
	if (byte == '.') {
		scan->dots++;
	} else if (byte == '[' || byte == '{') {
		scan->brackets++;
		scan->dots = 0;
	} else if (byte == ']' || byte == '}') {
		scan->brackets -= scan->brackets > 0 ? 1 : 0;
		scan->dots = 0;
	} else if (byte == '=' || byte == ',' || byte == '\n') {
		scan->dots = 0;
	}
	scan_step(scan);
}

struct config_place toml_too_deep(const char *text, size_t length)
{
	struct scan scan = {.text = text, .length = length, .place = {1, 1}};

	while (scan.at < scan.length) {
		char byte = scan.text[scan.at];

		if (byte == '#') {
			scan_comment(&scan);
		} else if (byte != '"' && byte != '\'') {
			struct config_place place = scan.place;

			scan_mark(&scan, byte);
			if (scan.brackets > TOML_DEPTH_MAX || scan.dots > TOML_DEPTH_MAX) {
				return place;
			}
		} else if (scan_is_triple(&scan, byte)) {
			scan_long_string(&scan, byte);
		} else {
			scan_string(&scan, byte);
		}
	}
	return (struct config_place){0};
}
