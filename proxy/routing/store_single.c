/* SPDX-License-Identifier: Apache-2.0
 *
 * One server of Redis, or whatever stands at its address: one node, asked for everything.
 */
#include <stdlib.h>

#include "core/config.h"
#include "store_parts_internal.h"

struct single {
	struct store store;
	struct store_node *node;
};

static bool start(struct store *store)
{
	struct single *single = container_of(store, struct single, store);

	single->node =
		store_node_new(store, &store->settings.config->addresses[0], STORE_NODE_WATCH);
	return single->node != NULL;
}

static void stop(struct store *store)
{
	(void)store;
}

static struct store_node *route(struct store *store, size_t lane)
{
	(void)lane;
	return container_of(store, struct single, store)->node;
}

static void want(struct store *store)
{
	(void)store;
}

static bool is_ready(const struct store *store)
{
	return store_node_is_ready(((const struct single *)store)->node);
}

static bool is_watching(const struct store *store)
{
	return store_node_is_watching(((const struct single *)store)->node);
}

static void ignore(struct store *store, struct store_node *node)
{
	(void)store;
	(void)node; /* what follows from it is told by the store */
}

const struct store_kind store_single = {
	.size = sizeof(struct single),
	.lane_count = 1,
	.start = start,
	.stop = stop,
	.route = route,
	.want = want,
	.is_ready = is_ready,
	.is_watching = is_watching,
	.node_ready = ignore,
	.node_lost = ignore,
};
