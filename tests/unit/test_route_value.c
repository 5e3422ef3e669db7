/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory may answer, and all that it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/route_value_internal.h"
#include "base/text.h"

/* "name NAME", "ip ADDRESS", "host NAME:PORT", or "no". The text is copied to a block of its exact
 * size, so that reading behind it is seen by the sanitizer. */
static void parse(char *outcome, size_t size, const char *text, size_t length, struct error *error)
{
	struct route_value value = {0};
	char *exact = malloc(length > 0 ? length : 1);
	char address[ENDPOINT_TEXT_MAX];

	memcpy(exact, text, length);
	if (!route_value_parse(&value, exact, length, error)) {
		snprintf(outcome, size, "no");
		free(exact);
		return;
	}
	free(exact);
	if (value.address.kind == ENDPOINT_NONE) {
		snprintf(outcome, size, "name %s", value.name);
	} else {
		assert_string_equal(value.name, "");
		endpoint_format(&value.address, address);
		snprintf(outcome, size, "%s %s", value.address.kind == ENDPOINT_IP ? "ip" : "host",
			 address);
	}
	route_value_done(&value);
}

static const struct {
	const char *text;
	const char *outcome;
} rows[] = {
	{"mail1", "name mail1"},
	{"imap", "name imap"},
	/* Names as far as the grammar goes; whether one exists is the router's question. */
	{"host:143", "name host:143"},
	{"[::1]:143", "name [::1]:143"},
	{"imaps://mail1", "name imaps://mail1"},
	{"imap://10.0.0.1", "ip 10.0.0.1:143"},
	{"imap://10.0.0.1:10143", "ip 10.0.0.1:10143"},
	{"imap://10.0.0.1:1/", "ip 10.0.0.1:1"},
	{"imap://10.0.0.1:65535", "ip 10.0.0.1:65535"},
	{"IMAP://10.0.0.1", "ip 10.0.0.1:143"},
	{"imap://[::1]", "ip [::1]:143"},
	{"imap://[2001:db8::5]:993/", "ip [2001:db8::5]:993"},
	{"imap://mail1.example", "host mail1.example:143"},
	{"imap://mail1.example:144/", "host mail1.example:144"},
	{"imap://mail-0.mail.svc.cluster.local.", "host mail-0.mail.svc.cluster.local.:143"},
	{"imap://mail_1", "host mail_1:143"},
	{"imap://unix", "no"},
	{"imap://", "no"},
	{"imap:///", "no"},
	{"imap://:143", "no"},
	{"imap://host:0", "no"},
	{"imap://host:00", "no"},
	{"imap://host:65536", "no"},
	{"imap://host:99999", "no"},
	{"imap://host:", "no"},
	{"imap://host:143x", "no"},
	{"imap://host:+143", "no"},
	{"imap://host:143:143", "no"},
	{"imap://host//", "no"},
	{"imap://host/INBOX", "no"},
	{"imap://host?tls=starttls", "no"},
	{"imap://host#x", "no"},
	{"imap://user@host", "no"},
	{"imap://user:secret@host", "no"},
	{"imap://user%40x@host", "no"},
	{"imap://ho%73t", "no"},
	{"imap://unix:/run/x", "no"},
	{"imap://unix:143", "no"},
	{"imap://unix.example", "host unix.example:143"},
	{"imap://[::1", "no"},
	{"imap://::1", "no"},
	{"imap://[::1]x", "no"},
	{"imap://[fe80::1%25eth0]", "no"},
	{"imap://[mail1.example]", "no"},
	{"imap://-host", "no"},
	{"imap://.host", "no"},
	{"imap://300.1.1.1", "no"},
	{"imap://127.1", "no"},
	{"imap://2130706433", "no"},
	{"imap://1.2.3.4.", "no"},
	{"imap://h\xc3\xb6st", "no"},
	{"imap://imap://host", "no"},
	{"", "no"},
	{" ", "no"},
	{"mail1 ", "no"},
	{" mail1", "no"},
	{"mail 1", "no"},
	{"mail1\n", "no"},
	{"a\r\nb:143", "no"},
	{"imap://a\r\nb:143", "no"},
	{"mail1\x7f", "no"},
};

static void test_values(void **state)
{
	char outcome[700];

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct error error = {0};

		parse(outcome, sizeof(outcome), rows[i].text, strlen(rows[i].text), &error);
		if (strcmp(outcome, rows[i].outcome) != 0) {
			fail_msg("\"%s\": %s (%s), not %s", rows[i].text, outcome, error.text,
				 rows[i].outcome);
		}
		assert_int_equal(strcmp(outcome, "no") == 0, error.text[0] != '\0');
		assert_false(text_has_control(error.text, strlen(error.text)));
	}
}

static void test_nul(void **state)
{
	char outcome[700];
	struct error error = {0};

	(void)state;
	parse(outcome, sizeof(outcome), "mail1\0evil", 10, &error);
	assert_string_equal(outcome, "no");
	parse(outcome, sizeof(outcome), "imap://a\0b", 10, &error);
	assert_string_equal(outcome, "no");
}

static void test_length(void **state)
{
	char text[ROUTE_VALUE_MAX + 1];
	char outcome[700];
	struct error error = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	parse(outcome, sizeof(outcome), text, ROUTE_VALUE_MAX, &error);
	assert_int_equal(strlen(outcome), strlen("name ") + ROUTE_VALUE_MAX);
	parse(outcome, sizeof(outcome), text, ROUTE_VALUE_MAX + 1, &error);
	assert_string_equal(outcome, "no");
	assert_non_null(strstr(error.text, "too long"));
	/* A URL that fills the value whole. */
	memcpy(text, "imap://", 7);
	memset(text + 7, '1', sizeof(text) - 7);
	parse(outcome, sizeof(outcome), text, ROUTE_VALUE_MAX, &error);
	assert_string_equal(outcome, "no");
}

/* The value is shown, cut and escaped, whatever it holds. */
static void test_words_of_refusal(void **state)
{
	struct error error = {0};
	char text[400];

	(void)state;
	memset(text, 'y', sizeof(text));
	memcpy(text, "a\r\n\x1b\xff", 5);
	assert_false(route_value_refuse(&error, text, sizeof(text), "it is bad"));
	assert_non_null(strstr(error.text, "\"a????yyy"));
	assert_non_null(strstr(error.text, "yyy...\" cannot be used: it is bad"));
	assert_int_equal(strcspn(error.text + strlen("the route \""), "."), ROUTE_VALUE_SHOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_words_of_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
