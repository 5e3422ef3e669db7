/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a hash that nobody can find collisions for who does
 * not know the key. For tables whose keys a peer can choose, the key is random; where a whole fleet
 * must come to the same number, it is HASH_KEY_OF_FLEET, and collisions are nothing to fear.
 */
#ifndef GATEPOST_BASE_HASH_H
#define GATEPOST_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
	uint64_t words[2];
};

/* The same for every proxy and every version: a user's backend by hash depends on it. */
extern const struct hash_key HASH_KEY_OF_FLEET;

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t length);

#endif
