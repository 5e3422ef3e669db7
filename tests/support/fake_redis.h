/* SPDX-License-Identifier: Apache-2.0
 *
 * A Redis of a test's own, in the test's process and loop: it reads commands and answers what the
 * test says, however wrong. Faults of the test itself fail the running cmocka test.
 */
#ifndef GATEPOST_TESTS_FAKE_REDIS_H
#define GATEPOST_TESTS_FAKE_REDIS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define FAKE_REDIS_WORDS_MAX 8

struct fake_redis;
struct ssl_ctx_st;
struct test_peer;

/* Called with every whole command: its words, joined by single spaces. */
typedef void fake_redis_command_t(struct fake_redis *fake, const char *command);

/* struct fake_redis serves one connection at a time; a new one replaces the old. */
struct fake_redis {
	struct ev_loop *loop;
	struct ev_io listener;
	struct ev_io client; /* fd is -1 when there is none */
	struct buffer input;
	fake_redis_command_t *on_command;
	bool hears_pings;       /* PING too; otherwise it is answered at once, and not counted */
	bool deaf;              /* what comes is kept in `input` and not looked at */
	void *context;          /* the test's */
	uint16_t port;          /* 0: a Unix socket */
	char path[108];         /* of the Unix socket */
	struct ssl_ctx_st *tls; /* of further connections, its own; NULL: none */
	struct test_peer *peer; /* of the connection that there is */
	unsigned accepted;      /* connections so far */
	unsigned commands;      /* so far, over all connections */
};

/* fake_redis_open listens on 127.0.0.1 (`port` 0: any), or on a Unix socket when `path` is not
 * NULL. */
void fake_redis_open(struct fake_redis *fake, struct ev_loop *loop, uint16_t port, const char *path,
		     fake_redis_command_t *on_command);

/* fake_redis_send sends raw bytes to the connection that there is. */
void fake_redis_send(struct fake_redis *fake, const char *text);
void fake_redis_send_bytes(struct fake_redis *fake, const void *bytes, size_t length);

/* fake_redis_forget_tls: further connections have none. */
void fake_redis_forget_tls(struct fake_redis *fake);

/* fake_redis_hang_up closes the connection; fake_redis_close the listener too. */
void fake_redis_hang_up(struct fake_redis *fake);
void fake_redis_close(struct fake_redis *fake);

#endif
