/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: what a good file becomes, its bounds, printing and reading back. The faults
 * are in test_config_check.c, what is peculiar to a type of option in test_config_option.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proxy/core/quantity_internal.h"
#include "core/config.h"
#include "core/config_user.h"
#include "imap/sasl.h"
#include "support/config_text.h"

#define LISTENER CONFIG_TEXT_LISTENER

/* An option in the middle of otherwise good text. */
static struct config *load_in(const char *section, const char *line)
{
	char text[2048];

	snprintf(text, sizeof(text), LISTENER "%s\n%s\n", section, line);
	return config_text_good(text);
}

static void test_defaults(void **state)
{
	struct config *config =
		config_text_good(LISTENER "[[backend]]\nname='b'\naddress='h:143'\n");

	(void)state;
	assert_int_equal(config->process.workers, 0);
	assert_string_equal(config->process.node, "");
	assert_string_equal(config->process.user, "");
	assert_int_equal(config->process.drain_timeout_ms, 30000);
	assert_int_equal(config->log.level, CONFIG_LOG_INFO);
	assert_int_equal(config->log.format, CONFIG_LOG_LOGFMT);
	assert_int_equal(config->listener_count, 1);
	assert_false(config->listeners[0].allow_plaintext || config->listeners[0].proxy_protocol);
	assert_int_equal(config->listeners[0].trusted.count, 0);
	assert_int_equal(config->listeners[0].mechanisms, SASL_ALL);
	assert_string_equal(config->listeners[0].capabilities, "");
	assert_int_equal(config->tls.min_version, CONFIG_TLS_1_2);
	assert_true(config->tls.alpn && config->tls.tickets);
	assert_int_equal(config->tls.ticket_lifetime_ms, 43200000);
	assert_string_equal(config->tls.client_ca, "");
	assert_int_equal(config->tls.client_name, CONFIG_CLIENT_NAME_EMAIL);
	assert_int_equal(config->tls.certificate_count, 0);
	assert_int_equal(config->redis.addresses[0].kind, ENDPOINT_IP);
	assert_int_equal(config->redis.addresses[0].port, 6379);
	assert_int_equal(config->redis.kind, CONFIG_REDIS_SINGLE);
	assert_int_equal(config->redis.address_count, 1);
	assert_true(config->redis.verify && !config->redis.tls);
	assert_string_equal(config->redis.master, "");
	assert_string_equal(config->redis.sentinel_user, "");
	assert_string_equal(config->redis.sentinel_password, "");
	assert_int_equal(config->redis.timeout_ms, 500);
	assert_int_equal(config->routing.source, CONFIG_SOURCE_REDIS);
	assert_string_equal(config->routing.lookup, "GET gatepost:route:{user}");
	assert_int_equal(config->routing.user_case, CONFIG_USER_LOWER);
	assert_int_equal(config->backend_count, 1);
	assert_true(config->backends[0].send_id && config->backends[0].ask_capability &&
		    config->backends[0].probe);
	assert_int_equal(config->backends[0].tls, CONFIG_TLS_NONE);
	assert_true(config->backends[0].verify && !config->backends[0].send_proxy);
	assert_string_equal(config->backends[0].server_name, "");
	assert_int_equal(config->backends[0].login, CONFIG_LOGIN_SAME);
	assert_string_equal(config->backends[0].user, "{user}");
	assert_int_equal(config->backends[0].master_password.length, 0);
	assert_int_equal(config->backends[0].connect_timeout_ms, 5000);
	assert_int_equal(config->backends[0].login_timeout_ms, 30000);
	assert_int_equal(config->limits.login_timeout_ms, 60000);
	assert_int_equal(config->limits.preauth_line, 8192);
	assert_int_equal(config->limits.sasl_line, 32768);
	assert_int_equal(config->limits.sasl_lines, 256);
	assert_int_equal(config->limits.literal, 4096);
	assert_int_equal(config->limits.tag, 126);
	assert_int_equal(config->limits.id_pairs, 30);
	assert_int_equal(config->limits.bad_commands, 10);
	assert_int_equal(config->limits.commands, 1000);
	assert_int_equal(config->limits.failure_delay_ms, 3000);
	assert_int_equal(config->limits.login_failures, 5);
	config_unref(config);
}

static const char full[] =
	"[process]\nworkers = 4\nuser = \"mail\"\ndrain_timeout = \"1d\"\nmax_sessions = 7\n"
	"[log]\nlevel = \"debug\"\nformat = \"json\"\n"
	"[[listener]]\naddress = \"[::1]:1993\"\ntls = \"implicit\"\nproxy_protocol = true\n"
	"trusted = [\"unix\", \"2001:DB8::/32\", \"10.1.2.3\"]\n"
	"mechanisms = [\"scram-sha-256\", \"Plain\"]\ncapabilities = \"IDLE MOVE\"\n"
	"[[listener]]\naddress = \"[::1]:1143\"\ntls = \"starttls\"\n"
	"[[listener]]\naddress = \"unix:/run/gate \\\"post\\\\.sock\"\ntls = \"none\"\n"
	"allow_plaintext = true\n"
	"[tls]\nmin_version = \"1.3\"\nalpn = false\ntickets = false\nticket_lifetime = \"1d\"\n"
	"client_ca = \"/dev/null\"\nclient_name = \"cn\"\n"
	"[[tls.certificate]]\nchain = \"/dev/null\"\nkey = \"/dev/null\"\n"
	"names = [\"IMAP.example.org\", \"*.Example.net\"]\nocsp = \"/dev/zero\"\n"
	"[[tls.certificate]]\nchain = \"/dev/null\"\nkey = \"/dev/null\"\n"
	"[redis]\nurl = \"unix://me%40here:***@/run/r@d is?db=3\"\ntimeout = \"1500ms\"\n"
	"[routing]\nsource = \"static\"\nlookup = \"hget mail:{domain} {local}\"\n"
	"user_case = \"keep\"\ndefault_domain = \"ex\xC3\xA4mple.org\"\nurl_ca = \"/dev/null\"\n"
	"[routing.users]\n\"zo\xC3\xA9\" = \"b.2\"\n\"a\\\"b@c\" = \"b_1\"\nbob = \"b_1\"\n"
	"[[backend]]\nname = \"b_1\"\naddress = \"mail.example:143\"\nsend_id = false\n"
	"[[backend]]\nname = \"b.2\"\naddress = \"unix:/b\"\nask_capability = false\n"
	"tls = \"starttls\"\nca = \"/dev/null\"\nserver_name = \"mail.example\"\n"
	"client_chain = \"/dev/null\"\nclient_key = \"/dev/zero\"\nsend_proxy = true\n"
	"login = \"plain\"\nuser = \"{local}%{domain}\"\nmaster_user = \"proxy\"\n"
	"master_password = \"***\"\nprobe = false\n"
	"[[backend]]\nname = \"b3\"\naddress = \"[::1]:993\"\ntls = \"implicit\"\nverify = false\n"
	"login = \"login\"\n"
	"[limits]\npreauth_line = \"64KiB\"\nlogin_failures = 1000\nfailure_delay = \"0s\"\n"
	"sasl_line = \"1KiB\"\nsasl_lines = 1\nliteral = \"64\"\ntag = 16\nid_pairs = 1\n"
	"bad_commands = 1\ncommands = 10\n";

static void test_values(void **state)
{
	struct config *config = config_text_good(full);

	(void)state;
	assert_int_equal(config->process.workers, 4);
	assert_string_equal(config->process.user, "mail");
	assert_int_equal(config->process.drain_timeout_ms, 86400000);
	assert_int_equal(config->process.max_sessions, 7);
	assert_int_equal(config->log.level, CONFIG_LOG_DEBUG);
	assert_int_equal(config->log.format, CONFIG_LOG_JSON);
	assert_int_equal(config->listener_count, 3);
	assert_int_equal(config->listeners[0].address.port, 1993);
	assert_int_equal(config->listeners[0].tls, CONFIG_TLS_IMPLICIT);
	assert_int_equal(config->listeners[1].tls, CONFIG_TLS_STARTTLS);
	assert_int_equal(config->listeners[2].address.kind, ENDPOINT_UNIX);
	assert_int_equal(config->listeners[2].tls, CONFIG_TLS_NONE);
	assert_true(config->listeners[2].allow_plaintext);
	assert_int_equal(config->tls.min_version, CONFIG_TLS_1_3);
	assert_string_equal(config->redis.addresses[0].name, "/run/r@d is");
	assert_string_equal(config->redis.user, "me@here");
	assert_string_equal(config->redis.password, "***");
	assert_int_equal(config->redis.database, 3);
	assert_int_equal(config->redis.timeout_ms, 1500);
	assert_int_equal(config->routing.source, CONFIG_SOURCE_STATIC);
	assert_string_equal(config->routing.users[0].name, "a\"b@c");
	assert_int_equal(config->routing.users[0].backend, 0);
	assert_string_equal(config->routing.users[1].name, "bob@ex\xC3\xA4mple.org");
	assert_int_equal(config->routing.users[2].backend, 1);
	assert_int_equal(config->backends[0].address.kind, ENDPOINT_NAME);
	assert_false(config->backends[1].ask_capability);
	assert_int_equal(config->limits.preauth_line, 65536);
	config_unref(config);
}

static void test_front_values(void **state)
{
	struct config *config = config_text_good(full);
	const struct config_listener *listener = &config->listeners[0];
	const struct config_certificate *certificate = &config->tls.certificates[0];

	(void)state;
	assert_true(listener->proxy_protocol);
	assert_int_equal(listener->trusted.count, 3);
	assert_int_equal(listener->trusted.networks[0].address.family, AF_UNIX);
	assert_int_equal(listener->trusted.networks[1].bits, 32);
	assert_int_equal(listener->trusted.networks[2].bits, 32);
	assert_int_equal(listener->mechanisms, SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_SCRAM_SHA_256));
	assert_string_equal(listener->capabilities, "IDLE MOVE");
	assert_int_equal(config->tls.ticket_lifetime_ms, 86400000);
	assert_string_equal(config->tls.client_ca, "/dev/null");
	assert_int_equal(config->tls.client_name, CONFIG_CLIENT_NAME_CN);
	assert_int_equal(config->tls.certificate_count, 2);
	assert_string_equal(certificate->chain, "/dev/null");
	assert_string_equal(certificate->ocsp, "/dev/zero");
	assert_int_equal(certificate->names.count, 2);
	assert_string_equal(certificate->names.texts[0], "imap.example.org");
	assert_string_equal(certificate->names.texts[1], "*.example.net");
	config_unref(config);
}

static void test_backend_values(void **state)
{
	struct config *config = config_text_good(full);
	const struct config_backend *backend = &config->backends[1];

	(void)state;
	assert_string_equal(config->routing.url_ca, "/dev/null");
	assert_int_equal(config->backends[0].tls, CONFIG_TLS_NONE);
	assert_int_equal(backend->tls, CONFIG_TLS_STARTTLS);
	assert_true(backend->verify && backend->send_proxy && !backend->probe);
	assert_string_equal(backend->ca, "/dev/null");
	assert_string_equal(backend->server_name, "mail.example");
	assert_string_equal(backend->client_chain, "/dev/null");
	assert_string_equal(backend->client_key, "/dev/zero");
	assert_int_equal(backend->login, CONFIG_LOGIN_PLAIN);
	assert_string_equal(backend->user, "{local}%{domain}");
	assert_string_equal(backend->master_user, "proxy");
	assert_int_equal(backend->master_password.length, 3);
	assert_memory_equal(backend->master_password.bytes, "***", 3);
	assert_int_equal(config->backends[2].tls, CONFIG_TLS_IMPLICIT);
	assert_int_equal(config->backends[2].login, CONFIG_LOGIN_LOGIN);
	assert_false(config->backends[2].verify);
	assert_int_equal(config->limits.sasl_line, 1024);
	assert_int_equal(config->limits.sasl_lines, 1);
	assert_int_equal(config->limits.literal, 64);
	assert_int_equal(config->limits.tag, 16);
	assert_int_equal(config->limits.id_pairs, 1);
	assert_int_equal(config->limits.bad_commands, 1);
	assert_int_equal(config->limits.commands, 10);
	config_unref(config);
}

/* What is printed reads back to the same, and prints the same again. */
static void test_round_trip(void **state)
{
	struct config *config = config_text_good(full);
	char *first = config_text_print(config);
	struct config *again = config_text_good(first);
	char *second = config_text_print(again);

	(void)state;
	assert_string_equal(first, second);
	assert_string_equal(again->redis.user, config->redis.user);
	assert_string_equal(again->redis.addresses[0].name, config->redis.addresses[0].name);
	assert_true(endpoint_equal(&again->listeners[2].address, &config->listeners[2].address));
	assert_int_equal(again->listeners[0].trusted.count, 3);
	assert_int_equal(again->listeners[0].mechanisms, config->listeners[0].mechanisms);
	assert_int_equal(again->tls.certificates[0].names.count, 2);
	assert_int_equal(again->tls.certificates[1].names.count, 0);
	assert_string_equal(again->routing.lookup, config->routing.lookup);
	assert_int_equal(again->routing.user_count, 3);
	assert_int_equal(again->backend_count, 3);
	assert_int_equal(again->process.drain_timeout_ms, config->process.drain_timeout_ms);
	free(first);
	free(second);
	config_unref(config);
	config_unref(again);
}

static void test_references(void **state)
{
	struct config *config = config_text_good(LISTENER);

	(void)state;
	assert_ptr_equal(config_ref(config), config);
	config_unref(config);
	assert_int_equal(config->listener_count, 1);
	config_unref(config);
	config_unref(NULL);
}

static void test_users(void **state)
{
	static const char text[] =
		LISTENER "[routing]\ndefault_domain = \"Example.org\"\n[routing.users]\n"
			 "Alice = \"m2\"\n\"bob@other.org\" = \"m1\"\n\"\xC3\x89va\" = \"m1\"\n"
			 "[[backend]]\nname = \"m1\"\naddress = \"a:1\"\n"
			 "[[backend]]\nname = \"m2\"\naddress = \"a:2\"\n";
	struct config *config = config_text_good(text);
	char key[CONFIG_USER_MAX + 1];
	char name[CONFIG_USER_MAX + 2];

	(void)state;
	assert_true(config_normalise_user(&config->routing, "ALICE", key, sizeof(key)));
	assert_string_equal(key, "alice@example.org");
	assert_int_equal(config_find_user(config, key), 1);
	assert_int_equal(config_find_user(config, "bob@other.org"), 0);
	assert_int_equal(config_find_user(config, "bob@example.org"), 2);
	assert_int_equal(config_find_user(config, "alice"), 2);
	/* Only A-Z fold: É stays. */
	assert_true(config_normalise_user(&config->routing, "\xC3\x89VA", key, sizeof(key)));
	assert_int_equal(config_find_user(config, key), 0);
	assert_false(config_normalise_user(&config->routing, "", key, sizeof(key)));
	memset(name, 'x', sizeof(name));
	name[CONFIG_USER_MAX - 12] = '\0';
	assert_true(config_normalise_user(&config->routing, name, key, sizeof(key)));
	assert_int_equal(strlen(key), CONFIG_USER_MAX);
	name[CONFIG_USER_MAX - 12] = 'x';
	name[CONFIG_USER_MAX - 11] = '\0';
	assert_false(config_normalise_user(&config->routing, name, key, sizeof(key)));
	config_unref(config);
}

static void test_quantities(void **state)
{
	static const struct {
		const struct quantity_unit *units;
		const char *text;
		uint64_t amount;
		const char *formatted;
	} good[] = {
		{quantity_time, "500ms", 500, "500ms"},
		{quantity_time, "30s", 30000, "30s"},
		{quantity_time, "60s", 60000, "1m"},
		{quantity_time, "5m", 300000, "5m"},
		{quantity_time, "1h", 3600000, "1h"},
		{quantity_time, "2d", 172800000, "2d"},
		{quantity_time, "0ms", 0, "0s"},
		{quantity_time, "007s", 7000, "7s"},
		{quantity_time, "18446744073709551615ms", UINT64_MAX, "18446744073709551615ms"},
		{quantity_time, "18446744073709551s", UINT64_C(18446744073709551000),
		 "18446744073709551s"},
		{quantity_bytes, "0", 0, "0"},
		{quantity_bytes, "4096", 4096, "4KiB"},
		{quantity_bytes, "4097", 4097, "4097"},
		{quantity_bytes, "1MiB", 1 << 20, "1MiB"},
		{quantity_bytes, "1024MiB", 1 << 30, "1GiB"},
	};
	static const struct {
		const struct quantity_unit *units;
		const char *text;
	} bad[] = {
		{quantity_time, ""},
		{quantity_time, "s"},
		{quantity_time, "5"},
		{quantity_time, "5S"},
		{quantity_time, "5 s"},
		{quantity_time, " 5s"},
		{quantity_time, "5s "},
		{quantity_time, "+5s"},
		{quantity_time, "-5s"},
		{quantity_time, "1.5s"},
		{quantity_time, "5m30s"},
		{quantity_time, "18446744073709551616ms"},
		{quantity_time, "18446744073709552s"},
		{quantity_time, "40000000000000000000ms"},
		{quantity_time, "99999999999999999999999999d"},
		{quantity_bytes, "1KB"},
		{quantity_bytes, "1kib"},
		{quantity_bytes, "1B"},
		{quantity_bytes, "17179869184GiB"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(good); i++) {
		char text[QUANTITY_TEXT_MAX];
		uint64_t amount = 1;

		assert_true(quantity_parse(good[i].units, good[i].text, &amount));
		assert_true(amount == good[i].amount);
		quantity_format(good[i].units, amount, text);
		assert_string_equal(text, good[i].formatted);
	}
	for (size_t i = 0; i < array_length(bad); i++) {
		uint64_t amount = 1;

		if (quantity_parse(bad[i].units, bad[i].text, &amount)) {
			fail_msg("taken: \"%s\"", bad[i].text);
		}
	}
}

static void test_lookups(void **state)
{
	static const char *const good[] = {
		"GET {user}",
		"hGet mail:{user} server",
		"HGET hosts {domain}",
		"GETRANGE x:{local} 0 -1",
		"substr x:{local} 0 -1",
		"LINDEX {user}{domain} 0",
	};

	(void)state;
	for (size_t i = 0; i < array_length(good); i++) {
		char line[128];

		snprintf(line, sizeof(line), "lookup = \"%s\"", good[i]);
		config_unref(load_in("[routing]", line));
	}
}

/* At every bound, and one past it. */
static void test_bounds(void **state)
{
	static const struct {
		const char *section;
		const char *within;
		const char *past;
	} rows[] = {
		{"[process]", "workers = 1024", "workers = 1025"},
		{"[process]", "workers = 0", "workers = -1"},
		{"[process]", "max_sessions = 10000000", "max_sessions = 10000001"},
		{"[process]", "user = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
		 "user = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"},
		{"[process]", "drain_timeout = '7d'", "drain_timeout = '604800001ms'"},
		{"[process]",
		 "node = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
		 "node = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"},
		{"[redis]", "timeout = '1ms'", "timeout = '0ms'"},
		{"[redis]", "timeout = '1m'", "timeout = '60001ms'"},
		{"[redis]", "url = 'redis://h/65535'", "url = 'redis://h/65536'"},
		{"[redis]", "url = 'redis://h:65535'", "url = 'redis://h:65536'"},
		{"[limits]", "handshake_timeout = '10m'", "handshake_timeout = '11m'"},
		{"[limits]", "login_timeout = '1h'", "login_timeout = '2h'"},
		{"[limits]", "close_timeout = '1h'", "close_timeout = '61m'"},
		{"[limits]", "preauth_line = '1024'", "preauth_line = '1023'"},
		{"[limits]", "preauth_line = '64KiB'", "preauth_line = '65537'"},
		{"[tls]", "ticket_lifetime = '1s'", "ticket_lifetime = '999ms'"},
		{"[tls]", "ticket_lifetime = '7d'", "ticket_lifetime = '604800001ms'"},
		{"[limits]", "peer_timeout = '5s'", "peer_timeout = '4999ms'"},
		{"[limits]", "peer_timeout = '1d'", "peer_timeout = '25h'"},
		{"[limits]", "sasl_line = '1KiB'", "sasl_line = '1023'"},
		{"[limits]", "sasl_line = '64KiB'", "sasl_line = '65537'"},
		{"[limits]", "sasl_lines = 1", "sasl_lines = 0"},
		{"[limits]", "sasl_lines = 1000000", "sasl_lines = 1000001"},
		{"[limits]", "literal = '64'", "literal = '63'"},
		{"[limits]", "literal = '8KiB'", "literal = '8193'"},
		{"[limits]", "tag = 16", "tag = 15"},
		{"[limits]", "tag = 126", "tag = 127"},
		{"[limits]", "id_pairs = 1", "id_pairs = 0"},
		{"[limits]", "id_pairs = 30", "id_pairs = 31"},
		{"[limits]", "bad_commands = 1", "bad_commands = 0"},
		{"[limits]", "bad_commands = 80", "bad_commands = 81"},
		{"[limits]", "commands = 10", "commands = 9"},
		{"[limits]", "commands = 1000000", "commands = 1000001"},
		{"[limits]", "failure_delay = '0s'", "failure_delay = '61s'"},
		{"[limits]", "login_failures = 1", "login_failures = 0"},
		{"[limits]", "login_failures = 1000", "login_failures = 1001"},
		{"[limits]", "login_failures = 1000", "login_failures = 9223372036854775807"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char text[256];
		char *faults;

		config_unref(load_in(rows[i].section, rows[i].within));
		snprintf(text, sizeof(text), LISTENER "%s\n%s\n", rows[i].section, rows[i].past);
		assert_null(config_text_load(text, &faults));
		assert_int_equal(strncmp(faults, "f:5:", 4), 0);
		free(faults);
	}
}

/* A file of `size` bytes, all of them a comment behind the listener; loads it. */
static struct config *load_file(const char *path, size_t size, char **faults)
{
	size_t fault_size;
	FILE *file = fopen(path, "w");
	FILE *out = open_memstream(faults, &fault_size);
	struct config *config;

	fputs(LISTENER "#", file);
	for (size_t i = strlen(LISTENER) + 1; i < size; i++) {
		putc('x', file);
	}
	fclose(file);
	config = config_load(path, out);
	fclose(out);
	return config;
}

static char *load_path_faults(const char *path)
{
	char *faults;
	size_t size;
	FILE *out = open_memstream(&faults, &size);

	assert_null(config_load(path, out));
	fclose(out);
	return faults;
}

static void test_files(void **state)
{
	char folder[] = "/tmp/test_config.XXXXXX";
	char path[64];
	char wanted[256];
	char *faults;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/c.toml", folder);

	faults = load_path_faults(path);
	snprintf(wanted, sizeof(wanted),
		 "%s:1:1: cannot be read: No such file or directory; name a configuration file\n",
		 path);
	assert_string_equal(faults, wanted);
	free(faults);

	faults = load_path_faults(folder);
	assert_non_null(strstr(faults, ":1:1: cannot be read: Is a directory"));
	free(faults);

	config_unref(load_file(path, CONFIG_FILE_MAX, &faults));
	assert_string_equal(faults, "");
	free(faults);

	assert_null(load_file(path, CONFIG_FILE_MAX + 1, &faults));
	snprintf(wanted, sizeof(wanted),
		 "%s:1:1: larger than 16777216 bytes; no configuration "
		 "is\n",
		 path);
	assert_string_equal(faults, wanted);
	free(faults);

	faults = load_path_faults("/dev/zero");
	assert_string_equal(faults, "/dev/zero:1:1: larger than 16777216 bytes; no configuration "
				    "is\n");
	free(faults);
	unlink(path);
	rmdir(folder);
}

/* A NUL byte in a file is not the end of it. */
static void test_nul_byte(void **state)
{
	static const char text[] = LISTENER "\0[process]\nworkers = 1\n";
	char path[] = "/tmp/test_config.XXXXXX";
	int file = mkstemp(path);
	char *faults;

	(void)state;
	assert_int_equal(write(file, text, sizeof(text) - 1), sizeof(text) - 1);
	close(file);
	faults = load_path_faults(path);
	assert_non_null(strstr(faults, ":4:1: not TOML: "));
	free(faults);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),     cmocka_unit_test(test_values),
		cmocka_unit_test(test_front_values), cmocka_unit_test(test_backend_values),
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_references),
		cmocka_unit_test(test_users),        cmocka_unit_test(test_quantities),
		cmocka_unit_test(test_lookups),      cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_files),        cmocka_unit_test(test_nul_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
