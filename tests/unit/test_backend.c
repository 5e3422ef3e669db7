/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends: what they take from the configuration or a URL, what they learn, and how long they
 * live.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "imap/sasl.h"
#include "routing/backend.h"
#include "routing/member.h"

/* Never looked into, only handed on. */
static char client_place;
#define TLS_CLIENT ((struct tls_client *)(void *)&client_place)

static struct endpoint endpoint(const char *text)
{
	struct endpoint parsed = {0};
	struct error error = {0};

	assert_true(endpoint_parse(&parsed, text, 143, &error));
	return parsed;
}

/* What the configuration has where nothing is written. */
static struct config_backend plain_config(const char *address)
{
	static char name[] = "m";
	static char user[] = "{user}";
	static char empty[] = "";

	return (struct config_backend){
		.name = name,
		.address = endpoint(address),
		.server_name = empty,
		.user = user,
		.master_user = empty,
	};
}

static void test_configured(void **state)
{
	char name[] = "mail1";
	char server_name[] = "imap.example";
	char user[] = "{local}";
	char master[] = "master";
	char password[] = "secret";
	struct config_backend config = {
		.name = name,
		.address = endpoint("mail1.example:10143"),
		.tls = CONFIG_TLS_STARTTLS,
		.server_name = server_name,
		.send_proxy = true,
		.send_id = true,
		.ask_capability = true,
		.login = CONFIG_LOGIN_PLAIN,
		.user = user,
		.master_user = master,
		.master_password = {(uint8_t *)password, strlen(password)},
		.connect_timeout_ms = 11,
		.login_timeout_ms = 22,
	};
	struct endpoint same = endpoint("mail1.example:10143");
	struct backend *backend = backend_new(&config, TLS_CLIENT);

	(void)state;
	assert_non_null(backend);
	endpoint_done(&config.address); /* nothing is borrowed */
	memset(name, 'x', strlen(name));
	memset(server_name, 'x', strlen(server_name));
	memset(user, 'x', strlen(user));
	memset(master, 'x', strlen(master));
	memset(password, 'x', strlen(password));
	assert_string_equal(backend->name, "mail1");
	assert_true(endpoint_equal(&backend->address, &same));
	assert_int_equal(backend->tls, CONFIG_TLS_STARTTLS);
	assert_ptr_equal(backend->tls_client, TLS_CLIENT);
	assert_string_equal(backend->server_name, "imap.example");
	assert_null(backend->tls_session.session);
	assert_true(backend->send_proxy);
	assert_true(backend->send_id);
	assert_true(backend->ask_capability);
	assert_int_equal(backend->login, CONFIG_LOGIN_PLAIN);
	assert_string_equal(backend->user, "{local}");
	assert_string_equal(backend->master_user, "master");
	assert_string_equal((const char *)backend->master_password.bytes, "secret");
	assert_int_equal(backend->master_password.length, 6);
	assert_int_equal(backend->connect_timeout_ms, 11);
	assert_int_equal(backend->login_timeout_ms, 22);
	assert_false(backend->offer.known);
	assert_null(backend->member);
	backend_unref(backend);
	endpoint_done(&same);
}

/* Where it is and what it is called is the member's; how it is spoken to, the configuration's. */
static void test_of_member(void **state)
{
	static const char *const server_names[] = {"", "imap.example"};
	struct endpoint address = endpoint("mail-0.svc.cluster.local:10143");
	struct config_health health = {0};
	struct config_moves moves = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(server_names) / sizeof(server_names[0]); i++) {
		struct config_backend config = plain_config("10.0.0.1");
		char server_name[20];
		struct backend *backend;
		struct member *member;

		snprintf(server_name, sizeof(server_name), "%s", server_names[i]);
		config.server_name = server_name;
		config.tls = CONFIG_TLS_IMPLICIT;
		config.send_id = true;
		config.login_timeout_ms = 22;
		member = member_new(&(struct member_settings){
			.name = "mail-0.svc.cluster.local",
			.address = &address,
			.backend = &config,
			.health = &health,
			.moves = &moves,
		});
		assert_non_null(member);
		backend = backend_new_of(&config, member, TLS_CLIENT);
		assert_non_null(backend);
		assert_ptr_equal(backend->member, member);
		member_unref(member); /* the backend has a reference of its own */
		assert_string_equal(backend->name, "mail-0.svc.cluster.local");
		assert_true(endpoint_equal(&backend->address, &address));
		assert_true(endpoint_equal(&backend->member->address, &address));
		assert_string_equal(backend->server_name,
				    i == 0 ? "mail-0.svc.cluster.local" : "imap.example");
		assert_int_equal(backend->tls, CONFIG_TLS_IMPLICIT);
		assert_ptr_equal(backend->tls_client, TLS_CLIENT);
		assert_true(backend->send_id);
		assert_int_equal(backend->login_timeout_ms, 22);
		backend_unref(backend);
		endpoint_done(&config.address);
	}
	endpoint_done(&address);
}

static void test_flags_off(void **state)
{
	struct config_backend config = plain_config("10.0.0.1");
	struct backend *backend = backend_new(&config, TLS_CLIENT);

	(void)state;
	assert_non_null(backend);
	assert_int_equal(backend->tls, CONFIG_TLS_NONE);
	assert_null(backend->tls_client); /* it has no TLS */
	assert_false(backend->send_proxy);
	assert_false(backend->send_id);
	assert_false(backend->ask_capability);
	assert_int_equal(backend->login, CONFIG_LOGIN_SAME);
	assert_string_equal(backend->master_user, "");
	assert_int_equal(backend->master_password.length, 0);
	backend_unref(backend);
	endpoint_done(&config.address);
}

/* Whom a certificate must name, by the address alone. */
static void test_server_name(void **state)
{
	static const struct {
		const char *address;
		const char *server_name;
	} rows[] = {
		{"mail1.example:993", "mail1.example"},
		{"mail-0.svc.cluster.local.:993", "mail-0.svc.cluster.local"},
		{"10.0.0.1:993", "10.0.0.1"},
		{"[2001:DB8:0::1]:993", "2001:db8::1"},
		{"unix:/run/imap", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_backend config = plain_config(rows[i].address);
		struct backend *backend = backend_new(&config, NULL);
		struct backend *other = backend_new_at(&config.address, CONFIG_TLS_NONE, NULL);

		assert_non_null(backend);
		assert_non_null(other);
		assert_string_equal(backend->server_name, rows[i].server_name);
		assert_string_equal(other->server_name, rows[i].server_name);
		backend_unref(backend);
		backend_unref(other);
		endpoint_done(&config.address);
	}
}

static void test_ad_hoc(void **state)
{
	static const struct {
		const char *address;
		enum config_tls tls;
		const char *name;
	} rows[] = {
		{"[2001:db8::1]:144", CONFIG_TLS_NONE, "imap://[2001:db8::1]:144"},
		{"10.0.0.1", CONFIG_TLS_STARTTLS, "imap://10.0.0.1:143"},
		{"mail1.example:993", CONFIG_TLS_IMPLICIT, "imaps://mail1.example:993"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct endpoint address = endpoint(rows[i].address);
		struct backend *backend = backend_new_at(&address, rows[i].tls, TLS_CLIENT);

		assert_non_null(backend);
		assert_true(endpoint_equal(&backend->address, &address));
		endpoint_done(&address);
		assert_string_equal(backend->name, rows[i].name);
		assert_int_equal(backend->tls, rows[i].tls);
		assert_int_equal(backend->tls_client != NULL, rows[i].tls != CONFIG_TLS_NONE);
		assert_false(backend->send_proxy);
		assert_false(backend->send_id);
		assert_true(backend->ask_capability);
		assert_int_equal(backend->login, CONFIG_LOGIN_SAME);
		assert_string_equal(backend->user, "{user}");
		assert_string_equal(backend->master_user, "");
		assert_int_equal(backend->master_password.length, 0);
		assert_int_equal(backend->connect_timeout_ms, BACKEND_CONNECT_TIMEOUT_MS);
		assert_int_equal(backend->login_timeout_ms, BACKEND_LOGIN_TIMEOUT_MS);
		backend_unref(backend);
	}
}

static void test_longest_name(void **state)
{
	char host[260];
	char name[300];
	struct endpoint address;
	struct backend *backend;

	(void)state;
	memset(host, 'h', 253);
	strcpy(host + 253, ":65535");
	snprintf(name, sizeof(name), "imaps://%s", host);
	address = endpoint(host);
	backend = backend_new_at(&address, CONFIG_TLS_IMPLICIT, NULL);
	assert_non_null(backend);
	assert_string_equal(backend->name, name);
	backend_unref(backend);
	endpoint_done(&address);
}

/* The leak checker, or a use after free, says if the count is wrong. */
static void test_references(void **state)
{
	struct endpoint address = endpoint("10.0.0.1");
	struct backend *backend = backend_new_at(&address, CONFIG_TLS_NONE, NULL);

	(void)state;
	assert_non_null(backend);
	assert_int_equal(backend->references, 1);
	assert_ptr_equal(backend_ref(backend), backend);
	assert_int_equal(backend->references, 2);
	backend_unref(backend);
	assert_string_equal(backend->name, "imap://10.0.0.1:143");
	backend_unref(backend);
	backend_unref(NULL);
	endpoint_done(&address);
}

static struct capability_offer offer(unsigned mechanisms, const char *atoms)
{
	struct capability_offer made = {.known = true, .mechanisms = mechanisms};

	snprintf(made.atoms, sizeof(made.atoms), "%s", atoms);
	return made;
}

static void test_learn(void **state)
{
	struct capability_offer first = offer(SASL_PASSWORDS | SASL_EXCHANGES, "IDLE");
	struct capability_offer atoms = offer(SASL_PASSWORDS | SASL_EXCHANGES, "IDLE MOVE");
	struct capability_offer mechanisms = offer(SASL_PASSWORDS, "IDLE MOVE");
	struct capability_offer unknown = {.mechanisms = SASL_ALL};
	struct config_backend config = plain_config("10.0.0.1");
	struct backend *backend = backend_new(&config, NULL);

	(void)state;
	assert_non_null(backend);
	assert_false(backend_learn(backend, &unknown));
	assert_false(backend->offer.known);
	assert_true(backend_learn(backend, &first));
	assert_int_equal(backend->offer.mechanisms, SASL_PASSWORDS | SASL_EXCHANGES);
	assert_string_equal(backend->offer.atoms, "IDLE");
	assert_false(backend_learn(backend, &first));
	assert_true(backend_learn(backend, &atoms));
	assert_string_equal(backend->offer.atoms, "IDLE MOVE");
	assert_true(backend_learn(backend, &mechanisms));
	assert_int_equal(backend->offer.mechanisms, SASL_PASSWORDS);
	assert_false(backend_learn(backend, &unknown));
	assert_true(backend->offer.known);
	backend_unref(backend);
	endpoint_done(&config.address);
}

/* Offering nothing is something to know. */
static void test_learn_nothing(void **state)
{
	struct capability_offer nothing = offer(0, "");
	struct config_backend config = plain_config("10.0.0.1");
	struct backend *backend = backend_new(&config, NULL);

	(void)state;
	assert_non_null(backend);
	assert_true(backend_learn(backend, &nothing));
	assert_true(backend->offer.known);
	assert_false(backend_learn(backend, &nothing));
	backend_unref(backend);
	endpoint_done(&config.address);
}

/* Clients sign the name that they typed: no exchange where users are called otherwise. */
static void test_learn_renamed(void **state)
{
	struct capability_offer all = offer(SASL_ALL, "IDLE");
	struct config_backend config = plain_config("10.0.0.1");
	char template[] = "{local}";
	struct backend *backend;

	(void)state;
	config.user = template;
	backend = backend_new(&config, NULL);
	assert_non_null(backend);
	assert_true(backend_learn(backend, &all));
	assert_int_equal(backend->offer.mechanisms, SASL_ALL & ~SASL_EXCHANGES);
	assert_string_equal(backend->offer.atoms, "IDLE");
	assert_false(backend_learn(backend, &all));
	backend_unref(backend);
	endpoint_done(&config.address);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configured),    cmocka_unit_test(test_of_member),
		cmocka_unit_test(test_flags_off),     cmocka_unit_test(test_server_name),
		cmocka_unit_test(test_ad_hoc),        cmocka_unit_test(test_longest_name),
		cmocka_unit_test(test_references),    cmocka_unit_test(test_learn),
		cmocka_unit_test(test_learn_nothing), cmocka_unit_test(test_learn_renamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
