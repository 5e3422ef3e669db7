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

static const char *const tls_words[] = {"", " starttls", " implicit"};

/* "name NAME", "ip ADDRESS", "host NAME:PORT", then "starttls" or "implicit", then "as USER", then
 * "assigned"; or "no". The text is copied to a block of its exact size, so that reading behind it
 * is seen by the sanitizer. */
static void parse(char *outcome, size_t size, const char *text, size_t length, struct error *error)
{
	struct route_value value = {0};
	char *exact = malloc(length > 0 ? length : 1);
	char address[ENDPOINT_TEXT_MAX];
	size_t used;

	memcpy(exact, text, length);
	if (!route_value_parse(&value, exact, length, error)) {
		snprintf(outcome, size, "no");
		free(exact);
		return;
	}
	free(exact);
	if (value.address.kind == ENDPOINT_NONE) {
		assert_int_equal(value.tls, CONFIG_TLS_NONE);
		snprintf(outcome, size, "name %s", value.name);
	} else {
		assert_string_equal(value.name, "");
		endpoint_format(&value.address, address);
		snprintf(outcome, size, "%s %s%s",
			 value.address.kind == ENDPOINT_IP ? "ip" : "host", address,
			 tls_words[value.tls]);
	}
	used = strlen(outcome);
	if (value.mailbox[0] != '\0') {
		snprintf(outcome + used, size - used, " as %s", value.mailbox);
	}
	if (value.assigned) {
		strncat(outcome, " assigned", size - strlen(outcome) - 1);
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
	{"imapx://mail1", "name imapx://mail1"},
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
	{"imap://host#x", "no"},
	{"imap://user@host", "no"},
	{"imap://user:secret@host", "no"},
	{"imap://user%40x@host", "no"},
	{"imap://ho%73t", "no"},
	{"imap://unix:/run/x", "no"},
	{"imap://unix:143", "no"},
	{"imap://UNIX", "no"},
	{"imap://Unix:143", "no"},
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
	/* The host in lower case, so that one backend is not two. */
	{"imap://MAIL1.Example", "host mail1.example:143"},
	/* By whom. */
	{"mail1?assigned", "name mail1 assigned"},
	{"mail1?user=bob&assigned", "name mail1 as bob assigned"},
	{"mail1?assigned&user=bob", "name mail1 as bob assigned"},
	{"mail1?user=assigned", "name mail1 as assigned"},
	{"mail1?assigned&assigned", "no"},
	{"mail1?assigned=", "no"},
	{"mail1?assigned=1", "no"},
	{"mail1?assignedly", "no"},
	{"mail1?assign", "no"},
	{"mail1?ASSIGNED", "no"},
	{"mail1?assigned&", "no"},
	{"mail1assigned", "name mail1assigned"},
	{"?assigned", "no"},
	{"imap://host?assigned", "no"},
	{"imaps://host?user=bob&assigned", "no"},
	/* TLS. */
	{"imaps://mail1.example", "host mail1.example:993 implicit"},
	{"IMAPS://10.0.0.1/", "ip 10.0.0.1:993 implicit"},
	{"imaps://[::1]:10993", "ip [::1]:10993 implicit"},
	{"imaps://host?tls=implicit", "host host:993 implicit"},
	{"imap://host?tls=starttls", "host host:143 starttls"},
	{"imap://host:10143/?tls=starttls", "host host:10143 starttls"},
	{"imap://host?tls=none", "host host:143"},
	{"imap://host?tls=implicit", "host host:993 implicit"},
	{"imap://host:143?tls=implicit", "host host:143 implicit"},
	{"imaps://host?tls=starttls", "no"},
	{"imaps://host?tls=none", "no"},
	{"imap://host?tls=", "no"},
	{"imap://host?tls=yes", "no"},
	{"imap://host?tls=STARTTLS", "no"},
	{"imap://host?tls=starttls&tls=starttls", "no"},
	{"imap://host?tls=starttls&tls=none", "no"},
	{"imaps://unix", "no"},
	{"imaps://", "no"},
	{"imaps://user@host", "no"},
	{"mail1?tls=starttls", "no"},
	{"mail1?user=x&tls=starttls", "no"},
	/* The user's name there. */
	{"mail1?user=bob", "name mail1 as bob"},
	{"mail1?user=bob@example.org", "name mail1 as bob@example.org"},
	{"mail1?user=bob%40example.org", "name mail1 as bob@example.org"},
	{"mail1?user=a%20b", "name mail1 as a b"},
	{"mail1?user=a+b", "name mail1 as a+b"},
	{"mail1?user=a=b", "name mail1 as a=b"},
	{"mail1?user=a?b/c:d", "name mail1 as a?b/c:d"},
	{"mail1?user=a%26tls%3dnone", "name mail1 as a&tls=none"},
	{"mail1?user=a%23%25%2f%2F", "name mail1 as a#%//"},
	{"mail1?user=j%C3%BCrgen", "name mail1 as j\xc3\xbcrgen"},
	{"mail1?user=%2541", "name mail1 as %41"},
	{"imap://host?user=bob", "host host:143 as bob"},
	{"imap://host/?user=bob&tls=starttls", "host host:143 starttls as bob"},
	{"imap://host/?tls=starttls&user=bob", "host host:143 starttls as bob"},
	{"imaps://[::1]:1/?user=imap://x", "ip [::1]:1 implicit as imap://x"},
	{"mail1?", "no"},
	{"mail1?user", "no"},
	{"mail1?user=", "no"},
	{"mail1?USER=bob", "no"},
	{"mail1?user=bob&", "no"},
	{"mail1?&user=bob", "no"},
	{"mail1?user=bob&user=bob", "no"},
	{"mail1?user=&user=bob", "no"},
	{"mail1?usr=bob", "no"},
	{"mail1?userx=bob", "no"},
	{"mail1?user=bob&port=1", "no"},
	{"?user=bob", "no"},
	{"mail1?user=%", "no"},
	{"mail1?user=%4", "no"},
	{"mail1?user=%4g", "no"},
	{"mail1?user=%g4", "no"},
	{"mail1?user=%4&tls", "no"},
	{"mail1?user=%%41", "no"},
	{"mail1?user=a%00b", "no"},
	{"mail1?user=a%0d%0ab", "no"},
	{"mail1?user=a%7f", "no"},
	{"mail1?user=%C3", "no"},
	{"mail1?user=%ED%A0%80", "no"},
	{"mail1?user=j\xc3\xbcrgen", "no"},
	{"mail1?user={user}", "no"},
	{"mail1?user=\"bob\"", "no"},
	{"mail1?user=a#b", "no"},
	{"imap://host?", "no"},
	{"imap://host/?", "no"},
	{"imap://host//?user=bob", "no"},
	{"imap://host/INBOX?user=bob", "no"},
	{"imap://host#x?user=bob", "no"},
	{"imap://host?user=bob#x", "no"},
	{"imap://bob@host?user=bob", "no"},
	{"imap://?user=bob", "no"},
	{"imap://host:?user=bob", "no"},
	{"imap://host&user=bob", "no"},
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
	char outcome[1500];

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
	char outcome[1500];
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
	char outcome[1500];
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

static void append_user(char *text, size_t octets, const char *octet)
{
	strcpy(text, "mail1?user=");
	while (octets-- > 0) {
		strcat(text, octet);
	}
}

static void test_longest_mailbox(void **state)
{
	static const char *const octets[] = {"u", "%75"};
	char text[ROUTE_VALUE_MAX + 1];
	char outcome[1500];
	struct error error = {0};

	(void)state;
	for (size_t i = 0; i < array_length(octets); i++) {
		append_user(text, ROUTE_MAILBOX_MAX, octets[i]);
		parse(outcome, sizeof(outcome), text, strlen(text), &error);
		assert_int_equal(strlen(outcome), strlen("name mail1 as ") + ROUTE_MAILBOX_MAX);
		append_user(text, ROUTE_MAILBOX_MAX + 1, octets[i]);
		parse(outcome, sizeof(outcome), text, strlen(text), &error);
		assert_string_equal(outcome, "no");
		assert_non_null(strstr(error.text, "1 to 255 octets"));
	}
}

/* All that a URL may hold at once: the longest host and the longest user. */
static void test_fullest_url(void **state)
{
	char text[ROUTE_VALUE_MAX + 1] = "imap://";
	char outcome[1500];
	struct error error = {0};

	(void)state;
	memset(text + 7, 'h', ENDPOINT_HOST_MAX);
	strcat(text, ":65535/?tls=starttls&user=");
	for (int i = 0; i < ROUTE_MAILBOX_MAX; i++) {
		strcat(text, "%75");
	}
	parse(outcome, sizeof(outcome), text, strlen(text), &error);
	assert_memory_equal(outcome, "host hhh", 8);
	assert_non_null(strstr(outcome, "h:65535 starttls as uuu"));
}

/* What is wrong is said. */
static void test_reasons(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} reasons[] = {
		{"imap://u@host", "no user, path or fragment"},
		{"imap://host?x=1", "\"x=1\" is no option: there are user=, tls= and assigned"},
		{"mail1?user=a&user=b", "user= stands there twice"},
		{"imaps://host?tls=none", "imaps is TLS from the first byte"},
		{"imap://host?tls=on", "tls is none, starttls or implicit"},
		{"mail1?tls=none", "the configuration says whether a backend has TLS"},
		{"mail1?user=%zz", "two hexadecimal digits"},
		{"mail1?user=a\xff", "written as %XX"},
		{"mail1?user=%ff", "UTF-8 without control characters"},
		{"?user=a", "it names no backend"},
		{"imap://host?assigned", "only a backend's name is assigned"},
		{"mail1?assigned=1", "assigned has no value"},
		{"mail1?assigned&assigned", "assigned stands there twice"},
	};
	char outcome[1500];

	(void)state;
	for (size_t i = 0; i < array_length(reasons); i++) {
		struct error error = {0};

		parse(outcome, sizeof(outcome), reasons[i].text, strlen(reasons[i].text), &error);
		assert_string_equal(outcome, "no");
		assert_non_null(strstr(error.text, "the route \""));
		assert_non_null(strstr(error.text, reasons[i].reason));
	}
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
		cmocka_unit_test(test_values),           cmocka_unit_test(test_nul),
		cmocka_unit_test(test_length),           cmocka_unit_test(test_longest_mailbox),
		cmocka_unit_test(test_fullest_url),      cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_words_of_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
