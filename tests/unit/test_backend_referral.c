/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends that send a login elsewhere (RFC 2221): where it goes, as whom, how often, and what
 * becomes of its place in the directory.
 */
#include <netinet/in.h>
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

#define LOCAL "referrals = [\"127.0.0.0/8\"]\n"

#define PATIENT "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

static const struct rig_options usual = {
	.limits = PATIENT,
	.moves = "release_spread = \"0s\"\n",
	.routing = "unknown = \"hash\"\nfailover = true\nreferrals = [\"127.0.0.0/8\"]\n",
	.backend = "login = \"login\"\n",
	.directory = &fake_directory,
};

static void begin(struct session_rig *rig, const struct rig_options *options,
		  struct rig_peer *client)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
	fake_knows("bob", "mail1");
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\nb NOOP\r\n");
}

static void end(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
	assert_int_equal(fake_here(), 0);
	session_rig_close(rig);
	buffer_done(&logged);
}

static unsigned port_of(int listening)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

/* The login comes as `user`, and is still to be answered. */
static void expect_login(struct session_rig *rig, int listening, const char *user,
			 struct rig_peer *backend)
{
	char login[64];

	rig_accept(rig, listening, backend);
	rig_say(rig, backend, RIG_GREETING);
	snprintf(login, sizeof(login), "G1 LOGIN \"%s\" \"secret\"\r\n", user);
	rig_expect_only(rig, backend, login);
}

static void refuse(struct session_rig *rig, struct rig_peer *backend, const char *url)
{
	char reply[700];

	snprintf(reply, sizeof(reply), "G1 NO [REFERRAL %s] Elsewhere.\r\n", url);
	rig_say(rig, backend, reply);
	rig_expect_end(rig, backend);
	rig_forget(backend);
}

/* `user` may be "", or end with '@'. */
static void refer(struct session_rig *rig, struct rig_peer *backend, const char *user,
		  int listening)
{
	char url[100];

	snprintf(url, sizeof(url), "imap://%s127.0.0.1:%u/", user, port_of(listening));
	refuse(rig, backend, url);
}

static void accept_login(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, backend, "b NOOP\r\n");
	rig_forget(backend);
	rig_expect_end(rig, client);
}

static uint64_t referrals(const struct session_rig *rig)
{
	return metrics_get(&rig->metrics, METRIC_REFERRALS);
}

/* --- Where it goes -------------------------------------------------------------------------- */

static void test_followed(void **state)
{
	static const struct {
		const char *user;
		const char *presented;
	} rows[] = {
		{"", "bob"},
		{"robert@", "robert"},
		{"r%40example;AUTH=*@", "r@example"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &usual, &client);
		expect_login(&rig, rig.backend, "bob", &backend);
		refer(&rig, &backend, rows[i].user, rig.second);
		expect_login(&rig, rig.second, rows[i].presented, &backend);
		/* It is the same login, and the user is where it was. */
		assert_int_equal(fake_count("bob", FAKE_PRESENT), 1);
		assert_int_equal(fake_directory.entered, 1);
		accept_login(&rig, &client, &backend);
		assert_int_equal(referrals(&rig), 1);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_OK), 1);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LOGINS_REFUSED), 0);
		end(&rig, &client);
		assert_int_equal(fake_directory.settled, 1);
	}
}

/* A host that is nobody's member. */
static void test_followed_to_a_url(void **state)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	char url[64];

	(void)state;
	/* What URLs of routes may name is another list. */
	options.routing = "referrals = [\"127.0.0.0/8\"]\nurl_hosts = [\"nothing.test\"]\n";
	begin(&rig, &options, &client);
	expect_login(&rig, rig.backend, "bob", &backend);
	snprintf(url, sizeof(url), "imaps://127.0.0.1:%u", port_of(rig.third));
	refuse(&rig, &backend, url);
	rig_accept(&rig, rig.third, &backend);
	rig_serve(&rig, &backend, NULL);
	rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n");
	rig_expect_only(&rig, &backend, "G1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
	accept_login(&rig, &client, &backend);
	end(&rig, &client);
}

/* Without the user of the referral before. */
static void test_user_of_the_last_one(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	expect_login(&rig, rig.backend, "bob", &backend);
	refer(&rig, &backend, "robert@", rig.second);
	expect_login(&rig, rig.second, "robert", &backend);
	refer(&rig, &backend, "", rig.third);
	expect_login(&rig, rig.third, "bob", &backend);
	accept_login(&rig, &client, &backend);
	end(&rig, &client);
}

/* --- How often ------------------------------------------------------------------------------ */

static void follow_three(struct session_rig *rig, struct rig_peer *backend)
{
	expect_login(rig, rig->backend, "bob", backend);
	refer(rig, backend, "", rig->second);
	expect_login(rig, rig->second, "bob", backend);
	refer(rig, backend, "", rig->third);
	expect_login(rig, rig->third, "bob", backend);
	refer(rig, backend, "", rig->backend);
	expect_login(rig, rig->backend, "bob", backend);
}

static void test_three(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	follow_three(&rig, &backend);
	accept_login(&rig, &client, &backend);
	assert_int_equal(referrals(&rig), SESSION_REFERRALS_MAX);
	end(&rig, &client);
}

/* The fourth is not followed; the next login begins anew. */
static void test_four(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	follow_three(&rig, &backend);
	refer(&rig, &backend, "", rig.second);
	rig_expect_only(&rig, &client, "a NO ");
	rig_expect(&rig, &client, "\r\nb OK ");
	rig_expect(&rig, &client, "\r\n");
	assert_int_equal(referrals(&rig), SESSION_REFERRALS_MAX);
	assert_int_equal(accept(rig.second, NULL, NULL), -1);
	rig_say(&rig, &client, "a LOGIN bob secret\r\nb NOOP\r\n");
	follow_three(&rig, &backend);
	accept_login(&rig, &client, &backend);
	end(&rig, &client);
}

/* One that sends it to itself. */
static void test_loop(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	for (int i = 0; i <= SESSION_REFERRALS_MAX; i++) {
		expect_login(&rig, rig.backend, "bob", &backend);
		refer(&rig, &backend, "", rig.backend);
	}
	rig_expect_only(&rig, &client, "a NO ");
	assert_int_equal(accept(rig.backend, NULL, NULL), -1);
	end(&rig, &client);
}

/* --- What is not followed ------------------------------------------------------------------- */

static void test_not_followed(void **state)
{
	static const struct {
		const char *routing;
		const char *before; /* in the URL, the address and port of mail2 */
		const char *behind;
	} rows[] = {
		{NULL, "imap://", ""},
		{"referrals = [\"10.0.0.0/8\"]\n", "imap://", ""},
		{"referrals = [\"*.example\"]\nurl_hosts = [\"127.0.0.0/8\"]\n", "imap://", ""},
		{LOCAL, "imap://", "/INBOX"},
		{LOCAL, "imap://", "0"},
		{LOCAL, "http://", "/"},
		{LOCAL, "imap://bob:secret@", "/#"},
		{LOCAL, "imap://x%0Ay@", ""},
		{LOCAL, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct rig_options options = usual;
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;
		char url[100];

		options.routing = rows[i].routing;
		begin(&rig, &options, &client);
		expect_login(&rig, rig.backend, "bob", &backend);
		snprintf(url, sizeof(url), "%s127.0.0.1:%u%s", rows[i].before, port_of(rig.second),
			 rows[i].behind);
		refuse(&rig, &backend, url);
		rig_expect_only(&rig, &client, "a NO ");
		/* Where the backends are is nobody's business. */
		rig_settle(&rig);
		rig_hear(&client);
		assert_false(rig_has_heard(&client, "REFERRAL"));
		assert_false(rig_has_heard(&client, "127.0.0.1"));
		assert_int_equal(referrals(&rig), 0);
		assert_int_equal(accept(rig.second, NULL, NULL), -1);
		assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
		assert_int_equal(count_logged("referral is not followed"), 1);
		end(&rig, &client);
	}
}

/* --- What else may happen ------------------------------------------------------------------- */

/* The backend has said where the user lives: no other one is tried. */
static void test_no_failover(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	expect_login(&rig, rig.backend, "bob", &backend);
	rig_forget(&client);
	rig_hang_up(&backend);
	rig_wait_gone(&rig);
	rig_forget(&backend);

	fake_knows("bob", "mail1?assigned");
	rig_connect(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	expect_login(&rig, rig.backend, "bob", &backend);
	refer(&rig, &backend, "", rig.second);
	rig_accept(&rig, rig.second, &backend);
	rig_hang_up(&backend);
	rig_forget(&backend);
	rig_expect_only(&rig, &client, "a NO [UNAVAILABLE] ");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_FAILOVERS), 0);
	end(&rig, &client);
}

/* A hold that comes while it is under way: it is asked for anew, where it began. */
static void test_held_on_the_way(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	expect_login(&rig, rig.backend, "bob", &backend);
	refer(&rig, &backend, "robert@", rig.second);
	rig_accept(&rig, rig.second, &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	fake_hold("bob");
	assert_int_equal(rig_count(&rig, SESSION_PARKED), 1);
	rig_forget(&backend);
	fake_release("bob");
	pass(&rig, 0);
	expect_login(&rig, rig.backend, "bob", &backend);
	accept_login(&rig, &client, &backend);
	end(&rig, &client);
}

/* And one that came before: the session goes as soon as it is one, wherever that is. */
static void test_held_before(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &usual, &client);
	expect_login(&rig, rig.backend, "bob", &backend);
	fake_hold("bob");
	refer(&rig, &backend, "", rig.second);
	expect_login(&rig, rig.second, "bob", &backend);
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), 1);
	rig_forget(&backend);
	end(&rig, &client);
}

/* What the directory says of the user now counts, not where a referral led: whoever is there under
 * the same name stays. */
static void test_changed_afterwards(void **state)
{
	static const struct {
		const char *user;
		const char *route;
		bool stays;
	} rows[] = {
		{"", "mail2", true},
		{"", "mail3", false},
		{"", "mail2?user=robert", false},
		{"robert@", "mail2", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &usual, &client);
		expect_login(&rig, rig.backend, "bob", &backend);
		refer(&rig, &backend, rows[i].user, rig.second);
		expect_login(&rig, rig.second, i == 3 ? "robert" : "bob", &backend);
		rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
		rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
		fake_change("bob", rows[i].route);
		assert_int_equal(rig_count(&rig, SESSION_LEAVING), !rows[i].stays);
		rig_forget(&backend);
		end(&rig, &client);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_followed),
		cmocka_unit_test(test_followed_to_a_url),
		cmocka_unit_test(test_user_of_the_last_one),
		cmocka_unit_test(test_three),
		cmocka_unit_test(test_four),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_not_followed),
		cmocka_unit_test(test_no_failover),
		cmocka_unit_test(test_held_on_the_way),
		cmocka_unit_test(test_held_before),
		cmocka_unit_test(test_changed_afterwards),
	};

	return cmocka_run_group_tests_name("backend_referral", tests, NULL, NULL);
}
