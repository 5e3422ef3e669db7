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
#include "core/config_redis.h"

/* redis_url_parse reads
 *   redis://[user:password@]host[:port][/database]
 *   unix://[user:password@]/path
 *   sentinel://[user:password@]host[:port][,host[:port]...]/master[/database]
 *   cluster://[user:password@]host[:port][,host[:port]...]
 * and rediss, sentinels and clusters, which have TLS; all but clusters with an optional
 * ?db=database. IPv6 stands in brackets; user and password may be percent-encoded (RFC 3986 section
 * 2.1). What the URL tells is replaced in `redis`, its other fields stay.
 * On failure `redis` is unchanged and `error` quotes nothing of the URL, since it may hold a
 * password in the wrong place. */
must_use bool redis_url_parse(struct config_redis *redis, const char *url, struct error *error);

/* redis_url_scheme tells what a URL is of by its scheme, whatever follows; false where that is
 * none.
 */
bool redis_url_scheme(const char *url, enum config_redis_kind *kind, bool *tls);

/* redis_url_print writes it as a TOML string; a password is shown as "***". */
void redis_url_print(const struct config_redis *redis, FILE *out);

/* redis_url_done frees, and wipes the password. */
void redis_url_done(struct config_redis *redis);

#endif
