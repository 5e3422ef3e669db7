/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions about peer text: folding, control characters, UTF-8, what may be shown.
 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/buffer.h"

static void test_equal_nocase(void **state)
{
	(void)state;
	assert_true(text_equal_nocase("LOGIN", 5, "login"));
	assert_true(text_equal_nocase("lOgIn", 5, "LoGiN"));
	assert_true(text_equal_nocase("", 0, ""));
	assert_false(text_equal_nocase("LOGIN", 5, "LOGINX"));
	assert_false(text_equal_nocase("LOGINX", 6, "LOGIN"));
	assert_false(text_equal_nocase("LOGIN\0", 6, "LOGIN"));
	assert_false(text_equal_nocase("@", 1, "`"));
	assert_false(text_equal_nocase("[", 1, "{"));
	assert_false(text_equal_nocase("\xc9", 1, "\xe9"));
}

static void test_starts_nocase(void **state)
{
	(void)state;
	assert_true(text_starts_nocase("auth=plain", 10, "AUTH="));
	assert_true(text_starts_nocase("AUTH=", 5, "AUTH="));
	assert_true(text_starts_nocase("x", 1, ""));
	assert_false(text_starts_nocase("AUTH", 4, "AUTH="));
	assert_false(text_starts_nocase("", 0, "A"));
}

static void test_lower(void **state)
{
	char text[] = "AZaz@[`{09\xc9";

	(void)state;
	text_lower(text);
	assert_string_equal(text, "azaz@[`{09\xc9");
}

static void test_has_control(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char text[3] = {'a', (char)byte, 'b'};

		assert_int_equal(text_has_control(text, 3), byte < 0x20 || byte == 0x7F);
		assert_int_equal(text_has_control(text + 1, 1), byte < 0x20 || byte == 0x7F);
	}
	assert_false(text_has_control("", 0));
}

static void test_utf8(void **state)
{
	static const char *const right[] = {
		"",
		"a",
		"\x7f",
		"\xc2\x80",
		"\xdf\xbf",
		"\xe0\xa0\x80",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xef\xbf\xbf",
		"\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"x\xc3\xa9y\xe2\x82\xacz\xf0\x9f\x93\xac!",
	};
	static const char *const wrong[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xc2",
		"\xc2\x41",
		"\xc2\xc2",
		"\xe0\x9f\xbf",
		"\xe0\xa0",
		"\xe0\xa0\x41",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf0\x90\x80",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xfe",
		"\xff",
		"a\xc3",
		"\xc3\xa9\xa9",
	};

	(void)state;
	for (size_t i = 0; i < array_length(right); i++) {
		assert_true(text_is_utf8(right[i], strlen(right[i])));
	}
	for (size_t i = 0; i < array_length(wrong); i++) {
		assert_false(text_is_utf8(wrong[i], strlen(wrong[i])));
	}
	assert_true(text_is_utf8("a\0b", 3));
}

/* Every code point in the form that RFC 3629 gives it, and nothing else of that length. */
static void test_utf8_every_code_point(void **state)
{
	(void)state;
	for (uint32_t point = 0x800; point < 0x10000; point++) {
		char text[3] = {
			(char)(0xE0 | point >> 12),
			(char)(0x80 | (point >> 6 & 0x3F)),
			(char)(0x80 | (point & 0x3F)),
		};
		bool surrogate = point >= 0xD800 && point <= 0xDFFF;

		assert_int_equal(text_is_utf8(text, 3), !surrogate);
		assert_false(text_is_utf8(text, 2));
	}
}

static void test_printable(void **state)
{
	struct buffer out = {0};

	(void)state;
	text_append_printable(&out, "a\r\n\x1b[\xc3\xa9~ \x7f!", 11, 100);
	buffer_append_byte(&out, '\0');
	assert_string_equal((const char *)buffer_bytes(&out), "a???[??~ ?!");
	buffer_truncate(&out, 0);
	text_append_printable(&out, "abcdef", 6, 4);
	assert_int_equal(out.length, 4);
	buffer_done(&out);
}

static void test_distance(void **state)
{
	char longest[64] = {0};
	char longer[65] = {0};

	(void)state;
	memset(longest, 'a', 63);
	memset(longer, 'a', 64);
	assert_int_equal(text_distance("", ""), 0);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("abc", ""), 3);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("workers", "wokers"), 1);
	assert_int_equal(text_distance("level", "level"), 0);
	assert_int_equal(text_distance(longest, longest), 0);
	assert_int_equal(text_distance(longest, ""), 63);
	assert_int_equal(text_distance(longer, longer), 64);
	assert_int_equal(text_distance("a", longer), 64);
}

static void test_next_word(void **state)
{
	static const struct {
		const char *list;
		const char *words;
	} cases[] = {
		{"", ""},
		{"  ", ""},
		{"a", "<a>"},
		{"ab c", "<ab><c>"},
		{" a  b ", "<a><b>"},
		{"a\tb\r\nc", "<a\tb\r\nc>"},
		{"] (", "<]><(>"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		const uint8_t *rest = (const uint8_t *)cases[i].list;
		size_t length = strlen(cases[i].list);
		const uint8_t *word;
		size_t size;
		char words[32] = "";
		size_t used = 0;

		while (text_next_word(&rest, &length, &word, &size)) {
			used += (size_t)snprintf(words + used, sizeof(words) - used, "<%.*s>",
						 (int)size, (const char *)word);
		}
		assert_string_equal(words, cases[i].words);
		assert_int_equal(length, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_nocase),
		cmocka_unit_test(test_next_word),
		cmocka_unit_test(test_starts_nocase),
		cmocka_unit_test(test_lower),
		cmocka_unit_test(test_has_control),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_utf8_every_code_point),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
