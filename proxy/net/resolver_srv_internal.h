/* SPDX-License-Identifier: Apache-2.0
 *
 * A DNS message (RFC 1035) as the answer to a question for SRV records (RFC 2782), from a server
 * that may be hostile. Pure; shared by resolver_service.c and its tests.
 */
#ifndef GATEPOST_NET_RESOLVER_SRV_INTERNAL_H
#define GATEPOST_NET_RESOLVER_SRV_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "net/resolver.h"

/* Aliases (CNAME) from the name that was asked for to that of the records. */
#define RESOLVER_SRV_ALIASES_MAX 8

/* struct resolver_srv: `services` point into `hosts`, and are sorted by priority; those of one
 * priority are in the order of the message. `ttl` is the smallest of all that led to them, 0 where
 * it is nonsense (RFC 2181 section 8). */
struct resolver_srv {
	uint32_t ttl;
	size_t count;
	struct resolver_service services[RESOLVER_SERVICES_MAX];
	char hosts[RESOLVER_SERVICES_MAX][ENDPOINT_HOST_MAX + 1];
};

enum resolver_srv_verdict {
	RESOLVER_SRV_FOUND,
	RESOLVER_SRV_NONE,  /* the one target is ".": there is no such service */
	RESOLVER_SRV_EMPTY, /* no record that one could connect to */
	RESOLVER_SRV_MALFORMED,
};

/* resolver_srv_read takes the records of `name`, which is in lower case and without a final dot.
 * Those of other names, with port 0, or whose target is no host name (see endpoint_parse) are
 * passed over. Only FOUND fills all of `srv`; `ttl` is written for NONE too. */
enum resolver_srv_verdict resolver_srv_read(struct resolver_srv *srv, const uint8_t *message,
					    size_t length, const char *name);

#endif
