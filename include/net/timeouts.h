/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines by the thousand for the price of one timer: lists ordered by deadline, and one
 * ev_timer set to the earliest. A deadline that lies behind all others of its list, the usual case
 * where a list serves one kind of wait, costs a few instructions.
 */
#ifndef GATEPOST_NET_TIMEOUTS_H
#define GATEPOST_NET_TIMEOUTS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMEOUT_NEVER UINT64_MAX

/* Things of a list that are told of their deadlines in one turn of the loop; others have come in
 * between when the next are. */
#define TIMEOUT_TURN_MAX 16

struct timeout;
struct timeout_list;

typedef void timeout_callback_t(struct timeout *timeout);

/* struct timeout is embedded in what waits; zero is "not in a list". */
struct timeout {
	struct timeout *previous;
	struct timeout *next;
	struct timeout_list *list;
	uint64_t deadline_ms;
};

/* struct timeout_list holds waiting things, earliest deadline first; `count` is how many. */
struct timeout_list {
	struct timeout *head;
	struct timeout *tail;
	unsigned count;
	timeout_callback_t *expired;
	struct timeouts *owner;
	struct timeout_list *next;
};

/* struct timeouts is a worker's clock: all its lists and the one timer. */
struct timeouts {
	struct ev_loop *loop;
	struct ev_timer timer;
	struct timeout_list *lists;
	uint64_t armed_ms; /* what the timer is set to, TIMEOUT_NEVER when it is off */
	uint64_t round_ms; /* while callbacks are called: up to when, otherwise 0 */
};

void timeouts_init(struct timeouts *timeouts, struct ev_loop *loop);

/* timeouts_done stops the timer; lists must be empty. */
void timeouts_done(struct timeouts *timeouts);

/* timeouts_now_ms is monotonic time: it never jumps with the wall clock. */
uint64_t timeouts_now_ms(void);

/* timeout_list_init joins a list to a clock; `expired` is called for each thing whose deadline has
 * come, after it was taken off the list. It may add and remove any, itself too; what it adds is
 * told in a later turn, even if that deadline has been. */
void timeout_list_init(struct timeout_list *list, struct timeouts *timeouts,
		       timeout_callback_t *expired);

/* timeout_list_done takes an empty list off its clock. */
void timeout_list_done(struct timeout_list *list);

/* timeout_add puts `timeout`, which must be in no list, where its deadline belongs. TIMEOUT_NEVER
 * waits for ever and only counts. */
void timeout_add(struct timeout_list *list, struct timeout *timeout, uint64_t deadline_ms);

/* timeout_remove takes it off its list; nothing happens if it is in none. */
void timeout_remove(struct timeout *timeout);

static inline bool timeout_is_waiting(const struct timeout *timeout)
{
	return timeout->list != NULL;
}

#endif
