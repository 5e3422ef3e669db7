/* SPDX-License-Identifier: Apache-2.0
 *
 * From what the directory says to a backend: by name, by group, by hash, by URL, by referral, as
 * members come up and go down, drain, and leave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/route_choice_internal.h"
#include "base/base.h"
#include "core/config.h"
#include "core/metrics.h"
#include "imap/referral.h"
#include "net/resolver.h"
#include "routing/backend.h"
#include "routing/balance.h"
#include "routing/pool.h"
#include "support/config_text.h"

/* Only handed on. */
static char client_place;
#define TLS_CLIENT ((struct tls_client *)(void *)&client_place)

#define BACKENDS                                                                                   \
	"[health]\nfall = 1\nrise = 1\n"                                                           \
	"[[backend]]\nname = \"mail1\"\naddress = \"10.0.0.1:143\"\n"                              \
	"[[backend]]\nname = \"mail2\"\naddress = \"10.0.0.2:143\"\n"                              \
	"[[backend]]\nname = \"mail3\"\naddress = \"10.0.0.3:143\"\n"                              \
	"[[backend]]\nname = \"new\"\naddress = \"10.0.0.4:143\"\nweight = 0\n"                    \
	"[[backend]]\nname = \"pods\"\naddress = \"srv:_imap._tcp.mail.example\"\n"

enum { MAIL1, MAIL2, MAIL3, NEW, PODS };

static const struct resolver_service pods[] = {
	{"pod-a.example", 143, 0, 1},
	{"pod-b.example", 143, 0, 1},
};

struct world {
	struct config *config;
	struct pool *pool;
	struct metrics metrics;
	struct route_chooser chooser;
};

static struct world world;

static bool on_joined(struct roster *roster, struct backend *backend)
{
	(void)roster;
	(void)backend;
	return true;
}

static void on_left(struct roster *roster, struct backend *backend)
{
	(void)roster;
	(void)backend;
}

static const struct roster_events events = {.joined = on_joined, .left = on_left};

static void stop(void)
{
	url_backends_done(&world.chooser.by_url);
	roster_done(&world.chooser.roster);
	pool_free(world.pool);
	config_unref(world.config);
	memset(&world, 0, sizeof(world));
}

/* `routing` are lines of [routing]. */
static void start(const char *routing)
{
	struct error error = {0};
	char text[2000];

	stop();
	snprintf(text, sizeof(text), "%s[routing]\n%s\n%s", CONFIG_TEXT_LISTENER, routing,
		 BACKENDS);
	world.config = config_text_good(text);
	world.pool = pool_new(world.config, &error);
	assert_non_null(world.pool);
	world.chooser = (struct route_chooser){
		.config = world.config,
		.roster = {.config = world.config, .pool = world.pool, .events = &events},
	};
	assert_true(roster_refresh(&world.chooser.roster));
}

static int end(void **state)
{
	(void)state;
	stop();
	return 0;
}

static void let_pods_join(size_t count)
{
	pool_set_services(world.pool, PODS, pods, count);
	assert_true(roster_refresh(&world.chooser.roster));
}

static struct member *member(const char *name)
{
	struct backend *backend = roster_find(&world.chooser.roster, name);

	assert_non_null(backend);
	return backend->member;
}

static void take_down(const char *name)
{
	member_missed(member(name), "test", &world.metrics);
	assert_false(member_is_up(member(name)));
}

/* --- What comes out ------------------------------------------------------------------------- */

/* "NAME" with "?" and the mailbox, "+placed", "group N"; or the verdict and why. */
static const char *words_of(struct route_choice *choice)
{
	static char words[600];
	static const char *const verdicts[] = {"found", "unknown", "unusable", "down", "assign"};
	size_t used;

	assert_int_equal(choice->verdict == ROUTE_CHOICE_FOUND, choice->backend != NULL);
	if (choice->verdict != ROUTE_CHOICE_FOUND) {
		snprintf(words, sizeof(words), "%s: %s", verdicts[choice->verdict],
			 choice->why.text);
		return words;
	}
	used = (size_t)snprintf(words, sizeof(words), "%s", choice->backend->name);
	if (choice->mailbox[0] != '\0') {
		used += (size_t)snprintf(words + used, sizeof(words) - used, "?%s",
					 choice->mailbox);
	}
	if (choice->placed) {
		used += (size_t)snprintf(words + used, sizeof(words) - used, " placed");
	}
	if (choice->group > 0) {
		snprintf(words + used, sizeof(words) - used, " of %s",
			 world.config->backends[choice->group - 1].name);
	}
	backend_unref(choice->backend);
	choice->backend = NULL;
	return words;
}

static const char *choose_of(const struct route_subject *subject)
{
	struct route_choice choice = {0};

	route_choose(&world.chooser, subject, &choice);
	return words_of(&choice);
}

static const char *choose(const char *route)
{
	return choose_of(&(struct route_subject){
		.key = "alice",
		.route = route,
		.length = route != NULL ? strlen(route) : 0,
	});
}

static const char *choose_even_down(const char *route)
{
	return choose_of(&(struct route_subject){
		.key = "alice",
		.route = route,
		.length = route != NULL ? strlen(route) : 0,
		.even_down = true,
	});
}

/* "NAME placed", of the n-th rank of alice. */
static const char *ranked(size_t group, size_t rank)
{
	static char words[8][300];
	static size_t next;
	struct member *ranks[BALANCE_RANKS_MAX];
	char *text = words[next++ % array_length(words)];

	assert_true(balance_rank(world.chooser.roster.view, group, "alice", ranks,
				 BALANCE_RANKS_MAX) > rank);
	snprintf(text, sizeof(words[0]), "%s", ranks[rank]->name);
	return text;
}

static const char *placed_on(const char *name)
{
	static char words[300];

	snprintf(words, sizeof(words), "%s placed", name);
	return words;
}

static void assert_starts(const char *words, const char *beginning)
{
	if (strncmp(words, beginning, strlen(beginning)) != 0) {
		assert_string_equal(words, beginning);
	}
}

/* --- By name -------------------------------------------------------------------------------- */

static void test_by_name(void **state)
{
	static const struct {
		const char *route;
		const char *words; /* how they begin */
	} rows[] = {
		{"mail1", "mail1"},
		{"mail2?user=bob", "mail2?bob"},
		{"mail3?assigned", "mail3 placed"},
		{"mail3?user=bob&assigned", "mail3?bob placed"},
		{"new", "new"}, /* no weight: by name only */
		{"pod-a.example", "pod-a.example"},
		{"pod-b.example?user=bob", "pod-b.example?bob"},
		{"mail4", "unusable: the route \"mail4\" cannot be used: neither a backend's name"},
		{"MAIL1", "unusable: "},
		{"mail1 ", "unusable: "},
		{"", "unusable: the route is empty"},
		{"pod-c.example", "unusable: "},
	};

	(void)state;
	start("");
	let_pods_join(2);
	for (size_t i = 0; i < array_length(rows); i++) {
		assert_starts(choose(rows[i].route), rows[i].words);
	}
}

/* Who was put somewhere by hand waits for it; whom hash or assign put there goes on where the
 * configuration allows that. */
static void test_down(void **state)
{
	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	take_down("mail1");
	assert_string_equal(choose("mail1"), "down: backend mail1 is down");
	assert_string_equal(choose("mail2"), "mail2");
	assert_string_equal(
		choose("mail1?assigned"),
		placed_on(ranked(BALANCE_ANY, strcmp(ranked(BALANCE_ANY, 0), "mail1") == 0)));
	assert_string_equal(choose_even_down("mail1"), "mail1");
	assert_string_equal(choose_even_down("mail1?assigned"), "mail1 placed");
	take_down("mail2");
	take_down("mail3");
	assert_starts(choose("mail1?assigned"), "down: backend mail");

	start("");
	take_down("mail1");
	assert_string_equal(choose("mail1"), "down: backend mail1 is down");
	assert_string_equal(choose("mail1?assigned"), "down: backend mail1 is down");
	assert_string_equal(choose_even_down("mail1?assigned"), "mail1 placed");
}

/* --- By group ------------------------------------------------------------------------------- */

static void test_by_group(void **state)
{
	char expected[300];

	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	assert_string_equal(choose("pods"), "down: no backend takes users");
	let_pods_join(2);
	snprintf(expected, sizeof(expected), "%s placed of pods", ranked(PODS, 0));
	assert_string_equal(choose("pods"), expected);
	snprintf(expected, sizeof(expected), "%s?bob placed of pods", ranked(PODS, 0));
	assert_string_equal(choose("pods?user=bob"), expected);
	take_down(ranked(PODS, 0));
	snprintf(expected, sizeof(expected), "%s placed of pods", ranked(PODS, 1));
	assert_string_equal(choose("pods"), expected);
	snprintf(expected, sizeof(expected), "%s placed of pods", ranked(PODS, 0));
	assert_string_equal(choose_even_down("pods"), expected);
	take_down(ranked(PODS, 1));
	snprintf(expected, sizeof(expected), "down: backend %s is down", ranked(PODS, 0));
	assert_string_equal(choose("pods"), expected);
}

static void test_by_group_without_failover(void **state)
{
	char expected[300];

	(void)state;
	start("");
	let_pods_join(2);
	take_down(ranked(PODS, 1));
	snprintf(expected, sizeof(expected), "%s placed of pods", ranked(PODS, 0));
	assert_string_equal(choose("pods"), expected);
	take_down(ranked(PODS, 0));
	snprintf(expected, sizeof(expected), "down: backend %s is down", ranked(PODS, 0));
	assert_string_equal(choose("pods"), expected);
}

/* Another of the group, and of nobody else. */
static void test_next_of_the_group(void **state)
{
	struct route_subject subject = {.key = "alice", .route = "pods", .length = 4};
	struct route_choice choice = {0};
	struct backend *first;

	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	let_pods_join(2);
	route_choose(&world.chooser, &subject, &choice);
	assert_int_equal(choice.verdict, ROUTE_CHOICE_FOUND);
	first = choice.backend;
	choice.backend = NULL;
	assert_string_equal(first->name, ranked(PODS, 0));
	route_choose_next(&world.chooser, "alice", first, &choice);
	assert_int_equal(choice.verdict, ROUTE_CHOICE_FOUND);
	assert_string_equal(choice.backend->name, ranked(PODS, 1));
	backend_unref(first);
	first = choice.backend;
	choice.backend = NULL;
	route_choose_next(&world.chooser, "alice", first, &choice);
	assert_int_equal(choice.verdict, ROUTE_CHOICE_DOWN);
	backend_unref(first);
}

/* Those of [routing.users] too. */
static void test_named_by_the_configuration(void **state)
{
	struct route_choice choice = {0};
	char expected[300];

	(void)state;
	start("");
	let_pods_join(2);
	route_choose_named(&world.chooser, MAIL2, "alice", &choice);
	assert_string_equal(words_of(&choice), "mail2");
	memset(&choice, 0, sizeof(choice));
	route_choose_named(&world.chooser, PODS, "alice", &choice);
	snprintf(expected, sizeof(expected), "%s placed of pods", ranked(PODS, 0));
	assert_string_equal(words_of(&choice), expected);
	take_down("mail2");
	memset(&choice, 0, sizeof(choice));
	route_choose_named(&world.chooser, MAIL2, "alice", &choice);
	assert_string_equal(words_of(&choice), "down: backend mail2 is down");
}

/* --- Assigned ------------------------------------------------------------------------------- */

/* What the fleet chose it chooses anew where that is of no use any more, and somebody else is. */
static void test_assigned_anew(void **state)
{
	(void)state;
	start("unknown = \"assign\"");
	assert_string_equal(choose("mail1?assigned"), "mail1 placed");
	/* It left. */
	assert_starts(choose("pod-a.example?assigned"), "assign: ");
	assert_starts(choose("pod-a.example"), "unusable: ");
	/* A drain keeps whom it has; a drain with kick does not. */
	member_set_drain(member("mail1"), MEMBER_DRAINS, 0);
	assert_string_equal(choose("mail1?assigned"), "mail1 placed");
	member_set_drain(member("mail1"), MEMBER_KICKS, 0);
	assert_starts(choose("mail1?assigned"), "assign: ");
	assert_starts(choose_even_down("mail1?assigned"), "assign: ");
	/* Whom somebody put there by hand stays. */
	assert_string_equal(choose("mail1"), "mail1");
	member_set_drain(member("mail1"), MEMBER_SERVES, 0);
	assert_string_equal(choose("mail1?assigned"), "mail1 placed");
	/* What is only down comes up again. */
	take_down("mail1");
	assert_string_equal(choose("mail1?assigned"), "down: backend mail1 is down");
}

/* Not where nobody else takes users. */
static void test_assigned_and_nobody_else(void **state)
{
	(void)state;
	start("unknown = \"assign\"");
	member_set_drain(member("mail1"), MEMBER_KICKS, 0);
	member_set_drain(member("mail2"), MEMBER_DRAINS, 0);
	assert_starts(choose("mail1?assigned"), "assign: ");
	member_set_drain(member("mail3"), MEMBER_KICKS, 0);
	assert_string_equal(choose("mail1?assigned"), "mail1 placed");
	assert_starts(choose("pod-a.example?assigned"), "unusable: ");
}

/* Nor where this fleet assigns nobody. */
static void test_assigned_elsewhere(void **state)
{
	static const char *const others[] = {"unknown = \"hash\"", "unknown = \"reject\"",
					     "unknown = \"mail2\""};

	(void)state;
	for (size_t i = 0; i < array_length(others); i++) {
		start(others[i]);
		member_set_drain(member("mail1"), MEMBER_KICKS, 0);
		assert_string_equal(choose("mail1?assigned"), "mail1 placed");
		assert_starts(choose("pod-a.example?assigned"), "unusable: ");
	}
}

/* --- Unknown users -------------------------------------------------------------------------- */

static void test_unknown(void **state)
{
	(void)state;
	start("");
	assert_string_equal(choose(NULL), "unknown: ");
	start("unknown = \"mail2\"");
	assert_string_equal(choose(NULL), "mail2");
	take_down("mail2");
	assert_string_equal(choose(NULL), "down: backend mail2 is down");
	/* The directory assigns; where it did not, nobody else may. */
	start("unknown = \"assign\"\nfailover = true");
	assert_string_equal(choose(NULL), "down: no backend could be assigned");
}

static void test_hash(void **state)
{
	(void)state;
	start("unknown = \"hash\"");
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 0)));
	assert_string_not_equal(ranked(BALANCE_ANY, 0), "new");
	take_down(ranked(BALANCE_ANY, 1));
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 0)));
	take_down(ranked(BALANCE_ANY, 0));
	assert_starts(choose(NULL), "down: backend ");
	assert_string_equal(choose_even_down(NULL), placed_on(ranked(BALANCE_ANY, 0)));
	/* One that drains is not among them. */
	member_set_drain(member(ranked(BALANCE_ANY, 0)), MEMBER_DRAINS, 0);
	member_set_drain(member(ranked(BALANCE_ANY, 0)), MEMBER_DRAINS, 0);
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 0)));
	member_set_drain(member(ranked(BALANCE_ANY, 0)), MEMBER_DRAINS, 0);
	assert_string_equal(choose(NULL), "down: no backend takes users");
}

static void test_hash_with_failover(void **state)
{
	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 0)));
	take_down(ranked(BALANCE_ANY, 0));
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 1)));
	take_down(ranked(BALANCE_ANY, 1));
	assert_string_equal(choose(NULL), placed_on(ranked(BALANCE_ANY, 2)));
	take_down(ranked(BALANCE_ANY, 2));
	assert_starts(choose(NULL), "down: backend ");
	assert_string_equal(choose_even_down(NULL), placed_on(ranked(BALANCE_ANY, 0)));
}

/* --- The next by rank ----------------------------------------------------------------------- */

/* The names that come one after the other, each found unreachable. */
static void check_sequence(const char *route, const char *expected)
{
	struct route_subject subject = {
		.key = "alice",
		.route = route,
		.length = route != NULL ? strlen(route) : 0,
	};
	struct route_choice choice = {0};
	struct backend *failed = NULL;
	char names[300] = "";

	route_choose(&world.chooser, &subject, &choice);
	while (choice.verdict == ROUTE_CHOICE_FOUND) {
		backend_unref(failed);
		failed = choice.backend;
		strcat(names, failed->name);
		strcat(names, " ");
		assert_true(strlen(names) < 200);
		choice = (struct route_choice){
			.placed = choice.placed, .tried = choice.tried, .group = choice.group};
		route_choose_next(&world.chooser, "alice", failed, &choice);
	}
	backend_unref(failed);
	assert_string_equal(names, expected);
}

static void test_sequence(void **state)
{
	char all[100];
	char two[100];

	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	snprintf(all, sizeof(all), "%s %s %s ", ranked(BALANCE_ANY, 0), ranked(BALANCE_ANY, 1),
		 ranked(BALANCE_ANY, 2));
	check_sequence(NULL, all);
	snprintf(two, sizeof(two), "%s %s ", ranked(BALANCE_ANY, 0), ranked(BALANCE_ANY, 2));
	take_down(ranked(BALANCE_ANY, 1));
	check_sequence(NULL, two);
}

/* Nobody is tried twice, wherever it began. */
static void test_sequence_from_any_rank(void **state)
{
	(void)state;
	start("unknown = \"hash\"\nfailover = true");
	for (size_t first = 0; first < 3; first++) {
		char route[64];
		char expected[100];

		snprintf(route, sizeof(route), "%s?assigned", ranked(BALANCE_ANY, first));
		snprintf(expected, sizeof(expected), "%s %s %s ", ranked(BALANCE_ANY, first),
			 ranked(BALANCE_ANY, first == 0 ? 1 : 0),
			 ranked(BALANCE_ANY, first == 2 ? 1 : 2));
		check_sequence(route, expected);
	}
}

static void test_sequence_without_failover(void **state)
{
	char one[100];

	(void)state;
	start("unknown = \"hash\"");
	snprintf(one, sizeof(one), "%s ", ranked(BALANCE_ANY, 0));
	check_sequence(NULL, one);
}

/* --- The canary ----------------------------------------------------------------------------- */

static const char *choose_unknown(const char *key)
{
	return choose_of(&(struct route_subject){.key = key});
}

/* A user of the share, or of those outside it. */
static const char *find_user(bool in_share)
{
	static char user[2][16];

	for (unsigned i = 0;; i++) {
		snprintf(user[in_share], sizeof(user[0]), "u%u", i);
		if (balance_is_canary(&world.config->routing, user[in_share]) == in_share) {
			return user[in_share];
		}
	}
}

static void test_canary(void **state)
{
	const char *inside;
	const char *outside;

	(void)state;
	start("unknown = \"hash\"\ncanary = \"new:10%\"");
	inside = find_user(true);
	outside = find_user(false);
	assert_string_equal(choose_unknown(inside), "new placed");
	assert_starts(choose_unknown(outside), "mail");
	/* Whoever has a route keeps it. */
	assert_string_equal(
		choose_of(&(struct route_subject){.key = inside, .route = "mail1", .length = 5}),
		"mail1");
	member_set_drain(member("new"), MEMBER_DRAINS, 0);
	assert_starts(choose_unknown(inside), "mail");
	member_set_drain(member("new"), MEMBER_SERVES, 0);
	assert_string_equal(choose_unknown(inside), "new placed");
	member_set_canary_over(member("new"), true);
	assert_starts(choose_unknown(inside), "mail");
	member_set_canary_over(member("new"), false);
	take_down("new");
	assert_string_equal(choose_unknown(inside), "down: backend new is down");
	assert_starts(choose_unknown(outside), "mail");
}

static void test_canary_with_failover(void **state)
{
	const char *inside;

	(void)state;
	start("unknown = \"hash\"\ncanary = \"new:10%\"\nfailover = true");
	inside = find_user(true);
	assert_string_equal(choose_unknown(inside), "new placed");
	take_down("new");
	assert_starts(choose_unknown(inside), "mail");
}

/* --- By URL --------------------------------------------------------------------------------- */

static void test_by_url(void **state)
{
	static const struct {
		const char *hosts; /* routing.url_hosts */
		bool tls;          /* there are authorities */
		const char *route;
		const char *words;
	} rows[] = {
		{"", false, "imap://10.1.1.1", "imap://10.1.1.1:143"},
		{"", false, "imap://other.example:144?user=bob", "imap://other.example:144?bob"},
		{"", false, "imaps://10.1.1.1", "unusable: the route \"imaps://10.1.1.1\" cannot"},
		{"", false, "imap://10.1.1.1?tls=starttls", "unusable: "},
		{"", true, "imaps://10.1.1.1", "imaps://10.1.1.1:993"},
		{"", true, "imap://10.1.1.1?tls=starttls", "imap://10.1.1.1:143"},
		{"\"*.example\"", true, "imap://a.example", "imap://a.example:143"},
		{"\"*.example\"", true, "imap://example", "unusable: "},
		{"\"*.example\"", true, "imap://a.other", "unusable: "},
		{"\"*.example\"", true, "imap://10.1.1.1", "unusable: "},
		{"\"10.0.0.0/8\"", true, "imap://10.1.1.1", "imap://10.1.1.1:143"},
		{"\"10.0.0.0/8\"", true, "imap://11.1.1.1", "unusable: "},
		{"\"10.0.0.0/8\"", true, "imap://[::1]", "unusable: "},
		{"\"10.0.0.0/8\"", true, "imap://a.example", "unusable: "},
		/* The list is for URLs. */
		{"\"*.example\"", true, "mail1", "mail1"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char routing[100];

		snprintf(routing, sizeof(routing), "url_hosts = [%s]", rows[i].hosts);
		start(routing);
		world.chooser.url_tls_client = rows[i].tls ? TLS_CLIENT : NULL;
		assert_starts(choose(rows[i].route), rows[i].words);
	}
	start("url_hosts = [\"a.example\"]");
	assert_non_null(strstr(choose("imap://b.example"), "none of routing.url_hosts"));
	assert_non_null(strstr(choose("imaps://a.example"), "routing.url_ca"));
}

/* A member's address as a URL is another backend: nothing says that it is trusted. */
static void test_url_of_a_member(void **state)
{
	struct route_subject subject = {
		.key = "alice", .route = "imap://10.0.0.1", .length = strlen("imap://10.0.0.1")};
	struct route_choice choice = {0};

	(void)state;
	start("");
	take_down("mail1");
	route_choose(&world.chooser, &subject, &choice);
	assert_int_equal(choice.verdict, ROUTE_CHOICE_FOUND);
	assert_false(choice.placed);
	assert_null(choice.backend->member);
	backend_unref(choice.backend);
}

/* --- Referrals ------------------------------------------------------------------------------ */

static const char *refer(const char *url)
{
	static char words[300];
	struct referral referral = {0};
	struct error error = {0};
	struct backend *backend;

	assert_true(referral_parse(&referral, url, &error));
	backend = route_choose_referral(&world.chooser, &referral, &error);
	snprintf(words, sizeof(words), "%s%s", backend != NULL ? backend->name : error.text,
		 backend != NULL && backend->member != NULL ? " member" : "");
	assert_true(backend != NULL || error.text[0] != '\0');
	backend_unref(backend);
	referral_done(&referral);
	return words;
}

static void test_referrals(void **state)
{
	static const struct {
		const char *hosts; /* routing.referrals */
		bool tls;
		const char *url;
		const char *words;
	} rows[] = {
		{"", true, "imap://10.0.0.1", "the host of the referral is none of"},
		{"\"10.0.0.0/8\"", true, "imap://10.0.0.1", "mail1 member"},
		{"\"10.0.0.0/8\"", true, "imap://bob@10.0.0.2/", "mail2 member"},
		{"\"10.0.0.0/8\"", true, "imap://10.0.0.2:144", "imap://10.0.0.2:144"},
		{"\"10.0.0.0/8\"", true, "imaps://10.0.0.1", "imaps://10.0.0.1:993"},
		{"\"10.0.0.0/8\"", true, "imaps://10.0.0.1:143", "imaps://10.0.0.1:143"},
		{"\"10.0.0.0/8\"", false, "imaps://10.0.0.1", "there are no authorities"},
		{"\"10.0.0.0/8\"", true, "imap://11.0.0.1", "the host of the referral"},
		{"\"10.0.0.0/8\"", true, "imap://pod-a.example", "the host of the referral"},
		{"\"*.example\"", true, "imap://pod-a.example", "pod-a.example member"},
		{"\"*.example\"", true, "imap://POD-A.example:143/", "pod-a.example member"},
		{"\"*.example\"", true, "imap://pod-c.example", "imap://pod-c.example:143"},
		{"\"*.example\"", true, "imap://10.0.0.1", "the host of the referral"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		char routing[100];

		/* What URLs may name is another list. */
		snprintf(routing, sizeof(routing),
			 "url_hosts = [\"nothing.test\"]\nreferrals = [%s]", rows[i].hosts);
		start(routing);
		let_pods_join(2);
		world.chooser.url_tls_client = rows[i].tls ? TLS_CLIENT : NULL;
		assert_starts(refer(rows[i].url), rows[i].words);
	}
}

#define in_world(test) cmocka_unit_test_teardown(test, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_by_name),
		in_world(test_down),
		in_world(test_by_group),
		in_world(test_by_group_without_failover),
		in_world(test_next_of_the_group),
		in_world(test_named_by_the_configuration),
		in_world(test_assigned_anew),
		in_world(test_assigned_and_nobody_else),
		in_world(test_assigned_elsewhere),
		in_world(test_unknown),
		in_world(test_hash),
		in_world(test_hash_with_failover),
		in_world(test_sequence),
		in_world(test_sequence_from_any_rank),
		in_world(test_sequence_without_failover),
		in_world(test_canary),
		in_world(test_canary_with_failover),
		in_world(test_by_url),
		in_world(test_url_of_a_member),
		in_world(test_referrals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
