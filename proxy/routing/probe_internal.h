/* SPDX-License-Identifier: Apache-2.0
 *
 * One backend asked once, as a login would ask it: whether it is there, what it offers, or whether
 * it lets somebody in; and then leave.
 */
#ifndef GATEPOST_ROUTING_PROBE_INTERNAL_H
#define GATEPOST_ROUTING_PROBE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/dial.h"
#include "net/stream.h"
#include "net/timeouts.h"

/* So long a backend has to close the connection that LOGOUT ended. */
#define PROBE_LEAVE_MS 1000

/* Proxies that a login by a probe may still pass, as many as one of a client. */
#define PROBE_PROXY_TTL 4

struct backend;
struct capability_offer;
struct credentials;
struct metrics;
struct probe;
struct upstream;

/* enum probe_depth is how far a probe goes. */
enum probe_depth {
	PROBE_CONNECT,      /* a connection, with TLS where that is from the first byte */
	PROBE_GREETING,     /* its greeting, and STARTTLS where that is how it is spoken to */
	PROBE_CAPABILITIES, /* what it offers before the login */
	PROBE_LOGIN,        /* a login with the credentials of the house */
};

/* struct probe_events is how a probe speaks to its owner, who may not stop it from there. */
struct probe_events {
	/* The backend has said what it offers; borrowed for the call. NULL: nobody asks. */
	void (*learnt)(struct probe *probe, const struct capability_offer *offer);
	/* The probe is over and may begin again: `why` is NULL where it came as far as it should.
	 */
	void (*over)(struct probe *probe, const struct error *why);
};

/* struct probe_house is what probes are made of; all borrowed and outlives them. */
struct probe_house {
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	const struct credentials *credentials; /* said by PROBE_LOGIN as they are, a password */
	uint64_t patience_ms;                  /* the longest that one takes; 0: see probe_begin */
};

enum probe_phase {
	PROBE_IDLE,       /* the zero state */
	PROBE_CONNECTING, /* and finding its address */
	PROBE_SECURING,   /* TLS handshake */
	PROBE_ASKING,
	PROBE_LEAVING, /* all is known */
};

struct probe {
	struct stream stream;
	struct probe_house house;
	const struct probe_events *events;
	struct backend *backend; /* borrowed while not idle */
	enum probe_depth depth;
	enum probe_phase phase;
	struct dial dial;
	struct upstream *upstream; /* from the first greeting on */
	struct buffer input;
	struct timeout_list timers;
	struct timeout timer;
	uint64_t deadline_ms; /* of the whole */
};

void probe_init(struct probe *probe, const struct probe_house *house,
		const struct probe_events *events);

/* probe_begin asks `backend`; the probe must be idle. It is over by the backend's connect_timeout
 * and login_timeout together, or by the patience of the house where that is shorter, and
 * PROBE_LEAVE_MS; never before probe_begin returns. */
void probe_begin(struct probe *probe, struct backend *backend, enum probe_depth depth);

/* probe_stop: no event follows. Nothing happens where it is idle. */
void probe_stop(struct probe *probe);

/* probe_done stops it for good. */
void probe_done(struct probe *probe);

#endif
