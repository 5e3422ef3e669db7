/* SPDX-License-Identifier: Apache-2.0
 *
 * One line a second, and a count of the others.
 */
#include "core/log_bound.h"

bool log_bound_admits(struct log_bound *bound, uint64_t now_ms, uint64_t *held_back)
{
	if (bound->written && now_ms - bound->last_ms < LOG_BOUND_INTERVAL_MS) {
		bound->held_back++;
		return false;
	}
	*held_back = bound->held_back;
	*bound = (struct log_bound){.last_ms = now_ms, .written = true};
	return true;
}
