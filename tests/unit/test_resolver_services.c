/* SPDX-License-Identifier: Apache-2.0
 *
 * SRV records, asked of a DNS server in this process and loop. What hostile answers look like in
 * detail is in test_resolver_srv.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ev.h>

#include "base/base.h"
#include "base/error.h"
#include "net/resolver.h"
#include "support/fake_dns.h"
#include "support/turns.h"

struct world {
	struct ev_loop *loop;
	struct fake_dns dns;
	struct resolver *resolver;
};

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	world->loop = ev_loop_new(EVFLAG_AUTO);
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;

	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	assert_false(ev_run(world->loop, EVRUN_NOWAIT));
	ev_loop_destroy(world->loop);
	free(world);
	return 0;
}

static void set_names(struct world *world, struct fake_name *names, size_t count)
{
	world->dns.names = names;
	world->dns.name_count = count;
}

/* --- The asker ------------------------------------------------------------------------------ */

struct asked {
	struct resolver_service_query query;
	struct resolver *resolver;
	unsigned answers;
	size_t count;
	unsigned ttl;
	bool has_why;
	char why[128];
	char text[512];       /* "HOST:PORT/PRIORITY/WEIGHT " of the first */
	const char *then_ask; /* by the callback, once */
};

static void on_answer(struct resolver_service_query *query, const struct resolver_service *services,
		      size_t count, unsigned ttl, const char *why)
{
	struct asked *asked = container_of(query, struct asked, query);
	size_t used = 0;

	asked->answers++;
	asked->count = count;
	asked->ttl = ttl;
	asked->text[0] = '\0';
	asked->has_why = why != NULL;
	snprintf(asked->why, sizeof(asked->why), "%s", why != NULL ? why : "");
	for (size_t i = 0; i < count && i < 4; i++) {
		used += (size_t)snprintf(asked->text + used, sizeof(asked->text) - used,
					 "%.60s:%u/%u/%u ", services[i].host, services[i].port,
					 services[i].priority, services[i].weight);
	}
	if (asked->then_ask != NULL) {
		const char *name = asked->then_ask;

		asked->then_ask = NULL;
		resolver_ask_services(asked->resolver, query, name, on_answer);
	}
}

static void ask(struct world *world, struct asked *asked, const char *name)
{
	asked->resolver = world->resolver;
	resolver_ask_services(world->resolver, &asked->query, name, on_answer);
}

static void resolve(struct world *world, struct asked *asked, const char *name)
{
	unsigned answers = asked->answers + 1;

	ask(world, asked, name);
	turns_until_count(world->loop, &asked->answers, answers);
	assert_int_equal(asked->answers, answers);
}

/* --- The tests ------------------------------------------------------------------------------ */

static const struct fake_service SERVICES[] = {
	{"c.test", 143, 20, 5},
	{"A.Test", 10143, 10, 100},
	{"b.test", 993, 10, 0},
};

static void test_sorted(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "_imap._tcp.test", .services = SERVICES, .service_count = 3, .ttl = 60},
	};
	struct asked asked = {0};

	set_names(world, names, array_length(names));
	resolve(world, &asked, "_imap._tcp.test");
	assert_string_equal(asked.text, "a.test:10143/10/100 b.test:993/10/0 c.test:143/20/5 ");
	assert_int_equal(asked.ttl, 60);
	assert_false(asked.has_why);
	resolve(world, &asked, "_IMAP._tcp.Test.");
	assert_int_equal(asked.count, 3);
	assert_int_equal(names[0].asked, 2); /* nothing is remembered */
}

static void test_ttl(void **state)
{
	static const struct {
		uint32_t ttl;
		unsigned told;
	} cases[] = {{0, RESOLVER_TTL_MIN},
		     {1, 1},
		     {2, 2},
		     {300, 300},
		     {301, RESOLVER_TTL_MAX},
		     {UINT32_MAX, RESOLVER_TTL_MIN},
		     {INT32_MAX, RESOLVER_TTL_MAX}};
	struct world *world = *state;
	struct fake_name name = {.name = "s.test", .services = SERVICES, .service_count = 3};
	struct asked asked = {0};

	set_names(world, &name, 1);
	for (size_t i = 0; i < array_length(cases); i++) {
		name.ttl = cases[i].ttl;
		resolve(world, &asked, "s.test");
		assert_int_equal(asked.count, 3);
		assert_int_equal(asked.ttl, cases[i].told);
	}
}

static void test_alias(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "s.test",
				 .alias = "real.test",
				 .services = SERVICES,
				 .service_count = 3,
				 .ttl = 7};
	struct asked asked = {0};

	set_names(world, &name, 1);
	resolve(world, &asked, "s.test");
	assert_int_equal(asked.count, 3);
	assert_int_equal(asked.ttl, 7);
}

static void test_no_service(void **state)
{
	static const struct fake_service root = {"", 0, 0, 0};
	struct world *world = *state;
	struct fake_name name = {
		.name = "s.test", .services = &root, .service_count = 1, .ttl = 60};
	struct asked asked = {0};

	set_names(world, &name, 1);
	resolve(world, &asked, "s.test");
	assert_int_equal(asked.count, 0);
	assert_int_equal(asked.ttl, 60);
	assert_false(asked.has_why);
}

static void test_failures(void **state)
{
	static const struct fake_service useless = {"no port.test", 0, 0, 0};
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "empty.test", .ttl = 60},
		{.name = "broken.test", .code = 2},
		{.name = "useless.test", .services = &useless, .service_count = 1, .ttl = 60},
		{.name = "alias.test", .alias = "other.test", .ttl = 60},
		{.name = "garbage.test",
		 .services = SERVICES,
		 .service_count = 3,
		 .ttl = 60,
		 .garbage = true},
	};
	const char *const asks[] = {"none.test",  "empty.test",   "broken.test", "useless.test",
				    "alias.test", "garbage.test", "a..test"};
	struct asked asked = {0};
	char longest[ENDPOINT_HOST_MAX + 2];

	set_names(world, names, array_length(names));
	for (size_t i = 0; i < array_length(asks); i++) {
		resolve(world, &asked, asks[i]);
		assert_int_equal(asked.count, 0);
		assert_true(asked.has_why && asked.why[0] != '\0');
		assert_int_equal(asked.ttl, RESOLVER_TTL_NEGATIVE);
	}
	memset(longest, 'x', sizeof(longest));
	longest[ENDPOINT_HOST_MAX + 1] = '\0';
	resolve(world, &asked, longest);
	assert_string_equal(asked.why, "the name is too long");
}

/* More than a datagram holds comes on TCP; more than we keep is left out. */
static void test_many(void **state)
{
	static const size_t counts[] = {40, RESOLVER_SERVICES_MAX, RESOLVER_SERVICES_MAX + 1, 1000};
	struct world *world = *state;
	struct fake_service services[1000];
	char hosts[1000][16];
	struct fake_name name = {.name = "s.test", .services = services, .ttl = 60};
	struct asked asked = {0};

	for (size_t i = 0; i < array_length(services); i++) {
		snprintf(hosts[i], sizeof(hosts[i]), "h%zu.test", i);
		services[i] = (struct fake_service){hosts[i], 143, (uint16_t)(1000 - i), 1};
	}
	set_names(world, &name, 1);
	for (size_t i = 0; i < array_length(counts); i++) {
		size_t kept = counts[i] < RESOLVER_SERVICES_MAX ? counts[i] : RESOLVER_SERVICES_MAX;
		char first[32];

		name.service_count = counts[i];
		resolve(world, &asked, "s.test");
		assert_int_equal(asked.count, kept);
		snprintf(first, sizeof(first), "h%zu.test:143/%zu/1 ", kept - 1, 1001 - kept);
		assert_memory_equal(asked.text, first, strlen(first));
	}
	assert_true(world->dns.streams > 0);
}

static void test_cancel(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "s.test", .services = SERVICES, .service_count = 3, .ttl = 60};
	struct asked first = {0};
	struct asked second = {0};

	set_names(world, &name, 1);
	resolver_cancel_services(&first.query);
	ask(world, &first, "s.test");
	ask(world, &second, "s.test");
	resolver_cancel_services(&first.query);
	resolver_cancel_services(&first.query);
	turns_until_count(world->loop, &second.answers, 1);
	turns_for(world->loop, 20);
	assert_int_equal(first.answers, 0);
	resolve(world, &first, "s.test");
	assert_int_equal(first.count, 3);
	ask(world, &first, "s.test"); /* and never answered */
	resolver_cancel_services(&first.query);
}

static void test_callback_asks(void **state)
{
	struct world *world = *state;
	struct fake_name name = {
		.name = "s.test", .services = SERVICES, .service_count = 1, .ttl = 60};
	struct asked asked = {.then_ask = "s.test"};

	set_names(world, &name, 1);
	ask(world, &asked, "none.test");
	turns_until_count(world->loop, &asked.answers, 2);
	assert_int_equal(asked.count, 1);
	asked.then_ask = "s.test";
	ask(world, &asked, "a..test");
	turns_until_count(world->loop, &asked.answers, 4);
	assert_int_equal(asked.count, 1);
}

static void test_silence(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "s.test", .silent = true};
	struct asked asked = {0};

	set_names(world, &name, 1);
	resolve(world, &asked, "s.test");
	assert_int_equal(asked.count, 0);
	assert_true(asked.has_why);
	assert_int_equal(name.asked, RESOLVER_TRIES);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_sorted),     in_world(test_ttl),           in_world(test_alias),
		in_world(test_no_service), in_world(test_failures),      in_world(test_many),
		in_world(test_cancel),     in_world(test_callback_asks), in_world(test_silence),
	};

	return cmocka_run_group_tests_name("resolver_services", tests, NULL, NULL);
}
