/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether the canary sings: logins at routing.canary's member beside those at all others, over the
 * last CANARY_WINDOW_MS. It is over when, of every hundred, routing.canary_threshold more fail than
 * elsewhere, of CANARY_CLIENTS_MIN at least. A client counts once in each window and outcome, by
 * its address (IPv6 by /64), so that none can end it alone. Any thread.
 */
#ifndef GATEPOST_ROUTING_CANARY_H
#define GATEPOST_ROUTING_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct addr;
struct canary;

/* CANARY_CLIENTS_MAX are remembered, of the canary and of the others each; more are not counted
 * until the oldest are forgotten. */
#define CANARY_WINDOW_MS   60000
#define CANARY_CLIENTS_MIN 20
#define CANARY_CLIENTS_MAX 4096

/* canary_new: `threshold_percent` 1 to 100. NULL when memory ran out. */
must_use struct canary *canary_new(unsigned threshold_percent);
void canary_free(struct canary *canary);

/* canary_observe counts the outcome of a login: refused credentials fail too, since a server that
 * does not know its users refuses them. True once: the canary is over; all is forgotten then, so
 * that one which is tried again is judged anew. */
bool canary_observe(struct canary *canary, bool at_canary, const struct addr *client, bool failed,
		    uint64_t now_ms);

#endif
