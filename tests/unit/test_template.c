/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: what is one, and what users become of it.
 */
#include "base/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

#define FOREIGN(text) "has \"" text "\", but only {user}, {local} and {domain} are filled in"
#define ANY           "{user}, {local}"
#define SAME          "is the same for everybody: write " ANY " or {domain} where the user belongs"
#define TWENTY        "xxxxxxxxxxxxxxxxxxxx"
#define SIXTY         TWENTY TWENTY TWENTY

static void test_check(void **state)
{
	static const struct {
		const char *template;
		const char *error; /* NULL where it is fine */
	} cases[] = {
		{"{user}", NULL},
		{"{local}", NULL},
		{"{domain}", NULL},
		{"x{local}-{domain}{user} y", NULL},
		{"", SAME},
		{"user", SAME},
		{"{usr}", FOREIGN("{usr}")},
		{"{User}", FOREIGN("{User}")},
		{"{user}{", FOREIGN("{")},
		{"{user}}", FOREIGN("}")},
		{"{user} {", FOREIGN("{")},
		{"{user", FOREIGN("{user")},
		{"{user x}", FOREIGN("{user")},
		{"{{user}}", FOREIGN("{{user}")},
		{"{}{user}", FOREIGN("{}")},
		{"{" SIXTY "xx}", FOREIGN("{" SIXTY "xx}")},
		{"{" SIXTY "xxx}", FOREIGN("{" SIXTY "xxx...")},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct error error = {0};
		bool fine = template_check(cases[i].template, &error);

		assert_int_equal(fine, cases[i].error == NULL);
		assert_string_equal(error.text, fine ? "" : cases[i].error);
	}
}

static void test_expand(void **state)
{
	static const struct {
		const char *template;
		const char *user;
		const char *text;
	} cases[] = {
		{"{user}", "alice", "alice"},
		{"{user}", "alice@b.example", "alice@b.example"},
		{"{local}", "alice@b.example", "alice"},
		{"{domain}", "alice@b.example", "b.example"},
		{"{local}", "alice", "alice"},
		{"{domain}", "alice", ""},
		{"{local}|{domain}", "a@b@c", "a@b|c"},
		{"{local}|{domain}", "@c", "|c"},
		{"{local}|{domain}", "a@", "a|"},
		{"{local}|{domain}", "", "|"},
		{"m_{domain}_{local}_{domain}", "a@b", "m_b_a_b"},
		{"{user}{user}", "\xc3\xa9", "\xc3\xa9\xc3\xa9"},
		/* What the user wrote is not expanded again. */
		{"{user}{local}", "{domain}@{user}", "{domain}@{user}{domain}"},
		{"{user}", "%s%n", "%s%n"},
		/* Other braces. */
		{"{route}:{user}", "u", "{route}:u"},
		{"{user", "u", "{user"},
		{"{{user}}", "u", "{u}"},
		{"", "u", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct buffer out = {0};

		buffer_append_text(&out, "=");
		template_expand(&out, cases[i].template, cases[i].user);
		buffer_append_byte(&out, '\0');
		assert_string_equal((const char *)buffer_bytes(&out) + 1, cases[i].text);
		buffer_done(&out);
	}
}

static void test_find(void **state)
{
	static const struct {
		const char *template;
		int offset; /* -1: none */
		size_t length;
	} cases[] = {
		{"", -1, 0},        {"user", -1, 0},         {"{user", -1, 0},
		{"user}", -1, 0},   {"{}", -1, 0},           {"{User}", -1, 0},
		{"{user}", 0, 6},   {"x{local}", 1, 7},      {"xy{domain}z{user}", 2, 8},
		{"{{user}}", 1, 6}, {"{tag}:{local}", 6, 7}, {"{user{domain}", 5, 8},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		size_t length = 0;
		const char *found = template_find(cases[i].template, &length);

		assert_int_equal(found != NULL ? found - cases[i].template : -1, cases[i].offset);
		assert_int_equal(length, cases[i].length);
	}
}

static void test_out_of_memory(void **state)
{
	struct buffer out = {.failed = true};

	(void)state;
	template_expand(&out, "x{user}", "u");
	assert_true(out.failed);
	assert_int_equal(out.length, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
