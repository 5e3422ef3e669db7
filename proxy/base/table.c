/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear hashing. There are n buckets; with p the largest power of two below n, a hash belongs to
 * the bucket that its lower bits name among 2p, or, where that is not there yet, among p. So the
 * next bucket takes its items from one other, and from no more.
 */
#include "base/table.h"

#include <stdlib.h>

/* Buckets of the first segment; the others double what there is. */
#define FIRST_BUCKETS 16U

static uint32_t bucket_index(uint32_t bucket_count, uint64_t hash)
{
	uint32_t mask = UINT32_MAX >> __builtin_clz(bucket_count - 1);
	uint32_t index = (uint32_t)(hash >> 32) & mask;

	return index < bucket_count ? index : index & (mask >> 1);
}

static unsigned segment_of(uint32_t index)
{
	return index < FIRST_BUCKETS ? 0 : 32 - (unsigned)__builtin_clz(index / FIRST_BUCKETS);
}

static uint32_t segment_begin(unsigned segment)
{
	return segment == 0 ? 0 : FIRST_BUCKETS << (segment - 1);
}

static struct table_link **bucket_at(const struct table *table, uint32_t index)
{
	unsigned segment = segment_of(index);

	return &table->segments[segment][index - segment_begin(segment)];
}

static bool make_segment(struct table *table, unsigned segment)
{
	size_t size = segment == 0 ? FIRST_BUCKETS : segment_begin(segment);

	if (segment < TABLE_SEGMENTS && table->segments[segment] == NULL) {
		table->segments[segment] = calloc(size, sizeof(struct table_link *));
	}
	return segment < TABLE_SEGMENTS && table->segments[segment] != NULL;
}

/* One more bucket, which takes from one other what belongs to it. */
static void grow(struct table *table)
{
	uint32_t added = table->bucket_count;
	struct table_link **from = bucket_at(table, added - (1U << (31 - __builtin_clz(added))));
	struct table_link **to;

	if (!make_segment(table, segment_of(added))) {
		return;
	}
	table->bucket_count++;
	to = bucket_at(table, added);
	while (*from != NULL) {
		struct table_link *link = *from;

		if (bucket_index(table->bucket_count, table->hash(table, link)) == added) {
			*from = link->next;
			link->next = *to;
			*to = link;
		} else {
			from = &link->next;
		}
	}
}

struct table_link *table_chain(const struct table *table, uint64_t hash)
{
	if (table->bucket_count == 0) {
		return NULL;
	}
	return *bucket_at(table, bucket_index(table->bucket_count, hash));
}

bool table_add(struct table *table, struct table_link *link, uint64_t hash)
{
	struct table_link **bucket;

	if (table->bucket_count == 0) {
		if (!make_segment(table, 0)) {
			return false;
		}
		table->bucket_count = FIRST_BUCKETS;
	} else if (table->count >= table->bucket_count) {
		grow(table);
	}
	bucket = bucket_at(table, bucket_index(table->bucket_count, hash));
	link->next = *bucket;
	*bucket = link;
	table->count++;
	return true;
}

void table_remove(struct table *table, struct table_link *link, uint64_t hash)
{
	struct table_link **place = bucket_at(table, bucket_index(table->bucket_count, hash));

	while (*place != link) {
		invariant(*place != NULL);
		place = &(*place)->next;
	}
	*place = link->next;
	link->next = NULL;
	table->count--;
}

void table_done(struct table *table)
{
	for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
		free(table->segments[i]);
	}
	*table = (struct table){.hash = table->hash};
}
