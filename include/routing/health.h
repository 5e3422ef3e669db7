/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's eye on the pool: every member is checked once per health.interval, for the whole
 * process, and told whether it passed; and the services behind "srv:" addresses are asked for again
 * by their TTL. One thread.
 */
#ifndef GATEPOST_ROUTING_HEALTH_H
#define GATEPOST_ROUTING_HEALTH_H

#include "base/base.h"
#include "base/error.h"

struct config;
struct health;
struct metrics;
struct pool;
struct resolver;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Checks at a time; the others of a round wait for a place. */
#define HEALTH_AT_ONCE 64

/* What it is made of; all borrowed and outlives it, but for a reference of its own to `config`. */
struct health_settings {
	struct config *config;
	struct pool *pool;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct tls_client *const *tls_clients; /* one for each backend of the configuration, NULL
						* where it has no TLS; NULL where none has */
	/* Every service was asked for once, whatever came of it; called once, and within health_new
	 * where there are none. May be NULL. */
	void (*services_asked)(void *owner);
	void *owner;
};

/* health_new begins soon: services at once, checks spread over the first interval. What a check
 * does is health.check: connect (TLS included where it is from the first byte); read the greeting
 * and what STARTTLS needs; or log in as health.user. It takes the backend's connect_timeout and
 * login_timeout at most, or the interval (a second at least) where that is shorter, and so a
 * backend that accepts and says nothing is as dead as one that refuses. Without checks services are
 * asked for all the same. NULL, and `error`, when memory ran out. */
must_use struct health *health_new(const struct health_settings *settings, struct error *error);

/* health_free ends all checks. NULL is fine. */
void health_free(struct health *health);

#endif
