/* SPDX-License-Identifier: Apache-2.0
 *
 * Where everybody comes at once, each connects to the backend in its turn: in which order, how
 * long, and what becomes of the turn of who leaves. Time passes when the test says so.
 */
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
#include "support/fake_directory.h"
#include "support/frozen_clock.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

/* One each 100 ms. */
#define STEP_MS 100

#define PATIENT "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

static const struct rig_options usual = {
	.limits = PATIENT,
	.moves = "release_spread = \"0s\"\n",
	.backend = "login_timeout = \"10m\"\nlogin = \"login\"\n",
	.mail1 = "connect_rate = 10\nconnect_queue = \"300ms\"\n",
	.directory = &fake_directory,
};

static void begin(struct session_rig *rig, const struct rig_options *options)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
}

static void end(struct session_rig *rig)
{
	rig_wait_gone(rig);
	session_rig_close(rig);
	buffer_done(&logged);
}

/* The user is asked for, and what is said of it decides. */
static void say_login(struct session_rig *rig, struct rig_peer *client, const char *user)
{
	unsigned before = rig_count(rig, SESSION_ROUTING);
	char login[64];

	rig_connect(rig, client);
	rig_expect(rig, client, "\r\n");
	snprintf(login, sizeof(login), "a LOGIN %s secret\r\n", user);
	rig_say(rig, client, login);
	rig_wait_phase(rig, SESSION_ROUTING, before + 1);
}

static void come(struct session_rig *rig, struct rig_peer *client, const char *user)
{
	say_login(rig, client, user);
	fake_answer(user, "mail1");
}

/* Who has come, by name, as the backend sees it. */
static void expect_at_backend(struct session_rig *rig, const char *user)
{
	struct rig_peer backend;
	char login[64];

	rig_accept(rig, rig->backend, &backend);
	rig_say(rig, &backend, RIG_GREETING);
	snprintf(login, sizeof(login), "G1 LOGIN \"%s\" \"secret\"\r\n", user);
	rig_expect_only(rig, &backend, login);
	rig_say(rig, &backend, "G1 NO [UNAVAILABLE] later\r\n");
	rig_expect_end(rig, &backend);
	rig_forget(&backend);
}

static void expect_nobody_at_backend(struct session_rig *rig)
{
	rig_settle(rig);
	assert_int_equal(accept(rig->backend, NULL, NULL), -1);
}

/* --- The order ------------------------------------------------------------------------------ */

static void test_who_came_first_is_first(void **state)
{
	static const char *const users[] = {"u0", "u1", "u2", "u3"};
	struct rig_peer clients[array_length(users)];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	for (size_t i = 0; i < array_length(users); i++) {
		come(&rig, &clients[i], users[i]);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_QUEUED), 3);
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 3);
	assert_int_equal(fake_count(NULL, FAKE_PRESENT), 4);
	expect_at_backend(&rig, "u0");
	for (size_t i = 1; i < array_length(users); i++) {
		pass(&rig, STEP_MS - 1);
		expect_nobody_at_backend(&rig);
		pass(&rig, 1);
		expect_at_backend(&rig, users[i]);
	}
	for (size_t i = 0; i < array_length(users); i++) {
		rig_expect_only(&rig, &clients[i], "a NO [UNAVAILABLE] later\r\n");
		rig_forget(&clients[i]);
	}
	end(&rig);
}

static void test_no_limit(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[20];
	struct session_rig rig;

	(void)state;
	options.mail1 = "connect_rate = 0\n";
	begin(&rig, &options);
	for (size_t i = 0; i < array_length(clients); i++) {
		come(&rig, &clients[i], "u");
	}
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 0);
	for (size_t i = 0; i < array_length(clients); i++) {
		expect_at_backend(&rig, "u");
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* --- Its length ----------------------------------------------------------------------------- */

/* Whoever would wait for longer than connect_queue is told at once. */
static void test_longest_queue(void **state)
{
	struct rig_peer clients[5];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	for (size_t i = 0; i < array_length(clients); i++) {
		come(&rig, &clients[i], "u");
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_CONNECT_QUEUE), i == 4);
	}
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 3);
	rig_expect_only(&rig, &clients[4], "a NO [UNAVAILABLE] ");
	rig_expect(&rig, &clients[4], "\r\n");
	assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
	assert_int_equal(count_logged("(connect_queue)"), 1);
	assert_int_equal(fake_count(NULL, FAKE_PRESENT), 4);
	/* A little later there is a place again. */
	pass(&rig, STEP_MS);
	rig_say(&rig, &clients[4], "b LOGIN u secret\r\n");
	rig_wait_phase(&rig, SESSION_ROUTING, 1);
	fake_answer("u", "mail1");
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 3);
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* Not even a millisecond longer. */
static void test_a_millisecond_too_long(void **state)
{
	static const char *const queues[] = {"connect_rate = 10\nconnect_queue = \"100ms\"\n",
					     "connect_rate = 10\nconnect_queue = \"99ms\"\n"};

	(void)state;
	for (size_t i = 0; i < array_length(queues); i++) {
		struct rig_options options = usual;
		struct rig_peer clients[2];
		struct session_rig rig;

		options.mail1 = queues[i];
		begin(&rig, &options);
		come(&rig, &clients[0], "u");
		come(&rig, &clients[1], "u");
		assert_int_equal(rig_count(&rig, SESSION_QUEUED), i == 0);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_CONNECT_QUEUE), i);
		rig_forget(&clients[0]);
		rig_forget(&clients[1]);
		end(&rig);
	}
}

/* --- Turns that nobody takes ---------------------------------------------------------------- */

/* The turn of the last one is the next one's. */
static void test_last_one_leaves(void **state)
{
	struct rig_peer clients[4];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	for (size_t i = 0; i < 3; i++) {
		come(&rig, &clients[i], "u");
	}
	rig_hang_up(&clients[2]);
	rig_wait_phase(&rig, SESSION_QUEUED, 1);
	assert_int_equal(rig.set.closed[CLOSE_CLIENT_LEFT], 1);
	come(&rig, &clients[3], "v");
	expect_at_backend(&rig, "u");
	pass(&rig, STEP_MS);
	expect_at_backend(&rig, "u");
	pass(&rig, STEP_MS);
	expect_at_backend(&rig, "v");
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* Behind whom others wait: nobody overtakes anybody, and the turn is lost. */
static void test_one_in_the_middle_leaves(void **state)
{
	struct rig_peer clients[3];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	come(&rig, &clients[0], "u");
	come(&rig, &clients[1], "u");
	come(&rig, &clients[2], "v");
	expect_at_backend(&rig, "u");
	rig_hang_up(&clients[1]);
	rig_wait_phase(&rig, SESSION_QUEUED, 1);
	pass(&rig, 2 * STEP_MS - 1);
	expect_nobody_at_backend(&rig);
	pass(&rig, 1);
	expect_at_backend(&rig, "v");
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* A hold takes those who wait out of the queue, which is as short as before. */
static void test_held_while_queued(void **state)
{
	struct rig_peer clients[3];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	come(&rig, &clients[0], "u");
	come(&rig, &clients[1], "held");
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 1);
	fake_hold("held");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	assert_int_equal(fake_directory.settled, 1);
	assert_int_equal(fake_directory.unsettled, 0);
	come(&rig, &clients[2], "v");
	expect_at_backend(&rig, "u");
	pass(&rig, STEP_MS);
	expect_at_backend(&rig, "v");
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* Whose turn was taken has none to give back. */
static void test_leaves_after_its_turn(void **state)
{
	struct rig_peer clients[3];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	come(&rig, &clients[0], "u");
	come(&rig, &clients[1], "u");
	expect_at_backend(&rig, "u");
	pass(&rig, STEP_MS);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	rig_hang_up(&clients[1]);
	rig_wait_phase(&rig, SESSION_GREETING, 0);
	come(&rig, &clients[2], "v");
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 1);
	pass(&rig, STEP_MS - 1);
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 1);
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 0);
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

/* --- Time and endings ----------------------------------------------------------------------- */

static void test_login_timeout(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[3];
	struct session_rig rig;

	(void)state;
	options.limits = "login_timeout = \"150ms\"\n";
	begin(&rig, &options);
	for (size_t i = 0; i < array_length(clients); i++) {
		come(&rig, &clients[i], "u");
	}
	pass(&rig, 149);
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 1);
	pass(&rig, 1);
	rig_expect_only(&rig, &clients[2], "* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	end(&rig);
}

static void test_shutting_down(void **state)
{
	struct rig_peer clients[2];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual);
	come(&rig, &clients[0], "u");
	come(&rig, &clients[1], "u");
	session_set_drain(&rig.set);
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 1);
	session_set_finish(&rig.set);
	rig_expect_only(&rig, &clients[1], "* BYE [UNAVAILABLE] Server shutting down.\r\n");
	assert_int_equal(rig_count(&rig, SESSION_QUEUED), 0);
	rig_forget(&clients[0]);
	rig_forget(&clients[1]);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_came_first_is_first),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_longest_queue),
		cmocka_unit_test(test_a_millisecond_too_long),
		cmocka_unit_test(test_last_one_leaves),
		cmocka_unit_test(test_one_in_the_middle_leaves),
		cmocka_unit_test(test_held_while_queued),
		cmocka_unit_test(test_leaves_after_its_turn),
		cmocka_unit_test(test_login_timeout),
		cmocka_unit_test(test_shutting_down),
	};

	return cmocka_run_group_tests_name("backend_queue", tests, NULL, NULL);
}
