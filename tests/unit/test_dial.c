/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching endpoints: which addresses are tried, in which order, and what is told when none is
 * left. The kernel refuses connections to 127.0.0.0/8 where nobody listens.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <ev.h>

#include "net/dial.h"
#include "net/stream.h"
#include "support/fake_dns.h"
#include "support/turns.h"

/* struct world is an owner of a dial, with what it needs. `said` is one letter per event: T trying,
 * R the stream is ready, F it failed, N none is left. */
struct world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct fake_dns dns;
	struct resolver *resolver;
	struct dial dial;
	struct stream stream;
	struct endpoint endpoint;
	char said[64];
	unsigned events;
	struct error why;
	char reached[ADDR_TEXT_MAX];
	bool begins_anew; /* once, where none is left */
	int listening;    /* at 127.0.0.1 */
	uint16_t port;
};

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
	say(world_of(stream), 'F');
	dial_next(&world_of(stream)->dial, why);
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

static void on_trying(struct dial *dial)
{
	say(container_of(dial, struct world, dial), 'T');
}

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
	.trying = on_trying,
	.failed = on_unreachable,
};

/* At the port of the listening socket, but for paths. */
static void begin(struct world *world, const char *endpoint)
{
	struct dial_settings settings = {
		.shared = &world->shared,
		.resolver = world->resolver,
		.stream = &world->stream,
		.stream_events = &stream_events,
		.events = &dial_events,
	};
	struct error error = {0};

	endpoint_done(&world->endpoint);
	assert_true(endpoint_parse(&world->endpoint, endpoint, world->port, &error));
	dial_begin(&world->dial, &settings, &world->endpoint);
}

static void wait_for(struct world *world, const char *said)
{
	turns_until_count(world->loop, &world->events, (unsigned)strlen(said));
	assert_string_equal(world->said, said);
}

static void listen_at_loopback(struct world *world)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	world->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world->listening, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(world->listening, 8), 0);
	assert_int_equal(getsockname(world->listening, (struct sockaddr *)&address, &length), 0);
	world->port = ntohs(address.sin_port);
}

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_true(stream_loop_init(&world->shared, world->loop, 300));
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	listen_at_loopback(world);
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;

	dial_cancel(&world->dial);
	stream_close(&world->stream);
	endpoint_done(&world->endpoint);
	close(world->listening);
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	free(world);
	return 0;
}

static void set_name(struct world *world, struct fake_name *name)
{
	world->dns.names = name;
	world->dns.name_count = 1;
}

/* --- The tests ------------------------------------------------------------------------------ */

static void test_address(void **state)
{
	struct world *world = *state;

	begin(world, "127.0.0.1");
	wait_for(world, "TR");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_refused(void **state)
{
	struct world *world = *state;

	begin(world, "127.0.0.9");
	wait_for(world, "TFN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_path(void **state)
{
	struct world *world = *state;

	begin(world, "unix:/nowhere/at/all");
	wait_for(world, "TN");
	assert_string_equal(world->why.text, "cannot connect: No such file or directory");
}

/* Refused, refused, reached: and the rest is for later. */
static void test_in_turn(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "many.test", .v4 = {"127.0.0.8", "127.0.0.9", "127.0.0.1"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "many.test");
	wait_for(world, "TTFTFTR");
	assert_string_equal(world->reached, "127.0.0.1");
}

static void test_unknown_name(void **state)
{
	struct world *world = *state;

	begin(world, "nobody.test");
	wait_for(world, "TN");
	assert_null(strstr(world->why.text, "connect"));
	assert_true(world->why.text[0] != '\0');
}

/* What was reached was not what was wanted: the next, and then no other. */
static void test_next_after_ready(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.1", "127.0.0.9"}, .ttl = 60};
	struct error why = {0};

	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "TTR");
	error_set(&why, "of no use");
	dial_next(&world->dial, &why);
	wait_for(world, "TTRTFN");
	assert_string_equal(world->why.text, "cannot connect: Connection refused");
}

static void test_again(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "two.test", .v4 = {"127.0.0.1", "127.0.0.9"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "two.test");
	wait_for(world, "TTR");
	world->reached[0] = '\0';
	dial_again(&world->dial);
	wait_for(world, "TTRTR");
	assert_string_equal(world->reached, "127.0.0.1");
}

/* The owner's time is over while the name is asked for: its answer comes to nobody. */
static void test_next_while_resolving(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "silent.test", .v4 = {"127.0.0.1"}, .ttl = 60, .silent = true};
	struct error why = {0};

	set_name(world, &name);
	begin(world, "silent.test");
	turns_until_count(world->loop, &name.asked, 1);
	error_set(&why, "no answer in time");
	dial_next(&world->dial, &why);
	assert_string_equal(world->said, "TN");
	assert_string_equal(world->why.text, "cannot connect: no answer in time");
}

static void test_cancel_while_resolving(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "late.test", .v4 = {"127.0.0.1"}, .ttl = 60};

	set_name(world, &name);
	begin(world, "late.test");
	dial_cancel(&world->dial);
	turns_until_count(world->loop, &name.asked, 1);
	turns_for(world->loop, 20);
	assert_string_equal(world->said, "T");
}

static void test_anew_from_within(void **state)
{
	struct world *world = *state;

	world->begins_anew = true;
	begin(world, "unix:/nowhere/at/all");
	wait_for(world, "TNTR");
}

/* No more of a name's addresses are tried than there is room for. */
static void test_most_addresses(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "crowd.test", .ttl = 60};
	char texts[RESOLVER_ADDRESSES_MAX + 1][16];

	for (unsigned i = 0; i <= RESOLVER_ADDRESSES_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "127.0.1.%u", i);
		name.v4[i] = texts[i];
	}
	set_name(world, &name);
	begin(world, "crowd.test");
	turns_until_count(world->loop, &world->events, 2 + 2 * RESOLVER_ADDRESSES_MAX);
	assert_int_equal(world->dial.next, RESOLVER_ADDRESSES_MAX);
	assert_int_equal(world->said[world->events - 1], 'N');
}

#define WORLD_TEST(function) cmocka_unit_test_setup_teardown(function, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_address),
		WORLD_TEST(test_refused),
		WORLD_TEST(test_path),
		WORLD_TEST(test_in_turn),
		WORLD_TEST(test_unknown_name),
		WORLD_TEST(test_next_after_ready),
		WORLD_TEST(test_again),
		WORLD_TEST(test_next_while_resolving),
		WORLD_TEST(test_cancel_while_resolving),
		WORLD_TEST(test_anew_from_within),
		WORLD_TEST(test_most_addresses),
	};

	return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
