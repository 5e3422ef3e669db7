/* SPDX-License-Identifier: Apache-2.0
 *
 * Source addresses that know their ports: one address has some 28,000 ports towards one backend,
 * which a large proxy uses up. The least used address of the right family is taken, one that is
 * full is left out, and one that the kernel says is full rests for a moment. Any thread.
 */
#ifndef GATEPOST_NET_SOURCE_POOL_H
#define GATEPOST_NET_SOURCE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/base.h"

struct source;
struct source_pool;

/* source_pool_new copies `count` > 0 addresses (ports are ignored). How many ports each has is read
 * from the system (ip_local_port_range) once. NULL when memory ran out. One reference. */
must_use struct source_pool *source_pool_new(const struct addr *addresses, size_t count);
struct source_pool *source_pool_ref(struct source_pool *pool);
void source_pool_unref(struct source_pool *pool);

/* source_pool_has tells whether the pool has any address of `family`, full or not. */
bool source_pool_has(const struct source_pool *pool, sa_family_t family);

/* source_take gives the least used address of `family` that is neither full, nor resting, nor among
 * those that this attempt has `tried` (a bit for each, 0 at first), NULL where there is none. It
 * holds the pool. source_give returns it, and tells whether the kernel had no port for it, so that
 * it rests for SOURCE_REST_MS; NULL is fine. */
struct source *source_take(struct source_pool *pool, sa_family_t family, uint64_t *tried);
void source_give(struct source *source, bool exhausted);
const struct addr *source_addr(const struct source *source);
unsigned source_used(const struct source *source);

#define SOURCE_REST_MS 1000

/* Addresses of one pool; more are ignored. */
#define SOURCE_POOL_MAX 64

#endif
