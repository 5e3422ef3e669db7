/* SPDX-License-Identifier: Apache-2.0
 *
 * The backends of a worker in step with the pool: who joins and leaves in which order, who stays
 * the same, and what a lack of memory leaves behind. The linker leads malloc, calloc and strdup of
 * the house through here (see the Makefile).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/roster_internal.h"
#include "base/addr.h"
#include "base/base.h"
#include "core/config.h"
#include "imap/capability.h"
#include "imap/sasl.h"
#include "net/resolver.h"
#include "routing/backend.h"
#include "routing/pool.h"
#include "support/config_text.h"

#define BACKENDS                                                                                   \
	"[[backend]]\nname = \"mail2\"\naddress = \"10.0.0.2:143\"\nconnect_timeout = \"2s\"\n"    \
	"[[backend]]\nname = \"pods\"\naddress = \"srv:_imap._tcp.mail.example\"\n"                \
	"connect_timeout = \"3s\"\n"                                                               \
	"[[backend]]\nname = \"mail1\"\naddress = \"10.0.0.1:993\"\ntls = \"implicit\"\n"

enum { MAIL2, PODS, MAIL1 };

static const struct resolver_service pods[] = {
	{"pod-a.example", 143, 0, 1},
	{"pod-b.example", 143, 0, 1},
	{"pod-c.example", 143, 0, 1},
};

/* --- Memory --------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);

static unsigned fails_at; /* 0: none does */
static unsigned allocated;

static bool fails(void)
{
	allocated++;
	return fails_at > 0 && allocated == fails_at;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* --- A pool and a roster -------------------------------------------------------------------- */

/* Only handed on. */
static char client_place;
#define TLS_CLIENT ((struct tls_client *)(void *)&client_place)

struct world {
	struct config *config;
	struct pool *pool;
	struct roster roster;
	char heard[1000];
	unsigned refuses; /* the joining of which number, 0: none */
	unsigned joined;
	struct tls_client *tls_clients[3];
};

static struct world world;

static void hear(const char *sign, const struct backend *backend)
{
	size_t used = strlen(world.heard);

	snprintf(world.heard + used, sizeof(world.heard) - used, "%s%s ", sign, backend->name);
}

static bool on_joined(struct roster *roster, struct backend *backend)
{
	assert_ptr_equal(roster, &world.roster);
	world.joined++;
	if (world.joined == world.refuses) {
		hear("!", backend);
		return false;
	}
	hear("+", backend);
	return true;
}

/* The roster is in step already when it tells that. */
static void on_left(struct roster *roster, struct backend *backend)
{
	assert_ptr_equal(roster, &world.roster);
	assert_true(roster->view == NULL || !roster_has(roster, backend));
	assert_true(backend->references > 0);
	hear("-", backend);
}

static const struct roster_events events = {.joined = on_joined, .left = on_left};

static int begin(void **state)
{
	struct error error = {0};

	(void)state;
	memset(&world, 0, sizeof(world));
	fails_at = 0;
	world.config = config_text_good(CONFIG_TEXT_LISTENER BACKENDS);
	world.pool = pool_new(world.config, &error);
	assert_non_null(world.pool);
	world.tls_clients[MAIL1] = TLS_CLIENT;
	world.roster = (struct roster){
		.config = world.config,
		.pool = world.pool,
		.tls_clients = world.tls_clients,
		.events = &events,
	};
	return 0;
}

static int end(void **state)
{
	(void)state;
	roster_done(&world.roster);
	roster_done(&world.roster);
	pool_free(world.pool);
	config_unref(world.config);
	return 0;
}

static void expect_heard(const char *heard)
{
	assert_string_equal(world.heard, heard);
	world.heard[0] = '\0';
}

static void check_members(const char *expected)
{
	char text[300] = "";

	for (size_t i = 0; i < world.roster.view->count; i++) {
		const struct backend *backend = world.roster.backends[i];

		assert_ptr_equal(backend->member, world.roster.view->members[i]);
		assert_ptr_equal(roster_find(&world.roster, backend->name), backend);
		assert_true(roster_has(&world.roster, backend));
		strcat(text, backend->name);
		strcat(text, " ");
	}
	assert_string_equal(text, expected);
}

/* --- In step -------------------------------------------------------------------------------- */

static void test_those_of_the_configuration(void **state)
{
	struct backend *mail1;
	struct backend *mail2;

	(void)state;
	assert_true(roster_refresh(&world.roster));
	expect_heard("+mail1 +mail2 ");
	check_members("mail1 mail2 ");
	mail1 = roster_find(&world.roster, "mail1");
	mail2 = roster_find(&world.roster, "mail2");
	assert_int_equal(mail1->tls, CONFIG_TLS_IMPLICIT);
	assert_ptr_equal(mail1->tls_client, TLS_CLIENT);
	assert_null(mail2->tls_client);
	assert_int_equal(mail2->connect_timeout_ms, 2000);
	assert_null(roster_find(&world.roster, "pods"));
	assert_null(roster_find(&world.roster, "mail"));
	assert_null(roster_find(&world.roster, "mail3"));
	assert_null(roster_find(&world.roster, ""));
	/* Nothing is new. */
	assert_true(roster_refresh(&world.roster));
	expect_heard("");
	assert_ptr_equal(roster_find(&world.roster, "mail1"), mail1);
}

static void test_pods_come_and_go(void **state)
{
	struct backend *mail1;
	struct backend *first;
	struct backend *second;

	(void)state;
	assert_true(roster_refresh(&world.roster));
	mail1 = roster_find(&world.roster, "mail1");
	expect_heard("+mail1 +mail2 ");
	pool_set_services(world.pool, PODS, pods, 2);
	assert_null(roster_find(&world.roster, "pod-a.example"));
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-a.example +pod-b.example ");
	check_members("mail1 mail2 pod-a.example pod-b.example ");
	first = backend_ref(roster_find(&world.roster, "pod-a.example"));
	second = roster_find(&world.roster, "pod-b.example");
	assert_int_equal(second->connect_timeout_ms, 3000);
	assert_int_equal(second->address.kind, ENDPOINT_NAME);

	/* Those who come are told before those who go. */
	pool_set_services(world.pool, PODS, pods + 1, 2);
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-c.example -pod-a.example ");
	check_members("mail1 mail2 pod-b.example pod-c.example ");
	assert_ptr_equal(roster_find(&world.roster, "pod-b.example"), second);
	assert_ptr_equal(roster_find(&world.roster, "mail1"), mail1);
	/* A session that uses it has it still. */
	assert_string_equal(first->name, "pod-a.example");
	assert_int_equal(first->references, 1);
	assert_false(roster_has(&world.roster, first));
	backend_unref(first);

	pool_set_services(world.pool, PODS, NULL, 0);
	assert_true(roster_refresh(&world.roster));
	expect_heard("-pod-b.example -pod-c.example ");
	check_members("mail1 mail2 ");
}

/* What happened between two looks is one step. */
static void test_views_that_nobody_saw(void **state)
{
	(void)state;
	pool_set_services(world.pool, PODS, pods, 3);
	pool_set_services(world.pool, PODS, pods, 1);
	assert_true(roster_refresh(&world.roster));
	expect_heard("+mail1 +mail2 +pod-a.example ");
	pool_set_services(world.pool, PODS, pods, 2);
	pool_set_services(world.pool, PODS, pods + 2, 1);
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-c.example -pod-a.example ");
}

/* Another port is another member of the same name, and so another backend. */
static void test_member_that_keeps_its_name(void **state)
{
	static const struct resolver_service moved = {"pod-a.example", 144, 0, 1};
	struct backend *before;
	struct backend *after;

	(void)state;
	pool_set_services(world.pool, PODS, pods, 1);
	assert_true(roster_refresh(&world.roster));
	before = backend_ref(roster_find(&world.roster, "pod-a.example"));
	expect_heard("+mail1 +mail2 +pod-a.example ");
	pool_set_services(world.pool, PODS, &moved, 1);
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-a.example -pod-a.example ");
	after = roster_find(&world.roster, "pod-a.example");
	assert_ptr_not_equal(after, before);
	assert_int_equal(after->address.port, 144);
	assert_int_equal(before->address.port, 143);
	assert_false(roster_has(&world.roster, before));
	assert_true(roster_has(&world.roster, after));
	backend_unref(before);
}

/* A member that went and came again is another one. */
static void test_member_that_came_again(void **state)
{
	struct backend *before;

	(void)state;
	pool_set_services(world.pool, PODS, pods, 1);
	assert_true(roster_refresh(&world.roster));
	before = backend_ref(roster_find(&world.roster, "pod-a.example"));
	pool_set_services(world.pool, PODS, NULL, 0);
	pool_set_services(world.pool, PODS, pods, 1);
	world.heard[0] = '\0';
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-a.example -pod-a.example ");
	assert_ptr_not_equal(roster_find(&world.roster, "pod-a.example"), before);
	backend_unref(before);
}

/* Weights are the member's business. */
static void test_weight_changes_nothing_here(void **state)
{
	static const struct resolver_service heavy = {"pod-a.example", 143, 0, 7};
	struct backend *before;

	(void)state;
	pool_set_services(world.pool, PODS, pods, 1);
	assert_true(roster_refresh(&world.roster));
	before = roster_find(&world.roster, "pod-a.example");
	world.heard[0] = '\0';
	assert_true(pool_set_services(world.pool, PODS, &heavy, 1));
	assert_true(roster_refresh(&world.roster));
	expect_heard("");
	assert_ptr_equal(roster_find(&world.roster, "pod-a.example"), before);
	assert_int_equal(member_weight(before->member), 7);
}

/* --- No memory ------------------------------------------------------------------------------ */

/* Who had joined leaves again, who was there before stays. */
static void test_joining_that_is_refused(void **state)
{
	struct backend *mail1;

	(void)state;
	assert_true(roster_refresh(&world.roster));
	mail1 = roster_find(&world.roster, "mail1");
	expect_heard("+mail1 +mail2 ");
	pool_set_services(world.pool, PODS, pods, 3);
	world.joined = 0;
	world.refuses = 3;
	assert_false(roster_refresh(&world.roster));
	expect_heard("+pod-a.example +pod-b.example !pod-c.example -pod-a.example -pod-b.example ");
	check_members("mail1 mail2 ");
	assert_ptr_equal(roster_find(&world.roster, "mail1"), mail1);
	assert_int_equal(mail1->references, 1);
	/* It is tried again. */
	assert_true(roster_refresh(&world.roster));
	expect_heard("+pod-a.example +pod-b.example +pod-c.example ");
}

static void test_first_that_is_refused(void **state)
{
	(void)state;
	world.refuses = 2;
	assert_false(roster_refresh(&world.roster));
	expect_heard("+mail1 !mail2 -mail1 ");
	assert_null(world.roster.view);
	assert_true(roster_refresh(&world.roster));
	check_members("mail1 mail2 ");
}

static void test_every_allocation(void **state)
{
	unsigned failed = 0;
	bool whole = false;

	(void)state;
	assert_true(roster_refresh(&world.roster));
	pool_set_services(world.pool, PODS, pods, 2);
	assert_true(roster_refresh(&world.roster));
	pool_set_services(world.pool, PODS, pods + 1, 2);
	while (!whole) {
		world.heard[0] = '\0';
		allocated = 0;
		fails_at = failed + 1;
		whole = roster_refresh(&world.roster);
		fails_at = 0;
		if (!whole) {
			failed++;
			expect_heard("");
			check_members("mail1 mail2 pod-a.example pod-b.example ");
		}
	}
	assert_true(failed >= 3);
	expect_heard("+pod-c.example -pod-a.example ");
	check_members("mail1 mail2 pod-b.example pod-c.example ");
}

/* --- Finding -------------------------------------------------------------------------------- */

static void test_find_at(void **state)
{
	static const struct {
		const char *address;
		bool implicit_tls;
		const char *name; /* NULL: none */
	} rows[] = {
		{"10.0.0.1:993", true, "mail1"},
		{"10.0.0.1:993", false, NULL},
		{"10.0.0.1:143", false, NULL},
		{"10.0.0.2:143", false, "mail2"},
		{"10.0.0.2:143", true, NULL},
		{"10.0.0.3:143", false, NULL},
		{"pod-b.example:143", false, "pod-b.example"},
		{"pod-b.example:144", false, NULL},
	};

	(void)state;
	pool_set_services(world.pool, PODS, pods, 2);
	assert_true(roster_refresh(&world.roster));
	for (size_t i = 0; i < array_length(rows); i++) {
		struct endpoint address = {0};
		struct error error = {0};
		const struct backend *found;

		assert_true(endpoint_parse(&address, rows[i].address, 0, &error));
		found = roster_find_at(&world.roster, &address, rows[i].implicit_tls);
		if (rows[i].name != NULL) {
			assert_non_null(found);
			assert_string_equal(found->name, rows[i].name);
		} else {
			assert_null(found);
		}
		endpoint_done(&address);
	}
}

static void test_has(void **state)
{
	struct endpoint address = {0};
	struct error error = {0};
	struct backend *of_url;

	(void)state;
	assert_true(roster_refresh(&world.roster));
	assert_true(endpoint_parse(&address, "10.0.0.2:143", 0, &error));
	of_url = backend_new_at(&address, CONFIG_TLS_NONE, NULL);
	assert_non_null(of_url);
	assert_false(roster_has(&world.roster, of_url));
	backend_unref(of_url);
	endpoint_done(&address);
}

static void test_meet(void **state)
{
	struct capability_offer offer = {
		.known = true, .mechanisms = SASL_ALL, .atoms = "IDLE MOVE"};
	struct capability_offer common = {0};

	(void)state;
	assert_true(roster_refresh(&world.roster));
	roster_meet(&world.roster, &common);
	assert_false(common.known);
	assert_true(backend_learn(roster_find(&world.roster, "mail1"), &offer));
	strcpy(offer.atoms, "IDLE");
	assert_true(backend_learn(roster_find(&world.roster, "mail2"), &offer));
	roster_meet(&world.roster, &common);
	assert_true(common.known);
	assert_string_equal(common.atoms, "IDLE");
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_those_of_the_configuration),
		in_world(test_pods_come_and_go),
		in_world(test_views_that_nobody_saw),
		in_world(test_member_that_keeps_its_name),
		in_world(test_member_that_came_again),
		in_world(test_weight_changes_nothing_here),
		in_world(test_joining_that_is_refused),
		in_world(test_first_that_is_refused),
		in_world(test_every_allocation),
		in_world(test_find_at),
		in_world(test_has),
		in_world(test_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
