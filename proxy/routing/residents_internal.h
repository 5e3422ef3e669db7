/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is here: a table of users with their stays, one for each shard of the directory. What is said
 * of a user is under the shard's lock, but for what is the keeper's alone.
 */
#ifndef GATEPOST_ROUTING_RESIDENTS_INTERNAL_H
#define GATEPOST_ROUTING_RESIDENTS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/table.h"
#include "net/inbox.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "store_internal.h"

/* Longest epoch of a hold that is confirmed; logins wait for longer ones too. */
#define RESIDENT_EPOCH_MAX 128

enum stay_state {
	STAY_NOWHERE,
	STAY_ASKING,      /* waits for an answer */
	STAY_PRESENT,     /* was told a route */
	STAY_LINGERING,   /* its backend has not ended the session yet; it hears of nothing */
	STAY_PARKED,      /* waits for the end of a hold */
	STAY_REASSIGNING, /* waits for another route to be assigned */
	STAY_RELEASED,    /* shall hear that it may enter again */
	STAY_FAILED,      /* shall hear so; `route` says why */
};

/* What a stay has not heard yet, and whether its answer was the last that was known. */
enum stay_news {
	STAY_NEWS_ANSWERED = 1,
	STAY_NEWS_PARKED = 2,
	STAY_NEWS_CHANGED = 4,
	STAY_NEWS_HELD = 8,
	STAY_NEWS_STALE = 16,
};

/* Whether Redis shall be asked for a resident: at its turn among all who are here, or at once. */
enum resident_ask { RESIDENT_KNOWN, RESIDENT_ASK_IN_TURN, RESIDENT_ASK_NOW };

/* What the keeper does for a resident just now: one thing at a time. */
enum resident_activity {
	RESIDENT_IDLE,
	RESIDENT_ASKING,
	RESIDENT_CONFIRMING,
	RESIDENT_ASSIGNING,
	RESIDENT_REASSIGNING,
};

/* What was read of a hold, while the route is still to come. */
enum resident_heard {
	RESIDENT_HEARD_NO_HOLD,
	RESIDENT_HEARD_HOLD,
	RESIDENT_HEARD_ODD_HOLD, /* its epoch is too long, or no text: it cannot be confirmed */
	RESIDENT_HEARD_NOTHING,  /* it could not be read */
	RESIDENT_HEARD_NONSENSE, /* nor would it be, asked again */
};

enum resident_queue { RESIDENT_QUEUED_NOWHERE, RESIDENT_QUEUED_FIRST, RESIDENT_QUEUED_IN_TURN };

/* struct resident lives while somebody is here, or a hold is known, or the keeper has it. */
struct resident {
	struct table_link link;
	struct resident *previous; /* of the shard */
	struct resident *next;
	struct directory *directory;
	uint64_t hash;
	struct stay *stays;
	struct inbox_item item; /* to the keeper */
	char *hold;             /* the epoch, NULL where no hold is known */
	uint64_t settled_ms;    /* the backends have no session of those who left, from then on */
	uint64_t held_ms;       /* when the hold was last read */
	uint64_t asking_ms;     /* when the eldest of those who wait for an answer came */
	uint32_t generation;    /* changes with everything that is heard of the user */
	unsigned present;       /* or lingering */
	unsigned asking;
	unsigned reassigning;
	uint8_t ask;      /* enum resident_ask */
	bool with_keeper; /* only the keeper may free it */
	bool told;        /* `item` is on its way */
	bool about_hold;  /* asked for to know a hold, even if nobody is here */
	bool confirms;    /* the hold that is known shall be confirmed */

	/* The keeper's alone. */
	uint8_t activity; /* enum resident_activity */
	uint8_t queue;    /* enum resident_queue */
	uint8_t waiting;  /* replies to come */
	uint8_t tries;    /* assignments in a row after which nothing was known */
	uint8_t heard;    /* enum resident_heard */
	uint32_t asked_generation;
	uint32_t asked_epoch;
	char *heard_text;  /* the epoch, or why there is none */
	uint64_t retry_ms; /* not before */
	struct timeout due;
	struct resident *queue_previous;
	struct resident *queue_next;
	struct store_question hold_question;
	struct store_question route_question;

	char user[];
};

/* struct residents: zero with residents_init is empty. */
struct residents {
	struct table table;
	struct resident *list;
};

void residents_init(struct residents *residents);

/* residents_find gives the resident of that name, NULL where there is none. */
struct resident *residents_find(const struct residents *residents, const char *user, uint64_t hash);

/* residents_add makes one, who knows nothing; NULL when memory ran out. */
must_use struct resident *residents_add(struct residents *residents, const char *user,
					uint64_t hash);

/* residents_remove frees one whom nobody asks for, and who has no stay. */
void residents_remove(struct residents *residents, struct resident *resident);

/* residents_done frees all who are left. */
void residents_done(struct residents *residents);

#endif
