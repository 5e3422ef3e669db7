/* SPDX-License-Identifier: Apache-2.0
 *
 * User names as the configuration has them: what counts as one name, and who is listed there.
 */
#ifndef GATEPOST_CORE_CONFIG_USER_H
#define GATEPOST_CORE_CONFIG_USER_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct config_routing;

/* config_normalise_user writes the key of a user name into `size` bytes: A-Z folded and the default
 * domain added, as configured. False when the result is empty or does not fit; CONFIG_USER_MAX + 1
 * bytes hold every name that [routing.users] may have. */
bool config_normalise_user(const struct config_routing *routing, const char *user, char *key,
			   size_t size);

/* config_find_user gives the index of the backend that [routing.users] names for a normalised
 * user; backend_count when it names none. */
size_t config_find_user(const struct config *config, const char *key);

#endif
