/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies of Redis through the guard and hiredis, whole, byte by byte and at random cuts; and what
 * is refused before it can cost anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/redis_internal.h"
#include "base/base.h"
#include "support/chunks.h"

struct reading {
	struct redis_codec codec;
	struct buffer seen;
	bool broken;
};

static void reading_begin(void *context)
{
	struct reading *reading = context;

	*reading = (struct reading){0};
	assert_true(redis_codec_init(&reading->codec));
}

static void describe(struct buffer *seen, const struct redis_reply_view *reply)
{
	static const char *const kinds[] = {
		[REDIS_REPLY_IS_TEXT] = "text",     [REDIS_REPLY_IS_NIL] = "nil",
		[REDIS_REPLY_IS_STATUS] = "status", [REDIS_REPLY_IS_ERROR] = "error",
		[REDIS_REPLY_IS_OTHER] = "other",
	};

	buffer_append_text(seen, kinds[reply->kind]);
	if (reply->text != NULL) {
		buffer_append_byte(seen, '=');
		if (reply->length <= 64) {
			buffer_append(seen, reply->text, reply->length);
		} else {
			buffer_printf(seen, "%zu bytes", reply->length);
		}
	}
	buffer_append_byte(seen, '\n');
}

static void reading_feed(void *context, const void *bytes, size_t length)
{
	struct reading *reading = context;
	const char *rest = bytes;

	while (length > 0 && !reading->broken) {
		struct redis_reply_view reply = {0};
		struct error error = {0};
		enum redis_codec_verdict verdict =
			redis_codec_feed(&reading->codec, rest, length, &reply, &error);
		size_t used = reply.used;

		if (verdict == REDIS_CODEC_BROKEN) {
			assert_true(error.text[0] != '\0');
			buffer_append_text(&reading->seen, "broken: ");
			buffer_append_text(&reading->seen, error.text);
			reading->broken = true;
			return;
		}
		assert_true(used > 0 && used <= length);
		assert_true(verdict == REDIS_CODEC_REPLY || used == length);
		rest += used;
		length -= used;
		if (verdict == REDIS_CODEC_REPLY) {
			describe(&reading->seen, &reply);
			redis_reply_done(&reply);
		}
	}
}

static void reading_end(void *context, struct buffer *outcome)
{
	struct reading *reading = context;

	buffer_append(outcome, buffer_bytes(&reading->seen), reading->seen.length);
	buffer_done(&reading->seen);
	redis_codec_done(&reading->codec);
}

static void check(const char *input, size_t length, const char *expected)
{
	struct reading reading;
	struct chunks_subject subject = {reading_begin, reading_feed, reading_end, &reading};

	chunks_check(&subject, input, input, length, expected);
}

#define TOO_LONG  "broken: a reply of more than 65536 bytes"
#define TOO_MANY  "broken: a reply of more than 1024 elements"
#define NO_LENGTH "broken: a reply with a length that cannot be"

static void test_replies(void **state)
{
	static const struct {
		const char *input;
		const char *outcome;
	} rows[] = {
		{"$5\r\nmail1\r\n", "text=mail1\n"},
		{"$0\r\n\r\n", "text=\n"},
		{"$4\r\na\r\nb\r\n", "text=a\r\nb\n"},
		{"$-1\r\n", "nil\n"},
		{"*-1\r\n", "nil\n"},
		{"+OK\r\n", "status=OK\n"},
		{"+\r\n", "status=\n"},
		{"-ERR no\r\n", "error=ERR no\n"},
		{"-a\rb\r\r\n", "error=a\rb\r\n"},
		{":42\r\n", "other\n"},
		{"*0\r\n", "other\n"},
		{"*1\r\n$1\r\na\r\n", "other\n"},
		{"*2\r\n*2\r\n:1\r\n*0\r\n+x\r\n", "other\n"},
		{"*2\r\n$-1\r\n*-1\r\n", "other\n"},
		{"$1\r\na\r\n$1\r\nb\r\n-c\r\n", "text=a\ntext=b\nerror=c\n"},
		{"$5\r\nmai", ""},
		{"$5", ""},
		{"*2\r\n:1\r\n", ""},
		/* Lengths that are none, or too much. */
		{"$2147483647\r\n", NO_LENGTH},
		{"$999999999\r\n", TOO_LONG},
		{"$65536\r\n", TOO_LONG},
		{"*1073741824\r\n", NO_LENGTH},
		{"*999999999\r\n", TOO_MANY},
		{"*1025\r\n", TOO_MANY},
		{"*2\r\n*1000\r\n", ""},
		{"*25\r\n*1000\r\n", TOO_MANY},
		{"$-2\r\n", NO_LENGTH},
		{"$\r\n", NO_LENGTH},
		{"$+5\r\n", NO_LENGTH},
		{"$ 5\r\n", NO_LENGTH},
		{"$5x\r\n", NO_LENGTH},
		{"$0x5\r\n", NO_LENGTH},
		{"$18446744073709551617\r\n", NO_LENGTH},
		{"$0000000000000000000000000000000000000005\r\n", NO_LENGTH},
		{"*-2\r\n", NO_LENGTH},
		{"*\r\n", NO_LENGTH},
		/* A string that does not end where it said. */
		{"$5\r\nmail12\r\n", "broken: a string that is longer than announced"},
		{"$5\r\nmail1\rx", "broken: a string that is longer than announced"},
		/* What is no reply of RESP 2. */
		{"x", "broken: a reply that begins with byte 0x78"},
		{"\r\n", "broken: a reply that begins with byte 0x0D"},
		{"HTTP/1.1 400 Bad Request\r\n", "broken: a reply that begins with byte 0x48"},
		{"_\r\n", "broken: a reply that begins with byte 0x5F"},
		{"%1\r\n", "broken: a reply that begins with byte 0x25"},
		{">2\r\n", "broken: a reply that begins with byte 0x3E"},
		{"\x15\x03\x01", "broken: a reply that begins with byte 0x15"},
		{"*1\r\nx", "broken: a reply that begins with byte 0x78"},
		{"$1\r\na\r\nx", "text=a\nbroken: a reply that begins with byte 0x78"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		check(rows[i].input, strlen(rows[i].input), rows[i].outcome);
	}
}

static void test_nul_is_no_type(void **state)
{
	(void)state;
	check("\0", 1, "broken: a reply that begins with byte 0x00");
	check("$3\r\na\0b\r\n", 9, NULL);
}

/* What hiredis itself refuses: an integer that is none, and deeper nesting than it follows. */
static void test_refused_by_hiredis(void **state)
{
	struct reading reading;
	struct chunks_subject subject = {reading_begin, reading_feed, reading_end, &reading};
	struct buffer outcome = {0};
	char nested[20 * 4 + 5] = "";

	(void)state;
	for (int i = 0; i < 20; i++) {
		strcat(nested, "*1\r\n");
	}
	strcat(nested, ":1\r\n");
	chunks_run(&subject, 0, nested, strlen(nested), &outcome);
	assert_memory_equal(buffer_bytes(&outcome), "broken: a reply that cannot be read", 35);
	buffer_done(&outcome);
}

/* A reply of exactly REDIS_REPLY_MAX bytes on the wire is read, one more is not. */
static void test_longest(void **state)
{
	char *input = malloc(REDIS_REPLY_MAX + 64);
	size_t body = REDIS_REPLY_MAX - strlen("$65527\r\n\r\n");
	int head = sprintf(input, "$%zu\r\n", body);

	(void)state;
	memset(input + head, 'x', body);
	memcpy(input + head + body, "\r\n", 3);
	assert_int_equal((size_t)head + body + 2, REDIS_REPLY_MAX);
	check(input, REDIS_REPLY_MAX, "text=65526 bytes\n");
	sprintf(input, "$%zu\r\n", body + 1);
	check(input, strlen(input), TOO_LONG);

	memset(input, '+', REDIS_REPLY_MAX + 1);
	memcpy(input + REDIS_REPLY_MAX - 2, "\r\n", 2);
	check(input, REDIS_REPLY_MAX, "status=65533 bytes\n");
	memset(input, '-', REDIS_REPLY_MAX + 1);
	check(input, REDIS_REPLY_MAX, "");
	check(input, REDIS_REPLY_MAX + 1, TOO_LONG);
	free(input);
}

static void test_most_elements(void **state)
{
	char *input = malloc(16 + 4 * (REDIS_ELEMENTS_MAX + 1));
	int head = sprintf(input, "*%d\r\n", REDIS_ELEMENTS_MAX);

	(void)state;
	for (int i = 0; i < REDIS_ELEMENTS_MAX; i++) {
		memcpy(input + head + 4 * i, ":7\r\n", 4);
	}
	check(input, (size_t)head + 4 * REDIS_ELEMENTS_MAX, "other\n");
	check(input, (size_t)head + 4 * REDIS_ELEMENTS_MAX - 1, "");
	free(input);
}

static void test_write(void **state)
{
	const char *const words[] = {"HGET", "a b\r\n%s", "", "x\0y"};
	const size_t lengths[] = {4, 7, 0, 3};
	static const char expected[] =
		"*4\r\n$4\r\nHGET\r\n$7\r\na b\r\n%s\r\n$0\r\n\r\n$3\r\nx\0y\r\n";
	struct buffer out = {0};

	(void)state;
	redis_codec_write(&out, &(struct redis_command){4, words, lengths});
	assert_int_equal(out.length, sizeof(expected) - 1);
	assert_memory_equal(buffer_bytes(&out), expected, sizeof(expected) - 1);
	buffer_done(&out);
}

static void test_explain(void **state)
{
	struct redis_reply_view reply = {.kind = REDIS_REPLY_IS_ERROR,
					 .text = "a\r\n\x1b"
						 "b\xff",
					 .length = 6};
	char longest[300];
	struct error error = {0};

	(void)state;
	redis_reply_explain(&reply, &error);
	assert_string_equal(error.text, "a???b?");
	memset(longest, 'x', sizeof(longest));
	reply.text = longest;
	reply.length = sizeof(longest);
	redis_reply_explain(&reply, &error);
	assert_int_equal(strlen(error.text), 200);
	reply = (struct redis_reply_view){.kind = REDIS_REPLY_IS_OTHER};
	redis_reply_explain(&reply, &error);
	assert_string_equal(error.text, "a reply of an unexpected type");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_nul_is_no_type),
		cmocka_unit_test(test_refused_by_hiredis),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_most_elements),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_explain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
