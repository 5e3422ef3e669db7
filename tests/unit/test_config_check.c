/* SPDX-License-Identifier: Apache-2.0
 *
 * Every fault of a configuration: its words, its line and column, all of them in one run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proxy/core/fault_internal.h"
#include "core/config.h"
#include "support/config_text.h"

#define LISTENER CONFIG_TEXT_LISTENER
#define CANARY   "CANARY7f3a"

struct fault_row {
	const char *toml;
	const char *faults;
};

/* The listener takes lines 1 to 3: what is wrong begins in line 4. */
static void check_faults(const struct fault_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *faults;

		assert_null(config_text_load(rows[i].toml, &faults));
		assert_string_equal(faults, rows[i].faults);
		free(faults);
	}
}

static void test_fault_keys(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[process]\nworkrs = 4\n",
		 "f:5:1: unknown key \"workrs\" in [process]; the nearest known one is "
		 "\"workers\"\n"},
		{LISTENER "[log]\n  zzzzzzzzzz = 4\n",
		 "f:5:3: unknown key \"zzzzzzzzzz\" in [log]; known are level, format\n"},
		{LISTENER "[proces]\n",
		 "f:4:2: unknown section \"proces\"; the nearest known one is \"process\"\n"},
		{LISTENER "[[backends]]\n",
		 "f:4:3: unknown section \"backends\"; the nearest known one is \"backend\"\n"},
		{LISTENER "[admin]\n",
		 "f:4:2: unknown section \"admin\"; known are process, log, listener, tls, redis, "
		 "routing, backend, health, moves, limits\n"},
		{"level = \"debug\"\n" LISTENER,
		 "f:1:1: unknown key \"level\"; it belongs in [log]\n"},
		{LISTENER "send_id = true\n",
		 "f:4:1: unknown key \"send_id\" in [[listener]]; it belongs in [[backend]]\n"},
		{LISTENER "[tls]\n[[tls.certificat]]\n",
		 "f:5:7: unknown section \"certificat\" in [tls]; the nearest known one is "
		 "\"certificate\"\n"},
		{LISTENER "[process]\n\"workers\\u0000\" = 1\n",
		 "f:5:1: unknown key \"workers?\" in [process]; the nearest known one is "
		 "\"workers\"\n"},
		{LISTENER "[process]\n\"\\u001B[31m\\n\" = 1\n",
		 "f:5:1: unknown key \"?[31m?\" in [process]; known are node, workers, user, "
		 "drain_timeout, max_sessions\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

static void test_fault_types(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[process]\nworkers = \"4\"\n",
		 "f:5:11: \"workers\" must be a whole number from 0 to 1024, not a string\n"},
		{LISTENER "[process]\nworkers = 1.5\n",
		 "f:5:11: \"workers\" must be a whole number from 0 to 1024, not a fraction\n"},
		{LISTENER "[process]\nuser = 1979-05-27\n",
		 "f:5:8: \"user\" must be a text in quotes, not a date or time\n"},
		{LISTENER "[process]\ndrain_timeout = 30\n",
		 "f:5:17: \"drain_timeout\" must be a duration in quotes: \"500ms\", \"30s\", "
		 "\"5m\", \"1h\" or \"2d\", not a whole number\n"},
		{LISTENER "[process]\ndrain_timeout = \"30\"\n",
		 "f:5:17: \"drain_timeout\" is \"30\", but must be a duration in quotes: "
		 "\"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\"\n"},
		{LISTENER "[limits]\npreauth_line = 8192\n",
		 "f:5:16: \"preauth_line\" must be a size in quotes: \"4096\", \"64KiB\" or "
		 "\"1MiB\", not a whole number\n"},
		{LISTENER "[tls]\nmin_version = 1.2\n",
		 "f:5:15: \"min_version\" must be \"1.2\" or \"1.3\", not a fraction\n"},
		{LISTENER "[tls]\nalpn = \"yes\"\n",
		 "f:5:8: \"alpn\" must be true or false, without quotes, not a string\n"},
		{LISTENER "[log]\nlevel = \"inof\"\n",
		 "f:5:9: \"level\" is \"inof\", but must be \"error\", \"warn\", \"info\" or "
		 "\"debug\"\n"},
		{LISTENER "[log]\nlevel = {a = [1]}\n",
		 "f:5:9: \"level\" must be \"error\", \"warn\", \"info\" or \"debug\", not a "
		 "table\n"},
		{"listener = 5\n",
		 "f:1:1: \"listener\" must be written as [[listener]], not as a whole number\n"},
		{"[listener]\naddress = \"127.0.0.1:993\"\n",
		 "f:1:2: \"listener\" must be written as [[listener]], not as a table\n"},
		{"listener = [{address=\"127.0.0.1:1\", tls=\"none\"}, 7]\n",
		 "f:1:50: [[listener]] must be a table, not a whole number\n"},
		{LISTENER "[[process]]\nworkers = 1\n",
		 "f:4:3: \"process\" must be written as [process], not as an array\n"},
		{LISTENER "[routing]\nusers = \"alice\"\n",
		 "f:5:1: \"routing.users\" must be written as [routing.users], not as a string\n"},
		{LISTENER "[process]\nuser = \"a\\u0000b\"\n",
		 "f:5:8: \"user\" has a control character in it; write it without\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

static void test_fault_sections(void **state)
{
	static const struct fault_row rows[] = {
		{"", "f:1:1: no [[listener]]; add one with address = \"0.0.0.0:993\"\n"},
		{"listener = []\n",
		 "f:1:1: no [[listener]]; add one with address = \"0.0.0.0:993\"\n"},
		{"[[listener]]\ntls = \"none\"\n",
		 "f:1:1: [[listener]] has no \"address\"; for example address = "
		 "\"0.0.0.0:993\"\n"},
		{"[[listener]]\naddress = \"imap.example.org:993\"\ntls = \"none\"\n",
		 "f:2:11: \"address\" is \"imap.example.org:993\", but must be an IP address with "
		 "its port, such as \"0.0.0.0:993\" or \"[::]:993\", or \"unix:/path\"\n"},
		{"[[listener]]\naddress = \"\"\ntls = \"none\"\n",
		 "f:2:11: \"address\" is empty, but must be an address in quotes\n"},
		{"[[listener]]\naddress = \"127.0.0.1\"\ntls = \"none\"\n",
		 "f:2:11: \"address\" is not an address: a port is missing behind "
		 "\"127.0.0.1\"\n"},
		{"[[listener]]\naddress = \"127.0.0.1:993\"\ntls = \"ssl\"\n",
		 "f:3:7: \"tls\" is \"ssl\", but must be \"none\", \"starttls\" or "
		 "\"implicit\"\n"},
		{LISTENER "[[listener]]\naddress = \"127.0.0.1:0993\"\ntls = \"none\"\n",
		 "f:5:11: two listeners on one address: \"127.0.0.1:993\" stands in line 2 too; "
		 "give each [[listener]] its own\n"},
		{LISTENER "[[listener]]\naddress = \"[::]:993\"\n",
		 "f:4:1: a [[listener]] with tls = \"implicit\" needs a [[tls.certificate]] with "
		 "chain and key\n"},
		{LISTENER "[[tls.certificate]]\nchain = \"/nonexistent.pem\"\nkey = \"/\"\n",
		 "f:5:9: \"chain\" \"/nonexistent.pem\" cannot be read: No such file or directory; "
		 "name a PEM file\n"
		 "f:6:7: \"key\" \"/\" cannot be read: Is a directory; name a PEM file\n"},
		{LISTENER "[[tls.certificate]]\nchain = \"/dev/null\"\n",
		 "f:4:1: [[tls.certificate]] has no \"key\"; for example key = "
		 "\"/etc/gatepost/privkey.pem\"\n"},
		{LISTENER "[[backend]]\n",
		 "f:4:1: [[backend]] has no \"name\"; for example name = \"mail1\"\n"
		 "f:4:1: [[backend]] has no \"address\"; for example address = "
		 "\"10.0.0.11:143\"\n"},
		{LISTENER "[[backend]]\nname = \"a b\"\naddress = \"h:0\"\n",
		 "f:5:8: \"name\" is \"a b\", but must be letters, digits, '-', '_' and '.'\n"
		 "f:6:11: \"address\" is not an address: a port is a number from 1 to 65535, not "
		 "\"0\"\n"},
		{LISTENER "[[backend]]\nname = \"a\"\naddress = \"h:1\"\n"
			  "[[backend]]\nname = \"a\"\naddress = \"h:2\"\n",
		 "f:8:8: two backends have one name: \"a\" stands in line 5 too; give each "
		 "[[backend]] its own\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

static void test_fault_lookup(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[routing]\nlookup = \"SET x:{user} 1\"\n",
		 "f:5:10: \"lookup\" begins with \"SET\", but must be a command that only reads "
		 "one string of one key: GET, HGET, GETRANGE, SUBSTR or LINDEX\n"},
		{LISTENER "[routing]\nlookup = \"GETDEL {user}\"\n",
		 "f:5:10: \"lookup\" begins with \"GETDEL\", but must be a command that only "
		 "reads one string of one key: GET, HGET, GETRANGE, SUBSTR or LINDEX\n"},
		{LISTENER "[routing]\nlookup = \"SUBSTR {user} 0\"\n",
		 "f:5:10: \"lookup\" has 3 words, but \"SUBSTR\" takes 4, itself included\n"},
		{LISTENER "[routing]\nlookup = \"GET route\"\n",
		 "f:5:10: \"lookup\" is the same for everybody: write {user}, {local} or "
		 "{domain} where the user belongs\n"},
		{LISTENER "[routing]\nlookup = \"GET {usr}\"\n",
		 "f:5:10: \"lookup\" has \"{usr}\", but only {user}, {local} and {domain} are "
		 "filled in\n"},
		{LISTENER "[routing]\nlookup = \"GET {user}}\"\n",
		 "f:5:10: \"lookup\" has \"}\", but only {user}, {local} and {domain} are filled "
		 "in\n"},
		{LISTENER "[routing]\nlookup = \"GET {user\"\n",
		 "f:5:10: \"lookup\" has \"{user\", but only {user}, {local} and {domain} are "
		 "filled in\n"},
		{LISTENER "[routing]\nlookup = \"HGET {user}\"\n",
		 "f:5:10: \"lookup\" has 2 words, but \"HGET\" takes 3, itself included\n"},
		{LISTENER "[routing]\nlookup = \"GET  {user}\"\n",
		 "f:5:10: \"lookup\" must be words with a single space between them\n"},
		{LISTENER "[routing]\nlookup = \"GET {user} \"\n",
		 "f:5:10: \"lookup\" must be words with a single space between them\n"},
		{LISTENER "[routing]\nlookup = \"GET {user}\\r\\nFLUSHALL\"\n",
		 "f:5:10: \"lookup\" has a control character in it; write it without\n"},
		{LISTENER "[routing]\nlookup = \"GET {user} 3 4 5 6 7 8 9 10 11 12 13 14 15 16\"\n",
		 "f:5:10: \"lookup\" has 16 words, but \"GET\" takes 2, itself included\n"},
		{LISTENER "[routing]\nlookup = \"GET {user} 3 4 5 6 7 8 9 10 11 12 13 14 15 16 "
			  "17\"\n",
		 "f:5:10: \"lookup\" has 17 words, but may have at most 16\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

#define BACKEND "[[backend]]\nname = \"m\"\naddress = \"h:1\"\n"

static void test_fault_users(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[routing]\ndefault_domain = \"@example.org\"\n",
		 "f:5:18: \"default_domain\" is \"@example.org\", but must be a domain without "
		 "'@', such as \"example.org\"\n"},
		{LISTENER "[routing.users]\nalice = \"mail9\"\n",
		 "f:5:9: user \"alice\" lives on \"mail9\", but no [[backend]] has that name\n"},
		{LISTENER "[routing.users]\nalice = \"m\"\nALICE = \"m\"\n" BACKEND,
		 "f:6:1: user \"ALICE\" is the same as the one in line 5: both become the same "
		 "name by user_case and default_domain; keep one\n"},
		{LISTENER "[routing]\ndefault_domain = \"x\"\n"
			  "[routing.users]\n\"b@x\" = \"m\"\nb = \"m\"\n" BACKEND,
		 "f:8:1: user \"b\" is the same as the one in line 7: both become the same name by "
		 "user_case and default_domain; keep one\n"},
		{LISTENER "[routing.users]\n\"\\u009B\" = \"\xC3\xA9\"\n"
			  "0123456789012345678901234567890123456789012345678901234567890123 = "
			  "\"x\"\n"
			  "01234567890123456789012345678901234567890123456789012345678901234 = "
			  "\"x\"\n",
		 "f:5:12: user \"??\" lives on \"??\", but no [[backend]] has that name\n"
		 "f:6:68: user "
		 "\"0123456789012345678901234567890123456789012345678901234567890123\" "
		 "lives on \"x\", but no [[backend]] has that name\n"
		 "f:7:69: user "
		 "\"0123456789012345678901234567890123456789012345678901234567890...\" "
		 "lives on \"x\", but no [[backend]] has that name\n"},
		{LISTENER "[routing.users]\nbob.smith = \"m\"\ncarol = 3\n" BACKEND,
		 "f:5:1: user \"bob\" must be the name of a backend in quotes, not a table; a user "
		 "name with a dot needs quotes too\n"
		 "f:6:9: user \"carol\" must be the name of a backend in quotes, not a whole "
		 "number\n"},
		{LISTENER
		 "[routing.users]\n\"\" = \"m\"\n\"a\\nb\" = \"m\"\nc = \"m\\u0000\"\n" BACKEND,
		 "f:5:1: user \"\" must have a name of 1 to 255 bytes, the default domain "
		 "included\n"
		 "f:6:1: user \"a?b\" has a control character in its name; no client can log in as "
		 "that\n"
		 "f:7:5: user \"c\" lives on \"m?\", but no [[backend]] has that name\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

static void test_fault_redis(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[redis]\nurl = \"valkey://h\"\n",
		 "f:5:7: \"url\" has a scheme that is not supported; redis://, unix://, "
		 "sentinel:// and cluster:// are, and with TLS rediss://, sentinels:// and "
		 "clusters://\n"},
		{LISTENER "[redis]\nurl = \"redis://h:x\"\n",
		 "f:5:7: \"url\" has no good address: redis://HOST, redis://HOST:PORT or "
		 "redis://[IPv6]:PORT\n"},
		{LISTENER "[redis]\nurl = \"redis://unix:/x\"\n",
		 "f:5:7: \"url\" has a database that is not a number from 0 to 65535\n"},
		{LISTENER "[redis]\nurl = \"unix://run/redis.sock\"\n",
		 "f:5:7: \"url\" has no good path: unix:///path/of/redis.sock\n"},
		{LISTENER "[redis]\nurl = \"redis://user@h\"\n",
		 "f:5:7: \"url\" has no password before its '@': write user:password@, or "
		 ":password@\n"},
		{LISTENER "[redis]\nurl = \"redis://u:%4@h\"\n",
		 "f:5:7: \"url\" has a user or password in which a % is not followed by two "
		 "hexadecimal digits, or a control character\n"},
		{LISTENER "[redis]\nurl = \"redis://u:%00@h\"\n",
		 "f:5:7: \"url\" has a user or password in which a % is not followed by two "
		 "hexadecimal digits, or a control character\n"},
		{LISTENER "[redis]\nurl = \"redis://h/1?db=1\"\n",
		 "f:5:7: \"url\" names the database twice: /NUMBER or ?db=NUMBER\n"},
		{LISTENER "[redis]\nurl = \"redis://h?tls=1\"\n",
		 "f:5:7: \"url\" has an option behind '?' that is not known; only ?db=NUMBER is\n"},
		{LISTENER "[redis]\nurl = \"redis://h/x\"\n",
		 "f:5:7: \"url\" has a database that is not a number from 0 to 65535\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

/* The words are of the TOML library, the place is ours to promise. */
static void test_fault_syntax(void **state)
{
	static const struct {
		const char *toml;
		const char *start;
	} rows[] = {
		{"[process]\nworkers = \n", "f:2:11: not TOML: "},
		{"[process]\nworkers = 1\nworkers = 2\n", "f:3:11: not TOML: "},
		{"[process]\n[process]\n", "f:2:1: not TOML: "},
		{"[process\n", "f:1:9: not TOML: "},
		{"x = \"\xFF\"\n", "f:1:5: not TOML: "},
		{"[process]\n[[[listener]]\n", "f:2:3: not TOML: "},
		{"[[[li", "f:1:3: not TOML: "},
		{"x = '\xC3\xA9'\n\n[[ #", "f:3:4: not TOML: "},
		{"x = [\n", "f:1:7: not TOML: "},
		{"alice@example.org = \"m\"\n", "f:1:6: not TOML: "},
		{"url = redis://:" CANARY "@h\n", "f:1:7: not TOML: "},
		{"url = \"redis://:" CANARY "@h\n", "f:1:29: not TOML: "},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char *faults;

		assert_null(config_text_load(rows[i].toml, &faults));
		if (strncmp(faults, rows[i].start, strlen(rows[i].start)) != 0) {
			fail_msg("%s", faults);
		}
		assert_ptr_equal(strchr(faults, '\n') + 1, faults + strlen(faults));
		assert_null(strstr(faults, CANARY));
		free(faults);
	}
}

/* All faults in one run, in the order of the file, whatever the order they are found in. */
static void test_fault_order(void **state)
{
	static const struct fault_row rows[] = {
		{"[zoo]\n[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"none\"\nx = 1\na = 1\n"
		 "[routing.users]\nb = \"nobody\"\n[log]\nlevel = 1\nformat = 2\n"
		 "[[backend]]\nname = \"m\"\naddress = \"h:1\"\nwho = 1\n",
		 "f:1:2: unknown section \"zoo\"; known are process, log, listener, tls, redis, "
		 "routing, backend, health, moves, limits\n"
		 "f:5:1: unknown key \"x\" in [[listener]]; known are address, tls, "
		 "allow_plaintext, proxy_protocol, trusted, mechanisms, capabilities\n"
		 "f:6:1: unknown key \"a\" in [[listener]]; known are address, tls, "
		 "allow_plaintext, proxy_protocol, trusted, mechanisms, capabilities\n"
		 "f:8:5: user \"b\" lives on \"nobody\", but no [[backend]] has that name\n"
		 "f:10:9: \"level\" must be \"error\", \"warn\", \"info\" or \"debug\", not a "
		 "whole number\n"
		 "f:11:10: \"format\" must be \"logfmt\" or \"json\", not a whole number\n"
		 "f:15:1: unknown key \"who\" in [[backend]]; known are name, address, weight, "
		 "sources, connect_rate, connect_queue, slow_start, tls, verify, ca, server_name, "
		 "client_chain, client_key, send_proxy, send_id, "
		 "ask_capability, probe, login, user, master_user, master_password, "
		 "connect_timeout, "
		 "login_timeout\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text != '\0'; text++) {
		lines += *text == '\n';
	}
	return lines;
}

/* At the number of faults that are told, and one past it. */
static void test_many_faults(void **state)
{
	for (int count = FAULTS_MAX; count <= FAULTS_MAX + 1; count++) {
		char *text;
		char *faults;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		fputs(LISTENER "[process]\n", out);
		for (int i = 0; i < count; i++) {
			fprintf(out, "k%d = 1\n", i);
		}
		fclose(out);
		assert_null(config_text_load(text, &faults));
		assert_int_equal(count_lines(faults), count);
		assert_int_equal(strstr(faults, "f:1:1: 1 more faults are not shown\n") != NULL,
				 count > FAULTS_MAX);
		free(text);
		free(faults);
	}
	(void)state;
}

/* At the number of tables that there may be, and one past it. */
static void test_many_tables(void **state)
{
	for (int count = CONFIG_TABLES_MAX; count <= CONFIG_TABLES_MAX + 1; count++) {
		char *text;
		char *faults;
		size_t size;
		FILE *out = open_memstream(&text, &size);
		struct config *config;

		fputs(LISTENER, out);
		for (int i = 0; i < count; i++) {
			fprintf(out, "[[backend]]\nname = \"b%d\"\naddress = \"h:1\"\n", i);
		}
		fclose(out);
		config = config_text_load(text, &faults);
		assert_int_equal(config != NULL, count == CONFIG_TABLES_MAX);
		assert_string_equal(faults, config != NULL ? ""
							   : "f:4:1: [[backend]] stands here 4097 "
							     "times, but may at most 4096 times\n");
		config_unref(config);
		free(text);
		free(faults);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault_keys),     cmocka_unit_test(test_fault_types),
		cmocka_unit_test(test_fault_sections), cmocka_unit_test(test_fault_lookup),
		cmocka_unit_test(test_fault_users),    cmocka_unit_test(test_fault_redis),
		cmocka_unit_test(test_fault_syntax),   cmocka_unit_test(test_fault_order),
		cmocka_unit_test(test_many_faults),    cmocka_unit_test(test_many_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
