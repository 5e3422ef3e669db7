/* SPDX-License-Identifier: Apache-2.0
 *
 * One worker: builds its floor of the house, runs the loop, and takes it down again.
 */
#include "daemon/worker.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config.h"
#include "core/metrics.h"
#include "daemon/tls_set.h"
#include "net/listener.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "net/tls.h"
#include "routing/route.h"
#include "session/session.h"

/* A listener and what its sessions need to know of it. */
struct worker_listener {
	struct listener listener;
	struct worker *worker;
	const struct config_listener *config;
	int fd; /* until the listener starts */
};

struct worker {
	struct worker_settings settings;
	struct ev_loop *loop;
	struct mailbox mailbox;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct resolver *resolver;
	struct router *router;
	struct metrics metrics;
	struct session_set sessions;
	struct worker_listener *listeners;
	size_t listener_count;
	struct ev_prepare watch; /* while draining: is the last session gone? */
	pthread_t thread;
	bool started;
	atomic_bool ended;
};

/* --- Events --------------------------------------------------------------------------------- */

static void on_accepted(struct listener *listener, int fd, const struct addr *peer)
{
	struct worker_listener *own = container_of(listener, struct worker_listener, listener);

	session_accept(&own->worker->sessions, own->config, fd, peer);
}

static void on_turn(struct ev_loop *loop, struct ev_prepare *watch, int events)
{
	struct worker *worker = container_of(watch, struct worker, watch);

	(void)events;
	if (session_set_count(&worker->sessions) == 0) {
		ev_break(loop, EVBREAK_ALL);
	}
}

static void begin_drain(struct worker *worker)
{
	router_stop_probes(worker->router);
	for (size_t i = 0; i < worker->listener_count; i++) {
		listener_stop(&worker->listeners[i].listener);
	}
	session_set_drain(&worker->sessions);
	ev_prepare_start(worker->loop, &worker->watch);
}

static void on_letter(struct mailbox *mailbox, enum letter letter)
{
	struct worker *worker = container_of(mailbox, struct worker, mailbox);

	begin_drain(worker);
	if (letter == LETTER_FINISH) {
		session_set_finish(&worker->sessions);
	} else if (letter == LETTER_STOP) {
		session_set_close(&worker->sessions);
	}
}

/* --- Making --------------------------------------------------------------------------------- */

static bool make_router(struct worker *worker, struct error *error)
{
	struct router_settings settings = {
		.config = worker->settings.config,
		.shared = &worker->shared,
		.timeouts = &worker->timeouts,
		.resolver = worker->resolver,
		.metrics = &worker->metrics,
		.pool = worker->settings.pool,
		.directory = worker->settings.directory,
		.canary = worker->settings.canary,
		.tls_clients = worker->settings.tls->backends,
		.url_tls_client = worker->settings.tls->urls,
		.events = &session_route_events,
		.owner = &worker->sessions,
	};

	worker->router = router_new(&settings, error);
	return worker->router != NULL;
}

static bool make_rooms(struct worker *worker, struct error *error)
{
	struct config *config = worker->settings.config;

	worker->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (worker->loop == NULL) {
		return error_set(error, "cannot make an event loop");
	}
	timeouts_init(&worker->timeouts, worker->loop);
	if (!stream_loop_init(&worker->shared, worker->loop,
			      (unsigned)(config->limits.peer_timeout_ms / 1000))) {
		return error_set(error, "out of memory");
	}
	worker->resolver = resolver_new(worker->loop, NULL, error);
	if (worker->resolver == NULL) {
		return false;
	}
	return make_router(worker, error);
}

static void make_sessions(struct worker *worker)
{
	struct tls_store *front = worker->settings.tls->front;
	struct session_house house = {
		.config = worker->settings.config,
		.shared = &worker->shared,
		.timeouts = &worker->timeouts,
		.router = worker->router,
		.resolver = worker->resolver,
		.metrics = &worker->metrics,
		.limit = worker->settings.limit,
		.tls = front != NULL ? tls_store_context(front) : NULL,
	};

	session_set_init(&worker->sessions, &house);
}

static bool take_listeners(struct worker *worker)
{
	const struct config *config = worker->settings.config;

	worker->listeners = calloc(config->listener_count, sizeof(worker->listeners[0]));
	if (worker->listeners == NULL) {
		return false;
	}
	worker->listener_count = config->listener_count;
	for (size_t i = 0; i < worker->listener_count; i++) {
		worker->listeners[i].worker = worker;
		worker->listeners[i].config = &config->listeners[i];
		worker->listeners[i].fd = worker->settings.listener_fds[i];
	}
	return true;
}

struct worker *worker_new(const struct worker_settings *settings, struct error *error)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	worker->settings = *settings;
	if (!take_listeners(worker)) {
		error_set(error, "out of memory");
		free(worker);
		return NULL;
	}
	if (!make_rooms(worker, error)) {
		worker_free(worker);
		return NULL;
	}
	make_sessions(worker);
	mailbox_open(&worker->mailbox, worker->loop, on_letter);
	ev_prepare_init(&worker->watch, on_turn);
	return worker;
}

/* --- Running -------------------------------------------------------------------------------- */

static void *run(void *argument)
{
	struct worker *worker = argument;

	pthread_setname_np(pthread_self(), "worker");
	for (size_t i = 0; i < worker->listener_count; i++) {
		struct worker_listener *own = &worker->listeners[i];

		listener_start(&own->listener, worker->loop, own->fd, &worker->metrics,
			       on_accepted);
		own->fd = -1;
	}
	router_start_probes(worker->router);
	ev_run(worker->loop, 0);
	atomic_store(&worker->ended, true);
	mailbox_post(worker->settings.supervisor, LETTER_ENDED);
	return NULL;
}

bool worker_start(struct worker *worker, struct error *error)
{
	sigset_t all;
	sigset_t before;
	int error_number;

	/* Signals belong to the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error_number = pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error_number != 0) {
		return error_set(error, "cannot start a thread: %s", strerror(error_number));
	}
	worker->started = true;
	return true;
}

void worker_post(struct worker *worker, enum letter letter)
{
	mailbox_post(&worker->mailbox, letter);
}

bool worker_has_ended(const struct worker *worker)
{
	return atomic_load(&worker->ended);
}

void worker_join(struct worker *worker)
{
	if (worker->started) {
		pthread_join(worker->thread, NULL);
		worker->started = false;
	}
}

void worker_add_metrics(const struct worker *worker, struct metrics *total)
{
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		metrics_add(total, (enum metric)i, metrics_get(&worker->metrics, (enum metric)i));
	}
}

uint64_t worker_closed(const struct worker *worker, enum close_reason reason)
{
	invariant(!worker->started && reason < CLOSE_REASON_COUNT);
	return worker->sessions.closed[reason];
}

/* --- Taking down ---------------------------------------------------------------------------- */

static void free_listeners(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++) {
		listener_stop(&worker->listeners[i].listener);
		if (worker->listeners[i].fd >= 0) {
			close(worker->listeners[i].fd);
		}
	}
	free(worker->listeners);
}

void worker_free(struct worker *worker)
{
	if (worker == NULL) {
		return;
	}
	invariant(!worker->started);
	free_listeners(worker);
	if (worker->sessions.house.config != NULL) {
		session_set_close(&worker->sessions);
		session_set_done(&worker->sessions);
		mailbox_close(&worker->mailbox);
		ev_prepare_stop(worker->loop, &worker->watch);
	}
	router_free(worker->router);
	resolver_free(worker->resolver);
	stream_loop_done(&worker->shared);
	if (worker->loop != NULL) {
		timeouts_done(&worker->timeouts);
		ev_loop_destroy(worker->loop);
	}
	free(worker);
}
