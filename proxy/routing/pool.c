/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: one view at a time, made anew for each change and put in the place of the last. Only
 * the keeper makes views, once the process runs.
 */
#include "pool_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "net/source_pool.h"

struct shared_view *shared_view_new(size_t capacity)
{
	struct shared_view *shared =
		calloc(1, sizeof(*shared) + capacity * sizeof(struct member *));

	if (shared != NULL) {
		atomic_init(&shared->references, 1);
	}
	return shared;
}

void pool_view_unref(const struct pool_view *view)
{
	struct shared_view *shared;
	unsigned before;

	if (view == NULL) {
		return;
	}
	shared = container_of(view, struct shared_view, view);
	before = atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel);
	invariant(before > 0);
	if (before > 1) {
		return;
	}
	for (size_t i = 0; i < view->count; i++) {
		member_unref(view->members[i]);
	}
	free(shared);
}

static int compare_members(const void *left, const void *right)
{
	const struct member *const *a = left;
	const struct member *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static int compare_name(const void *name, const void *member)
{
	const struct member *const *found = member;

	return strcmp(name, (*found)->name);
}

size_t pool_view_index(const struct pool_view *view, const char *name)
{
	struct member *const *found =
		bsearch(name, view->members, view->count, sizeof(struct member *), compare_name);

	return found != NULL ? (size_t)(found - view->members) : view->count;
}

struct member *pool_view_find(const struct pool_view *view, const char *name)
{
	size_t index = pool_view_index(view, name);

	return index < view->count ? view->members[index] : NULL;
}

struct member *pool_make_member(const struct pool *pool, size_t config, const char *name,
				const struct endpoint *address)
{
	return member_new(&(struct member_settings){
		.name = name,
		.config = config,
		.address = address,
		.backend = &pool->config->backends[config],
		.health = &pool->config->health,
		.moves = &pool->config->moves,
		.sources = pool->sources[config],
	});
}

static bool make_sources(struct pool *pool)
{
	for (size_t i = 0; i < pool->config->backend_count; i++) {
		const struct config_addresses *sources = &pool->config->backends[i].sources;

		if (sources->count == 0) {
			continue;
		}
		pool->sources[i] = source_pool_new(sources->addresses, sources->count);
		if (pool->sources[i] == NULL) {
			return false;
		}
	}
	return true;
}

/* Those that stand in the configuration itself. */
static bool add_fixed(const struct pool *pool, struct pool_view *view)
{
	for (size_t i = 0; i < pool->config->backend_count; i++) {
		const struct config_backend *backend = &pool->config->backends[i];
		struct member *member;

		if (backend->service[0] != '\0') {
			continue;
		}
		member = pool_make_member(pool, i, backend->name, &backend->address);
		if (member == NULL) {
			return false;
		}
		view->members[view->count++] = member;
	}
	return true;
}

static bool make_first_view(struct pool *pool)
{
	struct shared_view *first = shared_view_new(pool->config->backend_count);

	if (first == NULL) {
		return false;
	}
	if (!add_fixed(pool, &first->view)) {
		pool_view_unref(&first->view);
		return false;
	}
	pool_publish(pool, first);
	return true;
}

struct pool *pool_new(struct config *config, struct error *error)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pool->config = config_ref(config);
	pool->sources = calloc(config->backend_count + 1, sizeof(struct source_pool *));
	if (pool->sources == NULL || !make_sources(pool) || !make_first_view(pool)) {
		error_set(error, "out of memory");
		pool_free(pool);
		return NULL;
	}
	return pool;
}

void pool_free(struct pool *pool)
{
	if (pool == NULL) {
		return;
	}
	if (pool->current != NULL) {
		pool_view_unref(&pool->current->view);
	}
	for (size_t i = 0; pool->sources != NULL && i < pool->config->backend_count; i++) {
		source_pool_unref(pool->sources[i]);
	}
	free(pool->sources);
	config_unref(pool->config);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

unsigned pool_version(const struct pool *pool)
{
	return atomic_load_explicit(&pool->version, memory_order_acquire);
}

const struct pool_view *pool_view(struct pool *pool)
{
	struct shared_view *shared;

	pthread_mutex_lock(&pool->lock);
	shared = pool->current;
	atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	return &shared->view;
}

void pool_publish(struct pool *pool, struct shared_view *after)
{
	struct shared_view *before = pool->current;

	qsort(after->view.members, after->view.count, sizeof(struct member *), compare_members);
	after->view.version = pool_version(pool) + 1;
	pthread_mutex_lock(&pool->lock);
	pool->current = after;
	pthread_mutex_unlock(&pool->lock);
	atomic_store_explicit(&pool->version, after->view.version, memory_order_release);
	if (before != NULL) {
		pool_view_unref(&before->view);
	}
}
