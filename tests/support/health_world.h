/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of members at the scripted backend of a probe world, and the health that watches them.
 */
#ifndef GATEPOST_TESTS_HEALTH_WORLD_H
#define GATEPOST_TESTS_HEALTH_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "support/probe_world.h"

struct config;
struct health;
struct pool;

struct health_world {
	struct probe_world *probes;
	struct config *config;
	struct pool *pool;
	struct health *health;
	unsigned services_asked; /* how often that was told */
	const char *patience;    /* connect_timeout and login_timeout, "30ms" */
};

/* A cmocka setup and its teardown; the state is the struct health_world. */
int health_world_begin(void **state);
int health_world_end(void **state);

/* health_world_start makes `count` backends m0, m1, ... at the scripted one, or at `port` where it
 * is not 0; `health` is what stands in [health]. health_world_start_text takes the text of all
 * backends. health_world_restart is for after health_world_stop, which ends the health alone. */
void health_world_start(struct health_world *world, const char *health, unsigned count,
			uint16_t port);
void health_world_start_text(struct health_world *world, const char *health, const char *backends);
void health_world_restart(struct health_world *world);
void health_world_stop(struct health_world *world);

uint64_t health_world_checks(const struct health_world *world);
uint64_t health_world_failures(const struct health_world *world);

/* health_world_up is how many members are there and up. */
size_t health_world_up(const struct health_world *world);

#endif
