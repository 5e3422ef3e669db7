/* SPDX-License-Identifier: Apache-2.0
 *
 * Members: changes are logged and counted once, drains, paces, and many threads at once. The clock
 * is the test's own (net/timeouts.h, timeouts_now_ms).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/source_pool.h"
#include "net/timeouts.h"
#include "routing/member.h"
#include "support/log_capture.h"

#define START   5000000
#define THREADS 4
#define ROUNDS  5000

static _Atomic uint64_t now_ms;

/* The linker puts it in the place of the real one. */
uint64_t __wrap_timeouts_now_ms(void);

uint64_t __wrap_timeouts_now_ms(void)
{
	return now_ms;
}

struct world {
	struct config_backend backend;
	struct config_health health;
	struct config_moves moves;
	struct metrics metrics;
	struct member *member;
};

static struct world begin(void)
{
	now_ms = START;
	buffer_done(&logged);
	return (struct world){
		.backend = {.weight = 70, .connect_queue_ms = 10000},
		.health = {.check = CONFIG_CHECK_CONNECT, .rise = 1, .fall = 1, .witnesses = 3},
		.moves = {.drain_rate = 20},
	};
}

static struct member_settings settings(struct world *world, const struct endpoint *address)
{
	return (struct member_settings){
		.name = "mail1",
		.config = 3,
		.address = address,
		.backend = &world->backend,
		.health = &world->health,
		.moves = &world->moves,
	};
}

static void make(struct world *world)
{
	struct endpoint address = {0};
	struct member_settings made = settings(world, &address);
	struct error error;

	assert_true(endpoint_parse(&address, "10.0.0.1:143", 0, &error));
	world->member = member_new(&made);
	assert_non_null(world->member);
	endpoint_done(&address);
}

static void end(struct world *world)
{
	member_unref(world->member);
	buffer_done(&logged);
}

static void fail_login(struct world *world, unsigned client)
{
	struct addr addr = {0};

	addr.family = AF_INET;
	addr.v4.sin_addr.s_addr = htonl(client);
	member_failed(world->member, &addr, "it did not answer", &world->metrics);
}

static void check_counts(const struct world *world, unsigned downs, unsigned ups)
{
	assert_int_equal(metrics_get(&world->metrics, METRIC_BACKEND_DOWNS), downs);
	assert_int_equal(count_logged("backend is down"), downs);
	assert_int_equal(metrics_get(&world->metrics, METRIC_BACKEND_UPS), ups);
	assert_int_equal(count_logged("backend is up"), ups);
}

static void test_new(void **state)
{
	struct world world = begin();
	char text[ENDPOINT_TEXT_MAX];

	(void)state;
	make(&world);
	assert_string_equal(world.member->name, "mail1");
	assert_int_equal(world.member->config, 3);
	endpoint_format(&world.member->address, text);
	assert_string_equal(text, "10.0.0.1:143");
	assert_null(world.member->sources);
	assert_true(member_is_up(world.member));
	assert_int_equal(member_drain(world.member), MEMBER_SERVES);
	assert_true(member_takes_users(world.member));
	assert_false(member_canary_is_over(world.member));
	assert_int_equal(member_weight(world.member), 70);
	assert_ptr_equal(member_ref(world.member), world.member);
	member_unref(world.member);
	member_unref(NULL);
	end(&world);
}

static void test_sources(void **state)
{
	struct world world = begin();
	struct endpoint address = {.kind = ENDPOINT_IP};
	struct member_settings made = settings(&world, &address);
	struct addr source;

	(void)state;
	assert_true(addr_parse(&source, "127.0.0.1", 0));
	address.name = (char *)"10.0.0.1";
	made.sources = source_pool_new(&source, 1);
	assert_non_null(made.sources);
	world.member = member_new(&made);
	assert_non_null(world.member);
	assert_ptr_equal(world.member->sources, made.sources);
	source_pool_unref(made.sources); /* it has one of its own */
	end(&world);
}

static void test_checks(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	for (unsigned i = 0; i < 3; i++) {
		member_missed(world.member, "connection refused", &world.metrics);
		assert_false(member_is_up(world.member));
	}
	check_counts(&world, 1, 0);
	assert_int_equal(count_logged("backend is down mail1 10.0.0.1:143 connection refused"), 1);
	for (unsigned i = 0; i < 3; i++) {
		member_passed(world.member, &world.metrics);
		assert_true(member_is_up(world.member));
	}
	check_counts(&world, 1, 1);
	end(&world);
}

static void test_logins(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	fail_login(&world, 1);
	fail_login(&world, 2);
	member_served(world.member);
	fail_login(&world, 3);
	fail_login(&world, 4);
	assert_true(member_is_up(world.member));
	fail_login(&world, 5);
	assert_false(member_is_up(world.member));
	fail_login(&world, 6);
	member_served(world.member);
	check_counts(&world, 1, 0);
	assert_int_equal(count_logged("mail1 10.0.0.1:143 it did not answer"), 1);
	/* However long: only a check brings it up. */
	now_ms += 10 * MEMBER_REST_MS;
	assert_false(member_is_up(world.member));
	member_passed(world.member, &world.metrics);
	assert_true(member_is_up(world.member));
	check_counts(&world, 1, 1);
	end(&world);
}

/* A login that goes well counts although none has failed in this round. */
static void test_served_without_witnesses(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	member_served(world.member);
	assert_true(member_is_up(world.member));
	check_counts(&world, 0, 0);
	end(&world);
}

static void test_rest(void **state)
{
	struct world world = begin();

	(void)state;
	world.health.check = CONFIG_CHECK_NONE;
	make(&world);
	for (unsigned i = 0; i < 3; i++) {
		fail_login(&world, i);
	}
	now_ms += MEMBER_REST_MS - 1;
	assert_false(member_is_up(world.member));
	check_counts(&world, 1, 0);
	now_ms += 1;
	assert_true(member_is_up(world.member));
	assert_true(member_is_up(world.member));
	check_counts(&world, 1, 1);
	/* And once more, where nobody has looked meanwhile. */
	for (unsigned i = 0; i < 3; i++) {
		fail_login(&world, i);
	}
	check_counts(&world, 2, 1);
	now_ms += MEMBER_REST_MS;
	for (unsigned i = 0; i < 3; i++) {
		fail_login(&world, i);
	}
	check_counts(&world, 3, 2);
	end(&world);
}

static void test_drains(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	member_set_drain(world.member, MEMBER_SERVES, 0);
	assert_int_equal(count_logged("backend"), 0);
	for (unsigned i = 0; i < 2; i++) {
		member_set_drain(world.member, MEMBER_DRAINS, 0);
		assert_int_equal(member_drain(world.member), MEMBER_DRAINS);
		assert_false(member_takes_users(world.member));
		assert_int_equal(count_logged("backend drains mail1"), 1);
	}
	for (unsigned i = 0; i < 2; i++) {
		member_set_drain(world.member, MEMBER_KICKS, 0);
		assert_int_equal(member_drain_rate(world.member), 20);
		assert_false(member_takes_users(world.member));
		assert_int_equal(count_logged("its users move away mail1"), 1);
	}
	member_set_drain(world.member, MEMBER_KICKS, 50);
	assert_int_equal(member_drain_rate(world.member), 50);
	assert_int_equal(count_logged("its users move away mail1"), 2);
	for (unsigned i = 0; i < 2; i++) {
		member_set_drain(world.member, MEMBER_SERVES, 0);
		assert_true(member_takes_users(world.member));
		assert_int_equal(count_logged("backend serves again mail1"), 1);
	}
	end(&world);
}

static void test_weights(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	member_set_weight(world.member, 0);
	assert_int_equal(member_weight(world.member), 0);
	assert_false(member_takes_users(world.member));
	member_set_weight(world.member, 1);
	assert_true(member_takes_users(world.member));
	end(&world);
}

static unsigned count_kicks(struct world *world)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 100; i++) {
		count += member_take_kick(world->member, START);
	}
	return count;
}

static void test_kicks(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	assert_int_equal(count_kicks(&world), 0);
	member_set_drain(world.member, MEMBER_DRAINS, 0);
	assert_int_equal(count_kicks(&world), 0);
	member_set_drain(world.member, MEMBER_KICKS, 100);
	assert_int_equal(count_kicks(&world), 10);
	assert_false(member_take_kick(world.member, START + 9));
	assert_true(member_take_kick(world.member, START + 10));
	assert_false(member_take_kick(world.member, START + 10));
	end(&world);
}

/* What an operator writes may be any number. */
static void test_kicks_at_a_mad_rate(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	member_set_drain(world.member, MEMBER_KICKS, UINT32_MAX);
	assert_int_equal(member_drain_rate(world.member), UINT32_MAX);
	assert_int_equal(count_kicks(&world), 100);
	end(&world);
}

static void test_canary(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	for (unsigned i = 0; i < 2; i++) {
		member_set_canary_over(world.member, true);
		assert_true(member_canary_is_over(world.member));
		assert_int_equal(count_logged("canary is over mail1"), 1);
	}
	/* Users that it has so go home at moves.drain_rate, 2 of 20 at once. */
	assert_int_equal(count_kicks(&world), 2);
	for (unsigned i = 0; i < 2; i++) {
		member_set_canary_over(world.member, false);
		assert_false(member_canary_is_over(world.member));
		assert_int_equal(count_logged("canary is tried again mail1"), 1);
	}
	end(&world);
}

static void test_connects(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(member_book_connect(world.member, START), 0); /* no limit */
	}
	world.backend.connect_rate = 10;
	world.backend.slow_start_ms = 60000; /* not when the process begins */
	for (unsigned i = 0; i <= 100; i++) {
		assert_int_equal(member_book_connect(world.member, START), i * 100);
	}
	assert_int_equal(member_book_connect(world.member, START), MEMBER_NO_SLOT);
	member_book_return(world.member, START + 10000);
	assert_int_equal(member_book_connect(world.member, START), 10000);
	end(&world);
}

static void test_slow_start(void **state)
{
	struct world world = begin();

	(void)state;
	world.backend.connect_rate = 10;
	world.backend.slow_start_ms = 60000;
	make(&world);
	member_missed(world.member, "connection refused", &world.metrics);
	now_ms += 1000;
	member_passed(world.member, &world.metrics);
	assert_int_equal(member_book_connect(world.member, now_ms), 0);
	assert_int_equal(member_book_connect(world.member, now_ms), 1000);
	now_ms += 60000;
	assert_int_equal(member_book_connect(world.member, now_ms), 0);
	assert_int_equal(member_book_connect(world.member, now_ms), 100);
	end(&world);
}

/* One whose rest is over starts slowly too, although nobody asked whether it is up. */
static void test_slow_start_after_a_rest(void **state)
{
	struct world world = begin();

	(void)state;
	world.backend.connect_rate = 10;
	world.backend.slow_start_ms = 60000;
	world.health.check = CONFIG_CHECK_NONE;
	make(&world);
	for (unsigned i = 0; i < 3; i++) {
		fail_login(&world, i);
	}
	now_ms += MEMBER_REST_MS;
	assert_int_equal(member_book_connect(world.member, now_ms), 0);
	assert_int_equal(member_book_connect(world.member, now_ms), 1000);
	check_counts(&world, 1, 1);
	end(&world);
}

static void test_ends_at_once(void **state)
{
	struct world world = begin();

	(void)state;
	world.moves.disconnect_spread_ms = 10000;
	make(&world);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(member_book_end(world.member, START), 0);
	}
	end(&world);
}

/* Of 20,000 sessions 50 end at once and 5,000 at the rate; the rest lies evenly in between. */
static void test_ends_are_spread(void **state)
{
	struct world world = begin();
	unsigned seconds[11] = {0};
	uint64_t last = 0;

	(void)state;
	world.moves.disconnect_rate = 500;
	world.moves.disconnect_spread_ms = 10000;
	make(&world);
	for (unsigned i = 0; i < 5050; i++) {
		uint64_t wait_ms = member_book_end(world.member, START);

		assert_int_equal(wait_ms, i < 50 ? 0 : (i - 49) * 2);
		last = wait_ms;
	}
	assert_in_range(last, 9998, 10000);
	for (unsigned i = 5050; i < 20000; i++) {
		uint64_t wait_ms = member_book_end(world.member, START);

		assert_true(wait_ms <= 10000);
		seconds[wait_ms / 1000]++;
	}
	for (unsigned i = 0; i < 10; i++) {
		assert_in_range(seconds[i], 1485, 1505);
	}
	/* Those that end when it is over are not spread any more. */
	assert_int_equal(member_book_end(world.member, START + 20000), 0);
	end(&world);
}

static void test_no_spread_at_all(void **state)
{
	struct world world = begin();

	(void)state;
	world.moves.disconnect_rate = 10;
	make(&world);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(member_book_end(world.member, START), 0);
	}
	end(&world);
}

static void test_sessions(void **state)
{
	struct world world = begin();

	(void)state;
	make(&world);
	assert_int_equal(member_sessions(world.member), 0);
	member_session_began(world.member);
	member_session_began(world.member);
	assert_int_equal(member_sessions(world.member), 2);
	member_session_ended(world.member);
	assert_int_equal(member_sessions(world.member), 1);
	end(&world);
}

/* struct crowd is what the threads share. */
struct crowd {
	struct world world;
	atomic_uchar taken[THREADS * ROUNDS + 1]; /* slots of a millisecond each */
	atomic_uint changes;
};

static void *use(void *argument)
{
	struct crowd *crowd = argument;
	struct member *member = crowd->world.member;
	struct addr client;

	assert_true(addr_parse(&client, "192.0.2.1", 1));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t wait_ms = member_book_connect(member, START);

		assert_true(wait_ms <= THREADS * ROUNDS);
		atomic_fetch_add(&crowd->taken[wait_ms], 1);
		member_ref(member);
		member_session_began(member);
		member_failed(member, &client, "refused", &crowd->world.metrics);
		member_served(member);
		member_set_drain(member, i % 2 == 0 ? MEMBER_DRAINS : MEMBER_SERVES, 0);
		(void)member_is_up(member);
		(void)member_takes_users(member);
		member_session_ended(member);
		member_unref(member);
	}
	return NULL;
}

/* Nobody loses a turn, and no turn is given twice. */
static void test_many_threads(void **state)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	pthread_t threads[THREADS];

	(void)state;
	assert_non_null(crowd);
	crowd->world = begin();
	crowd->world.backend.connect_rate = 1000;
	crowd->world.backend.connect_queue_ms = UINT64_MAX - 1;
	make(&crowd->world);
	assert_int_equal(member_book_connect(crowd->world.member, START), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, use, crowd), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	/* The rest of the burst, and then one each millisecond. */
	assert_int_equal(atomic_load(&crowd->taken[0]), 99);
	for (unsigned i = 1; i <= THREADS * ROUNDS - 99; i++) {
		assert_int_equal(atomic_load(&crowd->taken[i]), 1);
	}
	assert_int_equal(member_sessions(crowd->world.member), 0);
	assert_true(member_is_up(crowd->world.member));
	end(&crowd->world);
	free(crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_logins),
		cmocka_unit_test(test_served_without_witnesses),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_drains),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_kicks_at_a_mad_rate),
		cmocka_unit_test(test_canary),
		cmocka_unit_test(test_connects),
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_slow_start_after_a_rest),
		cmocka_unit_test(test_ends_at_once),
		cmocka_unit_test(test_ends_are_spread),
		cmocka_unit_test(test_no_spread_at_all),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_many_threads),
	};

	return cmocka_run_group_tests_name("member", tests, NULL, NULL);
}
