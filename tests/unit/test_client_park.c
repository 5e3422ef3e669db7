/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins whose user is on hold: the lines that keep them, how long they wait, how they go on, and
 * how they end. Time passes when the test says so.
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

#define LINE "* OK Still waiting for your mailbox, it is being moved.\r\n"

#define LOGIN_TIMEOUT_MS 60000
#define LINE_MS          5000
#define HOLD_MS          12000
#define SPREAD_MS        500

static const struct rig_options usual = {
	.limits = "login_timeout = \"60s\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n",
	.moves = "hold_line = \"5s\"\nhold_timeout = \"12s\"\nrelease_spread = \"500ms\"\n",
	.backend = "connect_timeout = \"10m\"\nlogin_timeout = \"10m\"\nlogin = \"login\"\n",
	.directory = &fake_directory,
};

/* A client that waits, and has been told nothing yet. */
static void park(struct session_rig *rig, struct rig_peer *client)
{
	unsigned before = rig_count(rig, SESSION_PARKED);

	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\n");
	rig_wait_phase(rig, SESSION_PARKED, before + 1);
}

static void begin(struct session_rig *rig, const struct rig_options *options,
		  struct rig_peer *client)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
	fake_hold("bob");
	park(rig, client);
}

static void end(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	session_rig_close(rig);
	buffer_done(&logged);
}

static void expect_nothing(struct session_rig *rig, struct rig_peer *client)
{
	rig_settle(rig);
	rig_hear(client);
	assert_int_equal(client->heard.length, 0);
	assert_false(client->ended);
}

/* The hold is over, the login goes on, and the backend sees it. */
static void log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	fake_knows("bob", "mail1");
	fake_release("bob");
	pass(rig, SPREAD_MS);
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 LOGIN \"bob\" \"secret\"\r\n");
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
}

/* --- Waiting -------------------------------------------------------------------------------- */

static void test_line_now_and_then(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &usual, &client);
	for (int i = 0; i < 2; i++) {
		pass(&rig, LINE_MS - 1);
		expect_nothing(&rig, &client);
		pass(&rig, 1);
		rig_expect_only(&rig, &client, LINE);
	}
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	assert_int_equal(fake_count("bob", FAKE_PARKED), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_PARKED), 1);
	end(&rig, &client);
}

static void test_as_long_as_it_may(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &usual, &client);
	pass(&rig, LINE_MS);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE LINE);
	pass(&rig, HOLD_MS - 2 * LINE_MS - 1);
	expect_nothing(&rig, &client);
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	pass(&rig, 1);
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	rig_expect(&rig, &client, "\r\n");
	assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
	assert_int_equal(fake_here(), 0);
	assert_int_equal(fake_directory.settled + fake_directory.unsettled, 0);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), 1);
	assert_int_equal(count_logged("on hold for too long"), 1);
	end(&rig, &client);
}

static void test_no_line_where_time_is_shorter(void **state)
{
	static const char *const moves[] = {
		"hold_line = \"5s\"\nhold_timeout = \"3s\"\n",
		"hold_line = \"5s\"\nhold_timeout = \"5s\"\n",
	};
	static const uint64_t times[] = {3000, 5000};

	(void)state;
	for (size_t i = 0; i < array_length(moves); i++) {
		struct rig_options options = usual;
		struct session_rig rig;
		struct rig_peer client;

		options.moves = moves[i];
		begin(&rig, &options, &client);
		pass(&rig, times[i] - 1);
		expect_nothing(&rig, &client);
		pass(&rig, 1);
		rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
		end(&rig, &client);
	}
}

/* What the client does not read is not written on, and does not pile up. */
static void test_closed_window(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct session *session;
	size_t heard = 0;
	int small = 1;
	unsigned lines = 0;

	(void)state;
	options.moves = "hold_line = \"100ms\"\nhold_timeout = \"1h\"\n";
	begin(&rig, &options, &client);
	session = container_of(rig.set.phases[SESSION_PARKED].head, struct session, timeout);
	assert_int_equal(setsockopt(session->client.watcher.fd, SOL_SOCKET, SO_SNDBUF, &small,
				    sizeof(small)),
			 0);
	while (!stream_is_congested(&session->client)) {
		pass(&rig, 100);
		lines++;
		assert_true(lines < 30000);
	}
	for (int i = 0; i < 100; i++) {
		pass(&rig, 100);
	}
	while (heard < lines * strlen(LINE)) {
		rig_turn(&rig);
		rig_hear(&client);
		heard = client.heard.length;
	}
	rig_settle(&rig);
	rig_hear(&client);
	assert_int_equal(client.heard.length, lines * strlen(LINE));
	assert_false(stream_is_congested(&session->client));
	buffer_truncate(&client.heard, 0);
	pass(&rig, 100);
	rig_expect_only(&rig, &client, LINE);
	end(&rig, &client);
}

/* --- Time ----------------------------------------------------------------------------------- */

/* What is waited for a hold is not the client's time; what it took before and takes after is. */
static void test_login_timeout_stands_still(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.moves = "hold_timeout = \"10m\"\nhold_line = \"10m\"\nrelease_spread = \"0s\"\n";
	session_rig_open(&rig, &options);
	fake_hold("bob");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	pass(&rig, 20000);
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	rig_wait_phase(&rig, SESSION_PARKED, 1);
	pass(&rig, 5 * LOGIN_TIMEOUT_MS);
	expect_nothing(&rig, &client);
	fake_knows("bob", "mail1");
	fake_release("bob");
	pass(&rig, 0);
	rig_accept(&rig, rig.backend, &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	pass(&rig, LOGIN_TIMEOUT_MS - 20000 - 1);
	expect_nothing(&rig, &client);
	assert_int_equal(rig_count(&rig, SESSION_GREETING), 1);
	pass(&rig, 1);
	rig_expect_only(&rig, &client, "* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
	rig_forget(&backend);
	end(&rig, &client);
}

/* Also where the hold did not end in time: the client may try again, in the time that it has left.
 */
static void test_time_that_is_left_after_a_hold(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	options.moves = "hold_timeout = \"2m\"\nhold_line = \"10m\"\n";
	begin(&rig, &options, &client);
	pass(&rig, 2 * LOGIN_TIMEOUT_MS);
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	rig_expect(&rig, &client, "\r\n");
	expect_nothing(&rig, &client);
	assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
	/* It is not waiting now. */
	pass(&rig, 20000);
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	rig_wait_phase(&rig, SESSION_PARKED, 1);
	pass(&rig, 2 * LOGIN_TIMEOUT_MS - 1);
	expect_nothing(&rig, &client);
	pass(&rig, 1);
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	rig_expect(&rig, &client, "\r\n");
	pass(&rig, LOGIN_TIMEOUT_MS - 20000 - 1);
	expect_nothing(&rig, &client);
	pass(&rig, 1);
	rig_expect_only(&rig, &client, "* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
	end(&rig, &client);
}

/* --- Going on ------------------------------------------------------------------------------- */

static void test_release(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE);
	log_in(&rig, &client, &backend);
	assert_int_equal(fake_count("bob", FAKE_PRESENT), 1);
	assert_int_equal(fake_directory.entered, 2);
	rig_say(&rig, &backend, "* BYE\r\n");
	rig_forget(&backend);
	rig_expect_end(&rig, &client);
	end(&rig, &client);
}

/* Each goes on within the spread, the last not after it, and not all at once. */
static void test_released_one_after_the_other(void **state)
{
	enum { MANY = 100 };

	struct rig_options options = usual;
	struct rig_peer clients[MANY];
	struct session_rig rig;
	unsigned most = 0;
	unsigned left = MANY;

	(void)state;
	options.moves = "hold_timeout = \"10m\"\nhold_line = \"10m\"\n"
			"release_spread = \"500ms\"\n";
	begin(&rig, &options, &clients[0]);
	for (size_t i = 1; i < MANY; i++) {
		park(&rig, &clients[i]);
	}
	fake_release("bob");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), MANY);
	for (unsigned ms = 0; ms <= SPREAD_MS; ms++) {
		unsigned now;

		pass(&rig, ms > 0 ? 1 : 0);
		now = rig_count(&rig, SESSION_PARKED);
		most = left - now > most ? left - now : most;
		left = now;
	}
	assert_int_equal(left, 0);
	assert_int_equal(rig_count(&rig, SESSION_ROUTING), MANY);
	assert_true(most < MANY / 10);
	fake_answer("bob", NULL);
	for (size_t i = 0; i < MANY; i++) {
		rig_expect_only(&rig, &clients[i], "a NO [AUTHENTICATIONFAILED] ");
		rig_forget(&clients[i]);
	}
	end(&rig, &clients[0]);
}

static void test_released_at_once(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	options.moves = "release_spread = \"0s\"\n";
	begin(&rig, &options, &client);
	fake_release("bob");
	pass(&rig, 0);
	assert_int_equal(rig_count(&rig, SESSION_ROUTING), 1);
	end(&rig, &client);
}

/* On hold again before it went on: it waits again, for as long as it may, and is told so. */
static void test_hold_after_release(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	pass(&rig, LINE_MS);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE LINE);
	fake_release("bob");
	assert_int_equal(fake_here(), 0);
	fake_hold("bob");
	pass(&rig, SPREAD_MS);
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	assert_int_equal(fake_count("bob", FAKE_PARKED), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_PARKED), 2);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE);
	pass(&rig, HOLD_MS - LINE_MS - 1);
	rig_expect_only(&rig, &client, LINE);
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	log_in(&rig, &client, &backend);
	rig_forget(&backend);
	end(&rig, &client);
}

/* On hold while the directory was being asked. */
static void test_hold_while_asking(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &usual);
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	rig_wait_phase(&rig, SESSION_ROUTING, 1);
	fake_hold("bob");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE);
	end(&rig, &client);
}

/* Whose backend left waits for another one, which is no hold: no longer than that takes, and in the
 * client's own time. */
static void test_assigned_anew(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.routing = "unknown = \"assign\"\n";
	session_rig_open(&rig, &options);
	fake_knows("bob", "pod-7.example?assigned");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	rig_settle(&rig);
	assert_int_equal(rig_count(&rig, SESSION_ROUTING), 1);
	assert_int_equal(fake_count("bob", FAKE_REASSIGNING), 1);
	pass(&rig, LOGIN_TIMEOUT_MS - 1000);
	fake_assign("bob", "mail1?assigned");
	pass(&rig, 0);
	rig_accept(&rig, rig.backend, &backend);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_PARKED), 0);
	assert_int_equal(fake_directory.reassigned, 1);
	pass(&rig, 999);
	expect_nothing(&rig, &client);
	pass(&rig, 1);
	rig_expect_only(&rig, &client, "* BYE ");
	rig_forget(&backend);
	end(&rig, &client);
}

/* Where there is no other one, it is not asked for for ever. */
static void test_assigned_to_the_same(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	options.routing = "unknown = \"assign\"\n";
	session_rig_open(&rig, &options);
	fake_knows("bob", "pod-7.example?assigned");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	for (int i = 0; i < 3 && rig_count(&rig, SESSION_GREETED) == 0; i++) {
		rig_settle(&rig);
		fake_assign("bob", "pod-7.example?assigned");
		pass(&rig, 1);
	}
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	end(&rig, &client);
}

/* The user is asked for anew: what was known before the hold is not used. */
static void test_gone_after_the_hold(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &usual);
	fake_knows("bob", "mail1");
	fake_hold("bob");
	park(&rig, &client);
	fake_knows("bob", NULL);
	fake_release("bob");
	pass(&rig, SPREAD_MS);
	rig_expect_only(&rig, &client, "a NO [AUTHENTICATIONFAILED] ");
	end(&rig, &client);
}

/* --- Clients that do something -------------------------------------------------------------- */

static void test_client_leaves(void **state)
{
	(void)state;
	for (int released = 0; released < 2; released++) {
		for (int resets = 0; resets < 2; resets++) {
			struct session_rig rig;
			struct rig_peer client;

			begin(&rig, &usual, &client);
			if (released) {
				fake_release("bob");
			}
			if (resets) {
				rig_reset(&client);
			} else {
				rig_hang_up(&client);
			}
			rig_wait_gone(&rig);
			assert_int_equal(
				rig.set.closed[resets ? CLOSE_CLIENT_LOST : CLOSE_CLIENT_LEFT], 1);
			assert_int_equal(fake_directory.entered, 1);
			end(&rig, &client);
		}
	}
}

/* What follows a login belongs to the backend, if that takes it; and to us if not. */
static void test_pipelined_commands(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	rig_say(&rig, &client, "b NOOP\r\n");
	expect_nothing(&rig, &client);
	log_in(&rig, &client, &backend);
	rig_expect_only(&rig, &backend, "b NOOP\r\n");
	rig_forget(&backend);
	rig_expect_end(&rig, &client);
	end(&rig, &client);

	begin(&rig, &usual, &client);
	rig_say(&rig, &client, "b NOOP\r\nc LOGIN bob secret\r\n");
	expect_nothing(&rig, &client);
	pass(&rig, HOLD_MS);
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	rig_expect(&rig, &client, "\r\nb OK ");
	rig_wait_phase(&rig, SESSION_PARKED, 1);
	pass(&rig, HOLD_MS);
	rig_expect(&rig, &client, "c NO [UNAVAILABLE] ");
	end(&rig, &client);
}

/* No more of it is kept than of any other login. */
static void test_more_than_is_kept(void **state)
{
	static char noise[20000];
	struct session_rig rig;
	struct rig_peer client;
	const struct session *session;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	begin(&rig, &usual, &client);
	session = container_of(rig.set.phases[SESSION_PARKED].head, struct session, timeout);
	rig_say_bytes(&rig, &client, noise, sizeof(noise));
	rig_settle(&rig);
	assert_int_equal(session->login->input.length, SESSION_PIPELINE_MAX);
	pass(&rig, LINE_MS);
	rig_expect_only(&rig, &client, LINE);
	/* It is not read any more: the next line finds out that it has gone. */
	rig_reset(&client);
	pass(&rig, LINE_MS);
	end(&rig, &client);
}

/* --- Shutting down -------------------------------------------------------------------------- */

static void test_shutting_down(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &usual, &client);
	session_set_drain(&rig.set);
	rig_expect_only(&rig, &client, "* BYE [UNAVAILABLE] Server shutting down.\r\n");
	rig_expect_end(&rig, &client);
	assert_int_equal(fake_here(), 0);
	end(&rig, &client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_now_and_then),
		cmocka_unit_test(test_as_long_as_it_may),
		cmocka_unit_test(test_no_line_where_time_is_shorter),
		cmocka_unit_test(test_closed_window),
		cmocka_unit_test(test_login_timeout_stands_still),
		cmocka_unit_test(test_time_that_is_left_after_a_hold),
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_released_one_after_the_other),
		cmocka_unit_test(test_released_at_once),
		cmocka_unit_test(test_hold_after_release),
		cmocka_unit_test(test_hold_while_asking),
		cmocka_unit_test(test_assigned_anew),
		cmocka_unit_test(test_assigned_to_the_same),
		cmocka_unit_test(test_gone_after_the_hold),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_pipelined_commands),
		cmocka_unit_test(test_more_than_is_kept),
		cmocka_unit_test(test_shutting_down),
	};

	return cmocka_run_group_tests_name("client_park", tests, NULL, NULL);
}
