/* SPDX-License-Identifier: Apache-2.0
 *
 * All that probes need around them, with a backend at their other end that says what a test wants,
 * in one loop.
 */
#ifndef GATEPOST_TESTS_PROBE_WORLD_H
#define GATEPOST_TESTS_PROBE_WORLD_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../proxy/routing/probe_internal.h"
#include "base/buffer.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "routing/backend.h"
#include "support/fake_dns.h"

struct ssl_ctx_st;

/* Connections that one backend takes in one test. */
#define SCRIPTED_LINES_MAX 1024

/* Deadlines long enough never to pass by accident, and one whose passing is the point. */
#define PROBE_PATIENT_MS 20000
#define PROBE_SHORT_MS   60

struct scripted_line {
	struct stream stream;
	struct scripted_backend *backend;
	struct buffer input;
	bool header_read;
};

/* struct scripted_backend: what it says may be changed at any time; NULL is silence. */
struct scripted_backend {
	struct probe_world *world;
	struct ev_io listener;
	uint16_t port;
	const char *greeting;
	const char *capabilities; /* all that answers CAPABILITY, but for the tag of the OK */
	const char *secured;      /* the same behind STARTTLS; NULL: as before */
	const char *starttls;     /* behind the tag, "OK begin" */
	const char *login;        /* behind the tag of LOGIN, "OK in" */
	bool implicit;            /* TLS from the first byte */
	bool expects_header;      /* of the PROXY protocol */
	bool drops;               /* closes at once */
	bool stays;               /* does not close behind LOGOUT */
	struct scripted_line lines[SCRIPTED_LINES_MAX];
	unsigned accepted;
	unsigned logouts;
	unsigned headers;    /* PROXY headers that were LOCAL */
	struct buffer heard; /* lines of all connections, tags and CRLF cut off, a newline each */
};

struct probe_world {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct fake_dns dns;
	struct resolver *resolver;
	struct metrics metrics;
	struct probe_house house;
	struct scripted_backend scripted;
	struct ssl_ctx_st *context; /* of the scripted backend */
};

/* A cmocka setup and its teardown; the state is the struct probe_world. The backend greets with
 * SCRIPTED_GREETING. */
int probe_world_begin(void **state);
int probe_world_end(void **state);

#define SCRIPTED_GREETING "* OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN] hello\r\n"

/* probe_world_serve_tls gives the backend a certificate. */
void probe_world_serve_tls(struct probe_world *world, const char *chain, const char *key);

/* probe_world_backend makes a backend of the configuration at "127.0.0.1" or any other host, and
 * the port of the scripted one where `port` is 0; the test owns it. */
struct backend *probe_world_backend(struct probe_world *world, const char *name, const char *host,
				    uint16_t port);

/* scripted_heard is what was heard so far. */
const char *scripted_heard(struct scripted_backend *scripted);

uint64_t probe_world_counted(const struct probe_world *world, enum metric metric);

/* probe_world_free_port is a port where nobody listens. */
uint16_t probe_world_free_port(void);

#endif
