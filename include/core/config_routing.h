/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration says of where users live.
 */
#ifndef GATEPOST_CORE_CONFIG_ROUTING_H
#define GATEPOST_CORE_CONFIG_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config_value.h"

/* Bounds of the words of a lookup command, and of a user name once it is normalised. */
#define CONFIG_LOOKUP_WORDS_MAX 16
#define CONFIG_USER_MAX         255

enum config_source { CONFIG_SOURCE_REDIS, CONFIG_SOURCE_STATIC };
enum config_unknown {
	CONFIG_UNKNOWN_REJECT,
	CONFIG_UNKNOWN_HASH,
	CONFIG_UNKNOWN_ASSIGN,
	CONFIG_UNKNOWN_BACKEND
};
enum config_user_case { CONFIG_USER_LOWER, CONFIG_USER_KEEP };

/* A user of [routing.users]; `backend` is an index into config.backends. */
struct config_user {
	char *name; /* normalised as user_case and default_domain say */
	size_t backend;
};

/* A share of those whom unknown = "hash" places; `share` is 0 where there is none. */
struct config_canary {
	size_t backend; /* index into config.backends */
	unsigned share; /* in hundredths of a percent */
};

struct config_routing {
	enum config_source source;
	char *lookup; /* checked: reads only, has a placeholder, words with single spaces */
	enum config_user_case user_case;
	enum config_unknown unknown;
	size_t unknown_backend; /* index, CONFIG_UNKNOWN_BACKEND only */
	bool failover;          /* to the next by rank, of those placed by hash or assign */
	char *default_domain;
	uint64_t cache_ttl_ms;
	uint64_t unknown_ttl_ms; /* of "no such user" */
	uint64_t stale_ttl_ms;
	unsigned cache_routes; /* at most */
	struct config_canary canary;
	unsigned canary_threshold;     /* percent of failing logins beyond those elsewhere */
	char *url_ca;                  /* path of a PEM file, "" = the system's */
	struct config_hosts url_hosts; /* that a URL may name; none = any */
	struct config_hosts referrals; /* hosts that a REFERRAL may name; none = none is followed */
	struct config_place url_ca_place;
	struct config_user *users; /* sorted by name */
	size_t user_count;
};

#endif
