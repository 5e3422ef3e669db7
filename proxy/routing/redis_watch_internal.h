/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that listens to one server: to changes of keys, by CLIENT TRACKING in broadcasting
 * mode with the connection redirected to itself (Redis 6 and later, RESP 2, so hiredis of any
 * version reads it), and to channels. A PING whenever it was silent for REDIS_WATCH_PING_MS makes
 * sure that it still hears.
 */
#ifndef GATEPOST_ROUTING_REDIS_WATCH_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_WATCH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "redis_server_internal.h"

#define REDIS_WATCH_PING_MS 1000

/* Keys of one message, and its bytes; a larger one ends the connection, as a gap does. */
#define REDIS_WATCH_KEYS_MAX  65536
#define REDIS_WATCH_BYTES_MAX (8 << 20)

struct redis_watch;

struct redis_watch_events {
	/* All is subscribed: what happens from now on is told. */
	void (*watching)(struct redis_watch *watch, void *owner);
	/* The connection is lost: what happens is not told until `watching`. */
	void (*blind)(struct redis_watch *watch, void *owner, const char *why);
	void (*changed)(struct redis_watch *watch, void *owner, const char *key, size_t length);
	void (*flushed)(struct redis_watch *watch, void *owner);
	/* A message on one of `channels`. */
	void (*told)(struct redis_watch *watch, void *owner, const char *channel, const char *text);
};

/* struct redis_watch_settings: `prefixes` of keys (prefix_count 0: no key is watched) and
 * `channels` to subscribe to; borrowed, and outlive the watch, as all else. */
struct redis_watch_settings {
	struct redis_settings server;
	const char *const *prefixes;
	size_t prefix_count;
	const char *const *channels;
	size_t channel_count;
	const struct redis_watch_events *events;
	void *owner;
};

must_use struct redis_watch *redis_watch_new(const struct redis_watch_settings *settings);
bool redis_watch_is_watching(const struct redis_watch *watch);
void redis_watch_fail(struct redis_watch *watch, const char *why);

/* redis_watch_free: not from within an event. NULL is fine. */
void redis_watch_free(struct redis_watch *watch);

#endif
