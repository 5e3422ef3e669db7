/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins whose backend cannot be had: the next one by rank is tried, as long as nothing of the user
 * was said, and only where the configuration allows it. Time passes when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/config_routing.h"
#include "routing/balance.h"
#include "routing/pool.h"
#include "support/fake_directory.h"
#include "support/frozen_clock.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define PATIENT "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

#define UNAVAILABLE "a NO [UNAVAILABLE] The mail server cannot be reached, try again later.\r\n"

static const struct rig_options usual = {
	.limits = PATIENT,
	.health = "fall = 1\n",
	.routing = "unknown = \"hash\"\nfailover = true\n",
	.backend = "connect_timeout = \"5s\"\nlogin_timeout = \"30s\"\n",
	.directory = &fake_directory,
};

/* The listening sockets of mail1, mail2 and mail3 in the order of bob's ranks. */
struct ranks {
	const char *names[3];
	int listening[3];
};

static struct ranks ranks_of(struct session_rig *rig)
{
	const struct pool_view *view = pool_view(rig->pool);
	const int listening[] = {rig->backend, rig->second, rig->third};
	struct member *members[BALANCE_RANKS_MAX];
	struct ranks ranks;

	assert_int_equal(balance_rank(view, BALANCE_ANY, "bob", members, BALANCE_RANKS_MAX), 3);
	for (size_t i = 0; i < 3; i++) {
		ranks.names[i] = members[i]->name;
		ranks.listening[i] = listening[members[i]->name[4] - '1'];
	}
	pool_view_unref(view);
	return ranks;
}

static struct ranks begin(struct session_rig *rig, const struct rig_options *options)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
	return ranks_of(rig);
}

static void end(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	session_rig_close(rig);
	buffer_done(&logged);
}

/* NULL: nobody knows bob. */
static void say_login(struct session_rig *rig, struct rig_peer *client, const char *route)
{
	fake_knows("bob", route);
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\nb NOOP\r\n");
}

/* The login comes, and all that belongs to it. */
static void expect_login(struct session_rig *rig, int listening, struct rig_peer *client)
{
	struct rig_peer backend;

	rig_accept(rig, listening, &backend);
	rig_say(rig, &backend, RIG_GREETING);
	rig_expect(rig, &backend, "G1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
	rig_say(rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, &backend, "b NOOP\r\n");
	assert_int_equal(fake_count("bob", FAKE_PRESENT), 1);
	rig_forget(&backend);
	rig_expect_end(rig, client);
}

/* A backend that was reached and is of no use. */
static void refuse(struct session_rig *rig, int listening, const char *words)
{
	struct rig_peer backend;

	rig_accept(rig, listening, &backend);
	rig_say(rig, &backend, words);
	rig_hang_up(&backend);
	rig_forget(&backend);
}

static void expect_nobody(struct session_rig *rig, const struct ranks *ranks)
{
	rig_settle(rig);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(accept(ranks->listening[i], NULL, NULL), -1);
	}
}

static uint64_t failovers(const struct session_rig *rig)
{
	return metrics_get(&rig->metrics, METRIC_BACKEND_FAILOVERS);
}

/* --- Reasons -------------------------------------------------------------------------------- */

static void test_refused_connect(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;

	(void)state;
	say_login(&rig, &client, "nowhere?assigned");
	expect_login(&rig, ranks.listening[0], &client);
	assert_int_equal(failovers(&rig), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_OK), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), 0);
	assert_int_equal(fake_directory.entered, 1);
	end(&rig, &client);
}

static void test_silent_connect(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	const struct session *session;

	(void)state;
	say_login(&rig, &client, "stuck?assigned");
	rig_wait_phase(&rig, SESSION_CONNECTING, 1);
	session = container_of(rig.set.phases[SESSION_CONNECTING].head, struct session, timeout);
	pass(&rig, 5000);
	ev_feed_event(rig.loop, (void *)&session->login->dial.timer, EV_TIMER);
	expect_login(&rig, ranks.listening[0], &client);
	assert_int_equal(failovers(&rig), 1);
	end(&rig, &client);
}

/* Words instead of a greeting that can be used. */
static void test_no_greeting(void **state)
{
	static const char *const words[] = {
		"",
		"* OK",
		"* BYE [UNAVAILABLE] full\r\n",
		"HTTP/1.1 400 Bad Request\r\n",
		"* PREAUTH hello\r\n",
	};

	(void)state;
	for (size_t i = 0; i < array_length(words); i++) {
		struct session_rig rig;
		struct ranks ranks = begin(&rig, &usual);
		struct rig_peer client;

		say_login(&rig, &client, NULL);
		refuse(&rig, ranks.listening[0], words[i]);
		expect_login(&rig, ranks.listening[1], &client);
		assert_int_equal(failovers(&rig), 1);
		end(&rig, &client);
	}
}

static void test_greeting_that_does_not_come(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	say_login(&rig, &client, NULL);
	rig_accept(&rig, ranks.listening[0], &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	pass(&rig, 29999);
	assert_int_equal(failovers(&rig), 0);
	pass(&rig, 1);
	rig_expect_end(&rig, &backend);
	rig_forget(&backend);
	expect_login(&rig, ranks.listening[1], &client);
	assert_int_equal(failovers(&rig), 1);
	end(&rig, &client);
}

static void test_reset_before_the_greeting(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	say_login(&rig, &client, NULL);
	rig_accept(&rig, ranks.listening[0], &backend);
	rig_reset(&backend);
	rig_forget(&backend);
	expect_login(&rig, ranks.listening[1], &client);
	end(&rig, &client);
}

static void test_tls_that_fails(void **state)
{
	static const char *const routes[] = {"implicit?assigned", "starttls?assigned"};

	(void)state;
	for (size_t i = 0; i < array_length(routes); i++) {
		for (int silent = 0; silent < 2; silent++) {
			struct session_rig rig;
			struct ranks ranks = begin(&rig, &usual);
			struct rig_peer client;
			struct rig_peer backend;

			say_login(&rig, &client, routes[i]);
			rig_accept(&rig, rig.secure, &backend);
			if (i == 1) {
				rig_say(&rig, &backend,
					"* OK [CAPABILITY IMAP4rev1 STARTTLS] backend\r\n");
				rig_expect_only(&rig, &backend, "G1 STARTTLS\r\n");
				rig_say(&rig, &backend, "G1 OK go\r\n");
			}
			rig_wait_phase(&rig, SESSION_SECURING, 1);
			if (silent) {
				pass(&rig, 5000);
			} else {
				rig_serve_tls(&rig, &backend, rig.stranger_tls);
			}
			rig_expect_end(&rig, &backend);
			rig_forget(&backend);
			expect_login(&rig, ranks.listening[0], &client);
			assert_int_equal(failovers(&rig), 1);
			end(&rig, &client);
		}
	}
}

/* --- How far it goes ------------------------------------------------------------------------ */

static void test_one_after_the_other(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;

	(void)state;
	say_login(&rig, &client, NULL);
	refuse(&rig, ranks.listening[0], "");
	refuse(&rig, ranks.listening[1], "");
	expect_login(&rig, ranks.listening[2], &client);
	assert_int_equal(failovers(&rig), 2);
	assert_int_equal(fake_directory.entered, 1);
	assert_int_equal(fake_directory.settled, 1);
	end(&rig, &client);
}

/* Each once; then the client is told, and its next login begins at the first again. */
static void test_none_is_left(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;

	(void)state;
	say_login(&rig, &client, NULL);
	for (size_t i = 0; i < 3; i++) {
		refuse(&rig, ranks.listening[i], "");
	}
	rig_expect_only(&rig, &client, UNAVAILABLE);
	rig_expect(&rig, &client, "b OK ");
	rig_expect(&rig, &client, "\r\n");
	assert_int_equal(failovers(&rig), 2);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), 1);
	assert_int_equal(fake_here(), 0);
	assert_int_equal(fake_directory.settled, 1);
	expect_nobody(&rig, &ranks);
	rig_say(&rig, &client, "a LOGIN bob secret\r\nb NOOP\r\n");
	expect_login(&rig, ranks.listening[0], &client);
	end(&rig, &client);
}

/* One that is known to be down is passed over. */
static void test_down(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	const struct pool_view *view = pool_view(rig.pool);
	struct rig_peer client;

	(void)state;
	member_missed(pool_view_find(view, ranks.names[1]), "test", &rig.metrics);
	pool_view_unref(view);
	say_login(&rig, &client, NULL);
	refuse(&rig, ranks.listening[0], "");
	expect_login(&rig, ranks.listening[2], &client);
	end(&rig, &client);
}

/* Under the name that the route gave. */
static void test_name_of_the_route(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	say_login(&rig, &client, "nowhere?user=robert&assigned");
	rig_accept(&rig, ranks.listening[0], &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN AHJvYmVydABzZWNyZXQ=\r\n");
	rig_forget(&backend);
	end(&rig, &client);
}

/* --- Never ---------------------------------------------------------------------------------- */

/* The backend may have taken the login. */
static void test_never_after_words(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		struct session_rig rig;
		struct ranks ranks = begin(&rig, &usual);
		struct rig_peer client;
		struct rig_peer backend;

		say_login(&rig, &client, NULL);
		rig_accept(&rig, ranks.listening[0], &backend);
		rig_say(&rig, &backend, RIG_GREETING);
		rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
		if (how == 0) {
			rig_hang_up(&backend);
		} else if (how == 1) {
			rig_reset(&backend);
		} else if (how == 2) {
			pass(&rig, 30000);
		} else {
			rig_say(&rig, &backend, "G1 NO [UNAVAILABLE] later\r\n");
		}
		rig_expect(&rig, &client, "a NO [UNAVAILABLE] ");
		expect_nobody(&rig, &ranks);
		assert_int_equal(failovers(&rig), 0);
		rig_forget(&backend);
		end(&rig, &client);
	}
}

/* Nor where that is found out by what is sent to it. */
static void test_never_after_a_response(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	struct rig_peer backend;
	struct session *session;

	(void)state;
	rig_teach(&rig, RIG_MECHANISMS);
	fake_knows("bob", NULL);
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a AUTHENTICATE SCRAM-SHA-256 biwsbj1ib2Iscj14WVo=\r\n");
	rig_accept(&rig, ranks.listening[0], &backend);
	rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hi\r\n");
	rig_expect(&rig, &backend, "AUTHENTICATE SCRAM-SHA-256 ");
	rig_expect(&rig, &backend, "\r\n");
	rig_say(&rig, &backend, "+ cj14WVo=\r\n");
	rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
	/* The response is written before anything is read of the reset. */
	session = container_of(rig.set.phases[SESSION_CHALLENGED].head, struct session, timeout);
	stream_set_reading(&session->upstream, false);
	rig_reset(&backend);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect(&rig, &client, "a NO [UNAVAILABLE] ");
	expect_nobody(&rig, &ranks);
	assert_int_equal(failovers(&rig), 0);
	rig_forget(&backend);
	end(&rig, &client);
}

/* By hand, by name, or where the configuration does not say so. */
static void test_not_allowed(void **state)
{
	static const struct {
		const char *routing;
		const char *route;
	} rows[] = {
		{"unknown = \"hash\"\nfailover = true\n", "nowhere"},
		{"unknown = \"hash\"\nfailover = true\n", "imap://127.0.0.1:1"},
		{"unknown = \"hash\"\n", "nowhere?assigned"},
		{"unknown = \"assign\"\n", "nowhere?assigned"},
		{"unknown = \"nowhere\"\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct rig_options options = usual;
		struct session_rig rig;
		struct ranks ranks;
		struct rig_peer client;

		options.routing = rows[i].routing;
		ranks = begin(&rig, &options);
		say_login(&rig, &client, rows[i].route);
		rig_expect_only(&rig, &client, UNAVAILABLE);
		expect_nobody(&rig, &ranks);
		assert_int_equal(failovers(&rig), 0);
		assert_int_equal(fake_directory.settled, 1);
		end(&rig, &client);
	}
}

/* What the proxy itself is to blame for does not get better elsewhere. */
static void test_loop(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;

	(void)state;
	say_login(&rig, &client, "unixloop?assigned");
	rig_expect_only(&rig, &client, "a NO [SERVERBUG] ");
	assert_int_equal(count_logged("the route leads back to this proxy"), 1);
	expect_nobody(&rig, &ranks);
	assert_int_equal(failovers(&rig), 0);
	end(&rig, &client);
}

/* --- In between ----------------------------------------------------------------------------- */

/* A hold that comes while the second is being reached. */
static void test_held_on_the_way(void **state)
{
	struct session_rig rig;
	struct ranks ranks = begin(&rig, &usual);
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	say_login(&rig, &client, NULL);
	refuse(&rig, ranks.listening[0], "");
	rig_accept(&rig, ranks.listening[1], &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	fake_hold("bob");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	assert_int_equal(fake_directory.settled, 1);
	rig_expect_end(&rig, &backend);
	rig_forget(&backend);
	/* It begins anew, also with those that it had tried. */
	fake_release("bob");
	pass(&rig, 500);
	expect_login(&rig, ranks.listening[0], &client);
	end(&rig, &client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_connect),
		cmocka_unit_test(test_silent_connect),
		cmocka_unit_test(test_no_greeting),
		cmocka_unit_test(test_greeting_that_does_not_come),
		cmocka_unit_test(test_reset_before_the_greeting),
		cmocka_unit_test(test_tls_that_fails),
		cmocka_unit_test(test_one_after_the_other),
		cmocka_unit_test(test_none_is_left),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_name_of_the_route),
		cmocka_unit_test(test_never_after_words),
		cmocka_unit_test(test_never_after_a_response),
		cmocka_unit_test(test_not_allowed),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_held_on_the_way),
	};

	return cmocka_run_group_tests_name("backend_failover", tests, NULL, NULL);
}
