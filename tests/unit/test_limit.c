/* SPDX-License-Identifier: Apache-2.0
 *
 * The one count that workers share: at the limit, one past it, and from several threads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "session/limit.h"

#define THREADS 4
#define ROUNDS 20000

static void test_takes_up_to_the_limit(void **state)
{
	struct limit limit = {.max = 3};

	(void)state;
	assert_true(limit_take(&limit));
	assert_true(limit_take(&limit));
	assert_true(limit_take(&limit));
	assert_false(limit_take(&limit));
	assert_false(limit_take(&limit));
	assert_int_equal(atomic_load(&limit.taken), 3);
	limit_give(&limit);
	assert_true(limit_take(&limit));
	assert_false(limit_take(&limit));
}

static void test_none_at_all(void **state)
{
	struct limit limit = {.max = 0};

	(void)state;
	assert_false(limit_take(&limit));
	assert_int_equal(atomic_load(&limit.taken), 0);
}

/* struct crowd is what the threads share. */
struct crowd {
	struct limit limit;
	atomic_uint inside;
	atomic_uint most;
	atomic_uint refused;
};

static void *come_and_go(void *argument)
{
	struct crowd *crowd = argument;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned inside;
		unsigned most;

		if (!limit_take(&crowd->limit)) {
			atomic_fetch_add(&crowd->refused, 1);
			continue;
		}
		inside = atomic_fetch_add(&crowd->inside, 1) + 1;
		most = atomic_load(&crowd->most);
		while (inside > most &&
		       !atomic_compare_exchange_weak(&crowd->most, &most, inside)) {
		}
		atomic_fetch_sub(&crowd->inside, 1);
		limit_give(&crowd->limit);
	}
	return NULL;
}

static void test_threads_never_exceed_it(void **state)
{
	struct crowd crowd = {.limit = {.max = 2}};
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	assert_in_range(atomic_load(&crowd.most), 1, 2);
	assert_int_equal(atomic_load(&crowd.limit.taken), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_up_to_the_limit),
		cmocka_unit_test(test_none_at_all),
		cmocka_unit_test(test_threads_never_exceed_it),
	};

	return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
