/* SPDX-License-Identifier: Apache-2.0
 *
 * The addresses of a pool and how often each is used, behind one lock that is held for a walk over
 * some of them. Whoever uses an address holds the pool.
 */
#include "net/source_pool.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/timeouts.h"

/* What Linux has where nobody has changed it. */
#define PORT_FIRST 32768U
#define PORT_LAST  60999U

#define PORT_RANGE_PATH "/proc/sys/net/ipv4/ip_local_port_range"

struct source {
	struct source_pool *pool;
	struct addr address;
	unsigned used;
	uint64_t rests_until_ms;
};

struct source_pool {
	pthread_mutex_t lock;
	unsigned references;
	unsigned ports; /* of each address */
	size_t count;
	struct source sources[];
};

/* "32768	60999"; IPv6 has the same range. */
static unsigned count_ports(void)
{
	FILE *file = fopen(PORT_RANGE_PATH, "re");
	char line[64] = "";
	char *rest = line;
	unsigned long first;
	unsigned long last;

	if (file != NULL) {
		if (fgets(line, sizeof(line), file) == NULL) {
			line[0] = '\0';
		}
		fclose(file);
	}
	first = strtoul(line, &rest, 10);
	last = strtoul(rest, NULL, 10);
	if (first == 0 || last < first || last > UINT16_MAX) {
		return PORT_LAST - PORT_FIRST + 1;
	}
	return (unsigned)(last - first + 1);
}

static void clear_port(struct addr *address)
{
	if (address->family == AF_INET6) {
		address->v6.sin6_port = 0;
	} else {
		address->v4.sin_port = 0;
	}
}

struct source_pool *source_pool_new(const struct addr *addresses, size_t count)
{
	size_t kept = count < SOURCE_POOL_MAX ? count : SOURCE_POOL_MAX;
	struct source_pool *pool = calloc(1, sizeof(*pool) + kept * sizeof(pool->sources[0]));

	invariant(count > 0);
	if (pool == NULL) {
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pool->references = 1;
	pool->ports = count_ports();
	pool->count = kept;
	for (size_t i = 0; i < kept; i++) {
		pool->sources[i] = (struct source){.pool = pool, .address = addresses[i]};
		clear_port(&pool->sources[i].address);
	}
	return pool;
}

struct source_pool *source_pool_ref(struct source_pool *pool)
{
	if (pool != NULL) {
		pthread_mutex_lock(&pool->lock);
		pool->references++;
		pthread_mutex_unlock(&pool->lock);
	}
	return pool;
}

/* Unlocks, and frees the pool with its last reference. */
static void leave_locked(struct source_pool *pool)
{
	bool last = --pool->references == 0;

	pthread_mutex_unlock(&pool->lock);
	if (last) {
		pthread_mutex_destroy(&pool->lock);
		free(pool);
	}
}

void source_pool_unref(struct source_pool *pool)
{
	if (pool != NULL) {
		pthread_mutex_lock(&pool->lock);
		leave_locked(pool);
	}
}

bool source_pool_has(const struct source_pool *pool, sa_family_t family)
{
	for (size_t i = 0; i < pool->count; i++) {
		if (pool->sources[i].address.family == family) {
			return true;
		}
	}
	return false;
}

static bool is_resting(struct source *source)
{
	if (source->rests_until_ms != 0 && source->rests_until_ms <= timeouts_now_ms()) {
		source->rests_until_ms = 0;
	}
	return source->rests_until_ms != 0;
}

static struct source *find_least_used(struct source_pool *pool, sa_family_t family, uint64_t tried)
{
	struct source *found = NULL;

	for (size_t i = 0; i < pool->count; i++) {
		struct source *each = &pool->sources[i];

		if (each->address.family == family && (tried & 1ULL << i) == 0 &&
		    each->used < pool->ports && (found == NULL || each->used < found->used) &&
		    !is_resting(each)) {
			found = each;
		}
	}
	return found;
}

struct source *source_take(struct source_pool *pool, sa_family_t family, uint64_t *tried)
{
	struct source *found;

	pthread_mutex_lock(&pool->lock);
	found = find_least_used(pool, family, *tried);
	if (found != NULL) {
		*tried |= 1ULL << (found - pool->sources);
		found->used++;
		pool->references++;
	}
	pthread_mutex_unlock(&pool->lock);
	return found;
}

void source_give(struct source *source, bool exhausted)
{
	if (source == NULL) {
		return;
	}
	pthread_mutex_lock(&source->pool->lock);
	invariant(source->used > 0);
	source->used--;
	if (exhausted) {
		source->rests_until_ms = timeouts_now_ms() + SOURCE_REST_MS;
	}
	leave_locked(source->pool);
}

const struct addr *source_addr(const struct source *source)
{
	return &source->address;
}

unsigned source_used(const struct source *source)
{
	unsigned used;

	pthread_mutex_lock(&source->pool->lock);
	used = source->used;
	pthread_mutex_unlock(&source->pool->lock);
	return used;
}
