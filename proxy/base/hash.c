/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-2-4, as BoringSSL has it.
 */
#include "base/hash.h"

#include <openssl/siphash.h>

/* "gatepost" and "dwelling", read as numbers. */
const struct hash_key HASH_KEY_OF_FLEET = {{0x67617465706f7374, 0x6477656c6c696e67}};

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t length)
{
	return SIPHASH_24(key->words, bytes, length);
}
