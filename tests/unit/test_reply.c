/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend's lines: where they begin and end, whatever the cuts, and what each says.
 */
#include "imap/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/chunks.h"

struct sample {
	const char *line;
	enum reply_kind kind;
	enum reply_status status;
	/* Expected views; NULL is the empty one. */
	const char *tag;
	const char *word;
	const char *rest;
	const char *code;
	const char *arguments;
	const char *text;
};

#define INVALID REPLY_INVALID, REPLY_NONE, NULL, NULL, NULL, NULL, NULL, NULL

static const struct sample samples[] = {
	{"* OK hi there", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "hi there", NULL, NULL, "hi there"},
	{"* ok", REPLY_UNTAGGED, REPLY_OK, NULL, "ok", NULL, NULL, NULL, NULL},
	{"* OK ", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", NULL, NULL, NULL, NULL},
	{"* PREAUTH x", REPLY_UNTAGGED, REPLY_PREAUTH, NULL, "PREAUTH", "x", NULL, NULL, "x"},
	{"* Bye x", REPLY_UNTAGGED, REPLY_BYE, NULL, "Bye", "x", NULL, NULL, "x"},
	{"* NO [ALERT] x", REPLY_UNTAGGED, REPLY_NO, NULL, "NO", "[ALERT] x", "ALERT", NULL, "x"},
	{"* BAD x", REPLY_UNTAGGED, REPLY_BAD, NULL, "BAD", "x", NULL, NULL, "x"},
	{"* CAPABILITY A B", REPLY_UNTAGGED, REPLY_NONE, NULL, "CAPABILITY", "A B", NULL, NULL,
	 NULL},
	{"* 5 EXISTS", REPLY_UNTAGGED, REPLY_NONE, NULL, "5", "EXISTS", NULL, NULL, NULL},
	{"* OKAY x", REPLY_UNTAGGED, REPLY_NONE, NULL, "OKAY", "x", NULL, NULL, NULL},
	{"* OK [CAPABILITY A B] x y", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "[CAPABILITY A B] x y",
	 "CAPABILITY", "A B", "x y"},
	{"* OK [CAPABILITY A B]x", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "[CAPABILITY A B]x",
	 "CAPABILITY", "A B", "x"},
	{"* OK [X]", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "[X]", "X", NULL, NULL},
	{"* OK [] x", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "[] x", NULL, NULL, "x"},
	{"* OK [X y", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", "[X y", NULL, NULL, "[X y"},
	{"* OK  [X] y", REPLY_UNTAGGED, REPLY_OK, NULL, "OK", " [X] y", NULL, NULL, "[X] y"},
	{"+", REPLY_CONTINUATION, REPLY_NONE, NULL, NULL, NULL, NULL, NULL, NULL},
	{"+ ", REPLY_CONTINUATION, REPLY_NONE, NULL, NULL, NULL, NULL, NULL, NULL},
	{"+ go on", REPLY_CONTINUATION, REPLY_NONE, NULL, NULL, "go on", NULL, NULL, NULL},
	{"G1 OK done", REPLY_TAGGED, REPLY_OK, "G1", "OK", "done", NULL, NULL, "done"},
	{"G1 OK", REPLY_TAGGED, REPLY_OK, "G1", "OK", NULL, NULL, NULL, NULL},
	{"G1 nO [LIMIT 5] x", REPLY_TAGGED, REPLY_NO, "G1", "nO", "[LIMIT 5] x", "LIMIT", "5", "x"},
	{"G1 BAD x", REPLY_TAGGED, REPLY_BAD, "G1", "BAD", "x", NULL, NULL, "x"},
	{"", INVALID},
	{"*", INVALID},
	{"* ", INVALID},
	{"*  OK x", INVALID},
	{"*OK x", INVALID},
	{"+OK pop", INVALID},
	{"G1", INVALID},
	{"G1 ", INVALID},
	{"G1  OK x", INVALID},
	{" G1 OK x", INVALID},
	{"G1 BYE x", INVALID},
	{"G1 PREAUTH x", INVALID},
	{"G1 OKAY x", INVALID},
	{"220 smtp", INVALID},
};

static bool same(struct reply_view view, const char *wanted)
{
	size_t length = wanted != NULL ? strlen(wanted) : 0;

	return view.length == length && (length == 0 || memcmp(view.bytes, wanted, length) == 0);
}

/* Fields of a line that is no response mean nothing. */
static bool matches(const struct reply *reply, const struct sample *sample)
{
	if (reply->kind != sample->kind || reply->kind == REPLY_INVALID) {
		return reply->kind == sample->kind;
	}
	return reply->status == sample->status && same(reply->tag, sample->tag) &&
	       same(reply->word, sample->word) && same(reply->rest, sample->rest) &&
	       same(reply->code, sample->code) && same(reply->arguments, sample->arguments) &&
	       same(reply->text, sample->text);
}

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(samples); i++) {
		struct buffer line = {0};
		struct reply reply;

		/* On the heap, so that a read past the end is seen. */
		buffer_append_text(&line, samples[i].line);
		reply = reply_parse(buffer_bytes(&line), line.length);
		if (!matches(&reply, &samples[i])) {
			fail_msg("\"%s\": kind %d, status %d", samples[i].line, reply.kind,
				 reply.status);
		}
		buffer_done(&line);
	}
}

static void test_nul_is_a_byte(void **state)
{
	struct reply reply = reply_parse("G1 OK a\0b", 9);

	(void)state;
	assert_int_equal(reply.kind, REPLY_TAGGED);
	assert_int_equal(reply.text.length, 3);
	reply = reply_parse("G1\0 OK a", 8);
	assert_false(reply_has_tag(&reply, "G1"));
}

static void test_tag(void **state)
{
	struct reply reply = reply_parse("G12 OK x", 8);

	(void)state;
	assert_true(reply_has_tag(&reply, "G12"));
	assert_false(reply_has_tag(&reply, "G1"));
	assert_false(reply_has_tag(&reply, "G123"));
	assert_false(reply_has_tag(&reply, "g12"));
	assert_false(reply_has_tag(&reply, ""));
	reply = reply_parse("* OK x", 6);
	assert_false(reply_has_tag(&reply, ""));
}

#define LINE_MAX_HERE  20
#define TOTAL_MAX_HERE 100

struct reading {
	struct reply_reader reader;
	struct buffer input;
	struct buffer lines;
	enum reply_progress progress;
};

static void reading_begin(void *context)
{
	struct reading *reading = context;

	*reading = (struct reading){
		.reader = {.line_max = LINE_MAX_HERE, .total_max = TOTAL_MAX_HERE},
	};
}

static void reading_feed(void *context, const void *bytes, size_t length)
{
	struct reading *reading = context;
	const struct buffer *line = &reading->reader.line;

	buffer_append(&reading->input, bytes, length);
	while (reading->progress == REPLY_MORE) {
		reading->progress = reply_reader_next(&reading->reader, &reading->input);
		if (reading->progress != REPLY_LINE) {
			break;
		}
		buffer_append(&reading->lines, buffer_bytes(line), line->length);
		buffer_append_byte(&reading->lines, '|');
		reading->progress = REPLY_MORE;
	}
}

static void reading_end(void *context, struct buffer *outcome)
{
	static const char *const names[] = {"more", "line", "too long", "too much", "no memory"};
	struct reading *reading = context;

	buffer_append(outcome, buffer_bytes(&reading->lines), reading->lines.length);
	buffer_append_text(outcome, names[reading->progress]);
	reply_reader_done(&reading->reader);
	buffer_done(&reading->input);
	buffer_done(&reading->lines);
}

#define OCTETS_10 "* 45678901"
#define LINE_20   OCTETS_10 "2345678901"

static void test_reader(void **state)
{
	static const struct {
		const char *name;
		const char *input;
		const char *outcome;
	} cases[] = {
		{"two lines", "* OK a\r\n* OK b\r\n", "* OK a|* OK b|more"},
		{"half a line", "* OK a\r\n* OK", "* OK a|more"},
		{"LF alone", "a\nb\n\n", "a|b||more"},
		{"one CR belongs to the end", "a\r\r\n\r\n", "a\r||more"},
		{"CR in the middle", "a\rb\r\n", "a\rb|more"},
		{"a literal", "* X {3}\r\na\nb y\r\nz\r\n", "* X {3} y|z|more"},
		{"a literal at the end", "* X {3}\r\na\nb\r\nz\r\n", "* X {3}|z|more"},
		{"a literal behind LF", "* X {3}\na\nb\nz\n", "* X {3}|z|more"},
		{"an empty literal", "* X {0}\r\n\r\nz\r\n", "* X {0}|z|more"},
		{"two literals", "* {1}\r\n\n {2}\r\n\r\n.\r\nz\r\n", "* {1} {2}.|z|more"},
		{"literal8 and LITERAL+", "* ~{1}\r\n\n {1+}\r\n\n.\r\nz\r\n",
		 "* ~{1} {1+}.|z|more"},
		{"a literal cut off", "* X {9}\r\nabc", "more"},
		{"no literal in a status", "* OK {3}\r\nz\r\n", "* OK {3}|z|more"},
		{"no literal in a BYE", "* bye {3}\r\nz\r\n", "* bye {3}|z|more"},
		{"no literal in a tagged reply", "G1 NO {3}\r\nz\r\n", "G1 NO {3}|z|more"},
		{"no literal in a continuation", "+ {3}\r\nz\r\n", "+ {3}|z|more"},
		{"no literal without digits", "* X {}\r\n* X {+}\r\n", "* X {}|* X {+}|more"},
		{"no literal without brace", "* X 3}\r\n* 3}\r\n}\r\n", "* X 3}|* 3}|}|more"},
		{"no literal in the middle", "* X {3} \r\n* X {3}x\r\n", "* X {3} |* X {3}x|more"},
		{"no literal for other numbers", "* X {-1}\r\n* X { 1}\r\n",
		 "* X {-1}|* X { 1}|more"},
		{"longest line", LINE_20 "\r\nz\r\n", LINE_20 "|z|more"},
		{"longest line, LF", LINE_20 "\nz\n", LINE_20 "|z|more"},
		{"one past it", LINE_20 "x\r\nz\r\n", "too long"},
		{"one past it, LF", LINE_20 "x\n", "too long"},
		{"one past it, no end", LINE_20 "x", "too long"},
		{"one past it, CR", LINE_20 "\r\r\n", "too long"},
		{"longest line, not ended", LINE_20 "\r", "more"},
		{"what surrounds a literal is one line", OCTETS_10 " {1}\r\n\n23456\r\n",
		 OCTETS_10 " {1}23456|more"},
		{"too long around a literal", OCTETS_10 " {1}\r\n\n2345678\r\n", "too long"},
		{"longest literal", "* {92}\r\n", "more"},
		{"one past it", "* {93}\r\n", "too much"},
		{"a number that overflows", "* {99999999999999}\r\n", "too much"},
	};
	struct reading reading;
	struct chunks_subject subject = {reading_begin, reading_feed, reading_end, &reading};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		chunks_check(&subject, cases[i].name, cases[i].input, strlen(cases[i].input),
			     cases[i].outcome);
	}
}

/* `total` octets, then one line end is due or not: the limit stands between the two. */
static void test_reader_total(void **state)
{
	struct reading reading;
	struct chunks_subject subject = {reading_begin, reading_feed, reading_end, &reading};
	struct buffer input = {0};

	(void)state;
	for (size_t i = 0; i < TOTAL_MAX_HERE / 10; i++) {
		buffer_append_text(&input, "* 345678\r\n");
	}
	chunks_check(&subject, "all of it", buffer_bytes(&input), input.length,
		     "* 345678|* 345678|* 345678|* 345678|* 345678|"
		     "* 345678|* 345678|* 345678|* 345678|* 345678|more");
	buffer_append_text(&input, "\n");
	chunks_check(&subject, "one past it", buffer_bytes(&input), input.length,
		     "* 345678|* 345678|* 345678|* 345678|* 345678|"
		     "* 345678|* 345678|* 345678|* 345678|* 345678|too much");
	buffer_done(&input);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),        cmocka_unit_test(test_nul_is_a_byte),
		cmocka_unit_test(test_tag),          cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
