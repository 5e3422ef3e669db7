/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines: their order, what callbacks may do to them, and that nothing spins. Deadlines lie in
 * the past wherever the clock need not be waited for, so that what is asserted is order, not speed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "net/timeouts.h"
#include "support/turns.h"

#define LISTS 12

struct item {
	struct timeout timeout;
	char name;
	unsigned expired;
	struct item *removes;
	struct item *adds; /* to `list`, with `deadline_ms` */
	struct timeout_list *list;
	uint64_t deadline_ms;
	unsigned adds_left;
};

static struct ev_loop *loop;
static struct timeouts timeouts;
static struct timeout_list lists[LISTS];
static char order[256];
static unsigned expiries;

static void on_expired(struct timeout *timeout)
{
	struct item *item = container_of(timeout, struct item, timeout);

	assert_false(timeout_is_waiting(timeout));
	assert_true(strlen(order) + 1 < sizeof(order));
	order[strlen(order)] = item->name;
	expiries++;
	item->expired++;
	if (item->removes != NULL) {
		timeout_remove(&item->removes->timeout);
	}
	if (item->adds_left > 0) {
		item->adds_left--;
		timeout_remove(&item->adds->timeout);
		timeout_add(item->list, &item->adds->timeout, item->deadline_ms);
	}
}

static int begin(void **state)
{
	(void)state;
	loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	timeouts_init(&timeouts, loop);
	for (size_t i = 0; i < LISTS; i++) {
		timeout_list_init(&lists[i], &timeouts, on_expired);
	}
	memset(order, 0, sizeof(order));
	expiries = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (size_t i = 0; i < LISTS; i++) {
		assert_null(lists[i].head);
		assert_null(lists[i].tail);
		assert_int_equal(lists[i].count, 0);
		timeout_list_done(&lists[i]);
	}
	timeouts_done(&timeouts);
	ev_loop_destroy(loop);
	return 0;
}

/* The list is whole in both directions, ordered, and counts right. */
static void check_list(const struct timeout_list *list)
{
	const struct timeout *previous = NULL;
	unsigned count = 0;

	for (const struct timeout *timeout = list->head; timeout != NULL; timeout = timeout->next) {
		assert_ptr_equal(timeout->previous, previous);
		assert_ptr_equal(timeout->list, list);
		if (previous != NULL) {
			assert_true(previous->deadline_ms <= timeout->deadline_ms);
		}
		previous = timeout;
		count++;
	}
	assert_ptr_equal(list->tail, previous);
	assert_int_equal(list->count, count);
}

static void add_row(struct item *items, const char *names, const int *deadlines)
{
	for (size_t i = 0; names[i] != '\0'; i++) {
		items[i].name = names[i];
		timeout_add(&lists[0], &items[i].timeout, (uint64_t)(1000 + deadlines[i]));
		check_list(&lists[0]);
	}
}

static void test_order(void **state)
{
	static const struct {
		const char *names;
		int deadlines[6];
		const char *order;
	} rows[] = {
		{"a", {1}, "a"},
		{"abc", {1, 2, 3}, "abc"},
		{"abc", {3, 2, 1}, "cba"},
		{"abc", {1, 3, 2}, "acb"},      /* in the middle */
		{"abcd", {5, 5, 5, 5}, "abcd"}, /* equal: first come, first served */
		{"abcd", {5, 7, 5, 6}, "acdb"},
		{"abcdef", {6, 1, 5, 2, 4, 3}, "bdfeca"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct item items[6] = {0};

		memset(order, 0, sizeof(order));
		add_row(items, rows[i].names, rows[i].deadlines);
		turns_until_count(loop, &expiries, expiries + (unsigned)strlen(rows[i].names));
		assert_string_equal(order, rows[i].order);
		check_list(&lists[0]);
	}
}

static void test_removal(void **state)
{
	static const int deadlines[] = {1, 2, 3, 4, 5};

	(void)state;
	for (size_t gone = 0; gone < 5; gone++) {
		struct item items[5] = {0};

		memset(order, 0, sizeof(order));
		add_row(items, "abcde", deadlines);
		timeout_remove(&items[gone].timeout);
		assert_false(timeout_is_waiting(&items[gone].timeout));
		timeout_remove(&items[gone].timeout); /* nothing happens */
		check_list(&lists[0]);
		turns_until_count(loop, &expiries, expiries + 4);
		assert_null(strchr(order, "abcde"[gone]));
		assert_int_equal(strlen(order), 4);
	}
}

static void test_removal_from_callback(void **state)
{
	static const int deadlines[] = {1, 2, 3, 4};
	struct item items[4] = {0};

	(void)state;
	items[0].removes = &items[1]; /* the next of the list */
	items[2].removes = &items[2]; /* itself, which is off the list already */
	items[3].removes = &items[0]; /* one that has been */
	add_row(items, "abcd", deadlines);
	turns_until_count(loop, &expiries, 3);
	turns_for(loop, 5);
	assert_string_equal(order, "acd");
	assert_int_equal(lists[0].count, 0);
}

/* The callback empties every list, also those that have not had their turn. */
static void test_removal_of_all(void **state)
{
	struct item items[LISTS] = {0};
	struct item *first;

	(void)state;
	for (size_t i = 0; i < LISTS; i++) {
		items[i].name = (char)('a' + i);
		items[i].removes = &items[(i + 1) % LISTS];
		timeout_add(&lists[i], &items[i].timeout, 1000);
	}
	turns_until_count(loop, &expiries, LISTS / 2);
	turns_for(loop, 5);
	first = &items[order[0] - 'a'];
	assert_int_equal(first->expired, 1);
	assert_int_equal(first->removes->expired, 0);
	for (size_t i = 0; i < LISTS; i++) {
		assert_int_equal(lists[i].count, 0);
	}
}

static void test_again_later(void **state)
{
	struct item item = {.name = 'a', .adds = &item, .list = &lists[3], .adds_left = 3};

	(void)state;
	item.deadline_ms = timeouts_now_ms() + 1;
	timeout_add(&lists[0], &item.timeout, 1000);
	turns_until_count(loop, &expiries, 4);
	assert_string_equal(order, "aaaa");
	assert_true(timeouts_now_ms() >= item.deadline_ms);
}

static void count_turn(struct ev_loop *turning, struct ev_prepare *watcher, int events)
{
	(void)turning;
	(void)events;
	++*(unsigned *)watcher->data;
}

/* A callback that always asks for a time that has been is called again, turn after turn, and keeps
 * nothing else from its turn. */
static void test_again_at_once(void **state)
{
	struct item item = {.name = 'a', .adds = &item, .list = &lists[0], .adds_left = 100};
	struct ev_prepare prepare;
	unsigned turns = 0;

	(void)state;
	item.deadline_ms = 1000;
	ev_prepare_init(&prepare, count_turn);
	prepare.data = &turns;
	ev_prepare_start(loop, &prepare);
	timeout_add(&lists[0], &item.timeout, 1000);
	turns_until_count(loop, &expiries, 101);
	ev_prepare_stop(loop, &prepare);
	assert_true(turns >= 100);
}

static void test_never(void **state)
{
	struct item never = {.name = 'n'};
	struct item soon = {.name = 's'};
	struct item next = {.name = 't', .adds = &next, .list = &lists[0], .adds_left = 1};

	(void)state;
	next.deadline_ms = TIMEOUT_NEVER;
	timeout_add(&lists[0], &never.timeout, TIMEOUT_NEVER);
	assert_true(timeout_is_waiting(&never.timeout));
	assert_int_equal(lists[0].count, 1);
	/* Waiting for ever takes no timer: the loop has nothing to wait for. */
	assert_false(ev_is_active(&timeouts.timer));
	ev_run(loop, 0);
	timeout_add(&lists[0], &soon.timeout, 1000); /* goes before it */
	timeout_add(&lists[0], &next.timeout, 1001);
	check_list(&lists[0]);
	turns_until_count(loop, &expiries, 2);
	assert_string_equal(order, "st");
	assert_int_equal(lists[0].count, 2);
	ev_run(loop, 0);
	assert_int_equal(expiries, 2);
	timeout_remove(&next.timeout);
	timeout_remove(&never.timeout);
}

static bool is_over(const void *deadline_ms)
{
	return timeouts_now_ms() > *(const uint64_t *)deadline_ms;
}

/* Nothing is told before its time, whatever the loop believes the time to be. */
static void test_not_too_early(void **state)
{
	struct item item = {.name = 'a'};
	uint64_t deadline_ms;

	(void)state;
	for (int i = 0; i < 10; i++) {
		usleep(3000); /* the loop's own idea of now is old */
		deadline_ms = timeouts_now_ms() + 5;
		timeout_add(&lists[0], &item.timeout, deadline_ms);
		turns_until_count(loop, &expiries, (unsigned)i + 1);
		assert_true(timeouts_now_ms() >= deadline_ms);
	}
}

/* A deadline that is a while ahead costs a few turns, not thousands; neither does one that was
 * taken back, which leaves the timer to fire once for nothing. */
static void test_no_spinning(void **state)
{
	struct item far = {.name = 'f'};
	struct item taken_back = {.name = 't'};
	struct ev_prepare prepare;
	unsigned turns = 0;
	uint64_t deadline_ms = timeouts_now_ms() + 150;

	(void)state;
	ev_prepare_init(&prepare, count_turn);
	prepare.data = &turns;
	ev_prepare_start(loop, &prepare);
	timeout_add(&lists[0], &taken_back.timeout, deadline_ms - 100);
	timeout_add(&lists[1], &far.timeout, deadline_ms);
	timeout_remove(&taken_back.timeout);
	turns_until_count(loop, &expiries, 1);
	assert_true(is_over(&(uint64_t){deadline_ms - 1}));
	ev_prepare_stop(loop, &prepare);
	assert_string_equal(order, "f");
	assert_true(turns >= 1 && turns < 20);
	assert_false(ev_is_active(&timeouts.timer));
}

/* The earliest of all lists decides, whichever list it is in and however they were filled. */
static void test_many_lists(void **state)
{
	struct item items[LISTS] = {0};
	uint64_t now_ms = timeouts_now_ms();

	(void)state;
	for (size_t i = 0; i < LISTS; i++) {
		size_t at = i * 5 % LISTS;

		items[at].name = (char)('a' + at);
		timeout_add(&lists[at], &items[at].timeout, now_ms + 10 * at);
	}
	turns_until_count(loop, &expiries, LISTS);
	assert_int_equal(strlen(order), LISTS);
	for (size_t i = 0; i < LISTS; i++) {
		assert_int_equal(items[i].expired, 1);
	}
}

/* Random adding and removing against a naive model. */
static void test_against_model(void **state)
{
	static struct item items[64];
	unsigned seed = 20240117;

	(void)state;
	memset(items, 0, sizeof(items));
	for (int i = 0; i < 20000; i++) {
		struct item *item = &items[(unsigned)rand_r(&seed) % array_length(items)];
		uint64_t far_ms = timeouts_now_ms() + 1000000;

		if (timeout_is_waiting(&item->timeout)) {
			timeout_remove(&item->timeout);
		} else {
			timeout_add(&lists[(unsigned)rand_r(&seed) % 3], &item->timeout,
				    far_ms + (unsigned)rand_r(&seed) % 8);
		}
		check_list(&lists[i % 3]);
	}
	assert_int_equal(expiries, 0);
	for (size_t i = 0; i < array_length(items); i++) {
		timeout_remove(&items[i].timeout);
	}
}

static void on_other(struct ev_loop *other_loop, struct ev_prepare *watcher, int events)
{
	(void)other_loop;
	(void)watcher;
	(void)events;
	strcat(order, "|");
}

/* Thousands that are due at once do not keep others waiting; they are told without a pause, and
 * lists do not wait for each other. */
static void test_so_many_a_turn(void **state)
{
	struct item items[2 * TIMEOUT_TURN_MAX + 2] = {0};
	struct ev_prepare others;
	char expected[array_length(items) + 8] = "";

	(void)state;
	for (size_t i = 0; i < array_length(items); i++) {
		items[i].name = i == 0 ? 'b' : 'a';
		timeout_add(&lists[i == 0 ? 0 : 1], &items[i].timeout, 1);
	}
	for (size_t i = 0; i < array_length(items) - 1; i++) {
		strcat(expected, i % TIMEOUT_TURN_MAX == 0 ? "|a" : "a");
		strcat(expected, i == TIMEOUT_TURN_MAX - 1 ? "b" : "");
	}
	ev_prepare_init(&others, on_other);
	ev_prepare_start(loop, &others);
	turns_until_count(loop, &expiries, array_length(items));
	ev_prepare_stop(loop, &others);
	assert_string_equal(order, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, begin, end),
		cmocka_unit_test_setup_teardown(test_removal, begin, end),
		cmocka_unit_test_setup_teardown(test_removal_from_callback, begin, end),
		cmocka_unit_test_setup_teardown(test_removal_of_all, begin, end),
		cmocka_unit_test_setup_teardown(test_again_later, begin, end),
		cmocka_unit_test_setup_teardown(test_again_at_once, begin, end),
		cmocka_unit_test_setup_teardown(test_never, begin, end),
		cmocka_unit_test_setup_teardown(test_not_too_early, begin, end),
		cmocka_unit_test_setup_teardown(test_no_spinning, begin, end),
		cmocka_unit_test_setup_teardown(test_many_lists, begin, end),
		cmocka_unit_test_setup_teardown(test_against_model, begin, end),
		cmocka_unit_test_setup_teardown(test_so_many_a_turn, begin, end),
	};

	return cmocka_run_group_tests_name("timeouts", tests, NULL, NULL);
}
