/* SPDX-License-Identifier: Apache-2.0
 *
 * The inbox: what is posted is received once and in order, a turn ends, and threads that post and
 * withdraw at the same time lose nothing.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ev.h>

#include "base/base.h"
#include "net/inbox.h"

#define LETTERS 6

struct letter {
	struct inbox_item item;
	char name;
	bool posts_itself;
	struct letter *posts; /* others, from `receive` */
	struct letter *withdraws;
};

/* struct desk writes down whom it heard of. */
struct desk {
	struct inbox inbox;
	struct ev_loop *loop;
	struct letter letters[LETTERS]; /* a, b, c ... */
	char heard[64];
};

static void on_letter(struct inbox *inbox, struct inbox_item *item)
{
	struct desk *desk = container_of(inbox, struct desk, inbox);
	struct letter *letter = container_of(item, struct letter, item);
	size_t length = strlen(desk->heard);

	assert_false(item->posted);
	assert_true(length + 1 < sizeof(desk->heard));
	desk->heard[length] = letter->name;
	if (letter->posts_itself) {
		inbox_post(inbox, item);
	}
	if (letter->posts != NULL) {
		inbox_post(inbox, &letter->posts->item);
	}
	if (letter->withdraws != NULL) {
		inbox_withdraw(inbox, &letter->withdraws->item);
	}
}

static void open_desk(struct desk *desk)
{
	*desk = (struct desk){.loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL)};
	assert_non_null(desk->loop);
	inbox_open(&desk->inbox, desk->loop, on_letter);
	for (size_t i = 0; i < LETTERS; i++) {
		desk->letters[i].name = (char)('a' + i);
	}
}

static void close_desk(struct desk *desk)
{
	inbox_close(&desk->inbox);
	ev_loop_destroy(desk->loop);
}

/* "ab-ac" posts a and b, withdraws a, and posts c. */
static void say(struct desk *desk, const char *words)
{
	for (const char *word = words; *word != '\0'; word++) {
		bool withdraws = *word == '-';
		struct letter *letter;

		word += withdraws ? 1 : 0;
		letter = &desk->letters[*word - 'a'];
		if (withdraws) {
			inbox_withdraw(&desk->inbox, &letter->item);
		} else {
			inbox_post(&desk->inbox, &letter->item);
		}
	}
}

/* What one turn of the loop receives. */
static void expect_turn(struct desk *desk, const char *heard)
{
	memset(desk->heard, 0, sizeof(desk->heard));
	ev_run(desk->loop, EVRUN_NOWAIT);
	assert_string_equal(desk->heard, heard);
}

static void test_order(void **state)
{
	static const struct {
		const char *words;
		const char *heard;
	} rows[] = {
		{"", ""},
		{"a", "a"},
		{"abc", "abc"},
		{"cab", "cab"},
		{"aaa", "a"},
		{"abca", "abc"},
		{"-a", ""},
		{"a-a", ""},
		{"a-aa", "a"},
		{"ab-a", "b"},
		{"ab-b", "a"},
		{"abc-b", "ac"},
		{"abc-a", "bc"},
		{"abc-c", "ab"},
		{"abc-aa", "bca"},
		{"abc-a-b-c", ""},
		{"abc-c-b-acba", "cba"},
		{"ab-a-a-b-b", ""},
	};
	struct desk desk;

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		open_desk(&desk);
		say(&desk, rows[i].words);
		expect_turn(&desk, rows[i].heard);
		expect_turn(&desk, "");
		close_desk(&desk);
	}
}

static void test_posted_again(void **state)
{
	struct desk desk;

	(void)state;
	open_desk(&desk);
	for (unsigned i = 0; i < 3; i++) {
		say(&desk, "ab");
		expect_turn(&desk, "ab");
		say(&desk, "ba-b");
		expect_turn(&desk, "a");
	}
	close_desk(&desk);
}

/* What is posted while the inbox is emptied waits for the next turn, and comes in it. */
static void test_turn_ends(void **state)
{
	struct desk desk;

	(void)state;
	open_desk(&desk);
	desk.letters[0].posts_itself = true;
	desk.letters[1].posts = &desk.letters[3];
	say(&desk, "abc");
	expect_turn(&desk, "abc");
	expect_turn(&desk, "ad");
	expect_turn(&desk, "a");
	desk.letters[0].posts_itself = false;
	expect_turn(&desk, "a");
	expect_turn(&desk, "");
	close_desk(&desk);
}

/* One that is received takes back others: of this turn, and of the next one. */
static void test_withdrawn_meanwhile(void **state)
{
	struct desk desk;

	(void)state;
	open_desk(&desk);
	desk.letters[0].withdraws = &desk.letters[2];
	say(&desk, "abcd");
	expect_turn(&desk, "abd");
	desk.letters[1].withdraws = &desk.letters[1];
	say(&desk, "ba");
	expect_turn(&desk, "ba");
	/* d is posted for the next turn by a, and taken back by b. */
	desk.letters[0] = (struct letter){.name = 'a', .posts = &desk.letters[3]};
	desk.letters[1].withdraws = &desk.letters[3];
	say(&desk, "ab");
	expect_turn(&desk, "ab");
	expect_turn(&desk, "");
	say(&desk, "c");
	expect_turn(&desk, "c");
	close_desk(&desk);
}

static void test_close(void **state)
{
	struct inbox nobody = {0};
	struct desk desk;

	(void)state;
	inbox_close(&nobody);
	inbox_withdraw(&nobody, &(struct inbox_item){0});
	open_desk(&desk);
	say(&desk, "abc");
	inbox_close(&desk.inbox);
	for (size_t i = 0; i < LETTERS; i++) {
		assert_false(desk.letters[i].item.posted);
	}
	inbox_withdraw(&desk.inbox, &desk.letters[0].item);
	inbox_open(&desk.inbox, desk.loop, on_letter);
	expect_turn(&desk, "");
	say(&desk, "b");
	expect_turn(&desk, "b");
	close_desk(&desk);
}

/* --- Threads -------------------------------------------------------------------------------- */

#define SENDERS 4
#define PARCELS 8
#define ROUNDS  3000

/* struct parcel: what it says is under its own lock, as the header asks. */
struct parcel {
	struct inbox_item item;
	pthread_mutex_t lock;
	unsigned said;
	unsigned heard;
	bool withdrawn; /* the sender's last word: it may not have been heard */
};

static struct {
	struct inbox inbox;
	struct inbox_item end;
	pthread_mutex_t lock;
	unsigned senders;
	bool over;
	struct parcel parcels[PARCELS];
} post;

static void on_parcel(struct inbox *inbox, struct inbox_item *item)
{
	struct parcel *parcel = container_of(item, struct parcel, item);

	if (item == &post.end) {
		post.over = true;
		ev_break(inbox->loop, EVBREAK_ONE);
		return;
	}
	pthread_mutex_lock(&parcel->lock);
	parcel->heard = parcel->said;
	pthread_mutex_unlock(&parcel->lock);
}

/* Every sender writes into all parcels; each of its rounds withdraws a quarter of them first. */
static void *send_parcels(void *argument)
{
	unsigned seed = *(unsigned *)argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct parcel *parcel = &post.parcels[rand_r(&seed) % PARCELS];

		pthread_mutex_lock(&parcel->lock);
		parcel->said++;
		parcel->withdrawn = rand_r(&seed) % 4 == 0;
		/* Under the lock, so that the last word of this parcel is the last one posted. */
		if (parcel->withdrawn) {
			inbox_withdraw(&post.inbox, &parcel->item);
		} else {
			inbox_post(&post.inbox, &parcel->item);
		}
		pthread_mutex_unlock(&parcel->lock);
	}
	pthread_mutex_lock(&post.lock);
	if (--post.senders == 0) {
		inbox_post(&post.inbox, &post.end);
	}
	pthread_mutex_unlock(&post.lock);
	return NULL;
}

static void test_threads(void **state)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	unsigned seeds[SENDERS];
	pthread_t threads[SENDERS];

	(void)state;
	assert_non_null(loop);
	post.senders = SENDERS;
	pthread_mutex_init(&post.lock, NULL);
	for (size_t i = 0; i < PARCELS; i++) {
		pthread_mutex_init(&post.parcels[i].lock, NULL);
	}
	inbox_open(&post.inbox, loop, on_parcel);
	for (unsigned i = 0; i < SENDERS; i++) {
		seeds[i] = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, send_parcels, &seeds[i]), 0);
	}
	while (!post.over) {
		ev_run(loop, EVRUN_ONCE);
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	/* The end was posted last, so all else was received before it. */
	for (size_t i = 0; i < PARCELS; i++) {
		struct parcel *parcel = &post.parcels[i];

		assert_false(parcel->item.posted);
		assert_true(parcel->withdrawn || parcel->heard == parcel->said);
		pthread_mutex_destroy(&parcel->lock);
	}
	assert_null(post.inbox.head);
	inbox_close(&post.inbox);
	pthread_mutex_destroy(&post.lock);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),     cmocka_unit_test(test_posted_again),
		cmocka_unit_test(test_turn_ends), cmocka_unit_test(test_withdrawn_meanwhile),
		cmocka_unit_test(test_close),     cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
