/* SPDX-License-Identifier: Apache-2.0
 *
 * A server of Redis of a test's own, for any number of connections, in the test's process and loop:
 * it greets, says its role, confirms what is subscribed and tracked, and answers the rest as the
 * test says. So it plays a master, a replica, a sentinel, or a node of a cluster.
 */
#ifndef GATEPOST_TESTS_FAKE_NODE_H
#define GATEPOST_TESTS_FAKE_NODE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct fake_node;
struct fake_node_link;

/* The reply to a command that is no greeting; NULL: none is sent. `command` is its words, joined by
 * single spaces. */
typedef const char *fake_node_answer_t(struct fake_node *node, const char *command);

struct fake_node {
	struct ev_loop *loop;
	struct ev_io listener; /* fd is -1 while it is down */
	struct fake_node_link *links;
	fake_node_answer_t *answer; /* NULL: `reply` to everything */
	const char *reply;
	const char *role; /* "master", "slave" or whatever */
	void *context;    /* the test's */
	uint16_t port;
	bool hangs;            /* it reads, and says nothing */
	unsigned accepted;     /* connections so far */
	unsigned asked;        /* commands that were no greeting */
	unsigned subscribed;   /* connections that subscribed so far */
	unsigned asking;       /* ASKINGs so far */
	struct buffer heard;   /* commands that were no greeting, one a line */
	struct buffer tracked; /* prefixes of CLIENT TRACKING, as they came, one line a command */
};

/* fake_node_open listens on a port of 127.0.0.1; fake_node_down closes all, fake_node_up listens on
 * that port again. */
void fake_node_open(struct fake_node *node, struct ev_loop *loop);
void fake_node_down(struct fake_node *node);
void fake_node_up(struct fake_node *node);
void fake_node_close(struct fake_node *node);

/* fake_node_hang_up closes all connections that have subscribed, or all that have not. */
void fake_node_hang_up(struct fake_node *node, bool subscribers);

/* fake_node_tell publishes to whoever has subscribed; fake_node_invalidate tells a change of `key`
 * (NULL: of all) to whoever tracks. */
void fake_node_tell(struct fake_node *node, const char *channel, const char *text);
void fake_node_invalidate(struct fake_node *node, const char *key);

/* fake_node_send sends raw bytes to all connections that have not subscribed. */
void fake_node_send(struct fake_node *node, const char *text);

/* fake_node_heard: what it was asked so far, one command a line. */
const char *fake_node_heard(struct fake_node *node);

#endif
