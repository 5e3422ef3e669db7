/* SPDX-License-Identifier: Apache-2.0
 *
 * The store over a cluster: the first three nodes are its masters, unless a test moves slots.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/redis_slots_internal.h"
#include "base/base.h"
#include "support/log_capture.h"
#include "support/store_world.h"
#include "support/turns.h"

/* Keys, and whose they are at first. */
#define KEY0  "bar" /* slot 5061 */
#define SLOT0 5061
#define KEY2  "foo" /* slot 12182 */
#define SLOT2 12182

/* The map that the nodes show, and what they answer to the rest. */
struct range {
	unsigned first;
	unsigned last;
	size_t node;
};

static struct range ranges[16];
static size_t range_count;
static const char *hosts;       /* of all masters */
static const char *map_reply;   /* in the place of the map */
static const char *map_of_seed; /* that the first node shows */
static unsigned maps_read;
static const char *replies[STORE_WORLD_NODES]; /* NULL: which node it is */
static bool silent[STORE_WORLD_NODES];

static const char *show_map(struct store_world *world, const struct fake_node *node)
{
	static char text[4096];
	size_t used = (size_t)snprintf(text, sizeof(text), "*%zu\r\n", range_count);

	maps_read++;
	if (map_reply != NULL) {
		return map_reply;
	}
	if (map_of_seed != NULL && node == &world->nodes[0]) {
		return map_of_seed;
	}
	for (size_t i = 0; i < range_count; i++) {
		used += (size_t)snprintf(
			text + used, sizeof(text) - used,
			"*3\r\n:%u\r\n:%u\r\n*3\r\n$%zu\r\n%s\r\n:%u\r\n$2\r\nid\r\n",
			ranges[i].first, ranges[i].last, strlen(hosts), hosts,
			world->nodes[ranges[i].node].port);
	}
	return text;
}

static const char *answer(struct fake_node *node, const char *command)
{
	static char text[32];
	struct store_world *world = node->context;
	size_t index = (size_t)(node - world->nodes);

	if (strcmp(command, "CLUSTER SLOTS") == 0) {
		return show_map(world, node);
	}
	if (silent[index]) {
		return NULL;
	}
	snprintf(text, sizeof(text), "$5\r\nnode%zu\r\n", index);
	return replies[index] != NULL ? replies[index] : text;
}

static void set_ranges(size_t count, const struct range *of)
{
	memcpy(ranges, of, count * sizeof(*of));
	range_count = count;
}

static const struct range three[] = {{0, 5460, 0}, {5461, 10922, 1}, {10923, 16383, 2}};

static int begin(void **state)
{
	struct store_world *world;

	assert_int_equal(store_world_begin(state), 0);
	world = *state;
	for (size_t i = 0; i < STORE_WORLD_NODES; i++) {
		world->nodes[i].answer = answer;
		replies[i] = NULL;
		silent[i] = false;
	}
	set_ranges(3, three);
	hosts = "127.0.0.1";
	map_reply = NULL;
	map_of_seed = NULL;
	maps_read = 0;
	return 0;
}

static void start_watching(struct store_world *world)
{
	store_world_start(world, CONFIG_REDIS_CLUSTER, 1);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_string_equal(store_world_told(world), "ready\nwatching\n");
	store_world_forget(world);
}

static void assert_answer(struct store_world *world, const char *key, const char *text)
{
	struct store_asked asked = {0};

	store_asked_ask(world, &asked, key);
	store_asked_await(world, &asked, 1);
	assert_string_equal(asked.text, text);
}

static const char *redirection(struct store_world *world, const char *word, unsigned slot,
			       size_t node)
{
	static char text[4][64];
	static unsigned turn;
	char *place = text[turn++ % 4];

	snprintf(place, sizeof(text[0]), "-%s %u 127.0.0.1:%u\r\n", word, slot,
		 world->nodes[node].port);
	return place;
}

/* --- The map -------------------------------------------------------------------------------- */

static void test_found(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	assert_true(store_is_cluster(world->store));
	assert_answer(world, KEY0, "node0");
	assert_answer(world, KEY2, "node2");
	assert_answer(world, "{foo}.bar", "node2");
	fake_node_invalidate(&world->nodes[1], "gatepost:hold:u");
	turns_until_count(world->loop, &world->changes, 1);
	assert_int_equal(world->nodes[3].accepted, 0);
	assert_int_equal(logged.length, 0);
}

/* An address that was empty is that which was asked. */
static void test_empty_hosts(void **state)
{
	struct store_world *world = *state;

	hosts = "";
	start_watching(world);
	assert_answer(world, KEY2, "node2");
}

/* The seed is no master itself: it is left, once the map is known. */
static void test_seed_that_leaves(void **state)
{
	static const struct range others[] = {{0, 16383, 1}};
	struct store_world *world = *state;

	set_ranges(1, others);
	start_watching(world);
	turns_for(world->loop, 50);
	assert_null(world->nodes[0].links);
	assert_answer(world, KEY0, "node1");
	assert_int_equal(logged.length, 0);
}

static void test_dead_seed(void **state)
{
	struct store_world *world = *state;

	fake_node_down(&world->nodes[0]);
	world->nodes[1].hangs = true;
	set_ranges(1, (const struct range[]){{0, 16383, 2}});
	store_world_start(world, CONFIG_REDIS_CLUSTER, 3);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_answer(world, KEY0, "node2");
}

/* Whatever is no map: another is asked, and it is read again. */
static void test_maps_of_nonsense(void **state)
{
	static const char *const rows[] = {
		"-ERR This instance has cluster support disabled\r\n",
		"-LOADING Redis is loading the dataset in memory\r\n",
		"*1\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"+OK\r\n",
		"*100000000\r\n",
	};
	struct store_world *world = *state;

	for (size_t i = 0; i < array_length(rows); i++) {
		unsigned before = maps_read;

		map_reply = rows[i];
		store_world_start(world, CONFIG_REDIS_CLUSTER, 2);
		turns_until_count(world->loop, &maps_read, before + 2);
		assert_false(store_is_ready(world->store));
		map_reply = NULL;
		turns_until_count(world->loop, &world->watchings, (unsigned)i + 1);
		store_world_stop(world);
	}
	assert_in_range(count_logged("where to ask Redis is not known 127.0.0.1"), 1,
			array_length(rows));
}

/* One that has no map is not asked for ever. */
static void test_another_is_asked(void **state)
{
	struct store_world *world = *state;

	map_of_seed = "-ERR This instance has cluster support disabled\r\n";
	store_world_start(world, CONFIG_REDIS_CLUSTER, 2);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_answer(world, KEY2, "node2");
}

/* Some slots are nobody's: that is not ready, but the others are asked. */
static void test_uncovered(void **state)
{
	struct store_world *world = *state;
	struct store_asked waits = {0};

	set_ranges(2, three);
	store_world_start(world, CONFIG_REDIS_CLUSTER, 1);
	assert_answer(world, KEY0, "node0");
	store_asked_ask(world, &waits, KEY2);
	turns_for(world->loop, 100);
	assert_string_equal(store_world_told(world), "");
	assert_int_equal(count_logged("5461 of 16384 slots have no master"), 1);
	set_ranges(3, three);
	turns_until_count(world->loop, &world->watchings, 1);
	store_asked_await(world, &waits, 1);
	assert_string_equal(waits.text, "node2");
	assert_int_equal(count_logged("is known again"), 1);
}

/* The map is read once a second, whatever the number of reasons. */
static void test_pace(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	replies[0] = "-CLUSTERDOWN The cluster is down\r\n";
	for (unsigned i = 0; i < 300; i++) {
		store_asked_ask(world, &asked, KEY0);
		store_asked_await(world, &asked, i + 1);
		assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
		turns_for(world->loop, 5);
	}
	assert_in_range(maps_read, 2, 4);
}

/* --- A change of the map -------------------------------------------------------------------- */

static void test_new_master(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	ranges[2].node = 3;
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
	assert_answer(world, KEY2, "node3");
	turns_for(world->loop, 50);
	assert_null(world->nodes[2].links);
}

/* From one master to another: caution, and not more often than every few seconds. */
static void test_moved_slots(void **state)
{
	static const struct range moved[] = {{0, 5460, 0}, {5461, 12182, 1}, {12183, 16383, 2}};
	struct store_world *world = *state;

	start_watching(world);
	set_ranges(3, moved);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
	assert_answer(world, KEY2, "node1");
	set_ranges(3, three);
	turns_until_count(world->loop, &maps_read, maps_read + 2);
	assert_answer(world, KEY2, "node2");
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
}

static void test_loss_of_a_master(void **state)
{
	struct store_world *world = *state;
	struct store_asked waits = {0};

	start_watching(world);
	fake_node_down(&world->nodes[2]);
	turns_until_count(world->loop, &world->losses, 1);
	assert_string_equal(store_world_told(world), "blind\nlost\n");
	assert_answer(world, KEY0, "node0");
	store_asked_ask(world, &waits, KEY2);
	turns_for(world->loop, 100);
	assert_int_equal(waits.answers, 0);
	ranges[2].node = 4; /* its replica was promoted */
	store_asked_await(world, &waits, 1);
	assert_string_equal(waits.text, "node4");
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
}

static void test_loss_of_a_watch(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	fake_node_hang_up(&world->nodes[1], true);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
}

/* All of them go, and come back elsewhere: the addresses of the configuration are asked again. */
static void test_seeds_again(void **state)
{
	struct store_world *world = *state;

	set_ranges(1, (const struct range[]){{0, 16383, 1}});
	start_watching(world);
	fake_node_down(&world->nodes[1]);
	set_ranges(1, (const struct range[]){{0, 16383, 2}});
	turns_until_count(world->loop, &world->watchings, 2);
	assert_answer(world, KEY0, "node2");
}

/* --- MOVED ---------------------------------------------------------------------------------- */

static void test_moved(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	replies[0] = redirection(world, "MOVED", SLOT0, 1);
	ranges[0].last = SLOT0 - 1;
	ranges[1].first = SLOT0;
	assert_answer(world, KEY0, "node1");
	assert_answer(world, KEY0, "node1");
	assert_string_equal(fake_node_heard(&world->nodes[1]) + 0, "GET " KEY0 "\nGET " KEY0 "\n");
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
}

/* To one that is new: it is connected to, and watched, first. */
static void test_moved_to_a_stranger(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	replies[0] = redirection(world, "MOVED", SLOT0, 3);
	ranges[3] = (struct range){SLOT0, SLOT0, 3};
	range_count = 4;
	assert_answer(world, KEY0, "node3");
	turns_until_count(world->loop, &world->watchings, 2);
	assert_non_null(strstr(world->why, "is not connected yet"));
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
}

/* Three are followed, a fourth is not. */
static void test_hops(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	replies[0] = redirection(world, "MOVED", SLOT0, 1);
	replies[1] = redirection(world, "MOVED", SLOT0, 2);
	replies[2] = redirection(world, "MOVED", SLOT0, 3);
	assert_answer(world, KEY0, "node3");
	replies[3] = redirection(world, "MOVED", SLOT0, 0);
	store_asked_ask(world, &asked, KEY0);
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "redirected more than 3 times");
	assert_int_equal(world->nodes[0].asked + world->nodes[1].asked + world->nodes[2].asked +
				 world->nodes[3].asked - maps_read,
			 8);
}

static void test_redirections_of_nonsense(void **state)
{
	struct store_world *world = *state;
	const char *const rows[] = {
		"-MOVED 5061 127.0.0.1\r\n",
		"-MOVED 5061 127.0.0.1:0\r\n",
		"-ASK 5061\r\n",
		redirection(world, "MOVED", SLOT0 + 1, 1), /* another slot than was asked for */
		redirection(world, "ASK", SLOT0 - 1, 1),
	};
	struct store_asked asked = {0};

	start_watching(world);
	for (unsigned i = 0; i < array_length(rows); i++) {
		replies[0] = rows[i];
		store_asked_ask(world, &asked, KEY0);
		store_asked_await(world, &asked, i + 1);
		assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
		assert_non_null(strstr(asked.text, "a redirection that cannot be followed"));
	}
	assert_string_equal(store_world_told(world), "");
}

static void test_other_errors(void **state)
{
	static const struct {
		const char *reply;
		enum redis_reply_kind kind;
	} rows[] = {
		{"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
		 REDIS_REPLY_FAILED},
		{"-CLUSTERDOWN Hash slot not served\r\n", REDIS_REPLY_FAILED},
		{"-LOADING Redis is loading\r\n", REDIS_REPLY_FAILED},
		{"-MASTERDOWN Link\r\n", REDIS_REPLY_FAILED},
		{"-CROSSSLOT Keys\r\n", REDIS_REPLY_ERROR},
		{"-WRONGTYPE Operation\r\n", REDIS_REPLY_ERROR},
	};
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	for (unsigned i = 0; i < array_length(rows); i++) {
		replies[0] = rows[i].reply;
		store_asked_ask(world, &asked, KEY0);
		store_asked_await(world, &asked, i + 1);
		assert_int_equal(asked.kind, rows[i].kind);
		assert_memory_equal(asked.text, rows[i].reply + 1, strlen(asked.text));
	}
}

/* --- ASK ------------------------------------------------------------------------------------ */

/* Once: the next question goes where it always went. */
static void test_ask(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	replies[0] = redirection(world, "ASK", SLOT0, 1);
	assert_answer(world, KEY0, "node1");
	assert_int_equal(world->nodes[1].asking, 1);
	replies[0] = NULL;
	assert_answer(world, KEY0, "node0");
	assert_string_equal(store_world_told(world), "");
}

/* The slot went on while it was asked for. */
static void test_ask_then_moved(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	replies[0] = redirection(world, "ASK", SLOT0, 1);
	replies[1] = redirection(world, "MOVED", SLOT0, 2);
	assert_answer(world, KEY0, "node2");
	assert_int_equal(world->nodes[2].asking, 0);
}

/* Keys are written there before the map names it: it is watched, and stays. */
static void test_ask_a_stranger(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	replies[0] = redirection(world, "ASK", SLOT0, 3);
	assert_answer(world, KEY0, "node3");
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
	turns_until_count(world->loop, &maps_read, maps_read + 2);
	fake_node_invalidate(&world->nodes[3], "gatepost:hold:u");
	turns_until_count(world->loop, &world->changes, 1);
	assert_answer(world, KEY0, "node3");
	assert_int_equal(world->nodes[3].accepted, 2);
}

/* --- Order ---------------------------------------------------------------------------------- */

/* Those that were sent before the slot moved are asked again before those that came after. */
static void test_order_over_moved(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked[4] = {0};
	const char *moved = redirection(world, "MOVED", SLOT0, 1);

	start_watching(world);
	silent[0] = true;
	store_asked_ask(world, &asked[0], "{bar}0");
	store_asked_ask(world, &asked[1], "{bar}1");
	turns_until_count(world->loop, &world->nodes[0].asked, 3);
	fake_node_send(&world->nodes[0], moved);
	turns_for(world->loop, 50); /* the first knows; the second is still there */
	store_asked_ask(world, &asked[2], "{bar}2");
	turns_for(world->loop, 50);
	assert_int_equal(world->nodes[1].asked, 0);
	fake_node_send(&world->nodes[0], moved);
	store_asked_ask(world, &asked[3], "{bar}3");
	store_asked_await(world, &asked[3], 1);
	assert_string_equal(fake_node_heard(&world->nodes[1]),
			    "GET {bar}0\nGET {bar}1\nGET {bar}2\nGET {bar}3\n");
}

/* While one is asked elsewhere, the next about its slot waits. */
static void test_order_over_ask(void **state)
{
	struct store_world *world = *state;
	struct store_asked first = {0};
	struct store_asked second = {0};

	start_watching(world);
	replies[0] = redirection(world, "ASK", SLOT0, 1);
	silent[1] = true;
	store_asked_ask(world, &first, KEY0);
	turns_until_count(world->loop, &world->nodes[1].asked, 1);
	replies[0] = NULL;
	store_asked_ask(world, &second, KEY0);
	turns_for(world->loop, 50);
	assert_int_equal(second.answers, 0);
	fake_node_send(&world->nodes[1], "$1\r\nm\r\n");
	store_asked_await(world, &second, 1);
	assert_int_equal(first.answers, 1);
	assert_true(first.place < second.place);
	assert_string_equal(second.text, "node0");
}

/* A question whose node leaves the map fails with it. */
static void test_in_flight_at_a_leaver(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	silent[2] = true;
	store_asked_ask(world, &asked, KEY2);
	ranges[2].node = 3;
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "it has left the cluster");
}

/* A redirection that leads nowhere is bounded in time. */
static void test_moved_to_nobody(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	world->config.timeout_ms = SHORT_MS;
	fake_node_down(&world->nodes[5]);
	replies[0] = redirection(world, "MOVED", SLOT0, 5);
	store_asked_ask(world, &asked, KEY0);
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_non_null(strstr(asked.text, "no connection"));
	replies[0] = NULL;
	turns_until_count(world->loop, &world->watchings, 2); /* the map says otherwise */
	assert_answer(world, KEY0, "node0");
}

static void test_cancel(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	silent[1] = true;
	replies[0] = redirection(world, "ASK", SLOT0, 1);
	store_asked_ask(world, &asked, KEY0);
	store_cancel(&asked.question); /* sent */
	store_asked_ask(world, &asked, KEY0);
	turns_until_count(world->loop, &world->nodes[1].asked, 1);
	store_cancel(&asked.question); /* redirected */
	replies[0] = redirection(world, "ASK", SLOT0, 4);
	fake_node_down(&world->nodes[4]);
	store_asked_ask(world, &asked, KEY0);
	turns_for(world->loop, 50);
	store_cancel(&asked.question); /* it waits */
	assert_int_equal(asked.answers, 0);
}

static void test_ends(void **state)
{
	struct store_world *world = *state;

	store_world_start(world, CONFIG_REDIS_CLUSTER, 2); /* freed before its first attempt */
	store_world_stop(world);
	store_world_start(world, CONFIG_REDIS_CLUSTER, 2); /* freed while the map is asked for */
	map_reply = "";
	turns_until_count(world->loop, &maps_read, 1);
	store_world_stop(world);
	map_reply = NULL;
	store_world_start(world, CONFIG_REDIS_CLUSTER, 2); /* freed while masters connect */
	turns_until_count(world->loop, &maps_read, 2);
}

static int end(void **state)
{
	buffer_done(&logged);
	return store_world_end(state);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_found),
		in_world(test_empty_hosts),
		in_world(test_seed_that_leaves),
		in_world(test_dead_seed),
		in_world(test_maps_of_nonsense),
		in_world(test_another_is_asked),
		in_world(test_uncovered),
		in_world(test_pace),
		in_world(test_new_master),
		in_world(test_moved_slots),
		in_world(test_loss_of_a_master),
		in_world(test_loss_of_a_watch),
		in_world(test_seeds_again),
		in_world(test_moved),
		in_world(test_moved_to_a_stranger),
		in_world(test_hops),
		in_world(test_redirections_of_nonsense),
		in_world(test_other_errors),
		in_world(test_ask),
		in_world(test_ask_then_moved),
		in_world(test_ask_a_stranger),
		in_world(test_order_over_moved),
		in_world(test_order_over_ask),
		in_world(test_in_flight_at_a_leaver),
		in_world(test_moved_to_nobody),
		in_world(test_cancel),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
