/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker: one thread, one loop, its own listening sockets, its own sessions. Workers share the
 * configuration, TLS, the pool, the directory and the session limit, nothing else.
 */
#ifndef GATEPOST_DAEMON_WORKER_H
#define GATEPOST_DAEMON_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/error.h"
#include "daemon/mailbox.h"
#include "session/close_reason.h"

struct canary;
struct config;
struct directory;
struct limit;
struct metrics;
struct pool;
struct tls_set;
struct worker;

/* What a worker is made of; all borrowed and outlives it, but for the descriptors. */
struct worker_settings {
	struct config *config;
	const struct tls_set *tls;
	struct pool *pool;
	struct directory *directory; /* NULL where routing.source is "static" */
	struct canary *canary;       /* NULL where there is none */
	struct limit *limit;
	const int *listener_fds; /* one for each listener of the configuration, owned from now on */
	struct mailbox *supervisor; /* gets LETTER_ENDED when the loop is over */
};

/* worker_new prepares everything and starts nothing. NULL, and `error`, on failure. */
must_use struct worker *worker_new(const struct worker_settings *settings, struct error *error);

/* worker_start begins the thread; false, and `error`, when the system refuses one. */
must_use bool worker_start(struct worker *worker, struct error *error);

/* worker_post sends it a letter: LETTER_DRAIN, LETTER_FINISH or LETTER_STOP. */
void worker_post(struct worker *worker, enum letter letter);

/* worker_has_ended tells whether its loop is over. */
bool worker_has_ended(const struct worker *worker);

/* worker_join waits for the thread to end. Nothing happens where none was started. */
void worker_join(struct worker *worker);

/* worker_add_metrics adds its counters to `total`. */
void worker_add_metrics(const struct worker *worker, struct metrics *total);

/* worker_closed is how many of its sessions ended for `reason`; after worker_join. */
uint64_t worker_closed(const struct worker *worker, enum close_reason reason);

/* worker_free: the thread is joined or was never started. NULL is fine. */
void worker_free(struct worker *worker);

#endif
