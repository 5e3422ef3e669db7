/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching an endpoint: its name is asked of the resolver, and its addresses are tried in turn
 * until one answers. How long each step may take is the owner's business, and so is all that
 * follows once the stream is connected.
 */
#ifndef GATEPOST_NET_DIAL_H
#define GATEPOST_NET_DIAL_H

#include <stddef.h>

#include "base/addr.h"
#include "base/error.h"
#include "net/resolver.h"

struct dial;
struct stream;
struct stream_events;
struct stream_loop;

/* struct dial_events is how a dial speaks to its owner, perhaps before the call that led to it
 * returns. */
struct dial_events {
	/* A step begins: the name is asked for, or an address is tried. */
	void (*trying)(struct dial *dial);
	/* There is none, or none is left: `why` is of the last, borrowed for the call. The dial may
	 * begin anew, or be freed. */
	void (*failed)(struct dial *dial, const struct error *why);
};

/* struct dial_settings: all borrowed, and outlives the dial. */
struct dial_settings {
	struct stream_loop *shared;
	struct resolver *resolver;
	struct stream *stream;                     /* what is to be connected, closed as yet */
	const struct stream_events *stream_events; /* whose `ready` tells that it is */
	const struct dial_events *events;
};

/* struct dial is embedded in its owner; zero is "nothing to reach". */
struct dial {
	struct dial_settings settings;
	const char *path; /* of a Unix socket, NULL where there are addresses */
	struct resolver_query query;
	struct addr addresses[RESOLVER_ADDRESSES_MAX]; /* in order of trying */
	size_t count;
	size_t next;
	struct error why; /* of the last that failed */
};

/* dial_begin begins to reach `endpoint`, which outlives the dial. */
void dial_begin(struct dial *dial, const struct dial_settings *settings,
		const struct endpoint *endpoint);

/* dial_next gives up what is being tried, the answer of the resolver too, and tries the next
 * address. It may be called long after the stream was connected, for whatever reason. */
void dial_next(struct dial *dial, const struct error *why);

/* dial_again connects once more to the address that was reached. */
void dial_again(struct dial *dial);

/* dial_cancel: the resolver is asked no more. The stream stays as it is, and its owner's. */
void dial_cancel(struct dial *dial);

#endif
