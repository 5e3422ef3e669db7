/* SPDX-License-Identifier: Apache-2.0
 *
 * Places that the router gave: what their owners hear from the directory, the next backend by rank,
 * how logins end and what that does to members and canaries, and who has to go.
 */
#include <arpa/inet.h>
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
#include "net/resolver.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/backend.h"
#include "routing/balance.h"
#include "routing/canary.h"
#include "routing/pool.h"
#include "routing/route.h"
#include "support/config_text.h"
#include "support/fake_directory.h"
#include "support/log_capture.h"

#define BACKENDS                                                                                   \
	"[health]\nfall = 1\nrise = 1\nwitnesses = 2\n"                                            \
	"[[backend]]\nname = \"mail1\"\naddress = \"10.0.0.1:143\"\n"                              \
	"[[backend]]\nname = \"mail2\"\naddress = \"10.0.0.2:143\"\n"                              \
	"[[backend]]\nname = \"new\"\naddress = \"10.0.0.3:143\"\nweight = 0\n"                    \
	"[[backend]]\nname = \"pods\"\naddress = \"srv:_imap._tcp.mail.example\"\n"

enum { MAIL1, MAIL2, NEW, PODS };

static struct {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics;
	struct config *config;
	struct pool *pool;
	struct canary *canary;
	struct router *router;
	unsigned drains_heard;
} world;

/* struct login is a place, and what was heard there. */
struct login {
	struct route_place place;
	char heard[300];
	struct backend *backend; /* of the last answer, owned */
};

/* --- What is heard -------------------------------------------------------------------------- */

static void hear(struct route_place *place, const char *what, const struct route_answer *answer)
{
	struct login *login = container_of(place, struct login, place);
	size_t used = strlen(login->heard);

	snprintf(login->heard + used, sizeof(login->heard) - used, "%s%s%s%s;", what,
		 answer != NULL && answer->backend != NULL ? answer->backend->name : "",
		 answer != NULL && answer->mailbox != NULL ? " as " : "",
		 answer != NULL && answer->mailbox != NULL ? answer->mailbox : "");
	if (answer != NULL && answer->backend != NULL) {
		backend_unref(login->backend);
		login->backend = answer->backend;
	}
}

static void on_answered(struct route_place *place, const struct route_answer *answer)
{
	static const char *const results[] = {"", "unknown", "unavailable"};

	hear(place, results[answer->result], answer);
}

static void on_changed(struct route_place *place, const struct route_answer *answer)
{
	assert_int_equal(answer->result, ROUTE_FOUND);
	hear(place, "changed ", answer);
}

static void on_parked(struct route_place *place)
{
	hear(place, "parked", NULL);
}

static void on_released(struct route_place *place)
{
	hear(place, "released", NULL);
}

static void on_held(struct route_place *place)
{
	hear(place, "held", NULL);
}

static void on_drains_changed(void *owner)
{
	assert_ptr_equal(owner, &world);
	world.drains_heard++;
}

static const struct route_events events = {
	.answered = on_answered,
	.parked = on_parked,
	.released = on_released,
	.changed = on_changed,
	.held = on_held,
	.drains_changed = on_drains_changed,
};

static void assert_heard(struct login *login, const char *what)
{
	assert_string_equal(login->heard, what);
	login->heard[0] = '\0';
}

/* --- The world ------------------------------------------------------------------------------ */

static int begin(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_true(stream_loop_init(&world.shared, world.loop, 0));
	timeouts_init(&world.timeouts, world.loop);
	return 0;
}

static int end(void **state)
{
	(void)state;
	router_free(world.router);
	canary_free(world.canary);
	pool_free(world.pool);
	config_unref(world.config);
	timeouts_done(&world.timeouts);
	stream_loop_done(&world.shared);
	ev_loop_destroy(world.loop);
	buffer_done(&logged);
	return 0;
}

static void start(const char *routing)
{
	struct error error = {0};
	char text[2000];
	struct router_settings settings = {
		.shared = &world.shared,
		.timeouts = &world.timeouts,
		.metrics = &world.metrics,
		.events = &events,
		.owner = &world,
	};

	snprintf(text, sizeof(text), "%s[routing]\n%s\n%s", CONFIG_TEXT_LISTENER, routing,
		 BACKENDS);
	world.config = config_text_good(text);
	world.pool = pool_new(world.config, &error);
	assert_non_null(world.pool);
	if (world.config->routing.canary.share > 0) {
		world.canary = canary_new(world.config->routing.canary_threshold);
	}
	settings.config = world.config;
	settings.pool = world.pool;
	settings.canary = world.canary;
	settings.directory = strstr(routing, "static") == NULL ? &fake_directory : NULL;
	world.router = router_new(&settings, &error);
	assert_non_null(world.router);
}

static void leave(struct login *login)
{
	route_leave(&login->place, true);
	backend_unref(login->backend);
	login->backend = NULL;
}

static struct member *member(const char *name)
{
	const struct pool_view *view = pool_view(world.pool);
	struct member *found = pool_view_find(view, name);

	pool_view_unref(view);
	assert_non_null(found);
	return found;
}

static struct addr client(unsigned number)
{
	struct addr addr = {.family = AF_INET};

	addr.v4.sin_addr.s_addr = htonl(0x0A000000 + number);
	return addr;
}

static void observe(struct backend *backend, unsigned from, enum route_outcome outcome)
{
	struct addr addr = client(from);

	route_observe(world.router, backend, &addr, outcome, "why");
}

/* --- Events --------------------------------------------------------------------------------- */

static void test_events(void **state)
{
	struct login login = {0};
	struct login other = {0};

	(void)state;
	start("");
	fake_knows("other", "mail2");
	route_ask(world.router, &other.place, "other");
	assert_heard(&other, "mail2;");
	fake_hold("alice");
	route_ask(world.router, &login.place, "alice");
	assert_heard(&login, "parked;");
	assert_false(login.place.taken);
	fake_knows("alice", "mail1?user=a");
	fake_release("alice");
	assert_heard(&login, "released;");
	route_ask(world.router, &login.place, "alice");
	assert_heard(&login, "mail1 as a;");
	assert_true(login.place.taken);
	fake_hold("alice");
	fake_hold("alice");
	assert_heard(&login, "held;held;");
	assert_true(login.place.taken);
	fake_tell_drains();
	assert_int_equal(world.drains_heard, 1);
	assert_heard(&other, "");
	leave(&login);
	leave(&other);
	assert_false(login.place.taken);
}

/* Only what is better than what there is. */
static void test_changes(void **state)
{
	struct login login = {0};

	(void)state;
	start("unknown = \"assign\"");
	fake_knows("alice", "mail1");
	route_ask(world.router, &login.place, "alice");
	assert_heard(&login, "mail1;");
	fake_change("alice", "mail2?user=a");
	assert_heard(&login, "changed mail2 as a;");
	fake_change("alice", NULL);
	assert_heard(&login, "");
	fake_change("alice", "mail9");
	assert_heard(&login, "");
	assert_int_equal(count_logged("a route cannot be used"), 1);
	fake_change("alice", "imap://10.1.1.1");
	assert_heard(&login, "changed imap://10.1.1.1:143;");
	/* Where the user belongs, whether that works or not. */
	member_missed(member("mail2"), "test", &world.metrics);
	fake_change("alice", "mail2");
	assert_heard(&login, "changed mail2;");
	/* One that will be assigned anew says nothing yet. */
	member_set_drain(member("mail1"), MEMBER_KICKS, 0);
	fake_change("alice", "mail1?assigned");
	assert_heard(&login, "");
	assert_int_equal(fake_directory.reassigned, 0);
	assert_true(login.place.taken);
	leave(&login);
}

static void test_change_to_unknown(void **state)
{
	struct login login = {0};

	(void)state;
	start("unknown = \"mail2\"");
	fake_knows("alice", "mail1");
	route_ask(world.router, &login.place, "alice");
	fake_change("alice", NULL);
	assert_heard(&login, "mail1;changed mail2;");
	leave(&login);
}

/* Members that came since anybody asked. */
static void test_answer_of_a_new_member(void **state)
{
	static const struct resolver_service pods[] = {{"pod-a.example", 143, 0, 1},
						       {"pod-b.example", 143, 0, 1}};
	struct login login = {0};

	(void)state;
	start("");
	route_ask(world.router, &login.place, "alice");
	pool_set_services(world.pool, PODS, pods, 1);
	fake_answer("alice", "pod-a.example");
	assert_heard(&login, "pod-a.example;");
	pool_set_services(world.pool, PODS, pods, 2);
	fake_change("alice", "pod-b.example");
	assert_heard(&login, "changed pod-b.example;");
	assert_int_equal(count_logged("a route cannot be used"), 0);
	leave(&login);
}

/* --- The next by rank ----------------------------------------------------------------------- */

static bool next(struct login *login, const char *user)
{
	struct route_answer answer = {0};

	if (!route_next(world.router, &login->place, user, login->backend, &answer)) {
		assert_null(answer.backend);
		return false;
	}
	assert_int_equal(answer.result, ROUTE_FOUND);
	backend_unref(login->backend);
	login->backend = answer.backend;
	return true;
}

static void test_next(void **state)
{
	static const struct resolver_service pods[] = {{"pod-a.example", 143, 0, 1},
						       {"pod-b.example", 143, 0, 1}};
	struct login login = {0};

	(void)state;
	start("unknown = \"hash\"\nfailover = true\n");
	pool_set_services(world.pool, PODS, pods, 2);
	assert_false(next(&login, "alice"));
	fake_knows("alice", "pods");
	route_ask(world.router, &login.place, "ALICE");
	assert_true(next(&login, "ALICE"));
	assert_int_equal(login.backend->member->config, PODS);
	assert_false(next(&login, "ALICE"));
	assert_int_equal(metrics_get(&world.metrics, METRIC_BACKEND_FAILOVERS), 1);
	leave(&login);

	fake_knows("alice", "mail1");
	route_ask(world.router, &login.place, "alice");
	assert_false(next(&login, "alice"));
	leave(&login);

	fake_knows("alice", NULL);
	route_ask(world.router, &login.place, "alice");
	for (int i = 0; i < 3; i++) {
		assert_true(next(&login, "alice"));
	}
	assert_false(next(&login, "alice"));
	leave(&login);
	/* Nor for who has left. */
	route_ask(world.router, &login.place, "alice");
	leave(&login);
	assert_false(next(&login, "alice"));
}

/* --- How logins end ------------------------------------------------------------------------- */

/* A few clients together, none of whom came through, say that a member is down. */
static void test_witnesses(void **state)
{
	struct login login = {0};

	(void)state;
	start("");
	fake_knows("alice", "mail1");
	route_ask(world.router, &login.place, "alice");
	observe(login.backend, 1, ROUTE_FAILED);
	observe(login.backend, 1, ROUTE_FAILED);
	assert_true(member_is_up(member("mail1")));
	/* A backend that says no answers. */
	observe(login.backend, 2, ROUTE_REFUSED);
	observe(login.backend, 2, ROUTE_FAILED);
	assert_true(member_is_up(member("mail1")));
	observe(login.backend, 1, ROUTE_ACCEPTED);
	observe(login.backend, 1, ROUTE_FAILED);
	assert_true(member_is_up(member("mail1")));
	observe(login.backend, 2, ROUTE_FAILED);
	assert_false(member_is_up(member("mail1")));
	assert_int_equal(metrics_get(&world.metrics, METRIC_BACKEND_DOWNS), 1);
	leave(&login);
	login.heard[0] = '\0';
	route_ask(world.router, &login.place, "alice");
	assert_heard(&login, "unavailable;");
	assert_int_equal(metrics_get(&world.metrics, METRIC_BACKEND_DOWN_LOGINS), 1);
	leave(&login);
}

/* What a URL names is nobody's member. */
static void test_observing_a_url(void **state)
{
	struct login login = {0};

	(void)state;
	start("");
	fake_knows("alice", "imap://10.0.0.1");
	route_ask(world.router, &login.place, "alice");
	for (unsigned i = 0; i < 20; i++) {
		observe(login.backend, i, ROUTE_FAILED);
	}
	assert_true(member_is_up(member("mail1")));
	leave(&login);
}

/* --- The canary ----------------------------------------------------------------------------- */

/* The backend of the share, by a user of it. */
static void log_in_at_canary(struct login *login)
{
	char user[16];
	unsigned number = 0;

	do {
		snprintf(user, sizeof(user), "u%u", number++);
	} while (!balance_is_canary(&world.config->routing, user));
	route_ask(world.router, &login->place, user);
	fake_answer(user, NULL);
	assert_heard(login, "new;");
}

/* Refusals count there: a server that does not know its users refuses them. */
static void test_canary(void **state)
{
	struct login login = {0};
	struct login other = {0};

	(void)state;
	start("unknown = \"hash\"\ncanary = \"new:10%\"\n");
	log_in_at_canary(&login);
	fake_knows("other", "mail1");
	route_ask(world.router, &other.place, "other");
	for (unsigned i = 0; i < CANARY_CLIENTS_MIN; i++) {
		assert_int_equal(fake_directory.canaries_over, 0);
		observe(other.backend, i, ROUTE_ACCEPTED);
		observe(login.backend, i, ROUTE_REFUSED);
	}
	/* The fleet is told, by the directory. */
	assert_int_equal(fake_directory.canaries_over, 1);
	assert_true(member_canary_is_over(member("new")));
	assert_false(member_canary_is_over(member("mail1")));
	/* Whom only the share brought is given back, others are not. */
	assert_true(router_is_moving(world.router));
	assert_true(router_moves_away(world.router, &login.place, login.backend, 1000000));
	assert_false(router_moves_away(world.router, &other.place, other.backend, 1000000));
	leave(&login);
	leave(&other);
}

static void test_canary_that_sings(void **state)
{
	struct login login = {0};

	(void)state;
	start("unknown = \"hash\"\ncanary = \"new:10%\"\n");
	log_in_at_canary(&login);
	for (unsigned i = 0; i < 5 * CANARY_CLIENTS_MIN; i++) {
		observe(login.backend, i, ROUTE_ACCEPTED);
	}
	assert_int_equal(fake_directory.canaries_over, 0);
	assert_false(router_is_moving(world.router));
	leave(&login);
}

/* Without a directory there is no fleet to be told. */
static void test_canary_without_a_directory(void **state)
{
	struct login login = {0};

	(void)state;
	start("source = \"static\"\nunknown = \"hash\"\ncanary = \"new:10%\"\n");
	log_in_at_canary(&login);
	for (unsigned i = 0; i < CANARY_CLIENTS_MIN; i++) {
		observe(login.backend, i, ROUTE_FAILED);
	}
	assert_true(member_canary_is_over(member("new")));
	leave(&login);
}

/* --- Who has to go -------------------------------------------------------------------------- */

static void test_moving(void **state)
{
	struct login assigned = {0};
	struct login named = {0};
	struct login elsewhere = {0};

	(void)state;
	start("unknown = \"assign\"");
	fake_knows("assigned", "mail1?assigned");
	fake_knows("named", "mail1");
	fake_knows("elsewhere", "mail2?assigned");
	route_ask(world.router, &assigned.place, "assigned");
	route_ask(world.router, &named.place, "named");
	route_ask(world.router, &elsewhere.place, "elsewhere");
	assert_false(router_is_moving(world.router));
	assert_false(router_moves_away(world.router, &assigned.place, assigned.backend, 1000000));
	member_set_drain(member("mail1"), MEMBER_DRAINS, 0);
	assert_false(router_is_moving(world.router));
	assert_false(router_moves_away(world.router, &assigned.place, assigned.backend, 1000000));

	member_set_drain(member("mail1"), MEMBER_KICKS, 1);
	assert_true(router_is_moving(world.router));
	assert_false(router_moves_away(world.router, &named.place, named.backend, 1000000));
	assert_false(router_moves_away(world.router, &elsewhere.place, elsewhere.backend, 1000000));
	assert_true(router_moves_away(world.router, &assigned.place, assigned.backend, 1000000));
	/* One each second. */
	assert_false(router_moves_away(world.router, &assigned.place, assigned.backend, 1000999));
	assert_true(router_moves_away(world.router, &assigned.place, assigned.backend, 1001000));

	member_set_drain(member("mail1"), MEMBER_SERVES, 0);
	assert_false(router_is_moving(world.router));
	leave(&assigned);
	leave(&named);
	leave(&elsewhere);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_events),
		in_world(test_changes),
		in_world(test_change_to_unknown),
		in_world(test_answer_of_a_new_member),
		in_world(test_next),
		in_world(test_witnesses),
		in_world(test_observing_a_url),
		in_world(test_canary),
		in_world(test_canary_that_sings),
		in_world(test_canary_without_a_directory),
		in_world(test_moving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
