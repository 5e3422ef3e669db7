/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory, as workers see it: they enter, leave, and hear what the keeper found out.
 */
#include "routing/directory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "core/log.h"
#include "directory_internal.h"

#define WHY_CLOSED "nobody asks Redis"

struct directory_shard *directory_shard_of(struct directory *directory, uint64_t hash)
{
	return &directory->shards[hash % DIRECTORY_SHARDS];
}

struct route_moment directory_moment(const struct directory *directory, bool heard)
{
	uint32_t epoch = atomic_load_explicit(&directory->epoch, memory_order_acquire);

	return (struct route_moment){
		.now_ms = timeouts_now_ms(),
		.epoch = heard ? epoch : epoch - 1,
	};
}

void directory_warn_stale(struct directory *directory)
{
	char why[sizeof(directory->why)];
	uint64_t held_back;
	bool admitted;

	pthread_mutex_lock(&directory->log_lock);
	admitted = log_bound_admits(&directory->stale_lines, timeouts_now_ms(), &held_back);
	memcpy(why, directory->why, sizeof(why));
	pthread_mutex_unlock(&directory->log_lock);
	if (admitted) {
		log_warn("Redis cannot be asked: logins go by the last route that was known",
			 log_text("detail", why), log_number("held_back", (int64_t)held_back));
	}
}

/* --- Telling -------------------------------------------------------------------------------- */

enum told { TOLD_NOTHING, TOLD_ANSWER, TOLD_PARKED, TOLD_RELEASED, TOLD_CHANGED, TOLD_HELD };

/* struct delivery is one thing to tell a stay. */
struct delivery {
	enum told told;
	enum directory_verdict verdict;
	bool stale;
	struct route_text *text; /* one reference: the route, or why there is none */
};

static void tell(struct stay *stay, struct delivery *delivery)
{
	const struct stay_events *events = stay->desk->events;
	struct directory *directory = stay->desk->directory;
	struct directory_answer answer = {.verdict = delivery->verdict, .stale = delivery->stale};
	struct error why = {0};

	if (delivery->verdict == DIRECTORY_ROUTE && delivery->text != NULL) {
		answer.route = delivery->text->bytes;
		answer.length = delivery->text->length;
	} else if (delivery->verdict == DIRECTORY_FAILED) {
		error_set(&why, "%.*s", delivery->text != NULL ? (int)delivery->text->length : 0,
			  delivery->text != NULL ? delivery->text->bytes : "");
		answer.why = why.text[0] != '\0' ? why.text : WHY_MEMORY;
	}
	switch (delivery->told) {
	case TOLD_NOTHING:
		break;
	case TOLD_ANSWER:
		events->answered(stay, &answer);
		break;
	case TOLD_PARKED:
		events->parked(stay);
		break;
	case TOLD_RELEASED:
		events->released(stay);
		break;
	case TOLD_CHANGED:
		events->changed(stay, &answer);
		break;
	case TOLD_HELD:
		events->held(stay);
		break;
	}
	route_text_unref(&directory->texts, delivery->text);
}

static bool take_news(struct stay *stay, unsigned news)
{
	bool there = (stay->news & news) != 0;

	stay->news &= (uint8_t)~news;
	return there;
}

static void deliver_route(struct stay *stay, struct delivery *delivery, enum told told)
{
	delivery->told = told;
	delivery->verdict = stay->route != NULL ? DIRECTORY_ROUTE : DIRECTORY_UNKNOWN;
	delivery->text = route_text_ref(stay->route);
}

/* Of one that has been told a route: first that, then what came after. A hold that is over needs no
 * end any more. */
static void take_of_present(struct stay *stay, struct delivery *delivery)
{
	if (take_news(stay, STAY_NEWS_ANSWERED)) {
		deliver_route(stay, delivery, TOLD_ANSWER);
		delivery->stale = take_news(stay, STAY_NEWS_STALE);
	} else if (take_news(stay, STAY_NEWS_CHANGED)) {
		deliver_route(stay, delivery, TOLD_CHANGED);
	} else if (take_news(stay, STAY_NEWS_HELD) && stay->resident->hold != NULL) {
		delivery->told = TOLD_HELD;
	}
}

/* What was posted may be old: what counts is what the stay is now. */
static void take_delivery(struct directory *directory, struct stay *stay, struct delivery *delivery)
{
	struct resident *resident = stay->resident;
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	struct route_text *text = NULL;

	pthread_mutex_lock(&shard->lock);
	if (stay->state == STAY_PRESENT) {
		take_of_present(stay, delivery);
	} else if (stay->state == STAY_PARKED && take_news(stay, STAY_NEWS_PARKED)) {
		delivery->told = TOLD_PARKED;
	} else if (stay->state == STAY_RELEASED || stay->state == STAY_FAILED) {
		bool failed = stay->state == STAY_FAILED;

		delivery->told = failed ? TOLD_ANSWER : TOLD_RELEASED;
		delivery->verdict = DIRECTORY_FAILED;
		text = stay->route;
		stay->route = NULL;
		stay_unlink(directory, resident, stay);
		resident_leave_to(directory, shard, resident);
	}
	pthread_mutex_unlock(&shard->lock);
	if (text != NULL) {
		delivery->text = text;
	}
}

void directory_receive(struct inbox *inbox, struct inbox_item *item)
{
	struct directory_desk *desk = container_of(inbox, struct directory_desk, inbox);
	struct stay *stay = container_of(item, struct stay, item);

	if (item == &desk->drains) {
		desk->events->drains_changed(desk);
		return;
	}
	while (stay->resident != NULL) {
		struct delivery delivery = {0};

		take_delivery(desk->directory, stay, &delivery);
		if (delivery.told == TOLD_NOTHING) {
			break;
		}
		tell(stay, &delivery);
	}
}

/* --- Desks ---------------------------------------------------------------------------------- */

void directory_attach(struct directory *directory, struct directory_desk *desk,
		      struct ev_loop *loop, const struct stay_events *events,
		      struct metrics *metrics)
{
	*desk = (struct directory_desk){
		.directory = directory, .events = events, .metrics = metrics};
	inbox_open(&desk->inbox, loop, directory_receive);
	pthread_mutex_lock(&directory->desk_lock);
	LL_PREPEND(directory->desks, desk);
	pthread_mutex_unlock(&directory->desk_lock);
}

void directory_detach(struct directory_desk *desk)
{
	struct directory *directory = desk->directory;

	if (directory == NULL) {
		return;
	}
	pthread_mutex_lock(&directory->desk_lock);
	LL_DELETE(directory->desks, desk);
	pthread_mutex_unlock(&directory->desk_lock);
	inbox_close(&desk->inbox);
	desk->directory = NULL;
}

/* --- Entering ------------------------------------------------------------------------------- */

static struct resident *find_or_add(struct directory *directory, struct directory_shard *shard,
				    const char *user, uint64_t hash)
{
	struct resident *resident = residents_find(&shard->residents, user, hash);

	if (resident == NULL) {
		resident = residents_add(&shard->residents, user, hash);
		if (resident != NULL) {
			resident->directory = directory;
			atomic_fetch_add_explicit(&directory->empties, 1, memory_order_relaxed);
		}
	}
	return resident;
}

static void refuse(struct directory *directory, struct delivery *delivery, const char *why)
{
	delivery->told = TOLD_ANSWER;
	delivery->verdict = DIRECTORY_FAILED;
	delivery->text = route_text_make(&directory->texts, why, strlen(why));
}

static void wait_for_answer(struct directory *directory, struct resident *resident,
			    struct stay *stay)
{
	stay_set(directory, resident, stay, STAY_ASKING);
	if (resident->asking == 1) {
		resident->asking_ms = timeouts_now_ms();
	}
	resident->ask = RESIDENT_ASK_NOW;
	resident_tell_keeper(directory, resident);
}

static void be_present(struct directory *directory, struct stay *stay, struct route_text *text,
		       struct delivery *delivery)
{
	stay->route = route_text_ref(text);
	stay_set(directory, stay->resident, stay, STAY_PRESENT);
	deliver_route(stay, delivery, TOLD_ANSWER);
}

/* The gap in which it may have changed may be over already: who goes by it is asked for as soon as
 * that is possible. */
static void go_by_last(struct directory *directory, struct stay *stay, struct route_text *text,
		       struct delivery *delivery)
{
	struct resident *resident = stay->resident;

	be_present(directory, stay, text, delivery);
	delivery->stale = true;
	if (resident->ask == RESIDENT_KNOWN) {
		resident->ask = RESIDENT_ASK_IN_TURN;
		resident_tell_keeper(directory, resident);
	}
}

/* No hold is known: the last known good route will do where Redis cannot be asked. */
static void go_by_cache(struct directory *directory, struct directory_shard *shard,
			struct stay *stay, struct delivery *delivery)
{
	struct route_moment moment = directory_moment(directory, true);
	struct resident *resident = stay->resident;
	struct route_text *text = NULL;
	enum route_freshness freshness =
		route_cache_find(&shard->cache, resident->user, &moment, &text);

	if (freshness == ROUTE_FRESH) {
		be_present(directory, stay, text, delivery);
	} else if (freshness == ROUTE_STALE &&
		   !atomic_load_explicit(&directory->reachable, memory_order_relaxed)) {
		go_by_last(directory, stay, text, delivery);
	} else if (atomic_load_explicit(&directory->open, memory_order_acquire)) {
		wait_for_answer(directory, resident, stay);
	} else {
		stay_unlink(directory, resident, stay);
		refuse(directory, delivery, WHY_CLOSED);
	}
}

static void wait_for_release(struct directory *directory, struct stay *stay,
			     struct delivery *delivery)
{
	if (stay_park(directory, stay->resident, stay)) {
		delivery->told = TOLD_PARKED;
		resident_tell_keeper(directory, stay->resident);
	} else {
		stay_unlink(directory, stay->resident, stay);
		refuse(directory, delivery, WHY_PARKED);
	}
}

static void count_entry(struct directory *directory, struct metrics *metrics,
			const struct delivery *delivery, bool held)
{
	if (held && delivery->told == TOLD_ANSWER) {
		metrics_count(metrics, METRIC_LIMIT_PARKED);
	} else if (delivery->stale) {
		metrics_count(metrics, METRIC_LOOKUPS_STALE);
		directory_warn_stale(directory);
	} else if (delivery->told == TOLD_ANSWER && delivery->verdict != DIRECTORY_FAILED) {
		metrics_count(metrics, METRIC_LOOKUPS_CACHE);
	}
}

void directory_enter(struct directory_desk *desk, struct stay *stay, const char *user)
{
	struct directory *directory = desk->directory;
	uint64_t hash = hash_bytes(&directory->key, user, strlen(user));
	struct directory_shard *shard = directory_shard_of(directory, hash);
	struct delivery delivery = {0};
	struct resident *resident;
	bool held = false;

	invariant(stay->resident == NULL);
	stay->desk = desk;
	pthread_mutex_lock(&shard->lock);
	resident = find_or_add(directory, shard, user, hash);
	if (resident == NULL) {
		refuse(directory, &delivery, WHY_MEMORY);
	} else {
		stay_link(directory, resident, stay);
		held = resident->hold != NULL;
		if (held) {
			wait_for_release(directory, stay, &delivery);
		} else {
			go_by_cache(directory, shard, stay, &delivery);
		}
		if (stay->resident == NULL) {
			resident_leave_to(directory, shard, resident);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	count_entry(directory, desk->metrics, &delivery, held);
	tell(stay, &delivery);
}

const char *directory_user(const struct stay *stay)
{
	return stay->resident->user;
}

/* --- Leaving -------------------------------------------------------------------------------- */

/* Unsettled, it stays until the backend has no session of it any more: a hold that came meanwhile
 * must not be confirmed before. */
void resident_leave_to(struct directory *directory, struct directory_shard *shard,
		       struct resident *resident)
{
	bool open = atomic_load_explicit(&directory->open, memory_order_acquire);

	bool left = resident->stays == NULL && resident->with_keeper;
	bool ended =
		resident->present == 0 && (resident->hold != NULL || resident->settled_ms != 0);

	if (open && (left || ended)) {
		resident_tell_keeper(directory, resident);
	} else if (resident->stays == NULL && !resident->with_keeper) {
		atomic_fetch_sub_explicit(&directory->empties, 1, memory_order_relaxed);
		residents_remove(&shard->residents, resident);
	}
}

static void note_unsettled(struct directory *directory, struct resident *resident)
{
	resident->settled_ms = timeouts_now_ms() + DIRECTORY_SETTLE_MS;
	atomic_store_explicit(&directory->settled_ms, resident->settled_ms, memory_order_relaxed);
}

bool directory_linger(struct stay *stay, struct stay *heir)
{
	struct resident *resident = stay->resident;
	struct directory *directory;
	struct directory_shard *shard;
	struct route_text *route = NULL;
	bool present;

	if (resident == NULL) {
		return false;
	}
	directory = stay->desk->directory;
	shard = directory_shard_of(directory, resident->hash);
	invariant(heir->resident == NULL);
	pthread_mutex_lock(&shard->lock);
	present = stay->state == STAY_PRESENT;
	if (present) {
		heir->desk = stay->desk;
		stay_link(directory, resident, heir);
		stay_set(directory, resident, heir, STAY_LINGERING);
		route = stay->route;
		stay->route = NULL;
		stay_unlink(directory, resident, stay);
	}
	pthread_mutex_unlock(&shard->lock);
	route_text_unref(&directory->texts, route);
	return present;
}

static bool is_in(const struct stay *stay)
{
	return stay->state == STAY_PRESENT || stay->state == STAY_LINGERING;
}

void directory_leave(struct stay *stay, bool settled)
{
	struct resident *resident = stay->resident;
	struct directory_shard *shard;
	struct directory *directory;
	struct route_text *route;

	if (resident == NULL) {
		return;
	}
	directory = stay->desk->directory;
	shard = directory_shard_of(directory, resident->hash);
	pthread_mutex_lock(&shard->lock);
	if (is_in(stay) && !settled) {
		note_unsettled(directory, resident);
	}
	route = stay->route;
	stay->route = NULL;
	stay_unlink(directory, resident, stay);
	resident_leave_to(directory, shard, resident);
	pthread_mutex_unlock(&shard->lock);
	route_text_unref(&directory->texts, route);
}

void directory_reassign(struct stay *stay)
{
	struct resident *resident = stay->resident;
	struct directory *directory = stay->desk->directory;
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);

	pthread_mutex_lock(&shard->lock);
	if (stay->state == STAY_PRESENT) {
		note_unsettled(directory, resident);
		stay->news = 0;
		if (atomic_load_explicit(&directory->open, memory_order_acquire)) {
			stay_set(directory, resident, stay, STAY_REASSIGNING);
			resident_tell_keeper(directory, resident);
		} else {
			stay_release(directory, resident, stay);
		}
	}
	pthread_mutex_unlock(&shard->lock);
}

/* --- The whole ------------------------------------------------------------------------------ */

static bool make_shards(struct directory *directory)
{
	const struct config_routing *routing = &directory->config->routing;
	struct route_cache_limits limits = {
		.routes_max = (routing->cache_routes + DIRECTORY_SHARDS - 1) / DIRECTORY_SHARDS,
		.fresh_ms = routing->cache_ttl_ms,
		.unknown_ms = routing->unknown_ttl_ms,
		.stale_ms = routing->stale_ttl_ms,
	};

	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		struct directory_shard *shard = &directory->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		route_cache_init(&shard->cache, &limits, &directory->key, &directory->texts);
		residents_init(&shard->residents);
	}
	return lookup_init(&directory->lookup, routing->lookup, NULL);
}

struct directory *directory_new(struct config *config, struct pool *pool)
{
	struct directory *directory = aligned_alloc(_Alignof(struct directory), sizeof(*directory));

	if (directory == NULL) {
		return NULL;
	}
	memset(directory, 0, sizeof(*directory));
	directory->config = config_ref(config);
	directory->pool = pool;
	if (getrandom(&directory->key, sizeof(directory->key), 0) != sizeof(directory->key)) {
		directory->key = (struct hash_key){{timeouts_now_ms(), (uintptr_t)directory}};
	}
	atomic_store(&directory->epoch, 1);
	pthread_mutex_init(&directory->desk_lock, NULL);
	pthread_mutex_init(&directory->log_lock, NULL);
	directory_set_why(directory, "not connected yet");
	route_texts_init(&directory->texts, &directory->key);
	directory_node_init(directory);
	if (!make_shards(directory)) {
		directory_free(directory);
		return NULL;
	}
	return directory;
}

void directory_free(struct directory *directory)
{
	if (directory == NULL) {
		return;
	}
	invariant(directory->desks == NULL && !atomic_load(&directory->open));
	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		struct directory_shard *shard = &directory->shards[i];

		route_cache_done(&shard->cache);
		residents_done(&shard->residents);
		pthread_mutex_destroy(&shard->lock);
	}
	route_texts_done(&directory->texts);
	pthread_mutex_destroy(&directory->desk_lock);
	pthread_mutex_destroy(&directory->log_lock);
	lookup_done(&directory->lookup);
	config_unref(directory->config);
	free(directory);
}
