/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache: a table for finding, and a list from the oldest to the youngest for forgetting. There
 * are a million entries, so each byte of one counts.
 */
#include "route_cache_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/config.h"

/* struct route_cached is what is known of one user; `user` has no NUL. */
struct route_cached {
	struct table_link link;
	struct route_cached *younger;
	struct route_cached *older;
	struct route_text *text; /* NULL: no such user */
	uint64_t learnt_ms : 56;
	uint64_t length : 8; /* of `user` */
	uint32_t epoch;
	char user[];
};

_Static_assert(CONFIG_USER_MAX <= UINT8_MAX, "a length has eight bits");

static uint64_t hash_of_link(const struct table *table, const struct table_link *link)
{
	const struct route_cache *cache = container_of(table, struct route_cache, table);
	const struct route_cached *cached = container_of(link, struct route_cached, link);

	return hash_bytes(&cache->key, cached->user, cached->length);
}

/* --- The list ------------------------------------------------------------------------------- */

static void unlist(struct route_cache *cache, struct route_cached *cached)
{
	if (cached->younger != NULL) {
		cached->younger->older = cached->older;
	} else {
		cache->youngest = cached->older;
	}
	if (cached->older != NULL) {
		cached->older->younger = cached->younger;
	} else {
		cache->oldest = cached->younger;
	}
}

static void list_youngest(struct route_cache *cache, struct route_cached *cached)
{
	cached->younger = NULL;
	cached->older = cache->youngest;
	if (cache->youngest != NULL) {
		cache->youngest->younger = cached;
	} else {
		cache->oldest = cached;
	}
	cache->youngest = cached;
}

static void touch(struct route_cache *cache, struct route_cached *cached)
{
	if (cache->youngest != cached) {
		unlist(cache, cached);
		list_youngest(cache, cached);
	}
}

/* --- The table ------------------------------------------------------------------------------ */

static struct route_cached *seek(const struct route_cache *cache, const char *user, size_t length,
				 uint64_t hash)
{
	for (struct table_link *link = table_chain(&cache->table, hash); link != NULL;
	     link = link->next) {
		struct route_cached *cached = container_of(link, struct route_cached, link);

		if (cached->length == length && memcmp(cached->user, user, length) == 0) {
			return cached;
		}
	}
	return NULL;
}

static struct route_cached *seek_user(const struct route_cache *cache, const char *user)
{
	size_t length = strlen(user);

	return seek(cache, user, length, hash_bytes(&cache->key, user, length));
}

static void forget(struct route_cache *cache, struct route_cached *cached)
{
	table_remove(&cache->table, &cached->link, hash_of_link(&cache->table, &cached->link));
	unlist(cache, cached);
	route_text_unref(cache->texts, cached->text);
	free(cached);
}

static struct route_cached *add(struct route_cache *cache, const char *user, size_t length,
				uint64_t hash)
{
	size_t size = offsetof(struct route_cached, user) + length;
	struct route_cached *cached = malloc(size < sizeof(*cached) ? sizeof(*cached) : size);

	if (cached == NULL || !table_add(&cache->table, &cached->link, hash)) {
		free(cached);
		return NULL;
	}
	cached->text = NULL;
	cached->length = length;
	memcpy(cached->user, user, length);
	list_youngest(cache, cached);
	return cached;
}

static void learn(struct route_cache *cache, struct route_cached *cached, struct route_text *text,
		  const struct route_moment *moment)
{
	struct route_text *before = cached->text;

	cached->text = route_text_ref(text);
	cached->learnt_ms = moment->now_ms;
	cached->epoch = moment->epoch;
	route_text_unref(cache->texts, before);
}

static enum route_freshness judge(const struct route_cache *cache,
				  const struct route_cached *cached,
				  const struct route_moment *moment)
{
	const struct route_cache_limits *limits = &cache->limits;
	bool known = cached->text != NULL;
	uint64_t age_ms =
		moment->now_ms > cached->learnt_ms ? moment->now_ms - cached->learnt_ms : 0;

	if (moment->epoch == cached->epoch &&
	    age_ms < (known ? limits->fresh_ms : limits->unknown_ms)) {
		return ROUTE_FRESH;
	}
	return known && age_ms < limits->stale_ms ? ROUTE_STALE : ROUTE_NOT_CACHED;
}

/* --- The contract --------------------------------------------------------------------------- */

void route_cache_init(struct route_cache *cache, const struct route_cache_limits *limits,
		      const struct hash_key *key, struct route_texts *texts)
{
	*cache = (struct route_cache){
		.table.hash = hash_of_link, .key = *key, .limits = *limits, .texts = texts};
}

enum route_freshness route_cache_find(struct route_cache *cache, const char *user,
				      const struct route_moment *moment, struct route_text **text)
{
	struct route_cached *cached = seek_user(cache, user);
	enum route_freshness freshness;

	if (cached == NULL) {
		return ROUTE_NOT_CACHED;
	}
	freshness = judge(cache, cached, moment);
	if (freshness == ROUTE_NOT_CACHED) {
		forget(cache, cached);
	} else {
		touch(cache, cached);
		*text = cached->text;
	}
	return freshness;
}

bool route_cache_put(struct route_cache *cache, const char *user, struct route_text *text,
		     const struct route_moment *moment)
{
	size_t length = strlen(user);
	uint64_t hash = hash_bytes(&cache->key, user, length);
	struct route_cached *cached = seek(cache, user, length, hash);

	invariant(length <= CONFIG_USER_MAX);
	if (cache->limits.routes_max == 0) {
		return true;
	}
	if (cached != NULL) {
		touch(cache, cached);
	} else {
		cached = add(cache, user, length, hash);
	}
	if (cached == NULL) {
		return false;
	}
	learn(cache, cached, text, moment);
	if (cache->table.count > cache->limits.routes_max) {
		forget(cache, cache->oldest);
	}
	return true;
}

bool route_cache_drop(struct route_cache *cache, const char *user)
{
	struct route_cached *cached = seek_user(cache, user);

	if (cached != NULL) {
		forget(cache, cached);
	}
	return cached != NULL;
}

size_t route_cache_count(const struct route_cache *cache)
{
	return cache->table.count;
}

void route_cache_done(struct route_cache *cache)
{
	struct route_cached *next;

	for (struct route_cached *cached = cache->oldest; cached != NULL; cached = next) {
		next = cached->younger;
		route_text_unref(cache->texts, cached->text);
		free(cached);
	}
	table_done(&cache->table);
	*cache = (struct route_cache){.table.hash = hash_of_link};
}
