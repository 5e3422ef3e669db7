/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of a client's ID: its own pairs, ready to be sent on, and what a proxy in front of
 * us may say of it.
 */
#include "imap/preauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "support/preauth_dialogue.h"

struct identity_case {
	const char *input;
	size_t length;
	const char *pairs;
};

static const struct dialogue trusted = {
	.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
	.trusted = true,
};

/* Feeds byte by byte. */
static void feed(struct preauth *preauth, const void *octets, size_t length)
{
	const char *at = octets;
	struct buffer input = {0};
	struct buffer reply = {0};

	for (size_t i = 0; i < length; i++) {
		buffer_append(&input, at + i, 1);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
	}
	buffer_done(&input);
	buffer_done(&reply);
}

static struct preauth *start(const struct dialogue *dialogue, const void *octets, size_t length)
{
	static struct preauth_ration ration;
	static struct preauth_settings settings;
	struct preauth *preauth;

	settings = dialogue_settings(dialogue, &ration);
	preauth = preauth_new(&settings);
	assert_non_null(preauth);
	feed(preauth, octets, length);
	return preauth;
}

static void test_pairs(void **state)
{
	static const struct identity_case cases[] = {
		{bytes("a NOOP\r\n"), ""},
		{bytes("a ID NIL\r\n"), ""},
		{bytes("a ID ()\r\n"), ""},
		{bytes("a ID (\"name\" \"x\")\r\n"), "\"name\" \"x\""},
		{bytes("a ID (\"name\" \"x\" \"os\" NIL \"v\" \"NIL\" \"e\" \"\")\r\n"),
		 "\"name\" \"x\" \"os\" NIL \"v\" \"NIL\" \"e\" \"\""},
		{bytes("a ID (\"a\\\"\" \"b\\\\\" {2}\r\nc) {2+}\r\n\"d)\r\n"),
		 "\"a\\\"\" \"b\\\\\" \"c)\" \"\\\"d\""},
		/* Octets that a quoted string cannot carry. */
		{bytes("a ID (\"a\" \"\xc3\xa9\" \"b\" {2}\r\n\r\n \"\xe9\" \"c\" \"d\" \"\x7f\" "
		       "\"e\t\" NIL \"f\" \"g\")\r\n"),
		 "\"f\" \"g\""},
		/* x- keys are between proxies. */
		{bytes("a ID (\"x-originating-ip\" \"1.2.3.4\" \"name\" \"x\" \"X-Evil\" \"y\" "
		       "\"x-\" "
		       "NIL \"X-CONNECTED-IP\" \"5.6.7.8\" \"x\" \"-\")\r\n"),
		 "\"name\" \"x\" \"x\" \"-\""},
		{bytes("a ID ({6+}\r\nx-evil {1+}\r\ny)\r\n"), ""},
		/* The last ID holds; a rejected one says nothing. */
		{bytes("a ID (\"a\" \"b\")\r\nb ID (\"c\" \"d\")\r\n"), "\"c\" \"d\""},
		{bytes("a ID (\"a\" \"b\")\r\nb ID NIL\r\n"), ""},
		{bytes("a ID (\"a\" \"b\")\r\nb ID (\"c\" \"d\" \"e\")\r\nc NOOP\r\n"),
		 "\"a\" \"b\""},
	};
	const struct dialogue *dialogues[] = {&dialogue_with_tls, &dialogue_without_tls, &trusted};

	(void)state;
	for (size_t i = 0; i < array_length(cases) * array_length(dialogues); i++) {
		const struct identity_case *one = &cases[i / array_length(dialogues)];
		struct preauth *preauth =
			start(dialogues[i % array_length(dialogues)], one->input, one->length);

		assert_string_equal(preauth_identity(preauth).pairs, one->pairs);
		preauth_free(preauth);
	}
}

/* "a" with a value of `length` in quotes, twice; the second is "b". */
static struct preauth *start_two(size_t first, size_t second)
{
	char values[2][1100];
	char input[2300];

	memset(values, 'v', sizeof(values));
	values[0][first] = '\0';
	values[1][second] = '\0';
	snprintf(input, sizeof(input), "a ID (\"a\" \"%s\" \"b\" \"%s\" \"c\" NIL)\r\n", values[0],
		 values[1]);
	return start(&dialogue_with_tls, input, strlen(input));
}

/* Whole pairs up to the limit; what does not fit is left out, and the next may fit. */
static void test_pairs_limit(void **state)
{
	const size_t framing = strlen("\"a\" \"\" \"b\" \"\"");
	const size_t third = strlen(" \"c\" NIL");
	size_t second = PREAUTH_IDENTITY_MAX - framing - 1020;
	struct preauth *preauth = start_two(1020, second - third);

	(void)state;
	assert_int_equal(strlen(preauth_identity(preauth).pairs), PREAUTH_IDENTITY_MAX);
	preauth_free(preauth);
	preauth = start_two(1020, second);
	assert_int_equal(strlen(preauth_identity(preauth).pairs), PREAUTH_IDENTITY_MAX);
	preauth_free(preauth);
	preauth = start_two(1020, second + 1);
	assert_int_equal(strlen(preauth_identity(preauth).pairs),
			 strlen("\"a\" \"\"") + 1020 + third);
	preauth_free(preauth);
}

/* Quoting makes them longer. */
static void test_pairs_quoted_limit(void **state)
{
	char value[1025] = {0};
	char input[2300];
	struct preauth *preauth;

	(void)state;
	for (size_t i = 0; i < 1018; i++) {
		value[i] = i % 2 == 0 ? '\\' : '"';
	}
	snprintf(input, sizeof(input), "a ID (\"a\" \"%s\" \"b\" {1018+}\r\n", value);
	preauth = start(&dialogue_with_tls, input, strlen(input));
	memset(value, '"', 1018);
	feed(preauth, value, 1018);
	feed(preauth, bytes(" \"c\" NIL)\r\n"));
	/* 509 quotes on the wire for the first, 1018 for the second, each with its backslash. */
	assert_int_equal(strlen(preauth_identity(preauth).pairs),
			 strlen("\"a\" \"\" \"c\" NIL") + 1018);
	preauth_free(preauth);
}

struct claim_case {
	const char *input;
	struct preauth_identity identity;
};

static void assert_text(const char *text, const char *expected)
{
	if (expected == NULL) {
		assert_null(text);
	} else {
		assert_non_null(text);
		assert_string_equal(text, expected);
	}
}

static void check_identity(const struct dialogue *dialogue, const char *input,
			   const struct preauth_identity *expected)
{
	struct preauth *preauth = start(dialogue, input, strlen(input));
	struct preauth_identity identity = preauth_identity(preauth);

	assert_text(identity.originating_ip, expected->originating_ip);
	assert_text(identity.connected_ip, expected->connected_ip);
	assert_text(identity.session_id, expected->session_id);
	assert_int_equal(identity.originating_port, expected->originating_port);
	assert_int_equal(identity.connected_port, expected->connected_port);
	preauth_free(preauth);
}

#define ALL_CLAIMS                                                                                 \
	"a ID (\"x-originating-ip\" \"192.0.2.7\" \"X-Originating-Port\" \"65535\" "               \
	"\"x-connected-ip\" "                                                                      \
	"\"2001:db8::1\" \"x-connected-port\" \"993\" \"x-session-id\" \"s/1+2\")\r\n"
#define SIXTY_FOUR "0123456789012345678901234567890123456789012345678901234567890123"

/* Only a client that is trusted may say from where another comes. */
static void test_claims(void **state)
{
	static const struct preauth_identity nothing = {0};
	static const struct claim_case cases[] = {
		{ALL_CLAIMS, {NULL, "192.0.2.7", 65535, "2001:db8::1", 993, "s/1+2"}},
		{ALL_CLAIMS "b ID NIL\r\n", {0}},
		{ALL_CLAIMS "b ID (\"x-session-id\" \"2\")\r\n", {.session_id = "2"}},
		{"a ID (\"x-originating-port\" \"0\")\r\n", {0}},
		{"a ID (\"x-originating-port\" \"65536\")\r\n", {0}},
		{"a ID (\"x-originating-port\" \"4294967297\")\r\n", {0}},
		{"a ID (\"x-originating-port\" \"-1\")\r\n", {0}},
		{"a ID (\"x-originating-port\" \"\")\r\n", {0}},
		{"a ID (\"x-originating-port\" NIL \"x-session-id\" NIL)\r\n", {0}},
		{"a ID (\"x-session-id\" \"\")\r\n", {0}},
		{"a ID (\"x-session-id\" \"\xc3\xa9\")\r\n", {0}},
		{"a ID (\"x-session-id\" \"a\\\"b\")\r\n", {0}},
		{"a ID (\"x-session-id\" \"a\\\\b\")\r\n", {0}},
		{"a ID (\"x-session-id\" \"" SIXTY_FOUR "\")\r\n", {.session_id = SIXTY_FOUR}},
		{"a ID (\"x-session-id\" \"" SIXTY_FOUR "4\")\r\n", {0}},
		{"a ID (\"x-session-id\" \"1\" \"x-session-id\" \"2\")\r\n", {.session_id = "1"}},
		{"a ID (\"x-session-ids\" \"1\" \"session-id\" \"2\")\r\n", {0}},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		check_identity(&trusted, cases[i].input, &cases[i].identity);
		check_identity(&dialogue_with_tls, cases[i].input, &nothing);
	}
}

/* What is said behind more pairs than are kept is heard all the same. */
static void test_claims_behind_many_pairs(void **state)
{
	struct buffer input = {0};
	struct preauth *preauth;
	unsigned ttl = 7;

	(void)state;
	buffer_append_text(&input, "a ID (");
	for (int i = 0; i < 28; i++) {
		buffer_printf(&input, "\"f%d\" \"%01000d\" ", i, i);
	}
	buffer_append_text(&input, "\"x-proxy-ttl\" \"3\" \"x-originating-ip\" \"192.0.2.7\")\r\n");
	preauth = start(&trusted, buffer_bytes(&input), input.length);
	assert_true(preauth_proxy_ttl(preauth, &ttl));
	assert_int_equal(ttl, 3);
	assert_string_equal(preauth_identity(preauth).originating_ip, "192.0.2.7");
	assert_true(strlen(preauth_identity(preauth).pairs) > 1000);
	preauth_free(preauth);
	buffer_done(&input);
}

struct ttl_case {
	const char *input;
	bool told;
	unsigned ttl;
};

/* C98: how a proxy in front of us keeps a login from going round for ever. */
static void test_proxy_ttl(void **state)
{
	static const struct ttl_case cases[] = {
		{"a NOOP\r\n", false, 7},
		{"a ID NIL\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"3\")\r\n", true, 3},
		{"a ID (\"name\" \"x\" \"X-Proxy-TTL\" \"0\")\r\n", true, 0},
		{"a ID (\"x-proxy-ttl\" \"9999\")\r\n", true, 9999},
		{"a ID (\"x-proxy-ttl\" \"10000\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"-1\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" NIL)\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"2\")\r\nb ID NIL\r\n", true, 2},
		{"a ID (\"x-proxy-ttl\" \"2\")\r\nb ID (\"x-proxy-ttl\" \"x\")\r\n", true, 2},
		{"a ID (\"x-proxy-ttl\" \"2\")\r\nb ID (\"x-proxy-ttl\" \"1\")\r\n", true, 1},
		{"a ID (\"x-proxy-ttl\" \"99999999999999999999\")\r\n", false, 7},
	};

	struct preauth_ration ration;
	struct preauth_settings settings = dialogue_settings(&dialogue_with_tls, &ration);

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct preauth *preauth = preauth_new(&settings);
		struct buffer input = {0};
		struct buffer reply = {0};
		unsigned ttl = 7;

		buffer_append_text(&input, cases[i].input);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		assert_int_equal(preauth_proxy_ttl(preauth, &ttl), cases[i].told);
		assert_int_equal(ttl, cases[i].ttl);
		preauth_free(preauth);
		buffer_done(&input);
		buffer_done(&reply);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_pairs_limit),
		cmocka_unit_test(test_pairs_quoted_limit),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_claims_behind_many_pairs),
		cmocka_unit_test(test_proxy_ttl),
	};

	return cmocka_run_group_tests_name("preauth_identity", tests, NULL, NULL);
}
