/* SPDX-License-Identifier: Apache-2.0
 *
 * One backend asked once what it offers: connect as a login would, read what it says before the
 * login, and leave.
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

struct backend;
struct capability_offer;
struct metrics;
struct probe;
struct upstream;

/* struct probe_events is how a probe speaks to its owner, who may not stop it from there. */
struct probe_events {
	/* The backend has said what it offers; borrowed for the call. */
	void (*learnt)(struct probe *probe, const struct capability_offer *offer);
	/* The probe is over and may begin again: `why` is NULL where it has learnt something. */
	void (*over)(struct probe *probe, const struct error *why);
};

/* struct probe_house is what probes are made of; all borrowed and outlives them. */
struct probe_house {
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
};

enum probe_phase {
	PROBE_IDLE,       /* the zero state */
	PROBE_CONNECTING, /* and finding its address */
	PROBE_SECURING,   /* TLS handshake */
	PROBE_ASKING,
	PROBE_LEAVING, /* what it offers is known */
};

struct probe {
	struct stream stream;
	struct probe_house house;
	const struct probe_events *events;
	struct backend *backend; /* borrowed while not idle */
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
 * and login_timeout together, perhaps before probe_begin returns. */
void probe_begin(struct probe *probe, struct backend *backend);

/* probe_stop: no event follows. Nothing happens where it is idle. */
void probe_stop(struct probe *probe);

/* probe_done stops it for good. */
void probe_done(struct probe *probe);

#endif
