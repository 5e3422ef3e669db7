/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream with TLS, its owner, and the other end: the stream is TLS's server, or its client.
 */
#ifndef GATEPOST_TESTS_TLS_LINE_H
#define GATEPOST_TESTS_TLS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/stream_world.h"
#include "support/tls_peer.h"

#define MEBIBYTE (1 << 20)

/* What lines carry, and the versions of TLS that they speak. */
extern uint8_t line_pattern[MEBIBYTE];
extern const uint16_t line_versions[2];

/* For cmocka: a group makes the pattern and a certificate, each of its tests begins with a world
 * that has that certificate, and ends with stream_world_end. */
int tls_line_begin_group(void **state);
int tls_line_begin_client_group(void **state); /* the streams are clients */
int tls_line_end_group(void **state);
int tls_line_begin_test(void **state);

struct tls_line {
	struct stream_world *world;
	struct stream_owner owner;
	struct test_peer peer;
};

/* tls_line_begin connects the two, with the context of the world; the handshake is to come. With
 * `small` the sockets take little. `owner` may have been given hooks before. */
void tls_line_begin(struct tls_line *line, struct stream_world *world, uint16_t version,
		    bool small);

/* tls_line_open does so, and returns with the handshake done and nothing on the way. */
void tls_line_open(struct tls_line *line, struct stream_world *world, uint16_t version, bool small);

/* tls_line_send_all puts all that the peer has sealed on the wire, and waits until it has come. */
void tls_line_send_all(struct tls_line *line);

/* tls_line_check_received: the owner has got the first `length` bytes of the pattern. */
void tls_line_check_received(const struct tls_line *line, size_t length);

void tls_line_close(struct tls_line *line);

#endif
