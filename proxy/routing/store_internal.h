/* SPDX-License-Identifier: Apache-2.0
 *
 * Redis as the directory needs it, whatever stands behind its URL: one server, the master that
 * sentinels name, or the masters of a cluster. Questions are answered within redis.timeout; changes
 * of keys are told, and so is every time in which some may have been missed.
 *
 * All of it on one thread. Reads go to masters only.
 */
#ifndef GATEPOST_ROUTING_STORE_INTERNAL_H
#define GATEPOST_ROUTING_STORE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "redis_reply_internal.h"

struct config_redis;
struct metrics;
struct resolver;
struct store;
struct store_question;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Questions asked and not yet answered; one more is refused at once. */
#define STORE_IN_FLIGHT_MAX 4096

/* struct store_events is how a store speaks to its owner; none of them may free it. */
struct store_events {
	/* Questions are answered from now on: the first time, and again after `lost`. Of a cluster:
	 * all slots have a master that can be asked. */
	void (*ready)(void *owner);
	/* Questions that were sent have failed, and those asked now wait for `ready`, no longer
	 * than redis.timeout; `why` is a sentence. A failover is one too. */
	void (*lost)(void *owner, const char *why);
	/* Every change from now on is told, on all servers. Comes after `ready`, and again after
	 * `blind`. What changed before may have been missed. */
	void (*watching)(void *owner);
	/* Changes may be missed until `watching`. */
	void (*blind)(void *owner);
	/* The key was written, deleted, or has expired. */
	void (*changed)(void *owner, const char *key, size_t length);
	/* Every key may have changed (FLUSHALL, or more than can be told). */
	void (*flushed)(void *owner);
};

/* What a store is made of; all borrowed and outlives it. `prefixes` are those of the keys whose
 * changes are told; one may begin another, or be "", which is all keys. */
struct store_settings {
	const struct config_redis *config;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct tls_client *tls_client; /* NULL without TLS */
	const char *const *prefixes;
	size_t prefix_count;
	const struct store_events *events;
	void *owner;
};

/* store_new begins to connect. NULL when memory ran out. */
must_use struct store *store_new(const struct store_settings *settings);

/* The reply is borrowed for the call, and is of kind FAILED where there was none. */
typedef void store_callback_t(struct store_question *question, const struct redis_reply *reply);

/* struct store_question is embedded in the asker; zero is "nothing asked". */
struct store_question {
	struct store_pending *pending; /* NULL when nothing is being asked */
	store_callback_t *callback;
};

/* store_ask sends one command. `key` is the word of it that is its key (of a cluster: which server
 * is asked; of all others it does not matter). Answers once through `callback` unless cancelled,
 * perhaps before it returns. Questions about one key are carried out in the order in which they
 * were asked. */
void store_ask(struct store *store, struct store_question *question,
	       const struct redis_command *command, size_t key, store_callback_t *callback);

/* store_is_cluster: two questions about different keys have no order, and no script may have both.
 */
bool store_is_cluster(const struct store *store);

/* store_is_ready and store_is_watching repeat what the events said last. */
bool store_is_ready(const struct store *store);
bool store_is_watching(const struct store *store);

/* store_cancel: the callback will not be called. */
void store_cancel(struct store_question *question);

/* store_free closes everything; no question may be waiting, and not from an event. NULL is fine. */
void store_free(struct store *store);

#endif
