/* SPDX-License-Identifier: Apache-2.0
 *
 * When members are checked, how far, how many at a time, and what comes of it.
 */
#include "routing/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/health_internal.h"
#include "routing/pool.h"
#include "support/health_world.h"
#include "support/log_capture.h"
#include "support/turns.h"

#define OFTEN "interval = \"10ms\"\n"
#define NEVER "interval = \"1h\"\n"

static void settle(struct health_world *world, unsigned milliseconds)
{
	turns_for(world->probes->loop, milliseconds);
}

struct wanted {
	const struct health_world *world;
	uint64_t checks;
	uint64_t failures;
	size_t up;
	unsigned accepted;
};

static bool has_checked(const void *context)
{
	const struct wanted *wanted = context;

	return health_world_checks(wanted->world) >= wanted->checks;
}

static bool has_failed(const void *context)
{
	const struct wanted *wanted = context;

	return health_world_failures(wanted->world) >= wanted->failures;
}

static bool has_up(const void *context)
{
	const struct wanted *wanted = context;

	return health_world_up(wanted->world) == wanted->up;
}

static bool has_accepted(const void *context)
{
	const struct wanted *wanted = context;

	return wanted->world->probes->scripted.accepted >= wanted->accepted;
}

#define until(world, condition, ...)                                                               \
	turns_until((world)->probes->loop, condition, &(struct wanted){(world), __VA_ARGS__})

/* --- Rounds --------------------------------------------------------------------------------- */

static void test_again_and_again(void **state)
{
	struct health_world *world = *state;

	health_world_start(world, OFTEN, 3, 0);
	until(world, has_checked, .checks = 12);
	assert_int_equal(health_world_failures(world), 0);
	assert_int_equal(health_world_up(world), 3);
	assert_int_equal(count_logged("failed"), 0);
	assert_true(strstr(scripted_heard(&world->probes->scripted), "CAPABILITY") == NULL);
}

/* The first round is spread over the interval, and no second one comes before it is over. */
static void test_spread(void **state)
{
	struct health_world *world = *state;

	health_world_start(world, NEVER, 10, 0);
	settle(world, 20);
	assert_int_equal(health_world_checks(world), 0);
}

static void test_down_and_up(void **state)
{
	struct health_world *world = *state;
	struct scripted_backend *scripted = &world->probes->scripted;

	scripted->drops = true;
	health_world_start(world, OFTEN "fall = 4\nrise = 3\n", 1, 0);
	until(world, has_failed, .failures = 3);
	assert_int_equal(health_world_up(world), 1);
	until(world, has_up, .up = 0);
	assert_int_equal(health_world_failures(world), 4);
	scripted->drops = false;
	until(world, has_up, .up = 1);
	assert_int_equal(scripted->logouts, 3);
	assert_true(count_logged("health check failed m0") >= 4);
}

/* It accepts, and says nothing: as dead as one that refuses. */
static void test_hangs(void **state)
{
	struct health_world *world = *state;

	world->probes->scripted.greeting = NULL;
	health_world_start(world, OFTEN "fall = 2\n", 1, 0);
	until(world, has_up, .up = 0);
	assert_true(count_logged("health check failed m0 no greeting in time") >= 2);
}

/* However patient logins are with it: a check takes no longer than an interval, or a second. */
static void test_patience(void **state)
{
	struct health_world *world = *state;

	world->patience = "20s";
	world->probes->scripted.greeting = NULL;
	health_world_start(world, OFTEN "fall = 1\n", 1, 0);
	until(world, has_up, .up = 0);
	assert_int_equal(health_world_checks(world), 1);
}

/* However long a check takes, the member has no second one beside it. */
static void test_one_at_a_time(void **state)
{
	struct health_world *world = *state;

	world->patience = "20s";
	world->probes->scripted.greeting = NULL;
	health_world_start(world, OFTEN, 2, 0);
	until(world, has_accepted, .accepted = 2);
	settle(world, 60);
	assert_int_equal(world->probes->scripted.accepted, 2);
	assert_int_equal(health_world_checks(world), 2);
}

static void greet_all(struct scripted_backend *scripted, unsigned from)
{
	scripted->greeting = SCRIPTED_GREETING;
	for (unsigned i = from; i < scripted->accepted; i++) {
		stream_write(&scripted->lines[i].stream, SCRIPTED_GREETING,
			     strlen(SCRIPTED_GREETING));
	}
}

static void hang_up_all(struct scripted_backend *scripted, unsigned from)
{
	for (unsigned i = from; i < scripted->accepted; i++) {
		stream_close(&scripted->lines[i].stream);
	}
}

/* Those that are ill leave places to the others. */
static void test_at_once(void **state)
{
	struct health_world *world = *state;
	struct scripted_backend *scripted = &world->probes->scripted;
	unsigned count = 2 * HEALTH_AT_ONCE;

	world->patience = "20s";
	scripted->greeting = NULL;
	health_world_start(world, OFTEN "fall = 100\n", count, 0);
	until(world, has_accepted, .accepted = HEALTH_AT_ONCE);
	settle(world, 30);
	assert_int_equal(scripted->accepted, HEALTH_AT_ONCE);
	hang_up_all(scripted, 0);
	until(world, has_accepted, .accepted = 2 * HEALTH_AT_ONCE);
	settle(world, 30);
	assert_int_equal(scripted->accepted, 2 * HEALTH_AT_ONCE);
	/* All are ill. */
	hang_up_all(scripted, HEALTH_AT_ONCE);
	until(world, has_accepted, .accepted = 2 * HEALTH_AT_ONCE + HEALTH_ILL_AT_ONCE);
	settle(world, 30);
	assert_int_equal(scripted->accepted, 2 * HEALTH_AT_ONCE + HEALTH_ILL_AT_ONCE);
	assert_int_equal(health_world_failures(world), 2 * HEALTH_AT_ONCE);
	greet_all(scripted, 2 * HEALTH_AT_ONCE);
	until(world, has_checked, .checks = 5 * count);
	assert_int_equal(health_world_failures(world), 2 * HEALTH_AT_ONCE);
	assert_int_equal(health_world_up(world), count);
}

/* Even where all fail as soon as they begin. */
static void test_many_fail(void **state)
{
	struct health_world *world = *state;

	health_world_start(world, OFTEN, 200, probe_world_free_port());
	until(world, has_up, .up = 0);
	assert_true(health_world_failures(world) >= 600);
}

/* --- How far -------------------------------------------------------------------------------- */

static void test_none(void **state)
{
	struct health_world *world = *state;

	health_world_start(world, OFTEN "check = \"none\"\n", 2, 0);
	settle(world, 40);
	assert_int_equal(health_world_checks(world), 0);
	assert_int_equal(world->probes->scripted.accepted, 0);
}

static void test_connect(void **state)
{
	struct health_world *world = *state;

	world->probes->scripted.greeting = "* BYE nobody at home\r\n";
	health_world_start(world, OFTEN "check = \"connect\"\n", 1, 0);
	until(world, has_checked, .checks = 5);
	assert_int_equal(health_world_failures(world), 0);
	assert_string_equal(scripted_heard(&world->probes->scripted), "");
}

static void test_greeting(void **state)
{
	struct health_world *world = *state;

	world->probes->scripted.greeting = "* BYE nobody at home\r\n";
	health_world_start(world, OFTEN, 1, 0);
	until(world, has_up, .up = 0);
	assert_true(count_logged("greeted with BYE: nobody at home") >= 3);
}

static void test_login(void **state)
{
	struct health_world *world = *state;
	struct scripted_backend *scripted = &world->probes->scripted;
	static const char heard[] = "LOGIN \"check@example\" \"pass word\"\nLOGOUT\n";

	scripted->greeting = "* OK [CAPABILITY IMAP4rev1] hello\r\n";
	scripted->login = "OK in";
	health_world_start(world,
			   OFTEN "check = \"login\"\nuser = \"check@example\"\n"
				 "password = \"pass word\"\n",
			   1, 0);
	until(world, has_checked, .checks = 3);
	assert_int_equal(health_world_failures(world), 0);
	assert_memory_equal(scripted_heard(scripted), heard, strlen(heard));
	scripted->login = "NO [UNAVAILABLE] the disk is away";
	until(world, has_up, .up = 0);
	assert_true(count_logged("the disk is away") >= 3);
	assert_int_equal(count_logged("pass word"), 0);
}

/* --- The end -------------------------------------------------------------------------------- */

/* Wherever it is, nothing follows. */
static void test_stops(void **state)
{
	struct health_world *world = *state;

	world->patience = "20s";
	health_world_start(world, OFTEN, HEALTH_AT_ONCE + 10, 0);
	for (unsigned turns = 0; turns < 40; turns++) {
		uint64_t checks;

		for (unsigned i = 0; i < turns; i++) {
			ev_run(world->probes->loop, EVRUN_NOWAIT);
		}
		settle(world, turns % 4);
		health_world_stop(world);
		checks = health_world_checks(world);
		settle(world, 2);
		assert_int_equal(health_world_checks(world), checks);
		if (world->probes->scripted.accepted > SCRIPTED_LINES_MAX / 2) {
			break;
		}
		health_world_restart(world);
	}
}

static int end(void **state)
{
	buffer_done(&logged);
	return health_world_end(state);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, health_world_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_again_and_again),
		in_world(test_spread),
		in_world(test_down_and_up),
		in_world(test_hangs),
		in_world(test_patience),
		in_world(test_one_at_a_time),
		in_world(test_at_once),
		in_world(test_many_fail),
		in_world(test_none),
		in_world(test_connect),
		in_world(test_greeting),
		in_world(test_login),
		in_world(test_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
