/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to a server of Redis that answers, lies, hangs and hangs up. It runs in this process
 * and loop, so what is asserted is what happened, never how fast.
 */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/log_capture.h"
#include "support/redis_world.h"
#include "support/turns.h"

/* --- Replies -------------------------------------------------------------------------------- */

static void test_replies(void **state)
{
	static const struct {
		const char *reply;
		enum redis_reply_kind kind;
		const char *text;
		int64_t number;
		size_t count;
	} rows[] = {
		{"$5\r\nmail1\r\n", REDIS_REPLY_TEXT, "mail1", 0, 0},
		{"$0\r\n\r\n", REDIS_REPLY_TEXT, "", 0, 0},
		{"$-1\r\n", REDIS_REPLY_NIL, "", 0, 0},
		{"*-1\r\n", REDIS_REPLY_NIL, "", 0, 0},
		{"-LOADING Redis is loading the dataset in memory\r\n", REDIS_REPLY_ERROR,
		 "LOADING Redis is loading the dataset in memory", 0, 0},
		{"-MOVED 1 10.0.0.9:6379\r\n", REDIS_REPLY_ERROR, "MOVED 1 10.0.0.9:6379", 0, 0},
		{"-a\x1b[2Jb\r\n", REDIS_REPLY_ERROR, "a\x1b[2Jb", 0, 0},
		{"+OK\r\n", REDIS_REPLY_STATUS, "OK", 0, 0},
		{":-17\r\n", REDIS_REPLY_NUMBER, "", -17, 0},
		{"*0\r\n", REDIS_REPLY_ARRAY, "", 0, 0},
		{"*2\r\n$5\r\nmail1\r\n:1\r\n", REDIS_REPLY_ARRAY, "mail1", 0, 2},
		{"*1\r\n*1\r\n$5\r\nmail1\r\n", REDIS_REPLY_ARRAY, "", 0, 1},
	};
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_start(world);
	for (size_t i = 0; i < array_length(rows); i++) {
		world->reply = rows[i].reply;
		redis_asked_ask(world, &asked, "k");
		redis_asked_await(world, &asked, (unsigned)i + 1);
		assert_int_equal(asked.kind, rows[i].kind);
		assert_string_equal(asked.text, rows[i].text);
		assert_int_equal(asked.number, rows[i].number);
		assert_int_equal(asked.count, rows[i].count);
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
		"$1048576\r\n",
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
		assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
		assert_non_null(strstr(asked.text, "Redis sent nonsense"));
		assert_int_equal(behind.kind, REDIS_REPLY_FAILED);
		world->reply = "$1\r\nm\r\n";
		redis_asked_ask(world, &asked, "good");
		redis_asked_await(world, &asked, 2 * (unsigned)i + 2);
		assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
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
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
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
	assert_int_equal(first.kind, REDIS_REPLY_TEXT);
	assert_int_equal(third.kind, REDIS_REPLY_TEXT);
	assert_int_equal(second.answers, 0);
	assert_int_equal(world->fake.accepted, 2);
}

/* --- Redirected, and events ----------------------------------------------------------------- */

static void ask_redirected(struct redis_world *world, struct redis_asked *asked)
{
	const char *const words[] = {"GET", "k"};
	const size_t lengths[] = {3, 1};

	redis_server_ask_redirected(world->server, &asked->question,
				    &(struct redis_command){2, words, lengths}, redis_asked_answer);
}

/* The reply to ASKING is nobody's, whatever it is. */
static void test_redirected(void **state)
{
	static const char *const rows[] = {
		"+OK\r\n$1\r\nm\r\n",
		"-ERR This instance has cluster support disabled\r\n$1\r\nm\r\n",
		"*1\r\n$1\r\nx\r\n$1\r\nm\r\n",
	};
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	struct redis_asked behind = {0};

	redis_world_start(world);
	for (unsigned i = 0; i < array_length(rows); i++) {
		ask_redirected(world, &asked);
		redis_asked_ask(world, &behind, "b");
		turns_until_count(world->loop, &world->fake.commands, 3 * i + 3);
		fake_redis_send(&world->fake, rows[i]);
		fake_redis_send(&world->fake, "$1\r\nb\r\n");
		redis_asked_await(world, &behind, i + 1);
		assert_int_equal(asked.answers, i + 1);
		assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
		assert_string_equal(asked.text, "m");
		assert_string_equal(behind.text, "b");
	}
	assert_string_equal(redis_world_heard(world), "ASKING\nGET k\nGET b\n"
						      "ASKING\nGET k\nGET b\n"
						      "ASKING\nGET k\nGET b\n");
	/* Lost between the two replies; cancelled between them. */
	ask_redirected(world, &asked);
	turns_until_count(world->loop, &world->fake.commands, 11);
	fake_redis_send(&world->fake, "+OK\r\n");
	turns_for(world->loop, 1);
	fake_redis_hang_up(&world->fake);
	redis_asked_await(world, &asked, 4);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	ask_redirected(world, &asked);
	turns_until_count(world->loop, &world->fake.commands, 13);
	redis_cancel(&asked.question);
	redis_asked_ask(world, &behind, "b");
	fake_redis_send(&world->fake, "+OK\r\n$1\r\nm\r\n$1\r\nc\r\n");
	redis_asked_await(world, &behind, 4);
	assert_string_equal(behind.text, "c");
	assert_int_equal(asked.answers, 4);
}

static void test_events(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_start(world);
	assert_false(redis_server_is_ready(world->server));
	redis_server_fail(world->server, "too early, and nothing happens");
	turns_until_count(world->loop, &world->readies, 1);
	assert_int_equal(world->losses, 0);
	redis_asked_ask(world, &asked, "k");
	redis_server_fail(world->server, "the owner saw a reason");
	assert_int_equal(asked.answers, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "the owner saw a reason");
	assert_int_equal(world->losses, 1);
	assert_string_equal(world->lost, "the owner saw a reason");
	turns_until_count(world->loop, &world->readies, 2);
	fake_redis_hang_up(&world->fake);
	turns_until_count(world->loop, &world->losses, 2);
	assert_string_equal(world->lost, "Redis closed the connection");
	turns_until_count(world->loop, &world->readies, 3);
	assert_int_equal(world->fake.accepted, 3);
}

static void fail_on_answer(struct redis_question *question, const struct redis_reply *reply)
{
	struct redis_asked *asked = container_of(question, struct redis_asked, question);

	asked->answers++;
	if (reply->kind != REDIS_REPLY_FAILED) {
		redis_server_fail(asked->world->server, "READONLY");
		assert_int_equal(reply->kind, REDIS_REPLY_TEXT); /* it is still there */
		assert_string_equal(reply->text, "m");
	}
}

/* A callback ends the connection over its reply; what lies behind in the same bytes is not read. */
static void test_fail_on_answer(void **state)
{
	const char *const words[] = {"GET", "k"};
	const size_t lengths[] = {3, 1};
	struct redis_world *world = *state;
	struct redis_asked asked = {.world = world};
	struct redis_asked behind = {0};

	redis_world_start(world);
	redis_server_ask(world->server, &asked.question, &(struct redis_command){2, words, lengths},
			 fail_on_answer);
	redis_asked_ask(world, &behind, "b");
	turns_until_count(world->loop, &world->fake.commands, 2);
	fake_redis_send(&world->fake, "$1\r\nm\r\n$1\r\nb\r\n");
	redis_asked_await(world, &behind, 1);
	assert_int_equal(asked.answers, 1);
	assert_string_equal(behind.text, "READONLY");
	assert_int_equal(world->losses, 1);
	turns_until_count(world->loop, &world->readies, 2);
}

/* Who hangs is connected to, and never ready. */
static void test_hanging_is_not_ready(void **state)
{
	struct redis_world *world = *state;

	world->config.timeout_ms = SHORT_MS;
	world->fake.hears_pings = true;
	redis_world_start(world);
	turns_until_count(world->loop, &world->fake.accepted, 3);
	assert_int_equal(world->readies, 0);
	assert_int_equal(count_logged("no reply to PING within 150 ms"), 1);
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
	assert_int_equal(refused.kind, REDIS_REPLY_FAILED);
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
	assert_int_equal(asked[0].kind, REDIS_REPLY_FAILED);
	assert_int_equal(metrics_get(&world->metrics, METRIC_LIMIT_REDIS_QUEUE), 2);
	for (unsigned i = 0; i < REDIS_IN_FLIGHT_MAX; i++) {
		fake_redis_send(&world->fake, "$-1\r\n");
	}
	redis_asked_await(world, &refused, 2);
	assert_int_equal(refused.kind, REDIS_REPLY_NIL);
	world->reply = "$1\r\nm\r\n";
	redis_asked_ask(world, &refused, "k");
	redis_asked_await(world, &refused, 3);
	assert_int_equal(refused.kind, REDIS_REPLY_TEXT);
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
	assert_int_equal(first.kind, REDIS_REPLY_TEXT);
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
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
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
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "no reply in time");
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
	fake_redis_send(&world->fake, "$3\r\nold\r\n");
	world->reply = "$3\r\nnew\r\n";
	redis_asked_ask(world, &asked, "2");
	redis_asked_await(world, &asked, 2);
	assert_string_equal(asked.text, "new");
	assert_int_equal(world->fake.accepted, 1);
}

/* That came to the fake with something in them. */
static unsigned count_segments(const struct redis_world *world)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	assert_int_equal(getsockopt(world->fake.client.fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
	return info.tcpi_data_segs_in;
}

/* Whoever asks in one turn of the loop, and those who are told then. */
static void test_one_write_a_turn(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked[3] = {[1] = {.then_ask = true}};
	unsigned before;

	world->reply = "$1\r\nm\r\n";
	redis_world_start(world);
	redis_asked_ask(world, &asked[0], "0");
	redis_asked_await(world, &asked[0], 1);
	before = count_segments(world);
	for (size_t i = 0; i < array_length(asked); i++) {
		redis_asked_ask(world, &asked[i], "k");
	}
	redis_asked_await(world, &asked[2], 1);
	redis_asked_await(world, &asked[1], 2);
	assert_int_equal(world->fake.commands, 5);
	assert_int_equal(count_segments(world), before + 2);
}

/* What was asked and has not left is lost with the connection. */
static void test_lost_before_it_left(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	world->reply = "$1\r\nm\r\n";
	redis_world_start(world);
	redis_asked_ask(world, &asked, "1");
	redis_asked_await(world, &asked, 1);
	redis_asked_ask(world, &asked, "2");
	redis_server_fail(world->server, "for no reason");
	assert_int_equal(asked.answers, 2);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	redis_asked_ask(world, &asked, "3");
	redis_asked_await(world, &asked, 3);
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
	assert_string_equal(redis_world_heard(world), "GET 1\nGET 3\n");
	redis_asked_ask(world, &asked, "4");
	redis_cancel(&asked.question);
}

static void test_ends(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_server_free(NULL);
	redis_world_start(world); /* freed before its first attempt */
	redis_server_free(world->server);
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
		in_world(test_redirected),
		in_world(test_events),
		in_world(test_fail_on_answer),
		in_world(test_hanging_is_not_ready),
		in_world(test_queue_bound),
		in_world(test_hanging),
		in_world(test_hanging_is_seen_without_asker),
		in_world(test_stalled_loop),
		in_world(test_late_asker),
		in_world(test_one_write_a_turn),
		in_world(test_lost_before_it_left),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
