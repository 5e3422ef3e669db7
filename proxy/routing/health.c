/* SPDX-License-Identifier: Apache-2.0
 *
 * The rounds of the checks. Each member has a backend of this room's own, and with it a TLS session
 * that the next check resumes.
 *
 * A check may take as long as the interval: so a backend that hangs has failed its checks as soon
 * as one that refuses. Where more are due than there are places, members whose last check has
 * failed must wait for the others, since each of them may take all of that time.
 *
 * Only the services change the pool, on this thread; so the view is taken anew when they have.
 */
#include "routing/health.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "health_internal.h"
#include "imap/credentials.h"
#include "probe_internal.h"
#include "routing/backend.h"
#include "routing/pool.h"

struct health_place;

/* struct checked is a member that is checked. */
struct checked {
	struct checked *wait_prev;
	struct checked *wait_next;
	struct health *health;
	struct backend *backend;
	struct timeout due;
	struct health_place *place; /* where it is being checked, or NULL */
	uint64_t began_ms;
	bool waits; /* it is due, and no place is free */
	bool ill;   /* its last check has failed */
};

struct health_place {
	struct probe probe;
	struct health *health;
	struct checked *checked; /* NULL while the place is free */
};

struct health {
	struct health_settings settings;
	const struct pool_view *view;
	struct checked **checked; /* of each member of the view; NULL where memory ran out */
	struct health_place places[HEALTH_AT_ONCE];
	unsigned ill_places;       /* in which ill ones are being checked */
	struct checked *well_wait; /* in the order of their coming */
	struct checked *ill_wait;
	struct timeout_list due;
	struct credentials credentials;
	struct health_services services;
	unsigned jitter; /* state of rand_r */
};

/* --- Pauses --------------------------------------------------------------------------------- */

static uint64_t random_up_to(struct health *health, uint64_t limit)
{
	return (uint64_t)(unsigned)rand_r(&health->jitter) % (limit + 1);
}

/* One interval after the last check began, a twentieth more or less. */
static void pause_checked(struct checked *checked)
{
	struct health *health = checked->health;
	uint64_t interval_ms = health->settings.config->health.interval_ms;
	uint64_t jitter_ms = random_up_to(health, interval_ms / 10);
	uint64_t due_ms = checked->began_ms + interval_ms - interval_ms / 20 + jitter_ms;

	timeout_add(&health->due, &checked->due, due_ms);
}

static uint64_t patience_with(const struct config_health *config)
{
	return config->interval_ms > HEALTH_PATIENCE_MIN_MS ? config->interval_ms
							    : HEALTH_PATIENCE_MIN_MS;
}

/* --- Places --------------------------------------------------------------------------------- */

static struct health_place *free_place(struct health *health)
{
	for (size_t i = 0; i < HEALTH_AT_ONCE; i++) {
		if (health->places[i].checked == NULL) {
			return &health->places[i];
		}
	}
	return NULL;
}

static enum probe_depth depth_of(const struct config_health *config)
{
	switch (config->check) {
	case CONFIG_CHECK_CONNECT:
		return PROBE_CONNECT;
	case CONFIG_CHECK_LOGIN:
		return PROBE_LOGIN;
	default:
		return PROBE_GREETING;
	}
}

static void check(struct checked *checked, struct health_place *place)
{
	struct health *health = checked->health;

	place->checked = checked;
	checked->place = place;
	checked->began_ms = timeouts_now_ms();
	health->ill_places += checked->ill;
	metrics_count(health->settings.metrics, METRIC_HEALTH_CHECKS);
	probe_begin(&place->probe, checked->backend, depth_of(&health->settings.config->health));
}

static void leave_place(struct checked *checked)
{
	checked->place->checked = NULL;
	checked->place = NULL;
	checked->health->ill_places -= checked->ill;
}

static struct checked **list_of(struct checked *checked)
{
	return checked->ill ? &checked->health->ill_wait : &checked->health->well_wait;
}

static void wait_for_place(struct checked *checked)
{
	checked->waits = true;
	DL_APPEND2(*list_of(checked), checked, wait_prev, wait_next);
}

static void stop_waiting(struct checked *checked)
{
	if (checked->waits) {
		DL_DELETE2(*list_of(checked), checked, wait_prev, wait_next);
		checked->waits = false;
	}
}

static struct checked *next_waiting(const struct health *health)
{
	if (health->well_wait != NULL || health->ill_places >= HEALTH_ILL_AT_ONCE) {
		return health->well_wait;
	}
	return health->ill_wait;
}

static void fill_places(struct health *health)
{
	struct health_place *place = free_place(health);
	struct checked *next = next_waiting(health);

	while (place != NULL && next != NULL) {
		stop_waiting(next);
		check(next, place);
		place = free_place(health);
		next = next_waiting(health);
	}
}

static void on_due(struct timeout *due)
{
	struct checked *checked = container_of(due, struct checked, due);

	wait_for_place(checked);
	fill_places(checked->health);
}

static void on_over(struct probe *probe, const struct error *why)
{
	struct health_place *place = container_of(probe, struct health_place, probe);
	struct health *health = place->health;
	struct checked *checked = place->checked;
	struct member *member = checked->backend->member;
	struct metrics *metrics = health->settings.metrics;

	leave_place(checked);
	checked->ill = why != NULL;
	if (why == NULL) {
		member_passed(member, metrics);
	} else {
		log_debug("health check failed", log_text("backend", member->name),
			  log_text("detail", why->text));
		metrics_count(metrics, METRIC_HEALTH_CHECK_FAILURES);
		member_missed(member, why->text, metrics);
	}
	pause_checked(checked);
	fill_places(health);
}

static const struct probe_events probe_events = {.over = on_over};

/* --- Members -------------------------------------------------------------------------------- */

static struct backend *make_backend(const struct health_settings *settings, struct member *member)
{
	const struct config_backend *config = &settings->config->backends[member->config];
	struct tls_client *client =
		settings->tls_clients != NULL ? settings->tls_clients[member->config] : NULL;

	return backend_new_of(config, member, client);
}

/* NULL when memory ran out. Its first check is somewhere within one interval. */
static struct checked *make_checked(struct health *health, struct member *member)
{
	struct checked *checked = calloc(1, sizeof(*checked));
	uint64_t spread_ms = random_up_to(health, health->settings.config->health.interval_ms);

	if (checked == NULL) {
		return NULL;
	}
	checked->health = health;
	checked->backend = make_backend(&health->settings, member);
	if (checked->backend == NULL) {
		free(checked);
		return NULL;
	}
	timeout_add(&health->due, &checked->due, timeouts_now_ms() + spread_ms);
	return checked;
}

static void free_checked(struct checked *checked)
{
	if (checked == NULL) {
		return;
	}
	if (checked->place != NULL) {
		probe_stop(&checked->place->probe);
		leave_place(checked);
	}
	stop_waiting(checked);
	timeout_remove(&checked->due);
	backend_unref(checked->backend);
	free(checked);
}

/* Forgets the view, and those of its members that nobody has taken over. */
static void drop_view(struct health *health)
{
	if (health->view == NULL) {
		return;
	}
	for (size_t i = 0; i < health->view->count; i++) {
		free_checked(health->checked[i]);
	}
	free(health->checked);
	health->checked = NULL;
	pool_view_unref(health->view);
	health->view = NULL;
}

/* Takes the same member over from the view that was before. Both are in the order of names; `from`
 * is where to look, and moves on. */
static struct checked *take_over(struct health *health, const struct member *member, size_t *from)
{
	const struct pool_view *view = health->view;
	struct checked *checked = NULL;

	while (view != NULL && *from < view->count &&
	       strcmp(view->members[*from]->name, member->name) < 0) {
		(*from)++;
	}
	if (view != NULL && *from < view->count && view->members[*from] == member) {
		checked = health->checked[*from];
		health->checked[*from] = NULL;
	}
	return checked;
}

/* False when memory ran out: who is new is not checked until the next change. */
static bool take_view(struct health *health)
{
	const struct pool_view *view = pool_view(health->settings.pool);
	struct checked **all = calloc(view->count + 1, sizeof(struct checked *));
	bool complete = true;
	size_t from = 0;

	if (all == NULL) {
		pool_view_unref(view);
		return false;
	}
	for (size_t i = 0; i < view->count; i++) {
		all[i] = take_over(health, view->members[i], &from);
		if (all[i] == NULL) {
			all[i] = make_checked(health, view->members[i]);
			complete = complete && all[i] != NULL;
		}
	}
	drop_view(health);
	health->view = view;
	health->checked = all;
	fill_places(health);
	return complete;
}

static void on_changed(struct health_services *services)
{
	struct health *health = container_of(services, struct health, services);
	const struct config_health *config = &health->settings.config->health;

	if (config->check != CONFIG_CHECK_NONE && !take_view(health)) {
		log_error("members not checked", log_text("detail", "out of memory"));
	}
}

/* --- For the keeper ------------------------------------------------------------------------- */

static bool set_credentials(struct health *health)
{
	const struct config_health *config = &health->settings.config->health;
	struct credentials_claim claim = {
		.user = config->user,
		.user_length = strlen(config->user),
		.secret = config->password.bytes,
		.secret_length = config->password.length,
		.mechanism = SASL_PLAIN,
	};

	return config->check != CONFIG_CHECK_LOGIN ||
	       credentials_set(&health->credentials, &claim) == CREDENTIALS_FINE;
}

static void init_places(struct health *health)
{
	const struct health_settings *settings = &health->settings;
	struct probe_house house = {
		.shared = settings->shared,
		.timeouts = settings->timeouts,
		.resolver = settings->resolver,
		.metrics = settings->metrics,
		.credentials = &health->credentials,
		.patience_ms = patience_with(&settings->config->health),
	};

	for (size_t i = 0; i < HEALTH_AT_ONCE; i++) {
		health->places[i].health = health;
		probe_init(&health->places[i].probe, &house, &probe_events);
	}
}

struct health *health_new(const struct health_settings *settings, struct error *error)
{
	struct health *health = calloc(1, sizeof(*health));

	if (health == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	health->settings = *settings;
	config_ref(settings->config);
	health->jitter = (unsigned)timeouts_now_ms() ^ (unsigned)((uintptr_t)health >> 4);
	timeout_list_init(&health->due, settings->timeouts, on_due);
	init_places(health);
	if (!health_services_init(&health->services, settings, on_changed) ||
	    (settings->config->health.check != CONFIG_CHECK_NONE && !take_view(health))) {
		error_set(error, "out of memory");
		health_free(health);
		return NULL;
	}
	if (!set_credentials(health)) {
		error_set(error, "health.user and health.password cannot be said to a backend");
		health_free(health);
		return NULL;
	}
	return health;
}

void health_free(struct health *health)
{
	if (health == NULL) {
		return;
	}
	health_services_done(&health->services);
	drop_view(health);
	for (size_t i = 0; i < HEALTH_AT_ONCE; i++) {
		probe_done(&health->places[i].probe);
	}
	timeout_list_done(&health->due);
	credentials_done(&health->credentials);
	config_unref(health->settings.config);
	free(health);
}
