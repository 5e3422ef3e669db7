/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of commands other than those that the tables of test_command.c have, and what is allocated
 * at them.
 */
#include "imap/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct command_limits limits = {
	.line = 200,
	.long_line = 300,
	.literal = 6000,
	.tag = COMMAND_TAG_MAX,
	.id_pairs = COMMAND_ID_PAIRS_MAX,
};

static const char *const wanted[] = {"x-ttl", "x-id", NULL};

static const struct command_shape shapes[] = {
	{.name = "LOGIN", .form = COMMAND_FORM_STRINGS, .fewest = 2, .most = 2},
	{.name = "AUTH", .form = COMMAND_FORM_ATOMS, .fewest = 1, .most = 2, .long_lines = true},
	{.name = "ONE", .form = COMMAND_FORM_STRINGS, .fewest = 1, .most = 1},
	{.name = "ID", .form = COMMAND_FORM_ID, .wanted = wanted},
};

#define bytes(text) text, sizeof(text) - 1

static void repeat(struct buffer *out, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buffer_append_text(out, text);
	}
}

/* A limit below that of LITERAL- holds for both kinds. */
static void test_small_literals(void **state)
{
	static const char input[] =
		"a ONE {64+}\r\n"
		"0123456789012345678901234567890123456789012345678901234567890123"
		"\r\nb ONE {65}\r\nc ONE {65+}\r\n"
		"01234567890123456789012345678901234567890123456789012345678901234"
		"\r\n";
	static const struct command_limits small = {.line = 200, .literal = 64, .tag = 16};
	struct command command;
	enum command_event events[3];
	size_t at = 0;

	(void)state;
	command_init(&command, shapes, array_length(shapes), &small);
	for (size_t i = 0; i < array_length(events); i++) {
		size_t consumed = 0;

		events[i] = command_feed(&command, input + at, sizeof(input) - 1 - at, &consumed);
		at += consumed;
		assert_int_equal(command_fault(&command), i == 0 ? COMMAND_FINE : COMMAND_TOO_BIG);
	}
	assert_int_equal(events[0], COMMAND_READY);
	assert_int_equal(events[1], COMMAND_BAD);
	assert_int_equal(events[2], COMMAND_BAD);
	assert_int_equal(at, sizeof(input) - 1);
	command_done(&command);
}

/* Two long arguments, the second one read byte by byte. */
static void test_stored_limit_of_lines(void **state)
{
	static const struct command_limits wide = {.line = 65536, .literal = 4096, .tag = 16};
	struct buffer input = {0};
	struct command command;
	size_t consumed = 0;

	(void)state;
	for (size_t over = 0; over < 2; over++) {
		command_init(&command, shapes, array_length(shapes), &wide);
		buffer_append_text(&input, "a LOGIN u ");
		repeat(&input, "p", COMMAND_STORED_MAX - 1 + over);
		buffer_append_text(&input, "\r\n");
		assert_int_equal(
			command_feed(&command, buffer_bytes(&input), input.length, &consumed),
			over == 0 ? COMMAND_READY : COMMAND_BAD);
		assert_true(command.stored.capacity <= COMMAND_STORED_MAX);
		assert_int_equal(command_fault(&command),
				 over == 0 ? COMMAND_FINE : COMMAND_TOO_BIG);
		command_done(&command);
		buffer_done(&input);
	}
}

/* A long line is kept as far as its owner lets it; the limit is not asked about. */
static void test_long_lines(void **state)
{
	static const struct command_limits wide = {.line = 200, .long_line = 8200, .tag = 16};
	static const struct {
		size_t length; /* of the response */
		bool granted;
		enum command_event event;
		enum command_fault fault;
		bool asked;
	} cases[] = {
		{8192, false, COMMAND_READY, COMMAND_FINE, false},
		{8193, false, COMMAND_BAD, COMMAND_NO_PLACE, true},
		{8193, true, COMMAND_READY, COMMAND_FINE, true},
		{8200, true, COMMAND_READY, COMMAND_FINE, true},
		{8201, true, COMMAND_BAD, COMMAND_TOO_LONG, true},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct buffer input = {0};
		struct command command;
		enum command_event event;
		size_t consumed = 0;
		size_t more = 0;

		command_init(&command, shapes, array_length(shapes), &wide);
		assert_int_equal(command_feed(&command, bytes("a AUTH X\r\n"), &consumed),
				 COMMAND_READY);
		command_continue(&command, COMMAND_SHORT_LINE);
		repeat(&input, "p", cases[i].length);
		buffer_append_text(&input, "\r\n");
		event = command_feed(&command, buffer_bytes(&input), input.length, &consumed);
		assert_int_equal(event == COMMAND_LONG, cases[i].asked);
		if (event == COMMAND_LONG) {
			assert_int_equal(consumed, COMMAND_SHORT_LINE);
			assert_true(command.stored.capacity <= COMMAND_SHORT_LINE);
			command_lengthen(&command, cases[i].granted);
			event = command_feed(&command, buffer_bytes(&input) + consumed,
					     input.length - consumed, &more);
		}
		assert_int_equal(event, cases[i].event);
		assert_int_equal(command_fault(&command), cases[i].fault);
		assert_int_equal(consumed + more, input.length);
		command_done(&command);
		buffer_done(&input);
	}
}

static enum command_event feed_pairs(struct command *command, unsigned limit, size_t count)
{
	static struct command_limits few;
	struct buffer input = {0};
	enum command_event event;
	size_t consumed = 0;

	few = (struct command_limits){.line = 200, .tag = 16, .id_pairs = limit};
	command_init(command, shapes, array_length(shapes), &few);
	buffer_append_text(&input, "a ID (\"a\" \"b\"");
	repeat(&input, " \"a\" NIL", count - 1);
	buffer_append_text(&input, ")\r\n");
	event = command_feed(command, buffer_bytes(&input), input.length, &consumed);
	buffer_done(&input);
	return event;
}

static void test_id_pairs(void **state)
{
	static const unsigned limits_of_pairs[] = {1, 7, COMMAND_ID_PAIRS_MAX};

	(void)state;
	for (size_t i = 0; i < array_length(limits_of_pairs); i++) {
		unsigned limit = limits_of_pairs[i];
		struct command_pair pair;
		struct command command;
		size_t count = 0;
		size_t at = 0;

		assert_int_equal(feed_pairs(&command, limit, limit), COMMAND_READY);
		while (command_pair(&command, &at, &pair)) {
			count++;
		}
		assert_int_equal(count, limit);
		command_done(&command);
		assert_int_equal(feed_pairs(&command, limit, limit + 1), COMMAND_BAD);
		assert_int_equal(command_fault(&command), COMMAND_SYNTAX);
		command_done(&command);
	}
}

/* Pairs that end where what keeps them is full. */
static void test_id_grows(void **state)
{
	(void)state;
	for (size_t length = 0; length < 300; length++) {
		struct buffer input = {0};
		struct command command;
		struct command_pair pair;
		size_t consumed = 0;
		size_t at = 0;

		command_init(&command, shapes, array_length(shapes), &limits);
		buffer_append_text(&input, "a ID (\"f\" \"");
		repeat(&input, "v", length);
		buffer_append_text(&input, "\" \"x-id\" \"7\" \"g\" NIL)\r\n");
		assert_int_equal(
			command_feed(&command, buffer_bytes(&input), input.length, &consumed),
			COMMAND_READY);
		assert_true(command_pair(&command, &at, &pair));
		assert_int_equal(pair.value_length, length);
		assert_true(command_pair(&command, &at, &pair));
		assert_memory_equal(pair.field, "x-id", pair.field_length);
		assert_true(command_pair(&command, &at, &pair));
		assert_null(pair.value);
		assert_false(command_pair(&command, &at, &pair));
		command_done(&command);
		buffer_done(&input);
	}
}

/* An announced literal costs nothing until it comes (C113). */
static void test_announcing_allocates_nothing(void **state)
{
	struct command command;
	size_t consumed = 0;

	(void)state;
	command_init(&command, shapes, array_length(shapes), &limits);
	assert_int_equal(command_feed(&command, bytes("a LOGIN {6000}\r\n"), &consumed),
			 COMMAND_LITERAL);
	assert_int_equal(command.stored.capacity, 0);
	command_done(&command);
}

static void test_exhausted_memory(void **state)
{
	struct command command;
	size_t consumed = 0;

	(void)state;
	command_init(&command, shapes, array_length(shapes), &limits);
	assert_int_equal(command_feed(&command, bytes("a LOGIN u"), &consumed), COMMAND_MORE);
	command.stored.failed = true;
	assert_int_equal(command_feed(&command, bytes("1 pw\r\n"), &consumed), COMMAND_BAD);
	assert_int_equal(command_fault(&command), COMMAND_NO_MEMORY);
	assert_int_equal(command_feed(&command, bytes("a LOGIN u1 pw\r\n"), &consumed),
			 COMMAND_READY);
	command_done(&command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_literals),
		cmocka_unit_test(test_stored_limit_of_lines),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_id_pairs),
		cmocka_unit_test(test_id_grows),
		cmocka_unit_test(test_announcing_allocates_nothing),
		cmocka_unit_test(test_exhausted_memory),
	};

	return cmocka_run_group_tests_name("command_limits", tests, NULL, NULL);
}
