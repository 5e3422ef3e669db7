/* SPDX-License-Identifier: Apache-2.0
 *
 * All TLS of the process, made once from the configuration while its privileges last: the store
 * that clients meet, one client for each backend, and one for Redis.
 */
#ifndef GATEPOST_DAEMON_TLS_SET_H
#define GATEPOST_DAEMON_TLS_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/base.h"
#include "base/error.h"

struct config;
struct tls_client;
struct tls_client_trust;
struct tls_store;

/* struct tls_set: zero is "none". All workers share what it holds. */
struct tls_set {
	struct tls_client_trust *trust;
	struct tls_store *front;      /* NULL where no listener has TLS */
	struct tls_client **backends; /* one for each of the configuration, NULL without TLS */
	size_t backend_count;
	struct tls_client *redis; /* NULL without TLS */
	struct tls_client *urls;  /* for backends that a URL names; NULL where none can be */
};

/* tls_set_load reads all files. On failure `error` names the file, and the set is to be given to
 * tls_set_done as it is. */
must_use bool tls_set_load(struct tls_set *set, const struct config *config, struct error *error);

/* tls_set_check loads the files and keeps nothing. It writes every fault as
 * `FILE:LINE:COL: what is wrong` to `faults`, and tells whether there was none. */
must_use bool tls_set_check(const struct config *config, const char *file, FILE *faults);

/* tls_set_done: no worker may be left. */
void tls_set_done(struct tls_set *set);

#endif
