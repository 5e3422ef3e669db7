/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening to a server of Redis. On each connection CLIENT ID tells where to redirect the tracking
 * to; tracking and the channels are asked for together, and once all of it has been confirmed,
 * nothing but messages and the answers of PING may come. What is anything else ends the connection:
 * a gap is harmless, since its owner knows of it, but a message misread would be a change missed.
 */
#include "redis_watch_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "core/config_redis.h"
#include "core/metrics.h"
#include "redis_link_internal.h"
#include "redis_news_internal.h"

/* After a turn of the loop that took too long, an answer may lie in the socket unread: look again
 * so much later before giving up the connection. */
#define GRACE_MS 10

enum watch_phase {
	WATCH_BLIND, /* there is no connection; the zero state */
	WATCH_NAMING,
	WATCH_TRACKING,
	WATCH_SUBSCRIBING,
	WATCH_WATCHING,
};

struct redis_watch {
	struct redis_link link;
	struct redis_watch_settings settings;
	enum watch_phase phase;
	size_t subscribed; /* channels that were confirmed */
	struct timeout_list timers;
	struct timeout timer; /* up to `watching` for all of it, then for silence */
	uint64_t heard_ms;
	uint64_t pinged_ms; /* 0 = something was heard since */
	unsigned pings;     /* whose answers are to come */
	bool overdue;       /* GRACE_MS are running */
};

static struct redis_watch *watch_of(struct redis_link *link)
{
	return container_of(link, struct redis_watch, link);
}

static uint64_t timeout_of(const struct redis_watch *watch)
{
	return watch->settings.server.config->timeout_ms;
}

static void set_timer(struct redis_watch *watch, uint64_t deadline_ms)
{
	timeout_remove(&watch->timer);
	timeout_add(&watch->timers, &watch->timer, deadline_ms);
}

/* What the server said, or that it was something else, behind the command that it is about. */
static void refuse(struct redis_watch *watch, const char *command, const struct redis_reply *reply)
{
	struct error why = {0};

	redis_reply_explain(reply, &why);
	error_prefix(&why, command);
	redis_link_fail(&watch->link, &why);
}

/* --- Asking for all of it ------------------------------------------------------------------- */

static bool tracks_keys(const struct redis_watch *watch)
{
	return watch->settings.prefix_count > 0;
}

static size_t channel_count(const struct redis_watch *watch)
{
	return watch->settings.channel_count + (tracks_keys(watch) ? 1 : 0);
}

/* All that was written, or the end for want of memory. */
static void send_commands(struct redis_watch *watch, struct buffer *commands)
{
	if (commands->failed) {
		redis_watch_fail(watch, "out of memory");
	} else {
		redis_link_send(&watch->link, commands);
	}
	buffer_done(commands);
}

static void write_subscribe(const struct redis_watch *watch, struct buffer *out)
{
	const struct redis_watch_settings *settings = &watch->settings;

	redis_news_write_subscribe(out, settings->channels, settings->channel_count,
				   tracks_keys(watch) ? REDIS_INVALIDATIONS : NULL);
}

/* Tracking comes first: who has subscribed may not ask for it any more. */
static void track(struct redis_watch *watch, int64_t id)
{
	const struct redis_watch_settings *settings = &watch->settings;
	struct buffer commands = {0};

	watch->phase = WATCH_TRACKING;
	redis_news_write_tracking(&commands, settings->prefixes, settings->prefix_count, id);
	write_subscribe(watch, &commands);
	send_commands(watch, &commands);
}

static void subscribe(struct redis_watch *watch)
{
	struct buffer command = {0};

	watch->phase = WATCH_SUBSCRIBING;
	write_subscribe(watch, &command);
	send_commands(watch, &command);
}

static void ask_name(struct redis_watch *watch)
{
	struct buffer command = {0};

	watch->phase = WATCH_NAMING;
	redis_codec_write_text(&command, 2, (const char *const[]){"CLIENT", "ID"});
	send_commands(watch, &command);
}

static void on_ready(struct redis_link *link)
{
	struct redis_watch *watch = watch_of(link);

	watch->subscribed = 0;
	watch->overdue = false;
	set_timer(watch, timeouts_now_ms() + timeout_of(watch));
	if (tracks_keys(watch)) {
		ask_name(watch);
	} else {
		subscribe(watch);
	}
}

/* --- Confirmations -------------------------------------------------------------------------- */

static void take_name(struct redis_watch *watch, const struct redis_reply *reply)
{
	if (reply->kind == REDIS_REPLY_NUMBER) {
		track(watch, reply->number);
	} else {
		refuse(watch, "CLIENT ID", reply);
	}
}

static void take_tracking(struct redis_watch *watch, const struct redis_reply *reply)
{
	if (reply->kind == REDIS_REPLY_STATUS) {
		watch->phase = WATCH_SUBSCRIBING;
	} else {
		refuse(watch, "CLIENT TRACKING", reply);
	}
}

static void begin_watching(struct redis_watch *watch)
{
	const struct redis_watch_settings *settings = &watch->settings;

	watch->phase = WATCH_WATCHING;
	watch->heard_ms = timeouts_now_ms();
	watch->pinged_ms = 0;
	watch->pings = 0;
	watch->overdue = false;
	set_timer(watch, watch->heard_ms + REDIS_WATCH_PING_MS);
	redis_link_settled(&watch->link);
	redis_link_recovered(&watch->link);
	settings->events->watching(watch, settings->owner);
}

/* Messages may come before the last channel is confirmed; its owner was promised none yet. */
static void take_subscription(struct redis_watch *watch, const struct redis_reply *reply)
{
	struct redis_news news;

	redis_news_read(&news, reply);
	if (news.kind == REDIS_NEWS_SUBSCRIBED) {
		watch->subscribed++;
	} else if (news.kind != REDIS_NEWS_MESSAGE) {
		refuse(watch, "SUBSCRIBE", reply);
		return;
	}
	if (watch->subscribed == channel_count(watch)) {
		begin_watching(watch);
	}
}

/* --- Messages ------------------------------------------------------------------------------- */

static bool tell_key(struct redis_watch *watch, const struct redis_reply *key)
{
	const struct redis_watch_settings *settings = &watch->settings;

	if (key->kind != REDIS_REPLY_TEXT) {
		redis_watch_fail(watch, "Redis told a change of no key");
		return false;
	}
	metrics_count(settings->server.metrics, METRIC_INVALIDATIONS);
	settings->events->changed(watch, settings->owner, key->text, key->length);
	return watch->phase == WATCH_WATCHING;
}

/* Keys, or none where all may have changed. A text is not from Redis but was published by somebody;
 * to look at one key more than needed does no harm. */
static void tell_changes(struct redis_watch *watch, const struct redis_reply *keys)
{
	const struct redis_watch_settings *settings = &watch->settings;
	struct redis_reply key = {0};

	if (keys->kind == REDIS_REPLY_NIL) {
		settings->events->flushed(watch, settings->owner);
		return;
	}
	if (keys->kind != REDIS_REPLY_ARRAY) {
		(void)tell_key(watch, keys);
		return;
	}
	for (size_t i = 0; i < keys->count; i++) {
		redis_reply_element(keys, i, &key);
		if (!tell_key(watch, &key)) {
			return;
		}
	}
}

static const char *find_channel(const struct redis_watch *watch, const struct redis_news *news)
{
	const struct redis_watch_settings *settings = &watch->settings;

	for (size_t i = 0; i < settings->channel_count; i++) {
		if (redis_news_is_of(news, settings->channels[i])) {
			return settings->channels[i];
		}
	}
	return NULL;
}

static void take_message(struct redis_watch *watch, const struct redis_news *news)
{
	const struct redis_watch_settings *settings = &watch->settings;
	const char *channel = find_channel(watch, news);

	if (channel != NULL && news->body.kind == REDIS_REPLY_TEXT) {
		settings->events->told(watch, settings->owner, channel, news->body.text);
	} else if (tracks_keys(watch) && redis_news_is_of(news, REDIS_INVALIDATIONS)) {
		tell_changes(watch, &news->body);
	} else {
		redis_watch_fail(watch, "Redis sent a message that was not subscribed to");
	}
}

/* Who may not use PING has been answered. */
static bool is_pong(const struct redis_watch *watch, const struct redis_reply *reply,
		    const struct redis_news *news)
{
	return watch->pings > 0 && (news->kind == REDIS_NEWS_PONG ||
				    (reply->kind == REDIS_REPLY_ERROR &&
				     text_starts_nocase(reply->text, reply->length, "NOPERM")));
}

static void note_life(struct redis_watch *watch)
{
	watch->heard_ms = timeouts_now_ms();
	if (watch->pinged_ms != 0) {
		watch->pinged_ms = 0;
		watch->overdue = false;
		set_timer(watch, watch->heard_ms + REDIS_WATCH_PING_MS);
	}
}

static void take_news(struct redis_watch *watch, const struct redis_reply *reply)
{
	struct redis_news news;

	note_life(watch);
	redis_news_read(&news, reply);
	if (news.kind == REDIS_NEWS_MESSAGE) {
		take_message(watch, &news);
	} else if (is_pong(watch, reply, &news)) {
		watch->pings--;
	} else {
		refuse(watch, "while watching", reply);
	}
}

static void on_reply(struct redis_link *link, const struct redis_reply *reply)
{
	struct redis_watch *watch = watch_of(link);

	switch (watch->phase) {
	case WATCH_NAMING:
		take_name(watch, reply);
		break;
	case WATCH_TRACKING:
		take_tracking(watch, reply);
		break;
	case WATCH_SUBSCRIBING:
		take_subscription(watch, reply);
		break;
	case WATCH_WATCHING:
		take_news(watch, reply);
		break;
	case WATCH_BLIND:
		invariant(!"a reply without a connection");
	}
}

static void on_lost(struct redis_link *link, const struct error *why)
{
	struct redis_watch *watch = watch_of(link);
	bool was_watching = watch->phase == WATCH_WATCHING;

	watch->phase = WATCH_BLIND;
	timeout_remove(&watch->timer);
	if (was_watching) {
		watch->settings.events->blind(watch, watch->settings.owner, why->text);
	}
}

/* --- Silence -------------------------------------------------------------------------------- */

static void give_up(struct redis_watch *watch)
{
	struct error why = {0};

	error_set(&why, "no %s within %" PRIu64 " ms",
		  watch->phase == WATCH_WATCHING ? "reply to PING"
						 : "confirmation of CLIENT TRACKING and SUBSCRIBE",
		  timeout_of(watch));
	redis_link_fail(&watch->link, &why);
}

static void ping(struct redis_watch *watch)
{
	struct buffer command = {0};

	watch->pings++;
	watch->pinged_ms = timeouts_now_ms();
	set_timer(watch, watch->pinged_ms + timeout_of(watch));
	redis_codec_write_text(&command, 1, (const char *const[]){"PING"});
	send_commands(watch, &command);
}

static void on_timer(struct timeout *timer)
{
	struct redis_watch *watch = container_of(timer, struct redis_watch, timer);
	uint64_t now_ms = timeouts_now_ms();
	bool waits = watch->phase != WATCH_WATCHING || watch->pinged_ms != 0;

	if (waits && !watch->overdue) {
		watch->overdue = true;
		set_timer(watch, now_ms + GRACE_MS);
		return;
	}
	watch->overdue = false;
	if (waits) {
		give_up(watch);
	} else if (now_ms < watch->heard_ms + REDIS_WATCH_PING_MS) {
		set_timer(watch, watch->heard_ms + REDIS_WATCH_PING_MS);
	} else {
		ping(watch);
	}
}

/* --- For the owner -------------------------------------------------------------------------- */

/* The three elements of a message, and its keys. */
#define ELEMENTS_MAX (3 + REDIS_WATCH_KEYS_MAX)

static const struct redis_link_use of_keys = {
	.loss = "Redis does not tell which keys change: every login asks, and sessions do not hear "
		"of it",
	.recovery = "Redis tells which keys change again",
	.limits = {REDIS_WATCH_BYTES_MAX, ELEMENTS_MAX},
	.ready = on_ready,
	.reply = on_reply,
	.lost = on_lost,
};

static const struct redis_link_use of_channels = {
	.loss = "Redis does not tell its news",
	.recovery = "Redis tells its news again",
	.limits = {REDIS_WATCH_BYTES_MAX, ELEMENTS_MAX},
	.ready = on_ready,
	.reply = on_reply,
	.lost = on_lost,
};

struct redis_watch *redis_watch_new(const struct redis_watch_settings *settings)
{
	struct redis_watch *watch = calloc(1, sizeof(*watch));

	invariant(settings->prefix_count + settings->channel_count > 0);
	if (watch != NULL) {
		watch->settings = *settings;
		timeout_list_init(&watch->timers, settings->server.timeouts, on_timer);
		redis_link_init(&watch->link, &settings->server,
				tracks_keys(watch) ? &of_keys : &of_channels);
	}
	return watch;
}

bool redis_watch_is_watching(const struct redis_watch *watch)
{
	return watch->phase == WATCH_WATCHING;
}

void redis_watch_fail(struct redis_watch *watch, const char *why)
{
	struct error error = {0};

	if (watch->phase != WATCH_BLIND) {
		error_set(&error, "%.255s", why);
		redis_link_fail(&watch->link, &error);
	}
}

void redis_watch_free(struct redis_watch *watch)
{
	if (watch == NULL) {
		return;
	}
	redis_link_done(&watch->link);
	timeout_remove(&watch->timer);
	timeout_list_done(&watch->timers);
	free(watch);
}
