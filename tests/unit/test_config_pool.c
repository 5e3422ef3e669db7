/* SPDX-License-Identifier: Apache-2.0
 *
 * What the configuration says of the pool, of users that no source knows, of health and of moves:
 * values, their forms, and the faults between them, each with what stands just beside.
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
#define BACKEND  "[[backend]]\nname = \"m\"\naddress = \"h:1\"\n"
#define ROUTING  LISTENER BACKEND "[routing]\n"
#define LABEL_63 "a23456789012345678901234567890123456789012345678901234567890123"
#define NAME_253                                                                                   \
	LABEL_63 "." LABEL_63 "." LABEL_63 ".b2345678901234567890123456789012345678901234"         \
		 "567890123456789.c"

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

static void test_defaults(void **state)
{
	struct config *config = config_text_good(LISTENER BACKEND);

	(void)state;
	assert_int_equal(config->routing.unknown, CONFIG_UNKNOWN_REJECT);
	assert_false(config->routing.failover);
	assert_int_equal(config->routing.cache_ttl_ms, 60000);
	assert_int_equal(config->routing.unknown_ttl_ms, 5000);
	assert_int_equal(config->routing.stale_ttl_ms, 3600000);
	assert_int_equal(config->routing.cache_routes, 1000000);
	assert_int_equal(config->routing.canary.share, 0);
	assert_int_equal(config->routing.canary_threshold, 20);
	assert_int_equal(config->routing.url_hosts.names.count, 0);
	assert_int_equal(config->routing.referrals.network_count, 0);
	assert_string_equal(config->backends[0].service, "");
	assert_int_equal(config->backends[0].weight, 100);
	assert_int_equal(config->backends[0].sources.count, 0);
	assert_int_equal(config->backends[0].connect_rate, 0);
	assert_int_equal(config->backends[0].connect_queue_ms, 10000);
	assert_int_equal(config->backends[0].slow_start_ms, 0);
	assert_int_equal(config->health.check, CONFIG_CHECK_GREETING);
	assert_int_equal(config->health.interval_ms, 5000);
	assert_int_equal(config->health.rise, 2);
	assert_int_equal(config->health.fall, 3);
	assert_int_equal(config->health.witnesses, 5);
	assert_int_equal(config->moves.kick_grace_ms, 1000);
	assert_int_equal(config->moves.hold_timeout_ms, 120000);
	assert_int_equal(config->moves.hold_line_ms, 5000);
	assert_int_equal(config->moves.release_spread_ms, 500);
	assert_int_equal(config->moves.max_parked, 1000);
	assert_int_equal(config->moves.drain_rate, 20);
	assert_int_equal(config->moves.disconnect_rate, 500);
	assert_int_equal(config->moves.disconnect_spread_ms, 10000);
	config_unref(config);
}

static const char full[] = LISTENER
	"[process]\nnode = \"proxy-1.a_b\"\n"
	"[routing]\nunknown = \"hash\"\nfailover = true\ncache_ttl = \"1s\"\nunknown_ttl = \"2s\"\n"
	"stale_ttl = \"3s\"\ncache_routes = 4\ncanary = \"c:0.5%\"\ncanary_threshold = 5\n"
	"url_hosts = [\"10.0.0.0/8\", \"MAIL.example\", \"*.example\", \"::1\"]\n"
	"referrals = [\"192.0.2.1\"]\n"
	"[[backend]]\nname = \"a\"\naddress = \"srv:_imap._tcp.mail.svc.cluster.local\"\n"
	"tls = \"implicit\"\nweight = 0\n"
	"[[backend]]\nname = \"b\"\naddress = \"h:143\"\nweight = 10000\nconnect_rate = 6\n"
	"sources = [\"10.0.0.5\", \"2001:DB8::5\", \"::ffff:10.0.0.6\"]\nconnect_queue = \"7s\"\n"
	"slow_start = \"8s\"\n"
	"[[backend]]\nname = \"c\"\naddress = \"[::1]:143\"\nsources = [\"10.0.0.5\", \"::1\"]\n"
	"[health]\ncheck = \"login\"\ninterval = \"9s\"\nrise = 10\nfall = 11\nuser = \"probe\"\n"
	"password = \"***\"\nwitnesses = 12\n"
	"[moves]\nkick_grace = \"13s\"\nhold_timeout = \"14s\"\nhold_line = \"15s\"\n"
	"release_spread = \"16s\"\nmax_parked = 17\ndrain_rate = 18\ndisconnect_rate = 19\n"
	"disconnect_spread = \"20s\"\n";

static void test_pool_values(void **state)
{
	struct config *config = config_text_good(full);
	const struct config_backend *backends = config->backends;

	(void)state;
	assert_string_equal(config->process.node, "proxy-1.a_b");
	assert_int_equal(backends[0].address.kind, ENDPOINT_NONE);
	assert_string_equal(backends[0].service, "_imap._tcp.mail.svc.cluster.local");
	assert_int_equal(backends[0].weight, 0);
	assert_int_equal(backends[1].address.kind, ENDPOINT_NAME);
	assert_string_equal(backends[1].service, "");
	assert_int_equal(backends[1].weight, 10000);
	assert_int_equal(backends[1].connect_rate, 6);
	assert_int_equal(backends[1].connect_queue_ms, 7000);
	assert_int_equal(backends[1].slow_start_ms, 8000);
	assert_int_equal(backends[1].sources.count, 3);
	assert_int_equal(backends[1].sources.addresses[0].family, AF_INET);
	assert_int_equal(backends[1].sources.addresses[1].family, AF_INET6);
	assert_int_equal(backends[1].sources.addresses[2].family, AF_INET);
	assert_int_equal(config->health.check, CONFIG_CHECK_LOGIN);
	assert_int_equal(config->health.interval_ms, 9000);
	assert_int_equal(config->health.rise, 10);
	assert_int_equal(config->health.fall, 11);
	assert_string_equal(config->health.user, "probe");
	assert_memory_equal(config->health.password.bytes, "***", 3);
	assert_int_equal(config->health.witnesses, 12);
	config_unref(config);
}

static void test_routing_values(void **state)
{
	struct config *config = config_text_good(full);
	const struct config_routing *routing = &config->routing;

	(void)state;
	assert_int_equal(routing->unknown, CONFIG_UNKNOWN_HASH);
	assert_true(routing->failover);
	assert_int_equal(routing->cache_ttl_ms, 1000);
	assert_int_equal(routing->unknown_ttl_ms, 2000);
	assert_int_equal(routing->stale_ttl_ms, 3000);
	assert_int_equal(routing->cache_routes, 4);
	assert_int_equal(routing->canary.backend, 2);
	assert_int_equal(routing->canary.share, 50);
	assert_int_equal(routing->canary_threshold, 5);
	assert_int_equal(routing->url_hosts.names.count, 2);
	assert_string_equal(routing->url_hosts.names.texts[0], "mail.example");
	assert_string_equal(routing->url_hosts.names.texts[1], "*.example");
	assert_int_equal(routing->url_hosts.network_count, 2);
	assert_int_equal(routing->referrals.network_count, 1);
	assert_int_equal(config->moves.kick_grace_ms, 13000);
	assert_int_equal(config->moves.hold_timeout_ms, 14000);
	assert_int_equal(config->moves.hold_line_ms, 15000);
	assert_int_equal(config->moves.release_spread_ms, 16000);
	assert_int_equal(config->moves.max_parked, 17);
	assert_int_equal(config->moves.drain_rate, 18);
	assert_int_equal(config->moves.disconnect_rate, 19);
	assert_int_equal(config->moves.disconnect_spread_ms, 20000);
	config_unref(config);
}

/* What is printed reads back to the same, and prints the same again. */
static void test_round_trip(void **state)
{
	struct config *config = config_text_good(full);
	char *first = config_text_print(config);
	struct config *again = config_text_good(first);
	char *second = config_text_print(again);
	static const char *const lines[] = {
		"\nunknown = \"hash\"\n",
		"\ncanary = \"c:0.50%\"\n",
		"\nurl_hosts = [\"mail.example\", \"*.example\", \"10.0.0.0/8\", \"::1\"]\n",
		"\nreferrals = [\"192.0.2.1\"]\n",
		"\naddress = \"srv:_imap._tcp.mail.svc.cluster.local\"\n",
		"\nsources = [\"10.0.0.5\", \"2001:db8::5\", \"10.0.0.6\"]\n",
		"\npassword = \"***\"\n",
	};

	(void)state;
	assert_string_equal(first, second);
	for (size_t i = 0; i < array_length(lines); i++) {
		if (strstr(first, lines[i]) == NULL) {
			fail_msg("not printed:%s", lines[i]);
		}
	}
	assert_int_equal(again->routing.canary.backend, 2);
	assert_string_equal(again->backends[0].service, config->backends[0].service);
	free(first);
	free(second);
	config_unref(again);
	config_unref(config);
}

#define SERVICE_WHAT "but must have the name of a service, such as \"_imap._tcp.example.org\"\n"

static void test_services(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:\"\n",
		 "f:6:11: \"address\" has \"\" behind \"srv:\", " SERVICE_WHAT},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:_imap._tcp.a:143\"\n",
		 "f:6:11: \"address\" has \"_imap._tcp.a:143\" behind \"srv:\", " SERVICE_WHAT},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:10.0.0.1\"\n",
		 "f:6:11: \"address\" has \"10.0.0.1\" behind \"srv:\", " SERVICE_WHAT},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:" NAME_253 "d\"\n",
		 "f:6:11: \"address\" has \"a2345678901234567890123456789012345678901234567890"
		 "12345678901...\" behind \"srv:\", " SERVICE_WHAT},
		{"[[listener]]\naddress = \"srv:_imap._tcp.a\"\ntls = \"none\"\n",
		 "f:2:11: \"address\" is not an address: a port is a number from 1 to "
		 "65535, not \"_imap._tcp.a\"\n"},
	};
	static const char *const good[] = {
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:" NAME_253 "\"\n",
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:mail.service.consul\"\n",
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"" NAME_253 ":65535\"\n",
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"srv:a.b\"\ntls = \"implicit\"\n"
			 "sources = [\"::1\"]\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

#define SOURCES_WHAT "but must have IP addresses of this host, such as \"10.0.0.5\"\n"
#define NO_SOURCE                                                                                  \
	"\"sources\" has no address from which \"address\" can be connected to: one is IPv4, the " \
	"other IPv6; add one of its kind\n"

static void test_sources(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER BACKEND "sources = [\"10.0.0.0/8\", \"h\", \"0.0.0.0\", \"::\", \"\"]\n",
		 "f:7:12: \"sources\" has \"10.0.0.0/8\", " SOURCES_WHAT
		 "f:7:26: \"sources\" has \"h\", " SOURCES_WHAT
		 "f:7:31: \"sources\" has \"0.0.0.0\", " SOURCES_WHAT
		 "f:7:42: \"sources\" has \"::\", " SOURCES_WHAT
		 "f:7:48: \"sources\" has \"\", " SOURCES_WHAT},
		{LISTENER BACKEND "sources = [\"10.0.0.1\", \"::ffff:10.0.0.1\"]\n",
		 "f:7:24: \"sources\" has \"::ffff:10.0.0.1\" twice; keep one\n"},
		{LISTENER BACKEND "sources = \"10.0.0.1\"\n",
		 "f:7:11: \"sources\" must be an array of IP addresses in quotes: [\"10.0.0.5\", "
		 "\"2001:db8::5\"], not a string\n"},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"unix:/b\"\n"
			  "sources = [\"10.0.0.1\"]\n",
		 "f:7:11: \"sources\" has no effect on \"unix:/path\"; remove it\n"},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"10.0.0.1:1\"\n"
			  "sources = [\"::1\", \"::2\"]\n",
		 "f:7:11: " NO_SOURCE},
		{LISTENER "[[backend]]\nname = \"m\"\naddress = \"[::1]:1\"\n"
			  "sources = [\"10.0.0.1\"]\n",
		 "f:7:11: " NO_SOURCE},
	};
	static const char *const good[] = {
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"unix:/b\"\nsources = []\n",
		LISTENER "[[backend]]\nname = \"m\"\naddress = \"10.0.0.1:1\"\n"
			 "sources = [\"::1\", \"10.0.0.2\"]\n",
		LISTENER BACKEND "sources = [\"::1\"]\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

#define NEEDS_RATE "\"slow_start\" needs \"connect_rate\", which it approaches; set it\n"

static void test_paces(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER BACKEND "slow_start = \"1s\"\n", "f:7:14: " NEEDS_RATE},
		{LISTENER BACKEND "connect_rate = 0\nslow_start = \"1s\"\n", "f:8:14: " NEEDS_RATE},
		/* One fault is enough. */
		{LISTENER BACKEND "connect_rate = \"5\"\nslow_start = \"1s\"\n",
		 "f:7:16: \"connect_rate\" must be a whole number from 0 to 1000000, not a "
		 "string\n"},
	};
	static const char *const good[] = {
		LISTENER BACKEND "connect_rate = 0\nslow_start = \"0s\"\nconnect_queue = \"1s\"\n",
		LISTENER BACKEND "connect_rate = 1\nslow_start = \"1s\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

#define UNKNOWN_WHAT "but must be \"reject\", \"hash\", \"assign\" or the name of a [[backend]]\n"
#define RESERVED     "which is a word of routing.unknown; choose another\n"
#define NO_WEIGHT                                                                                  \
	"no [[backend]] has a weight, so that nobody can be placed; add one, or set its weight "   \
	"to 100\n"

static void test_unknown(void **state)
{
	static const struct fault_row rows[] = {
		{ROUTING "unknown = \"n\"\n", "f:8:11: \"unknown\" is \"n\", " UNKNOWN_WHAT},
		{ROUTING "unknown = \"Hash\"\nfailover = true\ncanary = \"m:1%\"\n",
		 "f:8:11: \"unknown\" is \"Hash\", " UNKNOWN_WHAT},
		{ROUTING "unknown = \"\"\nfailover = true\n",
		 "f:8:11: \"unknown\" is empty, but must be a word, or the name of a backend, in "
		 "quotes\n"},
		{ROUTING "unknown = 7\nfailover = true\n",
		 "f:8:11: \"unknown\" must be a word, or the name of a backend, in quotes, not a "
		 "whole number\n"},
		{LISTENER "[[backend]]\nname = \"hash\"\naddress = \"h:1\"\n"
			  "[[backend]]\nname = \"assign\"\naddress = \"h:1\"\n"
			  "[[backend]]\nname = \"reject\"\naddress = \"h:1\"\n",
		 "f:5:8: no backend can have the name \"hash\", " RESERVED
		 "f:8:8: no backend can have the name \"assign\", " RESERVED
		 "f:11:8: no backend can have the name \"reject\", " RESERVED},
		{LISTENER "[routing]\nunknown = \"hash\"\n", "f:5:11: " NO_WEIGHT},
		{LISTENER BACKEND "weight = 0\n[routing]\nunknown = \"assign\"\n",
		 "f:9:11: " NO_WEIGHT},
	};
	static const char *const good[] = {
		ROUTING "unknown = \"reject\"\n",
		ROUTING "unknown = \"hash\"\n",
		ROUTING "unknown = \"hash\"\nsource = \"static\"\n",
		ROUTING "unknown = \"assign\"\n",
		LISTENER BACKEND "weight = 0\n[routing]\nunknown = \"m\"\n",
		LISTENER BACKEND "weight = 0\n[[backend]]\nname = \"n\"\naddress = \"h:1\"\n"
				 "[routing]\nunknown = \"hash\"\n",
		LISTENER "[[backend]]\nname = \"Hash\"\naddress = \"h:1\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

/* A backend of the default route may stand before or behind it. */
static void test_named(void **state)
{
	struct config *config = config_text_good(
		LISTENER "[routing]\nunknown = \"n\"\n" BACKEND
			 "[[backend]]\nname = \"n\"\naddress = \"srv:_imap._tcp.a\"\n");
	char *printed = config_text_print(config);

	(void)state;
	assert_int_equal(config->routing.unknown, CONFIG_UNKNOWN_BACKEND);
	assert_int_equal(config->routing.unknown_backend, 1);
	assert_non_null(strstr(printed, "\nunknown = \"n\"\n"));
	free(printed);
	config_unref(config);
}

#define WRITES                                                                                     \
	"\"assign\" writes what this reads, which must be each user's own: GET and a key with "    \
	"{user} in it, such as \"GET gatepost:route:{user}\"\n"

static void test_assign(void **state)
{
	static const struct fault_row rows[] = {
		{ROUTING "unknown = \"assign\"\nsource = \"static\"\n",
		 "f:8:11: \"assign\" keeps routes in Redis, which source = \"static\" does not "
		 "use; "
		 "set unknown to \"hash\", or source to \"redis\"\n"},
		{ROUTING "unknown = \"assign\"\nlookup = \"HGET {user} server\"\n",
		 "f:9:10: " WRITES},
		{ROUTING "unknown = \"assign\"\nlookup = \"GET route:{local}@{domain}\"\n",
		 "f:9:10: " WRITES},
		{ROUTING "unknown = \"assign\"\nlookup = \"GETRANGE {user} 0 -1\"\n",
		 "f:9:10: " WRITES},
		/* One fault is enough. */
		{ROUTING "unknown = \"assign\"\nlookup = \"SET {user} 1\"\n",
		 "f:9:10: \"lookup\" begins with \"SET\", but must be a command that only reads "
		 "one string of one key: GET, HGET, GETRANGE, SUBSTR or LINDEX\n"},
	};
	static const char *const good[] = {
		ROUTING "unknown = \"assign\"\nlookup = \"get my:{user}:route\"\nfailover = true\n",
		ROUTING "unknown = \"hash\"\nlookup = \"HGET {domain} server\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

#define CANARY_WHAT                                                                                \
	"but must be a backend and its share, such as \"mail3:5%\", from 0.01% to 50%, or \"\"\n"

static void test_canary(void **state)
{
	static const struct {
		const char *text;
		unsigned share;
	} good[] = {
		{"", 0},
		{"m:1%", 100},
		{"m:50%", 5000},
		{"m:50.00%", 5000},
		{"m:0.01%", 1},
		{"m:0.5%", 50},
		{"m:00.25%", 25},
		{"m:12.34%", 1234},
		{"m:49.99%", 4999},
	};
	static const char *const bad[] = {
		"m",       "m:",    "m:%",      ":5%",    "m:5",      "m:5%%",  "m:0%",
		"m:0.00%", "m:51%", "m:50.01%", "m:100%", "m:0.001%", "m:.5%",  "m:5.%",
		"m:-5%",   "m:+5%", "m: 5%",    "m:5 %",  "m:5,5%",   "m:1e1%", "m 5%",
	};

	(void)state;
	for (size_t i = 0; i < array_length(good); i++) {
		char text[512];
		struct config *config;

		snprintf(text, sizeof(text), ROUTING "unknown = \"hash\"\ncanary = \"%s\"\n",
			 good[i].text);
		config = config_text_good(text);
		assert_int_equal(config->routing.canary.share, good[i].share);
		config_unref(config);
	}
	for (size_t i = 0; i < array_length(bad); i++) {
		char text[512];
		char wanted[512];
		char *faults;

		snprintf(text, sizeof(text), ROUTING "unknown = \"hash\"\ncanary = \"%s\"\n",
			 bad[i]);
		snprintf(wanted, sizeof(wanted), "f:9:10: \"canary\" is \"%s\", %s", bad[i],
			 CANARY_WHAT);
		assert_null(config_text_load(text, &faults));
		assert_string_equal(faults, wanted);
		free(faults);
	}
}

#define ONLY_PLACED                                                                                \
	"\"failover\" is for those whom unknown = \"hash\" or \"assign\" places; set unknown so, " \
	"or remove it\n"
#define ONLY_HASHED                                                                                \
	"\"canary\" is a share of those whom unknown = \"hash\" places; set unknown so, or "       \
	"remove it\n"

static void test_placing(void **state)
{
	static const struct fault_row rows[] = {
		{ROUTING "failover = true\n", "f:8:12: " ONLY_PLACED},
		{ROUTING "failover = true\nunknown = \"m\"\n", "f:8:12: " ONLY_PLACED},
		{ROUTING "canary = \"m:5%\"\n", "f:8:10: " ONLY_HASHED},
		{ROUTING "canary = \"m:5%\"\nunknown = \"assign\"\n", "f:8:10: " ONLY_HASHED},
		{ROUTING "canary = \"n:5%\"\nunknown = \"hash\"\n",
		 "f:8:10: \"canary\" is \"n\", but no [[backend]] has that name\n"},
		{ROUTING "canary = \"s:5%\"\nunknown = \"hash\"\n"
			 "[[backend]]\nname = \"s\"\naddress = \"srv:_imap._tcp.a\"\n",
		 "f:8:10: \"canary\" must be one backend, and \"s\" is all of a \"srv:\" name; "
		 "name "
		 "another\n"},
	};
	static const char *const good[] = {
		ROUTING "failover = false\ncanary = \"\"\n",
		ROUTING "failover = true\nunknown = \"assign\"\n",
		ROUTING "canary = \"m:5%\"\nunknown = \"hash\"\nsource = \"static\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

#define HOSTS_WHAT "but must have host names, \"*.example.org\", IP addresses or networks\n"

static void test_hosts(void **state)
{
	static const struct fault_row rows[] = {
		{ROUTING
		 "url_hosts = [\"\", \"a b\", \"*\", \"10.0.0.256\", \"h:143\", \"[::1]\"]\n",
		 "f:8:14: \"url_hosts\" has \"\", " HOSTS_WHAT
		 "f:8:18: \"url_hosts\" has \"a b\", " HOSTS_WHAT
		 "f:8:25: \"url_hosts\" has \"*\", " HOSTS_WHAT
		 "f:8:30: \"url_hosts\" has \"10.0.0.256\", " HOSTS_WHAT
		 "f:8:44: \"url_hosts\" has \"h:143\", " HOSTS_WHAT
		 "f:8:53: \"url_hosts\" has \"[::1]\", " HOSTS_WHAT},
		{ROUTING "referrals = [\"10.0.0.1/8\", \"::ffff:10.0.0.1\"]\n",
		 "f:8:14: \"referrals\" has a bad network: \"10.0.0.1/8\" has bits behind its "
		 "prefix: the network is 10.0.0.0/8\n"
		 "f:8:28: \"referrals\" has a bad network: \"::ffff:10.0.0.1\" is an IPv4 network: "
		 "write it as one\n"},
		{ROUTING "referrals = [\"a\", \"A\", \"::1\", \"0::1/128\", \"b\"]\n",
		 "f:8:19: \"referrals\" has \"A\" twice; keep one\n"
		 "f:8:31: \"referrals\" has \"0::1/128\" twice; keep one\n"},
		{ROUTING "referrals = \"a\"\n",
		 "f:8:13: \"referrals\" must be an array of hosts in quotes: [\"*.example.org\", "
		 "\"10.0.0.0/8\"], not a string\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
	config_unref(config_text_good(ROUTING "referrals = [\"a\", \"::/0\", \"10.0.0.1\"]\n"));
}

#define ONLY_LOGIN "is for check = \"login\" only; remove it, or set check so\n"

static void test_health(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[health]\ncheck = \"login\"\n",
		 "f:5:9: check = \"login\" needs \"user\"\n"
		 "f:5:9: check = \"login\" needs \"password\"\n"},
		{LISTENER "[health]\ncheck = \"login\"\nuser = \"u\"\npassword = \"\"\n",
		 "f:5:9: check = \"login\" needs \"password\"\n"},
		{LISTENER "[health]\nuser = \"u\"\npassword = \"p\"\n",
		 "f:5:8: \"user\" " ONLY_LOGIN "f:6:12: \"password\" " ONLY_LOGIN},
		{LISTENER "[health]\ncheck = \"none\"\npassword = \"p\"\n",
		 "f:6:12: \"password\" " ONLY_LOGIN},
		/* One fault is enough. */
		{LISTENER "[health]\ncheck = \"logn\"\nuser = \"u\"\npassword = \"p\"\n",
		 "f:5:9: \"check\" is \"logn\", but must be \"none\", \"connect\", \"greeting\" or "
		 "\"login\"\n"},
	};
	static const char *const good[] = {
		LISTENER "[health]\ncheck = \"none\"\nuser = \"\"\npassword = \"\"\n",
		LISTENER "[health]\ncheck = \"connect\"\n",
		LISTENER "[health]\npassword = \"p\"\nuser = \"u\"\ncheck = \"login\"\n",
	};

	(void)state;
	check_faults(rows, array_length(rows));
	check_good(good, array_length(good));
}

static const struct {
	const char *section;
	const char *within;
	const char *past;
} bounds[] = {
	{"[routing]", "cache_ttl = '1d'", "cache_ttl = '86400001ms'"},
	{"[routing]", "unknown_ttl = '0s'", "unknown_ttl = '25h'"},
	{"[routing]", "stale_ttl = '30d'", "stale_ttl = '31d'"},
	{"[routing]", "cache_routes = 1", "cache_routes = 0"},
	{"[routing]", "cache_routes = 100000000", "cache_routes = 100000001"},
	{"[routing]", "canary_threshold = 1", "canary_threshold = 0"},
	{"[routing]", "canary_threshold = 100", "canary_threshold = 101"},
	{"[health]", "interval = '10ms'", "interval = '9ms'"},
	{"[health]", "interval = '1h'", "interval = '61m'"},
	{"[health]", "rise = 1", "rise = 0"},
	{"[health]", "rise = 100", "rise = 101"},
	{"[health]", "fall = 1", "fall = 0"},
	{"[health]", "fall = 100", "fall = 101"},
	{"[health]", "witnesses = 0", "witnesses = -1"},
	{"[health]", "witnesses = 16", "witnesses = 17"},
	{"[moves]", "kick_grace = '1h'", "kick_grace = '61m'"},
	{"[moves]", "hold_timeout = '1ms'", "hold_timeout = '0s'"},
	{"[moves]", "hold_timeout = '1h'", "hold_timeout = '61m'"},
	{"[moves]", "hold_line = '100ms'", "hold_line = '99ms'"},
	{"[moves]", "hold_line = '10m'", "hold_line = '11m'"},
	{"[moves]", "release_spread = '1m'", "release_spread = '61s'"},
	{"[moves]", "max_parked = 0", "max_parked = -1"},
	{"[moves]", "max_parked = 1000000", "max_parked = 1000001"},
	{"[moves]", "drain_rate = 1", "drain_rate = 0"},
	{"[moves]", "drain_rate = 100000", "drain_rate = 100001"},
	{"[moves]", "disconnect_rate = 1000000", "disconnect_rate = 1000001"},
	{"[moves]", "disconnect_spread = '1h'", "disconnect_spread = '61m'"},
	{BACKEND, "weight = 0", "weight = -1"},
	{BACKEND, "weight = 10000", "weight = 10001"},
	{BACKEND, "connect_rate = 1000000", "connect_rate = 1000001"},
	{BACKEND, "connect_queue = '0s'", "connect_queue = '601s'"},
	{BACKEND, "connect_queue = '10m'", "connect_queue = '600001ms'"},
	{BACKEND, "connect_rate = 1\nslow_start = '1h'", "slow_start = '61m'"},
};

/* At every bound, and one past it. */
static void test_bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(bounds); i++) {
		const char *section = bounds[i].section;
		char text[512];
		char *faults;

		snprintf(text, sizeof(text), LISTENER "%s\n%s\n", section, bounds[i].within);
		config_unref(config_text_good(text));
		snprintf(text, sizeof(text), LISTENER "%s\n%s\n", section, bounds[i].past);
		assert_null(config_text_load(text, &faults));
		assert_non_null(strstr(faults, "must be from"));
		free(faults);
	}
}

/* At the lengths that there may be, and one past them. */
static void test_lengths(void **state)
{
	static const struct {
		const char *before;
		int most;
		const char *after;
	} rows[] = {
		{LISTENER "[process]\nnode = \"", 64, "\"\n"},
		{LISTENER "[redis]\nurl = \"sentinel://h/m\"\nsentinel_password = \"", 4096,
		 "\"\n"},
		{LISTENER "[redis]\nurl = \"sentinel://h/m\"\nsentinel_password = \"p\"\n"
			  "sentinel_user = \"",
		 255, "\"\n"},
		{LISTENER "[redis]\nurl = \"redis://:", 8192 - 11, "@h\"\n"},
		{LISTENER "[health]\ncheck = \"login\"\npassword = \"p\"\nuser = \"", 255, "\"\n"},
		{LISTENER "[health]\ncheck = \"login\"\nuser = \"u\"\npassword = \"", 4096, "\"\n"},
	};
	char value[8192];

	(void)state;
	memset(value, 'x', sizeof(value));
	for (size_t i = 0; i < array_length(rows); i++) {
		char text[sizeof(value) + 256];
		char *faults;

		snprintf(text, sizeof(text), "%s%.*s%s", rows[i].before, rows[i].most, value,
			 rows[i].after);
		config_unref(config_text_good(text));
		snprintf(text, sizeof(text), "%s%.*s%s", rows[i].before, rows[i].most + 1, value,
			 rows[i].after);
		assert_null(config_text_load(text, &faults));
		assert_non_null(strstr(faults, "bytes long, but may have at most"));
		free(faults);
	}
}

/* No name of a proxy may be taken for a pattern, or end a key. */
static void test_node(void **state)
{
	static const struct fault_row rows[] = {
		{LISTENER "[process]\nnode = \"a:b\"\n",
		 "f:5:8: \"node\" is \"a:b\", but must be letters, digits, '-', '_' and '.'\n"},
		{LISTENER "[process]\nnode = \"a*\"\n",
		 "f:5:8: \"node\" is \"a*\", but must be letters, digits, '-', '_' and '.'\n"},
	};

	(void)state;
	check_faults(rows, array_length(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),    cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_pool_values), cmocka_unit_test(test_routing_values),
		cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_services),
		cmocka_unit_test(test_sources),     cmocka_unit_test(test_paces),
		cmocka_unit_test(test_unknown),     cmocka_unit_test(test_named),
		cmocka_unit_test(test_assign),      cmocka_unit_test(test_canary),
		cmocka_unit_test(test_placing),     cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_health),      cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
