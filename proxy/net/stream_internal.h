/* SPDX-License-Identifier: Apache-2.0
 *
 * The TLS half of a stream: what stream.c, which knows of events and phases, asks of it. It neither
 * calls the owner nor changes the phase. Shared by stream.c and stream_tls*.c only.
 */
#ifndef GATEPOST_NET_STREAM_INTERNAL_H
#define GATEPOST_NET_STREAM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "net/stream.h"

struct bio_method_st;

/* stream_tls_method_new makes what stands between the library and the wire; one per worker. */
struct bio_method_st *stream_tls_method_new(void);
void stream_tls_method_free(struct bio_method_st *method);

/* stream_tls_serve and stream_tls_call make a stream TLS's server, or its client; nothing is sent
 * or received yet. False when memory ran out: the stream is as it was. */
must_use bool stream_tls_serve(struct stream *stream, struct ssl_ctx_st *context);
must_use bool stream_tls_call(struct stream *stream, const struct tls_peer *peer);

enum stream_tls_step { STREAM_TLS_OPEN, STREAM_TLS_LATER, STREAM_TLS_FAILED };

/* stream_tls_shake goes on with the handshake as far as the input reaches. `why` on failure. */
enum stream_tls_step stream_tls_shake(struct stream *stream, struct error *why);

/* stream_tls_break_off ends a handshake of which something could not be sent, for `why`. */
void stream_tls_break_off(struct stream *stream, struct error *why);

/* stream_tls_has_input tells whether TLS holds what the owner has not been told and no socket will
 * tell: bytes, or an end. */
bool stream_tls_has_input(const struct stream *stream);

/* stream_tls_read is stream_read under TLS, but that an end is not noted. */
enum stream_read_result stream_tls_read(struct stream *stream, void *bytes, size_t size,
					size_t *count, struct error *error);

/* stream_tls_write seals all `length` bytes. */
void stream_tls_write(struct stream *stream, const void *bytes, size_t length);

/* stream_tls_end seals close_notify. */
void stream_tls_end(struct stream *stream);

/* stream_tls_done frees what TLS has of a stream. */
void stream_tls_done(struct stream *stream);

#endif
