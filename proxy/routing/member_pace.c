/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots one after the other, an interval apart. Those that nobody took are kept for a tenth of a
 * second's worth.
 */
#include "member_pace_internal.h"

#include "base/base.h"

#define NS_PER_MS 1000000

/* In thousandths a second. */
static uint64_t rate_at(const struct member_rate *rate, uint64_t now_ms)
{
	uint64_t whole = (uint64_t)rate->per_second * 1000;
	uint64_t elapsed_ms = now_ms > rate->ramp_from_ms ? now_ms - rate->ramp_from_ms : 0;

	if (elapsed_ms >= rate->ramp_ms) {
		return whole;
	}
	return whole / 10 + (whole - whole / 10) * elapsed_ms / rate->ramp_ms;
}

static uint64_t interval_ns(uint64_t thousandths)
{
	return UINT64_C(1000000000000) / thousandths;
}

/* How far back a slot may lie that nobody took. */
static uint64_t tolerance_ns(uint64_t thousandths)
{
	uint64_t burst = thousandths / 10000;

	return burst > 1 ? (burst - 1) * interval_ns(thousandths) : 0;
}

static void note(struct member_pace *pace, uint64_t slot_ms, uint64_t interval)
{
	if (pace->last_ms != slot_ms || pace->last_interval_ns != interval) {
		pace->last_ms = slot_ms;
		pace->last_interval_ns = interval;
		pace->last_count = 0;
	}
	pace->last_count++;
}

uint64_t member_pace_book(struct member_pace *pace, const struct member_rate *rate, uint64_t now_ms,
			  uint64_t longest_ms)
{
	uint64_t now_ns = now_ms * NS_PER_MS;
	uint64_t tolerance = tolerance_ns(rate_at(rate, now_ms));
	uint64_t earliest = now_ns > tolerance ? now_ns - tolerance : 0;
	uint64_t slot_ns = pace->next_ns > earliest ? pace->next_ns : earliest;
	uint64_t wait_ms = slot_ns > now_ns ? (slot_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
	uint64_t interval;

	invariant(rate->per_second > 0 && rate->per_second <= MEMBER_RATE_MAX);
	if (wait_ms > longest_ms) {
		return MEMBER_PACE_FULL;
	}
	/* The rate is that of the slot's own time: a queue that was booked while the member starts
	 * slowly grows faster with it. */
	interval = interval_ns(rate_at(rate, slot_ns / NS_PER_MS));
	pace->next_ns = slot_ns + interval;
	note(pace, now_ms + wait_ms, interval);
	return wait_ms;
}

void member_pace_return(struct member_pace *pace, uint64_t slot_ms)
{
	if (pace->last_count > 0 && pace->last_ms == slot_ms) {
		pace->last_count--;
		pace->next_ns -= pace->last_interval_ns;
	}
}
