/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that outlive their session, until the backend ends them: who is waited for, for how
 * long, and what that takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/fake_directory.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define LIMITS "login_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

static const struct rig_options with_directory = {
	.limits = LIMITS,
	.directory = &fake_directory,
};

static void begin(struct session_rig *rig, const struct rig_options *options)
{
	session_rig_open(rig, options);
	fake_knows("moves", "mail1");
}

/* A login of a user of the directory, of which the backend was told. */
static void log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN moves secret\r\n");
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE");
	rig_expect(rig, backend, "\r\n");
}

static void enter(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	log_in(rig, client, backend);
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(rig, client, "a OK");
	rig_wait_phase(rig, SESSION_RELAYING, 1);
}

static bool has_begun(struct session_rig *rig, const void *count)
{
	return rig->set.farewells.count == *(const unsigned *)count;
}

static void await_farewells(struct session_rig *rig, unsigned count)
{
	rig_wait(rig, has_begun, &count);
}

static void check_waits(struct session_rig *rig, struct rig_peer *backend)
{
	await_farewells(rig, 1);
	rig_expect_end(rig, backend);
	rig_settle(rig);
	assert_int_equal(fake_count("moves", FAKE_LINGERING), 1);
	assert_int_equal(session_set_count(&rig->set), 1);
	assert_int_equal(rig->limit.taken, 1);
	assert_int_equal(metrics_get(&rig->metrics, METRIC_FAREWELLS), 1);
}

static void end(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend,
		bool settled)
{
	rig_wait_gone(rig);
	rig_forget(client);
	rig_forget(backend);
	assert_int_equal(fake_here(), 0);
	assert_int_equal(fake_directory.settled, settled ? 1 : 0);
	assert_int_equal(fake_directory.unsettled, settled ? 0 : 1);
	session_rig_close(rig);
}

/* --- Who is waited for ---------------------------------------------------------------------- */

static void test_client_that_is_lost(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &with_directory);
	enter(&rig, &client, &backend);
	rig_reset(&client);
	check_waits(&rig, &backend);
	rig_say(&rig, &backend, "* what is said now is dropped\r\n");
	rig_settle(&rig);
	assert_int_equal(fake_count("moves", FAKE_LINGERING), 1);
	rig_hang_up(&backend);
	end(&rig, &client, &backend, true);
}

static void test_client_that_leaves_a_login(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &with_directory);
	log_in(&rig, &client, &backend);
	rig_hang_up(&client);
	check_waits(&rig, &backend);
	rig_reset(&backend);
	end(&rig, &client, &backend, true);
}

/* A backend that has said no has no session. */
static void test_refused_login(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &with_directory);
	log_in(&rig, &client, &backend);
	rig_say(&rig, &backend, "G1 NO [AUTHENTICATIONFAILED] no\r\n");
	rig_expect(&rig, &client, "a NO");
	assert_int_equal(rig.set.farewells.count, 0);
	rig_hang_up(&client);
	end(&rig, &client, &backend, true);
}

/* Nobody moves users of the configuration. */
static void test_without_a_directory(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &(struct rig_options){.limits = LIMITS});
	rig_log_in(&rig, &client, &backend);
	rig_reset(&client);
	rig_wait_gone(&rig);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_FAREWELLS), 0);
	rig_forget(&client);
	rig_forget(&backend);
	session_rig_close(&rig);
}

/* --- Bounds --------------------------------------------------------------------------------- */

/* The backend never ends it. */
static void test_at_the_latest(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct timeout *timeout;
	uint64_t begun_ms = timeouts_now_ms();

	(void)state;
	begin(&rig, &with_directory);
	enter(&rig, &client, &backend);
	rig_reset(&client);
	check_waits(&rig, &backend);
	timeout = rig.set.farewells.head;
	assert_true(timeout->deadline_ms >= begun_ms + SESSION_FAREWELL_MS);
	assert_true(timeout->deadline_ms <= timeouts_now_ms() + SESSION_FAREWELL_MS);
	timeout_remove(timeout);
	timeout_add(&rig.set.farewells, timeout, timeouts_now_ms());
	end(&rig, &client, &backend, false);
}

/* It has the place of the session. */
static void test_at_the_limit(void **state)
{
	struct rig_options options = with_directory;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct rig_peer refused;

	(void)state;
	options.max_sessions = 1;
	begin(&rig, &options);
	enter(&rig, &client, &backend);
	rig_reset(&client);
	check_waits(&rig, &backend);
	rig_connect(&rig, &refused);
	rig_expect_end(&rig, &refused);
	rig_hang_up(&backend);
	rig_forget(&refused);
	end(&rig, &client, &backend, true);
}

/* The process ends, and waits for nobody. */
static void test_closing(void **state)
{
	struct session_rig rig;
	struct rig_peer clients[2];
	struct rig_peer backends[2];

	(void)state;
	begin(&rig, &with_directory);
	enter(&rig, &clients[0], &backends[0]);
	rig_reset(&clients[0]);
	await_farewells(&rig, 1);
	enter(&rig, &clients[1], &backends[1]);
	session_set_close(&rig.set);
	assert_int_equal(session_set_count(&rig.set), 0);
	rig_wait_gone(&rig);
	assert_int_equal(fake_directory.unsettled, 2);
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
		rig_forget(&backends[i]);
	}
	session_rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_that_is_lost),
		cmocka_unit_test(test_client_that_leaves_a_login),
		cmocka_unit_test(test_refused_login),
		cmocka_unit_test(test_without_a_directory),
		cmocka_unit_test(test_at_the_latest),
		cmocka_unit_test(test_at_the_limit),
		cmocka_unit_test(test_closing),
	};

	return cmocka_run_group_tests_name("farewell", tests, NULL, NULL);
}
