/* SPDX-License-Identifier: Apache-2.0
 *
 * The PLAIN message, read and written.
 */
#include "imap/sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "support/canary.h"

#define bytes(text) text, sizeof(text) - 1

static void test_parse(void **state)
{
	static const struct {
		const char *message;
		size_t length;
		enum credentials_fault fault;
		const char *user;
		const char *owner;
		const char *password;
	} cases[] = {
		{bytes("\0u1\0pw"), CREDENTIALS_FINE, "u1", NULL, "pw"},
		{bytes("u2\0u1\0pw"), CREDENTIALS_FINE, "u1", "u2", "pw"},
		{bytes("u1\0u1\0pw"), CREDENTIALS_FINE, "u1", NULL, "pw"},
		{bytes("\0\xc3\xa9\0\xc3\xbc"), CREDENTIALS_FINE, "\xc3\xa9", NULL, "\xc3\xbc"},
		{bytes(""), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("u1"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("u1\0pw"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("\0u1pw"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("\0u1\0pw\0x"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("\0u1\0pw\0"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("\0\0\0"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
		{bytes("\0\0"), CREDENTIALS_EMPTY, NULL, NULL, NULL},
		{bytes("\0\0pw"), CREDENTIALS_EMPTY, NULL, NULL, NULL},
		{bytes("\0u1\0"), CREDENTIALS_EMPTY, NULL, NULL, NULL},
		{bytes("u2\0\0pw"), CREDENTIALS_EMPTY, NULL, NULL, NULL},
		{bytes("\0u\r\n1\0pw"), CREDENTIALS_MALFORMED, NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct credentials credentials = {0};

		assert_int_equal(sasl_plain_parse(&credentials, cases[i].message, cases[i].length),
				 cases[i].fault);
		if (cases[i].fault == CREDENTIALS_FINE) {
			assert_string_equal(credentials.user, cases[i].user);
			assert_string_equal(credentials.password.bytes, cases[i].password);
		}
		if (cases[i].owner != NULL) {
			assert_string_equal(credentials.owner, cases[i].owner);
		} else {
			assert_null(credentials.owner);
		}
		credentials_done(&credentials);
	}
}

static void test_longest(void **state)
{
	struct buffer message = {0};
	struct credentials credentials = {0};
	char text[CREDENTIALS_PASSWORD_MAX];

	(void)state;
	memset(text, 'o', sizeof(text));
	buffer_append(&message, text, CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, '\0');
	memset(text, 'u', sizeof(text));
	buffer_append(&message, text, CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, '\0');
	buffer_append(&message, text, sizeof(text));
	assert_int_equal(sasl_plain_parse(&credentials, buffer_bytes(&message), message.length),
			 CREDENTIALS_FINE);
	assert_int_equal(strlen(credentials.owner), CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, 'u');
	assert_int_equal(sasl_plain_parse(&credentials, buffer_bytes(&message), message.length),
			 CREDENTIALS_TOO_LONG);
	credentials_done(&credentials);
	buffer_done(&message);
}

static void check_encode(const char *message, size_t length, const char *text)
{
	struct credentials credentials = {0};
	struct credentials back = {0};
	struct buffer out = {0};
	struct buffer decoded = {0};

	assert_int_equal(sasl_plain_parse(&credentials, message, length), CREDENTIALS_FINE);
	buffer_append_text(&out, "PLAIN ");
	sasl_plain_encode(&out, &credentials);
	assert_int_equal(out.length, 6 + strlen(text));
	assert_memory_equal(buffer_bytes(&out), "PLAIN ", 6);
	assert_memory_equal(buffer_bytes(&out) + 6, text, strlen(text));
	assert_true(base64_decode(&decoded, buffer_bytes(&out) + 6, out.length - 6));
	assert_int_equal(sasl_plain_parse(&back, buffer_bytes(&decoded), decoded.length),
			 CREDENTIALS_FINE);
	assert_string_equal(back.user, credentials.user);
	assert_string_equal(credentials_mailbox(&back), credentials_mailbox(&credentials));
	credentials_done(&credentials);
	credentials_done(&back);
	buffer_done(&out);
	buffer_done(&decoded);
}

static void test_encode(void **state)
{
	(void)state;
	check_encode(bytes("\0u1\0pw"), "AHUxAHB3");
	check_encode(bytes("u2\0u1\0pw"), "dTIAdTEAcHc=");
	check_encode(bytes("u1\0u1\0pw"), "AHUxAHB3");
}

static void test_encode_out_of_memory(void **state)
{
	struct credentials credentials = {0};
	struct buffer out = {.failed = true};

	(void)state;
	assert_int_equal(sasl_plain_parse(&credentials, bytes("\0u1\0pw")), CREDENTIALS_FINE);
	sasl_plain_encode(&out, &credentials);
	assert_true(out.failed);
	assert_int_equal(out.length, 0);
	credentials_done(&credentials);
}

static void parse_canary(struct credentials *credentials)
{
	char message[CANARY_LENGTH + 4] = "\0u1\0";

	canary_write(message + 4);
	assert_int_equal(sasl_plain_parse(credentials, message, sizeof(message)), CREDENTIALS_FINE);
	explicit_bzero(message, sizeof(message));
}

static void test_leaves_nothing(void **state)
{
	struct credentials credentials = {0};
	struct buffer out = {0};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	parse_canary(&credentials);
	assert_int_equal(canary_count(), 1);
	sasl_plain_encode(&out, &credentials);
	assert_int_equal(canary_count(), 1);
	credentials_done(&credentials);
	assert_int_equal(canary_count(), 0);
	buffer_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),          cmocka_unit_test(test_longest),
		cmocka_unit_test(test_encode),         cmocka_unit_test(test_encode_out_of_memory),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests_name("sasl", tests, NULL, NULL);
}
