/* SPDX-License-Identifier: Apache-2.0
 *
 * Services, asked for by their TTL. A failure says nothing of the members: those that are known
 * stay. Only an answer takes them away.
 */
#include "health_internal.h"

#include <stdlib.h>

#include "core/config.h"
#include "core/log.h"
#include "net/resolver.h"
#include "routing/pool.h"

struct health_service {
	struct health_services *services;
	size_t config; /* index of its backend */
	struct resolver_service_query query;
	struct timeout due;
	unsigned pause_ms; /* before the last question, 0 where that was no second try */
	bool is_answered;  /* once, with an answer or a failure */
	bool is_empty;     /* the last answer named nobody */
};

static const struct config_backend *backend_of(const struct health_service *service)
{
	return &service->services->settings.config->backends[service->config];
}

/* --- Pauses --------------------------------------------------------------------------------- */

static unsigned random_up_to(struct health_services *services, unsigned limit)
{
	return (unsigned)rand_r(&services->jitter) % (limit + 1);
}

static void pause_service(struct health_service *service, unsigned pause_ms)
{
	timeout_add(&service->services->due, &service->due, timeouts_now_ms() + pause_ms);
}

/* From three quarters to five quarters of the pause. */
static void pause_after_failure(struct health_service *service)
{
	unsigned pause_ms = service->pause_ms * 2;

	if (pause_ms == 0) {
		pause_ms = HEALTH_RETRY_MS;
	} else if (pause_ms > HEALTH_RETRY_MAX_MS) {
		pause_ms = HEALTH_RETRY_MAX_MS;
	}
	service->pause_ms = pause_ms;
	pause_service(service,
		      pause_ms - pause_ms / 4 + random_up_to(service->services, pause_ms / 2));
}

/* Never before the TTL is over: a cache would only say the same again. */
static void pause_by_ttl(struct health_service *service, unsigned ttl)
{
	unsigned pause_ms = (ttl > RESOLVER_TTL_MIN ? ttl : RESOLVER_TTL_MIN) * 1000;

	service->pause_ms = 0;
	pause_service(service, pause_ms + random_up_to(service->services, pause_ms / 10));
}

/* --- Answers -------------------------------------------------------------------------------- */

static void warn_of_failure(struct health_service *service, const char *why)
{
	const struct config_backend *backend = backend_of(service);
	uint64_t held_back;

	if (log_bound_admits(&service->services->failures, timeouts_now_ms(), &held_back)) {
		log_warn("service not found", log_text("backend", backend->name),
			 log_text("service", backend->service), log_text("detail", why),
			 log_number("held_back", (int64_t)held_back));
	}
}

static void warn_of_nobody(const struct health_service *service)
{
	const struct config_backend *backend = backend_of(service);

	log_warn("service has no members", log_text("backend", backend->name),
		 log_text("service", backend->service));
}

static void tell_that_asked(struct health_services *services)
{
	if (services->settings.services_asked != NULL) {
		services->settings.services_asked(services->settings.owner);
	}
}

static void note_answer(struct health_service *service)
{
	struct health_services *services = service->services;

	if (!service->is_answered) {
		service->is_answered = true;
		services->unanswered--;
		if (services->unanswered == 0) {
			tell_that_asked(services);
		}
	}
}

static void take_targets(struct health_service *service, const struct resolver_service *targets,
			 size_t count, unsigned ttl)
{
	struct health_services *services = service->services;
	bool changed = pool_set_services(services->settings.pool, service->config, targets, count);

	if (count == 0 && !service->is_empty) {
		warn_of_nobody(service);
	}
	service->is_empty = count == 0;
	pause_by_ttl(service, ttl);
	if (changed) {
		services->changed(services);
	}
}

static void on_answer(struct resolver_service_query *query, const struct resolver_service *targets,
		      size_t count, unsigned ttl, const char *why)
{
	struct health_service *service = container_of(query, struct health_service, query);

	if (why != NULL) {
		warn_of_failure(service, why);
		pause_after_failure(service);
	} else {
		take_targets(service, targets, count, ttl);
	}
	note_answer(service);
}

static void on_due(struct timeout *due)
{
	struct health_service *service = container_of(due, struct health_service, due);

	resolver_ask_services(service->services->settings.resolver, &service->query,
			      backend_of(service)->service, on_answer);
}

/* --- For the health ------------------------------------------------------------------------- */

static size_t count_services(const struct config *config)
{
	size_t count = 0;

	for (size_t i = 0; i < config->backend_count; i++) {
		count += config->backends[i].service[0] != '\0';
	}
	return count;
}

bool health_services_init(struct health_services *services, const struct health_settings *settings,
			  health_changed_t *changed)
{
	const struct config *config = settings->config;
	size_t count = count_services(config);

	*services = (struct health_services){.settings = *settings, .changed = changed};
	services->jitter = (unsigned)timeouts_now_ms() ^ (unsigned)((uintptr_t)services >> 4);
	timeout_list_init(&services->due, settings->timeouts, on_due);
	if (count == 0) {
		tell_that_asked(services);
		return true;
	}
	services->unanswered = count;
	services->services = calloc(count, sizeof(services->services[0]));
	if (services->services == NULL) {
		return false;
	}
	for (size_t i = 0; i < config->backend_count; i++) {
		struct health_service *service = &services->services[services->count];

		if (config->backends[i].service[0] != '\0') {
			services->count++;
			service->services = services;
			service->config = i;
			pause_service(service, 0);
		}
	}
	return true;
}

void health_services_done(struct health_services *services)
{
	if (services->settings.timeouts == NULL) {
		return;
	}
	for (size_t i = 0; i < services->count; i++) {
		timeout_remove(&services->services[i].due);
		resolver_cancel_services(&services->services[i].query);
	}
	free(services->services);
	timeout_list_done(&services->due);
	*services = (struct health_services){0};
}
