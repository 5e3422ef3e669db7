/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendezvous hashing with weights. A member's hash for the user, taken as a number h between 0 and
 * 1, gives it the score -log2(h) / weight, and the smallest score wins: of exponential variables
 * the smallest is each one with a probability that is its rate's part of all. The logarithm is to
 * 40 places behind the point, by repeated squaring, and fractions are compared crosswise.
 */
#include "routing/balance.h"

#include <stdint.h>
#include <string.h>

#include "balance_internal.h"
#include "base/base.h"
#include "base/hash.h"
#include "core/config.h"
#include "routing/pool.h"

/* No user begins with a NUL, so it is nobody's hash with a member. */
static const char CANARY_SALT[] = "\0canary";

/* struct rank: a member, and its score as a fraction. */
struct rank {
	struct member *member;
	uint64_t logarithm;
	unsigned weight;
};

uint64_t balance_logarithm(uint64_t hash)
{
	uint64_t number = hash + 1;
	uint64_t result;
	int leading;

	if (number == 0) {
		return 0;
	}
	leading = __builtin_clzll(number);
	number <<= leading; /* 1 to 2, with 63 places */
	result = (uint64_t)(63 - leading);
	for (int i = 0; i < BALANCE_PLACES; i++) {
		unsigned __int128 square = (unsigned __int128)number * number;
		unsigned doubled = (unsigned)(square >> 127);

		number = (uint64_t)(square >> (63 + doubled));
		result = result << 1 | doubled;
	}
	return (UINT64_C(64) << BALANCE_PLACES) - result;
}

static bool goes_before(const struct rank *left, const struct rank *right)
{
	return (unsigned __int128)left->logarithm * right->weight <
	       (unsigned __int128)right->logarithm * left->weight;
}

/* Puts a rank where it belongs among `count`, behind its equals: members come in the order of their
 * names. Gives how many there are now, `most` at most. */
static size_t insert(struct rank *ranks, size_t count, size_t most, const struct rank *rank)
{
	size_t place = count;

	while (place > 0 && goes_before(rank, &ranks[place - 1])) {
		place--;
	}
	if (place == most) {
		return count;
	}
	if (count == most) {
		count--;
	}
	memmove(&ranks[place + 1], &ranks[place], (count - place) * sizeof(*ranks));
	ranks[place] = *rank;
	return count + 1;
}

/* Whoever is routed to a backend by its name has one of its members, whatever their weights. */
static bool is_eligible(const struct member *member, size_t config)
{
	if (config == BALANCE_ANY) {
		return member_takes_users(member);
	}
	return member->config == config && member_drain(member) == MEMBER_SERVES;
}

static unsigned weight_of(const struct member *member)
{
	unsigned weight = member_weight(member);

	return weight > 0 ? weight : 1;
}

size_t balance_rank(const struct pool_view *view, size_t config, const char *user,
		    struct member **ranks, size_t most)
{
	char text[CONFIG_USER_MAX + 1 + ENDPOINT_HOST_MAX];
	struct rank best[BALANCE_RANKS_MAX];
	size_t prefix = strlen(user) + 1;
	size_t count = 0;

	invariant(prefix <= CONFIG_USER_MAX + 1 && most > 0 && most <= BALANCE_RANKS_MAX);
	memcpy(text, user, prefix);
	for (size_t i = 0; i < view->count; i++) {
		struct member *member = view->members[i];
		struct rank rank = {.member = member, .weight = weight_of(member)};
		size_t length = strlen(member->name);

		if (!is_eligible(member, config)) {
			continue;
		}
		invariant(length <= sizeof(text) - prefix);
		memcpy(text + prefix, member->name, length);
		rank.logarithm =
			balance_logarithm(hash_bytes(&HASH_KEY_OF_FLEET, text, prefix + length));
		count = insert(best, count, most, &rank);
	}
	for (size_t i = 0; i < count; i++) {
		ranks[i] = best[i].member;
	}
	return count;
}

bool balance_is_canary(const struct config_routing *routing, const char *user)
{
	char text[sizeof(CANARY_SALT) + CONFIG_USER_MAX + 1];
	size_t length = strlen(user);
	uint64_t hash;

	invariant(length <= CONFIG_USER_MAX);
	memcpy(text, CANARY_SALT, sizeof(CANARY_SALT));
	memcpy(text + sizeof(CANARY_SALT), user, length + 1);
	hash = hash_bytes(&HASH_KEY_OF_FLEET, text, sizeof(CANARY_SALT) + length);
	return (uint64_t)(((unsigned __int128)hash * 10000) >> 64) < routing->canary.share;
}
