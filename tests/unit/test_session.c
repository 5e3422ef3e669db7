/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of sessions: whoever leaves in whichever phase, shutting down, the limit, identifiers,
 * and that nothing outlives its end. session_rig_close checks places and descriptors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/fake_directory.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

/* Long enough never to pass by accident. */
#define PATIENT "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"60s\"\n"

static const struct rig_options patient = {
	.limits = PATIENT,
	.backend = "connect_timeout = \"10m\"\nlogin_timeout = \"10m\"\n",
	.directory = &fake_directory,
};

static const enum session_phase all_phases[] = {
	SESSION_PROXY_HEADER, SESSION_HANDSHAKE, SESSION_GREETED,  SESSION_ROUTING,
	SESSION_CONNECTING,   SESSION_SECURING,  SESSION_GREETING, SESSION_AUTHENTICATING,
	SESSION_CHALLENGED,   SESSION_REFUSING,  SESSION_RELAYING, SESSION_HALF_CLOSED,
	SESSION_CLOSING,
};

/* --- Leaving -------------------------------------------------------------------------------- */

struct departure {
	enum session_phase phase;
	enum close_reason reason;
};

static void test_client_ends_in_every_phase_before_relaying(void **state)
{
	static const struct departure departures[] = {
		{SESSION_PROXY_HEADER, CLOSE_CLIENT_LEFT},
		{SESSION_HANDSHAKE, CLOSE_HANDSHAKE_FAILED},
		{SESSION_GREETED, CLOSE_CLIENT_LEFT},
		{SESSION_ROUTING, CLOSE_CLIENT_LEFT},
		{SESSION_CONNECTING, CLOSE_CLIENT_LEFT},
		{SESSION_SECURING, CLOSE_CLIENT_LEFT},
		{SESSION_GREETING, CLOSE_CLIENT_LEFT},
		{SESSION_AUTHENTICATING, CLOSE_CLIENT_LEFT},
		{SESSION_CHALLENGED, CLOSE_CLIENT_LEFT},
		{SESSION_REFUSING, CLOSE_CLIENT_LEFT},
		{SESSION_CLOSING, CLOSE_LOGOUT},
	};
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(departures); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		uint64_t before = rig.set.closed[departures[i].reason];

		rig_reach(&rig, departures[i].phase, &client, &backend);
		rig_half_close(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[departures[i].reason], before + 1);
		rig_expect_end(&rig, &client);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		rig_forget(&client);
		rig_forget(&backend);
	}
	session_rig_close(&rig);
}

static void test_client_resets_in_every_phase(void **state)
{
	static const struct departure departures[] = {
		{SESSION_PROXY_HEADER, CLOSE_CLIENT_LOST},
		{SESSION_HANDSHAKE, CLOSE_HANDSHAKE_FAILED},
		{SESSION_GREETED, CLOSE_CLIENT_LOST},
		{SESSION_ROUTING, CLOSE_CLIENT_LOST},
		{SESSION_CONNECTING, CLOSE_CLIENT_LOST},
		{SESSION_SECURING, CLOSE_CLIENT_LOST},
		{SESSION_GREETING, CLOSE_CLIENT_LOST},
		{SESSION_AUTHENTICATING, CLOSE_CLIENT_LOST},
		{SESSION_CHALLENGED, CLOSE_CLIENT_LOST},
		{SESSION_REFUSING, CLOSE_CLIENT_LOST},
		{SESSION_RELAYING, CLOSE_CLIENT_LOST},
		{SESSION_CLOSING, CLOSE_LOGOUT},
	};
	struct session_rig rig;

	(void)state;
	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(departures); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		uint64_t before = rig.set.closed[departures[i].reason];

		rig_reach(&rig, departures[i].phase, &client, &backend);
		rig_reset(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[departures[i].reason], before + 1);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		rig_forget(&client);
		rig_forget(&backend);
	}
	session_rig_close(&rig);
}

/* A client that has ended its half is not read any more: what the backend says finds it gone. */
static void test_client_resets_when_half_closed(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_HALF_CLOSED, &client, &backend);
	rig_reset(&client);
	rig_say(&rig, &backend, "* 1 EXISTS\r\n");
	rig_settle(&rig);
	if (session_set_count(&rig.set) > 0) {
		rig_say(&rig, &backend, "* 2 EXISTS\r\n");
	}
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_CLIENT_LOST], 1);
	rig_expect_end(&rig, &backend);
	rig_forget(&client);
	rig_forget(&backend);
	session_rig_close(&rig);
}

/* Before the hand-off the client stays, is told, and may try again. */
static void backend_leaves_login(bool resets)
{
	static const enum session_phase phases[] = {
		SESSION_SECURING,
		SESSION_GREETING,
		SESSION_AUTHENTICATING,
		SESSION_CHALLENGED,
	};
	struct session_rig rig;

	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(phases); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		rig_reach(&rig, phases[i], &client, &backend);
		if (resets) {
			rig_reset(&backend);
		} else {
			rig_hang_up(&backend);
		}
		rig_forget(&backend);
		rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
		rig_expect(&rig, &client, "\r\n");
		assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
		rig_say(&rig, &client, "b LOGIN alice secret\r\n");
		rig_accept(&rig, rig.backend, &backend);
		rig_say(&rig, &backend, RIG_GREETING);
		rig_expect(&rig, &backend, "\r\n");
		rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
		rig_expect_only(&rig, &client, "b OK ");
		assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
		rig_forget(&client);
		rig_forget(&backend);
		rig_wait_gone(&rig);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_FAILED), array_length(phases));
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_OK), array_length(phases));
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
	session_rig_close(&rig);
}

static void test_backend_ends_during_a_login(void **state)
{
	(void)state;
	backend_leaves_login(false);
}

static void test_backend_resets_during_a_login(void **state)
{
	(void)state;
	backend_leaves_login(true);
}

static void backend_leaves_relay(enum session_phase phase, bool resets, enum close_reason reason)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	session_rig_open(&rig, &patient);
	rig_reach(&rig, phase, &client, &backend);
	if (resets) {
		rig_reset(&backend);
	} else {
		rig_hang_up(&backend);
	}
	rig_expect_end(&rig, &client);
	assert_false(client.reset);
	rig_forget(&client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[reason], 1);
	rig_forget(&backend);
	session_rig_close(&rig);
}

static void test_backend_leaves_the_relay(void **state)
{
	(void)state;
	backend_leaves_relay(SESSION_RELAYING, false, CLOSE_BACKEND_ENDED);
	backend_leaves_relay(SESSION_RELAYING, true, CLOSE_BACKEND_LOST);
	backend_leaves_relay(SESSION_HALF_CLOSED, false, CLOSE_CLIENT_ENDED);
	backend_leaves_relay(SESSION_HALF_CLOSED, true, CLOSE_CLIENT_ENDED);
}

/* --- Shutting down -------------------------------------------------------------------------- */

static void test_close_in_every_phase(void **state)
{
	struct session_rig rig;
	struct rig_peer clients[array_length(all_phases)];
	struct rig_peer backends[array_length(all_phases)];

	(void)state;
	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(all_phases); i++) {
		rig_reach(&rig, all_phases[i], &clients[i], &backends[i]);
	}
	assert_int_equal(session_set_count(&rig.set), array_length(all_phases));
	assert_int_equal(atomic_load(&rig.limit.taken), array_length(all_phases));
	session_set_close(&rig.set);
	assert_int_equal(session_set_count(&rig.set), 0);
	assert_int_equal(rig_count(&rig, SESSION_CLOSED), array_length(all_phases));
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_DRAINED], array_length(all_phases));
	for (size_t i = 0; i < array_length(all_phases); i++) {
		rig_expect_end(&rig, &clients[i]);
		rig_forget(&clients[i]);
		rig_forget(&backends[i]);
	}
	session_rig_close(&rig);
}

static void drain_ends_with_bye(struct session_rig *rig, enum session_phase phase)
{
	struct rig_peer client;
	struct rig_peer backend;

	rig_reach(rig, phase, &client, &backend);
	session_set_drain(&rig->set);
	if (phase == SESSION_REFUSING) {
		rig_expect_only(rig, &client,
				"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n");
	}
	rig_expect_only(rig, &client, "* BYE [UNAVAILABLE] Server shutting down.\r\n");
	rig_expect_end(rig, &client);
	assert_false(client.reset);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(rig);
}

static void test_drain_says_bye_to_those_without_login(void **state)
{
	static const enum session_phase phases[] = {SESSION_GREETED, SESSION_REFUSING};

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct session_rig rig;

		session_rig_open(&rig, &patient);
		drain_ends_with_bye(&rig, phases[i]);
		assert_int_equal(rig.set.closed[CLOSE_DRAINED], 1);
		session_rig_close(&rig);
	}
}

/* Nothing can be said to them that they would understand. */
static void test_drain_closes_openings(void **state)
{
	static const enum session_phase phases[] = {SESSION_PROXY_HEADER, SESSION_HANDSHAKE};

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		session_rig_open(&rig, &patient);
		rig_reach(&rig, phases[i], &client, &backend);
		session_set_drain(&rig.set);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[CLOSE_DRAINED], 1);
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		rig_forget(&client);
		session_rig_close(&rig);
	}
}

static void test_drain_lets_the_others_go_on(void **state)
{
	static const enum session_phase phases[] = {
		SESSION_ROUTING,  SESSION_CONNECTING,     SESSION_SECURING,
		SESSION_GREETING, SESSION_AUTHENTICATING, SESSION_CHALLENGED,
		SESSION_RELAYING, SESSION_HALF_CLOSED,    SESSION_CLOSING,
	};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		session_rig_open(&rig, &patient);
		rig_reach(&rig, phases[i], &client, &backend);
		session_set_drain(&rig.set);
		rig_settle(&rig);
		assert_int_equal(rig_count(&rig, phases[i]), 1);
		rig_forget(&client);
		rig_forget(&backend);
		session_rig_close(&rig);
	}
}

/* A login that was under way comes to its end: on success it goes on, on failure BYE follows. */
static void test_login_while_draining(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_AUTHENTICATING, &client, &backend);
	session_set_drain(&rig.set);
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(&rig, &client, "a OK ");
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(&rig);

	rig.set.draining = false;
	rig_reach(&rig, SESSION_AUTHENTICATING, &client, &backend);
	session_set_drain(&rig.set);
	rig_say(&rig, &backend, "G1 NO [UNAVAILABLE] later\r\n");
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] later\r\n* BYE [UNAVAILABLE] ");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

static void test_accept_while_draining(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &patient);
	session_set_drain(&rig.set);
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "* BYE [UNAVAILABLE] ");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

static void test_finish_says_bye_during_a_login(void **state)
{
	static const enum session_phase phases[] = {
		SESSION_ROUTING,  SESSION_CONNECTING,     SESSION_SECURING,
		SESSION_GREETING, SESSION_AUTHENTICATING, SESSION_CHALLENGED,
	};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		session_rig_open(&rig, &patient);
		rig_reach(&rig, phases[i], &client, &backend);
		session_set_drain(&rig.set);
		session_set_finish(&rig.set);
		rig_expect_only(&rig, &client, "* BYE [UNAVAILABLE] Server shutting down.\r\n");
		rig_expect_end(&rig, &client);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		assert_int_equal(rig_count(&rig, SESSION_CLOSING), 1);
		rig_forget(&client);
		rig_forget(&backend);
		rig_wait_gone(&rig);
		session_rig_close(&rig);
	}
}

/* A login that is refused after draining has begun. */
static void test_finish_answers_a_waiting_refusal(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_AUTHENTICATING, &client, &backend);
	session_set_drain(&rig.set);
	rig_say(&rig, &backend, "G1 NO [AUTHENTICATIONFAILED] no\r\n");
	rig_expect_end(&rig, &backend);
	assert_int_equal(rig_count(&rig, SESSION_REFUSING), 1);
	session_set_finish(&rig.set);
	rig_expect_only(&rig, &client,
			"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
			"* BYE [UNAVAILABLE] Server shutting down.\r\n");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

/* After the hand-off there is never a byte of ours. The backend hears of the end first; the client
 * when the backend has nothing more to say. */
static void test_finish_ends_relays_without_a_word(void **state)
{
	static const enum session_phase phases[] = {SESSION_RELAYING, SESSION_HALF_CLOSED};
	static const enum close_reason reasons[] = {CLOSE_DRAINED, CLOSE_CLIENT_ENDED};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(phases); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		session_rig_open(&rig, &patient);
		rig_reach(&rig, phases[i], &client, &backend);
		session_set_drain(&rig.set);
		session_set_finish(&rig.set);
		rig_expect_end(&rig, &backend);
		assert_int_equal(backend.heard.length, 0);
		assert_int_equal(rig.set.phases[SESSION_HALF_CLOSED].count, 1);
		rig_forget(&backend);
		rig_expect_end(&rig, &client);
		assert_false(client.reset);
		assert_int_equal(client.heard.length, 0);
		rig_forget(&client);
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[reasons[i]], 1);
		session_rig_close(&rig);
	}
}

/* --- Deadlines ------------------------------------------------------------------------------ */

static void test_handshake_timeout(void **state)
{
	static const struct rig_options options = {.limits = "handshake_timeout = \"30ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &options);
	rig_connect_tls(&rig, &client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_HANDSHAKE_TIMEOUT], 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HANDSHAKES_FAILED), 1);
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	session_rig_close(&rig);
}

static void test_close_timeout(void **state)
{
	static const struct rig_options options = {.limits = "close_timeout = \"30ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &options);
	rig_reach(&rig, SESSION_CLOSING, &client, &backend);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_LOGOUT], 1);
	rig_forget(&client);

	rig_reach(&rig, SESSION_HALF_CLOSED, &client, &backend);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_CLOSE_TIMEOUT], 1);
	rig_forget(&client);
	rig_forget(&backend);
	session_rig_close(&rig);
}

/* What a client still says while we close is read: our last words are not lost to a reset. */
static void test_closing_swallows_what_the_client_says(void **state)
{
	static char noise[100000];
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_CLOSING, &client, &backend);
	rig_say_bytes(&rig, &client, noise, sizeof(noise));
	rig_settle(&rig);
	rig_expect_only(&rig, &client, "* BYE Logging out.\r\na OK LOGOUT completed.\r\n");
	rig_expect_end(&rig, &client);
	assert_false(client.reset);
	rig_forget(&client);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

/* --- Places, names and memory ---------------------------------------------------------------- */

static void test_limit(void **state)
{
	const struct rig_options options = {.limits = PATIENT, .max_sessions = 2};
	struct session_rig rig;
	struct rig_peer clients[3];

	(void)state;
	session_rig_open(&rig, &options);
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_connect(&rig, &clients[i]);
	}
	rig_expect(&rig, &clients[0], "\r\n");
	rig_expect(&rig, &clients[1], "\r\n");
	rig_expect_end(&rig, &clients[2]);
	assert_int_equal(clients[2].heard.length, 0);
	assert_int_equal(session_set_count(&rig.set), 2);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_MAX_SESSIONS), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_SESSIONS_ACCEPTED), 3);
	rig_forget(&clients[2]);
	rig_forget(&clients[1]);
	rig_wait_phase(&rig, SESSION_GREETED, 1);
	rig_connect(&rig, &clients[1]);
	rig_expect(&rig, &clients[1], "* OK ");
	rig_forget(&clients[0]);
	rig_forget(&clients[1]);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

static void test_identifiers_are_unique(void **state)
{
	struct session_rig rig;
	struct rig_peer clients[20];
	char texts[20][SESSION_ID_TEXT_MAX];
	size_t count = 0;

	(void)state;
	session_rig_open(&rig, &patient);
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_connect(&rig, &clients[i]);
	}
	for (struct timeout *timeout = rig.set.phases[SESSION_GREETED].head; timeout != NULL;
	     timeout = timeout->next) {
		session_format_id(container_of(timeout, struct session, timeout), texts[count]);
		assert_int_equal(strspn(texts[count], "0123456789abcdef"), 16);
		for (size_t i = 0; i < count; i++) {
			assert_string_not_equal(texts[i], texts[count]);
		}
		count++;
	}
	assert_int_equal(count, array_length(clients));
	for (size_t i = 0; i < array_length(clients); i++) {
		rig_forget(&clients[i]);
	}
	session_rig_close(&rig);
}

static void test_freed_after_the_turn(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_connect(&rig, &client);
	session_set_close(&rig.set);
	session_set_close(&rig.set);
	assert_int_equal(rig_count(&rig, SESSION_CLOSED), 1);
	assert_int_equal(atomic_load(&rig.limit.taken), 0);
	rig_turn(&rig);
	assert_int_equal(rig_count(&rig, SESSION_CLOSED), 0);
	assert_false(ev_is_active(&rig.set.reaper));
	rig_forget(&client);
	session_rig_close(&rig);
}

static void test_closed_before_it_was_done(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_connect(&rig, &client);
	session_set_close(&rig.set);
	rig_forget(&client);
	session_rig_close(&rig); /* without a turn: session_set_done frees it */
}

/* The promise of the diagram in session.h: what is not in the table is our bug. */
static void test_transitions_outside_the_table_are_invariants(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	int status = 0;
	pid_t child;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_RELAYING, &client, &backend);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct timeout *timeout = rig.set.phases[SESSION_RELAYING].head;

		(void)!freopen("/dev/null", "w", stderr);
		session_enter(container_of(timeout, struct session, timeout), SESSION_GREETED,
			      TIMEOUT_NEVER);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(&rig);
	session_rig_close(&rig);
}

/* What `leaving` sessions of one moment are booked for: in order, so many in a millisecond, none
 * before it can be known to be quiet, and none later than it may stay. */
static void assert_booked(struct session_rig *rig, unsigned leaving, uint64_t before_ms)
{
	const struct timeout_list *list = &rig->set.phases[SESSION_LEAVING];
	uint64_t first_ms = list->head->deadline_ms;
	unsigned place = 0;

	assert_int_equal(list->count, leaving);
	assert_true(first_ms >= before_ms + SESSION_QUIET_MS);
	for (const struct timeout *each = list->head; each != NULL; each = each->next) {
		const struct session *session = container_of(each, struct session, timeout);

		assert_true(each->deadline_ms >= first_ms + place / SESSION_LEAVE_PER_MS);
		assert_true(each->deadline_ms <= session->leave_by_ms);
		place++;
	}
}

static void test_many_leave_one_after_the_other(void **state)
{
	enum { SESSIONS = 2 * SESSION_LEAVE_PER_MS + 1 };
	struct rig_peer clients[SESSIONS];
	struct rig_peer backends[SESSIONS];
	struct session_rig rig;
	struct timeout *next;
	uint64_t before_ms;

	(void)state;
	session_rig_open(&rig, &patient);
	for (unsigned i = 0; i < SESSIONS; i++) {
		rig_reach(&rig, SESSION_RELAYING, &clients[i], &backends[i]);
	}
	before_ms = timeouts_now_ms();
	for (struct timeout *each = rig.set.phases[SESSION_RELAYING].head; each != NULL;
	     each = next) {
		next = each->next;
		departure_begin(container_of(each, struct session, timeout), CLOSE_MOVED);
	}
	assert_booked(&rig, SESSIONS, before_ms);
	for (unsigned i = 0; i < SESSIONS; i++) {
		rig_expect_end(&rig, &backends[i]);
		rig_forget(&backends[i]);
		rig_forget(&clients[i]);
	}
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_MOVED], SESSIONS);
	session_rig_close(&rig);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(session_phase_name(SESSION_HANDSHAKE), "handshake");
	assert_string_equal(session_phase_name(SESSION_HALF_CLOSED), "half_closed");
	assert_string_equal(session_phase_name(SESSION_CLOSED), "closed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_ends_in_every_phase_before_relaying),
		cmocka_unit_test(test_client_resets_in_every_phase),
		cmocka_unit_test(test_client_resets_when_half_closed),
		cmocka_unit_test(test_backend_ends_during_a_login),
		cmocka_unit_test(test_backend_resets_during_a_login),
		cmocka_unit_test(test_backend_leaves_the_relay),
		cmocka_unit_test(test_close_in_every_phase),
		cmocka_unit_test(test_drain_says_bye_to_those_without_login),
		cmocka_unit_test(test_drain_closes_openings),
		cmocka_unit_test(test_drain_lets_the_others_go_on),
		cmocka_unit_test(test_login_while_draining),
		cmocka_unit_test(test_accept_while_draining),
		cmocka_unit_test(test_finish_says_bye_during_a_login),
		cmocka_unit_test(test_finish_answers_a_waiting_refusal),
		cmocka_unit_test(test_finish_ends_relays_without_a_word),
		cmocka_unit_test(test_handshake_timeout),
		cmocka_unit_test(test_close_timeout),
		cmocka_unit_test(test_closing_swallows_what_the_client_says),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_identifiers_are_unique),
		cmocka_unit_test(test_freed_after_the_turn),
		cmocka_unit_test(test_closed_before_it_was_done),
		cmocka_unit_test(test_transitions_outside_the_table_are_invariants),
		cmocka_unit_test(test_many_leave_one_after_the_other),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
