/* SPDX-License-Identifier: Apache-2.0
 *
 * The check of routing.lookup: a Redis command that only reads and that asks for somebody.
 */
#ifndef GATEPOST_CORE_CONFIG_LOOKUP_INTERNAL_H
#define GATEPOST_CORE_CONFIG_LOOKUP_INTERNAL_H

#include <stdbool.h>

#include "base/base.h"
#include "base/error.h"

/* config_lookup_check tells whether `text` is words separated by single spaces: a command that
 * answers one string or nil, with as many arguments as it takes, of which one has a placeholder. */
must_use bool config_lookup_check(const char *text, struct error *error);

/* config_lookup_is_of_user tells whether such a command is `GET KEY` with a key that is each user's
 * own, so that what is written there is this user's route and nobody else's. */
bool config_lookup_is_of_user(const char *text);

#endif
