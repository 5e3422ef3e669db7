/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend's bytes as lines. The lines and the verdict must not depend on the cuts, no limit may
 * be passed, and a parsed line may only point into itself. The first byte chooses the cuts.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "imap/reply.h"

/* Small, so that the limits are met often. */
#define LINE_MAX_HERE  64
#define TOTAL_MAX_HERE 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const struct buffer *line, struct reply_view view)
{
	const char *begin = (const char *)buffer_bytes(line);

	invariant(view.length == 0 ||
		  (view.bytes >= begin && view.bytes + view.length <= begin + line->length));
}

static void check_line(const struct buffer *line)
{
	struct reply reply = reply_parse(buffer_bytes(line), line->length);
	bool is_status = reply.status != REPLY_NONE;

	invariant(line->length <= LINE_MAX_HERE);
	invariant(memchr(buffer_bytes(line), '\n', line->length) == NULL);
	check_view(line, reply.tag);
	check_view(line, reply.word);
	check_view(line, reply.rest);
	check_view(line, reply.code);
	check_view(line, reply.arguments);
	check_view(line, reply.text);
	invariant(!is_status || reply.kind == REPLY_UNTAGGED || reply.kind == REPLY_TAGGED);
	invariant(reply.kind != REPLY_TAGGED || (is_status && reply.tag.length > 0));
}

/* Appends each line with a LF, and the last verdict. */
static void read_all(const uint8_t *bytes, size_t size, size_t piece, struct buffer *outcome)
{
	struct reply_reader reader = {.line_max = LINE_MAX_HERE, .total_max = TOTAL_MAX_HERE};
	struct buffer input = {0};
	enum reply_progress progress = REPLY_MORE;
	size_t at = 0;

	while (progress == REPLY_MORE && at < size) {
		size_t count = size - at < piece ? size - at : piece;

		buffer_append(&input, bytes + at, count);
		at += count;
		while ((progress = reply_reader_next(&reader, &input)) == REPLY_LINE) {
			check_line(&reader.line);
			buffer_append(outcome, buffer_bytes(&reader.line), reader.line.length);
			buffer_append_byte(outcome, '\n');
		}
		invariant(progress != REPLY_MORE || (input.length == 0 && reader.total == at));
		invariant(reader.total <= TOTAL_MAX_HERE);
		invariant(reader.line.length <= LINE_MAX_HERE + 2);
	}
	buffer_append_byte(outcome, (uint8_t)progress);
	reply_reader_done(&reader);
	buffer_done(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer cut = {0};

	if (size == 0) {
		return 0;
	}
	read_all(data + 1, size - 1, SIZE_MAX, &whole);
	read_all(data + 1, size - 1, 1 + (data[0] & 31), &cut);
	invariant(whole.length == cut.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&cut), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&cut);
	return 0;
}
