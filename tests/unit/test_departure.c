/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions that must go: the user lives elsewhere, is on hold, or is given away. When they go, what
 * still reaches either side, and when they stay. Time passes when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "routing/member.h"
#include "routing/pool.h"
#include "support/fake_directory.h"
#include "support/frozen_clock.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define GRACE_MS 1000

#define PATIENT                                                                                    \
	.limits = "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n",    \
	.backend = "connect_timeout = \"10m\"\nlogin_timeout = \"10m\"\n",                         \
	.directory = &fake_directory

static const struct rig_options usual = {
	PATIENT,
	.moves = "kick_grace = \"1s\"\n",
};

static void begin(struct session_rig *rig, const struct rig_options *options)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
}

static void end(struct session_rig *rig)
{
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	session_rig_close(rig);
	buffer_done(&logged);
}

static struct member *member_of(struct session_rig *rig, const char *name)
{
	const struct pool_view *view = pool_view(rig->pool);
	struct member *member = pool_view_find(view, name);

	pool_view_unref(view);
	assert_non_null(member);
	return member;
}

static void say_login(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\n");
}

static void authenticate(struct session_rig *rig, int listening, struct rig_peer *backend)
{
	rig_accept(rig, listening, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE PLAIN ");
	rig_expect(rig, backend, "\r\n");
}

/* A session of bob, who lives on mail1. */
static void log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	say_login(rig, client);
	authenticate(rig, rig->backend, backend);
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
}

static void begin_session(struct session_rig *rig, const struct rig_options *options,
			  struct rig_peer *client, struct rig_peer *backend)
{
	begin(rig, options);
	fake_knows("bob", "mail1");
	log_in(rig, client, backend);
}

/* The backend ends, the client hears what it still said, and nothing of ours. */
static void finish(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_expect_end(rig, backend);
	assert_int_equal(backend->heard.length, 0);
	rig_say(rig, backend, "* BYE see you\r\n");
	rig_hang_up(backend);
	rig_expect_only(rig, client, "* BYE see you\r\n");
	rig_expect_end(rig, client);
	assert_false(client->reset);
	assert_int_equal(client->heard.length, 0);
	rig_forget(client);
	rig_forget(backend);
}

static void expect_relaying(struct session_rig *rig, struct rig_peer *client,
			    struct rig_peer *backend)
{
	rig_say(rig, client, "b NOOP\r\n");
	rig_expect_only(rig, backend, "b NOOP\r\n");
	rig_say(rig, backend, "b OK\r\n");
	rig_expect_only(rig, client, "b OK\r\n");
}

static void leave(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_hang_up(backend);
	rig_expect_end(rig, client);
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
}

/* --- At a quiet moment ---------------------------------------------------------------------- */

static void test_moved(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin_session(&rig, &usual, &client, &backend);
	fake_change("bob", "mail2");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_MOVED), 1);
	pass(&rig, SESSION_QUIET_MS - 1);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	/* It is present until the backend has ended: a move waits for that. */
	assert_int_equal(fake_count("bob", FAKE_PRESENT), 1);
	finish(&rig, &client, &backend);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_MOVED], 1);
	assert_int_equal(fake_directory.settled, 1);
	assert_int_equal(fake_directory.unsettled, 0);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_MOVED), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_HELD), 0);
	end(&rig);
}

static void test_held(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin_session(&rig, &usual, &client, &backend);
	fake_hold("bob");
	fake_hold("bob"); /* it is renewed */
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, SESSION_QUIET_MS);
	fake_hold("bob");
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	finish(&rig, &client, &backend);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_HELD], 1);
	assert_int_equal(count_logged(" held the user is on hold\n"), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_HELD), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_MOVED), 0);
	end(&rig);
}

/* Whoever is busy is left alone until kick_grace is over, and not longer. */
static void check_busy(bool is_client, bool is_backend)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	begin_session(&rig, &usual, &client, &backend);
	fake_change("bob", "mail2");
	for (int ms = 0; ms < GRACE_MS - 1; ms++) {
		if (ms % 100 == 0 && is_client) {
			rig_say(&rig, &client, "b NOOP\r\n");
			rig_expect_only(&rig, &backend, "b NOOP\r\n");
		}
		if (ms % 100 == 0 && is_backend) {
			rig_say(&rig, &backend, "* 1 EXISTS\r\n");
			rig_expect_only(&rig, &client, "* 1 EXISTS\r\n");
		}
		pass(&rig, 1);
		assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	}
	rig_say(&rig, &backend, "* 2 EXISTS\r\n");
	rig_expect_only(&rig, &client, "* 2 EXISTS\r\n");
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	finish(&rig, &client, &backend);
	end(&rig);
}

static void test_busy(void **state)
{
	(void)state;
	check_busy(true, false);
	check_busy(false, true);
	check_busy(true, true);
}

/* As soon as it is quiet. */
static void test_busy_for_a_while(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.moves = "kick_grace = \"1m\"\n";
	begin_session(&rig, &options, &client, &backend);
	fake_change("bob", "mail2");
	for (int i = 0; i < 50; i++) {
		expect_relaying(&rig, &client, &backend);
		pass_all(&rig, 100);
	}
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	/* One look finds what was said since the one before, the next one finds nothing. */
	pass_all(&rig, 2 * SESSION_QUIET_MS);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	finish(&rig, &client, &backend);
	end(&rig);
}

static void test_grace_shorter_than_a_look(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.moves = "kick_grace = \"100ms\"\n";
	begin_session(&rig, &options, &client, &backend);
	fake_change("bob", "mail2");
	pass(&rig, 99);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	finish(&rig, &client, &backend);
	end(&rig);
}

/* A peer that does not read has not heard all: that is not quiet. What waits for it is not lost. */
static void test_congested(void **state)
{
	static char noise[20000000];
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	size_t heard = 0;
	size_t said = 0;
	ssize_t sent = 0;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	begin_session(&rig, &usual, &client, &backend);
	do {
		said += (size_t)sent;
		rig_settle(&rig);
		sent = send(backend.fd, noise, sizeof(noise), MSG_NOSIGNAL);
	} while (sent > 0);
	fake_change("bob", "mail2");
	pass_all(&rig, GRACE_MS - 1);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	rig_expect_end(&rig, &backend);
	rig_half_close(&backend);
	while (!client.ended) {
		rig_turn(&rig);
		rig_hear(&client);
		heard += client.heard.length;
		buffer_truncate(&client.heard, 0);
	}
	assert_int_equal(heard, said);
	assert_false(client.reset);
	rig_forget(&client);
	rig_forget(&backend);
	end(&rig);
}

/* Whoever ends it meanwhile is who did. */
static void test_ended_meanwhile(void **state)
{
	static const enum close_reason reasons[] = {CLOSE_CLIENT_ENDED, CLOSE_BACKEND_ENDED};

	(void)state;
	for (size_t i = 0; i < array_length(reasons); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin_session(&rig, &usual, &client, &backend);
		fake_change("bob", "mail2");
		if (i == 0) {
			rig_hang_up(&client);
			rig_expect_end(&rig, &backend);
			rig_hang_up(&backend);
		} else {
			rig_hang_up(&backend);
			rig_expect_end(&rig, &client);
			rig_hang_up(&client);
		}
		rig_wait_gone(&rig);
		assert_int_equal(rig.set.closed[reasons[i]], 1);
		assert_int_equal(fake_directory.settled, 1);
		rig_forget(&client);
		rig_forget(&backend);
		end(&rig);
	}
}

/* A backend that does not end in time: the session does, but a move waits on. */
static void test_backend_that_does_not_end(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.limits = "close_timeout = \"10s\"\n";
	begin_session(&rig, &options, &client, &backend);
	fake_change("bob", "mail2");
	pass(&rig, SESSION_QUIET_MS);
	rig_expect_end(&rig, &backend);
	pass(&rig, 9999);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	pass(&rig, 1);
	rig_expect_end(&rig, &client);
	assert_int_equal(rig.set.closed[CLOSE_CLOSE_TIMEOUT], 1);
	assert_int_equal(fake_count("bob", FAKE_LINGERING), 1);
	rig_forget(&client);
	rig_forget(&backend);
	rig_wait_gone(&rig);
	assert_int_equal(fake_directory.settled, 1);
	assert_int_equal(fake_directory.unsettled, 0);
	end(&rig);
}

/* --- What is no reason to go ---------------------------------------------------------------- */

static void test_changes(void **state)
{
	static const struct {
		const char *before;
		const char *after;
		bool stays;
	} rows[] = {
		{"mail1", "mail1", true},
		{"mail1", "mail1?assigned", true},
		{"mail1?assigned", "mail1", true},
		{"mail1", NULL, true},
		{"mail1", "mail1 ", true},
		{"mail1", "nothing", true},
		{"mail1", "mail2", false},
		{"mail1", "mail2?assigned", false},
		{"mail1", "imap://127.0.0.1:1", false},
		{"mail1", "mail1?user=robert", false},
		{"mail1?user=robert", "mail1", false},
		{"mail1?user=robert", "mail1?user=bob", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &usual);
		fake_knows("bob", rows[i].before);
		log_in(&rig, &client, &backend);
		fake_change("bob", rows[i].after);
		assert_int_equal(rig_count(&rig, SESSION_LEAVING), !rows[i].stays);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_MOVED), !rows[i].stays);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* Where the user lives now, up or down. */
static void test_moved_to_what_is_down(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.health = "fall = 1\n";
	begin_session(&rig, &options, &client, &backend);
	member_missed(member_of(&rig, "mail2"), "test", &rig.metrics);
	fake_change("bob", "mail2");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	leave(&rig, &client, &backend);
	end(&rig);
}

/* And where its own backend is down, it stays as long as it lives. */
static void test_home_is_down(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	options.health = "fall = 1\n";
	options.routing = "unknown = \"assign\"\nfailover = true\n";
	begin(&rig, &options);
	fake_knows("bob", "mail1");
	log_in(&rig, &client, &backend);
	member_missed(member_of(&rig, "mail1"), "test", &rig.metrics);
	fake_change("bob", "mail1?assigned");
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
	leave(&rig, &client, &backend);
	end(&rig);
}

/* --- Logins that are under way -------------------------------------------------------------- */

/* Goes so far that the backend was told nothing of the user yet. */
static void reach_before_words(struct session_rig *rig, const char *route, struct rig_peer *client,
			       struct rig_peer *backend)
{
	fake_knows("bob", route);
	say_login(rig, client);
	*backend = (struct rig_peer){.fd = -1};
	if (strcmp(route, "stuck") == 0) {
		rig_wait_phase(rig, SESSION_CONNECTING, 1);
	} else if (strcmp(route, "mail1") == 0) {
		rig_accept(rig, rig->backend, backend);
		rig_wait_phase(rig, SESSION_GREETING, 1);
	} else {
		rig_accept(rig, rig->secure, backend);
		if (strcmp(route, "starttls") == 0) {
			rig_say(rig, backend, "* OK [CAPABILITY IMAP4rev1 STARTTLS] backend\r\n");
			rig_expect_only(rig, backend, "G1 STARTTLS\r\n");
			rig_say(rig, backend, "G1 OK go\r\n");
		}
		rig_wait_phase(rig, SESSION_SECURING, 1);
	}
}

static const char *const routes_before_words[] = {"stuck", "mail1", "implicit", "starttls"};

/* It is asked for anew, and waits for the end of the hold. */
static void test_held_before_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(routes_before_words); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &usual);
		reach_before_words(&rig, routes_before_words[i], &client, &backend);
		fake_hold("bob");
		assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
		assert_int_equal(fake_directory.settled, 1);
		assert_int_equal(fake_directory.unsettled, 0);
		assert_int_equal(fake_count("bob", FAKE_PARKED), 1);
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		rig_forget(&backend);
		fake_knows("bob", "mail2");
		fake_release("bob");
		pass(&rig, 500);
		authenticate(&rig, rig.second, &backend);
		rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
		rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
		assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
		leave(&rig, &client, &backend);
		assert_int_equal(fake_directory.settled, 2);
		end(&rig);
	}
}

static void test_moved_before_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(routes_before_words); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &usual);
		reach_before_words(&rig, routes_before_words[i], &client, &backend);
		fake_change("bob", "mail2");
		if (backend.fd >= 0) {
			rig_expect_end(&rig, &backend);
		}
		rig_forget(&backend);
		authenticate(&rig, rig.second, &backend);
		rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
		rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
		assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* The backend has been told: it comes to its end, and the session goes at once when it is one. */
static void check_after_words(bool holds, enum close_reason reason)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	begin(&rig, &usual);
	fake_knows("bob", "mail1");
	say_login(&rig, &client);
	authenticate(&rig, rig.backend, &backend);
	assert_int_equal(rig_count(&rig, SESSION_AUTHENTICATING), 1);
	if (holds) {
		fake_hold("bob");
	} else {
		fake_change("bob", "mail2");
	}
	assert_int_equal(rig_count(&rig, SESSION_AUTHENTICATING), 1);
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, SESSION_QUIET_MS);
	finish(&rig, &client, &backend);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[reason], 1);
	assert_int_equal(fake_directory.settled, 1);
	end(&rig);
}

static void test_told_after_words(void **state)
{
	(void)state;
	check_after_words(true, CLOSE_HELD);
	check_after_words(false, CLOSE_MOVED);
}

static void test_told_while_challenged(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	rig_teach(&rig, RIG_MECHANISMS);
	fake_knows("bob", "mail1");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a AUTHENTICATE SCRAM-SHA-256 biwsbj1ib2Iscj14WVo=\r\n");
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, "* OK [CAPABILITY " RIG_MECHANISMS "] backend\r\n");
	rig_expect(&rig, &backend, "AUTHENTICATE SCRAM-SHA-256 ");
	rig_expect(&rig, &backend, "\r\n");
	rig_say(&rig, &backend, "G1 OK\r\n+ cj14WVo=\r\n");
	rig_expect_only(&rig, &client, "+ cj14WVo=\r\n");
	fake_hold("bob");
	assert_int_equal(rig_count(&rig, SESSION_CHALLENGED), 1);
	rig_say(&rig, &client, "Yz1iaXdz\r\n");
	rig_expect_only(&rig, &backend, "Yz1iaXdz\r\n");
	rig_say(&rig, &backend, "G2 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	leave(&rig, &client, &backend);
	end(&rig);
}

/* A login that was refused has nothing to leave, and the next one is another. */
static void test_told_and_refused(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual);
	fake_knows("bob", "mail1");
	say_login(&rig, &client);
	authenticate(&rig, rig.backend, &backend);
	fake_change("bob", "mail2");
	rig_say(&rig, &backend, "G1 NO [AUTHENTICATIONFAILED] no\r\n");
	rig_expect_only(&rig, &client, "a NO [AUTHENTICATIONFAILED] ");
	rig_expect(&rig, &client, "\r\n");
	assert_int_equal(fake_here(), 0);
	rig_forget(&backend);
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	authenticate(&rig, rig.second, &backend);
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK ");
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
	rig_expect(&rig, &client, "\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

/* --- Many at once --------------------------------------------------------------------------- */

static bool may_open(unsigned descriptors)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_max >= descriptors;
}

/* A thousand sessions are looked at one after the other, in the order in which they were told. */
static void test_a_thousand(void **state)
{
	enum { MANY = 1000 };

	static struct rig_peer clients[MANY];
	static struct rig_peer backends[MANY];
	struct rig_options options = usual;
	struct session_rig rig;
	unsigned left = MANY;

	(void)state;
	if (!may_open(4 * MANY + 100)) {
		skip();
	}
	options.max_sessions = MANY;
	begin(&rig, &options);
	fake_knows("bob", "mail1");
	for (size_t i = 0; i < MANY; i++) {
		log_in(&rig, &clients[i], &backends[i]);
	}
	fake_change("bob", "mail2");
	pass(&rig, SESSION_QUIET_MS - 1);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), MANY);
	while (left > 0) {
		pass(&rig, 1);
		left -= SESSION_LEAVE_PER_MS;
		assert_int_equal(rig_count(&rig, SESSION_LEAVING), left);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_MOVED), MANY);
	for (size_t i = 0; i < MANY; i++) {
		rig_forget(&clients[i]);
		rig_forget(&backends[i]);
	}
	end(&rig);
}

/* But none later than kick_grace allows, and who is told later is not told that late. */
static void test_many_within_the_grace(void **state)
{
	enum { MANY = 30 };

	static struct rig_peer clients[MANY];
	static struct rig_peer backends[MANY];
	struct rig_options options = usual;
	struct session_rig rig;

	(void)state;
	options.moves = "kick_grace = \"251ms\"\n";
	begin(&rig, &options);
	fake_knows("bob", "mail1");
	for (size_t i = 0; i < MANY; i++) {
		log_in(&rig, &clients[i], &backends[i]);
	}
	fake_change("bob", "mail2");
	pass(&rig, SESSION_QUIET_MS);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), MANY - SESSION_LEAVE_PER_MS);
	pass(&rig, 1);
	rig_settle(&rig);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 0);
	for (size_t i = 0; i < MANY; i++) {
		rig_forget(&clients[i]);
		rig_forget(&backends[i]);
	}
	rig_wait_gone(&rig);
	fake_knows("bob", "mail1");
	log_in(&rig, &clients[0], &backends[0]);
	fake_change("bob", "mail2");
	pass(&rig, SESSION_QUIET_MS - 1);
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	pass(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	rig_forget(&clients[0]);
	rig_forget(&backends[0]);
	end(&rig);
}

/* --- Drains --------------------------------------------------------------------------------- */

/* Those whom the fleet had placed are given away, at the drain's rate; others are not. */
static void test_drain(void **state)
{
	enum { COUNT = 5 };

	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;
	struct member *mail1;

	(void)state;
	options.routing = "unknown = \"assign\"\n";
	begin(&rig, &options);
	mail1 = member_of(&rig, "mail1");
	fake_knows("bob", "mail1");
	log_in(&rig, &clients[0], &backends[0]);
	fake_knows("bob", "mail1?assigned");
	for (size_t i = 1; i < COUNT; i++) {
		log_in(&rig, &clients[i], &backends[i]);
	}
	assert_int_equal(member_sessions(mail1), COUNT);
	member_set_drain(mail1, MEMBER_DRAINS, 0);
	fake_tell_drains();
	pass_all(&rig, 1000);
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), COUNT);

	member_set_drain(mail1, MEMBER_KICKS, 1);
	fake_tell_drains();
	fake_tell_drains();
	pass_all(&rig, SESSION_LOOK_MS - 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), 0);
	pass(&rig, 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), 1);
	pass_all(&rig, 999);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), 1);
	pass_all(&rig, 1 + SESSION_LOOK_MS);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), 2);

	member_set_drain(mail1, MEMBER_SERVES, 0);
	fake_tell_drains();
	pass_all(&rig, 3000);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), 2);
	assert_false(timeout_is_waiting(&rig.set.mover));

	member_set_drain(mail1, MEMBER_KICKS, 1000);
	fake_tell_drains();
	pass_all(&rig, SESSION_LOOK_MS + SESSION_QUIET_MS);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_KICKS_DRAINED), COUNT - 1);
	for (size_t i = 1; i < COUNT; i++) {
		finish(&rig, &clients[i], &backends[i]);
	}
	rig_wait_phase(&rig, SESSION_CLOSING, 0);
	assert_int_equal(rig.set.closed[CLOSE_BACKEND_DRAINED], COUNT - 1);
	assert_int_equal(member_sessions(mail1), 1);
	expect_relaying(&rig, &clients[0], &backends[0]);
	leave(&rig, &clients[0], &backends[0]);
	assert_int_equal(member_sessions(mail1), 0);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_busy_for_a_while),
		cmocka_unit_test(test_grace_shorter_than_a_look),
		cmocka_unit_test(test_congested),
		cmocka_unit_test(test_ended_meanwhile),
		cmocka_unit_test(test_backend_that_does_not_end),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_moved_to_what_is_down),
		cmocka_unit_test(test_home_is_down),
		cmocka_unit_test(test_held_before_words),
		cmocka_unit_test(test_moved_before_words),
		cmocka_unit_test(test_told_after_words),
		cmocka_unit_test(test_told_while_challenged),
		cmocka_unit_test(test_told_and_refused),
		cmocka_unit_test(test_a_thousand),
		cmocka_unit_test(test_many_within_the_grace),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests_name("departure", tests, NULL, NULL);
}
