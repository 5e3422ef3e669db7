/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors in words: cut where they are too long, ignored where nobody asks.
 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_set(void **state)
{
	struct error error = {0};

	(void)state;
	assert_false(error_set(&error, "port %d of %s", 70000, "mail1"));
	assert_string_equal(error.text, "port 70000 of mail1");
	assert_false(error_set(&error, "second"));
	assert_string_equal(error.text, "second");
	assert_false(error_set(NULL, "nobody asks"));
}

static void test_prefix(void **state)
{
	struct error error = {0};

	(void)state;
	error_set(&error, "connection refused");
	error_prefix(&error, "mail1:143");
	assert_string_equal(error.text, "mail1:143: connection refused");
	error_prefix(NULL, "mail1:143");
}

static void test_long_texts_are_cut(void **state)
{
	struct error error = {0};
	char text[600];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&error, "%s", text);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
	error_prefix(&error, text);
	assert_int_equal(strlen(error.text), 80 + 2 + 170);
	assert_memory_equal(error.text + 78, "xx: xx", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_long_texts_are_cut),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
