/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said first on a connection to Redis, and what its replies mean: AUTH, SELECT, a PING that
 * shows that the server answers at all (one that hangs is connected to, and one that still loads
 * its data answers other commands), and ROLE.
 */
#ifndef GATEPOST_ROUTING_REDIS_GREETING_INTERNAL_H
#define GATEPOST_ROUTING_REDIS_GREETING_INTERNAL_H

#include "redis_internal.h"
#include "redis_server_internal.h"

/* struct redis_greeting is about the replies that are still to come. */
struct redis_greeting {
	const struct redis_settings *settings;
	unsigned step;
};

/* redis_greeting_begin appends the commands, one at least; out->failed when memory ran out.
 * `settings` outlives the greeting. */
void redis_greeting_begin(struct redis_greeting *greeting, const struct redis_settings *settings,
			  struct buffer *out);

enum redis_greeting_verdict {
	REDIS_GREETING_MORE,
	REDIS_GREETING_DONE,    /* commands can be sent */
	REDIS_GREETING_REFUSED, /* `error` says why, without any password */
};

/* redis_greeting_take judges the next reply. */
enum redis_greeting_verdict redis_greeting_take(struct redis_greeting *greeting,
						const struct redis_reply *reply,
						struct error *error);

/* redis_greeting_awaits names the command whose reply is the next. */
const char *redis_greeting_awaits(const struct redis_greeting *greeting);

#endif
