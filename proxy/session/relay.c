/* SPDX-License-Identifier: Apache-2.0
 *
 * The splice: byte for byte, both ways, nothing of ours in it. A side that does not take what the
 * other sends stops the reading of that other side; an idle session owns no buffer.
 */
#include "core/metrics.h"
#include "session_internal.h"

static const struct stream_events client_events;
static const struct stream_events upstream_events;

enum pump_result { PUMP_WAIT, PUMP_END, PUMP_CUT, PUMP_LOST };

/* Moves what one event brings. One receive at most (see stream_read), so no session starves the
 * others. */
static enum pump_result pump(struct stream *from, struct stream *to, uint64_t *moved)
{
	uint8_t *chunk = from->shared->chunk;
	struct error error;
	size_t count = 0;

	while (!stream_is_congested(to)) {
		switch (stream_read(from, chunk, STREAM_CHUNK_MAX, &count, &error)) {
		case STREAM_READ_BYTES:
			stream_write(to, chunk, count);
			*moved += count;
			break;
		case STREAM_READ_LATER:
			return PUMP_WAIT;
		case STREAM_READ_END:
			return PUMP_END;
		case STREAM_READ_TRUNCATED:
			return PUMP_CUT;
		case STREAM_READ_FAILED:
			return PUMP_LOST;
		}
	}
	stream_set_reading(from, false);
	return PUMP_WAIT;
}

/* The client is done: the backend learns of it behind all that was sent, and may still answer. */
static void end_client_half(struct session *session, enum close_reason reason,
			    enum stream_ending ending)
{
	session->reason = (uint8_t)reason;
	session_enter(session, SESSION_HALF_CLOSED,
		      session_after(session->set->house.config->limits.close_timeout_ms));
	stream_shutdown(&session->upstream, ending);
}

static void client_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);
	uint64_t moved = 0;
	enum pump_result result = pump(stream, &session->upstream, &moved);

	session->bytes_upstream += moved;
	metrics_add(session->set->house.metrics, METRIC_BYTES_UPSTREAM, moved);
	switch (result) {
	case PUMP_WAIT:
		break;
	case PUMP_END:
		end_client_half(session, CLOSE_CLIENT_ENDED, STREAM_ENDING_CLEAN);
		break;
	case PUMP_CUT:
		end_client_half(session, CLOSE_CLIENT_CUT, STREAM_ENDING_CUT);
		break;
	case PUMP_LOST:
		session_close(session, CLOSE_CLIENT_LOST);
		break;
	}
}

/* An end without close_notify is nothing to warn of: Cyrus 3.6 ends every session so. */
static enum close_reason reason_of_backend(enum pump_result result)
{
	switch (result) {
	case PUMP_END:
		return CLOSE_BACKEND_ENDED;
	case PUMP_CUT:
		return CLOSE_BACKEND_CUT;
	default:
		return CLOSE_BACKEND_LOST;
	}
}

/* The backend is done: what it sent is on its way to the client, the end follows. */
static void end_backend_half(struct session *session, enum pump_result result)
{
	enum stream_ending ending = result == PUMP_END ? STREAM_ENDING_CLEAN : STREAM_ENDING_CUT;

	if (session->phase == SESSION_HALF_CLOSED) {
		session_finish(session, (enum close_reason)session->reason, ending);
	} else {
		departure_orphan(session, reason_of_backend(result), ending);
	}
}

static void upstream_readable(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, upstream);
	uint64_t moved = 0;
	enum pump_result result = pump(stream, &session->client, &moved);

	session->bytes_downstream += moved;
	metrics_add(session->set->house.metrics, METRIC_BYTES_DOWNSTREAM, moved);
	if (result != PUMP_WAIT) {
		end_backend_half(session, result);
	} else if (session->phase == SESSION_HALF_CLOSED && moved > 0) {
		/* It still has something to say: the time allowed begins anew. */
		session_enter(session, SESSION_HALF_CLOSED,
			      session_after(session->set->house.config->limits.close_timeout_ms));
	}
}

static void client_drained(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, client);

	stream_set_reading(&session->upstream, true);
}

static void upstream_drained(struct stream *stream)
{
	struct session *session = container_of(stream, struct session, upstream);

	if (session->phase == SESSION_RELAYING || session->phase == SESSION_LEAVING) {
		stream_set_reading(&session->client, true);
	}
}

static void client_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, client);

	session_log_failure(session, "client connection failed", why);
	session_close(session, CLOSE_CLIENT_LOST);
}

static void upstream_failed(struct stream *stream, const struct error *why)
{
	struct session *session = container_of(stream, struct session, upstream);

	session_log_failure(session, "backend connection failed", why);
	end_backend_half(session, PUMP_LOST);
}

static const struct stream_events client_events = {
	.readable = client_readable,
	.drained = client_drained,
	.failed = client_failed,
};

static const struct stream_events upstream_events = {
	.readable = upstream_readable,
	.drained = upstream_drained,
	.failed = upstream_failed,
};

void relay_end(struct session *session, enum close_reason reason)
{
	stream_set_reading(&session->client, false);
	end_client_half(session, reason, STREAM_ENDING_CLEAN);
}

void relay_start(struct session *session)
{
	session_enter(session, SESSION_RELAYING, TIMEOUT_NEVER);
	stream_set_sipping(&session->client, false);
	stream_set_events(&session->client, &client_events);
	stream_set_events(&session->upstream, &upstream_events);
	stream_set_reads_out(&session->upstream);
	stream_set_reading(&session->client, !stream_is_congested(&session->upstream));
	stream_set_reading(&session->upstream, !stream_is_congested(&session->client));
}
