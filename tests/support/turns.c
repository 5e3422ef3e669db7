/* SPDX-License-Identifier: Apache-2.0
 *
 * Turning an event loop until something has happened.
 */
#include "support/turns.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 30.0

static void on_alarm(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	*(bool *)timer->data = true;
}

void turns_until(struct ev_loop *loop, bool (*done)(const void *context), const void *context)
{
	struct ev_timer alarm;
	bool over = false;

	ev_timer_init(&alarm, on_alarm, PATIENCE_SECONDS, 0.0);
	alarm.data = &over;
	ev_now_update(loop);
	ev_timer_start(loop, &alarm);
	while (!done(context) && !over) {
		ev_run(loop, EVRUN_ONCE);
	}
	ev_timer_stop(loop, &alarm);
	assert_false(over);
}

struct count {
	const unsigned *counter;
	unsigned count;
};

static bool count_reached(const void *context)
{
	const struct count *count = context;

	return *count->counter >= count->count;
}

void turns_until_count(struct ev_loop *loop, const unsigned *counter, unsigned count)
{
	turns_until(loop, count_reached, &(struct count){counter, count});
}

void turns_for(struct ev_loop *loop, unsigned milliseconds)
{
	struct ev_timer alarm;
	bool over = false;

	ev_timer_init(&alarm, on_alarm, milliseconds / 1000.0, 0.0);
	alarm.data = &over;
	ev_now_update(loop);
	ev_timer_start(loop, &alarm);
	while (!over) {
		ev_run(loop, EVRUN_ONCE);
	}
}
