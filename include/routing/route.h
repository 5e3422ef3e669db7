/* SPDX-License-Identifier: Apache-2.0
 *
 * Where does this user live? One router per worker: normalises the name, asks the configuration
 * and then Redis, reads the answer strictly, and never guesses.
 */
#ifndef GATEPOST_ROUTING_ROUTE_H
#define GATEPOST_ROUTING_ROUTE_H

#include <stdbool.h>

#include "base/base.h"
#include "base/error.h"
#include "core/config.h"
#include "routing/redis.h"

struct backend;
struct capability_offer;
struct metrics;
struct resolver;
struct route_query;
struct router;
struct stream_loop;
struct timeouts;
struct tls_client;

/* Longest normalised user name. */
#define ROUTE_USER_MAX CONFIG_USER_MAX

enum route_result {
	ROUTE_FOUND,
	ROUTE_UNKNOWN,     /* every source was asked and none knows the user */
	ROUTE_UNAVAILABLE, /* a source could not be asked, or its answer cannot be used */
};

/* struct route_answer: `backend` comes with one reference that the receiver owns (ROUTE_FOUND
 * only); `mailbox` is the name that the route gives the user there, NULL where it gives none,
 * borrowed for the call; `why` is a sentence for the log (ROUTE_UNAVAILABLE only), borrowed for the
 * call. */
struct route_answer {
	enum route_result result;
	struct backend *backend;
	const char *mailbox;
	const char *why;
};

typedef void route_callback_t(struct route_query *query, const struct route_answer *answer);

/* struct route_query is embedded in the asker; zero is "nothing asked". */
struct route_query {
	struct router *router;
	route_callback_t *callback;
	struct redis_question question;
};

/* What a router is made of; all borrowed and outlives it, but for a reference of its own to
 * `config`. */
struct router_settings {
	struct config *config;
	struct stream_loop *shared;
	struct timeouts *timeouts;
	struct resolver *resolver;
	struct metrics *metrics;
	struct tls_client *const *tls_clients; /* one for each backend of the configuration, NULL
						* where it has no TLS; NULL where none has */
	struct tls_client *url_tls_client;     /* for backends that a URL names; NULL: with TLS they
						* are not usable */
};

/* router_new begins to connect to Redis where it is asked at all. NULL, and `error`, when memory
 * ran out. */
must_use struct router *router_new(const struct router_settings *settings, struct error *error);

/* route_ask answers once through `callback`, perhaps before it returns, unless cancelled. `user`
 * is the name as the client wrote it (credentials_mailbox), borrowed for the call. [routing.users]
 * is asked first, then the source. A name without a routing key is an unknown one. */
void route_ask(struct router *router, struct route_query *query, const char *user,
	       route_callback_t *callback);

/* router_start_probes asks every backend of the configuration what it offers, soon, a few at a
 * time, and then again from time to time. router_stop_probes closes what they have open;
 * router_free stops them too. The clock, the streams and the resolver must still live then. */
void router_start_probes(struct router *router);
void router_stop_probes(struct router *router);

/* route_offer is what all backends of the configuration offer before login that were heard of so
 * far; a backend that was not does not count against the others. Where none of them was heard of,
 * it is what those have in common that URLs named of late. Not known where there is none either.
 * Valid as long as the router; what it holds changes as it learns. */
const struct capability_offer *route_offer(const struct router *router);

/* route_learn keeps what a backend was just seen to offer; what is not known is ignored. Cheap
 * where nothing is news. */
void route_learn(struct router *router, struct backend *backend,
		 const struct capability_offer *offer);

/* route_cancel: the callback will not be called. Nothing happens if nothing is being asked. */
void route_cancel(struct route_query *query);

/* router_free: no query may be waiting, and not from within a callback. NULL is fine. */
void router_free(struct router *router);

/* route_normalise writes the routing key of a user name: default domain (where the name has no '@')
 * and lower case (A-Z only) as configured. False when there is none: the name is empty or holds a
 * control character, or the key would be longer than ROUTE_USER_MAX. */
bool route_normalise(const struct config *config, const char *user, char key[ROUTE_USER_MAX + 1]);

#endif
