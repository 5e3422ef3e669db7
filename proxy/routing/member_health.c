/* SPDX-License-Identifier: Apache-2.0
 *
 * Up and down. Only logins clear what logins have said: a server may well answer checks while those
 * who log in wait for ever.
 */
#include "member_health_internal.h"

#include "core/config.h"
#include "net/timeouts.h"

/* One client shall not mark a member down, whatever is configured. */
#define WITNESSES_MIN 2

void member_health_init(struct member_health *health, const struct config_health *config)
{
	*health = (struct member_health){
		.config = config,
		.up = true,
		.rests_until_ms = TIMEOUT_NEVER,
	};
}

static enum member_change change(struct member_health *health, bool up)
{
	health->up = up;
	health->passes = 0;
	health->misses = 0;
	health->witness_count = 0;
	health->rests_until_ms = TIMEOUT_NEVER;
	return up ? MEMBER_CAME_UP : MEMBER_WENT_DOWN;
}

enum member_change member_health_passed(struct member_health *health)
{
	health->misses = 0;
	if (health->up || ++health->passes < health->config->rise) {
		return MEMBER_SAME;
	}
	return change(health, true);
}

enum member_change member_health_missed(struct member_health *health)
{
	health->passes = 0;
	if (!health->up || ++health->misses < health->config->fall) {
		return MEMBER_SAME;
	}
	return change(health, false);
}

void member_health_served(struct member_health *health)
{
	health->witness_count = 0;
}

static void forget(struct member_health *health, uint64_t client, uint64_t now_ms)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < health->witness_count; i++) {
		const struct member_witness *witness = &health->witnesses[i];

		if (witness->key != client && witness->at_ms + MEMBER_WITNESS_MS > now_ms) {
			health->witnesses[kept++] = *witness;
		}
	}
	health->witness_count = kept;
}

enum member_change member_health_failed(struct member_health *health, uint64_t client,
					uint64_t now_ms)
{
	unsigned needed = health->config->witnesses;

	if (!health->up || needed == 0) {
		return MEMBER_SAME;
	}
	if (needed < WITNESSES_MIN) {
		needed = WITNESSES_MIN;
	}
	forget(health, client, now_ms);
	health->witnesses[health->witness_count++] =
		(struct member_witness){.key = client, .at_ms = now_ms};
	if (health->witness_count < needed) {
		return MEMBER_SAME;
	}
	change(health, false);
	if (health->config->check == CONFIG_CHECK_NONE) {
		health->rests_until_ms = now_ms + MEMBER_REST_MS;
	}
	return MEMBER_WENT_DOWN;
}

enum member_change member_health_rested(struct member_health *health, uint64_t now_ms)
{
	if (health->up || now_ms < health->rests_until_ms) {
		return MEMBER_SAME;
	}
	return change(health, true);
}
