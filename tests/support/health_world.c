/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration made for the purpose, and what it leads to.
 */
#include "support/health_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "routing/health.h"
#include "routing/pool.h"

int health_world_begin(void **state)
{
	struct health_world *world = calloc(1, sizeof(*world));
	void *probes = NULL;

	assert_non_null(world);
	probe_world_begin(&probes);
	world->probes = probes;
	world->patience = "30ms";
	*state = world;
	return 0;
}

int health_world_end(void **state)
{
	struct health_world *world = *state;
	void *probes = world->probes;

	health_free(world->health);
	pool_free(world->pool);
	config_unref(world->config);
	probe_world_end(&probes);
	free(world);
	return 0;
}

static void on_services_asked(void *owner)
{
	struct health_world *world = owner;

	world->services_asked++;
}

void health_world_restart(struct health_world *world)
{
	struct health_settings settings = {
		.config = world->config,
		.pool = world->pool,
		.shared = &world->probes->shared,
		.timeouts = &world->probes->timeouts,
		.resolver = world->probes->resolver,
		.metrics = &world->probes->metrics,
		.services_asked = on_services_asked,
		.owner = world,
	};
	struct error error = {0};

	world->health = health_new(&settings, &error);
	assert_string_equal(error.text, "");
	assert_non_null(world->health);
}

void health_world_stop(struct health_world *world)
{
	health_free(world->health);
	world->health = NULL;
}

void health_world_start_text(struct health_world *world, const char *health, const char *backends)
{
	struct buffer text = {0};
	struct error error = {0};

	buffer_append_text(&text, "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"none\"\n"
				  "[routing]\nsource = \"static\"\n[health]\n");
	buffer_append_text(&text, health);
	buffer_append_text(&text, backends);
	buffer_append_byte(&text, '\0');
	world->config = config_load_text((const char *)buffer_bytes(&text), "test", stderr);
	assert_non_null(world->config);
	buffer_done(&text);
	world->pool = pool_new(world->config, &error);
	assert_non_null(world->pool);
	health_world_restart(world);
}

void health_world_start(struct health_world *world, const char *health, unsigned count,
			uint16_t port)
{
	struct buffer text = {0};

	for (unsigned i = 0; i < count; i++) {
		buffer_printf(&text,
			      "[[backend]]\nname = \"m%u\"\naddress = \"127.0.0.1:%u\"\n"
			      "connect_timeout = \"%s\"\nlogin_timeout = \"%s\"\n",
			      i, port != 0 ? port : world->probes->scripted.port, world->patience,
			      world->patience);
	}
	buffer_append_byte(&text, '\0');
	health_world_start_text(world, health, (const char *)buffer_bytes(&text));
	buffer_done(&text);
}

uint64_t health_world_checks(const struct health_world *world)
{
	return probe_world_counted(world->probes, METRIC_HEALTH_CHECKS);
}

uint64_t health_world_failures(const struct health_world *world)
{
	return probe_world_counted(world->probes, METRIC_HEALTH_CHECK_FAILURES);
}

size_t health_world_up(const struct health_world *world)
{
	const struct pool_view *view = pool_view(world->pool);
	size_t count = 0;

	for (size_t i = 0; i < view->count; i++) {
		count += member_is_up(view->members[i]);
	}
	pool_view_unref(view);
	return count;
}
