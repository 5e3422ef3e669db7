/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordered deadline lists over one ev_timer. New deadlines are sought a place for from the end,
 * which is where nearly all of them belong.
 */
#include "net/timeouts.h"

#include <time.h>
#include <utlist.h>

#include "base/base.h"

uint64_t timeouts_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t earliest_deadline(const struct timeouts *timeouts)
{
	uint64_t earliest = TIMEOUT_NEVER;
	const struct timeout_list *list;

	LL_FOREACH(timeouts->lists, list)
	{
		if (list->head != NULL && list->head->deadline_ms < earliest) {
			earliest = list->head->deadline_ms;
		}
	}
	return earliest;
}

/* The timer may fire too early (a removed deadline) but never too late, so here it is only ever set
 * to an earlier time. */
static void arm(struct timeouts *timeouts, uint64_t deadline_ms)
{
	uint64_t now_ms = timeouts_now_ms();
	double seconds = 0.0;

	if (deadline_ms >= timeouts->armed_ms) {
		return;
	}
	if (deadline_ms > now_ms) {
		/* One more, so that rounding does not wake early. */
		seconds = (double)(deadline_ms - now_ms + 1) / 1000.0;
	}
	timeouts->armed_ms = deadline_ms;
	ev_timer_stop(timeouts->loop, &timeouts->timer);
	ev_timer_set(&timeouts->timer, seconds, 0.0);
	ev_timer_start(timeouts->loop, &timeouts->timer);
}

/* What is left makes the timer due at once. */
static void expire_list(struct timeout_list *list, uint64_t now_ms)
{
	for (unsigned told = 0;
	     told < TIMEOUT_TURN_MAX && list->head != NULL && list->head->deadline_ms <= now_ms;
	     told++) {
		struct timeout *timeout = list->head;

		timeout_remove(timeout);
		list->expired(timeout);
	}
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct timeouts *timeouts = container_of(timer, struct timeouts, timer);
	uint64_t now_ms = timeouts_now_ms();
	struct timeout_list *list;

	(void)loop;
	(void)events;
	timeouts->armed_ms = TIMEOUT_NEVER;
	timeouts->round_ms = now_ms;
	LL_FOREACH(timeouts->lists, list)
	{
		expire_list(list, now_ms);
	}
	timeouts->round_ms = 0;
	arm(timeouts, earliest_deadline(timeouts));
}

void timeouts_init(struct timeouts *timeouts, struct ev_loop *loop)
{
	*timeouts = (struct timeouts){.loop = loop, .armed_ms = TIMEOUT_NEVER};
	ev_timer_init(&timeouts->timer, on_timer, 0.0, 0.0);
}

void timeouts_done(struct timeouts *timeouts)
{
	const struct timeout_list *list;

	LL_FOREACH(timeouts->lists, list)
	{
		invariant(list->head == NULL);
	}
	ev_timer_stop(timeouts->loop, &timeouts->timer);
}

void timeout_list_init(struct timeout_list *list, struct timeouts *timeouts,
		       timeout_callback_t *expired)
{
	*list = (struct timeout_list){.expired = expired, .owner = timeouts};
	LL_PREPEND(timeouts->lists, list);
}

void timeout_list_done(struct timeout_list *list)
{
	invariant(list->head == NULL);
	LL_DELETE(list->owner->lists, list);
}

static void insert_behind(struct timeout_list *list, struct timeout *before,
			  struct timeout *timeout)
{
	timeout->previous = before;
	timeout->next = before != NULL ? before->next : list->head;
	if (timeout->next != NULL) {
		timeout->next->previous = timeout;
	} else {
		list->tail = timeout;
	}
	if (before != NULL) {
		before->next = timeout;
	} else {
		list->head = timeout;
	}
}

void timeout_add(struct timeout_list *list, struct timeout *timeout, uint64_t deadline_ms)
{
	struct timeout *before = list->tail;

	invariant(timeout->list == NULL);
	if (deadline_ms <= list->owner->round_ms) {
		deadline_ms = list->owner->round_ms + 1; /* or the round would never end */
	}
	while (before != NULL && before->deadline_ms > deadline_ms) {
		before = before->previous;
	}
	timeout->deadline_ms = deadline_ms;
	timeout->list = list;
	insert_behind(list, before, timeout);
	list->count++;
	if (deadline_ms != TIMEOUT_NEVER) {
		arm(list->owner, deadline_ms);
	}
}

void timeout_remove(struct timeout *timeout)
{
	struct timeout_list *list = timeout->list;

	if (list == NULL) {
		return;
	}
	if (timeout->previous != NULL) {
		timeout->previous->next = timeout->next;
	} else {
		list->head = timeout->next;
	}
	if (timeout->next != NULL) {
		timeout->next->previous = timeout->previous;
	} else {
		list->tail = timeout->previous;
	}
	list->count--;
	*timeout = (struct timeout){0};
}
