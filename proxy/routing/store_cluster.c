/* SPDX-License-Identifier: Apache-2.0
 *
 * The masters of a cluster. The map of slots is read once a second from a node that is there, and
 * one slot of it is mended by every MOVED. Every node that may hold a key is watched: those of the
 * map, and those that an ASK named, since keys are written there while their slot is on its way.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "core/config.h"
#include "redis_slots_internal.h"
#include "store_parts_internal.h"

/* Between two readings of the map. */
#define REFRESH_MS 1000

/* Slots that went from one master to another are a gap, but while thousands of them do, one after
 * the other, that is told so often: all nodes are watched meanwhile, so that it is caution only. */
#define MOVED_EVERY_MS 10000

/* A node without slots that an ASK or a MOVED named is kept for so long behind redis.timeout. */
#define NAMED_KEEP_MS 60000

struct cluster {
	struct store store;
	struct store_node *owners[REDIS_SLOTS]; /* NULL: nobody has it */
	unsigned covered;
	size_t node_count;
	struct redis_question question;
	struct store_node *asked;  /* for the map, now or the last time; NULL: it has gone */
	struct endpoint preferred; /* the node that knows best, ENDPOINT_NONE: any */
	bool doubted;              /* what `asked` says */
	bool wants_map;            /* the next node that is ready is asked */
	uint64_t refreshed_ms;
	uint64_t moved_ms; /* when a gap over moved slots was told, 0 = never */
	bool moved;        /* another is due */
	uint64_t pause_ms;
	struct timeout_list timers;
	struct timeout timer; /* the next reading */
};

static struct cluster *cluster_of(struct store *store)
{
	return container_of(store, struct cluster, store);
}

static uint64_t timeout_of(const struct cluster *cluster)
{
	return cluster->store.settings.config->timeout_ms;
}

/* --- Nodes ---------------------------------------------------------------------------------- */

static struct store_node *find_node(struct cluster *cluster, const struct endpoint *address)
{
	struct store_node *node;

	DL_FOREACH(cluster->store.nodes, node)
	{
		if (endpoint_equal(&node->address, address)) {
			return node;
		}
	}
	return NULL;
}

/* NULL when memory ran out, or there are too many. */
static struct store_node *have_node(struct cluster *cluster, const struct endpoint *address,
				    unsigned parts)
{
	struct store_node *node = find_node(cluster, address);

	if (node != NULL) {
		return (parts & STORE_NODE_WATCH) == 0 || store_node_watch(node) ? node : NULL;
	}
	if (cluster->node_count >= REDIS_MASTERS_MAX + CONFIG_REDIS_ADDRESSES_MAX) {
		return NULL;
	}
	node = store_node_new(&cluster->store, address, parts);
	if (node != NULL) {
		char text[ENDPOINT_TEXT_MAX];

		endpoint_format(address, text);
		error_set(&cluster->store.why, "%.200s is not connected yet", text);
		cluster->node_count++;
	}
	return node;
}

static bool is_kept(const struct cluster *cluster, const struct store_node *node, uint64_t now_ms)
{
	return node->slots > 0 || (node->named_ms != 0 &&
				   now_ms - node->named_ms < NAMED_KEEP_MS + timeout_of(cluster));
}

/* Those that the map does not name any more. Whoever is failed by it may ask again, and have nodes
 * made: the list is begun anew each time. */
static void retire_leavers(struct cluster *cluster)
{
	uint64_t now_ms = timeouts_now_ms();
	struct store_node *node = cluster->store.nodes;

	while (node != NULL) {
		if (is_kept(cluster, node, now_ms)) {
			node = node->next;
			continue;
		}
		cluster->node_count--;
		if (cluster->asked == node) {
			redis_cancel(&cluster->question);
			cluster->asked = NULL;
		}
		store_node_retire(node, "it has left the cluster");
		node = cluster->store.nodes;
	}
}

/* The addresses of the configuration, while no other node is there. */
static void have_seeds(struct cluster *cluster)
{
	const struct config_redis *config = cluster->store.settings.config;

	for (size_t i = 0; i < config->address_count; i++) {
		(void)have_node(cluster, &config->addresses[i], 0);
	}
}

/* --- Slots ---------------------------------------------------------------------------------- */

/* True when it was another's before. */
static bool give_slot(struct cluster *cluster, size_t slot, struct store_node *owner)
{
	struct store_node *before = cluster->owners[slot];

	if (before == owner) {
		return false;
	}
	if (before != NULL) {
		before->slots--;
		cluster->covered--;
	}
	if (owner != NULL) {
		owner->slots++;
		cluster->covered++;
	}
	cluster->owners[slot] = owner;
	return before != NULL;
}

/* The gap is told with whatever else there is to tell. */
static void note_moved(struct cluster *cluster)
{
	uint64_t now_ms = timeouts_now_ms();

	cluster->moved = true;
	if (cluster->moved_ms == 0 || now_ms - cluster->moved_ms >= MOVED_EVERY_MS) {
		cluster->moved_ms = now_ms;
		cluster->moved = false;
		cluster->store.gap = true;
	}
}

/* --- Reading the map ------------------------------------------------------------------------ */

static void read_at(struct cluster *cluster, uint64_t due_ms)
{
	timeout_remove(&cluster->timer);
	timeout_add(&cluster->timers, &cluster->timer, due_ms);
}

/* As soon as the last time is long enough ago. */
static void read_soon(struct cluster *cluster)
{
	uint64_t due_ms = cluster->refreshed_ms + REFRESH_MS;

	if (!cluster->wants_map && timeout_is_waiting(&cluster->timer) &&
	    cluster->timer.deadline_ms > due_ms) {
		read_at(cluster, due_ms);
	}
}

static void fail_reading(struct cluster *cluster, const struct error *why)
{
	store_log_failure(&cluster->store, cluster->asked != NULL ? &cluster->asked->address : NULL,
			  why);
	endpoint_done(&cluster->preferred);
	cluster->doubted = true;
	cluster->pause_ms = cluster->pause_ms == 0 ? STORE_PAUSE_MIN_MS : cluster->pause_ms * 2;
	if (cluster->pause_ms > STORE_PAUSE_MAX_MS) {
		cluster->pause_ms = STORE_PAUSE_MAX_MS;
	}
	read_at(cluster, timeouts_now_ms() + store_jitter(&cluster->store, cluster->pause_ms));
}

/* Every master has a node before anything is changed. */
static bool have_masters(struct cluster *cluster, const struct redis_map *map,
			 struct store_node **nodes)
{
	for (size_t i = 0; i < map->master_count; i++) {
		nodes[i] = have_node(cluster, &map->masters[i], STORE_NODE_WATCH);
		if (nodes[i] == NULL) {
			return false;
		}
	}
	return true;
}

static bool take_map(struct cluster *cluster, const struct redis_map *map)
{
	struct store_node **nodes = calloc(map->master_count + 1, sizeof(struct store_node *));
	bool moved = cluster->moved;

	if (nodes == NULL || !have_masters(cluster, map, nodes)) {
		free(nodes);
		return false;
	}
	for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
		uint16_t owner = map->owners[slot];

		moved |= give_slot(cluster, slot, owner == REDIS_NOBODY ? NULL : nodes[owner]);
	}
	free(nodes);
	if (moved) {
		note_moved(cluster);
	}
	return true;
}

static void handle_map(struct cluster *cluster, const struct redis_map *map)
{
	struct error why = {0};

	if (!take_map(cluster, map)) {
		error_set(&why, "out of memory, or too many nodes");
		fail_reading(cluster, &why);
		return;
	}
	if (cluster->covered < REDIS_SLOTS) {
		error_set(&why, "%u of %u slots have no master", REDIS_SLOTS - cluster->covered,
			  REDIS_SLOTS);
		store_log_failure(&cluster->store, &cluster->asked->address, &why);
	} else {
		store_log_recovery(&cluster->store, &cluster->asked->address);
	}
	endpoint_done(&cluster->preferred);
	cluster->doubted = false;
	cluster->pause_ms = 0;
	read_at(cluster, timeouts_now_ms() + REFRESH_MS);
	retire_leavers(cluster);
	store_settle(&cluster->store);
	store_pump_all(&cluster->store);
}

static void on_map(struct redis_question *question, const struct redis_reply *reply)
{
	struct cluster *cluster = container_of(question, struct cluster, question);
	struct error why = {0};
	struct redis_map *map = redis_map_new(reply, &cluster->asked->address, &why);

	if (map == NULL) {
		error_prefix(&why, "no map of the slots");
		fail_reading(cluster, &why);
		return;
	}
	handle_map(cluster, map);
	redis_map_free(map);
}

static struct store_node *next_ready(const struct cluster *cluster)
{
	struct store_node *node = cluster->asked;

	for (size_t i = 0; i < cluster->node_count; i++) {
		node = node != NULL && node->next != NULL ? node->next : cluster->store.nodes;
		if (store_node_is_ready(node)) {
			return node;
		}
	}
	return NULL;
}

/* The one that knows best; or the one that was asked the last time, so that views do not alternate;
 * or, where that was in vain, the next. */
static struct store_node *choose(struct cluster *cluster)
{
	struct store_node *best = find_node(cluster, &cluster->preferred);

	if (best != NULL && store_node_is_ready(best)) {
		return best;
	}
	if (cluster->asked != NULL && !cluster->doubted && store_node_is_ready(cluster->asked)) {
		return cluster->asked;
	}
	return next_ready(cluster);
}

static void read_nowhere(struct cluster *cluster)
{
	struct error why = {0};

	cluster->wants_map = true;
	have_seeds(cluster);
	error_set(&why, "no node of the cluster can be asked");
	store_log_failure(&cluster->store, NULL, &why);
	read_at(cluster, timeouts_now_ms() + REFRESH_MS);
}

static void read_map(struct cluster *cluster)
{
	static const char *const words[] = {"CLUSTER", "SLOTS"};
	static const size_t lengths[] = {7, 5};
	struct store_node *node = choose(cluster);

	if (cluster->question.pending != NULL) {
		return;
	}
	if (node == NULL) {
		read_nowhere(cluster);
		return;
	}
	cluster->wants_map = false;
	cluster->asked = node;
	cluster->refreshed_ms = timeouts_now_ms();
	timeout_remove(&cluster->timer);
	redis_server_ask(node->server, &cluster->question,
			 &(struct redis_command){array_length(words), words, lengths}, on_map);
}

static void on_timer(struct timeout *timer)
{
	read_map(container_of(timer, struct cluster, timer));
}

/* --- Redirections --------------------------------------------------------------------------- */

static enum store_verdict follow_moved(struct cluster *cluster, struct store_pending *pending,
				       size_t slot, const struct endpoint *to)
{
	struct store_node *node = have_node(cluster, to, STORE_NODE_WATCH);

	if (node == NULL) {
		return STORE_FAIL;
	}
	if (give_slot(cluster, slot, node)) {
		note_moved(cluster);
	}
	endpoint_done(&cluster->preferred);
	if (!endpoint_copy(&cluster->preferred, to)) {
		cluster->preferred = (struct endpoint){0};
	}
	read_soon(cluster);
	pending->redirected = NULL;
	return STORE_FOLLOW;
}

static enum store_verdict follow_ask(struct cluster *cluster, struct store_pending *pending,
				     const struct endpoint *to)
{
	struct store_node *node = have_node(cluster, to, STORE_NODE_WATCH);

	if (node == NULL) {
		return STORE_FAIL;
	}
	node->named_ms = timeouts_now_ms();
	pending->redirected = node;
	return STORE_FOLLOW;
}

static enum store_verdict redirect(struct cluster *cluster, struct store_pending *pending,
				   const struct redis_reply *reply, struct error *error)
{
	size_t slot = (size_t)(pending->lane - cluster->store.lanes);
	struct endpoint to = {0};
	enum store_verdict verdict = STORE_FAIL;
	uint16_t named = 0;

	switch (redis_redirect_read(reply, &pending->at->address, &named, &to)) {
	case REDIS_REDIRECT_NONE:
		return STORE_PASS;
	case REDIS_REDIRECT_NONSENSE:
		break;
	case REDIS_REDIRECT_MOVED:
		verdict = named == slot ? follow_moved(cluster, pending, slot, &to) : STORE_FAIL;
		break;
	case REDIS_REDIRECT_ASK:
		verdict = named == slot ? follow_ask(cluster, pending, &to) : STORE_FAIL;
		break;
	}
	endpoint_done(&to);
	if (verdict == STORE_FAIL) {
		redis_reply_explain(reply, error);
		error_prefix(error, "a redirection that cannot be followed");
	} else if (pending->hops++ >= STORE_HOPS_MAX) {
		error_set(error, "redirected more than %d times", STORE_HOPS_MAX);
		return STORE_FAIL;
	}
	return verdict;
}

static bool begins_with(const struct redis_reply *reply, const char *word)
{
	size_t length = strlen(word);

	return reply->length >= length && memcmp(reply->text, word, length) == 0;
}

static enum store_verdict follow(struct store *store, struct store_pending *pending,
				 const struct redis_reply *reply, struct error *error)
{
	struct cluster *cluster = cluster_of(store);

	if (begins_with(reply, "CLUSTERDOWN ")) {
		cluster->doubted = true;
		read_soon(cluster);
	} else if (!begins_with(reply, "TRYAGAIN ")) {
		return redirect(cluster, pending, reply, error);
	}
	redis_reply_explain(reply, error);
	return STORE_FAIL;
}

/* --- The kind ------------------------------------------------------------------------------- */

static bool start(struct store *store)
{
	struct cluster *cluster = cluster_of(store);

	timeout_list_init(&cluster->timers, store->settings.timeouts, on_timer);
	have_seeds(cluster);
	cluster->wants_map = true;
	read_at(cluster, timeouts_now_ms() + timeout_of(cluster));
	return store->nodes != NULL;
}

static void stop(struct store *store)
{
	struct cluster *cluster = cluster_of(store);

	redis_cancel(&cluster->question);
	endpoint_done(&cluster->preferred);
	timeout_remove(&cluster->timer);
	if (cluster->timers.owner != NULL) {
		timeout_list_done(&cluster->timers);
	}
}

static size_t lane_of(const char *key, size_t length)
{
	return redis_key_slot(key, length);
}

static struct store_node *route(struct store *store, size_t lane)
{
	return cluster_of(store)->owners[lane];
}

static void want(struct store *store)
{
	struct cluster *cluster = cluster_of(store);
	struct store_node *node;

	read_soon(cluster);
	if (cluster->wants_map) {
		DL_FOREACH(store->nodes, node)
		{
			store_node_nudge(node);
		}
	}
}

static bool is_ready(const struct store *store)
{
	const struct store_node *node;

	if (((const struct cluster *)store)->covered < REDIS_SLOTS) {
		return false;
	}
	DL_FOREACH(store->nodes, node)
	{
		if (node->slots > 0 && !store_node_is_ready(node)) {
			return false;
		}
	}
	return true;
}

static bool is_watching(const struct store *store)
{
	const struct store_node *node;

	DL_FOREACH(store->nodes, node)
	{
		if (node->watch != NULL && !store_node_is_watching(node)) {
			return false;
		}
	}
	return true;
}

static void node_ready(struct store *store, struct store_node *node)
{
	struct cluster *cluster = cluster_of(store);

	(void)node;
	if (cluster->wants_map) {
		read_map(cluster);
	}
}

static void node_lost(struct store *store, struct store_node *node)
{
	struct cluster *cluster = cluster_of(store);

	cluster->doubted = cluster->doubted || node == cluster->asked;
	read_soon(cluster);
}

const struct store_kind store_cluster = {
	.size = sizeof(struct cluster),
	.lane_count = REDIS_SLOTS,
	.start = start,
	.stop = stop,
	.lane = lane_of,
	.route = route,
	.want = want,
	.is_ready = is_ready,
	.is_watching = is_watching,
	.node_ready = node_ready,
	.node_lost = node_lost,
	.follow = follow,
};
