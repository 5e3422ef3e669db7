/* SPDX-License-Identifier: Apache-2.0
 *
 * One server of Redis that is asked: a connection that keeps itself alive (redis_link_internal.h),
 * and on it commands in, replies out, in order, each bounded in time.
 */
#ifndef GATEPOST_ROUTING_REDIS_SERVER_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_SERVER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/base.h"
#include "redis_reply_internal.h"

struct config_redis;
struct metrics;
struct redis_question;
struct redis_server;
struct resolver;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Questions asked and not yet answered, per server; one more is refused at once. And the longest
 * reply that is read, with all its framing, and the elements of all its arrays together (CLUSTER
 * SLOTS has about ten for each range of slots); more ends the connection. */
#define REDIS_IN_FLIGHT_MAX 4096
#define REDIS_REPLY_MAX     (1 << 20)
#define REDIS_ELEMENTS_MAX  65536

/* Who connects: a reader of data (user, password and database of the URL), or one of sentinels. */
enum redis_login { REDIS_LOGIN_DATA, REDIS_LOGIN_SENTINEL };

/* What a connection to a server is made of; all borrowed and outlives it. */
struct redis_settings {
	const struct config_redis *config;
	const struct endpoint *address;
	enum redis_login login;
	bool master_only; /* a server whose ROLE is another is not ready, and tried again later */
	bool in_cluster;  /* there is only database 0 */
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct tls_client *tls_client; /* where config->tls; whom it must name is the host of the
					* address, or config->server_name */
};

struct redis_server_events {
	/* Connected, greeted (it answers PING), and a master where that is asked for. */
	void (*ready)(struct redis_server *server, void *owner);
	/* What was ready is no more; questions that were sent have failed. `why` is a sentence. */
	void (*lost)(struct redis_server *server, void *owner, const char *why);
};

typedef void redis_callback_t(struct redis_question *question, const struct redis_reply *reply);

/* struct redis_question is embedded in the asker; zero is "nothing asked". */
struct redis_question {
	struct redis_pending *pending; /* NULL when nothing is being asked */
	redis_callback_t *callback;
};

/* redis_server_new begins to connect in the next turn of the loop. `events` may be NULL. NULL when
 * memory ran out. */
must_use struct redis_server *redis_server_new(const struct redis_settings *settings,
					       const struct redis_server_events *events,
					       void *owner);

bool redis_server_is_ready(const struct redis_server *server);

/* redis_server_ask sends one command, when the server is ready. Answers once through `callback`
 * unless cancelled, at the latest when redis.timeout is over, perhaps before it returns. Commands
 * are carried out in the order of asking. */
void redis_server_ask(struct redis_server *server, struct redis_question *question,
		      const struct redis_command *command, redis_callback_t *callback);

/* redis_server_ask_redirected does the same behind an ASKING, as a cluster's ASK wants it. */
void redis_server_ask_redirected(struct redis_server *server, struct redis_question *question,
				 const struct redis_command *command, redis_callback_t *callback);

/* redis_cancel: the callback will not be called; the reply, when it comes, is dropped. */
void redis_cancel(struct redis_question *question);

/* redis_server_fail ends the connection for a reason that its owner saw; it is made anew. */
void redis_server_fail(struct redis_server *server, const char *why);

/* redis_server_free closes the connection; no question may be waiting, and not from within a
 * callback or event. NULL is fine. */
void redis_server_free(struct redis_server *server);

#endif
