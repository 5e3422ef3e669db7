/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator says of members, on all proxies at once: gatepost:drain:NAME, and whether a
 * canary is over: gatepost:canary:NAME.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "core/log.h"
#include "directory_internal.h"
#include "routing/pool.h"

/* Members asked for at a time. */
#define AT_ONCE 64

#define KICK     "kick"
#define RATE_MAX 1000000

/* Bytes of a key: a member may have the names of its backend, its host and its port. */
#define KEY_MAX 512

/* struct watched is one member, and what was asked of Redis about it. */
struct watched {
	struct directory *directory;
	struct member *member; /* borrowed from the view */
	struct store_question drain;
	struct store_question canary;
	bool due;       /* shall be asked for */
	bool is_canary; /* it is of the backend that takes the canary's share */
	bool told_over; /* Redis knows that the canary is over */
	bool failed;    /* what was asked last could not be read: again at the next beat */
};

struct directory_drains {
	const struct pool_view *view;
	struct watched *watched; /* one for each member of the view, in its order */
	size_t next;             /* who is looked at next */
	size_t due;
	size_t asking; /* questions on their way */
	bool pumping;
};

static void pump(struct directory *directory);

static void tell_desks(struct directory *directory)
{
	struct directory_desk *desk;

	pthread_mutex_lock(&directory->desk_lock);
	LL_FOREACH(directory->desks, desk)
	{
		inbox_post(&desk->inbox, &desk->drains);
	}
	pthread_mutex_unlock(&directory->desk_lock);
}

static void warn(struct directory *directory, const struct watched *watched,
		 const struct redis_reply *reply)
{
	struct error why = {0};
	uint64_t held_back;

	if (reply->kind == REDIS_REPLY_FAILED) {
		return;
	}
	redis_reply_explain(reply, &why);
	if (log_bound_admits(&directory->drain_lines, timeouts_now_ms(), &held_back)) {
		log_warn("what Redis says of a backend cannot be used",
			 log_text("backend", watched->member->name), log_text("detail", why.text),
			 log_number("held_back", (int64_t)held_back));
	}
}

static void make_due(struct directory *directory, struct watched *watched)
{
	if (!watched->due) {
		watched->due = true;
		directory->drains->due++;
	}
}

/* --- Drains ----------------------------------------------------------------------------------- */

/* "kick", or "kick:RATE" in sessions a second; everything else just drains. */
static enum member_drain parse_drain(const char *text, size_t length, unsigned *rate)
{
	size_t digits = strlen(KICK ":");
	uint64_t number = 0;

	*rate = 0;
	if (length == strlen(KICK) && memcmp(text, KICK, length) == 0) {
		return MEMBER_KICKS;
	}
	if (length <= digits || length > digits + 7 || memcmp(text, KICK ":", digits) != 0) {
		return MEMBER_DRAINS;
	}
	for (size_t i = digits; i < length; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return MEMBER_DRAINS;
		}
		number = number * 10 + (uint64_t)(text[i] - '0');
	}
	if (number == 0 || number > RATE_MAX) {
		return MEMBER_DRAINS;
	}
	*rate = (unsigned)number;
	return MEMBER_KICKS;
}

static void on_drain(struct store_question *question, const struct redis_reply *reply)
{
	struct watched *watched = container_of(question, struct watched, drain);
	struct directory *directory = watched->directory;
	enum member_drain before = member_drain(watched->member);
	unsigned rate_before = member_drain_rate(watched->member);
	enum member_drain drain = MEMBER_SERVES;
	unsigned rate = 0;

	directory->drains->asking--;
	if (reply->kind == REDIS_REPLY_TEXT) {
		drain = parse_drain(reply->text, reply->length, &rate);
	} else if (reply->kind != REDIS_REPLY_NIL) {
		watched->failed = true;
		warn(directory, watched, reply);
		pump(directory);
		return;
	}
	member_set_drain(watched->member, drain, rate);
	if (drain != before || member_drain_rate(watched->member) != rate_before) {
		tell_desks(directory);
	}
	pump(directory);
}

/* --- Canaries --------------------------------------------------------------------------------- */

static void on_canary(struct store_question *question, const struct redis_reply *reply)
{
	struct watched *watched = container_of(question, struct watched, canary);
	struct directory *directory = watched->directory;
	bool before = member_canary_is_over(watched->member);
	bool over = reply->kind == REDIS_REPLY_TEXT;

	directory->drains->asking--;
	if (!over && reply->kind != REDIS_REPLY_NIL) {
		watched->failed = true;
		warn(directory, watched, reply);
	} else if (!over && before && !watched->told_over) {
		/* It ended here, and Redis does not know yet. */
		directory_drains_tell_canary(directory);
	} else {
		watched->told_over = over;
		member_set_canary_over(watched->member, over);
		if (over != before) {
			tell_desks(directory);
		}
	}
	pump(directory);
}

static void on_canary_told(struct store_question *question, const struct redis_reply *reply)
{
	struct watched *watched = container_of(question, struct watched, canary);
	struct directory *directory = watched->directory;

	directory->drains->asking--;
	watched->told_over = reply->kind == REDIS_REPLY_STATUS;
	if (!watched->told_over) {
		warn(directory, watched, reply);
	}
	pump(directory);
}

static void tell_canary(struct directory *directory, struct watched *watched)
{
	char key[KEY_MAX];
	char value[sizeof(directory->node.name) + 128];
	struct directory_words words = {0};

	snprintf(key, sizeof(key), "%s%s", DIRECTORY_CANARY_PREFIX, watched->member->name);
	snprintf(value, sizeof(value),
		 "over: too many logins failed, seen by %s at %lld; delete this key to try again",
		 directory->node.name, (long long)time(NULL));
	directory_words_add(&words, "SET");
	directory_words_add(&words, key);
	directory_words_add(&words, value);
	directory->drains->asking++;
	directory_store_ask(directory, &watched->canary, &words, 1, on_canary_told);
}

/* What could not be told is told at one of the next beats. */
void directory_drains_tell_canary(struct directory *directory)
{
	struct directory_drains *drains = directory->drains;

	for (size_t i = 0; directory_can_ask(directory) && i < drains->view->count; i++) {
		struct watched *watched = &drains->watched[i];

		if (watched->is_canary && !watched->told_over && watched->canary.pending == NULL &&
		    member_canary_is_over(watched->member)) {
			tell_canary(directory, watched);
		}
	}
}

void directory_end_canary(struct directory *directory, struct member *member)
{
	member_set_canary_over(member, true);
	tell_desks(directory);
	if (atomic_load_explicit(&directory->open, memory_order_acquire)) {
		inbox_post(&directory->inbox, &directory->canary_item);
	}
}

/* --- Asking ----------------------------------------------------------------------------------- */

static void ask(struct directory *directory, struct store_question *question, const char *prefix,
		const struct member *member, store_callback_t *callback)
{
	char key[KEY_MAX];
	struct directory_words words = {0};

	snprintf(key, sizeof(key), "%s%s", prefix, member->name);
	directory_words_add(&words, "GET");
	directory_words_add(&words, key);
	directory->drains->asking++;
	directory_store_ask(directory, question, &words, 1, callback);
}

static void ask_next(struct directory *directory)
{
	struct directory_drains *drains = directory->drains;
	struct watched *watched = &drains->watched[drains->next];

	drains->next = (drains->next + 1) % drains->view->count;
	if (!watched->due || watched->drain.pending != NULL || watched->canary.pending != NULL) {
		return;
	}
	watched->due = false;
	drains->due--;
	ask(directory, &watched->drain, DIRECTORY_DRAIN_PREFIX, watched->member, on_drain);
	if (watched->is_canary) {
		ask(directory, &watched->canary, DIRECTORY_CANARY_PREFIX, watched->member,
		    on_canary);
	}
}

static void pump(struct directory *directory)
{
	struct directory_drains *drains = directory->drains;
	size_t looked = 0;

	if (drains->pumping) {
		return;
	}
	drains->pumping = true;
	while (drains->due > 0 && drains->asking < AT_ONCE && looked++ < drains->view->count &&
	       directory_can_ask(directory)) {
		ask_next(directory);
	}
	drains->pumping = false;
}

void directory_drains_ask_all(struct directory *directory)
{
	for (size_t i = 0; i < directory->drains->view->count; i++) {
		make_due(directory, &directory->drains->watched[i]);
	}
	pump(directory);
}

void directory_drains_changed(struct directory *directory, const char *name, size_t length)
{
	struct directory_drains *drains = directory->drains;

	for (size_t i = 0; i < drains->view->count; i++) {
		struct watched *watched = &drains->watched[i];

		if (strlen(watched->member->name) == length &&
		    memcmp(watched->member->name, name, length) == 0) {
			make_due(directory, watched);
		}
	}
	pump(directory);
}

/* --- The pool --------------------------------------------------------------------------------- */

static void drop_watched(struct directory_drains *drains)
{
	for (size_t i = 0; drains->watched != NULL && i < drains->view->count; i++) {
		store_cancel(&drains->watched[i].drain);
		store_cancel(&drains->watched[i].canary);
	}
	free(drains->watched);
	pool_view_unref(drains->view);
	drains->watched = NULL;
	drains->view = NULL;
}

static bool watch_view(struct directory *directory, const struct pool_view *view)
{
	const struct config_canary *canary = &directory->config->routing.canary;
	struct directory_drains *drains = directory->drains;
	struct watched *watched = calloc(view->count + 1, sizeof(*watched));

	if (watched == NULL) {
		pool_view_unref(view);
		return false;
	}
	for (size_t i = 0; i < view->count; i++) {
		watched[i] = (struct watched){
			.directory = directory,
			.member = view->members[i],
			.due = true,
			.is_canary =
				canary->share > 0 && view->members[i]->config == canary->backend,
		};
	}
	if (drains->view != NULL) {
		drop_watched(drains);
	}
	*drains = (struct directory_drains){.view = view, .watched = watched, .due = view->count};
	return true;
}

bool directory_drains_start(struct directory *directory)
{
	directory->drains = calloc(1, sizeof(*directory->drains));
	if (directory->drains == NULL) {
		return false;
	}
	if (!watch_view(directory, pool_view(directory->pool))) {
		free(directory->drains);
		directory->drains = NULL;
		return false;
	}
	return true;
}

/* Questions that failed are asked again, and members that are new are asked for. */
void directory_drains_beat(struct directory *directory)
{
	struct directory_drains *drains = directory->drains;

	if (pool_version(directory->pool) != drains->view->version) {
		watch_view(directory, pool_view(directory->pool));
	}
	for (size_t i = 0; i < drains->view->count; i++) {
		if (drains->watched[i].failed) {
			drains->watched[i].failed = false;
			make_due(directory, &drains->watched[i]);
		}
	}
	pump(directory);
	directory_drains_tell_canary(directory);
}

void directory_drains_stop(struct directory *directory)
{
	if (directory->drains != NULL) {
		drop_watched(directory->drains);
		free(directory->drains);
		directory->drains = NULL;
	}
}
