/* SPDX-License-Identifier: Apache-2.0
 *
 * What the load generator asks, and when: closed loops ask again as soon as they are answered;
 * open loops ask when it is due, whatever the server does.
 */
#include "bench/load.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void print_and_exit(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	print_result(timer->data);
	exit(0);
}

static void on_window_end(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct load *load = timer->data;

	(void)events;
	counts_take(load, &load->end);
	/* In open loop what was asked in the window is given a second to be answered. */
	if (load->options.rate > 0) {
		ev_io_stop(loop, &load->ticks);
		ev_timer_init(timer, print_and_exit, 1.0, 0.0);
		ev_timer_start(loop, timer);
		return;
	}
	print_result(load);
	exit(0);
}

static void on_window_begin(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct load *load = timer->data;

	(void)events;
	counts_take(load, &load->begin);
	load->measuring = true;
	if (load->options.announce) {
		printf("measuring\n");
		fflush(stdout);
	}
	ev_timer_init(timer, on_window_end, load->options.seconds, 0.0);
	ev_timer_start(loop, timer);
}

static void load_open_more(struct load *load)
{
	while (load->serial < load->options.sessions && load->opening < load->options.concurrency) {
		(void)connection_open(&load->connections[load->serial], now_seconds());
	}
}

void connection_lost(struct connection *connection)
{
	connection->load->lost++;
	connection->load->lost_last = now_seconds();
}

/* What follows the end of a connection, wanted or not. */
void connection_replace(struct connection *connection)
{
	struct load *load = connection->load;

	if (load->options.mode != MODE_LOGIN) {
		load_open_more(load);
	} else if (load->options.rate > 0) {
		unsigned last = load->resting_first + load->resting_count++;

		load->resting[last % load->options.sessions] = connection;
	} else {
		(void)connection_open(connection, now_seconds());
	}
}

static bool noop_issue(struct load *load, double due)
{
	struct connection *connection = load->resting[load->resting_first];

	load->resting_first = (load->resting_first + 1) % load->options.sessions;
	load->resting_count--;
	connection->due = due;
	connection->step = STEP_WORK;
	return connection_command(connection, "n NOOP\r\n");
}

static void load_issue_due(struct load *load)
{
	double now = now_seconds();

	while (load->next_due <= now && load->resting_count > 0) {
		double due = load->next_due;

		load->next_due += 1 / load->options.rate;
		if (load->measuring && due >= load->begin.time) {
			load->issued++;
		}
		if (load->options.mode == MODE_NOOP) {
			(void)noop_issue(load, due);
			continue;
		}
		load->resting_count--;
		load->resting_first = (load->resting_first + 1) % load->options.sessions;
		(void)connection_open(
			load->resting[(load->resting_first + load->options.sessions - 1) %
				      load->options.sessions],
			due);
	}
}

static void on_tick(struct ev_loop *loop, ev_io *watcher, int events)
{
	uint64_t expirations;

	(void)loop;
	(void)events;
	if (read(watcher->fd, &expirations, sizeof(expirations)) > 0) {
		load_issue_due(watcher->data);
	}
}

/* A timer of its own: epoll waits whole milliseconds, a rate of 5,000/s needs fifths. */
static void load_start_ticking(struct load *load)
{
	double start = now_seconds() + 0.01;
	double interval = 1 / load->options.rate;
	struct itimerspec spec = {
		.it_value = {(time_t)start, (long)((start - floor(start)) * 1e9)},
		.it_interval = {(time_t)interval, (long)((interval - floor(interval)) * 1e9)},
	};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0) {
		load_fatal("timerfd: %s", strerror(errno));
	}
	load->next_due = start;
	load->ticks.data = load;
	ev_io_init(&load->ticks, on_tick, fd, EV_READ);
	ev_io_start(load->loop, &load->ticks);
}

static void load_start_window(struct load *load)
{
	if (load->options.rate > 0) {
		load_start_ticking(load);
	}
	load->timer.data = load;
	ev_now_update(load->loop);
	ev_timer_init(&load->timer, on_window_begin, load->options.warmup, 0.0);
	ev_timer_start(load->loop, &load->timer);
}

static bool connection_ask(struct connection *connection)
{
	struct load *load = connection->load;
	unsigned last;

	connection->due = now_seconds();
	switch (load->options.mode) {
	case MODE_LOGIN:
		connection->step = STEP_LOGOUT;
		return connection_command(connection, "c LOGOUT\r\n");
	case MODE_IDLE:
		return connection_command(connection, "b IDLE\r\n");
	case MODE_DOWNLOAD:
		return connection_command(connection, "d XDOWNLOAD %llu\r\n",
					  (unsigned long long)load->options.bytes);
	case MODE_UPLOAD:
		connection->upload_left = load->options.bytes;
		return connection_command(connection, "u APPEND INBOX {%llu+}\r\n",
					  (unsigned long long)load->options.bytes);
	case MODE_NOOP:
		if (load->options.rate > 0) {
			last = load->resting_first + load->resting_count++;
			load->resting[last % load->options.sessions] = connection;
			connection->step = STEP_WORK;
			return true;
		}
		return connection_command(connection, "n NOOP\r\n");
	}
	return false;
}

static void wait_for_line(void)
{
	char line[16];

	(void)!fgets(line, sizeof(line), stdin);
}

static void on_line(struct ev_loop *loop, ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	print_lost(watcher->data);
	exit(0);
}

/* Sessions may end meanwhile. */
static void await_line(struct load *load)
{
	load->ticks.data = load;
	ev_io_init(&load->ticks, on_line, STDIN_FILENO, EV_READ);
	ev_io_start(load->loop, &load->ticks);
}

/* A session has done what `sessions` must do before the window opens. */
static void load_one_ready(struct load *load)
{
	load->opening--;
	load->ready++;
	if (load->ready < load->options.sessions) {
		load_open_more(load);
		return;
	}
	if (load->options.mode == MODE_IDLE) {
		counts_take(load, &load->end);
		print_result(load);
		await_line(load);
		return;
	}
	load_start_window(load);
}

static void note_protocol(struct connection *connection)
{
	SSL *ssl = connection->ssl;
	struct load *load = connection->load;

	if (ssl == NULL) {
		snprintf(load->protocol, sizeof(load->protocol), "plain");
		return;
	}
	if (SSL_session_reused(ssl)) {
		load->now.resumed++;
	}
	snprintf(load->protocol, sizeof(load->protocol), "%s %s %s", SSL_get_version(ssl),
		 SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)),
		 SSL_get_curve_name(SSL_get_curve_id(ssl)));
}

static bool connection_logged_in(struct connection *connection)
{
	struct load *load = connection->load;

	note_protocol(connection);
	connection->step = STEP_WORK;
	if (load->options.mode == MODE_LOGIN) {
		load->opening--;
		record_latency(load, connection->due);
	} else if (load->options.mode != MODE_IDLE) {
		load_one_ready(load);
	}
	return connection_ask(connection);
}

static bool line_begins(const struct connection *connection, const char *text)
{
	return strncmp(connection->line, text, strlen(text)) == 0;
}

static bool connection_work_line(struct connection *connection)
{
	struct load *load = connection->load;
	const char *brace;

	if (load->options.mode == MODE_IDLE && line_begins(connection, "+")) {
		connection->step = STEP_REST;
		load_one_ready(load);
		return true;
	}
	if (line_begins(connection, "d OK") || line_begins(connection, "u OK") ||
	    line_begins(connection, "n OK")) {
		load->now.operations++;
		record_latency(load, connection->due);
		return connection_ask(connection);
	}
	brace = strrchr(connection->line, '{');
	if (brace != NULL && line_begins(connection, "* 1 FETCH")) {
		connection->literal_left = strtoull(brace + 1, NULL, 10);
		return true;
	}
	if (connection->line[0] == '*' || connection->line[0] == ')') {
		return true;
	}
	return connection_fail(connection, "unexpected answer");
}

bool connection_line(struct connection *connection)
{
	unsigned user = (unsigned)(connection - connection->load->connections);

	switch (connection->step) {
	case STEP_GREETING:
		if (!line_begins(connection, "* OK")) {
			return connection_fail(connection, "no greeting");
		}
		connection->step = STEP_LOGIN;
		return connection_command(connection, "a LOGIN %s%u secret\r\n",
					  connection->load->options.prefix,
					  user % connection->load->options.users);
	case STEP_LOGIN:
		if (connection->line[0] == '*') {
			return true;
		}
		if (!line_begins(connection, "a OK")) {
			return connection_fail(connection, "login refused");
		}
		return connection_logged_in(connection);
	case STEP_WORK:
		return connection_work_line(connection);
	default:
		return true;
	}
}

void load_start(struct load *load)
{
	struct rlimit limit;

	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	load->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	load->connections = calloc(load->options.sessions, sizeof(struct connection));
	load->resting = calloc(load->options.sessions, sizeof(struct connection *));
	if (load->loop == NULL || load->connections == NULL || load->resting == NULL) {
		load_fatal("no memory");
	}
	for (unsigned i = 0; i < load->options.sessions; i++) {
		load->connections[i].load = load;
	}
	memset(load->block, 'x', sizeof(load->block));
	load_init_tls(load);
	if (load->options.mode == MODE_IDLE) {
		printf("ready\n");
		fflush(stdout);
		wait_for_line();
		counts_take(load, &load->begin);
	}
	if (load->options.mode != MODE_LOGIN) {
		load_open_more(load);
		return;
	}
	for (unsigned i = 0; i < load->options.sessions; i++) {
		if (load->options.rate > 0) {
			load->resting[load->resting_count++] = &load->connections[i];
		} else {
			(void)connection_open(&load->connections[i], now_seconds());
		}
	}
	load_start_window(load);
}
