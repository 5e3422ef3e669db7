/* SPDX-License-Identifier: Apache-2.0
 *
 * The store over one server: what its owner is told, in which order, and questions that wait, are
 * cancelled, or are too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/redis_server_internal.h"
#include "base/base.h"
#include "support/log_capture.h"
#include "support/store_world.h"
#include "support/turns.h"

static void start_watching(struct store_world *world)
{
	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	turns_until_count(world->loop, &world->watchings, 1);
	assert_string_equal(store_world_told(world), "ready\nwatching\n");
	store_world_forget(world);
}

/* --- What the owner is told ----------------------------------------------------------------- */

static void test_changes(void **state)
{
	struct store_world *world = *state;

	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	assert_false(store_is_cluster(world->store));
	assert_false(store_is_ready(world->store));
	turns_until_count(world->loop, &world->watchings, 1);
	assert_true(store_is_ready(world->store) && store_is_watching(world->store));
	store_world_forget(world);
	fake_node_invalidate(&world->nodes[0], "gatepost:route:u1");
	fake_node_invalidate(&world->nodes[0], NULL);
	turns_until_count(world->loop, &world->changes, 2);
	assert_string_equal(store_world_told(world), "changed gatepost:route:u1\nflushed\n");
}

static void test_loss_of_the_watch(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	fake_node_hang_up(&world->nodes[0], true);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nwatching\n");
}

static void test_loss_of_the_server(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	fake_node_hang_up(&world->nodes[0], false);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
	assert_string_equal(world->why, "Redis closed the connection");
}

static void test_loss_of_both(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	fake_node_down(&world->nodes[0]);
	turns_until_count(world->loop, &world->losses, 1);
	assert_string_equal(store_world_told(world), "blind\nlost\n");
	assert_false(store_is_ready(world->store) || store_is_watching(world->store));
	fake_node_up(&world->nodes[0]);
	turns_until_count(world->loop, &world->watchings, 2);
	assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
}

/* Changes are heard, but not answered: that is not `watching` yet. */
static void test_watch_before_server(void **state)
{
	struct store_world *world = *state;

	start_watching(world);
	fake_node_down(&world->nodes[0]);
	turns_until_count(world->loop, &world->losses, 1);
	store_world_forget(world);
	world->nodes[0].hangs = true;
	fake_node_up(&world->nodes[0]);
	turns_for(world->loop, 300);
	assert_string_equal(store_world_told(world), "");
}

/* --- Questions ------------------------------------------------------------------------------ */

static void test_replies(void **state)
{
	static const struct {
		const char *reply;
		enum redis_reply_kind kind;
		const char *text;
	} rows[] = {
		{"$5\r\nmail1\r\n", REDIS_REPLY_TEXT, "mail1"},
		{"$-1\r\n", REDIS_REPLY_NIL, ""},
		{"+OK\r\n", REDIS_REPLY_STATUS, "OK"},
		{":1\r\n", REDIS_REPLY_NUMBER, ""},
		{"*1\r\n:1\r\n", REDIS_REPLY_ARRAY, ""},
		{"-WRONGTYPE Operation\r\n", REDIS_REPLY_ERROR, "WRONGTYPE Operation"},
		{"-MOVED 1 10.0.0.9:6379\r\n", REDIS_REPLY_ERROR, "MOVED 1 10.0.0.9:6379"},
		{"-READONLYX\r\n", REDIS_REPLY_ERROR, "READONLYX"},
		{"-LOADING Redis is loading\r\n", REDIS_REPLY_FAILED, "LOADING Redis is loading"},
		{"-MASTERDOWN Link is down\r\n", REDIS_REPLY_FAILED, "MASTERDOWN Link is down"},
	};
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	for (size_t i = 0; i < array_length(rows); i++) {
		world->nodes[0].reply = rows[i].reply;
		store_asked_ask(world, &asked, "k");
		store_asked_await(world, &asked, (unsigned)i + 1);
		assert_int_equal(asked.kind, rows[i].kind);
		assert_string_equal(asked.text, rows[i].text);
	}
	assert_string_equal(store_world_told(world), "");
}

/* A server that may not be written is a master no more. */
static void test_read_only(void **state)
{
	static const char *const rows[] = {
		"-READONLY You can't write against a read only replica.\r\n",
		"-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't\r\n",
	};
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	for (unsigned i = 0; i < array_length(rows); i++) {
		world->nodes[0].reply = rows[i];
		store_asked_ask(world, &asked, "k");
		store_asked_await(world, &asked, i + 1);
		assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
		turns_until_count(world->loop, &world->watchings, i + 2);
		assert_string_equal(store_world_told(world), "blind\nlost\nready\nwatching\n");
		store_world_forget(world);
	}
}

/* Whoever asks before there is a connection waits for it; all in order. */
static void test_waiting(void **state)
{
	enum { COUNT = 50 };
	struct store_world *world = *state;
	struct store_asked asked[COUNT] = {0};
	char key[16];

	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		store_asked_ask(world, &asked[i], key);
	}
	store_cancel(&asked[7].question);
	store_cancel(&asked[7].question);
	store_asked_await(world, &asked[COUNT - 1], 1);
	for (unsigned i = 1; i < COUNT; i++) {
		assert_int_equal(asked[i].answers, i == 7 ? 0 : 1);
		assert_true(i == 7 || asked[i].place > asked[i == 8 ? 6 : i - 1].place);
	}
	assert_non_null(strstr(fake_node_heard(&world->nodes[0]), "GET key6\nGET key8\n"));
}

static void test_waiting_in_vain(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	world->config.timeout_ms = SHORT_MS;
	fake_node_down(&world->nodes[0]);
	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_non_null(strstr(asked.text, "no connection"));
	assert_int_equal(count_logged("Redis is not usable 127.0.0.1"), 1);
	assert_string_equal(store_world_told(world), "");
}

static void test_hanging(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	start_watching(world);
	world->config.timeout_ms = SHORT_MS;
	world->nodes[0].reply = NULL;
	store_asked_ask(world, &asked, "k");
	store_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "no reply within 150 ms");
	turns_until_count(world->loop, &world->readies, 2);
}

static void test_cancel_sent(void **state)
{
	struct store_world *world = *state;
	struct store_asked first = {0};
	struct store_asked second = {0};

	start_watching(world);
	world->nodes[0].reply = NULL;
	store_asked_ask(world, &first, "1");
	store_asked_ask(world, &second, "2");
	turns_until_count(world->loop, &world->nodes[0].asked, 2);
	store_cancel(&first.question);
	fake_node_send(&world->nodes[0], "$1\r\na\r\n$1\r\nb\r\n");
	store_asked_await(world, &second, 1);
	assert_int_equal(first.answers, 0);
	assert_string_equal(second.text, "b");
}

static void test_callbacks_ask_and_cancel(void **state)
{
	struct store_world *world = *state;
	struct store_asked first = {.then_ask = true};
	struct store_asked second = {0};

	start_watching(world);
	first.then_cancel = &second;
	store_asked_ask(world, &first, "1");
	store_asked_ask(world, &second, "2");
	store_asked_await(world, &first, 2);
	assert_int_equal(second.answers, 0);
	assert_string_equal(fake_node_heard(&world->nodes[0]), "GET 1\nGET 2\nGET again\n");
}

static void test_callbacks_during_loss(void **state)
{
	struct store_world *world = *state;
	struct store_asked first = {.then_ask = true};
	struct store_asked second = {0};

	start_watching(world);
	world->nodes[0].reply = NULL;
	first.then_cancel = &second;
	store_asked_ask(world, &first, "1");
	store_asked_ask(world, &second, "2");
	turns_until_count(world->loop, &world->nodes[0].asked, 2);
	world->nodes[0].reply = "$1\r\nm\r\n";
	fake_node_hang_up(&world->nodes[0], false);
	store_asked_await(world, &first, 2);
	assert_int_equal(first.kind, REDIS_REPLY_TEXT);
	assert_int_equal(second.answers, 0);
}

/* The owner asks and cancels from within an event. */
static struct store_asked *of_event;

static void ask_in_event(struct store_world *world, const char *event)
{
	if (strcmp(event, "ready") == 0) {
		store_asked_ask(world, of_event, "of the event");
	} else if (strcmp(event, "lost") == 0) {
		store_cancel(&of_event->question);
		store_asked_ask(world, of_event, "of the loss");
	}
}

static void test_events_ask(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	of_event = &asked;
	world->on_event = ask_in_event;
	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	store_asked_await(world, &asked, 1);
	world->on_event = NULL;
	turns_until_count(world->loop, &world->watchings, 1);
	world->on_event = ask_in_event;
	world->nodes[0].reply = NULL;
	fake_node_hang_up(&world->nodes[0], false);
	turns_until_count(world->loop, &world->losses, 1);
	world->on_event = NULL;
	world->nodes[0].reply = "$1\r\nm\r\n";
	store_asked_await(world, &asked, 2);
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
}

/* Words are counted, and may hold NULs; they need not outlive the call. */
static void on_answer(struct store_question *question, const struct redis_reply *reply)
{
	(void)question;
	(void)reply;
}

static void test_words_are_copied(void **state)
{
	struct store_world *world = *state;
	struct store_question question = {0};
	char word[] = "KEEP";
	const char *words[] = {word, "a key", ""};
	size_t lengths[] = {4, 5, 0};

	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	store_ask(world->store, &question, &(struct redis_command){3, words, lengths}, 1,
		  on_answer);
	memset(word, 'x', 4);
	words[1] = NULL;
	lengths[2] = 100;
	turns_until_count(world->loop, &world->nodes[0].asked, 1);
	assert_string_equal(fake_node_heard(&world->nodes[0]), "KEEP a key \n");
	store_cancel(&question);
}

static void test_queue_bound(void **state)
{
	struct store_world *world = *state;
	struct store_asked *asked = calloc(STORE_IN_FLIGHT_MAX, sizeof(*asked));
	struct store_asked refused = {0};

	start_watching(world);
	world->nodes[0].reply = NULL;
	for (unsigned i = 0; i < STORE_IN_FLIGHT_MAX; i++) {
		store_asked_ask(world, &asked[i], "k");
	}
	assert_int_equal(metrics_get(&world->metrics, METRIC_LIMIT_REDIS_QUEUE), 0);
	store_asked_ask(world, &refused, "k");
	assert_int_equal(refused.answers, 1);
	assert_int_equal(refused.kind, REDIS_REPLY_FAILED);
	assert_string_equal(refused.text, "too many questions are waiting");
	assert_int_equal(metrics_get(&world->metrics, METRIC_LIMIT_REDIS_QUEUE), 1);
	for (unsigned i = 0; i < STORE_IN_FLIGHT_MAX; i++) {
		store_cancel(&asked[i].question);
	}
	free(asked);
}

static bool is_freed;

static void on_answer_free(struct store_question *question, const struct redis_reply *reply)
{
	assert_int_equal(reply->kind, REDIS_REPLY_FAILED);
	is_freed = true;
	free(question);
}

/* The server has no room for it: who is answered before store_ask returns may be gone then. */
static void test_refused_by_the_server(void **state)
{
	struct store_world *world = *state;
	struct store_question *question = calloc(1, sizeof(*question));
	struct redis_command command = {2, (const char *const[]){"GET", "k"}, (size_t[]){3, 1}};

	start_watching(world);
	world->nodes[0].reply = NULL;
	for (unsigned i = 0; i < REDIS_IN_FLIGHT_MAX; i++) {
		struct store_asked asked = {0};

		store_asked_ask(world, &asked, "k");
		store_cancel(&asked.question);
	}
	is_freed = false;
	store_ask(world->store, question, &command, 1, on_answer_free);
	assert_true(is_freed);
}

static void test_ends(void **state)
{
	struct store_world *world = *state;
	struct store_asked asked = {0};

	store_free(NULL);
	store_world_start(world, CONFIG_REDIS_SINGLE, 1); /* freed before its first attempt */
	store_world_stop(world);
	store_world_start(world, CONFIG_REDIS_SINGLE, 1);
	store_asked_ask(world, &asked, "1");
	turns_until_count(world->loop, &world->nodes[0].asked, 1);
	store_cancel(&asked.question);
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
		in_world(test_changes),
		in_world(test_loss_of_the_watch),
		in_world(test_loss_of_the_server),
		in_world(test_loss_of_both),
		in_world(test_watch_before_server),
		in_world(test_replies),
		in_world(test_read_only),
		in_world(test_waiting),
		in_world(test_waiting_in_vain),
		in_world(test_hanging),
		in_world(test_cancel_sent),
		in_world(test_callbacks_ask_and_cancel),
		in_world(test_callbacks_during_loss),
		in_world(test_events_ask),
		in_world(test_words_are_copied),
		in_world(test_queue_bound),
		in_world(test_refused_by_the_server),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
