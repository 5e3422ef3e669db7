/* SPDX-License-Identifier: Apache-2.0
 *
 * A bound for lines that a storm would repeat by the thousand: one a second, and how many were
 * held back.
 */
#ifndef GATEPOST_CORE_LOG_BOUND_H
#define GATEPOST_CORE_LOG_BOUND_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_BOUND_INTERVAL_MS 1000

/* struct log_bound: zero has written nothing yet. */
struct log_bound {
	uint64_t last_ms;
	uint64_t held_back; /* since the last line */
	bool written;
};

/* log_bound_admits tells whether a line may be written at `now_ms` (monotonic). Then `*held_back`
 * is how many were not since the last one, for that line to say; otherwise this one is counted. */
bool log_bound_admits(struct log_bound *bound, uint64_t now_ms, uint64_t *held_back);

#endif
