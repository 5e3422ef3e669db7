/* SPDX-License-Identifier: Apache-2.0
 *
 * A floor of sessions for tests: one loop, a session set with a real router, and plain sockets that
 * play clients and backends in the test's own thread. The test writes the script;
 * waiting for anything turns the loop, and fails the test only when the program is broken.
 *
 * Users: alice, alice@example.org and carol live on mail1, the scripted backend; dora on one that
 * has TLS from the first byte, and erin on one with STARTTLS, both at rig->secure; stuck on a
 * backend that never takes a connection; nowhere on one that refuses them; loop on the proxy
 * itself; silent on one whose name no DNS server tells. All others are asked of the directory, or
 * unknown where there is none. Whom hash or assign place has mail1, mail2 or mail3. Backends are
 * not probed.
 */
#ifndef GATEPOST_TESTS_SESSION_RIG_H
#define GATEPOST_TESTS_SESSION_RIG_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "routing/route.h"
#include "session/limit.h"
#include "session/session.h"
#include "support/certified.h"
#include "support/session_rig_peers.h"

struct pool;
struct tls_client;
struct tls_client_trust;
struct tls_store;

/* The port that the configuration says is ours; nobody listens there, nor at the next ones. */
#define RIG_LISTENER_PORT 14399

#define RIG_GREETING "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] backend\r\n"
#define RIG_LOGIN    "a LOGIN alice secret\r\n"

/* A backend that leads exchanges, and how alice begins one there. */
#define RIG_MECHANISMS                                                                             \
	"IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=SCRAM-SHA-256"
#define RIG_GREETING_MECHANISMS "* OK [CAPABILITY " RIG_MECHANISMS "] backend\r\n"
#define RIG_EXCHANGE            "AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPXhZWg==\r\n"

/* struct rig_options: NULL and false are the usual. Texts are lines of TOML. */
struct rig_options {
	const char *limits;
	const char *moves;
	const char *health;
	const char *routing;
	const char *backend;         /* for all backends */
	const char *mail1;           /* for mail1 only */
	const char *backend_address; /* of mail1, in place of the scripted backend */
	const char *secure;          /* for dora's and erin's only */
	const char *secure_address;  /* of dora's and erin's, in place of rig->secure */
	const char *dns;             /* "address:port" */
	struct directory *directory; /* see support/fake_directory.h; NULL: source = "static" */
	bool asks_all;               /* of the users above, too */
	unsigned max_sessions;       /* 0: plenty */
};

#define RIG_BACKENDS_MAX 16

/* Nothing that a test waits for takes so long. */
#define RIG_PATIENCE_SECONDS 30

struct session_rig {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct resolver *resolver;
	struct pool *pool;
	struct route_events route_events;
	struct router *router;
	struct metrics metrics;
	struct limit limit;
	struct config *config;
	struct session_set set;
	int backend; /* listening sockets of the test: mail1's, mail2's, mail3's */
	int second;
	int third;
	int secure;
	int stuck;
	int fillers[4];       /* they fill the backlog of `stuck` */
	int front;            /* where clients connect, before session_accept */
	unsigned descriptors; /* that were open before */

	/* Certificates: of the authority, of both the proxy and the backends ("imap.test" and
	 * 127.0.0.1), of a backend that is another, and of the client alice@example.org. */
	struct certified authority;
	struct certified server;
	struct certified stranger;
	struct certified alice;
	char folder[32];
	struct tls_store *store;
	struct tls_client_trust *trust;
	struct tls_client *tls_client;
	struct tls_client *tls_clients[RIG_BACKENDS_MAX];
	struct ssl_ctx_st *backend_tls;
	struct ssl_ctx_st *stranger_tls;
};

void session_rig_open(struct session_rig *rig, const struct rig_options *options);

/* session_rig_close ends what is left, and fails the test where a place in the limit or a
 * descriptor was not given back. Peers are closed before. */
void session_rig_close(struct session_rig *rig);

/* rig_teach lets the router know that mail1 offers such a list before login. */
void rig_teach(struct session_rig *rig, const char *list);

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

/* rig_connect_socket begins to connect to a listening socket of the test. */
int rig_connect_socket(int listening);

#endif
