/* SPDX-License-Identifier: Apache-2.0
 *
 * Things for the thread of a loop: a ring of items under a lock, and a bell. The bell rings when
 * the first item comes; who finds others there knows that it rings already.
 */
#include "net/inbox.h"

#include "base/base.h"

static void append(struct inbox *inbox, struct inbox_item *item)
{
	struct inbox_item *head = inbox->head;

	if (head == NULL) {
		item->previous = item;
		item->next = item;
		inbox->head = item;
	} else {
		item->previous = head->previous;
		item->next = head;
		head->previous->next = item;
		head->previous = item;
	}
	item->posted = true;
}

static void take_out(struct inbox *inbox, struct inbox_item *item)
{
	if (item->next == item) {
		inbox->head = NULL;
	} else {
		item->previous->next = item->next;
		item->next->previous = item->previous;
		if (inbox->head == item) {
			inbox->head = item->next;
		}
	}
	*item = (struct inbox_item){0};
}

/* The oldest item, taken out; NULL when it was the mark. What came behind the mark has found the
 * inbox not empty, so the bell is rung for it. */
static struct inbox_item *take_oldest(struct inbox *inbox, struct inbox_item *mark)
{
	struct inbox_item *item;
	bool ring;

	pthread_mutex_lock(&inbox->lock);
	item = inbox->head;
	take_out(inbox, item);
	ring = item == mark && inbox->head != NULL;
	pthread_mutex_unlock(&inbox->lock);
	if (ring) {
		ev_async_send(inbox->loop, &inbox->bell);
	}
	return item == mark ? NULL : item;
}

static void on_bell(struct ev_loop *loop, struct ev_async *bell, int events)
{
	struct inbox *inbox = container_of(bell, struct inbox, bell);
	struct inbox_item mark = {0};
	struct inbox_item *item;

	(void)loop;
	(void)events;
	pthread_mutex_lock(&inbox->lock);
	append(inbox, &mark);
	pthread_mutex_unlock(&inbox->lock);
	while ((item = take_oldest(inbox, &mark)) != NULL) {
		inbox->receive(inbox, item);
	}
}

void inbox_open(struct inbox *inbox, struct ev_loop *loop, inbox_receive_t *receive)
{
	*inbox = (struct inbox){.loop = loop, .receive = receive, .open = true};
	pthread_mutex_init(&inbox->lock, NULL);
	ev_async_init(&inbox->bell, on_bell);
	ev_async_start(loop, &inbox->bell);
}

void inbox_post(struct inbox *inbox, struct inbox_item *item)
{
	bool ring = false;

	invariant(inbox->open);
	pthread_mutex_lock(&inbox->lock);
	if (!item->posted) {
		ring = inbox->head == NULL;
		append(inbox, item);
	}
	pthread_mutex_unlock(&inbox->lock);
	if (ring) {
		ev_async_send(inbox->loop, &inbox->bell);
	}
}

void inbox_withdraw(struct inbox *inbox, struct inbox_item *item)
{
	if (!inbox->open) {
		return;
	}
	pthread_mutex_lock(&inbox->lock);
	if (item->posted) {
		take_out(inbox, item);
	}
	pthread_mutex_unlock(&inbox->lock);
}

void inbox_close(struct inbox *inbox)
{
	if (!inbox->open) {
		return;
	}
	ev_async_stop(inbox->loop, &inbox->bell);
	while (inbox->head != NULL) {
		take_out(inbox, inbox->head);
	}
	pthread_mutex_destroy(&inbox->lock);
	*inbox = (struct inbox){0};
}
