/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands: the same events at the same places however the input is cut, each command ending where
 * a second, simple reader of the whole input says that it ends (RFC 7888 section 3), and nothing
 * kept of what is rejected.
 */
#include <string.h>

#include "base/base.h"
#include "base/buffer.h"
#include "cuts.h"
#include "imap/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* So much of a response is kept without asking. */
#define SHORT_RESPONSE 24

static const struct command_limits limits = {
	.line = 96,
	.long_line = 128,
	.literal = 512,
	.tag = 40,
	.id_pairs = 12,
};

static const char *const wanted[] = {"x-ttl", NULL};

enum verb { NOOP, LOGIN, AUTH, ID, SECRET };

static const struct command_shape shapes[] = {
	[NOOP] = {.name = "NOOP", .form = COMMAND_FORM_NONE},
	[LOGIN] = {.name = "LOGIN", .form = COMMAND_FORM_STRINGS, .fewest = 2, .most = 2},
	[AUTH] = {.name = "AUTH",
		  .form = COMMAND_FORM_ATOMS,
		  .fewest = 1,
		  .most = 2,
		  .long_lines = true},
	[ID] = {.name = "ID", .form = COMMAND_FORM_ID, .wanted = wanted},
	[SECRET] = {.name = "SECRET", .form = COMMAND_FORM_STRINGS, .fewest = 1, .most = 1},
};

static void note_pairs(struct buffer *notes, const struct command *command)
{
	struct command_pair pair;
	unsigned count = 0;
	size_t at = 0;

	while (command_pair(command, &at, &pair)) {
		count++;
		invariant(pair.field_length <= COMMAND_ID_FIELD_MAX);
		invariant(pair.value_length <= COMMAND_ID_VALUE_MAX);
		invariant(memchr(pair.field, '\0', pair.field_length) == NULL);
		buffer_append_text(notes, " (");
		buffer_append(notes, pair.field, pair.field_length);
		buffer_append_text(notes, pair.value != NULL ? "=" : ")");
		if (pair.value != NULL) {
			invariant(memchr(pair.value, '\0', pair.value_length) == NULL);
			buffer_append(notes, pair.value, pair.value_length);
		}
	}
	invariant(at == command->stored.length && count <= limits.id_pairs);
}

/* An event, what it tells, and the place behind it, as bytes to be compared. */
static void note(struct buffer *notes, const struct command *command, enum command_event event,
		 size_t place)
{
	buffer_printf(notes, "%d at %zu: %d %s", event, place, command_fault(command),
		      command_tag(command));
	for (size_t i = 0; event == COMMAND_READY && i < COMMAND_ARGUMENTS_MAX; i++) {
		size_t length = 0;
		const uint8_t *argument = command_argument(command, i, &length);

		if (argument != NULL) {
			buffer_append_text(notes, " <");
			buffer_append(notes, argument, length);
			buffer_append_text(notes, ">");
		}
	}
	if (event == COMMAND_READY && command_shape(command) == &shapes[ID]) {
		note_pairs(notes, command);
	}
	buffer_append_text(notes, "\n");
}

static void check_event(const struct command *command, enum command_event event)
{
	invariant(strlen(command_tag(command)) <= limits.tag);
	invariant(command->stored.length <= COMMAND_STORED_MAX);
	if (event == COMMAND_READY) {
		invariant(command_shape(command) != NULL && command_tag(command)[0] != '\0');
		invariant(command_fault(command) == COMMAND_FINE);
	}
	if (event == COMMAND_BAD) {
		invariant(command_fault(command) != COMMAND_FINE);
		invariant(command->stored.data == NULL);
	}
}

/* An AUTH of one argument has three more lines. */
static bool wants_response(const struct command *command, unsigned *lines)
{
	size_t length;
	bool wants = command_shape(command) == &shapes[AUTH] && *lines < 3 &&
		     command_argument(command, 1, &length) == NULL;

	*lines = wants ? *lines + 1 : 0;
	return wants;
}

/* Where the line that begins at `from` ends, its LF included; 0 when it does not. */
static size_t line_end(const uint8_t *data, size_t size, size_t from)
{
	const uint8_t *feed = from < size ? memchr(data + from, '\n', size - from) : NULL;

	return feed == NULL ? 0 : (size_t)(feed - data) + 1;
}

/* The literal that the line data[from..end) announces, read backwards. */
static bool announces(const uint8_t *data, size_t from, size_t end, bool *plus, uint64_t *octets)
{
	size_t at = end - 1;
	uint64_t power = 1;
	size_t digits = 0;

	at -= at > from && data[at - 1] == '\r' ? 1 : 0;
	if (at == from || data[--at] != '}') {
		return false;
	}
	*plus = at > from && data[at - 1] == '+';
	at -= *plus ? 1 : 0;
	for (*octets = 0; at > from && data[at - 1] >= '0' && data[at - 1] <= '9'; digits++) {
		uint64_t digit = data[--at] - (uint64_t)'0';

		*octets = digit > 0 && digits >= 12 ? UINT32_MAX + 1ULL : *octets + digit * power;
		power *= digits < 12 ? 10 : 1;
	}
	return digits > 0 && at > from && data[at - 1] == '{';
}

/* Checks an event against the input: where must the line end that led to it, and may it? */
static size_t check_place(const uint8_t *data, size_t size, size_t from, enum command_event event,
			  size_t place)
{
	size_t at = from;

	for (;;) {
		size_t end = line_end(data, size, at);
		bool plus = false;
		uint64_t octets = 0;

		invariant(end != 0);
		if (!announces(data, at, end, &plus, &octets)) {
			invariant(event == COMMAND_READY || event == COMMAND_BAD);
			invariant(place == end);
			return end;
		}
		if (!plus) {
			invariant(event == COMMAND_LITERAL || event == COMMAND_BAD);
			invariant(place == end);
			return event == COMMAND_BAD ? end : end + octets;
		}
		if (octets > UINT32_MAX) {
			invariant(event == COMMAND_FATAL && place == end);
			return size;
		}
		at = end + octets;
	}
}

static void run(const uint8_t *data, size_t size, uint32_t seed, struct buffer *notes)
{
	struct command command;
	size_t at = 0;
	size_t from = 0;
	unsigned lines = 0;
	enum command_event event = COMMAND_MORE;

	command_init(&command, shapes, array_length(shapes), &limits);
	command_forbid(&command, 1U << SECRET);
	while (at < size && event != COMMAND_FATAL) {
		size_t piece = seed == 0 ? size - at : cuts_next(&seed, size - at);
		size_t consumed = 0;

		event = command_feed(&command, data + at, piece, &consumed);
		invariant(consumed <= piece && (consumed > 0 || event == COMMAND_LONG));
		invariant(event != COMMAND_MORE || consumed == piece);
		at += consumed;
		check_event(&command, event);
		if (event == COMMAND_LONG) {
			invariant(command.stored.length == SHORT_RESPONSE);
			command_lengthen(&command, at % 2 == 0);
			continue;
		}
		if (event == COMMAND_MORE) {
			continue;
		}
		note(notes, &command, event, at);
		from = check_place(data, size, from, event, at);
		if (event == COMMAND_BAD) {
			lines = 0;
		} else if (event == COMMAND_READY && wants_response(&command, &lines)) {
			command_continue(&command, SHORT_RESPONSE);
		}
	}
	command_done(&command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer pieces = {0};

	run(data, size, 0, &whole);
	run(data, size, cuts_seed(data, size), &pieces);
	invariant(whole.length == pieces.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&pieces), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&pieces);
	return 0;
}
