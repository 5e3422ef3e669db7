/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend's lines: where they end, and what they say.
 */
#include "imap/reply.h"

#include <string.h>

#include "base/text.h"

static struct reply_view view_from(struct reply_view view, size_t offset)
{
	return (struct reply_view){view.bytes + offset, view.length - offset};
}

/* Takes the first word off `view` and the one space behind it. */
static struct reply_view take_word(struct reply_view *view)
{
	const char *space = memchr(view->bytes, ' ', view->length);
	struct reply_view word = *view;

	if (space == NULL) {
		*view = view_from(*view, view->length);
		return word;
	}
	word.length = (size_t)(space - view->bytes);
	*view = view_from(*view, word.length + 1);
	return word;
}

bool reply_is(struct reply_view view, const char *word)
{
	return text_equal_nocase(view.bytes, view.length, word);
}

static enum reply_status status_of(struct reply_view word)
{
	static const struct {
		const char *word;
		enum reply_status status;
	} statuses[] = {
		{"OK", REPLY_OK},   {"NO", REPLY_NO},           {"BAD", REPLY_BAD},
		{"BYE", REPLY_BYE}, {"PREAUTH", REPLY_PREAUTH},
	};

	for (size_t i = 0; i < array_length(statuses); i++) {
		if (reply_is(word, statuses[i].word)) {
			return statuses[i].status;
		}
	}
	return REPLY_NONE;
}

static void parse_status_text(struct reply *reply)
{
	struct reply_view text = reply->rest;
	const char *end;

	if (text.length > 0 && text.bytes[0] == '[') {
		end = memchr(text.bytes, ']', text.length);
		if (end != NULL) {
			struct reply_view inside = {text.bytes + 1, (size_t)(end - text.bytes) - 1};

			reply->code = take_word(&inside);
			reply->arguments = inside;
			text = view_from(text, (size_t)(end - text.bytes) + 1);
		}
	}
	while (text.length > 0 && text.bytes[0] == ' ') {
		text = view_from(text, 1);
	}
	reply->text = text;
}

static void parse_untagged(struct reply *reply, struct reply_view rest)
{
	reply->word = take_word(&rest);
	reply->rest = rest;
	reply->status = status_of(reply->word);
	reply->kind = reply->word.length > 0 ? REPLY_UNTAGGED : REPLY_INVALID;
	if (reply->status != REPLY_NONE) {
		parse_status_text(reply);
	}
}

static void parse_tagged(struct reply *reply, struct reply_view rest)
{
	reply->tag = take_word(&rest);
	reply->word = take_word(&rest);
	reply->rest = rest;
	reply->status = status_of(reply->word);
	if (reply->tag.length == 0 || reply->status == REPLY_NONE || reply->status == REPLY_BYE ||
	    reply->status == REPLY_PREAUTH) {
		reply->status = REPLY_NONE;
		return;
	}
	reply->kind = REPLY_TAGGED;
	parse_status_text(reply);
}

struct reply reply_parse(const void *line, size_t length)
{
	struct reply_view rest = {line, length};
	struct reply reply = {.kind = REPLY_INVALID};

	if (length == 0) {
		return reply;
	}
	if (rest.bytes[0] == '+' && (length == 1 || rest.bytes[1] == ' ')) {
		reply.kind = REPLY_CONTINUATION;
		reply.rest = view_from(rest, length == 1 ? 1 : 2);
	} else if (rest.bytes[0] == '*' && length > 1 && rest.bytes[1] == ' ') {
		parse_untagged(&reply, view_from(rest, 2));
	} else if (rest.bytes[0] != '*' && rest.bytes[0] != '+') {
		parse_tagged(&reply, rest);
	}
	return reply;
}

bool reply_has_tag(const struct reply *reply, const char *tag)
{
	return reply->kind == REPLY_TAGGED && reply->tag.length == strlen(tag) &&
	       memcmp(reply->tag.bytes, tag, reply->tag.length) == 0;
}

/* The octets that "{n}" or "{n+}" announces at the end of what was collected since the line began
 * or the last literal ended; false where none stands there. Sizes past `most` become most + 1, so
 * that no number overflows. */
static bool announces_literal(const struct reply_reader *reader, size_t most, size_t *octets)
{
	const uint8_t *bytes = buffer_bytes(&reader->line) + reader->piece;
	size_t end = reader->line.length - reader->piece;
	size_t begin;
	size_t size = 0;

	if (end == 0 || bytes[--end] != '}') {
		return false;
	}
	if (end > 0 && bytes[end - 1] == '+') {
		end--;
	}
	begin = end;
	while (begin > 0 && bytes[begin - 1] >= '0' && bytes[begin - 1] <= '9') {
		begin--;
	}
	if (begin == end || begin == 0 || bytes[begin - 1] != '{') {
		return false;
	}
	for (; begin < end; begin++) {
		size = size > most ? most + 1 : size * 10 + (bytes[begin] - '0');
	}
	*octets = size > most ? most + 1 : size;
	return true;
}

static bool is_untagged_data(const struct buffer *line)
{
	struct reply reply = reply_parse(buffer_bytes(line), line->length);

	return reply.kind == REPLY_UNTAGGED && reply.status == REPLY_NONE;
}

static size_t smaller(size_t left, size_t right)
{
	return left < right ? left : right;
}

static void take(struct reply_reader *reader, struct buffer *input, size_t count)
{
	reader->total += count;
	buffer_consume(input, count);
}

static void swallow_literal(struct reply_reader *reader, struct buffer *input)
{
	size_t count = smaller(input->length, reader->literal_left);

	reader->literal_left -= count;
	take(reader, input, count);
}

/* Moves input up to its first LF, or all of it, behind the line, but no more than the total allows
 * or than can matter: one octet past the longest line with its CR. True when the LF was there; it
 * is not in the line. */
static bool collect(struct reply_reader *reader, struct buffer *input)
{
	const uint8_t *bytes = buffer_bytes(input);
	size_t room = smaller(reader->line_max + 2 - reader->line.length,
			      reader->total_max - reader->total);
	size_t scope = smaller(input->length, room);
	const uint8_t *end = memchr(bytes, '\n', scope);
	size_t count = end != NULL ? (size_t)(end - bytes) : scope;

	buffer_append(&reader->line, bytes, count);
	take(reader, input, count + (end != NULL ? 1 : 0));
	return end != NULL;
}

static bool ends_in_cr(const struct buffer *line)
{
	return line->length > 0 && buffer_bytes(line)[line->length - 1] == '\r';
}

/* A CR that stands at the very end may belong to the line's end. */
static bool is_too_long(const struct reply_reader *reader)
{
	return reader->line.length > reader->line_max + (ends_in_cr(&reader->line) ? 1 : 0);
}

/* The line has ended: either it is whole, or a literal follows and then more of it. */
static enum reply_progress end_line(struct reply_reader *reader)
{
	size_t left = reader->total_max - reader->total;
	size_t octets = 0;

	if (ends_in_cr(&reader->line)) {
		buffer_truncate(&reader->line, reader->line.length - 1);
	}
	if (!is_untagged_data(&reader->line) || !announces_literal(reader, left, &octets)) {
		reader->delivered = true;
		return REPLY_LINE;
	}
	reader->literal_left = octets;
	reader->piece = reader->line.length;
	return octets > left ? REPLY_TOO_MUCH : REPLY_MORE;
}

enum reply_progress reply_reader_next(struct reply_reader *reader, struct buffer *input)
{
	enum reply_progress progress = REPLY_MORE;

	if (reader->delivered) {
		buffer_truncate(&reader->line, 0);
		reader->delivered = false;
		reader->piece = 0;
	}
	while (progress == REPLY_MORE && input->length > 0) {
		bool ended = false;

		if (reader->total == reader->total_max) {
			return REPLY_TOO_MUCH;
		}
		if (reader->literal_left > 0) {
			swallow_literal(reader, input);
		} else {
			ended = collect(reader, input);
		}
		if (reader->line.failed) {
			return REPLY_NO_MEMORY;
		}
		if (is_too_long(reader)) {
			return REPLY_LINE_TOO_LONG;
		}
		if (ended) {
			progress = end_line(reader);
		}
	}
	return progress;
}

void reply_reader_done(struct reply_reader *reader)
{
	buffer_done(&reader->line);
	*reader = (struct reply_reader){0};
}
