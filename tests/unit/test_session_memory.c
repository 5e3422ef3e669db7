/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole life of a session, with the n-th allocation failing, for every n: this one is refused or
 * ends, its place and its descriptors come back, and the next one finds all as before. The linker
 * leads malloc, calloc and strdup of the house through here (see the Makefile).
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/session_rig.h"

#define PATIENCE_MS 30000

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);

/* struct failing: allocations are counted only while the house has the word. */
static struct {
	bool armed;
	unsigned counted;
	unsigned nth; /* 0: none fails */
	bool from_there_on;
} failing;

static bool fails(void)
{
	if (!failing.armed) {
		return false;
	}
	failing.counted++;
	return failing.nth > 0 && (failing.counted == failing.nth ||
				   (failing.from_there_on && failing.counted > failing.nth));
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

static void turn(struct session_rig *rig)
{
	failing.armed = true;
	rig_turn(rig);
	failing.armed = false;
}

/* struct story is a login with a refusal before it, pipelined bytes, and some relaying. */
struct story {
	struct rig_peer client;
	struct rig_peer backend;
	unsigned logins; /* that the backend has seen */
	bool relayed;
};

static void say(struct rig_peer *peer, const char *text)
{
	(void)!send(peer->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void play_backend(struct session_rig *rig, struct story *story)
{
	struct rig_peer *backend = &story->backend;

	if (backend->fd < 0) {
		int one = 1;

		backend->fd = accept4(rig->backend, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (backend->fd < 0) {
			return;
		}
		(void)setsockopt(backend->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		say(backend, "* OK [CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN] backend\r\n");
	}
	rig_hear(backend);
	if (backend->ended) {
		rig_forget(backend);
	} else if (rig_has_heard(backend, "AUTHENTICATE PLAIN")) {
		buffer_done(&backend->heard);
		story->logins++;
		say(backend, "G1 OK\r\n* OK [ALERT] beware\r\n");
		say(backend, story->logins == 1 ? "G2 NO [EXPIRED] too old\r\n" : "G2 OK in\r\n");
	} else if (rig_has_heard(backend, "G3 CAPABILITY")) {
		buffer_done(&backend->heard);
		say(backend, "* CAPABILITY IMAP4rev1\r\nG3 OK\r\n* 1 EXISTS\r\n");
	} else if (rig_has_heard(backend, "d LOGOUT\r\n")) {
		story->relayed = true;
		rig_hang_up(backend);
		rig_forget(backend);
	}
}

/* Goes on until the story is told, or the client was left: nobody may be kept waiting for ever. */
static void play(struct session_rig *rig, struct story *story)
{
	uint64_t given_up_ms = timeouts_now_ms() + PATIENCE_MS;

	*story = (struct story){.client = {.fd = -1}, .backend = {.fd = -1}};
	failing.armed = true;
	rig_connect(rig, &story->client);
	failing.armed = false;
	say(&story->client, "a ID (\"name\" \"test\")\r\nb LOGIN {5+}\r\nalice \"wrong\"\r\n"
			    "c AUTHENTICATE PLAIN\r\n");
	while (!story->relayed && !story->client.ended) {
		assert_true(timeouts_now_ms() < given_up_ms);
		turn(rig);
		play_backend(rig, story);
		rig_hear(&story->client);
		if (rig_has_heard(&story->client, "+ ")) {
			buffer_done(&story->client.heard);
			say(&story->client, "AGFsaWNlAHNlY3JldA==\r\nd LOGOUT\r\n");
		}
	}
	rig_forget(&story->client);
	rig_forget(&story->backend);
}

static const struct rig_options options = {
	.limits = "failure_delay = \"0s\"\nclose_timeout = \"10m\"\n", .no_redis = true,
};

static unsigned play_whole(struct session_rig *rig)
{
	struct story story;

	failing.nth = 0;
	failing.counted = 0;
	play(rig, &story);
	assert_true(story.relayed);
	assert_int_equal(story.logins, 2);
	rig_wait_gone(rig);
	return failing.counted;
}

static void fail_each(bool from_there_on)
{
	struct session_rig rig;
	unsigned total;

	session_rig_open(&rig, &options);
	total = play_whole(&rig);
	assert_true(total > 20);
	for (unsigned n = 1; n <= total; n++) {
		struct story story;

		failing.nth = n;
		failing.counted = 0;
		failing.from_there_on = from_there_on;
		play(&rig, &story);
		assert_true(failing.counted >= n);
		rig_wait_gone(&rig);
	}
	play_whole(&rig);
	session_rig_close(&rig);
}

static void test_each_allocation_fails_once(void **state)
{
	(void)state;
	fail_each(false);
}

static void test_all_allocations_fail_from_one_on(void **state)
{
	(void)state;
	fail_each(true);
}

static void test_the_first_is_refused_and_counted(void **state)
{
	struct session_rig rig;
	struct story story;

	(void)state;
	session_rig_open(&rig, &options);
	failing.nth = 1;
	failing.counted = 0;
	failing.from_there_on = false;
	play(&rig, &story);
	assert_int_equal(rig.set.closed[CLOSE_NO_MEMORY], 1);
	assert_int_equal(session_set_count(&rig.set), 0);
	assert_int_equal(atomic_load(&rig.limit.taken), 0);
	session_rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_allocation_fails_once),
		cmocka_unit_test(test_all_allocations_fail_from_one_on),
		cmocka_unit_test(test_the_first_is_refused_and_counted),
	};

	return cmocka_run_group_tests_name("session_memory", tests, NULL, NULL);
}
