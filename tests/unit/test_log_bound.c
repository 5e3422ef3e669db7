/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of core/log_bound: at the interval and one millisecond before it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/log_bound.h"

static void test_one_a_second(void **state)
{
	struct log_bound bound = {0};
	uint64_t held_back = 99;

	(void)state;
	assert_true(log_bound_admits(&bound, 0, &held_back));
	assert_int_equal(held_back, 0);
	assert_false(log_bound_admits(&bound, 0, &held_back));
	assert_false(log_bound_admits(&bound, LOG_BOUND_INTERVAL_MS - 1, &held_back));
	assert_true(log_bound_admits(&bound, LOG_BOUND_INTERVAL_MS, &held_back));
	assert_int_equal(held_back, 2);
	assert_true(log_bound_admits(&bound, 2 * LOG_BOUND_INTERVAL_MS, &held_back));
	assert_int_equal(held_back, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_a_second),
	};

	return cmocka_run_group_tests_name("log_bound", tests, NULL, NULL);
}
