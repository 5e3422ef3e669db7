/* SPDX-License-Identifier: Apache-2.0
 *
 * Letters from one thread to another's loop. A letter is a word of a fixed vocabulary; posting one
 * that still lies there changes nothing.
 */
#ifndef GATEPOST_DAEMON_MAILBOX_H
#define GATEPOST_DAEMON_MAILBOX_H

#include <ev.h>
#include <stdatomic.h>

enum letter {
	LETTER_DRAIN,  /* to a worker: accept no more, let sessions go on */
	LETTER_FINISH, /* to a worker: end all sessions in order */
	LETTER_STOP,   /* to a worker: end all sessions now */
	LETTER_ENDED,  /* from a worker: my loop is over */
	LETTER_COUNT
};

struct mailbox;

typedef void mailbox_callback_t(struct mailbox *mailbox, enum letter letter);

/* struct mailbox is embedded in the receiver. */
struct mailbox {
	struct ev_loop *loop;
	struct ev_async bell;
	atomic_uint letters;
	mailbox_callback_t *received;
};

/* mailbox_open: `received` is called on the thread that runs `loop`. */
void mailbox_open(struct mailbox *mailbox, struct ev_loop *loop, mailbox_callback_t *received);

/* mailbox_post may be called on any thread while the mailbox is open. */
void mailbox_post(struct mailbox *mailbox, enum letter letter);

/* mailbox_close forgets what was not received; nobody may post any more. Not from `received`. */
void mailbox_close(struct mailbox *mailbox);

#endif
