/* SPDX-License-Identifier: Apache-2.0
 *
 * How many sessions the whole process may hold: the one count that workers share.
 */
#ifndef GATEPOST_SESSION_LIMIT_H
#define GATEPOST_SESSION_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>

/* struct limit: a place in `max` is taken for each session. */
struct limit {
	atomic_uint taken;
	unsigned max;
};

/* limit_take takes a place; false when all are taken. */
bool limit_take(struct limit *limit);

/* limit_give gives one back that was taken. */
void limit_give(struct limit *limit);

#endif
