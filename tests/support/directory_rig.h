/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory between a fake store and two desks, all in one loop, for tests that include it: only
 * one file of a program may.
 */
#ifndef GATEPOST_TESTS_DIRECTORY_RIG_H
#define GATEPOST_TESTS_DIRECTORY_RIG_H

#include <ev.h>

#include "../../proxy/routing/directory_internal.h"
#include "core/config.h"
#include "core/metrics.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "routing/member.h"
#include "routing/pool.h"
#include "support/config_text.h"
#include "support/fake_store.h"
#include "support/log_capture.h"
#include "support/turns.h"

#define RIG_BACKENDS                                                                               \
	CONFIG_TEXT_LISTENER "[[backend]]\nname = \"mail1\"\naddress = \"127.0.0.1:1\"\n"          \
			     "[[backend]]\nname = \"mail2\"\naddress = \"127.0.0.1:2\"\n"          \
			     "[process]\nnode = \"p1\"\n"

/* No test waits for this. */
#define RIG_PATIENT "[redis]\ntimeout = \"60s\"\n"

#define NODE_KEY "gatepost:node:p1"

#define GUESTS_MAX 8

/* struct guest is a stay, and what it has heard. */
struct guest {
	struct stay stay;
	char heard[512];
	bool leaves; /* from within what it hears */
};

struct rig {
	struct ev_loop *loop;
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics; /* the keeper's */
	struct metrics worker_metrics;
	struct config *config;
	struct pool *pool;
	struct directory *directory;
	struct directory_desk desks[2];
	unsigned drains_heard;
	struct guest guests[GUESTS_MAX];
	bool stopped;
};

static struct rig rig;

/* --- What guests hear ------------------------------------------------------------------------- */

static inline void hear(struct stay *stay, const char *what, const char *text, size_t length)
{
	struct guest *guest = container_of(stay, struct guest, stay);
	size_t used = strlen(guest->heard);

	snprintf(guest->heard + used, sizeof(guest->heard) - used, "%s%.*s;", what, (int)length,
		 text);
	if (guest->leaves) {
		directory_leave(stay, true);
	}
}

static inline void hear_answer(struct stay *stay, const char *what,
			       const struct directory_answer *answer)
{
	char words[32];

	snprintf(words, sizeof(words), "%s%s", what, answer->stale ? "stale=" : "");
	if (answer->verdict == DIRECTORY_ROUTE) {
		hear(stay, words, answer->route, answer->length);
	} else if (answer->verdict == DIRECTORY_UNKNOWN) {
		hear(stay, words, "unknown", strlen("unknown"));
	} else {
		hear(stay, "failed: ", answer->why, strlen(answer->why));
	}
}

static inline void on_answered(struct stay *stay, const struct directory_answer *answer)
{
	hear_answer(stay, "", answer);
}

static inline void on_changed(struct stay *stay, const struct directory_answer *answer)
{
	hear_answer(stay, "changed=", answer);
}

static inline void on_parked(struct stay *stay)
{
	hear(stay, "parked", "", 0);
}

static inline void on_released(struct stay *stay)
{
	hear(stay, "released", "", 0);
}

static inline void on_held(struct stay *stay)
{
	hear(stay, "held", "", 0);
}

static inline void on_drains_changed(struct directory_desk *desk)
{
	(void)desk;
	rig.drains_heard++;
}

static const struct stay_events rig_events = {
	.answered = on_answered,
	.parked = on_parked,
	.released = on_released,
	.changed = on_changed,
	.held = on_held,
	.drains_changed = on_drains_changed,
};

/* --- Beginning and end ------------------------------------------------------------------------ */

static inline void rig_start(const char *text)
{
	struct directory_house house = {
		.shared = &rig.shared,
		.timeouts = &rig.timeouts,
		.metrics = &rig.metrics,
		.version = "test",
	};

	rig.config = config_text_good(text);
	rig.pool = pool_new(rig.config, NULL);
	assert_non_null(rig.pool);
	rig.directory = directory_new(rig.config, rig.pool);
	assert_non_null(rig.directory);
	for (size_t i = 0; i < array_length(rig.desks); i++) {
		directory_attach(rig.directory, &rig.desks[i], rig.loop, &rig_events,
				 &rig.worker_metrics);
	}
	assert_true(directory_start(rig.directory, &house, NULL));
}

static inline int rig_begin(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_true(stream_loop_init(&rig.shared, rig.loop, 0));
	timeouts_init(&rig.timeouts, rig.loop);
	return 0;
}

static inline int rig_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		directory_leave(&rig.guests[i].stay, true);
	}
	if (rig.directory != NULL) {
		directory_stop(rig.directory);
		directory_stop(rig.directory);
		for (size_t i = 0; i < array_length(rig.desks); i++) {
			directory_detach(&rig.desks[i]);
		}
		directory_free(rig.directory);
	}
	pool_free(rig.pool);
	config_unref(rig.config);
	timeouts_done(&rig.timeouts);
	stream_loop_done(&rig.shared);
	ev_loop_destroy(rig.loop);
	buffer_done(&logged);
	return 0;
}

/* --- Moving on -------------------------------------------------------------------------------- */

/* rig_turn lets everybody hear what was posted. */
static inline void rig_turn(void)
{
	for (int i = 0; i < 4; i++) {
		ev_run(rig.loop, EVRUN_NOWAIT);
	}
}

/* rig_settle lets all happen that waits for no time. */
static inline void rig_settle(void)
{
	unsigned before;

	do {
		before = fake->asks;
		rig_turn();
		fake_settle();
		rig_turn();
	} while (fake->asks != before || fake->asked != NULL || fake->news != NULL);
}

static inline bool is_round_over(const void *nothing)
{
	(void)nothing;
	fake_settle();
	return !timeout_is_waiting(&rig.directory->round);
}

/* rig_round waits until all who are here were asked for, where that was to be done. */
static inline void rig_round(void)
{
	rig_settle();
	turns_until(rig.loop, is_round_over, NULL);
	rig_settle();
}

/* rig_connect makes Redis known, with all that follows. */
static inline void rig_connect(void)
{
	fake_become_ready();
	fake_become_watching();
	rig_round();
}

static inline void rig_open(const char *text)
{
	rig_start(text);
	rig_connect();
}

static inline struct guest *rig_enter(size_t which, const char *user)
{
	struct guest *guest = &rig.guests[which];

	directory_enter(&rig.desks[which % 2], &guest->stay, user);
	return guest;
}

static inline void rig_leave(size_t which, bool settled)
{
	directory_leave(&rig.guests[which].stay, settled);
}

/* assert_heard: what the guest has heard since it was last asked. */
static inline void assert_heard(size_t which, const char *what)
{
	struct guest *guest = &rig.guests[which];

	assert_string_equal(guest->heard, what);
	guest->heard[0] = '\0';
}

static inline bool has_heard(const void *guest)
{
	return ((const struct guest *)guest)->heard[0] != '\0';
}

static inline bool has_heard_and_all_is_answered(const void *guest)
{
	fake_settle();
	return has_heard(guest);
}

/* rig_await turns until the guest has heard something, rig_await_answers with a Redis that answers.
 */
static inline void rig_await(size_t which)
{
	turns_until(rig.loop, has_heard, &rig.guests[which]);
}

static inline void rig_await_answers(size_t which)
{
	turns_until(rig.loop, has_heard_and_all_is_answered, &rig.guests[which]);
}

/* count_asked: questions that wait for an answer. */
static inline unsigned count_asked(void)
{
	struct store_pending *pending;
	unsigned count = 0;

	DL_FOREACH(fake->asked, pending)
	{
		count += pending->question != NULL;
	}
	return count;
}

static inline const char *confirmed(const char *user)
{
	char key[300];

	snprintf(key, sizeof(key), "gatepost:move:%s", user);
	return fake_get(key, "p1");
}

#endif
