/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper's half: what the store tells, who is asked for and when, and what comes next for a
 * resident.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/log.h"
#include "directory_internal.h"
#include "net/stream_loop.h"

/* --- Queues --------------------------------------------------------------------------------- */

static struct directory_queue *queue_of(struct directory *directory, unsigned queue)
{
	return queue == RESIDENT_QUEUED_FIRST ? &directory->first : &directory->in_turn;
}

static void dequeue(struct directory *directory, struct resident *resident)
{
	struct directory_queue *queue = queue_of(directory, resident->queue);

	if (resident->queue != RESIDENT_QUEUED_NOWHERE) {
		DL_DELETE2(queue->head, resident, queue_previous, queue_next);
		queue->count--;
		resident->queue = RESIDENT_QUEUED_NOWHERE;
	}
}

static void enqueue(struct directory *directory, struct resident *resident)
{
	enum resident_queue wanted =
		resident->ask == RESIDENT_ASK_NOW ? RESIDENT_QUEUED_FIRST : RESIDENT_QUEUED_IN_TURN;
	struct directory_queue *queue = queue_of(directory, wanted);

	if (resident->queue == wanted) {
		return;
	}
	dequeue(directory, resident);
	DL_APPEND2(queue->head, resident, queue_previous, queue_next);
	queue->count++;
	resident->queue = (uint8_t)wanted;
}

bool directory_can_ask(const struct directory *directory)
{
	return directory->registered && store_is_ready(directory->store);
}

static bool may_ask_next(const struct directory *directory, const struct directory_queue *queue)
{
	return queue->head != NULL && directory->asks < DIRECTORY_ASKS_MAX &&
	       directory_can_ask(directory);
}

static void ask_head(struct directory *directory, struct directory_queue *queue)
{
	struct resident *resident = queue->head;

	dequeue(directory, resident);
	directory_ask(directory, resident);
}

/* An answer may come before the question is asked to the end, and wants the next one asked. */
void directory_pump(struct directory *directory)
{
	if (directory->pumping) {
		return;
	}
	directory->pumping = true;
	while (may_ask_next(directory, &directory->first)) {
		ask_head(directory, &directory->first);
	}
	directory->pumping = false;
}

/* --- What comes next for a resident ----------------------------------------------------------- */

enum step { STEP_NOTHING, STEP_PUMP, STEP_CONFIRM, STEP_REASSIGN };

/* struct waking is the earliest of the times that a resident waits for. */
struct waking {
	uint64_t due_ms;
	enum directory_due due;
};

static void wake_at(struct waking *waking, uint64_t due_ms, enum directory_due due)
{
	if (due_ms < waking->due_ms) {
		*waking = (struct waking){due_ms, due};
	}
}

static void wake_for_retry(struct waking *waking, const struct resident *resident)
{
	wake_at(waking, resident->retry_ms,
		resident->asking > 0 ? DIRECTORY_DUE_SOON : DIRECTORY_DUE_LATER);
}

static void look_after_waiting(struct directory *directory, struct directory_shard *shard,
			       struct resident *resident, struct waking *waking)
{
	uint64_t deadline_ms = resident->asking_ms + directory->config->redis.timeout_ms;

	if (resident->asking == 0) {
		return;
	}
	if (deadline_ms <= timeouts_now_ms()) {
		directory_fail_asking(directory, shard, resident, NULL);
		return;
	}
	if (!atomic_load_explicit(&directory->reachable, memory_order_relaxed)) {
		directory_serve_stale(directory, shard, resident);
	}
	if (resident->asking > 0) {
		wake_at(waking, deadline_ms, DIRECTORY_DUE_ANSWER);
	}
}

static bool may_confirm(const struct directory *directory, const struct resident *resident)
{
	return resident->hold != NULL && resident->confirms && resident->present == 0 &&
	       directory->node.retired == NULL && directory_can_ask(directory) &&
	       store_is_watching(directory->store) && !store_is_cluster(directory->store);
}

static enum step choose_step(struct directory *directory, struct resident *resident,
			     struct waking *waking)
{
	uint64_t now_ms = timeouts_now_ms();

	if (resident->activity != RESIDENT_IDLE) {
		return STEP_NOTHING;
	}
	if (resident->reassigning > 0) {
		dequeue(directory, resident);
		return STEP_REASSIGN;
	}
	if (resident->ask != RESIDENT_KNOWN && resident->retry_ms > now_ms) {
		dequeue(directory, resident);
		wake_for_retry(waking, resident);
		return STEP_NOTHING;
	}
	if (resident->ask != RESIDENT_KNOWN) {
		enqueue(directory, resident);
		return STEP_PUMP;
	}
	dequeue(directory, resident);
	if (!may_confirm(directory, resident) || resident->settled_ms > now_ms) {
		return STEP_NOTHING;
	}
	if (resident->retry_ms > now_ms) {
		wake_for_retry(waking, resident);
		return STEP_NOTHING;
	}
	return STEP_CONFIRM;
}

/* Nobody asks for what nobody waits for. */
static void forget_needless(struct resident *resident)
{
	if (resident->settled_ms <= timeouts_now_ms()) {
		resident->settled_ms = 0;
	}
	if (resident->stays == NULL && resident->hold == NULL && !resident->about_hold) {
		resident->ask = RESIDENT_KNOWN;
	}
}

/* Those on hold are remembered while there is room. Nothing is cached of them, so that they are
 * asked for when they come. */
static bool is_needless(struct directory *directory, const struct resident *resident)
{
	if (resident->stays != NULL) {
		return false;
	}
	if (resident->hold == NULL) {
		return true;
	}
	if (atomic_load_explicit(&directory->empties, memory_order_relaxed) <=
	    DIRECTORY_HOLDS_MAX) {
		return false;
	}
	metrics_count(directory->house.metrics, METRIC_LIMIT_HOLDS);
	return true;
}

/* The keeper has done its part: the resident is the workers' again. */
static void let_go(struct directory *directory, struct directory_shard *shard,
		   struct resident *resident)
{
	resident->with_keeper = false;
	if (is_needless(directory, resident)) {
		atomic_fetch_sub_explicit(&directory->empties, 1, memory_order_relaxed);
		residents_remove(&shard->residents, resident);
	}
}

static enum step consider(struct directory *directory, struct directory_shard *shard,
			  struct resident *resident)
{
	struct waking waking = {.due_ms = TIMEOUT_NEVER};
	enum step step;

	timeout_remove(&resident->due);
	forget_needless(resident);
	look_after_waiting(directory, shard, resident, &waking);
	step = choose_step(directory, resident, &waking);
	if (resident->settled_ms != 0 && resident->present == 0) {
		wake_at(&waking, resident->settled_ms, DIRECTORY_DUE_SETTLED);
	}
	resident->with_keeper = true;
	if (waking.due_ms != TIMEOUT_NEVER) {
		timeout_add(&directory->dues[waking.due], &resident->due, waking.due_ms);
	} else if (step == STEP_NOTHING && resident->activity == RESIDENT_IDLE && !resident->told) {
		let_go(directory, shard, resident);
	}
	return step;
}

void directory_consider(struct directory *directory, struct resident *resident)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	enum step step;

	pthread_mutex_lock(&shard->lock);
	step = consider(directory, shard, resident);
	pthread_mutex_unlock(&shard->lock);
	switch (step) {
	case STEP_NOTHING:
		break;
	case STEP_PUMP:
		directory_arm_round(directory);
		directory_pump(directory);
		break;
	case STEP_CONFIRM:
		directory_confirm(directory, resident);
		break;
	case STEP_REASSIGN:
		directory_assign_anew(directory, resident);
		break;
	}
}

static void on_due(struct timeout *due)
{
	struct resident *resident = container_of(due, struct resident, due);

	directory_consider(resident->directory, resident);
}

/* --- All who are here ------------------------------------------------------------------------- */

static void mark_all(struct directory *directory, struct directory_shard *shard)
{
	struct resident *resident;

	DL_FOREACH2(shard->residents.list, resident, next)
	{
		bool waits = resident->asking > 0 || resident->hold != NULL;

		if (resident->stays == NULL && resident->hold == NULL) {
			continue;
		}
		if (waits || resident->ask == RESIDENT_KNOWN) {
			resident->ask = waits ? RESIDENT_ASK_NOW : RESIDENT_ASK_IN_TURN;
		}
		resident->with_keeper = true;
		if (resident->activity == RESIDENT_IDLE) {
			enqueue(directory, resident);
		}
	}
}

static void sweep(struct directory *directory)
{
	directory->sweeps = false;
	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		struct directory_shard *shard = &directory->shards[i];

		pthread_mutex_lock(&shard->lock);
		mark_all(directory, shard);
		pthread_mutex_unlock(&shard->lock);
	}
}

void directory_arm_round(struct directory *directory)
{
	if (!timeout_is_waiting(&directory->round) &&
	    (directory->sweeps || may_ask_next(directory, &directory->in_turn))) {
		timeout_add(&directory->rounds, &directory->round,
			    timeouts_now_ms() + DIRECTORY_ROUND_MS);
	}
}

static void on_round(struct timeout *round)
{
	struct directory *directory = container_of(round, struct directory, round);

	if (directory->sweeps) {
		sweep(directory);
	}
	directory_pump(directory);
	for (size_t i = 0;
	     i < DIRECTORY_REASKS_PER_ROUND && may_ask_next(directory, &directory->in_turn); i++) {
		ask_head(directory, &directory->in_turn);
	}
	directory_arm_round(directory);
}

void directory_note_gap(struct directory *directory, bool all)
{
	atomic_fetch_add_explicit(&directory->epoch, 1, memory_order_acq_rel);
	if (all) {
		metrics_count(directory->house.metrics, METRIC_DIRECTORY_GAPS);
		directory->sweeps = true;
		directory_arm_round(directory);
	}
}

void directory_resume(struct directory *directory)
{
	directory->registered = true;
	atomic_store(&directory->reachable, true);
	directory_arm_round(directory);
	directory_pump(directory);
	directory_drains_ask_all(directory);
}

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

		dequeue(directory, resident);
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

static void hear_of_hold(struct directory *directory, const char *user, size_t length)
{
	char name[CONFIG_USER_MAX + 1];

	if (length > 0 && length <= CONFIG_USER_MAX && !text_has_control(user, length)) {
		memcpy(name, user, length);
		name[length] = '\0';
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
		timeout_list_init(&directory->dues[i], house->timeouts, on_due);
	}
	timeout_list_init(&directory->rounds, house->timeouts, on_round);
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
		dequeue(directory, resident);
		resident->activity = RESIDENT_IDLE;
		resident->waiting = 0;
		resident->with_keeper = false;
		resident->told = false;
		directory_fail_asking(directory, shard, resident, "the directory is closed");
		if (resident->stays == NULL) {
			let_go(directory, shard, resident);
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
