/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stream consists of: here only so that its owner can embed it.
 */
#ifndef GATEPOST_NET_STREAM_STATE_H
#define GATEPOST_NET_STREAM_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/tls_client.h"

struct source;
struct ssl_st;
struct stream_events;
struct stream_loop;

enum stream_phase {
	STREAM_CLOSED, /* the zero state */
	STREAM_CONNECTING,
	STREAM_HANDSHAKE,
	STREAM_OPEN,
	STREAM_FAILED, /* while `failed` is called */
};

/* struct stream is embedded in its owner; fields are the stream's own. */
struct stream {
	struct ev_io watcher;
	struct stream_loop *shared;
	const struct stream_events *events;
	struct source *source; /* where it comes from, NULL: as the system has chosen */
	struct ssl_st *tls;
	struct tls_link tls_link; /* as TLS's client */
	uint8_t *spill;           /* wire bytes to be sent, exact size */
	uint8_t *held;            /* wire bytes received but not yet wanted by the owner */
	uint32_t spill_start;
	uint32_t spill_length;
	uint32_t held_start;
	uint32_t held_length;
	int error_number; /* why sending failed (errno), 0 while it has not */
	uint8_t phase;    /* enum stream_phase */
	bool reading;     /* the owner wants `readable` */
	bool ending;      /* stream_shutdown was called: nothing more is written */
	bool fin_due;     /* FIN follows when the spill is empty */
	bool end_seen;    /* the peer's FIN was read from the socket */
	bool reads_out;   /* see stream_set_reads_out */
	bool end_told;    /* stream_read has told the owner of the end */
	bool sips;        /* see stream_set_sipping */
	bool hello_due;   /* TLS's client has not begun to speak */
};

#endif
