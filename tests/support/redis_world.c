/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a connection to Redis needs around it.
 */
#include "support/redis_world.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/resolver.h"
#include "support/turns.h"

static void hear(struct fake_redis *fake, const char *command)
{
	struct redis_world *world = fake->context;

	buffer_append_text(&world->heard, command);
	buffer_append_text(&world->heard, "\n");
	if (world->reply != NULL) {
		fake_redis_send(fake, world->reply);
	}
}

void redis_world_open(struct redis_world *world, uint16_t port, const char *path)
{
	fake_redis_open(&world->fake, world->loop, port, path, hear);
	world->fake.context = world;
}

void redis_world_set_address(struct redis_world *world, const char *text)
{
	struct error error = {0};

	endpoint_done(&world->address);
	assert_true(endpoint_parse(&world->address, text, 6379, &error));
}

void redis_world_set_user(struct redis_world *world, const char *user, const char *password)
{
	free(world->config.user);
	free(world->config.password);
	world->config.user = strdup(user);
	world->config.password = strdup(password);
}

int redis_world_begin(void **state)
{
	struct redis_world *world = calloc(1, sizeof(*world));
	struct error error = {0};
	char address[32];

	assert_non_null(world);
	world->loop = ev_loop_new(EVFLAG_AUTO);
	assert_true(stream_loop_init(&world->shared, world->loop, 0));
	timeouts_init(&world->timeouts, world->loop);
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	redis_world_set_user(world, "", "");
	world->config.sentinel_user = "";
	world->config.sentinel_password = "";
	world->config.server_name = "";
	world->config.timeout_ms = PATIENT_MS;
	redis_world_open(world, 0, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", world->fake.port);
	redis_world_set_address(world, address);
	world->settings = (struct redis_settings){
		.config = &world->config,
		.address = &world->address,
		.shared = &world->shared,
		.timeouts = &world->timeouts,
		.resolver = world->resolver,
		.metrics = &world->metrics,
	};
	*state = world;
	return 0;
}

static void on_ready(struct redis_server *server, void *owner)
{
	struct redis_world *world = owner;

	assert_true(redis_server_is_ready(server));
	world->readies++;
}

static void on_lost(struct redis_server *server, void *owner, const char *why)
{
	struct redis_world *world = owner;

	assert_false(redis_server_is_ready(server));
	world->losses++;
	snprintf(world->lost, sizeof(world->lost), "%s", why);
}

void redis_world_start(struct redis_world *world)
{
	world->events = (struct redis_server_events){on_ready, on_lost};
	world->server = redis_server_new(&world->settings, &world->events, world);
	assert_non_null(world->server);
}

int redis_world_end(void **state)
{
	struct redis_world *world = *state;

	redis_server_free(world->server);
	fake_redis_close(&world->fake);
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	timeouts_done(&world->timeouts);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	endpoint_done(&world->address);
	free(world->config.user);
	free(world->config.password);
	buffer_done(&world->heard);
	free(world);
	return 0;
}

const char *redis_world_heard(struct redis_world *world)
{
	buffer_append_byte(&world->heard, '\0');
	world->heard.length--; /* it stays behind the text */
	return (const char *)buffer_bytes(&world->heard);
}

void redis_asked_answer(struct redis_question *question, const struct redis_reply *reply)
{
	struct redis_asked *asked = container_of(question, struct redis_asked, question);
	struct redis_reply first = *reply;

	assert_null(question->pending);
	asked->answers++;
	asked->kind = reply->kind;
	asked->count = reply->count;
	asked->number = reply->number;
	if (reply->kind == REDIS_REPLY_ARRAY && reply->count > 0) {
		redis_reply_element(reply, 0, &first);
	}
	snprintf(asked->text, sizeof(asked->text), "%.*s", (int)first.length,
		 first.text != NULL ? first.text : "");
	if (asked->then_cancel != NULL) {
		redis_cancel(&asked->then_cancel->question);
	}
	if (asked->then_ask) {
		asked->then_ask = false;
		redis_asked_ask(asked->world, asked, "again");
	}
}

void redis_asked_ask(struct redis_world *world, struct redis_asked *asked, const char *key)
{
	const char *const words[] = {"GET", key};
	const size_t lengths[] = {3, strlen(key)};

	asked->world = world;
	redis_server_ask(world->server, &asked->question,
			 &(struct redis_command){2, words, lengths}, redis_asked_answer);
}

void redis_asked_await(struct redis_world *world, struct redis_asked *asked, unsigned answers)
{
	turns_until_count(world->loop, &asked->answers, answers);
}
