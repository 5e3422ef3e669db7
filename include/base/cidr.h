/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks: an address and how many of its leading bits count (RFC 4632, RFC 4291 section 2.3).
 */
#ifndef GATEPOST_BASE_CIDR_H
#define GATEPOST_BASE_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* Longest text of a network with its NUL. */
#define CIDR_TEXT_MAX (ADDR_IP_TEXT_MAX + 4)

/* struct cidr: `address` has port 0 and no bit set behind the first `bits`. Its family is AF_UNIX,
 * with no bits, where it stands for every peer that comes by a Unix socket. */
struct cidr {
	struct addr address;
	uint8_t bits;
};

/* cidr_parse reads "10.0.0.0/8", "2001:db8::/32", a single address, or "unix". On failure `error`
 * says what would be right: also where a bit behind the prefix is set, since one of the two is then
 * a slip; and where an IPv6 network is of mapped IPv4 addresses, which count as IPv4. */
must_use bool cidr_parse(struct cidr *cidr, const char *text, struct error *error);

/* cidr_contains tells whether the address, its port apart, lies in one of `count` networks. An IPv4
 * network holds no IPv6 address, and the reverse. */
bool cidr_contains(const struct cidr *networks, size_t count, const struct addr *addr);

/* cidr_format writes it as cidr_parse reads it; a single address without its bits. */
void cidr_format(const struct cidr *cidr, char text[CIDR_TEXT_MAX]);

#endif
