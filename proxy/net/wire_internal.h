/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket's half of a stream: sending and receiving wire bytes, TLS or not, and the two blocks
 * that keep what cannot go on yet. Shared by wire*.c, stream*.c and dial.c only.
 */
#ifndef GATEPOST_NET_WIRE_INTERNAL_H
#define GATEPOST_NET_WIRE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"

struct source;
struct stream;
struct stream_target;

/* Room for the records of one chunk: 64 KiB of plaintext in 16 KiB records, each with its header,
 * tag and, on TLS 1.2, nonce. */
#define WIRE_SEALED_MAX (65536 + 4096)

/* struct wire_link is a socket on its way to a peer, and the source that it took, NULL where the
 * system chose. */
struct wire_link {
	int fd;
	struct source *source;
};

enum wire_beginning {
	WIRE_CONNECTING, /* the socket can be written to when it is connected, or has failed */
	WIRE_NO_NETWORK, /* this host does not speak the family of the address, or knows no way
			    there */
	WIRE_NO_PORT,    /* at none of the target's sources */
	WIRE_NO_ROOM,    /* this host has no descriptor or no memory for it */
	WIRE_REFUSED,    /* anything else */
};

/* wire_connect begins to connect without blocking. `error` says why where it cannot. */
must_use enum wire_beginning wire_connect(struct wire_link *link,
					  const struct stream_target *target, struct error *error);

/* wire_connected is how that has ended: 0 or an errno. */
must_use int wire_connected(int fd);

/* wire_open makes a socket ready for use: TCP_NODELAY, and keepalive as the worker wants it. */
void wire_open(struct stream *stream, int fd);

/* wire_send sends, or keeps what the socket does not take. Failure is left in error_number. */
void wire_send(struct stream *stream, const void *bytes, size_t length);

/* wire_seal collects TLS records, so that those which belong together leave in one system call with
 * wire_flush. More than WIRE_SEALED_MAX bytes at once are sent by themselves. */
void wire_seal(struct stream *stream, const void *record, size_t length);

/* wire_flush sends what was sealed for `stream`. */
void wire_flush(struct stream *stream);

/* wire_send_spill sends what was kept; true when nothing is left. */
bool wire_send_spill(struct stream *stream);

enum wire_result { WIRE_BYTES, WIRE_LATER, WIRE_END, WIRE_FAILED };

/* wire_receive reads straight from the socket into `bytes`, once per event; errno is set on
 * WIRE_FAILED. */
enum wire_result wire_receive(struct stream *stream, void *bytes, size_t size, size_t *count);

/* wire_read_through is wire_receive through the worker's large buffer: many small reads of the TLS
 * layer cost one system call. */
enum wire_result wire_read_through(struct stream *stream, void *bytes, size_t size, size_t *count);

/* wire_hold moves what is left of `stream` in the worker's buffer to a block of its own, so that
 * another stream may use the buffer. False when memory ran out. */
bool wire_hold(struct stream *stream);

/* wire_put_back keeps bytes that were received before, so that wire_read_through gives them first.
 * Nothing else may wait in the process. False when memory ran out. */
bool wire_put_back(struct stream *stream, const void *bytes, size_t length);

/* wire_is_waiting tells whether the socket has bytes that nobody has received. */
bool wire_is_waiting(const struct stream *stream);

/* wire_has_input tells whether received bytes wait in the process. */
bool wire_has_input(const struct stream *stream);

/* wire_drop wipes and frees both blocks, and takes the stream out of the worker's buffers. */
void wire_drop(struct stream *stream);

#endif
