/* SPDX-License-Identifier: Apache-2.0
 *
 * Two populations, the canary's logins and all others, each with its outcomes of the last window in
 * the order in which they were counted, and a hash table over them that tells who is there already.
 */
#include "routing/canary.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "client_key_internal.h"

#define HUNDRED 100
#define NOBODY  UINT16_MAX

/* struct outcome of one client; `next` is of the same bucket. */
struct outcome {
	uint64_t client;
	uint64_t at_ms;
	uint16_t next;
	bool failed;
};

/* struct population is a ring of outcomes, the oldest at `first`. */
struct population {
	struct outcome outcomes[CANARY_CLIENTS_MAX];
	uint16_t buckets[CANARY_CLIENTS_MAX];
	unsigned first;
	unsigned count;
	unsigned failures;
	unsigned clients; /* some have failed and not failed */
};

struct canary {
	unsigned threshold;
	struct hash_key key; /* clients choose their addresses */
	pthread_mutex_t lock;
	struct population canary;
	struct population others;
};

static void forget_all(struct population *population)
{
	population->count = 0;
	population->failures = 0;
	population->clients = 0;
	memset(population->buckets, 0xFF, sizeof(population->buckets));
}

struct canary *canary_new(unsigned threshold_percent)
{
	struct canary *canary = calloc(1, sizeof(*canary));

	invariant(threshold_percent >= 1 && threshold_percent <= HUNDRED);
	if (canary == NULL) {
		return NULL;
	}
	if (getrandom(&canary->key, sizeof(canary->key), 0) != (ssize_t)sizeof(canary->key)) {
		free(canary);
		return NULL;
	}
	canary->threshold = threshold_percent;
	pthread_mutex_init(&canary->lock, NULL);
	forget_all(&canary->canary);
	forget_all(&canary->others);
	return canary;
}

void canary_free(struct canary *canary)
{
	if (canary != NULL) {
		pthread_mutex_destroy(&canary->lock);
		free(canary);
	}
}

static uint16_t *bucket_of(struct canary *canary, struct population *population, uint64_t client)
{
	uint64_t hash = hash_bytes(&canary->key, &client, sizeof(client));

	return &population->buckets[hash % CANARY_CLIENTS_MAX];
}

static bool is_known(const struct population *population, uint16_t bucket, uint64_t client,
		     bool failed)
{
	while (bucket != NOBODY) {
		const struct outcome *outcome = &population->outcomes[bucket];

		if (outcome->client == client && outcome->failed == failed) {
			return true;
		}
		bucket = outcome->next;
	}
	return false;
}

static void forget_oldest(struct canary *canary, struct population *population)
{
	const struct outcome *oldest = &population->outcomes[population->first];
	uint16_t *bucket = bucket_of(canary, population, oldest->client);
	uint16_t *link = bucket;

	while (*link != population->first) {
		link = &population->outcomes[*link].next;
	}
	*link = oldest->next;
	population->clients -= !is_known(population, *bucket, oldest->client, !oldest->failed);
	population->failures -= oldest->failed;
	population->first = (population->first + 1) % CANARY_CLIENTS_MAX;
	population->count--;
}

static void forget_old(struct canary *canary, struct population *population, uint64_t now_ms)
{
	while (population->count > 0 &&
	       population->outcomes[population->first].at_ms + CANARY_WINDOW_MS <= now_ms) {
		forget_oldest(canary, population);
	}
}

static void count_outcome(struct canary *canary, struct population *population,
			  const struct outcome *outcome)
{
	uint16_t *bucket = bucket_of(canary, population, outcome->client);
	unsigned place = (population->first + population->count) % CANARY_CLIENTS_MAX;

	if (population->count == CANARY_CLIENTS_MAX ||
	    is_known(population, *bucket, outcome->client, outcome->failed)) {
		return;
	}
	population->clients += !is_known(population, *bucket, outcome->client, !outcome->failed);
	population->outcomes[place] = *outcome;
	population->outcomes[place].next = *bucket;
	*bucket = (uint16_t)place;
	population->failures += outcome->failed;
	population->count++;
}

/* Of every hundred, `threshold` more fail than elsewhere; where nobody is elsewhere, none fails. */
static bool is_over(const struct canary *canary)
{
	const struct population *here = &canary->canary;
	int64_t elsewhere = canary->others.count > 0 ? canary->others.count : 1;
	int64_t more = (int64_t)here->failures * elsewhere -
		       (int64_t)canary->others.failures * here->count;

	return here->clients >= CANARY_CLIENTS_MIN &&
	       more * HUNDRED >= (int64_t)canary->threshold * here->count * elsewhere;
}

bool canary_observe(struct canary *canary, bool at_canary, const struct addr *client, bool failed,
		    uint64_t now_ms)
{
	struct outcome outcome = {.client = client_key(client), .at_ms = now_ms, .failed = failed};
	bool over;

	pthread_mutex_lock(&canary->lock);
	forget_old(canary, &canary->canary, now_ms);
	forget_old(canary, &canary->others, now_ms);
	count_outcome(canary, at_canary ? &canary->canary : &canary->others, &outcome);
	over = is_over(canary);
	if (over) {
		forget_all(&canary->canary);
		forget_all(&canary->others);
	}
	pthread_mutex_unlock(&canary->lock);
	return over;
}
