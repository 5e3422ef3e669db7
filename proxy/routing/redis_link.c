/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection to Redis: how it is made, secured, greeted, lost and made again.
 */
#include "redis_link_internal.h"

#include <stdlib.h>

#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "net/tls_client.h"

/* Bytes read at a time. The chunk that streams share cannot serve: an answer makes sessions go on,
 * and they read too. */
#define READ_SIZE 4096

/* --- Losing, and the pause ------------------------------------------------------------------ */

static void set_timer(struct redis_link *link, uint64_t deadline_ms)
{
	timeout_remove(&link->timer);
	timeout_add(&link->timers, &link->timer, deadline_ms);
}

static void log_loss(struct redis_link *link, uint64_t now_ms)
{
	char address[ENDPOINT_TEXT_MAX];

	if (link->loss_logged ||
	    (link->loss_logged_ms != 0 && now_ms - link->loss_logged_ms < REDIS_LOG_EVERY_MS)) {
		return;
	}
	link->loss_logged = true;
	link->loss_logged_ms = now_ms;
	endpoint_format(link->settings.address, address);
	log_warn(link->use->loss, log_text("address", address), log_text("detail", link->why.text));
}

void redis_link_recovered(struct redis_link *link)
{
	char address[ENDPOINT_TEXT_MAX];

	if (!link->loss_logged) {
		return;
	}
	link->loss_logged = false;
	endpoint_format(link->settings.address, address);
	log_info(link->use->recovery, log_text("address", address));
}

void redis_link_settled(struct redis_link *link)
{
	link->pause_ms = 0;
}

static void grow_pause(struct redis_link *link)
{
	link->pause_ms = link->pause_ms == 0 ? REDIS_PAUSE_MIN_MS : 2 * link->pause_ms;
	if (link->pause_ms > REDIS_PAUSE_MAX_MS) {
		link->pause_ms = REDIS_PAUSE_MAX_MS;
	}
}

static uint64_t later_of(uint64_t left, uint64_t right)
{
	return left > right ? left : right;
}

static void pause_attempts(struct redis_link *link, uint64_t now_ms)
{
	unsigned half = link->pause_ms / 2;
	uint64_t due_ms = now_ms + half + (unsigned)rand_r(&link->jitter) % (half + 1);

	link->phase = REDIS_PAUSED;
	set_timer(link, later_of(due_ms, link->attempted_ms + REDIS_PAUSE_MIN_MS));
}

static void drop_unsent(struct redis_link *link)
{
	ev_prepare_stop(link->settings.shared->loop, &link->sender);
	buffer_done(&link->unsent);
}

static void lose(struct redis_link *link, const struct error *why)
{
	bool was_ready = link->phase == REDIS_READY;
	uint64_t now_ms = timeouts_now_ms();

	link->why = *why;
	drop_unsent(link);
	stream_close(&link->stream);
	redis_codec_done(&link->codec);
	dial_cancel(&link->dial);
	metrics_count(link->settings.metrics, METRIC_REDIS_FAILURES);
	if (was_ready) {
		/* Short-lived success must not make for quick attempts without end. */
		bool lived = now_ms - link->ready_ms >= REDIS_PAUSE_MAX_MS;

		link->pause_ms = lived ? 0 : link->pause_ms;
	}
	grow_pause(link);
	pause_attempts(link, now_ms);
	log_loss(link, now_ms);
	if (was_ready) {
		struct error told = link->why;

		link->use->lost(link, &told);
	}
}

/* The connection is of no use, for now or any more. */
static void fail(struct redis_link *link, const struct error *why)
{
	if (link->phase == REDIS_READY) {
		lose(link, why);
		return;
	}
	link->why = *why;
	link->refused = true;
	link->phase = REDIS_DIALING;
	timeout_remove(&link->timer);
	redis_codec_done(&link->codec);
	dial_next(&link->dial, why);
}

static void fail_because(struct redis_link *link, const char *why)
{
	struct error error = {0};

	error_set(&error, "%.255s", why);
	fail(link, &error);
}

/* --- Greeting ------------------------------------------------------------------------------- */

static void become_ready(struct redis_link *link)
{
	link->phase = REDIS_READY;
	dial_cancel(&link->dial);
	link->ready_ms = timeouts_now_ms();
	timeout_remove(&link->timer);
	metrics_count(link->settings.metrics, METRIC_REDIS_CONNECTS);
	link->use->ready(link);
}

static void greet(struct redis_link *link)
{
	struct buffer commands = {0};

	if (!redis_codec_init(&link->codec, &link->use->limits)) {
		fail_because(link, "out of memory");
		return;
	}
	link->phase = REDIS_GREETING;
	redis_greeting_begin(&link->greeting, &link->settings, &commands);
	if (commands.failed) {
		fail_because(link, "out of memory");
	} else {
		stream_set_reading(&link->stream, true);
		stream_write(&link->stream, buffer_bytes(&commands), commands.length);
	}
	buffer_done(&commands);
}

static void take_greeting_reply(struct redis_link *link, const struct redis_reply *reply)
{
	struct error why = {0};

	switch (redis_greeting_take(&link->greeting, reply, &why)) {
	case REDIS_GREETING_MORE:
		break;
	case REDIS_GREETING_DONE:
		become_ready(link);
		break;
	case REDIS_GREETING_REFUSED:
		fail(link, &why);
		break;
	}
}

/* --- What the stream says ------------------------------------------------------------------- */

static struct redis_link *link_of(struct stream *stream)
{
	return container_of(stream, struct redis_link, stream);
}

static void secure(struct redis_link *link)
{
	const struct redis_settings *settings = &link->settings;
	const char *wanted = settings->config->server_name;
	struct tls_peer peer = {settings->tls_client, wanted, NULL};

	if (wanted[0] == '\0') {
		peer.name = settings->address->name;
	}
	link->phase = REDIS_SECURING;
	if (!stream_start_tls_client(&link->stream, &peer)) {
		fail_because(link, "out of memory");
	}
}

static void on_ready(struct stream *stream)
{
	struct redis_link *link = link_of(stream);

	if (link->phase == REDIS_DIALING) {
		set_timer(link, timeouts_now_ms() + link->settings.config->timeout_ms);
	}
	if (link->phase == REDIS_DIALING && link->settings.config->tls) {
		secure(link);
	} else {
		greet(link);
	}
}

/* False when the connection was lost over it. */
static bool take_reply(struct redis_link *link, struct redis_reply *reply)
{
	if (link->phase == REDIS_GREETING) {
		take_greeting_reply(link, reply);
	} else {
		link->use->reply(link, reply);
	}
	redis_reply_done(reply);
	return link->phase == REDIS_GREETING || link->phase == REDIS_READY;
}

/* False when the connection was lost over it. */
static bool take_bytes(struct redis_link *link, const uint8_t *bytes, size_t length)
{
	struct redis_input input = {bytes, length};

	while (input.length > 0) {
		struct redis_reply reply = {0};
		struct error why = {0};

		switch (redis_codec_feed(&link->codec, &input, &reply, &why)) {
		case REDIS_CODEC_MORE:
			break;
		case REDIS_CODEC_BROKEN:
			error_prefix(&why, "Redis sent nonsense");
			fail(link, &why);
			return false;
		case REDIS_CODEC_REPLY:
			if (!take_reply(link, &reply)) {
				return false;
			}
			break;
		}
	}
	return true;
}

static void on_readable(struct stream *stream)
{
	struct redis_link *link = link_of(stream);
	uint8_t bytes[READ_SIZE];

	for (;;) {
		struct error why = {0};
		size_t count = 0;

		switch (stream_read(stream, bytes, sizeof(bytes), &count, &why)) {
		case STREAM_READ_BYTES:
			if (!take_bytes(link, bytes, count)) {
				return;
			}
			break;
		case STREAM_READ_LATER:
			return;
		case STREAM_READ_END:
		case STREAM_READ_TRUNCATED:
			fail_because(link, "Redis closed the connection");
			return;
		case STREAM_READ_FAILED:
			fail(link, &why);
			return;
		}
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream; /* what waits to be sent is bounded by the questions in flight */
}

static void on_failed(struct stream *stream, const struct error *why)
{
	fail(link_of(stream), why);
}

static const struct stream_events stream_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};

/* --- Attempts ------------------------------------------------------------------------------- */

/* What an address said that was reached is worth more than why the others were not. */
static void on_dial_failed(struct dial *dial, const struct error *why)
{
	struct redis_link *link = container_of(dial, struct redis_link, dial);
	struct error told = link->refused ? link->why : *why;

	lose(link, &told);
}

static const struct dial_events dial_events = {.failed = on_dial_failed};

static void begin_attempt(struct redis_link *link)
{
	struct dial_settings settings = {
		.shared = link->settings.shared,
		.resolver = link->settings.resolver,
		.timeout_ms = link->settings.config->timeout_ms,
		.stream = &link->stream,
		.stream_events = &stream_events,
		.events = &dial_events,
	};

	link->attempted_ms = timeouts_now_ms();
	link->phase = REDIS_DIALING;
	link->refused = false;
	dial_begin(&link->dial, &settings, link->settings.address);
}

static void on_timer(struct timeout *timer)
{
	struct redis_link *link = container_of(timer, struct redis_link, timer);
	struct error why = {0};

	if (link->phase == REDIS_PAUSED) {
		begin_attempt(link);
		return;
	}
	error_set(&why, "no %s%s within %llu ms",
		  link->phase == REDIS_GREETING ? "reply to " : "end of the TLS handshake",
		  link->phase == REDIS_GREETING ? redis_greeting_awaits(&link->greeting) : "",
		  (unsigned long long)link->settings.config->timeout_ms);
	fail(link, &why);
}

/* --- Sending -------------------------------------------------------------------------------- */

/* The loop is about to wait: whoever asks in this turn has asked. */
static void on_sender(struct ev_loop *loop, struct ev_prepare *sender, int events)
{
	struct redis_link *link = container_of(sender, struct redis_link, sender);

	(void)loop;
	(void)events;
	if (link->unsent.failed) {
		fail_because(link, "out of memory");
		return;
	}
	stream_write(&link->stream, buffer_bytes(&link->unsent), link->unsent.length);
	drop_unsent(link);
}

/* --- For the owner -------------------------------------------------------------------------- */

void redis_link_init(struct redis_link *link, const struct redis_settings *settings,
		     const struct redis_link_use *use)
{
	uint64_t now_ms = timeouts_now_ms();

	*link = (struct redis_link){.settings = *settings, .use = use};
	invariant(!settings->config->tls || settings->tls_client != NULL);
	link->jitter = (unsigned)now_ms ^ (unsigned)((uintptr_t)link >> 4);
	error_set(&link->why, "not connected yet");
	ev_prepare_init(&link->sender, on_sender);
	timeout_list_init(&link->timers, settings->timeouts, on_timer);
	set_timer(link, now_ms);
}

void redis_link_want(struct redis_link *link)
{
	uint64_t soonest_ms = later_of(timeouts_now_ms(), link->attempted_ms + REDIS_PAUSE_MIN_MS);

	if (link->phase == REDIS_PAUSED && link->timer.deadline_ms > soonest_ms) {
		set_timer(link, soonest_ms);
	}
}

void redis_link_send(struct redis_link *link, const struct buffer *commands)
{
	invariant(link->phase == REDIS_READY);
	buffer_append(&link->unsent, buffer_bytes(commands), commands->length);
	ev_prepare_start(link->settings.shared->loop, &link->sender);
}

void redis_link_fail(struct redis_link *link, const struct error *why)
{
	invariant(link->phase == REDIS_READY);
	lose(link, why);
}

void redis_link_done(struct redis_link *link)
{
	drop_unsent(link);
	stream_close(&link->stream);
	redis_codec_done(&link->codec);
	dial_cancel(&link->dial);
	timeout_remove(&link->timer);
	timeout_list_done(&link->timers);
}
