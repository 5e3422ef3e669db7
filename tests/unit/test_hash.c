/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-2-4 by the numbers of its paper, and the key of the fleet, which may never change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/hash.h"

/* The key 00 01 02 ... 0f of the paper, read as two little-endian words. */
static const struct hash_key key_of_paper = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}};

/* The message is 00 01 02 ..., of so many bytes (appendix A has that of 15). */
static void test_vectors(void **state)
{
	static const struct {
		size_t length;
		uint64_t hash;
	} rows[] = {
		{0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd}, {2, 0x0d6c8009d9a94f5a},
		{3, 0x85676696d7fb7e2d},  {4, 0xcf2794e0277187b7}, {5, 0x18765564cd99a68d},
		{6, 0xcbc9466e58fee3ce},  {7, 0xab0200f58b01d137}, {8, 0x93f5f5799a932462},
		{15, 0xa129ca6149be45e5},
	};
	uint8_t message[16];

	(void)state;
	for (size_t i = 0; i < sizeof(message); i++) {
		message[i] = (uint8_t)i;
	}
	for (size_t i = 0; i < array_length(rows); i++) {
		assert_true(hash_bytes(&key_of_paper, message, rows[i].length) == rows[i].hash);
	}
}

/* Where the bytes lie does not matter, nor what is around them. */
static void test_alignment(void **state)
{
	static const char user[] = "alice@example.org";
	uint64_t hash = hash_bytes(&HASH_KEY_OF_FLEET, user, strlen(user));
	char bytes[64];

	(void)state;
	for (size_t offset = 0; offset < 16; offset++) {
		memset(bytes, (int)offset, sizeof(bytes));
		memcpy(bytes + offset, user, strlen(user));
		assert_true(hash_bytes(&HASH_KEY_OF_FLEET, bytes + offset, strlen(user)) == hash);
	}
}

/* These numbers decide which backend a user has: a version with others would move everybody. */
static void test_fleet(void **state)
{
	static const struct {
		const char *user;
		uint64_t hash;
	} rows[] = {
		{"", 0x8d3f21141dddf5f3},
		{"alice", 0xab2c7fca456de729},
		{"alice@example.org", 0xf4ed351e98add4fc},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		assert_true(hash_bytes(&HASH_KEY_OF_FLEET, rows[i].user, strlen(rows[i].user)) ==
			    rows[i].hash);
	}
}

/* Without the key, nobody knows the hash: one bit of it changes about half of the bits. */
static void test_key(void **state)
{
	static const char user[] = "alice@example.org";
	uint64_t hash = hash_bytes(&key_of_paper, user, strlen(user));

	(void)state;
	for (unsigned bit = 0; bit < 128; bit++) {
		struct hash_key other = key_of_paper;
		int changed;

		other.words[bit / 64] ^= 1ULL << (bit % 64);
		changed = __builtin_popcountll(hash ^ hash_bytes(&other, user, strlen(user)));
		assert_in_range(changed, 12, 52);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_fleet),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
