/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions whose backend has gone: a few end at once, of many each in its turn, and nobody loses
 * what the backend had said. Time passes when the test says so.
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
#include "routing/member.h"
#include "routing/pool.h"
#include "support/fake_directory.h"
#include "support/frozen_clock.h"
#include "support/session_rig.h"
#include "support/tls_peer.h"

#include "../../proxy/session/session_internal.h"

#define COUNT 6

/* At 20 a second two may end at once, and the others one each 50 ms. */
#define AT_ONCE 2
#define STEP_MS 50

static const struct rig_options usual = {
	.limits = "login_timeout = \"10m\"\nclose_timeout = \"10m\"\n",
	.moves = "disconnect_rate = 20\ndisconnect_spread = \"10s\"\n",
	.directory = &fake_directory,
};

static void log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, "a LOGIN bob secret\r\n");
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE PLAIN ");
	rig_expect(rig, backend, "\r\n");
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1] in\r\n");
}

static void begin(struct session_rig *rig, const struct rig_options *options,
		  struct rig_peer clients[COUNT], struct rig_peer backends[COUNT])
{
	session_rig_open(rig, options);
	fake_knows("bob", "mail1");
	for (size_t i = 0; i < COUNT; i++) {
		log_in(rig, &clients[i], &backends[i]);
	}
}

static unsigned sessions_of_mail1(struct session_rig *rig)
{
	const struct pool_view *view = pool_view(rig->pool);
	unsigned count = member_sessions(pool_view_find(view, "mail1"));

	pool_view_unref(view);
	return count;
}

/* The backend's ends reach the proxy one after the other. */
static void lose_backends(struct session_rig *rig, struct rig_peer backends[COUNT])
{
	for (size_t i = 0; i < COUNT; i++) {
		unsigned left = rig_count(rig, SESSION_RELAYING) - 1;

		rig_hang_up(&backends[i]);
		rig_wait_phase(rig, SESSION_RELAYING, left);
		rig_forget(&backends[i]);
	}
}

static void end(struct session_rig *rig, struct rig_peer clients[COUNT])
{
	for (size_t i = 0; i < COUNT; i++) {
		rig_forget(&clients[i]);
	}
	rig_wait_gone(rig);
	session_rig_close(rig);
}

static void expect_end(struct session_rig *rig, struct rig_peer *client)
{
	rig_expect_end(rig, client);
	assert_false(client->reset);
	assert_int_equal(client->heard.length, 0);
}

static void expect_no_end(struct session_rig *rig, struct rig_peer *client)
{
	rig_settle(rig);
	rig_hear(client);
	assert_false(client->ended);
}

/* --- One after the other -------------------------------------------------------------------- */

static void test_in_turn(void **state)
{
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual, clients, backends);
	assert_int_equal(sessions_of_mail1(&rig), COUNT);
	lose_backends(&rig, backends);
	for (size_t i = 0; i < AT_ONCE; i++) {
		expect_end(&rig, &clients[i]);
	}
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - AT_ONCE);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_ENDS_SPREAD), COUNT - AT_ONCE);
	/* Nobody is on the backend any more, and none of the users is here. */
	assert_int_equal(sessions_of_mail1(&rig), 0);
	assert_int_equal(fake_here(), 0);
	assert_int_equal(fake_directory.settled, COUNT);
	for (size_t i = AT_ONCE; i < COUNT; i++) {
		pass(&rig, STEP_MS - 1);
		expect_no_end(&rig, &clients[i]);
		pass(&rig, 1);
		expect_end(&rig, &clients[i]);
	}
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	end(&rig, clients);
}

static void test_few(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct session_rig rig;

		/* As many as may end at once, and without a limit. */
		options.moves = i == 0 ? "disconnect_rate = 60\n" : "disconnect_rate = 0\n";
		begin(&rig, &options, clients, backends);
		lose_backends(&rig, backends);
		assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_ENDS_SPREAD), 0);
		for (size_t j = 0; j < COUNT; j++) {
			expect_end(&rig, &clients[j]);
		}
		assert_int_equal(fake_directory.settled, COUNT);
		end(&rig, clients);
	}
}

/* Nobody is kept for longer than the spread. */
static void test_longest(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	options.moves = "disconnect_rate = 1\ndisconnect_spread = \"2s\"\n";
	begin(&rig, &options, clients, backends);
	lose_backends(&rig, backends);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - 1);
	pass_all(&rig, 1999);
	assert_true(rig_count(&rig, SESSION_ORPHANED) > 0);
	pass_all(&rig, 1);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	end(&rig, clients);
}

/* Those of a URL are nobody's members: they end at once. */
static void test_backend_of_a_url(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct session_rig rig;
	char route[64];

	(void)state;
	options.moves = "disconnect_rate = 1\n";
	session_rig_open(&rig, &options);
	assert_int_equal(getsockname(rig.backend, (struct sockaddr *)&address, &length), 0);
	snprintf(route, sizeof(route), "imap://127.0.0.1:%u", ntohs(address.sin_port));
	fake_knows("bob", route);
	for (size_t i = 0; i < COUNT; i++) {
		log_in(&rig, &clients[i], &backends[i]);
	}
	lose_backends(&rig, backends);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	end(&rig, clients);
}

/* --- Who does not wait ---------------------------------------------------------------------- */

static void test_client_does_something(void **state)
{
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual, clients, backends);
	lose_backends(&rig, backends);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 4);
	/* The last ones first: each by its own doing. */
	rig_say(&rig, &clients[5], "b NOOP\r\n");
	expect_end(&rig, &clients[5]);
	rig_half_close(&clients[4]);
	expect_end(&rig, &clients[4]);
	rig_wait_phase(&rig, SESSION_ORPHANED, 2);
	rig_reset(&clients[3]);
	rig_wait_phase(&rig, SESSION_ORPHANED, 1);
	expect_no_end(&rig, &clients[2]);
	end(&rig, clients);
	assert_int_equal(rig.set.closed[CLOSE_BACKEND_ENDED], COUNT);
}

/* Also where it spoke before, and the backend did not listen. */
static void test_client_that_was_speaking(void **state)
{
	static char noise[20000000];
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;
	ssize_t sent;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	begin(&rig, &usual, clients, backends);
	do {
		rig_settle(&rig);
		sent = send(clients[COUNT - 1].fd, noise, sizeof(noise), MSG_NOSIGNAL);
	} while (sent > 0);
	for (size_t i = 0; i < COUNT - 1; i++) {
		rig_hang_up(&backends[i]);
	}
	rig_wait_phase(&rig, SESSION_RELAYING, 1);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - 1 - AT_ONCE);
	rig_half_close(&backends[COUNT - 1]);
	expect_end(&rig, &clients[COUNT - 1]);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - 1 - AT_ONCE);
	for (size_t i = 0; i < COUNT; i++) {
		rig_forget(&backends[i]);
	}
	end(&rig, clients);
}

static void test_shutting_down(void **state)
{
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual, clients, backends);
	lose_backends(&rig, backends);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - AT_ONCE);
	session_set_drain(&rig.set);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	for (size_t i = 0; i < COUNT; i++) {
		expect_end(&rig, &clients[i]);
	}
	end(&rig, clients);
	assert_int_equal(rig.set.closed[CLOSE_BACKEND_ENDED], COUNT);
}

/* A session that was about to go goes with its backend. */
static void test_of_those_that_leave(void **state)
{
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual, clients, backends);
	fake_change("bob", "mail2");
	assert_int_equal(rig_count(&rig, SESSION_LEAVING), COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		rig_hang_up(&backends[i]);
		rig_wait_phase(&rig, SESSION_LEAVING, COUNT - 1 - (unsigned)i);
		rig_forget(&backends[i]);
	}
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - AT_ONCE);
	pass_all(&rig, STEP_MS * COUNT);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	end(&rig, clients);
}

/* One that the client had ended already waits for nobody. */
static void test_of_those_that_the_client_ended(void **state)
{
	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	options.moves = "disconnect_rate = 1\n";
	begin(&rig, &options, clients, backends);
	for (size_t i = 0; i < COUNT; i++) {
		rig_half_close(&clients[i]);
		rig_wait_phase(&rig, SESSION_HALF_CLOSED, 1);
		rig_hang_up(&backends[i]);
		expect_end(&rig, &clients[i]);
		rig_forget(&backends[i]);
	}
	end(&rig, clients);
	assert_int_equal(rig.set.closed[CLOSE_CLIENT_ENDED], COUNT);
}

/* --- Last words ----------------------------------------------------------------------------- */

/* What the backend said comes at once, its end in its turn. */
static void test_last_words(void **state)
{
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;

	(void)state;
	begin(&rig, &usual, clients, backends);
	for (size_t i = 0; i < COUNT; i++) {
		rig_say(&rig, &backends[i], "* BYE going down\r\n");
	}
	lose_backends(&rig, backends);
	for (size_t i = 0; i < COUNT; i++) {
		rig_expect_only(&rig, &clients[i], "* BYE going down\r\n");
	}
	expect_no_end(&rig, &clients[COUNT - 1]);
	pass_all(&rig, STEP_MS * COUNT);
	expect_end(&rig, &clients[COUNT - 1]);
	end(&rig, clients);
}

/* Also to a client that reads slowly, and whose end comes before it has read all. */
static void test_last_words_to_a_slow_client(void **state)
{
	static char noise[20000000];
	struct rig_options options = usual;
	struct rig_peer clients[COUNT];
	struct rig_peer backends[COUNT];
	struct session_rig rig;
	struct rig_peer *client = &clients[COUNT - 1];
	size_t said = 0;
	size_t heard = 0;
	ssize_t sent = 0;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	begin(&rig, &options, clients, backends);
	do {
		said += (size_t)sent;
		rig_settle(&rig);
		sent = send(backends[COUNT - 1].fd, noise, sizeof(noise), MSG_NOSIGNAL);
	} while (sent > 0);
	for (size_t i = 0; i < COUNT; i++) {
		rig_half_close(&backends[i]);
	}
	rig_wait_phase(&rig, SESSION_RELAYING, 1);
	/* Its bytes come before its end. */
	while (rig_count(&rig, SESSION_RELAYING) > 0) {
		rig_turn(&rig);
		rig_hear(client);
	}
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), COUNT - AT_ONCE);
	pass_all(&rig, STEP_MS * COUNT);
	assert_int_equal(rig_count(&rig, SESSION_ORPHANED), 0);
	rig_expect_end(&rig, client);
	heard = client->heard.length;
	assert_int_equal(heard, said);
	assert_false(client->reset);
	for (size_t i = 0; i < COUNT; i++) {
		rig_forget(&backends[i]);
	}
	end(&rig, clients);
}

/* Under TLS the client can tell a backend that ended from one that was lost, also later. */
static void check_ending(bool resets)
{
	struct rig_options options = usual;
	struct session_rig rig;
	struct rig_peer first;
	struct rig_peer backend;
	struct rig_peer client;
	struct rig_peer secured;

	options.moves = "disconnect_rate = 1\n";
	session_rig_open(&rig, &options);
	fake_knows("bob", "mail1");
	log_in(&rig, &first, &backend);
	rig_connect_tls(&rig, &client);
	rig_secure(&rig, &client, NULL);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "a LOGIN bob secret\r\n");
	rig_accept(&rig, rig.backend, &secured);
	rig_say(&rig, &secured, RIG_GREETING "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(&rig, &client, "a OK ");
	rig_expect(&rig, &secured, "G1 AUTHENTICATE PLAIN ");
	rig_hang_up(&backend);
	rig_expect_end(&rig, &first);
	if (resets) {
		rig_reset(&secured);
	} else {
		rig_hang_up(&secured);
	}
	rig_wait_phase(&rig, SESSION_ORPHANED, 1);
	pass(&rig, 1000);
	rig_expect_end(&rig, &client);
	assert_int_equal(client.tls->closed, !resets);
	rig_forget(&first);
	rig_forget(&backend);
	rig_forget(&client);
	rig_forget(&secured);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_BACKEND_LOST], resets);
	session_rig_close(&rig);
}

static void test_endings(void **state)
{
	(void)state;
	check_ending(false);
	check_ending(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_turn),
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_backend_of_a_url),
		cmocka_unit_test(test_client_does_something),
		cmocka_unit_test(test_client_that_was_speaking),
		cmocka_unit_test(test_shutting_down),
		cmocka_unit_test(test_of_those_that_leave),
		cmocka_unit_test(test_of_those_that_the_client_ended),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_last_words_to_a_slow_client),
		cmocka_unit_test(test_endings),
	};

	return cmocka_run_group_tests_name("orphan", tests, NULL, NULL);
}
