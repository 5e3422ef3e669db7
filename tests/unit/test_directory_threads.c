/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers that enter and leave as they like, on threads of their own, while the keeper moves their
 * users about, loses changes and connections, and a mover believes in every confirmation.
 */
#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "routing/pool.h"
#include "support/config_text.h"
#include "support/fake_store.h"

#define USERS   6
#define WORKERS 3
#define STAYS   4

/* Confirmations until it is enough, and when something must be broken. */
#define ENOUGH      5000
#define PATIENCE_MS 60000

void log_write(enum config_log_level level, const char *event, const struct log_field *fields,
	       size_t count)
{
	(void)level;
	(void)event;
	(void)fields;
	(void)count;
}

struct visitor {
	struct stay stay;
	size_t user;
	bool present;
};

struct worker {
	pthread_t thread;
	struct ev_loop *loop;
	struct ev_idle idle;
	struct directory_desk desk;
	struct metrics metrics;
	struct visitor visitors[STAYS];
	unsigned seed;
};

static struct world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics;
	struct config *config;
	struct pool *pool;
	struct directory *directory;
	struct worker workers[WORKERS];
	struct ev_idle idle;
	unsigned seed;
	unsigned epochs;
	unsigned moves;
	uint64_t began_ms;
	atomic_int present[USERS]; /* as the workers know it */
	atomic_uint violations;
	atomic_bool over;
} world;

static unsigned dice(unsigned *seed, unsigned sides)
{
	return (unsigned)rand_r(seed) % sides;
}

/* --- Workers ------------------------------------------------------------------------------------
 */

static void go(struct visitor *visitor)
{
	if (visitor->present) {
		visitor->present = false;
		atomic_fetch_sub(&world.present[visitor->user], 1);
	}
	directory_leave(&visitor->stay, true);
}

static void on_answered(struct stay *stay, const struct directory_answer *answer)
{
	struct visitor *visitor = container_of(stay, struct visitor, stay);

	if (answer->verdict != DIRECTORY_FAILED) {
		visitor->present = true;
		atomic_fetch_add(&world.present[visitor->user], 1);
	}
}

static void on_changed(struct stay *stay, const struct directory_answer *answer)
{
	struct visitor *visitor = container_of(stay, struct visitor, stay);

	if (!visitor->present || answer->verdict == DIRECTORY_FAILED) {
		atomic_fetch_add(&world.violations, 1);
	}
	go(visitor);
}

static void on_parked(struct stay *stay)
{
	if (container_of(stay, struct visitor, stay)->present) {
		atomic_fetch_add(&world.violations, 1);
	}
}

static void on_held(struct stay *stay)
{
	go(container_of(stay, struct visitor, stay));
}

static void on_drains_changed(struct directory_desk *desk)
{
	(void)desk;
}

static const struct stay_events events = {
	.answered = on_answered,
	.parked = on_parked,
	.released = on_parked,
	.changed = on_changed,
	.held = on_held,
	.drains_changed = on_drains_changed,
};

static void on_idle(struct ev_loop *loop, struct ev_idle *idle, int revents)
{
	struct worker *worker = container_of(idle, struct worker, idle);
	struct visitor *visitor = &worker->visitors[dice(&worker->seed, STAYS)];
	char user[8];

	(void)revents;
	if (atomic_load(&world.over)) {
		for (size_t i = 0; i < STAYS; i++) {
			go(&worker->visitors[i]);
		}
		ev_break(loop, EVBREAK_ALL);
	} else if (visitor->stay.resident != NULL) {
		go(visitor);
	} else {
		visitor->user = dice(&worker->seed, USERS);
		snprintf(user, sizeof(user), "u%zu", visitor->user);
		directory_enter(&worker->desk, &visitor->stay, user);
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	ev_run(worker->loop, 0);
	return NULL;
}

/* --- The mover, and Redis
 * ------------------------------------------------------------------------- */

static size_t user_number(const char *user)
{
	return strtoul(user + 1, NULL, 10);
}

static void expect_nobody(size_t user)
{
	if (atomic_load(&world.present[user]) != 0) {
		atomic_fetch_add(&world.violations, 1);
	}
}

static void on_confirming(const char *user)
{
	expect_nobody(user_number(user));
}

/* Hold; once confirmed, flip and release. Or the hold ends by itself. */
static void move_on(size_t user)
{
	char hold[32];
	char route[32];
	char move[32];
	char epoch[16];
	const char *held;
	const char *word;

	snprintf(hold, sizeof(hold), "gatepost:hold:u%zu", user);
	snprintf(route, sizeof(route), "gatepost:route:u%zu", user);
	snprintf(move, sizeof(move), "gatepost:move:u%zu", user);
	held = fake_get(hold, "");
	word = fake_get(move, "p1");
	if (held == NULL) {
		snprintf(epoch, sizeof(epoch), "e%u", world.epochs++);
		fake_set(hold, epoch);
	} else if (word != NULL && strcmp(word, held) == 0) {
		expect_nobody(user);
		if (dice(&world.seed, 3) == 0) {
			fake_set(route, dice(&world.seed, 2) == 0 ? "mail1" : "mail2");
			world.moves++;
			fake_delete(hold);
		}
	} else if (dice(&world.seed, 50) == 0) {
		fake_delete(hold);
	}
}

static void break_something(void)
{
	switch (dice(&world.seed, 3)) {
	case 0:
		fake_become_blind();
		break;
	case 1:
		fake_become_blind();
		fake_lose("chaos");
		break;
	default:
		fake->settings.events->flushed(fake->settings.owner);
	}
}

static void step(void)
{
	unsigned chance = dice(&world.seed, 1000);

	if (chance < 400) {
		fake_answer();
	} else if (chance < 500) {
		fake_run();
	} else if (chance < 800) {
		fake_tell();
	} else if (chance < 995) {
		move_on(dice(&world.seed, USERS));
	} else if (!fake->ready) {
		fake_become_ready();
	} else if (!fake->watching) {
		fake_become_watching();
	} else if (chance == 999 && dice(&world.seed, 20) == 0) {
		break_something();
	}
}

static void on_keeper_idle(struct ev_loop *loop, struct ev_idle *idle, int revents)
{
	(void)idle;
	(void)revents;
	step();
	if (fake->confirmations >= ENOUGH || timeouts_now_ms() > world.began_ms + PATIENCE_MS) {
		ev_break(loop, EVBREAK_ALL);
	}
}

/* --- All together
 * --------------------------------------------------------------------------------- */

static void start_workers(void)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *worker = &world.workers[i];

		worker->seed = i + 1;
		worker->loop = ev_loop_new(EVBACKEND_EPOLL);
		directory_attach(world.directory, &worker->desk, worker->loop, &events,
				 &worker->metrics);
		ev_idle_init(&worker->idle, on_idle);
		ev_idle_start(worker->loop, &worker->idle);
		assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
	}
}

static void stop_workers(void)
{
	atomic_store(&world.over, true);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *worker = &world.workers[i];

		pthread_join(worker->thread, NULL);
		directory_detach(&worker->desk);
		ev_idle_stop(worker->loop, &worker->idle);
		ev_loop_destroy(worker->loop);
	}
}

static void test_nobody_is_present_when_confirmed(void **state)
{
	struct directory_house house = {
		.shared = &world.shared,
		.timeouts = &world.timeouts,
		.metrics = &world.metrics,
	};

	(void)state;
	world.loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_true(stream_loop_init(&world.shared, world.loop, 0));
	timeouts_init(&world.timeouts, world.loop);
	world.config = config_text_good(CONFIG_TEXT_LISTENER
					"[[backend]]\nname = \"mail1\"\naddress = \"127.0.0.1:1\"\n"
					"[process]\nnode = \"p1\"\n[redis]\ntimeout = \"20ms\"\n");
	world.pool = pool_new(world.config, NULL);
	world.directory = directory_new(world.config, world.pool);
	assert_true(directory_start(world.directory, &house, NULL));
	fake->confirming = on_confirming;
	world.seed = 7;
	world.began_ms = timeouts_now_ms();
	fake_become_ready();
	fake_become_watching();
	ev_idle_init(&world.idle, on_keeper_idle);
	ev_idle_start(world.loop, &world.idle);
	start_workers();
	ev_run(world.loop, 0);
	ev_idle_stop(world.loop, &world.idle);
	assert_true(fake->confirmations >= ENOUGH);
	stop_workers();
	assert_int_equal(atomic_load(&world.violations), 0);
	assert_true(world.moves > 0);
	for (size_t i = 0; i < USERS; i++) {
		assert_int_equal(atomic_load(&world.present[i]), 0);
	}
	directory_stop(world.directory);
	directory_free(world.directory);
	pool_free(world.pool);
	config_unref(world.config);
	timeouts_done(&world.timeouts);
	stream_loop_done(&world.shared);
	ev_loop_destroy(world.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_is_present_when_confirmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
