/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table of things that embed their link. It grows by one bucket with every item added
 * (linear hashing), so no single call is ever long, and a million items cost their buckets once.
 * Whoever uses it walks a chain and compares; keys that a peer can choose need a keyed hash.
 */
#ifndef GATEPOST_BASE_TABLE_H
#define GATEPOST_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Segments of buckets, each as large as all before it together. */
#define TABLE_SEGMENTS 27

struct table;

/* struct table_link is embedded in the item; `next` is of the same chain. */
struct table_link {
	struct table_link *next;
};

/* The hash of an item that lies in the table: the one that it was added with. */
typedef uint64_t table_hash_t(const struct table *table, const struct table_link *link);

/* struct table: zero with `hash` is an empty one. Only the upper half of a hash is looked at, so
 * that the lower may choose among tables. */
struct table {
	table_hash_t *hash;
	struct table_link **segments[TABLE_SEGMENTS];
	uint32_t bucket_count;
	uint32_t count; /* items */
};

/* table_chain begins the chain in which all items of this hash are, among others; NULL when empty.
 */
struct table_link *table_chain(const struct table *table, uint64_t hash);

/* table_add puts an item in that lies in no table. False when memory ran out, which only the first
 * item can meet: later ones make do with the buckets that there are. */
must_use bool table_add(struct table *table, struct table_link *link, uint64_t hash);

/* table_remove takes an item out that lies in the table. */
void table_remove(struct table *table, struct table_link *link, uint64_t hash);

/* table_done frees the buckets, not the items, and leaves an empty table. */
void table_done(struct table *table);

#endif
