/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands out of bytes: every case is fed whole, byte by byte and in random pieces, and ends in a
 * good command, so that a parser that lost its place is found out.
 */
#include "imap/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/chunks.h"

static const struct command_limits limits = {
	.line = 200,
	.long_line = 300,
	.literal = 6000,
	.tag = COMMAND_TAG_MAX,
	.id_pairs = COMMAND_ID_PAIRS_MAX,
};

static const char *const wanted[] = {"x-ttl", "x-id", NULL};

enum verb { NOOP, LOGIN, AUTH, ONE, ID, SECRET };

static const struct command_shape shapes[] = {
	[NOOP] = {.name = "NOOP", .form = COMMAND_FORM_NONE},
	[LOGIN] = {.name = "LOGIN", .form = COMMAND_FORM_STRINGS, .fewest = 2, .most = 2},
	[AUTH] = {.name = "AUTH",
		  .form = COMMAND_FORM_ATOMS,
		  .fewest = 1,
		  .most = 2,
		  .long_lines = true},
	[ONE] = {.name = "ONE", .form = COMMAND_FORM_STRINGS, .fewest = 1, .most = 1},
	[ID] = {.name = "ID", .form = COMMAND_FORM_ID, .wanted = wanted},
	[SECRET] = {.name = "SECRET", .form = COMMAND_FORM_STRINGS, .fewest = 1, .most = 1},
};

/* What is fed, and what came of it: one line for each event. AUTH with one argument is continued.
 */
struct run {
	struct command command;
	struct buffer events;
	bool continued; /* the line of an AUTH is awaited */
	bool dead;
};

static void begin(void *context)
{
	struct run *run = context;

	*run = (struct run){0};
	command_init(&run->command, shapes, array_length(shapes), &limits);
	command_forbid(&run->command, 1U << SECRET);
}

static void write_octets(struct buffer *out, const uint8_t *octets, size_t length)
{
	if (length > 20) {
		buffer_printf(out, "%zu*%c", length, octets[length - 1]);
	} else {
		buffer_append(out, octets, length);
	}
}

static void write_argument(struct run *run, size_t index)
{
	size_t length = 0;
	const uint8_t *bytes = command_argument(&run->command, index, &length);

	if (bytes == NULL) {
		return;
	}
	buffer_append_text(&run->events, " <");
	write_octets(&run->events, bytes, length);
	buffer_append_text(&run->events, ">");
}

static void write_pairs(struct run *run)
{
	struct command_pair pair;
	size_t at = 0;

	while (command_pair(&run->command, &at, &pair)) {
		buffer_append_text(&run->events, " (");
		write_octets(&run->events, pair.field, pair.field_length);
		if (pair.value != NULL) {
			buffer_append_text(&run->events, "=");
			write_octets(&run->events, pair.value, pair.value_length);
		}
		buffer_append_text(&run->events, ")");
	}
}

static void write_ready(struct run *run)
{
	enum verb verb = (enum verb)(command_shape(&run->command) - shapes);

	buffer_printf(&run->events, "%s %s", command_tag(&run->command), shapes[verb].name);
	if (verb == ID) {
		write_pairs(run);
	}
	write_argument(run, 0);
	write_argument(run, 1);
	buffer_append_text(&run->events, "\n");
	if (verb == AUTH && !run->continued &&
	    command_argument(&run->command, 1, &(size_t){0}) == NULL) {
		run->continued = true;
		command_continue(&run->command, COMMAND_SHORT_LINE);
	} else {
		run->continued = false;
	}
}

static void write_bad(struct run *run)
{
	static const char *const faults[] = {
		[COMMAND_FINE] = "fine",         [COMMAND_SYNTAX] = "syntax",
		[COMMAND_UNKNOWN] = "unknown",   [COMMAND_FORBIDDEN] = "forbidden",
		[COMMAND_TOO_LONG] = "too long", [COMMAND_TOO_BIG] = "too big",
		[COMMAND_NO_PLACE] = "no place", [COMMAND_NO_MEMORY] = "no memory",
	};

	run->continued = false;
	assert_null(command_argument(&run->command, 0, &(size_t){0}));
	assert_null(run->command.stored.data);
	buffer_printf(&run->events, "%s bad: %s\n", command_tag(&run->command),
		      faults[command_fault(&run->command)]);
}

static void feed(void *context, const void *bytes, size_t length)
{
	struct run *run = context;
	const uint8_t *at = bytes;

	while (length > 0 && !run->dead) {
		size_t consumed = 0;
		enum command_event event = command_feed(&run->command, at, length, &consumed);

		assert_true(consumed > 0 && consumed <= length);
		at += consumed;
		length -= consumed;
		if (event == COMMAND_READY) {
			write_ready(run);
		} else if (event == COMMAND_BAD) {
			write_bad(run);
		} else if (event == COMMAND_LITERAL) {
			buffer_append_text(&run->events, "+\n");
		} else if (event == COMMAND_FATAL) {
			buffer_append_text(&run->events, "fatal\n");
			run->dead = true;
		} else {
			assert_int_equal(length, 0);
		}
	}
}

static void end(void *context, struct buffer *outcome)
{
	struct run *run = context;

	assert_false(run->command.stored.failed);
	buffer_append(outcome, buffer_bytes(&run->events), run->events.length);
	buffer_done(&run->events);
	command_done(&run->command);
}

static void check(const char *name, const void *input, size_t length, const char *expected)
{
	struct run run;
	struct chunks_subject subject = {begin, feed, end, &run};

	chunks_check(&subject, name, input, length, expected);
}

struct command_case {
	const char *input;
	size_t length;
	const char *expected;
};

#define bytes(text) text, sizeof(text) - 1

/* Runs each case with `z NOOP` behind it. */
static void check_cases(const struct command_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buffer input = {0};
		char expected[1024];

		buffer_append(&input, cases[i].input, cases[i].length);
		buffer_append_text(&input, "z NOOP\r\n");
		snprintf(expected, sizeof(expected), "%sz NOOP\n", cases[i].expected);
		check(cases[i].input, buffer_bytes(&input), input.length, expected);
		buffer_done(&input);
	}
}

static void test_lines(void **state)
{
	static const struct command_case cases[] = {
		{bytes("a NOOP\r\n"), "a NOOP\n"},
		{bytes("a nOoP\r\nb NOOP\n"), "a NOOP\nb NOOP\n"},
		{bytes("\r\n"), " bad: syntax\n"},
		{bytes("\n\n"), " bad: syntax\n bad: syntax\n"},
		{bytes("a\r\n"), " bad: syntax\n"},
		{bytes("a \r\n"), "a bad: syntax\n"},
		{bytes(" \r\n"), " bad: syntax\n"},
		{bytes(" a NOOP\r\n"), " bad: syntax\n"},
		{bytes("a  NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a\tNOOP\r\n"), " bad: syntax\n"},
		{bytes("a NOOP \r\n"), "a bad: syntax\n"},
		{bytes("a NOOP x\r\n"), "a bad: syntax\n"},
		{bytes("a NO\rOP\r\n"), "a bad: syntax\n"},
		{bytes("a NOOP\r\r\n"), "a bad: syntax\n"},
		{bytes("\ra NOOP\r\n"), " bad: syntax\n"},
		{bytes("a NOOP\0\r\n"), "a bad: syntax\n"},
		{bytes("\0\r\n"), " bad: syntax\n"},
		{bytes("a NOOP\x80\r\n"), "a bad: syntax\n"},
		{bytes("a XFOO bar\r\n"), "a bad: unknown\n"},
		{bytes("a NOOPNOOPNOOPNOOP\r\n"), "a bad: unknown\n"},
		{bytes("a NOO\r\n"), "a bad: unknown\n"},
		{bytes("a NOOPS\r\n"), "a bad: unknown\n"},
		{bytes("a (NOOP)\r\n"), "a bad: syntax\n"},
	};

	(void)state;
	check_cases(cases, array_length(cases));
}

static void test_tags(void **state)
{
	static const char allowed[] = "!#$&',-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`"
				      "abcdefghijklmnopqrstuvwxyz|}~";

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		bool good = byte != 0 && strchr(allowed, byte) != NULL;
		char input[] = "tXg NOOP\r\nz NOOP\r\n";
		char expected[64];

		if (byte == '\n' || byte == ' ') {
			continue;
		}
		input[1] = (char)byte;
		snprintf(expected, sizeof(expected),
			 good ? "t%cg NOOP\nz NOOP\n" : " bad: syntax\nz NOOP\n", byte);
		check("every byte in a tag", input, sizeof(input) - 1, expected);
	}
}

static void test_arguments(void **state)
{
	static const struct command_case cases[] = {
		{bytes("a LOGIN u1 pw\r\n"), "a LOGIN <u1> <pw>\n"},
		{bytes("a LOGIN NIL ]\r\n"), "a LOGIN <NIL> <]>\n"},
		{bytes("a LOGIN \"u1\" \"p\\\"w\\\\x\"\r\n"), "a LOGIN <u1> <p\"w\\x>\n"},
		{bytes("a LOGIN \"\" \"\"\r\n"), "a LOGIN <> <>\n"},
		{bytes("a LOGIN \"a (b) {1}%*\t\xff\" x\n"), "a LOGIN <a (b) {1}%*\t\xff> <x>\n"},
		{bytes("a LOGIN {2}\r\nu1 {2}\r\npw\r\n"), "+\n+\na LOGIN <u1> <pw>\n"},
		{bytes("a LOGIN {2+}\nu1 {2+}\npw\n"), "a LOGIN <u1> <pw>\n"},
		{bytes("a LOGIN {0}\r\n {0+}\r\n\r\n"), "+\na LOGIN <> <>\n"},
		{bytes("a LOGIN {3+}\r\n\r\n\xff pw\r\n"), "a LOGIN <\r\n\xff> <pw>\n"},
		{bytes("a LOGIN {003+}\r\n{1} pw\r\n"), "a LOGIN <{1}> <pw>\n"},
		{bytes("a LOGIN\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 \r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN  u1 pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1  pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 pw \r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 pw x\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN (u1) pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 (pw)\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 pw)\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u\xc3\xa9 pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u\"1 pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u1\"x pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u1\"\"pw\"\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u\\1\" pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 \"p\\w\"\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u1 pw\r\nb NOOP\r\n"), "a bad: syntax\nb NOOP\n"},
		{bytes("a LOGIN \"u1\\\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u\r1\" pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u\0\" pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {3+}\r\nu\0x pw\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {2+}\r\nu1pw\r\n"), "a bad: syntax\n"},
		{bytes("a AUTH PLAIN =\r\n"), "a AUTH <PLAIN> <=>\n"},
		{bytes("a AUTH \"PLAIN\"\r\n"), "a bad: syntax\n"},
		{bytes("a AUTH {5}\r\n"), "a bad: syntax\n"},
		{bytes("a AUTH {5+}\r\nPLAIN\r\n"), "a bad: syntax\n"},
		{bytes("a AUTH PLAIN {5}\r\n"), "a bad: syntax\n"},
		{bytes("a ONE u1\r\n"), "a ONE <u1>\n"},
		{bytes("a ONE u1 u2\r\n"), "a bad: syntax\n"},
		{bytes("a SECRET\r\n"), "a bad: forbidden\n"},
		{bytes("a NOOP\r\nb SECRET x\r\n"), "a NOOP\nb bad: forbidden\n"},
		{bytes("a SECRET \"u1 \0 (\r\n"), "a bad: forbidden\n"},
	};

	(void)state;
	check_cases(cases, array_length(cases));
}

/* Whatever is wrong, the octets of a literal and the line behind it are no command. */
static void test_resynchronises(void **state)
{
	static const struct command_case cases[] = {
		{bytes("a XFOO {9+}\r\nb NOOP\r\n\n\r\n"), "a bad: unknown\n"},
		{bytes("a XFOO {6+}\r\nb NOOP c NOOP\r\n"), "a bad: unknown\n"},
		{bytes("a XFOO {2+}\r\nxx {2+}\r\nxx {8+}\r\nb NOOP\r\n\r\n"), "a bad: unknown\n"},
		{bytes("a XFOO {5}\r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a NOOP {6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a NOOP{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("{6+}\r\nb NOOP\r\n"), " bad: syntax\n"},
		{bytes("* {6+}\nb NOOP\n"), " bad: syntax\n"},
		{bytes("a{6+}\r\nb NOOP\r\n"), " bad: syntax\n"},
		{bytes("a {6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN \"u1 {8+}\r\nb NOOP\r\n\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 pw {6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN ~{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN ({6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {x{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1}{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1{6}\r\nb NOOP\r\n"), "a bad: syntax\nb NOOP\n"},
		{bytes("a LOGIN {4+}\r\nu\0{1 x{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a SECRET {6+}\r\nb NOOP {6+}\r\nc NOOP\r\n"), "a bad: forbidden\n"},
		{bytes("a SECRET {6}\r\nb NOOP\r\n"), "a bad: forbidden\nb NOOP\n"},
		{bytes("a SECRET{6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN u1 {1+}\r\nb\r\n"), "a LOGIN <u1> <b>\n"},
		{bytes("a XFOO {6+}\r\r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a XFOO {6+} \r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a XFOO {6+\r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a XFOO {6++}\r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a XFOO 6+}\r\nb NOOP\r\n"), "a bad: unknown\nb NOOP\n"},
		{bytes("a LOGIN {-1}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN { 1}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1 }\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {0x2}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {+}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1++}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1+1}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1}}\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {1}\r\r\n"), "a bad: syntax\n"},
		{bytes("a LOGIN {18446744073709551617}\r\n"), "a bad: too big\n"},
		{bytes("a LOGIN {4294967297}\r\n"), "a bad: too big\n"},
		{bytes("a LOGIN {4294967295}\r\n"), "a bad: too big\n"},
		{bytes("a LOGIN u1 {1000000}\r\n"), "a bad: too big\n"},
		{bytes("a AUTH PLAIN\r\nAAAA\r\n"), "a AUTH <PLAIN>\na AUTH <AAAA>\n"},
		{bytes("a AUTH PLAIN\n*\n"), "a AUTH <PLAIN>\na AUTH <*>\n"},
		{bytes("a AUTH PLAIN\r\n\r\n"), "a AUTH <PLAIN>\na AUTH <>\n"},
		{bytes("a AUTH PLAIN\r\nb \"( \t{1}x\r\n"),
		 "a AUTH <PLAIN>\na AUTH <b \"( \t{1}x>\n"},
		{bytes("a AUTH PLAIN\r\nA\rA\r\n"), "a AUTH <PLAIN>\na bad: syntax\n"},
		{bytes("a AUTH PLAIN\r\nA\0A\r\n"), "a AUTH <PLAIN>\na bad: syntax\n"},
		{bytes("a AUTH PLAIN\r\nx {6+}\r\nb NOOP\r\n"), "a AUTH <PLAIN>\na bad: syntax\n"},
		{bytes("a AUTH PLAIN\r\nx {6}\r\nb NOOP\r\n"),
		 "a AUTH <PLAIN>\na bad: syntax\nb NOOP\n"},
	};

	(void)state;
	check_cases(cases, array_length(cases));
}

static void test_numbers_that_cannot_be_skipped(void **state)
{
	static const char *const inputs[] = {
		"a LOGIN {4294967296+}\r\nx",          "a LOGIN {99999999999999999999+}\r\nx",
		"a XFOO {18446744073709551617+}\r\nx", "a LOGIN ~{4294967300+}\nx",
		"a LOGIN \"{42949672950+}\r\nx",
	};

	(void)state;
	for (size_t i = 0; i < array_length(inputs); i++) {
		check(inputs[i], inputs[i], strlen(inputs[i]), "fatal\n");
	}
	check("the largest number", bytes("a XFOO {4294967295+}\r\nb NOOP\r\n"), "");
}

static void test_id(void **state)
{
	static const struct command_case cases[] = {
		{bytes("a ID NIL\r\n"), "a ID\n"},
		{bytes("a id nIl\r\n"), "a ID\n"},
		{bytes("a ID ()\r\n"), "a ID\n"},
		{bytes("a ID (\"name\" \"x\")\r\n"), "a ID (name=x)\n"},
		{bytes("a ID (\"a\\\"\" NIL {1}\r\nb \"\\\\\" {1+}\r\nc {0+}\r\n)\r\n"),
		 "+\na ID (a\") (b=\\) (c=)\n"},
		{bytes("a ID (\"X-TTL\" \"3\")\r\n"), "a ID (X-TTL=3)\n"},
		{bytes("a ID (\"x\" \"N\" \"\" {2}\r\n34 \"x\" NiL)\r\n"),
		 "+\na ID (x=N) (=34) (x)\n"},
		{bytes("a ID (\"x-ttl\" \"3\"\r\n"), "a bad: syntax\n"},
		{bytes("a ID\r\n"), "a bad: syntax\n"},
		{bytes("a ID \r\n"), "a bad: syntax\n"},
		{bytes("a ID NI\r\n"), "a bad: syntax\n"},
		{bytes("a ID NILL\r\n"), "a bad: syntax\n"},
		{bytes("a ID NIL NIL\r\n"), "a bad: syntax\n"},
		{bytes("a ID NIL)\r\n"), "a bad: syntax\n"},
		{bytes("a ID \"x\"\r\n"), "a bad: syntax\n"},
		{bytes("a ID {1}\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (x y\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" y)\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" NI)\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" NI \"y\" NIL)\r\n"), "a bad: syntax\n"},
		{bytes("a ID (NIL \"y\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" \"y\"\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" \"y\" )\r\n"), "a bad: syntax\n"},
		{bytes("a ID ( \"x\" \"y\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\"  \"y\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\"\"y\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" \"y\") \r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" \"y\"))\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" \"y\")(\"x\" \"y\")\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" (\"y\"))\r\n"), "a bad: syntax\n"},
		{bytes("a ID ((\"x\" \"y\"))\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\r\n"), "a bad: syntax\n"},
		{bytes("a ID )\r\n"), "a bad: syntax\n"},
		{bytes("a ID (\"x\" {6+}\r\nb NOOP\r\n"), "a bad: syntax\n"},
	};

	(void)state;
	check_cases(cases, array_length(cases));
}

static void repeat(struct buffer *out, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buffer_append_text(out, text);
	}
}

/* `head`, then `count` times `part`, then `rest`, then a good command. */
static void check_repeated(const char *head, const char *part, size_t count, const char *rest,
			   const char *expected)
{
	struct buffer input = {0};

	buffer_append_text(&input, head);
	repeat(&input, part, count);
	buffer_append_text(&input, rest);
	buffer_append_text(&input, "z NOOP\r\n");
	check(head, buffer_bytes(&input), input.length, expected);
	buffer_done(&input);
}

static void test_tag_limit(void **state)
{
	char expected[COMMAND_TAG_MAX + 32];

	(void)state;
	memset(expected, 't', COMMAND_TAG_MAX);
	snprintf(expected + COMMAND_TAG_MAX, 32, " bad: unknown\nz NOOP\n");
	check_repeated("", "t", COMMAND_TAG_MAX, " NOPE\r\n", expected);
	check_repeated("", "t", COMMAND_TAG_MAX + 1, " NOPE\r\n", " bad: syntax\nz NOOP\n");
	check_repeated("", "t", 100000, " NOOP\r\n", " bad: syntax\nz NOOP\n");
}

static void test_line_limits(void **state)
{
	(void)state;
	check_repeated("a LOGIN u ", "p", 190, "\r\n", "a LOGIN <u> <190*p>\nz NOOP\n");
	check_repeated("a LOGIN u ", "p", 190, "\n", "a LOGIN <u> <190*p>\nz NOOP\n");
	check_repeated("a LOGIN u ", "p", 191, "\r\n", "a bad: too long\nz NOOP\n");
	check_repeated("a XFOO ", "p", 191, "{6+}\r\nb NOOP\r\n", "a bad: unknown\nz NOOP\n");
	check_repeated("a LOGIN u ", "p", 191, "{6+}\r\nb NOOP\r\n", "a bad: too long\nz NOOP\n");
	check_repeated("a LOGIN u ", "p", 191, "{6}\r\nb NOOP\r\n",
		       "a bad: too long\nb NOOP\nz NOOP\n");
	check_repeated("a LOGIN \"", "b LOGOUT ", 20000, "\r\n", "a bad: too long\nz NOOP\n");
	check_repeated("a AUTH ", "p", 293, "\r\n*\r\n", "a AUTH <293*p>\na AUTH <*>\nz NOOP\n");
	check_repeated("a AUTH ", "p", 294, "\r\n", "a bad: too long\nz NOOP\n");
	check_repeated("a AUTH X\r\n", "p", 300, "\r\n", "a AUTH <X>\na AUTH <300*p>\nz NOOP\n");
	check_repeated("a AUTH X\r\n", "p", 301, "\r\n", "a AUTH <X>\na bad: too long\nz NOOP\n");
	/* Each line of a command has its own measure. */
	check_repeated("a LOGIN {1+}\r\nu ", "p", 199, "\r\n", "a LOGIN <u> <199*p>\nz NOOP\n");
	check_repeated("a LOGIN {1+}\r\nu ", "p", 200, "\r\n", "a bad: too long\nz NOOP\n");
}

static void test_literal_limits(void **state)
{
	(void)state;
	check_repeated("a LOGIN u {4096+}\r\n", "p", 4096, "\r\n",
		       "a LOGIN <u> <4096*p>\nz NOOP\n");
	check_repeated("a LOGIN u {4097+}\r\n", "p", 4097, "\r\n", "a bad: too big\nz NOOP\n");
	check_repeated("a LOGIN u {6000}\r\n", "p", 6000, "\r\n",
		       "+\na LOGIN <u> <6000*p>\nz NOOP\n");
	check_repeated("a LOGIN u {6001}\r\n", "", 0, "", "a bad: too big\nz NOOP\n");
	check_repeated("a LOGIN {4096+}\r\n", "p", 4096, " {6001}\r\n", "a bad: too big\nz NOOP\n");
}

/* What does not fit is refused before it is asked for. */
static void test_stored_limits(void **state)
{
	(void)state;
	check_repeated("a LOGIN {4096}\r\n", "u", 4096, " {4097}\r\n",
		       "+\na bad: too big\nz NOOP\n");
	check_repeated("a LOGIN {4096}\r\n", "u", 4096, " {4096}\r\n", "+\n+\n");
	check_repeated("a LOGIN {6000}\r\n", "u", 6000, " {2192}\r\n", "+\n+\n");
	check_repeated("a LOGIN {6000}\r\n", "u", 6000, " {2193}\r\n",
		       "+\na bad: too big\nz NOOP\n");
}

static void test_id_limits(void **state)
{
	(void)state;
	check_repeated("a ID (\"", "f", COMMAND_ID_FIELD_MAX, "\" NIL)\r\n",
		       "a ID (30*f)\nz NOOP\n");
	check_repeated("a ID (\"", "f", COMMAND_ID_FIELD_MAX + 1, "\" NIL)\r\n",
		       "a bad: too big\nz NOOP\n");
	check_repeated("a ID (\"f\" \"", "v", COMMAND_ID_VALUE_MAX, "\")\r\n",
		       "a ID (f=1024*v)\nz NOOP\n");
	check_repeated("a ID (\"f\" \"", "v", COMMAND_ID_VALUE_MAX + 1, "\")\r\n",
		       "a bad: too big\nz NOOP\n");
	check_repeated("a ID ({30+}\r\n", "f", 30, " NIL)\r\n", "a ID (30*f)\nz NOOP\n");
	check_repeated("a ID ({31+}\r\n", "f", 31, " NIL)\r\n", "a bad: too big\nz NOOP\n");
	check_repeated("a ID ({31}\r\n", "", 0, "", "a bad: too big\nz NOOP\n");
	check_repeated("a ID (\"f\" {1024}\r\n", "v", 1024, ")\r\n",
		       "+\na ID (f=1024*v)\nz NOOP\n");
	check_repeated("a ID (\"f\" {1025}\r\n", "", 0, "", "a bad: too big\nz NOOP\n");
	check_repeated("a ID ", "(", 300000, "\r\n", "a bad: syntax\nz NOOP\n");
	check_repeated("a ID (", "\"a\" \"b\" ", 40000, ")\r\n", "a bad: syntax\nz NOOP\n");
	check_repeated("a ID (", "(\"a\" ", 40000, ")\r\n", "a bad: syntax\nz NOOP\n");
}

#define V60   "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"
#define V1020 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60 V60

/* Pairs are kept while they fit, with three octets of framing each; those that are wanted do not
 * count, and are kept behind all others. */
static void test_id_stored(void **state)
{
	(void)state;
	check_repeated("a ID (\"f\" \"", "v", 1020, "\" \"g\" {1020+}\r\n" V1020 ")\r\n",
		       "a ID (f=1020*v) (g=1020*v)\nz NOOP\n");
	check_repeated("a ID (\"f\" \"", "v", 1020, "\" \"gg\" {1020+}\r\n" V1020 ")\r\n",
		       "a ID (f=1020*v)\nz NOOP\n");
	check_repeated("a ID (\"f\" \"", "v", 1020,
		       "\" \"gg\" {1020+}\r\n" V1020 " \"h\" NIL \"X-Id\" \"7\" \"h\" \"8\")\r\n",
		       "a ID (f=1020*v) (h) (X-Id=7) (h=8)\nz NOOP\n");
	check_repeated("a ID (\"f\" \"", "v", 1020,
		       "\" \"g\" {1020+}\r\n" V1020 " \"h\" NIL \"x-id\" \"7\" \"\" \"\")\r\n",
		       "a ID (f=1020*v) (g=1020*v) (x-id=7)\nz NOOP\n");
	check_repeated("a ID (\"x-id\" \"", "v", COMMAND_ID_WANTED_MAX, "\" \"a\" \"b\")\r\n",
		       "a ID (x-id=64*v) (a=b)\nz NOOP\n");
	check_repeated("a ID (\"x-id\" \"", "v", COMMAND_ID_WANTED_MAX + 1, "\" \"a\" \"b\")\r\n",
		       "a ID (a=b)\nz NOOP\n");
}

/* The longest legal list is taken, and little of it is kept. */
static void test_longest_id(void **state)
{
	struct buffer pair = {0};
	struct buffer input = {0};

	(void)state;
	buffer_append_text(&pair, " \"");
	repeat(&pair, "f", COMMAND_ID_FIELD_MAX);
	buffer_append_text(&pair, "\" \"");
	repeat(&pair, "v", COMMAND_ID_VALUE_MAX);
	buffer_append_text(&pair, "\"");
	buffer_append_text(&input, "a ID (");
	buffer_append(&input, buffer_bytes(&pair) + 1, pair.length - 1);
	for (int i = 1; i < COMMAND_ID_PAIRS_MAX - 1; i++) {
		buffer_append(&input, buffer_bytes(&pair), pair.length);
	}
	buffer_append_text(&input, " \"X-TTL\" \"3\")\r\n");
	assert_true(input.length + pair.length <= COMMAND_ID_LINE_MAX);
	check("the longest ID", buffer_bytes(&input), input.length,
	      "a ID (30*f=1024*v) (X-TTL=3)\n");
	buffer_done(&pair);
	buffer_done(&input);
}

static void test_forget(void **state)
{
	struct command command;
	size_t consumed = 0;
	size_t length = 0;

	(void)state;
	command_init(&command, shapes, array_length(shapes), &limits);
	assert_int_equal(command_feed(&command, bytes("a LOGIN u1 pw\r\nb"), &consumed),
			 COMMAND_READY);
	assert_int_equal(consumed, strlen("a LOGIN u1 pw\r\n"));
	assert_non_null(command_argument(&command, 1, &length));
	command_forget(&command);
	assert_null(command_argument(&command, 0, &length));
	assert_string_equal(command_tag(&command), "a");
	assert_string_equal(command_shape(&command)->name, "LOGIN");
	assert_int_equal(command_feed(&command, "b", 1, &consumed), COMMAND_MORE);
	assert_string_equal(command_tag(&command), "");
	assert_null(command_shape(&command));
	command_done(&command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_resynchronises),
		cmocka_unit_test(test_numbers_that_cannot_be_skipped),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_tag_limit),
		cmocka_unit_test(test_line_limits),
		cmocka_unit_test(test_literal_limits),
		cmocka_unit_test(test_stored_limits),
		cmocka_unit_test(test_id_limits),
		cmocka_unit_test(test_id_stored),
		cmocka_unit_test(test_longest_id),
		cmocka_unit_test(test_forget),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
