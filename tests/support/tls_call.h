/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream that is TLS's client, its owner, and the server at its other end.
 */
#ifndef GATEPOST_TESTS_TLS_CALL_H
#define GATEPOST_TESTS_TLS_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls_client.h"
#include "support/certified.h"
#include "support/stream_world.h"
#include "support/tls_peer.h"

#define CALL_NAME "mail1.example"

/* What all tests of a group have: an authority, a server named CALL_NAME that it has signed, and
 * the files that the program would be given. */
struct call_house {
	char folder[32];
	char ca[64];
	char chain[64];
	char key[64];
	struct certified authority;
	struct certified server;
	struct ssl_ctx_st *context; /* of the server */
	struct tls_client_trust *trust;
	struct tls_client *client; /* trusts the authority */
};

extern struct call_house call_house;

int call_house_begin(void **state);
int call_house_end(void **state);

/* call_house_path is that of a file in the house's folder, which the test removes. */
void call_house_path(char path[64], const char *name);

/* call_house_client makes a client of the house's files; the caller frees it. */
struct tls_client *call_house_client(bool verify, const char *ca, bool shows_certificate);

struct tls_call {
	struct stream_world *world;
	struct stream_owner owner;
	struct test_peer peer;
	/* For tls_call_begin; NULL or 0: as the house has it. */
	struct ssl_ctx_st *server;
	struct tls_client *client;
	const char *name;
	struct tls_session *session;
	uint16_t version;
	bool small; /* the sockets take little */
};

/* tls_call_begin connects the two and starts TLS; the handshake is to come. */
void tls_call_begin(struct tls_call *call, struct stream_world *world);

/* tls_call_open does so, and returns with the handshake done and nothing on the way. */
void tls_call_open(struct tls_call *call, struct stream_world *world);

void tls_call_close(struct tls_call *call);

#endif
