/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to a Redis that answers, lies, hangs and hangs up. It runs in this process and loop, so
 * what is asserted is what happened, never how fast.
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
#include "support/redis_world.h"
#include "support/turns.h"

/* --- Replies -------------------------------------------------------------------------------- */

#define WRONG_TYPE "a reply of an unexpected type"

static void test_replies(void **state)
{
	static const struct {
		const char *reply;
		enum redis_result result;
		const char *text;
	} rows[] = {
		{"$5\r\nmail1\r\n", REDIS_STRING, "mail1"},
		{"$0\r\n\r\n", REDIS_STRING, ""},
		{"$-1\r\n", REDIS_NIL, ""},
		{"-LOADING Redis is loading the dataset in memory\r\n", REDIS_FAILED,
		 "LOADING Redis is loading the dataset in memory"},
		{"-NOAUTH Authentication required.\r\n", REDIS_FAILED,
		 "NOAUTH Authentication required."},
		{"-MOVED 1 10.0.0.9:6379\r\n", REDIS_FAILED, "MOVED 1 10.0.0.9:6379"},
		{"-CLUSTERDOWN The cluster is down\r\n", REDIS_FAILED,
		 "CLUSTERDOWN The cluster is down"},
		{"-WRONGTYPE Operation\r\n", REDIS_FAILED, "WRONGTYPE Operation"},
		{"-a\x1b[2Jb\r\n", REDIS_FAILED, "a?[2Jb"},
		{"+OK\r\n", REDIS_FAILED, WRONG_TYPE},
		{":1\r\n", REDIS_FAILED, WRONG_TYPE},
		{"*1\r\n$5\r\nmail1\r\n", REDIS_FAILED, WRONG_TYPE},
		{"*1\r\n*1\r\n$5\r\nmail1\r\n", REDIS_FAILED, WRONG_TYPE},
	};
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_start(world);
	for (size_t i = 0; i < array_length(rows); i++) {
		world->reply = rows[i].reply;
		redis_asked_ask(world, &asked, "k");
		redis_asked_await(world, &asked, (unsigned)i + 1);
		assert_int_equal(asked.result, rows[i].result);
		assert_string_equal(asked.text, rows[i].text);
	}
	assert_int_equal(world->fake.accepted, 1);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_CONNECTS), 1);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
	assert_int_equal(logged.length, 0);
}

/* What ends the connection; the next question is asked on another. */
static void test_nonsense(void **state)
{
	static const char *const rows[] = {
		"$2147483647\r\n",
		"*1073741824\r\n",
		"$65536\r\n",
		"x\r\n",
		"\r\n",
		"$5\r\nmail12\r\n",
		":12x\r\n",
		"_\r\n",
		">1\r\n+a\r\n",
		"HTTP/1.1 400 Bad Request\r\n\r\n",
	};
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	struct redis_asked behind = {0};

	redis_world_start(world);
	for (size_t i = 0; i < array_length(rows); i++) {
		world->reply = rows[i];
		redis_asked_ask(world, &asked, "bad");
		redis_asked_ask(world, &behind, "bad too");
		redis_asked_await(world, &asked, 2 * (unsigned)i + 1);
		redis_asked_await(world, &behind, (unsigned)i + 1);
		assert_int_equal(asked.result, REDIS_FAILED);
		assert_non_null(strstr(asked.text, "Redis sent nonsense"));
		assert_int_equal(behind.result, REDIS_FAILED);
		world->reply = "$1\r\nm\r\n";
		redis_asked_ask(world, &asked, "good");
		redis_asked_await(world, &asked, 2 * (unsigned)i + 2);
		assert_int_equal(asked.result, REDIS_STRING);
		assert_int_equal(world->fake.accepted, i + 2);
	}
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), array_length(rows));
}

static void test_unasked_reply(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_start(world);
	world->reply = "$1\r\na\r\n$1\r\nb\r\n";
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_string_equal(asked.text, "a");
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 1);
	world->reply = "$1\r\nc\r\n";
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 2);
	assert_string_equal(asked.text, "c");
	assert_int_equal(world->fake.accepted, 2);
	assert_int_equal(count_logged("a reply that nobody asked for"), 1);
}

static void test_half_a_reply(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	turns_until_count(world->loop, &world->fake.commands, 1);
	fake_redis_send(&world->fake, "$5\r\nmai");
	fake_redis_hang_up(&world->fake);
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.result, REDIS_FAILED);
	assert_string_equal(asked.text, "Redis closed the connection");
}

/* --- Order, cancelling, callbacks ----------------------------------------------------------- */

static void echo(struct fake_redis *fake, const char *command)
{
	char reply[64];
	const char *key = strrchr(command, ' ') + 1;

	snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(key), key);
	fake_redis_send(fake, reply);
}

/* All are asked before there is a connection, so they leave together. */
static void test_order(void **state)
{
	enum { COUNT = 200 };
	struct redis_world *world = *state;
	struct redis_asked asked[COUNT] = {0};
	char key[16];

	world->fake.on_command = echo;
	redis_world_start(world);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		redis_asked_ask(world, &asked[i], key);
	}
	redis_asked_await(world, &asked[COUNT - 1], 1);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		assert_int_equal(asked[i].answers, 1);
		assert_string_equal(asked[i].text, key);
	}
	assert_int_equal(world->fake.accepted, 1);
	assert_int_equal(world->fake.commands, COUNT);
}

static void test_cancel_sent(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked first = {0};
	struct redis_asked second = {0};

	redis_world_start(world);
	redis_asked_ask(world, &first, "1");
	turns_until_count(world->loop, &world->fake.commands, 1);
	redis_cancel(&first.question);
	redis_cancel(&first.question);
	redis_asked_ask(world, &second, "2");
	turns_until_count(world->loop, &world->fake.commands, 2);
	fake_redis_send(&world->fake, "$5\r\nfirst\r\n$6\r\nsecond\r\n");
	redis_asked_await(world, &second, 1);
	assert_string_equal(second.text, "second");
	assert_int_equal(first.answers, 0);
	/* Cancelled and asked again: the old reply is not the new question's. */
	redis_asked_ask(world, &first, "3");
	redis_cancel(&first.question);
	redis_asked_ask(world, &first, "4");
	turns_until_count(world->loop, &world->fake.commands, 4);
	fake_redis_send(&world->fake, "$5\r\nthird\r\n$6\r\nfourth\r\n");
	redis_asked_await(world, &first, 1);
	assert_string_equal(first.text, "fourth");
	assert_int_equal(world->fake.accepted, 1);
}

static void test_cancel_unsent(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked first = {0};
	struct redis_asked second = {0};

	world->reply = "$1\r\nm\r\n";
	redis_world_start(world);
	redis_asked_ask(world, &first, "1");
	redis_asked_ask(world, &second, "2");
	redis_cancel(&first.question);
	redis_asked_await(world, &second, 1);
	assert_int_equal(first.answers, 0);
	assert_string_equal(redis_world_heard(world), "GET 2\n");
	redis_cancel(&second.question);
}

static void test_callbacks_ask_and_cancel(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked first = {0};
	struct redis_asked second = {0};

	redis_world_start(world);
	first.then_cancel = &second;
	first.then_ask = true;
	redis_asked_ask(world, &first, "1");
	redis_asked_ask(world, &second, "2");
	turns_until_count(world->loop, &world->fake.commands, 2);
	fake_redis_send(&world->fake, "$1\r\na\r\n$1\r\nb\r\n");
	turns_until_count(world->loop, &world->fake.commands, 3);
	assert_string_equal(first.text, "a");
	fake_redis_send(&world->fake, "$1\r\nc\r\n");
	redis_asked_await(world, &first, 2);
	assert_string_equal(first.text, "c");
	assert_int_equal(second.answers, 0);
	assert_int_equal(world->fake.accepted, 1);
}

static void test_callbacks_during_loss(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked first = {0};
	struct redis_asked second = {0};
	struct redis_asked third = {0};

	redis_world_start(world);
	first.then_cancel = &second;
	first.then_ask = true;
	third.then_ask = true;
	redis_asked_ask(world, &first, "1");
	redis_asked_ask(world, &second, "2");
	redis_asked_ask(world, &third, "3");
	turns_until_count(world->loop, &world->fake.commands, 3);
	fake_redis_hang_up(&world->fake);
	world->reply = "$1\r\nm\r\n";
	redis_asked_await(world, &first, 2);
	redis_asked_await(world, &third, 2);
	assert_int_equal(first.result, REDIS_STRING);
	assert_int_equal(third.result, REDIS_STRING);
	assert_int_equal(second.answers, 0);
	assert_int_equal(world->fake.accepted, 2);
}

/* --- Bounds --------------------------------------------------------------------------------- */

static void test_queue_bound(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked *asked = calloc(REDIS_IN_FLIGHT_MAX, sizeof(*asked));
	struct redis_asked refused = {0};

	redis_world_start(world);
	for (unsigned i = 0; i < REDIS_IN_FLIGHT_MAX; i++) {
		redis_asked_ask(world, &asked[i], "k");
	}
	redis_asked_ask(world, &refused, "k");
	assert_int_equal(refused.answers, 1);
	assert_int_equal(refused.result, REDIS_FAILED);
	assert_string_equal(refused.text, "too many questions are waiting");
	assert_int_equal(metrics_get(&world->metrics, METRIC_LIMIT_REDIS_QUEUE), 1);
	/* A cancelled question that was sent keeps its place, one that was not gives it back. */
	redis_cancel(&asked[0].question);
	redis_asked_ask(world, &refused, "k");
	assert_int_equal(refused.answers, 1);
	turns_until_count(world->loop, &world->fake.commands, REDIS_IN_FLIGHT_MAX);
	redis_cancel(&asked[1].question);
	redis_asked_ask(world, &asked[0], "k");
	assert_int_equal(asked[0].answers, 1);
	assert_int_equal(asked[0].result, REDIS_FAILED);
	assert_int_equal(metrics_get(&world->metrics, METRIC_LIMIT_REDIS_QUEUE), 2);
	for (unsigned i = 0; i < REDIS_IN_FLIGHT_MAX; i++) {
		fake_redis_send(&world->fake, "$-1\r\n");
	}
	redis_asked_await(world, &refused, 2);
	assert_int_equal(refused.result, REDIS_NIL);
	world->reply = "$1\r\nm\r\n";
	redis_asked_ask(world, &refused, "k");
	redis_asked_await(world, &refused, 3);
	assert_int_equal(refused.result, REDIS_STRING);
	free(asked);
}

/* --- Time ----------------------------------------------------------------------------------- */

static void test_hanging(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked first = {0};
	struct redis_asked second = {0};
	struct redis_asked cancelled = {0};

	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &first, "1");
	redis_asked_ask(world, &cancelled, "2");
	turns_until_count(world->loop, &world->fake.commands, 2);
	redis_cancel(&cancelled.question);
	redis_asked_ask(world, &second, "3");
	redis_asked_await(world, &first, 1);
	redis_asked_await(world, &second, 1);
	assert_string_equal(first.text, "no reply within 150 ms");
	assert_string_equal(second.text, first.text);
	assert_int_equal(cancelled.answers, 0);
	world->reply = "$1\r\nm\r\n";
	world->config.timeout_ms = PATIENT_MS;
	redis_asked_ask(world, &first, "4");
	redis_asked_await(world, &first, 2);
	assert_int_equal(first.result, REDIS_STRING);
	assert_int_equal(world->fake.accepted, 2);
}

/* A cancelled question alone still shows that Redis hangs. */
static void test_hanging_is_seen_without_asker(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &asked, "1");
	turns_until_count(world->loop, &world->fake.commands, 1);
	redis_cancel(&asked.question);
	turns_until_count(world->loop, &world->fake.accepted, 2);
	assert_int_equal(asked.answers, 0);
}

static void reply_and_stall(struct fake_redis *fake, const char *command)
{
	(void)command;
	fake_redis_send(fake, "$1\r\nm\r\n");
	usleep((SHORT_MS + 50) * 1000);
}

/* The loop was busy elsewhere for longer than the timeout, but the reply came in time. */
static void test_stalled_loop(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	world->fake.on_command = reply_and_stall;
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &asked, "1");
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.result, REDIS_STRING);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
}

/* It waited long for the connection, so its time is over soon after it was sent: that is no sign
 * of a Redis that hangs. */
static void test_late_asker(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	world->config.timeout_ms = 1000;
	redis_world_set_user(world, "", "secret");
	redis_world_start(world);
	redis_asked_ask(world, &asked, "1");
	turns_until_count(world->loop, &world->fake.commands, 1);
	turns_for(world->loop, 600);
	fake_redis_send(&world->fake, "+OK\r\n");
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.result, REDIS_FAILED);
	assert_string_equal(asked.text, "no reply in time");
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
	fake_redis_send(&world->fake, "$3\r\nold\r\n");
	world->reply = "$3\r\nnew\r\n";
	redis_asked_ask(world, &asked, "2");
	redis_asked_await(world, &asked, 2);
	assert_string_equal(asked.text, "new");
	assert_int_equal(world->fake.accepted, 1);
}

static void test_ends(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_free(NULL);
	redis_world_start(world); /* freed before its first attempt */
	redis_free(world->redis);
	redis_world_start(world); /* freed with cancelled questions, sent and not */
	redis_asked_ask(world, &asked, "1");
	turns_until_count(world->loop, &world->fake.commands, 1);
	redis_cancel(&asked.question);
	redis_asked_ask(world, &asked, "2");
	redis_cancel(&asked.question);
	assert_int_equal(asked.answers, 0);
}

static int end(void **state)
{
	buffer_done(&logged);
	return redis_world_end(state);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, redis_world_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_replies),
		in_world(test_nonsense),
		in_world(test_unasked_reply),
		in_world(test_half_a_reply),
		in_world(test_order),
		in_world(test_cancel_sent),
		in_world(test_cancel_unsent),
		in_world(test_callbacks_ask_and_cancel),
		in_world(test_callbacks_during_loss),
		in_world(test_queue_bound),
		in_world(test_hanging),
		in_world(test_hanging_is_seen_without_asker),
		in_world(test_stalled_loop),
		in_world(test_late_asker),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
