/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of the pool as one worker speaks to them: a backend for each, in step with the pool.
 * A backend whose member has left lives on for the sessions that use it.
 */
#ifndef GATEPOST_ROUTING_ROSTER_INTERNAL_H
#define GATEPOST_ROUTING_ROSTER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct backend;
struct capability_offer;
struct config;
struct endpoint;
struct member;
struct pool;
struct pool_view;
struct roster;
struct tls_client;

/* struct roster_events: what comes and goes, so that others keep in step; borrowed for the call,
 * but for as long as `left` was not told. */
struct roster_events {
	bool (*joined)(struct roster *roster, struct backend *backend); /* false: no memory */
	void (*left)(struct roster *roster, struct backend *backend);
};

/* struct roster: all but `view` and `backends` is the owner's, and outlives it. */
struct roster {
	const struct config *config;
	struct pool *pool;
	struct tls_client *const
		*tls_clients; /* one for each backend of the configuration, or NULL */
	const struct roster_events *events;
	const struct pool_view *view; /* NULL before the first refresh */
	struct backend **backends;    /* in the order of the view's members */
};

/* roster_refresh takes the pool's view where it is newer. False when memory ran out: all stays as
 * it was. */
bool roster_refresh(struct roster *roster);

/* roster_find gives the backend of a member by name, roster_find_at by address and kind of TLS;
 * NULL where there is none. Borrowed until the next refresh. */
struct backend *roster_find(const struct roster *roster, const char *name);
struct backend *roster_find_at(const struct roster *roster, const struct endpoint *address,
			       bool implicit_tls);

/* roster_has tells whether it is a backend of the roster. */
bool roster_has(const struct roster *roster, const struct backend *backend);

/* roster_meet leaves in `common` what it has in common with all of them. */
void roster_meet(const struct roster *roster, struct capability_offer *common);

/* roster_done gives back everything; nobody is told that it left. */
void roster_done(struct roster *roster);

#endif
