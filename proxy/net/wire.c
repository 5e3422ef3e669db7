/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket's half of a stream. An idle stream owns no block here: what is received passes through
 * the worker's buffer, and only what the socket refuses, or the owner does not want yet, is kept.
 */
#include "wire_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/stream.h"

#define KEEPALIVE_PROBES 4

static void set_option(int fd, int level, int option, int value)
{
	/* Unix sockets refuse TCP options, and nothing depends on them there. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_keepalive(int fd, unsigned seconds)
{
	unsigned silence = seconds / 2;
	unsigned interval = seconds / 2 / KEEPALIVE_PROBES;

	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (seconds == 0) {
		return;
	}
	interval = interval > 0 ? interval : 1;
	silence = silence > 0 ? silence : 1;
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)silence);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)interval);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(seconds * 1000));
}

void wire_open(struct stream *stream, int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_keepalive(fd, stream->shared->keepalive_seconds);
}

static void free_block(uint8_t **block, uint32_t start, uint32_t length)
{
	if (*block != NULL) {
		explicit_bzero(*block + start, length);
		free(*block);
		*block = NULL;
	}
}

static void free_spill(struct stream *stream)
{
	free_block(&stream->spill, stream->spill_start, stream->spill_length);
	stream->spill_start = 0;
	stream->spill_length = 0;
}

static void free_held(struct stream *stream)
{
	free_block(&stream->held, stream->held_start, stream->held_length);
	stream->held_start = 0;
	stream->held_length = 0;
}

/* Makes one exact block of what waits already and what is new. */
static void spill(struct stream *stream, const uint8_t *bytes, size_t length)
{
	size_t total = stream->spill_length + length;
	uint8_t *block = total <= UINT32_MAX ? malloc(total) : NULL;

	if (block == NULL) {
		stream->error_number = ENOMEM;
		return;
	}
	if (stream->spill_length > 0) {
		memcpy(block, stream->spill + stream->spill_start, stream->spill_length);
	}
	memcpy(block + stream->spill_length, bytes, length);
	free_spill(stream);
	stream->spill = block;
	stream->spill_length = (uint32_t)total;
}

/* One send; the number of bytes taken, 0 when the socket is full or has failed. */
static size_t send_once(struct stream *stream, const void *bytes, size_t length)
{
	ssize_t sent;

	do {
		sent = send(stream->watcher.fd, bytes, length, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0) {
		return (size_t)sent;
	}
	if (errno != EAGAIN && errno != EWOULDBLOCK) {
		stream->error_number = errno;
	}
	return 0;
}

void wire_send(struct stream *stream, const void *bytes, size_t length)
{
	const uint8_t *rest = bytes;
	size_t sent = 0;

	if (stream->error_number != 0 || length == 0) {
		return;
	}
	if (stream->spill_length == 0) {
		sent = send_once(stream, bytes, length);
	}
	if (sent < length && stream->error_number == 0) {
		spill(stream, rest + sent, length - sent);
	}
}

bool wire_send_spill(struct stream *stream)
{
	size_t sent = send_once(stream, stream->spill + stream->spill_start, stream->spill_length);

	explicit_bzero(stream->spill + stream->spill_start, sent);
	stream->spill_start += (uint32_t)sent;
	stream->spill_length -= (uint32_t)sent;
	if (stream->spill_length == 0) {
		free_spill(stream);
	}
	return stream->spill_length == 0;
}

void wire_flush(struct stream *stream)
{
	struct stream_loop *shared = stream->shared;

	if (shared->writing != stream) {
		return;
	}
	wire_send(stream, shared->sealed, shared->sealed_length);
	shared->sealed_length = 0;
	shared->writing = NULL;
}

void wire_seal(struct stream *stream, const void *record, size_t length)
{
	struct stream_loop *shared = stream->shared;

	if (shared->writing != NULL &&
	    (shared->writing != stream || shared->sealed_length + length > WIRE_SEALED_MAX)) {
		wire_flush(shared->writing);
	}
	if (length > WIRE_SEALED_MAX) {
		/* A handshake with a very long certificate chain. */
		wire_send(stream, record, length);
		return;
	}
	memcpy(shared->sealed + shared->sealed_length, record, length);
	shared->sealed_length += length;
	shared->writing = stream;
}

enum wire_result wire_receive(struct stream *stream, void *bytes, size_t size, size_t *count)
{
	ssize_t received;

	if (!stream->shared->may_receive) {
		return WIRE_LATER;
	}
	/* Who sips does so twice: records that are begun by all and ended by none take memory. */
	stream->shared->may_receive = stream->sips && !stream->shared->has_received;
	do {
		received = recv(stream->watcher.fd, bytes, size, 0);
	} while (received < 0 && errno == EINTR);
	if (received > 0) {
		stream->shared->has_received = true;
		*count = (size_t)received;
		return WIRE_BYTES;
	}
	if (received == 0) {
		stream->end_seen = true;
		return WIRE_END;
	}
	return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_LATER : WIRE_FAILED;
}

static size_t smaller(size_t left, size_t right)
{
	return left < right ? left : right;
}

static size_t take_held(struct stream *stream, void *bytes, size_t size)
{
	size_t count = smaller(size, stream->held_length);

	memcpy(bytes, stream->held + stream->held_start, count);
	stream->held_start += (uint32_t)count;
	stream->held_length -= (uint32_t)count;
	if (stream->held_length == 0) {
		free_held(stream);
	}
	return count;
}

static size_t take_shared(struct stream_loop *shared, void *bytes, size_t size)
{
	size_t count = smaller(size, shared->cipher_length);

	memcpy(bytes, shared->cipher + shared->cipher_start, count);
	shared->cipher_start += count;
	shared->cipher_length -= count;
	if (shared->cipher_length == 0) {
		shared->reading = NULL;
	}
	return count;
}

/* A stream that sips gets the rest of the record that is asked for, and hardly more. */
static size_t most_to_receive(const struct stream *stream, size_t wanted)
{
	if (!stream->sips) {
		return STREAM_CHUNK_MAX;
	}
	return wanted > STREAM_SIP_MAX ? smaller(wanted, STREAM_CHUNK_MAX) : STREAM_SIP_MAX;
}

static enum wire_result fill_shared(struct stream *stream, size_t wanted)
{
	struct stream_loop *shared = stream->shared;
	size_t count = 0;
	size_t most = most_to_receive(stream, wanted);
	enum wire_result result;

	if (shared->reading != NULL) {
		wire_hold(shared->reading);
	}
	result = wire_receive(stream, shared->cipher, most, &count);
	if (result == WIRE_BYTES) {
		shared->reading = stream;
		shared->cipher_start = 0;
		shared->cipher_length = count;
	}
	return result;
}

enum wire_result wire_read_through(struct stream *stream, void *bytes, size_t size, size_t *count)
{
	struct stream_loop *shared = stream->shared;

	if (stream->held_length > 0) {
		*count = take_held(stream, bytes, size);
		return WIRE_BYTES;
	}
	if (shared->reading != stream) {
		enum wire_result result = fill_shared(stream, size);

		if (result != WIRE_BYTES) {
			return result;
		}
	}
	*count = take_shared(shared, bytes, size);
	return WIRE_BYTES;
}

bool wire_put_back(struct stream *stream, const void *bytes, size_t length)
{
	invariant(!wire_has_input(stream));
	if (length == 0) {
		return true;
	}
	stream->held = length <= UINT32_MAX ? malloc(length) : NULL;
	if (stream->held == NULL) {
		return false;
	}
	memcpy(stream->held, bytes, length);
	stream->held_start = 0;
	stream->held_length = (uint32_t)length;
	return true;
}

bool wire_hold(struct stream *stream)
{
	struct stream_loop *shared = stream->shared;

	if (shared->reading != stream) {
		return true;
	}
	shared->reading = NULL;
	if (!wire_put_back(stream, shared->cipher + shared->cipher_start, shared->cipher_length)) {
		stream->error_number = ENOMEM;
		return false;
	}
	return true;
}

bool wire_is_waiting(const struct stream *stream)
{
	uint8_t byte;

	return recv(stream->watcher.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool wire_has_input(const struct stream *stream)
{
	return stream->held_length > 0 || stream->shared->reading == stream;
}

void wire_drop(struct stream *stream)
{
	struct stream_loop *shared = stream->shared;

	free_spill(stream);
	free_held(stream);
	if (shared->reading == stream) {
		shared->reading = NULL;
	}
	if (shared->writing == stream) {
		shared->writing = NULL;
		shared->sealed_length = 0;
	}
}
