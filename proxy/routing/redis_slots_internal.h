/* SPDX-License-Identifier: Apache-2.0
 *
 * What a cluster of Redis says about who has what: the slot of a key, redirections, and the map of
 * all slots. Pure: nothing is asked here.
 */
#ifndef GATEPOST_ROUTING_REDIS_SLOTS_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_SLOTS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"

struct redis_reply;

#define REDIS_SLOTS 16384

/* Masters of one cluster; a map of more is refused. It is what Redis itself recommends. */
#define REDIS_MASTERS_MAX 1000

#define REDIS_NOBODY UINT16_MAX

/* redis_key_slot is CRC16 (XMODEM) of the key, or of what stands between its first '{' and the next
 * '}' where that is not empty. */
uint16_t redis_key_slot(const void *key, size_t length);

/* redis_port_read reads decimal digits and nothing else; 0 is no port. */
must_use bool redis_port_read(const char *text, size_t length, uint16_t *port);

/* redis_host_endpoint makes an endpoint of a host as servers write it: a name, IPv4, or IPv6
 * without brackets; "" is the host of `asked`, which may be NULL where none is. On failure
 * `endpoint` is unchanged. */
must_use bool redis_host_endpoint(const char *host, size_t length, uint16_t port,
				  const struct endpoint *asked, struct endpoint *endpoint);

enum redis_redirect_kind {
	REDIS_REDIRECT_NONE, /* it is another error */
	REDIS_REDIRECT_MOVED,
	REDIS_REDIRECT_ASK,
	REDIS_REDIRECT_NONSENSE, /* it begins as one, and names no place */
};

/* redis_redirect_read reads the text of an error that `asked` sent. `slot` and `endpoint`, which
 * the caller owns then, are written for MOVED and ASK only. */
enum redis_redirect_kind redis_redirect_read(const struct redis_reply *error,
					     const struct endpoint *asked, uint16_t *slot,
					     struct endpoint *endpoint);

/* struct redis_map: `owners` are indices into `masters`, REDIS_NOBODY where a slot has none. */
struct redis_map {
	uint16_t owners[REDIS_SLOTS];
	struct endpoint masters[REDIS_MASTERS_MAX];
	size_t master_count;
};

/* redis_map_new reads a reply of `asked` to CLUSTER SLOTS. Ranges whose master has no known host
 * are left to nobody. NULL, and `error`, when it makes no sense. */
must_use struct redis_map *redis_map_new(const struct redis_reply *reply,
					 const struct endpoint *asked, struct error *error);
void redis_map_free(struct redis_map *map);

#endif
