/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins that go on to the next backend by rank: from whatever point of the dialogue, as long as
 * nothing of the credentials was said.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/fake_directory.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define LIMITS "login_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

/* No SASL-IR: the login needs a `+`, so that ID goes ahead of it alone. */
#define GREETING_ID "* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] hi\r\n"

static const struct rig_options placing = {
	.limits = LIMITS,
	.routing = "unknown = \"hash\"\nfailover = true\n",
	.backend = "send_id = true\n",
};

static const struct rig_options impatient = {
	.limits = LIMITS,
	.routing = "unknown = \"hash\"\nfailover = true\n",
	.backend = "send_id = true\nlogin_timeout = \"40ms\"\n",
};

static void begin(struct session_rig *rig, const struct rig_options *options,
		  struct rig_peer *client, const char *login)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
	rig_connect(rig, client);
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, login);
}

static void end(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
	session_rig_close(rig);
	buffer_done(&logged);
}

/* --- Whichever backend it is ------------------------------------------------------------------ */

/* The listening socket where somebody waits, or -1. */
static int called(const struct session_rig *rig)
{
	const int listening[] = {rig->backend, rig->second, rig->third};

	for (size_t i = 0; i < array_length(listening); i++) {
		struct pollfd poll_for = {.fd = listening[i], .events = POLLIN};

		if (poll(&poll_for, 1, 0) == 1) {
			return listening[i];
		}
	}
	return -1;
}

static bool is_called(struct session_rig *rig, const void *context)
{
	(void)context;
	return called(rig) != -1;
}

static void accept_any(struct session_rig *rig, struct rig_peer *backend)
{
	rig_wait(rig, is_called, NULL);
	rig_accept(rig, called(rig), backend);
}

/* --- Before the credentials ------------------------------------------------------------------- */

/* struct fault is how a backend ends that was well when it greeted: by its last words, by FIN where
 * that is "", by silence where it is NULL. */
struct fault {
	const char *greeting;
	const char *asked;
	const char *last;
	const char *why;
};

static const struct fault faults[] = {
	{"", "", "", "before its greeting"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", "", "before it named its capabilities"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", NULL, "in time"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", "* BYE now\r\n", "before it named its capabilities"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", "G1 BAD what\r\n", "CAPABILITY names neither"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", "nonsense\r\n", "no IMAP response"},
	{"* OK hi\r\n", "G1 CAPABILITY\r\n", "G7 OK what\r\n", "was not sent"},
	{"* OK [CAPABILITY IMAP2] hi\r\n", "", "", "the greeting names neither"},
	{GREETING_ID, "G1 ID (", "", "before the login"},
	{GREETING_ID, "G1 ID (", NULL, "in time"},
	{GREETING_ID, "G1 ID (", "* BYE now\r\n", "before the login"},
	{GREETING_ID, "G1 ID (", "nonsense\r\n", "no IMAP response"},
};

static void commit(struct session_rig *rig, struct rig_peer *backend, const struct fault *fault)
{
	rig_say(rig, backend, fault->greeting);
	rig_expect(rig, backend, fault->asked);
	if (fault->last != NULL) {
		rig_say(rig, backend, fault->last);
		rig_half_close(backend);
	}
	rig_expect_end(rig, backend);
	assert_false(rig_has_heard(backend, "AUTHENTICATE"));
	rig_forget(backend);
}

static void expect_login(struct session_rig *rig, struct rig_peer *client)
{
	struct rig_peer backend;

	accept_any(rig, &backend);
	rig_say(rig, &backend, RIG_GREETING);
	rig_expect_only(rig, &backend, "G1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
	rig_say(rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK ");
	rig_forget(&backend);
}

static void test_before_the_credentials(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(faults); i++) {
		bool silent = faults[i].last == NULL;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, silent ? &impatient : &placing, &client, "a LOGIN bob secret\r\n");
		accept_any(&rig, &backend);
		commit(&rig, &backend, &faults[i]);
		if (!silent) { /* the next would have to hurry */
			expect_login(&rig, &client);
			assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_FAILOVERS), 1);
			assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), 0);
		} else {
			accept_any(&rig, &backend);
			rig_forget(&backend);
		}
		end(&rig, &client);
	}
}

/* With each of them the same; the last one's fault is what the client hears of. */
static void test_all_of_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(faults); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		if (faults[i].last == NULL) {
			continue;
		}
		begin(&rig, &placing, &client, "a LOGIN bob secret\r\n");
		for (int j = 0; j < 3; j++) {
			accept_any(&rig, &backend);
			commit(&rig, &backend, &faults[i]);
		}
		rig_expect_only(&rig, &client, "a NO [");
		rig_expect(&rig, &client, "\r\n");
		rig_say(&rig, &client, "z NOOP\r\n");
		rig_expect(&rig, &client, "z OK ");
		assert_int_equal(called(&rig), -1);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_FAILOVERS), 2);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), 1);
		assert_int_equal(count_logged(faults[i].why), 1);
		end(&rig, &client);
	}
}

/* --- Not any more ----------------------------------------------------------------------------- */

static void expect_no_other(struct session_rig *rig, struct rig_peer *client, const char *answer)
{
	rig_expect_only(rig, client, answer);
	rig_expect(rig, client, "\r\n");
	rig_settle(rig);
	assert_int_equal(called(rig), -1);
	assert_int_equal(metrics_get(&rig->metrics, METRIC_BACKEND_FAILOVERS), 0);
}

/* The whole command, or its first part alone: the backend knows of the user. */
static void test_behind_the_credentials(void **state)
{
	static const char *const greetings[] = {RIG_GREETING,
						"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"};
	static const char *const words[] = {"", "* BYE now\r\n", "nonsense\r\n"};

	(void)state;
	for (size_t i = 0; i < array_length(greetings) * array_length(words); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &placing, &client, "a LOGIN bob secret\r\n");
		accept_any(&rig, &backend);
		rig_say(&rig, &backend, greetings[i % 2]);
		rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN");
		rig_expect(&rig, &backend, "\r\n");
		rig_say(&rig, &backend, words[i / 2]);
		if (i % 3 == 0) {
			rig_reset(&backend);
		} else {
			rig_half_close(&backend);
		}
		expect_no_other(&rig, &client, "a NO [UNAVAILABLE] ");
		rig_forget(&backend);
		end(&rig, &client);
	}
}

/* That the backend has gone may be noticed by reading as by writing. */
static void test_within_an_exchange(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	buffer_truncate(&logged, 0);
	session_rig_open(&rig, &placing);
	rig_teach(&rig, RIG_MECHANISMS);
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a AUTHENTICATE SCRAM-SHA-256 biwsbj1ib2Iscj14WVo=\r\n");
	accept_any(&rig, &backend);
	rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hi\r\n");
	rig_expect(&rig, &backend, "SCRAM-SHA-256 ");
	rig_say(&rig, &backend, "+ cj14WVo=\r\n");
	rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
	rig_reset(&backend);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	expect_no_other(&rig, &client, "a NO [UNAVAILABLE] ");
	rig_forget(&backend);
	end(&rig, &client);
}

/* It would suit none of them. */
static void test_a_login_that_does_not_suit(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &placing, &client, "a LOGIN bob secret\r\n");
	accept_any(&rig, &backend);
	rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n");
	expect_no_other(&rig, &client, "a NO [SERVERBUG] ");
	rig_forget(&backend);
	end(&rig, &client);
}

/* --- What a move waits for -------------------------------------------------------------------- */

/* A backend that was told nothing has no session, however the login ends. */
static void test_nothing_said_is_settled(void **state)
{
	static const struct rig_options options = {
		.limits = LIMITS,
		.directory = &fake_directory,
		.backend = "send_id = true\n",
	};
	static const char *const greetings[] = {"* OK hi\r\n", GREETING_ID, RIG_GREETING};
	static const char *const asked[] = {"G1 CAPABILITY\r\n", "G1 ID (",
					    "G1 AUTHENTICATE PLAIN "};

	(void)state;
	for (size_t i = 0; i < array_length(greetings); i++) {
		bool said = i == 2;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &options, &client, "a LOGIN bob secret\r\n");
		fake_knows("bob", "mail1");
		fake_answer("bob", "mail1");
		rig_accept(&rig, rig.backend, &backend);
		rig_say(&rig, &backend, greetings[i]);
		rig_expect(&rig, &backend, asked[i]);
		rig_hang_up(&client);
		rig_expect_end(&rig, &backend);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_FAREWELLS), said);
		assert_int_equal(fake_directory.settled, said ? 0 : 1);
		rig_forget(&backend);
		end(&rig, &client);
		assert_int_equal(fake_directory.settled, 1);
		assert_int_equal(fake_directory.unsettled, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_credentials),
		cmocka_unit_test(test_all_of_them),
		cmocka_unit_test(test_behind_the_credentials),
		cmocka_unit_test(test_within_an_exchange),
		cmocka_unit_test(test_a_login_that_does_not_suit),
		cmocka_unit_test(test_nothing_said_is_settled),
	};

	return cmocka_run_group_tests_name("failover", tests, NULL, NULL);
}
