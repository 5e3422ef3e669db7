/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability lists: what is promised before login, what of a backend's list passes.
 */
#include "imap/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/buffer.h"

/* C01, C03, C05, C06 */
static void test_preauth_list(void **state)
{
	static const char *const never[] = {
		"IMAP4rev2",      "LITERAL+",        "LOGIN",
		"UNAUTHENTICATE", "LOGIN-REFERRALS", "COMPRESS=DEFLATE",
		"UTF8=ACCEPT",    "AUTH=LOGIN",      "STARTTLS",
	};
	static const char *const always[] = {"IMAP4rev1", "LITERAL-", "ID"};

	(void)state;
	for (int secrets = 0; secrets <= 1; secrets++) {
		struct buffer list = {0};
		const uint8_t *text;

		capability_append_preauth(&list, secrets == 1);
		text = buffer_bytes(&list);
		for (size_t i = 0; i < array_length(always); i++) {
			assert_true(capability_has(text, list.length, always[i]));
		}
		for (size_t i = 0; i < array_length(never); i++) {
			assert_false(capability_has(text, list.length, never[i]));
		}
		assert_int_equal(capability_has(text, list.length, "AUTH=PLAIN"), secrets == 1);
		assert_int_equal(capability_has(text, list.length, "SASL-IR"), secrets == 1);
		assert_int_equal(capability_has(text, list.length, "LOGINDISABLED"), secrets == 0);
		assert_int_equal(text[0], 'I');
		assert_int_not_equal(text[list.length - 1], ' ');
		buffer_done(&list);
	}
}

static void test_filter(void **state)
{
	static const struct {
		const char *list;
		const char *passes;
	} cases[] = {
		/* C73 */
		{"IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED UNAUTHENTICATE LOGIN-REFERRALS IDLE "
		 "X",
		 "IMAP4rev1 IDLE X"},
		{"IMAP4rev1 starttls auth=plain LoginDisabled Unauthenticate login-Referrals idle",
		 "IMAP4rev1 idle"},
		{"AUTH=PLAIN IMAP4rev1 AUTH=X", "IMAP4rev1"},
		{"AUTH AUTHX=1 STARTTLSX XSTARTTLS LOGIN",
		 "AUTH AUTHX=1 STARTTLSX XSTARTTLS LOGIN"},
		{"X-PROXY X-MYPROXY-2 x-proxyless X-PROX PROXY XPROXY", "X-PROX PROXY XPROXY"},
		{"COMPRESS=DEFLATE LITERAL+ UTF8=ACCEPT", "COMPRESS=DEFLATE LITERAL+ UTF8=ACCEPT"},
		{"  IMAP4rev1   IDLE  ", "IMAP4rev1 IDLE"},
		{"", ""},
		{"   ", ""},
		{"STARTTLS", ""},
		{"A] B", "B"},
		{"A\r\n* BYE B {5} \"C\" D\xe9 E", "BYE B E"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct buffer out = {0};

		buffer_append_text(&out, "[");
		capability_append_filtered(&out, cases[i].list, strlen(cases[i].list));
		buffer_append_byte(&out, '\0');
		assert_string_equal((const char *)buffer_bytes(&out) + 1, cases[i].passes);
		buffer_done(&out);
	}
}

static void test_has(void **state)
{
	static const char list[] = "IMAP4rev1 SASL-IR  AUTH=PLAIN LITERAL-";

	(void)state;
	assert_true(capability_has(list, strlen(list), "imap4REV1"));
	assert_true(capability_has(list, strlen(list), "AUTH=PLAIN"));
	assert_true(capability_has(list, strlen(list), "LITERAL-"));
	assert_false(capability_has(list, strlen(list) - 1, "LITERAL-"));
	assert_false(capability_has(list, strlen(list), "IMAP4"));
	assert_false(capability_has(list, strlen(list), "AUTH="));
	assert_false(capability_has(list, strlen(list), "PLAIN"));
	assert_false(capability_has(list, strlen(list), ""));
	assert_false(capability_has("", 0, "IMAP4rev1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preauth_list),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_has),
	};

	return cmocka_run_group_tests_name("capability", tests, NULL, NULL);
}
