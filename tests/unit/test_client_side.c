/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side before the hand-off: refused logins keep the connection and what was pipelined
 * behind them, refusals look alike, limits hold, and back-pressure loses nothing.
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
#include "support/log_capture.h"
#include "support/fake_directory.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define REFUSED "NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"

static const struct rig_options no_delay = {
	.limits = "failure_delay = \"0s\"\nlogin_failures = 1000\n",
};

static const struct rig_options no_commands_limit = {
	.limits = "failure_delay = \"0s\"\ncommands = 1000000\n",
};

static void connect_greeted(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect(rig, client);
	rig_expect_only(rig, client, "* OK [CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID");
	rig_expect(rig, client, "\r\n");
}

static void end(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
	session_rig_close(rig);
}

/* --- What goes on after a refusal ----------------------------------------------------------- */

static void test_refused_login_keeps_the_connection(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &no_delay);
	connect_greeted(&rig, &client);
	rig_say(&rig, &client, "a LOGIN bob wrong\r\n");
	rig_expect_only(&rig, &client, "a " REFUSED);
	rig_say(&rig, &client, "b NOOP\r\n");
	rig_expect_only(&rig, &client, "b OK ");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_REFUSED), 1);
	assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
	end(&rig, &client);
}

/* What stands behind a LOGIN that fails is ours to parse, in order and once. */
static void test_pipelined_behind_a_refusal(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &no_delay);
	connect_greeted(&rig, &client);
	rig_say(&rig, &client,
		"a LOGIN alice wrong\r\nb NOOP\r\nc LOGIN bob x\r\nd CAPABILITY\r\n"
		"e LOGIN alice right\r\nf SELECT INBOX\r\n");
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "\r\n");
	rig_settle(&rig);
	rig_hear(&client);
	assert_int_equal(client.heard.length, 0);
	rig_say(&rig, &backend, "G1 NO no\r\n");
	rig_expect_end(&rig, &backend);
	assert_int_equal(backend.heard.length, 0);
	rig_forget(&backend);
	rig_expect_only(&rig, &client, "a " REFUSED "b OK NOOP completed.\r\nc " REFUSED);
	rig_expect_only(&rig, &client, "* CAPABILITY ");
	rig_expect(&rig, &client, "d OK CAPABILITY completed.\r\n");

	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "\r\n");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &backend, "f SELECT INBOX\r\n");
	rig_settle(&rig);
	rig_hear(&backend);
	assert_int_equal(backend.heard.length, 0);
	rig_expect_only(&rig, &client, "* CAPABILITY IMAP4rev1\r\ne OK in\r\n");
	assert_int_equal(client.heard.length, 0);
	rig_forget(&backend);
	end(&rig, &client);
}

/* Logins that are answered before they return must not go deeper down the stack. */
static void test_many_logins_at_once(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct buffer text = {0};

	(void)state;
	session_rig_open(&rig, &no_delay);
	connect_greeted(&rig, &client);
	for (unsigned i = 0; i < 400; i++) {
		buffer_printf(&text, "t%u LOGIN %s x\r\n", i, i % 2 == 0 ? "bob" : "nounix");
	}
	rig_say_bytes(&rig, &client, buffer_bytes(&text), text.length);
	buffer_done(&text);
	for (unsigned i = 0; i < 400; i++) {
		char answer[64];

		snprintf(answer, sizeof(answer), "t%u NO [%s", i,
			 i % 2 == 0 ? "AUTHENTICATIONFAILED" : "UNAVAILABLE");
		rig_expect_only(&rig, &client, answer);
		rig_expect(&rig, &client, "\r\n");
	}
	end(&rig, &client);
}

/* --- Back-pressure -------------------------------------------------------------------------- */

static void append_commands(struct buffer *text, const char *command, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		buffer_printf(text, "n%05u %s\r\n", i, command);
	}
}

static void append_noops(struct buffer *text, unsigned count)
{
	append_commands(text, "NOOP", count);
}

static void reach_login(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	connect_greeted(rig, client);
	rig_say(rig, client, RIG_LOGIN);
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "\r\n");
}

static const struct session *only_session(const struct session_rig *rig, enum session_phase phase)
{
	return container_of(rig->set.phases[phase].head, struct session, timeout);
}

static bool stopped_reading(struct session_rig *rig, const void *context)
{
	(void)context;
	return !only_session(rig, SESSION_AUTHENTICATING)->client.reading;
}

#define MANY_NOOPS 3000

/* Between us and a client, as little as the kernel grants; and the longest answer to CAPABILITY. */
#define TINY_BUFFER 2048
#define ANSWER_MOST 1024

static void test_reading_stops_while_a_login_is_under_way(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct buffer text = {0};
	const struct session *session;

	(void)state;
	session_rig_open(&rig, &no_delay);
	reach_login(&rig, &client, &backend);
	append_noops(&text, MANY_NOOPS);
	rig_say_bytes(&rig, &client, buffer_bytes(&text), text.length);
	rig_wait(&rig, stopped_reading, NULL);
	session = only_session(&rig, SESSION_AUTHENTICATING);
	assert_int_equal(session->login->input.length, SESSION_PIPELINE_MAX);
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(&rig, &client, "a OK ");
	for (unsigned i = 0; i < MANY_NOOPS; i++) {
		char line[32];

		snprintf(line, sizeof(line), "n%05u NOOP\r\n", i);
		rig_expect_only(&rig, &backend, line);
	}
	assert_int_equal(backend.heard.length, 0);
	session = only_session(&rig, SESSION_RELAYING);
	assert_int_equal(session->bytes_upstream, text.length);
	buffer_done(&text);
	rig_forget(&backend);
	end(&rig, &client);
}

static void test_reading_goes_on_after_a_refusal(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct buffer text = {0};

	(void)state;
	session_rig_open(&rig, &no_commands_limit);
	reach_login(&rig, &client, &backend);
	append_noops(&text, MANY_NOOPS);
	rig_say_bytes(&rig, &client, buffer_bytes(&text), text.length);
	buffer_done(&text);
	rig_wait(&rig, stopped_reading, NULL);
	rig_say(&rig, &backend, "G1 NO no\r\n");
	rig_expect_only(&rig, &client, "a " REFUSED);
	for (unsigned i = 0; i < MANY_NOOPS; i++) {
		char line[48];

		snprintf(line, sizeof(line), "n%05u OK NOOP completed.\r\n", i);
		rig_expect_only(&rig, &client, line);
	}
	rig_forget(&backend);
	end(&rig, &client);
}

static void set_size(int fd, int option)
{
	int size = TINY_BUFFER;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)), 0);
}

/* Whoever does not read is not answered on: hardly more than PREAUTH_REPLY_MAX waits for it. */
static void test_answers_wait_for_a_client_that_does_not_read(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct buffer text = {0};
	const struct session *session;

	(void)state;
	session_rig_open(&rig, &no_commands_limit);
	connect_greeted(&rig, &client);
	session = only_session(&rig, SESSION_GREETED);
	set_size(client.fd, SO_RCVBUF);
	set_size(session->client.watcher.fd, SO_SNDBUF);
	append_commands(&text, "CAPABILITY", MANY_NOOPS);
	rig_say_bytes(&rig, &client, buffer_bytes(&text), text.length);
	buffer_done(&text);
	rig_settle(&rig);
	assert_true(stream_is_congested(&session->client));
	assert_in_range(session->client.spill_length, 1, PREAUTH_REPLY_MAX + ANSWER_MOST);
	assert_in_range(session->login->input.length, 1, SESSION_PIPELINE_MAX);
	for (unsigned i = 0; i < MANY_NOOPS; i++) {
		char line[32];

		snprintf(line, sizeof(line), "\r\nn%05u OK ", i);
		rig_expect(&rig, &client, line);
	}
	end(&rig, &client);
}

/* A command more than limits.commands, by a client that talks before it listens. */
static void test_commands_end_at_the_limit(void **state)
{
	static const struct rig_options options = {.limits = "commands = 20\n"};
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &options);
	for (unsigned more = 0; more <= 1; more++) {
		struct rig_peer client;
		struct buffer text = {0};

		connect_greeted(&rig, &client);
		append_noops(&text, 19 + more);
		buffer_append_text(&text, "x LOGOUT\r\ny NOOP\r\n");
		rig_say_bytes(&rig, &client, buffer_bytes(&text), text.length);
		buffer_done(&text);
		rig_expect(&rig, &client, more == 0 ? "n00018 OK " : "n00019 OK ");
		rig_expect(&rig, &client, "\r\n");
		rig_expect_only(&rig, &client,
				more == 0 ? "* BYE Logging out.\r\nx OK LOGOUT completed.\r\n"
					  : "* BYE Too many commands.\r\n");
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		assert_false(client.reset);
		rig_forget(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[CLOSE_LOGOUT], 1);
		assert_int_equal(rig.set.closed[CLOSE_BAD_COMMANDS], more);
	}
	session_rig_close(&rig);
}

/* --- Refusals look alike -------------------------------------------------------------------- */

static uint64_t due_of(const struct session_rig *rig)
{
	return only_session(rig, SESSION_REFUSING)->timeout.deadline_ms;
}

/* An unknown user and a wrong password wait for a time that is counted from the question. */
static void test_unknown_user_waits_like_a_wrong_password(void **state)
{
	static const struct rig_options options = {
		.limits = "failure_delay = \"60s\"\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	uint64_t before_ms;

	(void)state;
	session_rig_open(&rig, &options);
	before_ms = timeouts_now_ms();
	connect_greeted(&rig, &client);
	rig_say(&rig, &client, "a LOGIN bob x\r\n");
	rig_wait_phase(&rig, SESSION_REFUSING, 1);
	assert_in_range(due_of(&rig), before_ms + 60000, timeouts_now_ms() + 66000);
	rig_forget(&client);
	rig_wait_gone(&rig);

	before_ms = timeouts_now_ms();
	reach_login(&rig, &client, &backend);
	rig_say(&rig, &backend, "G1 NO no\r\n");
	rig_wait_phase(&rig, SESSION_REFUSING, 1);
	assert_in_range(due_of(&rig), before_ms + 60000, timeouts_now_ms() + 66000);
	rig_expect_end(&rig, &backend);
	rig_forget(&backend);
	rig_hear(&client);
	assert_int_equal(client.heard.length, 0);
	end(&rig, &client);
}

static void test_delayed_refusal_is_given_and_not_before(void **state)
{
	static const struct rig_options options = {
		.limits = "failure_delay = \"40ms\"\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	uint64_t asked_ms;

	(void)state;
	session_rig_open(&rig, &options);
	connect_greeted(&rig, &client);
	asked_ms = timeouts_now_ms();
	rig_say(&rig, &client, "a LOGIN bob x\r\nb NOOP\r\n");
	rig_expect_only(&rig, &client, "a " REFUSED "b OK ");
	assert_true(timeouts_now_ms() >= asked_ms + 40);
	end(&rig, &client);
}

/* --- Limits --------------------------------------------------------------------------------- */

static void test_login_failures_end_in_bye(void **state)
{
	static const struct rig_options options = {
		.limits = "failure_delay = \"0s\"\nlogin_failures = 2\n",
	};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &options);
	connect_greeted(&rig, &client);
	rig_say(&rig, &client, "a LOGIN nounix x\r\nb LOGIN bob x\r\nc LOGIN bob x\r\nd NOOP\r\n");
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE]");
	rig_expect(&rig, &client, "\r\n");
	rig_expect_only(&rig, &client,
			"b " REFUSED "c " REFUSED "* BYE [LIMIT] Too many failed logins.\r\n");
	rig_expect_end(&rig, &client);
	assert_int_equal(client.heard.length, 0);
	rig_forget(&client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_LOGIN_FAILURES], 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_LOGIN_FAILURES), 1);
	session_rig_close(&rig);
}

/* Absolute: neither bytes nor logins that fail move it. */
static void test_login_timeout(void **state)
{
	static const struct rig_options options = {
		.limits = "login_timeout = \"150ms\"\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	uint64_t accepted_ms = timeouts_now_ms();

	(void)state;
	session_rig_open(&rig, &options);
	connect_greeted(&rig, &client);
	while (rig_count(&rig, SESSION_CLOSING) == 0) {
		rig_say(&rig, &client, "a NOOP\r\nb LOGIN nounix x\r\n");
		rig_hear(&client);
		assert_true(timeouts_now_ms() < accepted_ms + 30000);
	}
	assert_true(timeouts_now_ms() >= accepted_ms + 150);
	rig_expect(&rig, &client, "* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_LOGIN_TIMEOUT], 1);
	session_rig_close(&rig);
}

/* "From the connection to a successful login": a login under way does not stop the clock. */
static void test_login_timeout_in_the_middle_of_a_login(void **state)
{
	static const enum session_phase phases[] = {
		SESSION_ROUTING,
		SESSION_CONNECTING,
		SESSION_GREETING,
		SESSION_AUTHENTICATING,
	};
	static const struct rig_options options = {
		.limits = "login_timeout = \"150ms\"\n",
		.backend = "connect_timeout = \"10m\"\nlogin_timeout = \"10m\"\n",
		.directory = &fake_directory,
	};

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		session_rig_open(&rig, &options);
		rig_reach(&rig, phases[i], &client, &backend);
		rig_expect_only(&rig, &client,
				"* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
		rig_expect_end(&rig, &client);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		rig_forget(&backend);
		rig_forget(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[CLOSE_LOGIN_TIMEOUT], 1);
		session_rig_close(&rig);
	}
}

/* --- Endings that the dialogue decides ------------------------------------------------------ */

struct ending {
	const char *says;
	const char *answer;
	enum close_reason reason;
};

static void test_endings_of_the_dialogue(void **state)
{
	static const struct ending endings[] = {
		{"x LOGOUT\r\ny NOOP\r\n", "* BYE Logging out.\r\nx OK LOGOUT completed.\r\n",
		 CLOSE_LOGOUT},
		{"GET / HTTP/1.0\r\n\r\n", "* BYE This is an IMAP server.\r\n", CLOSE_NOT_IMAP},
		{"a LOGIN {99999999999+}\r\n", "* BYE [TOOBIG] Literal too long.\r\n",
		 CLOSE_TOO_BIG},
		{"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "* BYE Too many bad commands.\r\n",
		 CLOSE_BAD_COMMANDS},
	};
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, NULL);
	for (size_t i = 0; i < array_length(endings); i++) {
		struct rig_peer client;

		connect_greeted(&rig, &client);
		rig_say(&rig, &client, endings[i].says);
		rig_expect(&rig, &client, endings[i].answer);
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		rig_forget(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[endings[i].reason], 1);
	}
	session_rig_close(&rig);
}

/* Nothing of the login outlives it, least of all while the end is being waited for. */
static void test_closing_keeps_no_secrets(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, NULL);
	rig_reach(&rig, SESSION_AUTHENTICATING, &client, &backend);
	session_set_drain(&rig.set);
	session_set_finish(&rig.set);
	assert_int_equal(rig_count(&rig, SESSION_CLOSING), 1);
	assert_null(only_session(&rig, SESSION_CLOSING)->login);
	rig_forget(&backend);
	end(&rig, &client);
}

/* --- The log -------------------------------------------------------------------------------- */

static void test_failures_are_logged_once_a_second(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	buffer_truncate(&logged, 0);
	session_rig_open(&rig, &no_delay);
	connect_greeted(&rig, &client);
	rig_say(&rig, &client, "a LOGIN nounix x\r\nb LOGIN nounix x\r\nc LOGIN nounix x\r\n");
	rig_expect(&rig, &client, "c NO ");
	assert_int_equal(count_logged("login failed"), 1);
	assert_int_equal(count_logged("cannot connect: No such file or directory"), 1);
	assert_int_equal(rig.set.warnings.held_back, 2);
	end(&rig, &client);
	assert_int_equal(count_logged("client_left"), 1);
	buffer_done(&logged);
}

static void test_refusals_are_logged_with_the_user_and_without_the_password(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	buffer_truncate(&logged, 0);
	session_rig_open(&rig, &no_delay);
	connect_greeted(&rig, &client);
	rig_say(&rig, &client, "a LOGIN bob opensesame\r\n");
	rig_expect(&rig, &client, "a NO ");
	assert_int_equal(count_logged("login refused"), 1);
	assert_int_equal(count_logged(" bob "), 1);
	assert_int_equal(count_logged("opensesame"), 0);
	end(&rig, &client);
	buffer_done(&logged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_login_keeps_the_connection),
		cmocka_unit_test(test_pipelined_behind_a_refusal),
		cmocka_unit_test(test_many_logins_at_once),
		cmocka_unit_test(test_reading_stops_while_a_login_is_under_way),
		cmocka_unit_test(test_reading_goes_on_after_a_refusal),
		cmocka_unit_test(test_answers_wait_for_a_client_that_does_not_read),
		cmocka_unit_test(test_commands_end_at_the_limit),
		cmocka_unit_test(test_unknown_user_waits_like_a_wrong_password),
		cmocka_unit_test(test_delayed_refusal_is_given_and_not_before),
		cmocka_unit_test(test_login_failures_end_in_bye),
		cmocka_unit_test(test_login_timeout),
		cmocka_unit_test(test_login_timeout_in_the_middle_of_a_login),
		cmocka_unit_test(test_endings_of_the_dialogue),
		cmocka_unit_test(test_closing_keeps_no_secrets),
		cmocka_unit_test(test_failures_are_logged_once_a_second),
		cmocka_unit_test(test_refusals_are_logged_with_the_user_and_without_the_password),
	};

	return cmocka_run_group_tests_name("client_side", tests, NULL, NULL);
}
