/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchanges that a backend leads with the client, round by round, and how they end early, from
 * either side: one tagged answer, and the connection goes on. What of a login the backend is told.
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
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define PATIENT "login_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

#define UNAVAILABLE "NO [UNAVAILABLE] The mail server cannot be reached, try again later.\r\n"
#define REFUSED     "NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
#define SERVERBUG   "NO [SERVERBUG] "

static const struct rig_options patient = {.limits = PATIENT};

static void begin(struct session_rig *rig, const struct rig_options *options)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
	rig_teach(rig, RIG_MECHANISMS);
}

static void end(struct session_rig *rig)
{
	session_rig_close(rig);
	buffer_done(&logged);
}

static void leave(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
}

static void say_login(struct session_rig *rig, struct rig_peer *client, const char *login)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, login);
}

static void greet(struct session_rig *rig, struct rig_peer *backend, const char *login)
{
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend,
		"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 "
		"AUTH=OAUTHBEARER AUTH=SCRAM-SHA-256] backend\r\n");
	rig_expect_only(rig, backend, login);
}

static void finish_login(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend,
			 const char *tag)
{
	char line[32];

	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	snprintf(line, sizeof(line), "%s OK ", tag);
	rig_expect_only(rig, client, line);
	rig_expect(rig, client, "in\r\n");
	assert_int_equal(client->heard.length, 0);
	assert_int_equal(rig_count(rig, SESSION_RELAYING), 1);
}

/* The client is heard again, and may log in. */
static void check_usable(struct session_rig *rig, struct rig_peer *client)
{
	struct rig_peer backend;

	assert_int_equal(client->heard.length, 0);
	assert_int_equal(rig_count(rig, SESSION_GREETED), 1);
	rig_say(rig, client, "y NOOP\r\n");
	rig_expect_only(rig, client, "y OK NOOP completed.\r\n");
	rig_say(rig, client, "z LOGIN alice secret\r\n");
	greet(rig, &backend, "G1 AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
	finish_login(rig, client, &backend, "z");
	leave(rig, client, &backend);
}

/* --- Rounds --------------------------------------------------------------------------------- */

/* SCRAM, with the server's last word as a challenge whose answer is empty. */
static void test_exchange(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	rig_wait_phase(&rig, SESSION_AUTHENTICATING, 1);
	rig_say(&rig, &backend, "+ dj1yNnQ=\r\n");
	rig_expect_only(&rig, &client, "+ dj1yNnQ=\r\n");
	rig_wait_phase(&rig, SESSION_CHALLENGED, 1);
	rig_say(&rig, &client, "\r\nb SELECT INBOX\r\n");
	rig_expect_only(&rig, &backend, "\r\n");
	finish_login(&rig, &client, &backend, "a");
	rig_expect_only(&rig, &backend, "b SELECT INBOX\r\n");
	leave(&rig, &client, &backend);
	assert_int_equal(count_logged(" alice SCRAM-SHA-256 mail1 "), 1);
	end(&rig);
}

/* The same byte by byte, from both sides. */
static void say_bytewise(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	for (; *text != '\0'; text++) {
		rig_say_bytes(rig, peer, text, 1);
		rig_turn(rig);
	}
}

static void test_exchange_byte_by_byte(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	say_login(&rig, &client, "");
	say_bytewise(&rig, &client, "a " RIG_EXCHANGE);
	greet(&rig, &backend, "G1 " RIG_EXCHANGE);
	say_bytewise(&rig, &backend, "+ cj14WVo=\r\n");
	rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
	say_bytewise(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	say_bytewise(&rig, &backend, "+ \r\n");
	rig_expect_only(&rig, &client, "+ \r\n");
	say_bytewise(&rig, &client, "\r\n");
	rig_expect_only(&rig, &backend, "\r\n");
	say_bytewise(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

static void say_rounds(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend,
		       unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		rig_say(rig, backend, "+ YWJj\r\n");
		rig_expect_only(rig, client, "+ YWJj\r\n");
		rig_say(rig, client, "ZGVm\r\n");
		rig_expect_only(rig, backend, "ZGVm\r\n");
	}
}

static void test_many_rounds(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (unsigned more = 0; more <= 1; more++) {
		struct rig_peer client;
		struct rig_peer backend;

		say_login(&rig, &client, "a " RIG_EXCHANGE);
		greet(&rig, &backend, "G1 " RIG_EXCHANGE);
		say_rounds(&rig, &client, &backend, UPSTREAM_CHALLENGES_MAX);
		if (more == 0) {
			finish_login(&rig, &client, &backend, "a");
			leave(&rig, &client, &backend);
		} else {
			rig_say(&rig, &backend, "+ YWJj\r\n");
			rig_expect_only(&rig, &client, "a " UNAVAILABLE);
			rig_expect_end(&rig, &backend);
			rig_forget(&backend);
			check_usable(&rig, &client);
		}
	}
	end(&rig);
}

/* A client that does not wait for challenges: its answers stay in order, what follows them is the
 * backend's. */
static void test_pipelined_responses(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	say_login(&rig, &client, "a " RIG_EXCHANGE "Yz1iaXdz\r\n\r\nb SELECT INBOX\r\n");
	greet(&rig, &backend, "G1 " RIG_EXCHANGE);
	rig_settle(&rig);
	rig_hear(&backend);
	assert_int_equal(backend.heard.length, 0);
	rig_say(&rig, &backend, "+ cj14WVo=\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
	rig_settle(&rig);
	rig_hear(&backend);
	assert_int_equal(backend.heard.length, 0);
	rig_say(&rig, &backend, "+ dj1yNnQ=\r\n");
	rig_expect_only(&rig, &backend, "\r\n");
	rig_expect_only(&rig, &client, "+ dj1yNnQ=\r\n");
	finish_login(&rig, &client, &backend, "a");
	rig_expect_only(&rig, &backend, "b SELECT INBOX\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

/* Tokens: taken at once, or refused with a challenge that holds the reasons. */
static void test_tokens(void **state)
{
	static const char *const logins[] = {
		"AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ==\r\n",
		"AUTHENTICATE OAUTHBEARER bixhPWFsaWNlLAFhdXRoPUJlYXJlciB0b2sBAQ==\r\n",
	};
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < 2 * array_length(logins); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		char text[128];

		snprintf(text, sizeof(text), "a %s", logins[i / 2]);
		say_login(&rig, &client, text);
		snprintf(text, sizeof(text), "G1 %s", logins[i / 2]);
		greet(&rig, &backend, text);
		if (i % 2 == 0) {
			finish_login(&rig, &client, &backend, "a");
			leave(&rig, &client, &backend);
			continue;
		}
		rig_say(&rig, &backend, "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n");
		rig_expect_only(&rig, &client, "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n");
		rig_say(&rig, &client, "AQ==\r\n");
		rig_expect_only(&rig, &backend, "AQ==\r\n");
		rig_say(&rig, &backend, "G1 NO [AUTHENTICATIONFAILED] old\r\n");
		rig_expect_only(&rig, &client, "a " REFUSED);
		rig_expect_end(&rig, &backend);
		rig_forget(&backend);
		check_usable(&rig, &client);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_REFUSED), 2);
	assert_int_equal(count_logged("dG9r"), 0);
	end(&rig);
}

/* --- The backend ends it -------------------------------------------------------------------- */

struct ending {
	const char *says; /* in one segment */
	bool hangs_up;
	bool resets;
	const char *answer;
};

static const struct ending endings[] = {
	{"G1 NO [AUTHENTICATIONFAILED] no\r\n", false, false, "a " REFUSED},
	{"G1 NO [UNAVAILABLE] later\r\n", false, false, "a NO [UNAVAILABLE] later\r\n"},
	{"G1 BAD what\r\n", false, false, "a " SERVERBUG},
	{"* BYE tired\r\n", false, false, "a " UNAVAILABLE},
	{"* BYE tired\r\n", true, false, "a " UNAVAILABLE},
	{"* OK still here\r\n", true, false, "a " UNAVAILABLE},
	{"", true, false, "a " UNAVAILABLE},
	{"", false, true, "a " UNAVAILABLE},
	{"* OK still here\r\nG1 NO no\r\n", false, false, "a " REFUSED},
	{"* OK still here\r\nG1 NO no\r\n", true, false, "a " REFUSED},
	{"+ YWJj\r\n", false, false, "a " SERVERBUG},
	{"G1 OK in\r\n", false, false, "a " SERVERBUG},
	{"nonsense\r\n", false, false, "a " UNAVAILABLE},
};

static void end_exchange(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend,
			 const struct ending *ending)
{
	if (ending->hangs_up) {
		rig_hang_up(backend);
	} else if (ending->resets) {
		rig_reset(backend);
	} else {
		rig_expect_end(rig, backend);
	}
	rig_forget(backend);
	rig_expect_only(rig, client, ending->answer);
	if (client->heard.length > 0) {
		rig_expect(rig, client, "\r\n");
	}
	check_usable(rig, client);
}

/* While the client owes an answer: it gets its tagged one and no other. */
static void test_backend_ends_a_challenge(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(endings); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
		rig_say(&rig, &backend, endings[i].says);
		end_exchange(&rig, &client, &backend, &endings[i]);
	}
	end(&rig);
}

/* The same in one segment with the challenge: where it is final, the client sees no challenge. */
static void test_challenge_and_end_at_once(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(endings); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		char text[128];

		say_login(&rig, &client, "a " RIG_EXCHANGE);
		greet(&rig, &backend, "G1 " RIG_EXCHANGE);
		snprintf(text, sizeof(text), "+ cj14WVo=\r\n%s", endings[i].says);
		rig_say(&rig, &backend, text);
		if (strcmp(endings[i].says, "") == 0 ||
		    strcmp(endings[i].says, "* OK still here\r\n") == 0) {
			rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
		}
		end_exchange(&rig, &client, &backend, &endings[i]);
	}
	end(&rig);
}

/* And while the backend owes one, with the client's answer on its way. */
static void test_backend_ends_behind_a_response(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(endings); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		if (endings[i].says[0] == '+' || strncmp(endings[i].says, "G1 OK", 5) == 0 ||
		    strcmp(endings[i].says, "* BYE tired\r\n") == 0) {
			continue; /* that is in order there */
		}
		rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
		rig_say(&rig, &client, "Yz1iaXdz\r\n");
		rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
		rig_say(&rig, &backend, endings[i].says);
		end_exchange(&rig, &client, &backend, &endings[i]);
	}
	end(&rig);
}

/* What it says meanwhile is no answer. */
static void test_backend_chats_while_challenged(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	rig_say(&rig, &backend, "* OK one moment\r\n* CAPABILITY X\r\n* OK [ALER");
	rig_settle(&rig);
	rig_hear(&client);
	assert_int_equal(client.heard.length, 0);
	assert_int_equal(rig_count(&rig, SESSION_CHALLENGED), 1);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	rig_say(&rig, &backend, "T] beware\r\nG1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "* OK [ALERT] beware\r\na OK [CAPABILITY IMAP4rev1] in\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

/* --- The client ends it --------------------------------------------------------------------- */

static void test_client_cancels(void **state)
{
	static const char *const lines[] = {"*\r\n", "no base64!\r\n", "AAA=BBBB\r\n", "* \r\n"};
	static const char *const answers[] = {
		"a BAD Authentication cancelled.\r\n",
		"a BAD ",
		"a BAD ",
		"a BAD ",
	};
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(lines); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
		rig_say(&rig, &client, lines[i]);
		rig_expect_end(&rig, &backend);
		assert_int_equal(backend.heard.length, 0);
		rig_forget(&backend);
		rig_expect_only(&rig, &client, answers[i]);
		if (client.heard.length > 0) {
			rig_expect(&rig, &client, "\r\n");
		}
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_REFUSED), i + 1);
		check_usable(&rig, &client);
	}
	end(&rig);
}

static void test_cancelling_counts_and_waits(void **state)
{
	static const struct rig_options options = {
		.limits = "login_timeout = \"10m\"\nfailure_delay = \"60s\"\nlogin_failures = 2\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	for (unsigned i = 1; i <= 2; i++) {
		if (i == 2) {
			rig_say(&rig, &client, "a " RIG_EXCHANGE);
			greet(&rig, &backend, "G1 " RIG_EXCHANGE);
			rig_say(&rig, &backend, "+ cj14WVo=\r\n");
			rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
		}
		rig_say(&rig, &client, "*\r\n");
		rig_wait_phase(&rig, SESSION_REFUSING, 1);
		rig_expect_end(&rig, &backend);
		rig_forget(&backend);
		rig_settle(&rig);
		rig_hear(&client);
		assert_int_equal(client.heard.length, 0);
		client_login_answer(container_of(rig.set.phases[SESSION_REFUSING].head,
						 struct session, timeout));
		rig_expect_only(&rig, &client, "a BAD Authentication cancelled.\r\n");
	}
	rig_expect_only(&rig, &client, "* BYE [LIMIT] Too many failed logins.\r\n");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_LOGIN_FAILURES], 1);
	end(&rig);
}

/* Too many bad lines end all of it: a tagged answer, BYE, and the backend is left. */
static void test_abuse_while_challenged(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT "bad_commands = 1\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	rig_say(&rig, &client, "!!!!\r\n");
	rig_expect_end(&rig, &backend);
	rig_expect_only(&rig, &client, "a BAD Invalid base64.\r\n* BYE Too many bad commands.\r\n");
	rig_expect_end(&rig, &client);
	leave(&rig, &client, &backend);
	assert_int_equal(rig.set.closed[CLOSE_BAD_COMMANDS], 1);
	end(&rig);
}

/* --- Time ----------------------------------------------------------------------------------- */

/* The client's time is not the backend's. */
static void test_backend_does_not_wait_for_the_client(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.backend = "login_timeout = \"40ms\"\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	const struct session *session;

	(void)state;
	begin(&rig, &options);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	session = container_of(rig.set.phases[SESSION_CHALLENGED].head, struct session, timeout);
	assert_int_equal(session->timeout.deadline_ms, session_login_deadline(session));
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &client, "a " UNAVAILABLE);
	assert_int_equal(count_logged("no answer to the login in time"), 1);
	leave(&rig, &client, &backend);
	end(&rig);
}

static void test_login_timeout_while_challenged(void **state)
{
	static const struct rig_options options = {.limits = "login_timeout = \"150ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	rig_expect_only(&rig, &client, "* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
	rig_expect_end(&rig, &client);
	rig_expect_end(&rig, &backend);
	leave(&rig, &client, &backend);
	assert_int_equal(rig.set.closed[CLOSE_LOGIN_TIMEOUT], 1);
	end(&rig);
}

/* A login that is under way when the proxy leaves is brought to its end. */
static void test_draining_while_challenged(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	session_set_drain(&rig.set);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	finish_login(&rig, &client, &backend, "a");
	leave(&rig, &client, &backend);

	rig.set.draining = false;
	rig_reach(&rig, SESSION_CHALLENGED, &client, &backend);
	session_set_drain(&rig.set);
	rig_say(&rig, &client, "*\r\n");
	rig_expect_only(&rig, &client, "a BAD Authentication cancelled.\r\n* BYE [UNAVAILABLE] ");
	rig_expect_end(&rig, &client);
	leave(&rig, &client, &backend);
	end(&rig);
}

/* --- What the backend is told --------------------------------------------------------------- */

static void expect_serverbug(struct session_rig *rig, struct rig_peer *client, const char *why)
{
	rig_expect_only(rig, client, "a " SERVERBUG);
	rig_expect(rig, client, "\r\n");
	assert_int_equal(count_logged(why), 1);
	assert_int_equal(metrics_get(&rig->metrics, METRIC_LOGINS_FAILED), 1);
}

static void test_backend_without_the_mechanism(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	say_login(&rig, &client, "a " RIG_EXCHANGE);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	expect_serverbug(&rig, &client, "does not offer the mechanism");
	rig_expect_end(&rig, &backend);
	assert_int_equal(backend.heard.length, 0);
	rig_forget(&backend);
	/* And the next client is not offered it. */
	rig_say(&rig, &client, "b " RIG_EXCHANGE);
	rig_expect_only(&rig, &client, "b NO Unsupported authentication mechanism.\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

static void test_name_of_the_route(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.directory = &fake_directory,
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	fake_knows("bob", "mail1?user=robert");
	say_login(&rig, &client, "a LOGIN bob secret\r\n");
	greet(&rig, &backend, "G1 AUTHENTICATE PLAIN AHJvYmVydABzZWNyZXQ=\r\n");
	finish_login(&rig, &client, &backend, "a");
	leave(&rig, &client, &backend);
	assert_int_equal(count_logged(" bob PLAIN mail1 "), 1);
	end(&rig);
}

/* What the client signs cannot be renamed. */
static void test_exchange_under_another_name(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.directory = &fake_directory,
	};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options);
	fake_knows("bob", "mail1?user=robert");
	say_login(&rig, &client, "a AUTHENTICATE SCRAM-SHA-256 biwsbj1ib2Iscj14WVo=\r\n");
	expect_serverbug(&rig, &client, "but the client signs its own");
	rig_settle(&rig);
	assert_int_equal(accept(rig.backend, NULL, NULL), -1);
	rig_forget(&client);
	end(&rig);
}

#define MASTER "master_user = \"master\"\nmaster_password = \"opener\"\n"

static void secure_alice(struct session_rig *rig, struct rig_peer *client, bool certified)
{
	rig_connect_tls(rig, client);
	rig_secure(rig, client, certified ? &rig->alice : NULL);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
}

static void test_certified_client(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.backend = MASTER,
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	secure_alice(&rig, &client, true);
	rig_say(&rig, &client, "a AUTHENTICATE EXTERNAL =\r\n");
	greet(&rig, &backend,
	      "G1 AUTHENTICATE PLAIN YWxpY2VAZXhhbXBsZS5vcmcAbWFzdGVyAG9wZW5lcg==\r\n");
	finish_login(&rig, &client, &backend, "a");
	leave(&rig, &client, &backend);
	assert_int_equal(count_logged(" alice@example.org EXTERNAL mail1 "), 1);
	end(&rig);
}

static void refuse_external(const struct rig_options *options, bool certified)
{
	struct session_rig rig;
	struct rig_peer client;

	begin(&rig, options);
	secure_alice(&rig, &client, certified);
	rig_say(&rig, &client, "a AUTHENTICATE EXTERNAL =\r\nb CAPABILITY\r\n");
	rig_expect_only(&rig, &client, "a NO Unsupported authentication mechanism.\r\n");
	rig_expect(&rig, &client, "* CAPABILITY ");
	rig_settle(&rig);
	rig_hear(&client);
	assert_false(rig_has_heard(&client, "AUTH=EXTERNAL"));
	assert_true(rig_has_heard(&client, "AUTH=PLAIN"));
	rig_forget(&client);
	end(&rig);
}

static void test_no_external_without_certificate_or_masters(void **state)
{
	static const struct rig_options all = {.limits = PATIENT, .backend = MASTER};
	static const struct rig_options one = {.limits = PATIENT, .mail1 = MASTER};
	static const struct rig_options none = {.limits = PATIENT};

	(void)state;
	refuse_external(&all, false);
	refuse_external(&one, true);
	refuse_external(&none, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_exchange_byte_by_byte),
		cmocka_unit_test(test_many_rounds),
		cmocka_unit_test(test_pipelined_responses),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_backend_ends_a_challenge),
		cmocka_unit_test(test_challenge_and_end_at_once),
		cmocka_unit_test(test_backend_ends_behind_a_response),
		cmocka_unit_test(test_backend_chats_while_challenged),
		cmocka_unit_test(test_client_cancels),
		cmocka_unit_test(test_cancelling_counts_and_waits),
		cmocka_unit_test(test_abuse_while_challenged),
		cmocka_unit_test(test_backend_does_not_wait_for_the_client),
		cmocka_unit_test(test_login_timeout_while_challenged),
		cmocka_unit_test(test_draining_while_challenged),
		cmocka_unit_test(test_backend_without_the_mechanism),
		cmocka_unit_test(test_name_of_the_route),
		cmocka_unit_test(test_exchange_under_another_name),
		cmocka_unit_test(test_certified_client),
		cmocka_unit_test(test_no_external_without_certificate_or_masters),
	};

	return cmocka_run_group_tests_name("backend_login", tests, NULL, NULL);
}
