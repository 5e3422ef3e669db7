/* SPDX-License-Identifier: Apache-2.0
 *
 * Shutting down with sessions that only wait: for their mailbox, or for their turn to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/fake_directory.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define BYE "* BYE [UNAVAILABLE] Server shutting down.\r\n"

#define SESSIONS 5

/* Long enough never to pass by accident. */
static const struct rig_options patient = {
	.limits = "login_timeout = \"10m\"\nclose_timeout = \"10m\"\n",
	.moves = "hold_timeout = \"10m\"\nhold_line = \"10m\"\nrelease_spread = \"1m\"\n"
		 "disconnect_rate = 1\ndisconnect_spread = \"1m\"\n",
	.directory = &fake_directory,
};

static void say_login(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\n");
}

static void expect_bye(struct session_rig *rig, struct rig_peer *client)
{
	rig_expect_only(rig, client, BYE);
	rig_expect_end(rig, client);
	assert_false(client->reset);
	rig_forget(client);
}

static void end(struct session_rig *rig, unsigned drained)
{
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	assert_int_equal(rig->set.closed[CLOSE_DRAINED], drained);
	session_rig_close(rig);
}

/* --- On hold -------------------------------------------------------------------------------- */

static void test_parked(void **state)
{
	struct session_rig rig;
	struct rig_peer clients[SESSIONS];

	(void)state;
	session_rig_open(&rig, &patient);
	fake_hold("bob");
	for (unsigned i = 0; i < SESSIONS; i++) {
		say_login(&rig, &clients[i]);
	}
	rig_wait_phase(&rig, SESSION_PARKED, SESSIONS);
	session_set_drain(&rig.set);
	for (unsigned i = 0; i < SESSIONS; i++) {
		expect_bye(&rig, &clients[i]);
	}
	end(&rig, SESSIONS);
}

static void test_released_but_not_gone_on(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &patient);
	fake_hold("bob");
	say_login(&rig, &client);
	rig_wait_phase(&rig, SESSION_PARKED, 1);
	fake_release("bob");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	session_set_drain(&rig.set);
	expect_bye(&rig, &client);
	end(&rig, 1);
}

/* The hold is known only then. */
static void test_parked_while_draining(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &patient);
	say_login(&rig, &client);
	rig_wait_phase(&rig, SESSION_ROUTING, 1);
	session_set_drain(&rig.set);
	rig_settle(&rig);
	assert_int_equal(rig_count(&rig, SESSION_ROUTING), 1);
	fake_hold("bob");
	expect_bye(&rig, &client);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_PARKED), 0);
	end(&rig, 1);
}

/* Or as soon as the login has begun, within the same call. */
static void test_parked_anew_while_draining(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	fake_knows("bob", "mail1");
	say_login(&rig, &client);
	rig_accept(&rig, rig.backend, &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	session_set_drain(&rig.set);
	fake_hold("bob");
	expect_bye(&rig, &client);
	rig_forget(&backend);
	end(&rig, 1);
}

/* --- Orphans -------------------------------------------------------------------------------- */

struct crowd {
	struct rig_peer clients[SESSIONS];
	struct rig_peer backends[SESSIONS];
};

static void begin_crowd(struct session_rig *rig, struct crowd *crowd)
{
	session_rig_open(rig, &patient);
	for (unsigned i = 0; i < SESSIONS; i++) {
		rig_reach(rig, SESSION_RELAYING, &crowd->clients[i], &crowd->backends[i]);
	}
}

static void end_backends(struct crowd *crowd)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		rig_hang_up(&crowd->backends[i]);
		rig_forget(&crowd->backends[i]);
	}
}

/* As their backends ended, without a word. */
static void expect_ends(struct session_rig *rig, struct crowd *crowd)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		rig_expect_end(rig, &crowd->clients[i]);
		assert_int_equal(crowd->clients[i].heard.length, 0);
		rig_forget(&crowd->clients[i]);
	}
	end(rig, 0);
}

static void test_orphans(void **state)
{
	struct session_rig rig;
	struct crowd crowd;

	(void)state;
	begin_crowd(&rig, &crowd);
	end_backends(&crowd);
	rig_wait_phase(&rig, SESSION_RELAYING, 0);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), SESSIONS - 1);
	session_set_drain(&rig.set);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	expect_ends(&rig, &crowd);
}

static void test_orphaned_while_draining(void **state)
{
	struct session_rig rig;
	struct crowd crowd;

	(void)state;
	begin_crowd(&rig, &crowd);
	session_set_drain(&rig.set);
	rig_settle(&rig);
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), SESSIONS);
	end_backends(&crowd);
	rig_wait_phase(&rig, SESSION_RELAYING, 0);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	expect_ends(&rig, &crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parked),
		cmocka_unit_test(test_released_but_not_gone_on),
		cmocka_unit_test(test_parked_while_draining),
		cmocka_unit_test(test_parked_anew_while_draining),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_orphaned_while_draining),
	};

	return cmocka_run_group_tests_name("session_drain", tests, NULL, NULL);
}
