/* SPDX-License-Identifier: Apache-2.0
 *
 * Letters between threads: each is received once, on the receiver's thread, in the vocabulary's
 * order, however often it was posted before.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ev.h>

#include "base/base.h"
#include "daemon/mailbox.h"
#include "support/turns.h"

struct receiver {
	struct mailbox mailbox;
	struct ev_loop *loop;
	enum letter letters[16];
	unsigned count;
	pthread_t thread; /* that received the last */
	bool answers;     /* posts LETTER_ENDED on LETTER_DRAIN */
};

static void receive(struct mailbox *mailbox, enum letter letter)
{
	struct receiver *receiver = container_of(mailbox, struct receiver, mailbox);

	assert_true(receiver->count < array_length(receiver->letters));
	receiver->letters[receiver->count++] = letter;
	receiver->thread = pthread_self();
	if (receiver->answers && letter == LETTER_DRAIN) {
		mailbox_post(mailbox, LETTER_ENDED);
	}
}

static void open_receiver(struct receiver *receiver)
{
	*receiver = (struct receiver){.loop = ev_loop_new(EVFLAG_AUTO)};
	assert_non_null(receiver->loop);
	mailbox_open(&receiver->mailbox, receiver->loop, receive);
}

static void close_receiver(struct receiver *receiver)
{
	mailbox_close(&receiver->mailbox);
	ev_loop_destroy(receiver->loop);
}

static void test_one_turn_brings_each_once_and_in_order(void **state)
{
	struct receiver receiver;

	(void)state;
	open_receiver(&receiver);
	mailbox_post(&receiver.mailbox, LETTER_STOP);
	mailbox_post(&receiver.mailbox, LETTER_DRAIN);
	mailbox_post(&receiver.mailbox, LETTER_DRAIN);
	mailbox_post(&receiver.mailbox, LETTER_STOP);
	turns_for(receiver.loop, 5);
	assert_int_equal(receiver.count, 2);
	assert_int_equal(receiver.letters[0], LETTER_DRAIN);
	assert_int_equal(receiver.letters[1], LETTER_STOP);
	mailbox_post(&receiver.mailbox, LETTER_DRAIN);
	turns_until_count(receiver.loop, &receiver.count, 3);
	assert_int_equal(receiver.letters[2], LETTER_DRAIN);
	close_receiver(&receiver);
}

static void test_a_letter_posted_while_receiving_arrives(void **state)
{
	struct receiver receiver;

	(void)state;
	open_receiver(&receiver);
	receiver.answers = true;
	mailbox_post(&receiver.mailbox, LETTER_DRAIN);
	turns_until_count(receiver.loop, &receiver.count, 2);
	assert_int_equal(receiver.letters[1], LETTER_ENDED);
	close_receiver(&receiver);
}

static void *post_all(void *argument)
{
	struct receiver *receiver = argument;

	for (unsigned letter = 0; letter < LETTER_COUNT; letter++) {
		mailbox_post(&receiver->mailbox, (enum letter)letter);
	}
	return NULL;
}

static void test_from_another_thread(void **state)
{
	struct receiver receiver;
	pthread_t thread;
	unsigned seen = 0;

	(void)state;
	open_receiver(&receiver);
	assert_int_equal(pthread_create(&thread, NULL, post_all, &receiver), 0);
	turns_until_count(receiver.loop, &receiver.count, LETTER_COUNT);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < receiver.count; i++) {
		seen |= 1U << receiver.letters[i];
	}
	assert_int_equal(receiver.count, LETTER_COUNT);
	assert_int_equal(seen, (1U << LETTER_COUNT) - 1);
	assert_true(pthread_equal(receiver.thread, pthread_self()));
	close_receiver(&receiver);
}

static void test_close_forgets(void **state)
{
	struct receiver receiver;

	(void)state;
	open_receiver(&receiver);
	mailbox_post(&receiver.mailbox, LETTER_DRAIN);
	mailbox_close(&receiver.mailbox);
	turns_for(receiver.loop, 5);
	assert_int_equal(receiver.count, 0);
	ev_loop_destroy(receiver.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_turn_brings_each_once_and_in_order),
		cmocka_unit_test(test_a_letter_posted_while_receiving_arrives),
		cmocka_unit_test(test_from_another_thread),
		cmocka_unit_test(test_close_forgets),
	};

	return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
