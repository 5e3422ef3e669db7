/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of an ID: its items are measured as they pass, and its pairs kept where there is room.
 *
 * A pair is kept as FIELD NUL KIND VALUE NUL; neither string holds a NUL.
 */
#include <string.h>

#include "base/text.h"
#include "command_internal.h"

/* The kinds of an ID's value, and what a pair takes beyond its octets. */
#define KIND_STRING  '"'
#define KIND_NIL     'N'
#define PAIR_FRAMING 3

/* Items of an ID list come in pairs: the first, third ... is a field, the others are values. */
static bool is_id_field(const struct command *command)
{
	return command->item_count % 2 == 1;
}

size_t command_id_item_max(const struct command *command)
{
	return is_id_field(command) ? COMMAND_ID_FIELD_MAX : COMMAND_ID_VALUE_MAX;
}

static void drop_pair(struct command *command)
{
	command->pair_kept = false;
	buffer_truncate(&command->stored, command->pair_start);
}

enum command_fault command_id_octets(struct command *command, const uint8_t *octets, size_t length)
{
	command->item_length += (uint32_t)length;
	if (command->item_length > command_id_item_max(command)) {
		return COMMAND_TOO_BIG;
	}
	if (!command->pair_kept) {
		return COMMAND_FINE;
	}
	if (!is_id_field(command)) {
		if (length > command->pair_room) {
			drop_pair(command);
			return COMMAND_FINE;
		}
		command->pair_room -= length;
	}
	return buffer_append(&command->stored, octets, length) ? COMMAND_FINE : COMMAND_NO_MEMORY;
}

static void open_field(struct command *command)
{
	command->pair_kept = command->in_list;
	command->pair_start = command->stored.length;
}

static bool is_wanted(const struct command *command, const uint8_t *field, size_t length)
{
	const char *const *wanted = command->shape->wanted;

	while (wanted != NULL && *wanted != NULL) {
		if (text_equal_nocase(field, length, *wanted)) {
			return true;
		}
		wanted++;
	}
	return false;
}

/* The field is whole: whether its pair is kept depends on it. */
static void open_value(struct command *command, bool is_string)
{
	const uint8_t *field = buffer_bytes(&command->stored) + command->pair_start;
	size_t length = command->stored.length - command->pair_start;
	size_t room = COMMAND_ID_STORED_MAX - command->pairs_length;

	if (!command->pair_kept) {
		return;
	}
	if (is_wanted(command, field, length)) {
		command->pair_room = COMMAND_ID_WANTED_MAX;
	} else if (length + PAIR_FRAMING <= room) {
		command->pair_room = room - length - PAIR_FRAMING;
	} else {
		drop_pair(command);
		return;
	}
	buffer_append_byte(&command->stored, '\0');
	buffer_append_byte(&command->stored, is_string ? KIND_STRING : KIND_NIL);
}

void command_id_open(struct command *command, bool is_string)
{
	command->item_count++;
	command->item_length = 0;
	if (is_id_field(command)) {
		open_field(command);
	} else {
		open_value(command, is_string);
	}
}

/* What is wanted does not use up the room of the others. */
static void close_value(struct command *command)
{
	const uint8_t *field = buffer_bytes(&command->stored) + command->pair_start;
	size_t length = command->stored.length - command->pair_start;
	const uint8_t *end = memchr(field, '\0', length);

	if (end == NULL) {
		return; /* memory ran out */
	}
	if (!is_wanted(command, field, (size_t)(end - field))) {
		command->pairs_length += length + 1;
	}
	buffer_append_byte(&command->stored, '\0');
}

void command_id_close(struct command *command)
{
	if (!is_id_field(command) && command->pair_kept) {
		close_value(command);
	}
}

bool command_pair(const struct command *command, size_t *at, struct command_pair *pair)
{
	const uint8_t *field = buffer_bytes(&command->stored) + *at;
	const uint8_t *value;

	if (*at >= command->stored.length) {
		return false;
	}
	pair->field = field;
	pair->field_length = strlen((const char *)field);
	value = field + pair->field_length + 1;
	pair->value = *value == KIND_STRING ? value + 1 : NULL;
	pair->value_length = strlen((const char *)value + 1);
	*at += pair->field_length + pair->value_length + PAIR_FRAMING;
	return true;
}
