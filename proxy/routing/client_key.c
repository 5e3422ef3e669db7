/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses as numbers. IPv4 addresses lie where IPv6 has no networks (::/32).
 */
#include "client_key_internal.h"

#include <endian.h>
#include <string.h>

#include "base/addr.h"

uint64_t client_key(const struct addr *client)
{
	uint64_t network;

	switch (client->family) {
	case AF_INET:
		return ntohl(client->v4.sin_addr.s_addr);
	case AF_INET6:
		memcpy(&network, &client->v6.sin6_addr, sizeof(network));
		return be64toh(network);
	default:
		return UINT64_MAX;
	}
}
