/* SPDX-License-Identifier: Apache-2.0
 *
 * The URL of a Redis: read, written without its password, freed.
 */
#ifndef GATEPOST_CORE_REDIS_URL_INTERNAL_H
#define GATEPOST_CORE_REDIS_URL_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/base.h"
#include "base/error.h"

struct config_redis;

/* redis_url_parse reads redis://[user:password@]host[:port][/database] or
 * unix://[user:password@]/path, each with an optional ?db=database; user and password may be
 * percent-encoded (RFC 3986 section 2.1). Whatever was in `redis` but for its timeout is replaced.
 * On failure `redis` is unchanged and `error` quotes nothing of the URL, since it may hold a
 * password in the wrong place. */
must_use bool redis_url_parse(struct config_redis *redis, const char *url, struct error *error);

/* redis_url_print writes it as a TOML string; a password is shown as "***". */
void redis_url_print(const struct config_redis *redis, FILE *out);

/* redis_url_done frees, and wipes the password. */
void redis_url_done(struct config_redis *redis);

#endif
