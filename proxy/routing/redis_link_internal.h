/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to Redis that keeps itself alive: dial, TLS, greeting, and after a loss the same
 * again, after pauses that grow and are jittered. An address whose TLS or greeting fails gives way
 * to the others of its name. It knows nothing of questions.
 */
#ifndef GATEPOST_ROUTING_REDIS_LINK_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_LINK_INTERNAL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/dial.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "redis_greeting_internal.h"
#include "redis_internal.h"
#include "redis_server_internal.h"

/* Pauses between attempts; whoever waits for an answer need not wait longer than the shortest. */
#define REDIS_PAUSE_MIN_MS 50
#define REDIS_PAUSE_MAX_MS 2000

/* At most one line about a loss in so long. */
#define REDIS_LOG_EVERY_MS 1000

struct redis_link;

/* struct redis_link_use is what a connection is for; constant. */
struct redis_link_use {
	const char *loss; /* for the log, at level warn */
	const char *recovery;
	struct redis_limits limits; /* of its replies */
	/* Commands can be sent. */
	void (*ready)(struct redis_link *link);
	/* A reply; it may call redis_link_fail. */
	void (*reply)(struct redis_link *link, const struct redis_reply *reply);
	/* A connection that was ready is gone, with all that was sent. */
	void (*lost)(struct redis_link *link, const struct error *why);
};

enum redis_phase {
	REDIS_PAUSED,   /* the timer begins the next attempt; the zero state */
	REDIS_DIALING,  /* no timer but the dial's */
	REDIS_SECURING, /* the handshake of TLS; the timer ends it, and the greeting */
	REDIS_GREETING,
	REDIS_READY, /* no timer */
};

struct redis_link {
	struct stream stream;
	struct redis_codec codec;
	struct buffer unsent; /* commands of this turn of the loop */
	struct ev_prepare sender;
	struct redis_settings settings;
	const struct redis_link_use *use;
	enum redis_phase phase;
	struct redis_greeting greeting;
	struct dial dial;
	bool refused; /* an address that was reached in this attempt was of no use */
	struct timeout_list timers;
	struct timeout timer;
	uint64_t attempted_ms; /* when the last attempt began */
	uint64_t ready_ms;
	unsigned pause_ms; /* before the last attempt; 0 after one that was of use */
	unsigned jitter;   /* state of rand_r */
	struct error why;  /* of the last loss, or of such an address */
	bool loss_logged;  /* and no recovery since */
	uint64_t loss_logged_ms;
};

/* redis_link_init begins to connect in the next turn of the loop. */
void redis_link_init(struct redis_link *link, const struct redis_settings *settings,
		     const struct redis_link_use *use);

/* redis_link_want tells that somebody waits: a long pause is cut short. */
void redis_link_want(struct redis_link *link);

/* redis_link_send sends whole commands; the link must be ready. Those of one turn of the loop leave
 * together, at its end. */
void redis_link_send(struct redis_link *link, const struct buffer *commands);

/* redis_link_recovered tells that the connection can be used, for the log after a loss;
 * redis_link_settled that it was of use: the next pause is a short one. */
void redis_link_recovered(struct redis_link *link);
void redis_link_settled(struct redis_link *link);

/* redis_link_fail ends the connection for a reason that its owner saw, and calls `lost`; the link
 * must be ready. */
void redis_link_fail(struct redis_link *link, const struct error *why);

/* redis_link_done closes. Not to be called from within an event. */
void redis_link_done(struct redis_link *link);

#endif
