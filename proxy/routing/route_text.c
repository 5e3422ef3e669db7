/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts that exist once. The last reference is given back under the lock, under which texts are
 * found too: nobody finds one that is about to be freed.
 */
#include "route_text_internal.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of_link(const struct table *table, const struct table_link *link)
{
	const struct route_texts *texts = container_of(table, struct route_texts, table);
	const struct route_text *text = container_of(link, struct route_text, link);

	return hash_bytes(&texts->key, text->bytes, text->length);
}

void route_texts_init(struct route_texts *texts, const struct hash_key *key)
{
	*texts = (struct route_texts){.table.hash = hash_of_link, .key = *key};
	pthread_mutex_init(&texts->lock, NULL);
}

void route_texts_done(struct route_texts *texts)
{
	invariant(texts->table.count == 0);
	table_done(&texts->table);
	pthread_mutex_destroy(&texts->lock);
}

static struct route_text *find(struct route_texts *texts, const void *bytes, size_t length,
			       uint64_t hash)
{
	for (struct table_link *link = table_chain(&texts->table, hash); link != NULL;
	     link = link->next) {
		struct route_text *text = container_of(link, struct route_text, link);

		if (text->length == length && memcmp(text->bytes, bytes, length) == 0) {
			return text;
		}
	}
	return NULL;
}

static struct route_text *add(struct route_texts *texts, const void *bytes, size_t length,
			      uint64_t hash)
{
	struct route_text *text = malloc(sizeof(*text) + length);

	if (text == NULL || !table_add(&texts->table, &text->link, hash)) {
		free(text);
		return NULL;
	}
	atomic_init(&text->references, 1);
	text->length = (uint32_t)length;
	memcpy(text->bytes, bytes, length);
	return text;
}

struct route_text *route_text_make(struct route_texts *texts, const void *bytes, size_t length)
{
	size_t kept = length < ROUTE_TEXT_MAX ? length : ROUTE_TEXT_MAX;
	uint64_t hash = hash_bytes(&texts->key, bytes, kept);
	struct route_text *text;

	pthread_mutex_lock(&texts->lock);
	text = find(texts, bytes, kept, hash);
	if (text != NULL) {
		route_text_ref(text);
	} else {
		text = add(texts, bytes, kept, hash);
	}
	pthread_mutex_unlock(&texts->lock);
	return text;
}

struct route_text *route_text_ref(struct route_text *text)
{
	if (text != NULL) {
		atomic_fetch_add_explicit(&text->references, 1, memory_order_relaxed);
	}
	return text;
}

/* True when a reference was given back that was not the last one. */
static bool give_back_shared(struct route_text *text)
{
	unsigned references = atomic_load_explicit(&text->references, memory_order_relaxed);

	while (references > 1) {
		if (atomic_compare_exchange_weak_explicit(&text->references, &references,
							  references - 1, memory_order_release,
							  memory_order_relaxed)) {
			return true;
		}
	}
	return false;
}

void route_text_unref(struct route_texts *texts, struct route_text *text)
{
	bool last;

	if (text == NULL || give_back_shared(text)) {
		return;
	}
	pthread_mutex_lock(&texts->lock);
	last = atomic_fetch_sub_explicit(&text->references, 1, memory_order_acq_rel) == 1;
	if (last) {
		table_remove(&texts->table, &text->link,
			     hash_bytes(&texts->key, text->bytes, text->length));
	}
	pthread_mutex_unlock(&texts->lock);
	if (last) {
		free(text);
	}
}
