/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS's other end, client or server, with every byte in the test's hands, and certificates made on
 * the spot. What it would send is collected in `outgoing`; tls_peer_pump moves it, and what the
 * socket has, or the test moves bytes itself.
 */
#ifndef GATEPOST_TESTS_TLS_PEER_H
#define GATEPOST_TESTS_TLS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct certified;
struct ssl_ctx_st;
struct ssl_st;
struct ssl_session_st;
struct tls_store;

struct tls_peer_settings {
	uint16_t version;                 /* TLS1_2_VERSION...; 0: what both can do */
	const char *alpn;                 /* with length bytes; NULL: none */
	const char *name;                 /* SNI, NULL: none */
	struct ssl_session_st *session;   /* to resume, NULL: none */
	struct ssl_ctx_st *server;        /* whose server it is, NULL: it is a client */
	const struct certified *identity; /* a client's certificate, NULL: none */
};

struct test_peer {
	struct ssl_ctx_st *context;
	struct ssl_st *tls;
	int fd;
	bool hand_written;              /* tls_peer_pump leaves `outgoing` to the test */
	bool deaf;                      /* tls_peer_pump does not read */
	size_t most;                    /* bytes read by one pump, 0: all */
	bool finished;                  /* the handshake is over */
	bool closed;                    /* close_notify was read */
	bool fin;                       /* FIN was read */
	bool reset;                     /* so was a reset */
	int alert;                      /* the last fatal alert that was read, -1: none */
	struct buffer received;         /* plaintext */
	struct buffer outgoing;         /* wire bytes */
	struct ssl_session_st *session; /* the last that the server gave; the peer's own */
};

/* tls_peer_open prepares a client, or a server, over a connected socket, which it owns from now on.
 */
void tls_peer_open(struct test_peer *peer, int fd, const struct tls_peer_settings *settings);

/* tls_peer_pump moves what can be moved without waiting; true when something moved. */
bool tls_peer_pump(struct test_peer *peer);

/* tls_peer_write seals bytes, in records of at most `record` bytes each (0: as large as may be). */
void tls_peer_write(struct test_peer *peer, const void *bytes, size_t length, size_t record);

/* tls_peer_send puts `count` bytes of `outgoing` on the wire. */
void tls_peer_send(struct test_peer *peer, size_t count);

/* tls_peer_update asks the server for a KeyUpdate of its own too. tls_peer_end sends
 * close_notify. */
void tls_peer_update(struct test_peer *peer);
void tls_peer_end(struct test_peer *peer);

void tls_peer_close(struct test_peer *peer);

/* reset_connection closes a socket so that the peer sees a reset. */
void reset_connection(int fd);

/* struct tls_files: a folder with certificate and key, and other keys. */
struct tls_files {
	struct tls_store *store; /* of tls_files_context */
	char folder[32];
	char chain[64];
	char key[64];
	char other_key[64];
	char rsa_key[64];
};

/* tls_files_make writes a chain whose further certificates fill about `padding` bytes. */
void tls_files_make(struct tls_files *files, size_t padding);
void tls_files_remove(struct tls_files *files);

/* tls_files_context loads them as the program does: TLS 1.2 up, tickets, ALPN. The context lives
 * until tls_files_remove. */
struct ssl_ctx_st *tls_files_context(struct tls_files *files);

#endif
