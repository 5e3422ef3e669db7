/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of session tickets (RFC 5077 section 4, RFC 8446 section 4.6.1): random, in memory only,
 * common to all workers, and exchanged for new ones as time goes.
 */
#ifndef GATEPOST_NET_TICKET_H
#define GATEPOST_NET_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct ssl_ctx_st;
struct ticket_keys;

/* ticket_keys_new makes the first key. A key seals for `lifetime_ms`, opens for as long again, and
 * is wiped then; a ticket that its predecessor sealed is renewed when it opens. NULL when memory or
 * randomness cannot be had. */
must_use struct ticket_keys *ticket_keys_new(uint64_t lifetime_ms);

/* ticket_keys_serve makes a context seal and open its tickets with these keys, which outlive it,
 * and promise clients no ticket for longer than a lifetime. Any thread may use the context. */
must_use bool ticket_keys_serve(struct ticket_keys *keys, struct ssl_ctx_st *context);

/* ticket_keys_rotate begins a new key now; tickets of the last one still open. */
bool ticket_keys_rotate(struct ticket_keys *keys);

/* ticket_keys_age wipes what opens no longer, and begins a new key where it is time. Sealing and
 * opening do so too; this is for a server that nobody talks to. */
void ticket_keys_age(struct ticket_keys *keys);

/* ticket_keys_free wipes them. NULL is fine. */
void ticket_keys_free(struct ticket_keys *keys);

#endif
