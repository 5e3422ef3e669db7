/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the store share: its parts, and who of them does what.
 *
 *	tls.c           policy, words of the library
 *	tls_load.c      PEM files: chains, keys, authorities of clients
 *	tls_names.c     names of certificates, sorted once
 *	tls_hello.c     what a ClientHello says about names, keys and stapling
 *	tls_select.c    which certificate answers it
 *	tls_ocsp.c      OCSP responses: what they say
 *	tls_staple.c    their files, and when they are exchanged
 *	tls_store.c     all of it built once
 */
#ifndef GATEPOST_NET_TLS_INTERNAL_H
#define GATEPOST_NET_TLS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <openssl/bytestring.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include "net/tls.h"

/* --- Policy and loading ---------------------------------------------------------------------- */

/* struct tls_clients is who may vouch for clients; all zero is nobody, and clients are not asked.
 */
struct tls_clients {
	X509_STORE *authorities;
	STACK_OF(X509_NAME) * names;
	uint8_t digest[SHA256_DIGEST_LENGTH]; /* over all of them */
};

must_use bool tls_clients_load(struct tls_clients *clients, const char *path, struct error *error);
void tls_clients_done(struct tls_clients *clients);

/* tls_policy_set sets all but the certificate. */
must_use bool tls_policy_set(SSL_CTX *context, const struct config_tls_front *config,
			     const struct tls_clients *clients);

/* What a certificate's key is, as far as peers must be able to verify it. */
enum tls_key { TLS_KEY_P256, TLS_KEY_P384, TLS_KEY_P521, TLS_KEY_ED25519, TLS_KEY_RSA };

/* tls_load_certificate gives a context the chain and key; `key` is set when both are well. */
must_use enum tls_load tls_load_certificate(SSL_CTX *context,
					    const struct config_certificate *certificate,
					    enum tls_key *key, struct error *error);

/* --- Names ----------------------------------------------------------------------------------- */

/* Longest name that can match: a longer one is no host name (RFC 1035 section 2.3.4). */
#define TLS_NAME_MAX 255

/* struct tls_names holds every name of every certificate, sorted by name and then by certificate;
 * names are in lower case and have no final dot. All zero holds none. */
struct tls_name {
	char *text;
	size_t certificate;
};

struct tls_names {
	struct tls_name *names;
	size_t count;
	size_t room;
};

/* tls_names_add adds a certificate's names: those of the configuration, else its dNSNames, else its
 * common name. False when memory ran out. tls_names_sort ends it. */
must_use bool tls_names_add(struct tls_names *names, const struct config_certificate *configured,
			    X509 *leaf, size_t certificate);
void tls_names_sort(struct tls_names *names);

/* tls_names_find is where the certificates of a name begin, and how many follow. */
size_t tls_names_find(const struct tls_names *names, const char *text,
		      const struct tls_name **first);
void tls_names_done(struct tls_names *names);

/* --- OCSP ------------------------------------------------------------------------------------ */

/* No response of one certificate is longer. */
#define TLS_OCSP_MAX 65536

/* struct tls_validity: seconds since 1970; from `begin` on, before `end`. */
struct tls_validity {
	int64_t begin;
	int64_t end;
};

/* tls_ocsp_read finds what a successful response (RFC 6960 section 4.2.1) says about a certificate,
 * of which `serial` is the serial number, as a DER INTEGER. A response that does not say until when
 * it is valid is never given out. The signature is the client's to verify. */
must_use bool tls_ocsp_read(CBS response, CBS serial, struct tls_validity *validity,
			    struct error *error);

/* struct tls_staple is the response of one certificate. All zero has none. */
struct tls_staple {
	char *path; /* NULL: none is configured */
	uint8_t *serial;
	size_t serial_length;
	bool known; /* the file was seen, and was then: */
	struct timespec changed;
	off_t size;
	ino_t inode;
	CRYPTO_BUFFER *read; /* what a file says that is well, though perhaps not today */
	struct tls_validity validity;
	CRYPTO_BUFFER *current; /* what handshakes copy: under the lock of the store */
	char told[sizeof(((struct error *)NULL)->text)];
};

/* tls_staple_init names the file. False, and `error`, when it cannot be read: what stands in it is
 * judged, and logged, by the refresh. */
must_use bool tls_staple_init(struct tls_staple *staple, const char *path, X509 *leaf,
			      struct error *error);

/* tls_staple_refresh reads the file if it has changed, and exchanges the response under the lock
 * where another is valid now, or none. */
void tls_staple_refresh(struct tls_staple *staple, pthread_mutex_t *lock);
void tls_staple_done(struct tls_staple *staple);

/* --- The store ------------------------------------------------------------------------------- */

/* struct tls_certificate: a context that shows it, and when it may. */
struct tls_certificate {
	SSL_CTX *context;
	enum tls_key key;
	bool fallback; /* serves where no name fits */
	struct tls_staple staple;
};

/* struct tls_store never changes but for the staples. Handshake threads copy `current` of a staple
 * under `lock`; one thread refreshes, and holds it for the exchange alone. */
struct tls_store {
	SSL_CTX *context; /* accepts; it shows no certificate of its own */
	struct ticket_keys *tickets;
	struct tls_clients clients;
	struct tls_certificate *certificates;
	size_t count;
	struct tls_names names;
	pthread_mutex_t lock;
};

/* struct tls_hello is what decides, out of a ClientHello. */
struct tls_hello {
	char name[TLS_NAME_MAX + 1]; /* in lower case, without a final dot; "" is none */
	bool tls13;
	bool wants_staple;
	CBS ciphers;
	CBS signatures;
	CBS groups;
};

void tls_hello_read(struct tls_hello *hello, const SSL_CLIENT_HELLO *client);

/* tls_hello_verifies tells whether the client can verify a signature of such a key. */
bool tls_hello_verifies(const struct tls_hello *hello, enum tls_key key);

/* tls_select finds the certificate for a ClientHello. */
struct tls_certificate *tls_select(const struct tls_store *store, const struct tls_hello *hello);

/* tls_on_hello is the callback of the accepting context, whose application data is the store. */
enum ssl_select_cert_result_t tls_on_hello(const SSL_CLIENT_HELLO *client);

#endif
