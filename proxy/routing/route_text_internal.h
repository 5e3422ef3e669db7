/* SPDX-License-Identifier: Apache-2.0
 *
 * What Redis said of users, each text once: a million users of three backends share three texts.
 * While a text is referenced there is no other with the same bytes, so two are equal when their
 * pointers are. Any thread may make, share and release texts.
 */
#ifndef GATEPOST_ROUTING_ROUTE_TEXT_INTERNAL_H
#define GATEPOST_ROUTING_ROUTE_TEXT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/hash.h"
#include "base/table.h"
#include "route_value_internal.h"

/* Bytes of a text; of a longer one only the beginning is kept. No route is as long as that, and so
 * this one stays none. */
#define ROUTE_TEXT_MAX (ROUTE_VALUE_MAX + 1)

/* struct route_text: `length` and `bytes`, which have no NUL at their end, never change. */
struct route_text {
	struct table_link link;
	atomic_uint references;
	uint32_t length;
	char bytes[];
};

struct route_texts {
	pthread_mutex_t lock;
	struct table table;
	struct hash_key key;
};

/* route_texts_init makes an empty table; `key` is random, since Redis may hold what users write. */
void route_texts_init(struct route_texts *texts, const struct hash_key *key);

/* route_texts_done: no text is referenced any more. */
void route_texts_done(struct route_texts *texts);

/* route_text_make finds or makes the text, and gives the caller one reference. NULL when memory ran
 * out. */
must_use struct route_text *route_text_make(struct route_texts *texts, const void *bytes,
					    size_t length);

/* route_text_ref shares a text of which the caller has, or borrows, a reference. NULL stays NULL.
 */
struct route_text *route_text_ref(struct route_text *text);

/* route_text_unref gives a reference back. NULL is fine. */
void route_text_unref(struct route_texts *texts, struct route_text *text);

#endif
