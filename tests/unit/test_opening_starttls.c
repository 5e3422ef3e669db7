/* SPDX-License-Identifier: Apache-2.0
 *
 * The opening of sessions by STARTTLS, with whatever a hasty client or an attacker puts around it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

static const struct rig_options patient = {
	.limits = "login_timeout = \"10m\"\nhandshake_timeout = \"10m\"\n",
};

#define GREETING_WITH_ID "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] backend\r\n"
#define CAPABILITIES                                                                               \
	"* CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED\r\n"        \
	"a OK CAPABILITY completed.\r\n"
#define STARTED "OK Begin TLS negotiation now.\r\n"

static void begin(struct session_rig *rig, const struct rig_options *options)
{
	buffer_truncate(&logged, 0);
	session_rig_open(rig, options);
}

static void end(struct session_rig *rig)
{
	session_rig_close(rig);
	buffer_done(&logged);
}

static void leave(struct session_rig *rig, struct rig_peer *client)
{
	rig_forget(client);
	rig_wait_gone(rig);
}

static const struct session *greeted(const struct session_rig *rig)
{
	assert_int_equal(rig_count(rig, SESSION_GREETED), 1);
	return container_of(rig->set.phases[SESSION_GREETED].head, struct session, timeout);
}

static void connect_starttls(struct session_rig *rig, struct rig_peer *client)
{
	rig_connect_to(rig, RIG_STARTTLS, client);
	rig_expect(rig, client, " STARTTLS LOGINDISABLED]");
	rig_expect(rig, client, "\r\n");
}

static void test_starttls(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	connect_starttls(&rig, &client);
	rig_say(&rig, &client, "s STARTTLS\r\n");
	rig_expect_only(&rig, &client, "s " STARTED);
	assert_int_equal(rig_count(&rig, SESSION_HANDSHAKE), 1);
	rig_secure(&rig, &client, NULL);
	rig_settle(&rig);
	rig_hear(&client);
	assert_int_equal(client.heard.length, 0); /* no second greeting */
	rig_say(&rig, &client, "c CAPABILITY\r\n");
	rig_expect_only(&rig, &client, "* CAPABILITY IMAP4rev1 ");
	rig_expect(&rig, &client, "c OK ");
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "t STARTTLS\r\n");
	rig_expect_only(&rig, &client, "t BAD ");
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN ");
	rig_say(&rig, &backend, "G1 OK in\r\n");
	rig_expect(&rig, &backend, "G2 CAPABILITY\r\n");
	rig_say(&rig, &backend, "* CAPABILITY IMAP4rev1\r\nG2 OK\r\n");
	rig_expect_only(&rig, &client, "* CAPABILITY IMAP4rev1\r\na OK in\r\n");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HANDSHAKES_FULL), 1);
	rig_forget(&backend);
	leave(&rig, &client);
	end(&rig);
}

static void test_no_starttls_in_the_list_behind_it(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &patient);
	connect_starttls(&rig, &client);
	rig_say(&rig, &client, "s STARTTLS\r\n");
	rig_expect_only(&rig, &client, "s " STARTED);
	rig_secure(&rig, &client, NULL);
	rig_say(&rig, &client, "c CAPABILITY\r\n");
	rig_expect(&rig, &client, "* CAPABILITY");
	rig_settle(&rig);
	rig_hear(&client);
	assert_false(rig_has_heard(&client, " STARTTLS"));
	assert_false(rig_has_heard(&client, " LOGINDISABLED"));
	assert_true(rig_has_heard(&client, " AUTH=PLAIN"));
	leave(&rig, &client);
	end(&rig);
}

/* Hears an answer in the clear, and not a byte of the TLS behind it. */
static void expect_plainly(struct session_rig *rig, struct rig_peer *client, const char *text)
{
	uint64_t given_up_ms = timeouts_now_ms() + 30000;

	while (*text != '\0') {
		char bytes[256];
		size_t left = strlen(text);
		ssize_t count =
			recv(client->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		assert_true(timeouts_now_ms() < given_up_ms);
		if (count > 0) {
			assert_memory_equal(bytes, text, count);
			text += count;
		}
		rig_turn(rig);
	}
}

static bool has_greeted(struct session_rig *rig, const void *context)
{
	rig_hear((struct rig_peer *)context);
	return rig_count(rig, SESSION_GREETED) == 1;
}

/* C69: a client that does not wait for the answer. The ClientHello is cut at every byte. */
static void test_client_hello_behind_starttls(void **state)
{
	static const char starttls[] = "s STARTTLS\r\n";
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t cut = sizeof(starttls) - 1; cut < 300; cut++) {
		struct rig_peer client;

		connect_starttls(&rig, &client);
		rig_begin_tls_behind(&rig, &client, starttls, sizeof(starttls) - 1, cut);
		expect_plainly(&rig, &client, "s " STARTED);
		assert_int_equal(rig_count(&rig, SESSION_HANDSHAKE), 1);
		rig_wait(&rig, has_greeted, &client);
		rig_say(&rig, &client, "a NOOP\r\n");
		rig_expect_only(&rig, &client, "a OK NOOP completed.\r\n");
		leave(&rig, &client);
	}
	end(&rig);
}

static void append_questions(struct buffer *text, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		buffer_append_text(text, "a CAPABILITY\r\n");
	}
}

/* Asks until the answers do not leave any more; returns how often it did. */
static unsigned fill(struct session_rig *rig, struct rig_peer *client,
		     const struct session *session)
{
	struct buffer text = {0};
	unsigned count = 0;

	append_questions(&text, 100);
	while (!stream_is_congested(&session->client)) {
		rig_say_bytes(rig, client, buffer_bytes(&text), text.length);
		rig_settle(rig);
		count += 100;
	}
	buffer_done(&text);
	return count;
}

/* Answers for which the client has no room yet leave before TLS begins, STARTTLS's own too. */
static void test_starttls_behind_a_spill(void **state)
{
	static const struct rig_options options = {
		.limits =
			"login_timeout = \"10m\"\nhandshake_timeout = \"10m\"\ncommands = 100000\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct buffer text = {0};
	const struct session *session;
	unsigned count;
	bool was_congested = false;
	int small = 16384;
	int tiny = 2048;

	(void)state;
	begin(&rig, &options);
	rig_connect_to(&rig, RIG_STARTTLS, &client);
	rig_expect(&rig, &client, "\r\n");
	session = greeted(&rig);
	assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_int_equal(
		setsockopt(session->client.watcher.fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny)),
		0);
	count = fill(&rig, &client, session) + 100;
	append_questions(&text, 100);
	buffer_append_text(&text, "s STARTTLS\r\n");
	rig_begin_tls_behind(&rig, &client, buffer_bytes(&text), text.length, text.length - 1);
	buffer_done(&text);
	for (unsigned i = 0; i < count; i++) {
		was_congested |= rig_count(&rig, SESSION_HANDSHAKE) == 1 &&
				 stream_is_congested(&session->client);
		expect_plainly(&rig, &client, CAPABILITIES);
	}
	assert_true(was_congested);
	expect_plainly(&rig, &client, "s " STARTED);
	rig_wait(&rig, has_greeted, &client);
	rig_say(&rig, &client, "b NOOP\r\n");
	rig_expect_only(&rig, &client, "b OK NOOP completed.\r\n");
	leave(&rig, &client);
	end(&rig);
}

static bool has_plain_answer(const struct rig_peer *client, const char *tag)
{
	return rig_has_heard(client, tag) || rig_has_heard(client, " OK ") ||
	       rig_has_heard(client, " BAD ") || rig_has_heard(client, "* ");
}

/* C66, C70: nothing that comes in the clear behind STARTTLS is done or answered. */
static void test_plaintext_behind_starttls(void **state)
{
	static const char *const injected[] = {
		"b NOOP\r\n",   "b LOGIN alice secret\r\n",
		"b LOGOUT\r\n", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B",
		"\r\n",
	};
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < 2 * array_length(injected); i++) {
		const char *words = injected[i / 2];
		size_t length = words[0] != '\0' ? strlen(words) : 12;
		struct rig_peer client;
		struct buffer bytes = {0};

		connect_starttls(&rig, &client);
		buffer_append_text(&bytes, "s STARTTLS\r\n");
		if (i % 2 == 0) { /* in one segment */
			buffer_append(&bytes, words, length);
			rig_say_bytes(&rig, &client, buffer_bytes(&bytes), bytes.length);
		} else {
			rig_say_bytes(&rig, &client, buffer_bytes(&bytes), bytes.length);
			rig_wait_phase(&rig, SESSION_HANDSHAKE, 1);
			rig_say_bytes(&rig, &client, words, length);
		}
		buffer_done(&bytes);
		rig_expect(&rig, &client, "s " STARTED);
		if (length < 5) { /* the head of a record: TLS still waits for it */
			rig_settle(&rig);
			assert_int_equal(rig_count(&rig, SESSION_HANDSHAKE), 1);
			rig_half_close(&client);
		}
		rig_expect_end(&rig, &client);
		assert_false(has_plain_answer(&client, "b "));
		leave(&rig, &client);
	}
	assert_int_equal(rig.set.closed[CLOSE_HANDSHAKE_FAILED], 2 * array_length(injected));
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HANDSHAKES_FAILED),
			 2 * array_length(injected));
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOOKUPS_STATIC), 0);
	end(&rig);
}

/* C72: neither the words of an ID nor the address that it claims survive. */
static void test_identity_before_starttls_is_forgotten(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	connect_starttls(&rig, &client);
	rig_say(&rig, &client,
		"i ID (\"name\" \"evil\" \"x-originating-ip\" \"198.51.100.77\" "
		"\"x-session-id\" \"evil\" \"x-proxy-ttl\" \"1\")\r\ns STARTTLS\r\n");
	rig_expect(&rig, &client, "s " STARTED);
	rig_secure(&rig, &client, NULL);
	rig_say(&rig, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, GREETING_WITH_ID);
	rig_expect_only(&rig, &backend, "G1 ID (\"x-originating-ip\" \"127.0.0.1\" ");
	rig_expect(&rig, &backend, "\"x-proxy-ttl\" \"4\")\r\nG2 AUTHENTICATE PLAIN ");
	assert_false(rig_has_heard(&backend, "evil"));
	assert_int_equal(count_logged("198.51.100.77"), 0);
	rig_forget(&backend);
	leave(&rig, &client);
	end(&rig);
}

static void test_starttls_timeout(void **state)
{
	static const struct rig_options options = {.limits = "handshake_timeout = \"40ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options);
	connect_starttls(&rig, &client);
	rig_say(&rig, &client, "s STARTTLS\r\n");
	rig_expect_only(&rig, &client, "s " STARTED);
	rig_expect_end(&rig, &client);
	assert_int_equal(client.heard.length, 0);
	leave(&rig, &client);
	assert_int_equal(rig.set.closed[CLOSE_HANDSHAKE_TIMEOUT], 1);
	end(&rig);
}

/* The time for the login does not begin anew behind TLS. */
static void test_starttls_does_not_lengthen_the_login(void **state)
{
	static const struct rig_options options = {.limits = "login_timeout = \"300ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;
	uint64_t deadline_ms;

	(void)state;
	begin(&rig, &options);
	connect_starttls(&rig, &client);
	deadline_ms = greeted(&rig)->timeout.deadline_ms;
	rig_say(&rig, &client, "s STARTTLS\r\n");
	rig_expect_only(&rig, &client, "s " STARTED);
	rig_secure(&rig, &client, NULL);
	if (rig_count(&rig, SESSION_GREETED) == 1) {
		assert_int_equal(greeted(&rig)->timeout.deadline_ms, deadline_ms);
	}
	rig_expect_only(&rig, &client, "* BYE ");
	leave(&rig, &client);
	assert_int_equal(rig.set.closed[CLOSE_LOGIN_TIMEOUT], 1);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_no_starttls_in_the_list_behind_it),
		cmocka_unit_test(test_client_hello_behind_starttls),
		cmocka_unit_test(test_starttls_behind_a_spill),
		cmocka_unit_test(test_plaintext_behind_starttls),
		cmocka_unit_test(test_identity_before_starttls_is_forgotten),
		cmocka_unit_test(test_starttls_timeout),
		cmocka_unit_test(test_starttls_does_not_lengthen_the_login),
	};

	return cmocka_run_group_tests_name("opening_starttls", tests, NULL, NULL);
}
