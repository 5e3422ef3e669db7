/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends and their references. A worker's own: no locks.
 */
#include "routing/backend.h"

#include <stdlib.h>
#include <string.h>

#include "core/config.h"

static struct backend *make(const char *name, const struct endpoint *address)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	if (backend == NULL) {
		return NULL;
	}
	backend->references = 1;
	backend->name = strdup(name);
	if (backend->name == NULL || !endpoint_copy(&backend->address, address)) {
		backend_unref(backend);
		return NULL;
	}
	return backend;
}

struct backend *backend_new(const struct config_backend *config)
{
	struct backend *backend = make(config->name, &config->address);

	if (backend != NULL) {
		backend->send_id = config->send_id;
		backend->ask_capability = config->ask_capability;
		backend->connect_timeout_ms = config->connect_timeout_ms;
		backend->login_timeout_ms = config->login_timeout_ms;
	}
	return backend;
}

struct backend *backend_new_at(const struct endpoint *address)
{
	char name[ENDPOINT_TEXT_MAX];
	struct backend *backend;

	endpoint_format(address, name);
	backend = make(name, address);
	if (backend != NULL) {
		backend->ask_capability = true;
		backend->connect_timeout_ms = BACKEND_CONNECT_TIMEOUT_MS;
		backend->login_timeout_ms = BACKEND_LOGIN_TIMEOUT_MS;
	}
	return backend;
}

struct backend *backend_ref(struct backend *backend)
{
	backend->references++;
	return backend;
}

void backend_unref(struct backend *backend)
{
	if (backend == NULL) {
		return;
	}
	invariant(backend->references > 0);
	if (--backend->references > 0) {
		return;
	}
	endpoint_done(&backend->address);
	free(backend->name);
	free(backend);
}
