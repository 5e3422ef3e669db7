/* SPDX-License-Identifier: Apache-2.0
 *
 * The language of a connection that listens: what asks for changes of keys and for channels, and
 * the shapes of what comes then. Pure; what a server sends is not trusted.
 */
#ifndef GATEPOST_ROUTING_REDIS_NEWS_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_NEWS_INTERNAL_H

#include "redis_internal.h"

/* Where Redis tells changed keys to who speaks RESP 2. */
#define REDIS_INVALIDATIONS "__redis__:invalidate"

/* redis_news_write_tracking appends CLIENT TRACKING in broadcasting mode, redirected to the
 * connection `id`. Of prefixes of which one begins with the other, Redis takes but one: the shorter
 * tells all of the longer. out->failed when memory ran out. */
void redis_news_write_tracking(struct buffer *out, const char *const *prefixes, size_t count,
			       int64_t id);

/* redis_news_write_subscribe appends SUBSCRIBE to the channels, and to `further` if not NULL. */
void redis_news_write_subscribe(struct buffer *out, const char *const *channels, size_t count,
				const char *further);

enum redis_news_kind {
	REDIS_NEWS_OTHER, /* nothing that may come */
	REDIS_NEWS_PONG,
	REDIS_NEWS_SUBSCRIBED,
	REDIS_NEWS_MESSAGE, /* `channel`, which is a text, and `body` */
};

/* struct redis_news is borrowed from the reply that it was read from. */
struct redis_news {
	enum redis_news_kind kind;
	struct redis_reply channel;
	struct redis_reply body;
};

void redis_news_read(struct redis_news *news, const struct redis_reply *reply);

/* redis_news_is_of tells whether it is a message of the channel. */
bool redis_news_is_of(const struct redis_news *news, const char *channel);

#endif
