/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters: their table of names, and counting from one thread while another reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "core/metrics.h"

static void test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		const char *name = metrics_name((enum metric)i);
		size_t length = strlen(name);

		/* What Prometheus asks of the name of a counter. */
		assert_true(length > 6);
		assert_string_equal(name + length - 6, "_total");
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), length);
		assert_true(strncmp(name, "gatepost_", 9) != 0);
		assert_true(strlen(metrics_sentence((enum metric)i)) > 0);
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(name, metrics_name((enum metric)j));
		}
	}
	assert_string_equal(metrics_name(METRIC_LOGINS_OK), "logins_ok_total");
}

static void *count(void *argument)
{
	for (int i = 0; i < 100000; i++) {
		metrics_count(argument, METRIC_LOGINS_OK);
	}
	return NULL;
}

static void test_counting(void **state)
{
	static struct metrics metrics;
	pthread_t thread;
	uint64_t last = 0;

	(void)state;
	assert_int_equal(metrics_get(&metrics, METRIC_BYTES_UPSTREAM), 0);
	metrics_add(&metrics, METRIC_BYTES_UPSTREAM, UINT64_C(5000000000));
	metrics_add(&metrics, METRIC_BYTES_UPSTREAM, 1);
	assert_true(metrics_get(&metrics, METRIC_BYTES_UPSTREAM) == UINT64_C(5000000001));
	assert_int_equal(metrics_get(&metrics, METRIC_BYTES_DOWNSTREAM), 0);
	pthread_create(&thread, NULL, count, &metrics);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = metrics_get(&metrics, METRIC_LOGINS_OK);

		assert_true(now >= last);
		last = now;
	}
	pthread_join(thread, NULL);
	assert_int_equal(metrics_get(&metrics, METRIC_LOGINS_OK), 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
