/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses and endpoints: what is read is what is written, and nothing else is read.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_and_format(void **state)
{
	static const struct {
		const char *ip;
		uint16_t port;
		const char *text;
	} cases[] = {
		{"127.0.0.1", 143, "127.0.0.1:143"},
		{"255.255.255.255", 65535, "255.255.255.255:65535"},
		{"::1", 993, "[::1]:993"},
		{"2001:DB8::a", 0, "[2001:db8::a]:0"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
		 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct addr addr;
		char text[ADDR_TEXT_MAX];

		assert_true(addr_parse(&addr, cases[i].ip, cases[i].port));
		assert_int_equal(addr_port(&addr), cases[i].port);
		addr_format(&addr, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_parse_refuses(void **state)
{
	static const char *const wrong[] = {
		"",         "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ",
		" 1.2.3.4", "[::1]",     "::g",   "1:2",       "::1%lo",    "0x7f.1.1.1",
	};
	struct addr addr;

	(void)state;
	assert_true(addr_parse(&addr, "10.0.0.1", 1));
	for (size_t i = 0; i < array_length(wrong); i++) {
		assert_false(addr_parse(&addr, wrong[i], 2));
	}
	assert_int_equal(addr_port(&addr), 1);
}

static void test_equal(void **state)
{
	struct addr v4, v4_port, v4_other, v6, v6_other;
	struct addr none = {0};

	(void)state;
	assert_true(addr_parse(&v4, "10.0.0.1", 1));
	assert_true(addr_parse(&v4_port, "10.0.0.1", 2));
	assert_true(addr_parse(&v4_other, "10.0.0.2", 1));
	assert_true(addr_parse(&v6, "::1", 1));
	assert_true(addr_parse(&v6_other, "::2", 1));
	assert_true(addr_equal(&v4, &v4));
	assert_true(addr_equal(&v6, &v6));
	assert_true(addr_equal(&none, &none));
	assert_false(addr_equal(&v4, &v4_port));
	assert_false(addr_equal(&v4, &v4_other));
	assert_false(addr_equal(&v6, &v6_other));
	assert_false(addr_equal(&v4, &v6));
	assert_false(addr_equal(&v4, &none));
	v6_other = v6;
	v6_other.v6.sin6_scope_id = 3;
	assert_false(addr_equal(&v6, &v6_other));
}

static void test_same_host(void **state)
{
	struct addr v4, v4_port, v4_other, v6, v6_scope, v6_other;
	struct addr none = {0};
	struct addr path = {.family = AF_UNIX};

	(void)state;
	assert_true(addr_parse(&v4, "10.0.0.1", 1));
	assert_true(addr_parse(&v4_port, "10.0.0.1", 2));
	assert_true(addr_parse(&v4_other, "10.0.0.2", 1));
	assert_true(addr_parse(&v6, "fe80::1", 1));
	assert_true(addr_parse(&v6_other, "fe80::2", 1));
	v6_scope = v6;
	v6_scope.v6.sin6_scope_id = 3;
	assert_true(addr_same_host(&v4, &v4_port));
	assert_true(addr_same_host(&v6, &v6_scope));
	assert_false(addr_same_host(&v4, &v4_other));
	assert_false(addr_same_host(&v6, &v6_other));
	assert_false(addr_same_host(&v4, &v6));
	assert_false(addr_same_host(&none, &none));
	assert_false(addr_same_host(&path, &path));
}

static void test_wildcard_and_loopback(void **state)
{
	static const struct {
		const char *text;
		bool wildcard;
		bool loopback;
	} cases[] = {
		{"0.0.0.0", true, false},      {"::", true, false},
		{"127.0.0.1", false, true},    {"127.255.255.255", false, true},
		{"::1", false, true},          {"126.255.255.255", false, false},
		{"128.0.0.0", false, false},   {"1.0.0.127", false, false},
		{"10.0.0.1", false, false},    {"::2", false, false},
		{"2001:db8::1", false, false}, {"::127.0.0.1", false, false},
	};
	struct addr none = {0};
	struct addr path = {.family = AF_UNIX};

	(void)state;
	assert_false(addr_is_wildcard(&none) || addr_is_loopback(&none));
	assert_false(addr_is_wildcard(&path) || addr_is_loopback(&path));
	for (size_t i = 0; i < array_length(cases); i++) {
		struct addr addr;

		assert_true(addr_parse(&addr, cases[i].text, 143));
		assert_int_equal(addr_is_wildcard(&addr), cases[i].wildcard);
		assert_int_equal(addr_is_loopback(&addr), cases[i].loopback);
	}
}

static void test_from_sockaddr(void **state)
{
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(143)};
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/run/x"};
	struct addr addr, wanted;
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &mapped.sin6_addr), 1);
	addr_from_sockaddr(&addr, (const struct sockaddr *)&mapped);
	assert_true(addr_parse(&wanted, "192.0.2.7", 143));
	assert_true(addr_equal(&addr, &wanted));
	assert_int_equal(addr_length(&addr), sizeof(struct sockaddr_in));

	assert_true(addr_parse(&wanted, "2001:db8::7", 143));
	addr_from_sockaddr(&addr, (const struct sockaddr *)&wanted.v6);
	assert_true(addr_equal(&addr, &wanted));
	assert_int_equal(addr_length(&addr), sizeof(struct sockaddr_in6));

	addr_from_sockaddr(&addr, (const struct sockaddr *)&path);
	addr_format(&addr, text);
	assert_string_equal(text, "unix");
	assert_int_equal(addr_port(&addr), 0);
}

static void test_endpoint_parse(void **state)
{
	static const struct {
		const char *text;
		uint16_t default_port;
		enum endpoint_kind kind;
		uint16_t port;
		const char *formatted;
	} cases[] = {
		{"mail1.example:143", 0, ENDPOINT_NAME, 143, "mail1.example:143"},
		{"mail1", 993, ENDPOINT_NAME, 993, "mail1:993"},
		{"my_host-1:1", 0, ENDPOINT_NAME, 1, "my_host-1:1"},
		{"10.0.0.1:65535", 0, ENDPOINT_IP, 65535, "10.0.0.1:65535"},
		{"10.0.0.1", 143, ENDPOINT_IP, 143, "10.0.0.1:143"},
		{"[::1]:993", 0, ENDPOINT_IP, 993, "[::1]:993"},
		{"[::]", 993, ENDPOINT_IP, 993, "[::]:993"},
		{"unix:/run/redis.sock", 0, ENDPOINT_UNIX, 0, "unix:/run/redis.sock"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct endpoint endpoint = {0};
		struct endpoint copy = {0};
		struct error error = {0};
		char text[ENDPOINT_TEXT_MAX];

		if (!endpoint_parse(&endpoint, cases[i].text, cases[i].default_port, &error)) {
			fail_msg("%s: %s", cases[i].text, error.text);
		}
		assert_int_equal(endpoint.kind, cases[i].kind);
		assert_int_equal(endpoint.port, cases[i].port);
		endpoint_format(&endpoint, text);
		assert_string_equal(text, cases[i].formatted);
		assert_true(endpoint_copy(&copy, &endpoint));
		assert_true(endpoint_equal(&copy, &endpoint));
		assert_ptr_not_equal(copy.name, endpoint.name);
		endpoint_done(&copy);
		endpoint_done(&endpoint);
		endpoint_done(&endpoint);
	}
}

static void test_endpoint_refuses(void **state)
{
	static const char *const wrong[] = {
		"",           ":143",         "mail1",           "mail1:",
		"mail1:0",    "mail1:65536",  "mail1:99999",     "mail1:123456",
		"mail1:-1",   "mail1:14x",    "mail1: 143",      "mail1:143 ",
		"mail 1:143", "mail1:143:2",  "-mail:143",       ".mail:143",
		"ma/il:143",  "ma\r\nil:143", "m\xc3\xa4il:143", "::1:143",
		"[::1",       "[::1]x",       "[]:143",          "[mail1]:143",
		"[::g]:143",  "unix:",        "unix:run/x",      "unix:redis.sock",
	};
	struct endpoint endpoint = {0};

	(void)state;
	for (size_t i = 0; i < array_length(wrong); i++) {
		struct error error = {0};

		if (endpoint_parse(&endpoint, wrong[i], 0, &error)) {
			fail_msg("\"%s\" was read", wrong[i]);
		}
		assert_int_equal(endpoint.kind, ENDPOINT_NONE);
		assert_null(endpoint.name);
		assert_true(error.text[0] != '\0');
	}
}

static void test_endpoint_limits(void **state)
{
	struct sockaddr_un limit;
	struct endpoint endpoint = {0};
	char text[300];

	(void)state;
	memset(text, 'a', sizeof(text));
	snprintf(text + 253, sizeof(text) - 253, ":143");
	assert_true(endpoint_parse(&endpoint, text, 0, NULL));
	endpoint_done(&endpoint);
	memset(text, 'a', sizeof(text));
	snprintf(text + 254, sizeof(text) - 254, ":143");
	assert_false(endpoint_parse(&endpoint, text, 0, NULL));

	memset(text, 'p', sizeof(text));
	memcpy(text, "unix:/", 6);
	text[5 + sizeof(limit.sun_path) - 1] = '\0';
	assert_true(endpoint_parse(&endpoint, text, 0, NULL));
	endpoint_done(&endpoint);
	text[5 + sizeof(limit.sun_path) - 1] = 'p';
	text[5 + sizeof(limit.sun_path)] = '\0';
	assert_false(endpoint_parse(&endpoint, text, 0, NULL));
}

static void test_endpoint_equal(void **state)
{
	static const char *const different[] = {
		"mail1:143",    "mail2:143", "mail1:144", "10.0.0.1:143",
		"10.0.0.2:143", "[::1]:143", "unix:/a",   "unix:/b",
	};

	(void)state;
	for (size_t i = 0; i < array_length(different); i++) {
		for (size_t j = 0; j < array_length(different); j++) {
			struct endpoint left = {0};
			struct endpoint right = {0};

			assert_true(endpoint_parse(&left, different[i], 0, NULL));
			assert_true(endpoint_parse(&right, different[j], 0, NULL));
			assert_int_equal(endpoint_equal(&left, &right), i == j);
			endpoint_done(&left);
			endpoint_done(&right);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_same_host),
		cmocka_unit_test(test_wildcard_and_loopback),
		cmocka_unit_test(test_from_sockaddr),
		cmocka_unit_test(test_endpoint_parse),
		cmocka_unit_test(test_endpoint_refuses),
		cmocka_unit_test(test_endpoint_limits),
		cmocka_unit_test(test_endpoint_equal),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
