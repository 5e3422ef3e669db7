/* SPDX-License-Identifier: Apache-2.0
 *
 * One backend asked once: by every way there is to reach it, and with every end that it can come
 * to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/sasl.h"
#include "net/tls_client.h"
#include "support/probe_world.h"
#include "support/tls_peer.h"
#include "support/turns.h"

static struct tls_files files;
static struct tls_client_trust *trust;

struct asked {
	struct probe probe;
	enum probe_depth depth;
	unsigned learnt;
	unsigned overs;
	bool failed;
	unsigned mechanisms;
	char atoms[CAPABILITY_ATOMS_SIZE];
	char why[300];
};

static void on_learnt(struct probe *probe, const struct capability_offer *offer)
{
	struct asked *asked = container_of(probe, struct asked, probe);

	assert_true(offer->known);
	asked->learnt++;
	asked->mechanisms = offer->mechanisms;
	snprintf(asked->atoms, sizeof(asked->atoms), "%s", offer->atoms);
}

static void on_over(struct probe *probe, const struct error *why)
{
	struct asked *asked = container_of(probe, struct asked, probe);

	assert_int_equal(probe->phase, PROBE_IDLE);
	asked->overs++;
	asked->failed = why != NULL;
	snprintf(asked->why, sizeof(asked->why), "%s", why != NULL ? why->text : "");
}

static const struct probe_events events = {.learnt = on_learnt, .over = on_over};

static void ask(struct probe_world *world, struct asked *asked, struct backend *backend)
{
	unsigned overs = asked->overs + 1;

	if (asked->probe.events == NULL) {
		probe_init(&asked->probe, &world->house, &events);
	}
	probe_begin(&asked->probe, backend, asked->depth);
	turns_until_count(world->loop, &asked->overs, overs);
	assert_int_equal(asked->overs, overs);
}

/* Asks, and lets everything go. */
static void ask_once(struct probe_world *world, struct asked *asked, struct backend *backend)
{
	ask(world, asked, backend);
	probe_done(&asked->probe);
	backend_unref(backend);
}

static void expect_learnt(const struct asked *asked, unsigned mechanisms, const char *atoms)
{
	assert_string_equal(asked->why, "");
	assert_int_equal(asked->learnt, 1);
	assert_int_equal(asked->mechanisms, mechanisms);
	assert_string_equal(asked->atoms, atoms);
}

static struct tls_client *client_of(bool verify, const char *ca)
{
	struct tls_client_settings settings = {.verify = verify, .ca = ca, .chain = "", .key = ""};
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct error error = {0};
	struct tls_client *client = tls_client_new(trust, &settings, &fault, &error);

	assert_string_equal(error.text, "");
	assert_non_null(client);
	return client;
}

static int group_begin(void **state)
{
	(void)state;
	tls_files_make(&files, 0);
	trust = tls_client_trust_new();
	assert_non_null(trust);
	return 0;
}

static int group_end(void **state)
{
	(void)state;
	tls_client_trust_free(trust);
	tls_files_remove(&files);
	return 0;
}

/* --- Ways to reach it ----------------------------------------------------------------------- */

static void test_greeting_tells(void **state)
{
	struct probe_world *world = *state;
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	ask_once(world, &asked, probe_world_backend(world, "m", "127.0.0.1", 0));
	expect_learnt(&asked, SASL_BIT(SASL_PLAIN), "IDLE");
	assert_string_equal(scripted_heard(&world->scripted), "LOGOUT\n");
	assert_int_equal(world->scripted.headers, 0);
}

static void test_asked_for(void **state)
{
	struct probe_world *world = *state;
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	world->scripted.greeting = "* OK hello\r\n";
	world->scripted.capabilities = "* CAPABILITY IMAP4rev1 MOVE AUTH=SCRAM-SHA-256\r\n";
	ask_once(world, &asked, probe_world_backend(world, "m", "127.0.0.1", 0));
	expect_learnt(&asked, SASL_BIT(SASL_SCRAM_SHA_256), "MOVE");
	assert_string_equal(scripted_heard(&world->scripted), "CAPABILITY\nLOGOUT\n");
}

static void test_proxy_header(void **state)
{
	struct probe_world *world = *state;
	struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	backend->send_proxy = true;
	world->scripted.expects_header = true;
	ask_once(world, &asked, backend);
	expect_learnt(&asked, SASL_BIT(SASL_PLAIN), "IDLE");
	assert_int_equal(world->scripted.headers, 1);
}

static void test_implicit_tls(void **state)
{
	struct probe_world *world = *state;

	probe_world_serve_tls(world, files.chain, files.key);
	world->scripted.implicit = true;
	for (int i = 0; i < 2; i++) {
		struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
		struct tls_client *client = client_of(false, "");
		struct asked asked = {.depth = PROBE_CAPABILITIES};

		backend->tls = CONFIG_TLS_IMPLICIT;
		backend->tls_client = client;
		backend->send_proxy = i == 1;
		world->scripted.expects_header = i == 1;
		ask_once(world, &asked, backend);
		expect_learnt(&asked, SASL_BIT(SASL_PLAIN), "IDLE");
		tls_client_free(client);
	}
	assert_int_equal(world->scripted.headers, 1);
	assert_int_equal(world->scripted.logouts, 2);
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FULL), 2);
}

/* What was said in the clear is nobody's word. */
static void test_starttls(void **state)
{
	struct probe_world *world = *state;
	struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
	struct tls_client *client = client_of(false, "");
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	probe_world_serve_tls(world, files.chain, files.key);
	world->scripted.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=LOGIN] hello\r\n";
	world->scripted.starttls = "OK begin";
	world->scripted.secured = "* CAPABILITY IMAP4rev1 IDLE AUTH=XOAUTH2\r\n";
	backend->tls = CONFIG_TLS_STARTTLS;
	backend->tls_client = client;
	ask_once(world, &asked, backend);
	expect_learnt(&asked, SASL_BIT(SASL_XOAUTH2), "IDLE");
	assert_string_equal(scripted_heard(&world->scripted), "STARTTLS\nCAPABILITY\nLOGOUT\n");
	tls_client_free(client);
}

/* One session serves the probes of a backend, and the logins there. */
static void test_resumption(void **state)
{
	struct probe_world *world = *state;
	struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
	struct tls_client *client = client_of(false, "");
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	probe_world_serve_tls(world, files.chain, files.key);
	world->scripted.implicit = true;
	backend->tls = CONFIG_TLS_IMPLICIT;
	backend->tls_client = client;
	ask(world, &asked, backend);
	ask_once(world, &asked, backend);
	assert_int_equal(asked.learnt, 2);
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FULL), 1);
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_RESUMED), 1);
	tls_client_free(client);
}

/* A handshake that failed over a session is made once more without it. */
static void test_session_refused(void **state)
{
	struct probe_world *world = *state;
	struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
	struct tls_client *client = client_of(false, "");
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	probe_world_serve_tls(world, files.chain, files.key);
	world->scripted.implicit = true;
	backend->tls = CONFIG_TLS_IMPLICIT;
	backend->tls_client = client;
	ask(world, &asked, backend);
	world->scripted.drops = true;
	ask_once(world, &asked, backend);
	assert_true(asked.failed);
	assert_int_equal(world->scripted.accepted, 1 + 2);
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FAILED), 2);
	tls_client_free(client);
}

/* The address where nobody listens may be tried first. */
static void test_name(void **state)
{
	struct fake_name name = {
		.name = "mail1.example", .v4 = {"127.0.0.2", "127.0.0.1", "127.0.0.3"}, .ttl = 60};
	struct probe_world *world = *state;
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	world->dns.names = &name;
	world->dns.name_count = 1;
	ask_once(world, &asked, probe_world_backend(world, "m", "mail1.example", 0));
	expect_learnt(&asked, SASL_BIT(SASL_PLAIN), "IDLE");
	assert_int_equal(world->scripted.accepted, 1);
}

/* The end of the connection is waited for, but not for ever. */
static void test_backend_stays(void **state)
{
	struct probe_world *world = *state;
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	world->scripted.stays = true;
	ask_once(world, &asked, probe_world_backend(world, "m", "127.0.0.1", 0));
	expect_learnt(&asked, SASL_BIT(SASL_PLAIN), "IDLE");
	assert_int_equal(world->scripted.logouts, 1);
}

/* --- How far it goes ------------------------------------------------------------------------ */

#define SAY_LOGIN "LOGIN \"check\" \"pw\"\n"

static void set_credentials(struct probe_world *world, struct credentials *credentials)
{
	struct credentials_claim claim = {
		.user = "check",
		.user_length = 5,
		.secret = "pw",
		.secret_length = 2,
	};

	assert_int_equal(credentials_set(credentials, &claim), CREDENTIALS_FINE);
	world->house.credentials = credentials;
}

/* A greeting with the list tells even who does not ask for it. */
static void test_depths(void **state)
{
	static const struct {
		enum probe_depth depth;
		enum config_tls tls;
		const char *greeting;
		const char *heard;
		unsigned learnt;
		unsigned handshakes;
	} rows[] = {
		{PROBE_CONNECT, CONFIG_TLS_NONE, SCRIPTED_GREETING, "", 0, 0},
		{PROBE_CONNECT, CONFIG_TLS_NONE, NULL, "", 0, 0},
		{PROBE_CONNECT, CONFIG_TLS_STARTTLS, SCRIPTED_GREETING, "", 0, 0},
		{PROBE_CONNECT, CONFIG_TLS_IMPLICIT, SCRIPTED_GREETING, "", 0, 1},
		{PROBE_GREETING, CONFIG_TLS_NONE, SCRIPTED_GREETING, "LOGOUT\n", 1, 0},
		{PROBE_GREETING, CONFIG_TLS_NONE, "* OK hi\r\n", "LOGOUT\n", 0, 0},
		{PROBE_GREETING, CONFIG_TLS_STARTTLS, "* OK hi\r\n", "STARTTLS\nLOGOUT\n", 0, 1},
		{PROBE_GREETING, CONFIG_TLS_IMPLICIT, "* OK hi\r\n", "LOGOUT\n", 0, 1},
		{PROBE_LOGIN, CONFIG_TLS_NONE, "* OK [CAPABILITY IMAP4rev1] hi\r\n",
		 SAY_LOGIN "LOGOUT\n", 1, 0},
		{PROBE_LOGIN, CONFIG_TLS_NONE, "* OK hi\r\n", "CAPABILITY\n" SAY_LOGIN "LOGOUT\n",
		 1, 0},
		{PROBE_LOGIN, CONFIG_TLS_STARTTLS, "* OK hi\r\n",
		 "STARTTLS\nCAPABILITY\n" SAY_LOGIN "LOGOUT\n", 1, 1},
		{PROBE_LOGIN, CONFIG_TLS_IMPLICIT, "* OK hi\r\n",
		 "CAPABILITY\n" SAY_LOGIN "LOGOUT\n", 1, 1},
	};
	struct probe_world *world = *state;
	struct scripted_backend *scripted = &world->scripted;
	struct tls_client *client = client_of(false, "");
	struct credentials credentials = {0};

	set_credentials(world, &credentials);
	probe_world_serve_tls(world, files.chain, files.key);
	scripted->starttls = "OK begin";
	scripted->capabilities = "* CAPABILITY IMAP4rev1 IDLE\r\n";
	scripted->login = "OK in";
	for (size_t i = 0; i < 2 * array_length(rows); i++) {
		struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
		struct asked asked = {.depth = rows[i / 2].depth};
		uint64_t handshakes = probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FULL);
		unsigned headers = scripted->headers;

		backend->tls = rows[i / 2].tls;
		backend->tls_client = client;
		backend->send_proxy = i % 2 == 1;
		scripted->expects_header = i % 2 == 1;
		scripted->implicit = rows[i / 2].tls == CONFIG_TLS_IMPLICIT;
		scripted->greeting = rows[i / 2].greeting;
		buffer_truncate(&scripted->heard, 0);
		ask_once(world, &asked, backend);
		assert_string_equal(asked.why, "");
		assert_string_equal(scripted_heard(scripted), rows[i / 2].heard);
		assert_int_equal(asked.learnt, rows[i / 2].learnt);
		assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FULL),
				 handshakes + rows[i / 2].handshakes);
		assert_int_equal(scripted->headers, headers + i % 2);
	}
	credentials_done(&credentials);
	tls_client_free(client);
}

/* What goes wrong further down than it was asked for does not matter. */
static void test_depth_of_failures(void **state)
{
	static const struct {
		enum config_tls tls;
		const char *greeting;
		const char *starttls;
		const char *login;
		enum probe_depth fine; /* the last that passes */
		const char *why;       /* of the next */
	} rows[] = {
		{CONFIG_TLS_NONE, "* BYE full\r\n", NULL, NULL, PROBE_CONNECT, "BYE: full"},
		{CONFIG_TLS_NONE, NULL, NULL, NULL, PROBE_CONNECT, "no greeting in time"},
		{CONFIG_TLS_STARTTLS, "* OK hi\r\n", "NO way", NULL, PROBE_CONNECT,
		 "STARTTLS: way"},
		{CONFIG_TLS_STARTTLS, "* OK hi\r\n", NULL, NULL, PROBE_CONNECT,
		 "no answer to STARTTLS in time"},
		{CONFIG_TLS_NONE, SCRIPTED_GREETING, NULL, "NO [UNAVAILABLE] no disk",
		 PROBE_CAPABILITIES, "refused the login: [UNAVAILABLE] no disk"},
		{CONFIG_TLS_NONE, SCRIPTED_GREETING, NULL, "NO who?", PROBE_CAPABILITIES,
		 "refused the login: who?"},
		{CONFIG_TLS_NONE, SCRIPTED_GREETING, NULL, NULL, PROBE_CAPABILITIES,
		 "no login in time"},
	};
	struct probe_world *world = *state;
	struct tls_client *client = client_of(false, "");
	struct credentials credentials = {0};

	set_credentials(world, &credentials);
	for (size_t i = 0; i < 2 * array_length(rows); i++) {
		struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
		struct asked asked = {.depth = rows[i / 2].fine + i % 2};

		backend->tls = rows[i / 2].tls;
		backend->tls_client = client;
		backend->login = CONFIG_LOGIN_LOGIN;
		world->scripted.greeting = rows[i / 2].greeting;
		world->scripted.starttls = rows[i / 2].starttls;
		world->scripted.login = rows[i / 2].login;
		world->house.patience_ms =
			strstr(rows[i / 2].why, "in time") != NULL ? PROBE_SHORT_MS : 0;
		ask_once(world, &asked, backend);
		assert_int_equal(asked.failed, i % 2 == 1);
		if (i % 2 == 1 && strstr(asked.why, rows[i / 2].why) == NULL) {
			fail_msg("\"%s\", not \"%s\"", asked.why, rows[i / 2].why);
		}
	}
	credentials_done(&credentials);
	tls_client_free(client);
}

/* --- Failures ------------------------------------------------------------------------------- */

static void test_bad_dialogues(void **state)
{
	static const struct {
		const char *greeting;
		const char *capabilities;
		enum config_tls tls;
		const char *starttls;
		const char *why;
	} rows[] = {
		{"* BYE full\r\n", NULL, CONFIG_TLS_NONE, NULL, "greeted with BYE"},
		{"SSH-2.0-x\r\n", NULL, CONFIG_TLS_NONE, NULL, "not IMAP's"},
		{"* OK hi\r\n", "* CAPABILITY POP3\r\n", CONFIG_TLS_NONE, NULL, "IMAP4rev1"},
		{SCRIPTED_GREETING, NULL, CONFIG_TLS_STARTTLS, NULL, "does not offer STARTTLS"},
		{"* OK hi\r\n", NULL, CONFIG_TLS_STARTTLS, "NO way", "refused STARTTLS"},
		{"* OK hi\r\n", NULL, CONFIG_TLS_STARTTLS, "OK go\r\n* OK more", "in the clear"},
	};
	struct probe_world *world = *state;
	struct tls_client *client = client_of(false, "");

	for (size_t i = 0; i < array_length(rows); i++) {
		struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
		struct asked asked = {.depth = PROBE_CAPABILITIES};

		backend->tls = rows[i].tls;
		backend->tls_client = client;
		world->scripted.greeting = rows[i].greeting;
		world->scripted.capabilities = rows[i].capabilities;
		world->scripted.starttls = rows[i].starttls;
		ask_once(world, &asked, backend);
		assert_true(asked.failed);
		assert_int_equal(asked.learnt, 0);
		if (strstr(asked.why, rows[i].why) == NULL) {
			fail_msg("\"%s\", not \"%s\"", asked.why, rows[i].why);
		}
	}
	tls_client_free(client);
}

static void test_unreachable(void **state)
{
	struct fake_name names[] = {
		{.name = "nowhere.example", .code = 3},
		{.name = "closed.example", .v4 = {"127.0.0.2", "127.0.0.3"}, .ttl = 60},
	};
	static const struct {
		const char *host;
		const char *why;
	} rows[] = {
		{"nowhere.example", "not found"},
		{"closed.example", "cannot connect: "},
		{"127.0.0.1", "cannot connect: "},
		{"unix:/nonexistent/socket", "cannot connect: "},
	};
	struct probe_world *world = *state;
	uint16_t port = probe_world_free_port();

	world->dns.names = names;
	world->dns.name_count = array_length(names);
	for (size_t i = 0; i < array_length(rows); i++) {
		struct asked asked = {.depth = PROBE_CAPABILITIES};

		ask_once(world, &asked, probe_world_backend(world, "m", rows[i].host, port));
		assert_true(asked.failed);
		if (strstr(asked.why, rows[i].why) == NULL) {
			fail_msg("\"%s\", not \"%s\"", asked.why, rows[i].why);
		}
	}
}

static void test_ends_early(void **state)
{
	struct probe_world *world = *state;
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	world->scripted.drops = true;
	ask_once(world, &asked, probe_world_backend(world, "m", "127.0.0.1", 0));
	assert_true(asked.failed);
	assert_string_not_equal(asked.why, "");
	assert_int_equal(asked.learnt, 0);
}

/* Nothing is said to a backend that cannot be verified. */
static void test_not_verified(void **state)
{
	struct probe_world *world = *state;
	struct tls_client *client = client_of(true, files.chain);
	struct tls_client *clients[] = {client, NULL};

	probe_world_serve_tls(world, files.chain, files.key);
	world->scripted.implicit = true;
	for (size_t i = 0; i < array_length(clients); i++) {
		struct backend *backend = probe_world_backend(world, "m", "127.0.0.1", 0);
		struct asked asked = {.depth = PROBE_CAPABILITIES};

		backend->tls = CONFIG_TLS_IMPLICIT;
		backend->tls_client = clients[i];
		free(backend->server_name);
		backend->server_name = strdup("other.example");
		ask_once(world, &asked, backend);
		assert_true(asked.failed);
		assert_int_equal(asked.learnt, 0);
	}
	assert_string_equal(scripted_heard(&world->scripted), "");
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
	tls_client_free(client);
}

static void test_silence(void **state)
{
	static const struct {
		const char *greeting;
		enum config_tls tls;
		const char *host;
		const char *why;
	} rows[] = {
		{NULL, CONFIG_TLS_NONE, "127.0.0.1", "no greeting in time"},
		{"* OK hi\r\n", CONFIG_TLS_NONE, "127.0.0.1", "no capabilities in time"},
		{NULL, CONFIG_TLS_IMPLICIT, "127.0.0.1", "no TLS in time"},
		{NULL, CONFIG_TLS_NONE, "silent.example", "cannot connect: no answer in time"},
	};
	struct fake_name name = {.name = "silent.example", .silent = true};
	struct probe_world *world = *state;
	struct tls_client *client = client_of(false, "");

	world->dns.names = &name;
	world->dns.name_count = 1;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct backend *backend = probe_world_backend(world, "m", rows[i].host, 0);
		struct asked asked = {.depth = PROBE_CAPABILITIES};

		world->scripted.greeting = rows[i].greeting;
		backend->tls = rows[i].tls;
		backend->tls_client = client;
		backend->connect_timeout_ms = PROBE_SHORT_MS / 2;
		backend->login_timeout_ms = PROBE_SHORT_MS / 2;
		ask_once(world, &asked, backend);
		assert_true(asked.failed);
		assert_string_equal(asked.why, rows[i].why);
	}
	assert_int_equal(probe_world_counted(world, METRIC_BACKEND_HANDSHAKES_FAILED), 1);
	tls_client_free(client);
}

/* --- Stopping ------------------------------------------------------------------------------- */

/* Wherever it is, nothing follows. */
static void test_stop(void **state)
{
	struct fake_name name = {.name = "mail1.example", .v4 = {"127.0.0.1"}, .ttl = 1};
	struct probe_world *world = *state;
	struct tls_client *client = client_of(false, "");

	probe_world_serve_tls(world, files.chain, files.key);
	world->dns.names = &name;
	world->dns.name_count = 1;
	world->scripted.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n";
	world->scripted.starttls = "OK begin";
	world->scripted.secured = "* CAPABILITY IMAP4rev1 IDLE AUTH=XOAUTH2\r\n";
	for (int turns = 0; turns < 40; turns++) {
		struct backend *backend = probe_world_backend(world, "m", "mail1.example", 0);
		struct asked asked = {.depth = PROBE_CAPABILITIES};
		unsigned learnt;

		backend->tls = CONFIG_TLS_STARTTLS;
		backend->tls_client = client;
		probe_init(&asked.probe, &world->house, &events);
		probe_begin(&asked.probe, backend, PROBE_CAPABILITIES);
		for (int i = 0; i < turns; i++) {
			ev_run(world->loop, EVRUN_NOWAIT);
		}
		learnt = asked.learnt;
		probe_stop(&asked.probe);
		probe_stop(&asked.probe);
		assert_int_equal(asked.probe.phase, PROBE_IDLE);
		turns_for(world->loop, 2);
		assert_int_equal(asked.learnt, learnt);
		assert_int_equal(asked.failed, false);
		probe_done(&asked.probe);
		backend_unref(backend);
	}
	tls_client_free(client);
}

/* The same probe serves one backend after the other. */
static void test_again(void **state)
{
	struct probe_world *world = *state;
	struct backend *good = probe_world_backend(world, "m", "127.0.0.1", 0);
	struct backend *bad = probe_world_backend(world, "n", "127.0.0.1", probe_world_free_port());
	struct asked asked = {.depth = PROBE_CAPABILITIES};

	for (unsigned i = 1; i <= 3; i++) {
		ask(world, &asked, bad);
		assert_true(asked.failed);
		ask(world, &asked, good);
		assert_false(asked.failed);
		assert_int_equal(asked.learnt, i);
	}
	probe_done(&asked.probe);
	backend_unref(good);
	backend_unref(bad);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, probe_world_begin, probe_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_greeting_tells),
		in_world(test_asked_for),
		in_world(test_proxy_header),
		in_world(test_implicit_tls),
		in_world(test_starttls),
		in_world(test_resumption),
		in_world(test_session_refused),
		in_world(test_name),
		in_world(test_backend_stays),
		in_world(test_depths),
		in_world(test_depth_of_failures),
		in_world(test_bad_dialogues),
		in_world(test_unreachable),
		in_world(test_ends_early),
		in_world(test_not_verified),
		in_world(test_silence),
		in_world(test_stop),
		in_world(test_again),
	};

	return cmocka_run_group_tests(tests, group_begin, group_end);
}
