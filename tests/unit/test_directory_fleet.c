/* SPDX-License-Identifier: Apache-2.0
 *
 * What the directory shares with other proxies: registrations, assigned routes, drains, canaries.
 */
#include "net/resolver.h"
#include "support/directory_rig.h"

#define ROUTE  "gatepost:route:alice"
#define ASSIGN RIG_BACKENDS RIG_PATIENT "[routing]\nunknown = \"assign\"\n"

static struct member *find_member(const char *name)
{
	const struct pool_view *view = pool_view(rig.pool);
	struct member *member = pool_view_find(view, name);

	pool_view_unref(view);
	assert_non_null(member);
	return member;
}

/* --- The registration ---------------------------------------------------------------------------
 */

static void test_registration(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	assert_int_equal(strlen(fake_get(NODE_KEY, "incarnation")), 16);
	assert_string_equal(fake_get(NODE_KEY, "version"), "test");
	assert_string_equal(fake_get(NODE_KEY, "sessions"), "0");
	assert_true(strtoull(fake_get(NODE_KEY, "last_seen"), NULL, 10) > 1600000000);
	assert_true(strtoull(fake_get(NODE_KEY, "started"), NULL, 10) > 1600000000);
	assert_true(strtoull(fake_get(NODE_KEY, "pid"), NULL, 10) > 0);
	assert_non_null(fake_get(NODE_KEY, "address"));
	assert_int_equal(count_logged("registered in Redis"), 1);
	/* After every connection, and the number of sessions is told then. */
	rig_enter(0, "alice");
	rig_settle();
	fake_become_blind();
	fake_lose("gone");
	rig_connect();
	assert_string_equal(fake_get(NODE_KEY, "sessions"), "1");
	assert_int_equal(count_logged("registered in Redis"), 1);
}

/* A process that was restarted finds what it was before. */
static void test_old_registration_is_taken(void **state)
{
	(void)state;
	rig_start(RIG_BACKENDS RIG_PATIENT);
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	rig_connect();
	assert_string_not_equal(fake_get(NODE_KEY, "incarnation"), "0123456789abcdef");
	assert_int_equal(count_logged("another process"), 0);
}

static void test_name_is_taken_by_another(void **state)
{
	char name[64];
	char ours[17];
	char key[128];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	snprintf(ours, sizeof(ours), "%s", fake_get(NODE_KEY, "incarnation"));
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	rig_settle();
	assert_int_equal(count_logged("another process has taken the name"), 1);
	assert_string_equal(fake_get(NODE_KEY, "incarnation"), "0123456789abcdef");
	snprintf(name, sizeof(name), "p1~%s", ours);
	snprintf(key, sizeof(key), "gatepost:node:%s", name);
	assert_string_equal(fake_get(key, "incarnation"), ours);
	/* By that name it confirms. */
	fake_set("gatepost:hold:alice", "e1");
	rig_settle();
	assert_null(confirmed("alice"));
	assert_string_equal(fake_get("gatepost:move:alice", name), "e1");
}

/* What was confirmed by the name of another. */
static const char *confirmed_otherwise(const char *ours)
{
	char name[64];

	snprintf(name, sizeof(name), "p1~%s", ours);
	return fake_get("gatepost:move:alice", name);
}

static bool is_confirmed_otherwise(const void *ours)
{
	fake_settle();
	return confirmed_otherwise(ours) != NULL;
}

/* The name was taken, and that was not heard of yet. The word is given by the other name then. */
static void test_word_of_another_is_not_given(void **state)
{
	char ours[17];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	snprintf(ours, sizeof(ours), "%s", fake_get(NODE_KEY, "incarnation"));
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	fake_forget_news();
	fake_set("gatepost:hold:alice", "e1");
	rig_settle();
	assert_null(confirmed("alice"));
	assert_int_equal(count_logged("another process has taken the name"), 1);
	turns_until(rig.loop, is_confirmed_otherwise, ours);
	assert_null(confirmed("alice"));
	assert_string_equal(confirmed_otherwise(ours), "e1");
}

/* What had been said by the name that is another's now is said again. */
static void test_name_is_taken_after_the_word(void **state)
{
	char ours[17];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	snprintf(ours, sizeof(ours), "%s", fake_get(NODE_KEY, "incarnation"));
	fake_set("gatepost:hold:alice", "e1");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	rig_settle();
	turns_until(rig.loop, is_confirmed_otherwise, ours);
	assert_string_equal(confirmed_otherwise(ours), "e1");
}

static bool is_confirmed_by(const void *name)
{
	fake_settle();
	return fake_get("gatepost:move:alice", name) != NULL;
}

/* The last session of a user on hold goes while this proxy has no name. */
static void test_leaves_between_two_names(void **state)
{
	char name[64];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	snprintf(name, sizeof(name), "p1~%s", fake_get(NODE_KEY, "incarnation"));
	rig_enter(0, "alice");
	rig_settle();
	fake_set("gatepost:hold:alice", "e1");
	rig_settle();
	assert_heard(0, "unknown;held;");
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	while (rig.directory->registered) {
		assert_true(fake_answer() || fake_tell());
	}
	rig_leave(0, true);
	rig_turn();
	rig_settle();
	assert_true(rig.directory->registered);
	turns_until(rig.loop, is_confirmed_by, name);
}

static void test_forgotten_by_mistake(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_delete(NODE_KEY);
	rig_settle();
	assert_non_null(fake_get(NODE_KEY, "incarnation"));
	assert_int_equal(count_logged("another process"), 0);
}

static unsigned retirements;

static void on_retired(void *owner)
{
	assert_ptr_equal(owner, &rig);
	retirements++;
}

static bool is_retired_and_all_is_answered(const void *nothing)
{
	(void)nothing;
	fake_settle();
	return retirements > 0;
}

static void test_retire(void **state)
{
	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	directory_retire(rig.directory, on_retired, &rig);
	assert_int_equal(retirements, 0);
	rig_settle();
	assert_int_equal(retirements, 1);
	assert_null(fake_get(NODE_KEY, "incarnation"));
	/* And it is not made again. */
	turns_for(rig.loop, 1200);
	rig_settle();
	assert_null(fake_get(NODE_KEY, "incarnation"));
	assert_int_equal(retirements, 1);
}

/* A session that was cut may still be one to its backend. */
static void test_retire_waits_for_backends(void **state)
{
	uint64_t left_ms;

	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	rig_enter(0, "alice");
	rig_settle();
	left_ms = timeouts_now_ms();
	rig_leave(0, false);
	directory_retire(rig.directory, on_retired, &rig);
	/* Nor does it end sooner when Redis comes back meanwhile. */
	fake_become_blind();
	fake_lose("gone");
	rig_connect();
	turns_until(rig.loop, is_retired_and_all_is_answered, NULL);
	assert_null(fake_get(NODE_KEY, "incarnation"));
	assert_true(timeouts_now_ms() >= left_ms + DIRECTORY_SETTLE_MS);
}

static void test_retire_leaves_what_is_not_ours(void **state)
{
	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_put(NODE_KEY, "incarnation", "0123456789abcdef");
	fake_forget_news();
	directory_retire(rig.directory, on_retired, &rig);
	rig_settle();
	assert_int_equal(retirements, 1);
	assert_string_equal(fake_get(NODE_KEY, "incarnation"), "0123456789abcdef");
}

static void test_retire_without_redis(void **state)
{
	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	fake_become_blind();
	fake_lose("gone");
	directory_retire(rig.directory, on_retired, &rig);
	assert_int_equal(retirements, 0);
	turns_until_count(rig.loop, &retirements, 1);
	assert_int_equal(count_logged("could not be taken back"), 1);
	fake_become_ready();
	rig_settle();
	assert_int_equal(retirements, 1);
}

/* However patient logins are with Redis, who ends the process is not. */
static void test_retire_without_patience(void **state)
{
	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"60s\"\n");
	fake_become_blind();
	fake_lose("gone");
	directory_retire(rig.directory, on_retired, &rig);
	assert_int_equal(retirements, 0);
	turns_until_count(rig.loop, &retirements, 1);
	assert_int_equal(count_logged("could not be taken back"), 1);
}

static void test_retire_when_redis_comes_back(void **state)
{
	(void)state;
	retirements = 0;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_become_blind();
	fake_lose("gone");
	directory_retire(rig.directory, on_retired, &rig);
	fake_become_ready();
	rig_settle();
	assert_int_equal(retirements, 1);
	assert_null(fake_get(NODE_KEY, "incarnation"));
}

/* --- Assigned routes ----------------------------------------------------------------------------
 */

static bool is_assigned(const char *route)
{
	return route != NULL &&
	       (strcmp(route, "mail1?assigned") == 0 || strcmp(route, "mail2?assigned") == 0);
}

static void test_assign(void **state)
{
	char heard[64];

	(void)state;
	rig_open(ASSIGN);
	rig_enter(0, "alice");
	rig_settle();
	assert_true(is_assigned(fake_get(ROUTE, "")));
	snprintf(heard, sizeof(heard), "%s;", fake_get(ROUTE, ""));
	assert_heard(0, heard);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_ROUTES_ASSIGNED), 1);
}

/* Another proxy is first: its word counts. */
static void test_assign_race(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	rig_enter(0, "alice");
	rig_turn();
	fake_answer();
	fake_answer();
	assert_string_equal(fake->asked->words[0], "SET");
	fake_set(ROUTE, "mail9?assigned");
	rig_settle();
	assert_heard(0, "mail9?assigned;");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_ROUTES_ASSIGNED), 0);
}

static void test_assign_avoids_those_that_are_down(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	for (int i = 0; i < 3; i++) {
		member_missed(find_member("mail1"), "test", &rig.metrics);
	}
	for (size_t i = 0; i < 4; i++) {
		char user[8];

		snprintf(user, sizeof(user), "u%zu", i);
		rig_enter(i, user);
		rig_settle();
		assert_heard(i, "mail2?assigned;");
	}
}

static void test_assign_to_nobody(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	member_set_drain(find_member("mail1"), MEMBER_DRAINS, 0);
	member_set_drain(find_member("mail2"), MEMBER_DRAINS, 0);
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "failed: no backend takes new users;");
	assert_null(fake_get(ROUTE, ""));
}

/* What was known before is no route either, once Redis has said that there is none. */
static void test_assign_instead_of_what_was_known(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	rig_leave(0, true);
	fake_become_blind();
	fake_delete(ROUTE);
	fake_become_watching();
	rig_round();
	member_set_drain(find_member("mail1"), MEMBER_DRAINS, 0);
	member_set_drain(find_member("mail2"), MEMBER_DRAINS, 0);
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "failed: no backend takes new users;");
}

/* A Redis that forgets at once, and one that refuses. */
static void test_assign_is_lost(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	rig_enter(0, "alice");
	for (int i = 0; i < 50; i++) {
		rig_turn();
		fake_answer();
		fake_delete(ROUTE);
		fake_forget_news();
	}
	assert_heard(0, "failed: what was assigned is not what Redis says then;");
	rig_settle();
	rig_enter(1, "alice");
	rig_turn();
	fake_answer();
	fake_answer();
	fake_say(REDIS_REPLY_ERROR, "OOM");
	fake_answer();
	rig_turn();
	assert_heard(1, "failed: Redis: OOM;");
}

static void test_nobody_on_hold_is_assigned(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set("gatepost:hold:alice", "e1");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
	rig_enter(0, "alice");
	rig_settle();
	assert_null(fake_get(ROUTE, ""));
	fake_delete("gatepost:hold:alice");
	rig_settle();
	assert_heard(0, "parked;released;");
	rig_enter(0, "alice");
	rig_settle();
	assert_true(is_assigned(fake_get(ROUTE, "")));
}

/* --- Assigned anew ------------------------------------------------------------------------------
 */

static void test_reassign(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1?assigned");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	member_set_drain(find_member("mail1"), MEMBER_KICKS, 0);
	directory_reassign(&rig.guests[0].stay);
	rig_settle();
	assert_heard(0, "mail1?assigned;released;");
	assert_string_equal(fake_get(ROUTE, ""), "mail2?assigned");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_ROUTES_REASSIGNED), 1);
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail2?assigned;");
}

/* Somebody else has said meanwhile where the user lives. */
static void test_reassign_race(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1?assigned");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	member_set_drain(find_member("mail1"), MEMBER_KICKS, 0);
	directory_reassign(&rig.guests[0].stay);
	rig_turn();
	assert_int_equal(count_asked(), 1);
	fake_set(ROUTE, "mail1");
	rig_settle();
	assert_heard(0, "mail1?assigned;released;");
	assert_string_equal(fake_get(ROUTE, ""), "mail1");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_ROUTES_REASSIGNED), 0);
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
}

static void test_reassign_of_what_was_not_assigned(void **state)
{
	unsigned before;

	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	member_set_drain(find_member("mail1"), MEMBER_KICKS, 0);
	before = fake->asks;
	directory_reassign(&rig.guests[0].stay);
	rig_settle();
	assert_heard(0, "mail1;released;");
	assert_int_equal(fake->asks, before);
}

static void test_reassign_without_redis(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1?assigned");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	member_set_drain(find_member("mail1"), MEMBER_KICKS, 0);
	fake_become_blind();
	fake_lose("gone");
	directory_reassign(&rig.guests[0].stay);
	rig_turn();
	assert_heard(0, "mail1?assigned;released;");
}

static void test_reassigning_stay_leaves(void **state)
{
	(void)state;
	rig_open(ASSIGN);
	fake_set(ROUTE, "mail1?assigned");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	member_set_drain(find_member("mail1"), MEMBER_KICKS, 0);
	directory_reassign(&rig.guests[0].stay);
	rig_turn();
	rig_leave(0, true);
	rig_settle();
	assert_heard(0, "mail1?assigned;");
}

/* --- Drains -------------------------------------------------------------------------------------
 */

static void test_drains(void **state)
{
	static const struct {
		const char *value;
		enum member_drain drain;
		unsigned rate; /* 0: that of the configuration */
	} rows[] = {
		{"1", MEMBER_DRAINS, 0},
		{"kick", MEMBER_KICKS, 0},
		{"kick:7", MEMBER_KICKS, 7},
		{"", MEMBER_DRAINS, 0},
		{"kick:", MEMBER_DRAINS, 0},
		{"kick:0", MEMBER_DRAINS, 0},
		{"kick:1x", MEMBER_DRAINS, 0},
		{"kick:1000000", MEMBER_KICKS, 1000000},
		{"kick:-1", MEMBER_DRAINS, 0},
		{"kick:1000001", MEMBER_DRAINS, 0},
		{"kick:00000001", MEMBER_DRAINS, 0},
		{"kicks", MEMBER_DRAINS, 0},
	};
	struct member *member;

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	member = find_member("mail2");
	for (size_t i = 0; i < array_length(rows); i++) {
		fake_set("gatepost:drain:mail2", rows[i].value);
		rig_settle();
		assert_int_equal(member_drain(member), rows[i].drain);
		if (rows[i].rate != 0) {
			assert_int_equal(member_drain_rate(member), rows[i].rate);
		}
	}
	assert_int_equal(member_drain(find_member("mail1")), MEMBER_SERVES);
	fake_delete("gatepost:drain:mail2");
	rig_settle();
	assert_int_equal(member_drain(member), MEMBER_SERVES);
}

static bool is_draining(const void *member)
{
	fake_settle();
	return member_drain(member) == MEMBER_DRAINS;
}

static void test_drains_are_told(void **state)
{
	(void)state;
	rig_start(RIG_BACKENDS RIG_PATIENT);
	fake_set("gatepost:drain:mail1", "kick");
	rig_connect();
	assert_int_equal(member_drain(find_member("mail1")), MEMBER_KICKS);
	assert_int_equal(rig.drains_heard, 2); /* each desk */
	fake_set("gatepost:drain:mail1", "kick");
	fake_set("gatepost:drain:nobody", "kick");
	rig_settle();
	assert_int_equal(rig.drains_heard, 2);
	/* What cannot be read changes nothing, and is asked again. */
	fake_set("gatepost:drain:mail1", "1");
	fake_tell();
	fake_say(REDIS_REPLY_ERROR, "WRONGTYPE");
	fake_answer();
	assert_int_equal(member_drain(find_member("mail1")), MEMBER_KICKS);
	turns_until(rig.loop, is_draining, find_member("mail1"));
	rig_settle();
	assert_int_equal(rig.drains_heard, 4);
}

static void test_drains_after_a_gap(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_become_blind();
	fake_set("gatepost:drain:mail1", "1");
	rig_settle();
	assert_int_equal(member_drain(find_member("mail1")), MEMBER_SERVES);
	fake_become_watching();
	rig_settle();
	assert_int_equal(member_drain(find_member("mail1")), MEMBER_DRAINS);
}

/* Pods that come are asked for, those that go are forgotten. */
static void test_drains_of_services(void **state)
{
	static const struct resolver_service services[] = {{.host = "pod1", .port = 143},
							   {.host = "pod2", .port = 143}};
	const struct pool_view *view;
	size_t drained = 0;

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT "[[backend]]\nname = \"pods\"\n"
					  "address = \"srv:_imap._tcp.example.org\"\n");
	assert_true(pool_set_services(rig.pool, 2, services, array_length(services)));
	view = pool_view(rig.pool);
	for (size_t i = 0; i < view->count; i++) {
		char key[128];

		snprintf(key, sizeof(key), "gatepost:drain:%s", view->members[i]->name);
		if (view->members[i]->config == 2) {
			fake_set(key, "1");
		}
	}
	for (size_t i = 0; i < view->count; i++) {
		if (view->members[i]->config == 2) {
			turns_until(rig.loop, is_draining, view->members[i]);
			drained++;
		}
	}
	assert_int_equal(drained, 2);
	pool_view_unref(view);
	pool_set_services(rig.pool, 2, services, 1);
	turns_for(rig.loop, 1200);
	rig_settle();
}

/* --- Canaries -----------------------------------------------------------------------------------
 */

#define CANARY RIG_BACKENDS RIG_PATIENT "[routing]\nunknown = \"hash\"\ncanary = \"mail2:5%\"\n"

static void test_canary(void **state)
{
	struct member *member;

	(void)state;
	rig_open(CANARY);
	member = find_member("mail2");
	directory_end_canary(rig.directory, member);
	assert_true(member_canary_is_over(member));
	rig_settle();
	assert_int_equal(strncmp(fake_get("gatepost:canary:mail2", ""), "over: ", 6), 0);
	assert_true(member_canary_is_over(member));
	fake_delete("gatepost:canary:mail2");
	rig_settle();
	assert_false(member_canary_is_over(member));
	/* By another proxy. */
	fake_set("gatepost:canary:mail2", "over");
	rig_settle();
	assert_true(member_canary_is_over(member));
	fake_set("gatepost:canary:mail1", "over");
	rig_settle();
	assert_false(member_canary_is_over(find_member("mail1")));
}

/* It ends here at once, and Redis hears when it is back. */
static void test_canary_without_redis(void **state)
{
	struct member *member;

	(void)state;
	rig_open(CANARY);
	member = find_member("mail2");
	fake_become_blind();
	fake_lose("gone");
	directory_end_canary(rig.directory, member);
	rig_turn();
	assert_true(member_canary_is_over(member));
	rig_connect();
	assert_true(member_canary_is_over(member));
	assert_non_null(fake_get("gatepost:canary:mail2", ""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_begin, rig_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_registration),
		TEST(test_old_registration_is_taken),
		TEST(test_name_is_taken_by_another),
		TEST(test_word_of_another_is_not_given),
		TEST(test_leaves_between_two_names),
		TEST(test_name_is_taken_after_the_word),
		TEST(test_forgotten_by_mistake),
		TEST(test_retire),
		TEST(test_retire_waits_for_backends),
		TEST(test_retire_leaves_what_is_not_ours),
		TEST(test_retire_without_redis),
		TEST(test_retire_without_patience),
		TEST(test_retire_when_redis_comes_back),
		TEST(test_assign),
		TEST(test_assign_race),
		TEST(test_assign_avoids_those_that_are_down),
		TEST(test_assign_to_nobody),
		TEST(test_assign_instead_of_what_was_known),
		TEST(test_assign_is_lost),
		TEST(test_nobody_on_hold_is_assigned),
		TEST(test_reassign),
		TEST(test_reassign_race),
		TEST(test_reassign_of_what_was_not_assigned),
		TEST(test_reassign_without_redis),
		TEST(test_reassigning_stay_leaves),
		TEST(test_drains),
		TEST(test_drains_are_told),
		TEST(test_drains_after_a_gap),
		TEST(test_drains_of_services),
		TEST(test_canary),
		TEST(test_canary_without_redis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
