/* SPDX-License-Identifier: Apache-2.0
 *
 * The arguments of a command, byte by byte: atoms, quoted strings and literals that are kept, or
 * the list of an ID. What is kept of that is command_id.c's business.
 */
#include "command_internal.h"

#include <string.h>

#include "base/text.h"

enum argument_state {
	ARGUMENT_START, /* behind a space, or behind the '(' of a list */
	ARGUMENT_ATOM,
	ARGUMENT_QUOTED,
	ARGUMENT_ESCAPED, /* behind a backslash in a quoted string */
	ARGUMENT_LITERAL, /* in {n} or {n+}, which the line's tail reads */
	ARGUMENT_AFTER,   /* behind a closing quote, a literal's octets, or a closed list */
};

bool command_is_astring_char(uint8_t byte)
{
	return byte > 0x20 && byte < 0x7F && strchr("(){%*\"\\", byte) == NULL;
}

static bool is_id(const struct command *command)
{
	return command->shape->form == COMMAND_FORM_ID;
}

/* A long line is bounded by its length, and by whoever let it be long. */
static size_t stored_room(const struct command *command)
{
	size_t most = command->shape->long_lines ? command->limits->long_line : COMMAND_STORED_MAX;

	return most - command->stored.length;
}

enum command_fault command_keep(struct command *command, const uint8_t *bytes, size_t length)
{
	if (is_id(command)) {
		return command_id_octets(command, bytes, length);
	}
	if (length > stored_room(command)) {
		return COMMAND_TOO_BIG;
	}
	return buffer_append(&command->stored, bytes, length) ? COMMAND_FINE : COMMAND_NO_MEMORY;
}

void command_open_argument(struct command *command)
{
	invariant(command->argument_count < COMMAND_ARGUMENTS_MAX);
	command->argument_start[command->argument_count] = command->stored.length;
	command->argument_count++;
}

static void open_argument(struct command *command, bool is_string)
{
	if (is_id(command)) {
		command_id_open(command, is_string);
	} else {
		command_open_argument(command);
	}
}

/* The only atom in an ID is NIL: as a value, or instead of the list. */
static enum command_fault id_atom_byte(struct command *command, uint8_t byte)
{
	static const char lower[] = "nil";

	if (command->item_length >= strlen(lower) || (byte | 0x20) != lower[command->item_length]) {
		return COMMAND_SYNTAX;
	}
	command->item_length++;
	return COMMAND_FINE;
}

static enum command_fault atom_byte(struct command *command, uint8_t byte)
{
	if (!command_is_astring_char(byte)) {
		return COMMAND_SYNTAX;
	}
	return is_id(command) ? id_atom_byte(command, byte) : command_keep(command, &byte, 1);
}

static enum command_fault start_atom(struct command *command, uint8_t byte)
{
	if (!command_is_astring_char(byte)) {
		return COMMAND_SYNTAX;
	}
	open_argument(command, false);
	if (is_id(command) && command->in_list && command->item_count % 2 == 1) {
		return COMMAND_SYNTAX;
	}
	command->state = ARGUMENT_ATOM;
	return atom_byte(command, byte);
}

static enum command_fault start_string(struct command *command, enum argument_state state)
{
	bool wanted =
		is_id(command) ? command->in_list : command->shape->form == COMMAND_FORM_STRINGS;

	if (!wanted) {
		return COMMAND_SYNTAX;
	}
	open_argument(command, true);
	command->state = state;
	return COMMAND_FINE;
}

static enum command_fault open_list(struct command *command)
{
	if (!is_id(command) || command->in_list) {
		return COMMAND_SYNTAX;
	}
	command->in_list = true;
	return COMMAND_FINE;
}

static enum command_fault close_list(struct command *command)
{
	if (!command->in_list || command->item_count % 2 == 1) {
		return COMMAND_SYNTAX;
	}
	if (command->item_count > 0) {
		command_id_close(command);
	}
	command->in_list = false;
	command->state = ARGUMENT_AFTER;
	return COMMAND_FINE;
}

static enum command_fault start_byte(struct command *command, uint8_t byte)
{
	switch (byte) {
	case '"':
		return start_string(command, ARGUMENT_QUOTED);
	case '{':
		return start_string(command, ARGUMENT_LITERAL);
	case '(':
		return open_list(command);
	case ')':
		return command->item_count == 0 ? close_list(command) : COMMAND_SYNTAX;
	default:
		return start_atom(command, byte);
	}
}

static enum command_fault quoted_byte(struct command *command, uint8_t byte)
{
	switch (byte) {
	case '\r':
		return COMMAND_SYNTAX;
	case '\\':
		command->state = ARGUMENT_ESCAPED;
		return COMMAND_FINE;
	case '"':
		command->state = ARGUMENT_AFTER;
		return COMMAND_FINE;
	default:
		return command_keep(command, &byte, 1);
	}
}

static enum command_fault escaped_byte(struct command *command, uint8_t byte)
{
	if (byte != '"' && byte != '\\') {
		return COMMAND_SYNTAX;
	}
	command->state = ARGUMENT_QUOTED;
	return command_keep(command, &byte, 1);
}

/* The line's tail sees whether these bytes are in order; what it cannot see is a second '{'. */
static enum command_fault literal_byte(uint8_t byte)
{
	bool known = (byte >= '0' && byte <= '9') || byte == '+' || byte == '}';

	return known ? COMMAND_FINE : COMMAND_SYNTAX;
}

static bool is_half_nil(const struct command *command)
{
	return is_id(command) && command->state == ARGUMENT_ATOM &&
	       command->item_length != strlen("NIL");
}

static enum command_fault next_id_item(struct command *command)
{
	if (!command->in_list || command->item_count >= 2 * command->limits->id_pairs ||
	    is_half_nil(command)) {
		return COMMAND_SYNTAX;
	}
	command_id_close(command);
	return COMMAND_FINE;
}

static enum command_fault next_argument(struct command *command)
{
	enum command_fault fault = COMMAND_FINE;

	if (is_id(command)) {
		fault = next_id_item(command);
	} else if (command->argument_count >= command->shape->most) {
		fault = COMMAND_SYNTAX;
	}
	command->state = ARGUMENT_START;
	return fault;
}

static enum command_fault after_byte(struct command *command, uint8_t byte)
{
	if (byte == ' ') {
		return next_argument(command);
	}
	return byte == ')' && !is_half_nil(command) ? close_list(command) : COMMAND_SYNTAX;
}

enum command_fault command_arguments_byte(struct command *command, uint8_t byte)
{
	switch ((enum argument_state)command->state) {
	case ARGUMENT_START:
		return start_byte(command, byte);
	case ARGUMENT_ATOM:
		return byte == ' ' || byte == ')' ? after_byte(command, byte)
						  : atom_byte(command, byte);
	case ARGUMENT_QUOTED:
		return quoted_byte(command, byte);
	case ARGUMENT_ESCAPED:
		return escaped_byte(command, byte);
	case ARGUMENT_LITERAL:
		return literal_byte(byte);
	case ARGUMENT_AFTER:
		return after_byte(command, byte);
	}
	return COMMAND_SYNTAX;
}

enum command_fault command_arguments_literal(struct command *command, uint32_t octets)
{
	size_t room = is_id(command) ? command_id_item_max(command) : stored_room(command);

	if (command->state != ARGUMENT_LITERAL) {
		return COMMAND_SYNTAX;
	}
	if (octets > room) {
		return COMMAND_TOO_BIG;
	}
	command->state = ARGUMENT_AFTER;
	return COMMAND_FINE;
}

enum command_fault command_arguments_octets(struct command *command, const uint8_t *octets,
					    size_t length)
{
	if (memchr(octets, '\0', length) != NULL) {
		return COMMAND_SYNTAX;
	}
	return command_keep(command, octets, length);
}

enum command_fault command_arguments_end(const struct command *command)
{
	bool complete = command->state == ARGUMENT_ATOM || command->state == ARGUMENT_AFTER;

	if (!complete || command->in_list || is_half_nil(command)) {
		return COMMAND_SYNTAX;
	}
	if (is_id(command)) {
		return command->stored.failed ? COMMAND_NO_MEMORY : COMMAND_FINE;
	}
	return command->argument_count >= command->shape->fewest ? COMMAND_FINE : COMMAND_SYNTAX;
}
