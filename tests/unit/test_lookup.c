/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookup commands: templates to words, and user names that try to be more than one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/lookup_internal.h"

/* The words of a command, each in angle brackets. */
static void expand(char *text, size_t size, const char *template, const char *user)
{
	struct lookup lookup = {0};
	struct lookup_command command = {0};
	struct error error = {0};
	size_t used = 0;

	assert_true(lookup_init(&lookup, template, &error));
	assert_true(lookup_expand(&lookup, user, &command));
	text[0] = '\0';
	for (size_t i = 0; i < command.word_count; i++) {
		used += (size_t)snprintf(text + used, size - used, "<%.*s>",
					 (int)command.lengths[i], command.words[i]);
	}
	lookup_command_done(&command);
	lookup_done(&lookup);
}

static void test_words(void **state)
{
	static const struct {
		const char *template;
		const char *user;
		const char *words;
	} rows[] = {
		{"GET gatepost:route:{user}", "alice", "<GET><gatepost:route:alice>"},
		{"GET gatepost:route:{user}", "a@b.example", "<GET><gatepost:route:a@b.example>"},
		{"HGET mail:{domain} {local}", "a@b.example", "<HGET><mail:b.example><a>"},
		{"HGET hosts {domain}", "alice", "<HGET><hosts><>"},
		{"GET {local}", "alice", "<GET><alice>"},
		{"GET {local}|{domain}", "a@b@c", "<GET><a@b|c>"},
		{"GET {local}|{domain}", "@c", "<GET><|c>"},
		{"GET {local}|{domain}", "a@", "<GET><a|>"},
		{"GET {user}{user}", "ab", "<GET><abab>"},
		/* What the user writes stays one word and is not expanded again. */
		{"GET r:{user}", "x y\tz", "<GET><r:x y\tz>"},
		{"GET r:{user}", "{domain}@evil", "<GET><r:{domain}@evil>"},
		{"GET r:{user}", "{user}", "<GET><r:{user}>"},
		{"GET r:{user}", "%s%n%b", "<GET><r:%s%n%b>"},
		{"GET r:{user}", "x:config", "<GET><r:x:config>"},
		/* Other braces and spaces of the template. */
		{"GET {route}:{user}", "u", "<GET><{route}:u>"},
		{"GET {user", "u", "<GET><{user>"},
		{"  GET   {user}  ", "u", "<GET><u>"},
		{"PING", "u", "<PING>"},
	};
	char words[256];

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		expand(words, sizeof(words), rows[i].template, rows[i].user);
		assert_string_equal(words, rows[i].words);
	}
}

static void test_long_user(void **state)
{
	char user[256];
	char words[600];

	(void)state;
	memset(user, 'u', sizeof(user) - 1);
	user[sizeof(user) - 1] = '\0';
	expand(words, sizeof(words), "HGET {user} {user}", user);
	assert_int_equal(strlen(words), strlen("<HGET><><>") + 2 * strlen(user));
}

static void test_bounds(void **state)
{
	char template[2 * (LOOKUP_WORDS_MAX + 1) + 1] = "";
	struct lookup lookup = {0};
	struct error error = {0};

	(void)state;
	for (size_t i = 0; i < LOOKUP_WORDS_MAX; i++) {
		strcat(template, "x ");
	}
	assert_true(lookup_init(&lookup, template, &error));
	assert_int_equal(lookup.word_count, LOOKUP_WORDS_MAX);
	lookup_done(&lookup);
	strcat(template, "x");
	assert_false(lookup_init(&lookup, template, &error));
	assert_non_null(strstr(error.text, "at most 16 words"));
	assert_false(lookup_init(&lookup, "", &error));
	assert_false(lookup_init(&lookup, "   ", &error));
	lookup_done(&lookup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_long_user),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
