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

static void test_prefix(void **state)
{
	static const struct {
		const char *template;
		const char *prefix;
	} rows[] = {
		{"GET gatepost:route:{user}", "gatepost:route:"},
		{"GET {user}", ""},
		{"HGET mail:{user} server", "mail:"},
		{"HGET mail:{domain}:{user} server", "mail:"},
		{"HGET hosts {user}", "hosts"},
		{"GET {route}:{local}@x", "{route}:"},
		{"PING", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct lookup lookup = {0};
		struct error error = {0};

		assert_true(lookup_init(&lookup, rows[i].template, &error));
		assert_string_equal(lookup_prefix(&lookup), rows[i].prefix);
		lookup_done(&lookup);
	}
}

#define ONE  LOOKUP_ONE_USER
#define MANY LOOKUP_MANY_USERS
#define NOT  LOOKUP_NOT_OURS

static void test_user_of_key(void **state)
{
	static const struct {
		const char *template;
		const char *key;
		enum lookup_verdict verdict;
		const char *user;
	} rows[] = {
		{"GET r:{user}", "r:alice", ONE, "alice"},
		{"GET r:{user}", "r:a@b.example", ONE, "a@b.example"},
		{"GET r:{user}", "r:r:", ONE, "r:"},
		{"GET r:{user}", "r: x\xff", ONE, " x\xff"},
		{"GET r:{user}", "r:{user}", ONE, "{user}"},
		{"GET r:{user}", "r:", NOT, ""},
		{"GET r:{user}", "r", NOT, ""},
		{"GET r:{user}", "", NOT, ""},
		{"GET r:{user}", "R:alice", NOT, ""},
		{"GET r:{user}", "xr:alice", NOT, ""},
		{"GET {user}", "alice", ONE, "alice"},
		{"GET {user}", "", NOT, ""},
		{"HGET mail:{user} server", "mail:alice", ONE, "alice"},
		{"HGET mail:{user} {domain}", "mail:a@b", ONE, "a@b"},
		{"GET m:{user}:route", "m:alice:route", ONE, "alice"},
		{"GET m:{user}:route", "m::route:route", ONE, ":route"},
		{"GET m:{user}:route", "m::route", NOT, ""},
		{"GET m:{user}:route", "m:route", NOT, ""},
		{"GET m:{user}:route", "m:alice:routes", NOT, ""},
		{"GET m:{user}:route", "m:alice", NOT, ""},
		/* Prefix and suffix share no byte. */
		{"GET aa{user}aa", "aaa", NOT, ""},
		{"GET aa{user}aa", "aaaa", NOT, ""},
		{"GET aa{user}aa", "aaaaa", ONE, "a"},
		{"GET {tag}{user}{tag}", "{tag}x{tag}", ONE, "x"},
		/* Nobody knows whose. */
		{"HGET mail:{domain} {local}", "mail:b.example", MANY, ""},
		{"HGET mail:{domain} {local}", "mail:", MANY, ""},
		{"HGET mail:{domain} {local}", "mai", NOT, ""},
		{"GET m:{local}:{domain}:r", "m:a:b:r", MANY, ""},
		{"GET m:{local}:{domain}:r", "m:a:b:s", NOT, ""},
		{"GET m:{user}{user}", "m:aa", MANY, ""},
		{"GET m:{user}:{domain}", "m:a@b:b", MANY, ""},
		{"GET m:{domain}:{user}", "m:b:a@b", MANY, ""},
		{"GET aa{local}aa", "aaa", NOT, ""},
		{"GET aa{local}aa", "aaaa", MANY, ""},
		{"GET {local}", "alice", MANY, ""},
		{"GET {local}", "", NOT, ""},
		{"HGET hosts {user}", "hosts", MANY, ""},
		{"HGET hosts {user}", "hosts2", NOT, ""},
		{"HGET hosts {user}", "host", NOT, ""},
		{"PING", "", NOT, ""},
		{"PING", "x", NOT, ""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct lookup lookup = {0};
		struct error error = {0};
		char user[CONFIG_USER_MAX + 1] = "";

		assert_true(lookup_init(&lookup, rows[i].template, &error));
		assert_int_equal(
			lookup_user_of_key(&lookup, rows[i].key, strlen(rows[i].key), user),
			rows[i].verdict);
		assert_string_equal(user, rows[i].user);
		lookup_done(&lookup);
	}
}

/* No user is longer than CONFIG_USER_MAX, and none has a NUL. */
static void test_key_bounds(void **state)
{
	struct lookup lookup = {0};
	struct error error = {0};
	char key[2 + CONFIG_USER_MAX + 1];
	char user[CONFIG_USER_MAX + 1];

	(void)state;
	assert_true(lookup_init(&lookup, "GET r:{user}", &error));
	memset(key, 'u', sizeof(key));
	memcpy(key, "r:", 2);
	assert_int_equal(lookup_user_of_key(&lookup, key, sizeof(key) - 1, user), ONE);
	assert_int_equal(strlen(user), CONFIG_USER_MAX);
	assert_memory_equal(user, key + 2, CONFIG_USER_MAX);
	assert_int_equal(lookup_user_of_key(&lookup, key, sizeof(key), user), NOT);
	assert_int_equal(lookup_user_of_key(&lookup, "r:al\0ice", 8, user), NOT);
	assert_int_equal(lookup_user_of_key(&lookup, "r:alice\0", 8, user), NOT);
	assert_int_equal(lookup_user_of_key(&lookup, "r:alice\0", 7, user), ONE);
	lookup_done(&lookup);
}

/* Whatever {user} is expanded to is the key of that user again. */
static void test_there_and_back(void **state)
{
	static const char *const templates[] = {"GET {user}", "GET r:{user}", "GET {user}:r",
						"HGET {t}:{user}:r:{t} {local}"};
	static const char *const users[] = {
		"a", "a@b.example", ":r", "r:", "{t}:x:r:{t}", "{user}", "x y\tz", "\xc3\xa9"};

	(void)state;
	for (size_t i = 0; i < array_length(templates) * array_length(users); i++) {
		const char *template = templates[i % array_length(templates)];
		const char *user = users[i / array_length(templates)];
		struct lookup lookup = {0};
		struct lookup_command command = {0};
		struct error error = {0};
		char back[CONFIG_USER_MAX + 1];

		assert_true(lookup_init(&lookup, template, &error));
		assert_true(lookup_expand(&lookup, user, &command));
		assert_memory_equal(command.words[1], lookup_prefix(&lookup),
				    strlen(lookup_prefix(&lookup)));
		assert_int_equal(
			lookup_user_of_key(&lookup, command.words[1], command.lengths[1], back),
			ONE);
		assert_string_equal(back, user);
		lookup_command_done(&command);
		lookup_done(&lookup);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),          cmocka_unit_test(test_long_user),
		cmocka_unit_test(test_bounds),         cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_user_of_key),    cmocka_unit_test(test_key_bounds),
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
