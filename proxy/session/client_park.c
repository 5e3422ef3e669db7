/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins that wait: their user is on hold, because somebody moves the mailbox. The connection stays
 * open, and a line now and then keeps it so, until the hold ends or moves.hold_timeout is over.
 */
#include <string.h>

#include "core/config.h"
#include "core/metrics.h"
#include "session_internal.h"

#define STILL_WAITING "* OK Still waiting for your mailbox, it is being moved.\r\n"

static const struct config_moves *moves_of(const struct session *session)
{
	return &session->set->house.config->moves;
}

/* The next line, or the end of the waiting. */
static void wait_on(struct session *session)
{
	uint64_t end_ms = session->login->parked_ms + moves_of(session)->hold_timeout_ms;
	uint64_t line_ms = session_after(moves_of(session)->hold_line_ms);

	session_enter(session, SESSION_PARKED, line_ms < end_ms ? line_ms : end_ms);
}

/* Another proxy can wait as well, and for longer than this one lives. */
void client_park_begin(struct route_place *place)
{
	struct session *session = container_of(place, struct session, place);
	struct login *login = session->login;

	if (session->set->draining) {
		client_side_drain(session);
		return;
	}
	login->released = false;
	if (login->parked_ms == 0) {
		metrics_count(session->set->house.metrics, METRIC_LOGINS_PARKED);
		login->parked_ms = timeouts_now_ms();
	}
	wait_on(session);
}

void client_park_end(struct session *session)
{
	struct login *login = session->login;

	if (login->parked_ms != 0) {
		login->waited_ms += timeouts_now_ms() - login->parked_ms;
		login->parked_ms = 0;
	}
}

/* Those who waited for one user, or for a thousand, do not all come at once. Who was assigned anew
 * has waited for Redis alone. */
void client_park_release(struct route_place *place)
{
	struct session *session = container_of(place, struct session, place);
	bool was_parked = session->login->parked_ms != 0;
	uint64_t spread_ms = was_parked ? moves_of(session)->release_spread_ms : 0;
	uint64_t scatter = session->id * UINT64_C(0x9E3779B97F4A7C15);

	session->login->released = true;
	session_enter(session, SESSION_PARKED, session_after((scatter >> 32) % (spread_ms + 1)));
}

/* What the client does not read is not written on. */
static void keep_alive(struct session *session)
{
	if (!stream_is_congested(&session->client)) {
		stream_write(&session->client, STILL_WAITING, strlen(STILL_WAITING));
	}
	wait_on(session);
}

void client_park_expired(struct session *session)
{
	struct login *login = session->login;
	uint64_t waited_ms = timeouts_now_ms() - login->parked_ms;

	if (login->released) {
		client_login_ask(session);
	} else if (waited_ms >= moves_of(session)->hold_timeout_ms) {
		client_park_end(session);
		client_login_fail(session, &REFUSAL_UNAVAILABLE, "on hold for too long");
	} else {
		keep_alive(session);
	}
}
