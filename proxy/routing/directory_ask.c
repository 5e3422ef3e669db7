/* SPDX-License-Identifier: Apache-2.0
 *
 * One question for a user: the hold first, then the route. Its answer counts only if nothing was
 * heard of the user since, and no change may have been missed; then it is applied as one, and every
 * stay hears what it means for it.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/log.h"
#include "directory_internal.h"
#include "route_value_internal.h"

#define WHY_LATE   "no answer in time"

/* struct finding is what was found out about a user. */
struct finding {
	struct route_text *route; /* one reference; NULL: no such user */
	bool failed;
	bool refused;     /* what was read cannot be used, and will not be otherwise soon */
	struct error why; /* of those two */
};

/* --- Those who wait ------------------------------------------------------------------------- */

static void answer_asking(struct directory *directory, struct resident *resident,
			  struct route_text *route, unsigned news)
{
	struct stay *stay;

	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_ASKING) {
			stay_answer(directory, resident, stay, route, news);
		}
	}
}

void directory_serve_stale(struct directory *directory, struct directory_shard *shard,
			   struct resident *resident)
{
	struct route_moment moment = directory_moment(directory, true);
	struct route_text *route = NULL;
	unsigned waiting = resident->asking;

	if (waiting == 0 || resident->hold != NULL ||
	    route_cache_find(&shard->cache, resident->user, &moment, &route) == ROUTE_NOT_CACHED ||
	    route == NULL) {
		return;
	}
	answer_asking(directory, resident, route, STAY_NEWS_ANSWERED | STAY_NEWS_STALE);
	metrics_add(directory->house.metrics, METRIC_LOOKUPS_STALE, waiting);
	directory_warn_stale(directory);
}

void directory_fail_asking(struct directory *directory, struct directory_shard *shard,
			   struct resident *resident, const char *why)
{
	struct error reason = {0};
	struct stay *stay;

	directory_serve_stale(directory, shard, resident);
	if (resident->asking == 0) {
		return;
	}
	error_set(&reason, "%s", why != NULL ? why : WHY_LATE);
	if (why == NULL && !atomic_load_explicit(&directory->reachable, memory_order_relaxed)) {
		directory_get_why(directory, &reason);
	}
	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_ASKING) {
			stay_fail(directory, resident, stay, reason.text);
		}
	}
}

/* --- Applying an answer ----------------------------------------------------------------------- */

static void park(struct directory *directory, struct resident *resident, struct stay *stay)
{
	if (stay_park(directory, resident, stay)) {
		stay_tell(stay, STAY_NEWS_PARKED);
	} else {
		metrics_count(directory->house.metrics, METRIC_LIMIT_PARKED);
		stay_fail(directory, resident, stay, WHY_PARKED);
	}
}

static bool is_held(const struct resident *resident)
{
	return resident->heard == RESIDENT_HEARD_HOLD || resident->heard == RESIDENT_HEARD_ODD_HOLD;
}

/* Nothing is cached of whoever is on hold: the end of the hold wants a fresh read. */
static void apply_hold(struct directory *directory, struct directory_shard *shard,
		       struct resident *resident)
{
	struct stay *stay;

	if (resident->hold == NULL || strcmp(resident->hold, resident->heard_text) != 0) {
		metrics_count(directory->house.metrics, METRIC_HOLDS_SEEN);
		log_debug("user on hold", log_text("user", resident->user),
			  log_text("epoch", resident->heard_text));
	}
	free(resident->hold);
	resident->hold = resident->heard_text;
	resident->heard_text = NULL;
	resident->held_ms = timeouts_now_ms();
	resident->confirms = resident->heard == RESIDENT_HEARD_HOLD;
	route_cache_drop(&shard->cache, resident->user);
	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_ASKING) {
			park(directory, resident, stay);
		} else if (stay->state == STAY_PRESENT) {
			stay_tell(stay, STAY_NEWS_HELD);
		}
	}
}

static void apply_to_stay(struct directory *directory, struct resident *resident, struct stay *stay,
			  struct route_text *route)
{
	/* Who was not told of the hold yet need not hear of it. */
	bool asks = stay->state == STAY_ASKING ||
		    (stay->state == STAY_PARKED && (stay->news & STAY_NEWS_PARKED) != 0);

	if (asks) {
		stay_answer(directory, resident, stay, route, STAY_NEWS_ANSWERED);
	} else if (stay->state == STAY_PARKED) {
		stay_release(directory, resident, stay);
	} else if (stay->state == STAY_PRESENT && stay->route != route) {
		metrics_count(directory->house.metrics, METRIC_ROUTES_CHANGED);
		stay_answer(directory, resident, stay, route, STAY_NEWS_CHANGED);
	}
}

static bool is_assigning(const struct directory *directory)
{
	return directory->config->routing.unknown == CONFIG_UNKNOWN_ASSIGN;
}

/* Who comes next and has no route shall be assigned one, so that is not remembered. */
static void apply_route(struct directory *directory, struct directory_shard *shard,
			struct resident *resident, struct route_text *route)
{
	struct route_moment moment =
		directory_moment(directory, store_is_watching(directory->store));
	struct stay *stay;

	free(resident->hold);
	resident->hold = NULL;
	resident->confirms = false;
	if ((route == NULL && is_assigning(directory)) ||
	    !route_cache_put(&shard->cache, resident->user, route, &moment)) {
		route_cache_drop(&shard->cache, resident->user);
	}
	DL_FOREACH2(resident->stays, stay, next)
	{
		apply_to_stay(directory, resident, stay, route);
	}
}

/* Of those on hold nothing is assigned, and of those who are not here neither. */
static bool wants_assignment(const struct directory *directory, const struct resident *resident,
			     const struct finding *finding)
{
	return is_assigning(directory) && finding->route == NULL && !finding->failed &&
	       resident->heard_text == NULL && (resident->asking > 0 || resident->present > 0);
}

/* Those who waited for the end of a hold may come again, and ask then; who was not told of it yet
 * just goes on waiting. */
static void apply_no_hold(struct directory *directory, struct resident *resident)
{
	struct stay *stay;

	free(resident->hold);
	resident->hold = NULL;
	resident->confirms = false;
	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_PARKED && (stay->news & STAY_NEWS_PARKED) != 0) {
			stay->news = 0;
			stay_set(directory, resident, stay, STAY_ASKING);
			resident->asking_ms = timeouts_now_ms();
		} else if (stay->state == STAY_PARKED) {
			stay_release(directory, resident, stay);
		}
	}
}

static void apply_failure(struct directory *directory, struct directory_shard *shard,
			  struct resident *resident, const struct finding *finding)
{
	directory_serve_stale(directory, shard, resident);
	if (finding->refused) {
		directory_fail_asking(directory, shard, resident, finding->why.text);
	}
	resident->ask = RESIDENT_ASK_IN_TURN;
	if (resident->asking > 0) {
		resident->ask = RESIDENT_ASK_NOW;
	}
	resident->retry_ms =
		timeouts_now_ms() + (resident->asking > 0 ? DIRECTORY_SOON_MS : DIRECTORY_LATER_MS);
}

static bool still_counts(const struct directory *directory, const struct resident *resident)
{
	return resident->generation == resident->asked_generation &&
	       atomic_load_explicit(&directory->epoch, memory_order_acquire) ==
		       resident->asked_epoch;
}

/* An answer that does not count: it is asked for again. Where there was none, since Redis goes away
 * just now, that may take long. */
static void apply_nothing(struct directory *directory, struct directory_shard *shard,
			  struct resident *resident, const struct finding *finding)
{
	metrics_count(directory->house.metrics, METRIC_LOOKUPS_REASKED);
	resident->ask = RESIDENT_ASK_NOW;
	if (finding->failed && !is_held(resident)) {
		directory_serve_stale(directory, shard, resident);
	}
}

/* True when the user shall be assigned a route. */
static bool apply(struct directory *directory, struct directory_shard *shard,
		  struct resident *resident, const struct finding *finding)
{
	resident->activity = RESIDENT_IDLE;
	if (!still_counts(directory, resident)) {
		apply_nothing(directory, shard, resident, finding);
		return false;
	}
	if (is_held(resident)) {
		resident->ask = RESIDENT_KNOWN;
		resident->about_hold = false;
		apply_hold(directory, shard, resident);
		return false;
	}
	if (finding->failed) {
		apply_failure(directory, shard, resident, finding);
		return false;
	}
	resident->ask = RESIDENT_KNOWN;
	resident->about_hold = false;
	if (wants_assignment(directory, resident, finding)) {
		route_cache_drop(&shard->cache, resident->user);
		apply_no_hold(directory, resident);
		return true;
	}
	resident->tries = 0;
	apply_route(directory, shard, resident, finding->route);
	return false;
}

static void warn_of_failure(struct directory *directory, const struct resident *resident,
			    const struct finding *finding)
{
	uint64_t held_back;

	if (finding->refused &&
	    log_bound_admits(&directory->ask_lines, timeouts_now_ms(), &held_back)) {
		log_warn("what Redis says of a user cannot be used",
			 log_text("user", resident->user), log_text("detail", finding->why.text),
			 log_number("held_back", (int64_t)held_back));
	}
}

/* What was read of the hold goes before what was read of the route. */
static void join_hold(const struct resident *resident, struct finding *finding)
{
	if (resident->heard == RESIDENT_HEARD_NOTHING ||
	    resident->heard == RESIDENT_HEARD_NONSENSE) {
		finding->failed = true;
		finding->refused = resident->heard == RESIDENT_HEARD_NONSENSE;
		error_set(&finding->why, "%s",
			  resident->heard_text != NULL ? resident->heard_text : WHY_MEMORY);
	}
}

static void finish(struct directory *directory, struct resident *resident, struct finding *finding)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	bool assigns;

	directory->asks--;
	join_hold(resident, finding);
	warn_of_failure(directory, resident, finding);
	pthread_mutex_lock(&shard->lock);
	assigns = apply(directory, shard, resident, finding);
	pthread_mutex_unlock(&shard->lock);
	route_text_unref(&directory->texts, finding->route);
	free(resident->heard_text);
	resident->heard_text = NULL;
	resident->heard = RESIDENT_HEARD_NO_HOLD;
	if (assigns) {
		directory_assign(directory, resident);
	} else {
		directory_consider(directory, resident);
	}
	directory_pump(directory);
	directory_arm_round(directory); /* it ends where no more may be asked for at a time */
}

/* --- Reading the answers ---------------------------------------------------------------------- */

static void read_route(struct directory *directory, struct finding *finding,
		       const struct redis_reply *reply)
{
	if (reply->kind == REDIS_REPLY_NIL) {
		return;
	}
	if (reply->kind == REDIS_REPLY_TEXT && reply->length <= ROUTE_VALUE_MAX) {
		finding->route = route_text_make(&directory->texts, reply->text, reply->length);
		finding->failed = finding->route == NULL;
		error_set(&finding->why, WHY_MEMORY);
		return;
	}
	finding->failed = true;
	finding->refused = reply->kind != REDIS_REPLY_FAILED;
	if (reply->kind == REDIS_REPLY_TEXT) {
		error_set(&finding->why, "a route of %zu bytes, at most %d", reply->length,
			  ROUTE_VALUE_MAX);
	} else {
		directory_explain(reply, &finding->why);
	}
}

static void warn_of_hold(struct directory *directory, const struct resident *resident)
{
	uint64_t held_back;

	if (log_bound_admits(&directory->hold_lines, timeouts_now_ms(), &held_back)) {
		log_warn("a hold cannot be confirmed: its value is too long, or no text",
			 log_text("user", resident->user),
			 log_number("held_back", (int64_t)held_back));
	}
}

/* An epoch that cannot be confirmed holds the user all the same. */
static void read_hold(struct directory *directory, struct resident *resident,
		      const struct redis_reply *reply)
{
	struct error why = {0};

	if (reply->kind == REDIS_REPLY_NIL) {
		resident->heard = RESIDENT_HEARD_NO_HOLD;
	} else if (reply->kind != REDIS_REPLY_TEXT) {
		directory_explain(reply, &why);
		resident->heard = reply->kind == REDIS_REPLY_FAILED ? RESIDENT_HEARD_NOTHING
								    : RESIDENT_HEARD_NONSENSE;
		resident->heard_text = strdup(why.text);
	} else {
		bool odd = reply->length > RESIDENT_EPOCH_MAX ||
			   text_has_control(reply->text, reply->length);

		resident->heard = odd ? RESIDENT_HEARD_ODD_HOLD : RESIDENT_HEARD_HOLD;
		resident->heard_text = strndup(reply->text, odd ? 0 : reply->length);
		if (odd) {
			warn_of_hold(directory, resident);
		}
		if (resident->heard_text == NULL) {
			resident->heard = RESIDENT_HEARD_NOTHING;
		}
	}
}

static void on_route(struct store_question *question, const struct redis_reply *reply)
{
	struct resident *resident = container_of(question, struct resident, route_question);
	struct finding finding = {0};

	resident->waiting = 0;
	read_route(resident->directory, &finding, reply);
	if (resident->hold_question.pending != NULL) {
		store_cancel(&resident->hold_question);
		finding.failed = true;
	}
	finish(resident->directory, resident, &finding);
}

/* Outside of a cluster the route was asked for with the hold, behind it. */
static bool ask_route(struct directory *directory, struct resident *resident)
{
	struct lookup_command expanded = {0};
	struct directory_words words = {0};
	bool ready = lookup_expand(&directory->lookup, resident->user, &expanded);

	for (size_t i = 0; ready && i < expanded.word_count; i++) {
		directory_words_add_bytes(&words, expanded.words[i], expanded.lengths[i]);
	}
	if (ready) {
		resident->waiting++;
		directory_store_ask(directory, &resident->route_question, &words, 1, on_route);
	}
	lookup_command_done(&expanded);
	return ready;
}

static void finish_without_route(struct directory *directory, struct resident *resident)
{
	struct finding finding = {.failed = true};

	error_set(&finding.why, WHY_MEMORY);
	finish(directory, resident, &finding);
}

static void on_hold(struct store_question *question, const struct redis_reply *reply)
{
	struct resident *resident = container_of(question, struct resident, hold_question);
	struct directory *directory = resident->directory;

	resident->waiting--;
	read_hold(directory, resident, reply);
	if (resident->waiting > 0) {
		return;
	}
	if (resident->heard != RESIDENT_HEARD_NO_HOLD || !ask_route(directory, resident)) {
		finish_without_route(directory, resident);
	}
}

/* --- Asking ----------------------------------------------------------------------------------- */

static bool begin(struct directory *directory, struct resident *resident)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	bool needed;

	pthread_mutex_lock(&shard->lock);
	needed = resident->ask != RESIDENT_KNOWN &&
		 (resident->stays != NULL || resident->hold != NULL || resident->about_hold);
	if (needed) {
		resident->ask = RESIDENT_KNOWN;
		resident->activity = RESIDENT_ASKING;
		resident->asked_generation = resident->generation;
		resident->asked_epoch =
			atomic_load_explicit(&directory->epoch, memory_order_acquire);
	}
	pthread_mutex_unlock(&shard->lock);
	return needed;
}

static void ask_hold(struct directory *directory, struct resident *resident)
{
	char key[DIRECTORY_KEY_MAX];
	struct directory_words words = {0};

	snprintf(key, sizeof(key), "%s%s", DIRECTORY_HOLD_PREFIX, resident->user);
	directory_words_add(&words, "GET");
	directory_words_add(&words, key);
	resident->waiting++;
	directory_store_ask(directory, &resident->hold_question, &words, 1, on_hold);
}

void directory_ask(struct directory *directory, struct resident *resident)
{
	if (!begin(directory, resident)) {
		directory_consider(directory, resident);
		return;
	}
	directory->asks++;
	metrics_count(directory->house.metrics, METRIC_LOOKUPS_REDIS);
	if (store_is_cluster(directory->store)) {
		ask_hold(directory, resident);
		return;
	}
	/* One more, so that the hold's answer does not end it before the route is asked for. */
	resident->waiting = 1;
	ask_hold(directory, resident);
	resident->waiting--;
	if (!ask_route(directory, resident)) {
		store_cancel(&resident->hold_question);
		resident->waiting = 0;
		finish_without_route(directory, resident);
	}
}
