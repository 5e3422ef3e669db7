/* SPDX-License-Identifier: Apache-2.0
 *
 * The store behind sentinels: the first three nodes are the sentinels, the others are whom they
 * name, truly or not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/log_capture.h"
#include "support/store_world.h"
#include "support/turns.h"

#define SENTINELS 3

/* What a sentinel says to the one question that there is. */
static char answers[SENTINELS][96];

static const char *answer(struct fake_node *node, const char *command)
{
	struct store_world *world = node->context;

	assert_string_equal(command, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
	return answers[node - world->nodes];
}

/* `named` is the index of a node. */
static void name(struct store_world *world, size_t sentinel, size_t named)
{
	char port[8];
	int length = snprintf(port, sizeof(port), "%u", world->nodes[named].port);

	snprintf(answers[sentinel], sizeof(answers[sentinel]),
		 "*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", length, port);
}

static void name_everywhere(struct store_world *world, size_t named)
{
	for (size_t i = 0; i < SENTINELS; i++) {
		name(world, i, named);
	}
}

static void announce(struct store_world *world, size_t sentinel, const char *text)
{
	fake_node_tell(&world->nodes[sentinel], "+switch-master", text);
}

static void start(struct store_world *world, size_t count)
{
	for (size_t i = 0; i < SENTINELS; i++) {
		world->nodes[i].answer = answer;
	}
	store_world_start(world, CONFIG_REDIS_SENTINEL, count);
}

static bool sentinels_are_heard(const void *context)
{
	const struct store_world *world = context;

	for (size_t i = 0; i < world->config.address_count; i++) {
		if (world->nodes[i].listener.fd >= 0 && world->nodes[i].subscribed == 0) {
			return false;
		}
	}
	return true;
}

/* Up to where the master is watched, and every sentinel listened to. */
static void start_watching(struct store_world *world, size_t count)
{
	start(world, count);
	turns_until_count(world->loop, &world->watchings, 1);
	turns_until(world->loop, sentinels_are_heard, world);
	assert_string_equal(store_world_told(world), "ready\nwatching\n");
	store_world_forget(world);
	turns_for(world->loop, 100); /* whatever they are asked over it */
}

static void assert_asked_of(struct store_world *world, size_t node)
{
	struct store_asked asked = {0};
	unsigned before = world->nodes[node].asked;

	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
	assert_int_equal(world->nodes[node].asked, before + 1);
}

/* --- Finding the master --------------------------------------------------------------------- */

static void test_found(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	assert_asked_of(world, 3);
	fake_node_invalidate(&world->nodes[3], "gatepost:hold:u");
	turns_until_count(world->loop, &world->changes, 1);
	assert_string_equal(store_world_told(world), "changed gatepost:hold:u\n");
	assert_int_equal(logged.length, 0);
}

/* Credentials of sentinels are others; there are no databases. */
static void test_dead_sentinels(void **state)
{
	struct store_world *world = *state;

	fake_node_down(&world->nodes[0]);
	world->nodes[1].hangs = true;
	name_everywhere(world, 3);
	start(world, SENTINELS);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_asked_of(world, 3);
}

/* What is no name: the next one is asked. */
static void test_nonsense(void **state)
{
	static const char *const rows[] = {
		"*-1\r\n",
		"-IDONTKNOW No such master\r\n",
		"-NOAUTH Authentication required.\r\n",
		"+OK\r\n",
		"*1\r\n$9\r\n127.0.0.1\r\n",
		"*2\r\n$9\r\n127.0.0.1\r\n:6379\r\n",
		"*2\r\n:1\r\n$1\r\n1\r\n",
		"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n65536\r\n",
		"*2\r\n$9\r\n127.0.0.1\r\n$2\r\n-1\r\n",
		"*2\r\n$3\r\na/b\r\n$1\r\n1\r\n",
		"$65536000000\r\n",
	};
	struct store_world *world = *state;

	for (size_t i = 0; i < array_length(rows); i++) {
		snprintf(answers[0], sizeof(answers[0]), "%s", rows[i]);
		snprintf(answers[1], sizeof(answers[1]), "%s", rows[i]);
		name(world, 2, 3);
		start(world, SENTINELS);
		turns_until_count(world->loop, &world->watchings, (unsigned)i + 1);
		assert_asked_of(world, 3);
		store_world_stop(world);
	}
}

/* A replica, and an address where nobody is: the others name the master. */
static void test_liars(void **state)
{
	struct store_world *world = *state;

	world->config.timeout_ms = 300;
	world->nodes[4].role = "slave";
	fake_node_down(&world->nodes[5]);
	name(world, 0, 4);
	name(world, 1, 5);
	name(world, 2, 3);
	start(world, SENTINELS);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_asked_of(world, 3);
	assert_int_equal(world->nodes[4].asked, 0);
}

static void test_no_master(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	world->config.timeout_ms = SHORT_MS;
	world->nodes[4].role = "slave";
	name_everywhere(world, 4);
	start(world, SENTINELS);
	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	turns_for(world->loop, 1200);
	assert_string_equal(store_world_told(world), "");
	assert_in_range(count_logged("where to ask Redis is not known"), 1, 2);
	world->nodes[4].role = "master";
	turns_until_count(world->loop, &world->watchings, 1);
	assert_int_equal(count_logged("where to ask Redis is known again"), 1);
}

static void test_no_sentinel(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	world->config.timeout_ms = SHORT_MS;
	for (size_t i = 0; i < SENTINELS; i++) {
		fake_node_down(&world->nodes[i]);
	}
	name_everywhere(world, 3);
	start(world, SENTINELS);
	turns_for(world->loop, 200); /* so that its words are known */
	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_string_equal(asked.text, "no connection: no sentinel can be asked");
	fake_node_up(&world->nodes[1]);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_asked_of(world, 3);
}

/* --- Switches ------------------------------------------------------------------------------- */

static void test_announced_switch(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	world->nodes[3].reply = NULL;
	store_asked_ask(world, &asked, "in flight");
	turns_until_count(world->loop, &world->nodes[3].asked, 1);
	name(world, 1, 4); /* the others do not know it yet */
	announce(world, 1, "mymaster 127.0.0.1 1 127.0.0.1 2");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_non_null(strstr(asked.text, "the master is 127.0.0.1:"));
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
	assert_string_equal(world->why, asked.text);
	assert_asked_of(world, 4);
	/* The others announce it too, later. */
	name_everywhere(world, 4);
	announce(world, 0, "mymaster 127.0.0.1 1 127.0.0.1 2");
	announce(world, 2, "mymaster 127.0.0.1 1 127.0.0.1 2");
	turns_for(world->loop, 200);
	assert_int_equal(world->losses, 1);
	/* And the master of before is heard no more. */
	assert_null(world->nodes[3].links);
}

/* Of other masters, and nonsense. */
static void test_other_announcements(void **state)
{
	static const char *const rows[] = {"other 127.0.0.1 1 127.0.0.1 2", "mymaster", "",
					   "mymaster2 127.0.0.1 1 127.0.0.1 2"};
	struct store_world *world = *state;
	unsigned asked;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	asked = world->nodes[0].asked;
	for (size_t i = 0; i < array_length(rows); i++) {
		announce(world, 0, rows[i]);
	}
	turns_for(world->loop, 100);
	assert_int_equal(world->nodes[0].asked, asked);
	assert_string_equal(store_world_told(world), "");
}

/* The one that is announced is no master, or is not there: the one that there is stays. */
static void test_false_announcement(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	world->config.timeout_ms = SHORT_MS;
	world->nodes[4].role = "slave";
	name(world, 1, 4);
	announce(world, 1, "mymaster 127.0.0.1 1 127.0.0.1 2");
	turns_for(world->loop, 600);
	assert_string_equal(store_world_told(world), "");
	assert_asked_of(world, 3);
	/* Should it become one later, nobody is there who would ask it. */
	world->nodes[4].role = "master";
	turns_for(world->loop, 1000);
	assert_string_equal(store_world_told(world), "");
	assert_null(world->nodes[4].links);
}

/* The master dies; after a while, the sentinels agree upon another. */
static void test_failover(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	fake_node_down(&world->nodes[3]);
	turns_until_count(world->loop, &world->losses, 1);
	turns_for(world->loop, 300);
	store_asked_ask(world, &asked, "waits");
	name_everywhere(world, 4);
	announce(world, 2, "mymaster 127.0.0.1 1 127.0.0.1 2");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
	assert_string_equal(fake_node_heard(&world->nodes[4]), "GET waits\n");
}

/* Nobody announces it, since nobody is listened to then. */
static void test_silent_failover(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	fake_node_down(&world->nodes[3]);
	name_everywhere(world, 4);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_asked_of(world, 4);
}

/* The master comes back as it was. */
static void test_short_loss(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	fake_node_hang_up(&world->nodes[3], false);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
	assert_asked_of(world, 3);
}

/* It has become a replica, and says so only when it is written to. */
static void test_demoted(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	name_everywhere(world, 4);
	world->nodes[3].role = "slave";
	world->nodes[3].reply = "-READONLY You can't write against a read only replica.\r\n";
	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_asked_of(world, 4);
}

/* A sentinel that was cut off comes back, and believes in a master of the past that is one still:
 * the others know better. */
static void test_sentinel_of_the_past(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	name(world, 0, 4);
	fake_node_hang_up(&world->nodes[0], true);
	turns_until_count(world->loop, &world->nodes[0].subscribed, 2);
	turns_for(world->loop, 300);
	assert_string_equal(store_world_told(world), "");
	/* Also when the master is lost for a moment. */
	fake_node_hang_up(&world->nodes[3], false);
	turns_until_count(world->loop, &world->watchings, 2);
	turns_for(world->loop, 300);
	assert_int_equal(world->readies, 2);
	assert_asked_of(world, 3);
}

/* The others have no word to say, so it is asked again and again: that makes no second opinion. */
static void test_sentinel_of_the_past_alone(void **state)
{
	struct store_world *world = *state;
	unsigned before;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	before = world->nodes[0].asked;
	name(world, 0, 4);
	snprintf(answers[1], sizeof(answers[1]), "-IDONTKNOW\r\n");
	snprintf(answers[2], sizeof(answers[2]), "-IDONTKNOW\r\n");
	fake_node_hang_up(&world->nodes[0], true);
	turns_until_count(world->loop, &world->nodes[0].asked, before + 3);
	turns_for(world->loop, 50);
	assert_string_equal(store_world_told(world), "");
	assert_asked_of(world, 3);
}

/* The switch was announced while a sentinel was not listened to; it and another say so. */
static void test_missed_announcement(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start_watching(world, SENTINELS);
	name_everywhere(world, 4);
	fake_node_hang_up(&world->nodes[1], true);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_asked_of(world, 4);
}

static void test_ends(void **state)
{
	struct store_world *world = *state;

	name_everywhere(world, 3);
	start(world, SENTINELS); /* freed before its first attempt */
	store_world_stop(world);
	start(world, SENTINELS); /* freed while a sentinel is asked */
	turns_until_count(world->loop, &world->nodes[0].accepted, 1);
	store_world_stop(world);
	world->nodes[4].role =
		"slave"; /* freed with a candidate, and a question that was cancelled */
	name_everywhere(world, 4);
	start(world, SENTINELS);
	turns_until_count(world->loop, &world->nodes[4].accepted, 1);
}

static int end(void **state)
{
	buffer_done(&logged);
	return store_world_end(state);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, store_world_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_found),
		in_world(test_dead_sentinels),
		in_world(test_nonsense),
		in_world(test_liars),
		in_world(test_no_master),
		in_world(test_no_sentinel),
		in_world(test_announced_switch),
		in_world(test_other_announcements),
		in_world(test_false_announcement),
		in_world(test_failover),
		in_world(test_silent_failover),
		in_world(test_short_loss),
		in_world(test_demoted),
		in_world(test_sentinel_of_the_past),
		in_world(test_sentinel_of_the_past_alone),
		in_world(test_missed_announcement),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
