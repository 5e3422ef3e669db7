/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice of a backend: by name, by URL, by hash.
 */
#include "route_choice_internal.h"

#include <string.h>

#include "core/config.h"
#include "core/config_host.h"
#include "imap/referral.h"
#include "routing/backend.h"
#include "routing/balance.h"
#include "routing/member.h"
#include "routing/pool.h"

static void find(struct route_choice *choice, struct backend *backend)
{
	choice->verdict = ROUTE_CHOICE_FOUND;
	choice->backend = backend_ref(backend);
}

static void find_none(struct route_choice *choice, enum route_choice_verdict verdict,
		      const char *why)
{
	choice->verdict = verdict;
	error_set(&choice->why, "%.200s", why);
}

static void find_down(struct route_choice *choice, const struct member *member)
{
	choice->verdict = ROUTE_CHOICE_DOWN;
	error_set(&choice->why, "backend %.64s is down", member->name);
}

/* --- By rank -------------------------------------------------------------------------------- */

/* struct ranks are the members that a user may be placed on, the first choice first. */
struct ranks {
	struct member *members[BALANCE_RANKS_MAX];
	size_t count;
};

static void rank(struct route_chooser *chooser, const struct route_choice *choice, const char *key,
		 struct ranks *ranks)
{
	size_t group = choice->group > 0 ? choice->group - 1U : BALANCE_ANY;

	ranks->count =
		balance_rank(chooser->roster.view, group, key, ranks->members, BALANCE_RANKS_MAX);
}

/* One that came by name has its rank too. */
static void note_failed(const struct ranks *ranks, const struct backend *failed,
			struct route_choice *choice)
{
	for (size_t i = 0; failed != NULL && i < ranks->count; i++) {
		if (ranks->members[i] == failed->member) {
			choice->tried |= (uint8_t)(1U << i);
		}
	}
}

/* Without failover only the first counts, up or down. */
static void choose_ranked(struct route_chooser *chooser, const struct route_subject *subject,
			  const struct backend *failed, struct route_choice *choice)
{
	bool failover = chooser->config->routing.failover;
	struct ranks ranks;

	choice->placed = true;
	rank(chooser, choice, subject->key, &ranks);
	note_failed(&ranks, failed, choice);
	for (size_t i = 0; i < ranks.count && (i == 0 || failover); i++) {
		struct member *member = ranks.members[i];

		if ((choice->tried & (1U << i)) != 0) {
			continue;
		}
		if (subject->even_down || member_is_up(member)) {
			choice->tried |= (uint8_t)(1U << i);
			find(choice, roster_find(&chooser->roster, member->name));
			return;
		}
	}
	if (ranks.count == 0) {
		find_none(choice, ROUTE_CHOICE_DOWN, "no backend takes users");
	} else {
		find_down(choice, ranks.members[0]);
	}
}

void route_choose_next(struct route_chooser *chooser, const char *key, const struct backend *failed,
		       struct route_choice *choice)
{
	struct route_subject subject = {.key = key};

	choose_ranked(chooser, &subject, failed, choice);
}

/* --- By name -------------------------------------------------------------------------------- */

/* The backend of the configuration whose members come from SRV; backend_count where `name` is none.
 */
static size_t find_service(const struct config *config, const char *name)
{
	size_t i = 0;

	while (i < config->backend_count && (config->backends[i].service[0] == '\0' ||
					     strcmp(config->backends[i].name, name) != 0)) {
		i++;
	}
	return i;
}

static void choose_of_service(struct route_chooser *chooser, const struct route_subject *subject,
			      size_t service, struct route_choice *choice)
{
	choice->group = (uint16_t)(service + 1);
	choose_ranked(chooser, subject, NULL, choice);
}

static void choose_member(struct route_chooser *chooser, const struct route_subject *subject,
			  struct backend *backend, struct route_choice *choice)
{
	if (subject->even_down || member_is_up(backend->member)) {
		find(choice, backend);
	} else if (choice->placed && chooser->config->routing.failover) {
		choose_ranked(chooser, subject, backend, choice);
	} else {
		find_down(choice, backend->member);
	}
}

/* Whether somebody else would take the user. */
static bool has_alternative(struct route_chooser *chooser, const char *key, const char *name)
{
	struct route_choice any = {0};
	struct ranks ranks;

	rank(chooser, &any, key, &ranks);
	for (size_t i = 0; i < ranks.count; i++) {
		if (strcmp(ranks.members[i]->name, name) != 0) {
			return true;
		}
	}
	return false;
}

static bool is_to_be_assigned_anew(struct route_chooser *chooser,
				   const struct route_subject *subject, const char *name,
				   const struct backend *backend)
{
	return !subject->as_it_is && chooser->config->routing.unknown == CONFIG_UNKNOWN_ASSIGN &&
	       (backend == NULL || member_drain(backend->member) == MEMBER_KICKS) &&
	       has_alternative(chooser, subject->key, name);
}

/* `name` is one of the directory; what it says of the user counts, and of nobody else. */
static void choose_name(struct route_chooser *chooser, const struct route_subject *subject,
			const struct route_value *value, struct route_choice *choice)
{
	struct backend *backend = roster_find(&chooser->roster, value->name);
	size_t service = find_service(chooser->config, value->name);

	choice->placed = value->assigned;
	if (value->assigned && is_to_be_assigned_anew(chooser, subject, value->name, backend)) {
		choice->verdict = ROUTE_CHOICE_ASSIGN;
	} else if (backend != NULL) {
		choose_member(chooser, subject, backend, choice);
	} else if (service < chooser->config->backend_count) {
		choose_of_service(chooser, subject, service, choice);
	} else {
		route_value_refuse(&choice->why, subject->route, subject->length,
				   "neither a backend's name nor imap://host[:port] or "
				   "imaps://host[:port]");
		choice->verdict = ROUTE_CHOICE_UNUSABLE;
	}
}

void route_choose_named(struct route_chooser *chooser, size_t backend, const char *key,
			struct route_choice *choice)
{
	const char *name = chooser->config->backends[backend].name;
	struct route_subject subject = {.key = key};
	struct backend *found = roster_find(&chooser->roster, name);

	if (found != NULL) {
		choose_member(chooser, &subject, found, choice);
	} else {
		choose_of_service(chooser, &subject, backend, choice);
	}
}

/* --- By URL --------------------------------------------------------------------------------- */

static const char *refusal_of_url(const struct route_chooser *chooser,
				  const struct route_value *value)
{
	const struct config_hosts *allowed = &chooser->config->routing.url_hosts;

	if ((allowed->names.count > 0 || allowed->network_count > 0) &&
	    !config_host_allows(allowed, &value->address)) {
		return "its host is none of routing.url_hosts";
	}
	if (value->tls != CONFIG_TLS_NONE && chooser->url_tls_client == NULL) {
		return "there are no authorities to verify its certificate by (routing.url_ca)";
	}
	return NULL;
}

static void choose_url(struct route_chooser *chooser, const struct route_subject *subject,
		       const struct route_value *value, struct route_choice *choice)
{
	const char *reason = refusal_of_url(chooser, value);
	struct backend *backend = NULL;

	if (reason == NULL) {
		backend = url_backends_get(&chooser->by_url, &value->address, value->tls,
					   chooser->url_tls_client);
		reason = "out of memory";
	}
	if (backend != NULL) {
		choice->verdict = ROUTE_CHOICE_FOUND;
		choice->backend = backend;
	} else {
		choice->verdict = ROUTE_CHOICE_UNUSABLE;
		route_value_refuse(&choice->why, subject->route, subject->length, reason);
	}
}

struct backend *route_choose_referral(struct route_chooser *chooser,
				      const struct referral *referral, struct error *why)
{
	enum config_tls tls = referral->tls ? CONFIG_TLS_IMPLICIT : CONFIG_TLS_NONE;
	struct backend *backend =
		roster_find_at(&chooser->roster, &referral->address, referral->tls);

	if (!config_host_allows(&chooser->config->routing.referrals, &referral->address)) {
		error_set(why, "the host of the referral is none of routing.referrals");
		return NULL;
	}
	if (backend != NULL) {
		return backend_ref(backend);
	}
	if (referral->tls && chooser->url_tls_client == NULL) {
		error_set(why, "there are no authorities to verify it by (routing.url_ca)");
		return NULL;
	}
	backend = url_backends_get(&chooser->by_url, &referral->address, tls,
				   chooser->url_tls_client);
	if (backend == NULL) {
		error_set(why, "out of memory");
	}
	return backend;
}

/* --- The whole ------------------------------------------------------------------------------ */

/* The canary's member while its share is its. */
static struct backend *canary_of(struct route_chooser *chooser, const char *key)
{
	const struct config_routing *routing = &chooser->config->routing;
	struct backend *backend;

	if (routing->canary.share == 0 || !balance_is_canary(routing, key)) {
		return NULL;
	}
	backend = roster_find(&chooser->roster,
			      chooser->config->backends[routing->canary.backend].name);
	if (backend == NULL || member_canary_is_over(backend->member) ||
	    member_drain(backend->member) != MEMBER_SERVES) {
		return NULL;
	}
	return backend;
}

static void choose_by_hash(struct route_chooser *chooser, const struct route_subject *subject,
			   struct route_choice *choice)
{
	struct backend *canary = canary_of(chooser, subject->key);

	if (canary != NULL) {
		choice->placed = true;
		choose_member(chooser, subject, canary, choice);
	} else {
		choose_ranked(chooser, subject, NULL, choice);
	}
}

static void choose_unknown(struct route_chooser *chooser, const struct route_subject *subject,
			   struct route_choice *choice)
{
	const struct config_routing *routing = &chooser->config->routing;

	switch (routing->unknown) {
	case CONFIG_UNKNOWN_REJECT:
		choice->verdict = ROUTE_CHOICE_UNKNOWN;
		break;
	case CONFIG_UNKNOWN_HASH:
		choose_by_hash(chooser, subject, choice);
		break;
	case CONFIG_UNKNOWN_ASSIGN:
		find_none(choice, ROUTE_CHOICE_DOWN, "no backend could be assigned");
		break;
	case CONFIG_UNKNOWN_BACKEND:
		route_choose_named(chooser, routing->unknown_backend, subject->key, choice);
		break;
	}
}

void route_choose(struct route_chooser *chooser, const struct route_subject *subject,
		  struct route_choice *choice)
{
	struct route_value value = {0};

	if (subject->route == NULL) {
		choose_unknown(chooser, subject, choice);
		return;
	}
	if (!route_value_parse(&value, subject->route, subject->length, &choice->why)) {
		choice->verdict = ROUTE_CHOICE_UNUSABLE;
	} else if (value.address.kind == ENDPOINT_NONE) {
		choose_name(chooser, subject, &value, choice);
	} else {
		choose_url(chooser, subject, &value, choice);
	}
	memcpy(choice->mailbox, value.mailbox, sizeof(choice->mailbox));
	route_value_done(&value);
}
