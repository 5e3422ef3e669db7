/* SPDX-License-Identifier: Apache-2.0
 *
 * [redis]: its URL in all its forms, read and printed, and what stands beside it.
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
#include "support/config_text.h"

#define LISTENER CONFIG_TEXT_LISTENER
#define REDIS    LISTENER "[redis]\n"

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

static void check_good(const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		config_unref(config_text_good(texts[i]));
	}
}

static struct config *load_url(const char *url)
{
	char text[8192 + 128];

	snprintf(text, sizeof(text), REDIS "url = \"%s\"\n", url);
	return config_text_good(text);
}

static void test_urls(void **state)
{
	static const struct {
		const char *url;
		enum endpoint_kind kind;
		const char *name;
		unsigned port;
		const char *user;
		const char *password;
		unsigned database;
	} rows[] = {
		{"redis://h", ENDPOINT_NAME, "h", 6379, "", "", 0},
		{"redis://h/", ENDPOINT_NAME, "h", 6379, "", "", 0},
		{"redis://h:1/15", ENDPOINT_NAME, "h", 1, "", "", 15},
		{"redis://h?db=65535", ENDPOINT_NAME, "h", 6379, "", "", 65535},
		{"redis://h/?db=2", ENDPOINT_NAME, "h", 6379, "", "", 2},
		{"redis://[::1]:7/0", ENDPOINT_IP, "::1", 7, "", "", 0},
		{"redis://[::1]", ENDPOINT_IP, "::1", 6379, "", "", 0},
		{"redis://:pw@h", ENDPOINT_NAME, "h", 6379, "", "pw", 0},
		{"redis://u:p%3a%40%2F%25@h/1", ENDPOINT_NAME, "h", 6379, "u", "p:@/%", 1},
		{"redis://u:a:b/c@d@h/1", ENDPOINT_NAME, "h", 6379, "u", "a:b/c@d", 1},
		{"redis://u%3A:%C3%A9@h", ENDPOINT_NAME, "h", 6379, "u:", "\xC3\xA9", 0},
		{"unix:///run/redis.sock", ENDPOINT_UNIX, "/run/redis.sock", 0, "", "", 0},
		{"unix:///run/a@b?db=4", ENDPOINT_UNIX, "/run/a@b", 0, "", "", 4},
		{"unix://:pw@/run/redis.sock", ENDPOINT_UNIX, "/run/redis.sock", 0, "", "pw", 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct config *config = load_url(rows[i].url);

		assert_int_equal(config->redis.kind, CONFIG_REDIS_SINGLE);
		assert_int_equal(config->redis.address_count, 1);
		assert_int_equal(config->redis.addresses[0].kind, rows[i].kind);
		assert_string_equal(config->redis.addresses[0].name, rows[i].name);
		assert_int_equal(config->redis.addresses[0].port, rows[i].port);
		assert_string_equal(config->redis.user, rows[i].user);
		assert_string_equal(config->redis.password, rows[i].password);
		assert_int_equal(config->redis.database, rows[i].database);
		config_unref(config);
	}
}

static void test_many(void **state)
{
	static const struct {
		const char *url;
		enum config_redis_kind kind;
		bool tls;
		const char *hosts; /* with their ports, a space between */
		const char *master;
		unsigned database;
		const char *printed;
	} rows[] = {
		{"rediss://h", CONFIG_REDIS_SINGLE, true, "h:6379", "", 0, "rediss://h:6379/0"},
		{"rediss://[2001:db8::1]:1/3", CONFIG_REDIS_SINGLE, true, "[2001:db8::1]:1", "", 3,
		 "rediss://[2001:db8::1]:1/3"},
		{"sentinel://h/m", CONFIG_REDIS_SENTINEL, false, "h:26379", "m", 0,
		 "sentinel://h:26379/m/0"},
		{"sentinel://h/m/", CONFIG_REDIS_SENTINEL, false, "h:26379", "m", 0,
		 "sentinel://h:26379/m/0"},
		{"sentinel://h1,10.0.0.1:7,[::1]/My-master_2.a/65535", CONFIG_REDIS_SENTINEL, false,
		 "h1:26379 10.0.0.1:7 [::1]:26379", "My-master_2.a", 65535,
		 "sentinel://h1:26379,10.0.0.1:7,[::1]:26379/My-master_2.a/65535"},
		{"sentinels://u:p@h,i/m?db=4", CONFIG_REDIS_SENTINEL, true, "h:26379 i:26379", "m",
		 4, "sentinels://u:***@h:26379,i:26379/m/4"},
		{"cluster://a,b:7001,[::1]:7002", CONFIG_REDIS_CLUSTER, false,
		 "a:6379 b:7001 [::1]:7002", "", 0, "cluster://a:6379,b:7001,[::1]:7002"},
		{"clusters://:p@a/", CONFIG_REDIS_CLUSTER, true, "a:6379", "", 0,
		 "clusters://:***@a:6379"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct config *config = load_url(rows[i].url);
		char *printed = config_text_print(config);
		char hosts[256] = "";
		char line[256];

		for (size_t j = 0; j < config->redis.address_count; j++) {
			size_t used = strlen(hosts);
			char host[ENDPOINT_TEXT_MAX];

			endpoint_format(&config->redis.addresses[j], host);
			snprintf(hosts + used, sizeof(hosts) - used, "%s%.64s", j == 0 ? "" : " ",
				 host);
		}
		assert_int_equal(config->redis.kind, rows[i].kind);
		assert_int_equal(config->redis.tls, rows[i].tls);
		assert_string_equal(hosts, rows[i].hosts);
		assert_string_equal(config->redis.master, rows[i].master);
		assert_int_equal(config->redis.database, rows[i].database);
		snprintf(line, sizeof(line), "\nurl = \"%s\"\n", rows[i].printed);
		assert_non_null(strstr(printed, line));
		config_unref(config_text_good(printed));
		free(printed);
		config_unref(config);
	}
}

#define URL(text) REDIS "url = \"" text "\"\n"
#define NO_MASTER                                                                                  \
	"f:5:7: \"url\" names no master as its sentinels do: sentinel://HOST,HOST/MASTER, of "     \
	"letters, digits, '-', '_' and '.'\n"
#define ONE_DATABASE "f:5:7: \"url\" names a database, but a cluster has only one; leave it out\n"

static void test_many_faults(void **state)
{
	static const struct fault_row rows[] = {
		{URL("sentinel://h"), NO_MASTER},
		{URL("sentinel://h,i/"), NO_MASTER},
		{URL("sentinel://h//0"), NO_MASTER},
		{URL("sentinel://h/my master"), NO_MASTER},
		{URL("sentinel://h/m/x"),
		 "f:5:7: \"url\" has a database that is not a number from 0 to 65535\n"},
		{URL("sentinel://h/m/1?db=1"),
		 "f:5:7: \"url\" names the database twice: /NUMBER or ?db=NUMBER\n"},
		{URL("sentinel://h,,i/m"),
		 "f:5:7: \"url\" has no good address: sentinel://HOST, sentinel://HOST:PORT or "
		 "sentinel://[IPv6]:PORT\n"},
		{URL("clusters://h,"),
		 "f:5:7: \"url\" has no good address: clusters://HOST, clusters://HOST:PORT or "
		 "clusters://[IPv6]:PORT\n"},
		{URL("redis://h,i"),
		 "f:5:7: \"url\" has no good address: redis://HOST, redis://HOST:PORT or "
		 "redis://[IPv6]:PORT\n"},
		{URL("cluster://h,unix:@x"),
		 "f:5:7: \"url\" has no password before its '@': write user:password@, or "
		 ":password@\n"},
		{URL("cluster://a,b:6379,b"), "f:5:7: \"url\" has one host twice; keep one\n"},
		{URL("cluster://a/0"), ONE_DATABASE},
		{URL("cluster://a?db=0"), ONE_DATABASE},
		{URL("redisss://h"),
		 "f:5:7: \"url\" has a scheme that is not supported; redis://, unix://, "
		 "sentinel:// and cluster:// are, and with TLS rediss://, sentinels:// and "
		 "clusters://\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

/* At the most hosts that there may be, and one past them. */
static void test_host_bounds(void **state)
{
	char url[256] = "cluster://h0";
	char text[512];
	char *faults;

	(void)state;
	for (unsigned i = 1; i < CONFIG_REDIS_ADDRESSES_MAX; i++) {
		size_t used = strlen(url);

		snprintf(url + used, sizeof(url) - used, ",h%u", i);
	}
	config_unref(load_url(url));
	snprintf(text, sizeof(text), REDIS "url = \"%s,more\"\n", url);
	assert_null(config_text_load(text, &faults));
	assert_string_equal(faults, "f:5:7: \"url\" has more than 16 hosts\n");
	free(faults);
}

#define NO_TLS                                                                                     \
	"has no effect where the URL has no TLS; begin it with rediss://, sentinels:// or "        \
	"clusters://, or remove it\n"
#define ONLY_SENTINEL "is for sentinel:// and sentinels:// only; remove it\n"

static void test_relations(void **state)
{
	static const struct fault_row rows[] = {
		{REDIS "verify = false\n", "f:5:10: \"verify\" " NO_TLS},
		{URL("cluster://h") "ca = \"/dev/null\"\nserver_name = \"a\"\n"
				    "client_chain = \"/dev/null\"\nclient_key = \"/dev/null\"\n",
		 "f:6:6: \"ca\" " NO_TLS "f:7:15: \"server_name\" " NO_TLS
		 "f:8:16: \"client_chain\" " NO_TLS "f:9:14: \"client_key\" " NO_TLS},
		{URL("rediss://h") "client_chain = \"/dev/null\"\n",
		 "f:6:16: \"client_chain\" stands without \"client_key\"; write both, or "
		 "neither\n"},
		{URL("rediss://h") "client_key = \"/dev/null\"\n",
		 "f:6:14: \"client_key\" stands without \"client_chain\"; write both, or "
		 "neither\n"},
		{URL("cluster://h") "sentinel_user = \"u\"\nsentinel_password = \"p\"\n",
		 "f:6:17: \"sentinel_user\" " ONLY_SENTINEL
		 "f:7:21: \"sentinel_password\" " ONLY_SENTINEL},
		{REDIS "sentinel_password = \"p\"\n",
		 "f:5:21: \"sentinel_password\" " ONLY_SENTINEL},
		{URL("sentinel://h/m") "sentinel_user = \"u\"\nsentinel_password = \"\"\n",
		 "f:6:17: \"sentinel_user\" stands without \"sentinel_password\"; write both, or "
		 "neither\n"},
		/* One fault is enough. */
		{URL("redis+tls://h") "verify = false\nsentinel_password = \"p\"\n",
		 "f:5:7: \"url\" has a scheme that is not supported; redis://, unix://, "
		 "sentinel:// and cluster:// are, and with TLS rediss://, sentinels:// and "
		 "clusters://\n"},
		{URL("rediss://h:x") "verify = false\n",
		 "f:5:7: \"url\" has no good address: rediss://HOST, rediss://HOST:PORT or "
		 "rediss://[IPv6]:PORT\n"},
		{REDIS "url = 7\nverify = false\n",
		 "f:5:7: \"url\" must be a URL in quotes, not a whole number\n"},
	};
	static const char *const good[] = {
		REDIS "verify = true\nca = \"\"\nsentinel_user = \"\"\nsentinel_password = \"\"\n",
		URL("rediss://h") "verify = false\n",
		URL("clusters://h") "ca = \"/dev/null\"\nserver_name = \"a\"\n"
				    "client_chain = \"/dev/null\"\nclient_key = \"/dev/null\"\n",
		URL("sentinel://h/m") "sentinel_password = \"p\"\n",
		URL("sentinels://h/m") "sentinel_user = \"u\"\nsentinel_password = \"p\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

static void test_values(void **state)
{
	struct config *config = config_text_good(
		REDIS "sentinel_user = \"u\"\nsentinel_password = \"***\"\nverify = false\n"
		      "ca = \"/dev/null\"\nserver_name = \"redis.example\"\n"
		      "client_chain = \"/dev/null\"\nclient_key = \"/dev/zero\"\n"
		      "timeout = \"1s\"\nurl = \"sentinels://h/m\"\n");
	const struct config_redis *redis = &config->redis;
	char *first = config_text_print(config);
	struct config *again = config_text_good(first);
	char *second = config_text_print(again);

	(void)state;
	assert_string_equal(first, second);
	assert_string_equal(redis->sentinel_user, "u");
	assert_string_equal(redis->sentinel_password, "***");
	assert_false(redis->verify);
	assert_string_equal(redis->ca, "/dev/null");
	assert_string_equal(redis->server_name, "redis.example");
	assert_string_equal(redis->client_chain, "/dev/null");
	assert_string_equal(redis->client_key, "/dev/zero");
	assert_int_equal(redis->timeout_ms, 1000);
	assert_int_equal(redis->ca_place.line, 8);
	assert_int_equal(redis->client_chain_place.line, 10);
	assert_int_equal(redis->client_key_place.line, 11);
	free(first);
	free(second);
	config_unref(again);
	config_unref(config);
}

#define CANARY "CANARY7f3a"

/* Wherever a password stands, rightly or not, no output has it. */
static void test_no_password(void **state)
{
	static const char *const urls[] = {
		"redis://u:" CANARY "@h",
		"unix://u:" CANARY "@/p",
		"rediss://u:" CANARY "@h",
		"sentinel://u:" CANARY "@h,i/m",
		"cluster://u:" CANARY "@h,i",
		"redis://u:" CANARY,
		"redis://u:x@" CANARY "/@h:99999",
		"redis://" CANARY "@h",
		"redis://:" CANARY "/x@h:y",
		"redis://h/" CANARY,
		"redis://h?password=" CANARY,
		"redi://:" CANARY "@h",
		"redis://u:%GG" CANARY "@h",
		"redis:" CANARY,
		"unix://" CANARY,
		"sentinel://" CANARY,
		"sentinel://h/m/" CANARY,
		"sentinel://h/" CANARY "!",
		"cluster://h," CANARY ":x",
		"cluster://h/" CANARY,
		CANARY,
		"\\u0007" CANARY,
	};

	(void)state;
	for (size_t i = 0; i < array_length(urls); i++) {
		char text[256];
		char *faults;
		struct config *config;

		snprintf(text, sizeof(text), LISTENER "[redis]\nurl = \"%s\"\n", urls[i]);
		config = config_text_load(text, &faults);
		assert_null(strstr(faults, CANARY));
		assert_true(i < 5 ? config != NULL : config == NULL);
		free(faults);
		if (config != NULL) {
			char *printed = config_text_print(config);

			assert_string_equal(config->redis.password, CANARY);
			assert_null(strstr(printed, CANARY));
			assert_non_null(strstr(printed, "u:***@"));
			free(printed);
		}
		config_unref(config);
	}
}

static void test_no_sentinel_password(void **state)
{
	struct config *config =
		config_text_good(URL("sentinel://h/m") "sentinel_password = \"" CANARY "\"\n");
	char *printed = config_text_print(config);
	char *faults;

	(void)state;
	assert_string_equal(config->redis.sentinel_password, CANARY);
	assert_null(strstr(printed, CANARY));
	assert_non_null(strstr(printed, "\nsentinel_password = \"***\"\n"));
	free(printed);
	config_unref(config);
	assert_null(config_text_load(REDIS "sentinel_password = \"" CANARY "\\u0007\"\n", &faults));
	assert_null(strstr(faults, CANARY));
	free(faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),        cmocka_unit_test(test_many),
		cmocka_unit_test(test_many_faults), cmocka_unit_test(test_host_bounds),
		cmocka_unit_test(test_relations),   cmocka_unit_test(test_values),
		cmocka_unit_test(test_no_password), cmocka_unit_test(test_no_sentinel_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
