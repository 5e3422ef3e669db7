/* SPDX-License-Identifier: Apache-2.0
 *
 * The main thread: prepares what workers share, then waits for signals and for workers to end.
 */
#include "daemon/process.h"

#include <ev.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "daemon/keeper.h"
#include "daemon/mailbox.h"
#include "daemon/privilege.h"
#include "daemon/tls_set.h"
#include "daemon/worker.h"
#include "net/listener.h"
#include "net/tls.h"
#include "routing/canary.h"
#include "routing/directory.h"
#include "routing/health.h"
#include "routing/pool.h"
#include "session/limit.h"

/* Descriptors that are not sessions': log, loops, resolvers, listening sockets; and the keeper's,
 * for checks, which may try two addresses at a time, and for Redis, where sentinels and clusters
 * have more servers than are named. */
#define RESERVED_DESCRIPTORS    64
#define RESERVED_PER_WORKER     16
#define RESERVED_PER_CHECK      2
#define RESERVED_PER_REDIS      4
#define DESCRIPTORS_PER_SESSION 2

/* After drain_timeout sessions are ended in order; so long may that take. */
#define FINISH_SECONDS 1.0

struct process {
	struct config *config;
	struct tls_set tls;
	struct limit limit;
	struct ev_loop *loop;
	struct mailbox mailbox;
	struct ev_signal on_term;
	struct ev_signal on_int;
	struct ev_signal on_hangup;
	struct ev_signal on_user1;
	struct ev_signal on_user2;
	struct ev_timer deadline;
	struct ev_timer refresh; /* of OCSP responses and ticket keys */
	struct pool *pool;
	struct directory *directory; /* NULL where routing.source is "static" */
	struct canary *canary;       /* NULL where there is none */
	struct keeper *keeper;
	struct worker **workers;
	unsigned worker_count;
	int *listener_fds; /* worker_count rows of listener_count */
	enum letter stage; /* the last letter that the workers got; LETTER_COUNT before the first */
};

/* --- Ending --------------------------------------------------------------------------------- */

static void post_all(struct process *process, enum letter letter)
{
	process->stage = letter;
	for (unsigned i = 0; i < process->worker_count; i++) {
		worker_post(process->workers[i], letter);
	}
}

static void set_deadline(struct process *process, double seconds)
{
	ev_timer_stop(process->loop, &process->deadline);
	ev_timer_set(&process->deadline, seconds, 0.0);
	ev_timer_start(process->loop, &process->deadline);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct process *process = container_of(timer, struct process, deadline);

	(void)loop;
	(void)events;
	if (process->stage == LETTER_DRAIN) {
		post_all(process, LETTER_FINISH);
		set_deadline(process, FINISH_SECONDS);
	} else {
		post_all(process, LETTER_STOP);
	}
}

static void on_refresh(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct process *process = container_of(timer, struct process, refresh);

	(void)loop;
	(void)events;
	tls_store_refresh(process->tls.front);
}

static void on_terminate(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	struct process *process = signal->data;
	double seconds = (double)process->config->process.drain_timeout_ms / 1000.0;

	(void)loop;
	(void)events;
	if (signal->signum == SIGINT || process->stage != LETTER_COUNT) {
		log_info("stopping", log_text("signal", sigabbrev_np(signal->signum)));
		post_all(process, LETTER_STOP);
		return;
	}
	log_info("draining", log_text("signal", sigabbrev_np(signal->signum)));
	post_all(process, LETTER_DRAIN);
	set_deadline(process, seconds);
}

/* Operators' habits must not end the sessions of a version that does not know them yet. */
static void on_other_signal(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	(void)loop;
	(void)events;
	log_warn("signal ignored", log_text("signal", sigabbrev_np(signal->signum)),
		 log_text("detail", "this version neither reloads nor hands over"));
}

static void on_letter(struct mailbox *mailbox, enum letter letter)
{
	struct process *process = container_of(mailbox, struct process, mailbox);

	invariant(letter == LETTER_ENDED);
	for (unsigned i = 0; i < process->worker_count; i++) {
		if (!worker_has_ended(process->workers[i])) {
			return;
		}
	}
	ev_break(process->loop, EVBREAK_ALL);
}

static void log_totals(const struct process *process)
{
	struct log_field fields[METRIC_COUNT];
	struct metrics total = {0};

	for (unsigned i = 0; i < process->worker_count; i++) {
		worker_add_metrics(process->workers[i], &total);
	}
	keeper_add_metrics(process->keeper, &total);
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		fields[i] = log_number(metrics_name((enum metric)i),
				       (int64_t)metrics_get(&total, (enum metric)i));
	}
	log_write(CONFIG_LOG_INFO, "stopped", fields, METRIC_COUNT);
}

static void log_reasons(const struct process *process)
{
	struct log_field fields[CLOSE_REASON_COUNT];

	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		uint64_t total = 0;

		for (unsigned j = 0; j < process->worker_count; j++) {
			total += worker_closed(process->workers[j], (enum close_reason)i);
		}
		fields[i] = log_number(close_reason_label((enum close_reason)i), (int64_t)total);
	}
	log_write(CONFIG_LOG_INFO, "sessions by reason", fields, CLOSE_REASON_COUNT);
}

static void join_workers(const struct process *process)
{
	for (unsigned i = 0; i < process->worker_count; i++) {
		worker_join(process->workers[i]);
	}
}

/* --- Preparing ------------------------------------------------------------------------------ */

static unsigned count_workers(const struct config *config)
{
	cpu_set_t processors;

	if (config->process.workers > 0) {
		return config->process.workers;
	}
	/* Those that this process may use: a container often has a few of many. */
	if (sched_getaffinity(0, sizeof(processors), &processors) != 0) {
		return 1;
	}
	return (unsigned)CPU_COUNT(&processors);
}

/* Checks at a time, at most. */
static unsigned count_checks(const struct config *config)
{
	size_t count = config->backend_count;

	if (config->health.check == CONFIG_CHECK_NONE) {
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (config->backends[i].service[0] != '\0') {
			return HEALTH_AT_ONCE;
		}
	}
	return (unsigned)(count < HEALTH_AT_ONCE ? count : HEALTH_AT_ONCE);
}

static unsigned count_reserved(const struct process *process)
{
	const struct config *config = process->config;

	return RESERVED_DESCRIPTORS + RESERVED_PER_WORKER * process->worker_count +
	       RESERVED_PER_CHECK * count_checks(config) +
	       RESERVED_PER_REDIS * (unsigned)config->redis.address_count;
}

static bool set_limit(struct process *process, struct error *error)
{
	unsigned descriptors = privilege_raise_descriptors();
	unsigned reserved = count_reserved(process);
	unsigned wanted = process->config->process.max_sessions;
	unsigned possible;

	if (descriptors < reserved + DESCRIPTORS_PER_SESSION) {
		return error_set(error, "%u open files are too few for %u workers", descriptors,
				 process->worker_count);
	}
	possible = (descriptors - reserved) / DESCRIPTORS_PER_SESSION;
	process->limit.max = wanted > 0 && wanted < possible ? wanted : possible;
	if (wanted > possible) {
		log_warn("process.max_sessions is more than the limit of open files allows",
			 log_number("wanted", wanted), log_number("possible", possible));
	}
	return true;
}

/* Binds every listener once for each worker; rows are workers'. */
static bool bind_listeners(struct process *process, struct error *error)
{
	const struct config *config = process->config;
	unsigned workers = process->worker_count;
	int *column = calloc(workers, sizeof(*column));

	process->listener_fds = calloc(config->listener_count * workers, sizeof(int));
	if (column == NULL || process->listener_fds == NULL) {
		free(column);
		return error_set(error, "out of memory");
	}
	for (size_t i = 0; i < config->listener_count; i++) {
		if (!listener_bind(&config->listeners[i].address, column, workers, error)) {
			free(column);
			return false; /* the process ends, and its descriptors with it */
		}
		for (unsigned worker = 0; worker < workers; worker++) {
			process->listener_fds[worker * config->listener_count + i] = column[worker];
		}
	}
	free(column);
	return true;
}

static bool make_shared(struct process *process, struct error *error)
{
	struct config *config = process->config;
	struct keeper_settings settings = {
		.config = config,
		.tls = &process->tls,
		.version = GATEPOST_VERSION,
	};

	process->pool = pool_new(config, error);
	if (process->pool == NULL) {
		return false;
	}
	if (config->routing.source == CONFIG_SOURCE_REDIS) {
		process->directory = directory_new(config, process->pool);
		if (process->directory == NULL) {
			return error_set(error, "out of memory");
		}
	}
	if (config->routing.canary.share > 0) {
		process->canary = canary_new(config->routing.canary_threshold);
		if (process->canary == NULL) {
			return error_set(error, "out of memory");
		}
	}
	settings.pool = process->pool;
	settings.directory = process->directory;
	process->keeper = keeper_new(&settings, error);
	return process->keeper != NULL;
}

static bool make_workers(struct process *process, struct error *error)
{
	size_t listeners = process->config->listener_count;

	process->workers = calloc(process->worker_count, sizeof(struct worker *));
	if (process->workers == NULL) {
		return error_set(error, "out of memory");
	}
	for (unsigned i = 0; i < process->worker_count; i++) {
		struct worker_settings settings = {
			.config = process->config,
			.tls = &process->tls,
			.pool = process->pool,
			.directory = process->directory,
			.canary = process->canary,
			.limit = &process->limit,
			.listener_fds = process->listener_fds + i * listeners,
			.supervisor = &process->mailbox,
		};

		process->workers[i] = worker_new(&settings, error);
		if (process->workers[i] == NULL) {
			return false;
		}
	}
	return true;
}

static bool start_workers(struct process *process, struct error *error)
{
	for (unsigned i = 0; i < process->worker_count; i++) {
		if (!worker_start(process->workers[i], error)) {
			post_all(process, LETTER_STOP);
			return false;
		}
	}
	return true;
}

static void watch_signal(struct process *process, struct ev_signal *watcher, int signal,
			 void (*callback)(struct ev_loop *, struct ev_signal *, int))
{
	ev_signal_init(watcher, callback, signal);
	watcher->data = process;
	ev_signal_start(process->loop, watcher);
}

static bool prepare(struct process *process, struct error *error)
{
	process->loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (process->loop == NULL) {
		return error_set(error, "cannot make an event loop");
	}
	signal(SIGPIPE, SIG_IGN);
	mailbox_open(&process->mailbox, process->loop, on_letter);
	ev_timer_init(&process->deadline, on_deadline, 0.0, 0.0);
	ev_timer_init(&process->refresh, on_refresh, TLS_REFRESH_SECONDS, TLS_REFRESH_SECONDS);
	watch_signal(process, &process->on_term, SIGTERM, on_terminate);
	watch_signal(process, &process->on_int, SIGINT, on_terminate);
	watch_signal(process, &process->on_hangup, SIGHUP, on_other_signal);
	watch_signal(process, &process->on_user1, SIGUSR1, on_other_signal);
	watch_signal(process, &process->on_user2, SIGUSR2, on_other_signal);
	process->worker_count = count_workers(process->config);
	/* The key is read, and low ports are bound, while the process still may. */
	if (!set_limit(process, error) || !tls_set_load(&process->tls, process->config, error) ||
	    !bind_listeners(process, error) ||
	    !privilege_drop(process->config->process.user, error)) {
		return false;
	}
	privilege_forbid_dumps();
	if (process->tls.front != NULL) {
		ev_timer_start(process->loop, &process->refresh);
	}
	if (!make_shared(process, error) || !make_workers(process, error) ||
	    !keeper_start(process->keeper, error)) {
		return false;
	}
	/* Who connects meanwhile waits in the queues of the listening sockets. */
	keeper_await_services(process->keeper);
	return start_workers(process, error);
}

static void log_start(const struct process *process)
{
	log_info("listening", log_text("version", GATEPOST_VERSION),
		 log_text("tls", tls_library_version()), log_number("pid", getpid()),
		 log_number("workers", process->worker_count),
		 log_number("listeners", (int64_t)process->config->listener_count),
		 log_number("backends", (int64_t)process->config->backend_count),
		 log_number("max_sessions", process->limit.max));
}

static void take_down(struct process *process)
{
	for (unsigned i = 0; i < process->worker_count && process->workers != NULL; i++) {
		if (process->workers[i] != NULL) {
			worker_join(process->workers[i]);
			worker_free(process->workers[i]);
		}
	}
	free(process->workers);
	free(process->listener_fds);
	if (process->keeper != NULL) {
		keeper_stop(process->keeper);
	}
	keeper_free(process->keeper);
	directory_free(process->directory);
	canary_free(process->canary);
	pool_free(process->pool);
	tls_set_done(&process->tls);
	if (process->loop != NULL) {
		mailbox_close(&process->mailbox);
		ev_loop_destroy(process->loop);
	}
}

enum process_status process_run(struct config *config)
{
	struct process process = {.config = config, .stage = LETTER_COUNT};
	struct error error = {0};
	enum process_status status = PROCESS_STOPPED;

	log_open(config->log.level, config->log.format);
	if (prepare(&process, &error)) {
		log_start(&process);
		ev_run(process.loop, 0);
		join_workers(&process);
		keeper_stop(process.keeper);
		log_reasons(&process);
		log_totals(&process);
	} else {
		log_error("cannot start", log_text("detail", error.text));
		status = PROCESS_FAILED;
	}
	take_down(&process);
	log_close();
	return status;
}

enum process_status process_check(const struct config *config, const char *file)
{
	return tls_set_check(config, file, stderr) ? PROCESS_STOPPED : PROCESS_USAGE;
}
