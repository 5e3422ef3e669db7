/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection to Redis: greeting, TLS, addresses of every kind, and a Redis that is down,
 * comes back, or never gets anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "net/resolver.h"
#include "net/tls_client.h"
#include "support/certified.h"
#include "support/log_capture.h"
#include "support/redis_world.h"
#include "support/turns.h"

static bool loss_is_logged(const void *why)
{
	return count_logged(why) > 0;
}

static bool six_failures(const void *context)
{
	const struct redis_world *world = context;

	return metrics_get(&world->metrics, METRIC_REDIS_FAILURES) >= 6;
}

struct greeting_row {
	const char *user;
	const char *password;
	unsigned database;
	enum redis_login login;
	bool master_only;
	bool in_cluster;
	const char *replies;
	const char *heard;
};

static void greet_in_vain(struct redis_world *world, const struct greeting_row *row)
{
	redis_world_set_user(world, row->user, row->password);
	world->config.sentinel_user = "guard";
	world->config.sentinel_password = "tower";
	world->config.database = row->database;
	world->settings.login = row->login;
	world->settings.master_only = row->master_only;
	world->settings.in_cluster = row->in_cluster;
	buffer_done(&world->heard);
	redis_world_start(world);
}

static unsigned count_lines(const char *text)
{
	unsigned count = 0;

	for (; *text != '\0'; text++) {
		count += *text == '\n';
	}
	return count;
}

#define IS_MASTER "*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n"

static void test_greeting(void **state)
{
	static const struct greeting_row rows[] = {
		{"", "", 0, REDIS_LOGIN_DATA, false, false, "+PONG\r\n", "PING\n"},
		{"", "pa ss", 0, REDIS_LOGIN_DATA, false, false, "+OK\r\n+PONG\r\n",
		 "AUTH pa ss\nPING\n"},
		{"joe", "pw", 0, REDIS_LOGIN_DATA, false, false, "+OK\r\n+PONG\r\n",
		 "AUTH joe pw\nPING\n"},
		{"", "", 3, REDIS_LOGIN_DATA, false, false, "+OK\r\n+PONG\r\n", "SELECT 3\nPING\n"},
		{"joe", "pw", 15, REDIS_LOGIN_DATA, true, false,
		 "+OK\r\n+OK\r\n+PONG\r\n" IS_MASTER, "AUTH joe pw\nSELECT 15\nPING\nROLE\n"},
		/* Without a password there is nothing to say for a user. */
		{"joe", "", 0, REDIS_LOGIN_DATA, false, false, "+PONG\r\n", "PING\n"},
		/* Who may not use PING was answered. */
		{"", "", 0, REDIS_LOGIN_DATA, false, false,
		 "-NOPERM this user has no permissions to run the 'ping' command\r\n", "PING\n"},
		{"joe", "pw", 15, REDIS_LOGIN_DATA, true, true, "+OK\r\n+PONG\r\n" IS_MASTER,
		 "AUTH joe pw\nPING\nROLE\n"},
		{"joe", "pw", 15, REDIS_LOGIN_SENTINEL, false, false, "+OK\r\n+PONG\r\n",
		 "AUTH guard tower\nPING\n"},
	};
	struct redis_world *world = *state;

	world->fake.hears_pings = true;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct redis_asked asked = {0};
		unsigned before = world->fake.commands;
		unsigned greeting = count_lines(rows[i].heard);

		greet_in_vain(world, &rows[i]);
		redis_asked_ask(world, &asked, "k");
		turns_until_count(world->loop, &world->fake.commands, before + greeting);
		turns_for(world->loop, 1);
		assert_string_equal(redis_world_heard(world), rows[i].heard);
		assert_false(redis_server_is_ready(world->server));
		assert_int_equal(world->readies, i);
		fake_redis_send(&world->fake, rows[i].replies);
		turns_until_count(world->loop, &world->fake.commands, before + greeting + 1);
		assert_int_equal(world->readies, i + 1);
		fake_redis_send(&world->fake, "$1\r\nm\r\n");
		redis_asked_await(world, &asked, 1);
		assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
		redis_server_free(world->server);
		world->server = NULL;
	}
	assert_int_equal(world->losses, 0);
}

#define NO_WORDS "AUTH: refused; the reply is not shown since it may hold the password"

static void test_greeting_refused(void **state)
{
	static const struct {
		const char *replies;
		const char *why;
	} rows[] = {
		{"-WRONGPASS invalid username-password pair\r\n",
		 "AUTH: WRONGPASS invalid username-password pair"},
		{"-ERR unknown command `AUTH`, with args beginning with: `hunt\r\n", NO_WORDS},
		{"-ERR no hunter2 here\r\n", NO_WORDS},
		{"$2\r\nOK\r\n", "AUTH: a reply of an unexpected type"},
		{"+OK\r\n-ERR DB index is out of range\r\n",
		 "SELECT: ERR DB index is out of range"},
		{"+OK\r\n+OK\r\n-LOADING Redis is loading the dataset in memory\r\n",
		 "PING: LOADING Redis is loading the dataset in memory"},
		{"+OK\r\n+OK\r\n+PONG\r\n*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n"
		 "$9\r\nconnected\r\n:3167038\r\n",
		 "ROLE: the server is no master but a slave"},
		{"+OK\r\n+OK\r\n+PONG\r\n*1\r\n$3\r\n\x1b[A\r\n",
		 "ROLE: the server is no master but a ?[A"},
		{"+OK\r\n+OK\r\n+PONG\r\n*1\r\n*1\r\n$6\r\nmaster\r\n",
		 "ROLE: a reply of an unexpected type"},
		{"+OK\r\n+OK\r\n+PONG\r\n*0\r\n", "ROLE: a reply of an unexpected type"},
		{"+OK\r\n+OK\r\n+PONG\r\n$6\r\nmaster\r\n", "ROLE: a reply of an unexpected type"},
		{"+OK\r\n+OK\r\n+PONG\r\n-NOPERM this user has no permissions\r\n",
		 "ROLE: NOPERM this user has no permissions"},
		{"+OK\r\n+OK\r\n+PONG\r\n" IS_MASTER "+OK\r\n", "a reply that nobody asked for"},
	};
	struct redis_world *world = *state;

	redis_world_set_user(world, "", "hunter2");
	world->config.database = 99;
	world->settings.master_only = true;
	world->fake.hears_pings = true;
	for (size_t i = 0; i < array_length(rows); i++) {
		redis_world_start(world);
		turns_until_count(world->loop, &world->fake.accepted, world->fake.accepted + 1);
		fake_redis_send(&world->fake, rows[i].replies);
		turns_until_count(world->loop, &world->fake.accepted, world->fake.accepted + 1);
		redis_server_free(world->server);
		world->server = NULL;
		assert_int_equal(count_logged("hunter2"), 0);
		assert_int_equal(count_logged(rows[i].why), 1);
		buffer_done(&logged);
	}
	assert_int_equal(world->readies, 1);
	assert_int_equal(world->losses, 1);
}

/* Who waits learns, when the time is over, why there is no connection. */
static void refuse_all(struct fake_redis *fake, const char *command)
{
	(void)command;
	fake_redis_send(fake, "-WRONGPASS no\r\n");
}

static void test_reason_for_waiting(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_set_user(world, "", "x");
	world->config.timeout_ms = SHORT_MS;
	world->fake.hears_pings = true;
	world->fake.on_command = refuse_all;
	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "no connection: AUTH: WRONGPASS no");
	assert_int_equal(count_logged("Redis is not usable"), 1);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_CONNECTS), 0);
}

static void test_greeting_hangs(void **state)
{
	struct redis_world *world = *state;

	world->config.database = 1;
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	world->fake.hears_pings = true;
	turns_until_count(world->loop, &world->fake.accepted, 2);
	assert_int_equal(count_logged("no reply to SELECT within 150 ms"), 1);
}

static void test_unix_socket(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	char folder[] = "/tmp/test_redis.XXXXXX";
	char address[128];

	assert_non_null(mkdtemp(folder));
	snprintf(address, sizeof(address), "unix:%s/redis.sock", folder);
	fake_redis_close(&world->fake);
	redis_world_open(world, 0, address + 5);
	redis_world_set_address(world, address);
	world->reply = "$1\r\nm\r\n";
	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_string_equal(asked.text, "m");
	fake_redis_close(&world->fake);
	redis_world_open(world, 0, NULL);
	assert_int_equal(rmdir(folder), 0);
}

static void set_name(struct redis_world *world, struct fake_name *name)
{
	char address[32];

	world->dns.names = name;
	world->dns.name_count = 1;
	snprintf(address, sizeof(address), "%s:%u", name->name, world->fake.port);
	redis_world_set_address(world, address);
}

/* --- TLS ------------------------------------------------------------------------------------ */

/* What a server shows: a certificate for `name`, or for 127.0.0.1 where that is NULL, signed by
 * the authority of the test, or by nobody. */
struct shown {
	const char *name;
	bool stranger;
};

struct tls_town {
	struct certified authority;
	struct certified server;
	char folder[32];
	char ca[64];
	struct tls_client_trust *trust;
	struct tls_client *client;
};

static void town_begin(struct redis_world *world, struct tls_town *town, const struct shown *shown)
{
	struct tls_client_settings settings = {true, town->ca, "", ""};
	enum tls_client_fault fault;
	struct error error = {0};

	strcpy(town->folder, "/tmp/test_redis.XXXXXX");
	assert_non_null(mkdtemp(town->folder));
	snprintf(town->ca, sizeof(town->ca), "%s/ca.pem", town->folder);
	certified_make(&town->authority,
		       &(struct certified_wish){.common_name = "town", .authority = true});
	certified_make(&town->server,
		       &(struct certified_wish){
			       .issuer = shown->stranger ? NULL : &town->authority,
			       .names = {shown->name != NULL ? shown->name : "127.0.0.1"},
		       });
	certified_write(&town->authority, NULL, town->ca);
	town->trust = tls_client_trust_new();
	town->client = tls_client_new(town->trust, &settings, &fault, &error);
	assert_string_equal(error.text, "");
	world->fake.tls = certified_server(&town->server, NULL, NULL);
	world->config.tls = true;
	world->settings.tls_client = town->client;
}

static void town_end(struct redis_world *world, struct tls_town *town)
{
	redis_server_free(world->server);
	world->server = NULL;
	fake_redis_hang_up(&world->fake);
	fake_redis_forget_tls(&world->fake);
	tls_client_free(town->client);
	tls_client_trust_free(town->trust);
	certified_done(&town->server);
	certified_done(&town->authority);
	unlink(town->ca);
	assert_int_equal(rmdir(town->folder), 0);
}

/* Whom it must name is the host of the address, or redis.server_name. */
static void test_tls(void **state)
{
	static const struct {
		struct shown shown;
		const char *server_name;
	} rows[] = {
		{{NULL, false}, ""},
		{{"redis.test", false}, "redis.test"},
	};
	struct redis_world *world = *state;

	redis_world_set_user(world, "", "secret");
	world->reply = "+OK\r\n";
	for (unsigned i = 0; i < array_length(rows); i++) {
		struct redis_asked asked = {0};
		struct tls_town town;

		world->config.server_name = (char *)rows[i].server_name;
		town_begin(world, &town, &rows[i].shown);
		redis_world_start(world);
		redis_asked_ask(world, &asked, "k");
		redis_asked_await(world, &asked, 1);
		assert_int_equal(asked.kind, REDIS_REPLY_STATUS);
		town_end(world, &town);
	}
	assert_string_equal(redis_world_heard(world), "AUTH secret\nGET k\nAUTH secret\nGET k\n");
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
}

static bool one_failure(const void *context)
{
	const struct redis_world *world = context;

	return metrics_get(&world->metrics, METRIC_REDIS_FAILURES) > 0;
}

/* Who is not believed hears nothing of ours. */
static void test_tls_not_believed(void **state)
{
	static const struct {
		struct shown shown;
		const char *server_name;
	} rows[] = {
		{{NULL, true}, ""},
		{{"redis.test", false}, ""},
		{{NULL, false}, "redis.test"},
	};
	struct redis_world *world = *state;

	redis_world_set_user(world, "", "secret");
	for (unsigned i = 0; i < array_length(rows); i++) {
		struct tls_town town;

		world->config.server_name = (char *)rows[i].server_name;
		town_begin(world, &town, &rows[i].shown);
		redis_world_start(world);
		turns_until(world->loop, one_failure, world);
		town_end(world, &town);
		assert_int_equal(count_logged("Redis is not usable"), 1);
		assert_int_equal(count_logged("certificate"), 1);
		buffer_done(&logged);
		world->metrics = (struct metrics){0};
	}
	assert_int_equal(world->fake.commands, 0);
	assert_int_equal(world->readies, 0);
}

/* A server that does not speak TLS never gets the password in the clear; one that says nothing is
 * not waited for. */
static void test_tls_missing(void **state)
{
	struct redis_world *world = *state;
	struct shown shown = {0};
	struct tls_town town;

	redis_world_set_user(world, "", "secret");
	town_begin(world, &town, &shown);
	fake_redis_forget_tls(&world->fake);
	world->fake.deaf = true;
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	turns_until_count(world->loop, &world->fake.accepted, 2);
	assert_int_equal(count_logged("no end of the TLS handshake within 150 ms"), 1);
	assert_null(
		memmem(buffer_bytes(&world->fake.input), world->fake.input.length, "secret", 6));
	fake_redis_send(&world->fake, "-ERR unknown command\r\n");
	turns_until_count(world->loop, &world->fake.accepted, 3);
	assert_int_equal(world->readies, 0);
	town_end(world, &town);
}

/* --- Names ---------------------------------------------------------------------------------- */

/* By name: its addresses are tried in turn, and 127.0.0.2, where nobody listens, does not matter.
 */
static void test_name(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	struct fake_name name = {
		.name = "redis.test", .v4 = {"127.0.0.2", "127.0.0.3", "127.0.0.1"}, .ttl = 60};

	set_name(world, &name);
	world->reply = "$1\r\nm\r\n";
	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_string_equal(asked.text, "m");
	assert_int_equal(name.asked, 1);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
}

static void tell_role(struct fake_redis *fake, const char *command)
{
	assert_string_equal(command, "ROLE");
	fake_redis_send(fake, fake->accepted < 3 ? "*1\r\n$5\r\nslave\r\n" : IS_MASTER);
}

/* A name of replicas and their master: the address of the master is found. Where there is none,
 * what the last said is told, rather than that others could not be reached. */
static void test_name_of_many(void **state)
{
	struct redis_world *world = *state;
	struct fake_name name = {
		.name = "redis.test", .v4 = {"127.0.0.1", "127.0.0.1", "127.0.0.1"}, .ttl = 60};
	struct fake_name replica = {
		.name = "replica.test", .v4 = {"127.0.0.1", "127.0.0.2"}, .ttl = 60};

	set_name(world, &name);
	world->settings.master_only = true;
	world->fake.on_command = tell_role;
	redis_world_start(world);
	turns_until_count(world->loop, &world->readies, 1);
	assert_int_equal(world->fake.accepted, 3);
	assert_int_equal(metrics_get(&world->metrics, METRIC_REDIS_FAILURES), 0);
	redis_server_free(world->server);
	world->fake.accepted = 0;
	set_name(world, &replica);
	redis_world_start(world);
	turns_until_count(world->loop, &world->fake.accepted, 2);
	assert_int_equal(count_logged("ROLE: the server is no master but a slave"), 1);
}

static void test_name_unknown(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};

	redis_world_set_address(world, "none.test");
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	assert_string_equal(asked.text, "no connection: Domain name not found");
}

static void test_name_silent(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	struct fake_name name = {.name = "redis.test", .silent = true};

	world->dns.names = &name;
	world->dns.name_count = 1;
	redis_world_set_address(world, "redis.test");
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &asked, "k");
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	turns_until(world->loop, loss_is_logged, "cannot connect: no answer in time");
	/* The next attempts ask again, and share what is still being asked. */
	turns_until(world->loop, six_failures, world);
	assert_true(name.asked <= RESOLVER_TRIES);
}

/* Down: everybody is told in time. Back: who waits is served without a restart of ours, over one
 * connection, and there were never more attempts than one in 50 ms. */
static void test_down_and_back(void **state)
{
	enum { COUNT = 1000 };
	struct redis_world *world = *state;
	struct redis_asked *asked = calloc(COUNT, sizeof(*asked));
	struct redis_asked early = {0};
	uint16_t port = world->fake.port;
	uint64_t began_ms = timeouts_now_ms();
	uint64_t attempts;

	fake_redis_close(&world->fake);
	world->config.timeout_ms = SHORT_MS;
	redis_world_start(world);
	redis_asked_ask(world, &early, "early");
	redis_asked_await(world, &early, 1);
	assert_int_equal(early.kind, REDIS_REPLY_FAILED);
	assert_string_equal(early.text, "no connection: cannot connect: Connection refused");
	world->config.timeout_ms = PATIENT_MS;
	for (unsigned i = 0; i < COUNT; i++) {
		redis_asked_ask(world, &asked[i], "k");
	}
	turns_for(world->loop, 120);
	redis_world_open(world, port, NULL);
	world->reply = "$1\r\nm\r\n";
	redis_asked_await(world, &asked[COUNT - 1], 1);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(asked[i].answers, 1);
		assert_int_equal(asked[i].kind, REDIS_REPLY_TEXT);
	}
	assert_int_equal(world->fake.accepted, 1);
	attempts = metrics_get(&world->metrics, METRIC_REDIS_FAILURES) + 1;
	assert_true(attempts <= 2 + (timeouts_now_ms() - began_ms) / 50);
	assert_int_equal(count_logged("Redis is not usable"), 1);
	assert_int_equal(count_logged("Redis is usable again"), 1);
	free(asked);
}

/* Down for a while, so that the pauses are long: whoever asks then need not wait for the next. */
static void test_question_cuts_pause(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	uint16_t port = world->fake.port;

	fake_redis_close(&world->fake);
	world->config.timeout_ms = 700;
	redis_world_start(world);
	turns_until(world->loop, six_failures, world);
	redis_world_open(world, port, NULL);
	world->reply = "$1\r\nm\r\n";
	redis_asked_ask(world, &asked, "k"); /* the pause is 800 ms at least */
	redis_asked_await(world, &asked, 1);
	assert_int_equal(asked.kind, REDIS_REPLY_TEXT);
}

/* Without anybody who asks, the attempts become rare: after 50, 100, 200 and 400 ms at the least.
 */
static void test_pause_grows(void **state)
{
	struct redis_world *world = *state;
	uint64_t began_ms = timeouts_now_ms();

	fake_redis_close(&world->fake);
	redis_world_start(world);
	turns_for(world->loop, 1000);
	assert_true(metrics_get(&world->metrics, METRIC_REDIS_FAILURES) <=
		    7 + (timeouts_now_ms() - began_ms) / 800);
	redis_world_open(world, 0, NULL);
}

/* Who asks all the time does not make for more than one attempt in 50 ms. */
static void test_no_stampede(void **state)
{
	struct redis_world *world = *state;
	uint64_t began_ms = timeouts_now_ms();

	fake_redis_close(&world->fake);
	redis_world_start(world);
	while (timeouts_now_ms() - began_ms < 300) {
		struct redis_asked asked = {0};

		redis_asked_ask(world, &asked, "k");
		turns_for(world->loop, 1);
		redis_cancel(&asked.question);
	}
	assert_true(metrics_get(&world->metrics, METRIC_REDIS_FAILURES) <=
		    2 + (timeouts_now_ms() - began_ms) / 50);
	redis_world_open(world, 0, NULL);
}

static void hang_up(struct fake_redis *fake, const char *command)
{
	(void)command;
	fake_redis_hang_up(fake);
}

/* Lost again and again: few lines in the log, whatever the number of questions. */
static void test_log_is_bounded(void **state)
{
	struct redis_world *world = *state;
	struct redis_asked asked = {0};
	uint64_t began_ms = timeouts_now_ms();

	world->fake.on_command = hang_up;
	redis_world_start(world);
	for (unsigned i = 0; i < 20; i++) {
		redis_asked_ask(world, &asked, "k");
		redis_asked_await(world, &asked, i + 1);
		assert_int_equal(asked.kind, REDIS_REPLY_FAILED);
	}
	assert_true(count_logged("\n") <= 2 * (1 + (timeouts_now_ms() - began_ms) / 1000));
	assert_true(count_logged("Redis is not usable") >= 1);
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
		in_world(test_greeting),
		in_world(test_greeting_refused),
		in_world(test_reason_for_waiting),
		in_world(test_greeting_hangs),
		in_world(test_unix_socket),
		in_world(test_tls),
		in_world(test_tls_not_believed),
		in_world(test_tls_missing),
		in_world(test_name),
		in_world(test_name_of_many),
		in_world(test_name_unknown),
		in_world(test_name_silent),
		in_world(test_down_and_back),
		in_world(test_question_cuts_pause),
		in_world(test_pause_grows),
		in_world(test_no_stampede),
		in_world(test_log_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
