/* SPDX-License-Identifier: Apache-2.0
 *
 * What the checks between options share.
 */
#ifndef GATEPOST_CORE_CONFIG_CHECK_INTERNAL_H
#define GATEPOST_CORE_CONFIG_CHECK_INTERNAL_H

#include <stdbool.h>

#include "config_internal.h"

/* struct checking is what the checks hand down. */
struct checking {
	const struct config *config;
	const struct toml_node *root;
	struct faults *faults;
};

/* check_entry is the `index`th table of an array. */
const struct toml_node *check_entry(const struct toml_node *array, size_t index);

/* check_place is where an option of the table stands; where it is not written, the place of the
 * table; where there is none, the top of the file. */
struct config_place check_place(const struct toml_node *table, const char *key);

/* check_is_said tells whether an option is written there, and not as "" or []. One that is a fault
 * itself, and has its default in the config, counts. */
bool check_is_said(const struct toml_node *table, const char *key);

/* check_is_word tells whether an option is written there as this word. check_may_be tells whether
 * it is written as one of these words, single spaces between, or not at all: what is a fault itself
 * may have been meant as any other. */
bool check_is_word(const struct toml_node *table, const char *key, const char *word);
bool check_may_be(const struct toml_node *table, const char *key, const char *words);

/* check_pair finds fault with one of two options that stands without the other. */
void check_pair(struct checking *checking, const struct toml_node *table, const char *first,
		const char *second);

/* check_no_tls finds fault with options of TLS, of which `verify` is one, where there is none;
 * `where` and `remedy` are parts of the sentence. */
void check_no_tls(struct checking *checking, const struct toml_node *table, bool verify,
		  const char *where, const char *remedy);

void check_backends(struct checking *checking);
void check_redis(struct checking *checking);
void check_routing(struct checking *checking);
void check_health(struct checking *checking);

#endif
