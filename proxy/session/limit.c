/* SPDX-License-Identifier: Apache-2.0
 *
 * The count of sessions that all workers share.
 */
#include "session/limit.h"

#include "base/base.h"

bool limit_take(struct limit *limit)
{
	if (atomic_fetch_add_explicit(&limit->taken, 1, memory_order_relaxed) < limit->max) {
		return true;
	}
	limit_give(limit);
	return false;
}

void limit_give(struct limit *limit)
{
	unsigned before = atomic_fetch_sub_explicit(&limit->taken, 1, memory_order_relaxed);

	invariant(before > 0);
}
