/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands out of bytes: lines and their ends, literals, tags and names. Arguments are read in
 * command_arguments.c. Whatever is wrong with a command, its lines are read on to the true end.
 */
#include "imap/command.h"

#include <string.h>

#include "base/text.h"
#include "command_internal.h"

/* How far the end of the line looks like {n} or {n+}. */
enum tail { TAIL_NONE, TAIL_OPEN, TAIL_DIGITS, TAIL_PLUS, TAIL_CLOSED };

enum part { PART_TAG, PART_NAME, PART_ARGUMENTS, PART_RESPONSE };

static void begin_line(struct command *command)
{
	command->line_length = 0;
	command->short_line = COMMAND_SHORT_LINE;
	command->tail = TAIL_NONE;
	command->tail_octets = 0;
	command->tail_plus = false;
	command->tail_overflow = false;
	command->cr_pending = false;
}

static void begin_command(struct command *command)
{
	const struct command_shape *shapes = command->shapes;
	size_t shape_count = command->shape_count;
	const struct command_limits *limits = command->limits;
	unsigned forbidden = command->forbidden;

	command_done(command);
	command_init(command, shapes, shape_count, limits);
	command->forbidden = forbidden;
}

void command_init(struct command *command, const struct command_shape *shapes, size_t shape_count,
		  const struct command_limits *limits)
{
	*command = (struct command){
		.shapes = shapes,
		.shape_count = shape_count,
		.limits = limits,
	};
	begin_line(command);
}

void command_forbid(struct command *command, unsigned shapes)
{
	command->forbidden = shapes;
}

void command_done(struct command *command)
{
	command_forget(command);
	explicit_bzero(command, sizeof(*command));
}

void command_forget(struct command *command)
{
	buffer_done(&command->stored);
	command->argument_count = 0;
}

/* The first fault is the one that is told. */
static void reject(struct command *command, enum command_fault fault)
{
	if (fault == COMMAND_FINE || command->fault != COMMAND_FINE) {
		return;
	}
	command->fault = (uint8_t)fault;
	command_forget(command);
}

static void tail_digit(struct command *command, uint8_t byte)
{
	uint32_t digit = byte - '0';

	command->tail = TAIL_DIGITS;
	if (command->tail_octets > (UINT32_MAX - digit) / 10) {
		command->tail_overflow = true;
	} else {
		command->tail_octets = command->tail_octets * 10 + digit;
	}
}

static void tail_byte(struct command *command, uint8_t byte)
{
	bool in_number = command->tail == TAIL_OPEN || command->tail == TAIL_DIGITS;

	if (byte == '{') {
		command->tail = TAIL_OPEN;
		command->tail_octets = 0;
		command->tail_plus = false;
		command->tail_overflow = false;
	} else if (in_number && byte >= '0' && byte <= '9') {
		tail_digit(command, byte);
	} else if (command->tail == TAIL_DIGITS && byte == '+') {
		command->tail = TAIL_PLUS;
		command->tail_plus = true;
	} else if ((command->tail == TAIL_DIGITS || command->tail == TAIL_PLUS) && byte == '}') {
		command->tail = TAIL_CLOSED;
	} else {
		command->tail = TAIL_NONE;
	}
}

static enum command_fault tag_byte(struct command *command, uint8_t byte)
{
	if (byte == ' ' && command->tag_length > 0) {
		command->tag_known = true;
		command->part = PART_NAME;
		return COMMAND_FINE;
	}
	if (!command_is_astring_char(byte) || byte == '+' ||
	    command->tag_length == command->limits->tag) {
		return COMMAND_SYNTAX;
	}
	command->tag[command->tag_length++] = (char)byte;
	return COMMAND_FINE;
}

static enum command_fault end_name(struct command *command)
{
	if (command->name_length == 0) {
		return COMMAND_SYNTAX;
	}
	for (size_t i = 0; i < command->shape_count; i++) {
		const struct command_shape *shape = &command->shapes[i];

		if (text_equal_nocase(command->name, command->name_length, shape->name)) {
			command->shape = shape;
			return (command->forbidden >> i & 1) != 0 ? COMMAND_FORBIDDEN
								  : COMMAND_FINE;
		}
	}
	return COMMAND_UNKNOWN;
}

static enum command_fault name_byte(struct command *command, uint8_t byte)
{
	if (byte == ' ') {
		enum command_fault fault = end_name(command);

		if (fault == COMMAND_FINE && command->shape->form == COMMAND_FORM_NONE) {
			fault = COMMAND_SYNTAX;
		}
		command->part = PART_ARGUMENTS;
		return fault;
	}
	if (!command_is_astring_char(byte)) {
		return COMMAND_SYNTAX;
	}
	if (command->name_length == COMMAND_NAME_MAX) {
		return COMMAND_UNKNOWN;
	}
	command->name[command->name_length++] = (char)byte;
	return COMMAND_FINE;
}

static size_t line_limit(const struct command *command)
{
	if (command->shape == NULL) {
		return command->limits->line;
	}
	if (command->shape->form == COMMAND_FORM_ID) {
		return COMMAND_ID_LINE_MAX;
	}
	return command->shape->long_lines ? command->limits->long_line : command->limits->line;
}

static enum command_fault syntax_byte(struct command *command, uint8_t byte)
{
	if (command->line_length > line_limit(command)) {
		return COMMAND_TOO_LONG;
	}
	if (byte == '\0') {
		return COMMAND_SYNTAX;
	}
	switch ((enum part)command->part) {
	case PART_TAG:
		return tag_byte(command, byte);
	case PART_NAME:
		return name_byte(command, byte);
	case PART_ARGUMENTS:
		return command_arguments_byte(command, byte);
	case PART_RESPONSE:
		return byte == '\r' ? COMMAND_SYNTAX : command_keep(command, &byte, 1);
	}
	return COMMAND_SYNTAX;
}

static void line_byte(struct command *command, uint8_t byte)
{
	command->line_length++;
	tail_byte(command, byte);
	if (command->fault == COMMAND_FINE) {
		reject(command, syntax_byte(command, byte));
	}
}

static enum command_fault end_syntax(struct command *command)
{
	switch ((enum part)command->part) {
	case PART_NAME: {
		enum command_fault fault = end_name(command);

		if (fault == COMMAND_FINE && command->shape->form != COMMAND_FORM_NONE) {
			fault = COMMAND_SYNTAX;
		}
		return fault;
	}
	case PART_ARGUMENTS:
		return command_arguments_end(command);
	case PART_RESPONSE:
		return COMMAND_FINE;
	default:
		return COMMAND_SYNTAX;
	}
}

static enum command_event end_command(struct command *command)
{
	command->over = true;
	return command->fault == COMMAND_FINE ? COMMAND_READY : COMMAND_BAD;
}

static enum command_fault check_literal(struct command *command)
{
	size_t largest = command->limits->literal;

	if (command->tail_plus && largest > COMMAND_LITERAL_PLUS_MAX) {
		largest = COMMAND_LITERAL_PLUS_MAX;
	}
	if (command->part != PART_ARGUMENTS) {
		return COMMAND_SYNTAX;
	}
	if (command->tail_overflow || command->tail_octets > largest) {
		return COMMAND_TOO_BIG;
	}
	return command_arguments_literal(command, command->tail_octets);
}

/* A literal without '+' is not sent before we ask for it, so a rejected command that ends in one is
 * over; one with '+' is on its way whatever we think of it. */
static enum command_event end_line(struct command *command)
{
	bool plus = command->tail_plus;

	if (command->tail != TAIL_CLOSED) {
		if (command->fault == COMMAND_FINE) {
			reject(command, end_syntax(command));
		}
		return end_command(command);
	}
	if (plus && command->tail_overflow) {
		return COMMAND_FATAL;
	}
	if (command->fault == COMMAND_FINE) {
		reject(command, check_literal(command));
	}
	if (!plus && command->fault != COMMAND_FINE) {
		return end_command(command);
	}
	command->octets_left = command->tail_octets;
	begin_line(command);
	return plus ? COMMAND_MORE : COMMAND_LITERAL;
}

static size_t take_octets(struct command *command, const uint8_t *octets, size_t length)
{
	size_t count = length < command->octets_left ? length : command->octets_left;

	command->octets_left -= (uint32_t)count;
	if (command->fault == COMMAND_FINE) {
		reject(command, command_arguments_octets(command, octets, count));
	}
	return count;
}

static enum command_event take_byte(struct command *command, uint8_t byte)
{
	if (byte == '\n') {
		return end_line(command);
	}
	if (command->cr_pending) {
		line_byte(command, '\r');
	}
	command->cr_pending = byte == '\r';
	if (!command->cr_pending) {
		line_byte(command, byte);
	}
	return COMMAND_MORE;
}

/* Whether the byte would make the line longer than is kept without asking. What is rejected, or
 * will be for its length, asks for nothing. */
static bool asks_for_place(const struct command *command, uint8_t byte)
{
	return command->fault == COMMAND_FINE && command->line_length >= command->short_line &&
	       command->line_length < line_limit(command) && byte != '\r' && byte != '\n' &&
	       !command->cr_pending && command->shape != NULL && command->shape->long_lines;
}

enum command_event command_feed(struct command *command, const void *bytes, size_t length,
				size_t *consumed)
{
	const uint8_t *in = bytes;
	enum command_event event = COMMAND_MORE;
	size_t at = 0;

	if (command->over) {
		begin_command(command);
	}
	while (event == COMMAND_MORE && at < length) {
		if (command->octets_left > 0) {
			at += take_octets(command, in + at, length - at);
		} else if (asks_for_place(command, in[at])) {
			event = COMMAND_LONG;
		} else {
			event = take_byte(command, in[at]);
			at++;
		}
	}
	*consumed = at;
	return event;
}

const char *command_tag(const struct command *command)
{
	return command->tag_known ? command->tag : "";
}

const struct command_shape *command_shape(const struct command *command)
{
	return command->shape;
}

enum command_fault command_fault(const struct command *command)
{
	return (enum command_fault)command->fault;
}

bool command_is_empty(const struct command *command)
{
	return command->part == PART_TAG && command->line_length == 0;
}

bool command_is_between(const struct command *command)
{
	return command->over || (command_is_empty(command) && !command->cr_pending &&
				 command->octets_left == 0 && command->fault == COMMAND_FINE);
}

const uint8_t *command_argument(const struct command *command, size_t index, size_t *length)
{
	size_t end = command->stored.length;

	if (index >= command->argument_count) {
		return NULL;
	}
	if (index + 1 < command->argument_count) {
		end = command->argument_start[index + 1];
	}
	*length = end - command->argument_start[index];
	return buffer_bytes(&command->stored) + command->argument_start[index];
}

void command_lengthen(struct command *command, bool granted)
{
	command->short_line = SIZE_MAX;
	if (!granted) {
		reject(command, COMMAND_NO_PLACE);
	}
}

void command_continue(struct command *command, size_t short_line)
{
	command_forget(command);
	begin_line(command);
	command->short_line = short_line;
	command_open_argument(command);
	command->part = PART_RESPONSE;
	command->over = false;
}

bool command_abandon(struct command *command)
{
	bool begun = !command->over && (command->line_length > 0 || command->cr_pending ||
					command->fault != COMMAND_FINE);

	command_forget(command);
	command->fault = COMMAND_ABANDONED;
	command->over = !begun;
	return begun;
}
