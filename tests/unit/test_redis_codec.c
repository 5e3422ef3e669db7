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
#include "../../proxy/routing/redis_server_internal.h"
#include "base/base.h"
#include "support/chunks.h"

#define BYTES    65536
#define ELEMENTS 1024

struct reading {
	struct redis_codec codec;
	struct buffer seen;
	bool broken;
};

static void reading_begin(void *context)
{
	struct reading *reading = context;

	*reading = (struct reading){0};
	assert_true(redis_codec_init(&reading->codec, &(struct redis_limits){BYTES, ELEMENTS}));
}

static void describe(struct buffer *seen, const struct redis_reply *reply);

static void describe_elements(struct buffer *seen, const struct redis_reply *reply)
{
	for (size_t i = 0; i < reply->count; i++) {
		struct redis_reply element = {0};

		if (i == 4) {
			buffer_printf(seen, " and others of %zu", reply->count);
			return;
		}
		redis_reply_element(reply, i, &element);
		buffer_append_text(seen, i > 0 ? " " : "");
		describe(seen, &element);
	}
}

static void describe(struct buffer *seen, const struct redis_reply *reply)
{
	static const char *const kinds[] = {
		[REDIS_REPLY_TEXT] = "text=",     [REDIS_REPLY_NIL] = "nil",
		[REDIS_REPLY_STATUS] = "status=", [REDIS_REPLY_ERROR] = "error=",
		[REDIS_REPLY_NUMBER] = "number=", [REDIS_REPLY_ARRAY] = "[",
	};

	buffer_append_text(seen, kinds[reply->kind]);
	if (reply->kind == REDIS_REPLY_NUMBER) {
		buffer_printf(seen, "%lld", (long long)reply->number);
	} else if (reply->kind == REDIS_REPLY_ARRAY) {
		describe_elements(seen, reply);
		buffer_append_byte(seen, ']');
	} else if (reply->length > 64) {
		buffer_printf(seen, "%zu bytes", reply->length);
	} else if (reply->text != NULL) {
		assert_int_equal(reply->text[reply->length], '\0');
		buffer_append(seen, reply->text, reply->length);
	}
}

static void reading_feed(void *context, const void *bytes, size_t length)
{
	struct reading *reading = context;
	struct redis_input input = {bytes, length};

	while (input.length > 0 && !reading->broken) {
		struct redis_reply reply = {0};
		struct error error = {0};
		size_t before = input.length;

		switch (redis_codec_feed(&reading->codec, &input, &reply, &error)) {
		case REDIS_CODEC_BROKEN:
			assert_true(error.text[0] != '\0');
			buffer_append_text(&reading->seen, "broken: ");
			buffer_append_text(&reading->seen, error.text);
			reading->broken = true;
			break;
		case REDIS_CODEC_MORE:
			assert_int_equal(input.length, 0);
			break;
		case REDIS_CODEC_REPLY:
			assert_true(input.length < before);
			describe(&reading->seen, &reply);
			buffer_append_byte(&reading->seen, '\n');
			redis_reply_done(&reply);
			break;
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
#define TOO_DEEP  "broken: a reply of more than 5 arrays within each other"
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
		{":42\r\n", "number=42\n"},
		{":-9223372036854775808\r\n", "number=-9223372036854775808\n"},
		{"*0\r\n", "[]\n"},
		{"*1\r\n$1\r\na\r\n", "[text=a]\n"},
		{"*2\r\n*2\r\n:1\r\n*0\r\n+x\r\n", "[[number=1 []] status=x]\n"},
		{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "[[[[[number=1]]]]]\n"},
		{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n", "[[[[[[]]]]]]\n"},
		{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", TOO_DEEP},
		{"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
		 "[text=message text=c [text=a text=b]]\n"},
		{"*2\r\n$-1\r\n*-1\r\n", "[nil nil]\n"},
		{"*2\r\n-ERR a\r\n$-1\r\n", "[error=ERR a nil]\n"},
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

/* What hiredis itself refuses: an integer that is none. */
static void test_refused_by_hiredis(void **state)
{
	struct reading reading;
	struct chunks_subject subject = {reading_begin, reading_feed, reading_end, &reading};
	struct buffer outcome = {0};

	(void)state;
	chunks_run(&subject, 0, "*2\r\n+a\r\n:1x\r\n", 15, &outcome);
	assert_memory_equal(buffer_bytes(&outcome), "broken: a reply that cannot be read", 35);
	buffer_done(&outcome);
}

/* A reply of exactly as many bytes as allowed on the wire is read, one more is not. */
static void test_longest(void **state)
{
	char *input = malloc(BYTES + 64);
	size_t body = BYTES - strlen("$65527\r\n\r\n");
	int head = sprintf(input, "$%zu\r\n", body);

	(void)state;
	memset(input + head, 'x', body);
	memcpy(input + head + body, "\r\n", 3);
	assert_int_equal((size_t)head + body + 2, BYTES);
	check(input, BYTES, "text=65526 bytes\n");
	sprintf(input, "$%zu\r\n", body + 1);
	check(input, strlen(input), TOO_LONG);

	memset(input, '+', BYTES + 1);
	memcpy(input + BYTES - 2, "\r\n", 2);
	check(input, BYTES, "status=65533 bytes\n");
	memset(input, '-', BYTES + 1);
	check(input, BYTES, "");
	check(input, BYTES + 1, TOO_LONG);
	free(input);
}

static void test_most_elements(void **state)
{
	char *input = malloc(16 + 4 * (ELEMENTS + 1));
	int head = sprintf(input, "*%d\r\n", ELEMENTS);

	(void)state;
	for (int i = 0; i < ELEMENTS; i++) {
		memcpy(input + head + 4 * i, ":7\r\n", 4);
	}
	check(input, (size_t)head + 4 * ELEMENTS,
	      "[number=7 number=7 number=7 number=7 and others of 1024]\n");
	check(input, (size_t)head + 4 * ELEMENTS - 1, "");
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

/* CLUSTER SLOTS of a thousand nodes, each with names and a replica, is within the limits. */
static void test_large_cluster(void **state)
{
	static const char node[] = "*4\r\n$40\r\n%040d\r\n:6379\r\n$40\r\n%040d\r\n"
				   "*2\r\n$8\r\nhostname\r\n$40\r\n%040d\r\n";
	struct redis_limits limits = {REDIS_REPLY_MAX, REDIS_ELEMENTS_MAX};
	struct redis_codec codec = {0};
	struct redis_reply reply = {0};
	struct buffer slots = {0};
	struct redis_input input;
	struct error error = {0};

	(void)state;
	buffer_append_text(&slots, "*500\r\n");
	for (int i = 0; i < 500; i++) {
		buffer_append_text(&slots, "*4\r\n:16000\r\n:16383\r\n");
		buffer_printf(&slots, node, i, i, i);
		buffer_printf(&slots, node, -i, -i, -i);
	}
	assert_true(redis_codec_init(&codec, &limits));
	input = (struct redis_input){buffer_bytes(&slots), slots.length};
	assert_int_equal(redis_codec_feed(&codec, &input, &reply, &error), REDIS_CODEC_REPLY);
	assert_int_equal(reply.count, 500);
	redis_reply_done(&reply);
	redis_codec_done(&codec);
	buffer_done(&slots);
}

static void test_write_text(void **state)
{
	static const char expected[] = "*2\r\n$4\r\nAUTH\r\n$0\r\n\r\n";
	struct buffer out = {0};

	(void)state;
	redis_codec_write_text(&out, 2, (const char *const[]){"AUTH", ""});
	assert_int_equal(out.length, sizeof(expected) - 1);
	assert_memory_equal(buffer_bytes(&out), expected, sizeof(expected) - 1);
	buffer_done(&out);
}

static void test_explain(void **state)
{
	struct redis_reply reply = {.kind = REDIS_REPLY_ERROR,
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
	assert_int_equal(strlen(error.text), 240);
	reply = (struct redis_reply){.kind = REDIS_REPLY_FAILED, .text = "no reply", .length = 8};
	redis_reply_explain(&reply, &error);
	assert_string_equal(error.text, "no reply");
	reply = (struct redis_reply){.kind = REDIS_REPLY_ARRAY};
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
		cmocka_unit_test(test_large_cluster),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_text),
		cmocka_unit_test(test_explain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
