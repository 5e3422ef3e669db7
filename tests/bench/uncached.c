/* SPDX-License-Identifier: Apache-2.0
 *
 * What a login of a user who is not cached costs in the directory: the time until a worker has the
 * answer, beside that of the same two commands on a bare connection, and the segments that go to
 * Redis and come from there, as the kernel counts them. Redis is a real one on the given port.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "base/base.h"
#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "net/resolver.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "routing/pool.h"
#include "support/config_text.h"

#define LOGINS       20000U /* of as many users, one after the other */
#define BATCH        64U    /* logins at a time, the second time */
#define FD_MAX       64
#define NAME_SIZE    64
#define READY_WITHIN 10.0 /* seconds */

#define CONFIGURATION                                                                              \
	CONFIG_TEXT_LISTENER "[redis]\nurl = \"redis://127.0.0.1:%u/0\"\n[[backend]]\n"            \
			     "name = \"mail1\"\naddress = \"127.0.0.1:143\"\n"

/* The keeper, as far as the directory is concerned. */
static struct {
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics;
	pthread_t thread;
} keeper;

static struct {
	struct ev_loop *loop;
	struct metrics metrics;
	struct directory *directory;
	struct directory_desk desk;
	struct stay stays[BATCH];
	unsigned answers;
	unsigned routes;
	unsigned port;
	int raw; /* the bare connection */
} bench;

struct segments {
	uint64_t to;
	uint64_t from;
};

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Users of the two measurements differ, since each is cached after its login. */
static void write_name(char name[NAME_SIZE], unsigned user)
{
	snprintf(name, NAME_SIZE, "given.family%u@example.org", user);
}

/* --- The bare connection -------------------------------------------------------------------- */

static void connect_raw(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)bench.port)};
	int one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bench.raw = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bench.raw < 0 ||
	    connect(bench.raw, (struct sockaddr *)&address, sizeof(address)) != 0) {
		err(1, "Redis on port %u", bench.port);
	}
	setsockopt(bench.raw, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void exchange_raw(const char *commands, const char *answers)
{
	char got[256];
	size_t wanted = strlen(answers);
	size_t length = 0;

	if (write(bench.raw, commands, strlen(commands)) != (ssize_t)strlen(commands)) {
		err(1, "Redis");
	}
	while (length < wanted) {
		ssize_t more = read(bench.raw, got + length, sizeof(got) - length);

		if (more <= 0) {
			errx(1, "Redis has gone");
		}
		length += (size_t)more;
	}
	if (length != wanted || memcmp(got, answers, wanted) != 0) {
		errx(1, "Redis says %.*s", (int)length, got);
	}
}

static void set_routes(void)
{
	for (unsigned user = 0; user < 2 * LOGINS; user++) {
		char command[2 * NAME_SIZE];
		char name[NAME_SIZE];

		write_name(name, user);
		snprintf(command, sizeof(command), "SET gatepost:route:%s mail1\r\n", name);
		exchange_raw(command, "+OK\r\n");
	}
}

static void ask_raw(unsigned user)
{
	char commands[512];
	char hold[2 * NAME_SIZE];
	char route[2 * NAME_SIZE];
	char name[NAME_SIZE];

	write_name(name, user);
	snprintf(hold, sizeof(hold), "gatepost:hold:%s", name);
	snprintf(route, sizeof(route), "gatepost:route:%s", name);
	snprintf(commands, sizeof(commands),
		 "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(hold),
		 hold, strlen(route), route);
	exchange_raw(commands, "$-1\r\n$5\r\nmail1\r\n");
}

/* --- The directory -------------------------------------------------------------------------- */

static void on_answered(struct stay *stay, const struct directory_answer *answer)
{
	(void)stay;
	bench.answers++;
	bench.routes += answer->verdict == DIRECTORY_ROUTE && !answer->stale ? 1 : 0;
}

static void on_stay(struct stay *stay)
{
	(void)stay;
	errx(1, "somebody is on hold");
}

static void on_changed(struct stay *stay, const struct directory_answer *answer)
{
	(void)stay;
	(void)answer;
}

static void on_drains(struct directory_desk *desk)
{
	(void)desk;
}

static void *run_keeper(void *argument)
{
	(void)argument;
	ev_run(keeper.shared.loop, 0);
	return NULL;
}

static void start_keeper(void)
{
	struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	struct directory_house house = {
		.shared = &keeper.shared, .timeouts = &keeper.timeouts, .metrics = &keeper.metrics};
	struct error error = {0};

	if (loop == NULL || !stream_loop_init(&keeper.shared, loop, 0)) {
		errx(1, "no memory");
	}
	timeouts_init(&keeper.timeouts, loop);
	house.resolver = resolver_new(loop, NULL, &error);
	if (house.resolver == NULL || !directory_start(bench.directory, &house, &error) ||
	    pthread_create(&keeper.thread, NULL, run_keeper, NULL) != 0) {
		errx(1, "no keeper: %s", error.text);
	}
}

static void start_directory(void)
{
	static const struct stay_events events = {
		.answered = on_answered,
		.parked = on_stay,
		.released = on_stay,
		.changed = on_changed,
		.held = on_stay,
		.drains_changed = on_drains,
	};
	char text[512];
	struct config *config;
	struct error error = {0};
	struct pool *pool;

	snprintf(text, sizeof(text), CONFIGURATION, bench.port);
	config = config_text_good(text);
	pool = pool_new(config, &error);
	log_open(CONFIG_LOG_ERROR, CONFIG_LOG_LOGFMT);
	bench.loop = ev_default_loop(EVFLAG_NOENV | EVBACKEND_EPOLL);
	bench.directory = pool != NULL ? directory_new(config, pool) : NULL;
	if (bench.loop == NULL || bench.directory == NULL) {
		errx(1, "no directory: %s", error.text);
	}
	directory_attach(bench.directory, &bench.desk, bench.loop, &events, &bench.metrics);
	start_keeper();
}

/* Logins of `count` users at a time, until all have their routes. */
static void enter(unsigned first, unsigned count)
{
	char name[NAME_SIZE];

	bench.answers = 0;
	bench.routes = 0;
	for (unsigned i = 0; i < count; i++) {
		write_name(name, first + i);
		directory_enter(&bench.desk, &bench.stays[i], name);
	}
	while (bench.answers < count) {
		ev_run(bench.loop, EVRUN_ONCE);
	}
}

static void leave(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		directory_leave(&bench.stays[i], true);
	}
}

/* Somebody whom nobody else asks for; a pause lets the watch begin too. */
static void await_ready(void)
{
	double until_us = now_us() + READY_WITHIN * 1e6;

	do {
		enter(2 * LOGINS - 1, 1);
		leave(1);
		usleep(100000);
	} while (bench.routes == 0 && now_us() < until_us);
	if (bench.routes == 0) {
		errx(1, "Redis does not answer");
	}
}

/* --- Measuring ------------------------------------------------------------------------------ */

/* All connections of this process to Redis but the bare one. */
static struct segments count_segments(void)
{
	struct segments segments = {0};

	for (int fd = 3; fd < FD_MAX; fd++) {
		struct sockaddr_in peer = {0};
		struct tcp_info info = {0};
		socklen_t peer_size = sizeof(peer);
		socklen_t info_size = sizeof(info);

		if (fd != bench.raw && getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 &&
		    peer.sin_family == AF_INET && ntohs(peer.sin_port) == bench.port &&
		    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size) == 0) {
			segments.to += info.tcpi_data_segs_out;
			segments.from += info.tcpi_data_segs_in;
		}
	}
	return segments;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static void print_times(const char *name, double times[LOGINS])
{
	qsort(times, LOGINS, sizeof(times[0]), compare);
	printf("\"%s\":{\"p50\":%.2f,\"p99\":%.2f},", name, times[LOGINS / 2],
	       times[LOGINS / 100 * 99]);
}

static void print_segments(const char *name, const struct segments *before)
{
	struct segments after = count_segments();

	printf("\"%s\":{\"to\":%.3f,\"from\":%.3f}", name, (double)(after.to - before->to) / LOGINS,
	       (double)(after.from - before->from) / LOGINS);
}

/* In turns, so that both have the same machine. */
static void measure_alone(void)
{
	static double bare_us[LOGINS];
	static double lookup_us[LOGINS];
	struct segments before = count_segments();

	for (unsigned user = 0; user < LOGINS; user++) {
		double began_us = now_us();

		ask_raw(user);
		bare_us[user] = now_us() - began_us;
		began_us = now_us();
		enter(user, 1);
		lookup_us[user] = now_us() - began_us;
		leave(1);
		if (bench.routes != 1) {
			errx(1, "a login without a route");
		}
	}
	print_times("bare_us", bare_us);
	print_times("lookup_us", lookup_us);
	print_segments("segments", &before);
}

static void measure_together(void)
{
	struct segments before = count_segments();

	for (unsigned user = LOGINS; user + BATCH <= 2 * LOGINS - 1; user += BATCH) {
		enter(user, BATCH);
		leave(BATCH);
	}
	printf(",\"together\":%u,", BATCH);
	print_segments("segments_together", &before);
}

int main(int argc, char **argv)
{
	bench.port = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	if (bench.port == 0) {
		fprintf(stderr, "usage: uncached PORT_OF_REDIS\n");
		return 2;
	}
	connect_raw();
	set_routes();
	start_directory();
	await_ready();
	printf("{\"logins\":%u,", LOGINS);
	measure_alone();
	measure_together();
	printf("}\n");
	return 0;
}
