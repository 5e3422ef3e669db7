/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the pool share: it, and how its view is replaced.
 */
#ifndef GATEPOST_ROUTING_POOL_INTERNAL_H
#define GATEPOST_ROUTING_POOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/base.h"
#include "core/log_bound.h"
#include "routing/pool.h"

struct source_pool;

struct shared_view {
	atomic_uint references;
	struct pool_view view;
};

struct pool {
	struct config *config;
	struct source_pool **sources; /* one for each backend, NULL where it has none */
	atomic_uint version;
	struct log_bound refusals;
	pthread_mutex_t lock; /* of the pointer */
	struct shared_view *current;
};

/* shared_view_new has room for `capacity` members, and one reference. NULL when memory ran out. */
must_use struct shared_view *shared_view_new(size_t capacity);

/* pool_make_member makes one of backend `config`; NULL when memory ran out. */
must_use struct member *pool_make_member(const struct pool *pool, size_t config, const char *name,
					 const struct endpoint *address);

/* pool_publish puts `after`, whose members are in no order yet, in the place of the current view;
 * the reference is the pool's then. */
void pool_publish(struct pool *pool, struct shared_view *after);

#endif
