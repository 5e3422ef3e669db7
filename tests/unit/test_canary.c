/* SPDX-License-Identifier: Apache-2.0
 *
 * When a canary is over, and what none can do alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base.h"
#include "routing/canary.h"

#define NOW 5000000

static struct addr client(unsigned number)
{
	struct addr addr = {0};

	addr.family = AF_INET;
	addr.v4.sin_addr.s_addr = htonl(0x0A000000 + number);
	return addr;
}

/* Outcomes of `count` clients from number `first` on; true when it was over with one of them. */
static bool observe(struct canary *canary, bool at_canary, unsigned first, unsigned count,
		    bool failed, uint64_t now_ms)
{
	bool over = false;

	for (unsigned i = first; i < first + count; i++) {
		struct addr addr = client(i);

		over = canary_observe(canary, at_canary, &addr, failed, now_ms) || over;
	}
	return over;
}

struct scene {
	unsigned threshold;
	unsigned good_elsewhere;
	unsigned bad_elsewhere;
	unsigned good;
	unsigned bad; /* the last of them decides */
	bool over;
};

static void test_thresholds(void **state)
{
	static const struct scene scenes[] = {
		/* too few */
		{20, 100, 0, 0, 19, false},
		{20, 100, 0, 0, 20, true},
		{20, 100, 0, 9, 10, false},
		/* at the threshold, and one below: 20 of a hundred */
		{20, 100, 0, 80, 19, false},
		{20, 100, 0, 80, 20, true},
		{20, 100, 0, 81, 20, false},
		/* beyond what fails elsewhere: 30 of a hundred there, so 50 here */
		{20, 70, 30, 51, 50, false},
		{20, 70, 30, 50, 50, true},
		/* everything fails everywhere: it is not the canary */
		{20, 0, 100, 0, 100, false},
		{1, 0, 100, 0, 100, false},
		/* better than elsewhere */
		{1, 50, 50, 90, 10, false},
		/* at the ends of the range */
		{100, 100, 0, 0, 20, true},
		{100, 100, 0, 1, 1000, false},
		{100, 99, 1, 0, 1000, false},
		{1, 100, 0, 99, 1, true},
		{1, 100, 0, 100, 1, false},
		/* nobody elsewhere */
		{20, 0, 0, 80, 20, true},
		{20, 0, 0, 80, 19, false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(scenes); i++) {
		const struct scene *scene = &scenes[i];
		struct canary *canary = canary_new(scene->threshold);

		assert_non_null(canary);
		assert_false(observe(canary, false, 0, scene->good_elsewhere, false, NOW));
		assert_false(observe(canary, false, 10000, scene->bad_elsewhere, true, NOW));
		assert_false(observe(canary, true, 20000, scene->good, false, NOW));
		assert_false(observe(canary, true, 30000, scene->bad - 1, true, NOW));
		if (observe(canary, true, 40000, 1, true, NOW) != scene->over) {
			fail_msg("scene %zu", i);
		}
		canary_free(canary);
	}
}

static void test_one_client_alone(void **state)
{
	struct canary *canary = canary_new(1);

	(void)state;
	observe(canary, false, 0, 100, false, NOW);
	for (unsigned i = 0; i < 1000; i++) {
		struct addr addr;
		char text[ADDR_IP_TEXT_MAX];

		assert_false(observe(canary, true, 7, 1, true, NOW + i));
		assert_false(observe(canary, true, 7, 1, false, NOW + i));
		/* Many addresses of one /64 are one client. */
		snprintf(text, sizeof(text), "2001:db8::%x", i + 1);
		assert_true(addr_parse(&addr, text, 1));
		assert_false(canary_observe(canary, true, &addr, true, NOW + i));
	}
	canary_free(canary);
}

/* Ten clients with both outcomes are ten. */
static void test_clients_are_counted_once(void **state)
{
	struct canary *canary = canary_new(10);

	(void)state;
	observe(canary, false, 0, 100, false, NOW);
	assert_false(observe(canary, true, 0, 10, false, NOW));
	assert_false(observe(canary, true, 0, 10, true, NOW));
	assert_false(observe(canary, true, 10, 9, true, NOW + 1));
	assert_true(observe(canary, true, 19, 1, true, NOW + 1));
	canary_free(canary);
}

/* At the limit, and one past it. */
static void test_the_window(void **state)
{
	static const struct {
		uint64_t after_ms;
		bool over;
	} cases[] = {
		{CANARY_WINDOW_MS - 1, true},
		{CANARY_WINDOW_MS, false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct canary *canary = canary_new(20);

		assert_false(observe(canary, true, 0, 19, true, NOW));
		assert_int_equal(observe(canary, true, 19, 1, true, NOW + cases[i].after_ms),
				 cases[i].over);
		canary_free(canary);
	}
}

/* Of a client that is forgotten with one outcome, the other still counts. */
static void test_clients_leave_the_window(void **state)
{
	struct canary *canary = canary_new(50);
	uint64_t half_ms = CANARY_WINDOW_MS / 2;

	(void)state;
	assert_false(observe(canary, true, 0, 19, false, NOW));
	assert_false(observe(canary, true, 0, 19, true, NOW + half_ms));
	assert_false(observe(canary, true, 0, 19, true, NOW + CANARY_WINDOW_MS));
	assert_true(observe(canary, true, 19, 1, true, NOW + CANARY_WINDOW_MS));
	assert_false(observe(canary, true, 0, 19, true, NOW + 3 * CANARY_WINDOW_MS));
	canary_free(canary);
}

static void test_it_is_over_once(void **state)
{
	struct canary *canary = canary_new(20);

	(void)state;
	assert_true(observe(canary, true, 0, 20, true, NOW));
	/* All is forgotten: one that is tried again is judged anew. */
	assert_false(observe(canary, true, 20, 19, true, NOW + 1));
	assert_true(observe(canary, true, 39, 1, true, NOW + 1));
	canary_free(canary);
}

/* Of as many as fit, a quarter; the last one decides. */
static void test_as_many_as_fit(void **state)
{
	struct canary *canary = canary_new(25);
	unsigned bad = CANARY_CLIENTS_MAX / 4;

	(void)state;
	assert_false(observe(canary, true, 0, CANARY_CLIENTS_MAX - bad, false, NOW));
	assert_false(observe(canary, true, 10000, bad - 1, true, NOW));
	assert_true(observe(canary, true, 20000, 1, true, NOW));
	canary_free(canary);
}

/* What does not fit is not counted until the oldest is forgotten. */
static void test_more_than_fit(void **state)
{
	struct canary *canary = canary_new(25);
	unsigned bad = CANARY_CLIENTS_MAX / 4 - 1;

	(void)state;
	assert_false(observe(canary, true, 0, CANARY_CLIENTS_MAX - bad, false, NOW));
	assert_false(observe(canary, true, 10000, bad, true, NOW + 1));
	assert_false(observe(canary, true, 20000, 1000, true, NOW + 1));
	assert_true(observe(canary, true, 30000, 1, true, NOW + CANARY_WINDOW_MS));
	canary_free(canary);
}

/* A crowd elsewhere takes no place of the canary's. */
static void test_each_has_room_of_its_own(void **state)
{
	struct canary *canary = canary_new(20);

	(void)state;
	assert_false(observe(canary, false, 0, 3 * CANARY_CLIENTS_MAX, false, NOW));
	assert_true(observe(canary, true, 0, 20, true, NOW));
	canary_free(canary);
}

/* Round and round: the ring and its table stay in step. */
static void test_hours(void **state)
{
	struct canary *canary = canary_new(50);

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t now_ms = NOW + i * 20;
		struct addr addr = client(i * 7919 % 6000);

		assert_false(canary_observe(canary, i % 2 == 0, &addr, i % 3 == 0, now_ms));
	}
	assert_true(observe(canary, true, 0, CANARY_CLIENTS_MAX, true, NOW + 5000000));
	canary_free(canary);
}

static void test_nothing_to_free(void **state)
{
	(void)state;
	canary_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thresholds),
		cmocka_unit_test(test_one_client_alone),
		cmocka_unit_test(test_clients_are_counted_once),
		cmocka_unit_test(test_the_window),
		cmocka_unit_test(test_clients_leave_the_window),
		cmocka_unit_test(test_it_is_over_once),
		cmocka_unit_test(test_as_many_as_fit),
		cmocka_unit_test(test_more_than_fit),
		cmocka_unit_test(test_each_has_room_of_its_own),
		cmocka_unit_test(test_hours),
		cmocka_unit_test(test_nothing_to_free),
	};

	return cmocka_run_group_tests_name("canary", tests, NULL, NULL);
}
