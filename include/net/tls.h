/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards clients: certificates and policy. A store is built once and all workers share it; its
 * contexts never change, but for the OCSP responses, which are exchanged whole. Early data and
 * renegotiation are never on.
 */
#ifndef GATEPOST_NET_TLS_H
#define GATEPOST_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"

struct config_certificate;
struct config_tls_front;
struct ssl_ctx_st;
struct tls_store;

/* tls_store_new loads the configured certificates with their keys and sets the policy:
 *
 *	versions      1.2 or 1.3 and up, as configured (RFC 9051 section 11.1, RFC 9325)
 *	suites        AEAD with forward secrecy only, ECDSA before RSA
 *	groups        X25519MLKEM768 where the library has it, X25519, P-256, P-384
 *	certificate   by SNI: those with the exact name, else with a wildcard for its first label,
 *	              else the first of the configuration and those that have the same names; among
 *	              them an ECDSA one where the client takes it, else RSA
 *	ALPN          "imap"; a client that offers only others gets no_application_protocol (RFC
 *	              7301)
 *	tickets       one per handshake, under the keys of net/ticket.h; a session resumes only
 *	              under the certificate and the policy that it was made with (RFC 8446 section
 *	              8.1)
 *	clients       asked for a certificate where tls.client_ca is set; one that does not verify
 *	              ends the handshake, none does not
 *
 * NULL, and `error`, when something cannot be loaded. */
must_use struct tls_store *tls_store_new(const struct config_tls_front *config,
					 struct error *error);

/* tls_store_context is what stream_accept and stream_start_tls take; it lives as long as the store.
 */
struct ssl_ctx_st *tls_store_context(const struct tls_store *store);

/* tls_store_refresh reads those OCSP responses again whose files have changed. One that cannot be
 * read, is no response for its certificate, or is not current leaves the certificate without one,
 * and the log says so once. Call it from one thread, every TLS_REFRESH_SECONDS. */
void tls_store_refresh(struct tls_store *store);

#define TLS_REFRESH_SECONDS 30.0

/* tls_store_free: connections keep their contexts, but no handshake goes on. NULL is fine. */
void tls_store_free(struct tls_store *store);

/* What of the front is at fault. */
enum tls_load { TLS_LOADED, TLS_BAD_CHAIN, TLS_BAD_KEY, TLS_BAD_OCSP, TLS_BAD_CLIENT_CA };

/* tls_check_certificate loads the files of one certificate as tls_store_new does, and keeps
 * nothing; tls_check_client_ca does so for the authorities of clients. An OCSP response that can be
 * read but not used is no fault: the log says so. */
must_use enum tls_load tls_check_certificate(const struct config_certificate *certificate,
					     struct error *error);
must_use enum tls_load tls_check_client_ca(const char *path, struct error *error);

/* tls_set_groups sets the key exchanges, as above; for both sides. */
must_use bool tls_set_groups(struct ssl_ctx_st *context);

/* tls_error_set describes the last failed call on this thread and clears the library's queue;
 * `otherwise` serves where the library has nothing to say. */
void tls_error_set(struct error *error, const char *otherwise);

/* tls_library_version names the TLS library that is loaded. Static text. */
const char *tls_library_version(void);

#endif
