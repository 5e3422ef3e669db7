/* SPDX-License-Identifier: Apache-2.0
 *
 * Which member a user has by hash: weighted rendezvous (Thaler and Ravishankar 1998; weights as in
 * the logarithmic method of Schindelhauer and Schomaker 2005). A member that joins or leaves moves
 * only its own share. Every proxy comes to the same order, on every machine: integers only.
 */
#ifndef GATEPOST_ROUTING_BALANCE_H
#define GATEPOST_ROUTING_BALANCE_H

#include <stdbool.h>
#include <stddef.h>

struct config_routing;
struct member;
struct pool_view;

/* Ranks that one question is answered with. */
#define BALANCE_RANKS_MAX 8

/* balance_rank writes up to `most` members, the first choice first, borrowed from the view: of
 * those that take users; or, where `config` is not BALANCE_ANY, of that backend those that do not
 * drain, for users that are routed there by its name: a weight of 0 counts as 1 then. Returns how
 * many. Whether they are up is the caller's business. */
#define BALANCE_ANY ((size_t)-1)
size_t balance_rank(const struct pool_view *view, size_t config, const char *user,
		    struct member **ranks, size_t most);

/* balance_is_canary tells whether a user belongs to the canary's share (routing.canary), which is
 * the same share on every proxy and as long as the configuration stands. */
bool balance_is_canary(const struct config_routing *routing, const char *user);

#endif
