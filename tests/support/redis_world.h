/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a connection to Redis needs around it, with a fake Redis at its other end, in one loop.
 */
#ifndef GATEPOST_TESTS_REDIS_WORLD_H
#define GATEPOST_TESTS_REDIS_WORLD_H

#include <stdbool.h>

#include "base/buffer.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "routing/redis.h"
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
	struct config_redis config; /* of the fake, no AUTH, no SELECT, PATIENT_MS */
	struct fake_redis fake;
	struct redis *redis;
	const char *reply;   /* to every command; NULL: none */
	struct buffer heard; /* commands, one a line */
};

/* A cmocka setup and its teardown; the state is the struct redis_world. */
int redis_world_begin(void **state);
int redis_world_end(void **state);

/* redis_world_start makes the connection, as the configuration then says. */
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
	enum redis_result result;
	char text[256];
	struct redis_asked *then_cancel; /* by the callback */
	bool then_ask;                   /* again, by the callback */
};

/* redis_asked_ask asks GET `key`; redis_asked_await turns until so many answers have come. */
void redis_asked_ask(struct redis_world *world, struct redis_asked *asked, const char *key);
void redis_asked_await(struct redis_world *world, struct redis_asked *asked, unsigned answers);

#endif
