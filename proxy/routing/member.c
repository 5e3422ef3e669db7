/* SPDX-License-Identifier: Apache-2.0
 *
 * Members: what changes is behind a lock of each, and what is read often is copied out of it into
 * atomics. Lines of the log are written under the lock, which never waits, so that they are in the
 * order of what happened.
 */
#include "routing/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "client_key_internal.h"
#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "member_health_internal.h"
#include "member_pace_internal.h"
#include "net/source_pool.h"
#include "net/timeouts.h"

/* What fraction of a turn each end that is spread lies behind the one before: the golden ratio's,
 * which fills the time evenly however many they are. */
#define SPREAD_STEP UINT32_C(0x9E3779B9)

struct member_state {
	const struct config_backend *backend;
	const struct config_moves *moves;
	atomic_uint references;
	atomic_uint sessions;
	atomic_uint weight;
	atomic_uint drain; /* enum member_drain */
	atomic_uint drain_rate;
	atomic_bool canary_over;
	/* Copies of what `health` says. */
	atomic_bool up;
	atomic_bool suspected; /* it has witnesses */
	_Atomic uint64_t rests_until_ms;

	pthread_mutex_t lock; /* of all below */
	struct member_health health;
	struct metrics *metrics; /* of who marked it down */
	uint64_t came_up_ms;     /* 0: it was never down */
	struct member_pace connects;
	struct member_pace ends;
	struct member_pace kicks;
	uint32_t spread; /* the last end's part of a turn */
};

static struct member_state *state_new(const struct member_settings *settings)
{
	struct member_state *state = calloc(1, sizeof(*state));

	if (state == NULL) {
		return NULL;
	}
	pthread_mutex_init(&state->lock, NULL);
	state->backend = settings->backend;
	state->moves = settings->moves;
	member_health_init(&state->health, settings->health);
	atomic_init(&state->references, 1);
	atomic_init(&state->weight, settings->backend->weight);
	atomic_init(&state->up, true);
	atomic_init(&state->rests_until_ms, state->health.rests_until_ms);
	return state;
}

static void member_free(struct member *member)
{
	if (member->state != NULL) {
		pthread_mutex_destroy(&member->state->lock);
	}
	free(member->state);
	source_pool_unref(member->sources);
	endpoint_done(&member->address);
	free(member->name);
	free(member);
}

struct member *member_new(const struct member_settings *settings)
{
	struct member *member = calloc(1, sizeof(*member));

	if (member == NULL) {
		return NULL;
	}
	member->name = strdup(settings->name);
	member->config = settings->config;
	member->state = state_new(settings);
	member->sources = settings->sources != NULL ? source_pool_ref(settings->sources) : NULL;
	if (member->name == NULL || member->state == NULL ||
	    !endpoint_copy(&member->address, settings->address)) {
		member_free(member);
		return NULL;
	}
	return member;
}

struct member *member_ref(struct member *member)
{
	atomic_fetch_add_explicit(&member->state->references, 1, memory_order_relaxed);
	return member;
}

void member_unref(struct member *member)
{
	unsigned before;

	if (member == NULL) {
		return;
	}
	before = atomic_fetch_sub_explicit(&member->state->references, 1, memory_order_acq_rel);
	invariant(before > 0);
	if (before == 1) {
		member_free(member);
	}
}

unsigned member_weight(const struct member *member)
{
	return atomic_load_explicit(&member->state->weight, memory_order_relaxed);
}

void member_set_weight(struct member *member, unsigned weight)
{
	atomic_store_explicit(&member->state->weight, weight, memory_order_relaxed);
}

/* What health says, for those who do not wait for the lock. */
static void publish(struct member_state *state)
{
	atomic_store(&state->rests_until_ms, state->health.rests_until_ms);
	atomic_store(&state->suspected, state->health.witness_count > 0);
	atomic_store(&state->up, state->health.up);
}

static void tell_up(const struct member *member, uint64_t now_ms, struct metrics *metrics)
{
	member->state->came_up_ms = now_ms;
	metrics_count(metrics, METRIC_BACKEND_UPS);
	log_info("backend is up", log_text("backend", member->name));
}

static void tell_down(const struct member *member, const char *why, struct metrics *metrics)
{
	char address[ENDPOINT_TEXT_MAX];

	endpoint_format(&member->address, address);
	metrics_count(metrics, METRIC_BACKEND_DOWNS);
	log_warn("backend is down", log_text("backend", member->name), log_text("address", address),
		 log_text("detail", why));
}

/* The lock is held. A rest that is over ends when somebody looks. */
static void settle(const struct member *member, uint64_t now_ms)
{
	struct member_state *state = member->state;

	if (member_health_rested(&state->health, now_ms) == MEMBER_CAME_UP) {
		publish(state);
		tell_up(member, now_ms, state->metrics);
	}
}

bool member_is_up(const struct member *member)
{
	struct member_state *state = member->state;
	uint64_t now_ms;

	if (atomic_load(&state->up)) {
		return true;
	}
	now_ms = timeouts_now_ms();
	if (now_ms < atomic_load(&state->rests_until_ms)) {
		return false;
	}
	pthread_mutex_lock(&state->lock);
	settle(member, now_ms);
	pthread_mutex_unlock(&state->lock);
	return atomic_load(&state->up);
}

void member_passed(struct member *member, struct metrics *metrics)
{
	struct member_state *state = member->state;

	pthread_mutex_lock(&state->lock);
	if (member_health_passed(&state->health) == MEMBER_CAME_UP) {
		publish(state);
		tell_up(member, timeouts_now_ms(), metrics);
	}
	pthread_mutex_unlock(&state->lock);
}

void member_missed(struct member *member, const char *why, struct metrics *metrics)
{
	struct member_state *state = member->state;

	pthread_mutex_lock(&state->lock);
	if (member_health_missed(&state->health) == MEMBER_WENT_DOWN) {
		publish(state);
		tell_down(member, why, metrics);
	}
	pthread_mutex_unlock(&state->lock);
}

void member_served(struct member *member)
{
	struct member_state *state = member->state;

	if (!atomic_load(&state->suspected)) {
		return;
	}
	pthread_mutex_lock(&state->lock);
	member_health_served(&state->health);
	publish(state);
	pthread_mutex_unlock(&state->lock);
}

void member_failed(struct member *member, const struct addr *client, const char *why,
		   struct metrics *metrics)
{
	struct member_state *state = member->state;
	uint64_t key = client_key(client);
	uint64_t now_ms = timeouts_now_ms();

	pthread_mutex_lock(&state->lock);
	settle(member, now_ms);
	if (member_health_failed(&state->health, key, now_ms) == MEMBER_WENT_DOWN) {
		state->metrics = metrics;
		tell_down(member, why, metrics);
	}
	publish(state);
	pthread_mutex_unlock(&state->lock);
}

static void tell_drain(const struct member *member, enum member_drain drain, unsigned rate)
{
	switch (drain) {
	case MEMBER_SERVES:
		log_info("backend serves again", log_text("backend", member->name));
		break;
	case MEMBER_DRAINS:
		log_info("backend drains", log_text("backend", member->name));
		break;
	case MEMBER_KICKS:
		log_info("backend drains, and its users move away",
			 log_text("backend", member->name), log_number("rate", rate));
		break;
	}
}

void member_set_drain(struct member *member, enum member_drain drain, unsigned rate)
{
	struct member_state *state = member->state;

	if (rate == 0) {
		rate = state->moves->drain_rate;
	}
	pthread_mutex_lock(&state->lock);
	if (atomic_load(&state->drain) != drain ||
	    (drain == MEMBER_KICKS && atomic_load(&state->drain_rate) != rate)) {
		tell_drain(member, drain, rate);
	}
	atomic_store(&state->drain_rate, rate);
	atomic_store(&state->drain, drain);
	pthread_mutex_unlock(&state->lock);
}

enum member_drain member_drain(const struct member *member)
{
	return (enum member_drain)atomic_load(&member->state->drain);
}

unsigned member_drain_rate(const struct member *member)
{
	return atomic_load(&member->state->drain_rate);
}

bool member_takes_users(const struct member *member)
{
	return member_weight(member) > 0 && member_drain(member) == MEMBER_SERVES;
}

/* Sessions a second that may be moved away; 0 where none shall. */
static unsigned kick_rate(const struct member *member)
{
	unsigned rate = 0;

	if (member_drain(member) == MEMBER_KICKS) {
		rate = member_drain_rate(member);
	} else if (member_canary_is_over(member)) {
		rate = member->state->moves->drain_rate;
	}
	return rate < MEMBER_RATE_MAX ? rate : MEMBER_RATE_MAX;
}

bool member_take_kick(struct member *member, uint64_t now_ms)
{
	struct member_state *state = member->state;
	struct member_rate rate = {.per_second = kick_rate(member)};
	bool taken;

	if (rate.per_second == 0) {
		return false;
	}
	pthread_mutex_lock(&state->lock);
	taken = member_pace_book(&state->kicks, &rate, now_ms, 0) != MEMBER_PACE_FULL;
	pthread_mutex_unlock(&state->lock);
	return taken;
}

uint64_t member_book_connect(struct member *member, uint64_t now_ms)
{
	struct member_state *state = member->state;
	struct member_rate rate = {.per_second = state->backend->connect_rate};
	uint64_t wait_ms;

	if (rate.per_second == 0) {
		return 0;
	}
	pthread_mutex_lock(&state->lock);
	settle(member, now_ms);
	if (state->came_up_ms > 0) {
		rate.ramp_from_ms = state->came_up_ms;
		rate.ramp_ms = state->backend->slow_start_ms;
	}
	wait_ms =
		member_pace_book(&state->connects, &rate, now_ms, state->backend->connect_queue_ms);
	pthread_mutex_unlock(&state->lock);
	return wait_ms != MEMBER_PACE_FULL ? wait_ms : MEMBER_NO_SLOT;
}

void member_book_return(struct member *member, uint64_t slot_ms)
{
	struct member_state *state = member->state;

	pthread_mutex_lock(&state->lock);
	member_pace_return(&state->connects, slot_ms);
	pthread_mutex_unlock(&state->lock);
}

uint64_t member_book_end(struct member *member, uint64_t now_ms)
{
	struct member_state *state = member->state;
	struct member_rate rate = {.per_second = state->moves->disconnect_rate};
	uint64_t spread_ms = state->moves->disconnect_spread_ms;
	uint64_t wait_ms;

	if (rate.per_second == 0) {
		return 0;
	}
	pthread_mutex_lock(&state->lock);
	wait_ms = member_pace_book(&state->ends, &rate, now_ms, spread_ms);
	if (wait_ms == MEMBER_PACE_FULL) {
		state->spread += SPREAD_STEP;
		wait_ms = (spread_ms * state->spread) >> 32;
	}
	pthread_mutex_unlock(&state->lock);
	return wait_ms;
}

void member_session_began(struct member *member)
{
	atomic_fetch_add_explicit(&member->state->sessions, 1, memory_order_relaxed);
}

void member_session_ended(struct member *member)
{
	unsigned before =
		atomic_fetch_sub_explicit(&member->state->sessions, 1, memory_order_relaxed);

	invariant(before > 0);
}

unsigned member_sessions(const struct member *member)
{
	return atomic_load_explicit(&member->state->sessions, memory_order_relaxed);
}

void member_set_canary_over(struct member *member, bool over)
{
	struct member_state *state = member->state;

	pthread_mutex_lock(&state->lock);
	if (atomic_exchange(&state->canary_over, over) != over) {
		if (over) {
			log_warn("canary is over", log_text("backend", member->name));
		} else {
			log_info("canary is tried again", log_text("backend", member->name));
		}
	}
	pthread_mutex_unlock(&state->lock);
}

bool member_canary_is_over(const struct member *member)
{
	return atomic_load(&member->state->canary_over);
}
