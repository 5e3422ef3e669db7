/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of the counters.
 */
#include "core/metrics.h"

#include "base/base.h"

static const char *const names[METRIC_COUNT] = {
#define METRIC(symbol, name, sentence) [METRIC_##symbol] = name,
#include "core/metrics.def"
#undef METRIC
};

static const char *const sentences[METRIC_COUNT] = {
#define METRIC(symbol, name, sentence) [METRIC_##symbol] = sentence,
#include "core/metrics.def"
#undef METRIC
};

const char *metrics_name(enum metric metric)
{
	invariant((unsigned)metric < METRIC_COUNT);
	return names[metric];
}

const char *metrics_sentence(enum metric metric)
{
	invariant((unsigned)metric < METRIC_COUNT);
	return sentences[metric];
}
