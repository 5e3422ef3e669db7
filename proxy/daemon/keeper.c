/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's thread: its loop, and the rooms that live on it.
 */
#include "daemon/keeper.h"

#include <ev.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/config.h"
#include "core/metrics.h"
#include "daemon/mailbox.h"
#include "daemon/tls_set.h"
#include "net/resolver.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "routing/health.h"

struct keeper {
	struct keeper_settings settings;
	struct ev_loop *loop;
	struct mailbox mailbox;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct resolver *resolver;
	struct health *health;
	struct metrics metrics;
	sem_t services_asked;
	pthread_t thread;
	bool directory_started;
	bool started;
};

/* --- The end -------------------------------------------------------------------------------- */

static void on_retired(void *owner)
{
	struct keeper *keeper = owner;

	ev_break(keeper->loop, EVBREAK_ALL);
}

static void on_letter(struct mailbox *mailbox, enum letter letter)
{
	struct keeper *keeper = container_of(mailbox, struct keeper, mailbox);

	invariant(letter == LETTER_STOP);
	if (keeper->settings.directory != NULL) {
		directory_retire(keeper->settings.directory, on_retired, keeper);
	} else {
		on_retired(keeper);
	}
}

/* --- Making --------------------------------------------------------------------------------- */

static bool start_directory(struct keeper *keeper, struct error *error)
{
	struct directory_house house = {
		.shared = &keeper->shared,
		.timeouts = &keeper->timeouts,
		.resolver = keeper->resolver,
		.metrics = &keeper->metrics,
		.tls_client = keeper->settings.tls->redis,
		.version = keeper->settings.version,
	};

	if (keeper->settings.directory == NULL) {
		return true;
	}
	keeper->directory_started = directory_start(keeper->settings.directory, &house, error);
	return keeper->directory_started;
}

static void on_services_asked(void *owner)
{
	struct keeper *keeper = owner;

	sem_post(&keeper->services_asked);
}

static bool make_health(struct keeper *keeper, struct error *error)
{
	struct health_settings settings = {
		.config = keeper->settings.config,
		.pool = keeper->settings.pool,
		.shared = &keeper->shared,
		.timeouts = &keeper->timeouts,
		.resolver = keeper->resolver,
		.metrics = &keeper->metrics,
		.tls_clients = keeper->settings.tls->backends,
		.services_asked = on_services_asked,
		.owner = keeper,
	};

	keeper->health = health_new(&settings, error);
	return keeper->health != NULL;
}

static bool make_rooms(struct keeper *keeper, struct error *error)
{
	unsigned peer_timeout = (unsigned)(keeper->settings.config->limits.peer_timeout_ms / 1000);

	keeper->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (keeper->loop == NULL) {
		return error_set(error, "cannot make an event loop");
	}
	timeouts_init(&keeper->timeouts, keeper->loop);
	mailbox_open(&keeper->mailbox, keeper->loop, on_letter);
	if (!stream_loop_init(&keeper->shared, keeper->loop, peer_timeout)) {
		return error_set(error, "out of memory");
	}
	keeper->resolver = resolver_new(keeper->loop, NULL, error);
	return keeper->resolver != NULL && start_directory(keeper, error) &&
	       make_health(keeper, error);
}

struct keeper *keeper_new(const struct keeper_settings *settings, struct error *error)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));

	if (keeper == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	keeper->settings = *settings;
	sem_init(&keeper->services_asked, 0, 0);
	if (!make_rooms(keeper, error)) {
		keeper_free(keeper);
		return NULL;
	}
	return keeper;
}

/* --- Running -------------------------------------------------------------------------------- */

static void *run(void *argument)
{
	struct keeper *keeper = argument;

	pthread_setname_np(pthread_self(), "keeper");
	ev_run(keeper->loop, 0);
	return NULL;
}

bool keeper_start(struct keeper *keeper, struct error *error)
{
	sigset_t all;
	sigset_t before;
	int error_number;

	/* Signals belong to the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error_number = pthread_create(&keeper->thread, NULL, run, keeper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error_number != 0) {
		return error_set(error, "cannot start a thread: %s", strerror(error_number));
	}
	keeper->started = true;
	return true;
}

void keeper_await_services(struct keeper *keeper)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += KEEPER_PATIENCE_MS / 1000;
	(void)sem_clockwait(&keeper->services_asked, CLOCK_MONOTONIC, &until);
}

void keeper_stop(struct keeper *keeper)
{
	if (keeper->started) {
		mailbox_post(&keeper->mailbox, LETTER_STOP);
		pthread_join(keeper->thread, NULL);
		keeper->started = false;
	}
}

void keeper_add_metrics(const struct keeper *keeper, struct metrics *total)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		metrics_add(total, (enum metric)i, metrics_get(&keeper->metrics, (enum metric)i));
	}
}

void keeper_free(struct keeper *keeper)
{
	if (keeper == NULL) {
		return;
	}
	invariant(!keeper->started);
	health_free(keeper->health);
	if (keeper->directory_started) {
		directory_stop(keeper->settings.directory);
	}
	resolver_free(keeper->resolver);
	stream_loop_done(&keeper->shared);
	if (keeper->loop != NULL) {
		mailbox_close(&keeper->mailbox);
		timeouts_done(&keeper->timeouts);
		ev_loop_destroy(keeper->loop);
	}
	sem_destroy(&keeper->services_asked);
	free(keeper);
}
