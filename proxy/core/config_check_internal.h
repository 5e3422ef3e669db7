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

/* check_place is where an option stands in the `index`th table of an array; where it is not
 * written, the place of the table. */
struct config_place check_place(const struct toml_node *array, size_t index, const char *key);

/* check_is_said tells whether an option is written there, and not as "" or []. One that is a fault
 * itself, and has its default in the config, counts. */
bool check_is_said(const struct toml_node *array, size_t index, const char *key);

/* check_is_word tells whether an option is written there as this word. */
bool check_is_word(const struct toml_node *array, size_t index, const char *key, const char *word);

void check_backends(struct checking *checking);

#endif
