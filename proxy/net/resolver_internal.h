/* SPDX-License-Identifier: Apache-2.0
 *
 * What the questions of a resolver share. Shared by resolver*.c only.
 */
#ifndef GATEPOST_NET_RESOLVER_INTERNAL_H
#define GATEPOST_NET_RESOLVER_INTERNAL_H

struct ares_channeldata;
struct resolver;

struct ares_channeldata *resolver_channel(struct resolver *resolver);

/* resolver_set_timer follows everything that may have changed what c-ares waits for. */
void resolver_set_timer(struct resolver *resolver);

/* resolver_clamp_ttl brings seconds between RESOLVER_TTL_MIN and RESOLVER_TTL_MAX. */
int resolver_clamp_ttl(int ttl);

#endif
