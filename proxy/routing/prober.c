/* SPDX-License-Identifier: Apache-2.0
 *
 * The rounds of the probes.
 */
#include "prober_internal.h"

#include <stdlib.h>
#include <utlist.h>

#include "core/log.h"
#include "core/metrics.h"
#include "routing/backend.h"

struct probed {
	struct probed *next; /* of all backends of the prober */
	struct probed *wait_prev;
	struct probed *wait_next;
	struct prober *prober;
	struct backend *backend;
	struct timeout due;
	unsigned pause_ms; /* before the last probe, 0 where that was no second try */
	bool waits;
};

/* --- Pauses --------------------------------------------------------------------------------- */

static unsigned random_up_to(struct prober *prober, unsigned limit)
{
	return (unsigned)rand_r(&prober->jitter) % (limit + 1);
}

/* From three quarters to five quarters of the pause. */
static void pause_probed(struct probed *probed, unsigned pause_ms)
{
	struct prober *prober = probed->prober;
	unsigned jittered_ms = pause_ms - pause_ms / 4 + random_up_to(prober, pause_ms / 2);

	timeout_add(&prober->due, &probed->due, timeouts_now_ms() + jittered_ms);
}

static unsigned next_pause(const struct probed *probed)
{
	const struct prober_pace *pace = &probed->prober->settings.pace;

	if (probed->pause_ms == 0) {
		return pace->retry_ms;
	}
	return probed->pause_ms < pace->retry_max_ms / 2 ? probed->pause_ms * 2
							 : pace->retry_max_ms;
}

/* --- Places --------------------------------------------------------------------------------- */

static struct prober_place *free_place(struct prober *prober)
{
	for (size_t i = 0; i < PROBER_AT_ONCE; i++) {
		if (prober->places[i].probed == NULL) {
			return &prober->places[i];
		}
	}
	return NULL;
}

static void on_due(struct timeout *due)
{
	struct probed *probed = container_of(due, struct probed, due);
	struct prober *prober = probed->prober;
	struct prober_place *place = free_place(prober);

	if (place == NULL) {
		probed->waits = true;
		DL_APPEND2(prober->waiting, probed, wait_prev, wait_next);
		return;
	}
	place->probed = probed;
	metrics_count(prober->settings.house.metrics, METRIC_BACKEND_PROBES);
	probe_begin(&place->probe, probed->backend, PROBE_CAPABILITIES);
}

static void stop_waiting(struct probed *probed)
{
	if (probed->waits) {
		DL_DELETE2(probed->prober->waiting, probed, wait_prev, wait_next);
		probed->waits = false;
	}
}

/* In a later turn: probes that end as soon as they begin would otherwise begin each other, each on
 * top of the last. */
static void wake_next(struct prober *prober)
{
	struct probed *next = prober->waiting;

	if (next != NULL) {
		stop_waiting(next);
		timeout_add(&prober->due, &next->due, timeouts_now_ms());
	}
}

/* --- What probes say ------------------------------------------------------------------------ */

static void on_learnt(struct probe *probe, const struct capability_offer *offer)
{
	struct prober_place *place = container_of(probe, struct prober_place, probe);
	struct backend *backend = place->probed->backend;

	log_debug("backend probed", log_text("backend", backend->name),
		  log_text("capabilities", offer->atoms));
	place->prober->settings.learnt(place->prober, backend, offer);
}

static void warn(struct prober *prober, const struct backend *backend, const struct error *why)
{
	uint64_t held_back;

	if (log_bound_admits(&prober->failures, timeouts_now_ms(), &held_back)) {
		log_warn("backend probe failed", log_text("backend", backend->name),
			 log_text("detail", why->text),
			 log_number("held_back", (int64_t)held_back));
	}
}

static void on_over(struct probe *probe, const struct error *why)
{
	struct prober_place *place = container_of(probe, struct prober_place, probe);
	struct prober *prober = place->prober;
	struct probed *probed = place->probed;

	place->probed = NULL;
	if (why == NULL) {
		probed->pause_ms = 0;
		pause_probed(probed, prober->settings.pace.again_ms);
	} else {
		metrics_count(prober->settings.house.metrics, METRIC_BACKEND_PROBE_FAILURES);
		warn(prober, probed->backend, why);
		probed->pause_ms = next_pause(probed);
		pause_probed(probed, probed->pause_ms);
	}
	wake_next(prober);
}

static const struct probe_events probe_events = {
	.learnt = on_learnt,
	.over = on_over,
};

/* --- For the router ------------------------------------------------------------------------- */

void prober_init(struct prober *prober, const struct prober_settings *settings)
{
	*prober = (struct prober){.settings = *settings};
	prober->jitter = (unsigned)timeouts_now_ms() ^ (unsigned)((uintptr_t)prober >> 4);
	timeout_list_init(&prober->due, settings->house.timeouts, on_due);
	for (size_t i = 0; i < PROBER_AT_ONCE; i++) {
		prober->places[i].prober = prober;
		probe_init(&prober->places[i].probe, &settings->house, &probe_events);
	}
}

static void begin(struct probed *probed)
{
	struct prober *prober = probed->prober;
	unsigned spread_ms = random_up_to(prober, prober->settings.pace.spread_ms);

	timeout_add(&prober->due, &probed->due, timeouts_now_ms() + spread_ms);
}

bool prober_add(struct prober *prober, struct backend *backend)
{
	struct probed *probed = calloc(1, sizeof(*probed));

	if (probed == NULL) {
		return false;
	}
	probed->prober = prober;
	probed->backend = backend;
	LL_PREPEND(prober->backends, probed);
	if (prober->started) {
		begin(probed);
	}
	return true;
}

static void stop_probing(struct probed *probed)
{
	struct prober *prober = probed->prober;

	for (size_t i = 0; i < PROBER_AT_ONCE; i++) {
		if (prober->places[i].probed == probed) {
			probe_stop(&prober->places[i].probe);
			prober->places[i].probed = NULL;
		}
	}
	stop_waiting(probed);
	timeout_remove(&probed->due);
	probed->pause_ms = 0;
}

void prober_remove(struct prober *prober, struct backend *backend)
{
	struct probed *probed;

	LL_SEARCH_SCALAR(prober->backends, probed, backend, backend);
	if (probed == NULL) {
		return;
	}
	stop_probing(probed);
	LL_DELETE(prober->backends, probed);
	free(probed);
	wake_next(prober);
}

void prober_start(struct prober *prober)
{
	struct probed *probed;

	prober->started = true;
	LL_FOREACH(prober->backends, probed)
	{
		begin(probed);
	}
}

void prober_stop(struct prober *prober)
{
	struct probed *probed;

	prober->started = false;
	LL_FOREACH(prober->backends, probed)
	{
		stop_probing(probed);
	}
}

void prober_done(struct prober *prober)
{
	if (prober->settings.house.timeouts == NULL) {
		return;
	}
	prober_stop(prober);
	for (size_t i = 0; i < PROBER_AT_ONCE; i++) {
		probe_done(&prober->places[i].probe);
	}
	while (prober->backends != NULL) {
		struct probed *probed = prober->backends;

		LL_DELETE(prober->backends, probed);
		free(probed);
	}
	timeout_list_done(&prober->due);
	*prober = (struct prober){0};
}
