/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching an endpoint: its name is asked of the resolver, and its addresses are tried, both
 * families alternating, IPv6 first, each DIAL_STAGGER_MS after the one before it or as soon as that
 * has failed, until one answers (RFC 8305); the others are given up then. What follows once the
 * stream is connected is the owner's business.
 */
#ifndef GATEPOST_NET_DIAL_H
#define GATEPOST_NET_DIAL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "net/resolver.h"

struct dial;
struct metrics;
struct source_pool;
struct stream;
struct stream_events;
struct stream_loop;

/* struct dial_events is how a dial speaks to its owner, never before the call that led to it
 * returns. */
struct dial_events {
	/* There is none, none is left, or time is over: `why` is of the last, borrowed for the
	 * call. The stream is closed. The dial may begin anew, or be freed. */
	void (*failed)(struct dial *dial, const struct error *why);
};

/* struct dial_settings: all borrowed, and outlives the dial. */
struct dial_settings {
	struct stream_loop *shared;
	struct resolver *resolver;
	struct metrics *metrics;     /* NULL: nothing is counted */
	uint64_t timeout_ms;         /* for all of it, name and addresses, until one is connected */
	struct source_pool *sources; /* where connections come from; NULL: the system chooses */
	struct stream *stream;       /* what is to be connected, closed as yet */
	/* Its `ready` tells that it is, never before the call that led to it returns. None of them
	 * is called while addresses are tried. */
	const struct stream_events *stream_events;
	const struct dial_events *events;
};

#define DIAL_STAGGER_MS 250

enum dial_phase {
	DIAL_IDLE, /* the zero state */
	DIAL_RESOLVING,
	DIAL_TRYING,
	DIAL_REACHED,
};

/* struct dial is embedded in its owner; zero is "nothing to reach". */
struct dial {
	struct dial_settings settings;
	const struct endpoint *endpoint;
	enum dial_phase phase;
	bool is_ours; /* while `failed` is called: it is this host's fault, which had no descriptor,
		       * port, memory or way, so that nobody was asked at all */
	uint64_t deadline_ms;
	struct ev_timer timer;
	struct resolver_query query;
	struct dialing *dialing; /* the addresses and what became of them, kept until dial_cancel */
};

/* dial_begin begins to reach `endpoint`, which outlives the dial; what the dial did before is
 * cancelled. */
void dial_begin(struct dial *dial, const struct dial_settings *settings,
		const struct endpoint *endpoint);

/* dial_next is told by the owner that the address which was reached is of no use after all (`why`;
 * its TLS failed, say): the others that have not failed are tried, also those that were given up
 * for it, and timeout_ms begins anew. The stream is closed. */
void dial_next(struct dial *dial, const struct error *why);

/* dial_again connects once more to the address that was reached, as if it were the first. */
void dial_again(struct dial *dial);

/* dial_cancel: nothing is asked and tried any more; all attempts are closed. A stream that is
 * connected stays as it is, and its owner's. Every dial that has begun ends with it, or with
 * `failed`. */
void dial_cancel(struct dial *dial);

#endif
