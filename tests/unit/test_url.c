/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of URLs: what %XX stands for, and which hosts are hosts.
 */
#include "base/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_decode(void **state)
{
	static const struct {
		const char *text;
		const char *decoded;
		size_t length;
	} rows[] = {
		{"", "", 0},
		{"plain", "plain", 5},
		{"u1%40example", "u1@example", 10},
		{"%C3%bc", "\xC3\xBC", 2},
		{"%00%0a", "\0\n", 2},
		{"%25zz", "%zz", 3},
		{"%2525", "%25", 3},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char text[20];
		size_t length = 99;

		snprintf(text, sizeof(text), "%s", rows[i].text);
		assert_true(url_decode(text, &length));
		assert_int_equal(length, rows[i].length);
		assert_memory_equal(text, rows[i].decoded, length + 1);
	}
}

static void test_decode_half(void **state)
{
	static const char *const rows[] = {"%", "a%", "%4", "%4g", "%g4", "%%41", "x%C3%"};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char text[20];
		size_t length = 99;

		snprintf(text, sizeof(text), "%s", rows[i]);
		assert_false(url_decode(text, &length));
		assert_int_equal(length, 99);
	}
}

static void test_hosts(void **state)
{
	static const struct {
		const char *text;
		const char *endpoint;
		enum endpoint_kind kind;
	} rows[] = {
		{"mail1", "mail1:143", ENDPOINT_NAME},
		{"Mail1.Example.ORG:1143", "mail1.example.org:1143", ENDPOINT_NAME},
		{"mail1.example.", "mail1.example.:143", ENDPOINT_NAME},
		{"10.0.0.1", "10.0.0.1:143", ENDPOINT_IP},
		{"[FD00::7]:993", "[fd00::7]:993", ENDPOINT_IP},
		{"unix.example:7", "unix.example:7", ENDPOINT_NAME},
		{"4.example", "4.example:143", ENDPOINT_NAME},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char text[ENDPOINT_TEXT_MAX];
		struct endpoint endpoint = {0};
		struct error error = {0};

		assert_true(url_parse_host(&endpoint, rows[i].text, 143, &error));
		assert_int_equal(endpoint.kind, rows[i].kind);
		endpoint_format(&endpoint, text);
		assert_string_equal(text, rows[i].endpoint);
		endpoint_done(&endpoint);
	}
}

static void test_no_hosts(void **state)
{
	static const char *const rows[] = {
		"",    ":143", "unix:/run/x", "unix:143", "UNIX",    "10.0.0",  "10.0.0.256",
		"a.1", "a.1.", "mail1:",      "mail1:0",  "m:65536", "fd00::7", "[fd00::7",
		"a b", "a@b",  "a/b",         "a%41",     "[::1]x",
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct endpoint endpoint = {0};
		struct error error = {0};

		if (url_parse_host(&endpoint, rows[i], 143, &error)) {
			fail_msg("\"%s\" is a host", rows[i]);
		}
		assert_null(endpoint.name);
		assert_string_not_equal(error.text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_decode_half),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_no_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
