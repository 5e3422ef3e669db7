/* SPDX-License-Identifier: Apache-2.0
 *
 * From user names to backends: by the configuration, by a directory that answers well or badly, and
 * not at all.
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
#include "core/metrics.h"
#include "imap/capability.h"
#include "imap/sasl.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/backend.h"
#include "routing/pool.h"
#include "routing/route.h"
#include "support/config_text.h"
#include "support/fake_directory.h"
#include "support/log_capture.h"

/* Only handed on. */
static char client_place;
#define TLS_CLIENT ((struct tls_client *)(void *)&client_place)

struct world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics;
	struct config *config;
	struct pool *pool;
	struct router *router;
	struct tls_client *url_tls_client; /* never looked into */
	const struct route_events *events;
};

struct asked {
	struct route_place place;
	unsigned answers;
	enum route_result result;
	struct backend *backend; /* owned */
	char mailbox[300];
	char why[300];
};

static void on_answered(struct route_place *place, const struct route_answer *answer)
{
	struct asked *asked = container_of(place, struct asked, place);

	backend_unref(asked->backend);
	asked->backend = answer->backend;
	asked->answers++;
	asked->result = answer->result;
	assert_int_equal(answer->result == ROUTE_FOUND, answer->backend != NULL);
	assert_int_equal(answer->result == ROUTE_UNAVAILABLE, answer->why != NULL);
	assert_int_equal(answer->result == ROUTE_FOUND, place->taken);
	assert_true(answer->mailbox == NULL || answer->result == ROUTE_FOUND);
	snprintf(asked->mailbox, sizeof(asked->mailbox), "%s",
		 answer->mailbox != NULL ? answer->mailbox : "");
	snprintf(asked->why, sizeof(asked->why), "%s", answer->why != NULL ? answer->why : "");
}

static const struct route_events events = {.answered = on_answered};

/* `routing` stands in [routing], or opens sections of its own. */
static void start(struct world *world, const char *source, const char *routing)
{
	char text[2048];
	struct error error = {0};

	snprintf(text, sizeof(text),
		 "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"none\"\nallow_plaintext = true\n"
		 "[[backend]]\nname = \"mail1\"\naddress = \"10.0.0.1:143\"\nsend_id = true\n"
		 "[[backend]]\nname = \"mail2\"\naddress = \"mail2.example:143\"\n"
		 "[routing]\nsource = \"%s\"\n%s\n",
		 source, routing);
	world->config = config_text_good(text);
	world->pool = pool_new(world->config, &error);
	assert_non_null(world->pool);
	world->router = router_new(
		&(struct router_settings){
			.config = world->config,
			.shared = &world->shared,
			.timeouts = &world->timeouts,
			.metrics = &world->metrics,
			.pool = world->pool,
			.directory = strcmp(source, "redis") == 0 ? &fake_directory : NULL,
			.url_tls_client = world->url_tls_client,
			.events = world->events != NULL ? world->events : &events,
		},
		&error);
	assert_non_null(world->router);
}

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	memset(&fake_directory, 0, sizeof(fake_directory));
	world->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_true(stream_loop_init(&world->shared, world->loop, 0));
	timeouts_init(&world->timeouts, world->loop);
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;

	router_free(world->router);
	pool_free(world->pool);
	config_unref(world->config);
	timeouts_done(&world->timeouts);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	buffer_done(&logged);
	free(world);
	return 0;
}

/* Asks, and gives the place back: what is looked at is the answer. */
static void route(struct world *world, struct asked *asked, const char *user)
{
	unsigned answers = asked->answers + 1;

	route_ask(world->router, &asked->place, user);
	assert_int_equal(asked->answers, answers);
	route_leave(&asked->place, true);
	assert_int_equal(fake_here(), 0);
}

/* The same, of what the directory says of the user. */
static void route_by(struct world *world, struct asked *asked, const char *user, const char *value)
{
	fake_knows(user, value);
	route(world, asked, user);
}

static void forget(struct asked *asked)
{
	backend_unref(asked->backend);
	asked->backend = NULL;
}

static uint64_t counted(const struct world *world, enum metric metric)
{
	return metrics_get(&world->metrics, metric);
}

static struct member *member(struct world *world, const char *name)
{
	const struct pool_view *view = pool_view(world->pool);
	struct member *found = pool_view_find(view, name);

	assert_non_null(found);
	pool_view_unref(view);
	return found;
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
	char key[CONFIG_USER_MAX + 1];

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
	char user[CONFIG_USER_MAX + 2];
	char key[CONFIG_USER_MAX + 1];

	(void)state;
	config.routing.default_domain = (char[]){""};
	memset(user, 'u', sizeof(user));
	user[CONFIG_USER_MAX] = '\0';
	assert_true(route_normalise(&config, user, key));
	assert_string_equal(key, user);
	user[CONFIG_USER_MAX] = 'u';
	user[CONFIG_USER_MAX + 1] = '\0';
	assert_false(route_normalise(&config, user, key));
	/* The domain counts. */
	config.routing.default_domain = (char[]){"d"};
	user[CONFIG_USER_MAX - 2] = '\0';
	assert_true(route_normalise(&config, user, key));
	assert_int_equal(strlen(key), CONFIG_USER_MAX);
	user[CONFIG_USER_MAX - 2] = 'u';
	user[CONFIG_USER_MAX - 1] = '\0';
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
	forget(&asked);
}

static void test_static_before_the_directory(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", USERS);
	fake_knows("alice@example.org", "mail2");
	route(world, &asked, "alice");
	assert_string_equal(asked.backend->name, "mail1");
	assert_int_equal(fake_directory.entered, 0);
	route_by(world, &asked, "dave@example.org", "mail2");
	assert_string_equal(asked.backend->name, "mail2");
	assert_int_equal(fake_directory.entered, 1);
	assert_int_equal(counted(world, METRIC_LOOKUPS_STATIC), 1);
	forget(&asked);
}

/* --- The directory -------------------------------------------------------------------------- */

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
		{"mail1?assigned", "mail1", ""},
		{"imapx://mail1", NULL, "\"imapx://mail1\""},
		{"imap://host:99999", NULL, "from 1 to 65535"},
		{"imap://x@host", NULL, "no user, path or fragment"},
		{"mail1?tls=starttls", NULL, "the configuration says whether"},
		{"mail1?user=", NULL, "1 to 255 octets"},
	};
	struct world *world = *state;
	unsigned failed = 0;

	world->url_tls_client = TLS_CLIENT;
	start(world, "redis", "");
	for (size_t i = 0; i < array_length(rows); i++) {
		struct asked asked = {0};

		route_by(world, &asked, "alice", rows[i].value);
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
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 0);
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

	start(world, "redis", "");
	for (size_t i = 0; i < array_length(values); i++) {
		route_by(world, &asked, "alice", values[i]);
		assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
		assert_non_null(strstr(asked.why, "no authorities"));
	}
	route_by(world, &asked, "alice", "imap://10.1.1.1");
	assert_int_equal(asked.result, ROUTE_FOUND);
	forget(&asked);
}

static struct backend *backend_of(struct world *world, const char *value)
{
	struct asked asked = {0};

	route_by(world, &asked, "alice", value);
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

/* --- Other answers -------------------------------------------------------------------------- */

static void test_unknown(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", "");
	route_by(world, &asked, "alice", NULL);
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 1);
	assert_int_equal(counted(world, METRIC_LOOKUPS_FAILED), 0);
}

/* Whose answer is of no use is not present. */
static void test_nobody_is_present_without_a_backend(void **state)
{
	static const char *const routes[] = {NULL, "mail3", "mail1 "};
	struct world *world = *state;

	start(world, "redis", "");
	for (size_t i = 0; i < array_length(routes); i++) {
		struct asked asked = {0};

		fake_knows("alice", routes[i]);
		route_ask(world->router, &asked.place, "alice");
		assert_int_equal(asked.answers, 1);
		assert_int_equal(fake_here(), 0);
		assert_int_equal(fake_directory.settled, i + 1);
	}
}

static void test_failure(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};
	char why[1000];

	start(world, "redis", "");
	route_ask(world->router, &asked.place, "alice");
	assert_int_equal(asked.answers, 0);
	fake_fail("alice", "Redis: LOADING Redis is loading");
	assert_int_equal(asked.answers, 1);
	assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
	assert_string_equal(asked.why, "Redis: LOADING Redis is loading");
	assert_int_equal(counted(world, METRIC_LOOKUPS_FAILED), 1);
	assert_int_equal(count_logged("a route cannot be used"), 0);

	memset(why, '%', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	route_ask(world->router, &asked.place, "alice");
	fake_fail("alice", why);
	assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
	assert_int_equal(strlen(asked.why), 255);
}

/* The directory is asked for routing keys, and where there is none it is not asked. */
static void test_keys(void **state)
{
	static const char *const users[] = {"Alice", "ALICE@Example.org", "alice"};
	struct world *world = *state;
	struct asked asked = {0};

	start(world, "redis", "default_domain = \"example.org\"");
	fake_knows("alice@example.org", "mail1");
	for (size_t i = 0; i < array_length(users); i++) {
		route(world, &asked, users[i]);
		assert_int_equal(asked.result, ROUTE_FOUND);
	}
	assert_int_equal(fake_directory.entered, array_length(users));
	route(world, &asked, "a\r\nDEL x");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	route(world, &asked, "");
	assert_int_equal(asked.result, ROUTE_UNKNOWN);
	assert_int_equal(fake_directory.entered, array_length(users));
	assert_int_equal(counted(world, METRIC_LOOKUPS_UNKNOWN), 2);
	forget(&asked);
}

static void test_who_leaves_is_not_answered(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};
	struct asked other = {0};

	start(world, "redis", "");
	route_leave(&asked.place, true);
	route_ask(world->router, &asked.place, "alice");
	route_ask(world->router, &other.place, "alice");
	route_leave(&asked.place, true);
	route_leave(&asked.place, true);
	fake_answer("alice", "mail2");
	assert_string_equal(other.backend->name, "mail2");
	assert_int_equal(asked.answers, 0);
	route_leave(&other.place, true);
	forget(&other);
}

static void on_released(struct route_place *place)
{
	(void)place; /* the test asks again */
}

/* Where that cannot be, the login goes on as it is; the next one tries again. */
static void test_assigned_anew_once(void **state)
{
	struct route_events both = {.answered = on_answered, .released = on_released};
	struct world *world = *state;
	struct asked asked = {0};

	world->events = &both;
	start(world, "redis", "unknown = \"assign\"");
	member_set_drain(member(world, "mail1"), MEMBER_KICKS, 0);
	fake_knows("alice", "mail1?assigned");
	for (unsigned i = 1; i <= 2; i++) {
		route_ask(world->router, &asked.place, "alice");
		assert_int_equal(fake_directory.reassigned, i);
		assert_int_equal(asked.answers, i - 1);
		fake_assign("alice", "mail1?assigned");
		route_ask(world->router, &asked.place, "alice");
		assert_int_equal(fake_directory.reassigned, i);
		assert_int_equal(asked.answers, i);
		assert_string_equal(asked.backend->name, "mail1");
		route_leave(&asked.place, true);
	}
	/* Whose member has left, and nobody may say who comes after it. */
	fake_knows("alice", "mail9?assigned");
	route_ask(world->router, &asked.place, "alice");
	fake_assign("alice", "mail9?assigned");
	route_ask(world->router, &asked.place, "alice");
	assert_int_equal(asked.result, ROUTE_UNAVAILABLE);
	assert_int_equal(fake_directory.reassigned, 3);
	route_leave(&asked.place, true);
	forget(&asked);
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
	pool_free(world->pool);
	world->pool = NULL;
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
		in_world(test_static_before_the_directory),
		in_world(test_values),
		in_world(test_no_authorities),
		in_world(test_urls_are_kept),
		in_world(test_offer),
		in_world(test_offer_of_urls),
		in_world(test_unknown),
		in_world(test_nobody_is_present_without_a_backend),
		in_world(test_failure),
		in_world(test_keys),
		in_world(test_who_leaves_is_not_answered),
		in_world(test_assigned_anew_once),
		in_world(test_backend_outlives_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
