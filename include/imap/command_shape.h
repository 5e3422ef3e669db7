/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands look like, and how long they may be: what command.h is told.
 */
#ifndef GATEPOST_IMAP_COMMAND_SHAPE_H
#define GATEPOST_IMAP_COMMAND_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hard limits, in octets, whatever command_limits allows: a tag; a literal with `+` (LITERAL-, RFC
 * 7888 section 5); what is kept of a command's arguments, but for long lines. */
#define COMMAND_TAG_MAX          126
#define COMMAND_LITERAL_PLUS_MAX 4096
#define COMMAND_STORED_MAX       8192
#define COMMAND_NAME_MAX         15
#define COMMAND_ARGUMENTS_MAX    2

/* Hard limits of ID (RFC 2971 section 3.3), and of its line: 30 pairs fit. */
#define COMMAND_ID_PAIRS_MAX 30
#define COMMAND_ID_FIELD_MAX 30
#define COMMAND_ID_VALUE_MAX 1024
#define COMMAND_ID_LINE_MAX  32768

/* What is kept of an ID's pairs, in octets: the first that fit; and how long the value of a wanted
 * field may be, which is kept beside them. */
#define COMMAND_ID_STORED_MAX 2048
#define COMMAND_ID_WANTED_MAX 64

/* So much of a long line is kept without asking. */
#define COMMAND_SHORT_LINE 8192

/* struct command_limits is in octets, but for id_pairs. */
struct command_limits {
	size_t line;       /* of a line without its end */
	size_t long_line;  /* of a line of a command that has long ones */
	size_t literal;    /* with `+` at most COMMAND_LITERAL_PLUS_MAX */
	size_t tag;        /* at most COMMAND_TAG_MAX */
	unsigned id_pairs; /* at most COMMAND_ID_PAIRS_MAX */
};

enum command_form {
	COMMAND_FORM_NONE,    /* no arguments */
	COMMAND_FORM_STRINGS, /* atoms, quoted strings, literals; kept */
	COMMAND_FORM_ATOMS,   /* atoms only; kept */
	COMMAND_FORM_ID,      /* NIL or a list of pairs; checked, and kept where there is room */
};

/* struct command_shape is what a command looks like. `fewest` and `most` count the arguments of
 * COMMAND_FORM_STRINGS and COMMAND_FORM_ATOMS. `wanted` are those fields of an ID, in lower case,
 * whose values are kept however long the list is; NULL at its end. */
struct command_shape {
	const char *name;
	const char *const *wanted;
	enum command_form form;
	uint8_t fewest;
	uint8_t most;
	bool long_lines; /* its lines may be limits->long_line */
};

#endif
