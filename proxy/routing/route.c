/* SPDX-License-Identifier: Apache-2.0
 *
 * The router: from a user name to a backend, or to a reason why not.
 */
#include "routing/route.h"

#include <stdlib.h>
#include <string.h>

/* Memory that runs out inside the table is an error of router_new instead of the end. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/text.h"
#include "core/config.h"
#include "core/config_user.h"
#include "core/log.h"
#include "core/log_bound.h"
#include "core/metrics.h"
#include "lookup_internal.h"
#include "net/timeouts.h"
#include "route_value_internal.h"
#include "routing/backend.h"

struct known_backend {
	struct backend *backend;
	UT_hash_handle hh;
};

struct router {
	struct config *config;
	struct metrics *metrics;
	struct known_backend *backends; /* in the order of config->backends */
	struct known_backend *by_name;
	struct lookup lookup; /* empty when the source is static */
	struct redis *redis;  /* NULL when the source is static */
	struct log_bound warnings;
};

bool route_normalise(const struct config *config, const char *user, char key[ROUTE_USER_MAX + 1])
{
	return !text_has_control(user, strlen(user)) &&
	       config_normalise_user(&config->routing, user, key, ROUTE_USER_MAX + 1);
}

/* --- Answering ------------------------------------------------------------------------------ */

static void answer_found(struct route_query *query, struct backend *backend)
{
	struct route_answer answer = {.result = ROUTE_FOUND, .backend = backend};

	query->callback(query, &answer);
}

static void answer_unknown(struct route_query *query)
{
	struct route_answer answer = {.result = ROUTE_UNKNOWN};

	metrics_count(query->router->metrics, METRIC_LOOKUPS_UNKNOWN);
	query->callback(query, &answer);
}

static void answer_unavailable(struct route_query *query, const char *why)
{
	struct route_answer answer = {.result = ROUTE_UNAVAILABLE, .why = why};

	metrics_count(query->router->metrics, METRIC_LOOKUPS_FAILED);
	query->callback(query, &answer);
}

/* Each session says in its own line why it failed; this one is for whoever keeps the directory. */
static void warn_of_value(struct router *router, const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&router->warnings, timeouts_now_ms(), &held_back)) {
		log_warn("a route cannot be used", log_text("detail", why),
			 log_number("held_back", (int64_t)held_back));
	}
}

/* --- What the directory said ---------------------------------------------------------------- */

/* One reference for the caller; NULL, and `error`, when the value names no backend. */
static struct backend *backend_of_value(struct router *router, const char *text, size_t length,
					struct error *error)
{
	struct route_value value = {0};
	struct backend *backend = NULL;

	if (!route_value_parse(&value, text, length, error)) {
		return NULL;
	}
	if (value.address.kind != ENDPOINT_NONE) {
		backend = backend_new_at(&value.address);
		if (backend == NULL) {
			error_set(error, "out of memory");
		}
	} else {
		struct known_backend *known;

		HASH_FIND_STR(router->by_name, value.name, known);
		if (known != NULL) {
			backend = backend_ref(known->backend);
		} else {
			route_value_refuse(error, text, length,
					   "neither a backend's name nor imap://host[:port]");
		}
	}
	route_value_done(&value);
	return backend;
}

static void handle_value(struct route_query *query, const char *text, size_t length)
{
	struct error why = {0};
	struct backend *backend = backend_of_value(query->router, text, length, &why);

	if (backend != NULL) {
		answer_found(query, backend);
	} else {
		warn_of_value(query->router, why.text);
		answer_unavailable(query, why.text);
	}
}

static void handle_failure(struct route_query *query, const char *text)
{
	struct error why = {0};

	error_set(&why, "%.240s", text);
	error_prefix(&why, "Redis");
	answer_unavailable(query, why.text);
}

static void on_reply(struct redis_question *question, enum redis_result result, const char *text,
		     size_t length)
{
	struct route_query *query = container_of(question, struct route_query, question);

	switch (result) {
	case REDIS_STRING:
		handle_value(query, text, length);
		break;
	case REDIS_NIL:
		answer_unknown(query);
		break;
	case REDIS_FAILED:
		handle_failure(query, text);
		break;
	}
}

/* --- Asking --------------------------------------------------------------------------------- */

static void ask_redis(struct router *router, struct route_query *query, const char *key)
{
	struct lookup_command expanded = {0};
	struct redis_command command;

	if (!lookup_expand(&router->lookup, key, &expanded)) {
		lookup_command_done(&expanded);
		answer_unavailable(query, "out of memory");
		return;
	}
	metrics_count(router->metrics, METRIC_LOOKUPS_REDIS);
	command = (struct redis_command){expanded.word_count, expanded.words, expanded.lengths};
	redis_ask(router->redis, &query->question, &command, on_reply);
	lookup_command_done(&expanded);
}

void route_ask(struct router *router, struct route_query *query, const char *user,
	       route_callback_t *callback)
{
	char key[ROUTE_USER_MAX + 1];
	size_t known;

	query->router = router;
	query->callback = callback;
	if (!route_normalise(router->config, user, key)) {
		answer_unknown(query);
		return;
	}
	known = config_find_user(router->config, key);
	if (known < router->config->backend_count) {
		metrics_count(router->metrics, METRIC_LOOKUPS_STATIC);
		answer_found(query, backend_ref(router->backends[known].backend));
	} else if (router->redis != NULL) {
		ask_redis(router, query, key);
	} else {
		answer_unknown(query);
	}
}

void route_cancel(struct route_query *query)
{
	redis_cancel(&query->question);
}

/* --- Building ------------------------------------------------------------------------------- */

static bool add_backends(struct router *router, struct error *error)
{
	const struct config *config = router->config;

	router->backends = calloc(config->backend_count + 1, sizeof(router->backends[0]));
	if (router->backends == NULL) {
		return error_set(error, "out of memory");
	}
	for (size_t i = 0; i < config->backend_count; i++) {
		struct known_backend *known = &router->backends[i];

		known->backend = backend_new(&config->backends[i]);
		if (known->backend == NULL) {
			return error_set(error, "out of memory");
		}
		HASH_ADD_KEYPTR(hh, router->by_name, known->backend->name,
				strlen(known->backend->name), known);
		if (known->hh.tbl == NULL) {
			return error_set(error, "out of memory");
		}
	}
	return true;
}

static bool connect_redis(struct router *router, const struct router_settings *settings,
			  struct error *error)
{
	struct redis_settings redis_settings = {
		.config = &router->config->redis,
		.shared = settings->shared,
		.timeouts = settings->timeouts,
		.resolver = settings->resolver,
		.metrics = settings->metrics,
	};

	router->redis = redis_new(&redis_settings);
	return router->redis != NULL || error_set(error, "out of memory");
}

struct router *router_new(const struct router_settings *settings, struct error *error)
{
	const struct config_routing *routing = &settings->config->routing;
	struct router *router = calloc(1, sizeof(*router));
	bool valid;

	if (router == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	router->config = config_ref(settings->config);
	router->metrics = settings->metrics;
	valid = add_backends(router, error);
	if (valid && routing->source == CONFIG_SOURCE_REDIS) {
		valid = lookup_init(&router->lookup, routing->lookup, error) &&
			connect_redis(router, settings, error);
	}
	if (!valid) {
		router_free(router);
		return NULL;
	}
	return router;
}

void router_free(struct router *router)
{
	if (router == NULL) {
		return;
	}
	redis_free(router->redis);
	lookup_done(&router->lookup);
	HASH_CLEAR(hh, router->by_name);
	for (size_t i = 0; router->backends != NULL && i < router->config->backend_count; i++) {
		backend_unref(router->backends[i].backend);
	}
	free(router->backends);
	config_unref(router->config);
	free(router);
}
