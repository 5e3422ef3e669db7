/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the store share. A node is a server that is asked and watched. A lane is a
 * queue whose questions keep their order: one of a cluster's slots, or all there is. What differs
 * between one server, a master that sentinels name, and a cluster is a table of functions.
 */
#ifndef GATEPOST_ROUTING_STORE_PARTS_INTERNAL_H
#define GATEPOST_ROUTING_STORE_PARTS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"
#include "core/log_bound.h"
#include "net/timeouts.h"
#include "redis_server_internal.h"
#include "redis_watch_internal.h"
#include "store_internal.h"

/* Redirections that one question follows. */
#define STORE_HOPS_MAX 3

/* Pauses between attempts to learn where to ask. */
#define STORE_PAUSE_MIN_MS 50
#define STORE_PAUSE_MAX_MS 2000

struct store_kind;
struct store_lane;

/* struct store_node: `server` and `watch` live and die with it. */
struct store_node {
	struct store_node *prev;
	struct store_node *next;
	struct store *store;
	struct endpoint address;
	struct redis_server *server;
	struct redis_watch *watch; /* NULL: nothing is to be heard there */
	struct redis_question nudge;
	struct store_pending *asked; /* what was sent there */
	unsigned slots;              /* of a cluster: how many it has */
	uint64_t named_ms; /* of a cluster: when somebody was last sent there, 0 = never */
	bool retired;
};

/* struct store_pending is one question, until it is answered or cancelled. */
struct store_pending {
	struct store_pending *prev; /* of those that wait in its lane, or were sent to its node */
	struct store_pending *next;
	struct store *store;
	struct store_lane *lane;
	struct store_question *question;
	struct redis_question sent;
	struct store_node *at;         /* where it was sent; NULL: it waits */
	struct store_node *redirected; /* where alone it is to be asked */
	struct timeout deadline;
	uint64_t asked_ms;
	uint64_t number; /* in order of asking */
	unsigned hops;
	struct redis_command command; /* its words lie behind the struct */
};

/* struct store_lane: a question is only sent while those before it are answered, or were sent to
 * the same node. */
struct store_lane {
	struct store_pending *waiting;
	struct store_node *at;
	unsigned sent;
};

struct store {
	const struct store_kind *kind;
	struct store_settings settings;
	struct store_lane *lanes;
	struct store_node *nodes;
	struct store_node *retired; /* freed in the next turn of the loop */
	struct timeout_list deadlines;
	struct timeout_list reapers;
	struct timeout reaper;
	size_t pending_count;
	uint64_t last_number;
	struct error why; /* it is not ready */
	bool told_ready;
	bool told_watching;
	bool gap;      /* changes were missed; nobody was told yet */
	bool settling; /* the owner is just being told */
	struct log_bound failures;
	struct error logged; /* and no recovery since */
	unsigned jitter;     /* state of rand_r */
};

/* What became of an error reply. */
enum store_verdict {
	STORE_PASS,   /* it is the answer */
	STORE_FOLLOW, /* the question is to be sent again, by lane and `redirected` */
	STORE_FAIL,   /* there is no answer; `error` says why */
};

/* struct store_kind: `store` is the first member of a struct of `size` bytes. */
struct store_kind {
	size_t size;
	size_t lane_count;
	/* False when memory ran out; `stop` is called nevertheless. */
	bool (*start)(struct store *store);
	void (*stop)(struct store *store);
	/* The lane of a key. NULL: there is but one. */
	size_t (*lane)(const char *key, size_t length);
	/* Where a lane's questions go; NULL while that is not known. */
	struct store_node *(*route)(struct store *store, size_t lane);
	/* Somebody waits, and there is no node to wait for. */
	void (*want)(struct store *store);
	bool (*is_ready)(const struct store *store);
	bool (*is_watching)(const struct store *store);
	void (*node_ready)(struct store *store, struct store_node *node);
	void (*node_lost)(struct store *store, struct store_node *node);
	/* What becomes of an error reply. NULL: it is the answer. */
	enum store_verdict (*follow)(struct store *store, struct store_pending *pending,
				     const struct redis_reply *reply, struct error *error);
};

extern const struct store_kind store_single;
extern const struct store_kind store_sentinel;
extern const struct store_kind store_cluster;

/* store_settle tells the owner what has changed. */
void store_settle(struct store *store);

/* store_pump sends what waits in a lane and can be sent; store_pump_all in all of them. */
void store_pump(struct store *store, struct store_lane *lane);
void store_pump_all(struct store *store);

/* store_fail answers that there is no answer, and frees the question. */
void store_fail(struct store_pending *pending, const struct error *why);

/* store_log_failure writes why it is not known where to ask, as `who` (NULL: nobody) has it: one
 * line a second at most, and only when the words are new; store_log_recovery where it is asked
 * again.
 */
void store_log_failure(struct store *store, const struct endpoint *who, const struct error *why);
void store_log_recovery(struct store *store, const struct endpoint *address);

/* store_jitter is a pause of half of `pause_ms` to all of it. */
uint64_t store_jitter(struct store *store, uint64_t pause_ms);

/* --- store_node.c --------------------------------------------------------------------------- */

/* What is to be made at an address. */
enum store_node_part {
	STORE_NODE_MASTER = 1, /* it is no use unless it says that it is a master */
	STORE_NODE_WATCH = 2,  /* it is watched, too */
};

/* store_node_new begins to connect. NULL when memory ran out. */
must_use struct store_node *store_node_new(struct store *store, const struct endpoint *address,
					   unsigned parts);

/* store_node_watch watches it from now on, if it is not yet. False when memory ran out. */
bool store_node_watch(struct store_node *node);

bool store_node_is_ready(const struct store_node *node);
bool store_node_is_watching(const struct store_node *node);

/* store_node_ask sends a question of a lane. */
void store_node_ask(struct store_node *node, struct store_pending *pending,
		    redis_callback_t *callback);

/* store_node_nudge: somebody waits for its connection. */
void store_node_nudge(struct store_node *node);

/* store_node_retire ends it: questions that were sent there fail, nothing is heard of it any more,
 * and it is freed in the next turn. The map must name it no longer. */
void store_node_retire(struct store_node *node, const char *why);

/* store_nodes_free frees those that are retired, or all. */
void store_nodes_free(struct store *store, bool all);

#endif
