/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: bound once while privileges last, then accepted from by a worker's loop.
 */
#ifndef GATEPOST_NET_LISTENER_H
#define GATEPOST_NET_LISTENER_H

#include <ev.h>
#include <stdbool.h>

#include "base/base.h"
#include "base/error.h"

struct addr;
struct endpoint;
struct listener;
struct metrics;

/* How many connections one event accepts, and how long accepting pauses when descriptors or memory
 * are exhausted. */
#define LISTENER_BATCH         64
#define LISTENER_PAUSE_SECONDS 0.1

/* The owner takes over `fd`, which is non-blocking and closed on exec. */
typedef void listener_callback_t(struct listener *listener, int fd, const struct addr *peer);

/* struct listener is embedded in its owner; zero is "not listening". */
struct listener {
	struct ev_loop *loop;
	struct ev_io watcher;
	struct ev_timer pause;
	struct metrics *metrics;
	listener_callback_t *accepted;
	bool exhausted; /* said in the log once, until accepting works again */
};

/* listener_bind opens `count` listening sockets for one endpoint, one for each worker: of their own
 * (SO_REUSEPORT) for an IP address, shared for a Unix socket, whose stale file is replaced. An
 * address that anybody listens on already is a failure, also if that is another process of ours.
 * False, `error`, and nothing left open. */
must_use bool listener_bind(const struct endpoint *endpoint, int *fds, unsigned count,
			    struct error *error);

/* listener_start accepts from `fd`, which it owns from now on, until listener_stop. */
void listener_start(struct listener *listener, struct ev_loop *loop, int fd,
		    struct metrics *metrics, listener_callback_t *accepted);

/* listener_stop closes the socket; the kernel refuses what comes later. Idempotent. */
void listener_stop(struct listener *listener);

#endif
