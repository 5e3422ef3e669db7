/* SPDX-License-Identifier: Apache-2.0
 *
 * A world of a dial: its owner, a DNS server, and hosts at addresses of the loopback network, which
 * answer or say nothing. The kernel refuses connections to 127.0.0.0/8 where nobody listens, and
 * drops them where the backlog is full. No descriptor may be left over.
 */
#ifndef GATEPOST_TESTS_DIAL_WORLD_H
#define GATEPOST_TESTS_DIAL_WORLD_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/metrics.h"
#include "net/dial.h"
#include "net/source_pool.h"
#include "net/stream.h"
#include "support/fake_dns.h"

#define DIAL_FILLERS 4

/* struct dial_host is an address where somebody listens; with fillers, nobody gets through. */
struct dial_host {
	int listening;
	int fillers[DIAL_FILLERS];
	unsigned filler_count;
};

/* struct dial_world is an owner of a dial, with what it needs. `said` is one letter per event: R
 * the stream is ready, F it failed, N none is left. */
struct dial_world {
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
	bool begins_anew;      /* once, where none is left */
	struct dial_host home; /* 127.0.0.1 */
	struct dial_host other;
	uint16_t port;
	unsigned descriptors; /* when the test begins */
};

/* For each test: cmocka's setup and teardown. */
int dial_world_begin(void **state);
int dial_world_end(void **state);

unsigned dial_world_descriptors(void);
void dial_world_set_name(struct dial_world *world, struct fake_name *name);
struct dial_settings dial_world_settings(struct dial_world *world);

/* dial_world_dial begins to reach an endpoint, at the port of the hosts unless it is a path.
 * Nothing is told before it returns. */
void dial_world_dial(struct dial_world *world, const char *endpoint);

/* dial_world_wait waits until as much was said, and that it was this. */
void dial_world_wait(struct dial_world *world, const char *said);

/* dial_host_listen listens at the port of all others; the first finds one. */
void dial_host_listen(struct dial_world *world, struct dial_host *host, const char *ip,
		      int backlog);

/* dial_host_block lets nobody through: connections that nobody accepts fill a backlog of 0, and
 * those that come then wait. */
void dial_host_block(struct dial_world *world, struct dial_host *host, const char *ip);
void dial_host_close(struct dial_host *host);

#endif
