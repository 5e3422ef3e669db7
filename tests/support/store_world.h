/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a store needs around it, and fake servers for it to find, in one loop.
 */
#ifndef GATEPOST_TESTS_STORE_WORLD_H
#define GATEPOST_TESTS_STORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "../../proxy/routing/store_internal.h"
#include "base/buffer.h"
#include "core/config_redis.h"
#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "support/fake_dns.h"
#include "support/fake_node.h"

/* Long enough never to pass by accident; short where passing is the point. */
#define PATIENT_MS 20000
#define SHORT_MS   150

#define STORE_WORLD_NODES 6

struct store_world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct fake_dns dns; /* knows no name yet */
	struct resolver *resolver;
	struct metrics metrics;
	struct config_redis config; /* of a single server, no address yet; PATIENT_MS */
	struct fake_node nodes[STORE_WORLD_NODES];
	struct store *store;
	struct buffer told; /* what the owner was told, one event a line; keys behind a blank */
	unsigned events;    /* how many */
	unsigned readies;
	unsigned losses;
	unsigned watchings;
	unsigned blinds;
	unsigned changes;
	char why[256]; /* of the last loss */
	void (*on_event)(struct store_world *world, const char *event);
	struct store_asked *then; /* the test's */
};

/* A cmocka setup and its teardown; the state is the struct store_world. */
int store_world_begin(void **state);
int store_world_end(void **state);

/* store_world_start makes the store: of `kind`, with the first `count` nodes as its addresses. */
void store_world_start(struct store_world *world, enum config_redis_kind kind, size_t count);

/* store_world_stop frees it. */
void store_world_stop(struct store_world *world);

/* store_world_told: what the owner was told since the last call of store_world_forget. */
const char *store_world_told(struct store_world *world);
void store_world_forget(struct store_world *world);

/* struct store_asked is one question, asked again and again. */
struct store_asked {
	struct store_question question;
	struct store_world *world;
	unsigned answers;
	enum redis_reply_kind kind;
	char text[256];
	struct store_asked *then_cancel; /* by the callback */
	bool then_ask;                   /* again, by the callback */
	unsigned place;                  /* in the order of answers of this world, from 1 */
};

/* store_asked_ask asks GET `key`; store_asked_await turns until so many answers have come. */
void store_asked_ask(struct store_world *world, struct store_asked *asked, const char *key);
void store_asked_await(struct store_world *world, struct store_asked *asked, unsigned answers);

#endif
