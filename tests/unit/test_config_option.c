/* SPDX-License-Identifier: Apache-2.0
 *
 * The types of options that have rules of their own: lists, files, hosts, templates, secrets. What
 * each takes, its faults with their places, its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "imap/sasl.h"
#include "support/config_text.h"

#define LISTENER    CONFIG_TEXT_LISTENER
#define CERTIFICATE "[[tls.certificate]]\nchain = \"/dev/null\"\nkey = \"/dev/null\"\n"
#define BACKEND     "[[backend]]\nname = \"m\"\naddress = \"h:1\"\n"
#define TLS_BACKEND BACKEND "tls = \"implicit\"\n"
#define CANARY      "CANARY7f3a"

struct fault_row {
	const char *toml;
	const char *faults;
};

static void check_faults(const struct fault_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *faults;

		assert_null(config_text_load(rows[i].toml, &faults));
		assert_string_equal(faults, rows[i].faults);
		free(faults);
	}
}

static void test_networks(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "trusted = [\"10.0.0.0/8\", \"10.0.0.1/8\", \"x\"]\n",
		 "f:4:26: \"trusted\" has a bad network: \"10.0.0.1/8\" has bits behind its "
		 "prefix: the network is 10.0.0.0/8\n"
		 "f:4:40: \"trusted\" has a bad network: a network is 10.0.0.0/8, 2001:db8::/32, "
		 "an IP address or unix, not \"x\"\n"},
		{LISTENER "trusted = [\"\"]\n",
		 "f:4:12: \"trusted\" has a bad network: a network is 10.0.0.0/8, 2001:db8::/32, "
		 "an IP address or unix, not \"\"\n"},
		{LISTENER "trusted = [\n  \"unix\",\n  \"10.0.0.1\",\n  \"10.0.0.1/32\",\n"
			  "  \"unix\"]\n",
		 "f:7:3: \"trusted\" has \"10.0.0.1/32\" twice; keep one\n"
		 "f:8:3: \"trusted\" has \"unix\" twice; keep one\n"},
		{LISTENER "trusted = \"10.0.0.0/8\"\n",
		 "f:4:11: \"trusted\" must be an array of networks in quotes: [\"10.0.0.0/8\", "
		 "\"2001:db8::/32\"], not a string\n"},
		{LISTENER "trusted = [\"10.0.0.0/8\", 10, [\"::1\"], {a = 1}]\n",
		 "f:4:26: \"trusted\" must be an array of networks in quotes: [\"10.0.0.0/8\", "
		 "\"2001:db8::/32\"], but has a whole number in it\n"
		 "f:4:30: \"trusted\" must be an array of networks in quotes: [\"10.0.0.0/8\", "
		 "\"2001:db8::/32\"], but has an array in it\n"
		 "f:4:39: \"trusted\" must be an array of networks in quotes: [\"10.0.0.0/8\", "
		 "\"2001:db8::/32\"], but has a table in it\n"},
		{LISTENER "trusted = [\"10.0.0.1\\u0000\"]\n",
		 "f:4:12: \"trusted\" has a control character in it; write it without\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
	config_unref(config_text_good(LISTENER "trusted = [\"0.0.0.0/0\", \"::/0\", \"unix\"]\n"));
}

static void test_mechanisms(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "mechanisms = [\"PLIAN\", \"scram-sha-255\"]\n",
		 "f:4:15: \"mechanisms\" has \"PLIAN\", which is no mechanism; the nearest known "
		 "one is \"PLAIN\"\n"
		 "f:4:24: \"mechanisms\" has \"scram-sha-255\", which is no mechanism; the nearest "
		 "known one is \"SCRAM-SHA-256\"\n"},
		{LISTENER "mechanisms = [\"GSSAPI\"]\n",
		 "f:4:15: \"mechanisms\" has \"GSSAPI\", which is no mechanism; known are PLAIN, "
		 "LOGIN, XOAUTH2, OAUTHBEARER, EXTERNAL, SCRAM-SHA-1, SCRAM-SHA-256, "
		 "SCRAM-SHA-512\n"},
		{LISTENER "mechanisms = [\"0123456789012345678901234567890123456789012345678901234"
			  "567890123\xC3\xA9\"]\n",
		 "f:4:15: \"mechanisms\" has \"0123456789012345678901234567890123456789012345678901"
		 "234567890...\", which is no mechanism; known are PLAIN, LOGIN, XOAUTH2, "
		 "OAUTHBEARER, EXTERNAL, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512\n"},
		{LISTENER "mechanisms = [\"\"]\n",
		 "f:4:15: \"mechanisms\" has \"\", which is no mechanism; known are PLAIN, LOGIN, "
		 "XOAUTH2, OAUTHBEARER, EXTERNAL, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512\n"},
		{LISTENER "mechanisms = [\"PLAIN\", \"LOGIN\", \"plain\"]\n",
		 "f:4:33: \"mechanisms\" has \"plain\" twice; keep one\n"},
		{LISTENER "mechanisms = []\n",
		 "f:4:14: \"mechanisms\" has 0 mechanisms, but must have from 1 to 8\n"},
		{LISTENER "mechanisms = [\"\", \"\", \"\", \"\", \"\", \"\", \"\", \"\", \"\"]\n",
		 "f:4:14: \"mechanisms\" has 9 mechanisms, but must have from 1 to 8\n"},
		{LISTENER "mechanisms = \"PLAIN\"\n",
		 "f:4:14: \"mechanisms\" must be an array of mechanisms in quotes: [\"PLAIN\", "
		 "\"LOGIN\"], not a string\n"},
		{LISTENER "mechanisms = [true]\n",
		 "f:4:15: \"mechanisms\" must be an array of mechanisms in quotes: [\"PLAIN\", "
		 "\"LOGIN\"], but has a truth value in it\n"},
	};
	struct config *config = config_text_good(LISTENER "mechanisms = [\"xoauth2\"]\n");
	char *printed = config_text_print(config);

	(void)state;
	check_faults(rows, array_length(rows));
	assert_int_equal(config->listeners[0].mechanisms, SASL_BIT(SASL_XOAUTH2));
	assert_non_null(strstr(printed, "\nmechanisms = [\"XOAUTH2\"]\n"));
	free(printed);
	config_unref(config);
}

#define LABEL_63 "a23456789012345678901234567890123456789012345678901234567890123"
#define NAME_253                                                                                   \
	LABEL_63 "." LABEL_63 "." LABEL_63 ".b2345678901234567890123456789012345678901234"         \
		 "567890123456789.c"
#define NAMES_WHAT "but must have host names, such as \"imap.example.org\" or \"*.example.org\"\n"

static void test_names(void **state)
{
	static const char *const good[] = {
		"localhost",       "*.example.org", "a_b.example.org", "1.example",
		"xn--bcher-kva.x", "a.b.c.d.e",     LABEL_63,          NAME_253,
	};
	static const char *const bad[] = {
		"",    "*",   "*.",         "a.*.b",      "a*.b",         "**.b",        "a..b",
		".a",  "a.",  "-a.b",       "a.b-",       "10.0.0.1",     "*.10",        "::1",
		"a b", "a:1", LABEL_63 "4", NAME_253 "c", "\xC3\xA9.org", "*." NAME_253,
	};

	(void)state;
	assert_int_equal(strlen(NAME_253), ENDPOINT_HOST_MAX);
	for (size_t i = 0; i < array_length(good); i++) {
		char text[512];
		struct config *config;

		snprintf(text, sizeof(text), LISTENER CERTIFICATE "names = [\"%s\"]\n", good[i]);
		config = config_text_good(text);
		assert_string_equal(config->tls.certificates[0].names.texts[0], good[i]);
		config_unref(config);
	}
	for (size_t i = 0; i < array_length(bad); i++) {
		char text[512];
		char *faults;

		snprintf(text, sizeof(text), LISTENER CERTIFICATE "names = [\"%s\"]\n", bad[i]);
		assert_null(config_text_load(text, &faults));
		assert_int_equal(strncmp(faults, "f:7:10: \"names\" has \"", 20), 0);
		assert_string_equal(strstr(faults, "but must"), NAMES_WHAT);
		free(faults);
	}
}

static void test_name_faults(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER CERTIFICATE "names = [\"a.b\", \"*.b\", \"A.B\"]\n",
		 "f:7:24: \"names\" has \"A.B\" twice; keep one\n"},
		{LISTENER CERTIFICATE "names = \"a.b\"\n",
		 "f:7:9: \"names\" must be an array of host names in quotes: "
		 "[\"imap.example.org\", \"*.example.org\"], not a string\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

/* Loads `before`, then a list of `count` elements: each `word` with a number. */
static struct config *load_list(const char *before, const char *word, int count, char **faults)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct config *config;

	fputs(before, out);
	for (int i = 0; i < count; i++) {
		fprintf(out, "%s\"%s%d\"", i == 0 ? "" : ", ", word, i);
	}
	fputs("]\n", out);
	fclose(out);
	config = config_text_load(text, faults);
	free(text);
	return config;
}

/* At the number of elements that there may be, and one past it. */
static void test_list_bounds(void **state)
{
	static const struct {
		const char *before;
		const char *word;
		int most;
		const char *fault;
	} rows[] = {
		{LISTENER "trusted = [", "10.0.0.", 64,
		 "f:4:11: \"trusted\" has 65 networks, but must have from 0 to 64\n"},
		{LISTENER BACKEND "sources = [", "10.0.0.1", 64,
		 "f:7:11: \"sources\" has 65 addresses, but must have from 0 to 64\n"},
		{LISTENER "[routing]\nurl_hosts = [", "h", 256,
		 "f:5:13: \"url_hosts\" has 257 hosts, but must have from 0 to 256\n"},
		{LISTENER "[routing]\nreferrals = [", "h", 256,
		 "f:5:13: \"referrals\" has 257 hosts, but must have from 0 to 256\n"},
		{LISTENER CERTIFICATE "names = [", "imap", 256,
		 "f:7:9: \"names\" has 257 host names, but must have from 0 to 256\n"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char *faults;

		config_unref(load_list(rows[i].before, rows[i].word, rows[i].most, &faults));
		assert_string_equal(faults, "");
		free(faults);
		assert_null(load_list(rows[i].before, rows[i].word, rows[i].most + 1, &faults));
		assert_string_equal(faults, rows[i].fault);
		free(faults);
	}
}

static void test_files(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[tls]\nclient_ca = \"/nonexistent.pem\"\n",
		 "f:5:13: \"client_ca\" \"/nonexistent.pem\" cannot be read: No such file or "
		 "directory; name a file, or \"\"\n"},
		{LISTENER CERTIFICATE "ocsp = \"/\"\n",
		 "f:7:8: \"ocsp\" \"/\" cannot be read: Is a directory; name a file, or \"\"\n"},
		{LISTENER "[routing]\nurl_ca = \"/nonexistent.pem\"\n",
		 "f:5:10: \"url_ca\" \"/nonexistent.pem\" cannot be read: No such file or "
		 "directory; name a file, or \"\"\n"},
		{LISTENER TLS_BACKEND "ca = \"/dev\"\nclient_chain = \"/dev\"\n"
				      "client_key = \"/dev\"\n",
		 "f:8:6: \"ca\" \"/dev\" cannot be read: Is a directory; name a file, or \"\"\n"
		 "f:9:16: \"client_chain\" \"/dev\" cannot be read: Is a directory; name a file, "
		 "or "
		 "\"\"\n"
		 "f:10:14: \"client_key\" \"/dev\" cannot be read: Is a directory; name a file, or "
		 "\"\"\n"},
		{LISTENER "[tls]\nclient_ca = [\"/dev/null\"]\n",
		 "f:5:13: \"client_ca\" must be a path in quotes, not an array\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

/* Files are loaded by other rooms, which say where they are named. */
static void test_places(void **state)
{
	struct config *config = config_text_good(
		LISTENER "[tls]\nclient_ca = \"/dev/null\"\n" CERTIFICATE " ocsp = \"/dev/null\"\n"
			 "[routing]\nurl_ca =   \"/dev/null\"\n" TLS_BACKEND
			 "ca = \"/dev/null\"\nclient_chain = \"/dev/null\"\n"
			 "client_key = \"/dev/null\"\n"
			 "[[backend]]\nname = \"n\"\naddress = \"h:1\"\n");
	const struct config_certificate *certificate = &config->tls.certificates[0];
	const struct config_backend *backends = config->backends;
	const struct {
		struct config_place place;
		unsigned line;
		unsigned column;
	} rows[] = {
		{config->tls.client_ca_place, 5, 13},
		{certificate->chain_place, 7, 9},
		{certificate->key_place, 8, 7},
		{certificate->ocsp_place, 9, 9},
		{config->routing.url_ca_place, 11, 12},
		{backends[0].ca_place, 16, 6},
		{backends[0].client_chain_place, 17, 16},
		{backends[0].client_key_place, 18, 14},
		{backends[1].ca_place, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		assert_int_equal(rows[i].place.line, rows[i].line);
		assert_int_equal(rows[i].place.column, rows[i].column);
	}
	config_unref(config);
}

static void test_texts(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER BACKEND "user = \"{usr}@x\"\n",
		 "f:7:8: \"user\" has \"{usr}\", but only {user}, {local} and {domain} are filled "
		 "in\n"},
		{LISTENER BACKEND "user = \"bob\"\n",
		 "f:7:8: \"user\" is the same for everybody: write {user}, {local} or {domain} "
		 "where the user belongs\n"},
		{LISTENER BACKEND "user = \"\"\n",
		 "f:7:8: \"user\" is empty, but must be a template in quotes\n"},
		{LISTENER BACKEND "user = \"{user}\\r\\n\"\n",
		 "f:7:8: \"user\" has a control character in it; write it without\n"},
		{LISTENER TLS_BACKEND "server_name = \"mail.example:993\"\n",
		 "f:8:15: \"server_name\" is \"mail.example:993\", but must be a host name, or an "
		 "IP address\n"},
		{LISTENER TLS_BACKEND "server_name = \"*.example\"\n",
		 "f:8:15: \"server_name\" is \"*.example\", but must be a host name, or an IP "
		 "address\n"},
		{LISTENER TLS_BACKEND "server_name = \"10.0.0.256\"\n",
		 "f:8:15: \"server_name\" is \"10.0.0.256\", but must be a host name, or an IP "
		 "address\n"},
		{LISTENER "capabilities = \"IDLE  MOVE\"\n",
		 "f:4:16: \"capabilities\" must be atoms with a single space between them\n"},
		{LISTENER "capabilities = \"IDLE\\tMOVE\"\n",
		 "f:4:16: \"capabilities\" has a control character in it; write it without\n"},
		{LISTENER "capabilities = [\"IDLE\"]\n",
		 "f:4:16: \"capabilities\" must be capabilities in quotes, not an array\n"},
		{LISTENER "[tls]\nclient_name = \"dn\"\n",
		 "f:5:15: \"client_name\" is \"dn\", but must be \"email\" or \"cn\"\n"},
		{LISTENER BACKEND "login = \"\"\n",
		 "f:7:9: \"login\" is \"\", but must be \"same\", \"login\" or \"plain\"\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
	config_unref(config_text_good(LISTENER TLS_BACKEND "server_name = \"2001:db8::1\"\n"));
	config_unref(config_text_good(LISTENER TLS_BACKEND "server_name = \"10.0.0.1\"\n"));
	config_unref(config_text_good(LISTENER TLS_BACKEND "server_name = \"" NAME_253 "\"\n"));
}

/* What must not be announced stands in one place, imap/capability.h. */
static void test_capabilities(void **state)
{
	char *faults;

	(void)state;
	assert_null(config_text_load(LISTENER "capabilities = \"IDLE STARTTLS\"\n", &faults));
	assert_int_equal(strncmp(faults, "f:4:16: \"capabilities\" has \"STARTTLS\"", 37), 0);
	free(faults);
}

/* Texts of `length` bytes, the last of which are `end`. */
static char *load_long(const char *before, size_t length, const char *end)
{
	char *text;
	char *faults;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(before, out);
	for (size_t i = strlen(end); i < length; i++) {
		putc(end[0] == '/' ? '/' : 'x', out);
	}
	fprintf(out, "%s\"\n", end);
	fclose(out);
	config_unref(config_text_load(text, &faults));
	free(text);
	return faults;
}

static void test_length_bounds(void **state)
{
	static const struct {
		const char *before;
		size_t most;
		const char *end;
		const char *fault;
	} rows[] = {
		{LISTENER "capabilities = \"", 512, "",
		 "f:4:16: \"capabilities\" is 513 bytes long, but may have at most 512\n"},
		{LISTENER "[tls]\nclient_ca = \"", 4095, "/dev/null",
		 "f:5:13: \"client_ca\" is 4096 bytes long, but may have at most 4095\n"},
		{LISTENER BACKEND "user = \"", 255, "{user}",
		 "f:7:8: \"user\" is 256 bytes long, but may have at most 255\n"},
		{LISTENER BACKEND "master_password = \"x\"\nmaster_user = \"", 255, "",
		 "f:8:15: \"master_user\" is 256 bytes long, but may have at most 255\n"},
		{LISTENER BACKEND "master_user = \"x\"\nmaster_password = \"", 4096, "",
		 "f:8:19: \"master_password\" is 4097 bytes long, but may have at most 4096\n"},
		{LISTENER TLS_BACKEND "server_name = \"", 253,
		 "." LABEL_63 "." LABEL_63 "." LABEL_63,
		 "f:8:15: \"server_name\" is 254 bytes long, but may have at most 253\n"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char *faults = load_long(rows[i].before, rows[i].most, rows[i].end);

		assert_string_equal(faults, "");
		free(faults);
		faults = load_long(rows[i].before, rows[i].most + 1, rows[i].end);
		assert_string_equal(faults, rows[i].fault);
		free(faults);
	}
}

/* Wherever the password stands, rightly or not, no output has it. */
static void test_secret(void **state)
{
	static const char *const bad[] = {
		LISTENER BACKEND "master_user = \"u\"\nmaster_password = \"" CANARY "\\u0007\"\n",
		LISTENER BACKEND "master_user = \"u\"\nmaster_password = [\"" CANARY "\"]\n",
		LISTENER BACKEND "master_password = \"" CANARY "\"\n",
	};
	struct config *config = config_text_good(
		LISTENER BACKEND "master_user = \"u\"\nmaster_password = \"" CANARY "\"\n");
	char *printed = config_text_print(config);

	(void)state;
	assert_memory_equal(config->backends[0].master_password.bytes, CANARY, strlen(CANARY));
	assert_null(strstr(printed, CANARY));
	assert_non_null(strstr(printed, "\nmaster_password = \"***\"\n"));
	free(printed);
	config_unref(config);
	config = config_text_good(LISTENER BACKEND);
	printed = config_text_print(config);
	assert_non_null(strstr(printed, "\nmaster_password = \"\"\n"));
	free(printed);
	config_unref(config);
	for (size_t i = 0; i < array_length(bad); i++) {
		char *faults;

		assert_null(config_text_load(bad[i], &faults));
		assert_null(strstr(faults, CANARY));
		free(faults);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),     cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_names),        cmocka_unit_test(test_name_faults),
		cmocka_unit_test(test_list_bounds),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_places),       cmocka_unit_test(test_texts),
		cmocka_unit_test(test_capabilities), cmocka_unit_test(test_length_bounds),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
