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
#include "imap/capability.h"
#include "lookup_internal.h"
#include "net/timeouts.h"
#include "prober_internal.h"
#include "route_value_internal.h"
#include "routing/backend.h"
#include "url_backends_internal.h"

struct known_backend {
	struct backend *backend;
	UT_hash_handle hh;
};

struct router {
	struct config *config;
	struct metrics *metrics;
	struct known_backend *backends; /* in the order of config->backends */
	struct known_backend *by_name;
	struct url_backends by_url;
	struct tls_client *url_tls_client;
	struct capability_offer offer; /* of all together */
	bool offer_is_configured;      /* it comes from backends of the configuration */
	struct prober prober;
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

static void answer_found(struct route_query *query, struct backend *backend, const char *mailbox)
{
	struct route_answer answer = {
		.result = ROUTE_FOUND,
		.backend = backend,
		.mailbox = mailbox,
	};

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

/* The reason why a value names no backend. */
static const char *find_by_name(struct router *router, const char *name, struct backend **backend)
{
	struct known_backend *known;

	HASH_FIND_STR(router->by_name, name, known);
	if (known == NULL) {
		return "neither a backend's name nor imap://host[:port] or imaps://host[:port]";
	}
	*backend = backend_ref(known->backend);
	return NULL;
}

static const char *find_by_url(struct router *router, const struct route_value *value,
			       struct backend **backend)
{
	if (value->tls != CONFIG_TLS_NONE && router->url_tls_client == NULL) {
		return "there are no authorities to verify its certificate by (routing.url_ca)";
	}
	*backend = url_backends_get(&router->by_url, &value->address, value->tls,
				    router->url_tls_client);
	return *backend == NULL ? "out of memory" : NULL;
}

static void handle_value(struct route_query *query, const char *text, size_t length)
{
	struct router *router = query->router;
	struct route_value value = {0};
	struct backend *backend = NULL;
	struct error why = {0};

	if (route_value_parse(&value, text, length, &why)) {
		const char *reason = value.address.kind == ENDPOINT_NONE
					     ? find_by_name(router, value.name, &backend)
					     : find_by_url(router, &value, &backend);

		if (reason != NULL) {
			route_value_refuse(&why, text, length, reason);
		}
	}
	if (backend != NULL) {
		answer_found(query, backend, value.mailbox[0] != '\0' ? value.mailbox : NULL);
	} else {
		warn_of_value(router, why.text);
		answer_unavailable(query, why.text);
	}
	route_value_done(&value);
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
		answer_found(query, backend_ref(router->backends[known].backend), NULL);
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

/* --- What backends offer -------------------------------------------------------------------- */

static bool is_configured(const struct router *router, const struct backend *backend)
{
	const struct known_backend *known;

	HASH_FIND_STR(router->by_name, backend->name, known);
	return known != NULL && known->backend == backend;
}

static void compute_offer(struct router *router)
{
	struct capability_offer common = {0};

	for (size_t i = 0; i < router->config->backend_count; i++) {
		capability_offer_meet(&common, &router->backends[i].backend->offer);
	}
	router->offer_is_configured = common.known;
	if (!common.known) {
		url_backends_meet(&router->by_url, &common);
	}
	router->offer = common;
}

/* A backend that is new can only take away, which is cheap; the whole is made again where something
 * may come back. */
void route_learn(struct router *router, struct backend *backend,
		 const struct capability_offer *offer)
{
	bool was_known = backend->offer.known;
	bool configured = is_configured(router, backend);

	if (!backend_learn(backend, offer)) {
		return;
	}
	if (was_known || (configured && !router->offer_is_configured)) {
		compute_offer(router);
	}
	if (configured || !router->offer_is_configured) {
		capability_offer_meet(&router->offer, &backend->offer);
	}
}

const struct capability_offer *route_offer(const struct router *router)
{
	return &router->offer;
}

static void on_learnt(struct prober *prober, struct backend *backend,
		      const struct capability_offer *offer)
{
	route_learn(container_of(prober, struct router, prober), backend, offer);
}

void router_start_probes(struct router *router)
{
	prober_start(&router->prober);
}

void router_stop_probes(struct router *router)
{
	prober_stop(&router->prober);
}

/* --- Building ------------------------------------------------------------------------------- */

static bool add_backends(struct router *router, const struct router_settings *settings,
			 struct error *error)
{
	struct tls_client *const *tls_clients = settings->tls_clients;
	const struct config *config = router->config;

	router->backends = calloc(config->backend_count + 1, sizeof(router->backends[0]));
	if (router->backends == NULL) {
		return error_set(error, "out of memory");
	}
	for (size_t i = 0; i < config->backend_count; i++) {
		struct known_backend *known = &router->backends[i];

		known->backend = backend_new(&config->backends[i],
					     tls_clients != NULL ? tls_clients[i] : NULL);
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

static bool make_prober(struct router *router, const struct router_settings *settings,
			struct error *error)
{
	struct prober_settings prober_settings = {
		.house = {settings->shared, settings->timeouts, settings->resolver,
			  settings->metrics},
		.pace = {PROBER_SPREAD_MS, PROBER_RETRY_MS, PROBER_RETRY_MAX_MS, PROBER_AGAIN_MS},
		.learnt = on_learnt,
	};

	prober_init(&router->prober, &prober_settings);
	for (size_t i = 0; i < router->config->backend_count; i++) {
		if (router->config->backends[i].probe &&
		    !prober_add(&router->prober, router->backends[i].backend)) {
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
	router->url_tls_client = settings->url_tls_client;
	valid = add_backends(router, settings, error) && make_prober(router, settings, error);
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
	prober_done(&router->prober);
	redis_free(router->redis);
	lookup_done(&router->lookup);
	url_backends_done(&router->by_url);
	HASH_CLEAR(hh, router->by_name);
	for (size_t i = 0; router->backends != NULL && i < router->config->backend_count; i++) {
		backend_unref(router->backends[i].backend);
	}
	free(router->backends);
	config_unref(router->config);
	free(router);
}
