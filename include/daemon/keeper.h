/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper: one thread beside the workers that keeps what they share. It speaks to Redis for the
 * directory, checks the members of the pool, and asks for the services that they come from. Workers
 * never wait for it but for a route that is not known yet.
 */
#ifndef GATEPOST_DAEMON_KEEPER_H
#define GATEPOST_DAEMON_KEEPER_H

#include "base/base.h"
#include "base/error.h"

struct config;
struct directory;
struct keeper;
struct metrics;
struct pool;
struct tls_set;

/* What it is made of; all borrowed and outlives it. */
struct keeper_settings {
	struct config *config;
	const struct tls_set *tls;
	struct pool *pool;
	struct directory *directory; /* NULL where routing.source is "static" */
	const char *version;         /* of the program, for the registration */
};

/* keeper_new prepares everything and starts nothing. NULL, and `error`, on failure. */
must_use struct keeper *keeper_new(const struct keeper_settings *settings, struct error *error);

/* keeper_start begins the thread; false, and `error`, when the system refuses one. */
must_use bool keeper_start(struct keeper *keeper, struct error *error);

/* keeper_await_services returns when the services of the pool were asked for once, or after
 * KEEPER_PATIENCE_MS, or when a signal comes: so the first logins find somebody. Nothing is waited
 * for where there are no services. */
void keeper_await_services(struct keeper *keeper);
#define KEEPER_PATIENCE_MS 3000

/* keeper_stop, once no worker is left: the process is taken off the list of proxies, for which it
 * waits as directory_retire says, and the thread ends. Nothing happens where none was started. */
void keeper_stop(struct keeper *keeper);

/* keeper_add_metrics adds its counters to `total`. */
void keeper_add_metrics(const struct keeper *keeper, struct metrics *total);

/* keeper_free: stopped, or never started. NULL is fine. */
void keeper_free(struct keeper *keeper);

#endif
