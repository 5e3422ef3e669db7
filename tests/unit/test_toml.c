/* SPDX-License-Identifier: Apache-2.0
 *
 * TOML as a tree: kinds, places, and depth that is bounded before any recursion.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proxy/core/toml_internal.h"

static struct toml_node *parse(const char *text)
{
	struct toml_fault fault = {.text = ""};
	struct toml_node *root = toml_parse(text, strlen(text), &fault);

	if (root == NULL) {
		fail_msg("%s: %s", text, fault.text);
	}
	return root;
}

static const struct toml_node *child(const struct toml_node *table, const char *key)
{
	for (size_t i = 0; i < table->child_count; i++) {
		if (strcmp(table->children[i].key, key) == 0) {
			return &table->children[i];
		}
	}
	fail_msg("no %s", key);
	return NULL;
}

static void check_place(struct config_place place, unsigned line, unsigned column)
{
	assert_int_equal(place.line, line);
	assert_int_equal(place.column, column);
}

static void test_tree(void **state)
{
	struct toml_node *root = parse("[a]\n  x = \"t\\u0000u\"\n  \"y\xC3\xA9\" = -7\n"
				       "[[b]]\nt = true\nf = 1.5\nd = 2020-01-01\n[[b]]\n"
				       "e = [ {z = ''} ]\n");
	const struct toml_node *a = child(root, "a");
	const struct toml_node *b = child(root, "b");
	const struct toml_node *e;

	(void)state;
	assert_int_equal(root->kind, TOML_TABLE);
	check_place(a->key_place, 1, 2);
	check_place(a->place, 1, 1);
	check_place(child(a, "x")->key_place, 2, 3);
	check_place(child(a, "x")->place, 2, 7);
	assert_int_equal(child(a, "x")->kind, TOML_STRING);
	assert_int_equal(child(a, "x")->length, 3);
	assert_memory_equal(child(a, "x")->text, "t\0u", 4);
	assert_int_equal(child(a, "y\xC3\xA9")->kind, TOML_INTEGER);
	assert_true(child(a, "y\xC3\xA9")->integer == -7);
	check_place(child(a, "y\xC3\xA9")->place, 3, 10); /* in characters, not bytes */
	assert_int_equal(b->kind, TOML_ARRAY);
	assert_int_equal(b->child_count, 2);
	check_place(b->children[1].place, 8, 1);
	assert_null(b->children[1].key);
	assert_int_equal(child(&b->children[0], "t")->kind, TOML_BOOLEAN);
	assert_int_equal(child(&b->children[0], "t")->integer, 1);
	assert_int_equal(child(&b->children[0], "f")->kind, TOML_FLOAT);
	assert_int_equal(child(&b->children[0], "d")->kind, TOML_TIME);
	e = child(&b->children[1], "e");
	check_place(child(&e->children[0], "z")->place, 9, 12);
	assert_int_equal(child(&e->children[0], "z")->length, 0);
	toml_free(root);
	toml_free(NULL);
	toml_free(parse(""));
}

static void repeat(FILE *out, const char *text, int times)
{
	for (int i = 0; i < times; i++) {
		fputs(text, out);
	}
}

struct nesting {
	const char *before;
	const char *opening;
	const char *middle;
	const char *closing;
	const char *after;
};

static char *nest(const struct nesting *nesting, int count)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(nesting->before, out);
	repeat(out, nesting->opening, count);
	fputs(nesting->middle, out);
	repeat(out, nesting->closing, count);
	fputs(nesting->after, out);
	fclose(out);
	return text;
}

static const struct nesting nestings[] = {
	{"x = ", "[", "1", "]", "\n"},
	{"x = ", "{a=", "1", "}", "\n"},
	{"x = ", "[ # [[[[ ]\n", "'[[['", "]", "\n"},
	{"", "a.", "a = 1", "", "\n"},
	{"[", "a.", "a", "", "]\n"},
	{"[[", "\"a\".", "a", "", "]]\n"},
};

/* As deep as may be, and one deeper. */
static void test_depth(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(nestings) / sizeof(nestings[0]); i++) {
		char *allowed = nest(&nestings[i], TOML_DEPTH_MAX);
		char *past = nest(&nestings[i], TOML_DEPTH_MAX + 1);
		struct toml_fault fault;

		toml_free(parse(allowed));
		assert_null(toml_parse(past, strlen(past), &fault));
		assert_string_equal(fault.text, "nested too deeply");
		assert_true(fault.place.line > 0 && fault.place.column > 0);
		free(allowed);
		free(past);
	}
}

/* The place is that of the bracket or dot that is one too many. */
static void test_depth_place(void **state)
{
	char text[200] = "a = 'xx'\n\xC3\xA9 = ";
	struct config_place place;

	(void)state;
	memset(text + strlen(text), '[', TOML_DEPTH_MAX + 1);
	place = toml_too_deep(text, strlen(text));
	check_place(place, 2, 5 + TOML_DEPTH_MAX);
}

/* So deep that recursion would overflow the stack. */
static void test_depth_huge(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(nestings) / sizeof(nestings[0]); i++) {
		char *text = nest(&nestings[i], 1000000);
		struct toml_fault fault;

		assert_null(toml_parse(text, strlen(text), &fault));
		free(text);
	}
}

/* Brackets and dots in strings and comments are no depth. */
static void test_depth_of_strings(void **state)
{
	static const struct nesting texts[] = {
		{"x = '", ".[", "'\n", "", ""},
		{"x = \"\\\"", "[.", "\\\\\"\n", "", ""},
		{"x = '''\n'", ".[", "''x'''\n", "", ""},
		{"x = '''", ".[", "'''''\n", "", ""},
		{"x = \"\"\"\n", ".[", "\"\"\\\"\"\"\"\"\"\n", "", ""},
		{"# \" '", ".[", "\nx = 1\n", "", ""},
		{"x = ''\ny = \"\" # '", ".[", "\n", "", ""},
		{"x = ''''''#", ".[", "\n", "", ""},
		{"\"", ".[", "\" = 1\n", "", ""},
		{"x = [\n", "1.5, ", "]\n", "", ""},
		{"x = [\n", "[1], {a.b = 1}, ", "]\n", "", ""},
		{"", "[[a]]\n", "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *text = nest(&texts[i], 200);

		toml_free(parse(text));
		free(text);
	}
}

/* And behind a string that has ended, they are. */
static void test_depth_behind_strings(void **state)
{
	static const struct nesting texts[] = {
		{"x = '\\'\ny = ", "[", "1", "]", "\n"},
		{"x = \"\\\\\"\ny = ", "[", "1", "]", "\n"},
		{"x = ''''a'''''\ny = ", "[", "1", "]", "\n"},
		{"x = \"\"\"\"\"\"\ny = ", "[", "1", "]", "\n"},
		{"x = \"\"\"a\\\"\"\"\"\ny = ", "[", "1", "]", "\n"},
		{"x = '' # '''\ny = ", "[", "1", "]", "\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *good = nest(&texts[i], TOML_DEPTH_MAX);
		char *deep = nest(&texts[i], TOML_DEPTH_MAX + 1);

		toml_free(parse(good));
		assert_true(toml_too_deep(deep, strlen(deep)).line == 2);
		free(good);
		free(deep);
	}
}

/* The quotes that a long string may end with are its own: no other string begins there. */
static void test_depth_behind_quotes(void **state)
{
	static const struct nesting text = {"x = [ '''a'''', ", "[", "1", "]", "]\n"};
	char *good = nest(&text, TOML_DEPTH_MAX - 1);
	char *deep = nest(&text, TOML_DEPTH_MAX);

	(void)state;
	toml_free(parse(good));
	assert_int_equal(toml_too_deep(good, strlen(good)).line, 0);
	assert_int_equal(toml_too_deep(deep, strlen(deep)).line, 1);
	free(good);
	free(deep);
}

/* Outside ASCII, wherever the library looks for a blank: never a blank, and a fault where no quotes
 * surround it. */
static void test_foreign(void **state)
{
	static const char *const good[] = {
		"\xEF\xBB\xBFx = 1\n",
		"# \xC2\xA2\nx = '\xC2\xA2' # \xC2\xA2\n",
		"\"\xC2\xA2\".'\xC2\xA2' = \"\xC2\xA2\"\n[\"\xC2\xA2x\"]\n",
		"x = '''\n\xC2\xA2\\\xC2\xA2'''\n",
		"x = \"\"\"\xC2\xA2\\\\\xC2\xA2\\\n  \xC2\xA2\"\"\"\n",
	};
	static const struct {
		const char *text;
		unsigned line;
		unsigned column;
	} bad[] = {
		{"\xC2\xA2 = 1\n", 1, 1},
		{"x = 1\ny\xC2\xA2 = 1\n", 2, 2},
		{"x = \xC2\xA2\n", 1, 5},
		{"x = 1\xC3\xA9\n", 1, 6},
		{"x = 1 \xC2\xA2\n", 1, 7},
		{"x = '\xC2\xA2'\xC2\xA2\n", 1, 8},
		{"[x\xC2\xA2]\n", 1, 3},
		{"x = \"\"\"\\\xC2\xA2\"\"\"\n", 1, 9},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		toml_free(parse(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct toml_fault fault;

		assert_null(toml_parse(bad[i].text, strlen(bad[i].text), &fault));
		check_place(fault.place, bad[i].line, bad[i].column);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_depth_place),
		cmocka_unit_test(test_depth_huge),
		cmocka_unit_test(test_depth_of_strings),
		cmocka_unit_test(test_depth_behind_strings),
		cmocka_unit_test(test_depth_behind_quotes),
		cmocka_unit_test(test_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
