/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that come and go with the SRV records of a service (RFC 2782). What a name server says is
 * a stranger's word: it is read strictly, and put in order first, so that all proxies that hear the
 * same come to the same members.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/log.h"
#include "net/resolver.h"
#include "net/timeouts.h"
#include "pool_internal.h"

/* A backend's weight is in percent where SRV records have weights of their own. */
#define WHOLE_WEIGHT 100

/* struct draft is a view that is being made. */
struct draft {
	struct pool *pool;
	size_t config; /* whose services are set */
	const struct pool_view *before;
	struct shared_view *shared;
	struct pool_view *after; /* of `shared` */
	size_t others;           /* members of other backends, which come first */
	size_t kept;             /* members of this one that are there before and after */
	bool weighed;            /* a weight has changed */
};

static const struct config_backend *backend_of(const struct draft *draft)
{
	return &draft->pool->config->backends[draft->config];
}

/* Always true: what is refused does no harm to the rest. */
static bool refuse(const struct draft *draft, const struct resolver_service *service,
		   const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&draft->pool->refusals, timeouts_now_ms(), &held_back)) {
		log_warn("a target of a service is refused",
			 log_text("backend", backend_of(draft)->name),
			 log_text("target", service->host), log_number("port", service->port),
			 log_text("detail", why), log_number("held_back", (int64_t)held_back));
	}
	return true;
}

/* A host name, or an address that is written like one, and its port. */
static bool read_target(struct endpoint *address, const struct resolver_service *service)
{
	char text[ENDPOINT_TEXT_MAX];
	struct error error;
	int length = snprintf(text, sizeof(text), "%s:%u", service->host, service->port);

	return strchr(service->host, ':') == NULL && length > 0 && (size_t)length < sizeof(text) &&
	       endpoint_parse(address, text, 0, &error);
}

static unsigned weight_of(const struct config_backend *backend,
			  const struct resolver_service *service)
{
	uint64_t weight = (uint64_t)(service->weight > 0 ? service->weight : 1) * backend->weight;

	if (weight > 0 && weight < WHOLE_WEIGHT) {
		return 1;
	}
	return (unsigned)(weight / WHOLE_WEIGHT);
}

/* Targets come in order, so a second port of a host comes right after its first. */
static bool is_twin(const struct draft *draft, const char *host)
{
	const struct pool_view *after = draft->after;

	return after->count > draft->others &&
	       strcmp(after->members[after->count - 1]->name, host) == 0;
}

/* The member for a target: the one that was, or a new one. */
static struct member *member_for(struct draft *draft, const char *host,
				 const struct endpoint *address)
{
	struct member *member = pool_view_find(draft->before, host);

	if (member != NULL && endpoint_equal(&member->address, address)) {
		draft->kept++;
		return member_ref(member);
	}
	return pool_make_member(draft->pool, draft->config, host, address);
}

/* False when memory ran out. */
static bool add_target(struct draft *draft, const struct resolver_service *service,
		       const struct endpoint *address)
{
	const struct member *namesake = pool_view_find(draft->before, service->host);
	unsigned weight = weight_of(backend_of(draft), service);
	struct member *member;

	if (namesake != NULL && namesake->config != draft->config) {
		return refuse(draft, service, "another backend has this name");
	}
	if (is_twin(draft, service->host)) {
		return refuse(draft, service, "this host is there already, with another port");
	}
	if (draft->after->count == POOL_MEMBERS_MAX) {
		return refuse(draft, service, "the pool is full");
	}
	member = member_for(draft, service->host, address);
	if (member == NULL) {
		return false;
	}
	if (member_weight(member) != weight) {
		member_set_weight(member, weight);
		draft->weighed = true;
	}
	draft->after->members[draft->after->count++] = member;
	return true;
}

static bool add_service(struct draft *draft, const struct resolver_service *service)
{
	struct endpoint address = {0};
	bool added;

	if (!read_target(&address, service)) {
		return refuse(draft, service, "this is no host name with a port");
	}
	added = add_target(draft, service, &address);
	endpoint_done(&address);
	return added;
}

static int compare_services(const void *left, const void *right)
{
	const struct resolver_service *a = left;
	const struct resolver_service *b = right;
	int order = strcmp(a->host, b->host);

	if (order == 0) {
		order = (a->priority > b->priority) - (a->priority < b->priority);
	}
	if (order == 0) {
		order = (a->port > b->port) - (a->port < b->port);
	}
	return order != 0 ? order : (a->weight > b->weight) - (a->weight < b->weight);
}

static void add_others(struct draft *draft)
{
	for (size_t i = 0; i < draft->before->count; i++) {
		struct member *member = draft->before->members[i];

		if (member->config != draft->config) {
			draft->after->members[draft->after->count++] = member_ref(member);
		}
	}
	draft->others = draft->after->count;
}

/* False when memory ran out. */
static bool add_services(struct draft *draft, const struct resolver_service *services, size_t count)
{
	struct resolver_service *sorted = calloc(count + 1, sizeof(*sorted));
	bool added = sorted != NULL;

	if (added && count > 0) {
		memcpy(sorted, services, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare_services);
	}
	for (size_t i = 0; added && i < count; i++) {
		added = add_service(draft, &sorted[i]);
	}
	free(sorted);
	return added;
}

/* The draft becomes the view where it is another one. */
static bool finish(struct draft *draft)
{
	size_t members_before = draft->before->count - draft->others;
	size_t members = draft->after->count - draft->others;
	bool same = draft->kept == members_before && draft->kept == members;

	if (same && !draft->weighed) {
		pool_view_unref(draft->after);
		return false;
	}
	if (!same) {
		log_info("the members of a backend have changed",
			 log_text("backend", backend_of(draft)->name),
			 log_number("members", (int64_t)members),
			 log_number("joined", (int64_t)(members - draft->kept)),
			 log_number("left", (int64_t)(members_before - draft->kept)));
	}
	pool_publish(draft->pool, draft->shared);
	return true;
}

bool pool_set_services(struct pool *pool, size_t config, const struct resolver_service *services,
		       size_t count)
{
	struct draft draft = {
		.pool = pool,
		.config = config,
		.before = &pool->current->view,
		.shared = shared_view_new(pool->current->view.count + count),
	};

	invariant(config < pool->config->backend_count);
	if (draft.shared != NULL) {
		draft.after = &draft.shared->view;
		add_others(&draft);
		if (add_services(&draft, services, count)) {
			return finish(&draft);
		}
		pool_view_unref(draft.after);
	}
	log_warn("the members of a backend stay as they were",
		 log_text("backend", backend_of(&draft)->name),
		 log_text("detail", "out of memory"));
	return false;
}
