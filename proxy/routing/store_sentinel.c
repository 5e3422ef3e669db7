/* SPDX-License-Identifier: Apache-2.0
 *
 * The master that sentinels name. They are asked in turn while there is none that can be used; a
 * switch that one announces is followed at once. Whoever is named must be reached, and say itself
 * that it is a master, before the one that is there is given up for it. A new name that nobody
 * announced counts when a second sentinel gives it too, or no other can be asked: one that was cut
 * off from the others may still believe in a master of the past.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "redis_slots_internal.h"
#include "store_parts_internal.h"

#define NOBODY SIZE_MAX

struct sentinels;

struct sentinel {
	struct sentinels *sentinels;
	struct redis_server *server;
	struct redis_watch *watch;
};

struct sentinels {
	struct store store;
	struct sentinel *all;
	size_t count;
	struct store_node *current;   /* the master; NULL until there was one */
	struct store_node *candidate; /* somebody was named, and has to show what it is */
	struct endpoint doubted;      /* was named by `doubted_by` alone */
	size_t doubted_by;
	struct redis_question question;
	size_t asked;    /* whom `question` went to, or the last one went to */
	size_t next;     /* whose turn it is */
	size_t failures; /* in a row */
	bool searching;
	bool announced; /* the search follows an announcement */
	uint64_t pause_ms;
	uint64_t attempted_ms;
	struct timeout_list timers;
	struct timeout timer; /* the next attempt */
};

static struct sentinels *sentinels_of(struct store *store)
{
	return container_of(store, struct sentinels, store);
}

static const struct config_redis *config_of(const struct sentinels *sentinels)
{
	return sentinels->store.settings.config;
}

static void attempt(struct sentinels *sentinels);

static bool is_ready(const struct store *store)
{
	const struct store_node *current = ((const struct sentinels *)store)->current;

	return current != NULL && store_node_is_ready(current);
}

/* --- The next attempt ----------------------------------------------------------------------- */

static void attempt_at(struct sentinels *sentinels, uint64_t due_ms)
{
	timeout_remove(&sentinels->timer);
	timeout_add(&sentinels->timers, &sentinels->timer, due_ms);
}

/* Pauses grow when all have been asked in vain. */
static void pause_search(struct sentinels *sentinels)
{
	bool round_over = ++sentinels->failures % sentinels->count == 0;

	if (sentinels->pause_ms == 0) {
		sentinels->pause_ms = STORE_PAUSE_MIN_MS;
	} else if (round_over && sentinels->pause_ms < STORE_PAUSE_MAX_MS) {
		sentinels->pause_ms *= 2;
	}
	if (sentinels->pause_ms > STORE_PAUSE_MAX_MS) {
		sentinels->pause_ms = STORE_PAUSE_MAX_MS;
	}
	attempt_at(sentinels,
		   timeouts_now_ms() + store_jitter(&sentinels->store, sentinels->pause_ms));
}

static void report(struct sentinels *sentinels, const char *why)
{
	struct error error = {0};

	error_set(&error, "the sentinel %.240s", why);
	store_log_failure(&sentinels->store, &config_of(sentinels)->addresses[sentinels->asked],
			  &error);
}

/* Begins a search, or shows one that goes on what has become known. */
static void search(struct sentinels *sentinels, size_t first, bool announced)
{
	if (!sentinels->searching) {
		sentinels->searching = true;
		sentinels->failures = 0;
		sentinels->pause_ms = 0;
	}
	sentinels->announced = sentinels->announced || announced;
	if (first != NOBODY) {
		redis_cancel(&sentinels->question);
		sentinels->next = first;
	}
	attempt(sentinels);
}

static void drop_candidate(struct sentinels *sentinels)
{
	struct store_node *candidate = sentinels->candidate;

	if (candidate != NULL) {
		sentinels->candidate = NULL;
		store_node_retire(candidate, "it is not asked any more");
	}
}

static void end_search(struct sentinels *sentinels)
{
	sentinels->searching = false;
	sentinels->announced = false;
	sentinels->pause_ms = 0;
	endpoint_done(&sentinels->doubted);
	redis_cancel(&sentinels->question);
	timeout_remove(&sentinels->timer);
	store_log_recovery(&sentinels->store, &sentinels->current->address);
}

/* --- Whom they name ------------------------------------------------------------------------- */

/* It was named again: by another sentinel, or because its time is over. */
static void try_again(struct sentinels *sentinels)
{
	uint64_t over_ms = sentinels->candidate->named_ms + config_of(sentinels)->timeout_ms;

	if (timeouts_now_ms() < over_ms) {
		attempt_at(sentinels, over_ms);
	} else {
		report(sentinels, "names a master that cannot be used");
		pause_search(sentinels);
	}
}

static void try_candidate(struct sentinels *sentinels, const struct endpoint *address)
{
	if (sentinels->candidate != NULL &&
	    endpoint_equal(&sentinels->candidate->address, address)) {
		try_again(sentinels);
		return;
	}
	drop_candidate(sentinels);
	sentinels->candidate =
		store_node_new(&sentinels->store, address, STORE_NODE_MASTER | STORE_NODE_WATCH);
	if (sentinels->candidate == NULL) {
		report(sentinels, "is of no use: out of memory");
		pause_search(sentinels);
		return;
	}
	sentinels->candidate->named_ms = timeouts_now_ms();
	attempt_at(sentinels, sentinels->candidate->named_ms + config_of(sentinels)->timeout_ms);
}

static bool another_is_ready(const struct sentinels *sentinels)
{
	for (size_t i = 0; i < sentinels->count; i++) {
		if (i != sentinels->asked && redis_server_is_ready(sentinels->all[i].server)) {
			return true;
		}
	}
	return false;
}

static bool is_believed(const struct sentinels *sentinels, const struct endpoint *address)
{
	if (sentinels->current == NULL || sentinels->announced || !another_is_ready(sentinels)) {
		return true;
	}
	return endpoint_equal(&sentinels->doubted, address) &&
	       sentinels->doubted_by != sentinels->asked;
}

static void handle_name(struct sentinels *sentinels, const struct endpoint *address)
{
	struct store_node *current = sentinels->current;

	if (current != NULL && endpoint_equal(&current->address, address)) {
		drop_candidate(sentinels);
		endpoint_done(&sentinels->doubted);
		if (store_node_is_ready(current)) {
			end_search(sentinels);
		} else {
			report(sentinels, "names a master that cannot be used");
			pause_search(sentinels);
		}
	} else if (is_believed(sentinels, address)) {
		try_candidate(sentinels, address);
	} else {
		endpoint_done(&sentinels->doubted);
		if (!endpoint_copy(&sentinels->doubted, address)) {
			sentinels->doubted = (struct endpoint){0};
		}
		sentinels->doubted_by = sentinels->asked;
		pause_search(sentinels);
	}
}

/* An array of a host and a port, both strings; nil where the name is not known. */
static bool read_name(const struct sentinels *sentinels, const struct redis_reply *reply,
		      struct endpoint *address, struct error *why)
{
	struct redis_reply host;
	struct redis_reply port;
	uint16_t number = 0;

	if (reply->kind == REDIS_REPLY_NIL) {
		return error_set(why, "knows no master of this name");
	}
	if (reply->kind != REDIS_REPLY_ARRAY) {
		redis_reply_explain(reply, why);
		error_prefix(why, "gives no name");
		return false;
	}
	if (reply->count != 2) {
		return error_set(why, "says what makes no sense");
	}
	redis_reply_element(reply, 0, &host);
	redis_reply_element(reply, 1, &port);
	if (host.kind != REDIS_REPLY_TEXT || port.kind != REDIS_REPLY_TEXT) {
		return error_set(why, "says what makes no sense");
	}
	if (!redis_port_read(port.text, port.length, &number) ||
	    !redis_host_endpoint(host.text, host.length, number,
				 &config_of(sentinels)->addresses[sentinels->asked], address)) {
		return error_set(why, "names what is no address");
	}
	return true;
}

static void on_name(struct redis_question *question, const struct redis_reply *reply)
{
	struct sentinels *sentinels = container_of(question, struct sentinels, question);
	struct endpoint address = {0};
	struct error why = {0};

	if (!read_name(sentinels, reply, &address, &why)) {
		report(sentinels, why.text);
		pause_search(sentinels);
		return;
	}
	handle_name(sentinels, &address);
	endpoint_done(&address);
}

/* Whose turn it is, or the next behind it that is there. */
static size_t choose(const struct sentinels *sentinels)
{
	for (size_t i = 0; i < sentinels->count; i++) {
		size_t index = (sentinels->next + i) % sentinels->count;

		if (redis_server_is_ready(sentinels->all[index].server)) {
			return index;
		}
	}
	return NOBODY;
}

/* None can be asked: as long as there is a master, and no news of it, that can wait. */
static void attempt_without(struct sentinels *sentinels)
{
	struct error why = {0};

	if (!sentinels->announced && is_ready(&sentinels->store)) {
		end_search(sentinels);
		return;
	}
	error_set(&why, "no sentinel can be asked");
	store_log_failure(&sentinels->store, NULL, &why);
	pause_search(sentinels);
}

static void attempt(struct sentinels *sentinels)
{
	const char *const words[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME",
				     config_of(sentinels)->master};
	const size_t lengths[] = {strlen(words[0]), strlen(words[1]), strlen(words[2])};
	size_t chosen = choose(sentinels);

	if (!sentinels->searching || sentinels->question.pending != NULL) {
		return;
	}
	sentinels->attempted_ms = timeouts_now_ms();
	if (chosen == NOBODY) {
		attempt_without(sentinels);
		return;
	}
	timeout_remove(&sentinels->timer);
	sentinels->asked = chosen;
	sentinels->next = (chosen + 1) % sentinels->count;
	redis_server_ask(sentinels->all[chosen].server, &sentinels->question,
			 &(struct redis_command){3, words, lengths}, on_name);
}

static void on_timer(struct timeout *timer)
{
	attempt(container_of(timer, struct sentinels, timer));
}

/* --- What the sentinels' connections say ---------------------------------------------------- */

static void on_sentinel_ready(struct redis_server *server, void *owner)
{
	struct sentinel *sentinel = owner;

	(void)server;
	if (sentinel->sentinels->candidate == NULL) {
		attempt(sentinel->sentinels);
	}
}

static void on_sentinel_lost(struct redis_server *server, void *owner, const char *why)
{
	(void)server;
	(void)owner;
	(void)why; /* the connection writes its own line, and what was asked has failed */
}

static const struct redis_server_events sentinel_events = {
	.ready = on_sentinel_ready,
	.lost = on_sentinel_lost,
};

static size_t index_of(const struct sentinel *sentinel)
{
	return (size_t)(sentinel - sentinel->sentinels->all);
}

/* What it announced before was not heard. */
static void on_listening(struct redis_watch *watch, void *owner)
{
	struct sentinel *sentinel = owner;

	(void)watch;
	if (sentinel->sentinels->current != NULL && !sentinel->sentinels->searching) {
		search(sentinel->sentinels, index_of(sentinel), false);
	}
}

static void on_deaf(struct redis_watch *watch, void *owner, const char *why)
{
	(void)watch;
	(void)owner;
	(void)why;
}

/* "+switch-master": the name, and the addresses before and after, which is asked for. */
static void on_announced(struct redis_watch *watch, void *owner, const char *channel,
			 const char *text)
{
	struct sentinel *sentinel = owner;
	const char *master = config_of(sentinel->sentinels)->master;
	size_t length = strlen(master);

	(void)watch;
	(void)channel;
	if (strncmp(text, master, length) == 0 && text[length] == ' ') {
		search(sentinel->sentinels, index_of(sentinel), true);
	}
}

static void on_no_change(struct redis_watch *watch, void *owner, const char *key, size_t length)
{
	(void)watch;
	(void)owner;
	(void)key;
	(void)length; /* no keys are watched */
}

static void on_no_flush(struct redis_watch *watch, void *owner)
{
	(void)watch;
	(void)owner;
}

static const struct redis_watch_events announcement_events = {
	.watching = on_listening,
	.blind = on_deaf,
	.changed = on_no_change,
	.flushed = on_no_flush,
	.told = on_announced,
};

/* --- The kind ------------------------------------------------------------------------------- */

static bool make_sentinel(struct sentinels *sentinels, size_t index)
{
	static const char *const channels[] = {"+switch-master"};
	const struct store_settings *settings = &sentinels->store.settings;
	struct sentinel *sentinel = &sentinels->all[index];
	struct redis_watch_settings watch = {
		.server =
			{
				.config = settings->config,
				.address = &settings->config->addresses[index],
				.login = REDIS_LOGIN_SENTINEL,
				.shared = settings->shared,
				.timeouts = settings->timeouts,
				.resolver = settings->resolver,
				.metrics = settings->metrics,
				.tls_client = settings->tls_client,
			},
		.channels = channels,
		.channel_count = array_length(channels),
		.events = &announcement_events,
		.owner = sentinel,
	};

	sentinel->sentinels = sentinels;
	sentinel->server = redis_server_new(&watch.server, &sentinel_events, sentinel);
	sentinel->watch = redis_watch_new(&watch);
	return sentinel->server != NULL && sentinel->watch != NULL;
}

static bool start(struct store *store)
{
	struct sentinels *sentinels = sentinels_of(store);
	size_t count = store->settings.config->address_count;

	timeout_list_init(&sentinels->timers, store->settings.timeouts, on_timer);
	sentinels->all = calloc(count, sizeof(*sentinels->all));
	if (sentinels->all == NULL) {
		return false;
	}
	sentinels->count = count;
	for (size_t i = 0; i < count; i++) {
		if (!make_sentinel(sentinels, i)) {
			return false;
		}
	}
	sentinels->searching = true;
	attempt_at(sentinels, timeouts_now_ms() + store->settings.config->timeout_ms);
	return true;
}

static void stop(struct store *store)
{
	struct sentinels *sentinels = sentinels_of(store);

	redis_cancel(&sentinels->question);
	for (size_t i = 0; i < sentinels->count; i++) {
		redis_watch_free(sentinels->all[i].watch);
		redis_server_free(sentinels->all[i].server);
	}
	free(sentinels->all);
	endpoint_done(&sentinels->doubted);
	timeout_remove(&sentinels->timer);
	if (sentinels->timers.owner != NULL) {
		timeout_list_done(&sentinels->timers);
	}
}

static struct store_node *route(struct store *store, size_t lane)
{
	(void)lane;
	return sentinels_of(store)->current;
}

/* Whoever waits need not wait longer than the shortest pause. */
static void want(struct store *store)
{
	struct sentinels *sentinels = sentinels_of(store);
	uint64_t soonest_ms = sentinels->attempted_ms + STORE_PAUSE_MIN_MS;

	if (sentinels->candidate == NULL && timeout_is_waiting(&sentinels->timer) &&
	    sentinels->timer.deadline_ms > soonest_ms) {
		attempt_at(sentinels, soonest_ms);
	}
}

static bool is_watching(const struct store *store)
{
	return store_node_is_watching(((const struct sentinels *)store)->current);
}

/* The master of before is lost, and only then is the next one there: whoever waits for an answer of
 * the one must not take it for one of the other. */
static void promote(struct sentinels *sentinels)
{
	struct store_node *before = sentinels->current;
	struct store_node *candidate = sentinels->candidate;
	char address[ENDPOINT_TEXT_MAX];

	sentinels->candidate = NULL;
	sentinels->current = NULL;
	endpoint_format(&candidate->address, address);
	if (before != NULL) {
		error_set(&sentinels->store.why, "the master is %s now", address);
		store_node_retire(before, sentinels->store.why.text);
		store_settle(&sentinels->store);
	}
	sentinels->current = candidate;
	end_search(sentinels);
}

static void node_ready(struct store *store, struct store_node *node)
{
	struct sentinels *sentinels = sentinels_of(store);

	if (node == sentinels->candidate) {
		promote(sentinels);
	} else if (node == sentinels->current && sentinels->searching && !sentinels->announced) {
		attempt(sentinels); /* whether it still is the master */
	}
}

static void node_lost(struct store *store, struct store_node *node)
{
	struct sentinels *sentinels = sentinels_of(store);

	if (node == sentinels->current) {
		search(sentinels, NOBODY, false);
	}
}

const struct store_kind store_sentinel = {
	.size = sizeof(struct sentinels),
	.lane_count = 1,
	.start = start,
	.stop = stop,
	.route = route,
	.want = want,
	.is_ready = is_ready,
	.is_watching = is_watching,
	.node_ready = node_ready,
	.node_lost = node_lost,
};
