/* SPDX-License-Identifier: Apache-2.0
 *
 * How a configuration comes to be: defaults, then the tree read into it, then what no single
 * option can be blamed for.
 */
#ifndef GATEPOST_CORE_CONFIG_INTERNAL_H
#define GATEPOST_CORE_CONFIG_INTERNAL_H

#include <stddef.h>

#include "base/base.h"
#include "core/config.h"
#include "fault_internal.h"
#include "toml_internal.h"

/* config_read fills `config` from the tree, defaults first. Its arrays are as long as those of the
 * tree, faulty or not, so that config_check finds the place of each entry. */
void config_read(struct config *config, const struct toml_node *root, struct faults *faults);

/* config_read_users reads [routing.users]; backends and [routing] must have been read. */
void config_read_users(struct config *config, const struct toml_node *root, struct faults *faults);

/* config_read_names finds the backends that options of [routing] name; backends must have been
 * read. */
void config_read_names(struct config *config, const struct toml_node *root, struct faults *faults);

/* config_check finds faults between options: needed sections, one address twice, one name twice. */
void config_check(const struct config *config, const struct toml_node *root, struct faults *faults);

/* config_child finds a child of a table by its key; NULL where there is none, or no table. */
const struct toml_node *config_child(const struct toml_node *table, const char *key);

/* config_kind_name: "a string", "a table" and so on. */
const char *config_kind_name(enum toml_kind kind);

#endif
