/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends: what they take from the configuration or a URL, and how long they live.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "routing/backend.h"

static struct endpoint endpoint(const char *text)
{
	struct endpoint parsed = {0};
	struct error error = {0};

	assert_true(endpoint_parse(&parsed, text, 143, &error));
	return parsed;
}

static void test_configured(void **state)
{
	char name[] = "mail1";
	struct config_backend config = {
		.name = name,
		.address = endpoint("mail1.example:10143"),
		.send_id = true,
		.ask_capability = true,
		.connect_timeout_ms = 11,
		.login_timeout_ms = 22,
	};
	struct endpoint same = endpoint("mail1.example:10143");
	struct backend *backend = backend_new(&config);

	(void)state;
	assert_non_null(backend);
	endpoint_done(&config.address); /* nothing is borrowed */
	memset(name, 'x', strlen(name));
	assert_string_equal(backend->name, "mail1");
	assert_true(endpoint_equal(&backend->address, &same));
	assert_true(backend->send_id);
	assert_true(backend->ask_capability);
	assert_int_equal(backend->connect_timeout_ms, 11);
	assert_int_equal(backend->login_timeout_ms, 22);
	backend_unref(backend);
	endpoint_done(&same);
}

static void test_flags_off(void **state)
{
	char name[] = "m";
	struct config_backend config = {.name = name, .address = endpoint("10.0.0.1")};
	struct backend *backend = backend_new(&config);

	(void)state;
	assert_non_null(backend);
	assert_false(backend->send_id);
	assert_false(backend->ask_capability);
	backend_unref(backend);
	endpoint_done(&config.address);
}

static void test_ad_hoc(void **state)
{
	static const struct {
		const char *address;
		const char *name;
	} rows[] = {
		{"[2001:db8::1]:144", "[2001:db8::1]:144"},
		{"10.0.0.1", "10.0.0.1:143"},
		{"mail1.example", "mail1.example:143"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct endpoint address = endpoint(rows[i].address);
		struct backend *backend = backend_new_at(&address);

		assert_non_null(backend);
		assert_true(endpoint_equal(&backend->address, &address));
		endpoint_done(&address);
		assert_string_equal(backend->name, rows[i].name);
		assert_false(backend->send_id);
		assert_true(backend->ask_capability);
		assert_int_equal(backend->connect_timeout_ms, BACKEND_CONNECT_TIMEOUT_MS);
		assert_int_equal(backend->login_timeout_ms, BACKEND_LOGIN_TIMEOUT_MS);
		backend_unref(backend);
	}
}

static void test_longest_name(void **state)
{
	char host[260];
	struct endpoint address;
	struct backend *backend;

	(void)state;
	memset(host, 'h', 253);
	strcpy(host + 253, ":65535");
	address = endpoint(host);
	backend = backend_new_at(&address);
	assert_non_null(backend);
	assert_string_equal(backend->name, host);
	backend_unref(backend);
	endpoint_done(&address);
}

/* The leak checker, or a use after free, says if the count is wrong. */
static void test_references(void **state)
{
	struct endpoint address = endpoint("10.0.0.1");
	struct backend *backend = backend_new_at(&address);

	(void)state;
	assert_non_null(backend);
	assert_int_equal(backend->references, 1);
	assert_ptr_equal(backend_ref(backend), backend);
	assert_int_equal(backend->references, 2);
	backend_unref(backend);
	assert_string_equal(backend->name, "10.0.0.1:143");
	backend_unref(backend);
	backend_unref(NULL);
	endpoint_done(&address);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configured),
		cmocka_unit_test(test_flags_off),
		cmocka_unit_test(test_ad_hoc),
		cmocka_unit_test(test_longest_name),
		cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
