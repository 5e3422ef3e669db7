/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes that were learnt: a bounded table from user to what Redis said, or that it knew nobody.
 * One for each shard of the directory, under that shard's lock: it has no lock and no clock of its
 * own. Past its bound, the user who was asked for longest ago is forgotten.
 */
#ifndef GATEPOST_ROUTING_ROUTE_CACHE_INTERNAL_H
#define GATEPOST_ROUTING_ROUTE_CACHE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/hash.h"
#include "base/table.h"
#include "route_text_internal.h"

struct route_cached;

/* struct route_cache_limits: how many users, and for how long what was learnt of them counts. */
struct route_cache_limits {
	size_t routes_max;   /* 0: nothing is kept */
	uint64_t fresh_ms;   /* a route is fresh before this age */
	uint64_t unknown_ms; /* and "no such user" before this */
	uint64_t stale_ms; /* a route is the last known good before this; unknown users have none */
};

/* struct route_moment is when something is learnt or asked: by the clock, and in which stretch
 * without a gap in what is heard of changes. What was learnt in another is not fresh. */
struct route_moment {
	uint64_t now_ms;
	uint32_t epoch;
};

enum route_freshness {
	ROUTE_NOT_CACHED, /* nothing that could be told */
	ROUTE_FRESH,      /* a route, or NULL: no such user */
	ROUTE_STALE,      /* a route, the last known good, to go on with if Redis cannot be asked */
};

/* struct route_cache: its fields are its own. */
struct route_cache {
	struct table table;
	struct hash_key key;
	struct route_cache_limits limits;
	struct route_texts *texts;
	struct route_cached *youngest;
	struct route_cached *oldest;
};

/* route_cache_init makes an empty cache. `key` is random; the shard of a user may be chosen by the
 * lower half of a hash of the same key. `texts` is borrowed. */
void route_cache_init(struct route_cache *cache, const struct route_cache_limits *limits,
		      const struct hash_key *key, struct route_texts *texts);

/* route_cache_find looks a user up (at most CONFIG_USER_MAX bytes), who becomes the youngest.
 * `text` is set for FRESH and STALE, and borrowed until the cache is changed. What is too old for
 * both is forgotten. A clock that runs behind the one it was learnt by makes nothing older. */
enum route_freshness route_cache_find(struct route_cache *cache, const char *user,
				      const struct route_moment *moment, struct route_text **text);

/* route_cache_put keeps what was learnt of a user, with a reference of its own to `text` (NULL: no
 * such user), in the place of what was known. False when memory ran out: nothing is known of the
 * user then. */
bool route_cache_put(struct route_cache *cache, const char *user, struct route_text *text,
		     const struct route_moment *moment);

/* route_cache_drop forgets a user; true when something was known. */
bool route_cache_drop(struct route_cache *cache, const char *user);

size_t route_cache_count(const struct route_cache *cache);

/* route_cache_done forgets everybody, and leaves an empty cache that keeps nothing. */
void route_cache_done(struct route_cache *cache);

#endif
