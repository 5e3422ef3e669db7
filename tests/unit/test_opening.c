/* SPDX-License-Identifier: Apache-2.0
 *
 * The opening of sessions by PROXY headers: in every cut, whom they make a client, who is not
 * believed, and TLS behind a header. STARTTLS is in test_opening_starttls.c.
 */
#include <arpa/inet.h>
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
#include "net/proxy_header.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define PATIENT "login_timeout = \"10m\"\nhandshake_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

static const struct rig_options patient = {.limits = PATIENT};

#define GREETING_WITH_ID "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] backend\r\n"

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

/* --- Headers -------------------------------------------------------------------------------- */

/* A client at 192.0.2.7:4711 that connected to 203.0.113.9:993. */
static const char v1[] = "PROXY TCP4 192.0.2.7 203.0.113.9 4711 993\r\n";

#define V2_ADDRESSES "\xC0\x00\x02\x07\xCB\x00\x71\x09\x12\x67\x03\xE1"
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static const char v2[] = V2_SIGNATURE "\x21\x11\x00\x0C" V2_ADDRESSES;

/* PP2_TYPE_SSL: the client speaks TLS to whoever sends this. */
static const char v2_tls[] =
	V2_SIGNATURE "\x21\x11\x00\x14" V2_ADDRESSES "\x20\x00\x05\x01\x00\x00\x00\x00";

static const char v2_local[] = V2_SIGNATURE "\x20\x00\x00\x00";

struct header {
	const char *bytes;
	size_t length;
};

#define HEADER(text)                                                                               \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static const struct header headers[] = {HEADER(v1), HEADER(v2), HEADER(v2_tls)};

static void expect_greeting(struct session_rig *rig, struct rig_peer *client)
{
	rig_expect_only(rig, client, "* OK [CAPABILITY IMAP4rev1 ");
	rig_expect(rig, client, "\r\n");
}

static const struct session *greeted(const struct session_rig *rig)
{
	assert_int_equal(rig_count(rig, SESSION_GREETED), 1);
	return container_of(rig->set.phases[SESSION_GREETED].head, struct session, timeout);
}

static void check_peer(const struct session *session)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&session->peer, text);
	assert_string_equal(text, "192.0.2.7:4711");
	addr_format(&session->login->came_to, text);
	assert_string_equal(text, "203.0.113.9:993");
}

/* The header with a command behind it, cut in two at every place and once into single bytes. */
static void test_header_in_every_cut(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(headers); i++) {
		struct buffer bytes = {0};

		buffer_append(&bytes, headers[i].bytes, headers[i].length);
		buffer_append_text(&bytes, "a NOOP\r\n");
		for (size_t cut = 0; cut <= bytes.length; cut++) {
			struct rig_peer client;

			rig_connect_to(&rig, RIG_PROXY, &client);
			rig_say_cut(&rig, &client, &bytes, cut);

			expect_greeting(&rig, &client);
			rig_expect_only(&rig, &client, "a OK NOOP completed.\r\n");
			check_peer(greeted(&rig));
			leave(&rig, &client);
		}
		buffer_done(&bytes);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), 0);
	end(&rig);
}

static void log_in_behind_header(struct session_rig *rig, struct rig_peer *client,
				 struct rig_peer *backend)
{
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE PLAIN ");
	rig_expect(rig, backend, "\r\n");
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(rig, client, "a OK ");
	rig_expect_only(rig, client,
			rig_has_heard(client, "[") ? "[CAPABILITY IMAP4rev1] in\r\n" : "in\r\n");
}

/* All in one segment: header, login, and what the backend is to get behind it. */
static void test_login_behind_a_header(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(headers); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		struct buffer bytes = {0};

		rig_connect_to(&rig, RIG_PROXY, &client);
		buffer_append(&bytes, headers[i].bytes, headers[i].length);
		buffer_append_text(&bytes, RIG_LOGIN "b SELECT INBOX\r\n");
		rig_say_bytes(&rig, &client, buffer_bytes(&bytes), bytes.length);
		buffer_done(&bytes);
		log_in_behind_header(&rig, &client, &backend);
		rig_expect_only(&rig, &backend, "b SELECT INBOX\r\n");
		rig_forget(&backend);
		leave(&rig, &client);
	}
	assert_int_equal(count_logged(" 192.0.2.7:4711 127.0.0.1:14403 "), array_length(headers));
	end(&rig);
}

static void test_client_hello_behind_a_header(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(headers); i++) {
		for (size_t cut = 0; cut <= headers[i].length + 12; cut++) {
			struct rig_peer client;

			rig_connect_to(&rig, RIG_PROXY_TLS, &client);
			rig_begin_tls_behind(&rig, &client, headers[i].bytes, headers[i].length,
					     cut);
			expect_greeting(&rig, &client);
			check_peer(greeted(&rig));
			rig_say(&rig, &client, "a NOOP\r\n");
			rig_expect_only(&rig, &client, "a OK NOOP completed.\r\n");
			leave(&rig, &client);
		}
	}
	end(&rig);
}

/* Nobody but the sender is at the other end. */
static void test_local_header(void **state)
{
	static const char unknown[] = "PROXY UNKNOWN\r\n";
	static const struct header locals[] = {HEADER(v2_local), HEADER(unknown)};
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(locals); i++) {
		struct rig_peer client;

		rig_connect_to(&rig, RIG_PROXY, &client);
		rig_say_bytes(&rig, &client, locals[i].bytes, locals[i].length);
		expect_greeting(&rig, &client);
		assert_true(addr_is_loopback(&greeted(&rig)->peer));
		leave(&rig, &client);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), 0);
	end(&rig);
}

/* --- Headers that are none ------------------------------------------------------------------ */

static void test_bad_headers_are_not_answered(void **state)
{
	static const char command[] = RIG_LOGIN;
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03";
	static const char v1_bad[] = "PROXY TCP4 192.0.2.7 203.0.113.9 4711\r\n" RIG_LOGIN;
	static const char v2_bad[] = V2_SIGNATURE "\x31\x11\x00\x0C" V2_ADDRESSES RIG_LOGIN;
	static const struct header bad[] = {HEADER(command), HEADER(hello), HEADER(v1_bad),
					    HEADER(v2_bad)};
	static const enum rig_listener listeners[] = {RIG_PROXY, RIG_PROXY_TLS};
	struct session_rig rig;
	unsigned count = 0;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(bad) * array_length(listeners); i++) {
		struct rig_peer client;

		rig_connect_to(&rig, listeners[i % array_length(listeners)], &client);
		rig_say_bytes(&rig, &client, bad[i / array_length(listeners)].bytes,
			      bad[i / array_length(listeners)].length);
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		leave(&rig, &client);
		count++;
		assert_int_equal(rig.set.closed[CLOSE_PROXY_HEADER], count);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), count);
	}
	assert_int_equal(count_logged("client refused 127.0.0.1:"), 1);
	end(&rig);
}

/* Whoever is not trusted is not even heard. */
static void test_header_of_a_stranger(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &patient);
	for (unsigned i = 1; i <= 3; i++) {
		rig_connect_to(&rig, RIG_PROXY_STRANGERS, &client);
		assert_int_equal(session_set_count(&rig.set), 0);
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		leave(&rig, &client);
		assert_int_equal(rig.set.closed[CLOSE_PROXY_HEADER], i);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), i);
	}
	assert_int_equal(count_logged("not from an address in listener.trusted"), 1);
	end(&rig);
}

static void test_header_timeout(void **state)
{
	static const struct rig_options options = {.limits = "handshake_timeout = \"40ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options);
	for (unsigned i = 1; i <= 2; i++) {
		rig_connect_to(&rig, RIG_PROXY, &client);
		rig_say_bytes(&rig, &client, v1, i == 1 ? 0 : sizeof(v1) - 2);
		rig_expect_end(&rig, &client);
		assert_int_equal(client.heard.length, 0);
		leave(&rig, &client);
		assert_int_equal(rig.set.closed[CLOSE_PROXY_HEADER], i);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), i);
	}
	assert_int_equal(count_logged("client refused 127.0.0.1:"), 1);
	end(&rig);
}

/* A health check that only connects is no news. */
static void test_client_leaves_before_its_header(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &patient);
	for (unsigned i = 1; i <= 2; i++) {
		rig_connect_to(&rig, RIG_PROXY, &client);
		rig_say_bytes(&rig, &client, v1, i == 1 ? 0 : sizeof(v1) - 2);
		leave(&rig, &client);
		assert_int_equal(rig.set.closed[CLOSE_CLIENT_LEFT], i);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_PROXY_HEADERS_REFUSED), 0);
	assert_int_equal(count_logged("client refused"), 0);
	end(&rig);
}

/* --- What a header makes true --------------------------------------------------------------- */

/* TLS that ended in front of us counts as TLS; without it nobody may log in there. */
static void test_tls_in_front_allows_logins(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	rig_connect_to(&rig, RIG_PROXY_IN_FRONT, &client);
	rig_say_bytes(&rig, &client, v2, sizeof(v2) - 1);
	rig_expect(&rig, &client, " LOGINDISABLED]");
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, RIG_LOGIN);
	rig_expect_only(&rig, &client, "a NO [PRIVACYREQUIRED] ");
	leave(&rig, &client);

	rig_connect_to(&rig, RIG_PROXY_IN_FRONT, &client);
	rig_say_bytes(&rig, &client, v2_tls, sizeof(v2_tls) - 1);
	rig_expect(&rig, &client, " AUTH=PLAIN");
	rig_expect(&rig, &client, "\r\n");
	assert_false(rig_has_heard(&client, "LOGINDISABLED"));
	rig_say(&rig, &client, RIG_LOGIN);
	log_in_behind_header(&rig, &client, &backend);
	rig_forget(&backend);
	leave(&rig, &client);
	end(&rig);
}

static void test_identity_of_a_claimed_client(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &patient);
	rig_connect_to(&rig, RIG_PROXY, &client);
	rig_say_bytes(&rig, &client, v2, sizeof(v2) - 1);
	rig_say(&rig, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, GREETING_WITH_ID);
	rig_expect_only(&rig, &backend,
			"G1 ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\" "
			"\"x-connected-ip\" \"203.0.113.9\" \"x-connected-port\" \"993\" ");
	rig_forget(&backend);
	leave(&rig, &client);
	end(&rig);
}

struct heard_header {
	struct rig_peer *peer;
	struct proxy_header *header;
};

static bool has_header(struct session_rig *rig, const void *context)
{
	const struct heard_header *heard = context;
	struct buffer *bytes = &heard->peer->heard;
	enum proxy_header_verdict verdict;
	const char *why;
	size_t size = 0;

	(void)rig;
	rig_hear(heard->peer);
	verdict = proxy_header_read(heard->header, buffer_bytes(bytes), bytes->length, &size, &why);
	assert_int_not_equal(verdict, PROXY_HEADER_BAD);
	buffer_consume(bytes, size);
	return verdict == PROXY_HEADER_DONE;
}

static void expect_header(struct session_rig *rig, struct rig_peer *backend,
			  struct proxy_header *header)
{
	rig_accept(rig, rig->backend, backend);
	rig_wait(rig, has_header, &(struct heard_header){backend, header});
	assert_int_equal(backend->heard.length, 0);
}

static void check_address(const struct addr *addr, const char *wanted)
{
	char text[ADDR_TEXT_MAX];

	addr_format(addr, text);
	assert_string_equal(text, wanted);
}

static const struct rig_options send_proxy = {
	.limits = PATIENT,
	.backend = "send_proxy = true\n",
};

static void test_header_of_a_claimed_client_goes_on(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct proxy_header header;

	(void)state;
	begin(&rig, &send_proxy);
	rig_connect_to(&rig, RIG_PROXY, &client);
	rig_say_bytes(&rig, &client, v1, sizeof(v1) - 1);
	rig_say(&rig, &client, RIG_LOGIN);
	expect_header(&rig, &backend, &header);
	check_address(&header.source, "192.0.2.7:4711");
	check_address(&header.destination, "203.0.113.9:993");
	assert_false(header.local);
	assert_false(header.tls);
	rig_forget(&backend);
	leave(&rig, &client);
	end(&rig);
}

/* A client that came by itself, with TLS and without. */
static void test_header_of_a_real_client(void **state)
{
	static const enum rig_listener listeners[] = {RIG_PLAIN, RIG_TLS};
	struct session_rig rig;

	(void)state;
	begin(&rig, &send_proxy);
	for (size_t i = 0; i < array_length(listeners); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		struct proxy_header header;
		struct sockaddr_storage own;
		socklen_t length = sizeof(own);
		struct addr from;
		char text[ADDR_TEXT_MAX];

		rig_connect_to(&rig, listeners[i], &client);
		if (listeners[i] == RIG_TLS) {
			rig_secure(&rig, &client, NULL);
		}
		rig_say(&rig, &client, RIG_LOGIN);
		expect_header(&rig, &backend, &header);
		assert_int_equal(getsockname(client.fd, (struct sockaddr *)&own, &length), 0);
		addr_from_sockaddr(&from, (struct sockaddr *)&own);
		addr_format(&from, text);
		assert_false(header.local);
		check_address(&header.source, text);
		assert_true(addr_is_loopback(&header.destination));
		assert_int_not_equal(addr_port(&header.destination), 0);
		assert_true(header.tls == (listeners[i] == RIG_TLS));
		assert_string_equal(header.authority, header.tls ? "imap.test" : "");
		rig_forget(&backend);
		leave(&rig, &client);
	}
	end(&rig);
}

/* --- Whose ID is believed ------------------------------------------------------------------- */

#define CLAIM "i ID (\"x-originating-ip\" \"198.51.100.77\" \"x-originating-port\" \"99\")\r\n"

static void expect_origin(struct session_rig *rig, struct rig_peer *client, const char *says,
			  const char *origin)
{
	struct rig_peer backend;
	char pair[80];

	rig_say(rig, client, says);
	rig_accept(rig, rig->backend, &backend);
	rig_say(rig, &backend, GREETING_WITH_ID);
	snprintf(pair, sizeof(pair), "G1 ID (\"x-originating-ip\" \"%s\" ", origin);
	rig_expect_only(rig, &backend, pair);
	rig_say(rig, &backend, "G1 OK\r\nG2 NO wrong\r\n");
	rig_expect_end(rig, &backend);
	rig_forget(&backend);
	rig_expect(rig, client, "a NO ");
	rig_expect(rig, client, "\r\n");
}

static void test_identity_is_believed_of_the_trusted(void **state)
{
	static const char other[] = "PROXY TCP4 198.51.100.1 203.0.113.9 4711 993\r\n";
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &patient);
	rig_connect_to(&rig, RIG_WEBMAIL, &client);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "198.51.100.77");
	assert_int_equal(count_logged(" 198.51.100.77:99 alice PLAIN "), 1);
	leave(&rig, &client);

	rig_connect_to(&rig, RIG_PLAIN, &client);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "127.0.0.1");
	leave(&rig, &client);

	/* Of a client behind a load balancer only if that client is trusted, too. */
	rig_connect_to(&rig, RIG_PROXY, &client);
	rig_say_bytes(&rig, &client, v2, sizeof(v2) - 1);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "198.51.100.77");
	leave(&rig, &client);

	rig_connect_to(&rig, RIG_PROXY, &client);
	rig_say_bytes(&rig, &client, other, sizeof(other) - 1);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "198.51.100.1");
	leave(&rig, &client);

	/* Whom the load balancer does not name may be anybody; it itself is trusted. */
	rig_connect_to(&rig, RIG_PROXY, &client);
	expect_origin(&rig, &client, "PROXY UNKNOWN\r\n" CLAIM RIG_LOGIN, "127.0.0.1");
	leave(&rig, &client);

	rig_connect_to(&rig, RIG_PROXY, &client);
	rig_say_bytes(&rig, &client, v2_local, sizeof(v2_local) - 1);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "198.51.100.77");
	leave(&rig, &client);
	end(&rig);
}

/* A webmail keeps a connection for one user after the other: the last ID counts, also where it
 * says less than the one before. */
static void test_last_identity_counts(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &patient);
	rig_connect_to(&rig, RIG_WEBMAIL, &client);
	expect_origin(&rig, &client, CLAIM RIG_LOGIN, "198.51.100.77");
	expect_origin(&rig, &client, RIG_LOGIN, "198.51.100.77");
	expect_origin(&rig, &client, "i ID (\"x-originating-ip\" \"198.51.100.78\")\r\n" RIG_LOGIN,
		      "198.51.100.78");
	expect_origin(&rig, &client, "i ID NIL\r\n" RIG_LOGIN, "127.0.0.1");
	leave(&rig, &client);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_in_every_cut),
		cmocka_unit_test(test_login_behind_a_header),
		cmocka_unit_test(test_client_hello_behind_a_header),
		cmocka_unit_test(test_local_header),
		cmocka_unit_test(test_bad_headers_are_not_answered),
		cmocka_unit_test(test_header_of_a_stranger),
		cmocka_unit_test(test_header_timeout),
		cmocka_unit_test(test_client_leaves_before_its_header),
		cmocka_unit_test(test_tls_in_front_allows_logins),
		cmocka_unit_test(test_identity_of_a_claimed_client),
		cmocka_unit_test(test_header_of_a_claimed_client_goes_on),
		cmocka_unit_test(test_header_of_a_real_client),
		cmocka_unit_test(test_identity_is_believed_of_the_trusted),
		cmocka_unit_test(test_last_identity_counts),
	};

	return cmocka_run_group_tests_name("opening", tests, NULL, NULL);
}
