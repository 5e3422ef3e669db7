/* SPDX-License-Identifier: Apache-2.0
 *
 * A probe's way through one connection.
 */
#include "probe_internal.h"

#include <string.h>

#include "core/metrics.h"
#include "imap/upstream.h"
#include "net/proxy_header.h"
#include "net/tls_client.h"
#include "routing/backend.h"
#include "routing/member.h"

/* Bytes that one read takes. */
#define READ_SIZE 4096

#define LOGOUT "L1 LOGOUT\r\n"

static const struct stream_events stream_events;

/* --- The end -------------------------------------------------------------------------------- */

void probe_stop(struct probe *probe)
{
	stream_close(&probe->stream);
	dial_cancel(&probe->dial);
	timeout_remove(&probe->timer);
	upstream_free(probe->upstream);
	probe->upstream = NULL;
	buffer_done(&probe->input);
	probe->backend = NULL;
	probe->phase = PROBE_IDLE;
}

static void finish(struct probe *probe, const struct error *why)
{
	probe_stop(probe);
	probe->events->over(probe, why);
}

static void fail(struct probe *probe, const char *why)
{
	struct error error = {0};

	error_set(&error, "%.255s", why);
	finish(probe, &error);
}

/* --- Connecting ----------------------------------------------------------------------------- */

static void set_timer(struct probe *probe, uint64_t deadline_ms)
{
	timeout_remove(&probe->timer);
	timeout_add(&probe->timers, &probe->timer, deadline_ms);
}

static struct probe *probe_of_dial(struct dial *dial)
{
	return container_of(dial, struct probe, dial);
}

static void on_unreachable(struct dial *dial, const struct error *why)
{
	finish(probe_of_dial(dial), why);
}

static const struct dial_events dial_events = {
	.failed = on_unreachable,
};

static uint64_t smaller(uint64_t left, uint64_t right)
{
	return left < right ? left : right;
}

/* The longest that a probe of `backend` may take. */
static uint64_t patience_with(const struct probe *probe, const struct backend *backend)
{
	uint64_t both_ms = backend->connect_timeout_ms + backend->login_timeout_ms;

	return probe->house.patience_ms > 0 ? smaller(both_ms, probe->house.patience_ms) : both_ms;
}

void probe_begin(struct probe *probe, struct backend *backend, enum probe_depth depth)
{
	uint64_t patience_ms = patience_with(probe, backend);
	struct dial_settings settings = {
		.shared = probe->house.shared,
		.resolver = probe->house.resolver,
		.metrics = probe->house.metrics,
		.timeout_ms = smaller(backend->connect_timeout_ms, patience_ms),
		.sources = backend->member != NULL ? backend->member->sources : NULL,
		.stream = &probe->stream,
		.stream_events = &stream_events,
		.events = &dial_events,
	};

	invariant(probe->phase == PROBE_IDLE);
	probe->phase = PROBE_CONNECTING;
	probe->depth = depth;
	probe->backend = backend;
	probe->deadline_ms = timeouts_now_ms() + patience_ms;
	set_timer(probe, probe->deadline_ms);
	dial_begin(&probe->dial, &settings, &backend->address);
}

/* --- Asking --------------------------------------------------------------------------------- */

/* Sends what the dialogue has written; false when memory ran out and the probe is over. */
static bool send_output(struct probe *probe, struct buffer *output)
{
	bool complete = !output->failed;

	if (complete) {
		stream_write(&probe->stream, buffer_bytes(output), output->length);
	}
	buffer_done(output);
	if (!complete) {
		fail(probe, "out of memory");
	}
	return complete;
}

/* Who does not read up to the backend's end may tear away the LOGOUT with a reset. */
static void leave(struct probe *probe)
{
	const struct capability_offer *offer =
		probe->upstream != NULL ? upstream_offer(probe->upstream) : NULL;

	if (offer != NULL && offer->known && probe->events->learnt != NULL) {
		probe->events->learnt(probe, offer);
	}
	probe->phase = PROBE_LEAVING;
	set_timer(probe, timeouts_now_ms() + PROBE_LEAVE_MS);
	stream_set_reading(&probe->stream, true);
}

static void log_out(struct probe *probe)
{
	stream_write(&probe->stream, LOGOUT, strlen(LOGOUT));
	leave(probe);
}

static void hang_up(struct probe *probe)
{
	stream_shutdown(&probe->stream, STREAM_ENDING_CLEAN);
	leave(probe);
}

static void ask(struct probe *probe)
{
	struct upstream_settings settings = {
		.credentials = probe->depth == PROBE_LOGIN ? probe->house.credentials : NULL,
		.proxy_ttl = PROBE_PROXY_TTL,
		.starttls = probe->backend->tls == CONFIG_TLS_STARTTLS,
		.form = backend_form(probe->backend),
	};

	if (probe->depth == PROBE_CONNECT) {
		hang_up(probe);
		return;
	}

	invariant(probe->depth != PROBE_LOGIN || settings.credentials != NULL);
	probe->phase = PROBE_ASKING;
	probe->upstream = upstream_new(&settings);
	if (probe->upstream == NULL) {
		fail(probe, "out of memory");
		return;
	}
	stream_set_reading(&probe->stream, true);
}

static void start_tls(struct probe *probe)
{
	struct error why = {0};

	probe->phase = PROBE_SECURING;
	if (!backend_start_tls(probe->backend, &probe->stream, &why)) {
		finish(probe, &why);
	}
}

static void on_secured(struct probe *probe)
{
	bool resumed = stream_tls_resumed(&probe->stream);
	struct buffer output = {0};

	metrics_count(probe->house.metrics,
		      resumed ? METRIC_BACKEND_HANDSHAKES_RESUMED : METRIC_BACKEND_HANDSHAKES_FULL);
	if (probe->upstream == NULL) {
		ask(probe);
		return;
	}
	if (probe->depth == PROBE_GREETING) {
		log_out(probe);
		return;
	}
	probe->phase = PROBE_ASKING;
	upstream_secured(probe->upstream, &output);
	if (send_output(probe, &output)) {
		stream_set_reading(&probe->stream, true);
	}
}

/* Nobody is behind this connection but the proxy itself: LOCAL. */
static bool send_proxy_header(struct probe *probe)
{
	struct proxy_header_client nobody = {0};
	struct buffer header = {0};

	proxy_header_write(&header, &nobody);
	return send_output(probe, &header);
}

/* A greeting was asked for, and is there; behind STARTTLS nothing else would be. */
static bool has_greeting(const struct probe *probe)
{
	return probe->depth == PROBE_GREETING && probe->backend->tls != CONFIG_TLS_STARTTLS &&
	       upstream_greeted(probe->upstream);
}

/* Without credentials the dialogue has logged out itself. */
static void end_asking(struct probe *probe)
{
	if (probe->depth == PROBE_LOGIN) {
		log_out(probe);
	} else {
		leave(probe);
	}
}

/* False when nothing more shall be read now. */
static bool feed(struct probe *probe)
{
	struct buffer output = {0};
	enum upstream_verdict verdict = upstream_feed(probe->upstream, &probe->input, &output);

	if (verdict == UPSTREAM_MORE && has_greeting(probe)) {
		buffer_done(&output); /* it would ask on */
		log_out(probe);
		return true;
	}
	if (!send_output(probe, &output)) {
		return false;
	}
	switch (verdict) {
	case UPSTREAM_MORE:
		return true;
	case UPSTREAM_STARTTLS:
		start_tls(probe);
		return false;
	case UPSTREAM_READY:
		end_asking(probe);
		return true;
	default:
		fail(probe, upstream_reason(probe->upstream));
		return false;
	}
}

static bool take(struct probe *probe, const uint8_t *bytes, size_t count)
{
	if (probe->phase == PROBE_LEAVING) {
		return true;
	}
	if (!buffer_append(&probe->input, bytes, count)) {
		fail(probe, "out of memory");
		return false;
	}
	return feed(probe);
}

static void on_end(struct probe *probe, const struct error *why)
{
	if (probe->phase == PROBE_LEAVING) {
		finish(probe, NULL);
	} else if (why != NULL) {
		finish(probe, why);
	} else {
		upstream_end(probe->upstream);
		fail(probe, upstream_reason(probe->upstream));
	}
}

/* --- What the stream and the clock say ------------------------------------------------------ */

static struct probe *probe_of(struct stream *stream)
{
	return container_of(stream, struct probe, stream);
}

static void on_ready(struct stream *stream)
{
	struct probe *probe = probe_of(stream);

	if (probe->phase == PROBE_SECURING) {
		on_secured(probe);
		return;
	}
	if (probe->backend->send_proxy && !send_proxy_header(probe)) {
		return;
	}
	if (probe->backend->tls == CONFIG_TLS_IMPLICIT) {
		start_tls(probe);
	} else {
		ask(probe);
	}
}

static void on_readable(struct stream *stream)
{
	struct probe *probe = probe_of(stream);
	uint8_t bytes[READ_SIZE];

	for (;;) {
		struct error why = {0};
		size_t count = 0;

		switch (stream_read(stream, bytes, sizeof(bytes), &count, &why)) {
		case STREAM_READ_BYTES:
			if (!take(probe, bytes, count)) {
				return;
			}
			break;
		case STREAM_READ_LATER:
			return;
		case STREAM_READ_FAILED:
			on_end(probe, &why);
			return;
		default:
			on_end(probe, NULL);
			return;
		}
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream; /* the dialogue goes on when the backend answers */
}

/* As with logins: the same address without the session that was offered, or another one. */
static void on_handshake_failed(struct probe *probe, const struct error *why)
{
	bool offered = stream_tls_offered(&probe->stream);

	if (!offered && probe->upstream != NULL) {
		finish(probe, why);
		return;
	}
	upstream_free(probe->upstream);
	probe->upstream = NULL;
	buffer_truncate(&probe->input, 0);
	probe->phase = PROBE_CONNECTING;
	if (offered) {
		dial_again(&probe->dial);
	} else {
		dial_next(&probe->dial, why);
	}
}

static void on_failed(struct stream *stream, const struct error *why)
{
	struct probe *probe = probe_of(stream);
	struct error told = *why;

	switch (probe->phase) {
	case PROBE_SECURING:
		metrics_count(probe->house.metrics, METRIC_BACKEND_HANDSHAKES_FAILED);
		on_handshake_failed(probe, &told);
		break;
	default:
		on_end(probe, &told);
	}
}

static const struct stream_events stream_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};

/* What did not come while the dialogue waited. */
static const char *overdue(const struct probe *probe)
{
	if (!upstream_greeted(probe->upstream)) {
		return "no greeting in time";
	}
	switch (probe->depth) {
	case PROBE_GREETING:
		return "no answer to STARTTLS in time";
	case PROBE_LOGIN:
		return "no login in time";
	default:
		return "no capabilities in time";
	}
}

static void on_timer(struct timeout *timer)
{
	struct probe *probe = container_of(timer, struct probe, timer);

	switch (probe->phase) {
	case PROBE_CONNECTING:
		fail(probe, "cannot connect: no answer in time");
		break;
	case PROBE_LEAVING:
		finish(probe, NULL);
		break;
	case PROBE_SECURING:
		metrics_count(probe->house.metrics, METRIC_BACKEND_HANDSHAKES_FAILED);
		fail(probe, "no TLS in time");
		break;
	default:
		fail(probe, overdue(probe));
	}
}

/* --- For the owner -------------------------------------------------------------------------- */

void probe_init(struct probe *probe, const struct probe_house *house,
		const struct probe_events *events)
{
	*probe = (struct probe){.house = *house, .events = events};
	timeout_list_init(&probe->timers, house->timeouts, on_timer);
}

void probe_done(struct probe *probe)
{
	probe_stop(probe);
	timeout_list_done(&probe->timers);
}
