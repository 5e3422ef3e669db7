/* SPDX-License-Identifier: Apache-2.0
 *
 * Places in the directory: whoever took one gives it back exactly once, however a login or session
 * ends, and says that the backend has no session any more only where that is so. Strict moves
 * depend on it. Time passes when the test says so.
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
#include "support/fake_directory.h"
#include "support/frozen_clock.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define LOGIN_TIMEOUT_MS 600000

static const struct rig_options usual = {
	.limits = "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"60s\"\n",
	.backend = "connect_timeout = \"10m\"\nlogin_timeout = \"10m\"\n",
	.directory = &fake_directory,
	.asks_all = true,
};

/* How far a session has come with its place. */
enum standing {
	NOWHERE, /* it has none, or waits for an answer */
	UNTOLD,  /* the backend was told nothing */
	TOLD,    /* the backend may have a session */
	IS_OVER, /* the backend has said no, and the place is given back */
};

static const struct {
	enum session_phase phase;
	enum standing standing;
} stages[] = {
	{SESSION_GREETED, NOWHERE},     {SESSION_ROUTING, NOWHERE}, {SESSION_PARKED, NOWHERE},
	{SESSION_CONNECTING, UNTOLD},   {SESSION_SECURING, UNTOLD}, {SESSION_GREETING, UNTOLD},
	{SESSION_AUTHENTICATING, TOLD}, {SESSION_CHALLENGED, TOLD}, {SESSION_REFUSING, IS_OVER},
	{SESSION_RELAYING, TOLD},       {SESSION_LEAVING, TOLD},    {SESSION_HALF_CLOSED, TOLD},
	{SESSION_CLOSING, NOWHERE},
};

#define STAGES array_length(stages)

static void begin(struct session_rig *rig)
{
	session_rig_open(rig, &usual);
	fake_knows("alice", "mail1");
	fake_knows("erin", "starttls");
	fake_knows("stuck", "stuck");
}

static void reach(struct session_rig *rig, enum session_phase phase, struct rig_peer *client,
		  struct rig_peer *backend)
{
	if (phase == SESSION_PARKED) {
		rig_reach(rig, SESSION_ROUTING, client, backend);
		fake_hold("bob");
		rig_wait_phase(rig, SESSION_PARKED, 1);
	} else if (phase == SESSION_LEAVING) {
		rig_reach(rig, SESSION_RELAYING, client, backend);
		fake_change("alice", "mail2");
		rig_wait_phase(rig, SESSION_LEAVING, 1);
	} else {
		rig_reach(rig, phase, client, backend);
	}
	/* Whoever taught the proxy what the backend offers was here before. */
	fake_directory.settled = 0;
	fake_directory.unsettled = 0;
}

static void expect(unsigned settled, unsigned unsettled, unsigned lingering)
{
	assert_int_equal(fake_directory.settled, settled);
	assert_int_equal(fake_directory.unsettled, unsettled);
	assert_int_equal(fake_count(NULL, FAKE_LINGERING), lingering);
	assert_int_equal(fake_here(), lingering);
}

static void end(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	session_rig_close(rig);
}

/* --- The client goes ------------------------------------------------------------------------ */

static bool has_no_session(struct session_rig *rig, const void *context)
{
	(void)context;
	return session_set_count(&rig->set) == rig->set.farewells.count;
}

/* Where the backend was told of the user, somebody waits for its end. */
static void test_client_is_lost(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		bool told = stages[i].standing == TOLD;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig);
		reach(&rig, stages[i].phase, &client, &backend);
		rig_reset(&client);
		if (stages[i].phase == SESSION_HALF_CLOSED) {
			/* It is not read any more: a word to it finds that out. */
			rig_say(&rig, &backend, "* 1 EXISTS\r\n");
			rig_settle(&rig);
			rig_say(&rig, &backend, "* 2 EXISTS\r\n");
		}
		rig_wait(&rig, has_no_session, NULL);
		expect(stages[i].standing == UNTOLD, 0, told);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_FAREWELLS), told);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
			rig_forget(&backend);
		}
		rig_wait_gone(&rig);
		expect(told || stages[i].standing == UNTOLD, 0, 0);
		end(&rig, &client, &backend);
	}
}

/* But not for ever. */
static void test_backend_that_does_not_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		if (stages[i].standing != TOLD || stages[i].phase == SESSION_HALF_CLOSED) {
			continue;
		}
		begin(&rig);
		reach(&rig, stages[i].phase, &client, &backend);
		rig_reset(&client);
		rig_wait(&rig, has_no_session, NULL);
		rig_say(&rig, &backend, "* what is said now is dropped\r\n");
		pass(&rig, SESSION_FAREWELL_MS - 1);
		expect(0, 0, 1);
		assert_int_equal(atomic_load(&rig.limit.taken), 1);
		pass(&rig, 1);
		expect(0, 1, 0);
		rig_wait_gone(&rig);
		end(&rig, &client, &backend);
	}
}

/* Where the process may hold no more, nobody waits: it is only said that the end was not seen. */
static void test_no_place_to_wait(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig);
	reach(&rig, SESSION_RELAYING, &client, &backend);
	rig.limit.max = 0;
	rig_reset(&client);
	rig_wait_gone(&rig);
	expect(0, 1, 0);
	end(&rig, &client, &backend);
}

/* --- The backend goes ----------------------------------------------------------------------- */

/* Its end was seen: FIN or reset. */
static void test_backend_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		for (int resets = 0; resets < 2; resets++) {
			struct session_rig rig;
			struct rig_peer client;
			struct rig_peer backend;

			begin(&rig);
			reach(&rig, stages[i].phase, &client, &backend);
			if (backend.fd < 0) {
				end(&rig, &client, &backend);
				continue;
			}
			rig_hear(&backend);
			if (resets) {
				rig_reset(&backend);
			} else {
				rig_hang_up(&backend);
			}
			rig_hear(&client);
			rig_wait_phase(&rig, stages[i].phase, 0);
			expect(1, 0, 0);
			end(&rig, &client, &backend);
		}
	}
}

/* --- The proxy ends it ---------------------------------------------------------------------- */

static void test_time_is_over(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		bool told = stages[i].standing == TOLD;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		if (stages[i].phase >= SESSION_REFUSING || stages[i].phase == SESSION_PARKED) {
			continue;
		}
		begin(&rig);
		reach(&rig, stages[i].phase, &client, &backend);
		pass(&rig, LOGIN_TIMEOUT_MS);
		rig_expect_only(&rig, &client, "* BYE ");
		expect(stages[i].standing == UNTOLD, 0, told);
		rig_forget(&client);
		rig_forget(&backend);
		rig_wait_gone(&rig);
		expect(told || stages[i].standing == UNTOLD, 0, 0);
		end(&rig, &client, &backend);
	}
}

static void test_shutting_down_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		bool is_session = stages[i].phase >= SESSION_RELAYING;
		bool told = stages[i].standing == TOLD;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig);
		reach(&rig, stages[i].phase, &client, &backend);
		session_set_drain(&rig.set);
		session_set_finish(&rig.set);
		/* Sessions are present until their backends have ended. */
		assert_int_equal(fake_count(NULL, FAKE_PRESENT), told && is_session);
		assert_int_equal(fake_count(NULL, FAKE_LINGERING), told && !is_session);
		assert_int_equal(fake_directory.settled, stages[i].standing == UNTOLD);
		rig_forget(&backend);
		rig_forget(&client);
		rig_wait_gone(&rig);
		expect(told || stages[i].standing == UNTOLD, 0, 0);
		end(&rig, &client, &backend);
	}
}

/* There is no time to wait for anybody. */
static void test_closing_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < STAGES; i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig);
		reach(&rig, stages[i].phase, &client, &backend);
		session_set_close(&rig.set);
		expect(stages[i].standing == UNTOLD, stages[i].standing == TOLD, 0);
		end(&rig, &client, &backend);
	}
}

static void test_closing_those_that_linger(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig);
	reach(&rig, SESSION_RELAYING, &client, &backend);
	rig_reset(&client);
	rig_wait(&rig, has_no_session, NULL);
	expect(0, 0, 1);
	session_set_close(&rig.set);
	expect(0, 1, 0);
	end(&rig, &client, &backend);
}

/* --- Answers -------------------------------------------------------------------------------- */

/* A backend that refuses the credentials has no session: a move waits for nothing. For one that
 * refuses for another reason it waits, until that ends. */
static void test_refusals(void **state)
{
	static const struct {
		const char *reply;
		bool settled;
	} rows[] = {
		{"G1 NO [AUTHENTICATIONFAILED] no\r\n", true},
		{"G1 NO no\r\n", true},
		{"G1 NO [UNAVAILABLE] later\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig);
		reach(&rig, SESSION_AUTHENTICATING, &client, &backend);
		rig_say(&rig, &backend, rows[i].reply);
		rig_wait_phase(&rig, SESSION_AUTHENTICATING, 0);
		expect(rows[i].settled, 0, !rows[i].settled);
		rig_expect_end(&rig, &backend);
		rig_forget(&backend);
		rig_settle(&rig);
		expect(1, 0, 0);
		end(&rig, &client, &backend);
	}
}

/* Of many logins of one connection each has its own place. */
static void test_again_and_again(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.limits = "login_timeout = \"10m\"\nfailure_delay = \"0s\"\nlogin_failures = 10\n";
	session_rig_open(&rig, &options);
	fake_knows("alice", "mail1");
	fake_knows("nobody", NULL);
	fake_knows("odd", "no such backend");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	for (unsigned i = 1; i <= 3; i++) {
		rig_say(&rig, &client, "a LOGIN alice secret\r\n");
		rig_accept(&rig, rig.backend, &backend);
		rig_say(&rig, &backend, RIG_GREETING "G1 NO [AUTHENTICATIONFAILED] no\r\n");
		rig_expect_only(&rig, &client, "a NO ");
		rig_expect(&rig, &client, "\r\n");
		rig_forget(&backend);
		rig_say(&rig, &client, "b LOGIN nobody secret\r\nc LOGIN odd secret\r\n");
		rig_expect_only(&rig, &client, "b NO ");
		rig_expect(&rig, &client, "\r\nc NO ");
		rig_expect(&rig, &client, "\r\n");
		assert_int_equal(fake_directory.entered, 3 * i);
		expect(3 * i, 0, 0);
	}
	end(&rig, &client, &backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_is_lost),
		cmocka_unit_test(test_backend_that_does_not_end),
		cmocka_unit_test(test_no_place_to_wait),
		cmocka_unit_test(test_backend_ends),
		cmocka_unit_test(test_time_is_over),
		cmocka_unit_test(test_shutting_down_in_order),
		cmocka_unit_test(test_closing_all),
		cmocka_unit_test(test_closing_those_that_linger),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_again_and_again),
	};

	return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
