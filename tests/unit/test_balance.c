/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has whom by hash: shares by weight, what moves when members join and leave, the same order
 * everywhere and for ever.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/balance_internal.h"
#include "base/addr.h"
#include "base/base.h"
#include "core/config.h"
#include "routing/balance.h"
#include "routing/pool.h"
#include "support/log_capture.h"

#define USERS       20000
#define MEMBERS_MAX 16

/* struct made is one member of a view that a test makes. */
struct made {
	const char *name;
	unsigned weight;
	size_t config;
};

static const struct config_health health;
static const struct config_moves moves;

static int compare(const void *left, const void *right)
{
	const struct member *const *a = left;
	const struct member *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static struct pool_view *view_of(const struct made *made, size_t count)
{
	static const struct config_backend backend;
	static const struct endpoint address = {.kind = ENDPOINT_UNIX, .name = (char *)"/x"};
	struct pool_view *view = calloc(1, sizeof(*view) + count * sizeof(struct member *));

	assert_non_null(view);
	for (size_t i = 0; i < count; i++) {
		struct member_settings settings = {
			.name = made[i].name,
			.config = made[i].config,
			.address = &address,
			.backend = &backend,
			.health = &health,
			.moves = &moves,
		};

		view->members[i] = member_new(&settings);
		assert_non_null(view->members[i]);
		member_set_weight(view->members[i], made[i].weight);
	}
	view->count = count;
	qsort(view->members, count, sizeof(struct member *), compare);
	return view;
}

static void view_free(struct pool_view *view)
{
	for (size_t i = 0; i < view->count; i++) {
		member_unref(view->members[i]);
	}
	free(view);
}

static const char *user_number(unsigned number)
{
	static char user[40];

	snprintf(user, sizeof(user), "user%u@example.org", number);
	return user;
}

static const char *home(const struct pool_view *view, const char *user)
{
	struct member *member = NULL;

	return balance_rank(view, BALANCE_ANY, user, &member, 1) == 1 ? member->name : "";
}

/* Within five standard deviations: once in millions, and the users are always the same. */
static void check_share(unsigned count, unsigned users, double share)
{
	double expected = users * share;
	double deviation = sqrt(users * share * (1 - share));

	assert_true(fabs(count - expected) <= 5 * deviation);
}

static void test_the_logarithm(void **state)
{
	static const uint64_t edges[] = {0,
					 1,
					 2,
					 3,
					 4,
					 5,
					 6,
					 7,
					 8,
					 UINT32_MAX,
					 UINT64_MAX / 2 - 1,
					 UINT64_MAX / 2,
					 UINT64_MAX / 2 + 1,
					 UINT64_MAX - 2,
					 UINT64_MAX - 1,
					 UINT64_MAX};
	uint64_t random = 88172645463325252;

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		uint64_t hash = i < array_length(edges) ? edges[i] : random;
		long double exact = 64 - log2l((long double)hash + 1);
		long double found = ldexpl((long double)balance_logarithm(hash), -BALANCE_PLACES);

		assert_true(fabsl(found - exact) <= ldexpl(1, -BALANCE_PLACES));
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
	}
}

static void test_the_logarithm_at_its_ends(void **state)
{
	(void)state;
	assert_int_equal(balance_logarithm(UINT64_MAX), 0);
	assert_int_equal(balance_logarithm(UINT64_MAX / 2), UINT64_C(1) << BALANCE_PLACES);
	assert_int_equal(balance_logarithm(0), UINT64_C(64) << BALANCE_PLACES);
}

static void test_shares(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail3", 200, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	unsigned counts[3] = {0};

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		counts[home(view, user_number(i))[4] - '1']++;
	}
	check_share(counts[0], USERS, 0.25);
	check_share(counts[1], USERS, 0.25);
	check_share(counts[2], USERS, 0.5);
	view_free(view);
}

/* Where the first choice is out, its users go to the others by their weights. */
static void test_shares_of_the_second_choice(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail3", 300, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	unsigned first = 0;
	unsigned second = 0;

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		struct member *ranks[2];

		assert_int_equal(balance_rank(view, BALANCE_ANY, user_number(i), ranks, 2), 2);
		if (strcmp(ranks[0]->name, "mail1") == 0) {
			first++;
			second += strcmp(ranks[1]->name, "mail3") == 0;
		}
	}
	check_share(first, USERS, 0.2);
	check_share(second, first, 0.75);
	view_free(view);
}

/* Weights far apart, and the largest that there are. */
static void test_shares_of_extreme_weights(void **state)
{
	static const struct made made[] = {{"mail1", 1, 0}, {"mail2", 99, 1}};
	static const struct made large[] = {{"mail1", 6553500, 0}, {"mail2", 6553500, 1}};
	struct pool_view *view = view_of(made, array_length(made));
	struct pool_view *large_view = view_of(large, array_length(large));
	unsigned small = 0;
	unsigned half = 0;

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		small += strcmp(home(view, user_number(i)), "mail1") == 0;
		half += strcmp(home(large_view, user_number(i)), "mail1") == 0;
	}
	check_share(small, USERS, 0.01);
	check_share(half, USERS, 0.5);
	view_free(view);
	view_free(large_view);
}

/* Exactly: who moves, moves to the one that joined or away from the one that left. */
static void test_one_joins_or_leaves(void **state)
{
	static const struct made made[] = {
		{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail4", 200, 3},
		{"mail5", 100, 4}, {"mail3", 100, 2},
	};
	struct pool_view *without = view_of(made, 4);
	struct pool_view *with = view_of(made, 5);
	unsigned moved = 0;

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		const char *user = user_number(i);

		if (strcmp(home(with, user), "mail3") == 0) {
			moved++;
		} else {
			assert_string_equal(home(with, user), home(without, user));
		}
	}
	check_share(moved, USERS, 1.0 / 6);
	view_free(without);
	view_free(with);
}

/* A weight that grows only draws users. */
static void test_a_weight_grows(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail3", 100, 2}};
	struct pool_view *before = view_of(made, array_length(made));
	struct pool_view *after = view_of(made, array_length(made));
	unsigned moved = 0;

	(void)state;
	member_set_weight(pool_view_find(after, "mail2"), 150);
	for (unsigned i = 0; i < USERS; i++) {
		const char *user = user_number(i);

		if (strcmp(home(before, user), home(after, user)) != 0) {
			assert_string_equal(home(after, user), "mail2");
			moved++;
		}
	}
	check_share(moved, USERS, 150.0 / 350 - 1.0 / 3);
	view_free(before);
	view_free(after);
}

/* Only the ratio of weights counts, to the last user: a service that has one pod more gives all of
 * them less. */
static void test_weights_of_one_ratio(void **state)
{
	static const struct made made[] = {{"mail1", 33, 0}, {"mail2", 33, 1}, {"mail3", 66, 2}};
	static const struct made scaled[] = {{"mail1", 25, 0}, {"mail2", 25, 1}, {"mail3", 50, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	struct pool_view *scaled_view = view_of(scaled, array_length(scaled));

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		const char *user = user_number(i);

		assert_string_equal(home(view, user), home(scaled_view, user));
	}
	view_free(view);
	view_free(scaled_view);
}

static void test_ranks(void **state)
{
	struct made made[MEMBERS_MAX];
	char names[MEMBERS_MAX][20];
	struct pool_view *view;

	(void)state;
	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "mail%zu", i);
		made[i] = (struct made){names[i], 50 + 10 * (unsigned)i, i};
	}
	view = view_of(made, MEMBERS_MAX);
	for (unsigned i = 0; i < 1000; i++) {
		struct member *all[BALANCE_RANKS_MAX];
		unsigned weights[BALANCE_RANKS_MAX];

		assert_int_equal(
			balance_rank(view, BALANCE_ANY, user_number(i), all, BALANCE_RANKS_MAX),
			BALANCE_RANKS_MAX);
		/* Fewer are the first of more, and the second is the first where the first is not.
		 */
		for (size_t most = 1; most < BALANCE_RANKS_MAX; most++) {
			struct member *some[BALANCE_RANKS_MAX];

			assert_int_equal(
				balance_rank(view, BALANCE_ANY, user_number(i), some, most), most);
			assert_memory_equal(some, all, most * sizeof(*some));
		}
		for (size_t j = 0; j + 1 < BALANCE_RANKS_MAX; j++) {
			struct member *first;

			weights[j] = member_weight(all[j]);
			member_set_weight(all[j], 0);
			assert_int_equal(balance_rank(view, BALANCE_ANY, user_number(i), &first, 1),
					 1);
			assert_ptr_equal(first, all[j + 1]);
		}
		for (size_t j = 0; j + 1 < BALANCE_RANKS_MAX; j++) {
			member_set_weight(all[j], weights[j]);
		}
	}
	view_free(view);
}

static void test_who_takes_no_users(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 0, 1}, {"mail3", 100, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	struct member *ranks[3];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(balance_rank(view, BALANCE_ANY, user_number(i), ranks, 3), 2);
		assert_string_not_equal(ranks[0]->name, "mail2");
		assert_string_not_equal(ranks[1]->name, "mail2");
	}
	member_set_drain(pool_view_find(view, "mail1"), MEMBER_KICKS, 0);
	assert_int_equal(balance_rank(view, BALANCE_ANY, "alice", ranks, 3), 1);
	assert_string_equal(ranks[0]->name, "mail3");
	member_set_drain(pool_view_find(view, "mail3"), MEMBER_DRAINS, 0);
	assert_int_equal(balance_rank(view, BALANCE_ANY, "alice", ranks, 3), 0);
	assert_int_equal(count_logged("backend drains"), 2);
	buffer_done(&logged);
	view_free(view);
}

static void test_one_backend_only(void **state)
{
	static const struct made made[] = {
		{"mail1", 100, 0}, {"pod-a", 100, 1}, {"pod-b", 100, 1}, {"mail2", 100, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	struct member *ranks[4];
	unsigned first = 0;

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		assert_int_equal(balance_rank(view, 1, user_number(i), ranks, 4), 2);
		assert_int_equal(ranks[0]->config, 1);
		assert_int_equal(ranks[1]->config, 1);
		first += strcmp(ranks[0]->name, "pod-a") == 0;
	}
	check_share(first, USERS, 0.5);
	assert_int_equal(balance_rank(view, 3, "alice", ranks, 4), 0);
	view_free(view);
}

/* Its name leads to all of them alike; but not to one that drains. */
static void test_one_backend_without_a_weight(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"pod-a", 0, 1}, {"pod-b", 0, 1}};
	struct pool_view *view = view_of(made, array_length(made));
	struct member *ranks[3];
	unsigned first = 0;

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		assert_int_equal(balance_rank(view, BALANCE_ANY, user_number(i), ranks, 3), 1);
		assert_int_equal(balance_rank(view, 1, user_number(i), ranks, 3), 2);
		first += strcmp(ranks[0]->name, "pod-a") == 0;
	}
	check_share(first, USERS, 0.5);
	member_set_drain(pool_view_find(view, "pod-a"), MEMBER_DRAINS, 0);
	assert_int_equal(balance_rank(view, 1, "alice", ranks, 3), 1);
	assert_string_equal(ranks[0]->name, "pod-b");
	buffer_done(&logged);
	view_free(view);
}

static void test_nobody_at_all(void **state)
{
	struct pool_view *view = view_of(NULL, 0);
	struct member *ranks[1];

	(void)state;
	assert_int_equal(balance_rank(view, BALANCE_ANY, "alice", ranks, 1), 0);
	view_free(view);
}

/* The order in which a configuration lists its backends says nothing. */
static void test_order_of_configuration(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail3", 200, 2}};
	static const struct made turned[] = {
		{"mail3", 200, 0}, {"mail1", 100, 1}, {"mail2", 100, 2}};
	struct pool_view *view = view_of(made, array_length(made));
	struct pool_view *turned_view = view_of(turned, array_length(turned));

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct member *ranks[3];
		struct member *turned_ranks[3];

		assert_int_equal(balance_rank(view, BALANCE_ANY, user_number(i), ranks, 3), 3);
		assert_int_equal(
			balance_rank(turned_view, BALANCE_ANY, user_number(i), turned_ranks, 3), 3);
		for (size_t j = 0; j < 3; j++) {
			assert_string_equal(ranks[j]->name, turned_ranks[j]->name);
		}
	}
	view_free(view);
	view_free(turned_view);
}

/* Members of one name have one hash; no pool has such, but nothing else makes a tie. */
static void test_ties(void **state)
{
	static const struct made made[] = {
		{"same", 100, 0}, {"same", 100, 1}, {"same", 200, 2}, {"same", 100, 3}};
	struct pool_view *view = view_of(made, array_length(made));
	struct member *ranks[4];

	(void)state;
	assert_int_equal(balance_rank(view, BALANCE_ANY, "alice", ranks, 4), 4);
	assert_int_equal(member_weight(ranks[0]), 200);
	/* The others as the view has them. */
	for (size_t i = 0, j = 1; i < view->count; i++) {
		if (member_weight(view->members[i]) == 100) {
			assert_ptr_equal(ranks[j++], view->members[i]);
		}
	}
	view_free(view);
}

/* The longest names that there are, and the shortest. */
static void test_lengths(void **state)
{
	static const size_t lengths[] = {0, 1, CONFIG_USER_MAX - 1, CONFIG_USER_MAX};
	char host[ENDPOINT_HOST_MAX + 1] = {0};
	struct made made[] = {{"m", 100, 0}, {host, 100, 1}};
	struct pool_view *view;

	(void)state;
	memset(host, 'h', ENDPOINT_HOST_MAX);
	view = view_of(made, array_length(made));
	for (size_t i = 0; i < array_length(lengths); i++) {
		struct config_routing routing = {.canary = {.share = 10000}};
		char user[CONFIG_USER_MAX + 1] = {0};
		struct member *ranks[2];

		memset(user, 'u', lengths[i]);
		assert_int_equal(balance_rank(view, BALANCE_ANY, user, ranks, 2), 2);
		assert_true(balance_is_canary(&routing, user));
	}
	view_free(view);
}

/* What every proxy of every version comes to. A change here moves users of those who run gatepost:
 * it is no small matter. */
static void test_frozen(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0},
					   {"mail2", 100, 1},
					   {"mail3", 200, 2},
					   {"mail-0.imap.mail.svc.cluster.local", 33, 3}};
	static const struct {
		const char *user;
		const char *ranks;
		bool canary; /* at 20 % */
	} cases[] = {
		{"alice", "mail2 mail3 mail1 mail-0", false},
		{"bob", "mail1 mail3 mail2 mail-0", false},
		{"alice@example.org", "mail3 mail1 mail-0 mail2", false},
		{"bob@example.org", "mail1 mail2 mail-0 mail3", false},
		{"carol@example.org", "mail1 mail2 mail-0 mail3", false},
		{"dave@example.com", "mail1 mail3 mail2 mail-0", true},
		{"erin@example.net", "mail3 mail1 mail-0 mail2", false},
		{"u", "mail1 mail-0 mail2 mail3", false},
		{"user0@example.org", "mail2 mail3 mail1 mail-0", false},
		{"user1@example.org", "mail3 mail2 mail1 mail-0", false},
		{"user2@example.org", "mail3 mail-0 mail1 mail2", false},
		{"user3@example.org", "mail1 mail3 mail2 mail-0", false},
		{"j\xC3\xBCrgen@example.org", "mail3 mail1 mail-0 mail2", true},
	};
	static const struct config_routing routing = {.canary = {.share = 2000}};
	struct pool_view *view = view_of(made, array_length(made));

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct member *ranks[4];
		char text[200] = "";

		assert_int_equal(balance_rank(view, BALANCE_ANY, cases[i].user, ranks, 4), 4);
		for (size_t j = 0; j < 4; j++) {
			size_t length = strlen(text);

			snprintf(text + length, sizeof(text) - length, "%s%.6s", j > 0 ? " " : "",
				 ranks[j]->name);
		}
		assert_string_equal(text, cases[i].ranks);
		assert_int_equal(balance_is_canary(&routing, cases[i].user), cases[i].canary);
	}
	view_free(view);
}

static void test_the_canarys_share(void **state)
{
	static const unsigned shares[] = {0, 1, 500, 501, 5000, 10000};

	(void)state;
	for (size_t i = 0; i < array_length(shares); i++) {
		struct config_routing routing = {.canary = {.share = shares[i]}};
		unsigned count = 0;

		for (unsigned j = 0; j < USERS; j++) {
			count += balance_is_canary(&routing, user_number(j));
		}
		check_share(count, USERS, shares[i] / 10000.0);
	}
}

/* A share that grows keeps whom it had. */
static void test_the_canarys_share_grows(void **state)
{
	struct config_routing small = {.canary = {.share = 300}};
	struct config_routing large = {.canary = {.share = 700}};

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		if (balance_is_canary(&small, user_number(i))) {
			assert_true(balance_is_canary(&large, user_number(i)));
		}
	}
}

/* Wherever users live, the same share of them is the canary's. */
static void test_the_canarys_share_of_each_member(void **state)
{
	static const struct made made[] = {{"mail1", 100, 0}, {"mail2", 100, 1}, {"mail3", 100, 2}};
	struct config_routing routing = {.canary = {.share = 1000}};
	struct pool_view *view = view_of(made, array_length(made));
	unsigned users[3] = {0};
	unsigned canaries[3] = {0};

	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		const char *user = user_number(i);
		unsigned number = (unsigned)(home(view, user)[4] - '1');

		users[number]++;
		canaries[number] += balance_is_canary(&routing, user);
	}
	for (size_t i = 0; i < 3; i++) {
		check_share(canaries[i], users[i], 0.1);
	}
	view_free(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_logarithm),
		cmocka_unit_test(test_the_logarithm_at_its_ends),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_shares_of_the_second_choice),
		cmocka_unit_test(test_shares_of_extreme_weights),
		cmocka_unit_test(test_one_joins_or_leaves),
		cmocka_unit_test(test_a_weight_grows),
		cmocka_unit_test(test_weights_of_one_ratio),
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_who_takes_no_users),
		cmocka_unit_test(test_one_backend_only),
		cmocka_unit_test(test_one_backend_without_a_weight),
		cmocka_unit_test(test_nobody_at_all),
		cmocka_unit_test(test_order_of_configuration),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test(test_the_canarys_share),
		cmocka_unit_test(test_the_canarys_share_grows),
		cmocka_unit_test(test_the_canarys_share_of_each_member),
	};

	return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
