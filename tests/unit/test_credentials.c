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
		.secret = password,
		.secret_length = strlen(password),
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
	assert_int_equal(credentials.secret.length, 2);
	assert_memory_equal(credentials.secret.bytes, "pw", 2);
	assert_string_equal(credentials_mailbox(&credentials), "u1");
	credentials_done(&credentials);
	assert_null(credentials.user);
	assert_null(credentials.secret.bytes);
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
			assert_memory_equal(credentials.secret.bytes, "kept", 4);
		}
		credentials_done(&credentials);
	}
}

static void test_refuses_nul(void **state)
{
	static const struct credentials_claim claims[] = {
		{"u\0x", 3, NULL, 0, "pw", 2, SASL_PLAIN},
		{"u", 1, "o\0", 2, "pw", 2, SASL_PLAIN},
		{"u", 1, NULL, 0, "p\0w", 3, SASL_PLAIN},
		{"u", 1, NULL, 0, "p\0w", 3, SASL_XOAUTH2},
		{"u", 1, NULL, 0, "p\0w", 3, SASL_SCRAM_SHA_1},
	};
	struct credentials credentials = {0};

	(void)state;
	for (size_t i = 0; i < array_length(claims); i++) {
		assert_int_equal(credentials_set(&credentials, &claims[i]), CREDENTIALS_MALFORMED);
		assert_null(credentials.user);
	}
}

static void test_mechanisms(void **state)
{
	static const struct {
		struct credentials_claim claim;
		enum credentials_fault fault;
		enum sasl_mechanism kept;
	} cases[] = {
		{{"u", 1, "o", 1, "pw", 2, SASL_PLAIN}, CREDENTIALS_FINE, SASL_PLAIN},
		{{"u", 1, "o", 1, "pw", 2, SASL_LOGIN}, CREDENTIALS_FINE, SASL_PLAIN},
		{{"u", 1, NULL, 0, "t", 1, SASL_XOAUTH2}, CREDENTIALS_FINE, SASL_XOAUTH2},
		{{"u", 1, "u", 1, "t", 1, SASL_XOAUTH2}, CREDENTIALS_FINE, SASL_XOAUTH2},
		{{"u", 1, "o", 1, "t", 1, SASL_XOAUTH2}, CREDENTIALS_MALFORMED, 0},
		{{"u", 1, NULL, 0, "", 0, SASL_XOAUTH2}, CREDENTIALS_EMPTY, 0},
		{{"u", 1, NULL, 0, "t\x01", 2, SASL_XOAUTH2}, CREDENTIALS_MALFORMED, 0},
		{{"u", 1, NULL, 0, "t", 1, SASL_OAUTHBEARER}, CREDENTIALS_FINE, SASL_OAUTHBEARER},
		{{"u", 1, "o", 1, "t", 1, SASL_OAUTHBEARER}, CREDENTIALS_MALFORMED, 0},
		{{"u", 1, NULL, 0, NULL, 0, SASL_OAUTHBEARER}, CREDENTIALS_EMPTY, 0},
		{{"u", 1, "o", 1, NULL, 0, SASL_EXTERNAL}, CREDENTIALS_FINE, SASL_EXTERNAL},
		{{"u", 1, NULL, 0, "", 0, SASL_EXTERNAL}, CREDENTIALS_FINE, SASL_EXTERNAL},
		{{"u", 1, NULL, 0, "pw", 2, SASL_EXTERNAL}, CREDENTIALS_MALFORMED, 0},
		{{"", 0, NULL, 0, "", 0, SASL_EXTERNAL}, CREDENTIALS_EMPTY, 0},
		{{"u", 1, "o", 1, "n,,", 3, SASL_SCRAM_SHA_1}, CREDENTIALS_FINE, SASL_SCRAM_SHA_1},
		{{"u", 1, NULL, 0, "", 0, SASL_SCRAM_SHA_256}, CREDENTIALS_EMPTY, 0},
		{{"u", 1, NULL, 0, "n\r", 2, SASL_SCRAM_SHA_512}, CREDENTIALS_MALFORMED, 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		const struct credentials_claim *claim = &cases[i].claim;
		struct credentials credentials = {0};

		assert_int_equal(credentials_set(&credentials, claim), cases[i].fault);
		assert_int_equal(credentials.mechanism, cases[i].kept);
		if (cases[i].fault == CREDENTIALS_FINE) {
			assert_int_equal(credentials.secret.length, claim->secret_length);
		}
		credentials_done(&credentials);
	}
}

static void test_limits(void **state)
{
	enum { USER = CREDENTIALS_USER_MAX };
	enum { PASSWORD = CREDENTIALS_PASSWORD_MAX, SECRET = CREDENTIALS_SECRET_MAX };
	static char x[SECRET + 1];
	static const struct {
		struct credentials_claim claim;
		enum credentials_fault fault;
	} cases[] = {
		{{x, USER, "o", 1, x, PASSWORD, SASL_PLAIN}, CREDENTIALS_FINE},
		{{"u", 1, x, USER, "p", 1, SASL_PLAIN}, CREDENTIALS_FINE},
		{{x, USER + 1, NULL, 0, "p", 1, SASL_PLAIN}, CREDENTIALS_TOO_LONG},
		{{"u", 1, x, USER + 1, "p", 1, SASL_PLAIN}, CREDENTIALS_TOO_LONG},
		{{"u", 1, NULL, 0, x, PASSWORD + 1, SASL_PLAIN}, CREDENTIALS_TOO_LONG},
		{{"u", 1, "o", 1, x, PASSWORD, SASL_LOGIN}, CREDENTIALS_FINE},
		{{"u", 1, NULL, 0, x, PASSWORD + 1, SASL_LOGIN}, CREDENTIALS_TOO_LONG},
		{{x, USER, NULL, 0, x, SECRET, SASL_XOAUTH2}, CREDENTIALS_FINE},
		{{"u", 1, NULL, 0, x, SECRET + 1, SASL_XOAUTH2}, CREDENTIALS_TOO_LONG},
		{{x, USER, NULL, 0, x, SECRET, SASL_OAUTHBEARER}, CREDENTIALS_FINE},
		{{"u", 1, NULL, 0, x, SECRET + 1, SASL_OAUTHBEARER}, CREDENTIALS_TOO_LONG},
		{{x, USER, "o", 1, x, SECRET, SASL_SCRAM_SHA_512}, CREDENTIALS_FINE},
		{{"u", 1, NULL, 0, x, SECRET + 1, SASL_SCRAM_SHA_512}, CREDENTIALS_TOO_LONG},
	};

	(void)state;
	memset(x, 'x', sizeof(x));
	for (size_t i = 0; i < array_length(cases); i++) {
		struct credentials credentials = {0};
		const struct credentials_claim *claim = &cases[i].claim;

		assert_int_equal(credentials_set(&credentials, claim), cases[i].fault);
		if (cases[i].fault == CREDENTIALS_FINE) {
			assert_int_equal(strlen(credentials.user), claim->user_length);
			assert_int_equal(strlen(credentials_mailbox(&credentials)),
					 claim->owner_length > 0 ? claim->owner_length
								 : claim->user_length);
			assert_int_equal(credentials.secret.length, claim->secret_length);
		}
		credentials_done(&credentials);
	}
}

static void test_leaves_nothing(void **state)
{
	struct credentials credentials = {0};
	char text[CANARY_LENGTH];
	struct credentials_claim claim = {text, sizeof(text), text, 60, text, sizeof(text), 0};

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
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_refuses_nul),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
