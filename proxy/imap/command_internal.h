/* SPDX-License-Identifier: Apache-2.0
 *
 * Between command.c, which knows lines, literals, tags and names, command_arguments.c, which knows
 * what stands behind a name, and command_id.c, which keeps pairs.
 */
#ifndef GATEPOST_IMAP_COMMAND_INTERNAL_H
#define GATEPOST_IMAP_COMMAND_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "imap/command.h"

/* command_is_astring_char: ASTRING-CHAR of RFC 9051 section 9. */
bool command_is_astring_char(uint8_t byte);

/* command_arguments_byte takes one byte of a line behind "NAME ". */
enum command_fault command_arguments_byte(struct command *command, uint8_t byte);

/* command_arguments_literal tells whether a literal of that size, just announced, is an argument
 * that can be taken; command_arguments_octets takes its octets, which all lie within that size. */
enum command_fault command_arguments_literal(struct command *command, uint32_t octets);
enum command_fault command_arguments_octets(struct command *command, const uint8_t *octets,
					    size_t length);

/* command_arguments_end tells whether the command may end here. */
enum command_fault command_arguments_end(const struct command *command);

/* command_keep appends to the last argument. */
enum command_fault command_keep(struct command *command, const uint8_t *bytes, size_t length);

/* command_open_argument begins the next argument of a command that is no ID. */
void command_open_argument(struct command *command);

/* command_id_open begins the next item of an ID, a string or NIL; command_id_octets takes octets of
 * a string, of which an item has at most command_id_item_max; command_id_close ends it. */
void command_id_open(struct command *command, bool is_string);
enum command_fault command_id_octets(struct command *command, const uint8_t *octets, size_t length);
size_t command_id_item_max(const struct command *command);
void command_id_close(struct command *command);

#endif
