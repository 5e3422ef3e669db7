/* SPDX-License-Identifier: Apache-2.0
 *
 * The URLs of referrals: what is read, and what has another form.
 */
#include "imap/referral.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_read(void **state)
{
	static const struct {
		const char *url;
		const char *address;
		bool tls;
		const char *user;
	} rows[] = {
		{"imap://user;AUTH=*@host:144/", "host:144", false, "user"},
		{"imap://u1@10.1.2.3/", "10.1.2.3:143", false, "u1"},
		{"imap://mail2.example", "mail2.example:143", false, ""},
		{"imap://mail2.example/", "mail2.example:143", false, ""},
		{"IMAPS://Mail2.Example", "mail2.example:993", true, ""},
		{"imaps://u1@[FD00::7]:1993/", "[fd00::7]:1993", true, "u1"},
		{"imap://;AUTH=GSSAPI@SERVER2/", "server2:143", false, ""},
		{"imap://MIKE;auth=PLAIN@server2", "server2:143", false, "MIKE"},
		{"imap://u1%40example.org@host", "host:143", false, "u1@example.org"},
		/* Some servers leave it as it is. */
		{"imap://u1@example.org;AUTH=PLAIN@host/", "host:143", false, "u1@example.org"},
		{"imap://%C3%BCwe%2Fx%3b%25@host", "host:143", false, "\xC3\xBCwe/x;%"},
		{"imap://a-._~!$'()*+,&=z@host", "host:143", false, "a-._~!$'()*+,&=z"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct referral referral = {0};
		struct error error = {0};
		char address[ENDPOINT_TEXT_MAX];

		if (!referral_parse(&referral, rows[i].url, &error)) {
			fail_msg("%s: %s", rows[i].url, error.text);
		}
		endpoint_format(&referral.address, address);
		assert_string_equal(address, rows[i].address);
		assert_int_equal(referral.tls, rows[i].tls);
		assert_string_equal(referral.user, rows[i].user);
		referral_done(&referral);
		assert_null(referral.address.name);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *url;
		const char *why;
	} rows[] = {
		{"", "scheme"},
		{"imap:/host", "scheme"},
		{"pop://host", "scheme"},
		{"//host", "scheme"},
		{"imap://", "host"},
		{"imap:///", "host"},
		{"imap://host/INBOX", "path"},
		{"imap://host//", "path"},
		{"imap://u1@host/;UID=1", "path"},
		{"imap://host?x", "host"},
		{"imap://host#x", "host"},
		{"imap://host:0", "port"},
		{"imap://host:65536", "port"},
		{"imap://unix:143", "socket"},
		{"imap://unix:/run/x", "path"},
		{"imap://10.1.2", "host"},
		{"imap://fd00::7/", "port"},
		{"imap://@host", "nobody"},
		{"imap://u1;@host", ";AUTH="},
		{"imap://u1;AUTH=@host", ";AUTH="},
		{"imap://u1;X=PLAIN@host", ";AUTH="},
		{"imap://u1;AUTH=PLAIN;X@host", ";AUTH="},
		{"imap://u1:pw@host", "encoded"},
		{"imap://u1%4@host", "encoded"},
		{"imap://u1%@host", "encoded"},
		{"imap://u\"1@host", "encoded"},
		{"imap://u1%0D%0Ax@host", "control"},
		{"imap://u1%00@host", "control"},
		{"imap://u1%7F@host", "control"},
		{"imap://u1%FF@host", "UTF-8"},
		{"imap://u 1@host", "printable"},
		{"imap://u1@host/\r\n", "printable"},
		{"imap://\xC3\xBCwe@host", "printable"},
		{"imap://host\x7F", "printable"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct referral referral = {0};
		struct error error = {0};

		if (referral_parse(&referral, rows[i].url, &error)) {
			fail_msg("%s was read", rows[i].url);
		}
		if (strstr(error.text, rows[i].why) == NULL) {
			fail_msg("%s: \"%s\", not \"%s\"", rows[i].url, error.text, rows[i].why);
		}
		assert_null(referral.address.name);
		assert_string_equal(referral.user, "");
	}
}

/* Appends `text` often enough that `url` is `length` octets long. */
static void fill(char *url, char byte, size_t length)
{
	size_t used = strlen(url);

	memset(url + used, byte, length - used);
	url[length] = '\0';
}

static void test_url_limit(void **state)
{
	(void)state;
	for (size_t length = REFERRAL_URL_MAX; length <= REFERRAL_URL_MAX + 1; length++) {
		char url[REFERRAL_URL_MAX + 2] = "imap://u1;AUTH=";
		struct referral referral = {0};
		struct error error = {0};

		fill(url, 'X', length - strlen("@host"));
		strcat(url, "@host");
		assert_int_equal(strlen(url), length);
		assert_int_equal(referral_parse(&referral, url, &error),
				 length == REFERRAL_URL_MAX);
		referral_done(&referral);
	}
}

static void test_user_limit(void **state)
{
	(void)state;
	for (size_t length = REFERRAL_USER_MAX; length <= REFERRAL_USER_MAX + 1; length++) {
		char url[REFERRAL_URL_MAX + 1] = "imap://";
		struct referral referral = {0};
		struct error error = {0};

		fill(url, 'u', strlen(url) + length);
		strcat(url, "@host");
		assert_int_equal(referral_parse(&referral, url, &error),
				 length == REFERRAL_USER_MAX);
		assert_int_equal(strlen(referral.user),
				 length == REFERRAL_USER_MAX ? REFERRAL_USER_MAX : 0);
		referral_done(&referral);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_url_limit),
		cmocka_unit_test(test_user_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
