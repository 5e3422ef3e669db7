/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's contexts, their authorities and the verification of a peer; and the link between a
 * connection and the peer that it must be. Shared by tls_client*.c and stream_tls*.c only.
 */
#ifndef GATEPOST_NET_TLS_CLIENT_INTERNAL_H
#define GATEPOST_NET_TLS_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/base.h>
#include <openssl/pool.h>

#include "net/tls_client.h"

/* tls_link_begin makes the client's side of a connection to `peer`; its BIO's data must be `link`.
 * NULL when memory ran out. */
must_use SSL *tls_link_begin(struct tls_link *link, const struct tls_peer *peer);

/* tls_link_trust ends the handshake: whom the peer must be is forgotten. */
void tls_link_trust(struct tls_link *link, bool resumed);

/* tls_link_offered tells whether a session was offered, until the handshake is over. */
bool tls_link_offered(const struct tls_link *link);

/* tls_link_fail ends a handshake that failed: `why` becomes what is wrong with the certificate, if
 * that is the reason, and the session that was offered is not offered again. */
void tls_link_fail(struct tls_link *link, struct error *why);

/* tls_link_leave is told that nobody waits any longer for the end of a handshake that has begun:
 * perhaps it would never have come, for the session's sake, which is not offered again. */
void tls_link_leave(struct tls_link *link);

void tls_link_done(struct tls_link *link);

/* tls_client_take_t is given the certificates of a file one by one, and may borrow them. */
typedef bool tls_client_take_t(void *context, X509 *certificate);

/* tls_client_read_certificates reads a PEM file of at least one certificate; other blocks are
 * passed over. False, and `error`, also when `take` has failed. */
must_use bool tls_client_read_certificates(const char *path, tls_client_take_t *take, void *context,
					   struct error *error);

/* tls_client_trust_store gives the authorities of a file: a reference that the caller frees. NULL,
 * and `error`, when they cannot be read. */
must_use X509_STORE *tls_client_trust_store(struct tls_client_trust *trust, const char *path,
					    struct error *error);
CRYPTO_BUFFER_POOL *tls_client_trust_pool(struct tls_client_trust *trust);

/* tls_client_verify verifies a chain, leaf first, for a server called `name`. False: `alert` is for
 * the server and `why` for the log. */
must_use bool tls_client_verify(X509_STORE *authorities, const char *name,
				const STACK_OF(CRYPTO_BUFFER) * chain, uint8_t *alert,
				struct error *why);

#endif
