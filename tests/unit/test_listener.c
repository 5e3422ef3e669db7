/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: addresses that are taken, files in the way of a Unix socket, batches, and
 * running out of descriptors without spinning.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base.h"
#include "core/metrics.h"
#include "net/listener.h"
#include "support/log_capture.h"
#include "support/turns.h"

#define MANY 200

struct world {
	struct ev_loop *loop;
	struct listener listener;
	struct metrics metrics;
	unsigned accepted;
	unsigned most_in_a_turn;
	unsigned in_this_turn;
	int fds[MANY];
	struct addr peers[MANY];
	unsigned stop_after; /* 0: never */
	struct ev_prepare prepare;
	unsigned turns;
};

static void on_turn(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
	struct world *world = container_of(prepare, struct world, prepare);

	(void)loop;
	(void)events;
	world->turns++;
	world->in_this_turn = 0;
}

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	ev_prepare_init(&world->prepare, on_turn);
	ev_prepare_start(world->loop, &world->prepare);
	buffer_done(&logged);
	*state = world;
	return 0;
}

static int end(void **state)
{
	struct world *world = *state;

	listener_stop(&world->listener);
	listener_stop(&world->listener);
	for (unsigned i = 0; i < world->accepted; i++) {
		close(world->fds[i]);
	}
	ev_loop_destroy(world->loop);
	free(world);
	buffer_done(&logged);
	return 0;
}

static void on_accepted(struct listener *listener, int fd, const struct addr *peer)
{
	struct world *world = container_of(listener, struct world, listener);

	assert_true(world->accepted < MANY);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	world->fds[world->accepted] = fd;
	world->peers[world->accepted] = *peer;
	world->accepted++;
	world->in_this_turn++;
	if (world->in_this_turn > world->most_in_a_turn) {
		world->most_in_a_turn = world->in_this_turn;
	}
	if (world->accepted == world->stop_after) {
		listener_stop(listener);
	}
}

static void start(struct world *world, int fd)
{
	listener_start(&world->listener, world->loop, fd, &world->metrics, on_accepted);
}

/* --- IP addresses --------------------------------------------------------------------------- */

/* An endpoint that nobody has, as far as one can know. */
static void free_endpoint(struct endpoint *endpoint, const char *host)
{
	bool six = strchr(host, ':') != NULL;
	struct sockaddr_storage address = {.ss_family = six ? AF_INET6 : AF_INET};
	socklen_t length = sizeof(address);
	struct addr bound;
	char text[80];
	int fd = socket(address.ss_family, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	addr_from_sockaddr(&bound, (struct sockaddr *)&address);
	snprintf(text, sizeof(text), six ? "[%s]:%u" : "%s:%u", host, addr_port(&bound));
	assert_true(endpoint_parse(endpoint, text, 0, NULL));
}

static int connect_to(const struct endpoint *endpoint)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	int fd = socket(endpoint->kind == ENDPOINT_IP ? endpoint->ip.family : AF_UNIX,
			SOCK_STREAM | SOCK_CLOEXEC, 0);
	int outcome;

	assert_true(fd >= 0);
	if (endpoint->kind == ENDPOINT_IP) {
		outcome = connect(fd, (const struct sockaddr *)&endpoint->ip,
				  addr_length(&endpoint->ip));
	} else {
		strcpy(local.sun_path, endpoint->name);
		outcome = connect(fd, (const struct sockaddr *)&local, sizeof(local));
	}
	if (outcome != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		close(fds[i]);
	}
}

static void check_accepting(struct world *world, const char *host)
{
	struct endpoint endpoint = {0};
	struct error error = {0};
	char ip[ADDR_IP_TEXT_MAX];
	int fds[4];
	int client;

	free_endpoint(&endpoint, host);
	assert_true(listener_bind(&endpoint, fds, 4, &error));
	close_all(fds, 3); /* the kernel spreads connections; one listener takes them all */
	start(world, fds[3]);
	client = connect_to(&endpoint);
	turns_until_count(world->loop, &world->accepted, world->accepted + 1);
	addr_format_ip(&world->peers[world->accepted - 1], ip);
	assert_string_equal(ip, host);
	close(client);
	listener_stop(&world->listener);
	assert_int_equal(connect_to(&endpoint), -1);
	endpoint_done(&endpoint);
}

static void test_accepting(void **state)
{
	check_accepting(*state, "127.0.0.1");
	check_accepting(*state, "::1");
}

/* Any socket that listens there is a failure: also of the same user, also one that would share. */
static void test_address_in_use(void **state)
{
	struct endpoint endpoint = {0};

	(void)state;
	for (int shared = 0; shared < 2; shared++) {
		struct error error = {0};
		char expected[120];
		int fds[2];
		int on = 1;
		int other = socket(AF_INET, SOCK_STREAM, 0);

		free_endpoint(&endpoint, "127.0.0.1");
		setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (shared) {
			setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		}
		assert_int_equal(bind(other, (struct sockaddr *)&endpoint.ip,
				      addr_length(&endpoint.ip)), 0);
		assert_int_equal(listen(other, 1), 0);
		assert_false(listener_bind(&endpoint, fds, 2, &error));
		snprintf(expected, sizeof(expected),
			 "cannot listen on 127.0.0.1:%u: Address already in use", endpoint.port);
		assert_string_equal(error.text, expected);
		close(other);
		assert_true(listener_bind(&endpoint, fds, 2, &error));
		assert_false(listener_bind(&endpoint, (int[2]){0}, 2, &error));
		close_all(fds, 2);
		endpoint_done(&endpoint);
	}
}

/* The address of another machine. */
static void test_address_of_others(void **state)
{
	struct endpoint endpoint = {0};
	struct error error = {0};
	int fd;

	(void)state;
	assert_true(endpoint_parse(&endpoint, "192.0.2.1:993", 0, NULL));
	assert_false(listener_bind(&endpoint, &fd, 1, &error));
	assert_string_equal(error.text,
			    "cannot listen on 192.0.2.1:993: Cannot assign requested address");
	endpoint_done(&endpoint);
}

/* After connections that the server ended first, the address is free at once. */
static void test_restart(void **state)
{
	struct world *world = *state;
	struct endpoint endpoint = {0};
	int fd;
	int client;

	free_endpoint(&endpoint, "127.0.0.1");
	assert_true(listener_bind(&endpoint, &fd, 1, NULL));
	start(world, fd);
	client = connect_to(&endpoint);
	turns_until_count(world->loop, &world->accepted, 1);
	close(world->fds[--world->accepted]);
	usleep(1000);
	close(client); /* TIME_WAIT is ours */
	listener_stop(&world->listener);
	assert_true(listener_bind(&endpoint, &fd, 1, NULL));
	close(fd);
	endpoint_done(&endpoint);
}

/* --- Unix sockets --------------------------------------------------------------------------- */

static void unix_endpoint(struct endpoint *endpoint)
{
	char text[80];

	snprintf(text, sizeof(text), "unix:/tmp/gatepost-listener-%d", (int)getpid());
	assert_true(endpoint_parse(endpoint, text, 0, NULL));
	unlink(endpoint->name);
}

static void check_unix_refused(const struct endpoint *endpoint)
{
	struct error error = {0};
	char expected[160];
	int fd;

	snprintf(expected, sizeof(expected), "cannot listen on unix:%s: Address already in use",
		 endpoint->name);
	assert_false(listener_bind(endpoint, &fd, 1, &error));
	assert_string_equal(error.text, expected);
}

static void test_unix(void **state)
{
	struct world *world = *state;
	struct endpoint endpoint = {0};
	int fds[3];
	int client;

	unix_endpoint(&endpoint);
	assert_true(listener_bind(&endpoint, fds, 3, NULL));
	check_unix_refused(&endpoint); /* it lives */
	for (int i = 0; i < 3; i++) {
		assert_true((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
		assert_true((fcntl(fds[i], F_GETFL) & O_NONBLOCK) != 0);
	}
	close_all(fds, 2);
	check_unix_refused(&endpoint); /* a worker of it lives */
	start(world, fds[2]);
	turns_for(world->loop, 1); /* the attempts above have knocked */
	while (world->accepted > 0) {
		close(world->fds[--world->accepted]);
	}
	client = connect_to(&endpoint);
	turns_until_count(world->loop, &world->accepted, 1);
	assert_int_equal(world->peers[0].family, AF_UNIX);
	close(client);
	listener_stop(&world->listener);
	/* What is left behind is stale, and replaced. */
	assert_int_equal(access(endpoint.name, F_OK), 0);
	assert_int_equal(connect_to(&endpoint), -1);
	assert_true(listener_bind(&endpoint, fds, 1, NULL));
	client = connect_to(&endpoint);
	assert_true(client >= 0);
	close(client);
	close(fds[0]);
	unlink(endpoint.name);
	endpoint_done(&endpoint);
}

/* A server that is so busy that its queue is full lives too, and start-up does not hang on it. */
static void test_unix_busy(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct endpoint endpoint = {0};
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	int clients[8];
	unsigned count = 0;

	(void)state;
	unix_endpoint(&endpoint);
	strcpy(address.sun_path, endpoint.name);
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listening, 0), 0);
	do {
		clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	} while (connect(clients[count++], (struct sockaddr *)&address, sizeof(address)) == 0);
	assert_int_equal(errno, EAGAIN);
	alarm(20);
	check_unix_refused(&endpoint);
	alarm(0);
	close_all(clients, count);
	close(listening);
	unlink(endpoint.name);
	endpoint_done(&endpoint);
}

/* What is not a socket is somebody's, and stays. */
static void test_unix_in_the_way(void **state)
{
	struct endpoint endpoint = {0};
	struct stat found;
	char target[120];
	int fd;

	(void)state;
	unix_endpoint(&endpoint);
	fd = open(endpoint.name, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_int_equal(write(fd, "mail", 4), 4);
	close(fd);
	check_unix_refused(&endpoint);
	assert_int_equal(stat(endpoint.name, &found), 0);
	assert_int_equal(found.st_size, 4);
	snprintf(target, sizeof(target), "%s.target", endpoint.name);
	assert_int_equal(rename(endpoint.name, target), 0);
	assert_int_equal(symlink(target, endpoint.name), 0);
	check_unix_refused(&endpoint);
	assert_int_equal(lstat(endpoint.name, &found), 0);
	assert_true(S_ISLNK(found.st_mode));
	unlink(endpoint.name);
	unlink(target);
	assert_int_equal(mkdir(endpoint.name, 0700), 0);
	check_unix_refused(&endpoint);
	assert_int_equal(rmdir(endpoint.name), 0);
	endpoint_done(&endpoint);
}

/* --- Accepting ------------------------------------------------------------------------------ */

static void test_batch(void **state)
{
	struct world *world = *state;
	struct endpoint endpoint = {0};
	int clients[150];
	int fd;

	free_endpoint(&endpoint, "127.0.0.1");
	assert_true(listener_bind(&endpoint, &fd, 1, NULL));
	for (unsigned i = 0; i < array_length(clients); i++) {
		clients[i] = connect_to(&endpoint);
	}
	start(world, fd);
	turns_until_count(world->loop, &world->accepted, array_length(clients));
	assert_int_equal(world->accepted, array_length(clients));
	assert_int_equal(world->most_in_a_turn, LISTENER_BATCH);
	assert_int_equal(metrics_get(&world->metrics, METRIC_ACCEPT_FAILURES), 0);
	close_all(clients, array_length(clients));
	endpoint_done(&endpoint);
}

static void test_stopping_in_callback(void **state)
{
	struct world *world = *state;
	struct endpoint endpoint = {0};
	int clients[5];
	int fd;

	free_endpoint(&endpoint, "127.0.0.1");
	assert_true(listener_bind(&endpoint, &fd, 1, NULL));
	for (unsigned i = 0; i < array_length(clients); i++) {
		clients[i] = connect_to(&endpoint);
	}
	world->stop_after = 2;
	start(world, fd);
	turns_until_count(world->loop, &world->accepted, 2);
	turns_for(world->loop, 5);
	assert_int_equal(world->accepted, 2);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	close_all(clients, array_length(clients));
	endpoint_done(&endpoint);
}

static void test_stop_of_nothing(void **state)
{
	(void)state; /* the teardown stops a listener that was never started, twice */
}

/* A socket that can never accept: nothing spins, and the log says it once. */
static void test_broken_socket(void **state)
{
	struct world *world = *state;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	start(world, fd);
	turns_for(world->loop, 250);
	assert_true(metrics_get(&world->metrics, METRIC_ACCEPT_FAILURES) >= 1);
	assert_true(world->turns < 40);
	assert_int_equal(count_logged("cannot accept connections Invalid argument\n"), 1);
}

/* --- Without descriptors -------------------------------------------------------------------- */

/* A child process has no cmocka to tell. */
static void require(bool condition, int line)
{
	if (!condition) {
		fprintf(stderr, "line %d\n", line);
		_exit(1);
	}
}

static void run_dry(struct world *world, const struct endpoint *endpoint, int listening)
{
	struct rlimit limit;
	int clients[3];
	unsigned turns;

	start(world, listening);
	turns_for(world->loop, 1);
	for (int i = 0; i < 3; i++) {
		clients[i] = connect_to(endpoint);
	}
	require(getrlimit(RLIMIT_NOFILE, &limit) == 0, __LINE__);
	limit.rlim_cur = (rlim_t)clients[2] + 2; /* room for one more */
	require(setrlimit(RLIMIT_NOFILE, &limit) == 0, __LINE__);
	turns = world->turns;
	turns_for(world->loop, 350);
	require(world->accepted == 1, __LINE__);
	require(world->turns - turns < 40, __LINE__);
	require(metrics_get(&world->metrics, METRIC_ACCEPT_FAILURES) >= 2, __LINE__);
	require(count_logged("cannot accept connections Too many open files\n") == 1, __LINE__);
	/* One place, one more connection; then room for all. */
	close(world->fds[0]);
	turns_until_count(world->loop, &world->accepted, 2);
	limit.rlim_cur += 10;
	require(setrlimit(RLIMIT_NOFILE, &limit) == 0, __LINE__);
	turns_until_count(world->loop, &world->accepted, 3);
	for (int i = 0; i < 3; i++) {
		close(clients[i]);
	}
}

static void test_no_descriptors(void **state)
{
	struct world *world = *state;
	struct endpoint endpoint = {0};
	int status;
	int fd;
	pid_t child;

	free_endpoint(&endpoint, "127.0.0.1");
	assert_true(listener_bind(&endpoint, &fd, 1, NULL));
	child = fork();
	if (child == 0) {
		ev_loop_fork(world->loop);
		run_dry(world, &endpoint, fd);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(fd);
	endpoint_done(&endpoint);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_accepting),
		TEST(test_address_in_use),
		TEST(test_address_of_others),
		TEST(test_restart),
		TEST(test_unix),
		TEST(test_unix_busy),
		TEST(test_unix_in_the_way),
		TEST(test_batch),
		TEST(test_stopping_in_callback),
		TEST(test_stop_of_nothing),
		TEST(test_broken_socket),
		TEST(test_no_descriptors),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
