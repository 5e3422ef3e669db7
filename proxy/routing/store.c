/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions and their order, and what the owner is told. Whoever asks waits in a lane until the
 * node of that lane is there, at most for as long as an answer may take.
 */
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "store_parts_internal.h"

/* --- What the owner is told ----------------------------------------------------------------- */

/* One thing at a time, in the order that the contract promises; false when nothing is left. */
static bool tell_next(struct store *store)
{
	const struct store_events *events = store->settings.events;
	bool ready = store->kind->is_ready(store);
	bool watching = ready && store->kind->is_watching(store);

	if (store->told_watching && (!watching || store->gap)) {
		store->told_watching = false;
		store->gap = false;
		events->blind(store->settings.owner);
	} else if (store->told_ready && !ready) {
		struct error why = store->why;

		store->told_ready = false;
		events->lost(store->settings.owner, why.text);
	} else if (!store->told_ready && ready) {
		store->told_ready = true;
		events->ready(store->settings.owner);
	} else if (!store->told_watching && watching) {
		store->told_watching = true;
		store->gap = false;
		events->watching(store->settings.owner);
	} else {
		return false;
	}
	return true;
}

void store_settle(struct store *store)
{
	if (store->settling) {
		return;
	}
	store->settling = true;
	while (tell_next(store)) {
	}
	store->settling = false;
}

void store_log_failure(struct store *store, const struct endpoint *who, const struct error *why)
{
	char address[ENDPOINT_TEXT_MAX];
	uint64_t held_back = 0;

	store->why = *why;
	if (strcmp(store->logged.text, why->text) == 0 ||
	    !log_bound_admits(&store->failures, timeouts_now_ms(), &held_back)) {
		return;
	}
	store->logged = *why;
	if (who != NULL) {
		endpoint_format(who, address);
	}
	log_warn("where to ask Redis is not known", log_text("address", who ? address : NULL),
		 log_text("detail", why->text));
}

void store_log_recovery(struct store *store, const struct endpoint *address)
{
	char text[ENDPOINT_TEXT_MAX];

	if (store->logged.text[0] != '\0') {
		store->logged = (struct error){0};
		endpoint_format(address, text);
		log_info("where to ask Redis is known again", log_text("address", text));
	}
}

uint64_t store_jitter(struct store *store, uint64_t pause_ms)
{
	uint64_t half = pause_ms / 2;

	return half + (uint64_t)rand_r(&store->jitter) % (half + 1);
}

/* --- Questions ------------------------------------------------------------------------------ */

/* Takes it out of all lists; it has been answered or cancelled. */
static void take_out(struct store_pending *pending)
{
	if (pending->at == NULL) {
		DL_DELETE(pending->lane->waiting, pending);
		return;
	}
	DL_DELETE(pending->at->asked, pending);
	pending->at = NULL;
	pending->lane->sent--;
}

static void answer(struct store_pending *pending, const struct redis_reply *reply)
{
	struct store *store = pending->store;
	struct store_lane *lane = pending->lane;
	struct store_question *question = pending->question;

	take_out(pending);
	timeout_remove(&pending->deadline);
	free(pending);
	store->pending_count--;
	question->pending = NULL;
	question->callback(question, reply);
	store_pump(store, lane);
}

static void answer_failed(struct store_question *question, const char *why)
{
	struct redis_reply reply = {.kind = REDIS_REPLY_FAILED, .text = why, .length = strlen(why)};

	question->callback(question, &reply);
}

void store_fail(struct store_pending *pending, const struct error *why)
{
	struct redis_reply reply = {
		.kind = REDIS_REPLY_FAILED, .text = why->text, .length = strlen(why->text)};

	answer(pending, &reply);
}

static void wait_no_longer_than(struct store_pending *pending)
{
	struct store *store = pending->store;

	if (!timeout_is_waiting(&pending->deadline)) {
		timeout_add(&store->deadlines, &pending->deadline,
			    pending->asked_ms + store->settings.config->timeout_ms);
	}
}

/* Back into its lane, in front of all that were asked later. */
static void requeue(struct store_pending *pending)
{
	struct store_lane *lane = pending->lane;
	struct store_pending *later = lane->waiting;

	take_out(pending);
	while (later != NULL && later->number < pending->number) {
		later = later->next;
	}
	if (later != NULL) {
		DL_PREPEND_ELEM(lane->waiting, later, pending);
	} else {
		DL_APPEND(lane->waiting, pending);
	}
	wait_no_longer_than(pending);
	store_pump(pending->store, lane);
}

static bool begins_with(const struct redis_reply *reply, const char *word)
{
	size_t length = strlen(word);

	return reply->length >= length && memcmp(reply->text, word, length) == 0;
}

/* A script that may not write says so in words of its own before Redis 7. */
static bool is_read_only(const struct redis_reply *reply)
{
	return begins_with(reply, "READONLY ") || (begins_with(reply, "ERR Error running script") &&
						   strstr(reply->text, ": -READONLY ") != NULL);
}

static bool is_not_to_be_asked(const struct redis_reply *reply)
{
	return begins_with(reply, "LOADING ") || begins_with(reply, "MASTERDOWN ");
}

static enum store_verdict follow(struct store_pending *pending, const struct redis_reply *reply,
				 struct error *why)
{
	struct store *store = pending->store;

	return store->kind->follow != NULL ? store->kind->follow(store, pending, reply, why)
					   : STORE_PASS;
}

static void on_error_reply(struct store_pending *pending, const struct redis_reply *reply)
{
	struct store *store = pending->store;
	struct store_node *node = pending->at;
	struct error why = {0};

	if (is_read_only(reply) || is_not_to_be_asked(reply)) {
		bool fail = is_read_only(reply);

		redis_reply_explain(reply, &why);
		store_fail(pending, &why);
		if (fail && !node->retired && store_node_is_ready(node)) {
			redis_server_fail(node->server, "it is not a master any more");
		}
		return;
	}
	switch (follow(pending, reply, &why)) {
	case STORE_PASS:
		answer(pending, reply);
		break;
	case STORE_FOLLOW:
		requeue(pending);
		break;
	case STORE_FAIL:
		store_fail(pending, &why);
		break;
	}
	store_settle(store); /* the owner may cancel whatever it likes */
}

static void on_reply(struct redis_question *question, const struct redis_reply *reply)
{
	struct store_pending *pending = container_of(question, struct store_pending, sent);

	if (reply->kind == REDIS_REPLY_ERROR) {
		on_error_reply(pending, reply);
	} else {
		answer(pending, reply);
	}
}

static void on_deadline(struct timeout *timeout)
{
	struct store_pending *pending = container_of(timeout, struct store_pending, deadline);
	struct error why = {0};

	if (pending->at != NULL) {
		redis_cancel(&pending->sent);
		error_set(&why, "no reply in time");
	} else {
		why = pending->store->why;
		error_prefix(&why, "no connection");
	}
	store_fail(pending, &why);
}

/* --- Lanes ---------------------------------------------------------------------------------- */

/* Answers may come at once, and ask again: whatever is known of the lane is looked at anew. */
void store_pump(struct store *store, struct store_lane *lane)
{
	while (lane->waiting != NULL) {
		struct store_pending *first = lane->waiting;
		struct store_node *node = first->redirected;

		if (node == NULL) {
			node = store->kind->route(store, (size_t)(lane - store->lanes));
		}
		if (node == NULL) {
			store->kind->want(store);
			return;
		}
		if (!store_node_is_ready(node)) {
			store_node_nudge(node);
			return;
		}
		if (lane->sent > 0 && lane->at != node) {
			return;
		}
		DL_DELETE(lane->waiting, first);
		lane->at = node;
		lane->sent++;
		store_node_ask(node, first, on_reply);
	}
}

void store_pump_all(struct store *store)
{
	for (size_t i = 0; i < store->kind->lane_count; i++) {
		store_pump(store, &store->lanes[i]);
	}
}

/* --- For everybody -------------------------------------------------------------------------- */

/* The words of a command are copied behind the question: it may have to wait, or be sent again. */
static struct store_pending *make_pending(const struct redis_command *command)
{
	size_t pointers = command->word_count * sizeof(char *);
	size_t size =
		sizeof(struct store_pending) + pointers + command->word_count * sizeof(size_t);
	struct store_pending *pending;
	const char **words;
	size_t *lengths;
	char *at;

	for (size_t i = 0; i < command->word_count; i++) {
		size += command->lengths[i];
	}
	pending = calloc(1, size);
	if (pending == NULL) {
		return NULL;
	}
	words = (const char **)(pending + 1);
	lengths = (size_t *)(words + command->word_count);
	at = (char *)(lengths + command->word_count);
	for (size_t i = 0; i < command->word_count; i++) {
		memcpy(at, command->words[i], command->lengths[i]);
		words[i] = at;
		lengths[i] = command->lengths[i];
		at += command->lengths[i];
	}
	pending->command = (struct redis_command){command->word_count, words, lengths};
	return pending;
}

/* NULL where it has been sent, or even answered. */
static struct store_pending *find_waiting(const struct store_lane *lane, uint64_t number)
{
	struct store_pending *pending = lane->waiting != NULL ? lane->waiting->prev : NULL;

	while (pending != NULL && pending->number > number) {
		pending = pending != lane->waiting ? pending->prev : NULL;
	}
	return pending != NULL && pending->number == number ? pending : NULL;
}

/* Whoever is answered at once may have freed the question. */
void store_ask(struct store *store, struct store_question *question,
	       const struct redis_command *command, size_t key, store_callback_t *callback)
{
	struct store_pending *pending;
	uint64_t number = ++store->last_number;
	size_t lane = 0;

	invariant(question->pending == NULL && key < command->word_count);
	question->callback = callback;
	if (store->pending_count >= STORE_IN_FLIGHT_MAX) {
		metrics_count(store->settings.metrics, METRIC_LIMIT_REDIS_QUEUE);
		answer_failed(question, "too many questions are waiting");
		return;
	}
	pending = make_pending(command);
	if (pending == NULL) {
		answer_failed(question, "out of memory");
		return;
	}
	if (store->kind->lane != NULL) {
		lane = store->kind->lane(command->words[key], command->lengths[key]);
	}
	pending->store = store;
	pending->lane = &store->lanes[lane];
	pending->question = question;
	pending->asked_ms = timeouts_now_ms();
	pending->number = number;
	question->pending = pending;
	store->pending_count++;
	DL_APPEND(pending->lane->waiting, pending);
	store_pump(store, &store->lanes[lane]);
	pending = find_waiting(&store->lanes[lane], number);
	/* Where it was sent, that is bounded there. */
	if (pending != NULL) {
		wait_no_longer_than(pending);
	}
}

void store_cancel(struct store_question *question)
{
	struct store_pending *pending = question->pending;

	if (pending == NULL) {
		return;
	}
	question->pending = NULL;
	redis_cancel(&pending->sent);
	timeout_remove(&pending->deadline);
	take_out(pending);
	pending->store->pending_count--;
	free(pending);
}

bool store_is_cluster(const struct store *store)
{
	return store->settings.config->kind == CONFIG_REDIS_CLUSTER;
}

bool store_is_ready(const struct store *store)
{
	return store->told_ready;
}

bool store_is_watching(const struct store *store)
{
	return store->told_watching;
}

static void on_reaper(struct timeout *timeout)
{
	store_nodes_free(container_of(timeout, struct store, reaper), false);
}

static const struct store_kind *kind_of(const struct config_redis *config)
{
	switch (config->kind) {
	case CONFIG_REDIS_SENTINEL:
		return &store_sentinel;
	case CONFIG_REDIS_CLUSTER:
		return &store_cluster;
	default:
		return &store_single;
	}
}

struct store *store_new(const struct store_settings *settings)
{
	const struct store_kind *kind = kind_of(settings->config);
	struct store *store = calloc(1, kind->size);

	if (store == NULL) {
		return NULL;
	}
	store->kind = kind;
	store->settings = *settings;
	store->jitter = (unsigned)timeouts_now_ms() ^ (unsigned)((uintptr_t)store >> 4);
	error_set(&store->why, "not connected yet");
	timeout_list_init(&store->deadlines, settings->timeouts, on_deadline);
	timeout_list_init(&store->reapers, settings->timeouts, on_reaper);
	store->lanes = calloc(kind->lane_count, sizeof(*store->lanes));
	if (store->lanes == NULL || !kind->start(store)) {
		store_free(store);
		return NULL;
	}
	return store;
}

void store_free(struct store *store)
{
	if (store == NULL) {
		return;
	}
	invariant(store->pending_count == 0);
	store->kind->stop(store);
	store_nodes_free(store, true);
	timeout_remove(&store->reaper);
	timeout_list_done(&store->reapers);
	timeout_list_done(&store->deadlines);
	free(store->lanes);
	free(store);
}
