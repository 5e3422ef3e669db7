/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching endpoints: which addresses are tried, in which order, who wins, and what is told when
 * none is left. The kernel refuses connections to 127.0.0.0/8 where nobody listens, and drops them
 * where the backlog is full. No descriptor is left over.
 */
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <ev.h>

#include "../../proxy/net/dial_internal.h"
#include "core/metrics.h"
#include "net/dial.h"
#include "net/source_pool.h"
#include "net/stream.h"
#include "support/fake_dns.h"
#include "support/turns.h"

#define FILLERS 4

/* So long that a broken program is seen before. */
#define LONG_MS 60000

/* struct host is an address where somebody listens; with fillers, nobody gets through. */
struct host {
	int listening;
	int fillers[FILLERS];
	unsigned filler_count;
};

/* struct world is an owner of a dial, with what it needs. `said` is one letter per event: R the
 * stream is ready, F it failed, N none is left. */
struct world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct fake_dns dns;
	struct resolver *resolver;
	struct metrics metrics;
	struct source_pool *sources;
	struct dial dial;
	struct stream stream;
	struct endpoint endpoint;
	uint64_t timeout_ms;
	char said[64];
	unsigned events;
	struct error why;
	char reached[ADDR_TEXT_MAX];
	bool begins_anew; /* once, where none is left */
	struct host home; /* 127.0.0.1 */
	struct host other;
	uint16_t port;
	unsigned descriptors; /* when the test begins */
};

static unsigned count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder) != NULL) {
		count++;
	}
	closedir(folder);
	return count;
}

static struct world *world_of(struct stream *stream)
{
	return container_of(stream, struct world, stream);
}

static void say(struct world *world, char letter)
{
	assert_true(world->events + 1 < sizeof(world->said));
	world->said[world->events++] = letter;
}

static void on_ready(struct stream *stream)
{
	struct addr peer;

	stream_peer(stream, &peer);
	addr_format_ip(&peer, world_of(stream)->reached);
	say(world_of(stream), 'R');
}

static void on_failed(struct stream *stream, const struct error *why)
{
	(void)why;
	say(world_of(stream), 'F');
}

static void on_nothing(struct stream *stream)
{
	(void)stream;
}

static const struct stream_events stream_events = {
	.ready = on_ready,
	.readable = on_nothing,
	.drained = on_nothing,
	.failed = on_failed,
};

static void begin(struct world *world, const char *endpoint);

static void on_unreachable(struct dial *dial, const struct error *why)
{
	struct world *world = container_of(dial, struct world, dial);

	say(world, 'N');
	world->why = *why;
	if (world->begins_anew) {
		world->begins_anew = false;
		begin(world, "127.0.0.1");
	}
}

static const struct dial_events dial_events = {
	.failed = on_unreachable,
};

static struct dial_settings settings_of(struct world *world)
{
	return (struct dial_settings){
		.shared = &world->shared,
		.resolver = world->resolver,
		.metrics = &world->metrics,
		.timeout_ms = world->timeout_ms,
		.sources = world->sources,
		.stream = &world->stream,
		.stream_events = &stream_events,
		.events = &dial_events,
	};
}

/* At the port of the listening sockets, but for paths. Nothing is told before it returns. */
static void begin(struct world *world, const char *endpoint)
{
	struct dial_settings settings = settings_of(world);
	struct error error = {0};
	unsigned events = world->events;

	endpoint_done(&world->endpoint);
	assert_true(endpoint_parse(&world->endpoint, endpoint, world->port, &error));
	dial_begin(&world->dial, &settings, &world->endpoint);
	assert_int_equal(world->events, events);
}

static void wait_for(struct world *world, const char *said)
{
	turns_until_count(world->loop, &world->events, (unsigned)strlen(said));
	assert_string_equal(world->said, said);
}

/* --- Hosts ---------------------------------------------------------------------------------- */

static int open_at(const char *ip, uint16_t port, struct addr *address)
{
	int on = 1;
	int fd;

	assert_true(addr_parse(address, ip, port));
	fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

/* At the port of all others; the first finds one. */
static void listen_at(struct world *world, struct host *host, const char *ip, int backlog)
{
	struct addr address;
	socklen_t length;

	host->listening = open_at(ip, world->port, &address);
	length = addr_length(&address);
	assert_int_equal(bind(host->listening, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(host->listening, backlog), 0);
	assert_int_equal(getsockname(host->listening, (struct sockaddr *)&address, &length), 0);
	world->port = addr_port(&address);
}

/* Connections that nobody accepts fill a backlog of 0: those that come then wait. */
static void block_at(struct world *world, struct host *host, const char *ip)
{
	listen_at(world, host, ip, 0);
	for (unsigned i = 0; i < FILLERS; i++) {
		struct addr address;
		int fd = open_at(ip, world->port, &address);

		(void)!connect(fd, (struct sockaddr *)&address, addr_length(&address));
		host->fillers[host->filler_count++] = fd;
	}
	turns_for(world->loop, 20);
}

static void close_host(struct host *host)
{
	for (unsigned i = 0; i < host->filler_count; i++) {
		close(host->fillers[i]);
	}
	host->filler_count = 0;
	if (host->listening >= 0) {
		close(host->listening);
	}
	host->listening = -1;
}

/* --- The world ------------------------------------------------------------------------------ */

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	world->descriptors = count_descriptors();
	world->timeout_ms = LONG_MS;
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_true(stream_loop_init(&world->shared, world->loop, 300));
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	listen_at(world, &world->home, "127.0.0.1", 8);
	world->other.listening = -1;
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;
	unsigned descriptors = world->descriptors;

	dial_cancel(&world->dial);
	stream_close(&world->stream);
	endpoint_done(&world->endpoint);
	source_pool_unref(world->sources);
	close_host(&world->home);
	close_host(&world->other);
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	stream_loop_done(&world->shared);
	assert_false(ev_run(world->loop, EVRUN_NOWAIT));
	ev_loop_destroy(world->loop);
	free(world);
	assert_int_equal(count_descriptors(), descriptors);
	return 0;
}

static void set_name(struct world *world, struct fake_name *name)
{
	world->dns.names = name;
	world->dns.name_count = 1;
}

/* --- One address ---------------------------------------------------------------------------- */

static void test_address(void **state)
{
	struct world *world = *state;

	begin(world, "127.0.0.1");
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_refused(void **state)
{
	struct world *world = *state;

	begin(world, "127.0.0.9");
	wait_for(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	assert_int_equal(world->stream.phase, STREAM_CLOSED);
}

static void test_path(void **state)
{
	struct world *world = *state;
	char folder[] = "/tmp/test_dial.XXXXXX";
	char endpoint[128];
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	begin(world, "unix:/nowhere/at/all");
	wait_for(world, "N");
	assert_string_equal(world->why.text, "cannot connect: No such file or directory");
	assert_non_null(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	snprintf(endpoint, sizeof(endpoint), "unix:%s", address.sun_path);
	world->other.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world->other.listening, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(world->other.listening, 8), 0);
	begin(world, endpoint);
	wait_for(world, "NR");
	dial_again(&world->dial);
	wait_for(world, "NRR");
	unlink(address.sun_path);
	rmdir(folder);
}

/* --- Several -------------------------------------------------------------------------------- */

static void test_alternating(void **state)
{
	static const struct {
		const char *given, *tried;
	} cases[] = {
		{"a b c", "a b c"},
		{"1 2 3", "1 2 3"},
		{"1 a", "a 1"},
		{"1 2 3 a b c", "a 1 b 2 c 3"},
		{"a b c 1 2 3", "a 1 b 2 c 3"},
		{"1 a 2 3 4 b", "a 1 b 2 3 4"},
		{"a b c 1", "a 1 b c"},
		{"1", "1"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct addr given[8] = {0};
		struct addr tried[8] = {0};
		size_t count = (strlen(cases[i].given) + 1) / 2;

		for (size_t k = 0; k < count; k++) {
			char letter = cases[i].given[2 * k];

			assert_true(addr_parse(&given[k], letter >= 'a' ? "::1" : "127.0.0.1",
					       (uint16_t)letter));
		}
		dial_alternate(tried, given, count);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(addr_port(&tried[k]), cases[i].tried[2 * k]);
		}
	}
}

/* Refused, refused, reached: and the rest is for later. */
static void test_in_turn(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "many.test", .v4 = {"127.0.0.8", "127.0.0.9", "127.0.0.1"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "many.test");
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_all_refused(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "many.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .v6 = {"::1"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "many.test");
	wait_for(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_ipv6_first(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "both.test", .v4 = {"127.0.0.1"}, .v6 = {"::1"}, .ttl = 60};

	listen_at(world, &world->other, "::1", 8);
	set_name(world, &name);
	begin(world, "both.test");
	wait_for(world, "R");
	assert_string_equal(world->reached, "::1");
}

/* One that nothing is heard of keeps the next from being tried for a moment only. */
static void test_one_hangs(void **state)
{
	static const char *const hangs[] = {"127.0.0.8", "::1"};
	struct world *world = *state;

	for (size_t i = 0; i < array_length(hangs); i++) {
		struct fake_name name = {.name = i == 0 ? "four.test" : "six.test",
					 .v4 = {i == 0 ? hangs[i] : "127.0.0.1", "127.0.0.1"},
					 .v6 = {i == 0 ? NULL : hangs[i]},
					 .ttl = 60};
		unsigned descriptors;

		block_at(world, &world->other, hangs[i]);
		set_name(world, &name);
		descriptors = count_descriptors();
		begin(world, name.name);
		wait_for(world, i == 0 ? "R" : "RR");
		assert_string_equal(world->reached, "127.0.0.1");
		stream_close(&world->stream);
		close_host(&world->other);
		assert_true(count_descriptors() <= descriptors);
	}
}

/* All run at once in the end, and the first of them is the only one that gets through. */
static void test_first_wins_late(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct host third = {.listening = -1};

	block_at(world, &world->other, "127.0.0.8");
	block_at(world, &third, "127.0.0.9");
	set_name(world, &name);
	begin(world, "slow.test");
	turns_for(world->loop, 2 * DIAL_STAGGER_MS);
	assert_int_equal(world->events, 0);
	assert_int_equal(listen(world->other.listening, 16), 0);
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.8");
	close_host(&third);
}

/* A family that this host has no network for is no news where another address refuses. */
static void test_no_network(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "both.test", .v4 = {"127.0.0.9"}, .v6 = {"ff02::1"}, .ttl = 60},
		{.name = "late.test", .v4 = {"127.0.0.9", "255.255.255.255"}, .ttl = 60},
		{.name = "good.test", .v4 = {"127.0.0.1"}, .v6 = {"ff02::1"}, .ttl = 60},
	};

	world->dns.names = names;
	world->dns.name_count = array_length(names);
	begin(world, "both.test");
	wait_for(world, "N");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	begin(world, "late.test");
	wait_for(world, "NN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
	begin(world, "good.test");
	wait_for(world, "NNR");
	begin(world, "[ff02::1]");
	wait_for(world, "NNRN");
	assert_string_equal(world->why.text, "cannot connect: Network is unreachable");
}

static void test_unknown_name(void **state)
{
	struct world *world = *state;

	begin(world, "nobody.test");
	wait_for(world, "N");
	assert_null(strstr(world->why.text, "connect"));
	assert_true(world->why.text[0] != '\0');
	begin(world, "nobody.test"); /* the resolver answers at once */
	wait_for(world, "NN");
	assert_true(world->why.text[0] != '\0');
}

/* No more of a name's addresses are tried than there is room for. */
static void test_most_addresses(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {{.name = "crowd.test", .ttl = 60},
				    {.name = "full.test", .ttl = 60}};
	char texts[RESOLVER_ADDRESSES_MAX][16];

	for (unsigned i = 0; i < RESOLVER_ADDRESSES_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "127.0.1.%u", i);
		names[0].v4[i] = texts[i];
		names[1].v4[i] = texts[i];
	}
	names[0].v4[RESOLVER_ADDRESSES_MAX] = "127.0.0.1";
	names[1].v4[RESOLVER_ADDRESSES_MAX - 1] = "127.0.0.1";
	world->dns.names = names;
	world->dns.name_count = array_length(names);
	begin(world, "crowd.test");
	wait_for(world, "N");
	begin(world, "full.test");
	wait_for(world, "NR");
}

/* --- After it was reached ------------------------------------------------------------------- */

/* What was reached was not what was wanted: the next, and then no other. */
static void test_next(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.1", "127.0.0.9"}, .ttl = 60};
	struct error why = {0};

	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "R");
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	assert_int_equal(world->stream.phase, STREAM_CLOSED);
	wait_for(world, "RN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_next_is_none(void **state)
{
	struct world *world = *state;
	struct error why = {0};

	begin(world, "127.0.0.1");
	wait_for(world, "R");
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	assert_int_equal(world->events, 1);
	wait_for(world, "RN");
	assert_string_equal(world->why.text, "cannot connect: of no use");
}

/* One that was given up for the winner has not failed. */
static void test_next_was_slow(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.1"}, .ttl = 60};
	struct error why = {0};

	block_at(world, &world->other, "127.0.0.8");
	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
	close_host(&world->other);
	listen_at(world, &world->other, "127.0.0.8", 8);
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	wait_for(world, "RR");
	assert_string_equal(world->reached, "127.0.0.8");
}

static void test_again(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "two.test", .v4 = {"127.0.0.9", "127.0.0.1", "127.0.0.8"}, .ttl = 60};

	listen_at(world, &world->other, "127.0.0.8", 8);
	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "R");
	world->reached[0] = '\0';
	dial_again(&world->dial);
	wait_for(world, "RR");
	assert_string_equal(world->reached, "127.0.0.1");
	close_host(&world->home);
	dial_again(&world->dial);
	wait_for(world, "RRR");
	assert_string_equal(world->reached, "127.0.0.8");
}

/* --- Time ----------------------------------------------------------------------------------- */

static void test_name_takes_too_long(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "silent.test", .v4 = {"127.0.0.1"}, .ttl = 60, .silent = true};

	world->timeout_ms = 50;
	set_name(world, &name);
	begin(world, "silent.test");
	wait_for(world, "N");
	assert_string_equal(world->why.text, "cannot connect: no answer in time");
}

static void test_addresses_take_too_long(void **state)
{
	static const uint64_t timeouts_ms[] = {50, 2 * DIAL_STAGGER_MS};
	struct world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct host third = {.listening = -1};

	block_at(world, &world->other, "127.0.0.8");
	block_at(world, &third, "127.0.0.9");
	set_name(world, &name);
	for (size_t i = 0; i < array_length(timeouts_ms); i++) {
		unsigned descriptors = count_descriptors();

		world->timeout_ms = timeouts_ms[i];
		begin(world, "slow.test");
		wait_for(world, i == 0 ? "N" : "NN");
		assert_string_equal(world->why.text, "cannot connect: no answer in time");
		assert_true(count_descriptors() <= descriptors + 1); /* that of c-ares */
	}
	close_host(&third);
}

/* --- Cancelling, and beginning anew --------------------------------------------------------- */

static void test_cancel_while_resolving(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "late.test", .v4 = {"127.0.0.1"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "late.test");
	dial_cancel(&world->dial);
	dial_cancel(&world->dial);
	turns_until_count(world->loop, &name.asked, 1);
	turns_for(world->loop, 20);
	assert_int_equal(world->events, 0);
}

static void test_cancel_while_trying(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "slow.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct host third = {.listening = -1};

	begin(world, "127.0.0.1");
	dial_cancel(&world->dial);
	begin(world, "127.0.0.9");
	dial_cancel(&world->dial);
	begin(world, "unix:/nowhere/at/all");
	dial_cancel(&world->dial);
	turns_for(world->loop, 20);
	block_at(world, &world->other, "127.0.0.8");
	block_at(world, &third, "127.0.0.9");
	set_name(world, &name);
	begin(world, "slow.test");
	turns_for(world->loop, DIAL_STAGGER_MS + 100);
	dial_cancel(&world->dial);
	close_host(&third);
	assert_int_equal(world->events, 0);
}

/* What is connected is its owner's. */
static void test_cancel_when_reached(void **state)
{
	struct world *world = *state;
	char letter = '\0';
	int fd;

	begin(world, "127.0.0.1");
	wait_for(world, "R");
	dial_cancel(&world->dial);
	stream_write(&world->stream, "x", 1);
	turns_for(world->loop, 20);
	fd = accept(world->home.listening, NULL, NULL);
	assert_int_equal(recv(fd, &letter, 1, 0), 1);
	assert_int_equal(letter, 'x');
	close(fd);
	assert_string_equal(world->said, "R");
}

static void test_anew_from_within(void **state)
{
	struct world *world = *state;

	world->begins_anew = true;
	begin(world, "unix:/nowhere/at/all");
	wait_for(world, "NR");
}

/* A new beginning ends the one before it. */
static void test_anew(void **state)
{
	struct world *world = *state;

	block_at(world, &world->other, "127.0.0.8");
	begin(world, "127.0.0.8");
	begin(world, "127.0.0.1");
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.1");
	stream_close(&world->stream);
	begin(world, "127.0.0.1");
	wait_for(world, "RR");
}

struct fleeting {
	struct dial dial;
	unsigned *freed;
};

static void free_fleeting(struct dial *dial, const struct error *why)
{
	struct fleeting *fleeting = container_of(dial, struct fleeting, dial);

	assert_true(why->text[0] != '\0');
	++*fleeting->freed;
	free(fleeting);
}

static void test_freed_from_within(void **state)
{
	static const struct dial_events events = {.failed = free_fleeting};
	static const char *const endpoints[] = {"127.0.0.9", "unix:/nowhere", "nobody.test",
						"127.0.0.8"};
	struct world *world = *state;
	struct dial_settings settings = settings_of(world);
	unsigned freed = 0;

	block_at(world, &world->other, "127.0.0.8");
	settings.events = &events;
	settings.timeout_ms = 500;
	for (unsigned i = 0; i < array_length(endpoints); i++) {
		struct fleeting *fleeting = calloc(1, sizeof(*fleeting));
		struct endpoint endpoint = {0};

		assert_non_null(fleeting);
		fleeting->freed = &freed;
		assert_true(endpoint_parse(&endpoint, endpoints[i], world->port, NULL));
		dial_begin(&fleeting->dial, &settings, &endpoint);
		turns_until_count(world->loop, &freed, i + 1);
		endpoint_done(&endpoint);
	}
}

/* --- What this host lacks ------------------------------------------------------------------- */

static struct rlimit forbid_descriptors(void)
{
	struct rlimit before;
	struct rlimit none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void test_no_descriptor(void **state)
{
	struct world *world = *state;
	struct rlimit before = forbid_descriptors();

	begin(world, "127.0.0.1");
	wait_for(world, "N");
	setrlimit(RLIMIT_NOFILE, &before);
	assert_string_equal(world->why.text, "cannot connect: socket: Too many open files");
}

/* An attempt that cannot even begin is no reason to give up the one that runs. */
static void test_no_descriptor_for_the_second(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.9"}, .ttl = 60};
	struct rlimit before;

	block_at(world, &world->other, "127.0.0.8");
	set_name(world, &name);
	begin(world, "two.test");
	turns_for(world->loop, 50);
	before = forbid_descriptors();
	turns_for(world->loop, DIAL_STAGGER_MS + 50);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(world->events, 0);
	assert_int_equal(listen(world->other.listening, 16), 0);
	wait_for(world, "R");
	assert_string_equal(world->reached, "127.0.0.8");
}

static void set_sources(struct world *world, const char *first, const char *second)
{
	struct addr addresses[2];

	assert_true(addr_parse(&addresses[0], first, 0));
	assert_true(addr_parse(&addresses[1], second, 0));
	world->sources = source_pool_new(addresses, 2);
	assert_non_null(world->sources);
}

static unsigned used_ports(struct world *world)
{
	uint64_t tried = 0;
	struct source *source;
	unsigned used = 0;

	while ((source = source_take(world->sources, AF_INET, &tried)) != NULL) {
		used += source_used(source) - 1;
		source_give(source, false);
	}
	return used;
}

/* The sources of those who lose are given back at once, that of the winner with its stream. */
static void test_sources(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.8", "127.0.0.1"}, .ttl = 60};
	struct addr local;
	char text[ADDR_IP_TEXT_MAX];

	set_sources(world, "127.0.0.2", "127.0.0.2");
	block_at(world, &world->other, "127.0.0.8");
	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "R");
	stream_local(&world->stream, &local);
	addr_format_ip(&local, text);
	assert_string_equal(text, "127.0.0.2");
	assert_int_equal(used_ports(world), 1);
	stream_close(&world->stream);
	assert_int_equal(used_ports(world), 0);
	begin(world, "127.0.0.9");
	wait_for(world, "RN");
	assert_int_equal(used_ports(world), 0);
	begin(world, "127.0.0.8");
	assert_int_equal(used_ports(world), 1);
	dial_cancel(&world->dial);
	assert_int_equal(used_ports(world), 0);
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 0);
}

static void test_no_source(void **state)
{
	struct world *world = *state;

	set_sources(world, "198.51.100.1", "198.51.100.2");
	begin(world, "127.0.0.1");
	wait_for(world, "N");
	assert_string_equal(
		world->why.text,
		"cannot connect: cannot come from 198.51.100.2: Cannot assign requested "
		"address");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 1);
	begin(world, "127.0.0.1"); /* they rest */
	wait_for(world, "NN");
	assert_string_equal(world->why.text,
			    "cannot connect: no port is left at any source address");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 2);
	begin(world, "[::1]");
	wait_for(world, "NNN");
	assert_string_equal(world->why.text,
			    "cannot connect: no source address is of the family of the peer's");
	assert_int_equal(metrics_get(&world->metrics, METRIC_SOURCE_PORTS_EXHAUSTED), 2);
}

#define WORLD_TEST(function) cmocka_unit_test_setup_teardown(function, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_address),
		WORLD_TEST(test_refused),
		WORLD_TEST(test_path),
		cmocka_unit_test(test_alternating),
		WORLD_TEST(test_in_turn),
		WORLD_TEST(test_all_refused),
		WORLD_TEST(test_ipv6_first),
		WORLD_TEST(test_one_hangs),
		WORLD_TEST(test_first_wins_late),
		WORLD_TEST(test_no_network),
		WORLD_TEST(test_unknown_name),
		WORLD_TEST(test_most_addresses),
		WORLD_TEST(test_next),
		WORLD_TEST(test_next_is_none),
		WORLD_TEST(test_next_was_slow),
		WORLD_TEST(test_again),
		WORLD_TEST(test_name_takes_too_long),
		WORLD_TEST(test_addresses_take_too_long),
		WORLD_TEST(test_cancel_while_resolving),
		WORLD_TEST(test_cancel_while_trying),
		WORLD_TEST(test_cancel_when_reached),
		WORLD_TEST(test_anew_from_within),
		WORLD_TEST(test_anew),
		WORLD_TEST(test_freed_from_within),
		WORLD_TEST(test_no_descriptor),
		WORLD_TEST(test_no_descriptor_for_the_second),
		WORLD_TEST(test_sources),
		WORLD_TEST(test_no_source),
	};

	return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
