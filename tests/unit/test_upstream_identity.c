/* SPDX-License-Identifier: Apache-2.0
 *
 * The ID that a trusting backend gets: the proxy's pairs, then the client's own, as many as may be
 * said.
 */
#include "imap/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "support/upstream_script.h"

#define GREETING "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] hi\r\n"
#define GATEPOST "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] gatepost ready\r\n"
#define PLAIN    "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"

/* How many the proxy says where only the client's address and no session is known. */
#define OWN_PAIRS 3

static const struct upstream_script scripts[] = {
	{.name = "C78 the client's pairs behind ours",
	 .flags = SCRIPT_IDENTITY,
	 .pairs = "\"name\" \"mbsync\" \"version\" \"1.4.4\"",
	 .turns = {{GREETING,
		    "G1" SCRIPT_ID_PAIRS " \"name\" \"mbsync\" \"version\" \"1.4.4\")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C78 quotes, spaces, brackets and NIL in them",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "\"a\\\\\" \"x \\\"y) z\" \"os\" NIL \"\" \"\"",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS
			      " \"a\\\\\" \"x \\\"y) z\" \"os\" NIL \"\" \"\")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C78 none",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS ")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "half a pair is none",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "\"name\" \"x\" \"version\"",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS " \"name\" \"x\")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "a string without an end is none",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "\"name\" \"x\" \"version\" \"1\\\"",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS " \"name\" \"x\")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "nothing behind what is no pair",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "NIL NIL \"name\" \"x\"",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS ")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "pairs that hold a line end are not said",
	 .flags = SCRIPT_BARE_IDENTITY,
	 .pairs = "\"name\" \"x\r\nG9 LOGOUT\"",
	 .turns = {{GREETING, "G1" SCRIPT_BARE_ID_PAIRS ")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C78 a backend that is not trusted hears nothing",
	 .pairs = "\"name\" \"mbsync\"",
	 .turns = {{GREETING, "G1 AUTHENTICATE PLAIN AHUxAHB3\r\n"}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C98 from gatepost to gatepost only the round",
	 .pairs = "\"name\" \"mbsync\"",
	 .turns = {{GATEPOST, "G1 ID (\"x-proxy-ttl\" \"4\")\r\n" PLAIN}},
	 .verdict = UPSTREAM_MORE},
};

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(scripts); i++) {
		upstream_script_check(&scripts[i]);
	}
}

/* The ID command that the proxy sends, without the login behind it. */
static void id_of(const struct upstream_identity *identity, struct buffer *line)
{
	struct credentials credentials = {0};
	struct credentials_claim claim = {
		.user = "u1", .user_length = 2, .secret = "pw", .secret_length = 2};
	struct upstream_settings settings = {.credentials = &credentials, .identity = identity};
	struct upstream *upstream = upstream_new(&settings);
	struct buffer input = {0};
	const uint8_t *end;

	assert_int_equal(credentials_set(&credentials, &claim), CREDENTIALS_FINE);
	buffer_append_text(&input, GREETING);
	assert_int_equal(upstream_feed(upstream, &input, line), UPSTREAM_MORE);
	end = memchr(buffer_bytes(line), '\n', line->length);
	assert_non_null(end);
	buffer_truncate(line, (size_t)(end + 1 - buffer_bytes(line)));
	upstream_free(upstream);
	credentials_done(&credentials);
	buffer_done(&input);
}

static size_t count_pairs(const struct buffer *line)
{
	size_t quotes = 0;

	for (size_t i = 0; i < line->length; i++) {
		quotes += buffer_bytes(line)[i] == '"';
	}
	return quotes / 4;
}

/* The first that fit are said, and ours are the first. */
static void test_pair_count(void **state)
{
	static const struct {
		unsigned pairs;
		size_t said;
	} cases[] = {
		{UPSTREAM_ID_PAIRS_MAX - OWN_PAIRS - 1, UPSTREAM_ID_PAIRS_MAX - 1},
		{UPSTREAM_ID_PAIRS_MAX - OWN_PAIRS, UPSTREAM_ID_PAIRS_MAX},
		{UPSTREAM_ID_PAIRS_MAX - OWN_PAIRS + 1, UPSTREAM_ID_PAIRS_MAX},
		{300, UPSTREAM_ID_PAIRS_MAX},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct upstream_identity identity = {.originating_ip = "192.0.2.7"};
		struct buffer pairs = {0};
		struct buffer line = {0};

		for (unsigned j = 0; j < cases[i].pairs; j++) {
			buffer_printf(&pairs, "%s\"k%u\" \"v\"", j > 0 ? " " : "", j);
		}
		buffer_append_byte(&pairs, '\0');
		identity.pairs = (const char *)buffer_bytes(&pairs);
		id_of(&identity, &line);
		assert_int_equal(count_pairs(&line), cases[i].said);
		assert_non_null(
			memmem(buffer_bytes(&line), line.length, "\"x-proxy-ttl\" \"0\"", 17));
		assert_memory_equal(buffer_bytes(&line) + line.length - 7, " \"v\")\r\n", 7);
		buffer_done(&pairs);
		buffer_done(&line);
	}
}

/* A long pair is said as long as the line has room, and left out otherwise; a short one behind it
 * has room then. */
static void test_line_length(void **state)
{
	struct upstream_identity identity = {.originating_ip = "192.0.2.7"};
	struct buffer line = {0};
	size_t bare;

	(void)state;
	id_of(&identity, &line);
	bare = line.length;
	for (unsigned past = 0; past < 2; past++) {
		size_t length = UPSTREAM_ID_LINE_MAX - bare - strlen(" \"k\" \"\"") + past;
		struct buffer pairs = {0};

		buffer_append_text(&pairs, "\"k\" \"");
		for (size_t i = 0; i < length; i++) {
			buffer_append_byte(&pairs, 'v');
		}
		buffer_append_text(&pairs, "\" \"s\" \"1\"");
		buffer_append_byte(&pairs, '\0');
		identity.pairs = (const char *)buffer_bytes(&pairs);
		buffer_truncate(&line, 0);
		id_of(&identity, &line);
		assert_int_equal(line.length, past ? bare + 8 : UPSTREAM_ID_LINE_MAX);
		assert_int_equal(count_pairs(&line), OWN_PAIRS + 1);
		buffer_done(&pairs);
	}
	buffer_done(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_pair_count),
		cmocka_unit_test(test_line_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
