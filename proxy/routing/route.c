/* SPDX-License-Identifier: Apache-2.0
 *
 * The router: from a user name to a backend, or to a reason why not.
 */
#include "routing/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/config_user.h"
#include "core/log.h"
#include "core/log_bound.h"
#include "core/metrics.h"
#include "imap/capability.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "prober_internal.h"
#include "route_choice_internal.h"
#include "routing/backend.h"
#include "routing/canary.h"
#include "routing/member.h"
#include "routing/pool.h"

struct router {
	struct config *config;
	struct metrics *metrics;
	const struct route_events *events;
	void *owner;
	struct route_chooser chooser;
	struct directory_desk desk; /* nobody's where the source is static */
	struct canary *canary;
	bool canary_was_over;          /* when this worker last looked */
	struct capability_offer offer; /* of all together */
	bool offer_is_configured;      /* it comes from members of the pool */
	struct prober prober;
	struct log_bound warnings;
};

bool route_normalise(const struct config *config, const char *user, char key[CONFIG_USER_MAX + 1])
{
	return !text_has_control(user, strlen(user)) &&
	       config_normalise_user(&config->routing, user, key, CONFIG_USER_MAX + 1);
}

/* --- Answering ------------------------------------------------------------------------------ */

/* Each session says in its own line why it failed; this one is for whoever keeps the directory. */
static void warn_of_value(struct router *router, const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&router->warnings, timeouts_now_ms(), &held_back)) {
		log_warn("a route cannot be used", log_text("detail", why),
			 log_number("held_back", (int64_t)held_back));
	}
}

/* What a choice means for who asked; `why` and the mailbox are borrowed from it. */
static struct route_answer answer_of(const struct route_choice *choice)
{
	bool named = choice->mailbox[0] != '\0';

	switch (choice->verdict) {
	case ROUTE_CHOICE_FOUND:
		return (struct route_answer){
			.result = ROUTE_FOUND,
			.backend = choice->backend,
			.mailbox = named ? choice->mailbox : NULL,
		};
	case ROUTE_CHOICE_UNKNOWN:
		return (struct route_answer){.result = ROUTE_UNKNOWN};
	default:
		return (struct route_answer){
			.result = ROUTE_UNAVAILABLE,
			.why = choice->why.text,
		};
	}
}

static void count_choice(struct router *router, const struct route_choice *choice)
{
	switch (choice->verdict) {
	case ROUTE_CHOICE_UNKNOWN:
		metrics_count(router->metrics, METRIC_LOOKUPS_UNKNOWN);
		break;
	case ROUTE_CHOICE_UNUSABLE:
		metrics_count(router->metrics, METRIC_LOOKUPS_FAILED);
		warn_of_value(router, choice->why.text);
		break;
	case ROUTE_CHOICE_DOWN:
		metrics_count(router->metrics, METRIC_BACKEND_DOWN_LOGINS);
		break;
	default:
		break;
	}
}

static void answer(struct router *router, struct route_place *place,
		   const struct route_choice *choice)
{
	struct route_answer said = answer_of(choice);

	count_choice(router, choice);
	place->placed = choice->placed;
	place->tried = choice->tried;
	place->group = choice->group;
	place->taken = said.result == ROUTE_FOUND;
	if (!place->taken) {
		directory_leave(&place->stay, true);
	}
	router->events->answered(place, &said);
}

/* --- What the directory says ---------------------------------------------------------------- */

/* Whatever is said may be of members that came since. Where memory is short those of before go on
 * to serve. */
static void keep_in_step(struct router *router)
{
	(void)roster_refresh(&router->chooser.roster);
}

static struct router *router_of(const struct stay *stay)
{
	return container_of(stay->desk, struct router, desk);
}

static struct route_place *place_of(struct stay *stay)
{
	return container_of(stay, struct route_place, stay);
}

static struct route_subject subject_of(const struct stay *stay, const struct directory_answer *said)
{
	return (struct route_subject){
		.key = directory_user(stay),
		.route = said->verdict == DIRECTORY_ROUTE ? said->route : NULL,
		.length = said->length,
	};
}

/* What cannot be assigned anew, since Redis is away or lets nobody write, has to do. */
static void on_answered(struct stay *stay, const struct directory_answer *said)
{
	struct router *router = router_of(stay);
	struct route_place *place = place_of(stay);
	struct route_choice choice = {0};
	struct route_subject subject;

	if (said->verdict == DIRECTORY_FAILED) {
		choice.verdict = ROUTE_CHOICE_DOWN;
		error_set(&choice.why, "%.255s", said->why);
		metrics_count(router->metrics, METRIC_LOOKUPS_FAILED);
		router->events->answered(place, &(struct route_answer){
							.result = ROUTE_UNAVAILABLE,
							.why = choice.why.text,
						});
		return;
	}
	keep_in_step(router);
	subject = subject_of(stay, said);
	subject.as_it_is = place->reassigned;
	route_choose(&router->chooser, &subject, &choice);
	if (choice.verdict == ROUTE_CHOICE_ASSIGN) {
		place->reassigned = true;
		directory_reassign(stay);
	} else {
		answer(router, place, &choice);
	}
}

/* Whoever is logged in stays so where nothing better is known: the user was deleted, or the value
 * cannot be used. */
static void on_changed(struct stay *stay, const struct directory_answer *said)
{
	struct router *router = router_of(stay);
	struct route_subject subject = subject_of(stay, said);
	struct route_choice choice = {0};

	keep_in_step(router);
	subject.even_down = true;
	route_choose(&router->chooser, &subject, &choice);
	if (choice.verdict == ROUTE_CHOICE_UNUSABLE) {
		warn_of_value(router, choice.why.text);
	}
	if (choice.verdict == ROUTE_CHOICE_FOUND) {
		struct route_answer now = answer_of(&choice);

		router->events->changed(place_of(stay), &now);
	}
}

static void on_parked(struct stay *stay)
{
	router_of(stay)->events->parked(place_of(stay));
}

static void on_released(struct stay *stay)
{
	router_of(stay)->events->released(place_of(stay));
}

static void on_held(struct stay *stay)
{
	router_of(stay)->events->held(place_of(stay));
}

static void on_drains_changed(struct directory_desk *desk)
{
	struct router *router = container_of(desk, struct router, desk);

	router->events->drains_changed(router->owner);
}

static const struct stay_events stay_events = {
	.answered = on_answered,
	.parked = on_parked,
	.released = on_released,
	.changed = on_changed,
	.held = on_held,
	.drains_changed = on_drains_changed,
};

/* --- Asking --------------------------------------------------------------------------------- */

static void ask_nobody(struct router *router, struct route_place *place, const char *key)
{
	struct route_subject subject = {.key = key};
	struct route_choice choice = {0};

	route_choose(&router->chooser, &subject, &choice);
	answer(router, place, &choice);
}

static void answer_static(struct router *router, struct route_place *place, size_t backend,
			  const char *key)
{
	struct route_choice choice = {0};

	metrics_count(router->metrics, METRIC_LOOKUPS_STATIC);
	route_choose_named(&router->chooser, backend, key, &choice);
	answer(router, place, &choice);
}

void route_ask(struct router *router, struct route_place *place, const char *user)
{
	struct route_choice unknown = {.verdict = ROUTE_CHOICE_UNKNOWN};
	char key[CONFIG_USER_MAX + 1];
	size_t known;

	if (!route_normalise(router->config, user, key)) {
		answer(router, place, &unknown);
		return;
	}
	keep_in_step(router);
	known = config_find_user(router->config, key);
	if (known < router->config->backend_count) {
		answer_static(router, place, known, key);
	} else if (router->desk.directory != NULL) {
		directory_enter(&router->desk, &place->stay, key);
	} else {
		ask_nobody(router, place, key);
	}
}

bool route_next(struct router *router, struct route_place *place, const char *user,
		const struct backend *failed, struct route_answer *answer)
{
	struct route_choice choice = {
		.placed = place->placed,
		.tried = place->tried,
		.group = place->group,
	};
	char key[CONFIG_USER_MAX + 1];

	if (!place->taken || !place->placed || !router->config->routing.failover ||
	    !route_normalise(router->config, user, key)) {
		return false;
	}
	route_choose_next(&router->chooser, key, failed, &choice);
	if (choice.verdict != ROUTE_CHOICE_FOUND) {
		return false;
	}
	metrics_count(router->metrics, METRIC_BACKEND_FAILOVERS);
	place->tried = choice.tried;
	*answer = (struct route_answer){.result = ROUTE_FOUND, .backend = choice.backend};
	return true;
}

bool route_refer(struct router *router, const struct referral *referral, struct backend **backend,
		 struct error *error)
{
	*backend = route_choose_referral(&router->chooser, referral, error);
	return *backend != NULL;
}

void route_leave(struct route_place *place, bool settled)
{
	directory_leave(&place->stay, settled);
	place->taken = false;
	place->reassigned = false;
}

bool route_linger(struct route_place *place, struct stay *heir)
{
	if (!directory_linger(&place->stay, heir)) {
		return false;
	}
	place->taken = false;
	return true;
}

/* --- How logins end, and who has to go ------------------------------------------------------ */

static void end_canary(struct router *router, struct member *member)
{
	if (router->desk.directory != NULL) {
		directory_end_canary(router->desk.directory, member);
	} else {
		member_set_canary_over(member, true);
	}
}

static bool is_canary(const struct router *router, const struct member *member)
{
	const struct config_canary *canary = &router->config->routing.canary;

	return canary->share > 0 && member->config == canary->backend;
}

static struct member *find_canary(const struct router *router)
{
	size_t backend = router->config->routing.canary.backend;
	const char *name = router->config->backends[backend].name;
	struct backend *canary = roster_find(&router->chooser.roster, name);

	return canary != NULL ? canary->member : NULL;
}

/* Where there is no directory nobody tells the workers, and each finds out at a login of its own.
 */
static void notice_end(struct router *router, const struct member *canary)
{
	bool over = member_canary_is_over(canary);

	if (router->desk.directory == NULL && over && !router->canary_was_over) {
		router->events->drains_changed(router->owner);
	}
	router->canary_was_over = over;
}

static void observe_canary(struct router *router, struct member *member, const struct addr *client,
			   bool failed)
{
	struct member *canary = router->canary != NULL ? find_canary(router) : NULL;

	if (canary == NULL) {
		return;
	}
	if (canary_observe(router->canary, is_canary(router, member), client, failed,
			   timeouts_now_ms())) {
		end_canary(router, canary);
	}
	notice_end(router, canary);
}

void route_observe(struct router *router, struct backend *backend, const struct addr *client,
		   enum route_outcome outcome, const char *why)
{
	struct member *member = backend->member;

	if (member == NULL) {
		return;
	}
	if (outcome == ROUTE_FAILED) {
		member_failed(member, client, why, router->metrics);
	} else {
		member_served(member);
	}
	observe_canary(router, member, client, outcome != ROUTE_ACCEPTED);
}

/* A canary that is over gives back those whom only its share brought. */
static bool moves_users(const struct router *router, const struct member *member)
{
	return member_drain(member) == MEMBER_KICKS ||
	       (member_canary_is_over(member) && is_canary(router, member) &&
		member_weight(member) == 0);
}

bool router_is_moving(const struct router *router)
{
	const struct pool_view *view = router->chooser.roster.view;

	for (size_t i = 0; i < view->count; i++) {
		if (moves_users(router, view->members[i])) {
			return true;
		}
	}
	return false;
}

bool router_moves_away(struct router *router, const struct route_place *place,
		       const struct backend *backend, uint64_t now_ms)
{
	return place->placed && backend->member != NULL && moves_users(router, backend->member) &&
	       member_take_kick(backend->member, now_ms);
}

/* --- What backends offer -------------------------------------------------------------------- */

static void compute_offer(struct router *router)
{
	struct capability_offer common = {0};

	roster_meet(&router->chooser.roster, &common);
	router->offer_is_configured = common.known;
	if (!common.known) {
		url_backends_meet(&router->chooser.by_url, &common);
	}
	router->offer = common;
}

/* A backend that is new can only take away, which is cheap; the whole is made again where something
 * may come back. */
void route_learn(struct router *router, struct backend *backend,
		 const struct capability_offer *offer)
{
	bool was_known = backend->offer.known;
	bool configured = roster_has(&router->chooser.roster, backend);

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

static struct router *router_of_roster(struct roster *roster)
{
	struct route_chooser *chooser = container_of(roster, struct route_chooser, roster);

	return container_of(chooser, struct router, chooser);
}

static bool on_joined(struct roster *roster, struct backend *backend)
{
	struct router *router = router_of_roster(roster);

	return !router->config->backends[backend->member->config].probe ||
	       prober_add(&router->prober, backend);
}

static void on_left(struct roster *roster, struct backend *backend)
{
	prober_remove(&router_of_roster(roster)->prober, backend);
}

static const struct roster_events roster_events = {
	.joined = on_joined,
	.left = on_left,
};

static void make_prober(struct router *router, const struct router_settings *settings)
{
	struct prober_settings prober_settings = {
		.house = {settings->shared, settings->timeouts, settings->resolver,
			  settings->metrics},
		.pace = {PROBER_SPREAD_MS, PROBER_RETRY_MS, PROBER_RETRY_MAX_MS, PROBER_AGAIN_MS},
		.learnt = on_learnt,
	};

	prober_init(&router->prober, &prober_settings);
}

struct router *router_new(const struct router_settings *settings, struct error *error)
{
	struct router *router = calloc(1, sizeof(*router));

	if (router == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	router->config = config_ref(settings->config);
	router->metrics = settings->metrics;
	router->events = settings->events;
	router->owner = settings->owner;
	router->canary = settings->canary;
	router->chooser = (struct route_chooser){
		.config = router->config,
		.roster = {.config = router->config,
			   .pool = settings->pool,
			   .tls_clients = settings->tls_clients,
			   .events = &roster_events},
		.url_tls_client = settings->url_tls_client,
	};
	make_prober(router, settings);
	if (!roster_refresh(&router->chooser.roster)) {
		error_set(error, "out of memory");
		router_free(router);
		return NULL;
	}
	if (settings->directory != NULL) {
		directory_attach(settings->directory, &router->desk, settings->shared->loop,
				 &stay_events, settings->metrics);
	}
	return router;
}

void router_free(struct router *router)
{
	if (router == NULL) {
		return;
	}
	if (router->desk.directory != NULL) {
		directory_detach(&router->desk);
	}
	prober_done(&router->prober);
	url_backends_done(&router->chooser.by_url);
	roster_done(&router->chooser.roster);
	config_unref(router->config);
	free(router);
}
