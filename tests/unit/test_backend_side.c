/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to a backend: addresses in turn, names, silence in every step, what it is told of the
 * client, loops, and the hand-off.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
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
#include "support/fake_directory.h"
#include "support/log_capture.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define UNAVAILABLE "NO [UNAVAILABLE] The mail server cannot be reached, try again later.\r\n"
#define SERVERBUG   "NO [SERVERBUG] "

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

/* The client is told, stays, and is heard. */
static void expect_failure(struct session_rig *rig, struct rig_peer *client, const char *answer)
{
	rig_expect_only(rig, client, "a ");
	rig_expect_only(rig, client, answer);
	assert_int_equal(rig_count(rig, SESSION_GREETED), 1);
	rig_say(rig, client, "z NOOP\r\n");
	rig_expect(rig, client, "z OK ");
	assert_int_equal(metrics_get(&rig->metrics, METRIC_LOGINS_FAILED), 1);
}

/* --- Connecting ----------------------------------------------------------------------------- */

static void test_refused_connect(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, NULL, &client, "a LOGIN nowhere x\r\n");
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("cannot connect: Connection refused"), 1);
	end(&rig, &client);
}

static void test_no_such_unix_socket(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, NULL, &client, "a LOGIN nounix x\r\n");
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("cannot connect: No such file or directory"), 1);
	end(&rig, &client);
}

static void test_silent_connect(void **state)
{
	static const struct rig_options options = {.backend = "connect_timeout = \"40ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options, &client, "a LOGIN stuck x\r\n");
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("cannot connect: no answer in time"), 1);
	end(&rig, &client);
}

/* --- Names: a DNS server of one answer -------------------------------------------------------- */

struct dns {
	int fd;
	char address[32];
};

static void open_dns(struct dns *dns)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	dns->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(dns->fd >= 0);
	assert_int_equal(bind(dns->fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(dns->fd, (struct sockaddr *)&address, &length), 0);
	snprintf(dns->address, sizeof(dns->address), "127.0.0.1:%u", ntohs(address.sin_port));
}

/* Every name has the two A records and no AAAA. */
static void answer_query(const struct dns *dns, const uint8_t first[4], const uint8_t second[4])
{
	struct sockaddr_in from;
	socklen_t from_length = sizeof(from);
	uint8_t packet[512];
	uint8_t record[16] = {0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
	ssize_t length = recvfrom(dns->fd, packet, sizeof(packet) - 32, 0, (struct sockaddr *)&from,
				  &from_length);
	size_t question = 12;
	bool is_a;

	if (length < 17) {
		return;
	}
	while (packet[question] != 0) {
		question += packet[question] + 1U;
	}
	question += 5;
	is_a = packet[question - 3] == 1;
	packet[2] = 0x84;
	packet[3] = 0x80;
	memset(packet + 6, 0, 6);
	packet[7] = is_a ? 2 : 0;
	if (is_a) {
		memcpy(record + 12, first, 4);
		memcpy(packet + question, record, sizeof(record));
		memcpy(record + 12, second, 4);
		memcpy(packet + question + sizeof(record), record, sizeof(record));
	}
	(void)!sendto(dns->fd, packet, question + (is_a ? 2 * sizeof(record) : 0), 0,
		      (struct sockaddr *)&from, from_length);
}

#define TWO_PORT 14397

static int listen_at(const char *ip, int backlog)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(TWO_PORT)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

struct two_addresses {
	const struct dns *dns;
	int listening;
	struct rig_peer *backend;
	const uint8_t *first;
	const uint8_t *second;
};

static bool serve_until_accepted(struct session_rig *rig, const void *context)
{
	const struct two_addresses *two = context;

	(void)rig;
	answer_query(two->dns, two->first, two->second);
	two->backend->fd = accept4(two->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return two->backend->fd >= 0;
}

/* The other address works, wherever the resolver puts it. */
static void other_address_works(const uint8_t dead[4])
{
	static const uint8_t alive[4] = {127, 0, 0, 1};
	struct rig_options options = {
		.backend_address = "two.example:14397",
		.backend = "connect_timeout = \"10m\"\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend = {.fd = -1};
	struct dns dns;
	int listening = listen_at("127.0.0.1", 8);

	open_dns(&dns);
	options.dns = dns.address;
	begin(&rig, &options, &client, RIG_LOGIN);
	rig_wait(&rig, serve_until_accepted,
		 &(struct two_addresses){&dns, listening, &backend, dead, alive});
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN ");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect(&rig, &client, "a OK ");
	assert_int_equal(count_logged("login failed"), 0);
	rig_forget(&backend);
	end(&rig, &client);
	close(dns.fd);
	close(listening);
}

static void test_one_address_refuses(void **state)
{
	(void)state;
	other_address_works((const uint8_t[4]){127, 9, 9, 9});
}

static void test_one_address_is_silent(void **state)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int stuck = listen_at("127.0.0.5", 0);
	int fillers[4];

	(void)state;
	assert_int_equal(getsockname(stuck, (struct sockaddr *)&address, &length), 0);
	for (size_t i = 0; i < array_length(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(fillers[i], (struct sockaddr *)&address, length);
	}
	other_address_works((const uint8_t[4]){127, 0, 0, 5});
	for (size_t i = 0; i < array_length(fillers); i++) {
		close(fillers[i]);
	}
	close(stuck);
}

static void test_client_leaves_while_a_name_is_asked(void **state)
{
	struct rig_options options = {0};
	struct session_rig rig;
	struct rig_peer client;
	struct dns dns;

	(void)state;
	open_dns(&dns);
	options.dns = dns.address;
	begin(&rig, &options, &client, "a LOGIN silent x\r\n");
	rig_wait_phase(&rig, SESSION_CONNECTING, 1);
	rig_forget(&client);
	rig_wait_gone(&rig);
	answer_query(&dns, (const uint8_t[4]){127, 0, 0, 1}, (const uint8_t[4]){127, 0, 0, 1});
	rig_settle(&rig);
	end(&rig, &client);
	close(dns.fd);
}

static void test_silent_dns(void **state)
{
	static const struct rig_options options = {.backend = "connect_timeout = \"40ms\"\n"};
	struct rig_options with_dns = options;
	struct session_rig rig;
	struct rig_peer client;
	struct dns dns;

	(void)state;
	open_dns(&dns);
	with_dns.dns = dns.address;
	begin(&rig, &with_dns, &client, "a LOGIN silent x\r\n");
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("cannot connect: no answer in time"), 1);
	end(&rig, &client);
	close(dns.fd);
}

/* --- Silence and strange endings of the dialogue ---------------------------------------------- */

static void test_directory_that_fails(void **state)
{
	static const struct rig_options options = {.directory = &fake_directory};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options, &client, "a LOGIN bob x\r\n");
	rig_wait_phase(&rig, SESSION_ROUTING, 1);
	fake_fail("bob", "no answer in time");
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("login failed"), 1);
	assert_int_equal(count_logged("no answer in time"), 1);
	end(&rig, &client);
}

static void test_silence_after_connecting(void **state)
{
	static const struct rig_options options = {.backend = "login_timeout = \"40ms\"\n"};
	static const char *const whys[] = {"no greeting in time", "no answer to the login in time"};

	(void)state;
	for (size_t i = 0; i < array_length(whys); i++) {
		struct session_rig rig;
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &options, &client, RIG_LOGIN);
		rig_accept(&rig, rig.backend, &backend);
		if (i > 0) {
			rig_say(&rig, &backend, RIG_GREETING);
		}
		expect_failure(&rig, &client, UNAVAILABLE);
		rig_expect_end(&rig, &backend);
		assert_int_equal(count_logged(whys[i]), 1);
		rig_forget(&backend);
		end(&rig, &client);
	}
}

/* The time for the answer does not begin anew with every line. */
static void test_chatter_is_no_answer(void **state)
{
	static const struct rig_options options = {.backend = "login_timeout = \"60ms\"\n"};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	uint64_t begun_ms = timeouts_now_ms();

	(void)state;
	begin(&rig, &options, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	while (metrics_get(&rig.metrics, METRIC_LOGINS_FAILED) == 0) {
		(void)!send(backend.fd, "* OK wait\r\n", 11, MSG_NOSIGNAL);
		rig_settle(&rig);
		assert_true(timeouts_now_ms() < begun_ms + 30000);
	}
	expect_failure(&rig, &client, UNAVAILABLE);
	rig_forget(&backend);
	end(&rig, &client);
}

static void test_reason_of_a_backend_that_says_bye(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, NULL, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING "* BYE disk on fire\r\n");
	rig_hang_up(&backend);
	expect_failure(&rig, &client, UNAVAILABLE);
	assert_int_equal(count_logged("disk on fire"), 1);
	rig_forget(&backend);
	end(&rig, &client);
}

static void test_no_imap_server(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, NULL, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, "220 mail ESMTP\r\n");
	expect_failure(&rig, &client, SERVERBUG);
	rig_expect_end(&rig, &backend);
	assert_int_equal(backend.heard.length, 0);
	rig_forget(&backend);
	end(&rig, &client);
}

/* --- Loops ---------------------------------------------------------------------------------- */

static int listen_on_own_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons(RIG_LISTENER_PORT)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void test_route_back_to_ourselves(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	int own = listen_on_own_port();

	(void)state;
	begin(&rig, NULL, &client, "a LOGIN loop x\r\n");
	expect_failure(&rig, &client, SERVERBUG);
	rig_accept(&rig, own, &backend);
	rig_expect_end(&rig, &backend);
	assert_int_equal(backend.heard.length, 0);
	assert_int_equal(count_logged("leads back to this proxy"), 1);
	rig_forget(&backend);
	end(&rig, &client);
	close(own);
}

static void test_route_back_to_our_unix_socket(void **state)
{
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, NULL, &client, "a LOGIN unixloop x\r\n");
	expect_failure(&rig, &client, SERVERBUG);
	assert_int_equal(count_logged("leads back to this proxy"), 1);
	end(&rig, &client);
}

/* --- What the backend is told ----------------------------------------------------------------- */

#define GREETING_WITH_ID "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] backend\r\n"

static void test_identity_of_the_client(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct sockaddr_in own;
	socklen_t length = sizeof(own);
	char pair[80];

	(void)state;
	begin(&rig, NULL, &client, RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, GREETING_WITH_ID);
	assert_int_equal(getsockname(client.fd, (struct sockaddr *)&own, &length), 0);
	rig_expect_only(&rig, &backend, "G1 ID (\"x-originating-ip\" \"127.0.0.1\" ");
	snprintf(pair, sizeof(pair), "\"x-originating-port\" \"%u\" ", ntohs(own.sin_port));
	rig_expect_only(&rig, &backend, pair);
	rig_expect_only(&rig, &backend, "\"x-connected-ip\" \"127.0.0.1\" \"x-connected-port\" ");
	rig_expect(&rig, &backend, "\"x-proxy-ttl\" \"4\")\r\nG2 AUTHENTICATE PLAIN ");
	rig_forget(&backend);
	end(&rig, &client);
}

static void expect_no_identity(struct session_rig *rig, struct rig_peer *client)
{
	struct rig_peer backend;

	rig_accept(rig, rig->backend, &backend);
	rig_say(rig, &backend, GREETING_WITH_ID);
	rig_expect_only(rig, &backend, "G1 AUTHENTICATE PLAIN ");
	rig_forget(&backend);
	end(rig, client);
}

static void test_no_identity_where_none_is_wanted(void **state)
{
	static const struct rig_options options = {.backend = "send_id = false\n"};
	struct session_rig rig;
	struct rig_peer client;

	(void)state;
	begin(&rig, &options, &client, RIG_LOGIN);
	expect_no_identity(&rig, &client);
}

/* It has no address; the rest is told. */
static void test_identity_of_a_unix_client(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, NULL);
	rig_connect_unix(&rig, &client);
	rig_expect(&rig, &client, "\r\n");
	rig_say(&rig, &client, "i ID (\"name\" \"webmail\")\r\n" RIG_LOGIN);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, GREETING_WITH_ID);
	rig_expect_only(&rig, &backend, "G1 ID (\"x-session-id\" \"");
	rig_expect(&rig, &backend, " \"name\" \"webmail\")\r\n");
	rig_forget(&backend);
	end(&rig, &client);
}

/* --- The hand-off --------------------------------------------------------------------------- */

static void test_hand_off_carries_both_sides(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	const struct session *session;

	(void)state;
	begin(&rig, NULL, &client, RIG_LOGIN "b SELECT INBOX\r\n");
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "\r\n");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n* 3 EXISTS\r\n");
	rig_expect_only(&rig, &client, "a OK [CAPABILITY IMAP4rev1] in\r\n* 3 EXISTS\r\n");
	rig_expect_only(&rig, &backend, "b SELECT INBOX\r\n");
	session = container_of(rig.set.phases[SESSION_RELAYING].head, struct session, timeout);
	assert_null(session->login);
	assert_int_equal(session->bytes_upstream, strlen("b SELECT INBOX\r\n"));
	assert_int_equal(session->bytes_downstream, strlen("* 3 EXISTS\r\n"));
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BYTES_UPSTREAM), session->bytes_upstream);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BYTES_DOWNSTREAM),
			 session->bytes_downstream);
	rig_forget(&backend);
	end(&rig, &client);
}

/* A failure to send comes to us behind what the backend still said. The next login, which the same
 * event begins, must not inherit it. */
static void test_next_login_does_not_inherit_a_failure(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, NULL, &client, RIG_LOGIN "b LOGIN carol secret\r\n");
	rig_accept(&rig, rig.backend, &backend);
	rig_wait_phase(&rig, SESSION_GREETING, 1);
	(void)!send(backend.fd, RIG_GREETING, strlen(RIG_GREETING), MSG_NOSIGNAL);
	rig_reset(&backend);
	rig_expect(&rig, &client, "a " UNAVAILABLE);
	rig_accept(&rig, rig.backend, &backend);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect(&rig, &backend, "G1 AUTHENTICATE PLAIN ");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "b OK ");
	rig_forget(&backend);
	end(&rig, &client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_connect),
		cmocka_unit_test(test_no_such_unix_socket),
		cmocka_unit_test(test_silent_connect),
		cmocka_unit_test(test_one_address_refuses),
		cmocka_unit_test(test_one_address_is_silent),
		cmocka_unit_test(test_client_leaves_while_a_name_is_asked),
		cmocka_unit_test(test_silent_dns),
		cmocka_unit_test(test_directory_that_fails),
		cmocka_unit_test(test_silence_after_connecting),
		cmocka_unit_test(test_chatter_is_no_answer),
		cmocka_unit_test(test_reason_of_a_backend_that_says_bye),
		cmocka_unit_test(test_no_imap_server),
		cmocka_unit_test(test_route_back_to_ourselves),
		cmocka_unit_test(test_route_back_to_our_unix_socket),
		cmocka_unit_test(test_identity_of_the_client),
		cmocka_unit_test(test_no_identity_where_none_is_wanted),
		cmocka_unit_test(test_identity_of_a_unix_client),
		cmocka_unit_test(test_hand_off_carries_both_sides),
		cmocka_unit_test(test_next_login_does_not_inherit_a_failure),
	};

	return cmocka_run_group_tests_name("backend_side", tests, NULL, NULL);
}
