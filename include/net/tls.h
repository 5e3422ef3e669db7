/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards clients: certificates and policy, loaded once into contexts that never change
 * afterwards and that all workers share. Early data and renegotiation are never on.
 */
#ifndef GATEPOST_NET_TLS_H
#define GATEPOST_NET_TLS_H

#include "base/base.h"
#include "base/error.h"

struct config_certificate;
struct config_tls_front;
struct ssl_ctx_st;

/* tls_context_new loads the configured certificate with its key and sets the policy: TLS 1.2 or
 * 1.3 as configured, AEAD suites with forward secrecy only (RFC 9325 section 4.2), ALPN "imap"
 * (RFC 7301; a client that offers others only gets the fatal alert no_application_protocol), one
 * session ticket under keys that the library rotates. NULL, and `error`, when a file cannot be
 * read or the key is not the certificate's. Give it back with tls_context_free. */
must_use struct ssl_ctx_st *tls_context_new(const struct config_tls_front *config,
					    struct error *error);

/* What of a certificate is at fault. */
enum tls_load { TLS_LOADED, TLS_BAD_CHAIN, TLS_BAD_KEY };

/* tls_check_certificate loads both files as tls_context_new does, and keeps nothing. */
must_use enum tls_load tls_check_certificate(const struct config_certificate *certificate,
					     struct error *error);

/* tls_context_free gives one reference back; connections keep their own. NULL is fine. */
void tls_context_free(struct ssl_ctx_st *context);

/* tls_error_set describes the last failed call on this thread and clears the library's queue;
 * `otherwise` serves where the library has nothing to say. */
void tls_error_set(struct error *error, const char *otherwise);

/* tls_library_version names the TLS library that is loaded. Static text. */
const char *tls_library_version(void);

#endif
