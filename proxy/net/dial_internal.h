/* SPDX-License-Identifier: Apache-2.0
 *
 * The order in which addresses are tried. Shared by dial.c and its test only.
 */
#ifndef GATEPOST_NET_DIAL_INTERNAL_H
#define GATEPOST_NET_DIAL_INTERNAL_H

#include <stddef.h>

#include "base/addr.h"

/* dial_alternate writes `count` IPv4 and IPv6 addresses to `to`, the families in turn for as long
 * as there are both, IPv6 first, each in its own order (RFC 8305 section 4). */
void dial_alternate(struct addr *to, const struct addr *from, size_t count);

#endif
