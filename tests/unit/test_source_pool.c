/* SPDX-License-Identifier: Apache-2.0
 *
 * Which source is taken, when it is full or rests, and what becomes of a stream whose sources have
 * no port left. The latter in a network of the test's own with a handful of ports, where the system
 * allows to make one.
 */
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>
#include <ev.h>

#include "net/source_pool.h"
#include "net/stream.h"
#include "support/turns.h"

#define PORT_RANGE_PATH "/proc/sys/net/ipv4/ip_local_port_range"
#define FEW_PORTS       4

static struct source_pool *make_pool(const char *const *texts, size_t count)
{
	struct addr addresses[SOURCE_POOL_MAX + 1];
	struct source_pool *pool;

	for (size_t i = 0; i < count; i++) {
		assert_true(addr_parse(&addresses[i], texts[i], 143));
	}
	pool = source_pool_new(addresses, count);
	assert_non_null(pool);
	return pool;
}

static unsigned count_ports(void)
{
	FILE *file = fopen(PORT_RANGE_PATH, "r");
	unsigned first;
	unsigned last;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u %u", &first, &last), 2);
	fclose(file);
	return last - first + 1;
}

static struct source *take(struct source_pool *pool, sa_family_t family)
{
	uint64_t tried = 0;

	return source_take(pool, family, &tried);
}

static void check_taken(const struct source *source, const char *ip)
{
	char text[ADDR_IP_TEXT_MAX];

	assert_non_null(source);
	addr_format_ip(source_addr(source), text);
	assert_string_equal(text, ip);
	assert_int_equal(addr_port(source_addr(source)), 0);
}

/* --- Taking --------------------------------------------------------------------------------- */

static void test_least_used(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "::1", "127.0.0.3"};
	struct source_pool *pool = make_pool(texts, 3);
	struct source *taken[5];

	(void)state;
	assert_true(source_pool_has(pool, AF_INET) && source_pool_has(pool, AF_INET6));
	assert_false(source_pool_has(pool, AF_UNIX));
	taken[0] = take(pool, AF_INET);
	check_taken(taken[0], "127.0.0.2");
	taken[1] = take(pool, AF_INET);
	check_taken(taken[1], "127.0.0.3");
	taken[2] = take(pool, AF_INET);
	check_taken(taken[2], "127.0.0.2");
	assert_int_equal(source_used(taken[0]), 2);
	taken[3] = take(pool, AF_INET6);
	check_taken(taken[3], "::1");
	source_give(taken[0], false);
	source_give(taken[2], false);
	taken[4] = take(pool, AF_INET);
	check_taken(taken[4], "127.0.0.2");
	source_give(taken[1], false);
	source_give(taken[3], false);
	source_give(taken[4], false);
	source_give(NULL, false);
	source_pool_unref(pool);
	source_pool_unref(NULL);
	assert_null(source_pool_ref(NULL));
}

/* Each once for an attempt. */
static void test_tried(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "127.0.0.3", "::1"};
	struct source_pool *pool = make_pool(texts, 3);
	struct source *first;
	struct source *second;
	uint64_t tried = 0;

	(void)state;
	first = source_take(pool, AF_INET, &tried);
	check_taken(first, "127.0.0.2");
	source_give(first, false);
	second = source_take(pool, AF_INET, &tried);
	check_taken(second, "127.0.0.3");
	assert_null(source_take(pool, AF_INET, &tried));
	source_give(second, false);
	source_pool_unref(pool);
}

static void test_resting(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "127.0.0.3"};
	struct source_pool *pool = make_pool(texts, 2);
	struct source *source;

	(void)state;
	source_give(take(pool, AF_INET), true);
	for (int i = 0; i < 2; i++) {
		source = take(pool, AF_INET);
		check_taken(source, "127.0.0.3");
		source_give(source, i == 1);
	}
	assert_null(take(pool, AF_INET));
	usleep((SOURCE_REST_MS + 10) * 1000);
	source = take(pool, AF_INET);
	check_taken(source, "127.0.0.2");
	source_give(source, false);
	source_pool_unref(pool);
}

static void test_full(void **state)
{
	static const char *const texts[] = {"127.0.0.2"};
	struct source_pool *pool = make_pool(texts, 1);
	unsigned ports = count_ports();
	struct source *source = NULL;

	(void)state;
	for (unsigned i = 0; i < ports; i++) {
		source = take(pool, AF_INET);
		assert_non_null(source);
	}
	assert_null(take(pool, AF_INET));
	source_give(source, false);
	assert_ptr_equal(take(pool, AF_INET), source);
	assert_null(take(pool, AF_INET));
	for (unsigned i = 0; i < ports; i++) {
		source_give(source, false);
	}
	source_pool_unref(pool);
}

static void test_most_addresses(void **state)
{
	struct addr addresses[SOURCE_POOL_MAX + 1];
	struct source *taken[SOURCE_POOL_MAX];
	struct source_pool *pool;
	uint64_t tried = 0;

	(void)state;
	for (unsigned i = 0; i <= SOURCE_POOL_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "127.0.1.%u", i);
		assert_true(addr_parse(&addresses[i], text, 0));
	}
	pool = source_pool_new(addresses, SOURCE_POOL_MAX + 1);
	assert_non_null(pool);
	for (unsigned i = 0; i < SOURCE_POOL_MAX; i++) {
		taken[i] = source_take(pool, AF_INET, &tried);
		assert_true(addr_equal(source_addr(taken[i]), &addresses[i]));
	}
	assert_null(source_take(pool, AF_INET, &tried));
	source_pool_unref(pool); /* whoever has taken of it holds it */
	for (unsigned i = 0; i < SOURCE_POOL_MAX; i++) {
		source_give(taken[i], false);
	}
}

/* --- Threads -------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS  2000

static void *take_and_give(void *argument)
{
	struct source_pool *pool = argument;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct source *one = take(pool, AF_INET);
		struct source *other = take(pool, AF_INET);

		source_give(one, false);
		source_give(other, false);
	}
	source_pool_unref(pool);
	return NULL;
}

static void test_threads(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "127.0.0.3"};
	struct source_pool *pool = make_pool(texts, 2);
	pthread_t threads[THREADS];
	struct source *source;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(
			pthread_create(&threads[i], NULL, take_and_give, source_pool_ref(pool)), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	source = take(pool, AF_INET);
	assert_int_equal(source_used(source), 1);
	source_give(source, false);
	source_pool_unref(pool);
}

/* --- Streams -------------------------------------------------------------------------------- */

struct world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct stream stream;
	unsigned ready;
	int listening;
	struct addr address;
};

static void on_ready(struct stream *stream)
{
	container_of(stream, struct world, stream)->ready++;
}

static void on_nothing(struct stream *stream)
{
	(void)stream;
}

static void on_failed(struct stream *stream, const struct error *why)
{
	(void)stream;
	fail_msg("%s", why->text);
}

static const struct stream_events stream_events = {
	.ready = on_ready,
	.readable = on_nothing,
	.drained = on_nothing,
	.failed = on_failed,
};

static void listen_at(struct world *world, const char *ip, uint16_t port)
{
	socklen_t length;

	assert_true(addr_parse(&world->address, ip, port));
	length = addr_length(&world->address);
	world->listening = socket(world->address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world->listening, (struct sockaddr *)&world->address, length), 0);
	assert_int_equal(listen(world->listening, 64), 0);
	assert_int_equal(getsockname(world->listening, (struct sockaddr *)&world->address, &length),
			 0);
}

static void world_begin(struct world *world, const char *ip, uint16_t port)
{
	*world = (struct world){.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV)};
	assert_true(stream_loop_init(&world->shared, world->loop, 300));
	listen_at(world, ip, port);
}

static void world_end(struct world *world)
{
	stream_close(&world->stream);
	close(world->listening);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
}

static bool connect_from(struct world *world, struct source_pool *pool, struct error *error)
{
	struct stream_target target = {.address = &world->address, .sources = pool};

	stream_close(&world->stream);
	return stream_connect(&world->stream, &world->shared, &target, &stream_events, error);
}

static void check_connects_from(struct world *world, struct source_pool *pool, const char *ip)
{
	struct error error = {0};
	struct addr local;
	char text[ADDR_IP_TEXT_MAX];

	world->ready = 0;
	assert_true(connect_from(world, pool, &error));
	turns_until_count(world->loop, &world->ready, 1);
	stream_local(&world->stream, &local);
	addr_format_ip(&local, text);
	assert_string_equal(text, ip);
}

/* Counted until it is closed, more than once too. */
static void test_streams(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "::1"};
	static const char *const targets[] = {"127.0.0.1", "::1"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct source_pool *pool = make_pool(texts, 2);
		sa_family_t family = i == 0 ? AF_INET : AF_INET6;
		struct source *source = take(pool, family);
		struct world world;

		world_begin(&world, targets[i], 0);
		check_connects_from(&world, pool, texts[i]);
		assert_int_equal(source_used(source), 2);
		stream_close(&world.stream);
		stream_close(&world.stream);
		assert_int_equal(source_used(source), 1);
		check_connects_from(&world, pool, texts[i]);
		source_give(source, false);
		source_pool_unref(pool);
		world_end(&world);
	}
}

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* False where the system does not allow it. */
static bool enter_small_network(void)
{
	FILE *file;
	int written;

	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
		return false;
	}
	raise_loopback();
	file = fopen(PORT_RANGE_PATH, "w");
	if (file == NULL) {
		return false;
	}
	written = fprintf(file, "40000 %d\n", 40000 + FEW_PORTS - 1);
	return fclose(file) == 0 && written > 0 && count_ports() == FEW_PORTS;
}

/* Somebody else has all ports of an address towards the backend, but those that still have to wait
 * (TIME_WAIT). How many those are. */
static unsigned use_up(const struct world *world, const char *ip, int fds[FEW_PORTS + 1])
{
	for (unsigned i = 0; i <= FEW_PORTS; i++) {
		struct addr local;
		int on = 1;

		assert_true(addr_parse(&local, ip, 0));
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fds[i], IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		assert_int_equal(bind(fds[i], (struct sockaddr *)&local, addr_length(&local)), 0);
		if (connect(fds[i], (const struct sockaddr *)&world->address,
			    addr_length(&world->address)) != 0) {
			close(fds[i]);
			return i;
		}
	}
	fail_msg("more ports than there are");
	return 0;
}

/* At once: no port has to wait. */
static void reset(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct linger now = {.l_onoff = 1};

		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fds[i]);
	}
}

/* To be the last test: it does not leave the network again. */
static void test_exhausted(void **state)
{
	static const char *const texts[] = {"127.0.0.2", "127.0.0.3"};
	struct source_pool *pool;
	struct world world;
	struct error error = {0};
	int second[FEW_PORTS + 1];
	int third[FEW_PORTS + 1];
	unsigned second_count;
	unsigned third_count;

	(void)state;
	if (!enter_small_network()) {
		skip();
	}
	pool = make_pool(texts, 2);
	world_begin(&world, "127.0.0.1", 10143);
	second_count = use_up(&world, "127.0.0.2", second);
	assert_int_equal(second_count, FEW_PORTS);
	for (int i = 0; i < 3; i++) {
		check_connects_from(&world, pool, "127.0.0.3");
	}
	stream_close(&world.stream);
	third_count = use_up(&world, "127.0.0.3", third);
	assert_false(connect_from(&world, pool, &error));
	assert_string_equal(error.text, "no port is left at any source address");
	reset(second, second_count);
	usleep((SOURCE_REST_MS + 10) * 1000);
	check_connects_from(&world, pool, "127.0.0.2");
	reset(third, third_count);
	source_pool_unref(pool);
	world_end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least_used),     cmocka_unit_test(test_tried),
		cmocka_unit_test(test_resting),        cmocka_unit_test(test_full),
		cmocka_unit_test(test_most_addresses), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_streams),        cmocka_unit_test(test_exhausted),
	};

	return cmocka_run_group_tests_name("source_pool", tests, NULL, NULL);
}
