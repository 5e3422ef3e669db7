/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a connection to Redis needs around it, with a fake Redis at its other end, in one loop.
 */
#ifndef GATEPOST_TESTS_REDIS_WORLD_H
#define GATEPOST_TESTS_REDIS_WORLD_H

#include <stdbool.h>

#include "../../proxy/routing/redis_server_internal.h"
#include "base/buffer.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "support/fake_dns.h"
#include "support/fake_redis.h"

/* Long enough never to pass by accident; short where passing is the point. */
#define PATIENT_MS 20000
#define SHORT_MS   150

struct redis_world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct fake_dns dns; /* knows no name yet */
	struct resolver *resolver;
	struct metrics metrics;
	struct config_redis config; /* no AUTH, no SELECT, PATIENT_MS */
	struct endpoint address;    /* of the fake */
	struct redis_settings settings;
	struct fake_redis fake;
	struct redis_server_events events;
	struct redis_server *server;
	unsigned readies; /* events */
	unsigned losses;
	char lost[256];
	const char *reply;   /* to every command; NULL: none */
	struct buffer heard; /* commands, one a line */
	void *context;       /* of a test that has more */
};

/* A cmocka setup and its teardown; the state is the struct redis_world. */
int redis_world_begin(void **state);
int redis_world_end(void **state);

/* redis_world_start makes the connection, as configuration and settings then say. */
void redis_world_start(struct redis_world *world);

/* redis_world_open opens the fake again, on a port or a Unix socket. */
void redis_world_open(struct redis_world *world, uint16_t port, const char *path);

void redis_world_set_address(struct redis_world *world, const char *text);
void redis_world_set_user(struct redis_world *world, const char *user, const char *password);

/* redis_world_heard: what the fake heard so far, one command a line. */
const char *redis_world_heard(struct redis_world *world);

/* struct redis_asked is one question, asked again and again. */
struct redis_asked {
	struct redis_question question;
	struct redis_world *world;
	unsigned answers;
	enum redis_reply_kind kind;
	size_t count; /* of an array */
	int64_t number;
	char text[256];                  /* of an array: of its first element */
	struct redis_asked *then_cancel; /* by the callback */
	bool then_ask;                   /* again, by the callback */
};

/* redis_asked_answer is the callback of its questions. */
void redis_asked_answer(struct redis_question *question, const struct redis_reply *reply);

/* redis_asked_ask asks GET `key`; redis_asked_await turns until so many answers have come. */
void redis_asked_ask(struct redis_world *world, struct redis_asked *asked, const char *key);
void redis_asked_await(struct redis_world *world, struct redis_asked *asked, unsigned answers);

#endif
