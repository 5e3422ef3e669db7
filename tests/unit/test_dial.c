/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching endpoints: which addresses are tried, in which order, who wins, and what is told when
 * none is left. What else ends a dial is in test_dial_ends.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../proxy/net/dial_internal.h"
#include "support/dial_world.h"
#include "support/turns.h"

/* --- One address ---------------------------------------------------------------------------- */

static void test_address(void **state)
{
	struct dial_world *world = *state;

	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_refused(void **state)
{
	struct dial_world *world = *state;

	dial_world_dial(world, "127.0.0.9");
	dial_world_wait(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	assert_int_equal(world->stream.phase, STREAM_CLOSED);
}

static void test_path(void **state)
{
	struct dial_world *world = *state;
	char folder[] = "/tmp/test_dial.XXXXXX";
	char endpoint[128];
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	dial_world_dial(world, "unix:/nowhere/at/all");
	dial_world_wait(world, "N");
	assert_string_equal(world->why.text, "cannot connect: No such file or directory");
	assert_non_null(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	snprintf(endpoint, sizeof(endpoint), "unix:%s", address.sun_path);
	world->other.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world->other.listening, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(world->other.listening, 8), 0);
	dial_world_dial(world, endpoint);
	dial_world_wait(world, "NR");
	dial_again(&world->dial);
	dial_world_wait(world, "NRR");
	unlink(address.sun_path);
	rmdir(folder);
}

/* --- Several -------------------------------------------------------------------------------- */

static void test_alternating(void **state)
{
	static const struct {
		const char *given, *tried;
	} cases[] = {
		{"a b c", "a b c"},
		{"1 2 3", "1 2 3"},
		{"1 a", "a 1"},
		{"1 2 3 a b c", "a 1 b 2 c 3"},
		{"a b c 1 2 3", "a 1 b 2 c 3"},
		{"1 a 2 3 4 b", "a 1 b 2 3 4"},
		{"a b c 1", "a 1 b c"},
		{"1", "1"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct addr given[8] = {0};
		struct addr tried[8] = {0};
		size_t count = (strlen(cases[i].given) + 1) / 2;

		for (size_t k = 0; k < count; k++) {
			char letter = cases[i].given[2 * k];

			assert_true(addr_parse(&given[k], letter >= 'a' ? "::1" : "127.0.0.1",
					       (uint16_t)letter));
		}
		dial_alternate(tried, given, count);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(addr_port(&tried[k]), cases[i].tried[2 * k]);
		}
	}
}

/* Refused, refused, reached: and the rest is for later. */
static void test_in_turn(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {
		.name = "many.test", .v4 = {"127.0.0.8", "127.0.0.9", "127.0.0.1"}, .ttl = 60};

	dial_world_set_name(world, &name);
	dial_world_dial(world, "many.test");
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_all_refused(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {
		.name = "many.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .v6 = {"::1"}, .ttl = 60};

	dial_world_set_name(world, &name);
	dial_world_dial(world, "many.test");
	dial_world_wait(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_ipv6_first(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {
		.name = "both.test", .v4 = {"127.0.0.1"}, .v6 = {"::1"}, .ttl = 60};

	dial_host_listen(world, &world->other, "::1", 8);
	dial_world_set_name(world, &name);
	dial_world_dial(world, "both.test");
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "::1");
}

/* One that nothing is heard of keeps the next from being tried for a moment only. */
static void test_one_hangs(void **state)
{
	static const char *const hangs[] = {"127.0.0.8", "::1"};
	struct dial_world *world = *state;

	for (size_t i = 0; i < array_length(hangs); i++) {
		struct fake_name name = {.name = i == 0 ? "four.test" : "six.test",
					 .v4 = {i == 0 ? hangs[i] : "127.0.0.1", "127.0.0.1"},
					 .v6 = {i == 0 ? NULL : hangs[i]},
					 .ttl = 60};
		unsigned descriptors;

		dial_host_block(world, &world->other, hangs[i]);
		dial_world_set_name(world, &name);
		descriptors = dial_world_descriptors();
		dial_world_dial(world, name.name);
		dial_world_wait(world, i == 0 ? "R" : "RR");
		assert_string_equal(world->reached, "127.0.0.1");
		stream_close(&world->stream);
		dial_host_close(&world->other);
		assert_true(dial_world_descriptors() <= descriptors);
	}
}

/* All run at once in the end, and the first of them is the only one that gets through. */
static void test_first_wins_late(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct dial_host third = {.listening = -1};

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_host_block(world, &third, "127.0.0.9");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "slow.test");
	turns_for(world->loop, 2 * DIAL_STAGGER_MS);
	assert_int_equal(world->events, 0);
	assert_int_equal(listen(world->other.listening, 16), 0);
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.8");
	dial_host_close(&third);
}

/* One hangs, and many refuse: they are done with long before each has waited for its turn. */
static void test_refusals_do_not_wait(void **state)
{
	enum { REFUSING = 13 };
	struct dial_world *world = *state;
	struct fake_name name = {.name = "many.test", .v4 = {"127.0.0.8"}, .ttl = 60};
	char texts[REFUSING][16];

	for (unsigned i = 0; i < REFUSING; i++) {
		snprintf(texts[i], sizeof(texts[i]), "127.0.1.%u", i);
		name.v4[1 + i] = texts[i];
	}
	name.v4[1 + REFUSING] = "127.0.0.1";
	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_set_name(world, &name);
	world->timeout_ms = REFUSING * DIAL_STAGGER_MS;
	dial_world_dial(world, "many.test");
	dial_world_wait(world, "R");
}

/* A family that this host has no network for is no news where another address refuses. */
static void test_no_network(void **state)
{
	struct dial_world *world = *state;
	struct fake_name names[] = {
		{.name = "both.test", .v4 = {"127.0.0.9"}, .v6 = {"ff02::1"}, .ttl = 60},
		{.name = "late.test", .v4 = {"127.0.0.9", "255.255.255.255"}, .ttl = 60},
		{.name = "good.test", .v4 = {"127.0.0.1"}, .v6 = {"ff02::1"}, .ttl = 60},
	};

	world->dns.names = names;
	world->dns.name_count = array_length(names);
	dial_world_dial(world, "both.test");
	dial_world_wait(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	dial_world_dial(world, "late.test");
	dial_world_wait(world, "NN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	dial_world_dial(world, "good.test");
	dial_world_wait(world, "NNR");
	dial_world_dial(world, "[ff02::1]");
	dial_world_wait(world, "NNRN");
	assert_string_equal(world->why.text, "cannot connect: Network is unreachable");
}

static void test_unknown_name(void **state)
{
	struct dial_world *world = *state;

	dial_world_dial(world, "nobody.test");
	dial_world_wait(world, "N");
	assert_null(strstr(world->why.text, "connect"));
	assert_true(world->why.text[0] != '\0');
	dial_world_dial(world, "nobody.test"); /* the resolver answers at once */
	dial_world_wait(world, "NN");
	assert_true(world->why.text[0] != '\0');
}

/* No more of a name's addresses are tried than there is room for. */
static void test_most_addresses(void **state)
{
	struct dial_world *world = *state;
	struct fake_name names[] = {{.name = "crowd.test", .ttl = 60},
				    {.name = "full.test", .ttl = 60}};
	char texts[RESOLVER_ADDRESSES_MAX][16];

	for (unsigned i = 0; i < RESOLVER_ADDRESSES_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "127.0.1.%u", i);
		names[0].v4[i] = texts[i];
		names[1].v4[i] = texts[i];
	}
	names[0].v4[RESOLVER_ADDRESSES_MAX] = "127.0.0.1";
	names[1].v4[RESOLVER_ADDRESSES_MAX - 1] = "127.0.0.1";
	world->dns.names = names;
	world->dns.name_count = array_length(names);
	dial_world_dial(world, "crowd.test");
	dial_world_wait(world, "N");
	dial_world_dial(world, "full.test");
	dial_world_wait(world, "NR");
}

/* --- After it was reached ------------------------------------------------------------------- */

/* What was reached was not what was wanted: the next, and then no other. */
static void test_next(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.1", "127.0.0.9"}, .ttl = 60};
	struct error why = {0};

	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	dial_world_wait(world, "R");
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	assert_int_equal(world->stream.phase, STREAM_CLOSED);
	dial_world_wait(world, "RN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_next_is_none(void **state)
{
	struct dial_world *world = *state;
	struct error why = {0};

	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "R");
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	assert_int_equal(world->events, 1);
	dial_world_wait(world, "RN");
	assert_string_equal(world->why.text, "cannot connect: of no use");
}

/* One that was given up for the winner has not failed. */
static void test_next_was_slow(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.1"}, .ttl = 60};
	struct error why = {0};

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
	dial_host_close(&world->other);
	dial_host_listen(world, &world->other, "127.0.0.8", 8);
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	dial_world_wait(world, "RR");
	assert_string_equal(world->reached, "127.0.0.8");
}

static void test_again(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {
		.name = "two.test", .v4 = {"127.0.0.9", "127.0.0.1", "127.0.0.8"}, .ttl = 60};

	dial_host_listen(world, &world->other, "127.0.0.8", 8);
	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	dial_world_wait(world, "R");
	world->reached[0] = '\0';
	dial_again(&world->dial);
	dial_world_wait(world, "RR");
	assert_string_equal(world->reached, "127.0.0.1");
	dial_host_close(&world->home);
	dial_again(&world->dial);
	dial_world_wait(world, "RRR");
	assert_string_equal(world->reached, "127.0.0.8");
}

/* Before those that were given up for it, though they come first. */
static void test_again_after_slow(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.1"}, .ttl = 60};

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	dial_world_wait(world, "R");
	dial_host_close(&world->other);
	dial_host_listen(world, &world->other, "127.0.0.8", 8);
	dial_again(&world->dial);
	dial_world_wait(world, "RR");
	assert_string_equal(world->reached, "127.0.0.1");
}

#define WORLD_TEST(function)                                                                       \
	cmocka_unit_test_setup_teardown(function, dial_world_begin, dial_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_address),
		WORLD_TEST(test_refused),
		WORLD_TEST(test_path),
		cmocka_unit_test(test_alternating),
		WORLD_TEST(test_in_turn),
		WORLD_TEST(test_all_refused),
		WORLD_TEST(test_ipv6_first),
		WORLD_TEST(test_one_hangs),
		WORLD_TEST(test_first_wins_late),
		WORLD_TEST(test_refusals_do_not_wait),
		WORLD_TEST(test_no_network),
		WORLD_TEST(test_unknown_name),
		WORLD_TEST(test_most_addresses),
		WORLD_TEST(test_next),
		WORLD_TEST(test_next_is_none),
		WORLD_TEST(test_next_was_slow),
		WORLD_TEST(test_again),
		WORLD_TEST(test_again_after_slow),
	};

	return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
