/* SPDX-License-Identifier: Apache-2.0
 *
 * A client and a server that shake hands in memory, and the fronts that the server may have: a
 * folder with certificates, and the configuration that names them.
 */
#ifndef GATEPOST_TESTS_TLS_PAIR_H
#define GATEPOST_TESTS_TLS_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"
#include "support/certified.h"

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

#define TLS_FRONT_MOST 8

/* struct tls_front: make certificates with tls_front_add, and change `config` at will. */
struct tls_front {
	char folder[32];
	struct config_tls_front config;
	struct config_certificate certificates[TLS_FRONT_MOST];
	struct certified certified[TLS_FRONT_MOST];
};

/* tls_front_begin makes an empty one: TLS 1.2 up, ALPN, tickets. */
void tls_front_begin(struct tls_front *front);

/* tls_front_add makes a certificate and its files; it says which one it is. */
size_t tls_front_add(struct tls_front *front, const struct certified_wish *wish);

/* tls_front_path is a path in the folder, which the caller frees; tls_front_end removes what is in
 * there. */
char *tls_front_path(const struct tls_front *front, const char *name);
void tls_front_end(struct tls_front *front);

/* struct tls_pair_settings: what the client says; zero is what it says by itself. */
struct tls_pair_settings {
	uint16_t version;    /* TLS1_2_VERSION...; 0: what both can do */
	const char *name;    /* SNI */
	const char *ciphers; /* of TLS 1.2 */
	const char *groups;
	const uint16_t *signatures; /* that it verifies, ended by 0 */
	bool staple;                /* asks for an OCSP response */
	struct ssl_session_st *session;
	const struct certified *certificate; /* its own */
};

struct tls_pair {
	struct ssl_ctx_st *context; /* of the client */
	struct ssl_st *client;
	struct ssl_st *server;
	bool finished;
	int alert;       /* the fatal one that the client was sent, -1: none */
	int authorities; /* as many are named to a client that is asked, -1: it is not */
	struct ssl_session_st *session; /* the last that the client was given */
	unsigned sessions;              /* how many it was given */
};

/* tls_pair_run shakes hands as far as it goes; then the server sends one byte, behind which tickets
 * come. */
void tls_pair_run(struct tls_pair *pair, struct ssl_ctx_st *server,
		  const struct tls_pair_settings *settings);

/* tls_pair_shown tells which certificate of the front a client that is content saw; -1: none. */
int tls_pair_shown(const struct tls_pair *pair, const struct tls_front *front);

bool tls_pair_resumed(const struct tls_pair *pair);
void tls_pair_done(struct tls_pair *pair);

#endif
