/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends that must take STARTTLS: what is said before TLS counts for nothing, and nothing of a
 * user is said there. Also the dialogues that only ask what a backend offers, since that too must
 * come from behind TLS.
 */
#include "imap/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/sasl.h"
#include "support/upstream_script.h"

#define GREETING "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n"
#define STARTTLS "G1 STARTTLS\r\n"
#define LIST     "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n"
#define PLAIN    "G3 AUTHENTICATE PLAIN AHUxAHB3\r\n"

static const struct upstream_script scripts[] = {
	{.name = "C80 STARTTLS, a fresh list, and then the login",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {LIST "G2 OK done\r\n", PLAIN},
		   {"G3 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C80 a greeting without a list",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"* OK hi\r\n", STARTTLS},
		   {"G1 ok\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {LIST "G2 OK done\r\n", PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C80 lines that end in LF alone",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"* OK hi\n", STARTTLS},
		   {"G1 OK\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {LIST "G2 OK done\n", PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "TLS is due",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G1 OK go\r\n", ""}},
	 .verdict = UPSTREAM_STARTTLS,
	 .atoms = SCRIPT_NOT_KNOWN},
	{.name = "what was said before TLS is forgotten",
	 .flags = SCRIPT_STARTTLS | SCRIPT_IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR ID] gatepost ready\r\n",
		    STARTTLS},
		   {"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ID EVIL\r\n* OK [ALERT] evil\r\n",
		    ""},
		   {"* OK [CAPABILITY IMAP4rev1 ID EVIL] x\r\n+ go\r\n* 5 EXISTS\r\n", ""},
		   {"G1 OK [CAPABILITY IMAP4rev1 ID EVIL] go\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1\r\nG2 OK done\r\n", "G3 LOGIN \"u1\" \"pw\"\r\n"},
		   {"G3 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n",
	 .atoms = ""},
	{.name = "no list behind TLS: the one before it does not count",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] hi\r\n", STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"G2 OK done\r\n", "G2 CAPABILITY\r\n"}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "neither IMAP4rev1 nor IMAP4rev2",
	 .atoms = SCRIPT_NOT_KNOWN},
	{.name = "C98 the mark of a gatepost in the clear is not believed",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 STARTTLS] gatepost ready\r\n", STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN\r\nG2 OK done\r\n", PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C78 ID behind TLS",
	 .flags = SCRIPT_STARTTLS | SCRIPT_IDENTITY,
	 .turns = {{GREETING, STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN\r\nG2 OK done\r\n",
		    "G3" SCRIPT_ID_PAIRS ")\r\nG4 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G3 OK\r\nG4 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C94 no STARTTLS: nothing is sent",
	 .flags = SCRIPT_STARTTLS | SCRIPT_IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN SASL-IR XSTARTTLS] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "does not offer STARTTLS",
	 .atoms = SCRIPT_NOT_KNOWN},
	{.name = "C94 STARTTLS answered NO",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G1 NO [UNAVAILABLE] no key\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "refused STARTTLS: [UNAVAILABLE] no key"},
	{.name = "C94 STARTTLS answered BAD",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G1 BAD what\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "refused STARTTLS: what"},
	{.name = "C94 STARTTLS answered BYE",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"* BYE [REFERRAL imap://10.1.2.3/] go\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "before it answered STARTTLS: [REFERRAL"},
	{.name = "C94 another tag",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G2 OK go\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE},
	{.name = "C94 the reply once more behind TLS",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"G1 OK go\r\n", "G2 CAPABILITY\r\n"}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "not sent"},
	{.name = "C94 PREAUTH in the clear",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "C88 no IMAP where STARTTLS is due",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{"220 smtp\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "C95 a list behind the OK",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G1 OK go\r\n* CAPABILITY IMAP4rev1\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "followed by more in the clear"},
	{.name = "C95 one byte behind the OK",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"G1 OK go\r\n\x16", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "followed by more in the clear"},
	{.name = "C95 one byte before the OK is a part of its line",
	 .flags = SCRIPT_STARTTLS,
	 .turns = {{GREETING, STARTTLS}, {"\x16G1 OK go\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE},
	{.name = "a list from before the login, and no other",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=LOGIN SASL-IR IDLE X] "
		    "hi\r\n",
		    "G1 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"* CAPABILITY IMAP4rev1 LATER\r\nG1 OK [CAPABILITY IMAP4rev1 LAST] hi\r\n",
		    ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 LAST] hi\r\n",
	 .atoms = "IDLE X",
	 .mechanisms = SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN)},
	{.name = "a list between the question and the login does not count",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN IDLE] hi\r\n",
		    "G1 AUTHENTICATE PLAIN\r\n"},
		   {"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 EVIL\r\n+ \r\n", "AHUxAHB3\r\n"}},
	 .verdict = UPSTREAM_MORE,
	 .atoms = "IDLE",
	 .mechanisms = SASL_BIT(SASL_PLAIN)},
	{.name = "an offer that was asked for",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 IDLE\r\nG1 OK done\r\n", "G2 LOGIN \"u1\" \"pw\"\r\n"},
		   {"G2 NO x\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = SCRIPT_CREDENTIALS,
	 .atoms = "IDLE"},
	{.name = "no offer where the backend never said",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"}, {"* BYE x\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .atoms = SCRIPT_NOT_KNOWN},
	{.name = "a question: the greeting says it all",
	 .flags = SCRIPT_NOBODY | SCRIPT_IDENTITY | SCRIPT_ASK,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 ID IDLE AUTH=SCRAM-SHA-256] gatepost ready\r\n",
		    "G1 LOGOUT\r\n"}},
	 .verdict = UPSTREAM_READY,
	 .atoms = "IDLE",
	 .mechanisms = SASL_BIT(SASL_SCRAM_SHA_256)},
	{.name = "a question: the list is asked for",
	 .flags = SCRIPT_NOBODY,
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 LOGINDISABLED IDLE\r\n", ""},
		   {"G1 OK done\r\n* BYE so soon\r\n", "G2 LOGOUT\r\n"}},
	 .verdict = UPSTREAM_READY,
	 .left = "* BYE so soon\r\n",
	 .atoms = "IDLE"},
	{.name = "a question behind TLS",
	 .flags = SCRIPT_NOBODY | SCRIPT_STARTTLS,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 STARTTLS EVIL] hi\r\n", STARTTLS},
		   {"G1 OK go\r\n", ""},
		   {"", "G2 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN\r\nG2 OK done\r\n", "G3 LOGOUT\r\n"}},
	 .verdict = UPSTREAM_READY,
	 .atoms = "IDLE",
	 .mechanisms = SASL_BIT(SASL_PLAIN)},
	{.name = "a question to what is not IMAP",
	 .flags = SCRIPT_NOBODY,
	 .turns = {{"220 smtp\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "not IMAP's: 220 smtp"},
	{.name = "a question to IMAP of another age",
	 .flags = SCRIPT_NOBODY,
	 .turns = {{"* OK [CAPABILITY IMAP4] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
};

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(scripts); i++) {
		upstream_script_check(&scripts[i]);
	}
}

/* C95: what comes in the clear before TLS has begun, and the end there. */
static void test_between_ok_and_tls(void **state)
{
	struct upstream_settings settings = {.starttls = true};
	struct buffer input = {0};
	struct buffer output = {0};
	struct upstream *upstream;

	(void)state;
	for (unsigned hangs_up = 0; hangs_up < 2; hangs_up++) {
		upstream = upstream_new(&settings);
		assert_non_null(upstream);
		buffer_append_text(&input, GREETING "G1 OK\r\n");
		assert_int_equal(upstream_feed(upstream, &input, &output), UPSTREAM_STARTTLS);
		if (hangs_up) {
			assert_int_equal(upstream_end(upstream), UPSTREAM_FAILED);
			assert_non_null(strstr(upstream_reason(upstream), "before TLS was on"));
		} else {
			assert_int_equal(upstream_feed(upstream, &input, &output), UPSTREAM_MORE);
			buffer_append_byte(&input, '*');
			assert_int_equal(upstream_feed(upstream, &input, &output), UPSTREAM_FAILED);
			assert_non_null(strstr(upstream_reason(upstream), "in the clear"));
		}
		assert_int_equal(output.length, strlen(STARTTLS));
		upstream_free(upstream);
		buffer_done(&input);
		buffer_done(&output);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_between_ok_and_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
