/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to a server of Redis: asked in order, answered in order, each by its deadline. What was
 * sent stands at the head of the queue, and keeps its place there even when nobody waits for it any
 * more, since its reply still comes.
 */
#include "redis_server_internal.h"

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
	struct redis_server *server;
	struct redis_question *question; /* NULL: nobody waits any more */
	struct timeout deadline;
	struct buffer command;   /* empty once sent */
	uint64_t sent_ms;        /* 0 = not yet */
	unsigned replies_before; /* to come that are not the answer: of ASKING */
	bool overdue;            /* GRACE_MS are running */
};

struct redis_server {
	struct redis_link link;
	const struct redis_server_events *events; /* NULL: none are wanted */
	void *owner;
	struct redis_pending *queue;
	size_t queue_length;
	struct timeout_list deadlines;
};

static void drop(struct redis_pending *pending)
{
	DL_DELETE(pending->server->queue, pending);
	pending->server->queue_length--;
	timeout_remove(&pending->deadline);
	buffer_done(&pending->command);
	free(pending);
}

/* Tells the asker, if somebody still waits. The callback may do anything but free the server. */
static void tell(struct redis_question *question, const struct redis_reply *reply)
{
	if (question == NULL) {
		return;
	}
	question->pending = NULL;
	question->callback(question, reply);
}

static void tell_failure(struct redis_question *question, const char *why)
{
	tell(question,
	     &(struct redis_reply){.kind = REDIS_REPLY_FAILED, .text = why, .length = strlen(why)});
}

/* --- Sending -------------------------------------------------------------------------------- */

static void move_command(struct redis_pending *pending, struct buffer *commands)
{
	buffer_append(commands, buffer_bytes(&pending->command), pending->command.length);
	buffer_done(&pending->command);
	pending->sent_ms = timeouts_now_ms();
}

static void send_all(struct redis_link *link, const struct buffer *commands)
{
	if (commands->length > 0) {
		redis_link_send(link, commands);
	}
}

static void tell_ready(struct redis_server *server)
{
	if (server->events != NULL) {
		server->events->ready(server, server->owner);
	}
}

static void on_ready(struct redis_link *link)
{
	struct redis_server *server = container_of(link, struct redis_server, link);
	struct buffer commands = {0};

	for (struct redis_pending *each = server->queue; each != NULL; each = each->next) {
		move_command(each, &commands);
	}
	if (commands.failed) {
		redis_server_fail(server, "out of memory");
	} else {
		send_all(link, &commands);
		redis_link_recovered(link);
		tell_ready(server);
	}
	buffer_done(&commands);
}

/* --- Replies -------------------------------------------------------------------------------- */

static void on_reply(struct redis_link *link, const struct redis_reply *reply)
{
	struct redis_server *server = container_of(link, struct redis_server, link);
	struct redis_pending *head = server->queue;
	struct redis_question *question;

	if (head == NULL) {
		redis_server_fail(server, "a reply that nobody asked for");
		return;
	}
	redis_link_settled(link);
	if (head->replies_before > 0) {
		head->replies_before--; /* should it say no, so does the command behind it */
		return;
	}
	question = head->question;
	drop(head);
	tell(question, reply);
}

/* Callbacks may ask again meanwhile: what they ask is not sent, and stands behind what is. */
static void on_lost(struct redis_link *link, const struct error *why)
{
	struct redis_server *server = container_of(link, struct redis_server, link);

	while (server->queue != NULL && server->queue->sent_ms != 0) {
		struct redis_question *question = server->queue->question;

		drop(server->queue);
		tell_failure(question, why->text);
	}
	if (server->queue != NULL) {
		redis_link_want(link);
	}
	if (server->events != NULL) {
		server->events->lost(server, server->owner, why->text);
	}
}

static const struct redis_link_use link_use = {
	.loss = "Redis is not usable",
	.recovery = "Redis is usable again",
	.limits = {REDIS_REPLY_MAX, REDIS_ELEMENTS_MAX},
	.ready = on_ready,
	.reply = on_reply,
	.lost = on_lost,
};

/* --- Deadlines ------------------------------------------------------------------------------ */

static void give_up_waiting(struct redis_pending *pending)
{
	struct redis_question *question = pending->question;
	struct redis_server *server = pending->server;
	struct error why = server->link.why;

	error_prefix(&why, "no connection");
	drop(pending);
	tell_failure(question, why.text);
}

/* It waited for the connection and was sent late: its asker is told now, but whether Redis hangs
 * is another question. */
static void give_up_asker(struct redis_pending *pending, uint64_t hangs_ms)
{
	struct redis_question *question = pending->question;
	struct error why = {0};

	pending->question = NULL;
	timeout_add(&pending->server->deadlines, &pending->deadline, hangs_ms);
	error_set(&why, "no reply in time");
	tell_failure(question, why.text);
}

static void on_deadline(struct timeout *timeout)
{
	struct redis_pending *pending = container_of(timeout, struct redis_pending, deadline);
	struct redis_server *server = pending->server;
	uint64_t timeout_ms = server->link.settings.config->timeout_ms;
	uint64_t now_ms = timeouts_now_ms();
	struct error why = {0};

	if (pending->sent_ms == 0) {
		give_up_waiting(pending);
	} else if (now_ms < pending->sent_ms + timeout_ms) {
		give_up_asker(pending, pending->sent_ms + timeout_ms);
	} else if (!pending->overdue) {
		pending->overdue = true;
		timeout_add(&server->deadlines, &pending->deadline, now_ms + GRACE_MS);
	} else {
		error_set(&why, "no reply within %llu ms", (unsigned long long)timeout_ms);
		redis_link_fail(&server->link, &why);
	}
}

/* --- For everybody -------------------------------------------------------------------------- */

struct redis_server *redis_server_new(const struct redis_settings *settings,
				      const struct redis_server_events *events, void *owner)
{
	struct redis_server *server = calloc(1, sizeof(*server));

	if (server != NULL) {
		server->events = events;
		server->owner = owner;
		timeout_list_init(&server->deadlines, settings->timeouts, on_deadline);
		redis_link_init(&server->link, settings, &link_use);
	}
	return server;
}

bool redis_server_is_ready(const struct redis_server *server)
{
	return server->link.phase == REDIS_READY;
}

static struct redis_pending *enqueue(struct redis_server *server, struct redis_question *question)
{
	struct redis_pending *pending = calloc(1, sizeof(*pending));

	if (pending == NULL) {
		return NULL;
	}
	pending->server = server;
	pending->question = question;
	question->pending = pending;
	DL_APPEND(server->queue, pending);
	server->queue_length++;
	timeout_add(&server->deadlines, &pending->deadline,
		    timeouts_now_ms() + server->link.settings.config->timeout_ms);
	return pending;
}

/* A place in the queue for what is asked; NULL where the asker has been told that there is none. */
static struct redis_pending *admit(struct redis_server *server, struct redis_question *question,
				   redis_callback_t *callback)
{
	struct redis_pending *pending;

	invariant(question->pending == NULL);
	question->callback = callback;
	if (server->queue_length >= REDIS_IN_FLIGHT_MAX) {
		metrics_count(server->link.settings.metrics, METRIC_LIMIT_REDIS_QUEUE);
		tell_failure(question, "too many questions are waiting");
		return NULL;
	}
	pending = enqueue(server, question);
	if (pending == NULL) {
		tell_failure(question, "out of memory");
	}
	return pending;
}

/* Its command has been written. */
static void submit(struct redis_pending *pending)
{
	struct redis_server *server = pending->server;
	struct redis_question *question = pending->question;

	if (pending->command.failed) {
		drop(pending);
		tell_failure(question, "out of memory");
	} else if (redis_server_is_ready(server)) {
		pending->sent_ms = timeouts_now_ms();
		redis_link_send(&server->link, &pending->command);
		buffer_done(&pending->command);
	} else {
		redis_link_want(&server->link);
	}
}

void redis_server_ask(struct redis_server *server, struct redis_question *question,
		      const struct redis_command *command, redis_callback_t *callback)
{
	struct redis_pending *pending;

	invariant(command->word_count > 0);
	pending = admit(server, question, callback); /* whose callback may free the command */
	if (pending != NULL) {
		redis_codec_write(&pending->command, command);
		submit(pending);
	}
}

void redis_server_ask_redirected(struct redis_server *server, struct redis_question *question,
				 const struct redis_command *command, redis_callback_t *callback)
{
	struct redis_pending *pending;

	invariant(command->word_count > 0);
	pending = admit(server, question, callback); /* whose callback may free the command */
	if (pending != NULL) {
		redis_codec_write_text(&pending->command, 1, (const char *const[]){"ASKING"});
		redis_codec_write(&pending->command, command);
		pending->replies_before = 1;
		submit(pending);
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

void redis_server_fail(struct redis_server *server, const char *why)
{
	struct error error = {0};

	if (redis_server_is_ready(server)) {
		error_set(&error, "%.255s", why);
		redis_link_fail(&server->link, &error);
	}
}

void redis_server_free(struct redis_server *server)
{
	if (server == NULL) {
		return;
	}
	while (server->queue != NULL) {
		invariant(server->queue->question == NULL);
		drop(server->queue);
	}
	redis_link_done(&server->link);
	timeout_list_done(&server->deadlines);
	free(server);
}
