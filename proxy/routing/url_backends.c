/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends by URL: a hash table, and a list from the least to the most recently asked for. The keys
 * come from the directory, which no client writes, so they need no secret in their hash.
 */
#include "url_backends_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Memory that runs out inside the table costs a place in it, no more. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/addr.h"
#include "imap/capability.h"
#include "routing/backend.h"

/* A digit for the TLS, a space, and the address. */
#define KEY_MAX (2 + ENDPOINT_TEXT_MAX)

struct url_backend {
	struct backend *backend;
	struct url_backend *prev;
	struct url_backend *next;
	UT_hash_handle hh;
	char key[];
};

static void write_key(char key[KEY_MAX], const struct endpoint *address, enum config_tls tls)
{
	key[0] = (char)('0' + tls);
	key[1] = ' ';
	endpoint_format(address, key + 2);
}

static void drop(struct url_backends *backends, struct url_backend *entry)
{
	invariant(backends->by_key != NULL);
	HASH_DEL(backends->by_key, entry);
	DL_DELETE(backends->oldest, entry);
	backend_unref(entry->backend);
	free(entry);
}

/* False when the table is full of backends that are in use. */
static bool make_room(struct url_backends *backends)
{
	struct url_backend *entry;

	if (HASH_COUNT(backends->by_key) < ROUTE_URL_BACKENDS_MAX) {
		return true;
	}
	DL_FOREACH(backends->oldest, entry)
	{
		if (entry->backend->references == 1) {
			drop(backends, entry);
			return true;
		}
	}
	return false;
}

/* Where it cannot be kept, it serves nevertheless. */
static void keep(struct url_backends *backends, const char *key, struct backend *backend)
{
	struct url_backend *entry;
	size_t length = strlen(key);

	if (!make_room(backends)) {
		return;
	}
	entry = calloc(1, sizeof(*entry) + length + 1);
	if (entry == NULL) {
		return;
	}
	memcpy(entry->key, key, length + 1);
	HASH_ADD_KEYPTR(hh, backends->by_key, entry->key, length, entry);
	if (entry->hh.tbl == NULL) {
		free(entry);
		return;
	}
	entry->backend = backend_ref(backend);
	DL_APPEND(backends->oldest, entry);
}

struct backend *url_backends_get(struct url_backends *backends, const struct endpoint *address,
				 enum config_tls tls, struct tls_client *tls_client)
{
	char key[KEY_MAX];
	struct url_backend *entry;
	struct backend *backend;

	write_key(key, address, tls);
	HASH_FIND_STR(backends->by_key, key, entry);
	if (entry != NULL) {
		DL_DELETE(backends->oldest, entry);
		DL_APPEND(backends->oldest, entry);
		return backend_ref(entry->backend);
	}
	backend = backend_new_at(address, tls, tls_client);
	if (backend != NULL) {
		keep(backends, key, backend);
	}
	return backend;
}

void url_backends_meet(const struct url_backends *backends, struct capability_offer *common)
{
	const struct url_backend *entry;

	DL_FOREACH(backends->oldest, entry)
	{
		capability_offer_meet(common, &entry->backend->offer);
	}
}

void url_backends_done(struct url_backends *backends)
{
	while (backends->oldest != NULL) {
		drop(backends, backends->oldest);
	}
}
