/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to backends whose session is over here, but perhaps not there: the backend may be in
 * the middle of a command, or of a login. Our side is ended, and what it still says is dropped.
 * Until it ends too the user counts as being there, so that a move waits.
 */
#include <stdlib.h>

#include "core/metrics.h"
#include "session/limit.h"
#include "session_internal.h"

struct farewell {
	struct timeout timeout; /* its place in a list of the set */
	struct session_set *set;
	struct stream upstream;
	struct stay stay;
};

static void end(struct farewell *farewell, bool settled)
{
	struct session_set *set = farewell->set;

	stream_close(&farewell->upstream);
	directory_leave(&farewell->stay, settled);
	limit_give(set->house.limit);
	timeout_remove(&farewell->timeout);
	timeout_add(&set->farewells_gone, &farewell->timeout, TIMEOUT_NEVER);
	session_set_reap_later(set);
}

/* --- Events --------------------------------------------------------------------------------- */

static void on_ready(struct stream *stream)
{
	(void)stream; /* it was connected long ago */
}

static void on_readable(struct stream *stream)
{
	enum stream_read_result result;
	struct error error;
	size_t count;

	do {
		result = stream_read(stream, stream->shared->chunk, STREAM_CHUNK_MAX, &count,
				     &error);
	} while (result == STREAM_READ_BYTES);
	if (result != STREAM_READ_LATER) {
		end(container_of(stream, struct farewell, upstream), true);
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream; /* nothing is written */
}

/* A reset comes of a socket that was closed there. */
static void on_failed(struct stream *stream, const struct error *why)
{
	(void)why;
	end(container_of(stream, struct farewell, upstream), true);
}

static const struct stream_events events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};

void farewell_expired(struct timeout *timeout)
{
	struct farewell *farewell = container_of(timeout, struct farewell, timeout);

	end(farewell, false);
}

/* --- Beginning ------------------------------------------------------------------------------ */

static void part(struct farewell *farewell, struct session *session)
{
	struct session_set *set = farewell->set;
	struct source *source = NULL;
	int fd = stream_release(&session->upstream, &source);

	metrics_count(set->house.metrics, METRIC_FAREWELLS);
	timeout_add(&set->farewells, &farewell->timeout, session_after(SESSION_FAREWELL_MS));
	stream_adopt(&farewell->upstream, set->house.shared, fd, source, &events);
	stream_shutdown(&farewell->upstream, STREAM_ENDING_CUT);
	stream_set_reading(&farewell->upstream, true);
}

/* It has a descriptor, and so a place in the limit. */
bool farewell_begin(struct session *session)
{
	struct session_set *set = session->set;
	struct farewell *farewell = NULL;

	if (set->closing || !stream_is_connected(&session->upstream) ||
	    !limit_take(set->house.limit)) {
		return false;
	}
	farewell = calloc(1, sizeof(*farewell));
	if (farewell == NULL || !route_linger(&session->place, &farewell->stay)) {
		free(farewell);
		limit_give(set->house.limit);
		return false;
	}
	farewell->set = set;
	part(farewell, session);
	return true;
}

/* --- The set -------------------------------------------------------------------------------- */

void farewells_close(struct session_set *set)
{
	while (set->farewells.head != NULL) {
		end(container_of(set->farewells.head, struct farewell, timeout), false);
	}
}

void farewells_reap(struct session_set *set)
{
	while (set->farewells_gone.head != NULL) {
		struct farewell *farewell =
			container_of(set->farewells_gone.head, struct farewell, timeout);

		timeout_remove(&farewell->timeout);
		free(farewell);
	}
}
