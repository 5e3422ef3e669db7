/* SPDX-License-Identifier: Apache-2.0
 *
 * Stays: one login or session each, as the directory knows it, and what it hears from there
 * (routing/directory.h).
 */
#ifndef GATEPOST_ROUTING_STAY_H
#define GATEPOST_ROUTING_STAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/inbox.h"

struct directory;
struct directory_desk;
struct metrics;
struct resident;
struct route_text;
struct stay;

enum directory_verdict {
	DIRECTORY_ROUTE,   /* the directory says `route` */
	DIRECTORY_UNKNOWN, /* it knows no route of the user */
	DIRECTORY_FAILED,  /* it could not be asked, and there is no route to go on with */
};

/* struct directory_answer: strings are borrowed for the call. */
struct directory_answer {
	enum directory_verdict verdict;
	const char *route; /* ROUTE only: `length` bytes as Redis has them */
	size_t length;
	bool stale;      /* Redis could not be asked: this is the last that was known */
	const char *why; /* FAILED only: a sentence for the log */
};

/* struct stay_events is how the directory speaks to a worker, on the worker's thread. Every
 * function may call directory_leave, and free what the stay is embedded in at the end of the turn.
 */
struct stay_events {
	/* The answer to directory_enter. After ROUTE and UNKNOWN the stay is present; after FAILED
	 * it has left. */
	void (*answered)(struct stay *stay, const struct directory_answer *answer);
	/* The user is on hold: the stay waits, and is not present. `released` follows, unless it
	 * leaves. Also in the place of `answered`. */
	void (*parked)(struct stay *stay);
	/* The hold is over, and the route is read anew: the stay has left, and may enter again. */
	void (*released)(struct stay *stay);
	/* The directory says something else now than it told this stay, which is present: ROUTE or
	 * UNKNOWN. */
	void (*changed)(struct stay *stay, const struct directory_answer *answer);
	/* A present stay shall come to an end, since its user is on hold. It is told again as often
	 * as the hold is renewed. */
	void (*held)(struct stay *stay);
	/* A member of the pool drains, or serves again, or a canary is over. */
	void (*drains_changed)(struct directory_desk *desk);
};

/* struct stay is one login, or session, of a user: embedded in it, zero is nowhere. All fields are
 * the directory's. */
struct stay {
	struct inbox_item item;
	struct directory_desk *desk;
	struct resident *resident; /* NULL: nowhere */
	struct stay *previous;     /* of the resident */
	struct stay *next;
	struct route_text *route; /* what it was told, NULL for UNKNOWN */
	uint8_t state;
	uint8_t news;
};

/* struct directory_desk is where a worker's stays hear from the directory. */
struct directory_desk {
	struct directory *directory;
	struct directory_desk *next; /* of all desks */
	struct inbox inbox;
	struct inbox_item drains; /* lies in the inbox when they have changed */
	const struct stay_events *events;
	struct metrics *metrics;
};

#endif
