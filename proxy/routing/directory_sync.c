/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's half: what the store tells, and what workers do.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/config_user.h"
#include "core/log.h"
#include "directory_internal.h"
#include "net/stream_loop.h"

/* --- Why Redis cannot be asked ---------------------------------------------------------------- */

void directory_set_why(struct directory *directory, const char *why)
{
	pthread_mutex_lock(&directory->log_lock);
	snprintf(directory->why, sizeof(directory->why), "%s", why);
	pthread_mutex_unlock(&directory->log_lock);
}

void directory_get_why(struct directory *directory, struct error *error)
{
	pthread_mutex_lock(&directory->log_lock);
	error_set(error, "Redis: %s", directory->why);
	pthread_mutex_unlock(&directory->log_lock);
}

/* --- What the store tells --------------------------------------------------------------------- */

static void on_ready(void *owner)
{
	struct directory *directory = owner;

	if (directory->node.retired != NULL) {
		directory_node_retire(directory);
	} else {
		directory_node_register(directory);
	}
}

/* Who waits goes on with what was known, at once, or waits for Redis to come back in time. */
static void on_lost(void *owner, const char *why)
{
	struct directory *directory = owner;
	size_t waiting = directory->first.count;

	directory->registered = false;
	atomic_store(&directory->reachable, false);
	directory_set_why(directory, why);
	while (waiting-- > 0 && directory->first.head != NULL) {
		struct resident *resident = directory->first.head;

		directory_dequeue(directory, resident);
		directory_consider(directory, resident);
	}
}

static void on_watching(void *owner)
{
	directory_note_gap(owner, true);
	directory_drains_ask_all(owner);
}

static void on_blind(void *owner)
{
	directory_note_gap(owner, false);
}

/* The registration may be gone as well. */
static void on_flushed(void *owner)
{
	struct directory *directory = owner;

	directory->registered = false;
	directory_note_gap(directory, true);
	if (store_is_ready(directory->store)) {
		directory_node_register(directory);
	}
}

static struct resident *add_held(struct directory *directory, struct directory_shard *shard,
				 const char *user, uint64_t hash)
{
	struct resident *resident = NULL;

	if (atomic_load_explicit(&directory->empties, memory_order_relaxed) < DIRECTORY_HOLDS_MAX) {
		resident = residents_add(&shard->residents, user, hash);
	}
	if (resident == NULL) {
		metrics_count(directory->house.metrics, METRIC_LIMIT_HOLDS);
		return NULL;
	}
	resident->directory = directory;
	atomic_fetch_add_explicit(&directory->empties, 1, memory_order_relaxed);
	return resident;
}

/* What was asked before counts no more. A hold must be known even of users who are not here, since
 * a move waits for the word of every proxy. */
static void hear_of(struct directory *directory, const char *user, bool about_hold)
{
	uint64_t hash = hash_bytes(&directory->key, user, strlen(user));
	struct directory_shard *shard = directory_shard_of(directory, hash);
	struct resident *resident;

	pthread_mutex_lock(&shard->lock);
	route_cache_drop(&shard->cache, user);
	resident = residents_find(&shard->residents, user, hash);
	if (resident == NULL && about_hold) {
		resident = add_held(directory, shard, user, hash);
	}
	if (resident != NULL) {
		resident->generation++;
		resident->ask = RESIDENT_ASK_NOW;
		resident->about_hold = resident->about_hold || about_hold;
		resident->with_keeper = true;
		resident->retry_ms = 0;
	}
	pthread_mutex_unlock(&shard->lock);
	if (resident != NULL) {
		directory_consider(directory, resident);
	}
}

/* Where the file says where a user lives, nobody of the user comes to the directory: they may be
 * here all the same, so a move has to wait, and an operator to hear why. */
static bool is_of_file(struct directory *directory, const char *user)
{
	uint64_t held_back;

	if (config_find_user(directory->config, user) == directory->config->backend_count) {
		return false;
	}
	if (log_bound_admits(&directory->hold_lines, timeouts_now_ms(), &held_back)) {
		log_warn("a hold is not confirmed: the user is one of [routing.users]",
			 log_text("user", user), log_number("held_back", (int64_t)held_back));
	}
	return true;
}

static void hear_of_hold(struct directory *directory, const char *user, size_t length)
{
	char name[CONFIG_USER_MAX + 1];

	if (length == 0 || length > CONFIG_USER_MAX || text_has_control(user, length)) {
		return;
	}
	memcpy(name, user, length);
	name[length] = '\0';
	if (!is_of_file(directory, name)) {
		hear_of(directory, name, true);
	}
}

static void hear_of_route(struct directory *directory, const char *key, size_t length)
{
	char user[CONFIG_USER_MAX + 1];

	switch (lookup_user_of_key(&directory->lookup, key, length, user)) {
	case LOOKUP_ONE_USER:
		hear_of(directory, user, false);
		break;
	case LOOKUP_MANY_USERS:
		directory_note_gap(directory, true);
		break;
	case LOOKUP_NOT_OURS:
		break;
	}
}

/* What stands behind a prefix; NULL where the key does not begin with it. */
static const char *behind(const char *key, size_t length, const char *prefix, size_t *rest)
{
	size_t size = strlen(prefix);

	if (length < size || memcmp(key, prefix, size) != 0) {
		return NULL;
	}
	*rest = length - size;
	return key + size;
}

/* The lookup may watch more than its own keys: what is ours is no route. */
static void on_changed(void *owner, const char *key, size_t length)
{
	struct directory *directory = owner;
	const char *name;
	size_t rest;

	if ((name = behind(key, length, DIRECTORY_HOLD_PREFIX, &rest)) != NULL) {
		hear_of_hold(directory, name, rest);
	} else if ((name = behind(key, length, DIRECTORY_DRAIN_PREFIX, &rest)) != NULL ||
		   (name = behind(key, length, DIRECTORY_CANARY_PREFIX, &rest)) != NULL) {
		directory_drains_changed(directory, name, rest);
	} else if ((name = behind(key, length, DIRECTORY_NODE_PREFIX, &rest)) != NULL) {
		if (rest == strlen(directory->node.name) &&
		    memcmp(name, directory->node.name, rest) == 0) {
			directory_node_changed(directory);
		}
	} else if (behind(key, length, DIRECTORY_MOVE_PREFIX, &rest) == NULL) {
		hear_of_route(directory, key, length);
	}
}

static const struct store_events store_events = {
	.ready = on_ready,
	.lost = on_lost,
	.watching = on_watching,
	.blind = on_blind,
	.changed = on_changed,
	.flushed = on_flushed,
};

/* --- What workers tell ------------------------------------------------------------------------ */

static void receive(struct inbox *inbox, struct inbox_item *item)
{
	struct directory *directory = container_of(inbox, struct directory, inbox);
	struct resident *resident = container_of(item, struct resident, item);
	struct directory_shard *shard;

	if (item == &directory->canary_item) {
		directory_drains_tell_canary(directory);
		return;
	}
	shard = directory_shard_of(directory, resident->hash);
	pthread_mutex_lock(&shard->lock);
	resident->told = false;
	if (resident->asking > 0) {
		resident->retry_ms = 0;
	}
	pthread_mutex_unlock(&shard->lock);
	directory_consider(directory, resident);
}

/* --- Asking ----------------------------------------------------------------------------------- */

void directory_words_add_bytes(struct directory_words *words, const char *word, size_t length)
{
	invariant(words->count < DIRECTORY_WORDS_MAX);
	words->words[words->count] = word;
	words->lengths[words->count++] = length;
}

void directory_words_add(struct directory_words *words, const char *word)
{
	directory_words_add_bytes(words, word, strlen(word));
}

void directory_explain(const struct redis_reply *reply, struct error *why)
{
	redis_reply_explain(reply, why);
	error_prefix(why, "Redis");
}

void directory_store_ask(struct directory *directory, struct store_question *question,
			 const struct directory_words *words, size_t key,
			 store_callback_t *callback)
{
	struct redis_command command = {words->count, words->words, words->lengths};

	store_ask(directory->store, question, &command, key, callback);
}

/* --- The whole -------------------------------------------------------------------------------- */

static void on_beat(struct timeout *beat)
{
	struct directory *directory = container_of(beat, struct directory, beat);

	directory_node_beat(directory);
	directory_drains_beat(directory);
	timeout_add(&directory->beats, beat, timeouts_now_ms() + DIRECTORY_BEAT_MS);
}

static struct store *make_store(struct directory *directory)
{
	struct store_settings settings = {
		.config = &directory->config->redis,
		.shared = directory->house.shared,
		.timeouts = directory->house.timeouts,
		.resolver = directory->house.resolver,
		.metrics = directory->house.metrics,
		.tls_client = directory->house.tls_client,
		.prefixes = directory->prefixes,
		.prefix_count = DIRECTORY_PREFIXES,
		.events = &store_events,
		.owner = directory,
	};

	snprintf(directory->node_prefix, sizeof(directory->node_prefix), "%s%s",
		 DIRECTORY_NODE_PREFIX, directory->node.name);
	directory->prefixes[0] = DIRECTORY_HOLD_PREFIX;
	directory->prefixes[1] = DIRECTORY_DRAIN_PREFIX;
	directory->prefixes[2] = DIRECTORY_CANARY_PREFIX;
	directory->prefixes[3] = directory->node_prefix;
	directory->prefixes[4] = lookup_prefix(&directory->lookup);
	return store_new(&settings);
}

bool directory_start(struct directory *directory, const struct directory_house *house,
		     struct error *error)
{
	directory->house = *house;
	directory->store = make_store(directory);
	if (directory->store == NULL || !directory_drains_start(directory)) {
		store_free(directory->store);
		directory->store = NULL;
		return error_set(error, "out of memory");
	}
	for (size_t i = 0; i < DIRECTORY_DUES; i++) {
		timeout_list_init(&directory->dues[i], house->timeouts, directory_on_due);
	}
	timeout_list_init(&directory->rounds, house->timeouts, directory_on_round);
	timeout_list_init(&directory->beats, house->timeouts, on_beat);
	timeout_add(&directory->beats, &directory->beat, timeouts_now_ms() + DIRECTORY_BEAT_MS);
	directory_node_start(directory);
	inbox_open(&directory->inbox, house->shared->loop, receive);
	atomic_store_explicit(&directory->open, true, memory_order_release);
	return true;
}

static void abandon(struct directory *directory, struct directory_shard *shard)
{
	struct resident *resident;
	struct resident *next;

	DL_FOREACH_SAFE2(shard->residents.list, resident, next, next)
	{
		store_cancel(&resident->hold_question);
		store_cancel(&resident->route_question);
		inbox_withdraw(&directory->inbox, &resident->item);
		timeout_remove(&resident->due);
		directory_dequeue(directory, resident);
		resident->activity = RESIDENT_IDLE;
		resident->waiting = 0;
		resident->with_keeper = false;
		resident->told = false;
		directory_fail_asking(directory, shard, resident, "the directory is closed");
		if (resident->stays == NULL) {
			directory_let_go(directory, shard, resident);
		}
	}
}

void directory_stop(struct directory *directory)
{
	if (!atomic_load(&directory->open)) {
		return;
	}
	atomic_store(&directory->reachable, false);
	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		struct directory_shard *shard = &directory->shards[i];

		/* Who posts to the inbox does so under one of these locks. */
		pthread_mutex_lock(&shard->lock);
		atomic_store_explicit(&directory->open, false, memory_order_release);
		abandon(directory, shard);
		pthread_mutex_unlock(&shard->lock);
	}
	inbox_close(&directory->inbox);
	directory_node_stop(directory);
	directory_drains_stop(directory);
	timeout_remove(&directory->round);
	timeout_remove(&directory->beat);
	for (size_t i = 0; i < DIRECTORY_DUES; i++) {
		timeout_list_done(&directory->dues[i]);
	}
	timeout_list_done(&directory->rounds);
	timeout_list_done(&directory->beats);
	store_free(directory->store);
	directory->store = NULL;
	directory->registered = false;
}
