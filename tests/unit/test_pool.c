/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: members of the configuration, members that come and go with a service, and views that
 * stay what they are.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/resolver.h"
#include "routing/pool.h"
#include "support/config_text.h"
#include "support/log_capture.h"

#define BACKENDS                                                                                   \
	"[[backend]]\nname = \"mail2\"\naddress = \"10.0.0.2:143\"\nweight = 50\n"                 \
	"sources = [\"10.0.0.7\", \"10.0.0.8\"]\n"                                                 \
	"[[backend]]\nname = \"pods\"\naddress = \"srv:_imap._tcp.mail.example\"\n"                \
	"sources = [\"10.0.0.7\"]\n"                                                               \
	"[[backend]]\nname = \"mail1\"\naddress = \"mail1.example:143\"\n"                         \
	"[[backend]]\nname = \"more\"\naddress = \"srv:_imap._tcp.more.example\"\nweight = 250\n"  \
	"[[backend]]\nname = \"none\"\naddress = \"srv:_imap._tcp.none.example\"\nweight = 0\n"

enum { MAIL2, PODS, MAIL1, MORE, NONE };

#define REFUSED "a target of a service is refused"
#define CHANGED "the members of a backend have changed"

static struct pool *pool_of(const char *backends)
{
	struct config *config;
	struct error error = {0};
	struct pool *pool;
	size_t size = strlen(CONFIG_TEXT_LISTENER) + strlen(backends) + 1;
	char *text = malloc(size);

	assert_non_null(text);
	snprintf(text, size, "%s%s", CONFIG_TEXT_LISTENER, backends);
	config = config_text_good(text);
	free(text);
	pool = pool_new(config, &error);
	assert_non_null(pool);
	config_unref(config); /* it has one of its own */
	buffer_done(&logged);
	return pool;
}

static void end(struct pool *pool)
{
	pool_free(pool);
	buffer_done(&logged);
}

static bool set(struct pool *pool, size_t config, const struct resolver_service *services,
		size_t count)
{
	unsigned version = pool_version(pool);
	bool changed = pool_set_services(pool, config, services, count);

	assert_int_equal(pool_version(pool), version + changed);
	return changed;
}

/* What the pool holds: "NAME=ADDRESS/WEIGHT" of each member, in the view's order. */
static void check_members(struct pool *pool, const char *expected)
{
	const struct pool_view *view = pool_view(pool);
	char text[2000] = "";

	assert_int_equal(view->version, pool_version(pool));
	for (size_t i = 0; i < view->count; i++) {
		const struct member *member = view->members[i];
		char address[ENDPOINT_TEXT_MAX];
		size_t length = strlen(text);

		endpoint_format(&member->address, address);
		snprintf(text + length, sizeof(text) - length, "%s%s=%s/%u", i > 0 ? " " : "",
			 member->name, address, member_weight(member));
	}
	assert_string_equal(text, expected);
	pool_view_unref(view);
}

static struct member *find(struct pool *pool, const char *name)
{
	const struct pool_view *view = pool_view(pool);
	struct member *member = pool_view_find(view, name);

	pool_view_unref(view);
	return member;
}

#define FIXED "mail1=mail1.example:143/100 mail2=10.0.0.2:143/50"

static void test_members_of_the_configuration(void **state)
{
	struct pool *pool = pool_of(BACKENDS);

	(void)state;
	check_members(pool, FIXED);
	assert_int_equal(find(pool, "mail1")->config, MAIL1);
	assert_int_equal(find(pool, "mail2")->config, MAIL2);
	assert_null(find(pool, "mail1")->sources);
	assert_non_null(find(pool, "mail2")->sources);
	assert_null(find(pool, "mail"));
	assert_null(find(pool, "mail3"));
	assert_null(find(pool, "pods"));
	assert_null(find(pool, ""));
	end(pool);
}

static void test_no_member_yet(void **state)
{
	struct pool *pool = pool_of(
		"[[backend]]\nname = \"pods\"\naddress = \"srv:_imap._tcp.mail.example\"\n");

	(void)state;
	check_members(pool, "");
	assert_null(find(pool, "pods"));
	end(pool);
	pool_free(NULL);
	pool_view_unref(NULL);
}

static void test_pods_come_and_go(void **state)
{
	static const struct resolver_service services[] = {{"pod-b.mail.example", 143, 0, 100},
							   {"pod-a.mail.example", 143, 0, 100}};
	struct pool *pool = pool_of(BACKENDS);
	struct member *first;

	(void)state;
	assert_true(set(pool, PODS, services, 1));
	check_members(pool, FIXED " pod-b.mail.example=pod-b.mail.example:143/100");
	first = find(pool, "pod-b.mail.example");
	assert_int_equal(first->config, PODS);
	assert_true(set(pool, PODS, services, 2));
	check_members(pool, FIXED " pod-a.mail.example=pod-a.mail.example:143/100"
				  " pod-b.mail.example=pod-b.mail.example:143/100");
	assert_ptr_equal(find(pool, "pod-b.mail.example"), first);
	/* Members of one backend share their sources. */
	assert_non_null(first->sources);
	assert_ptr_equal(find(pool, "pod-a.mail.example")->sources, first->sources);
	assert_true(set(pool, PODS, services + 1, 1));
	check_members(pool, FIXED " pod-a.mail.example=pod-a.mail.example:143/100");
	assert_true(set(pool, PODS, NULL, 0));
	check_members(pool, FIXED);
	assert_false(set(pool, PODS, NULL, 0));
	assert_int_equal(count_logged(CHANGED " pods"), 4);
	assert_int_equal(count_logged(REFUSED), 0);
	end(pool);
}

/* What is known of a member stays: that it is down, and that it drains. */
static void test_members_stay_what_they_are(void **state)
{
	static const struct resolver_service services[] = {{"pod-a.mail.example", 143, 0, 100},
							   {"pod-b.mail.example", 143, 0, 100}};
	struct pool *pool = pool_of(BACKENDS);
	struct metrics metrics = {0};
	struct member *member;

	(void)state;
	assert_true(set(pool, PODS, services, 1));
	member = find(pool, "pod-a.mail.example");
	for (unsigned i = 0; i < 3; i++) {
		member_missed(member, "refused", &metrics);
	}
	assert_true(set(pool, PODS, services, 2));
	assert_ptr_equal(find(pool, "pod-a.mail.example"), member);
	assert_false(member_is_up(member));
	assert_true(member_is_up(find(pool, "pod-b.mail.example")));
	end(pool);
}

/* The order of an answer says nothing: it is another one each time. */
static void test_order_of_services(void **state)
{
	static const struct resolver_service services[] = {
		{"pod-c", 143, 0, 1}, {"pod-a", 143, 0, 2}, {"pod-b", 143, 1, 3}};
	static const struct resolver_service turned[] = {
		{"pod-b", 143, 1, 3}, {"pod-c", 143, 0, 1}, {"pod-a", 143, 0, 2}};
	struct pool *pool = pool_of(BACKENDS);

	(void)state;
	assert_true(set(pool, PODS, services, 3));
	assert_false(set(pool, PODS, turned, 3));
	check_members(pool, FIXED " pod-a=pod-a:143/2 pod-b=pod-b:143/3 pod-c=pod-c:143/1");
	end(pool);
}

static void test_weights(void **state)
{
	static const struct {
		size_t config;
		uint16_t weight;
		const char *expected;
	} cases[] = {
		{PODS, 0, FIXED " pod=pod:143/1"},
		{PODS, 1, FIXED " pod=pod:143/1"},
		{PODS, UINT16_MAX, FIXED " pod=pod:143/65535"},
		{MORE, 0, FIXED " pod=pod:143/2"},
		{MORE, 10, FIXED " pod=pod:143/25"},
		{NONE, 0, FIXED " pod=pod:143/0"},
		{NONE, 100, FIXED " pod=pod:143/0"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct resolver_service service = {"pod", 143, 0, cases[i].weight};
		struct pool *pool = pool_of(BACKENDS);

		assert_true(set(pool, cases[i].config, &service, 1));
		check_members(pool, cases[i].expected);
		end(pool);
	}
}

/* Less than one is one, where it is not none. */
static void test_small_weights(void **state)
{
	static const struct resolver_service service = {"pod", 143, 0, 3};
	struct pool *pool = pool_of("[[backend]]\nname = \"pods\"\nweight = 10\n"
				    "address = \"srv:_imap._tcp.mail.example\"\n");

	(void)state;
	assert_true(set(pool, 0, &service, 1));
	check_members(pool, "pod=pod:143/1");
	end(pool);
}

/* The members are the same, but users live elsewhere now. */
static void test_a_weight_changes(void **state)
{
	static const struct resolver_service before = {"pod", 143, 0, 50};
	static const struct resolver_service after = {"pod", 143, 0, 33};
	struct pool *pool = pool_of(BACKENDS);
	struct member *member;

	(void)state;
	assert_true(set(pool, PODS, &before, 1));
	member = find(pool, "pod");
	assert_true(set(pool, PODS, &after, 1));
	assert_ptr_equal(find(pool, "pod"), member);
	check_members(pool, FIXED " pod=pod:143/33");
	assert_int_equal(count_logged(CHANGED), 1);
	end(pool);
}

static void test_a_port_changes(void **state)
{
	static const struct resolver_service before = {"pod", 143, 0, 50};
	static const struct resolver_service after = {"pod", 1143, 0, 50};
	struct pool *pool = pool_of(BACKENDS);
	struct member *member;

	(void)state;
	assert_true(set(pool, PODS, &before, 1));
	member = member_ref(find(pool, "pod"));
	assert_true(set(pool, PODS, &after, 1));
	assert_ptr_not_equal(find(pool, "pod"), member);
	check_members(pool, FIXED " pod=pod:1143/50");
	member_unref(member);
	end(pool);
}

static void test_addresses_are_names_too(void **state)
{
	static const struct resolver_service service = {"10.0.0.9", 143, 0, 1};
	struct pool *pool = pool_of(BACKENDS);

	(void)state;
	assert_true(set(pool, PODS, &service, 1));
	assert_int_equal(find(pool, "10.0.0.9")->address.kind, ENDPOINT_IP);
	end(pool);
}

static void test_refused(void **state)
{
	static char long_host[ENDPOINT_HOST_MAX + 2];
	static const struct {
		struct resolver_service service;
		const char *why;
	} cases[] = {
		{{"mail1", 143, 0, 1}, "another backend has this name"},
		{{"", 143, 0, 1}, "this is no host name with a port"},
		{{"pod", 0, 0, 1}, "this is no host name with a port"},
		{{"po d", 143, 0, 1}, "this is no host name with a port"},
		{{"pod\n", 143, 0, 1}, "this is no host name with a port"},
		{{"unix:/run/x", 143, 0, 1}, "this is no host name with a port"},
		{{"[::1]", 143, 0, 1}, "this is no host name with a port"},
		{{"imap://pod", 143, 0, 1}, "this is no host name with a port"},
		{{long_host, 65535, 0, 1}, "this is no host name with a port"},
		{{"taken.example", 144, 0, 1}, "this host is there already, with another port"},
	};

	(void)state;
	memset(long_host, 'a', sizeof(long_host) - 1);
	for (size_t i = 0; i < array_length(cases); i++) {
		struct resolver_service services[] = {
			cases[i].service,
			{"taken.example", 143, 0, 1},
			{"zebra.example", 143, 0, 1},
		};
		struct pool *pool = pool_of(BACKENDS);

		assert_true(set(pool, PODS, services, 3));
		check_members(pool, FIXED " taken.example=taken.example:143/1"
					  " zebra.example=zebra.example:143/1");
		assert_int_equal(count_logged(REFUSED " pods"), 1);
		assert_int_equal(count_logged(cases[i].why), 1);
		end(pool);
	}
}

/* The longest name that there is. */
static void test_a_long_name(void **state)
{
	char host[ENDPOINT_HOST_MAX + 1] = {0};
	struct resolver_service service = {host, 65535, 0, 1};
	struct pool *pool = pool_of(BACKENDS);

	(void)state;
	for (size_t i = 0; i < ENDPOINT_HOST_MAX; i++) {
		host[i] = i % 64 == 63 ? '.' : 'a';
	}
	assert_true(set(pool, PODS, &service, 1));
	assert_non_null(find(pool, host));
	assert_int_equal(count_logged(REFUSED), 0);
	end(pool);
}

/* Of two ports of a host it is always the same one: first the priority says, then the port. */
static void test_which_of_two_ports(void **state)
{
	static const struct {
		struct resolver_service services[2];
		const char *expected;
	} cases[] = {
		{{{"pod", 143, 0, 1}, {"pod", 144, 0, 1}}, FIXED " pod=pod:143/1"},
		{{{"pod", 144, 0, 1}, {"pod", 143, 0, 1}}, FIXED " pod=pod:143/1"},
		{{{"pod", 143, 2, 1}, {"pod", 144, 1, 1}}, FIXED " pod=pod:144/1"},
		{{{"pod", 143, 0, 9}, {"pod", 143, 0, 4}}, FIXED " pod=pod:143/4"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		static const struct resolver_service other = {"pod", 144, 0, 1};
		struct pool *pool = pool_of(BACKENDS);

		assert_true(set(pool, PODS, &other, 1));
		(void)set(pool, PODS, cases[i].services, 2);
		check_members(pool, cases[i].expected);
		end(pool);
	}
}

static void test_two_services(void **state)
{
	static const struct resolver_service services[] = {{"pod-a", 143, 0, 100},
							   {"pod-b", 143, 0, 100}};
	struct pool *pool = pool_of(BACKENDS);

	(void)state;
	assert_true(set(pool, PODS, services, 1));
	assert_true(set(pool, MORE, services, 2));
	check_members(pool, FIXED " pod-a=pod-a:143/100 pod-b=pod-b:143/250");
	assert_int_equal(count_logged("another backend has this name"), 1);
	assert_true(set(pool, PODS, NULL, 0));
	check_members(pool, FIXED " pod-b=pod-b:143/250");
	assert_true(set(pool, MORE, services, 2));
	check_members(pool, FIXED " pod-a=pod-a:143/250 pod-b=pod-b:143/250");
	end(pool);
}

/* At the limit, and one past it. A name server that says such things is mad, but may. */
static void test_as_many_as_fit(void **state)
{
	static struct resolver_service services[POOL_MEMBERS_MAX];
	static char hosts[POOL_MEMBERS_MAX][16];
	struct pool *pool = pool_of(BACKENDS);
	const struct pool_view *view;

	(void)state;
	for (size_t i = 0; i < POOL_MEMBERS_MAX; i++) {
		snprintf(hosts[i], sizeof(hosts[i]), "pod-%05zu", i);
		services[i] = (struct resolver_service){hosts[i], 143, 0, 1};
	}
	assert_true(set(pool, PODS, services, POOL_MEMBERS_MAX - 2));
	assert_int_equal(count_logged(REFUSED), 0);
	assert_false(set(pool, PODS, services, POOL_MEMBERS_MAX));
	assert_int_equal(count_logged("the pool is full"), 1); /* one line a second */
	view = pool_view(pool);
	assert_int_equal(view->count, POOL_MEMBERS_MAX);
	for (size_t i = 0; i < POOL_MEMBERS_MAX - 2; i++) {
		assert_string_equal(pool_view_find(view, hosts[i])->name, hosts[i]);
	}
	assert_null(pool_view_find(view, hosts[POOL_MEMBERS_MAX - 2]));
	pool_view_unref(view);
	end(pool);
}

static void test_views_outlive_the_pool(void **state)
{
	static const struct resolver_service service = {"pod", 143, 0, 1};
	struct pool *pool = pool_of(BACKENDS);
	const struct pool_view *old;
	const struct pool_view *last;

	(void)state;
	assert_true(set(pool, PODS, &service, 1));
	old = pool_view(pool);
	assert_true(set(pool, PODS, NULL, 0));
	last = pool_view(pool);
	assert_int_equal(old->count, 3);
	assert_int_equal(last->count, 2);
	assert_string_equal(pool_view_find(old, "pod")->name, "pod");
	assert_ptr_equal(pool_view_find(old, "mail1"), pool_view_find(last, "mail1"));
	end(pool);
	assert_string_equal(pool_view_find(old, "pod")->name, "pod");
	pool_view_unref(old);
	assert_string_equal(pool_view_find(last, "mail2")->name, "mail2");
	pool_view_unref(last);
}

/* struct readers share what the keeper changes. */
struct readers {
	struct pool *pool;
	atomic_bool done;
};

static void *read_views(void *argument)
{
	struct readers *readers = argument;
	const struct pool_view *view = pool_view(readers->pool);

	while (!atomic_load(&readers->done)) {
		if (view->version != pool_version(readers->pool)) {
			pool_view_unref(view);
			view = pool_view(readers->pool);
		}
		assert_non_null(pool_view_find(view, "mail1"));
		for (size_t i = 0; i < view->count; i++) {
			assert_true(member_is_up(view->members[i]));
			assert_in_range(member_weight(view->members[i]), 1, 100);
		}
	}
	pool_view_unref(view);
	return NULL;
}

static void test_many_threads(void **state)
{
	static const struct resolver_service services[] = {
		{"pod-a", 143, 0, 100}, {"pod-b", 143, 0, 100}, {"pod-c", 143, 0, 100}};
	struct readers readers = {.pool = pool_of(BACKENDS)};
	pthread_t threads[3];

	(void)state;
	for (size_t i = 0; i < array_length(threads); i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, read_views, &readers), 0);
	}
	for (unsigned i = 0; i < 3000; i++) {
		(void)pool_set_services(readers.pool, PODS, services + i % 3,
					i % 2 + 1 - i % 3 / 2);
	}
	atomic_store(&readers.done, true);
	for (size_t i = 0; i < array_length(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	end(readers.pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members_of_the_configuration),
		cmocka_unit_test(test_no_member_yet),
		cmocka_unit_test(test_pods_come_and_go),
		cmocka_unit_test(test_members_stay_what_they_are),
		cmocka_unit_test(test_order_of_services),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_small_weights),
		cmocka_unit_test(test_a_weight_changes),
		cmocka_unit_test(test_a_port_changes),
		cmocka_unit_test(test_addresses_are_names_too),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_a_long_name),
		cmocka_unit_test(test_which_of_two_ports),
		cmocka_unit_test(test_two_services),
		cmocka_unit_test(test_as_many_as_fit),
		cmocka_unit_test(test_views_outlive_the_pool),
		cmocka_unit_test(test_many_threads),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
