/* SPDX-License-Identifier: Apache-2.0
 *
 * An owner of a dial, and the hosts that it is to reach.
 */
#include "support/dial_world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/turns.h"

/* So long that a broken program is seen before. */
#define LONG_MS 60000

unsigned dial_world_descriptors(void)
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

static struct dial_world *world_of(struct stream *stream)
{
	return container_of(stream, struct dial_world, stream);
}

static void say(struct dial_world *world, char letter)
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

static void on_unreachable(struct dial *dial, const struct error *why)
{
	struct dial_world *world = container_of(dial, struct dial_world, dial);

	say(world, 'N');
	world->why = *why;
	if (world->begins_anew) {
		world->begins_anew = false;
		dial_world_dial(world, "127.0.0.1");
	}
}

static const struct dial_events dial_events = {
	.failed = on_unreachable,
};

struct dial_settings dial_world_settings(struct dial_world *world)
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

void dial_world_dial(struct dial_world *world, const char *endpoint)
{
	struct dial_settings settings = dial_world_settings(world);
	struct error error = {0};
	unsigned events = world->events;

	endpoint_done(&world->endpoint);
	assert_true(endpoint_parse(&world->endpoint, endpoint, world->port, &error));
	dial_begin(&world->dial, &settings, &world->endpoint);
	assert_int_equal(world->events, events);
}

void dial_world_wait(struct dial_world *world, const char *said)
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

void dial_host_listen(struct dial_world *world, struct dial_host *host, const char *ip, int backlog)
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

void dial_host_block(struct dial_world *world, struct dial_host *host, const char *ip)
{
	dial_host_listen(world, host, ip, 0);
	for (unsigned i = 0; i < DIAL_FILLERS; i++) {
		struct addr address;
		int fd = open_at(ip, world->port, &address);

		(void)!connect(fd, (struct sockaddr *)&address, addr_length(&address));
		host->fillers[host->filler_count++] = fd;
	}
	turns_for(world->loop, 20);
}

void dial_host_close(struct dial_host *host)
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

int dial_world_begin(void **state)
{
	struct dial_world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	world->descriptors = dial_world_descriptors();
	world->timeout_ms = LONG_MS;
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_true(stream_loop_init(&world->shared, world->loop, 300));
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	dial_host_listen(world, &world->home, "127.0.0.1", 8);
	world->other.listening = -1;
	*state = world;
	return 0;
}

int dial_world_end(void **state)
{
	struct dial_world *world = *state;
	unsigned descriptors = world->descriptors;

	dial_cancel(&world->dial);
	stream_close(&world->stream);
	endpoint_done(&world->endpoint);
	source_pool_unref(world->sources);
	dial_host_close(&world->home);
	dial_host_close(&world->other);
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	stream_loop_done(&world->shared);
	assert_false(ev_run(world->loop, EVRUN_NOWAIT));
	ev_loop_destroy(world->loop);
	free(world);
	assert_int_equal(dial_world_descriptors(), descriptors);
	return 0;
}

void dial_world_set_name(struct dial_world *world, struct fake_name *name)
{
	world->dns.names = name;
	world->dns.name_count = 1;
}
