/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes next for a resident: who is asked for, and when; who is confirmed, and who is let go.
 */
#include <utlist.h>

#include "directory_internal.h"

/* --- Queues --------------------------------------------------------------------------------- */

static struct directory_queue *queue_of(struct directory *directory, unsigned queue)
{
	return queue == RESIDENT_QUEUED_FIRST ? &directory->first : &directory->in_turn;
}

void directory_dequeue(struct directory *directory, struct resident *resident)
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
	directory_dequeue(directory, resident);
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

	directory_dequeue(directory, resident);
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

/* Its end may not have been told. */
static void look_after_hold(struct resident *resident, struct waking *waking)
{
	uint64_t look_ms = resident->held_ms + DIRECTORY_LOOK_MS;

	if (resident->hold == NULL || resident->stays == NULL || resident->ask != RESIDENT_KNOWN) {
		return;
	}
	if (look_ms <= timeouts_now_ms()) {
		resident->ask = RESIDENT_ASK_NOW;
	} else {
		wake_at(waking, look_ms, DIRECTORY_DUE_LOOK);
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
		directory_dequeue(directory, resident);
		return STEP_REASSIGN;
	}
	if (resident->ask != RESIDENT_KNOWN && resident->retry_ms > now_ms) {
		directory_dequeue(directory, resident);
		wake_for_retry(waking, resident);
		return STEP_NOTHING;
	}
	if (resident->ask != RESIDENT_KNOWN) {
		enqueue(directory, resident);
		return STEP_PUMP;
	}
	directory_dequeue(directory, resident);
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
void directory_let_go(struct directory *directory, struct directory_shard *shard,
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
	look_after_hold(resident, &waking);
	step = choose_step(directory, resident, &waking);
	if (resident->settled_ms != 0 && resident->present == 0) {
		wake_at(&waking, resident->settled_ms, DIRECTORY_DUE_SETTLED);
	}
	resident->with_keeper = true;
	if (waking.due_ms != TIMEOUT_NEVER) {
		timeout_add(&directory->dues[waking.due], &resident->due, waking.due_ms);
	} else if (step == STEP_NOTHING && resident->activity == RESIDENT_IDLE && !resident->told) {
		directory_let_go(directory, shard, resident);
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

void directory_on_due(struct timeout *due)
{
	struct resident *resident = container_of(due, struct resident, due);

	directory_consider(resident->directory, resident);
}

/* --- All who are here ------------------------------------------------------------------------- */

static void mark(struct directory *directory, struct resident *resident)
{
	bool waits = resident->asking > 0 || resident->hold != NULL;

	if (waits || resident->ask == RESIDENT_KNOWN) {
		resident->ask = waits ? RESIDENT_ASK_NOW : RESIDENT_ASK_IN_TURN;
	}
	resident->with_keeper = true;
	if (resident->activity == RESIDENT_IDLE) {
		enqueue(directory, resident);
	}
}

typedef bool resident_test_t(const struct resident *resident);

static bool is_here_or_on_hold(const struct resident *resident)
{
	return resident->stays != NULL || resident->hold != NULL;
}

static bool is_on_hold(const struct resident *resident)
{
	return resident->hold != NULL;
}

static void mark_all(struct directory *directory, resident_test_t *is_meant)
{
	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		struct directory_shard *shard = &directory->shards[i];
		struct resident *resident;

		pthread_mutex_lock(&shard->lock);
		DL_FOREACH2(shard->residents.list, resident, next)
		{
			if (is_meant(resident)) {
				mark(directory, resident);
			}
		}
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

void directory_on_round(struct timeout *round)
{
	struct directory *directory = container_of(round, struct directory, round);

	if (directory->sweeps) {
		directory->sweeps = false;
		mark_all(directory, is_here_or_on_hold);
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

/* Nobody has remembered whose hold could not be confirmed meanwhile. */
void directory_resume(struct directory *directory)
{
	directory->registered = true;
	atomic_store(&directory->reachable, true);
	mark_all(directory, is_on_hold);
	directory_arm_round(directory);
	directory_pump(directory);
	directory_drains_ask_all(directory);
}
