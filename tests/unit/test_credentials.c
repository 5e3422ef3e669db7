/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials: what is taken, what is refused, what stays behind.
 */
#include "imap/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/canary.h"

static enum credentials_fault set(struct credentials *credentials, const char *user,
				  const char *owner, const char *password)
{
	struct credentials_claim claim = {
		.user = user,
		.user_length = strlen(user),
		.owner = owner,
		.owner_length = owner != NULL ? strlen(owner) : 0,
		.password = password,
		.password_length = strlen(password),
	};

	return credentials_set(credentials, &claim);
}

static void test_set(void **state)
{
	struct credentials credentials = {0};

	(void)state;
	assert_int_equal(set(&credentials, "u1", NULL, "pw"), CREDENTIALS_FINE);
	assert_string_equal(credentials.user, "u1");
	assert_null(credentials.owner);
	assert_int_equal(credentials.password.length, 2);
	assert_memory_equal(credentials.password.bytes, "pw", 2);
	assert_string_equal(credentials_mailbox(&credentials), "u1");
	credentials_done(&credentials);
	assert_null(credentials.user);
	assert_null(credentials.password.bytes);
	credentials_done(&credentials);
}

static void test_owner(void **state)
{
	struct credentials credentials = {0};

	(void)state;
	assert_int_equal(set(&credentials, "admin", "u1", "pw"), CREDENTIALS_FINE);
	assert_string_equal(credentials.user, "admin");
	assert_string_equal(credentials.owner, "u1");
	assert_string_equal(credentials_mailbox(&credentials), "u1");
	assert_int_equal(set(&credentials, "u1", "u1", "pw"), CREDENTIALS_FINE);
	assert_null(credentials.owner);
	assert_int_equal(set(&credentials, "u1", "", "pw"), CREDENTIALS_FINE);
	assert_null(credentials.owner);
	assert_int_equal(set(&credentials, "u1", "U1", "pw"), CREDENTIALS_FINE);
	assert_string_equal(credentials.owner, "U1");
	assert_int_equal(set(&credentials, "u1", "u", "pw"), CREDENTIALS_FINE);
	assert_string_equal(credentials.owner, "u");
	credentials_done(&credentials);
}

static void test_refuses(void **state)
{
	static const struct {
		const char *user;
		const char *owner;
		const char *password;
		enum credentials_fault fault;
	} cases[] = {
		{"", NULL, "pw", CREDENTIALS_EMPTY},
		{"u1", NULL, "", CREDENTIALS_EMPTY},
		{"", "u2", "pw", CREDENTIALS_EMPTY},
		{"u\r1", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u\n1", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u\x7f", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u\x1b", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u\xe9", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u\xc0\x80", NULL, "pw", CREDENTIALS_MALFORMED},
		{"u1", "o\t", "pw", CREDENTIALS_MALFORMED},
		{"u1", "o\xff", "pw", CREDENTIALS_MALFORMED},
		{"u1", NULL, "p\rw", CREDENTIALS_MALFORMED},
		{"u1", NULL, "p\nw", CREDENTIALS_MALFORMED},
		{"u1", NULL, "\x01", CREDENTIALS_MALFORMED},
		{"u1", NULL, "p\x7f", CREDENTIALS_MALFORMED},
		{"u\xc3\xa9 \"\\(", NULL, "p\xe9\xff w", CREDENTIALS_FINE},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct credentials credentials = {0};

		assert_int_equal(set(&credentials, "before", NULL, "kept"), CREDENTIALS_FINE);
		assert_int_equal(
			set(&credentials, cases[i].user, cases[i].owner, cases[i].password),
			cases[i].fault);
		if (cases[i].fault != CREDENTIALS_FINE) {
			assert_string_equal(credentials.user, "before");
			assert_memory_equal(credentials.password.bytes, "kept", 4);
		}
		credentials_done(&credentials);
	}
}

static void test_refuses_nul(void **state)
{
	static const struct credentials_claim claims[] = {
		{"u\0x", 3, NULL, 0, "pw", 2},
		{"u", 1, "o\0", 2, "pw", 2},
		{"u", 1, NULL, 0, "p\0w", 3},
	};
	struct credentials credentials = {0};

	(void)state;
	for (size_t i = 0; i < array_length(claims); i++) {
		assert_int_equal(credentials_set(&credentials, &claims[i]), CREDENTIALS_MALFORMED);
		assert_null(credentials.user);
	}
}

static void test_limits(void **state)
{
	static char x[CREDENTIALS_PASSWORD_MAX + 1];
	static const struct {
		struct credentials_claim claim;
		enum credentials_fault fault;
	} cases[] = {
		{{x, CREDENTIALS_USER_MAX, "o", 1, x, CREDENTIALS_PASSWORD_MAX}, CREDENTIALS_FINE},
		{{"u", 1, x, CREDENTIALS_USER_MAX, "p", 1}, CREDENTIALS_FINE},
		{{x, CREDENTIALS_USER_MAX + 1, NULL, 0, "p", 1}, CREDENTIALS_TOO_LONG},
		{{"u", 1, x, CREDENTIALS_USER_MAX + 1, "p", 1}, CREDENTIALS_TOO_LONG},
		{{"u", 1, NULL, 0, x, CREDENTIALS_PASSWORD_MAX + 1}, CREDENTIALS_TOO_LONG},
	};

	(void)state;
	memset(x, 'x', sizeof(x));
	for (size_t i = 0; i < array_length(cases); i++) {
		struct credentials credentials = {0};
		const struct credentials_claim *claim = &cases[i].claim;

		assert_int_equal(credentials_set(&credentials, claim), cases[i].fault);
		if (cases[i].fault == CREDENTIALS_FINE) {
			assert_int_equal(strlen(credentials.user), claim->user_length);
			assert_int_equal(strlen(credentials.owner), claim->owner_length);
			assert_int_equal(credentials.password.length, claim->password_length);
		}
		credentials_done(&credentials);
	}
}

static void test_leaves_nothing(void **state)
{
	struct credentials credentials = {0};
	char text[CANARY_LENGTH];
	struct credentials_claim claim = {text, sizeof(text), text, 60, text, sizeof(text)};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	canary_write(text);
	assert_int_equal(credentials_set(&credentials, &claim), CREDENTIALS_FINE);
	explicit_bzero(text, sizeof(text));
	assert_int_equal(canary_count(), 3);
	credentials_done(&credentials);
	assert_int_equal(canary_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),     cmocka_unit_test(test_owner),
		cmocka_unit_test(test_refuses), cmocka_unit_test(test_refuses_nul),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
