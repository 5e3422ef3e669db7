/* SPDX-License-Identifier: Apache-2.0
 *
 * Up and down by checks and by logins; and whom a client counts as.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../proxy/routing/client_key_internal.h"
#include "../../proxy/routing/member_health_internal.h"
#include "base/addr.h"
#include "base/base.h"
#include "core/config.h"
#include "net/timeouts.h"

#define NOW 5000000

static const struct config_health checked = {
	.check = CONFIG_CHECK_GREETING, .rise = 2, .fall = 3, .witnesses = 5};
static const struct config_health unchecked = {
	.check = CONFIG_CHECK_NONE, .rise = 2, .fall = 3, .witnesses = 5};

/* What each step tells, by a letter: p passed, m missed, s served, f failed for one client more,
 * F failed for the same one; and what comes of it: + up, - down, . nothing. */
static void run(const struct config_health *config, const char *steps, const char *changes)
{
	struct member_health health;
	uint64_t client = 100;

	member_health_init(&health, config);
	assert_true(health.up);
	for (size_t i = 0; steps[i] != '\0'; i++) {
		enum member_change change = MEMBER_SAME;

		switch (steps[i]) {
		case 'p':
			change = member_health_passed(&health);
			break;
		case 'm':
			change = member_health_missed(&health);
			break;
		case 's':
			member_health_served(&health);
			break;
		default:
			client += steps[i] == 'f';
			change = member_health_failed(&health, client, NOW + i);
		}
		if (change != (changes[i] == '+'   ? MEMBER_CAME_UP
			       : changes[i] == '-' ? MEMBER_WENT_DOWN
						   : MEMBER_SAME)) {
			fail_msg("%s: step %zu", steps, i);
		}
	}
}

static void test_sequences(void **state)
{
	static const char *const cases[][2] = {
		/* `fall` in a row, `rise` in a row */
		{"mmm", "..-"},
		{"mmpmmpmm", "........"},
		{"mmmm", "..-."},
		{"mmmpp", "..-.+"},
		{"mmmpmpp", "..-...+"},
		{"mmmppmmm", "..-.+..-"},
		{"pppppmmm", ".......-"},
		/* witnesses; one alone is none, and a success forgets all */
		{"fffff", "....-"},
		{"ffffFFFFF", "........."},
		{"ffffsf", "......"},
		{"ffffsfffff", ".........-"},
		{"sfffff", ".....-"},
		/* checks neither clear witnesses nor are cleared by logins */
		{"ffffppppf", "........-"},
		{"mmsm", "...-"},
		/* down by logins, up by checks; and logins say nothing while it is down */
		{"fffffp", "....-."},
		{"fffffpp", "....-.+"},
		{"fffffpmpp", "....-...+"},
		{"fffffspsp", "....-...+"},
		{"fffffppffff", "....-.+...."},
		{"fffffppfffff", "....-.+....-"},
		{"fffffffff", "....-...."},
		{"mmmfffffpp", "..-......+"},
		{"ffffmmmppf", "......-.+."},
		{"mmffffffmmmpp", "......-....."
				  "+"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		run(&checked, cases[i][0], cases[i][1]);
	}
}

/* At the limit, and one past it: a failure counts for MEMBER_WITNESS_MS. */
static void test_witnesses_are_forgotten(void **state)
{
	static const struct {
		uint64_t after_ms;
		enum member_change change;
	} cases[] = {
		{MEMBER_WITNESS_MS - 1, MEMBER_WENT_DOWN},
		{MEMBER_WITNESS_MS, MEMBER_SAME},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct member_health health;

		member_health_init(&health, &checked);
		for (uint64_t client = 1; client <= 4; client++) {
			assert_int_equal(member_health_failed(&health, client, NOW), MEMBER_SAME);
		}
		assert_int_equal(member_health_failed(&health, 5, NOW + cases[i].after_ms),
				 cases[i].change);
	}
}

/* One that fails again has failed just now. */
static void test_a_witness_stays_while_it_fails(void **state)
{
	struct member_health health;

	(void)state;
	member_health_init(&health, &checked);
	for (uint64_t client = 1; client <= 4; client++) {
		member_health_failed(&health, client, NOW);
		member_health_failed(&health, client, NOW + MEMBER_WITNESS_MS - 1);
	}
	assert_int_equal(health.witness_count, 4);
	assert_int_equal(member_health_failed(&health, 5, NOW + MEMBER_WITNESS_MS),
			 MEMBER_WENT_DOWN);
}

static void test_numbers_of_witnesses(void **state)
{
	static const struct {
		unsigned configured;
		unsigned needed;
	} cases[] = {
		{1, 2}, /* never by one client */
		{2, 2},
		{3, 3},
		{MEMBER_WITNESSES_MAX, MEMBER_WITNESSES_MAX},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct config_health config = checked;
		struct member_health health;

		config.witnesses = cases[i].configured;
		member_health_init(&health, &config);
		for (unsigned j = 1; j < cases[i].needed; j++) {
			assert_int_equal(member_health_failed(&health, j, NOW), MEMBER_SAME);
		}
		assert_int_equal(member_health_failed(&health, 99, NOW), MEMBER_WENT_DOWN);
	}
}

static void test_logins_say_nothing_where_so_configured(void **state)
{
	struct config_health config = checked;
	struct member_health health;

	(void)state;
	config.witnesses = 0;
	member_health_init(&health, &config);
	for (uint64_t client = 0; client < 100; client++) {
		assert_int_equal(member_health_failed(&health, client, NOW), MEMBER_SAME);
	}
	assert_true(health.up);
}

static void test_rest_where_nobody_checks(void **state)
{
	struct member_health health;

	(void)state;
	member_health_init(&health, &unchecked);
	assert_int_equal(member_health_rested(&health, NOW), MEMBER_SAME);
	for (uint64_t client = 1; client <= 5; client++) {
		member_health_failed(&health, client, NOW);
	}
	assert_false(health.up);
	assert_int_equal(member_health_rested(&health, NOW + MEMBER_REST_MS - 1), MEMBER_SAME);
	assert_int_equal(member_health_rested(&health, NOW + MEMBER_REST_MS), MEMBER_CAME_UP);
	assert_true(health.up);
	assert_int_equal(member_health_rested(&health, NOW + MEMBER_REST_MS), MEMBER_SAME);
}

static void test_no_rest_where_somebody_checks(void **state)
{
	struct member_health health;

	(void)state;
	member_health_init(&health, &checked);
	for (uint64_t client = 1; client <= 5; client++) {
		member_health_failed(&health, client, NOW);
	}
	assert_int_equal(health.rests_until_ms, TIMEOUT_NEVER);
	assert_int_equal(member_health_rested(&health, NOW + 10 * MEMBER_REST_MS), MEMBER_SAME);
}

static uint64_t key_of(const char *ip, uint16_t port)
{
	struct addr addr;

	assert_true(addr_parse(&addr, ip, port));
	return client_key(&addr);
}

static void test_clients(void **state)
{
	struct addr unix_socket = {.family = AF_UNIX};
	struct addr none = {0};

	(void)state;
	assert_true(key_of("192.0.2.1", 1) == key_of("192.0.2.1", 2));
	assert_true(key_of("192.0.2.1", 1) != key_of("192.0.2.2", 1));
	assert_true(key_of("2001:db8::1", 1) == key_of("2001:db8:0:0:ffff::2", 2));
	assert_true(key_of("2001:db8::1", 1) != key_of("2001:db8:0:1::1", 1));
	assert_true(key_of("192.0.2.1", 1) != key_of("2001:db8::1", 1));
	/* Whatever is no address is one and the same. */
	assert_true(client_key(&unix_socket) == client_key(&none));
	assert_true(client_key(&unix_socket) != key_of("255.255.255.255", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_witnesses_are_forgotten),
		cmocka_unit_test(test_a_witness_stays_while_it_fails),
		cmocka_unit_test(test_numbers_of_witnesses),
		cmocka_unit_test(test_logins_say_nothing_where_so_configured),
		cmocka_unit_test(test_rest_where_nobody_checks),
		cmocka_unit_test(test_no_rest_where_somebody_checks),
		cmocka_unit_test(test_clients),
	};

	return cmocka_run_group_tests_name("member_health", tests, NULL, NULL);
}
