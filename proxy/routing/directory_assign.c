/* SPDX-License-Identifier: Apache-2.0
 *
 * Users whom Redis does not know (routing.unknown = "assign"): they are given the member that hash
 * would give them, and that is kept in Redis as their route, for the whole fleet. Who is first has
 * his way; the others read what that was. The configuration sees to it that routing.lookup is a GET
 * of a key of each user's own then.
 */
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/log.h"
#include "directory_internal.h"
#include "directory_scripts_internal.h"
#include "route_value_internal.h"
#include "routing/balance.h"
#include "routing/pool.h"

#define ASSIGNED "?assigned"

#define WHY_NOBODY "no backend takes new users"
#define WHY_LOST   "what was assigned is not what Redis says then"

/* Writes the route of the member that the user would have by hash, of those that are up if there
 * are such. */
static bool choose(struct directory *directory, const char *user, char route[ROUTE_VALUE_MAX + 1])
{
	struct member *ranks[BALANCE_RANKS_MAX];
	const struct pool_view *view = pool_view(directory->pool);
	size_t count = balance_rank(view, BALANCE_ANY, user, ranks, BALANCE_RANKS_MAX);
	struct member *chosen = count > 0 ? ranks[0] : NULL;

	for (size_t i = 0; i < count; i++) {
		if (member_is_up(ranks[i])) {
			chosen = ranks[i];
			break;
		}
	}
	if (chosen != NULL) {
		snprintf(route, ROUTE_VALUE_MAX + 1, "%s" ASSIGNED, chosen->name);
	}
	pool_view_unref(view);
	return chosen != NULL;
}

static void warn(struct directory *directory, const struct resident *resident, const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&directory->assign_lines, timeouts_now_ms(), &held_back)) {
		log_warn("a user cannot be assigned a backend", log_text("user", resident->user),
			 log_text("detail", why), log_number("held_back", (int64_t)held_back));
	}
}

/* --- Who has no route ----------------------------------------------------------------------- */

static void give_up(struct directory *directory, struct resident *resident, const char *why)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);

	warn(directory, resident, why);
	pthread_mutex_lock(&shard->lock);
	resident->activity = RESIDENT_IDLE;
	resident->tries = 0;
	directory_fail_asking(directory, shard, resident, why);
	pthread_mutex_unlock(&shard->lock);
	directory_consider(directory, resident);
}

static void ask_again(struct directory *directory, struct resident *resident, uint64_t pause_ms)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);

	pthread_mutex_lock(&shard->lock);
	resident->activity = RESIDENT_IDLE;
	resident->ask = RESIDENT_ASK_NOW;
	resident->retry_ms = timeouts_now_ms() + pause_ms;
	pthread_mutex_unlock(&shard->lock);
	directory_consider(directory, resident);
}

static void on_assigned(struct store_question *question, const struct redis_reply *reply)
{
	struct resident *resident = container_of(question, struct resident, route_question);
	struct directory *directory = resident->directory;
	struct error why = {0};

	resident->waiting = 0;
	if (reply->kind == REDIS_REPLY_ERROR) {
		directory_explain(reply, &why);
		give_up(directory, resident, why.text);
		return;
	}
	if (reply->kind == REDIS_REPLY_STATUS) {
		metrics_count(directory->house.metrics, METRIC_ROUTES_ASSIGNED);
	}
	ask_again(directory, resident, reply->kind == REDIS_REPLY_FAILED ? DIRECTORY_SOON_MS : 0);
}

static void ask_to_assign(struct directory *directory, struct resident *resident,
			  const struct lookup_command *lookup, const char *route)
{
	struct directory_words words = {0};

	directory_words_add(&words, "SET");
	directory_words_add_bytes(&words, lookup->words[1], lookup->lengths[1]);
	directory_words_add(&words, route);
	directory_words_add(&words, "NX");
	resident->activity = RESIDENT_ASSIGNING;
	resident->waiting = 1;
	directory_store_ask(directory, &resident->route_question, &words, 1, on_assigned);
}

void directory_assign(struct directory *directory, struct resident *resident)
{
	char route[ROUTE_VALUE_MAX + 1];
	struct lookup_command lookup = {0};

	if (resident->tries == DIRECTORY_TRIES_MAX) {
		give_up(directory, resident, WHY_LOST);
	} else if (!choose(directory, resident->user, route)) {
		give_up(directory, resident, WHY_NOBODY);
	} else if (!lookup_expand(&directory->lookup, resident->user, &lookup)) {
		give_up(directory, resident, WHY_MEMORY);
	} else {
		resident->tries++;
		ask_to_assign(directory, resident, &lookup, route);
	}
	lookup_command_done(&lookup);
}

/* --- Whose route is of no use ----------------------------------------------------------------- */

/* Whatever came of it: who waits for it asks again. */
static void release(struct directory *directory, struct resident *resident, bool exchanged)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	struct stay *stay;

	pthread_mutex_lock(&shard->lock);
	resident->activity = RESIDENT_IDLE;
	if (exchanged) {
		resident->generation++;
		resident->ask = RESIDENT_ASK_NOW;
		route_cache_drop(&shard->cache, resident->user);
	}
	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_REASSIGNING) {
			stay_release(directory, resident, stay);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	directory_consider(directory, resident);
}

static void on_exchanged(struct store_question *question, const struct redis_reply *reply)
{
	struct resident *resident = container_of(question, struct resident, route_question);
	struct directory *directory = resident->directory;
	struct error why = {0};

	resident->waiting = 0;
	if (reply->kind != REDIS_REPLY_NUMBER) {
		directory_explain(reply, &why);
		warn(directory, resident, why.text);
	} else if (reply->number == 1) {
		metrics_count(directory->house.metrics, METRIC_ROUTES_REASSIGNED);
	}
	release(directory, resident, reply->kind == REDIS_REPLY_NUMBER);
}

static void ask_to_exchange(struct directory *directory, struct resident *resident,
			    const struct lookup_command *lookup, const struct route_text *old,
			    const char *route)
{
	struct directory_words words = {0};

	directory_words_add(&words, "EVAL");
	directory_words_add(&words, SCRIPT_EXCHANGE);
	directory_words_add(&words, "1");
	directory_words_add_bytes(&words, lookup->words[1], lookup->lengths[1]);
	directory_words_add_bytes(&words, old->bytes, old->length);
	directory_words_add(&words, route);
	resident->activity = RESIDENT_REASSIGNING;
	resident->waiting = 1;
	directory_store_ask(directory, &resident->route_question, &words, 3, on_exchanged);
}

/* What the first of them was told, one reference; NULL where that is unknown, or nobody waits, or
 * the user is on hold. */
static struct route_text *take_old(struct directory *directory, struct resident *resident)
{
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);
	struct route_text *old = NULL;
	struct stay *stay;

	pthread_mutex_lock(&shard->lock);
	DL_FOREACH2(resident->stays, stay, next)
	{
		if (stay->state == STAY_REASSIGNING && resident->hold == NULL && old == NULL) {
			old = route_text_ref(stay->route);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	return old;
}

static bool is_assigned(const struct route_text *route)
{
	size_t size = strlen(ASSIGNED);

	return route->length > size &&
	       memcmp(route->bytes + route->length - size, ASSIGNED, size) == 0;
}

void directory_assign_anew(struct directory *directory, struct resident *resident)
{
	struct route_text *old = take_old(directory, resident);
	char route[ROUTE_VALUE_MAX + 1];
	struct lookup_command lookup = {0};
	bool can = old != NULL && is_assigned(old) && directory_can_ask(directory) &&
		   choose(directory, resident->user, route) &&
		   !(strlen(route) == old->length && memcmp(route, old->bytes, old->length) == 0) &&
		   lookup_expand(&directory->lookup, resident->user, &lookup);

	if (can) {
		ask_to_exchange(directory, resident, &lookup, old, route);
	} else {
		release(directory, resident, false);
	}
	lookup_command_done(&lookup);
	route_text_unref(&directory->texts, old);
}
