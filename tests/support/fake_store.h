/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the store of the house in a test that includes it: a small Redis whose questions
 * are carried out, answered, and whose changes are told, when the test says so and in the order
 * that it wants. It defines store_new and its kin, so only one file of a program may include it.
 */
#ifndef GATEPOST_TESTS_FAKE_STORE_H
#define GATEPOST_TESTS_FAKE_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include <cmocka.h>

#include "../../proxy/routing/directory_scripts_internal.h"
#include "../../proxy/routing/store_internal.h"
#include "base/text.h"

/* struct fake_entry is a string, or a field of a hash. */
struct fake_entry {
	struct fake_entry *prev;
	struct fake_entry *next;
	char *key;
	char *field; /* "" of a string */
	char *value;
};

struct fake_news {
	struct fake_news *prev;
	struct fake_news *next;
	char *key;
};

struct store_pending {
	struct store_pending *prev;
	struct store_pending *next;
	struct store_question *question; /* NULL: cancelled */
	char *words[32];
	size_t count;
	bool executed;
	struct redis_reply reply;
	char *text; /* of the reply */
};

struct store {
	struct store_settings settings;
	struct store_pending *asked;
	struct fake_entry *entries;
	struct fake_news *news; /* changes that were not told yet */
	unsigned asks;
	unsigned confirmations;
	bool cluster;
	bool ready;
	bool watching;
	bool refuses; /* questions fail while they are asked */
	/* Called when a confirmation is carried out, for who wants to look around then. */
	void (*confirming)(const char *user);
};

static struct store *fake;

/* What the next store that is made is like. */
static bool fake_is_cluster;

/* --- Data ------------------------------------------------------------------------------------- */

static inline struct fake_entry *fake_find(const char *key, const char *field)
{
	struct fake_entry *entry;

	DL_FOREACH(fake->entries, entry)
	{
		if (strcmp(entry->key, key) == 0 && strcmp(entry->field, field) == 0) {
			return entry;
		}
	}
	return NULL;
}

static inline const char *fake_get(const char *key, const char *field)
{
	struct fake_entry *entry = fake_find(key, field);

	return entry != NULL ? entry->value : NULL;
}

static inline bool fake_is_watched(const char *key)
{
	for (size_t i = 0; i < fake->settings.prefix_count; i++) {
		if (strncmp(key, fake->settings.prefixes[i], strlen(fake->settings.prefixes[i])) ==
		    0) {
			return fake->watching;
		}
	}
	return false;
}

static inline void fake_note(const char *key)
{
	struct fake_news *news;

	if (!fake_is_watched(key)) {
		return;
	}
	news = calloc(1, sizeof(*news));
	news->key = strdup(key);
	DL_APPEND(fake->news, news);
}

static inline void fake_remove(struct fake_entry *entry)
{
	DL_DELETE(fake->entries, entry);
	free(entry->key);
	free(entry->field);
	free(entry->value);
	free(entry);
}

static inline void fake_put(const char *key, const char *field, const char *value)
{
	struct fake_entry *entry = fake_find(key, field);

	if (entry == NULL) {
		entry = calloc(1, sizeof(*entry));
		entry->key = strdup(key);
		entry->field = strdup(field);
		DL_APPEND(fake->entries, entry);
	}
	free(entry->value);
	entry->value = strdup(value);
	fake_note(key);
}

/* fake_set writes a string, fake_delete deletes a key; what follows is told by fake_tell. */
static inline void fake_set(const char *key, const char *value)
{
	fake_put(key, "", value);
}

static inline void fake_delete(const char *key)
{
	struct fake_entry *entry;
	struct fake_entry *next;
	bool found = false;

	DL_FOREACH_SAFE(fake->entries, entry, next)
	{
		if (strcmp(entry->key, key) == 0) {
			fake_remove(entry);
			found = true;
		}
	}
	if (found) {
		fake_note(key);
	}
}

static inline void fake_flush(void)
{
	while (fake->entries != NULL) {
		fake_remove(fake->entries);
	}
}

/* --- Carrying out ----------------------------------------------------------------------------- */

static inline void fake_reply_text(struct store_pending *pending, enum redis_reply_kind kind,
				   const char *text)
{
	free(pending->text);
	pending->text = strdup(text != NULL ? text : "");
	pending->reply = (struct redis_reply){
		.kind = text != NULL ? kind : REDIS_REPLY_NIL,
		.text = pending->text,
		.length = strlen(pending->text),
	};
}

static inline void fake_reply_number(struct store_pending *pending, int64_t number)
{
	pending->reply = (struct redis_reply){.kind = REDIS_REPLY_NUMBER, .number = number};
}

static inline bool fake_same(const char *left, const char *right)
{
	return left != NULL && strcmp(left, right) == 0;
}

static inline int64_t fake_confirm(char **words)
{
	if (!fake_same(fake_get(words[3], ""), words[6])) {
		return 0;
	}
	if (!fake_same(fake_get(words[5], "incarnation"), words[8])) {
		return -1;
	}
	if (fake->confirming != NULL) {
		fake->confirming(words[3] + strlen("gatepost:hold:"));
	}
	fake->confirmations++;
	fake_put(words[4], words[7], words[6]);
	return 1;
}

static inline int64_t fake_register(struct store_pending *pending)
{
	char **words = pending->words;
	const char *owner = fake_get(words[3], "incarnation");

	if (owner != NULL && strcmp(owner, words[4]) != 0 && strcmp(words[5], "keep") == 0) {
		return 0;
	}
	for (size_t i = 6; i + 1 < pending->count; i += 2) {
		fake_put(words[3], words[i], words[i + 1]);
	}
	return 1;
}

static inline int64_t fake_retire(char **words)
{
	if (!fake_same(fake_get(words[3], "incarnation"), words[4])) {
		return 0;
	}
	fake_delete(words[3]);
	return 1;
}

static inline int64_t fake_exchange(char **words)
{
	if (!fake_same(fake_get(words[3], ""), words[4])) {
		return 0;
	}
	fake_set(words[3], words[5]);
	return 1;
}

static inline void fake_evaluate(struct store_pending *pending)
{
	char **words = pending->words;

	if (strcmp(words[1], SCRIPT_CONFIRM) == 0) {
		fake_reply_number(pending, fake_confirm(words));
	} else if (strcmp(words[1], SCRIPT_REGISTER) == 0) {
		fake_reply_number(pending, fake_register(pending));
	} else if (strcmp(words[1], SCRIPT_RETIRE) == 0) {
		fake_reply_number(pending, fake_retire(words));
	} else {
		assert_string_equal(words[1], SCRIPT_EXCHANGE);
		fake_reply_number(pending, fake_exchange(words));
	}
}

static inline void fake_set_once(struct store_pending *pending)
{
	char **words = pending->words;
	bool there = fake_get(words[1], "") != NULL;

	assert_string_equal(words[0], "SET");
	assert_string_equal(words[3], "NX");
	if (!there) {
		fake_set(words[1], words[2]);
	}
	fake_reply_text(pending, REDIS_REPLY_STATUS, there ? NULL : "OK");
}

static inline void fake_execute(struct store_pending *pending)
{
	char **words = pending->words;

	if (pending->executed) {
		return;
	}
	pending->executed = true;
	if (strcmp(words[0], "GET") == 0) {
		fake_reply_text(pending, REDIS_REPLY_TEXT, fake_get(words[1], ""));
	} else if (strcmp(words[0], "HGET") == 0) {
		fake_reply_text(pending, REDIS_REPLY_TEXT, fake_get(words[1], words[2]));
	} else if (strcmp(words[0], "EVAL") == 0) {
		fake_evaluate(pending);
	} else if (strcmp(words[0], "SET") == 0 && pending->count == 3) {
		fake_set(words[1], words[2]);
		fake_reply_text(pending, REDIS_REPLY_STATUS, "OK");
	} else {
		fake_set_once(pending);
	}
}

/* fake_run carries out all that was asked, without answering. */
static inline void fake_run(void)
{
	struct store_pending *pending;

	DL_FOREACH(fake->asked, pending)
	{
		fake_execute(pending);
	}
}

/* --- Answering -------------------------------------------------------------------------------- */

static inline void fake_drop(struct store_pending *pending)
{
	for (size_t i = 0; i < pending->count; i++) {
		free(pending->words[i]);
	}
	free(pending->text);
	free(pending);
}

/* fake_answer answers the question that was asked first, as it was carried out. False where there
 * is none. */
static inline bool fake_answer(void)
{
	struct store_pending *pending = fake->asked;
	struct store_question *question;

	if (pending == NULL) {
		return false;
	}
	fake_execute(pending);
	DL_DELETE(fake->asked, pending);
	question = pending->question;
	if (question != NULL) {
		question->pending = NULL;
		question->callback(question, &pending->reply);
	}
	fake_drop(pending);
	return true;
}

/* fake_say makes the reply to the first question something else. */
static inline void fake_say(enum redis_reply_kind kind, const char *text)
{
	assert_non_null(fake->asked);
	fake->asked->executed = true;
	fake_reply_text(fake->asked, kind, text);
}

static inline void fake_fail_all(const char *why)
{
	struct store_pending *last = fake->asked != NULL ? fake->asked->prev : NULL;
	bool more = last != NULL;

	while (more) {
		more = fake->asked != last;
		fake_say(REDIS_REPLY_FAILED, why);
		fake_answer();
	}
}

/* fake_tell tells the change that happened first; false where there is none. */
static inline bool fake_tell(void)
{
	struct fake_news *news = fake->news;

	if (news == NULL) {
		return false;
	}
	DL_DELETE(fake->news, news);
	fake->settings.events->changed(fake->settings.owner, news->key, strlen(news->key));
	free(news->key);
	free(news);
	return true;
}

static inline void fake_forget_news(void)
{
	while (fake->news != NULL) {
		struct fake_news *news = fake->news;

		DL_DELETE(fake->news, news);
		free(news->key);
		free(news);
	}
}

/* fake_settle carries out, answers and tells until nothing is left. */
static inline void fake_settle(void)
{
	while (fake_tell() || fake_answer()) {
	}
}

/* --- The connection --------------------------------------------------------------------------- */

static inline void fake_become_ready(void)
{
	fake->ready = true;
	fake->settings.events->ready(fake->settings.owner);
}

static inline void fake_become_watching(void)
{
	fake->watching = true;
	fake->settings.events->watching(fake->settings.owner);
}

static inline void fake_become_blind(void)
{
	fake->watching = false;
	fake_forget_news();
	fake->settings.events->blind(fake->settings.owner);
}

static inline void fake_lose(const char *why)
{
	fake->ready = false;
	fake->settings.events->lost(fake->settings.owner, why);
	fake_fail_all(why);
}

/* --- What the house calls --------------------------------------------------------------------- */

struct store *store_new(const struct store_settings *settings)
{
	fake = calloc(1, sizeof(*fake));
	fake->settings = *settings;
	fake->cluster = fake_is_cluster;
	return fake;
}

void store_ask(struct store *store, struct store_question *question,
	       const struct redis_command *command, size_t key, store_callback_t *callback)
{
	struct store_pending *pending = calloc(1, sizeof(*pending));

	assert_null(question->pending);
	assert_true(key > 0 && key < command->word_count);
	store->asks++;
	question->callback = callback;
	for (size_t i = 0; i < command->word_count; i++) {
		pending->words[i] = strndup(command->words[i], command->lengths[i]);
	}
	pending->count = command->word_count;
	if (!store->ready || store->refuses) {
		struct redis_reply reply = {.kind = REDIS_REPLY_FAILED, .text = "not connected"};

		fake_drop(pending);
		question->callback(question, &reply);
		return;
	}
	pending->question = question;
	question->pending = pending;
	DL_APPEND(store->asked, pending);
}

bool store_is_cluster(const struct store *store)
{
	return store->cluster;
}

bool store_is_ready(const struct store *store)
{
	return store->ready;
}

bool store_is_watching(const struct store *store)
{
	return store->watching;
}

void store_cancel(struct store_question *question)
{
	if (question->pending != NULL) {
		question->pending->question = NULL;
		question->pending = NULL;
	}
}

void store_free(struct store *store)
{
	if (store == NULL) {
		return;
	}
	while (store->asked != NULL) {
		struct store_pending *pending = store->asked;

		assert_null(pending->question);
		DL_DELETE(store->asked, pending);
		fake_drop(pending);
	}
	fake_forget_news();
	fake_flush();
	free(store);
	fake = NULL;
}

#endif
