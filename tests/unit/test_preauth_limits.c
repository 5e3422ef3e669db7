/* SPDX-License-Identifier: Apache-2.0
 *
 * The bounds of the dialogue before login, at each limit and past it; the places of long lines; and
 * what a connection can be made to keep.
 */
#include "imap/preauth.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/command.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "support/canary.h"
#include "support/preauth_dialogue.h"

static void test_limits(void **state)
{
	static const struct dialogue_repeated cases[] = {
		{"C20", "", "t", 100000, " NOOP\r\nz NOOP\r\n", "*" BAD "z" NOOP_OK},
		{"line at its limit", "a XFOO ", "x", 8185, "\r\nz NOOP\r\n",
		 "a" UNKNOWN "z" NOOP_OK},
		{"LOGIN at the limit", "a LOGIN u ", "p", 4096, "\r\nz NOOP\r\n",
		 "[u|-|4096]a" NO "z" NOOP_OK},
		{"password past its limit", "a LOGIN u ", "p", 4097, "\r\nz NOOP\r\n",
		 "a" NO "z" NOOP_OK},
		{"line past its limit", "a LOGIN u ", "p", 8183, "\r\nz NOOP\r\n",
		 "a" TOO_LONG "z" NOOP_OK},
		{"C22", "a LOGIN ", "x LOGOUT ", 111111, "\r\nz NOOP\r\n", "a" BAD "z" NOOP_OK},
		{"C22 quoted", "a LOGIN \"", "x LOGOUT ", 111111, "\r\nz NOOP\r\n",
		 "a" TOO_LONG "z" NOOP_OK},
		{"C34", "a LOGIN u1 {4096+}\r\n", "p", 4096, "\r\nz NOOP\r\n",
		 "[u1|-|4096]a" NO "z" NOOP_OK},
		{"C34 past", "a LOGIN u1 {4097+}\r\n", "p", 4097, "\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
		{"C45", "a LOGIN u1 ", "p", 255, "\r\nz NOOP\r\n", "[u1|-|255]a" NO "z" NOOP_OK},
		{"C45 past", "a LOGIN ", "u", 1024, " pw\r\nz NOOP\r\n", "a" NO "z" NOOP_OK},
		{"C59", "a AUTHENTICATE PLAIN\r\n", "AAAA", 3000, "\r\nz NOOP\r\n",
		 "+ \na" NO "z" NOOP_OK},
		{"C59 as IR", "a AUTHENTICATE PLAIN ", "AAAA", 3000, "\r\nz NOOP\r\n",
		 "a" NO "z" NOOP_OK},
		{"C59 at the limit", "a AUTHENTICATE PLAIN\r\n", "AAAA", 8192, "\r\nz NOOP\r\n",
		 "+ \na" NO "z" NOOP_OK},
		{"C59 past it", "a AUTHENTICATE PLAIN\r\n", "AAAA", 8192, "A\r\nz NOOP\r\n",
		 "+ \na" TOO_LONG "z" NOOP_OK},
		{"C59 IR at the limit", "a AUTHENTICATE PLAIN AAA", "AAAA", 8186, "\r\nz NOOP\r\n",
		 "a" BASE64 "z" NOOP_OK},
		{"C59 IR past it", "a AUTHENTICATE PLAIN AAA", "AAAA", 8186, "A\r\nz NOOP\r\n",
		 "a" TOO_LONG "z" NOOP_OK},
		{"C59 1 MB", "a AUTHENTICATE PLAIN\r\n", "b NOOP {9", 111111, "\r\nz NOOP\r\n",
		 "+ \na" TOO_LONG "z" NOOP_OK},
		{"C61 (", "a ID ", "(", 1000000, "\r\nz NOOP\r\n", "a" BAD "z" NOOP_OK},
		{"C61 pairs", "a ID (", "\"a\" \"b\" ", 100000, "\r\nz NOOP\r\n",
		 "a" BAD "z" NOOP_OK},
		{"C61 31 pairs", "a ID (\"a\" \"b\"", " \"a\" \"b\"", 30, ")\r\nz NOOP\r\n",
		 "a" BAD "z" NOOP_OK},
		{"C21", "a ID (\"name\" \"", "v", 1000, "\")\r\nz NOOP\r\n",
		 ID_REPLY "a" ID_OK "z" NOOP_OK},
		{"C61 value", "a ID (\"name\" \"", "v", 1025, "\")\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
	};

	(void)state;
	dialogue_check_repeated(&dialogue_with_tls, cases, array_length(cases));
}

/* C20, C21: a long tag comes back whole, a long ID line is taken. */
static void test_long_but_right(void **state)
{
	struct buffer input = {0};
	char tag[COMMAND_TAG_MAX + 1] = {0};
	char expected[COMMAND_TAG_MAX + 64];

	(void)state;
	memset(tag, 't', COMMAND_TAG_MAX);
	buffer_append_text(&input, tag);
	buffer_append_text(&input, " NOOP\r\n");
	snprintf(expected, sizeof(expected), "%s" NOOP_OK, tag);
	dialogue_check(&dialogue_with_tls, "C20", buffer_bytes(&input), input.length, expected);
	buffer_truncate(&input, 0);

	buffer_append_text(&input, "a ID (");
	for (int i = 0; i < 8; i++) {
		buffer_printf(&input, "%s\"f%d\" \"%0990d\"", i > 0 ? " " : "", i, i);
	}
	buffer_append_text(&input, ")\r\n");
	assert_true(input.length > 7900 && input.length < 8192);
	dialogue_check(&dialogue_with_tls, "C21", buffer_bytes(&input), input.length,
		       ID_REPLY "a" ID_OK);
	buffer_done(&input);
}

/* C45: a user name of 255 octets in each form. */
static void test_longest_names(void **state)
{
	static const struct {
		const char *head;
		const char *rest;
		const char *go_ahead;
	} forms[] = {
		{"a LOGIN ", " pw\r\n", ""},
		{"a LOGIN \"", "\" pw\r\n", ""},
		{"a LOGIN {255}\r\n", " pw\r\n", "+ OK\n"},
	};
	char user[CREDENTIALS_USER_MAX + 1] = {0};

	(void)state;
	memset(user, 'u', CREDENTIALS_USER_MAX);
	for (size_t i = 0; i < array_length(forms); i++) {
		char input[512];
		char expected[512];

		snprintf(input, sizeof(input), "%s%s%s", forms[i].head, user, forms[i].rest);
		snprintf(expected, sizeof(expected), "%s[%s|-|pw]a" NO, forms[i].go_ahead, user);
		dialogue_check(&dialogue_with_tls, "C45", input, strlen(input), expected);
	}
}

/* C26 */
static void test_abuse(void **state)
{
	static const struct dialogue_repeated cases[] = {
		{"nine in a row", "", "a\r\n", 9, "z NOOP\r\n",
		 "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD
		 "z" NOOP_OK},
		{"ten in a row", "", "a\r\n", 20, "z NOOP\r\n",
		 "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD
		 "*" BAD ABUSE},
		{"what cannot be a login counts", "", "a LOGIN \"\" x\r\n", 20, "",
		 "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO ABUSE},
		{"bad base64 counts", "", "a AUTHENTICATE PLAIN x\r\n", 10, "",
		 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64
		 "a" BASE64 "a" BASE64 "a" BASE64 ABUSE},
	};
	struct buffer input = {0};
	struct buffer expected = {0};

	(void)state;
	dialogue_check_repeated(&dialogue_with_tls, cases, array_length(cases));

	/* A good command between them begins a new row, but all are counted. */
	for (int i = 0; i < 30; i++) {
		buffer_append_text(&input, "b XFOO\r\nc NOOP\r\n");
		buffer_append_text(&expected, "b" UNKNOWN);
		buffer_append_text(&expected, i < 30 - 1 ? "c" NOOP_OK : ABUSE);
	}
	buffer_append_byte(&expected, '\0');
	dialogue_check(&dialogue_with_tls, "thirty in all", buffer_bytes(&input), input.length,
		       (const char *)buffer_bytes(&expected));
	buffer_done(&input);
	buffer_done(&expected);
}

/* C54, C106: cancelling, and logins that the session refuses, are no abuse. */
static void test_not_abuse(void **state)
{
	static const char *const rounds[] = {
		"a AUTHENTICATE PLAIN\r\n*\r\n",
		"a LOGIN u1 pw\r\n",
		"a AUTHENTICATE FOO\r\n",
	};
	static const char *const answers[] = {"+ \na" CANCELLED, U1 "a" NO, "a" MECHANISM};

	(void)state;
	for (size_t i = 0; i < array_length(rounds); i++) {
		struct buffer input = {0};
		struct buffer expected = {0};

		for (int round = 0; round < 500; round++) {
			buffer_append_text(&input, rounds[i]);
			buffer_append_text(&expected, answers[i]);
		}
		buffer_append_byte(&expected, '\0');
		dialogue_check(&dialogue_with_tls, rounds[i], buffer_bytes(&input), input.length,
			       (const char *)buffer_bytes(&expected));
		buffer_done(&input);
		buffer_done(&expected);
	}
}

/* Every limit is the operator's to lower. */
static void test_small_limits(void **state)
{
	static const struct preauth_limits small = {
		.line = 30,
		.sasl_line = 60,
		.literal = 8,
		.tag = 5,
		.id_pairs = 2,
		.bad_commands = 100,
		.commands = 100,
	};
	static const struct dialogue dialogue = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
		.limits = &small,
	};
	static const struct dialogue_case cases[] = {
		{"line", bytes("a LOGIN u 12345678901234567890\r\n"),
		 "[u|-|12345678901234567890]a" NO},
		{"line past", bytes("a LOGIN u 123456789012345678901\r\n"), "a" TOO_LONG},
		{"SASL line",
		 bytes("a AUTHENTICATE PLAIN\r\n"
		       "AHUxAHB3AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"),
		 "+ \na" NO},
		{"SASL line past",
		 bytes("a AUTHENTICATE PLAIN\r\n"
		       "AHUxAHB3AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		       "\r\n"),
		 "+ \na" TOO_LONG},
		{"literal", bytes("a LOGIN u {8}\r\n12345678\r\nb LOGIN u {8+}\r\n12345678\r\n"),
		 "+ OK\n[u|-|12345678]a" NO "[u|-|12345678]b" NO},
		{"literal past", bytes("a LOGIN u {9}\r\nb LOGIN u {9+}\r\n123456789\r\n"),
		 "a" TOO_BIG "b" TOO_BIG},
		{"tag", bytes("12345 NOOP\r\n"), "12345" NOOP_OK},
		{"tag past", bytes("123456 NOOP\r\n"), "*" BAD},
		{"pairs", bytes("a ID (\"a\" NIL \"b\" NIL)\r\n"), ID_REPLY "a" ID_OK},
		{"pairs past", bytes("a ID (\"a\" NIL \"b\" NIL \"c\" NIL)\r\n"), "a" BAD},
	};

	(void)state;
	dialogue_check_usable(&dialogue, cases, array_length(cases));
}

/* What an operator may not raise. */
static void test_hard_limits(void **state)
{
	static const struct preauth_limits large = {
		.line = 65536,
		.sasl_line = 65536,
		.literal = 8192,
		.tag = 1000,
		.id_pairs = 1000,
		.bad_commands = 80,
		.commands = 1000000,
	};
	static const struct dialogue dialogue = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
		.limits = &large,
	};
	static const struct dialogue_repeated cases[] = {
		{"tag", "", "t", COMMAND_TAG_MAX + 1, " NOOP\r\nz NOOP\r\n", "*" BAD "z" NOOP_OK},
		{"pairs", "a ID (\"a\" \"b\"", " \"a\" \"b\"", 30, ")\r\nz NOOP\r\n",
		 "a" BAD "z" NOOP_OK},
		{"LITERAL-", "a LOGIN u {4097+}\r\n", "p", 4097, "\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
		{"literal", "a LOGIN u {8191}\r\n", "p", 8191, "\r\nz NOOP\r\n",
		 "+ OK\na" NO "z" NOOP_OK},
		{"all arguments", "a LOGIN u {8192}\r\n", "", 0, "z NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
		{"all arguments on a line", "a LOGIN u ", "p", 8192, "\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
		{"a line", "a LOGIN u \"", "p", 65530, "\r\nz NOOP\r\n", "a" TOO_BIG "z" NOOP_OK},
		{"a SASL line", "a AUTHENTICATE PLAIN\r\n", "AAAA", 16384, "\r\nz NOOP\r\n",
		 "+ \na" NO "z" NOOP_OK},
		{"past it", "a AUTHENTICATE PLAIN\r\n", "AAAA", 16384, "A\r\nz NOOP\r\n",
		 "+ \na" TOO_LONG "z" NOOP_OK},
	};

	(void)state;
	dialogue_check_repeated(&dialogue, cases, array_length(cases));
}

/* Good, bad, refused and cancelled ones are all commands; the lines of one are not. */
static void test_commands(void **state)
{
	static const struct preauth_limits five = {
		.line = 100, .sasl_line = 100, .tag = 9, .bad_commands = 80, .commands = 5};
	static const struct dialogue dialogue = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
		.limits = &five,
	};
	static const char mixed[] =
		"a NOOP\r\nb XFOO\r\nc LOGIN u1 pw\r\n"
		"d AUTHENTICATE PLAIN\r\n*\r\ne AUTHENTICATE PLAIN\r\nAHUxAHB3\r\n"
		"f NOOP\r\ng NOOP\r\n";

	(void)state;
	dialogue_check(&dialogue, "five",
		       bytes("a NOOP\r\na NOOP\r\na NOOP\r\na NOOP\r\na LOGOUT\r\n"),
		       "a" NOOP_OK "a" NOOP_OK "a" NOOP_OK "a" NOOP_OK LOGOUT_REPLY "a" LOGOUT_OK
		       "(logout)");
	dialogue_check(&dialogue, "six", mixed, sizeof(mixed) - 1,
		       "a" NOOP_OK "b" UNKNOWN U1 "c" NO "+ \nd" CANCELLED "+ \n" U1
		       "e" NO TOO_MANY);
}

static void test_bad_commands(void **state)
{
	static const struct preauth_limits two = {
		.line = 100, .sasl_line = 100, .tag = 9, .bad_commands = 2, .commands = 100};
	static const struct dialogue dialogue = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
		.limits = &two,
	};

	(void)state;
	dialogue_check(&dialogue, "in a row", bytes("a\r\nb NOOP\r\nc\r\nd\r\ne NOOP\r\n"),
		       "*" BAD "b" NOOP_OK "*" BAD "*" BAD ABUSE);
	dialogue_check(&dialogue, "a prompt is no good command",
		       bytes("a\r\nb AUTHENTICATE PLAIN\r\n!\r\nc NOOP\r\n"),
		       "*" BAD "+ \nb" BASE64 ABUSE);
	dialogue_check(&dialogue, "in all",
		       bytes("a\r\nz NOOP\r\na\r\nz NOOP\r\na\r\nz NOOP\r\na\r\nz NOOP\r\n"
			     "a\r\nz NOOP\r\na\r\nz NOOP\r\n"),
		       "*" BAD "z" NOOP_OK "*" BAD "z" NOOP_OK "*" BAD "z" NOOP_OK "*" BAD
		       "z" NOOP_OK "*" BAD "z" NOOP_OK "*" BAD ABUSE);
}

/* ---- places for long lines ---- */

struct line {
	struct preauth *preauth;
	struct buffer input;
	struct buffer reply;
};

static const struct dialogue with_mechanisms = {
	.front = {.secrets_allowed = true,
		  .mechanisms = SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_XOAUTH2) |
				SASL_BIT(SASL_SCRAM_SHA_256)},
};

static void line_start(struct line *line, const struct preauth_settings *settings)
{
	*line = (struct line){.preauth = preauth_new(settings)};
	assert_non_null(line->preauth);
}

static void line_done(struct line *line)
{
	preauth_free(line->preauth);
	buffer_done(&line->input);
	buffer_done(&line->reply);
}

/* HEAD, COUNT times PART, REST. */
static enum preauth_verdict say(struct line *line, const char *head, size_t count, const char *rest)
{
	buffer_append_text(&line->input, head);
	for (size_t i = 0; i < count; i++) {
		buffer_append_byte(&line->input, 'A');
	}
	buffer_append_text(&line->input, rest);
	buffer_truncate(&line->reply, 0);
	return preauth_feed(line->preauth, &line->input, &line->reply);
}

static void assert_reply(struct line *line, const char *expected)
{
	assert_int_equal(line->reply.length, strlen(expected));
	assert_memory_equal(buffer_bytes(&line->reply), expected, strlen(expected));
}

#define LIMIT_LINE "a NO [LIMIT] Too many long lines at once, try again later.\r\n"

/* A place is needed past PREAUTH_SHORT_LINE, and not before. */
static void test_place_needed(void **state)
{
	static const struct {
		const char *head;
		size_t count;
		const char *rest;
		const char *reply;
		unsigned refused;
	} cases[] = {
		{"a AUTHENTICATE PLAIN ", 8171, "\r\n", "a BAD Invalid base64.\r\n", 0},
		{"a AUTHENTICATE PLAIN ", 8172, "\r\n", LIMIT_LINE, 1},
		{"a AUTHENTICATE PLAIN ", 40000, "\r\n", LIMIT_LINE, 1},
		{"a AUTHENTICATE FOO ", 8191, "\r\n", LIMIT_LINE, 1},
		{"a AUTHENTICATE PLAIN ", 8172, " {8+}\r\nb NOOP\r\n\r\n", LIMIT_LINE, 1},
		{"a AUTHENTICATE PLAIN\r\n", 8191, "\r\n", "+ \r\na BAD Invalid base64.\r\n", 0},
		{"a AUTHENTICATE PLAIN\r\n", 8193, "\r\n", "+ \r\n" LIMIT_LINE, 1},
		{"a NOOP ", 9000, "\r\n", "a BAD Syntax error.\r\n", 0},
		{"a LOGIN u ", 9000, "\r\n", "a BAD [TOOBIG] Line too long.\r\n", 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct preauth_ration ration;
		struct preauth_settings settings = dialogue_settings(&with_mechanisms, &ration);
		struct line line;

		ration.most = 0;
		line_start(&line, &settings);
		assert_int_equal(say(&line, cases[i].head, cases[i].count, cases[i].rest),
				 PREAUTH_MORE);
		assert_reply(&line, cases[i].reply);
		assert_int_equal(ration.refused, cases[i].refused);
		assert_int_equal(ration.taken, 0);
		assert_int_equal(say(&line, "b NOOP\r\n", 0, ""), PREAUTH_MORE);
		assert_reply(&line, "b OK NOOP completed.\r\n");
		line_done(&line);
	}
}

/* To be told to wait is no fault of the client. */
static void test_no_place_is_not_bad(void **state)
{
	struct preauth_ration ration;
	struct preauth_settings settings = dialogue_settings(&with_mechanisms, &ration);
	struct line line;

	(void)state;
	ration.most = 0;
	line_start(&line, &settings);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(say(&line, "a AUTHENTICATE PLAIN ", 9000, "\r\n"), PREAUTH_MORE);
		assert_reply(&line, LIMIT_LINE);
	}
	assert_int_equal(ration.refused, 100);
	line_done(&line);
}

/* user=u1^Aauth=Bearer AAAA... in base64: all 'Q' 'U' 'F' 'B' are "AAA". */
#define TOKEN_HEAD "a AUTHENTICATE XOAUTH2 dXNlcj11MQFhdXRoPUJlYXJlciBB"

static void say_token(struct line *line, size_t triples)
{
	buffer_append_text(&line->input, TOKEN_HEAD);
	for (size_t i = 0; i < triples; i++) {
		buffer_append_text(&line->input, "QUFB");
	}
	buffer_append_text(&line->input, "AQE=\r\n");
	assert_int_equal(preauth_feed(line->preauth, &line->input, &line->reply), PREAUTH_LOGIN);
	assert_int_equal(preauth_credentials(line->preauth)->secret.length, 3 * triples + 1);
}

/* Two dialogues, one place. It is free again when nothing of the line is kept any longer. */
static void test_place_given_back(void **state)
{
	struct preauth_ration ration;
	struct preauth_settings settings = dialogue_settings(&with_mechanisms, &ration);
	struct line first;
	struct line second;

	(void)state;
	ration.most = 1;
	line_start(&first, &settings);
	line_start(&second, &settings);
	assert_int_equal(say(&first, "a AUTHENTICATE PLAIN ", 8172, ""), PREAUTH_MORE);
	assert_int_equal(ration.taken, 1);
	assert_int_equal(say(&second, "a AUTHENTICATE PLAIN ", 8172, "\r\n"), PREAUTH_MORE);
	assert_reply(&second, LIMIT_LINE);
	assert_int_equal(ration.taken, 1);

	/* When the line is rejected at its end, */
	assert_int_equal(say(&first, "!", 0, "\r\n"), PREAUTH_MORE);
	assert_reply(&first, "a BAD Invalid base64.\r\n");
	assert_int_equal(ration.taken, 0);
	/* for its length, */
	assert_int_equal(say(&second, "a AUTHENTICATE PLAIN ", 40000, ""), PREAUTH_MORE);
	assert_int_equal(say(&second, "\r\n", 0, ""), PREAUTH_MORE);
	assert_reply(&second, "a BAD [TOOBIG] Line too long.\r\n");
	assert_int_equal(ration.taken, 0);
	/* when the login is over, */
	say_token(&first, 5000);
	assert_int_equal(ration.taken, 1);
	preauth_refuse(first.preauth, &REFUSAL_CREDENTIALS, &first.reply);
	assert_int_equal(ration.taken, 0);
	/* and with the dialogue, in the middle of a line or of a login. */
	assert_int_equal(say(&second, "a AUTHENTICATE PLAIN ", 20000, ""), PREAUTH_MORE);
	assert_int_equal(ration.taken, 1);
	line_done(&second);
	assert_int_equal(ration.taken, 0);
	say_token(&first, 5000);
	assert_int_equal(ration.taken, 1);
	line_done(&first);
	assert_int_equal(ration.taken, 0);
}

#define SCRAM "a AUTHENTICATE SCRAM-SHA-256 biwsbj11MSxyPWFiYw==\r\n"

/* In an exchange the credentials are kept too: a place is needed sooner. */
static void test_place_in_exchange(void **state)
{
	static const struct {
		size_t count;
		unsigned most;
		bool has_response;
		const char *answer;
	} cases[] = {
		{2048, 0, true, "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"},
		{2052, 0, false, LIMIT_LINE},
		{2052, 1, true, "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"},
		{32768, 1, true, "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"},
		{32769, 1, false, "a BAD [TOOBIG] Line too long.\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct preauth_ration ration;
		struct preauth_settings settings = dialogue_settings(&with_mechanisms, &ration);
		struct line line;

		ration.most = cases[i].most;
		line_start(&line, &settings);
		assert_int_equal(say(&line, SCRAM, 0, ""), PREAUTH_LOGIN);
		preauth_challenge(line.preauth, "", &line.reply);
		assert_int_equal(say(&line, "", cases[i].count, "\r\n"), PREAUTH_RESPONSE);
		assert_int_equal(preauth_response(line.preauth) != NULL, cases[i].has_response);
		preauth_refuse(line.preauth, &REFUSAL_CREDENTIALS, &line.reply);
		assert_reply(&line, cases[i].answer);
		assert_int_equal(ration.taken, 0);
		line_done(&line);
	}
}

/* ---- memory ---- */

#define ANSWER_MOST 1024

/* A feed answers up to PREAUTH_REPLY_MAX, and no command more; the next goes on behind it. */
static void test_reply_max(void **state)
{
	struct preauth_ration ration;
	struct preauth_settings settings = dialogue_settings(&with_mechanisms, &ration);
	struct preauth *preauth = preauth_new(&settings);
	struct buffer input = {0};
	struct buffer reply = {0};
	size_t feeds = 0;
	size_t answered = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		buffer_append_text(&input, "a CAPABILITY\r\n");
	}
	for (; input.length > 0; feeds++) {
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		assert_in_range(reply.length, 1, PREAUTH_REPLY_MAX + ANSWER_MOST);
		assert_true(input.length == 0 || reply.length >= PREAUTH_REPLY_MAX);
		buffer_append_byte(&reply, '\0');
		for (const char *at = (const char *)buffer_bytes(&reply);
		     (at = strstr(at, "a OK ")) != NULL; at++) {
			answered++;
		}
		buffer_truncate(&reply, 0);
	}
	assert_true(feeds > 1);
	assert_int_equal(answered, 200);
	buffer_done(&input);
	buffer_done(&reply);
	preauth_free(preauth);
}

#define READ_SIZE 2048

/* What a session besides the dialogue keeps is one read of input. */
#define MEMORY_MOST (16 * 1024)

static void append_longest_id(struct buffer *out)
{
	buffer_append_text(out, "a ID (\"x-session-id\" \"1\"");
	for (int i = 0; i < 29; i++) {
		buffer_append_text(out, " \"");
		for (int j = 0; j < COMMAND_ID_FIELD_MAX; j++) {
			buffer_append_byte(out, 'f');
		}
		buffer_printf(out, "\" \"%0*d\"", i % 2 == 0 ? 64 : 1000, i);
	}
	buffer_append_text(out, ")\r\n");
}

static size_t heap_in_use(void)
{
	return mallinfo2().uordblks;
}

/* Feeds in reads; gives the most that was allocated between two. */
static size_t most_in_use(struct preauth *preauth, const struct buffer *said, size_t before)
{
	struct buffer input = {0};
	struct buffer reply = {0};
	enum preauth_verdict verdict = PREAUTH_MORE;
	size_t most = 0;

	for (size_t at = 0; at < said->length && verdict == PREAUTH_MORE; at += READ_SIZE) {
		size_t left = said->length - at;

		buffer_append(&input, buffer_bytes(said) + at, left < READ_SIZE ? left : READ_SIZE);
		verdict = preauth_feed(preauth, &input, &reply);
		if (verdict == PREAUTH_LOGIN && input.length > 0) {
			preauth_challenge(preauth, "", &reply);
			verdict = preauth_feed(preauth, &input, &reply);
		}
		buffer_done(&reply);
		most = heap_in_use() - before > most ? heap_in_use() - before : most;
	}
	buffer_done(&input);
	return most;
}

/* C113, and whatever else a client sends, without a place for a long line. */
static void test_memory(void **state)
{
	static const struct dialogue_repeated hostile[] = {
		{"a line of LOGIN", "a LOGIN ", "u", 8000, " p", NULL},
		{"literals", "a LOGIN u {4096+}\r\n", "p", 4096, "\r\n", NULL},
		{"two literals", "a LOGIN {4096+}\r\n", "p", 4096, " {4096+}\r\npppp", NULL},
		{"announced", "a LOGIN {4096}\r\n", "", 0, "", NULL},
		{"rejected", "a LOGIN \"", "p", 1000000, "", NULL},
		{"an initial response", "a AUTHENTICATE PLAIN ", "A", 8171, "", NULL},
		{"a long one", "a AUTHENTICATE PLAIN ", "A", 1000000, "", NULL},
		{"a message", "a AUTHENTICATE PLAIN\r\n", "A", 8192, "", NULL},
		{"a pending login", TOKEN_HEAD, "QUFB", 2030, "AQE=\r\n", NULL},
		{"a response", TOKEN_HEAD, "QUFB", 2030, "AQE=\r\nAAAA", NULL},
		{"an ID", "a ID (", "\"aaaaaaaa\" \"bbbbbbbbbbbbbbbbbbbbbbbbbbbb\" ", 29, "", NULL},
		{"a tag", "", "t", 1000000, "", NULL},
		{"a literal to skip", "a XFOO {4294967295+}\r\n", "x", 100000, "", NULL},
	};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	for (size_t i = 0; i < array_length(hostile); i++) {
		struct dialogue dialogue = with_mechanisms;
		struct preauth_ration ration;
		struct preauth_settings settings;
		struct buffer said = {0};
		struct preauth *preauth;
		size_t before;
		size_t most;

		dialogue.trusted = true;
		settings = dialogue_settings(&dialogue, &ration);
		ration.most = 0;
		append_longest_id(&said);
		buffer_append_text(&said, hostile[i].head);
		for (size_t j = 0; j < hostile[i].count; j++) {
			buffer_append_text(&said, hostile[i].part);
		}
		buffer_append_text(&said, hostile[i].rest);
		before = heap_in_use();
		preauth = preauth_new(&settings);
		assert_non_null(preauth);
		most = most_in_use(preauth, &said, before);
		if (most > MEMORY_MOST) {
			print_error("%s: %zu octets\n", hostile[i].name, most);
		}
		assert_true(most <= MEMORY_MOST);
		preauth_free(preauth);
		assert_int_equal(heap_in_use(), before);
		buffer_done(&said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),           cmocka_unit_test(test_long_but_right),
		cmocka_unit_test(test_longest_names),    cmocka_unit_test(test_abuse),
		cmocka_unit_test(test_not_abuse),        cmocka_unit_test(test_small_limits),
		cmocka_unit_test(test_hard_limits),      cmocka_unit_test(test_commands),
		cmocka_unit_test(test_reply_max),        cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_place_needed),     cmocka_unit_test(test_no_place_is_not_bad),
		cmocka_unit_test(test_place_given_back), cmocka_unit_test(test_place_in_exchange),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests_name("preauth_limits", tests, NULL, NULL);
}
