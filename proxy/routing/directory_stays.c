/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of stays. All under the lock of the shard, whoever calls: workers and the keeper.
 */
#include <string.h>
#include <utlist.h>

#include "directory_internal.h"

static void count_state(struct directory *directory, struct resident *resident,
			enum stay_state state, int change)
{
	switch (state) {
	case STAY_ASKING:
		resident->asking += (unsigned)change;
		break;
	case STAY_PRESENT:
	case STAY_LINGERING:
		resident->present += (unsigned)change;
		atomic_fetch_add_explicit(&directory->sessions, (uint32_t)change,
					  memory_order_relaxed);
		break;
	case STAY_PARKED:
		atomic_fetch_add_explicit(&directory->parked, (uint32_t)change,
					  memory_order_relaxed);
		break;
	case STAY_REASSIGNING:
		resident->reassigning += (unsigned)change;
		break;
	case STAY_NOWHERE:
	case STAY_RELEASED:
	case STAY_FAILED:
		break;
	}
}

void stay_set(struct directory *directory, struct resident *resident, struct stay *stay,
	      enum stay_state state)
{
	count_state(directory, resident, (enum stay_state)stay->state, -1);
	count_state(directory, resident, state, 1);
	stay->state = (uint8_t)state;
}

void stay_link(struct directory *directory, struct resident *resident, struct stay *stay)
{
	if (resident->stays == NULL) {
		atomic_fetch_sub_explicit(&directory->empties, 1, memory_order_relaxed);
	}
	stay->resident = resident;
	stay->news = 0;
	DL_APPEND2(resident->stays, stay, previous, next);
}

void stay_unlink(struct directory *directory, struct resident *resident, struct stay *stay)
{
	stay_set(directory, resident, stay, STAY_NOWHERE);
	DL_DELETE2(resident->stays, stay, previous, next);
	inbox_withdraw(&stay->desk->inbox, &stay->item);
	stay->resident = NULL;
	stay->news = 0;
	if (resident->stays == NULL) {
		atomic_fetch_add_explicit(&directory->empties, 1, memory_order_relaxed);
	}
}

void stay_tell(struct stay *stay, unsigned news)
{
	stay->news |= (uint8_t)news;
	inbox_post(&stay->desk->inbox, &stay->item);
}

static void set_route(struct directory *directory, struct stay *stay, struct route_text *route)
{
	struct route_text *old = stay->route;

	stay->route = route_text_ref(route);
	route_text_unref(&directory->texts, old);
}

/* An answer that nobody has heard yet is just another one then. */
void stay_answer(struct directory *directory, struct resident *resident, struct stay *stay,
		 struct route_text *route, unsigned news)
{
	set_route(directory, stay, route);
	stay_set(directory, resident, stay, STAY_PRESENT);
	if ((stay->news & STAY_NEWS_ANSWERED) != 0) {
		news &= ~(unsigned)STAY_NEWS_CHANGED;
		stay->news &= (uint8_t)~STAY_NEWS_STALE;
	}
	stay->news &= (uint8_t)~STAY_NEWS_PARKED;
	stay_tell(stay, news);
}

/* The words lie where the route would. */
void stay_fail(struct directory *directory, struct resident *resident, struct stay *stay,
	       const char *why)
{
	struct route_text *words = route_text_make(&directory->texts, why, strlen(why));

	set_route(directory, stay, words);
	route_text_unref(&directory->texts, words);
	stay_set(directory, resident, stay, STAY_FAILED);
	stay_tell(stay, 0);
}

void stay_release(struct directory *directory, struct resident *resident, struct stay *stay)
{
	stay_set(directory, resident, stay, STAY_RELEASED);
	stay_tell(stay, 0);
}

bool stay_park(struct directory *directory, struct resident *resident, struct stay *stay)
{
	stay_set(directory, resident, stay, STAY_PARKED);
	if (atomic_load_explicit(&directory->parked, memory_order_relaxed) >
	    directory->config->moves.max_parked) {
		stay_set(directory, resident, stay, STAY_NOWHERE);
		return false;
	}
	return true;
}

/* Not posted again before the keeper has come to it: from then on `told` is all that says whether
 * it may be freed. */
void resident_tell_keeper(struct directory *directory, struct resident *resident)
{
	if (resident->told || !atomic_load_explicit(&directory->open, memory_order_acquire)) {
		return;
	}
	resident->with_keeper = true;
	resident->told = true;
	inbox_post(&directory->inbox, &resident->item);
}
