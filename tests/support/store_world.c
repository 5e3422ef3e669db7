/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a store needs around it.
 */
#include "support/store_world.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "net/resolver.h"
#include "support/turns.h"

/* --- What the owner hears ------------------------------------------------------------------- */

static void note(struct store_world *world, const char *event, const char *detail, size_t length)
{
	buffer_append_text(&world->told, event);
	if (length > 0) {
		buffer_append_text(&world->told, " ");
		buffer_append(&world->told, detail, length);
	}
	buffer_append_text(&world->told, "\n");
	world->events++;
	if (world->on_event != NULL) {
		world->on_event(world, event);
	}
}

static void on_ready(void *owner)
{
	struct store_world *world = owner;

	world->readies++;
	note(world, "ready", "", 0);
}

static void on_lost(void *owner, const char *why)
{
	struct store_world *world = owner;

	world->losses++;
	snprintf(world->why, sizeof(world->why), "%s", why);
	note(world, "lost", "", 0);
}

static void on_watching(void *owner)
{
	struct store_world *world = owner;

	world->watchings++;
	note(world, "watching", "", 0);
}

static void on_blind(void *owner)
{
	struct store_world *world = owner;

	world->blinds++;
	note(world, "blind", "", 0);
}

static void on_changed(void *owner, const char *key, size_t length)
{
	struct store_world *world = owner;

	world->changes++;
	note(world, "changed", key, length);
}

static void on_flushed(void *owner)
{
	struct store_world *world = owner;

	world->changes++;
	note(world, "flushed", "", 0);
}

static const struct store_events store_events = {
	.ready = on_ready,
	.lost = on_lost,
	.watching = on_watching,
	.blind = on_blind,
	.changed = on_changed,
	.flushed = on_flushed,
};

const char *store_world_told(struct store_world *world)
{
	buffer_append_byte(&world->told, '\0');
	world->told.length--; /* it stays behind the text */
	return (const char *)buffer_bytes(&world->told);
}

void store_world_forget(struct store_world *world)
{
	buffer_done(&world->told);
}

/* --- The world ------------------------------------------------------------------------------ */

int store_world_begin(void **state)
{
	struct store_world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	world->loop = ev_loop_new(EVFLAG_AUTO);
	assert_true(stream_loop_init(&world->shared, world->loop, 0));
	timeouts_init(&world->timeouts, world->loop);
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	world->config.user = strdup("");
	world->config.password = strdup("");
	world->config.sentinel_user = strdup("");
	world->config.sentinel_password = strdup("");
	world->config.server_name = strdup("");
	world->config.master = strdup("mymaster");
	world->config.timeout_ms = PATIENT_MS;
	for (size_t i = 0; i < STORE_WORLD_NODES; i++) {
		fake_node_open(&world->nodes[i], world->loop);
		world->nodes[i].context = world;
	}
	*state = world;
	return 0;
}

void store_world_start(struct store_world *world, enum config_redis_kind kind, size_t count)
{
	static const char *const prefixes[] = {"gatepost:route:", "gatepost:hold:"};
	struct store_settings settings = {
		.config = &world->config,
		.shared = &world->shared,
		.timeouts = &world->timeouts,
		.resolver = world->resolver,
		.metrics = &world->metrics,
		.prefixes = prefixes,
		.prefix_count = array_length(prefixes),
		.events = &store_events,
		.owner = world,
	};

	world->config.kind = kind;
	world->config.addresses = calloc(count, sizeof(struct endpoint));
	world->config.address_count = count;
	for (size_t i = 0; i < count; i++) {
		char text[32];

		snprintf(text, sizeof(text), "127.0.0.1:%u", world->nodes[i].port);
		assert_true(endpoint_parse(&world->config.addresses[i], text, 0, NULL));
	}
	world->store = store_new(&settings);
	assert_non_null(world->store);
}

void store_world_stop(struct store_world *world)
{
	store_free(world->store);
	world->store = NULL;
	for (size_t i = 0; i < world->config.address_count; i++) {
		endpoint_done(&world->config.addresses[i]);
	}
	free(world->config.addresses);
	world->config.addresses = NULL;
	world->config.address_count = 0;
}

int store_world_end(void **state)
{
	struct store_world *world = *state;

	store_world_stop(world);
	for (size_t i = 0; i < STORE_WORLD_NODES; i++) {
		fake_node_close(&world->nodes[i]);
	}
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	timeouts_done(&world->timeouts);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	free(world->config.user);
	free(world->config.password);
	free(world->config.sentinel_user);
	free(world->config.sentinel_password);
	free(world->config.server_name);
	free(world->config.master);
	buffer_done(&world->told);
	free(world);
	return 0;
}

/* --- Questions ------------------------------------------------------------------------------ */

static void on_answer(struct store_question *question, const struct redis_reply *reply)
{
	static unsigned places;
	struct store_asked *asked = container_of(question, struct store_asked, question);

	assert_null(question->pending);
	asked->answers++;
	asked->place = ++places;
	asked->kind = reply->kind;
	snprintf(asked->text, sizeof(asked->text), "%.*s", (int)reply->length,
		 reply->text != NULL ? reply->text : "");
	if (asked->then_cancel != NULL) {
		store_cancel(&asked->then_cancel->question);
	}
	if (asked->then_ask) {
		asked->then_ask = false;
		store_asked_ask(asked->world, asked, "again");
	}
}

void store_asked_ask(struct store_world *world, struct store_asked *asked, const char *key)
{
	const char *const words[] = {"GET", key};
	const size_t lengths[] = {3, strlen(key)};

	asked->world = world;
	store_ask(world->store, &asked->question, &(struct redis_command){2, words, lengths}, 1,
		  on_answer);
}

void store_asked_await(struct store_world *world, struct store_asked *asked, unsigned answers)
{
	turns_until_count(world->loop, &asked->answers, answers);
}
