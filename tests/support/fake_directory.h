/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the directory of the house in a test that includes it: it answers, parks, releases,
 * changes and holds when the test says so, and knows who is here and how everybody left. It defines
 * directory_enter and its kin, so only one file of a program may include it.
 */
#ifndef GATEPOST_TESTS_FAKE_DIRECTORY_H
#define GATEPOST_TESTS_FAKE_DIRECTORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "routing/directory.h"
#include "routing/member.h"

#define FAKE_STAYS_MAX 2000
#define FAKE_USERS_MAX 8

enum fake_state { FAKE_ASKING, FAKE_PRESENT, FAKE_LINGERING, FAKE_PARKED, FAKE_REASSIGNING };

/* struct resident is one stay, and who that is. */
struct resident {
	struct stay *stay; /* NULL: nobody */
	enum fake_state state;
	unsigned long number; /* in order of coming */
	char user[256];
};

/* struct fake_user is what is said at once of a user from now on; of all others nothing is, until
 * the test does. */
struct fake_user {
	char user[256]; /* "": nobody */
	bool known;
	bool on_hold;
	char route[1200]; /* "": unknown */
};

/* struct directory: counts are of stays. */
struct directory {
	struct directory_desk *desk;
	struct resident stays[FAKE_STAYS_MAX];
	struct fake_user users[FAKE_USERS_MAX];
	unsigned long entered;
	unsigned settled; /* of those that left while they were present, or lingered */
	unsigned unsettled;
	unsigned lingered;
	unsigned reassigned;
	unsigned canaries_over;
};

static struct directory fake_directory;

/* --- Who is here ------------------------------------------------------------------------------ */

static inline unsigned fake_count(const char *user, enum fake_state state)
{
	unsigned count = 0;

	for (size_t i = 0; i < FAKE_STAYS_MAX; i++) {
		const struct resident *resident = &fake_directory.stays[i];

		count += resident->stay != NULL && resident->state == state &&
			 (user == NULL || strcmp(resident->user, user) == 0);
	}
	return count;
}

/* fake_here is how many there are of anybody, in whatever state. */
static inline unsigned fake_here(void)
{
	unsigned count = 0;

	for (unsigned state = FAKE_ASKING; state <= FAKE_REASSIGNING; state++) {
		count += fake_count(NULL, (enum fake_state)state);
	}
	return count;
}

static inline struct fake_user *fake_find_user(const char *user)
{
	for (size_t i = 0; i < FAKE_USERS_MAX; i++) {
		if (strcmp(fake_directory.users[i].user, user) == 0) {
			return &fake_directory.users[i];
		}
	}
	return NULL;
}

static inline struct fake_user *fake_get_user(const char *user)
{
	struct fake_user *found = fake_find_user(user);

	if (found == NULL) {
		found = fake_find_user("");
		assert_non_null(found);
		snprintf(found->user, sizeof(found->user), "%s", user);
	}
	return found;
}

/* --- What is told ----------------------------------------------------------------------------- */

static inline struct directory_answer fake_make_answer(const char *route)
{
	return (struct directory_answer){
		.verdict = route != NULL ? DIRECTORY_ROUTE : DIRECTORY_UNKNOWN,
		.route = route,
		.length = route != NULL ? strlen(route) : 0,
	};
}

static inline void fake_leave(struct resident *resident)
{
	resident->stay->resident = NULL;
	resident->stay = NULL;
}

static inline void fake_tell_route(struct resident *resident, const char *route)
{
	struct directory_answer answer = fake_make_answer(route);

	resident->state = FAKE_PRESENT;
	fake_directory.desk->events->answered(resident->stay, &answer);
}

static inline void fake_tell_parked(struct resident *resident)
{
	resident->state = FAKE_PARKED;
	fake_directory.desk->events->parked(resident->stay);
}

static inline void fake_tell_released(struct resident *resident)
{
	struct stay *stay = resident->stay;

	fake_leave(resident);
	fake_directory.desk->events->released(stay);
}

/* fake_visit gives, one after the other, those of a user who are in a state and were when it began.
 */
struct fake_visit {
	const char *user;
	enum fake_state state;
	size_t next;
	unsigned long before;
};

static inline struct fake_visit fake_visit(const char *user, enum fake_state state)
{
	return (struct fake_visit){user, state, 0, fake_directory.entered + 1};
}

static inline struct resident *fake_next(struct fake_visit *visit)
{
	while (visit->next < FAKE_STAYS_MAX) {
		struct resident *resident = &fake_directory.stays[visit->next++];

		if (resident->stay != NULL && resident->state == visit->state &&
		    resident->number < visit->before && strcmp(resident->user, visit->user) == 0) {
			return resident;
		}
	}
	return NULL;
}

/* --- What the test says ----------------------------------------------------------------------- */

/* fake_knows: from now on this is said of the user at once; NULL: that nobody knows the user. */
static inline void fake_knows(const char *user, const char *route)
{
	struct fake_user *known = fake_get_user(user);

	known->known = true;
	snprintf(known->route, sizeof(known->route), "%s", route != NULL ? route : "");
}

/* fake_answer answers those who ask. */
static inline void fake_answer(const char *user, const char *route)
{
	struct fake_visit visit = fake_visit(user, FAKE_ASKING);
	struct resident *resident;

	while ((resident = fake_next(&visit)) != NULL) {
		fake_tell_route(resident, route);
	}
}

static inline void fake_fail(const char *user, const char *why)
{
	struct directory_answer answer = {.verdict = DIRECTORY_FAILED, .why = why};
	struct fake_visit visit = fake_visit(user, FAKE_ASKING);
	struct resident *resident;

	while ((resident = fake_next(&visit)) != NULL) {
		struct stay *stay = resident->stay;

		fake_leave(resident);
		fake_directory.desk->events->answered(stay, &answer);
	}
}

/* fake_hold puts a user on hold: those who are here are told, those who come wait. It may be said
 * again. */
static inline void fake_hold(const char *user)
{
	struct fake_visit asking = fake_visit(user, FAKE_ASKING);
	struct fake_visit present = fake_visit(user, FAKE_PRESENT);
	struct resident *resident;

	fake_get_user(user)->on_hold = true;
	while ((resident = fake_next(&asking)) != NULL) {
		fake_tell_parked(resident);
	}
	while ((resident = fake_next(&present)) != NULL) {
		fake_directory.desk->events->held(resident->stay);
	}
}

static inline void fake_release(const char *user)
{
	struct fake_visit visit = fake_visit(user, FAKE_PARKED);
	struct resident *resident;

	fake_get_user(user)->on_hold = false;
	while ((resident = fake_next(&visit)) != NULL) {
		fake_tell_released(resident);
	}
}

/* fake_change changes what is known of a user, and tells those who are here. */
static inline void fake_change(const char *user, const char *route)
{
	struct directory_answer answer = fake_make_answer(route);
	struct fake_visit visit = fake_visit(user, FAKE_PRESENT);
	struct resident *resident;

	fake_knows(user, route);
	while ((resident = fake_next(&visit)) != NULL) {
		fake_directory.desk->events->changed(resident->stay, &answer);
	}
}

/* fake_assign ends what directory_reassign began. */
static inline void fake_assign(const char *user, const char *route)
{
	struct fake_visit visit = fake_visit(user, FAKE_REASSIGNING);
	struct resident *resident;

	fake_knows(user, route);
	while ((resident = fake_next(&visit)) != NULL) {
		fake_tell_released(resident);
	}
}

static inline void fake_tell_drains(void)
{
	fake_directory.desk->events->drains_changed(fake_directory.desk);
}

/* --- What the house calls --------------------------------------------------------------------- */

void directory_attach(struct directory *directory, struct directory_desk *desk,
		      struct ev_loop *loop, const struct stay_events *events,
		      struct metrics *metrics)
{
	(void)loop;
	memset(directory, 0, sizeof(*directory));
	directory->desk = desk;
	desk->directory = directory;
	desk->events = events;
	desk->metrics = metrics;
}

void directory_detach(struct directory_desk *desk)
{
	assert_ptr_equal(desk, fake_directory.desk);
	assert_int_equal(fake_here(), 0);
	desk->directory = NULL;
	fake_directory.desk = NULL;
}

static inline struct resident *fake_add(struct stay *stay, const char *user)
{
	struct resident *resident = fake_directory.stays;

	while (resident->stay != NULL) {
		resident++;
		assert_true(resident < fake_directory.stays + FAKE_STAYS_MAX);
	}
	assert_null(stay->resident);
	*resident = (struct resident){.stay = stay, .number = ++fake_directory.entered};
	assert_true(strlen(user) < sizeof(resident->user));
	strcpy(resident->user, user);
	stay->resident = resident;
	stay->desk = fake_directory.desk;
	return resident;
}

void directory_enter(struct directory_desk *desk, struct stay *stay, const char *user)
{
	struct resident *resident = fake_add(stay, user);
	const struct fake_user *known = fake_find_user(user);

	assert_ptr_equal(desk, fake_directory.desk);
	if (known != NULL && known->on_hold) {
		fake_tell_parked(resident);
	} else if (known != NULL && known->known) {
		fake_tell_route(resident, known->route[0] != '\0' ? known->route : NULL);
	}
}

const char *directory_user(const struct stay *stay)
{
	assert_non_null(stay->resident);
	return stay->resident->user;
}

void directory_leave(struct stay *stay, bool settled)
{
	struct resident *resident = stay->resident;

	if (resident == NULL) {
		return;
	}
	if (resident->state == FAKE_PRESENT || resident->state == FAKE_LINGERING) {
		fake_directory.settled += settled;
		fake_directory.unsettled += !settled;
	}
	fake_leave(resident);
}

bool directory_linger(struct stay *stay, struct stay *heir)
{
	struct resident *resident = stay->resident;

	if (resident == NULL || resident->state != FAKE_PRESENT) {
		return false;
	}
	assert_null(heir->resident);
	fake_leave(resident);
	resident->stay = heir;
	resident->state = FAKE_LINGERING;
	heir->resident = resident;
	heir->desk = fake_directory.desk;
	fake_directory.lingered++;
	return true;
}

void directory_reassign(struct stay *stay)
{
	assert_int_equal(stay->resident->state, FAKE_PRESENT);
	stay->resident->state = FAKE_REASSIGNING;
	fake_directory.reassigned++;
}

void directory_end_canary(struct directory *directory, struct member *member)
{
	assert_ptr_equal(directory, &fake_directory);
	directory->canaries_over++;
	member_set_canary_over(member, true);
}

#endif
