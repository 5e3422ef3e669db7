/* SPDX-License-Identifier: Apache-2.0
 *
 * A member of the pool: one IMAP server, and what all workers know of it together. Any thread may
 * call any of these functions; the counts are atomics, the rest is under the member's own lock.
 *
 * Up or down: checks say so (`rise` in a row, `fall` in a row), and so do real logins, but only
 * those of several clients together: health.witnesses distinct addresses (IPv6 by /64), two at
 * least, within MEMBER_WITNESS_MS and no success between them. What is marked down by logins comes
 * up by checks; where there are none, after MEMBER_REST_MS.
 */
#ifndef GATEPOST_ROUTING_MEMBER_H
#define GATEPOST_ROUTING_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"

struct config_backend;
struct config_health;
struct config_moves;
struct member_state;
struct metrics;
struct source_pool;

#define MEMBER_WITNESSES_MAX 16    /* config_health.witnesses is at most so many */
#define MEMBER_WITNESS_MS    10000 /* failures that are older count no more */
#define MEMBER_REST_MS       30000

/* struct member: what is here never changes. Shared by reference; the last one frees. */
struct member {
	char *name;                  /* what routes call it */
	size_t config;               /* index in config.backends: how it is spoken to */
	struct endpoint address;     /* ENDPOINT_IP, NAME or UNIX */
	struct source_pool *sources; /* NULL: the system chooses */
	struct member_state *state;  /* all that does change */
};

/* struct member_settings: borrowed for the call, but for the parts of the configuration, which
 * outlive the member; of `sources` it takes a reference of its own. */
struct member_settings {
	const char *name;
	size_t config;
	const struct endpoint *address;
	const struct config_backend *backend;
	const struct config_health *health;
	const struct config_moves *moves;
	struct source_pool *sources; /* NULL: the system chooses */
};

/* member_new: up, and serving, with the backend's weight. One reference for the caller; NULL when
 * memory ran out. */
must_use struct member *member_new(const struct member_settings *settings);
struct member *member_ref(struct member *member);
void member_unref(struct member *member);

/* member_weight is for hash and assign; 0 takes only users that are routed by name.
 * member_set_weight is the pool's: SRV records change it. */
unsigned member_weight(const struct member *member);
void member_set_weight(struct member *member, unsigned weight);

/* --- Health --------------------------------------------------------------------------------- */

bool member_is_up(const struct member *member);

/* member_passed and member_missed are told by checks. A change is logged and counted once, in
 * `metrics`, which are there as long as the member is used. */
void member_passed(struct member *member, struct metrics *metrics);
void member_missed(struct member *member, const char *why, struct metrics *metrics);

/* member_served and member_failed are told by logins: it answered, whatever it said; it could not
 * be reached or did not answer in time. */
void member_served(struct member *member);
void member_failed(struct member *member, const struct addr *client, const char *why,
		   struct metrics *metrics);

/* --- Drains --------------------------------------------------------------------------------- */

enum member_drain {
	MEMBER_SERVES,
	MEMBER_DRAINS, /* takes no new users by hash or assign */
	MEMBER_KICKS,  /* and those that it has so are moved away, `rate` sessions a second */
};

/* member_set_drain is told by who reads `gatepost:drain:NAME`; a change is logged. A `rate` of 0 is
 * moves.drain_rate. */
void member_set_drain(struct member *member, enum member_drain drain, unsigned rate);

/* member_take_kick tells whether one more session may be moved away now, at the drain's rate; of a
 * member whose canary is over, at moves.drain_rate; never of one that neither kicks nor is over. */
bool member_take_kick(struct member *member, uint64_t now_ms);
enum member_drain member_drain(const struct member *member);
unsigned member_drain_rate(const struct member *member);

/* member_takes_users: it has a weight, and does not drain. Whether it is up is another question. */
bool member_takes_users(const struct member *member);

/* --- Paces ---------------------------------------------------------------------------------- */

#define MEMBER_NO_SLOT UINT64_MAX

/* member_book_connect books the next connection: the milliseconds to wait from `now_ms`, 0 mostly,
 * in the order of asking whoever asks (backend.connect_rate; less while it starts slowly after it
 * came up, backend.slow_start). MEMBER_NO_SLOT where that would be longer than
 * backend.connect_queue. member_book_return gives back a booking of which nothing came, by the time
 * that it was booked for (`now_ms` and the wait); it is lost where others were made behind it. */
uint64_t member_book_connect(struct member *member, uint64_t now_ms);
void member_book_return(struct member *member, uint64_t slot_ms);

/* member_book_end books the end of a session whose backend has gone: the milliseconds to wait, so
 * that clients do not come back all at once (moves.disconnect_rate, at most
 * moves.disconnect_spread). */
uint64_t member_book_end(struct member *member, uint64_t now_ms);

/* --- Sessions ------------------------------------------------------------------------------- */

void member_session_began(struct member *member);
void member_session_ended(struct member *member);
unsigned member_sessions(const struct member *member);

/* --- Canary --------------------------------------------------------------------------------- */

/* member_set_canary_over is told by who reads or writes `gatepost:canary:NAME`: its share goes home
 * again. A change is logged. */
void member_set_canary_over(struct member *member, bool over);
bool member_canary_is_over(const struct member *member);

#endif
