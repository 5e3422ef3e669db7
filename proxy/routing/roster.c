/* SPDX-License-Identifier: Apache-2.0
 *
 * The backends of one worker, one for each member of the pool. A worker's own: no locks.
 */
#include "roster_internal.h"

#include <stdlib.h>

#include "base/addr.h"
#include "core/config.h"
#include "imap/capability.h"
#include "routing/backend.h"
#include "routing/pool.h"

struct backend *roster_find(const struct roster *roster, const char *name)
{
	size_t index = pool_view_index(roster->view, name);

	return index < roster->view->count ? roster->backends[index] : NULL;
}

struct backend *roster_find_at(const struct roster *roster, const struct endpoint *address,
			       bool implicit_tls)
{
	for (size_t i = 0; i < roster->view->count; i++) {
		struct backend *backend = roster->backends[i];

		if (endpoint_equal(&backend->address, address) &&
		    (backend->tls == CONFIG_TLS_IMPLICIT) == implicit_tls) {
			return backend;
		}
	}
	return NULL;
}

bool roster_has(const struct roster *roster, const struct backend *backend)
{
	return backend->member != NULL && roster_find(roster, backend->name) == backend;
}

void roster_meet(const struct roster *roster, struct capability_offer *common)
{
	for (size_t i = 0; i < roster->view->count; i++) {
		capability_offer_meet(common, &roster->backends[i]->offer);
	}
}

/* --- Keeping in step ------------------------------------------------------------------------ */

/* The backend that the roster has of this very member, NULL where it has none. */
static struct backend *present(const struct roster *roster, const struct member *member)
{
	struct backend *backend = NULL;

	if (roster->view != NULL) {
		backend = roster_find(roster, member->name);
	}
	return backend != NULL && backend->member == member ? backend : NULL;
}

static struct backend *make(struct roster *roster, struct member *member)
{
	struct tls_client *const *clients = roster->tls_clients;
	struct backend *backend = backend_new_of(&roster->config->backends[member->config], member,
						 clients != NULL ? clients[member->config] : NULL);

	if (backend != NULL && !roster->events->joined(roster, backend)) {
		backend_unref(backend);
		return NULL;
	}
	return backend;
}

static void take_leave(struct roster *roster, struct backend *backend)
{
	roster->events->left(roster, backend);
	backend_unref(backend);
}

/* Those of a view that could not be completed, but for those that the roster has already. */
static void undo(struct roster *roster, const struct pool_view *view, struct backend **backends,
		 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (present(roster, view->members[i]) != backends[i]) {
			take_leave(roster, backends[i]);
		}
	}
	free(backends);
	pool_view_unref(view);
}

static void replace(struct roster *roster, const struct pool_view *view, struct backend **backends)
{
	struct roster old = *roster;

	roster->view = view;
	roster->backends = backends;
	for (size_t i = 0; old.view != NULL && i < old.view->count; i++) {
		if (present(roster, old.view->members[i]) != old.backends[i]) {
			take_leave(roster, old.backends[i]);
		}
	}
	pool_view_unref(old.view);
	free(old.backends);
}

bool roster_refresh(struct roster *roster)
{
	const struct pool_view *view;
	struct backend **backends;

	if (roster->view != NULL && roster->view->version == pool_version(roster->pool)) {
		return true;
	}
	view = pool_view(roster->pool);
	backends = calloc(view->count + 1, sizeof(struct backend *));
	if (backends == NULL) {
		pool_view_unref(view);
		return false;
	}
	for (size_t i = 0; i < view->count; i++) {
		backends[i] = present(roster, view->members[i]);
		if (backends[i] == NULL) {
			backends[i] = make(roster, view->members[i]);
		}
		if (backends[i] == NULL) {
			undo(roster, view, backends, i);
			return false;
		}
	}
	replace(roster, view, backends);
	return true;
}

void roster_done(struct roster *roster)
{
	for (size_t i = 0; roster->view != NULL && i < roster->view->count; i++) {
		backend_unref(roster->backends[i]);
	}
	pool_view_unref(roster->view);
	free(roster->backends);
	roster->view = NULL;
	roster->backends = NULL;
}
