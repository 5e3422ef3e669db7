/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of those who are here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../proxy/routing/residents_internal.h"

#define MANY 5000

static uint64_t hash_of(unsigned number)
{
	return (uint64_t)number * 0x9E3779B97F4A7C15U;
}

static void write_name(char name[16], unsigned number)
{
	snprintf(name, 16, "user%u", number);
}

static void test_many(void **state)
{
	struct residents residents;
	struct resident *resident;
	char name[16];

	(void)state;
	residents_init(&residents);
	write_name(name, 0);
	assert_null(residents_find(&residents, name, hash_of(0)));
	for (unsigned i = 0; i < MANY; i++) {
		write_name(name, i);
		resident = residents_add(&residents, name, hash_of(i));
		assert_non_null(resident);
		assert_string_equal(resident->user, name);
		assert_null(resident->hold);
	}
	for (unsigned i = 0; i < MANY; i += 2) {
		write_name(name, i);
		resident = residents_find(&residents, name, hash_of(i));
		assert_non_null(resident);
		residents_remove(&residents, resident);
	}
	for (unsigned i = 0; i < MANY; i++) {
		write_name(name, i);
		resident = residents_find(&residents, name, hash_of(i));
		assert_true((resident != NULL) == (i % 2 == 1));
	}
	residents_done(&residents);
	assert_null(residents.list);
}

/* The same hash, and one user whose name begins with another's. */
static void test_same_hash(void **state)
{
	struct residents residents;
	struct resident *alice;
	struct resident *alicia;

	(void)state;
	residents_init(&residents);
	alice = residents_add(&residents, "alice", 7);
	alicia = residents_add(&residents, "alicia", 7);
	assert_ptr_equal(residents_find(&residents, "alice", 7), alice);
	assert_ptr_equal(residents_find(&residents, "alicia", 7), alicia);
	assert_null(residents_find(&residents, "alic", 7));
	assert_null(residents_find(&residents, "alice", 8));
	residents_remove(&residents, alice);
	assert_ptr_equal(residents_find(&residents, "alicia", 7), alicia);
	residents_done(&residents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_same_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
