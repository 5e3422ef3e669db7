/* SPDX-License-Identifier: Apache-2.0
 *
 * Things that other threads hand over to the thread of a loop. An item is embedded in what is
 * handed over, so nothing is allocated; what it says is its owner's business and under its owner's
 * lock. Posting may be done under any lock: the inbox takes its own for a few instructions, and
 * calls nobody while it holds it.
 */
#ifndef GATEPOST_NET_INBOX_H
#define GATEPOST_NET_INBOX_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>

struct inbox;
struct inbox_item;

typedef void inbox_receive_t(struct inbox *inbox, struct inbox_item *item);

/* struct inbox_item: zero lies in no inbox. Its fields are the inbox's. */
struct inbox_item {
	struct inbox_item *previous;
	struct inbox_item *next;
	bool posted;
};

/* struct inbox is embedded in the receiver. */
struct inbox {
	struct ev_loop *loop;
	struct ev_async bell;
	pthread_mutex_t lock;
	struct inbox_item *head; /* oldest first */
	inbox_receive_t *receive;
	bool open;
};

/* inbox_open: `receive` is called on the thread that runs `loop`, once for each item posted, after
 * the item was taken out. It may post and withdraw any item. A turn of the loop receives what was
 * posted before it began, so that senders cannot starve the loop. */
void inbox_open(struct inbox *inbox, struct ev_loop *loop, inbox_receive_t *receive);

/* inbox_post, on any thread. An item that still lies in this inbox stays where it is. An item has
 * one inbox for all its life. */
void inbox_post(struct inbox *inbox, struct inbox_item *item);

/* inbox_withdraw takes an item back, on any thread. It lies in no inbox then; but a call of
 * `receive` for it may be under way on the receiver's own thread. */
void inbox_withdraw(struct inbox *inbox, struct inbox_item *item);

/* inbox_close forgets what was not received. Nobody may post any more; not from `receive`. A zero
 * inbox is fine. */
void inbox_close(struct inbox *inbox);

#endif
