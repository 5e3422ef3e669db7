/* SPDX-License-Identifier: Apache-2.0
 *
 * A connected byte stream without blocking, plain or TLS, and the one place that knows which: the
 * owner reads, writes and half-closes, and is told of events through a table of functions.
 *
 * Nothing is buffered for an idle stream. Reading pulls through a buffer that all streams of a
 * worker share; what could not be sent at once is kept as one exact block of wire bytes (the
 * spill) until the socket takes it. The owner keeps the spill bounded by not producing more while
 * stream_is_congested().
 *
 * Death is in two steps: stream_close() ends everything at once and no event follows; the memory
 * may go when the owner's, but not in the same turn of the loop.
 */
#ifndef GATEPOST_NET_STREAM_H
#define GATEPOST_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"
#include "net/stream_facts.h"
#include "net/stream_loop.h"
#include "net/stream_state.h"

struct source_pool;
struct ssl_ctx_st;
struct tls_peer;

/* struct stream_events is how a stream speaks to its owner. Every function may close the stream. */
struct stream_events {
	/* Connected, or the TLS handshake is over: reading and writing are allowed. Called once for
	 * each. */
	void (*ready)(struct stream *stream);
	/* Bytes, or the end, can be read: call stream_read. Level-triggered: comes again while
	 * something is left. */
	void (*readable)(struct stream *stream);
	/* The spill has left; stream_is_congested() is false again. */
	void (*drained)(struct stream *stream);
	/* Connecting, handshake or sending failed; `why` is for the log. The owner may close the
	 * stream and connect it anew; otherwise it is closed when this returns. */
	void (*failed)(struct stream *stream, const struct error *why);
};

/* stream_accept takes ownership of a connected, non-blocking `fd`. With `context` the server side
 * of a TLS handshake begins; without it the stream is open, and `ready` is called before
 * stream_accept returns. False (fd closed) when memory ran out. */
must_use bool stream_accept(struct stream *stream, struct stream_loop *shared, int fd,
			    struct ssl_ctx_st *context, const struct stream_events *events);

/* struct stream_target is an address, or, where that is NULL, the path of a Unix socket. `sources`
 * is where the connection comes from; NULL: the system chooses. The stream keeps what it takes of
 * them until it is closed. */
struct stream_target {
	const struct addr *address;
	const char *path;
	struct source_pool *sources;
};

/* stream_connect begins to connect to `target`, borrowed for the call. False, and `error`, when
 * that fails at once; otherwise ready or failed follows, never before stream_connect returns. */
must_use bool stream_connect(struct stream *stream, struct stream_loop *shared,
			     const struct stream_target *target, const struct stream_events *events,
			     struct error *error);

/* stream_adopt takes over a connected, non-blocking `fd`, and the source that it comes from (or
 * NULL) to be given back when the stream is closed. `ready` is called before it returns. */
void stream_adopt(struct stream *stream, struct stream_loop *shared, int fd, struct source *source,
		  const struct stream_events *events);

/* stream_release closes the stream, but for the descriptor and its source, which are the caller's
 * then: for stream_adopt, as a stream of wire bytes. What was not sent yet is not. -1 where it is
 * not open. */
int stream_release(struct stream *stream, struct source **source);

/* stream_start_tls makes an open stream TLS's server. Its first bytes are `length` bytes at
 * `early`, which the owner has read already; then come those of the socket. `ready` or `failed`
 * follows, never before it returns. False when memory ran out. */
must_use bool stream_start_tls(struct stream *stream, struct ssl_ctx_st *context, const void *early,
			       size_t length);

/* stream_start_tls_client makes an open stream TLS's client. What the peer sent before and nobody
 * has read is an attack (it came in the clear): the handshake fails on it. `ready` or `failed`
 * follows, never before it returns; `failed` also where the peer's certificate does not verify.
 * `peer` is borrowed for the call but for its session, which lives as long as the stream. False as
 * above. */
must_use bool stream_start_tls_client(struct stream *stream, const struct tls_peer *peer);

enum stream_read_result {
	STREAM_READ_BYTES, /* *count > 0 bytes were read */
	STREAM_READ_LATER, /* nothing more now: `readable` will be called */
	STREAM_READ_END,   /* the peer closed its side in order (FIN, or close_notify under TLS) */
	STREAM_READ_TRUNCATED, /* TLS: FIN without close_notify */
	STREAM_READ_FAILED,    /* reset or protocol error; `error` says which */
};

/* stream_read reads up to `size` bytes (at most STREAM_CHUNK_MAX). One call of `readable` receives
 * from the socket at most once (twice where the stream sips), so that no stream starves the others;
 * reading on until STREAM_READ_LATER is cheap and expected, stopping earlier is allowed. */
enum stream_read_result stream_read(struct stream *stream, void *bytes, size_t size, size_t *count,
				    struct error *error);

/* stream_set_reading switches the `readable` events on or off (back-pressure). Bytes that TLS
 * already holds are reported too once it is on again. */
void stream_set_reading(struct stream *stream, bool wanted);

/* stream_set_sipping: under TLS no more than STREAM_SIP_MAX bytes are received beyond the record
 * that is being read, so that hardly more is kept of what the owner does not read on for. For peers
 * that are strangers yet; a fast peer is slower so. */
void stream_set_sipping(struct stream *stream, bool wanted);

/* stream_set_reads_out: should sending fail, `failed` is told only when the owner has read all that
 * the peer sent before, however long the owner keeps its reading off. */
void stream_set_reads_out(struct stream *stream);

/* stream_write takes all `length` bytes: sends what the socket takes, keeps the rest as spill.
 * `bytes` may be the shared chunk. A failure is told by `failed`, later in this turn, never from
 * within stream_write. */
void stream_write(struct stream *stream, const void *bytes, size_t length);

/* stream_is_congested tells whether something written has not left yet. */
bool stream_is_congested(const struct stream *stream);

/* stream_is_connected tells whether it is connected, with TLS where that was begun. */
bool stream_is_connected(const struct stream *stream);

/* stream_has_ended tells whether stream_read has reported the end, of whatever kind. */
bool stream_has_ended(const struct stream *stream);

/* How our side of a stream ends: in order, or cut off, which under TLS the peer can tell. */
enum stream_ending { STREAM_ENDING_CLEAN, STREAM_ENDING_CUT };

/* stream_shutdown ends our side: what was written is sent, then close_notify (TLS, clean endings
 * only), then FIN. Reading goes on. Idempotent. */
void stream_shutdown(struct stream *stream, enum stream_ending ending);

/* stream_set_events hands the stream to another part of its owner. */
void stream_set_events(struct stream *stream, const struct stream_events *events);

/* stream_close ends everything now: watchers, descriptor, TLS state, blocks (wiped). Idempotent. */
void stream_close(struct stream *stream);

#endif
