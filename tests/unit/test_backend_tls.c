/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions whose backend has TLS, from the first byte or by STARTTLS: who is not believed gets no
 * credentials, what comes first is in order and every step has its time. The splice is in
 * test_relay_tls.c.
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
#include "net/proxy_header.h"
#include "support/fake_dns.h"
#include "support/fake_directory.h"
#include "support/log_capture.h"
#include "support/session_rig.h"
#include "support/tls_peer.h"

#include "../../proxy/session/session_internal.h"

#define PATIENT "login_timeout = \"10m\"\nclose_timeout = \"10m\"\nfailure_delay = \"0s\"\n"

#define UNAVAILABLE "a NO [UNAVAILABLE] The mail server cannot be reached, try again later.\r\n"

static const struct rig_options patient = {.limits = PATIENT};

/* dora's backend has TLS from the first byte, erin's by STARTTLS. */
static const char *const users[] = {"dora", "erin"};

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

static void leave(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
}

static void say_login(struct session_rig *rig, struct rig_peer *client, const char *user)
{
	char line[64];

	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	snprintf(line, sizeof(line), "a LOGIN %s secret\r\n", user);
	rig_say(rig, client, line);
}

static bool is_implicit(const char *user)
{
	return strcmp(user, "dora") == 0;
}

static void begin_starttls(struct session_rig *rig, struct rig_peer *backend)
{
	rig_say(rig, backend, "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hello\r\n");
	rig_expect_only(rig, backend, "G1 STARTTLS\r\n");
	rig_say(rig, backend, "G1 OK go\r\n");
	rig_wait_phase(rig, SESSION_SECURING, 1);
}

/* To where TLS is due. */
static void reach_securing(struct session_rig *rig, const char *user, struct rig_peer *client,
			   struct rig_peer *backend)
{
	say_login(rig, client, user);
	rig_accept(rig, rig->secure, backend);
	if (is_implicit(user)) {
		rig_wait_phase(rig, SESSION_SECURING, 1);
	} else {
		begin_starttls(rig, backend);
	}
}

/* To where the backend has the credentials, under the tag that it is to answer. */
static const char *reach_authenticating(struct session_rig *rig, const char *user,
					struct rig_peer *client, struct rig_peer *backend)
{
	reach_securing(rig, user, client, backend);
	rig_serve(rig, backend, NULL);
	if (is_implicit(user)) {
		rig_say(rig, backend, RIG_GREETING);
		rig_expect_only(rig, backend, "G1 AUTHENTICATE PLAIN AGRvcmEAc2VjcmV0\r\n");
		return "G1";
	}
	rig_expect_only(rig, backend, "G2 CAPABILITY\r\n");
	rig_say(rig, backend, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nG2 OK\r\n");
	rig_expect_only(rig, backend, "G3 AUTHENTICATE PLAIN AGVyaW4Ac2VjcmV0\r\n");
	return "G3";
}

static void log_in(struct session_rig *rig, const char *user, struct rig_peer *client,
		   struct rig_peer *backend)
{
	char line[64];

	snprintf(line, sizeof(line), "%s OK [CAPABILITY IMAP4rev1 IDLE] in\r\n",
		 reach_authenticating(rig, user, client, backend));
	rig_say(rig, backend, line);
	rig_expect_only(rig, client, "a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	assert_int_equal(rig_count(rig, SESSION_RELAYING), 1);
}

static struct session *relaying(const struct session_rig *rig)
{
	return container_of(rig->set.phases[SESSION_RELAYING].head, struct session, timeout);
}

/* --- Logging in ----------------------------------------------------------------------------- */

static void test_login(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		log_in(&rig, users[i], &client, &backend);
		rig_say(&rig, &client, "b SELECT INBOX\r\n");
		rig_expect_only(&rig, &backend, "b SELECT INBOX\r\n");
		rig_say(&rig, &backend, "b OK\r\n");
		rig_expect_only(&rig, &client, "b OK\r\n");
		assert_null(relaying(&rig)->login);
		leave(&rig, &client, &backend);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FULL), i + 1);
	}
	end(&rig);
}

/* Sessions of TLS are resumed, but not those of another backend's name. */
static void test_resumption(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (unsigned i = 0; i < 4; i++) {
		struct rig_peer client;
		struct rig_peer backend;

		log_in(&rig, users[i % 2], &client, &backend);
		rig_say(&rig, &backend, "* 1 EXISTS\r\n"); /* behind its tickets */
		rig_expect_only(&rig, &client, "* 1 EXISTS\r\n");
		leave(&rig, &client, &backend);
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FULL), 2);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_RESUMED), 2);
	end(&rig);
}

static void test_refused_login(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		char line[64];

		snprintf(line, sizeof(line), "%s NO no\r\n",
			 reach_authenticating(&rig, users[i], &client, &backend));
		rig_say(&rig, &backend, line);
		rig_expect_only(&rig, &client, "a NO [AUTHENTICATIONFAILED] ");
		rig_expect(&rig, &client, "\r\n");
		rig_expect_end(&rig, &backend);
		rig_forget(&backend);
		rig_say(&rig, &client, "z NOOP\r\n");
		rig_expect_only(&rig, &client, "z OK ");
		leave(&rig, &client, &backend);
	}
	end(&rig);
}

/* TLS ends without close_notify where an answer is due. */
static void test_backend_is_cut_off(void **state)
{
	struct session_rig rig;

	(void)state;
	begin(&rig, &patient);
	for (size_t i = 0; i < 2 * array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		reach_authenticating(&rig, users[i / 2], &client, &backend);
		if (i % 2 == 0) {
			assert_int_equal(shutdown(backend.fd, SHUT_WR), 0);
		} else {
			rig_reset(&backend);
		}
		rig_expect_only(&rig, &client, UNAVAILABLE);
		assert_int_equal(rig_count(&rig, SESSION_GREETED), 1);
		leave(&rig, &client, &backend);
	}
	end(&rig);
}

/* --- Whoever is not believed ---------------------------------------------------------------- */

static void expect_unavailable(struct session_rig *rig, struct rig_peer *client,
			       struct rig_peer *backend, const char *why)
{
	rig_expect_end(rig, backend); /* which lets its TLS go on */
	rig_expect_only(rig, client, UNAVAILABLE);
	assert_int_equal(count_logged(why), 1);
	assert_int_equal(rig_count(rig, SESSION_GREETED), 1);
}

/* C93: it learns neither who logs in nor how. */
static void test_wrong_certificate(void **state)
{
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &patient);
		reach_securing(&rig, users[i], &client, &backend);
		rig_serve_tls(&rig, &backend, rig.stranger_tls);
		expect_unavailable(&rig, &client, &backend,
				   "TLS handshake: certificate names other.test, not 127.0.0.1");
		assert_int_equal(backend.heard.length, 0);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* C95: what stands behind the OK came in the clear, and would count as if it had not. */
static void test_injection_behind_starttls(void **state)
{
	static const char *const injected[] = {"* CAPABILITY IMAP4rev1\r\n", "*", "\r\n"};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(injected); i++) {
		struct rig_peer client;
		struct rig_peer backend;
		char text[64];

		begin(&rig, &patient);
		say_login(&rig, &client, "erin");
		rig_accept(&rig, rig.secure, &backend);
		rig_say(&rig, &backend, "* OK hello\r\n");
		rig_expect_only(&rig, &backend, "G1 STARTTLS\r\n");
		snprintf(text, sizeof(text), "G1 OK go\r\n%s", injected[i]);
		rig_say(&rig, &backend, text);
		expect_unavailable(&rig, &client, &backend, "followed by more in the clear");
		assert_int_equal(backend.heard.length, 0);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* The same where it is not read together with the OK: it is no TLS. */
static void test_plaintext_in_place_of_tls(void **state)
{
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &patient);
		reach_securing(&rig, users[i], &client, &backend);
		rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n");
		expect_unavailable(&rig, &client, &backend, "TLS handshake");
		assert_false(rig_has_heard(&backend, "AUTHENTICATE"));
		assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* C94: there is no way from a refused STARTTLS to a login in the clear. */
static void test_starttls_refused(void **state)
{
	static const char *const answers[] = {"G1 NO no\r\n", "G1 BAD what\r\n"};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(answers); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &patient);
		say_login(&rig, &client, "erin");
		rig_accept(&rig, rig.secure, &backend);
		rig_say(&rig, &backend, "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] x\r\n");
		rig_expect_only(&rig, &backend, "G1 STARTTLS\r\n");
		rig_say(&rig, &backend, answers[i]);
		expect_unavailable(&rig, &client, &backend, "refused STARTTLS");
		assert_int_equal(backend.heard.length, 0);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

/* --- Another address ------------------------------------------------------------------------ */

#define TWO_PORT 14398

static int listen_at(const char *ip)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(TWO_PORT)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

struct either {
	struct fake_dns *dns;
	const int *listening;
	struct rig_peer *backend;
};

static bool has_accepted(struct session_rig *rig, const void *context)
{
	const struct either *either = context;

	(void)rig;
	ev_run(either->dns->loop, EVRUN_NOWAIT);
	for (size_t i = 0; i < 2 && either->backend->fd < 0; i++) {
		either->backend->fd =
			accept4(either->listening[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	return either->backend->fd >= 0;
}

/* The first one shows another's certificate, or is silent; the second is right. */
static void second_address_works(bool is_silent)
{
	struct fake_name name = {.name = "two.example", .v4 = {"127.0.0.1", "127.0.0.6"}};
	int listening[] = {listen_at("127.0.0.1"), listen_at("127.0.0.6")};
	struct fake_dns dns;
	struct rig_options options = {
		.limits = PATIENT,
		.secure = is_silent ? "server_name = \"imap.test\"\nconnect_timeout = \"100ms\"\n"
				    : "server_name = \"imap.test\"\n",
		.secure_address = "two.example:14398",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend = {.fd = -1};
	struct either either = {&dns, listening, &backend};
	struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);

	fake_dns_open(&dns, loop);
	dns.names = &name;
	dns.name_count = 1;
	options.dns = dns.address;
	begin(&rig, &options);
	say_login(&rig, &client, "dora");
	rig_wait(&rig, has_accepted, &either);
	if (!is_silent) {
		rig_serve_tls(&rig, &backend, rig.stranger_tls);
	}
	rig_expect_end(&rig, &backend);
	rig_forget(&backend);
	rig_wait(&rig, has_accepted, &either);
	rig_serve(&rig, &backend, NULL);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect_only(&rig, &backend, "G1 AUTHENTICATE PLAIN AGRvcmEAc2VjcmV0\r\n");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK ");
	assert_int_equal(count_logged("login failed"), 0);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
	leave(&rig, &client, &backend);
	end(&rig);
	fake_dns_close(&dns);
	ev_loop_destroy(loop);
	close(listening[0]);
	close(listening[1]);
}

static void test_second_address_after_a_wrong_certificate(void **state)
{
	(void)state;
	second_address_works(false);
}

static void test_second_address_after_silence(void **state)
{
	(void)state;
	second_address_works(true);
}

/* --- Time ----------------------------------------------------------------------------------- */

static void test_silence_in_place_of_tls(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.backend = "connect_timeout = \"60ms\"\n",
	};
	static const char *const whys[] = {"cannot connect: no answer in time", "no TLS in time"};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &options);
		reach_securing(&rig, users[i], &client, &backend);
		expect_unavailable(&rig, &client, &backend, whys[i]);
		assert_int_equal(metrics_get(&rig.metrics, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
		leave(&rig, &client, &backend);
		end(&rig);
	}
}

static void test_login_timeout_in_place_of_tls(void **state)
{
	static const struct rig_options options = {.limits = "login_timeout = \"150ms\"\n"};
	struct session_rig rig;

	(void)state;
	for (size_t i = 0; i < array_length(users); i++) {
		struct rig_peer client;
		struct rig_peer backend;

		begin(&rig, &options);
		reach_securing(&rig, users[i], &client, &backend);
		rig_expect_only(&rig, &client,
				"* BYE [UNAVAILABLE] No login in the time allowed.\r\n");
		rig_expect_end(&rig, &client);
		rig_expect_end(&rig, &backend);
		leave(&rig, &client, &backend);
		assert_int_equal(rig.set.closed[CLOSE_LOGIN_TIMEOUT], 1);
		end(&rig);
	}
}

/* --- The PROXY header ----------------------------------------------------------------------- */

static bool has_header(struct session_rig *rig, const void *context)
{
	struct rig_peer *backend = (struct rig_peer *)context;
	uint8_t bytes[PROXY_HEADER_MAX];
	ssize_t count = recv(backend->fd, bytes, sizeof(bytes), MSG_PEEK);
	struct proxy_header header;
	const char *why;
	size_t size = 0;

	(void)rig;
	if (count <= 0 ||
	    proxy_header_read(&header, bytes, (size_t)count, &size, &why) != PROXY_HEADER_DONE) {
		assert_true(count <= 0);
		return false;
	}
	assert_false(header.local);
	assert_int_equal(recv(backend->fd, bytes, size, 0), size);
	return true;
}

/* It leaves before anything of TLS, and in the clear. */
static void test_proxy_header_comes_first(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.backend = "send_proxy = true\n",
	};
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	begin(&rig, &options);
	say_login(&rig, &client, "dora");
	rig_accept(&rig, rig.secure, &backend);
	rig_wait(&rig, has_header, &backend);
	rig_serve(&rig, &backend, NULL);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect_only(&rig, &backend, "G1 AUTHENTICATE PLAIN ");
	leave(&rig, &client, &backend);

	say_login(&rig, &client, "erin");
	rig_accept(&rig, rig.secure, &backend);
	rig_wait(&rig, has_header, &backend);
	begin_starttls(&rig, &backend);
	rig_serve(&rig, &backend, NULL);
	rig_expect_only(&rig, &backend, "G2 CAPABILITY\r\n");
	leave(&rig, &client, &backend);
	end(&rig);
}

/* --- Backends that only a URL names --------------------------------------------------------- */

static void test_backend_of_a_url(void **state)
{
	static const struct rig_options options = {
		.limits = PATIENT,
		.directory = &fake_directory,
	};
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	char route[64];

	(void)state;
	begin(&rig, &options);
	assert_int_equal(getsockname(rig.secure, (struct sockaddr *)&address, &length), 0);
	snprintf(route, sizeof(route), "imaps://127.0.0.1:%u?user=robert", ntohs(address.sin_port));
	fake_knows("bob", route);
	say_login(&rig, &client, "bob");
	rig_accept(&rig, rig.secure, &backend);
	rig_serve(&rig, &backend, NULL);
	rig_say(&rig, &backend, RIG_GREETING);
	rig_expect_only(&rig, &backend, "G1 AUTHENTICATE PLAIN AHJvYmVydABzZWNyZXQ=\r\n");
	rig_say(&rig, &backend, "G1 OK [CAPABILITY IMAP4rev1] in\r\n");
	rig_expect_only(&rig, &client, "a OK ");
	leave(&rig, &client, &backend);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_resumption),
		cmocka_unit_test(test_refused_login),
		cmocka_unit_test(test_backend_is_cut_off),
		cmocka_unit_test(test_wrong_certificate),
		cmocka_unit_test(test_injection_behind_starttls),
		cmocka_unit_test(test_plaintext_in_place_of_tls),
		cmocka_unit_test(test_starttls_refused),
		cmocka_unit_test(test_second_address_after_a_wrong_certificate),
		cmocka_unit_test(test_second_address_after_silence),
		cmocka_unit_test(test_silence_in_place_of_tls),
		cmocka_unit_test(test_login_timeout_in_place_of_tls),
		cmocka_unit_test(test_proxy_header_comes_first),
		cmocka_unit_test(test_backend_of_a_url),
	};

	return cmocka_run_group_tests_name("backend_tls", tests, NULL, NULL);
}
