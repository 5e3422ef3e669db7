/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to Redis: asked in order, answered in order, each by its deadline. What was sent stands
 * at the head of the queue, and keeps its place there even when nobody waits for it any more, since
 * its reply still comes.
 */
#include "routing/redis.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/buffer.h"
#include "core/config.h"
#include "core/metrics.h"
#include "redis_internal.h"
#include "redis_link_internal.h"

/* After a turn of the loop that took too long, replies may lie in the socket unread: look again so
 * much later before giving up the connection. */
#define GRACE_MS 10

struct redis_pending {
	struct redis_pending *prev;
	struct redis_pending *next;
	struct redis *redis;
	struct redis_question *question; /* NULL: nobody waits any more */
	struct timeout deadline;
	struct buffer command; /* empty once sent */
	uint64_t sent_ms;      /* 0 = not yet */
	bool overdue;          /* GRACE_MS are running */
};

struct redis {
	struct redis_link link;
	struct redis_pending *queue;
	size_t queue_length;
	struct timeout_list deadlines;
};

static void drop(struct redis_pending *pending)
{
	DL_DELETE(pending->redis->queue, pending);
	pending->redis->queue_length--;
	timeout_remove(&pending->deadline);
	buffer_done(&pending->command);
	free(pending);
}

/* Tells the asker, if somebody still waits. The callback may do anything but free the redis. */
static void tell(struct redis_question *question, enum redis_result result, const char *text,
		 size_t length)
{
	if (question == NULL) {
		return;
	}
	question->pending = NULL;
	question->callback(question, result, text, length);
}

static void tell_failure(struct redis_question *question, const struct error *why)
{
	tell(question, REDIS_FAILED, why->text, strlen(why->text));
}

/* --- Sending -------------------------------------------------------------------------------- */

static void move_command(struct redis_pending *pending, struct buffer *commands)
{
	buffer_append(commands, buffer_bytes(&pending->command), pending->command.length);
	buffer_done(&pending->command);
	pending->sent_ms = timeouts_now_ms();
}

static void on_ready(struct redis_link *link)
{
	struct redis *redis = container_of(link, struct redis, link);
	struct buffer commands = {0};
	struct error why = {0};

	for (struct redis_pending *each = redis->queue; each != NULL; each = each->next) {
		move_command(each, &commands);
	}
	if (commands.failed) {
		error_set(&why, "out of memory");
		redis_link_fail(link, &why);
	} else if (commands.length > 0) {
		redis_link_send(link, &commands);
	}
	buffer_done(&commands);
}

/* --- Replies -------------------------------------------------------------------------------- */

static void on_reply(struct redis_link *link, const struct redis_reply_view *reply)
{
	struct redis *redis = container_of(link, struct redis, link);
	struct redis_pending *head = redis->queue;
	struct redis_question *question;
	struct error why = {0};

	if (head == NULL) {
		error_set(&why, "a reply that nobody asked for");
		redis_link_fail(link, &why);
		return;
	}
	question = head->question;
	drop(head);
	switch (reply->kind) {
	case REDIS_REPLY_IS_TEXT:
		tell(question, REDIS_STRING, reply->text, reply->length);
		break;
	case REDIS_REPLY_IS_NIL:
		tell(question, REDIS_NIL, "", 0);
		break;
	default:
		redis_reply_explain(reply, &why);
		tell_failure(question, &why);
	}
}

/* Callbacks may ask again meanwhile: what they ask is not sent, and stands behind what is. */
static void on_lost(struct redis_link *link, const struct error *why)
{
	struct redis *redis = container_of(link, struct redis, link);

	while (redis->queue != NULL && redis->queue->sent_ms != 0) {
		struct redis_question *question = redis->queue->question;

		drop(redis->queue);
		tell_failure(question, why);
	}
	if (redis->queue != NULL) {
		redis_link_want(link);
	}
}

static const struct redis_link_events link_events = {
	.ready = on_ready,
	.reply = on_reply,
	.lost = on_lost,
};

/* --- Deadlines ------------------------------------------------------------------------------ */

static void give_up_waiting(struct redis_pending *pending)
{
	struct redis_question *question = pending->question;
	struct redis *redis = pending->redis;
	struct error why = redis->link.why;

	error_prefix(&why, "no connection");
	drop(pending);
	tell_failure(question, &why);
}

/* It waited for the connection and was sent late: its asker is told now, but whether Redis hangs
 * is another question. */
static void give_up_asker(struct redis_pending *pending, uint64_t hangs_ms)
{
	struct redis_question *question = pending->question;
	struct error why = {0};

	pending->question = NULL;
	timeout_add(&pending->redis->deadlines, &pending->deadline, hangs_ms);
	error_set(&why, "no reply in time");
	tell_failure(question, &why);
}

static void on_deadline(struct timeout *timeout)
{
	struct redis_pending *pending = container_of(timeout, struct redis_pending, deadline);
	struct redis *redis = pending->redis;
	uint64_t timeout_ms = redis->link.settings.config->timeout_ms;
	uint64_t now_ms = timeouts_now_ms();
	struct error why = {0};

	if (pending->sent_ms == 0) {
		give_up_waiting(pending);
	} else if (now_ms < pending->sent_ms + timeout_ms) {
		give_up_asker(pending, pending->sent_ms + timeout_ms);
	} else if (!pending->overdue) {
		pending->overdue = true;
		timeout_add(&redis->deadlines, &pending->deadline, now_ms + GRACE_MS);
	} else {
		error_set(&why, "no reply within %llu ms", (unsigned long long)timeout_ms);
		redis_link_fail(&redis->link, &why);
	}
}

/* --- For everybody -------------------------------------------------------------------------- */

struct redis *redis_new(const struct redis_settings *settings)
{
	struct redis *redis = calloc(1, sizeof(*redis));

	if (redis != NULL) {
		timeout_list_init(&redis->deadlines, settings->timeouts, on_deadline);
		redis_link_init(&redis->link, settings, &link_events);
	}
	return redis;
}

static struct redis_pending *enqueue(struct redis *redis, struct redis_question *question)
{
	struct redis_pending *pending = calloc(1, sizeof(*pending));

	if (pending == NULL) {
		return NULL;
	}
	pending->redis = redis;
	pending->question = question;
	question->pending = pending;
	DL_APPEND(redis->queue, pending);
	redis->queue_length++;
	timeout_add(&redis->deadlines, &pending->deadline,
		    timeouts_now_ms() + redis->link.settings.config->timeout_ms);
	return pending;
}

static void refuse(struct redis_question *question, const char *reason)
{
	tell(question, REDIS_FAILED, reason, strlen(reason));
}

void redis_ask(struct redis *redis, struct redis_question *question,
	       const struct redis_command *command, redis_callback_t *callback)
{
	struct redis_pending *pending;

	invariant(question->pending == NULL && command->word_count > 0);
	question->callback = callback;
	if (redis->queue_length >= REDIS_IN_FLIGHT_MAX) {
		metrics_count(redis->link.settings.metrics, METRIC_LIMIT_REDIS_QUEUE);
		refuse(question, "too many questions are waiting");
		return;
	}
	pending = enqueue(redis, question);
	if (pending == NULL) {
		refuse(question, "out of memory");
		return;
	}
	redis_codec_write(&pending->command, command);
	if (pending->command.failed) {
		drop(pending);
		refuse(question, "out of memory");
	} else if (redis->link.phase == REDIS_READY) {
		pending->sent_ms = timeouts_now_ms();
		redis_link_send(&redis->link, &pending->command);
		buffer_done(&pending->command);
	} else {
		redis_link_want(&redis->link);
	}
}

void redis_cancel(struct redis_question *question)
{
	struct redis_pending *pending = question->pending;

	if (pending == NULL) {
		return;
	}
	question->pending = NULL;
	pending->question = NULL;
	if (pending->sent_ms == 0) {
		drop(pending);
	}
}

void redis_free(struct redis *redis)
{
	if (redis == NULL) {
		return;
	}
	while (redis->queue != NULL) {
		invariant(redis->queue->question == NULL);
		drop(redis->queue);
	}
	redis_link_done(&redis->link);
	timeout_list_done(&redis->deadlines);
	free(redis);
}
