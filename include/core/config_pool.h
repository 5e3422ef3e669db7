/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration says of all backends together: how their health is known, and how users are
 * moved from one to another.
 */
#ifndef GATEPOST_CORE_CONFIG_POOL_H
#define GATEPOST_CORE_CONFIG_POOL_H

#include <stdint.h>

#include "base/secret.h"

enum config_check {
	CONFIG_CHECK_NONE,
	CONFIG_CHECK_CONNECT,
	CONFIG_CHECK_GREETING,
	CONFIG_CHECK_LOGIN
};

struct config_health {
	enum config_check check;
	uint64_t interval_ms;
	unsigned rise;
	unsigned fall;
	char *user; /* of CONFIG_CHECK_LOGIN, and only then not "" */
	struct secret password;
	unsigned witnesses; /* clients whose logins must fail to mark a backend down; 0 = never */
};

struct config_moves {
	uint64_t kick_grace_ms;     /* a session that shall end does so when quiet, or then */
	uint64_t hold_timeout_ms;   /* how long a login waits */
	uint64_t hold_line_ms;      /* between the lines that a waiting client gets */
	uint64_t release_spread_ms; /* logins that waited go on within so long */
	unsigned max_parked;        /* logins that wait at a time */
	unsigned drain_rate;        /* sessions a second that a kicking drain ends */
	unsigned disconnect_rate;   /* sessions a second that end with their backend; 0 = at once */
	uint64_t disconnect_spread_ms; /* the longest that one of them waits */
};

#endif
