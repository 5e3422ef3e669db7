/* SPDX-License-Identifier: Apache-2.0
 *
 * A pace by virtual scheduling (as GCRA of ATM, ITU-T I.371): so many a second, of which a tenth of
 * a second's worth, and one at least, may come at once. Who asks books the next free slot, and so
 * all that is to be kept is when that is: there is no queue, and nobody is overtaken.
 */
#ifndef GATEPOST_ROUTING_MEMBER_PACE_INTERNAL_H
#define GATEPOST_ROUTING_MEMBER_PACE_INTERNAL_H

#include <stdint.h>

#define MEMBER_PACE_FULL UINT64_MAX

/* struct member_pace: zero has nothing booked. */
struct member_pace {
	uint64_t next_ns;
	/* The last bookings of one time, which may be given back. */
	uint64_t last_ms;
	uint64_t last_interval_ns;
	unsigned last_count;
};

/* struct member_rate: `per_second` > 0, at most MEMBER_RATE_MAX; from `ramp_from_ms` on it grows
 * from a tenth to the whole within `ramp_ms`, at most MEMBER_RAMP_MAX_MS; 0 is at once. */
struct member_rate {
	unsigned per_second;
	uint64_t ramp_from_ms;
	uint64_t ramp_ms;
};

#define MEMBER_RATE_MAX    1000000
#define MEMBER_RAMP_MAX_MS 86400000

/* member_pace_book gives the milliseconds to wait; MEMBER_PACE_FULL, and nothing is booked, where
 * they would be more than `longest_ms`. */
uint64_t member_pace_book(struct member_pace *pace, const struct member_rate *rate, uint64_t now_ms,
			  uint64_t longest_ms);

/* member_pace_return gives back a booking for `slot_ms`, where no other lies behind it. */
void member_pace_return(struct member_pace *pace, uint64_t slot_ms);

#endif
