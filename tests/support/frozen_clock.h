/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the clock in a test that includes it: time passes when the test says so. It defines
 * what the linker puts in the place of clock_gettime (see the Makefile), so only one file of a
 * program may include it.
 */
#ifndef GATEPOST_TESTS_FROZEN_CLOCK_H
#define GATEPOST_TESTS_FROZEN_CLOCK_H

#include <ev.h>
#include <stdint.h>
#include <time.h>

#include "support/session_rig.h"

static uint64_t frozen_ms = 1000000;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_MONOTONIC) {
		return __real_clock_gettime(clock, now);
	}
	*now = (struct timespec){
		.tv_sec = (time_t)(frozen_ms / 1000),
		.tv_nsec = (long)(frozen_ms % 1000) * 1000000,
	};
	return 0;
}

/* pass lets so much time go by, and what is due then happen. */
static inline void pass(struct session_rig *rig, uint64_t milliseconds)
{
	frozen_ms += milliseconds;
	ev_feed_event(rig->loop, &rig->timeouts.timer, EV_TIMER);
	rig_turn(rig);
}

/* pass_all does so millisecond by millisecond, which is how it passes for what is due one after the
 * other. */
static inline void pass_all(struct session_rig *rig, uint64_t milliseconds)
{
	for (uint64_t i = 0; i < milliseconds; i++) {
		pass(rig, 1);
	}
}

#endif
