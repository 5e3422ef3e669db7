/* SPDX-License-Identifier: Apache-2.0
 *
 * How reaching an endpoint ends otherwise: time is over, the owner cancels it, begins anew or goes,
 * or this host lacks something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/metrics.h"
#include "net/source_pool.h"
#include "support/dial_world.h"
#include "support/turns.h"

/* --- Time ----------------------------------------------------------------------------------- */

static void test_name_takes_too_long(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {
		.name = "silent.test", .v4 = {"127.0.0.1"}, .ttl = 60, .silent = true};

	world->timeout_ms = 50;
	dial_world_set_name(world, &name);
	dial_world_dial(world, "silent.test");
	dial_world_wait(world, "N");
	assert_string_equal(world->why.text, "cannot connect: no answer in time");
}

static void test_addresses_take_too_long(void **state)
{
	static const uint64_t timeouts_ms[] = {50, 2 * DIAL_STAGGER_MS};
	struct dial_world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct dial_host third = {.listening = -1};

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_host_block(world, &third, "127.0.0.9");
	dial_world_set_name(world, &name);
	for (size_t i = 0; i < array_length(timeouts_ms); i++) {
		unsigned descriptors = dial_world_descriptors();

		world->timeout_ms = timeouts_ms[i];
		dial_world_dial(world, "slow.test");
		dial_world_wait(world, i == 0 ? "N" : "NN");
		assert_string_equal(world->why.text, "cannot connect: no answer in time");
		assert_true(dial_world_descriptors() <= descriptors + 1); /* that of c-ares */
	}
	dial_host_close(&third);
}

/* --- Cancelling, and beginning anew --------------------------------------------------------- */

static void test_cancel_while_resolving(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "late.test", .v4 = {"127.0.0.1"}, .ttl = 60};

	dial_world_set_name(world, &name);
	dial_world_dial(world, "late.test");
	dial_cancel(&world->dial);
	dial_cancel(&world->dial);
	turns_until_count(world->loop, &name.asked, 1);
	turns_for(world->loop, 20);
	assert_int_equal(world->events, 0);
}

static void test_cancel_while_trying(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct dial_host third = {.listening = -1};

	dial_world_dial(world, "127.0.0.1");
	dial_cancel(&world->dial);
	dial_world_dial(world, "127.0.0.9");
	dial_cancel(&world->dial);
	dial_world_dial(world, "unix:/nowhere/at/all");
	dial_cancel(&world->dial);
	turns_for(world->loop, 20);
	dial_host_block(world, &world->other, "127.0.0.8");
	dial_host_block(world, &third, "127.0.0.9");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "slow.test");
	turns_for(world->loop, DIAL_STAGGER_MS + 100);
	dial_cancel(&world->dial);
	dial_host_close(&third);
	assert_int_equal(world->events, 0);
}

/* What is connected is its owner's. */
static void test_cancel_when_reached(void **state)
{
	struct dial_world *world = *state;
	char letter = '\0';
	int fd;

	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "R");
	dial_cancel(&world->dial);
	stream_write(&world->stream, "x", 1);
	turns_for(world->loop, 20);
	fd = accept(world->home.listening, NULL, NULL);
	assert_int_equal(recv(fd, &letter, 1, 0), 1);
	assert_int_equal(letter, 'x');
	close(fd);
	assert_string_equal(world->said, "R");
}

static void test_anew_from_within(void **state)
{
	struct dial_world *world = *state;

	world->begins_anew = true;
	dial_world_dial(world, "unix:/nowhere/at/all");
	dial_world_wait(world, "NR");
}

/* A new beginning ends the one before it. */
static void test_anew(void **state)
{
	struct dial_world *world = *state;

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_dial(world, "127.0.0.8");
	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
	stream_close(&world->stream);
	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "RR");
}

struct fleeting {
	struct dial dial;
	unsigned *freed;
};

static void free_fleeting(struct dial *dial, const struct error *why)
{
	struct fleeting *fleeting = container_of(dial, struct fleeting, dial);

	assert_true(why->text[0] != '\0');
	++*fleeting->freed;
	free(fleeting);
}

static void test_freed_from_within(void **state)
{
	static const struct dial_events events = {.failed = free_fleeting};
	static const char *const endpoints[] = {"127.0.0.9", "unix:/nowhere", "nobody.test",
						"127.0.0.8"};
	struct dial_world *world = *state;
	struct dial_settings settings = dial_world_settings(world);
	unsigned freed = 0;

	dial_host_block(world, &world->other, "127.0.0.8");
	settings.events = &events;
	settings.timeout_ms = 500;
	for (unsigned i = 0; i < array_length(endpoints); i++) {
		struct fleeting *fleeting = calloc(1, sizeof(*fleeting));
		struct endpoint endpoint = {0};

		assert_non_null(fleeting);
		fleeting->freed = &freed;
		assert_true(endpoint_parse(&endpoint, endpoints[i], world->port, NULL));
		dial_begin(&fleeting->dial, &settings, &endpoint);
		turns_until_count(world->loop, &freed, i + 1);
		endpoint_done(&endpoint);
	}
}

/* --- What this host lacks ------------------------------------------------------------------- */

static struct rlimit forbid_descriptors(void)
{
	struct rlimit before;
	struct rlimit none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void test_no_descriptor(void **state)
{
	struct dial_world *world = *state;
	struct rlimit before = forbid_descriptors();

	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "N");
	setrlimit(RLIMIT_NOFILE, &before);
	assert_string_equal(world->why.text, "cannot connect: socket: Too many open files");
	assert_true(world->dial.is_ours);
}

static void test_fault_of_others(void **state)
{
	static const char *const endpoints[] = {"127.0.0.9", "nobody.test", "unix:/nowhere",
						"127.0.0.8"};
	struct dial_world *world = *state;
	char said[] = "NNNN";

	world->timeout_ms = 300;
	dial_host_block(world, &world->other, "127.0.0.8");
	for (size_t i = 0; i < array_length(endpoints); i++) {
		said[i + 1] = '\0';
		dial_world_dial(world, endpoints[i]);
		dial_world_wait(world, said);
		assert_false(world->dial.is_ours);
		said[i + 1] = 'N';
	}
}

/* An attempt that cannot even begin is no reason to give up the one that runs. */
static void test_no_descriptor_for_the_second(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct rlimit before;

	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	turns_for(world->loop, 50);
	before = forbid_descriptors();
	turns_for(world->loop, DIAL_STAGGER_MS + 50);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(world->events, 0);
	assert_int_equal(listen(world->other.listening, 16), 0);
	dial_world_wait(world, "R");
	assert_string_equal(world->reached, "127.0.0.8");
}

static void set_sources(struct dial_world *world, const char *first, const char *second)
{
	struct addr addresses[2];

	assert_true(addr_parse(&addresses[0], first, 0));
	assert_true(addr_parse(&addresses[1], second, 0));
	world->sources = source_pool_new(addresses, 2);
	assert_non_null(world->sources);
}

static unsigned used_ports(struct dial_world *world)
{
	uint64_t tried = 0;
	struct source *source;
	unsigned used = 0;

	while ((source = source_take(world->sources, AF_INET, &tried)) != NULL) {
		used += source_used(source) - 1;
		source_give(source, false);
	}
	return used;
}

/* The sources of those who lose are given back at once, that of the winner with its stream. */
static void test_sources(void **state)
{
	struct dial_world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.1"}, .ttl = 60};
	struct addr local;
	char text[ADDR_IP_TEXT_MAX];

	set_sources(world, "127.0.0.2", "127.0.0.2");
	dial_host_block(world, &world->other, "127.0.0.8");
	dial_world_set_name(world, &name);
	dial_world_dial(world, "two.test");
	dial_world_wait(world, "R");
	stream_local(&world->stream, &local);
	addr_format_ip(&local, text);
	assert_string_equal(text, "127.0.0.2");
	assert_int_equal(used_ports(world), 1);
	stream_close(&world->stream);
	assert_int_equal(used_ports(world), 0);
	dial_world_dial(world, "127.0.0.9");
	dial_world_wait(world, "RN");
	assert_int_equal(used_ports(world), 0);
	dial_world_dial(world, "127.0.0.8");
	assert_int_equal(used_ports(world), 1);
	dial_cancel(&world->dial);
	assert_int_equal(used_ports(world), 0);
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 0);
}

static void test_no_source(void **state)
{
	struct dial_world *world = *state;

	set_sources(world, "198.51.100.1", "198.51.100.2");
	dial_world_dial(world, "127.0.0.1");
	dial_world_wait(world, "N");
	assert_string_equal(
		world->why.text,
		"cannot connect: cannot come from 198.51.100.2: Cannot assign requested "
		"address");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 1);
	assert_true(world->dial.is_ours);
	dial_world_dial(world, "127.0.0.1"); /* they rest */
	dial_world_wait(world, "NN");
	assert_string_equal(world->why.text,
			    "cannot connect: no port is left at any source address");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 2);
	dial_world_dial(world, "[::1]");
	dial_world_wait(world, "NNN");
	assert_string_equal(world->why.text,
			    "cannot connect: no source address is of the family of the peer's");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 2);
}

#define WORLD_TEST(function)                                                                       \
	cmocka_unit_test_setup_teardown(function, dial_world_begin, dial_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_name_takes_too_long),
		WORLD_TEST(test_addresses_take_too_long),
		WORLD_TEST(test_cancel_while_resolving),
		WORLD_TEST(test_cancel_while_trying),
		WORLD_TEST(test_cancel_when_reached),
		WORLD_TEST(test_anew_from_within),
		WORLD_TEST(test_anew),
		WORLD_TEST(test_freed_from_within),
		WORLD_TEST(test_no_descriptor),
		WORLD_TEST(test_fault_of_others),
		WORLD_TEST(test_no_descriptor_for_the_second),
		WORLD_TEST(test_sources),
		WORLD_TEST(test_no_source),
	};

	return cmocka_run_group_tests_name("dial_ends", tests, NULL, NULL);
}
