/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration says of Redis.
 */
#ifndef GATEPOST_CORE_CONFIG_REDIS_H
#define GATEPOST_CORE_CONFIG_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "core/config_value.h"

enum config_redis_kind { CONFIG_REDIS_SINGLE, CONFIG_REDIS_SENTINEL, CONFIG_REDIS_CLUSTER };

/* struct config_redis: by the scheme of the URL, redis, unix, sentinel and cluster, each but unix
 * with a twin that has TLS: rediss, sentinels, clusters. */
struct config_redis {
	enum config_redis_kind kind;
	bool tls;
	struct endpoint *addresses; /* the one server; or the sentinels; or some of the cluster */
	size_t address_count;
	char *master;   /* what the sentinels call it; of that kind only */
	char *user;     /* "" = none (AUTH password) */
	char *password; /* "" = no AUTH */
	unsigned database;
	char *sentinel_user; /* as above, towards the sentinels */
	char *sentinel_password;
	bool verify;
	char *ca;           /* path of a PEM file, "" = the system's */
	char *server_name;  /* "" = the host of each address */
	char *client_chain; /* path of a PEM file, "" = none */
	char *client_key;   /* path of a PEM file */
	struct config_place ca_place;
	struct config_place client_chain_place;
	struct config_place client_key_place;
	uint64_t timeout_ms;
};

/* Sentinels, or seeds of a cluster, in one URL. */
#define CONFIG_REDIS_ADDRESSES_MAX 16

#endif
