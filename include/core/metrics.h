/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters: one set per worker, written by its thread, readable by any. core/metrics.def is the
 * table of names.
 */
#ifndef GATEPOST_CORE_METRICS_H
#define GATEPOST_CORE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define METRIC(symbol, name, sentence) METRIC_##symbol,
#include "core/metrics.def"
#undef METRIC
	METRIC_COUNT
};

/* struct metrics: zero is "nothing happened yet". */
struct metrics {
	_Atomic uint64_t values[METRIC_COUNT];
};

static inline void metrics_add(struct metrics *metrics, enum metric metric, uint64_t amount)
{
	atomic_fetch_add_explicit(&metrics->values[metric], amount, memory_order_relaxed);
}

static inline void metrics_count(struct metrics *metrics, enum metric metric)
{
	metrics_add(metrics, metric, 1);
}

static inline uint64_t metrics_get(const struct metrics *metrics, enum metric metric)
{
	return atomic_load_explicit(&metrics->values[metric], memory_order_relaxed);
}

/* metrics_name and metrics_sentence: the exposition name without prefix, and its help text. */
const char *metrics_name(enum metric metric);
const char *metrics_sentence(enum metric metric);

#endif
