/* SPDX-License-Identifier: Apache-2.0
 *
 * One client command after the other (RFC 9051 sections 2.2, 4.3 and 9), taken from bytes that may
 * arrive in any pieces. Strict in what it accepts, and after whatever it rejects exactly at the
 * start of the next command: every line, also of a rejected or over-long command, is watched for
 * the literal that it ends in (RFC 7888 section 3), whose octets and following line belong to it.
 *
 * A line ends in CRLF or a bare LF, everywhere. A CR before anything else is a bad character.
 */
#ifndef GATEPOST_IMAP_COMMAND_H
#define GATEPOST_IMAP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buffer.h"
#include "imap/command_shape.h"

enum command_event {
	COMMAND_MORE,    /* all bytes are consumed, the command is not over */
	COMMAND_LITERAL, /* a literal that will be taken waits for its go-ahead: send `+` */
	COMMAND_LONG,    /* the line is longer than may be kept without asking: nothing more is
			  * consumed until command_lengthen() */
	COMMAND_READY,   /* a command as its shape wants it */
	COMMAND_BAD,     /* a command that is rejected: command_fault() says why */
	COMMAND_FATAL,   /* a literal of unknowable length follows: feed no more */
};

enum command_fault {
	COMMAND_FINE,
	COMMAND_SYNTAX,    /* characters, spaces, number or form of arguments */
	COMMAND_UNKNOWN,   /* no shape has this name */
	COMMAND_FORBIDDEN, /* known, but not now: skipped unread */
	COMMAND_TOO_LONG,  /* a line past its limit */
	COMMAND_NO_PLACE,  /* a long line that must not be kept now */
	COMMAND_TOO_BIG,   /* a literal, or all arguments together, past the limit */
	COMMAND_ABANDONED, /* its rest came after command_abandon() */
	COMMAND_NO_MEMORY,
};

/* struct command is embedded in its owner; the fields are the command's own. It keeps arguments
 * only while they are needed, and wipes them. */
struct command {
	const struct command_shape *shapes;
	size_t shape_count;
	const struct command_limits *limits;
	unsigned forbidden;

	/* The line that is being read, and whether it ends in a literal. */
	size_t line_length;
	size_t short_line;    /* what of it may be kept without asking */
	uint32_t octets_left; /* of the literal that is being read */
	uint32_t tail_octets;
	uint8_t tail; /* enum tail */
	bool tail_plus;
	bool tail_overflow;
	bool cr_pending;

	/* What it means. */
	uint8_t part;  /* enum part */
	uint8_t fault; /* enum command_fault */
	uint8_t state; /* enum argument_state */
	bool over;     /* READY or BAD was said: the next byte begins the next command */
	bool tag_known;
	uint8_t tag_length;
	uint8_t name_length;
	char tag[COMMAND_TAG_MAX + 1];
	char name[COMMAND_NAME_MAX + 1];
	const struct command_shape *shape;

	/* The arguments. */
	struct buffer stored;
	size_t argument_start[COMMAND_ARGUMENTS_MAX];
	uint8_t argument_count;
	bool in_list;
	uint8_t item_count;   /* of the ID list */
	uint32_t item_length; /* of the ID item */
	bool pair_kept;       /* so far */
	size_t pair_start;    /* of the ID pair in `stored` */
	size_t pair_room;     /* for the rest of its value */
	size_t pairs_length;  /* of those that are kept and not wanted */
};

/* command_init waits for the first command. `shapes` and `limits` are borrowed. */
void command_init(struct command *command, const struct command_shape *shapes, size_t shape_count,
		  const struct command_limits *limits);

/* command_forbid says which commands are known but not now: bit n stands for the n-th shape. It
 * holds for all whose name is not read yet. */
void command_forbid(struct command *command, unsigned shapes);

/* command_feed consumes bytes up to the next event. After COMMAND_READY and COMMAND_BAD the
 * functions below tell of that command, until the next feed. */
enum command_event command_feed(struct command *command, const void *bytes, size_t length,
				size_t *consumed);

/* command_tag is the tag, or "" where none may be echoed: malformed, or no space behind it. */
const char *command_tag(const struct command *command);

/* command_shape is which command it is, NULL where no shape has its name. */
const struct command_shape *command_shape(const struct command *command);

enum command_fault command_fault(const struct command *command);

/* command_is_between tells whether the next byte begins a command, command_is_empty whether the
 * line that has just ended, and was COMMAND_BAD, held nothing. */
bool command_is_between(const struct command *command);
bool command_is_empty(const struct command *command);

/* command_argument is one argument of a ready command, decoded, and its length; NULL where it has
 * no such argument. Borrowed until the next feed, continue or forget. */
const uint8_t *command_argument(const struct command *command, size_t index, size_t *length);

/* struct command_pair is a pair of an ID, borrowed as an argument is. */
struct command_pair {
	const uint8_t *field;
	const uint8_t *value; /* NULL for NIL */
	size_t field_length;
	size_t value_length;
};

/* command_pair gives one kept pair of a ready ID after the other; `at` is 0 for the first. False
 * when there is none left. */
bool command_pair(const struct command *command, size_t *at, struct command_pair *pair);

/* command_lengthen answers COMMAND_LONG: the line is kept up to its limit, or rejected. */
void command_lengthen(struct command *command, bool granted);

/* command_continue makes the next line the only argument of the ready command, whatever it holds
 * (in RFC 9051's grammar the responses of an AUTHENTICATE are part of it), of which `short_line`
 * octets are kept without asking. It ends in another COMMAND_READY or COMMAND_BAD. For commands of
 * COMMAND_FORM_ATOMS. */
void command_continue(struct command *command, size_t short_line);

/* command_forget wipes the arguments; tag and shape stay until the next feed. */
void command_forget(struct command *command);

/* command_abandon forgets, and ends a command whose next line is awaited. True when a part of that
 * line has come: the rest is skipped, and ends in COMMAND_BAD. Otherwise the next byte begins a
 * command. */
bool command_abandon(struct command *command);

/* command_done wipes and frees. */
void command_done(struct command *command);

#endif
