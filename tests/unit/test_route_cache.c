/* SPDX-License-Identifier: Apache-2.0
 *
 * Cached routes: how long they count, who is forgotten, texts that exist once, beside a naive
 * model, and without memory.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/route_cache_internal.h"
#include "base/base.h"
#include "core/config.h"

#define FRESH_MS   1000
#define UNKNOWN_MS 100
#define STALE_MS   5000
#define EPOCH      7

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* Allocations that still succeed; -1: all. */
static int left = -1;

static bool fails(void)
{
	if (left > 0) {
		left--;
		return false;
	}
	return left == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

static const struct hash_key key = {{1, 2}};
static struct route_texts texts;
static struct route_cache cache;

static void begin(size_t routes_max)
{
	const struct route_cache_limits limits = {.routes_max = routes_max,
						  .fresh_ms = FRESH_MS,
						  .unknown_ms = UNKNOWN_MS,
						  .stale_ms = STALE_MS};

	route_texts_init(&texts, &key);
	route_cache_init(&cache, &limits, &key, &texts);
}

static void end(void)
{
	route_cache_done(&cache);
	assert_int_equal(route_cache_count(&cache), 0);
	route_texts_done(&texts);
}

static struct route_moment at(uint64_t now_ms)
{
	return (struct route_moment){.now_ms = now_ms, .epoch = EPOCH};
}

/* "" is "no such user". */
static bool put(const char *user, const char *route, uint64_t now_ms)
{
	struct route_text *text =
		route[0] != '\0' ? route_text_make(&texts, route, strlen(route)) : NULL;
	struct route_moment moment = at(now_ms);
	bool done =
		(text != NULL || route[0] == '\0') && route_cache_put(&cache, user, text, &moment);

	route_text_unref(&texts, text);
	return done;
}

static void expect_at(const char *user, struct route_moment moment, enum route_freshness freshness,
		      const char *route)
{
	struct route_text *text = NULL;

	assert_int_equal(route_cache_find(&cache, user, &moment, &text), freshness);
	if (route[0] == '\0') {
		assert_null(text);
	} else {
		assert_non_null(text);
		assert_int_equal(text->length, strlen(route));
		assert_memory_equal(text->bytes, route, strlen(route));
	}
}

static void expect(const char *user, uint64_t now_ms, enum route_freshness freshness,
		   const char *route)
{
	expect_at(user, at(now_ms), freshness, route);
}

/* --- What counts, and how long -------------------------------------------------------------- */

static void test_ages(void **state)
{
	static const struct {
		const char *route; /* learnt at 10000 */
		uint64_t now_ms;
		int gaps;
		enum route_freshness freshness;
	} rows[] = {
		{"mail1", 10000, 0, ROUTE_FRESH},
		{"mail1", 10000 + FRESH_MS - 1, 0, ROUTE_FRESH},
		{"mail1", 10000 + FRESH_MS, 0, ROUTE_STALE},
		{"mail1", 10000 + STALE_MS - 1, 0, ROUTE_STALE},
		{"mail1", 10000 + STALE_MS, 0, ROUTE_NOT_CACHED},
		{"mail1", 10000, 1, ROUTE_STALE},
		{"mail1", 10000 + STALE_MS - 1, 1, ROUTE_STALE},
		{"mail1", 10000 + STALE_MS, 1, ROUTE_NOT_CACHED},
		{"mail1", 10000, -1, ROUTE_STALE},
		{"", 10000, 0, ROUTE_FRESH},
		{"", 10000 + UNKNOWN_MS - 1, 0, ROUTE_FRESH},
		{"", 10000 + UNKNOWN_MS, 0, ROUTE_NOT_CACHED},
		{"", 10000, 1, ROUTE_NOT_CACHED},
		/* Another thread's clock runs behind. */
		{"mail1", 9990, 0, ROUTE_FRESH},
		{"mail1", 0, 0, ROUTE_FRESH},
		{"mail1", 9990, 1, ROUTE_STALE},
		{"", 9990, 0, ROUTE_FRESH},
		/* Weeks later. */
		{"mail1", 10000 + (1ULL << 32), 0, ROUTE_NOT_CACHED},
		{"mail1", 10000 + (1ULL << 40), 0, ROUTE_NOT_CACHED},
		{"", 10000 + (1ULL << 32), 0, ROUTE_NOT_CACHED},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct route_moment moment = at(rows[i].now_ms);
		bool told = rows[i].freshness != ROUTE_NOT_CACHED;

		begin(10);
		assert_true(put("alice", rows[i].route, 10000));
		moment.epoch += (unsigned)rows[i].gaps;
		expect_at("alice", moment, rows[i].freshness, told ? rows[i].route : "");
		/* What cannot be told any more is forgotten. */
		assert_int_equal(route_cache_count(&cache), told ? 1 : 0);
		end();
	}
}

static void test_clock_of_weeks(void **state)
{
	const uint64_t late_ms = (1ULL << 42) + 5;

	(void)state;
	begin(10);
	assert_true(put("alice", "mail1", late_ms));
	expect("alice", late_ms + FRESH_MS - 1, ROUTE_FRESH, "mail1");
	expect("alice", late_ms + FRESH_MS, ROUTE_STALE, "mail1");
	end();
}

static void test_replaced(void **state)
{
	(void)state;
	begin(10);
	expect("alice", 0, ROUTE_NOT_CACHED, "");
	assert_true(put("alice", "mail1", 0));
	assert_true(put("alicf", "mail2", 0));
	assert_true(put("alic", "", 0));
	expect("alice", 0, ROUTE_FRESH, "mail1");
	expect("alicf", 0, ROUTE_FRESH, "mail2");
	expect("alic", 0, ROUTE_FRESH, "");
	expect("alicea", 0, ROUTE_NOT_CACHED, "");
	expect("", 0, ROUTE_NOT_CACHED, "");
	assert_int_equal(route_cache_count(&cache), 3);
	assert_true(put("alice", "mail2", 900));
	expect("alice", 900 + FRESH_MS - 1, ROUTE_FRESH, "mail2");
	assert_true(put("alice", "", 2000));
	expect("alice", 2000, ROUTE_FRESH, "");
	assert_true(put("alice", "mail1", 3000));
	expect("alice", 3000, ROUTE_FRESH, "mail1");
	assert_int_equal(route_cache_count(&cache), 3);
	end();
}

static void test_drop(void **state)
{
	(void)state;
	begin(10);
	assert_false(route_cache_drop(&cache, "alice"));
	assert_true(put("alice", "mail1", 0));
	assert_true(put("bob", "", 0));
	assert_true(route_cache_drop(&cache, "alice"));
	assert_false(route_cache_drop(&cache, "alice"));
	expect("alice", 0, ROUTE_NOT_CACHED, "");
	expect("bob", 0, ROUTE_FRESH, "");
	assert_true(route_cache_drop(&cache, "bob"));
	assert_int_equal(route_cache_count(&cache), 0);
	end();
}

/* --- Bounds --------------------------------------------------------------------------------- */

static void test_bound(void **state)
{
	(void)state;
	begin(3);
	assert_true(put("a", "mail1", 0));
	assert_true(put("b", "mail1", 0));
	assert_true(put("c", "mail1", 0));
	assert_int_equal(route_cache_count(&cache), 3);
	assert_true(put("d", "mail1", 0));
	assert_int_equal(route_cache_count(&cache), 3);
	expect("a", 0, ROUTE_NOT_CACHED, "");
	/* Found and learnt anew make young. */
	expect("b", 0, ROUTE_FRESH, "mail1");
	assert_true(put("c", "mail2", 0));
	assert_true(put("e", "", 0));
	expect("d", 0, ROUTE_NOT_CACHED, "");
	assert_true(put("f", "mail1", 0));
	expect("b", 0, ROUTE_NOT_CACHED, "");
	expect("c", 0, ROUTE_FRESH, "mail2");
	expect("e", 0, ROUTE_FRESH, "");
	expect("f", 0, ROUTE_FRESH, "mail1");
	end();
}

static void test_bound_of_one_and_none(void **state)
{
	(void)state;
	begin(1);
	assert_true(put("a", "mail1", 0));
	assert_true(put("b", "mail2", 0));
	expect("a", 0, ROUTE_NOT_CACHED, "");
	expect("b", 0, ROUTE_FRESH, "mail2");
	end();
	begin(0);
	assert_true(put("a", "mail1", 0));
	expect("a", 0, ROUTE_NOT_CACHED, "");
	assert_false(route_cache_drop(&cache, "a"));
	assert_int_equal(route_cache_count(&cache), 0);
	end();
}

/* Users of every length that there is. */
static void test_lengths(void **state)
{
	char user[CONFIG_USER_MAX + 1];
	char route[16];

	(void)state;
	begin(CONFIG_USER_MAX);
	for (size_t length = 1; length <= CONFIG_USER_MAX; length++) {
		memset(user, 'u', length);
		user[length] = '\0';
		snprintf(route, sizeof(route), "mail%zu", length);
		assert_true(put(user, route, 0));
	}
	for (size_t length = 1; length <= CONFIG_USER_MAX; length++) {
		user[length] = '\0';
		snprintf(route, sizeof(route), "mail%zu", length);
		expect(user, 0, ROUTE_FRESH, route);
		user[length] = 'u';
	}
	end();
}

/* --- Beside a naive model ------------------------------------------------------------------- */

#define USERS  400
#define BOUND  150
#define ROUTES 5

/* struct model keeps the same by looking at everybody. */
static struct {
	bool known;
	unsigned route; /* 0: no such user */
	uint64_t learnt_ms;
	uint32_t epoch;
	uint64_t touched; /* number of the step */
} model[USERS];

static void model_touch(unsigned user, uint64_t step)
{
	unsigned count = 0;
	unsigned oldest = USERS;

	model[user].touched = step;
	for (unsigned i = 0; i < USERS; i++) {
		count += model[i].known ? 1 : 0;
		if (model[i].known &&
		    (oldest == USERS || model[i].touched < model[oldest].touched)) {
			oldest = i;
		}
	}
	if (count > BOUND) {
		model[oldest].known = false;
	}
}

static enum route_freshness model_judge(unsigned user, const struct route_moment *moment)
{
	uint64_t age_ms = moment->now_ms - model[user].learnt_ms;
	bool fresh = model[user].epoch == moment->epoch &&
		     age_ms < (model[user].route > 0 ? FRESH_MS : UNKNOWN_MS);

	if (!model[user].known) {
		return ROUTE_NOT_CACHED;
	}
	if (!fresh && (model[user].route == 0 || age_ms >= STALE_MS)) {
		model[user].known = false;
		return ROUTE_NOT_CACHED;
	}
	return fresh ? ROUTE_FRESH : ROUTE_STALE;
}

static void model_find(unsigned number, const char *user, const struct route_moment *moment,
		       uint64_t step)
{
	enum route_freshness freshness = model_judge(number, moment);
	char route[16] = "";

	if (freshness != ROUTE_NOT_CACHED) {
		model_touch(number, step);
		if (model[number].route > 0) {
			snprintf(route, sizeof(route), "mail%u", model[number].route);
		}
	}
	expect_at(user, *moment, freshness, route);
}

static void model_put(unsigned number, const char *user, unsigned route,
		      const struct route_moment *moment, uint64_t step)
{
	char words[16] = "";
	struct route_text *text = NULL;

	if (route > 0) {
		snprintf(words, sizeof(words), "mail%u", route);
		text = route_text_make(&texts, words, strlen(words));
		assert_non_null(text);
	}
	assert_true(route_cache_put(&cache, user, text, moment));
	route_text_unref(&texts, text);
	model[number].known = true;
	model[number].route = route;
	model[number].learnt_ms = moment->now_ms;
	model[number].epoch = moment->epoch;
	model_touch(number, step);
}

static void test_model(void **state)
{
	struct route_moment moment = at(1000000);
	unsigned seed = 1;
	unsigned count = 0;

	(void)state;
	begin(BOUND);
	for (uint64_t step = 1; step < 100000; step++) {
		/* Some are asked for more often than others. */
		unsigned number = (unsigned)rand_r(&seed) % (step % 3 == 0 ? USERS : USERS / 4);
		char user[32];

		snprintf(user, sizeof(user), "user.%u@example.org", number);
		moment.now_ms += (unsigned)rand_r(&seed) % 20;
		moment.epoch += rand_r(&seed) % 500 == 0 ? 1 : 0;
		switch (rand_r(&seed) % 8) {
		case 0:
			assert_int_equal(route_cache_drop(&cache, user), model[number].known);
			model[number].known = false;
			break;
		case 1:
		case 2:
		case 3:
			model_put(number, user, (unsigned)rand_r(&seed) % (ROUTES + 1), &moment,
				  step);
			break;
		default:
			model_find(number, user, &moment, step);
		}
		assert_in_range(texts.table.count, 0, ROUTES);
	}
	for (unsigned i = 0; i < USERS; i++) {
		count += model[i].known ? 1 : 0;
	}
	assert_int_equal(route_cache_count(&cache), count);
	end();
}

/* --- Texts ---------------------------------------------------------------------------------- */

static void test_texts(void **state)
{
	struct route_text *one;
	struct route_text *two;
	struct route_text *other;

	(void)state;
	route_texts_init(&texts, &key);
	one = route_text_make(&texts, "mail1", 5);
	two = route_text_make(&texts, "mail1", 5);
	other = route_text_make(&texts, "mail1\0", 6);
	assert_ptr_equal(one, two);
	assert_ptr_not_equal(one, other);
	assert_int_equal(other->length, 6);
	assert_int_equal(texts.table.count, 2);
	assert_ptr_equal(route_text_ref(one), one);
	assert_null(route_text_ref(NULL));
	route_text_unref(&texts, NULL);
	route_text_unref(&texts, one);
	route_text_unref(&texts, one);
	assert_int_equal(texts.table.count, 2);
	route_text_unref(&texts, one);
	assert_int_equal(texts.table.count, 1);
	route_text_unref(&texts, other);
	one = route_text_make(&texts, "", 0);
	assert_int_equal(one->length, 0);
	route_text_unref(&texts, one);
	route_texts_done(&texts);
}

/* A text that is too long to be a route stays one that is. */
static void test_long_text(void **state)
{
	static char bytes[ROUTE_TEXT_MAX + 2];
	struct route_text *lengths[3];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	route_texts_init(&texts, &key);
	for (size_t i = 0; i < array_length(lengths); i++) {
		lengths[i] = route_text_make(&texts, bytes, ROUTE_VALUE_MAX + i);
		assert_non_null(lengths[i]);
	}
	assert_int_equal(lengths[0]->length, ROUTE_VALUE_MAX);
	assert_int_equal(lengths[1]->length, ROUTE_TEXT_MAX);
	assert_ptr_equal(lengths[1], lengths[2]);
	for (size_t i = 0; i < array_length(lengths); i++) {
		route_text_unref(&texts, lengths[i]);
	}
	route_texts_done(&texts);
}

/* The cache has references of its own, and gives all of them back. */
static void test_references(void **state)
{
	(void)state;
	begin(2);
	assert_true(put("a", "mail1", 0));
	assert_true(put("b", "mail2", 0));
	assert_int_equal(texts.table.count, 2);
	assert_true(put("a", "mail2", 0));
	assert_int_equal(texts.table.count, 1);
	assert_true(put("a", "mail2", 0));
	assert_true(put("c", "mail3", 0)); /* b is forgotten */
	assert_int_equal(texts.table.count, 2);
	assert_true(route_cache_drop(&cache, "c"));
	assert_int_equal(texts.table.count, 1);
	expect("a", STALE_MS, ROUTE_NOT_CACHED, "");
	assert_int_equal(texts.table.count, 0);
	assert_true(put("d", "mail4", 0));
	end();
}

#define THREADS 4
#define ROUNDS  20000

/* Every thread makes, shares and releases the same few texts, each of them to nothing as often as
 * it can. */
static void *share(void *argument)
{
	unsigned seed = *(unsigned *)argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		const char *words = rand_r(&seed) % 2 == 0 ? "mail1" : "mail2";
		struct route_text *text = route_text_make(&texts, words, strlen(words));

		if (text == NULL || memcmp(text->bytes, words, text->length) != 0) {
			return NULL;
		}
		if (rand_r(&seed) % 2 == 0) {
			route_text_ref(text);
			route_text_unref(&texts, text);
		}
		route_text_unref(&texts, text);
	}
	return argument;
}

static void test_threads(void **state)
{
	unsigned seeds[THREADS];
	pthread_t threads[THREADS];
	void *result;

	(void)state;
	route_texts_init(&texts, &key);
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, share, &seeds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &seeds[i]);
	}
	assert_int_equal(texts.table.count, 0);
	route_texts_done(&texts);
}

/* --- Memory --------------------------------------------------------------------------------- */

/* The n-th allocation and all after it fail, for every n: what is told to have been kept is there,
 * and the rest is as if it had not been learnt. */
static void test_out_of_memory(void **state)
{
	static const char *const users[] = {"a", "b", "c", "d"};
	bool done = false;

	(void)state;
	for (int n = 0; !done; n++) {
		bool kept[array_length(users)];

		begin(3);
		left = n;
		done = true;
		for (size_t i = 0; i < array_length(users); i++) {
			kept[i] = put(users[i], i % 2 == 0 ? "mail1" : "mail2", 0);
			done = done && kept[i];
		}
		left = -1;
		/* Of four, the last three stay. */
		kept[0] = kept[0] && !done;
		for (size_t i = 0; i < array_length(users); i++) {
			expect(users[i], 0, kept[i] ? ROUTE_FRESH : ROUTE_NOT_CACHED,
			       !kept[i]     ? ""
			       : i % 2 == 0 ? "mail1"
					    : "mail2");
		}
		assert_true(put("e", "mail3", 0));
		expect("e", 0, ROUTE_FRESH, "mail3");
		end();
		assert_in_range(n, 0, 20);
	}
}

/* What is known of a user is replaced without memory, and looking costs none. */
static void test_replaced_without_memory(void **state)
{
	struct route_moment moment = at(0);

	(void)state;
	begin(3);
	assert_true(put("a", "mail1", 0));
	assert_true(put("b", "mail2", 0));
	left = 0;
	assert_true(put("a", "mail2", 0));
	expect("a", 0, ROUTE_FRESH, "mail2");
	assert_true(route_cache_put(&cache, "b", NULL, &moment));
	expect("b", 0, ROUTE_FRESH, "");
	assert_false(route_cache_put(&cache, "c", NULL, &moment));
	assert_true(route_cache_drop(&cache, "a"));
	left = -1;
	assert_int_equal(route_cache_count(&cache), 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_clock_of_weeks),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_one_and_none),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_replaced_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
