/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of session tickets: the current one seals, it and the one before open. All workers call from
 * their handshakes, so a mutex guards the two; it is held while a key is copied.
 */
#include "net/ticket.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/aes.h>
#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

/* RFC 5077 section 4, with AES-256. All zero is no key. */
struct ticket_key {
	uint8_t name[SSL_TICKET_KEY_NAME_LEN];
	uint8_t cipher[32];
	uint8_t mac[32];
	uint64_t until_ms; /* seals, or if it is the previous one opens, before this moment */
};

struct ticket_keys {
	pthread_mutex_t lock;
	uint64_t lifetime_ms;
	struct ticket_key current;
	struct ticket_key previous;
};

/* Where a context keeps its keys. Application data, the one place without a number, is the owner's.
 */
static pthread_once_t place_once = PTHREAD_ONCE_INIT;
static int place = -1;

static void find_place(void)
{
	place = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool make_key(struct ticket_key *key, uint64_t until_ms)
{
	key->until_ms = until_ms;
	return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
	       RAND_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
	       RAND_bytes(key->mac, sizeof(key->mac)) == 1;
}

/* The current key sealed last at `sealed_ms`; what it sealed opens for one more lifetime. */
static bool begin_key(struct ticket_keys *keys, uint64_t sealed_ms, uint64_t moment_ms)
{
	struct ticket_key fresh;
	bool made = make_key(&fresh, moment_ms + keys->lifetime_ms);

	if (made) {
		keys->previous = keys->current;
		keys->previous.until_ms = sealed_ms + keys->lifetime_ms;
		keys->current = fresh;
	}
	explicit_bzero(&fresh, sizeof(fresh));
	return made;
}

/* True when the current key may seal. */
static bool age(struct ticket_keys *keys)
{
	uint64_t moment_ms = now_ms();
	uint64_t sealed_ms = keys->current.until_ms;
	bool young = moment_ms < sealed_ms || begin_key(keys, sealed_ms, moment_ms);

	if (moment_ms >= keys->previous.until_ms) {
		explicit_bzero(&keys->previous, sizeof(keys->previous));
	}
	return young;
}

void ticket_keys_age(struct ticket_keys *keys)
{
	pthread_mutex_lock(&keys->lock);
	age(keys);
	pthread_mutex_unlock(&keys->lock);
}

bool ticket_keys_rotate(struct ticket_keys *keys)
{
	uint64_t moment_ms = now_ms();
	uint64_t sealed_ms;
	bool rotated;

	pthread_mutex_lock(&keys->lock);
	sealed_ms = keys->current.until_ms < moment_ms ? keys->current.until_ms : moment_ms;
	rotated = begin_key(keys, sealed_ms, moment_ms);
	pthread_mutex_unlock(&keys->lock);
	return rotated;
}

static bool copy_current(struct ticket_keys *keys, struct ticket_key *key)
{
	bool young;

	pthread_mutex_lock(&keys->lock);
	young = age(keys);
	*key = keys->current;
	pthread_mutex_unlock(&keys->lock);
	return young;
}

/* The key of that name, and whether it is the current one. */
static bool copy_named(struct ticket_keys *keys, const uint8_t *name, struct ticket_key *key,
		       bool *current)
{
	bool known;

	pthread_mutex_lock(&keys->lock);
	*current = age(keys) && memcmp(name, keys->current.name, sizeof(key->name)) == 0;
	known = *current || (keys->previous.until_ms != 0 &&
			     memcmp(name, keys->previous.name, sizeof(key->name)) == 0);
	*key = *current ? keys->current : keys->previous;
	pthread_mutex_unlock(&keys->lock);
	return known;
}

/* What the library wants: -1 fails the handshake, 1 is done. */
static int seal(struct ticket_keys *keys, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
		HMAC_CTX *mac)
{
	struct ticket_key key;
	bool ready = copy_current(keys, &key);

	if (ready) {
		memcpy(name, key.name, sizeof(key.name));
		ready = RAND_bytes(iv, AES_BLOCK_SIZE) == 1 &&
			EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) &&
			HMAC_Init_ex(mac, key.mac, sizeof(key.mac), EVP_sha256(), NULL);
	}
	explicit_bzero(&key, sizeof(key));
	return ready ? 1 : -1;
}

/* 0 leaves a ticket that we do not know unopened, 1 opens it, 2 gives another for it too. */
static int open_ticket(struct ticket_keys *keys, const uint8_t *name, const uint8_t *iv,
		       EVP_CIPHER_CTX *cipher, HMAC_CTX *mac)
{
	struct ticket_key key;
	bool current;
	int outcome = 0;

	if (copy_named(keys, name, &key, &current)) {
		bool ready = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) &&
			     HMAC_Init_ex(mac, key.mac, sizeof(key.mac), EVP_sha256(), NULL);

		outcome = !ready ? -1 : current ? 1 : 2;
	}
	explicit_bzero(&key, sizeof(key));
	return outcome;
}

static int on_ticket(SSL *tls, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
		     int sealing)
{
	struct ticket_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(tls), place);

	return sealing ? seal(keys, name, iv, cipher, mac)
		       : open_ticket(keys, name, iv, cipher, mac);
}

struct ticket_keys *ticket_keys_new(uint64_t lifetime_ms)
{
	struct ticket_keys *keys = calloc(1, sizeof(*keys));

	invariant(lifetime_ms > 0);
	if (keys == NULL) {
		return NULL;
	}
	pthread_mutex_init(&keys->lock, NULL);
	keys->lifetime_ms = lifetime_ms;
	if (!make_key(&keys->current, now_ms() + lifetime_ms)) {
		ticket_keys_free(keys);
		return NULL;
	}
	return keys;
}

bool ticket_keys_serve(struct ticket_keys *keys, struct ssl_ctx_st *context)
{
	/* The last ticket that a key seals opens for one lifetime: none is promised longer. */
	uint64_t seconds = keys->lifetime_ms / 1000;
	uint32_t promised =
		seconds == 0 ? 1 : (uint32_t)(seconds < UINT32_MAX ? seconds : UINT32_MAX);

	pthread_once(&place_once, find_place);
	if (place < 0 || !SSL_CTX_set_ex_data(context, place, keys)) {
		return false;
	}
	SSL_CTX_set_timeout(context, promised);
	SSL_CTX_set_session_psk_dhe_timeout(context, promised);
	return SSL_CTX_set_tlsext_ticket_key_cb(context, on_ticket) == 1;
}

void ticket_keys_free(struct ticket_keys *keys)
{
	if (keys == NULL) {
		return;
	}
	pthread_mutex_destroy(&keys->lock);
	explicit_bzero(keys, sizeof(*keys));
	free(keys);
}
