/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom a client counts as where clients are counted, so that none can be many.
 */
#ifndef GATEPOST_ROUTING_CLIENT_KEY_INTERNAL_H
#define GATEPOST_ROUTING_CLIENT_KEY_INTERNAL_H

#include <stdint.h>

struct addr;

/* client_key is the IPv4 address, or the first 64 bits of the IPv6 address, which are one
 * customer's. All that come by Unix sockets are one. */
uint64_t client_key(const struct addr *client);

#endif
