/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions that must go though neither side has ended them: the user was moved, is on hold, or is
 * given away by a drain; and those whose backend went, with so many others that their clients
 * would all come back at once.
 */
#include "core/config.h"
#include "core/metrics.h"
#include "routing/backend.h"
#include "routing/member.h"
#include "session_internal.h"

static const struct stream_events orphan_events;

/* --- At a quiet moment ---------------------------------------------------------------------- */

static uint32_t bytes_moved(const struct session *session)
{
	return (uint32_t)(session->bytes_upstream + session->bytes_downstream);
}

/* Thousands are looked at one after the other, in the order in which they were told: of their list,
 * only the end is sought then. */
static uint64_t book_look(struct session_set *set)
{
	uint64_t soonest_ms = session_after(SESSION_QUIET_MS);

	if (set->leave_ms < soonest_ms) {
		set->leave_ms = soonest_ms;
		set->leave_count = 0;
	} else if (set->leave_count >= SESSION_LEAVE_PER_MS) {
		set->leave_ms++;
		set->leave_count = 0;
	}
	set->leave_count++;
	return set->leave_ms;
}

static void look_later(struct session *session)
{
	uint64_t look_ms = book_look(session->set);

	session->leave_bytes = bytes_moved(session);
	session_enter(session, SESSION_LEAVING,
		      look_ms < session->leave_by_ms ? look_ms : session->leave_by_ms);
}

static enum metric metric_of(enum close_reason reason)
{
	switch (reason) {
	case CLOSE_HELD:
		return METRIC_KICKS_HELD;
	case CLOSE_BACKEND_DRAINED:
		return METRIC_KICKS_DRAINED;
	default:
		return METRIC_KICKS_MOVED;
	}
}

void departure_begin(struct session *session, enum close_reason reason)
{
	if (session->phase != SESSION_RELAYING) {
		return;
	}
	metrics_count(session->set->house.metrics, metric_of(reason));
	session->reason = (uint8_t)reason;
	session->leave_by_ms = session_after(session->set->house.config->moves.kick_grace_ms);
	look_later(session);
}

void departure_expired(struct session *session)
{
	bool quiet = bytes_moved(session) == session->leave_bytes &&
		     !stream_is_congested(&session->client) &&
		     !stream_is_congested(&session->upstream);

	if (quiet || timeouts_now_ms() >= session->leave_by_ms) {
		relay_end(session, (enum close_reason)session->reason);
	} else {
		look_later(session);
	}
}

/* --- What the directory tells --------------------------------------------------------------- */

static bool has_said_nothing(const struct session *session)
{
	return session->phase >= SESSION_QUEUED && session->phase <= SESSION_GREETING;
}

/* A login that is under way begins anew, or, where the backend knows of it already, ends as soon as
 * it is a session. */
static void depart(struct session *session, enum close_reason reason)
{
	if (session->login == NULL) {
		departure_begin(session, reason);
	} else if (has_said_nothing(session)) {
		client_login_renew(session);
	} else {
		session->login->must_leave = true;
		session->reason = (uint8_t)reason;
	}
}

/* The user lives where the session is, under the same name. */
static bool is_at_home(const struct session *session, const struct route_answer *answer)
{
	return answer->backend == session->backend && answer->mailbox == NULL && !session->renamed;
}

void departure_changed(struct route_place *place, const struct route_answer *answer)
{
	struct session *session = container_of(place, struct session, place);

	if (!is_at_home(session, answer)) {
		depart(session, CLOSE_MOVED);
	}
	backend_unref(answer->backend);
}

void departure_held(struct route_place *place)
{
	depart(container_of(place, struct session, place), CLOSE_HELD);
}

/* --- Drains --------------------------------------------------------------------------------- */

static void look_again(struct session_set *set)
{
	if (!timeout_is_waiting(&set->mover) && router_is_moving(set->house.router)) {
		timeout_add(&set->movers, &set->mover, session_after(SESSION_LOOK_MS));
	}
}

void departure_drains_changed(void *set)
{
	look_again(set);
}

void departure_look(struct timeout *mover)
{
	struct session_set *set = container_of(mover, struct session_set, mover);
	struct timeout *timeout = set->phases[SESSION_RELAYING].head;
	uint64_t now_ms = timeouts_now_ms();

	while (timeout != NULL) {
		struct session *session = container_of(timeout, struct session, timeout);

		timeout = timeout->next;
		if (router_moves_away(set->house.router, &session->place, session->backend,
				      now_ms)) {
			departure_begin(session, CLOSE_BACKEND_DRAINED);
		}
	}
	look_again(set);
}

/* --- Orphans -------------------------------------------------------------------------------- */

static void finish(struct session *session)
{
	session_finish(session, (enum close_reason)session->reason,
		       session->ends_clean ? STREAM_ENDING_CLEAN : STREAM_ENDING_CUT);
}

void departure_orphan_expired(struct session *session)
{
	finish(session);
}

/* Who speaks, or leaves, does not wait any longer. */
static void orphan_readable(struct stream *stream)
{
	finish(container_of(stream, struct session, client));
}

static void orphan_drained(struct stream *stream)
{
	(void)stream; /* the last of what the backend said has left */
}

static void orphan_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	(void)why;
	session_close(session, (enum close_reason)session->reason);
}

static const struct stream_events orphan_events = {
	.readable = orphan_readable,
	.drained = orphan_drained,
	.failed = orphan_failed,
};

/* A proxy that ends does not wait for those who have nothing left but their turn. */
static uint64_t book_end(const struct session *session)
{
	struct member *member = session->backend->member;
	bool spreads = member != NULL && !session->set->draining;

	return spreads ? member_book_end(member, timeouts_now_ms()) : 0;
}

void departure_orphan(struct session *session, enum close_reason reason, enum stream_ending ending)
{
	uint64_t wait_ms = book_end(session);

	session->reason = (uint8_t)reason;
	session->ends_clean = ending == STREAM_ENDING_CLEAN;
	if (wait_ms == 0) {
		finish(session);
		return;
	}
	metrics_count(session->set->house.metrics, METRIC_ENDS_SPREAD);
	session_vacate(session);
	session_enter(session, SESSION_ORPHANED, session_after(wait_ms));
	stream_set_events(&session->client, &orphan_events);
	stream_set_reading(&session->client, true);
}
