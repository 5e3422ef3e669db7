/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that the store asks and watches, and its end: what speaks to us cannot be freed while
 * it does, so nodes are laid aside, and freed in the next turn of the loop.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "core/config.h"
#include "store_parts_internal.h"

/* --- What its connections say --------------------------------------------------------------- */

static void on_server_ready(struct redis_server *server, void *owner)
{
	struct store_node *node = owner;

	(void)server;
	if (!node->retired) {
		node->store->kind->node_ready(node->store, node);
		store_settle(node->store);
		store_pump_all(node->store);
	}
}

static void on_server_lost(struct redis_server *server, void *owner, const char *why)
{
	struct store_node *node = owner;

	(void)server;
	if (!node->retired) {
		error_set(&node->store->why, "%.255s", why);
		node->store->kind->node_lost(node->store, node);
		store_settle(node->store);
	}
}

static void on_watching(struct redis_watch *watch, void *owner)
{
	struct store_node *node = owner;

	(void)watch;
	if (!node->retired) {
		store_settle(node->store);
	}
}

static void on_blind(struct redis_watch *watch, void *owner, const char *why)
{
	struct store_node *node = owner;

	(void)watch;
	(void)why;
	if (!node->retired) {
		store_settle(node->store);
	}
}

static void on_changed(struct redis_watch *watch, void *owner, const char *key, size_t length)
{
	struct store_node *node = owner;

	(void)watch;
	if (!node->retired) {
		node->store->settings.events->changed(node->store->settings.owner, key, length);
	}
}

static void on_flushed(struct redis_watch *watch, void *owner)
{
	struct store_node *node = owner;

	(void)watch;
	if (!node->retired) {
		node->store->settings.events->flushed(node->store->settings.owner);
	}
}

static const struct redis_server_events server_events = {
	.ready = on_server_ready,
	.lost = on_server_lost,
};

static const struct redis_watch_events watch_events = {
	.watching = on_watching,
	.blind = on_blind,
	.changed = on_changed,
	.flushed = on_flushed,
};

/* --- Made, and ended ------------------------------------------------------------------------ */

static struct redis_settings settings_of(const struct store_node *node, bool master_only)
{
	const struct store_settings *settings = &node->store->settings;

	return (struct redis_settings){
		.config = settings->config,
		.address = &node->address,
		.login = REDIS_LOGIN_DATA,
		.master_only = master_only,
		.in_cluster = settings->config->kind == CONFIG_REDIS_CLUSTER,
		.shared = settings->shared,
		.timeouts = settings->timeouts,
		.resolver = settings->resolver,
		.metrics = settings->metrics,
		.tls_client = settings->tls_client,
	};
}

static void free_node(struct store_node *node)
{
	redis_watch_free(node->watch);
	redis_server_free(node->server);
	endpoint_done(&node->address);
	free(node);
}

static bool make_watch(struct store_node *node, bool master_only)
{
	struct redis_watch_settings settings = {
		.server = settings_of(node, master_only),
		.prefixes = node->store->settings.prefixes,
		.prefix_count = node->store->settings.prefix_count,
		.events = &watch_events,
		.owner = node,
	};

	node->watch = redis_watch_new(&settings);
	return node->watch != NULL;
}

struct store_node *store_node_new(struct store *store, const struct endpoint *address,
				  unsigned parts)
{
	struct store_node *node = calloc(1, sizeof(*node));
	bool master_only = (parts & STORE_NODE_MASTER) != 0;
	struct redis_settings settings;

	if (node == NULL) {
		return NULL;
	}
	node->store = store;
	if (!endpoint_copy(&node->address, address)) {
		free(node);
		return NULL;
	}
	settings = settings_of(node, master_only);
	node->server = redis_server_new(&settings, &server_events, node);
	if (node->server == NULL ||
	    ((parts & STORE_NODE_WATCH) != 0 && !make_watch(node, master_only))) {
		free_node(node);
		return NULL;
	}
	DL_APPEND(store->nodes, node);
	return node;
}

bool store_node_watch(struct store_node *node)
{
	return node->watch != NULL || make_watch(node, false);
}

void store_node_retire(struct store_node *node, const char *why)
{
	struct store *store = node->store;
	struct error error = {0};

	error_set(&error, "%.255s", why);
	node->retired = true;
	DL_DELETE(store->nodes, node);
	DL_APPEND(store->retired, node);
	timeout_remove(&store->reaper);
	timeout_add(&store->reapers, &store->reaper, timeouts_now_ms());
	redis_cancel(&node->nudge);
	while (node->asked != NULL) {
		redis_cancel(&node->asked->sent);
		store_fail(node->asked, &error);
	}
}

void store_nodes_free(struct store *store, bool all)
{
	struct store_node *node;
	struct store_node *following;

	DL_FOREACH_SAFE(store->retired, node, following)
	{
		DL_DELETE(store->retired, node);
		free_node(node);
	}
	if (!all) {
		return;
	}
	DL_FOREACH_SAFE(store->nodes, node, following)
	{
		DL_DELETE(store->nodes, node);
		redis_cancel(&node->nudge);
		free_node(node);
	}
}

/* --- Asked ---------------------------------------------------------------------------------- */

bool store_node_is_ready(const struct store_node *node)
{
	return redis_server_is_ready(node->server);
}

bool store_node_is_watching(const struct store_node *node)
{
	return node->watch != NULL && redis_watch_is_watching(node->watch);
}

void store_node_ask(struct store_node *node, struct store_pending *pending,
		    redis_callback_t *callback)
{
	pending->at = node;
	DL_APPEND(node->asked, pending);
	if (pending->redirected != NULL) {
		redis_server_ask_redirected(node->server, &pending->sent, &pending->command,
					    callback);
	} else {
		redis_server_ask(node->server, &pending->sent, &pending->command, callback);
	}
}

static void on_nudged(struct redis_question *question, const struct redis_reply *reply)
{
	(void)question;
	(void)reply; /* that it was asked for is all */
}

void store_node_nudge(struct store_node *node)
{
	static const char *const words[] = {"PING"};
	static const size_t lengths[] = {4};

	if (node->nudge.pending == NULL) {
		redis_server_ask(node->server, &node->nudge,
				 &(struct redis_command){1, words, lengths}, on_nudged);
	}
}
