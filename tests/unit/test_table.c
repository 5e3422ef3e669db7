/* SPDX-License-Identifier: Apache-2.0
 *
 * The table beside a naive one: what was put in is found, at every size, and nothing else; also
 * when all hashes are equal, and when it cannot grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/hash.h"
#include "base/table.h"

#define ITEMS 5000

struct item {
	struct table_link link;
	uint32_t number;
	bool in;
};

static struct item items[ITEMS];
static struct table table;

static uint64_t hash_of_number(uint32_t number)
{
	return hash_bytes(&HASH_KEY_OF_FLEET, &number, sizeof(number));
}

static uint64_t scattered(const struct table *of, const struct table_link *link)
{
	(void)of;
	return hash_of_number(container_of(link, struct item, link)->number);
}

static uint64_t all_equal(const struct table *of, const struct table_link *link)
{
	(void)of;
	(void)link;
	return UINT64_MAX;
}

/* Neighbours differ in the highest bits only, or in the lowest that are looked at. */
static uint64_t high_bits(const struct table *of, const struct table_link *link)
{
	(void)of;
	return (uint64_t)container_of(link, struct item, link)->number << 52;
}

static uint64_t low_bits(const struct table *of, const struct table_link *link)
{
	(void)of;
	return (uint64_t)container_of(link, struct item, link)->number << 32;
}

static bool is_found(uint32_t number)
{
	const struct table_link *wanted = &items[number].link;
	unsigned times = 0;

	for (struct table_link *link = table_chain(&table, table.hash(&table, wanted));
	     link != NULL; link = link->next) {
		times += link == wanted ? 1 : 0;
	}
	assert_in_range(times, 0, 1);
	return times == 1;
}

static void begin(table_hash_t *hash)
{
	table = (struct table){.hash = hash};
	for (uint32_t i = 0; i < ITEMS; i++) {
		items[i] = (struct item){.number = i};
	}
}

static void expect_all(uint32_t count)
{
	uint32_t in = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(is_found(i), items[i].in);
		in += items[i].in ? 1 : 0;
	}
	assert_int_equal(table.count, in);
}

static void add(uint32_t number)
{
	struct table_link *link = &items[number].link;

	assert_true(table_add(&table, link, table.hash(&table, link)));
	items[number].in = true;
}

static void drop(uint32_t number)
{
	struct table_link *link = &items[number].link;

	table_remove(&table, link, table.hash(&table, link));
	items[number].in = false;
}

static void drop_all(void)
{
	for (uint32_t number = 0; number < ITEMS; number++) {
		if (items[number].in) {
			drop(number);
		}
	}
	expect_all(ITEMS);
	assert_int_equal(table.count, 0);
}

static void test_empty(void **state)
{
	(void)state;
	begin(scattered);
	expect_all(ITEMS);
	table_done(&table);
	table_done(&table);
}

/* At every size, all that went in is there. */
static void test_growth(void **state)
{
	static table_hash_t *const hashes[] = {scattered, all_equal, high_bits, low_bits};

	(void)state;
	for (size_t i = 0; i < array_length(hashes); i++) {
		begin(hashes[i]);
		for (uint32_t number = 0; number < 300; number++) {
			add(number);
			expect_all(301);
		}
		for (uint32_t number = 0; number < 300; number++) {
			drop(number);
			expect_all(301);
		}
		table_done(&table);
	}
}

/* A bucket for each item, and chains stay short. */
static void test_chains(void **state)
{
	unsigned longest = 0;

	(void)state;
	begin(scattered);
	for (uint32_t number = 0; number < ITEMS; number++) {
		add(number);
	}
	assert_int_equal(table.bucket_count, ITEMS);
	for (uint32_t number = 0; number < ITEMS; number++) {
		unsigned length = 0;

		for (struct table_link *link = table_chain(&table, hash_of_number(number));
		     link != NULL; link = link->next) {
			length++;
		}
		longest = length > longest ? length : longest;
	}
	assert_in_range(longest, 1, 12);
	expect_all(ITEMS);
	drop_all();
	table_done(&table);
}

static void test_random(void **state)
{
	unsigned seed = 1;

	(void)state;
	begin(scattered);
	for (unsigned step = 0; step < 200000; step++) {
		/* It swells and shrinks. */
		bool swells = step / 20000 % 2 == 0;
		uint32_t number = (uint32_t)rand_r(&seed) % ITEMS;

		assert_int_equal(is_found(number), items[number].in);
		if (!items[number].in && (swells || rand_r(&seed) % 4 == 0)) {
			add(number);
		} else if (items[number].in && (!swells || rand_r(&seed) % 4 == 0)) {
			drop(number);
		}
		if (step % 10000 == 0) {
			expect_all(ITEMS);
		}
	}
	expect_all(ITEMS);
	drop_all();
	add(7);
	expect_all(ITEMS);
	table_done(&table);
}

/* --- Memory --------------------------------------------------------------------------------- */

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool failing;

void *__wrap_calloc(size_t count, size_t size)
{
	return failing ? NULL : __real_calloc(count, size);
}

static void test_out_of_memory(void **state)
{
	(void)state;
	begin(scattered);
	failing = true;
	assert_false(table_add(&table, &items[0].link, hash_of_number(0)));
	expect_all(ITEMS);
	failing = false;
	add(0);
	failing = true;
	for (uint32_t number = 1; number < 500; number++) {
		add(number);
	}
	expect_all(ITEMS);
	assert_in_range(table.bucket_count, 1, 499);
	/* It grows again, by a bucket with each item. */
	failing = false;
	for (uint32_t number = 500; number < ITEMS; number++) {
		add(number);
	}
	expect_all(ITEMS);
	assert_in_range(table.bucket_count, ITEMS - 500, ITEMS);
	drop_all();
	table_done(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),         cmocka_unit_test(test_growth),
		cmocka_unit_test(test_chains),        cmocka_unit_test(test_random),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
