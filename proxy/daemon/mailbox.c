/* SPDX-License-Identifier: Apache-2.0
 *
 * Letters between threads: a set of bits and a bell.
 */
#include "daemon/mailbox.h"

#include "base/base.h"

static void on_bell(struct ev_loop *loop, struct ev_async *bell, int events)
{
	struct mailbox *mailbox = container_of(bell, struct mailbox, bell);
	unsigned letters = atomic_exchange(&mailbox->letters, 0);

	(void)loop;
	(void)events;
	for (unsigned letter = 0; letter < LETTER_COUNT; letter++) {
		if ((letters & (1U << letter)) != 0) {
			mailbox->received(mailbox, (enum letter)letter);
		}
	}
}

void mailbox_open(struct mailbox *mailbox, struct ev_loop *loop, mailbox_callback_t *received)
{
	mailbox->loop = loop;
	mailbox->received = received;
	atomic_init(&mailbox->letters, 0);
	ev_async_init(&mailbox->bell, on_bell);
	ev_async_start(loop, &mailbox->bell);
}

void mailbox_post(struct mailbox *mailbox, enum letter letter)
{
	atomic_fetch_or(&mailbox->letters, 1U << letter);
	ev_async_send(mailbox->loop, &mailbox->bell);
}

void mailbox_close(struct mailbox *mailbox)
{
	ev_async_stop(mailbox->loop, &mailbox->bell);
}
