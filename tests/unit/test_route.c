/* SPDX-License-Identifier: Apache-2.0
 *
 * From user names to backends: by the configuration, by a Redis that answers well or badly, and not
 * at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "imap/capability.h"
#include "imap/sasl.h"
#include "routing/backend.h"
#include "routing/route.h"
#include "support/log_capture.h"
#include "support/redis_world.h"
#include "support/turns.h"

/* Only handed on. */
static char client_place;
#define TLS_CLIENT ((struct tls_client *)(void *)&client_place)

struct world {
	struct redis_world *redis;
	struct config *config;
	struct router *router;
	struct tls_client *url_tls_client; /* never looked into */
};

struct asked {
	struct route_query query;
	unsigned answers;
	enum route_result result;
	struct backend *backend; /* owned */
	char mailbox[300];
	char why[300];
};

/* `routing` stands in [routing], or opens sections of its own. */
static void start(struct world *world, const char *source, const char *routing)
{
	char text[2048];
	struct error error = {0};

	snprintf(text, sizeof(text),
		 "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"none\"\nallow_plaintext = true\n"
		 "[[backend]]\nname = \"mail1\"\naddress = \"10.0.0.1:143\"\nsend_id = true\n"
		 "[[backend]]\nname = \"mail2\"\naddress = \"mail2.example:143\"\n"
		 "[redis]\nurl = \"redis://127.0.0.1:%u/0\"\ntimeout = \"20s\"\n"
		 "[routing]\nsource = \"%s\"\n%s\n",
		 world->redis->fake.port, source, routing);
	world->config = config_load_text(text, "test", stderr);
	assert_non_null(world->config);
	world->router = router_new(
		&(struct router_settings){
			.config = world->config,
			.shared = &world->redis->shared,
			.timeouts = &world->redis->timeouts,
			.resolver = world->redis->resolver,
			.metrics = &world->redis->metrics,
			.url_tls_client = world->url_tls_client,
		},
		&error);
	assert_non_null(world->router);
}

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	void *redis = NULL;

	assert_non_null(world);
	redis_world_begin(&redis);
	world->redis = redis;
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;
	void *redis = world->redis;

	router_free(world->router);
	config_unref(world->config);
	redis_world_end(&redis);
	buffer_done(&logged);
	free(world);
	return 0;
}

static void on_route(struct route_query *query, const struct route_answer *answer)
{
	struct asked *asked = container_of(query, struct asked, query);

	backend_unref(asked->backend);
	asked->backend = answer->backend;
	asked->answers++;
	asked->result = answer->result;
	assert_int_equal(answer->result == ROUTE_FOUND, answer->backend != NULL);
	assert_int_equal(answer->result == ROUTE_UNAVAILABLE, answer->why != NULL);
	assert_true(answer->mailbox == NULL || answer->result == ROUTE_FOUND);
	snprintf(asked->mailbox, sizeof(asked->mailbox), "%s",
		 answer->mailbox != NULL ? answer->mailbox : "");
	snprintf(asked->why, sizeof(asked->why), "%s", answer->why != NULL ? answer->why : "");
}

static void route(struct world *world, struct asked *asked, const char *user)
{
	unsigned answers = asked->answers + 1;

	route_ask(world->router, &asked->query, user, on_route);
	turns_until_count(world->redis->loop, &asked->answers, answers);
	assert_int_equal(asked->answers, answers);
}

static void forget(struct asked *asked)
{
	backend_unref(asked->backend);
	asked->backend = NULL;
}

static uint64_t counted(const struct world *world, enum metric metric)
{
	return metrics_get(&world->redis->metrics, metric);
}

/* --- Names ---------------------------------------------------------------------------------- */

static void test_normalise(void **state)
{
	static const struct {
		enum config_user_case user_case;
		const char *domain;
		const char *user;
		const char *key; /* NULL: none */
	} rows[] = {
		{CONFIG_USER_LOWER, "", "Alice", "alice"},
		{CONFIG_USER_LOWER, "", "ALICE@Example.ORG", "alice@example.org"},
		{CONFIG_USER_KEEP, "", "ALICE@Example.ORG", "ALICE@Example.ORG"},
		{CONFIG_USER_LOWER, "Example.org", "Alice", "alice@example.org"},
		{CONFIG_USER_KEEP, "Example.org", "Alice", "Alice@Example.org"},
		{CONFIG_USER_LOWER, "example.org", "alice@other", "alice@other"},
		{CONFIG_USER_LOWER, "example.org", "alice@", "alice@"},
		{CONFIG_USER_LOWER, "", "alice ", "alice "},
		{CONFIG_USER_LOWER, "", "\xc3\x84rger", "\xc3\x84rger"},
		{CONFIG_USER_LOWER, "", "{x}%s", "{x}%s"},
		{CONFIG_USER_LOWER, "", "", NULL},
		{CONFIG_USER_LOWER, "example.org", "", NULL},
		{CONFIG_USER_LOWER, "", "a\r\nb", NULL},
		{CONFIG_USER_LOWER, "", "a\x1b", NULL},
		{CONFIG_USER_LOWER, "", "a\x7f", NULL},
	};
	char key[ROUTE_USER_MAX + 1];

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct config config = {0};
		bool valid;

		config.routing.user_case = rows[i].user_case;
		config.routing.default_domain = (char *)rows[i].domain;
		valid = route_normalise(&config, rows[i].user, key);
		assert_int_equal(valid, rows[i].key != NULL);
		if (valid) {
			assert_string_equal(key, rows[i].key);
		}
	}
}

static void test_longest_key(void **state)
{
	struct config config = {0};
	char user[ROUTE_USER_MAX + 2];
	char key[ROUTE_USER_MAX + 1];

	(void)state;
	config.routing.default_domain = (char[]){""};
	memset(user, 'u', sizeof(user));
	user[ROUTE_USER_MAX] = '\0';
	assert_true(route_normalise(&config, user, key));
	assert_string_equal(key, user);
	user[ROUTE_USER_MAX] = 'u';
	user[ROUTE_USER_MAX + 1] = '\0';
	assert_false(route_normalise(&config, user, key));
	/* The domain counts. */
	config.routing.default_domain = (char[]){"d"};
	user[ROUTE_USER_MAX - 2] = '\0';
	assert_true(route_normalise(&config, user, key));
	assert_int_equal(strlen(key), ROUTE_USER_MAX);
	user[ROUTE_USER_MAX - 2] = 'u';
	user[ROUTE_USER_MAX - 1] = '\0';
	assert_false(route_normalise(&config, user, key));
}

/* --- The configuration ---------------------------------------------------------------------- */

#define USERS                                                                                      \
	"default_domain = \"example.org\"\n[routing.users]\n"                                      \
	"\"Alice\" = \"mail1\"\n\"bob@example.org\" = \"mail2\"\n\"carol@other\" = \"mail1\""

static void test_static(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "static", USERS);
	route(world, &asked, "ALICE");
	assert_int_equal(asked.result, ROUTE_FOUND);
	assert_string_equal(asked.backend->name, "mail1");
	assert_true(asked.backend->send_id);
	route(world, &asked, "alice@Example.org");
	assert_string_equal(asked.backend->name, "mail1");
	route(world, &asked, "bob");
	assert_string_equal(asked.backend->name, "mail2");
	route(world, &asked, "carol@other");
	assert_string_equal(asked.backend->name, "mail1");
	assert_int_equal(counted(world, METRIC_LOOKUPS_STATIC), 4);
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 0);
	route(world, &asked, "carol");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	route(world, &asked, "alice ");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	route(world, &asked, "");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 3);
	route_cancel(&asked.query);
	forget(&asked);
	turns_for(world->redis->loop, 20);
	assert_int_equal(world->redis->fake.accepted, 0);
}

static void test_static_before_redis(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", USERS);
	world->redis->reply = "$5\r\nmail2\r\n";
	route(world, &asked, "alice");
	assert_string_equal(asked.backend->name, "mail1");
	route(world, &asked, "dave");
	assert_string_equal(asked.backend->name, "mail2");
	assert_string_equal(redis_world_heard(world->redis),
			    "GET gatepost:route:dave@example.org\n");
	assert_int_equal(counted(world, METRIC_LOOKUPS_STATIC), 1);
	assert_int_equal(counted(world, METRIC_LOOKUPS_REDIS), 1);
	forget(&asked);
}

/* --- Redis ---------------------------------------------------------------------------------- */

static void reply_with(struct world *world, char *reply, const char *value)
{
	sprintf(reply, "$%zu\r\n%s\r\n", strlen(value), value);
	world->redis->reply = reply;
}

static void test_values(void **state)
{
	static const struct {
		const char *value;
		const char *backend; /* NULL: unavailable */
		const char *mailbox; /* "" = none; or why it is unavailable */
	} rows[] = {
		{"mail1", "mail1", ""},
		{"mail2", "mail2", ""},
		{"mail2?user=bob%40example.org", "mail2", "bob@example.org"},
		{"imap://10.1.1.1", "imap://10.1.1.1:143", ""},
		{"imap://[::1]:10143/", "imap://[::1]:10143", ""},
		{"imap://mail2.example", "imap://mail2.example:143", ""},
		{"imap://mail2.example?user=bob&tls=starttls", "imap://mail2.example:143", "bob"},
		{"imaps://mail2.example/?user=bob", "imaps://mail2.example:993", "bob"},
		{"mail3", NULL, "\"mail3\" cannot be used: neither a backend's name"},
		{"mail3?user=bob", NULL, "\"mail3?user=bob\" cannot be used: neither"},
		{"MAIL1", NULL, "\"MAIL1\""},
		{"mail1 ", NULL, "space or a control"},
		{"host", NULL, "\"host\""},
		{"host:99999", NULL, "\"host:99999\""},
		{"host:0", NULL, "\"host:0\""},
		{"host:143", NULL, "\"host:143\""},
		{"[::1]:143", NULL, "\"[::1]:143\""},
		{"a\r\nb:143", NULL, "\"a??b:143\""},
		{"imapx://mail1", NULL, "\"imapx://mail1\""},
		{"imap://host:99999", NULL, "from 1 to 65535"},
		{"imap://x@host", NULL, "no user, path or fragment"},
		{"mail1?tls=starttls", NULL, "the configuration says whether"},
		{"mail1?user=", NULL, "1 to 255 octets"},
		{"", NULL, "the route is empty"},
	};
	struct world *world = *state;
	char reply[200];
	unsigned failed = 0;

	world->url_tls_client = TLS_CLIENT;
	start(world, "redis", "");
	for (size_t i = 0; i < array_length(rows); i++) {
		struct asked asked = {0};

		reply_with(world, reply, rows[i].value);
		route(world, &asked, "alice");
		if (rows[i].backend != NULL) {
			assert_int_equal(asked.result, ROUTE_FOUND);
			assert_string_equal(asked.backend->name, rows[i].backend);
			assert_string_equal(asked.mailbox, rows[i].mailbox);
			assert_int_equal(asked.backend->send_id,
					 strchr(rows[i].backend, ':') == NULL);
		} else {
			assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
			assert_non_null(strstr(asked.why, rows[i].mailbox));
			failed++;
		}
		forget(&asked);
	}
	assert_int_equal(counted(world, METRIC_LOOKUPS_FAILED), failed);
	assert_int_equal(counted(world, METRIC_LOOKUPS_REDIS), array_length(rows));
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 0);
	assert_int_equal(world->redis->fake.accepted, 1);
	/* The first was said, and the others are counted. */
	assert_int_equal(count_logged("mail3"), 1);
	assert_true(count_logged("a route cannot be used") < failed);
}

/* Where nobody could verify a certificate, nothing is sent without. */
static void test_no_authorities(void **state)
{
	static const char *const values[] = {"imaps://10.1.1.1", "imap://10.1.1.1?tls=starttls"};
	struct world *world = *state;
	struct asked asked = {0};
	char reply[200];

	start(world, "redis", "");
	for (size_t i = 0; i < array_length(values); i++) {
		reply_with(world, reply, values[i]);
		route(world, &asked, "alice");
		assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
		assert_non_null(strstr(asked.why, "no authorities"));
	}
	reply_with(world, reply, "imap://10.1.1.1");
	route(world, &asked, "alice");
	assert_int_equal(asked.result, ROUTE_FOUND);
	forget(&asked);
}

static struct backend *backend_of(struct world *world, const char *value)
{
	struct asked asked = {0};
	char reply[200];

	reply_with(world, reply, value);
	route(world, &asked, "alice");
	assert_int_equal(asked.result, ROUTE_FOUND);
	return asked.backend;
}

/* One address is one backend, whoever lives there and however it is written. */
static void test_urls_are_kept(void **state)
{
	static const struct {
		const char *first;
		const char *second;
		bool same;
	} rows[] = {
		{"imap://10.1.1.1", "imap://10.1.1.1:143/", true},
		{"imap://10.1.1.1?user=bob", "imap://10.1.1.1?user=carol", true},
		{"imap://[::1]", "imap://[0:0::1]", true},
		{"imap://Mail2.example", "imap://mail2.example", true},
		{"imaps://10.1.1.1", "imap://10.1.1.1?tls=implicit", true},
		{"imap://10.1.1.1", "imap://10.1.1.1?tls=starttls", false},
		{"imap://10.1.1.1:993", "imaps://10.1.1.1", false},
		{"imap://10.1.1.1", "imap://10.1.1.2", false},
	};
	struct world *world = *state;

	world->url_tls_client = TLS_CLIENT;
	start(world, "redis", "");
	for (size_t i = 0; i < array_length(rows); i++) {
		struct backend *first = backend_of(world, rows[i].first);
		struct backend *second;

		backend_unref(first);
		second = backend_of(world, rows[i].second);
		assert_int_equal(first == second, rows[i].same);
		backend_unref(second);
	}
}

/* --- What backends offer -------------------------------------------------------------------- */

static void learn(struct world *world, struct backend *backend, unsigned mechanisms,
		  const char *atoms)
{
	struct capability_offer offer = {.known = true, .mechanisms = mechanisms};

	snprintf(offer.atoms, sizeof(offer.atoms), "%s", atoms);
	route_learn(world->router, backend, &offer);
}

static void assert_offer(struct world *world, unsigned mechanisms, const char *atoms)
{
	const struct capability_offer *offer = route_offer(world->router);

	assert_true(offer->known);
	assert_int_equal(offer->mechanisms, mechanisms);
	assert_string_equal(offer->atoms, atoms);
}

/* What some backend is not known to offer, others may. */
static void test_offer(void **state)
{
	const unsigned scram = SASL_BIT(SASL_SCRAM_SHA_256);
	struct world *world = *state;
	struct backend *mail1;
	struct backend *mail2;

	start(world, "redis", "");
	assert_false(route_offer(world->router)->known);
	mail1 = backend_of(world, "mail1");
	mail2 = backend_of(world, "mail2");
	route_learn(world->router, mail1, &(struct capability_offer){.mechanisms = SASL_ALL});
	assert_false(route_offer(world->router)->known);
	learn(world, mail1, SASL_PASSWORDS | scram, "IDLE MOVE");
	assert_offer(world, SASL_PASSWORDS | scram, "IDLE MOVE");
	learn(world, mail2, SASL_PASSWORDS | SASL_TOKENS, "MOVE NOTIFY");
	assert_offer(world, SASL_PASSWORDS, "MOVE");
	/* What comes back, comes back. */
	learn(world, mail2, SASL_PASSWORDS | scram, "IDLE MOVE NOTIFY");
	assert_offer(world, SASL_PASSWORDS | scram, "IDLE MOVE");
	learn(world, mail1, 0, "");
	assert_offer(world, 0, "");
	backend_unref(mail1);
	backend_unref(mail2);
}

/* URLs count only as long as nothing is known of the configuration's own backends. */
static void test_offer_of_urls(void **state)
{
	struct world *world = *state;
	struct backend *first;
	struct backend *second;
	struct backend *mail1;

	start(world, "redis", "");
	first = backend_of(world, "imap://10.1.1.1");
	second = backend_of(world, "imap://10.1.1.2");
	mail1 = backend_of(world, "mail1");
	learn(world, first, SASL_PASSWORDS, "IDLE MOVE");
	learn(world, second, SASL_PASSWORDS | SASL_TOKENS, "MOVE NOTIFY");
	assert_offer(world, SASL_PASSWORDS, "MOVE");
	learn(world, second, SASL_PASSWORDS, "MOVE IDLE");
	assert_offer(world, SASL_PASSWORDS, "IDLE MOVE");
	learn(world, mail1, SASL_PASSWORDS | SASL_TOKENS, "ENABLE");
	assert_offer(world, SASL_PASSWORDS | SASL_TOKENS, "ENABLE");
	learn(world, first, SASL_PASSWORDS, "IDLE");
	assert_offer(world, SASL_PASSWORDS | SASL_TOKENS, "ENABLE");
	backend_unref(first);
	backend_unref(second);
	backend_unref(mail1);
}

static void test_other_replies(void **state)
{
	static const struct {
		const char *reply;
		enum route_result result;
		const char *why;
	} rows[] = {
		{"$-1\r\n", ROUTE_UNKNOWN, ""},
		{"-LOADING Redis is loading\r\n", ROUTE_UNAVAILABLE,
		 "Redis: LOADING Redis is loading"},
		{"-NOAUTH Authentication required.\r\n", ROUTE_UNAVAILABLE,
		 "Redis: NOAUTH Authentication required."},
		{"-MOVED 1 h:1\r\n", ROUTE_UNAVAILABLE, "Redis: MOVED 1 h:1"},
		{"-WRONGTYPE x\r\n", ROUTE_UNAVAILABLE, "Redis: WRONGTYPE x"},
		{"*1\r\n$5\r\nmail1\r\n", ROUTE_UNAVAILABLE,
		 "Redis: a reply of an unexpected type"},
		{":1\r\n", ROUTE_UNAVAILABLE, "Redis: a reply of an unexpected type"},
		{"+mail1\r\n", ROUTE_UNAVAILABLE, "Redis: a reply of an unexpected type"},
		{"$2147483647\r\n", ROUTE_UNAVAILABLE,
		 "Redis: Redis sent nonsense: a reply with a length that cannot be"},
	};
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", "");
	for (size_t i = 0; i < array_length(rows); i++) {
		world->redis->reply = rows[i].reply;
		route(world, &asked, "alice");
		assert_int_equal(asked.result, rows[i].result);
		assert_string_equal(asked.why, rows[i].why);
	}
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 1);
	assert_int_equal(counted(world, METRIC_LOOKUPS_FAILED), array_length(rows) - 1);
}

static void test_longest_error(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};
	char reply[1004];

	start(world, "redis", "");
	memset(reply, '-', 1000);
	memcpy(reply + 1000, "\r\n", 3);
	world->redis->reply = reply;
	route(world, &asked, "alice");
	assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
	assert_true(strlen(asked.why) <= 256);
}

/* What the user writes never becomes another word, another key or another command. */
static void test_lookup_words(void **state)
{
	static const struct {
		const char *user;
		const char *heard;
	} rows[] = {
		{"Alice@B.example", "HGET mail:b.example alice\n"},
		{"{local}@b", "HGET mail:b {local}\n"},
		{"a b@c d", "HGET mail:c d a b\n"}, /* the fake joins words by spaces */
		{"%s%n", "HGET mail: %s%n\n"},
	};
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", "lookup = \"HGET mail:{domain} {local}\"");
	world->redis->reply = "$-1\r\n";
	for (size_t i = 0; i < array_length(rows); i++) {
		buffer_done(&world->redis->heard);
		route(world, &asked, rows[i].user);
		assert_string_equal(redis_world_heard(world->redis), rows[i].heard);
		assert_int_equal(asked.result, ROUTE_UNKNOWN);
	}
	buffer_done(&world->redis->heard);
	route(world, &asked, "a\r\nDEL x");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	assert_int_equal(world->redis->heard.length, 0);
}

static void test_cancel(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};
	struct asked other = {0};

	start(world, "redis", "");
	route_cancel(&asked.query);
	route_ask(world->router, &asked.query, "alice", on_route);
	turns_until_count(world->redis->loop, &world->redis->fake.commands, 1);
	route_cancel(&asked.query);
	route_cancel(&asked.query);
	route_ask(world->router, &other.query, "bob", on_route);
	turns_until_count(world->redis->loop, &world->redis->fake.commands, 2);
	fake_redis_send(&world->redis->fake, "$5\r\nmail1\r\n$5\r\nmail2\r\n");
	turns_until_count(world->redis->loop, &other.answers, 1);
	assert_string_equal(other.backend->name, "mail2");
	assert_int_equal(asked.answers, 0);
	forget(&other);
}

/* A session keeps its backend when the router, and the configuration with it, has gone. */
static void test_backend_outlives_router(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "static", USERS);
	route(world, &asked, "alice");
	router_free(world->router);
	world->router = NULL;
	config_unref(world->config);
	world->config = NULL;
	assert_string_equal(asked.backend->name, "mail1");
	assert_int_equal(asked.backend->references, 1);
	forget(&asked);
	router_free(NULL);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_longest_key),
		in_world(test_static),
		in_world(test_static_before_redis),
		in_world(test_values),
		in_world(test_no_authorities),
		in_world(test_urls_are_kept),
		in_world(test_offer),
		in_world(test_offer_of_urls),
		in_world(test_other_replies),
		in_world(test_longest_error),
		in_world(test_lookup_words),
		in_world(test_cancel),
		in_world(test_backend_outlives_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
