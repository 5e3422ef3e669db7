/* SPDX-License-Identifier: Apache-2.0
 *
 * Those whom a session rig's sessions speak to: clients and backends as sockets of the test, bare
 * or with TLS. What is heard of one with TLS is what was in it.
 */
#ifndef GATEPOST_TESTS_SESSION_RIG_PEERS_H
#define GATEPOST_TESTS_SESSION_RIG_PEERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "session/session.h"

struct certified;
struct session_rig;
struct ssl_ctx_st;
struct test_peer;

/* struct rig_peer is the test's end of a connection; zero fields and fd -1 are "none". */
struct rig_peer {
	int fd;
	struct test_peer *tls; /* NULL where it has none */
	struct buffer heard;   /* and not yet expected */
	bool ended;            /* FIN, close_notify or reset was read */
	bool reset;
};

/* The listeners of a rig. Those of PROXY believe 127.0.0.0/8, but for RIG_PROXY_STRANGERS. */
enum rig_listener {
	RIG_PLAIN,
	RIG_TLS,
	RIG_UNIX,
	RIG_STARTTLS, /* the x- keys of ID are believed there, and at RIG_WEBMAIL */
	RIG_PROXY,    /* 192.0.2.0/24 is trusted too */
	RIG_PROXY_TLS,
	RIG_PROXY_IN_FRONT,  /* tls = "none", and no logins in the clear */
	RIG_PROXY_STRANGERS, /* believes 10.0.0.0/8 only */
	RIG_WEBMAIL,
	RIG_LISTENER_COUNT
};

/* rig_connect_to connects a new client, whose TLS, if any, does not begin yet. The others do so
 * with one listener; a Unix client comes from a socket pair. */
void rig_connect_to(struct session_rig *rig, enum rig_listener listener, struct rig_peer *client);
void rig_connect(struct session_rig *rig, struct rig_peer *client);
void rig_connect_tls(struct session_rig *rig, struct rig_peer *client);
void rig_connect_unix(struct session_rig *rig, struct rig_peer *client);

/* rig_accept waits for a connection to a listening socket of the rig. */
void rig_accept(struct session_rig *rig, int listening, struct rig_peer *peer);

/* rig_begin_tls makes a peer TLS's client, with a certificate where `identity` is not NULL, and
 * rig_serve_tls its server, by the certificate of `context` (NULL: the rig's). Nothing is sent
 * before the peer hears. rig_secure and rig_serve wait for the end of the handshake too. */
void rig_begin_tls(struct rig_peer *peer, const struct certified *identity);
void rig_serve_tls(struct session_rig *rig, struct rig_peer *peer, struct ssl_ctx_st *context);
void rig_secure(struct session_rig *rig, struct rig_peer *peer, const struct certified *identity);
void rig_serve(struct session_rig *rig, struct rig_peer *peer, struct ssl_ctx_st *context);

/* rig_expect waits until `text` was heard, and drops it with all before it. rig_expect_only fails
 * where anything else was heard before it. rig_expect_end waits for FIN or reset. */
void rig_expect(struct session_rig *rig, struct rig_peer *peer, const char *text);
void rig_expect_only(struct session_rig *rig, struct rig_peer *peer, const char *text);
void rig_expect_end(struct session_rig *rig, struct rig_peer *peer);

/* rig_hear reads what there is. */
void rig_hear(struct rig_peer *peer);
bool rig_has_heard(const struct rig_peer *peer, const char *text);

/* rig_say sends all, turning the loop while the socket is full. */
void rig_say(struct session_rig *rig, struct rig_peer *peer, const char *text);
void rig_say_bytes(struct session_rig *rig, struct rig_peer *peer, const void *bytes,
		   size_t length);

/* rig_say_cut says bytes in two parts of which the first is `cut` long; where they are not so long,
 * in single bytes. rig_begin_tls_behind does so with bytes and, in the same segment, the
 * ClientHello; the client has TLS then. */
void rig_say_cut(struct session_rig *rig, struct rig_peer *peer, const struct buffer *bytes,
		 size_t cut);
void rig_begin_tls_behind(struct session_rig *rig, struct rig_peer *client, const void *bytes,
			  size_t length, size_t cut);

void rig_half_close(struct rig_peer *peer);
void rig_hang_up(struct rig_peer *peer); /* FIN, unless something was not read */
void rig_reset(struct rig_peer *peer);
void rig_forget(struct rig_peer *peer); /* frees; closes what is open */

/* rig_log_in takes a new client and a new connection of the backend to RELAYING. */
void rig_log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend);

/* rig_reach takes a new client to a phase, and `backend` where the backend plays a part in it.
 * SECURING is that of STARTTLS, CHALLENGED that of RIG_EXCHANGE. */
void rig_reach(struct session_rig *rig, enum session_phase phase, struct rig_peer *client,
	       struct rig_peer *backend);

#endif
