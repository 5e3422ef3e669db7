/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a member is up, as checks and logins tell: counts and times, without a clock or a lock.
 */
#ifndef GATEPOST_ROUTING_MEMBER_HEALTH_INTERNAL_H
#define GATEPOST_ROUTING_MEMBER_HEALTH_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "routing/member.h"

struct config_health;

enum member_change { MEMBER_SAME, MEMBER_CAME_UP, MEMBER_WENT_DOWN };

/* struct member_witness is a client whose login failed. */
struct member_witness {
	uint64_t key; /* client_key */
	uint64_t at_ms;
};

struct member_health {
	const struct config_health *config;
	bool up;
	unsigned passes;         /* in a row, while it is down */
	unsigned misses;         /* in a row, while it is up */
	uint64_t rests_until_ms; /* while it is down; TIMEOUT_NEVER where checks bring it up */
	unsigned witness_count;  /* while it is up */
	struct member_witness witnesses[MEMBER_WITNESSES_MAX];
};

void member_health_init(struct member_health *health, const struct config_health *config);

/* What checks tell. */
enum member_change member_health_passed(struct member_health *health);
enum member_change member_health_missed(struct member_health *health);

/* What logins tell; a member that is down has nothing to learn from them. */
void member_health_served(struct member_health *health);
enum member_change member_health_failed(struct member_health *health, uint64_t client,
					uint64_t now_ms);

/* What the clock tells. */
enum member_change member_health_rested(struct member_health *health, uint64_t now_ms);

#endif
