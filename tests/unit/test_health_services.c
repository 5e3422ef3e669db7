/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that come from a service: asked for at once and by the TTL, kept through failures, and
 * checked as long as they are there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "routing/health.h"
#include "routing/pool.h"
#include "support/health_world.h"
#include "support/log_capture.h"
#include "support/turns.h"

#define SERVICE  "_imap._tcp.pods.example"
#define OFTEN    "interval = \"10ms\"\n"
#define SERVFAIL 2

#define BACKEND                                                                                    \
	"[[backend]]\nname = \"pods\"\naddress = \"srv:" SERVICE "\"\n"                            \
	"connect_timeout = \"20s\"\nlogin_timeout = \"20s\"\n"

/* The service, and the address of all pods. */
struct pods {
	struct health_world *world;
	struct fake_service targets[4];
	struct fake_name names[2];
};

static int begin(void **state)
{
	struct pods *pods = calloc(1, sizeof(*pods));
	void *world = NULL;

	assert_non_null(pods);
	health_world_begin(&world);
	pods->world = world;
	pods->names[0] = (struct fake_name){.name = SERVICE, .services = pods->targets, .ttl = 1};
	pods->names[1] =
		(struct fake_name){.name = "*.pods.example", .v4 = {"127.0.0.1"}, .ttl = 60};
	pods->world->probes->dns.names = pods->names;
	pods->world->probes->dns.name_count = 2;
	*state = pods;
	return 0;
}

static int end(void **state)
{
	struct pods *pods = *state;
	void *world = pods->world;

	health_world_end(&world);
	buffer_done(&logged);
	free(pods);
	return 0;
}

/* The pods are `hosts`, up to a NULL. */
static void set_pods(struct pods *pods, const char *const hosts[])
{
	size_t count = 0;

	for (; hosts[count] != NULL; count++) {
		pods->targets[count] = (struct fake_service){
			.host = hosts[count],
			.port = pods->world->probes->scripted.port,
			.weight = 1,
		};
	}
	pods->names[0].service_count = count;
}

/* The names of all members, a space behind each. */
static const char *members_of(const struct pods *pods)
{
	static char names[200];
	const struct pool_view *view = pool_view(pods->world->pool);

	names[0] = '\0';
	for (size_t i = 0; i < view->count; i++) {
		size_t used = strlen(names);

		snprintf(names + used, sizeof(names) - used, "%s ", view->members[i]->name);
	}
	pool_view_unref(view);
	return names;
}

struct wanted {
	const struct pods *pods;
	const char *members;
	unsigned asked; /* or warned */
	uint64_t checks;
};

static bool has_members(const void *context)
{
	const struct wanted *wanted = context;

	return strcmp(members_of(wanted->pods), wanted->members) == 0;
}

static bool has_asked(const void *context)
{
	const struct wanted *wanted = context;

	return wanted->pods->names[0].asked >= wanted->asked;
}

static bool has_warned(const void *context)
{
	const struct wanted *wanted = context;

	return count_logged("service not found pods " SERVICE) >= wanted->asked;
}

static bool has_failed_of_lost(const void *context)
{
	(void)context;
	return count_logged("service not found lost ") >= 1;
}

static bool has_checked(const void *context)
{
	const struct wanted *wanted = context;

	return health_world_checks(wanted->pods->world) >= wanted->checks;
}

#define until(pods, condition, ...)                                                                \
	turns_until((pods)->world->probes->loop, condition, &(struct wanted){(pods), __VA_ARGS__})

static void test_come_and_go(void **state)
{
	struct pods *pods = *state;
	uint64_t checks;

	set_pods(pods, (const char *[]){"b.pods.example", "a.pods.example", NULL});
	health_world_start_text(pods->world, OFTEN, BACKEND);
	until(pods, has_members, .members = "a.pods.example b.pods.example ");
	until(pods, has_checked, .checks = 6);
	set_pods(pods, (const char *[]){"c.pods.example", "b.pods.example", NULL});
	until(pods, has_members, .members = "b.pods.example c.pods.example ");
	checks = health_world_checks(pods->world);
	until(pods, has_checked, .checks = checks + 6);
	assert_int_equal(health_world_failures(pods->world), 0);
	assert_int_equal(health_world_up(pods->world), 2);
}

static unsigned open_lines(const struct pods *pods)
{
	const struct scripted_backend *scripted = &pods->world->probes->scripted;
	unsigned count = 0;

	for (unsigned i = 0; i < scripted->accepted; i++) {
		count += scripted->lines[i].stream.phase == STREAM_OPEN;
	}
	return count;
}

static bool has_two_lines(const void *context)
{
	const struct wanted *wanted = context;

	return open_lines(wanted->pods) == 2;
}

static bool has_one_line(const void *context)
{
	const struct wanted *wanted = context;

	return open_lines(wanted->pods) == 1;
}

/* A check of who is no more there ends; one of who stays goes on. */
static void test_go_while_checked(void **state)
{
	struct pods *pods = *state;

	pods->world->probes->scripted.greeting = NULL;
	set_pods(pods, (const char *[]){"a.pods.example", "b.pods.example", NULL});
	health_world_start_text(pods->world, "interval = \"20s\"\n", BACKEND);
	pods->world->config->health.interval_ms = 10; /* the checks begin soon, and last */
	until(pods, has_two_lines, .asked = 0);
	set_pods(pods, (const char *[]){"b.pods.example", NULL});
	until(pods, has_members, .members = "b.pods.example ");
	until(pods, has_one_line, .asked = 0);
	assert_int_equal(health_world_checks(pods->world), 2);
	assert_int_equal(health_world_failures(pods->world), 0);
}

/* Nothing is known of the members then, so they stay; and it is asked again, and again. */
static void test_failure(void **state)
{
	struct pods *pods = *state;

	set_pods(pods, (const char *[]){"a.pods.example", NULL});
	pods->names[0].code = SERVFAIL;
	health_world_start_text(pods->world, OFTEN, BACKEND);
	until(pods, has_warned, .asked = 1);
	assert_string_equal(members_of(pods), "");
	pods->names[0].code = 0;
	until(pods, has_members, .members = "a.pods.example ");
	pods->names[0].code = SERVFAIL;
	until(pods, has_warned, .asked = 2);
	assert_string_equal(members_of(pods), "a.pods.example ");
	assert_int_equal(count_logged("has no members"), 0);
}

/* That there is no such service is an answer. */
static void test_no_service(void **state)
{
	struct pods *pods = *state;
	unsigned asked;

	set_pods(pods, (const char *[]){"a.pods.example", NULL});
	health_world_start_text(pods->world, OFTEN "check = \"none\"\n", BACKEND);
	until(pods, has_members, .members = "a.pods.example ");
	set_pods(pods, (const char *[]){"", NULL});
	until(pods, has_members, .members = "");
	asked = pods->names[0].asked;
	until(pods, has_asked, .asked = asked + 1);
	turns_for(pods->world->probes->loop, 30);
	assert_int_equal(count_logged("service has no members pods " SERVICE), 1);
	assert_int_equal(health_world_checks(pods->world), 0);
	set_pods(pods, (const char *[]){"b.pods.example", NULL});
	until(pods, has_members, .members = "b.pods.example ");
}

/* Once, after the last of them was heard of, one way or the other. */
static void test_all_were_asked(void **state)
{
	struct pods *pods = *state;

	set_pods(pods, (const char *[]){"a.pods.example", NULL});
	pods->names[1].code = SERVFAIL;
	pods->names[0].silent = true;
	health_world_start_text(
		pods->world, OFTEN,
		BACKEND "[[backend]]\nname = \"lost\"\naddress = \"srv:lost.pods.example\"\n");
	until(pods, has_failed_of_lost, .asked = 1);
	assert_int_equal(pods->world->services_asked, 0);
	pods->names[0].silent = false;
	until(pods, has_members, .members = "a.pods.example ");
	assert_int_equal(pods->world->services_asked, 1);
	until(pods, has_asked, .asked = pods->names[0].asked + 1);
	assert_int_equal(pods->world->services_asked, 1);
}

static void test_nobody_to_ask(void **state)
{
	struct pods *pods = *state;

	health_world_start_text(pods->world, OFTEN,
				"[[backend]]\nname = \"mail1\"\naddress = \"127.0.0.1:1\"\n");
	assert_int_equal(pods->world->services_asked, 1);
}

/* While it is being asked, too. */
static void test_stops(void **state)
{
	struct pods *pods = *state;

	pods->names[0].silent = true;
	health_world_start_text(pods->world, OFTEN, BACKEND);
	until(pods, has_asked, .asked = 1);
	health_world_stop(pods->world);
	turns_for(pods->world->probes->loop, 5);
	health_world_restart(pods->world);
	health_world_stop(pods->world);
}

#define with_pods(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_pods(test_come_and_go),    with_pods(test_go_while_checked),
		with_pods(test_failure),        with_pods(test_no_service),
		with_pods(test_all_were_asked), with_pods(test_nobody_to_ask),
		with_pods(test_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
