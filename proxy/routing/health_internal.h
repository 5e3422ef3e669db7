/* SPDX-License-Identifier: Apache-2.0
 *
 * The services that members come from: those of "srv:" addresses are asked for at the beginning,
 * then by the TTL of their answers, and after a failure with pauses.
 */
#ifndef GATEPOST_ROUTING_HEALTH_INTERNAL_H
#define GATEPOST_ROUTING_HEALTH_INTERNAL_H

#include <stddef.h>

#include "base/base.h"
#include "core/log_bound.h"
#include "net/timeouts.h"
#include "routing/health.h"

/* Milliseconds: the shortest time that a check may take, however short the interval is. */
#define HEALTH_PATIENCE_MIN_MS 1000

/* Of the HEALTH_AT_ONCE, so many at most check members whose last check has failed: those may all
 * take as long as they can, and shall not be in the way of the others. */
#define HEALTH_ILL_AT_ONCE 48

/* Milliseconds: the first pause after a service could not be asked for, and the longest; it doubles
 * in between. Each is jittered by a quarter. */
#define HEALTH_RETRY_MS     1000
#define HEALTH_RETRY_MAX_MS 30000

struct health_service;
struct health_services;

/* The members of a service are others now; it may not stop the services. */
typedef void health_changed_t(struct health_services *services);

/* struct health_services: zero is "none". */
struct health_services {
	struct health_settings settings; /* as given to health_new */
	health_changed_t *changed;
	struct health_service *services;
	size_t count;
	size_t unanswered; /* of them: nothing was heard as yet */
	struct timeout_list due;
	struct log_bound failures;
	unsigned jitter; /* state of rand_r */
};

/* health_services_init makes all services of the configuration due now; where there are none, all
 * of them were asked. False when memory ran out. */
must_use bool health_services_init(struct health_services *services,
				   const struct health_settings *settings,
				   health_changed_t *changed);

/* health_services_done asks no more; what came of it stays. A zero one is fine. */
void health_services_done(struct health_services *services);

#endif
