/* SPDX-License-Identifier: Apache-2.0
 *
 * Paces: bursts, slots in the order of asking, queues that are full, slow starts, and bookings that
 * are given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../proxy/routing/member_pace_internal.h"
#include "base/base.h"

#define NOW     5000000
#define FOREVER (UINT64_MAX - 1)

static uint64_t book(struct member_pace *pace, unsigned per_second, uint64_t now_ms)
{
	struct member_rate rate = {.per_second = per_second};

	return member_pace_book(pace, &rate, now_ms, FOREVER);
}

/* A tenth of a second's worth at once, one at least; then one after the other. */
static void test_bursts(void **state)
{
	static const struct {
		unsigned per_second;
		unsigned burst;
		uint64_t next_ms;
	} cases[] = {
		{1, 1, 1000}, {5, 1, 200},   {10, 1, 100},   {19, 1, 53},
		{20, 2, 50},  {100, 10, 10}, {1000, 100, 1}, {MEMBER_RATE_MAX, 100000, 1},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct member_pace pace = {0};

		for (unsigned j = 0; j < cases[i].burst; j++) {
			assert_int_equal(book(&pace, cases[i].per_second, NOW), 0);
		}
		assert_int_equal(book(&pace, cases[i].per_second, NOW), cases[i].next_ms);
	}
}

static void test_a_pause_saves_no_more_than_a_burst(void **state)
{
	struct member_pace pace = {0};

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		uint64_t now_ms = NOW + (uint64_t)round * 3600000;

		for (unsigned i = 0; i < 10; i++) {
			assert_int_equal(book(&pace, 100, now_ms), 0);
		}
		assert_int_equal(book(&pace, 100, now_ms), 10);
		assert_int_equal(book(&pace, 100, now_ms), 20);
	}
}

static void test_who_asks_first_goes_first(void **state)
{
	struct member_pace pace = {0};
	uint64_t last = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now_ms = NOW + i / 3;
		uint64_t slot_ms = now_ms + book(&pace, 50, now_ms);

		assert_true(slot_ms >= last);
		last = slot_ms;
	}
	/* 995 turns after the five of the burst, 20 ms each. */
	assert_int_equal(last, NOW + 995 * 20);
}

static void test_many_in_a_second(void **state)
{
	struct member_pace pace = {0};
	unsigned at_once = 0;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		struct member_rate rate = {.per_second = 300};

		at_once += member_pace_book(&pace, &rate, NOW + i, 0) == 0;
	}
	/* Ten seconds, and what the first burst was more. */
	assert_in_range(at_once, 3000, 3030);
}

/* At the limit and one past it; what is refused is not booked. */
static void test_a_queue_is_full(void **state)
{
	struct member_rate rate = {.per_second = 10};
	struct member_pace pace = {0};

	(void)state;
	for (unsigned i = 0; i <= 20; i++) {
		assert_int_equal(member_pace_book(&pace, &rate, NOW, 2000), i * 100);
	}
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(member_pace_book(&pace, &rate, NOW, 2000), MEMBER_PACE_FULL);
	}
	assert_int_equal(member_pace_book(&pace, &rate, NOW + 99, 2000), MEMBER_PACE_FULL);
	assert_int_equal(member_pace_book(&pace, &rate, NOW + 100, 2000), 2000);
}

static void test_no_queue_at_all(void **state)
{
	struct member_rate rate = {.per_second = 10};
	struct member_pace pace = {0};

	(void)state;
	assert_int_equal(member_pace_book(&pace, &rate, NOW, 0), 0);
	assert_int_equal(member_pace_book(&pace, &rate, NOW, 0), MEMBER_PACE_FULL);
	assert_int_equal(member_pace_book(&pace, &rate, NOW + 99, 0), MEMBER_PACE_FULL);
	assert_int_equal(member_pace_book(&pace, &rate, NOW + 100, 0), 0);
}

static void test_time_that_has_just_begun(void **state)
{
	struct member_pace pace = {0};

	(void)state;
	assert_int_equal(book(&pace, 100, 0), 0);
	assert_int_equal(book(&pace, 100, 0), 10);
}

static void test_the_last_may_be_given_back(void **state)
{
	struct member_pace pace = {0};

	(void)state;
	assert_int_equal(book(&pace, 10, NOW), 0);
	assert_int_equal(book(&pace, 10, NOW), 100);
	member_pace_return(&pace, NOW + 100);
	assert_int_equal(book(&pace, 10, NOW), 100);
	assert_int_equal(book(&pace, 10, NOW), 200);
	/* Another is behind it. */
	member_pace_return(&pace, NOW + 100);
	assert_int_equal(book(&pace, 10, NOW), 300);
}

static void test_none_is_given_back_twice(void **state)
{
	struct member_pace pace = {0};

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(book(&pace, 100, NOW), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		member_pace_return(&pace, NOW);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(book(&pace, 100, NOW), 0);
	}
	assert_int_equal(book(&pace, 100, NOW), 10);
	member_pace_return(&pace, NOW + 10);
	member_pace_return(&pace, NOW + 10);
	member_pace_return(&pace, NOW);
	assert_int_equal(book(&pace, 100, NOW), 10);
	assert_int_equal(book(&pace, 100, NOW), 20);
}

static void test_nothing_to_give_back(void **state)
{
	struct member_pace pace = {0};

	(void)state;
	member_pace_return(&pace, 0);
	member_pace_return(&pace, NOW);
	assert_int_equal(book(&pace, 10, NOW), 0);
	assert_int_equal(book(&pace, 10, NOW), 100);
}

/* How many connections go out in each fifth of a slow start, asked for at every millisecond. */
static void test_a_slow_start_is_linear(void **state)
{
	struct member_rate rate = {.per_second = 100, .ramp_from_ms = NOW, .ramp_ms = 50000};
	/* 10 s each; in the middle of them the rate is 19, 37, 55, 73, 91 and 100. */
	static const unsigned expected[] = {190, 370, 550, 730, 910, 1000, 1000};
	struct member_pace pace = {0};

	(void)state;
	for (size_t i = 0; i < array_length(expected); i++) {
		unsigned count = 0;

		for (unsigned j = 0; j < 10000; j++) {
			uint64_t now_ms = NOW + i * 10000 + j;

			count += member_pace_book(&pace, &rate, now_ms, 0) == 0;
		}
		assert_in_range(count, expected[i] - 2, expected[i] + 12);
	}
}

/* A queue that is booked at the beginning of a slow start is paced by the time of each slot. */
static void test_a_queue_in_a_slow_start(void **state)
{
	struct member_rate rate = {.per_second = 100, .ramp_from_ms = NOW, .ramp_ms = 50000};
	struct member_pace pace = {0};
	unsigned count = 0;

	(void)state;
	assert_int_equal(member_pace_book(&pace, &rate, NOW, FOREVER), 0);
	assert_int_equal(member_pace_book(&pace, &rate, NOW, FOREVER), 100);
	while (member_pace_book(&pace, &rate, NOW, 50000) != MEMBER_PACE_FULL) {
		count++;
	}
	/* On average 55 a second. */
	assert_in_range(count, 2700, 2800);
}

static void test_slow_starts_of_all_sizes(void **state)
{
	static const struct {
		unsigned per_second;
		uint64_t ramp_ms;
		uint64_t second_ms; /* when the second may go */
	} cases[] = {
		{1, 60000, 10000},
		{2, 60000, 5000},
		{10, 60000, 1000},
		{10, 0, 100},
		{MEMBER_RATE_MAX, MEMBER_RAMP_MAX_MS, 0},
		{1, MEMBER_RAMP_MAX_MS, 10000},
		{1, 1, 10000}, /* booked at a tenth */
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct member_rate rate = {cases[i].per_second, NOW, cases[i].ramp_ms};
		struct member_pace pace = {0};

		assert_int_equal(member_pace_book(&pace, &rate, NOW, FOREVER), 0);
		assert_int_equal(member_pace_book(&pace, &rate, NOW, FOREVER), cases[i].second_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_a_pause_saves_no_more_than_a_burst),
		cmocka_unit_test(test_who_asks_first_goes_first),
		cmocka_unit_test(test_many_in_a_second),
		cmocka_unit_test(test_a_queue_is_full),
		cmocka_unit_test(test_no_queue_at_all),
		cmocka_unit_test(test_time_that_has_just_begun),
		cmocka_unit_test(test_the_last_may_be_given_back),
		cmocka_unit_test(test_none_is_given_back_twice),
		cmocka_unit_test(test_nothing_to_give_back),
		cmocka_unit_test(test_a_slow_start_is_linear),
		cmocka_unit_test(test_a_queue_in_a_slow_start),
		cmocka_unit_test(test_slow_starts_of_all_sizes),
	};

	return cmocka_run_group_tests_name("member_pace", tests, NULL, NULL);
}
