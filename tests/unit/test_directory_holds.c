/* SPDX-License-Identifier: Apache-2.0
 *
 * Holds: who waits, who is told to go, when a hold is confirmed and when it must not be.
 */
#include "support/directory_rig.h"

#define ROUTE "gatepost:route:alice"
#define HOLD  "gatepost:hold:alice"

static bool is_confirmed(const void *epoch)
{
	fake_settle();
	return confirmed("alice") != NULL && strcmp(confirmed("alice"), epoch) == 0;
}

static void await_confirmation(const char *epoch)
{
	turns_until(rig.loop, is_confirmed, epoch);
}

static void open_with_route(void)
{
	rig_open(RIG_BACKENDS RIG_PATIENT);
	fake_set(ROUTE, "mail1");
	rig_settle();
}

/* --- Waiting ------------------------------------------------------------------------------------
 */

static void test_move_of_nobody(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HOLDS_SEEN), 1);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HOLDS_CONFIRMED), 1);
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	fake_set(ROUTE, "mail2");
	fake_delete(HOLD);
	rig_settle();
	assert_heard(0, "released;");
	assert_null(rig.guests[0].stay.resident);
	rig_enter(0, "alice");
	assert_heard(0, "mail2;");
}

/* The file says where bob lives, so he may be here, and the directory does not know. */
static void test_hold_of_a_user_of_the_file(void **state)
{
	(void)state;
	rig_open("[routing.users]\nbob = \"mail1\"\n" RIG_BACKENDS RIG_PATIENT);
	fake_set("gatepost:hold:bob", "e1");
	rig_settle();
	assert_null(confirmed("bob"));
	fake_set(HOLD, "e1");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
}

/* What was cached before the hold is not told after it. */
static void test_fresh_read_after_the_hold(void **state)
{
	unsigned before;

	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	rig_leave(0, true);
	fake_set(HOLD, "e1");
	rig_settle();
	before = fake->asks;
	fake_set(ROUTE, "mail2");
	fake_forget_news();
	fake_delete(HOLD);
	rig_settle();
	assert_int_equal(fake->asks, before + 2);
	rig_enter(0, "alice");
	rig_settle();
	rig.guests[0].heard[0] = '\0';
	rig_leave(0, true);
	rig_enter(0, "alice");
	assert_heard(0, "mail2;");
}

static void test_hold_while_asking(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_enter(1, "alice");
	rig_turn();
	fake_set(HOLD, "e1");
	rig_settle();
	assert_heard(0, "parked;");
	assert_heard(1, "parked;");
	assert_string_equal(confirmed("alice"), "e1");
	rig_leave(1, true);
	fake_delete(HOLD);
	rig_settle();
	assert_heard(0, "released;");
	assert_heard(1, "");
}

/* Parked and released before anybody was told: the stay just goes on. */
static void test_hold_that_nobody_saw(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_turn();
	fake_set(HOLD, "e1");
	fake_settle();
	fake_delete(HOLD);
	fake_settle();
	rig_settle();
	assert_heard(0, "mail1;");
	assert_non_null(rig.guests[0].stay.resident);
}

/* --- Ending -------------------------------------------------------------------------------------
 */

static void test_hold_while_present(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_enter(1, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	fake_set(HOLD, "e1");
	rig_settle();
	assert_heard(0, "held;");
	assert_string_equal(rig.guests[1].heard, "mail1;held;");
	assert_null(confirmed("alice"));
	rig_leave(0, true);
	rig_settle();
	assert_null(confirmed("alice"));
	rig_leave(1, true);
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
}

static void test_unsettled_leave_waits(void **state)
{
	uint64_t left_ms;

	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	left_ms = timeouts_now_ms();
	rig_leave(0, false);
	rig_settle();
	assert_null(confirmed("alice"));
	await_confirmation("e1");
	assert_true(timeouts_now_ms() >= left_ms + DIRECTORY_SETTLE_MS);
}

/* The session ended before the hold was heard of; its backend may still have it. */
static void test_unsettled_leave_before_the_hold(void **state)
{
	uint64_t left_ms;

	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	left_ms = timeouts_now_ms();
	rig_leave(0, false);
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	assert_null(confirmed("alice"));
	await_confirmation("e1");
	assert_true(timeouts_now_ms() >= left_ms + DIRECTORY_SETTLE_MS);
}

/* What is left of a session hears of nothing, and is waited for; then as after any other. */
static void test_who_lingers_is_waited_for(void **state)
{
	struct stay heir = {0};

	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	assert_true(directory_linger(&rig.guests[0].stay, &heir));
	assert_null(rig.guests[0].stay.resident);
	assert_false(directory_linger(&rig.guests[0].stay, &heir));
	fake_set(ROUTE, "mail2");
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	assert_heard(0, "");
	assert_null(confirmed("alice"));
	directory_leave(&heir, true);
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
}

static void test_who_lingered_without_an_end(void **state)
{
	struct stay heir = {0};
	uint64_t left_ms;

	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	assert_true(directory_linger(&rig.guests[0].stay, &heir));
	fake_set(HOLD, "e1");
	rig_settle();
	left_ms = timeouts_now_ms();
	directory_leave(&heir, false);
	rig_settle();
	assert_null(confirmed("alice"));
	await_confirmation("e1");
	assert_true(timeouts_now_ms() >= left_ms + DIRECTORY_SETTLE_MS);
}

static void test_only_who_is_present_lingers(void **state)
{
	struct stay heir = {0};

	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "parked;");
	assert_false(directory_linger(&rig.guests[0].stay, &heir));
	assert_null(heir.resident);
	assert_non_null(rig.guests[0].stay.resident);
}

/* Told a route, which lies in the inbox: that is present. */
static void test_present_from_the_answer_on(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_turn();
	fake_answer();
	fake_answer();
	fake_set(HOLD, "e1");
	fake_settle();
	assert_null(confirmed("alice"));
	rig_settle();
	assert_heard(0, "mail1;held;");
	rig_leave(0, true);
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
}

/* --- Renewals, other holds, ends
 * ------------------------------------------------------------------ */

/* Redis has not come across the key that has expired, so that nobody was told. */
static void test_end_that_is_not_told(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	rig_settle();
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	fake_delete(HOLD);
	fake_forget_news();
	rig_settle();
	assert_heard(0, "");
	rig_await_answers(0);
	assert_heard(0, "released;");
}

static void test_renewal(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	assert_heard(0, "mail1;held;held;");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_HOLDS_SEEN), 1);
	rig_leave(0, true);
	rig_settle();
	assert_int_equal(fake->confirmations, 1);
	fake_delete("gatepost:move:alice");
	fake_set(HOLD, "e1");
	rig_settle();
	assert_int_equal(fake->confirmations, 2);
	assert_string_equal(confirmed("alice"), "e1");
}

static void test_another_hold(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	rig_settle();
	rig_enter(0, "alice");
	fake_set(HOLD, "e2");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e2");
	assert_heard(0, "parked;");
	fake_delete(HOLD);
	rig_settle();
	assert_heard(0, "released;");
}

/* The hold ends, or becomes another, while its confirmation is under way. */
static void test_hold_ends_before_the_confirmation(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	fake_tell();
	fake_answer();
	fake_answer();
	assert_string_equal(fake->asked->words[1], SCRIPT_CONFIRM);
	fake_delete(HOLD);
	fake_forget_news();
	rig_settle();
	assert_null(confirmed("alice"));
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;");
	rig_leave(0, true);
	fake_set(HOLD, "e1");
	fake_tell();
	fake_answer();
	fake_answer();
	fake_set(HOLD, "e2");
	rig_settle();
	assert_string_equal(confirmed("alice"), "e2");
}

/* Nobody may become present while it is. */
static void test_nobody_comes_while_it_is_confirmed(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	fake_tell();
	fake_answer();
	fake_answer();
	assert_string_equal(fake->asked->words[1], SCRIPT_CONFIRM);
	fake_delete(HOLD);
	fake_tell();
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	fake_say(REDIS_REPLY_FAILED, "late");
	fake_answer();
	rig_turn();
	assert_heard(0, "");
	rig_settle();
	assert_heard(0, "released;");
}

/* --- When Redis is away -------------------------------------------------------------------------
 */

static void test_known_hold_stays_known(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	fake_set(HOLD, "e1");
	rig_settle();
	fake_become_blind();
	fake_lose("gone");
	assert_heard(0, "mail1;held;");
	rig_leave(0, true);
	rig_turn();
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	assert_null(confirmed("alice"));
	rig_connect();
	assert_string_equal(confirmed("alice"), "e1");
	fake_become_blind();
	fake_delete(HOLD);
	rig_settle();
	assert_heard(0, "");
	fake_become_watching();
	rig_round();
	assert_heard(0, "released;");
}

/* Heard of and not yet read when Redis went away: no last known route goes past it. */
static void test_hold_heard_but_not_read(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	rig_leave(0, true);
	fake_set(HOLD, "e1");
	assert_true(fake_tell());
	fake_become_blind();
	fake_lose("gone");
	rig.guests[0].heard[0] = '\0';
	rig_enter(0, "alice");
	rig_await(0);
	assert_heard(0, "failed: Redis: gone;");
}

/* Not heard of at all: it was not confirmed either, so the last known route will do. */
static void test_hold_not_heard_of(void **state)
{
	(void)state;
	open_with_route();
	rig_enter(0, "alice");
	rig_settle();
	rig_leave(0, true);
	fake_become_blind();
	fake_lose("gone");
	fake_set(HOLD, "e1");
	rig_enter(0, "alice");
	assert_heard(0, "mail1;stale=mail1;");
	rig_connect();
	assert_heard(0, "held;");
	assert_null(confirmed("alice"));
	rig_leave(0, true);
	rig_settle();
	assert_string_equal(confirmed("alice"), "e1");
}

static void test_nothing_is_confirmed_blindly(void **state)
{
	(void)state;
	open_with_route();
	fake_become_blind();
	fake_set(HOLD, "e1");
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "parked;");
	assert_null(confirmed("alice"));
	fake_become_watching();
	rig_round();
	assert_string_equal(confirmed("alice"), "e1");
}

/* The hold is read, and the route cannot be: that holds all the same. */
static void test_hold_without_a_route(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	fake_forget_news();
	rig_enter(0, "alice");
	rig_turn();
	fake_answer();
	fake_say(REDIS_REPLY_FAILED, "lost");
	fake_answer();
	rig_settle();
	assert_heard(0, "parked;");
	assert_string_equal(confirmed("alice"), "e1");
}

static void test_failed_confirmation_is_repeated(void **state)
{
	(void)state;
	open_with_route();
	fake_set(HOLD, "e1");
	fake_tell();
	fake_answer();
	fake_answer();
	fake_say(REDIS_REPLY_ERROR, "OOM");
	fake_answer();
	assert_int_equal(count_logged("a hold could not be confirmed"), 1);
	await_confirmation("e1");
}

/* --- Bounds -------------------------------------------------------------------------------------
 */

static void test_max_parked(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS RIG_PATIENT "[moves]\nmax_parked = 2\n");
	rig_enter(0, "alice");
	rig_turn();
	fake_set(HOLD, "e1");
	rig_settle();
	rig_enter(1, "alice");
	rig_enter(2, "alice");
	assert_heard(0, "parked;");
	assert_heard(1, "parked;");
	assert_heard(2, "failed: too many logins wait for the end of a hold (moves.max_parked);");
	assert_null(rig.guests[2].stay.resident);
	assert_int_equal(metrics_get(&rig.worker_metrics, METRIC_LIMIT_PARKED), 1);
	/* By the keeper's hand as well. */
	fake_set("gatepost:hold:bob", "e2");
	fake_forget_news();
	rig_enter(3, "bob");
	rig_settle();
	assert_heard(3, "failed: too many logins wait for the end of a hold (moves.max_parked);");
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_PARKED), 1);
	rig_leave(0, true);
	rig_enter(3, "bob");
	assert_heard(3, "parked;");
}

static void test_odd_epochs(void **state)
{
	char epoch[RESIDENT_EPOCH_MAX + 2];

	(void)state;
	open_with_route();
	memset(epoch, 'e', sizeof(epoch));
	epoch[RESIDENT_EPOCH_MAX] = '\0';
	fake_set(HOLD, epoch);
	rig_settle();
	assert_string_equal(confirmed("alice"), epoch);
	fake_delete("gatepost:move:alice");
	epoch[RESIDENT_EPOCH_MAX] = 'e';
	epoch[RESIDENT_EPOCH_MAX + 1] = '\0';
	fake_set(HOLD, epoch);
	rig_settle();
	assert_null(confirmed("alice"));
	assert_int_equal(count_logged("a hold cannot be confirmed"), 1);
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	fake_set(HOLD, "");
	rig_settle();
	assert_string_equal(confirmed("alice"), "");
}

static void test_users_on_hold_are_bounded(void **state)
{
	char key[64];

	(void)state;
	rig_start(RIG_BACKENDS RIG_PATIENT);
	for (unsigned i = 0; i <= DIRECTORY_HOLDS_MAX; i++) {
		assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_HOLDS), 0);
		snprintf(key, sizeof(key), "gatepost:hold:user%u", i);
		fake->settings.events->changed(fake->settings.owner, key, strlen(key));
	}
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_HOLDS), 1);
}

/* A hold that had to be forgotten leaves no route to go by without asking. */
static void test_forgotten_hold(void **state)
{
	(void)state;
	rig_open(RIG_BACKENDS "[redis]\ntimeout = \"50ms\"\n");
	fake_set(ROUTE, "mail1");
	rig_settle();
	rig_enter(0, "alice");
	rig_settle();
	rig_leave(0, true);
	fake_become_blind();
	fake_set("gatepost:hold:alice", "e1");
	rig_enter(0, "alice");
	rig_settle();
	assert_heard(0, "mail1;parked;");
	atomic_fetch_add(&rig.directory->empties, DIRECTORY_HOLDS_MAX);
	rig_leave(0, true);
	rig_settle();
	atomic_fetch_sub(&rig.directory->empties, DIRECTORY_HOLDS_MAX);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_LIMIT_HOLDS), 1);
	fake_lose("gone");
	rig_enter(0, "alice");
	rig_await(0);
	assert_heard(0, "failed: Redis: gone;");
}

static void test_keys_that_name_nobody(void **state)
{
	char key[sizeof("gatepost:hold:") + CONFIG_USER_MAX + 1] = "gatepost:hold:";
	const struct store_events *events;
	unsigned before;

	(void)state;
	open_with_route();
	events = fake->settings.events;
	before = fake->asks;
	memset(key + strlen("gatepost:hold:"), 'u', CONFIG_USER_MAX + 1);
	events->changed(fake->settings.owner, key, sizeof(key) - 1);
	events->changed(fake->settings.owner, "gatepost:hold:", strlen("gatepost:hold:"));
	events->changed(fake->settings.owner, "gatepost:hold:a\0b", sizeof("gatepost:hold:a\0b"));
	events->changed(fake->settings.owner, "gatepost:move:alice", strlen("gatepost:move:alice"));
	events->changed(fake->settings.owner, "", 0);
	rig_settle();
	assert_int_equal(fake->asks, before);
	events->changed(fake->settings.owner, key, sizeof(key) - 2);
	rig_settle();
	assert_int_equal(fake->asks, before + 2);
}

/* --- Clusters -----------------------------------------------------------------------------------
 */

static int cluster_begin(void **state)
{
	fake_is_cluster = true;
	return rig_begin(state);
}

static int cluster_end(void **state)
{
	fake_is_cluster = false;
	return rig_end(state);
}

static void test_cluster(void **state)
{
	(void)state;
	open_with_route();
	assert_int_equal(count_logged("in a cluster no hold can be confirmed"), 1);
	rig_enter(0, "alice");
	rig_turn();
	/* The route only when it is known that there is no hold. */
	assert_int_equal(count_asked(), 1);
	assert_string_equal(fake->asked->words[1], HOLD);
	fake_answer();
	assert_int_equal(count_asked(), 1);
	assert_string_equal(fake->asked->words[1], ROUTE);
	rig_settle();
	assert_heard(0, "mail1;");
	fake_set(HOLD, "e1");
	rig_settle();
	assert_heard(0, "held;");
	rig_leave(0, true);
	rig_settle();
	assert_null(confirmed("alice"));
	rig_enter(0, "alice");
	assert_heard(0, "parked;");
	rig_enter(1, "bob");
	rig_turn();
	fake_say(REDIS_REPLY_ERROR, "CLUSTERDOWN");
	fake_answer();
	rig_turn();
	assert_heard(1, "failed: Redis: CLUSTERDOWN;");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_begin, rig_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_move_of_nobody),
		TEST(test_hold_of_a_user_of_the_file),
		TEST(test_fresh_read_after_the_hold),
		TEST(test_hold_while_asking),
		TEST(test_hold_that_nobody_saw),
		TEST(test_hold_while_present),
		TEST(test_unsettled_leave_waits),
		TEST(test_unsettled_leave_before_the_hold),
		TEST(test_who_lingers_is_waited_for),
		TEST(test_who_lingered_without_an_end),
		TEST(test_only_who_is_present_lingers),
		TEST(test_present_from_the_answer_on),
		TEST(test_end_that_is_not_told),
		TEST(test_renewal),
		TEST(test_another_hold),
		TEST(test_hold_ends_before_the_confirmation),
		TEST(test_nobody_comes_while_it_is_confirmed),
		TEST(test_known_hold_stays_known),
		TEST(test_hold_heard_but_not_read),
		TEST(test_hold_not_heard_of),
		TEST(test_nothing_is_confirmed_blindly),
		TEST(test_hold_without_a_route),
		TEST(test_failed_confirmation_is_repeated),
		TEST(test_max_parked),
		TEST(test_odd_epochs),
		TEST(test_users_on_hold_are_bounded),
		TEST(test_forgotten_hold),
		TEST(test_keys_that_name_nobody),
		cmocka_unit_test_setup_teardown(test_cluster, cluster_begin, cluster_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
