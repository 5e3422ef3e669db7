/* SPDX-License-Identifier: Apache-2.0
 *
 * When backends are asked what they offer: once when the worker begins, again after a failure, and
 * from time to time, since software is upgraded. A few at a time, and never all workers at once.
 */
#ifndef GATEPOST_ROUTING_PROBER_INTERNAL_H
#define GATEPOST_ROUTING_PROBER_INTERNAL_H

#include <stdbool.h>

#include "base/base.h"
#include "core/log_bound.h"
#include "net/timeouts.h"
#include "probe_internal.h"

/* Probes of one worker at a time. */
#define PROBER_AT_ONCE 4

/* Milliseconds: the first round begins within so long; after a failure the first pause, which
 * doubles up to the longest; after a success until the next. Each is jittered by a quarter. */
#define PROBER_SPREAD_MS    500
#define PROBER_RETRY_MS     5000
#define PROBER_RETRY_MAX_MS 60000
#define PROBER_AGAIN_MS     600000

struct probed;
struct prober;

typedef void prober_learnt_t(struct prober *prober, struct backend *backend,
			     const struct capability_offer *offer);

/* struct prober_pace is how long the pauses are. */
struct prober_pace {
	unsigned spread_ms;
	unsigned retry_ms;
	unsigned retry_max_ms;
	unsigned again_ms;
};

struct prober_settings {
	struct probe_house house;
	struct prober_pace pace;
	prober_learnt_t *learnt; /* a backend has told; it may not stop the prober */
};

/* struct prober_place is where a backend is being asked. */
struct prober_place {
	struct probe probe;
	struct prober *prober;
	struct probed *probed; /* who is asked, NULL while the place is free */
};

struct prober {
	struct prober_settings settings;
	struct prober_place places[PROBER_AT_ONCE];
	struct probed *backends;
	struct probed *waiting; /* they are due, and no place is free */
	struct timeout_list due;
	struct log_bound failures;
	bool started;
	unsigned jitter; /* state of rand_r */
};

void prober_init(struct prober *prober, const struct prober_settings *settings);

/* prober_add makes `backend`, borrowed, one of those that are asked; soon, where the rounds have
 * begun. False when memory ran out. */
must_use bool prober_add(struct prober *prober, struct backend *backend);

/* prober_remove leaves `backend` alone from now on; nothing happens where it was not added. Not
 * from within `learnt`. */
void prober_remove(struct prober *prober, struct backend *backend);

/* prober_start begins the first round; once, or after prober_stop. */
void prober_start(struct prober *prober);

/* prober_stop closes all connections; nothing is learnt any more. Not from within `learnt`. */
void prober_stop(struct prober *prober);

/* prober_done stops and frees; a zero prober is fine. */
void prober_done(struct prober *prober);

#endif
