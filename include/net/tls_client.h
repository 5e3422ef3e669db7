/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards backends: whom we trust, who we are, and the sessions that we resume. Contexts are
 * made once, before privileges go, and all workers share them; they never change.
 *
 * BoringSSL is used without its X.509 (TLS_with_buffers_method), which keeps an idle connection at
 * less than half the size; the chain is verified here, during the handshake only.
 */
#ifndef GATEPOST_NET_TLS_CLIENT_H
#define GATEPOST_NET_TLS_CLIENT_H

#include <stdbool.h>

#include "base/base.h"
#include "base/error.h"

struct ssl_session_st;
struct tls_check;
struct tls_client;
struct tls_client_trust;

/* struct tls_client_trust is what all clients of a process share: the authorities of each file
 * once, and the certificates that peers have shown once. One is made at start, and freed when all
 * clients, connections and sessions have gone. NULL when memory ran out. */
must_use struct tls_client_trust *tls_client_trust_new(void);
void tls_client_trust_free(struct tls_client_trust *trust);

/* Where a certificate authority file is "", the system's. */
#define TLS_CLIENT_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* Certificates in the chain that we show. */
#define TLS_CLIENT_CHAIN_MAX 16

/* struct tls_client_settings: paths of PEM files, borrowed for the call. `chain` and `key` are the
 * certificate that we show, "" for none. */
struct tls_client_settings {
	bool verify;
	const char *ca;
	const char *chain;
	const char *key;
};

enum tls_client_fault { TLS_CLIENT_FINE, TLS_CLIENT_CA, TLS_CLIENT_CHAIN, TLS_CLIENT_KEY };

/* tls_client_new loads the files. Every certificate of `ca` is an authority, also one that another
 * has signed. Authorities of one file are held in memory once, however many clients name it; a file
 * that has changed is read again. NULL, `fault` and `error` when one cannot be used. One thread
 * only. */
must_use struct tls_client *tls_client_new(struct tls_client_trust *trust,
					   const struct tls_client_settings *settings,
					   enum tls_client_fault *fault, struct error *error);

/* tls_client_free: connections keep what they need. NULL is fine. */
void tls_client_free(struct tls_client *client);

/* struct tls_session is where one backend's last session is kept, for one worker, one client and
 * one name. Zero is none. A session that was verified for one name is never used for another, since
 * each has a place of its own. There are servers that end every handshake which would come back to
 * a session, instead of a full one: after TLS_SESSION_REFUSALS_MAX of those in a row nothing is
 * kept for the next TLS_SESSION_REST full handshakes. */
struct tls_session {
	struct ssl_session_st *session;
	unsigned refusals;
};

#define TLS_SESSION_REFUSALS_MAX 3
#define TLS_SESSION_REST         100

void tls_session_done(struct tls_session *session);

/* struct tls_peer is whom stream_start_tls_client speaks to. The chain must lead to an authority,
 * and the certificate must name `name`: a host name (RFC 6125, wildcards for one whole leftmost
 * label, no CN) or an IP address (subjectAltName iPAddress). A host name is sent as SNI. With
 * verification off, neither is looked at. */
struct tls_peer {
	struct tls_client *client;
	const char *name;
	struct tls_session *session; /* NULL: resume nothing */
};

/* struct tls_link is what a connection keeps of its peer, embedded in it; zero is none. */
struct tls_link {
	struct tls_session *session; /* where its sessions go, NULL: nowhere */
	struct tls_check *check;     /* whom the peer must be, until the handshake is over */
};

#endif
