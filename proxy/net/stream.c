/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams: connecting, reading, writing, ending, and which events of the loop are wanted for it.
 * The records of TLS are made in stream_tls.c, the bytes of both go through wire.c.
 */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/source_pool.h"
#include "stream_internal.h"
#include "wire_internal.h"

bool stream_loop_init(struct stream_loop *shared, struct ev_loop *loop, unsigned keepalive_seconds)
{
	*shared = (struct stream_loop){.loop = loop, .keepalive_seconds = keepalive_seconds};
	shared->chunk = malloc(STREAM_CHUNK_MAX);
	shared->cipher = malloc(STREAM_CHUNK_MAX);
	shared->sealed = malloc(WIRE_SEALED_MAX);
	shared->bio_method = stream_tls_method_new();
	if (shared->chunk != NULL && shared->cipher != NULL && shared->sealed != NULL &&
	    shared->bio_method != NULL) {
		return true;
	}
	stream_loop_done(shared);
	return false;
}

void stream_loop_done(struct stream_loop *shared)
{
	free(shared->chunk);
	free(shared->cipher);
	free(shared->sealed);
	stream_tls_method_free(shared->bio_method);
	*shared = (struct stream_loop){0};
}

/* --- Which events are wanted ---------------------------------------------------------------- */

static bool has_input(const struct stream *stream)
{
	return wire_has_input(stream) || (stream->tls != NULL && stream_tls_has_input(stream));
}

/* Sending failed, but the owner will read on first: the failure waits for it. */
static bool failure_waits(const struct stream *stream)
{
	return stream->phase == STREAM_OPEN && stream->reads_out && !stream->reading &&
	       !stream->end_told && stream->error_number != ENOMEM;
}

/* There is something to be done which no socket will tell. */
static bool may_go_on(const struct stream *stream)
{
	if (stream->phase == STREAM_HANDSHAKE) {
		return stream->spill_length == 0 && (stream->hello_due || wire_has_input(stream));
	}
	return stream->phase == STREAM_OPEN && stream->reading && has_input(stream);
}

static int wanted_events(const struct stream *stream)
{
	int events = 0;

	if (stream->error_number != 0) {
		return 0; /* the socket would report its failure for ever */
	}
	switch (stream->phase) {
	case STREAM_CONNECTING:
		return EV_WRITE;
	case STREAM_HANDSHAKE:
		/* What the peer says is read when it has taken what we said: see dispatch. */
		return stream->spill_length > 0 ? EV_WRITE : EV_READ;
	default:
		events = stream->reading ? EV_READ : 0;
	}
	return stream->spill_length > 0 ? events | EV_WRITE : events;
}

/* Brings the watcher up to date. Stopping it forgets events that were fed, so those that the socket
 * will not repeat are fed again: input that is already in the process, and failure. */
static void update_watcher(struct stream *stream)
{
	struct ev_loop *loop = stream->shared->loop;
	int events = wanted_events(stream);

	if (stream->phase == STREAM_CLOSED) {
		return;
	}
	if (events != (stream->watcher.events & (EV_READ | EV_WRITE)) ||
	    (events != 0) != ev_is_active(&stream->watcher)) {
		ev_io_stop(loop, &stream->watcher);
		ev_io_modify(&stream->watcher, events);
		if (events != 0) {
			ev_io_start(loop, &stream->watcher);
		}
	}
	if (stream->error_number != 0) {
		if (!failure_waits(stream)) {
			ev_feed_event(loop, &stream->watcher, EV_WRITE);
		}
	} else if (may_go_on(stream)) {
		ev_feed_event(loop, &stream->watcher, EV_CUSTOM);
	}
}

/* What every entry from outside ends with: sealed records leave, received bytes get out of the
 * shared buffer, the watcher is right. */
static void settle(struct stream *stream)
{
	wire_flush(stream);
	if (stream->shared->current == stream) {
		return; /* on_io settles when the event is handled */
	}
	wire_hold(stream);
	update_watcher(stream);
}

/* --- Events from the loop ------------------------------------------------------------------- */

static void fail(struct stream *stream, const struct error *why)
{
	stream->phase = STREAM_FAILED;
	stream->events->failed(stream, why);
	if (stream->phase == STREAM_FAILED) {
		stream_close(stream);
	}
}

static void fail_with_errno(struct stream *stream, int error_number)
{
	struct error why = {0};

	error_set(&why, "%s", strerror(error_number));
	if (stream->phase == STREAM_HANDSHAKE) {
		stream_tls_break_off(stream, &why);
	}
	fail(stream, &why);
}

static void become_open(struct stream *stream)
{
	stream->phase = STREAM_OPEN;
	stream->events->ready(stream);
	wire_flush(stream);
}

static void finish_connect(struct stream *stream)
{
	int error_number = wire_connected(stream->watcher.fd);

	if (error_number != 0) {
		fail_with_errno(stream, error_number);
		return;
	}
	become_open(stream);
}

static void continue_handshake(struct stream *stream)
{
	struct error why = {0};

	switch (stream_tls_shake(stream, &why)) {
	case STREAM_TLS_OPEN:
		become_open(stream);
		break;
	case STREAM_TLS_LATER:
		wire_flush(stream);
		break;
	case STREAM_TLS_FAILED:
		wire_flush(stream); /* the alert that says why */
		error_prefix(&why, "TLS handshake");
		fail(stream, &why);
		break;
	}
}

static void continue_sending(struct stream *stream)
{
	if (!wire_send_spill(stream)) {
		return;
	}
	if (stream->fin_due) {
		shutdown(stream->watcher.fd, SHUT_WR);
		stream->fin_due = false;
	}
	stream->events->drained(stream);
}

static void dispatch_open(struct stream *stream, int events)
{
	if (stream->spill_length > 0 && (events & EV_WRITE) != 0) {
		continue_sending(stream);
	}
	if (stream->phase == STREAM_OPEN && stream->reading &&
	    ((events & EV_READ) != 0 || has_input(stream))) {
		stream->events->readable(stream);
	}
}

/* Sending failed. What the peer said before it went away may still be waiting, and comes first: as
 * long as an event receives some of it, another follows (see update_watcher). Without memory the
 * peer is still there, and might never end. */
static void dispatch_failure(struct stream *stream)
{
	if (stream->phase == STREAM_OPEN && stream->reading && stream->error_number != ENOMEM) {
		stream->events->readable(stream);
		if (stream->phase == STREAM_CLOSED || stream->error_number == 0) {
			return; /* the owner has closed it, perhaps even connected it anew */
		}
		if (stream->reading && stream->shared->has_received) {
			return;
		}
	}
	if (failure_waits(stream)) {
		return;
	}
	fail_with_errno(stream, stream->error_number);
}

static void dispatch(struct stream *stream, int events)
{
	if (stream->error_number != 0) {
		dispatch_failure(stream);
		return;
	}
	switch (stream->phase) {
	case STREAM_CONNECTING:
		finish_connect(stream);
		break;
	case STREAM_HANDSHAKE:
		if (stream->spill_length > 0 && !wire_send_spill(stream)) {
			break;
		}
		continue_handshake(stream);
		if (stream->phase == STREAM_OPEN) {
			dispatch_open(stream, 0);
		}
		break;
	case STREAM_OPEN:
		dispatch_open(stream, events);
		break;
	default:
		break;
	}
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct stream *stream = container_of(watcher, struct stream, watcher);
	struct stream_loop *shared = stream->shared;

	(void)loop;
	shared->current = stream;
	/* Fed events come in the same turn: with a receive each, a fast peer would not let go. */
	shared->may_receive = (events & (EV_READ | EV_WRITE)) != 0;
	shared->has_received = false;
	dispatch(stream, events);
	shared->current = NULL;
	if (stream->phase != STREAM_CLOSED) {
		settle(stream);
	}
}

/* --- Beginning ------------------------------------------------------------------------------ */

static void begin(struct stream *stream, struct stream_loop *shared, int fd,
		  const struct stream_events *events)
{
	*stream = (struct stream){.shared = shared, .events = events};
	ev_io_init(&stream->watcher, on_io, fd, EV_READ);
	ev_io_set(&stream->watcher, fd, 0);
	wire_open(stream, fd);
}

static void begin_open(struct stream *stream)
{
	become_open(stream);
	if (stream->phase != STREAM_CLOSED) {
		settle(stream);
	}
}

bool stream_accept(struct stream *stream, struct stream_loop *shared, int fd,
		   struct ssl_ctx_st *context, const struct stream_events *events)
{
	begin(stream, shared, fd, events);
	if (context == NULL) {
		begin_open(stream);
		return true;
	}
	stream->phase = STREAM_HANDSHAKE;
	if (!stream_tls_serve(stream, context)) {
		stream_close(stream);
		return false;
	}
	update_watcher(stream);
	return true;
}

void stream_adopt(struct stream *stream, struct stream_loop *shared, int fd, struct source *source,
		  const struct stream_events *events)
{
	begin(stream, shared, fd, events);
	stream->source = source;
	begin_open(stream);
}

bool stream_connect(struct stream *stream, struct stream_loop *shared,
		    const struct stream_target *target, const struct stream_events *events,
		    struct error *error)
{
	struct wire_link link;

	if (wire_connect(&link, target, error) != WIRE_CONNECTING) {
		return false;
	}
	begin(stream, shared, link.fd, events);
	stream->source = link.source;
	stream->phase = STREAM_CONNECTING;
	update_watcher(stream);
	return true;
}

/* --- TLS on an open stream ------------------------------------------------------------------ */

/* What was written in the clear is before it in the spill, and leaves first. */
static void begin_handshake(struct stream *stream)
{
	stream->phase = STREAM_HANDSHAKE;
	if (stream->shared->current != stream) {
		update_watcher(stream);
	}
}

bool stream_start_tls(struct stream *stream, struct ssl_ctx_st *context, const void *early,
		      size_t length)
{
	invariant(stream->phase == STREAM_OPEN && stream->tls == NULL && !stream->ending);
	if (!stream_tls_serve(stream, context)) {
		return false;
	}
	if (!wire_put_back(stream, early, length)) {
		stream_tls_done(stream);
		return false;
	}
	begin_handshake(stream);
	return true;
}

bool stream_start_tls_client(struct stream *stream, const struct tls_peer *peer)
{
	invariant(stream->phase == STREAM_OPEN && stream->tls == NULL && !stream->ending);
	if (!stream_tls_call(stream, peer)) {
		return false;
	}
	stream->hello_due = true;
	begin_handshake(stream);
	return true;
}

/* --- Reading -------------------------------------------------------------------------------- */

static enum stream_read_result read_plain(struct stream *stream, void *bytes, size_t size,
					  size_t *count, struct error *error)
{
	switch (wire_receive(stream, bytes, size, count)) {
	case WIRE_BYTES:
		return STREAM_READ_BYTES;
	case WIRE_LATER:
		return STREAM_READ_LATER;
	case WIRE_END:
		return STREAM_READ_END;
	default:
		error_set(error, "%s", strerror(errno));
		return STREAM_READ_FAILED;
	}
}

static enum stream_read_result read_either(struct stream *stream, void *bytes, size_t size,
					   size_t *count, struct error *error)
{
	enum stream_read_result result =
		stream->tls == NULL ? read_plain(stream, bytes, size, count, error)
				    : stream_tls_read(stream, bytes, size, count, error);

	if (result != STREAM_READ_BYTES && result != STREAM_READ_LATER) {
		/* The end is reported once; the socket would repeat it for ever. */
		stream->reading = false;
		stream->end_told = true;
	}
	return result;
}

enum stream_read_result stream_read(struct stream *stream, void *bytes, size_t size, size_t *count,
				    struct error *error)
{
	struct stream_loop *shared = stream->shared;
	enum stream_read_result result;

	invariant(stream->phase == STREAM_OPEN && size > 0 && size <= STREAM_CHUNK_MAX);
	if (shared->current == stream) {
		result = read_either(stream, bytes, size, count, error);
	} else {
		bool others = shared->may_receive;

		shared->may_receive = true;
		result = read_either(stream, bytes, size, count, error);
		shared->may_receive = others;
	}
	settle(stream); /* TLS may have answered a KeyUpdate, or sent an alert */
	return result;
}

void stream_set_reading(struct stream *stream, bool wanted)
{
	if (stream->phase == STREAM_CLOSED) {
		return;
	}
	stream->reading = wanted && !stream->end_told;
	if (stream->shared->current != stream) {
		update_watcher(stream);
	}
}

/* --- Writing and ending --------------------------------------------------------------------- */

void stream_write(struct stream *stream, const void *bytes, size_t length)
{
	if (stream->phase != STREAM_OPEN || stream->ending || length == 0) {
		return;
	}
	if (stream->tls != NULL) {
		stream_tls_write(stream, bytes, length);
	} else {
		wire_send(stream, bytes, length);
	}
	settle(stream);
}

bool stream_is_congested(const struct stream *stream)
{
	return stream->spill_length > 0;
}

bool stream_is_connected(const struct stream *stream)
{
	return stream->phase == STREAM_OPEN;
}

bool stream_has_ended(const struct stream *stream)
{
	return stream->end_told;
}

void stream_set_sipping(struct stream *stream, bool wanted)
{
	stream->sips = wanted;
}

void stream_set_reads_out(struct stream *stream)
{
	stream->reads_out = true;
}

void stream_set_events(struct stream *stream, const struct stream_events *events)
{
	stream->events = events;
}

void stream_shutdown(struct stream *stream, enum stream_ending ending)
{
	if (stream->phase != STREAM_OPEN || stream->ending) {
		return;
	}
	stream->ending = true;
	if (stream->tls != NULL && ending == STREAM_ENDING_CLEAN) {
		stream_tls_end(stream);
		wire_flush(stream);
	}
	if (stream->spill_length > 0) {
		stream->fin_due = true;
	} else {
		shutdown(stream->watcher.fd, SHUT_WR);
	}
	settle(stream);
}

void stream_close(struct stream *stream)
{
	if (stream->shared != NULL && stream->watcher.fd >= 0) {
		ev_io_stop(stream->shared->loop, &stream->watcher);
		close(stream->watcher.fd);
		stream->watcher.fd = -1;
		source_give(stream->source, false);
		stream->source = NULL;
		stream_tls_done(stream);
		wire_drop(stream);
	}
	stream->phase = STREAM_CLOSED;
}

int stream_release(struct stream *stream, struct source **source)
{
	int fd = stream->watcher.fd;

	if (stream->phase != STREAM_OPEN) {
		return -1;
	}
	ev_io_stop(stream->shared->loop, &stream->watcher);
	stream->watcher.fd = -1;
	*source = stream->source;
	stream->source = NULL;
	stream_tls_done(stream);
	wire_drop(stream);
	stream->phase = STREAM_CLOSED;
	return fd;
}

/* --- Facts ---------------------------------------------------------------------------------- */

typedef int socket_name_function_t(int fd, struct sockaddr *address, socklen_t *length);

static void ask_socket(const struct stream *stream, socket_name_function_t *ask,
		       struct addr *address)
{
	struct sockaddr_storage storage = {0};
	socklen_t length = sizeof(storage);

	*address = (struct addr){0};
	if (ask(stream->watcher.fd, (struct sockaddr *)&storage, &length) == 0) {
		addr_from_sockaddr(address, (const struct sockaddr *)&storage);
	}
}

static int ask_peer(int fd, struct sockaddr *address, socklen_t *length)
{
	return getpeername(fd, address, length);
}

static int ask_local(int fd, struct sockaddr *address, socklen_t *length)
{
	return getsockname(fd, address, length);
}

void stream_peer(const struct stream *stream, struct addr *address)
{
	ask_socket(stream, ask_peer, address);
}

void stream_local(const struct stream *stream, struct addr *address)
{
	ask_socket(stream, ask_local, address);
}
