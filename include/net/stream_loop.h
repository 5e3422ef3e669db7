/* SPDX-License-Identifier: Apache-2.0
 *
 * What all streams of one worker share: the loop, and the buffers that no idle stream owns.
 */
#ifndef GATEPOST_NET_STREAM_LOOP_H
#define GATEPOST_NET_STREAM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

struct bio_method_st;
struct ev_loop;
struct stream;

/* Bytes that one read delivers at most, and the size of a worker's shared buffers. */
#define STREAM_CHUNK_MAX 65536

/* Bytes of TLS that a stream which sips receives at a time, but for the rest of a record. */
#define STREAM_SIP_MAX 2048

/* struct stream_loop: only `loop` and `chunk` are for owners of streams. */
struct stream_loop {
	struct ev_loop *loop;
	uint8_t *chunk;         /* STREAM_CHUNK_MAX bytes: scratch for what an owner just reads */
	uint8_t *cipher;        /* received TLS bytes of the stream that is just being read */
	uint8_t *sealed;        /* TLS records of the stream that is just being written */
	struct stream *reading; /* whose bytes `cipher` holds, NULL when it is empty */
	struct stream *writing; /* whose bytes `sealed` holds, NULL when it is empty */
	size_t cipher_start;
	size_t cipher_length;
	size_t sealed_length;
	bool may_receive;       /* the event being handled has not received from its socket yet */
	bool has_received;      /* it has, and there was something */
	struct stream *current; /* whose event is being handled, NULL between events */
	unsigned keepalive_seconds; /* when a dead peer is noticed; 0: as the system has it */
	struct bio_method_st *bio_method;
};

/* stream_loop_init allocates the buffers; false when memory ran out. TCP peers that are silent and
 * do not answer for `keepalive_seconds` are given up (0: the system's default). */
must_use bool stream_loop_init(struct stream_loop *shared, struct ev_loop *loop,
			       unsigned keepalive_seconds);
void stream_loop_done(struct stream_loop *shared);

#endif
