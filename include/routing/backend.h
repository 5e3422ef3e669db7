/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend: where it is and how it wants to be spoken to. A worker's own, so its counts need no
 * lock; alive while the configuration names it or a session uses it.
 */
#ifndef GATEPOST_ROUTING_BACKEND_H
#define GATEPOST_ROUTING_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"

struct config_backend;

/* Timeouts of a backend that only a URL in Redis names. */
#define BACKEND_CONNECT_TIMEOUT_MS 5000
#define BACKEND_LOGIN_TIMEOUT_MS   30000

/* struct backend: read-only for sessions but for the references. */
struct backend {
	char *name; /* the configured name, or the endpoint where a URL names it */
	struct endpoint address;
	bool send_id;
	bool ask_capability;
	uint64_t connect_timeout_ms;
	uint64_t login_timeout_ms;
	unsigned references;
};

/* backend_new copies what the configuration says; backend_new_at makes one for the address of a
 * URL, without ID since nothing says that it is trusted. NULL when memory ran out; otherwise the
 * caller owns one reference. */
must_use struct backend *backend_new(const struct config_backend *config);
must_use struct backend *backend_new_at(const struct endpoint *address);

struct backend *backend_ref(struct backend *backend);
void backend_unref(struct backend *backend);

#endif
