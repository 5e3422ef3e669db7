/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory: one question for many, answers that count and those that do not, what is told
 * when Redis is away, and what is asked for again after a gap.
 */
#include "support/directory_rig.h"

#define ROUTE "gatepost:route:alice"
#define HOLD  "gatepost:hold:alice"

/* --- Asking ----------------------------------------------------------------------------------- */

static void test_one_question_for_many(void **state)
{
	unsigned before;

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	before = fake->asks;
	for (size_t i = 0; i < 4; i++) {
		rig_enter(i, "alice");
		assert_heard(i, "");
	}
	rig_settle();
	assert_int_equal(fake->asks, before + 2);
	for (size_t i = 0; i < 4; i++) {
		assert_heard(i, "mail1;");
	}
	/* And none at all for who comes later. */
	rig_enter(4, "alice");
	assert_heard(4, "mail1;");
	assert_int_equal(fake->asks, before + 2);
	assert_int_equal(metrics_get(&rig.worker_metrics, METRIC_LOOKUPS_CACHE), 1);
	assert_string_equal(directory_user(&rig.guests[4].stay), "alice");
}

static void test_hold_is_asked_first(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	rig_enter(0, "alice");
	rig_turn();
	assert_int_equal(count_asked(), 2);
	assert_string_equal(fake->asked->words[1], HOLD);
	assert_string_equal(fake->asked->next->words[1], ROUTE);
}

static void test_unknown(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "unknown;");
	rig_enter(1, "alice");
	assert_heard(1, "unknown;");
	fake_set(ROUTE, "mail2");
	rig_settle();
	assert_heard(0, "changed=mail2;");
	assert_heard(1, "changed=mail2;");
	fake_delete(ROUTE);
	rig_settle();
	assert_heard(0, "changed=unknown;");
	assert_heard(1, "changed=unknown;");
}

static void test_who_leaves_hears_nothing(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_enter(1, "alice");
	rig_turn();
	rig_leave(0, true);
	fake_settle();
	rig_leave(1, true); /* the answer lies in its desk's inbox */
	rig_settle();
	assert_heard(0, "");
	assert_heard(1, "");
	rig_leave(1, true);
}

static void test_leaving_from_within(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig.guests[0].leaves = true;
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	rig_enter(0, "alice");
	assert_heard(0, "mail1;");
	assert_null(rig.guests[0].stay.resident);
}

/* As many questions at a time as there may be, and the others in their turn; also where they fail
 * as they are asked. */
static void test_questions_at_a_time(void **state)
{
	static struct guest guests[DIRECTORY_ASKS_MAX + 10];
	char user[16];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	for (size_t i = 0; i < array_length(guests); i++) {
		memset(&guests[i], 0, sizeof(guests[i]));
		snprintf(user, sizeof(user), "user%zu", i);
		directory_enter(&rig.desks[0], &guests[i].stay, user);
	}
	rig_turn();
	assert_int_equal(count_asked(), 2 * DIRECTORY_ASKS_MAX);
	fake_answer();
	fake_answer();
	assert_int_equal(count_asked(), 2 * DIRECTORY_ASKS_MAX);
	fake->refuses = true;
	while (fake_answer()) {
	}
	fake->refuses = false;
	for (size_t i = 0; i < array_length(guests); i++) {
		turns_until(rig.loop, has_heard_and_all_is_answered, &guests[i]);
		assert_string_equal(guests[i].heard, "unknown;");
		directory_leave(&guests[i].stay, true);
	}
}

/* Those who try while Redis is away leave nothing behind. */
static void test_nothing_is_left_of_who_tried(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"20ms\"\n");
	fake_become_blind();
	fake_lose("gone");
	rig_enter(0, "alice");
	rig_enter(1, "bob");
	rig_turn();
	rig_leave(1, true);
	rig_await(0);
	rig_turn();
	assert_heard(0, "failed: Redis: gone;");
	assert_int_equal(atomic_load(&rig.directory->empties), 0);
	for (size_t i = 0; i < DIRECTORY_SHARDS; i++) {
		assert_null(rig.directory->shards[i].residents.list);
	}
}

/* --- Answers that do not count ------------------------------------------------------------------
 */

/* Redis says mail1; before that arrives, it is heard that something has changed. */
static void test_answer_overtaken_by_a_route(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_run();
	fake_set(ROUTE, "mail2");
	assert_true(fake_tell());
	fake_answer();
	fake_answer();
	rig_turn();
	assert_heard(0, "");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LOOKUPS_REASKED), 1);
	rig_settle();
	assert_heard(0, "mail2;");
}

static void test_answer_overtaken_by_a_hold(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_run();
	fake_set(HOLD, "e1");
	assert_true(fake_tell());
	fake_answer();
	fake_answer();
	rig_settle();
	assert_heard(0, "parked;");
	assert_string_equal(confirmed("alice"), "e1");
}

/* Both answers are right when they arrive, and what is heard later is a change all the same. */
static void test_change_heard_after_the_answer(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_run();
	fake_set(ROUTE, "mail2");
	fake_answer();
	fake_answer();
	rig_turn();
	assert_heard(0, "mail1;");
	rig_settle();
	assert_heard(0, "changed=mail2;");
}

/* Answered, and changed before anybody heard: one answer, the last. */
static void test_change_before_the_answer_is_heard(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_settle();
	fake_set(ROUTE, "mail2");
	fake_settle();
	rig_settle();
	assert_heard(0, "mail2;");
}

static void test_answer_across_a_gap(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_run();
	fake_become_blind();
	fake_set(ROUTE, "mail2");
	fake_answer();
	fake_answer();
	rig_turn();
	assert_heard(0, "");
	rig_settle();
	assert_heard(0, "mail2;");
}

/* --- Gaps ---------------------------------------------------------------------------------------
 */

static void test_gap_asks_for_all_who_are_here(void **state)
{
	unsigned before;

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	fake_set("gatepost:route:bob", "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_enter(1, "bob");
	rig_settle();
	assert_heard(0, "mail1;");
	assert_heard(1, "mail1;");
	fake_become_blind();
	fake_set(ROUTE, "mail2");
	rig_round();
	assert_heard(0, "");
	/* While blind nothing is told without asking. */
	before = fake->asks;
	rig_enter(2, "bob");
	rig_settle();
	rig_enter(3, "bob");
	rig_settle();
	assert_int_equal(fake->asks, before + 4);
	fake_become_watching();
	rig_round();
	assert_heard(0, "changed=mail2;");
	assert_heard(1, "");
	before = fake->asks;
	rig_enter(4, "bob");
	assert_heard(4, "mail1;");
	assert_int_equal(fake->asks, before);
}

static bool are_all_asked(const void *nothing)
{
	(void)nothing;
	return rig.directory->asks == DIRECTORY_ASKS_MAX;
}

static bool is_nobody_left_to_ask(const void *nothing)
{
	(void)nothing;
	fake_settle();
	return rig.directory->in_turn.head == NULL && rig.directory->asks == 0;
}

/* Redis is slow, and as many are asked for as may be: the others come when it has answered. */
static void test_gap_with_more_than_may_be_asked(void **state)
{
	static struct guest guests[DIRECTORY_ASKS_MAX + 10];
	char user[16];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	for (size_t i = 0; i < array_length(guests); i++) {
		memset(&guests[i], 0, sizeof(guests[i]));
		snprintf(user, sizeof(user), "user%zu", i);
		directory_enter(&rig.desks[0], &guests[i].stay, user);
	}
	rig_settle();
	fake_become_blind();
	fake_become_watching();
	turns_until(rig.loop, are_all_asked, NULL);
	while (timeout_is_waiting(&rig.directory->round)) {
		ev_run(rig.loop, EVRUN_ONCE);
	}
	turns_until(rig.loop, is_nobody_left_to_ask, NULL);
	for (size_t i = 0; i < array_length(guests); i++) {
		directory_leave(&guests[i].stay, true);
	}
}

static void test_key_of_many_users(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT "[routing]\nlookup = \"HGET hosts {domain}\"\n");
	fake_put("hosts", "a.example", "mail1");
	rig_settle();
	rig_round();
	rig_enter(0, "alice@a.example");
	rig_settle();
	assert_heard(0, "mail1;");
	fake_put("hosts", "a.example", "mail2");
	rig_settle();
	rig_round();
	assert_heard(0, "changed=mail2;");
	assert_true(metrics_get(&rig.metrics, METRIC_DIRECTORY_GAPS) > 1);
}

static void test_flush(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	fake_flush();
	fake->settings.events->flushed(fake->settings.owner);
	/* The registration first. */
	assert_string_equal(fake->asked->words[1], SCRIPT_REGISTER);
	assert_int_equal(count_asked(), 1);
	rig_round();
	assert_heard(0, "changed=unknown;");
	assert_non_null(fake_get(NODE_KEY, "incarnation"));
}

/* --- Redis is away ------------------------------------------------------------------------------
 */

static void test_last_known_route(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	rig_leave(0, true);
	fake_become_blind();
	fake_lose("it went away");
	rig_enter(0, "alice");
	assert_heard(0, "stale=mail1;");
	assert_int_equal(metrics_get(&rig.worker_metrics, METRIC_LOOKUPS_STALE), 1);
	assert_int_equal(count_logged("it went away"), 1);
	/* Who was never known is told nothing; and nobody waits for ever. */
	rig_enter(1, "bob");
	rig_turn();
	assert_heard(1, "");
	rig_await(1);
	assert_heard(1, "failed: Redis: it went away;");
	assert_null(rig.guests[1].stay.resident);
	/* It comes back with another route. */
	fake_set(ROUTE, "mail2");
	rig_connect();
	assert_heard(0, "changed=mail2;");
}

/* Who came behind the sweep that follows a gap, and before the registration, is asked for too. */
static void test_last_known_route_is_asked_for(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	rig_leave(0, true);
	fake_become_blind();
	fake_lose("gone");
	fake_set(ROUTE, "mail2");
	fake_become_ready();
	fake_say(REDIS_REPLY_ERROR, "MISCONF");
	fake_answer();
	fake_become_watching();
	rig_round();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "stale=mail1;");
	directory_node_register(rig.directory);
	rig_round();
	assert_heard(0, "changed=mail2;");
}

static void test_lost_while_asking(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	fake_become_blind();
	rig_enter(1, "alice");
	rig_enter(2, "bob");
	rig_turn();
	assert_int_equal(count_asked(), 4);
	fake_lose("gone");
	rig_turn();
	assert_heard(1, "stale=mail1;");
	/* Bob waits for it to come back. */
	assert_heard(2, "");
	fake_set("gatepost:route:bob", "mail2");
	rig_connect();
	rig_await_answers(2);
	assert_heard(2, "mail2;");
}

/* The news connection is gone before the questions fail, and these before it is told: to ask again
 * is all that can be done, but nobody waits for that who is known. */
static void test_lost_before_it_is_told(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	rig_leave(0, true);
	fake_become_blind();
	rig_enter(1, "alice");
	rig_turn();
	fake_become_watching();
	fake_become_blind();
	fake_fail_all("gone");
	rig_turn();
	assert_int_equal(count_asked(), 2);
	assert_heard(1, "stale=mail1;");
}

/* What is heard to have changed is not known any more. */
static void test_nothing_stale_of_what_has_changed(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	fake_set(ROUTE, "mail2");
	assert_true(fake_tell());
	fake_become_blind();
	fake_lose("gone");
	rig_enter(1, "alice");
	rig_await(1);
	assert_heard(1, "failed: Redis: gone;");
}

static void test_timeout(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	rig_enter(0, "alice");
	rig_await(0);
	assert_heard(0, "failed: no answer in time;");
	assert_int_equal(count_asked(), 2);
	rig_settle();
	assert_heard(0, "");
}

static void test_unusable_answers(void **state)
{
	char route[1102];

	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	rig_enter(0, "alice");
	rig_turn();
	fake_answer();
	fake_say(REDIS_REPLY_ERROR, "WRONGTYPE");
	fake_answer();
	rig_turn();
	assert_heard(0, "failed: Redis: WRONGTYPE;");
	assert_int_equal(count_logged("what Redis says of a user cannot be used"), 1);
	rig_enter(0, "alice");
	rig_turn();
	fake_say(REDIS_REPLY_ERROR, "NOPERM");
	fake_answer();
	fake_answer();
	rig_turn();
	assert_heard(0, "failed: Redis: NOPERM;");
	/* The longest route, and one byte more. */
	memset(route, 'm', sizeof(route));
	route[1100] = '\0';
	fake_set("gatepost:route:bob", route);
	rig_enter(1, "bob");
	rig_settle();
	assert_int_equal(strncmp(rig.guests[1].heard, "mmm", 3), 0);
	route[1100] = 'm';
	route[1101] = '\0';
	fake_set("gatepost:route:carol", route);
	rig_enter(2, "carol");
	rig_settle();
	assert_heard(2, "failed: a route of 1101 bytes, at most 1100;");
}

/* A hold that cannot be read is not "no hold". */
static void test_unreadable_hold_is_no_answer(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_turn();
	fake_say(REDIS_REPLY_ERROR, "WRONGTYPE hold");
	fake_answer();
	fake_answer();
	rig_turn();
	assert_heard(0, "failed: Redis: WRONGTYPE hold;");
}

/* --- Registration comes first -------------------------------------------------------------------
 */

static void test_nothing_before_the_registration(void **state)
{
	(void)state;
	rig_start(RIG_BACKENDS RIG_PATIENT);
	rig_enter(0, "alice");
	rig_turn();
	assert_int_equal(count_asked(), 0);
	fake_become_ready();
	fake_become_watching();
	fake_set(ROUTE, "mail1");
	rig_turn();
	assert_int_equal(count_asked(), 1);
	assert_string_equal(fake->asked->words[1], SCRIPT_REGISTER);
	fake_say(REDIS_REPLY_ERROR, "NOPERM");
	fake_answer();
	rig_turn();
	assert_int_equal(count_asked(), 0);
	assert_heard(0, "");
	rig_await_answers(0);
	assert_heard(0, "mail1;");
}

static void test_closed(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT);
	directory_stop(rig.directory);
	rig_enter(0, "alice");
	assert_heard(0, "failed: nobody asks Redis;");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_begin, rig_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_question_for_many),
		TEST(test_hold_is_asked_first),
		TEST(test_unknown),
		TEST(test_who_leaves_hears_nothing),
		TEST(test_leaving_from_within),
		TEST(test_questions_at_a_time),
		TEST(test_nothing_is_left_of_who_tried),
		TEST(test_answer_overtaken_by_a_route),
		TEST(test_answer_overtaken_by_a_hold),
		TEST(test_change_heard_after_the_answer),
		TEST(test_change_before_the_answer_is_heard),
		TEST(test_answer_across_a_gap),
		TEST(test_gap_asks_for_all_who_are_here),
		TEST(test_gap_with_more_than_may_be_asked),
		TEST(test_key_of_many_users),
		TEST(test_flush),
		TEST(test_last_known_route),
		TEST(test_last_known_route_is_asked_for),
		TEST(test_lost_while_asking),
		TEST(test_lost_before_it_is_told),
		TEST(test_nothing_stale_of_what_has_changed),
		TEST(test_timeout),
		TEST(test_unusable_answers),
		TEST(test_unreadable_hold_is_no_answer),
		TEST(test_nothing_before_the_registration),
		TEST(test_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
