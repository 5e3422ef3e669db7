/* SPDX-License-Identifier: Apache-2.0
 *
 * A floor of sessions for tests: one loop, a session set with a real router, and plain sockets that
 * play clients, a backend and a silent Redis in the test's own thread. The test writes the script;
 * waiting for anything turns the loop, and fails the test only when the program is broken.
 *
 * Users: alice and carol live on mail1, the scripted backend; stuck on a backend that never takes a
 * connection; nowhere on one that refuses them; loop on the proxy itself; silent on one whose name
 * no DNS server tells. All others are asked of the Redis in rig->redis, or unknown with `no_redis`.
 */
#ifndef GATEPOST_TESTS_SESSION_RIG_H
#define GATEPOST_TESTS_SESSION_RIG_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "session/limit.h"
#include "session/session.h"

/* The port that the configuration says is ours; nobody listens there. */
#define RIG_LISTENER_PORT 14399

#define RIG_GREETING "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] backend\r\n"
#define RIG_LOGIN "a LOGIN alice secret\r\n"

/* struct rig_peer is the test's end of a connection; zero fields and fd -1 are "none". */
struct rig_peer {
	int fd;
	struct buffer heard; /* and not yet expected */
	bool ended;          /* FIN or reset was read */
	bool reset;
};

/* struct rig_options: NULL and false are the usual. Texts are lines of TOML. */
struct rig_options {
	const char *limits;
	const char *redis;
	const char *backend;         /* for all backends */
	const char *backend_address; /* of mail1, in place of the scripted backend */
	const char *dns;             /* "address:port" */
	bool no_redis;               /* source = "static" */
	unsigned max_sessions;       /* 0: plenty */
};

struct session_rig {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct resolver *resolver;
	struct router *router;
	struct metrics metrics;
	struct limit limit;
	struct config *config;
	struct ssl_ctx_st *tls;
	struct session_set set;
	int backend;   /* listening sockets of the test */
	int redis;
	int stuck;
	int fillers[4]; /* they fill the backlog of `stuck` */
	int front;      /* where clients connect, before session_accept */
	unsigned descriptors; /* that were open before */
};

void session_rig_open(struct session_rig *rig, const struct rig_options *options);

/* session_rig_close ends what is left, and fails the test where a place in the limit or a
 * descriptor was not given back. Peers are closed before. */
void session_rig_close(struct session_rig *rig);

/* rig_wait turns the loop until `done(context)`; rig_turn turns it once, without waiting. */
typedef bool rig_condition_t(struct session_rig *rig, const void *context);
void rig_wait(struct session_rig *rig, rig_condition_t *done, const void *context);
void rig_turn(struct session_rig *rig);

/* rig_settle turns it until all that can happen without time has very likely happened: for what
 * must not happen. */
void rig_settle(struct session_rig *rig);

/* rig_wait_phase waits until `count` sessions are in a phase; rig_wait_gone until none is left and
 * all places were given back. */
void rig_wait_phase(struct session_rig *rig, enum session_phase phase, unsigned count);
void rig_wait_gone(struct session_rig *rig);
unsigned rig_count(const struct session_rig *rig, enum session_phase phase);

/* A new client, plain, of TLS (whose handshake never goes on), or over a Unix socket. */
void rig_connect(struct session_rig *rig, struct rig_peer *client);
void rig_connect_tls(struct session_rig *rig, struct rig_peer *client);
void rig_connect_unix(struct session_rig *rig, struct rig_peer *client);

/* rig_accept waits for a connection to a listening socket of the rig. */
void rig_accept(struct session_rig *rig, int listening, struct rig_peer *peer);

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

void rig_half_close(struct rig_peer *peer);
void rig_hang_up(struct rig_peer *peer); /* FIN, unless something was not read */
void rig_reset(struct rig_peer *peer);
void rig_forget(struct rig_peer *peer); /* frees; closes what is open */

/* rig_log_in takes a new client and a new connection of the backend to RELAYING. */
void rig_log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend);

/* rig_reach takes a new client to a phase, and `backend` where the backend plays a part in it. */
void rig_reach(struct session_rig *rig, enum session_phase phase, struct rig_peer *client,
	       struct rig_peer *backend);

#endif
