/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening to a Redis that tells what changes, stops answering, hangs up, is too old, and lies. It
 * runs in this process and loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/redis_watch_internal.h"
#include "base/base.h"
#include "support/log_capture.h"
#include "support/redis_world.h"
#include "support/turns.h"

#define CHANNEL    "__redis__:invalidate"
#define MESSAGE    "*3\r\n$7\r\nmessage\r\n$20\r\n" CHANNEL "\r\n"
#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$20\r\n" CHANNEL "\r\n:1\r\n"
#define PONG       "*2\r\n$4\r\npong\r\n$0\r\n\r\n"

struct watch_world {
	struct redis_world *redis;
	struct redis_watch_settings settings;
	struct redis_watch *watch;
	unsigned subscribed; /* on which connection of the fake */
	bool mute;           /* PING is not answered */
	const char *naming;
	const char *tracking;
	const char *subscribing;
	struct buffer news; /* events, one a line */
	unsigned watchings;
	unsigned blinds;
	unsigned changes;
	bool keep_quiet; /* changes are only counted */
	const char *fail_on;
};

static const char *const prefixes[] = {"gatepost:route:", "gatepost:hold:"};

/* --- Redis ---------------------------------------------------------------------------------- */

static void answer(struct fake_redis *fake, const char *command)
{
	struct watch_world *world = ((struct redis_world *)fake->context)->context;

	buffer_printf(&world->redis->heard, "%s\n", command);
	if (strcmp(command, "PING") == 0) {
		fake_redis_send(fake, world->mute                           ? ""
				      : world->subscribed == fake->accepted ? PONG
									    : "+PONG\r\n");
	} else if (strcmp(command, "CLIENT ID") == 0) {
		fake_redis_send(fake, world->naming);
	} else if (strncmp(command, "CLIENT TRACKING", 15) == 0) {
		fake_redis_send(fake, world->tracking);
	} else if (strncmp(command, "SUBSCRIBE", 9) == 0) {
		world->subscribed = fake->accepted;
		fake_redis_send(fake, world->subscribing);
	}
}

static const char *heard(struct watch_world *world)
{
	return redis_world_heard(world->redis);
}

static void say(struct watch_world *world, const char *text)
{
	fake_redis_send(&world->redis->fake, text);
}

/* --- What is told --------------------------------------------------------------------------- */

static void on_watching(struct redis_watch *watch, void *owner)
{
	struct watch_world *world = owner;

	assert_true(redis_watch_is_watching(watch));
	world->watchings++;
	buffer_append_text(&world->news, "watching\n");
}

static void on_blind(struct redis_watch *watch, void *owner, const char *why)
{
	struct watch_world *world = owner;

	assert_false(redis_watch_is_watching(watch));
	world->blinds++;
	buffer_printf(&world->news, "blind: %s\n", why);
}

static void on_changed(struct redis_watch *watch, void *owner, const char *key, size_t length)
{
	struct watch_world *world = owner;

	assert_true(redis_watch_is_watching(watch));
	assert_int_equal(key[length], '\0');
	world->changes++;
	if (!world->keep_quiet) {
		buffer_printf(&world->news, "changed %.*s\n", (int)length, key);
	}
	if (world->fail_on != NULL && strcmp(world->fail_on, key) == 0) {
		redis_watch_fail(watch, "the owner has had enough");
	}
}

static void on_flushed(struct redis_watch *watch, void *owner)
{
	struct watch_world *world = owner;

	(void)watch;
	buffer_append_text(&world->news, "flushed\n");
}

static void on_told(struct redis_watch *watch, void *owner, const char *channel, const char *text)
{
	struct watch_world *world = owner;

	(void)watch;
	buffer_printf(&world->news, "told %s: %s\n", channel, text);
}

static const struct redis_watch_events events = {
	.watching = on_watching,
	.blind = on_blind,
	.changed = on_changed,
	.flushed = on_flushed,
	.told = on_told,
};

static const char *news(struct watch_world *world)
{
	buffer_append_byte(&world->news, '\0');
	world->news.length--;
	return (const char *)buffer_bytes(&world->news);
}

static bool is_told(const void *context)
{
	const struct watch_world *world = context;

	return world->news.length > 0 && strstr(news((struct watch_world *)world), "end") != NULL;
}

/* Waits until all that was said before has been told. */
static void turns_until_told(struct watch_world *world)
{
	say(world, MESSAGE "*1\r\n$3\r\nend\r\n");
	turns_until(world->redis->loop, is_told, world);
}

/* --- World ---------------------------------------------------------------------------------- */

static int begin(void **state)
{
	struct watch_world *world = calloc(1, sizeof(*world));
	void *redis;

	assert_non_null(world);
	redis_world_begin(&redis);
	world->redis = redis;
	world->redis->context = world;
	world->redis->fake.on_command = answer;
	world->redis->fake.hears_pings = true;
	world->naming = ":7\r\n";
	world->tracking = "+OK\r\n";
	world->subscribing = SUBSCRIBED;
	world->settings = (struct redis_watch_settings){
		.server = world->redis->settings,
		.prefixes = prefixes,
		.prefix_count = array_length(prefixes),
		.events = &events,
		.owner = world,
	};
	*state = world;
	return 0;
}

static int end(void **state)
{
	struct watch_world *world = *state;
	void *redis = world->redis;

	redis_watch_free(world->watch);
	buffer_done(&world->news);
	buffer_done(&logged);
	free(world);
	return redis_world_end(&redis);
}

static void start(struct watch_world *world)
{
	world->watch = redis_watch_new(&world->settings);
	assert_non_null(world->watch);
}

static void start_watching(struct watch_world *world)
{
	start(world);
	turns_until_count(world->redis->loop, &world->watchings, 1);
	buffer_done(&world->news);
}

/* --- Beginning ------------------------------------------------------------------------------ */

static void test_prefixes(void **state)
{
	static const struct {
		const char *prefixes[5];
		const char *words;
	} rows[] = {
		{{"a:"}, " PREFIX a:"},
		{{"a:", "b:"}, " PREFIX a: PREFIX b:"},
		{{"a:", "a:b:"}, " PREFIX a:"},
		{{"a:b:", "a:"}, " PREFIX a:"},
		{{"a:", "a:"}, " PREFIX a:"},
		{{"a:b", "a:c", "a:"}, " PREFIX a:"},
		{{"a", "b", "ab", "b"}, " PREFIX a PREFIX b"},
		{{""}, ""},
		{{"a:", "", "b:"}, ""},
		{{"", ""}, ""},
	};
	struct watch_world *world = *state;
	char expected[256];

	for (size_t i = 0; i < array_length(rows); i++) {
		size_t count = 0;

		while (rows[i].prefixes[count] != NULL) {
			count++;
		}
		world->settings.prefixes = rows[i].prefixes;
		world->settings.prefix_count = count;
		buffer_done(&world->redis->heard);
		start(world);
		turns_until_count(world->redis->loop, &world->watchings, (unsigned)i + 1);
		snprintf(expected, sizeof(expected),
			 "PING\nCLIENT ID\nCLIENT TRACKING ON REDIRECT 7 BCAST%s\n"
			 "SUBSCRIBE " CHANNEL "\n",
			 rows[i].words);
		assert_string_equal(heard(world), expected);
		redis_watch_free(world->watch);
		world->watch = NULL;
	}
	assert_int_equal(world->blinds, 0);
}

/* All of it must have been confirmed, and nothing is told before. */
static void test_confirmations(void **state)
{
	static const char *const channels[] = {"a", "b"};
	struct watch_world *world = *state;
	struct ev_loop *loop = world->redis->loop;

	world->settings.channels = channels;
	world->settings.channel_count = 2;
	world->naming = world->tracking = world->subscribing = "";
	start(world);
	turns_until_count(loop, &world->redis->fake.commands, 2);
	turns_for(loop, 1);
	assert_string_equal(heard(world), "PING\nCLIENT ID\n");
	say(world, ":4294967299\r\n");
	turns_until_count(loop, &world->redis->fake.commands, 4);
	assert_string_equal(heard(world),
			    "PING\nCLIENT ID\nCLIENT TRACKING ON REDIRECT 4294967299 BCAST "
			    "PREFIX gatepost:route: PREFIX gatepost:hold:\n"
			    "SUBSCRIBE a b " CHANNEL "\n");
	say(world, "+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
	say(world, "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
	say(world, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nearly\r\n");
	turns_for(loop, 20);
	assert_false(redis_watch_is_watching(world->watch));
	assert_string_equal(news(world), "");
	say(world, SUBSCRIBED MESSAGE "*1\r\n$1\r\nk\r\n");
	say(world, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nlate\r\n");
	turns_until_told(world);
	assert_string_equal(news(world), "watching\nchanged k\ntold a: late\nchanged end\n");
}

static void test_channels_alone(void **state)
{
	static const char *const channels[] = {"+switch-master"};
	struct watch_world *world = *state;

	world->settings.prefix_count = 0;
	world->settings.channels = channels;
	world->settings.channel_count = 1;
	world->subscribing = "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n";
	start_watching(world);
	assert_string_equal(heard(world), "PING\nSUBSCRIBE +switch-master\n");
	say(world, "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$5\r\nm a b\r\n");
	/* This one was not asked for. */
	say(world, MESSAGE "*1\r\n$1\r\nk\r\n");
	turns_until_count(world->redis->loop, &world->blinds, 1);
	assert_string_equal(news(world), "told +switch-master: m a b\nblind: Redis sent a message "
					 "that was not subscribed to\n");
}

/* --- Refused -------------------------------------------------------------------------------- */

static bool is_logged(const void *words)
{
	return count_logged(words) > 0;
}

/* Too old, or forbidden: it tries again and again, ever more rarely, and one line says what is
 * lost. */
static void test_refused(void **state)
{
	static const struct {
		const char *naming;
		const char *tracking;
		const char *subscribing;
		const char *why;
	} rows[] = {
		{"-ERR Unknown subcommand\r\n", "", "", "CLIENT ID: ERR Unknown subcommand"},
		{"+OK\r\n", "", "", "CLIENT ID: a reply of an unexpected type"},
		{":7\r\n", "-ERR Unknown subcommand\r\n", SUBSCRIBED,
		 "CLIENT TRACKING: ERR Unknown subcommand"},
		{":7\r\n", "-NOPERM no\r\n", SUBSCRIBED, "CLIENT TRACKING: NOPERM no"},
		{":7\r\n", ":1\r\n", "", "CLIENT TRACKING: a reply of an unexpected type"},
		{":7\r\n", "+OK\r\n", "-NOPERM No permissions to access a channel\r\n",
		 "SUBSCRIBE: NOPERM No permissions to access a channel"},
		{":7\r\n", "+OK\r\n", "*1\r\n$9\r\nsubscribe\r\n",
		 "SUBSCRIBE: a reply of an unexpected type"},
		{":7\r\n", "+OK\r\n", "*3\r\n:1\r\n:2\r\n:3\r\n",
		 "SUBSCRIBE: a reply of an unexpected type"},
		{":7\r\n", "+OK\r\n", "*3\r\n$9\r\nsubscribe\r\n*0\r\n:3\r\n",
		 "SUBSCRIBE: a reply of an unexpected type"},
	};
	struct watch_world *world = *state;

	for (size_t i = 0; i < array_length(rows); i++) {
		world->naming = rows[i].naming;
		world->tracking = rows[i].tracking;
		world->subscribing = rows[i].subscribing;
		start(world);
		turns_until(world->redis->loop, is_logged, rows[i].why);
		redis_watch_free(world->watch);
		world->watch = NULL;
		buffer_done(&logged);
	}
	assert_string_equal(news(world), "");
}

static void test_refused_for_long(void **state)
{
	struct watch_world *world = *state;
	unsigned accepted;

	world->tracking = "-ERR Unknown subcommand\r\n";
	world->subscribing = "";
	start(world);
	turns_for(world->redis->loop, 1000);
	accepted = world->redis->fake.accepted;
	assert_true(accepted >= 2);
	/* After 25, 50, 100, 200 and 400 ms at the least. */
	assert_true(accepted <= 8);
	assert_int_equal(count_logged("\n"), 1);
	assert_int_equal(count_logged("every login asks, and sessions do not hear of it"), 1);
	assert_int_equal(count_logged("CLIENT TRACKING: ERR Unknown subcommand"), 1);
	world->tracking = "+OK\r\n";
	world->subscribing = SUBSCRIBED;
	turns_until_count(world->redis->loop, &world->watchings, 1);
	assert_int_equal(count_logged("\n"), 2);
	assert_int_equal(count_logged("Redis tells which keys change again"), 1);
	assert_string_equal(news(world), "watching\n");
}

static void test_hanging_at_first(void **state)
{
	struct watch_world *world = *state;

	world->redis->config.timeout_ms = SHORT_MS;
	world->subscribing = "";
	start(world);
	turns_until_count(world->redis->loop, &world->redis->fake.accepted, 2);
	assert_int_equal(
		count_logged("no confirmation of CLIENT TRACKING and SUBSCRIBE within 150 ms"), 1);
	assert_string_equal(news(world), "");
}

/* --- Messages ------------------------------------------------------------------------------- */

#define TALK                                                                                       \
	MESSAGE "*1\r\n$16\r\ngatepost:route:a\r\n" MESSAGE                                        \
		"*3\r\n$1\r\nx\r\n$0\r\n\r\n$2\r\n\r\n\r\n" MESSAGE "$-1\r\n" MESSAGE              \
		"*-1\r\n" MESSAGE "*0\r\n" MESSAGE "$4\r\npush\r\n"
#define TOLD                                                                                       \
	"changed gatepost:route:a\nchanged x\nchanged \nchanged \r\n\nflushed\nflushed\n"          \
	"changed push\nchanged end\n"

static void test_messages(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	say(world, TALK);
	turns_until_told(world);
	assert_string_equal(news(world), TOLD);
	assert_int_equal(metrics_get(&world->redis->metrics, METRIC_INVALIDATIONS), 6);
}

static void test_bytewise(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	for (const char *at = TALK; *at != '\0'; at++) {
		fake_redis_send_bytes(&world->redis->fake, at, 1);
		turns_for(world->redis->loop, 0);
	}
	turns_until_told(world);
	assert_string_equal(news(world), TOLD);
}

/* The owner ends it over a key: it hears of no further one. */
static void test_owner_fails(void **state)
{
	struct watch_world *world = *state;

	start(world);
	redis_watch_fail(world->watch, "too early, and nothing happens");
	turns_until_count(world->redis->loop, &world->watchings, 1);
	world->fail_on = "b";
	say(world, MESSAGE "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n" MESSAGE "$-1\r\n");
	turns_until_count(world->redis->loop, &world->watchings, 2);
	assert_string_equal(news(world), "watching\nchanged a\nchanged b\n"
					 "blind: the owner has had enough\nwatching\n");
}

static void append_keys(struct buffer *message, unsigned count)
{
	buffer_printf(message, MESSAGE "*%u\r\n", count);
	for (unsigned i = 0; i < count; i++) {
		buffer_append_text(message, "$1\r\nk\r\n");
	}
}

static void send_keys(struct watch_world *world, unsigned count)
{
	struct buffer message = {0};
	size_t sent = 0;

	append_keys(&message, count);
	/* In turns, since both ends are in this thread. */
	while (sent < message.length && world->blinds == 0) {
		size_t piece = message.length - sent < 16384 ? message.length - sent : 16384;

		fake_redis_send_bytes(&world->redis->fake, buffer_bytes(&message) + sent, piece);
		sent += piece;
		turns_for(world->redis->loop, 0);
	}
	buffer_done(&message);
}

static void test_most_keys(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	world->keep_quiet = true;
	send_keys(world, REDIS_WATCH_KEYS_MAX);
	turns_until_count(world->redis->loop, &world->changes, REDIS_WATCH_KEYS_MAX);
	assert_int_equal(world->blinds, 0);
	send_keys(world, REDIS_WATCH_KEYS_MAX + 1);
	turns_until_count(world->redis->loop, &world->blinds, 1);
	assert_int_equal(world->changes, REDIS_WATCH_KEYS_MAX);
	assert_string_equal(news(world), "blind: Redis sent nonsense: a reply of more than 65539 "
					 "elements\n");
}

/* Whatever else comes is a gap. */
static void test_hostile(void **state)
{
	static const struct {
		const char *bytes;
		const char *why;
	} rows[] = {
		{"-ERR bye\r\n", "while watching: ERR bye"},
		{"-NOPERM nobody asked\r\n", "while watching: NOPERM nobody asked"},
		{"+OK\r\n", "while watching: a reply of an unexpected type"},
		{PONG, "while watching: a reply of an unexpected type"},
		{"$-1\r\n", "while watching: a reply of an unexpected type"},
		{"*0\r\n", "while watching: a reply of an unexpected type"},
		{"*2\r\n:1\r\n:2\r\n", "while watching: a reply of an unexpected type"},
		{"*2\r\n*0\r\n*0\r\n", "while watching: a reply of an unexpected type"},
		{"*3\r\n*0\r\n*0\r\n*0\r\n", "while watching: a reply of an unexpected type"},
		{"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nk\r\n",
		 "while watching: a reply of an unexpected type"},
		{SUBSCRIBED, "while watching: a reply of an unexpected type"},
		{"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nk\r\n",
		 "Redis sent a message that was not subscribed to"},
		{"*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nk\r\n",
		 "while watching: a reply of an unexpected type"},
		{"*3\r\n$7\r\nmessage\r\n$-1\r\n*1\r\n$1\r\nk\r\n",
		 "while watching: a reply of an unexpected type"},
		{MESSAGE ":1\r\n", "Redis told a change of no key"},
		{MESSAGE "+OK\r\n", "Redis told a change of no key"},
		{MESSAGE "*1\r\n$-1\r\n", "Redis told a change of no key"},
		{MESSAGE "*1\r\n*1\r\n$1\r\nk\r\n", "Redis told a change of no key"},
		{MESSAGE "*1\r\n-ERR no\r\n", "Redis told a change of no key"},
		{MESSAGE "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
		 "Redis sent nonsense: a reply of more than 5 arrays within each other"},
		{MESSAGE "$99999999\r\n",
		 "Redis sent nonsense: a reply of more than 8388608 bytes"},
		{MESSAGE "*99999999\r\n",
		 "Redis sent nonsense: a reply of more than 65539 elements"},
		{">2\r\n", "Redis sent nonsense: a reply that begins with byte 0x3E"},
	};
	struct watch_world *world = *state;
	char expected[160];

	start(world);
	for (unsigned i = 0; i < array_length(rows); i++) {
		turns_until_count(world->redis->loop, &world->watchings, i + 1);
		buffer_done(&world->news);
		say(world, rows[i].bytes);
		turns_until_count(world->redis->loop, &world->blinds, i + 1);
		snprintf(expected, sizeof(expected), "blind: %s\n", rows[i].why);
		assert_string_equal(news(world), expected);
	}
}

/* --- Gaps and silence ----------------------------------------------------------------------- */

static void test_gap(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	say(world, MESSAGE "*2\r\n$1\r\na\r\n$1\r\n");
	fake_redis_hang_up(&world->redis->fake);
	turns_until_count(world->redis->loop, &world->watchings, 2);
	say(world, MESSAGE "*1\r\n$1\r\nb\r\n");
	turns_until_told(world);
	assert_string_equal(news(world), "blind: Redis closed the connection\nwatching\n"
					 "changed b\nchanged end\n");
	assert_int_equal(world->redis->fake.accepted, 2);
	assert_int_equal(metrics_get(&world->redis->metrics, METRIC_REDIS_CONNECTS), 2);
}

static unsigned count_pings(struct watch_world *world)
{
	unsigned count = 0;
	const char *at = heard(world);

	while ((at = strstr(at, "PING\n")) != NULL) {
		count++;
		at++;
	}
	return count;
}

static bool is_pinged_twice(const void *context)
{
	return count_pings((struct watch_world *)context) >= 3; /* one was of the greeting */
}

/* Silent, but it answers: it still listens. */
static void test_ping(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	turns_until(world->redis->loop, is_pinged_twice, world);
	turns_until_told(world);
	assert_int_equal(world->blinds, 0);
	assert_int_equal(world->redis->fake.accepted, 1);
}

static bool is_pinged(const void *context)
{
	return count_pings((struct watch_world *)context) >= 2;
}

/* Who may not use PING answers nevertheless, even behind a message. */
static void test_ping_forbidden(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	world->mute = true;
	turns_until(world->redis->loop, is_pinged, world);
	say(world, MESSAGE "*1\r\n$1\r\na\r\n-NOPERM this user may not\r\n");
	turns_until_told(world);
	assert_string_equal(news(world), "changed a\nchanged end\n");
	say(world, "-NOPERM this time nobody asked\r\n");
	turns_until_count(world->redis->loop, &world->blinds, 1);
	assert_non_null(strstr(news(world), "while watching: NOPERM this time nobody asked"));
	world->mute = false;
}

static void test_ping_unanswered(void **state)
{
	struct watch_world *world = *state;

	start_watching(world);
	world->redis->config.timeout_ms = SHORT_MS;
	world->mute = true;
	turns_until_count(world->redis->loop, &world->blinds, 1);
	assert_string_equal(news(world), "blind: no reply to PING within 150 ms\n");
	assert_int_equal(count_pings(world), 2);
	world->mute = false;
	world->redis->config.timeout_ms = PATIENT_MS;
	turns_until_count(world->redis->loop, &world->watchings, 2);
}

static void test_ends(void **state)
{
	struct watch_world *world = *state;

	redis_watch_free(NULL);
	start(world); /* freed before its first attempt */
	redis_watch_free(world->watch);
	start(world); /* freed in the middle of its beginning */
	world->tracking = "";
	world->subscribing = "";
	turns_until_count(world->redis->loop, &world->redis->fake.commands, 4);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_prefixes),
		in_world(test_confirmations),
		in_world(test_channels_alone),
		in_world(test_refused),
		in_world(test_refused_for_long),
		in_world(test_hanging_at_first),
		in_world(test_messages),
		in_world(test_bytewise),
		in_world(test_owner_fails),
		in_world(test_most_keys),
		in_world(test_hostile),
		in_world(test_gap),
		in_world(test_ping),
		in_world(test_ping_forbidden),
		in_world(test_ping_unanswered),
		in_world(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
