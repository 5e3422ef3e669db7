/* SPDX-License-Identifier: Apache-2.0
 *
 * The backends that URLs of the directory name, kept from one login to the next: so their TLS
 * session and what is known of them are shared, and an address is one backend however often it is
 * named.
 */
#ifndef GATEPOST_ROUTING_URL_BACKENDS_INTERNAL_H
#define GATEPOST_ROUTING_URL_BACKENDS_INTERNAL_H

#include "base/base.h"
#include "core/config.h"

struct backend;
struct capability_offer;
struct endpoint;
struct tls_client;
struct url_backend;

/* Backends that are kept. Past that the one goes that was not asked for longest and that no
 * session uses; where all are used, a further one serves its login and is not kept. */
#define ROUTE_URL_BACKENDS_MAX 1024

/* struct url_backends: zero is empty. */
struct url_backends {
	struct url_backend *by_key;
	struct url_backend *oldest; /* a list, in the order in which they were last asked for */
};

/* url_backends_get gives the backend of an address and its TLS, made where it is not kept yet, with
 * one reference for the caller. NULL when memory ran out. */
must_use struct backend *url_backends_get(struct url_backends *backends,
					  const struct endpoint *address, enum config_tls tls,
					  struct tls_client *tls_client);

/* url_backends_meet leaves in `common` what it has in common with all that are kept. */
void url_backends_meet(const struct url_backends *backends, struct capability_offer *common);

/* url_backends_done gives back its references. */
void url_backends_done(struct url_backends *backends);

#endif
