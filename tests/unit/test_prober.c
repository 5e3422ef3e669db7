/* SPDX-License-Identifier: Apache-2.0
 *
 * When backends are asked: how many at a time, how soon again, and never once it is stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/prober_internal.h"
#include "imap/capability.h"
#include "imap/sasl.h"
#include "routing/pool.h"
#include "routing/route.h"
#include "support/log_capture.h"
#include "support/probe_world.h"
#include "support/turns.h"

#define BACKENDS_MAX 100

/* Rounds follow each other at once, or never. */
#define QUICK_MS 1
#define NEVER_MS 1000000

struct rounds {
	struct probe_world *world;
	struct prober prober;
	struct backend *backends[BACKENDS_MAX];
	unsigned backend_count;
	unsigned learnt;
	char last[64]; /* whose offer was learnt last */
};

static int rounds_begin(void **state)
{
	struct rounds *rounds = calloc(1, sizeof(*rounds));
	void *world = NULL;

	assert_non_null(rounds);
	probe_world_begin(&world);
	rounds->world = world;
	*state = rounds;
	return 0;
}

static int rounds_end(void **state)
{
	struct rounds *rounds = *state;
	void *world = rounds->world;

	prober_done(&rounds->prober);
	prober_done(&rounds->prober);
	for (unsigned i = 0; i < rounds->backend_count; i++) {
		backend_unref(rounds->backends[i]);
	}
	probe_world_end(&world);
	buffer_done(&logged);
	free(rounds);
	return 0;
}

static void on_learnt(struct prober *prober, struct backend *backend,
		      const struct capability_offer *offer)
{
	struct rounds *rounds = container_of(prober, struct rounds, prober);

	assert_true(offer->known);
	rounds->learnt++;
	snprintf(rounds->last, sizeof(rounds->last), "%s", backend->name);
}

static void prepare(struct rounds *rounds, const struct prober_pace *pace)
{
	struct prober_settings settings = {
		.house = rounds->world->house,
		.pace = *pace,
		.learnt = on_learnt,
	};

	prober_init(&rounds->prober, &settings);
}

static void add(struct rounds *rounds, const char *host, uint16_t port)
{
	struct backend *backend;
	char name[16];

	snprintf(name, sizeof(name), "mail%u", rounds->backend_count);
	backend = probe_world_backend(rounds->world, name, host, port);
	rounds->backends[rounds->backend_count++] = backend;
	assert_true(prober_add(&rounds->prober, backend));
}

static void add_many(struct rounds *rounds, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		add(rounds, "127.0.0.1", 0);
	}
}

static unsigned failures(const struct rounds *rounds)
{
	return (unsigned)probe_world_counted(rounds->world, METRIC_BACKEND_PROBE_FAILURES);
}

static unsigned probes(const struct rounds *rounds)
{
	return (unsigned)probe_world_counted(rounds->world, METRIC_BACKEND_PROBES);
}

struct wanted {
	const struct rounds *rounds;
	unsigned failures;
};

static bool has_failed(const void *context)
{
	const struct wanted *wanted = context;

	return failures(wanted->rounds) >= wanted->failures;
}

static void until_failures(struct rounds *rounds, unsigned count)
{
	turns_until(rounds->world->loop, has_failed, &(struct wanted){rounds, count});
}

static void until_learnt(struct rounds *rounds, unsigned count)
{
	turns_until_count(rounds->world->loop, &rounds->learnt, count);
}

/* --- Rounds --------------------------------------------------------------------------------- */

static void test_each_once(void **state)
{
	struct rounds *rounds = *state;

	prepare(rounds, &(struct prober_pace){20, NEVER_MS, NEVER_MS, NEVER_MS});
	add_many(rounds, 10);
	prober_start(&rounds->prober);
	until_learnt(rounds, 10);
	turns_for(rounds->world->loop, 20);
	assert_int_equal(rounds->learnt, 10);
	assert_int_equal(probes(rounds), 10);
	assert_int_equal(failures(rounds), 0);
	assert_int_equal(rounds->world->scripted.logouts, 10);
	assert_int_equal(count_logged("backend probed mail3 IDLE"), 1);
	assert_int_equal(count_logged("failed"), 0);
}

static void test_at_once(void **state)
{
	struct rounds *rounds = *state;
	struct scripted_backend *scripted = &rounds->world->scripted;

	scripted->greeting = NULL;
	prepare(rounds, &(struct prober_pace){0, NEVER_MS, NEVER_MS, NEVER_MS});
	add_many(rounds, 3 * PROBER_AT_ONCE);
	prober_start(&rounds->prober);
	turns_until_count(rounds->world->loop, &scripted->accepted, PROBER_AT_ONCE);
	turns_for(rounds->world->loop, 30);
	assert_int_equal(scripted->accepted, PROBER_AT_ONCE);
	/* Each that ends makes room for one. */
	scripted->greeting = SCRIPTED_GREETING;
	for (unsigned i = 0; i < PROBER_AT_ONCE; i++) {
		stream_write(&scripted->lines[i].stream, SCRIPTED_GREETING,
			     strlen(SCRIPTED_GREETING));
	}
	until_learnt(rounds, 3 * PROBER_AT_ONCE);
	assert_int_equal(probes(rounds), 3 * PROBER_AT_ONCE);
}

/* Even where all fail as soon as they begin. */
static void test_many_fail_at_once(void **state)
{
	struct rounds *rounds = *state;

	prepare(rounds, &(struct prober_pace){0, NEVER_MS, NEVER_MS, NEVER_MS});
	for (unsigned i = 0; i < BACKENDS_MAX; i++) {
		add(rounds, "unix:/nonexistent/socket", 0);
	}
	prober_start(&rounds->prober);
	until_failures(rounds, BACKENDS_MAX);
	assert_int_equal(probes(rounds), BACKENDS_MAX);
	/* The log is not flooded. */
	assert_int_equal(count_logged("cannot connect: "), count_logged("backend probe failed"));
	assert_true(count_logged("backend probe failed") < BACKENDS_MAX / 2);
}

static void test_until_it_succeeds(void **state)
{
	struct rounds *rounds = *state;

	rounds->world->scripted.drops = true;
	prepare(rounds, &(struct prober_pace){0, QUICK_MS, QUICK_MS, NEVER_MS});
	add(rounds, "127.0.0.1", 0);
	prober_start(&rounds->prober);
	until_failures(rounds, 5);
	assert_true(count_logged("backend probe failed mail0") > 0);
	rounds->world->scripted.drops = false;
	until_learnt(rounds, 1);
	assert_string_equal(rounds->last, "mail0");
	assert_int_equal(probes(rounds), failures(rounds) + 1);
	turns_for(rounds->world->loop, 20);
	assert_int_equal(rounds->learnt, 1);
}

static void test_again_and_again(void **state)
{
	struct rounds *rounds = *state;

	prepare(rounds, &(struct prober_pace){0, NEVER_MS, NEVER_MS, QUICK_MS});
	add_many(rounds, 2);
	prober_start(&rounds->prober);
	until_learnt(rounds, 10);
	assert_int_equal(failures(rounds), 0);
}

/* When the one backend is due, from a time before its pause began: at least so long, and, since
 * time only passes, at most so long from now. */
static void expect_pause(struct rounds *rounds, uint64_t before_ms, unsigned pause_ms)
{
	uint64_t due_ms = rounds->prober.due.head->deadline_ms;

	assert_int_equal(rounds->prober.due.count, 1);
	assert_true(due_ms >= before_ms + pause_ms - pause_ms / 4);
	assert_true(due_ms <= timeouts_now_ms() + pause_ms + pause_ms / 4);
}

/* Makes the one backend due now. */
static void hurry(struct rounds *rounds)
{
	struct timeout *due = rounds->prober.due.head;

	timeout_remove(due);
	timeout_add(&rounds->prober.due, due, timeouts_now_ms());
}

static void test_pauses(void **state)
{
	static const unsigned pauses_ms[] = {5000, 10000, 20000, 40000, 60000, 60000};
	struct rounds *rounds = *state;
	uint64_t before_ms;

	rounds->world->scripted.drops = true;
	prepare(rounds,
		&(struct prober_pace){0, PROBER_RETRY_MS, PROBER_RETRY_MAX_MS, PROBER_AGAIN_MS});
	add(rounds, "127.0.0.1", 0);
	prober_start(&rounds->prober);
	for (unsigned i = 0; i < array_length(pauses_ms); i++) {
		before_ms = timeouts_now_ms();
		until_failures(rounds, i + 1);
		expect_pause(rounds, before_ms, pauses_ms[i]);
		hurry(rounds);
	}
	/* A success forgets the failures. */
	rounds->world->scripted.drops = false;
	before_ms = timeouts_now_ms();
	until_learnt(rounds, 1);
	while (rounds->prober.due.count == 0) {
		turns_for(rounds->world->loop, 1);
	}
	expect_pause(rounds, before_ms, 600000);
	rounds->world->scripted.drops = true;
	before_ms = timeouts_now_ms();
	hurry(rounds);
	until_failures(rounds, array_length(pauses_ms) + 1);
	expect_pause(rounds, before_ms, 5000);
}

/* --- Stopping ------------------------------------------------------------------------------- */

static void test_stop(void **state)
{
	struct rounds *rounds = *state;

	prepare(rounds, &(struct prober_pace){3, QUICK_MS, QUICK_MS, QUICK_MS});
	add_many(rounds, 3 * PROBER_AT_ONCE);
	add(rounds, "unix:/nonexistent/socket", 0);
	/* So often that every state is met. */
	for (unsigned turns = 0; turns < 20; turns++) {
		unsigned learnt;
		unsigned begun;

		prober_start(&rounds->prober);
		for (unsigned i = 0; i < turns; i++) {
			ev_run(rounds->world->loop, EVRUN_NOWAIT);
		}
		prober_stop(&rounds->prober);
		prober_stop(&rounds->prober);
		learnt = rounds->learnt;
		begun = probes(rounds);
		turns_for(rounds->world->loop, 3);
		assert_int_equal(rounds->learnt, learnt);
		assert_int_equal(probes(rounds), begun);
		assert_int_equal(rounds->prober.due.count, 0);
	}
	rounds->learnt = 0;
	prober_start(&rounds->prober);
	until_learnt(rounds, 1);
}

/* --- The router ----------------------------------------------------------------------------- */

static bool is_offered(const void *context)
{
	return route_offer(context)->known;
}

static void test_router_learns(void **state)
{
	struct rounds *rounds = *state;
	struct probe_world *world = rounds->world;
	struct error error = {0};
	struct router *router;
	struct config *config;
	struct pool *pool;
	char text[400];

	snprintf(text, sizeof(text),
		 "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"none\"\n"
		 "[[backend]]\nname = \"mail1\"\naddress = \"127.0.0.1:%u\"\n"
		 "[routing]\nsource = \"static\"\n",
		 world->scripted.port);
	config = config_load_text(text, "test", stderr);
	assert_non_null(config);
	pool = pool_new(config, &error);
	assert_non_null(pool);
	router = router_new(
		&(struct router_settings){
			.config = config,
			.shared = &world->shared,
			.timeouts = &world->timeouts,
			.resolver = world->resolver,
			.metrics = &world->metrics,
			.pool = pool,
		},
		&error);
	assert_non_null(router);
	turns_for(world->loop, 5);
	assert_int_equal(world->scripted.accepted, 0);
	router_start_probes(router);
	turns_until(world->loop, is_offered, router);
	assert_int_equal(route_offer(router)->mechanisms, SASL_BIT(SASL_PLAIN));
	assert_string_equal(route_offer(router)->atoms, "IDLE");
	router_stop_probes(router);
	router_start_probes(router);
	router_free(router);
	pool_free(pool);
	config_unref(config);
	turns_for(world->loop, 5);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, rounds_begin, rounds_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_each_once),
		in_world(test_at_once),
		in_world(test_many_fail_at_once),
		in_world(test_until_it_succeeds),
		in_world(test_again_and_again),
		in_world(test_pauses),
		in_world(test_stop),
		in_world(test_router_learns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
