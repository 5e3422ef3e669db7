/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: whole, replaced, gone.
 */
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/canary.h"

static void test_set_and_done(void **state)
{
	struct secret secret = {0};

	(void)state;
	secret_done(&secret);
	assert_true(secret_set(&secret, "p\0w", 3));
	assert_int_equal(secret.length, 3);
	assert_memory_equal(secret.bytes, "p\0w\0", 4);
	assert_true(secret_set(&secret, "longer", 6));
	assert_memory_equal(secret.bytes, "longer", 7);
	assert_true(secret_set(&secret, "", 0));
	assert_int_equal(secret.length, 0);
	assert_int_equal(secret.bytes[0], 0);
	secret_done(&secret);
	assert_null(secret.bytes);
	assert_int_equal(secret.length, 0);
}

static void set_canary(struct secret *secret)
{
	char text[CANARY_LENGTH];

	canary_write(text);
	assert_true(secret_set(secret, text, sizeof(text)));
	explicit_bzero(text, sizeof(text));
}

static void test_leaves_nothing(void **state)
{
	struct secret secret = {0};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	set_canary(&secret);
	assert_int_equal(canary_count(), 1);
	assert_true(secret_set(&secret, "x", 1));
	assert_int_equal(canary_count(), 0);
	set_canary(&secret);
	assert_int_equal(canary_count(), 1);
	secret_done(&secret);
	assert_int_equal(canary_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_done),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
