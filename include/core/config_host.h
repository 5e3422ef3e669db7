/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a host is one of those that a list of the configuration allows.
 */
#ifndef GATEPOST_CORE_CONFIG_HOST_H
#define GATEPOST_CORE_CONFIG_HOST_H

#include <stdbool.h>

struct config_hosts;
struct endpoint;

/* config_host_allows looks at a host name by the names, and at an address by the networks, IPv4
 * written as IPv6 as IPv4; a name is never resolved for it. Unix sockets are not allowed. An empty
 * list allows no host: where it shall mean "any", the caller says so. */
bool config_host_allows(const struct config_hosts *hosts, const struct endpoint *endpoint);

#endif
