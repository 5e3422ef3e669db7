/* SPDX-License-Identifier: Apache-2.0
 *
 * Host names to addresses without blocking, by c-ares. One per worker. Answers are kept for as
 * long as their TTL says (RESOLVER_TTL_MIN to RESOLVER_TTL_MAX seconds), and questions for a name
 * that is already being asked share its answer.
 *
 * That DNS does not answer is no reason to lose what was known (RFC 8767). When the TTL of
 * addresses is over and asking again fails (silence, SERVFAIL, REFUSED, malformed answers), they
 * serve on for at most RESOLVER_STALE_MAX seconds behind their TTL. The first askers wait for
 * RESOLVER_PATIENCE_MS at most; while it fails, all others are answered at once, and the name is
 * asked for again, if at all, RESOLVER_TTL_NEGATIVE after each failure. That a name does not exist,
 * or has no address, is an answer: what was known is forgotten.
 */
#ifndef GATEPOST_NET_RESOLVER_H
#define GATEPOST_NET_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"

#define RESOLVER_TTL_MIN       1
#define RESOLVER_TTL_MAX       300
#define RESOLVER_TTL_NEGATIVE  1    /* seconds that a failure is remembered */
#define RESOLVER_STALE_MAX     3600 /* seconds, behind the TTL */
#define RESOLVER_PATIENCE_MS   1800 /* that an answer is waited for where there is a stale one */
#define RESOLVER_ADDRESSES_MAX 16   /* of one name; more are ignored */
#define RESOLVER_NAMES_MAX     1024 /* remembered or being asked; the oldest goes first */

/* A server that is silent is asked again after so long, then after twice as long, and so on. */
#define RESOLVER_TIMEOUT_MS 1000
#define RESOLVER_TRIES      3

struct ev_loop;
struct resolver;
struct resolver_query;

/* The answer: `count` addresses with the port that was asked for, borrowed for the call; or 0 and
 * `why`, a sentence for the log. */
typedef void resolver_callback_t(struct resolver_query *query, const struct addr *addresses,
				 size_t count, const char *why);

/* struct resolver_query is embedded in the asker; zero is "nothing asked". */
struct resolver_query {
	struct resolver_query *previous;
	struct resolver_query *next;
	struct resolver_name *name;
	uint16_t port;
	resolver_callback_t *callback;
};

/* resolver_new uses the names of /etc/hosts and the servers of /etc/resolv.conf, or in their place
 * `servers` ("127.0.0.1:5353") where it is not NULL. NULL, and `error`, when c-ares cannot start.
 * Not by two threads at once: c-ares counts its users without a lock. The same for
 * resolver_free. */
must_use struct resolver *resolver_new(struct ev_loop *loop, const char *servers,
				       struct error *error);

/* resolver_ask asks for all A and AAAA addresses of a host name; the callback is called exactly
 * once unless the query is cancelled, and perhaps before resolver_ask returns. */
void resolver_ask(struct resolver *resolver, struct resolver_query *query, const char *host,
		  uint16_t port, resolver_callback_t *callback);

/* struct resolver_service is one target of an SRV record (RFC 2782); `host` is in lower case and
 * without the final dot, borrowed. */
struct resolver_service {
	const char *host;
	uint16_t port;
	uint16_t priority;
	uint16_t weight;
};

#define RESOLVER_SERVICES_MAX 256 /* of one name; more are ignored */

struct resolver_service_query;

/* The answer: `count` targets, those of the lowest priority first, borrowed for the call, to be
 * asked for again in `ttl` seconds (RESOLVER_TTL_MIN to RESOLVER_TTL_MAX); or 0 and `why`. A single
 * target "." is no service: count 0 and `why` NULL. */
typedef void resolver_service_callback_t(struct resolver_service_query *query,
					 const struct resolver_service *services, size_t count,
					 unsigned ttl, const char *why);

/* struct resolver_service_query is embedded in the asker; zero is "nothing asked". */
struct resolver_service_query {
	struct resolver_service_question *question;
	resolver_service_callback_t *callback;
};

/* resolver_ask_services asks for the SRV records of `name` ("_imap._tcp.mail.example.org"), which
 * is given in full; nothing is remembered here, since the asker asks again by the TTL. The callback
 * is called exactly once unless the query is cancelled, and perhaps before it returns. */
void resolver_ask_services(struct resolver *resolver, struct resolver_service_query *query,
			   const char *name, resolver_service_callback_t *callback);
void resolver_cancel_services(struct resolver_service_query *query);

/* resolver_cancel: the callback will not be called; the answer, when it comes, is remembered.
 * Nothing happens if nothing is being asked. */
void resolver_cancel(struct resolver_query *query);

/* resolver_free: no query may be waiting, and not from within a callback. NULL is fine. */
void resolver_free(struct resolver *resolver);

#endif
