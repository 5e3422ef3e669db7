/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends and their references. A worker's own: no locks.
 */
#include "routing/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "imap/sasl.h"
#include "net/stream.h"
#include "routing/member.h"

#define SAME_USER "{user}"

/* Whom the certificate of a host must name: no final dot, which is DNS and no part of the name (RFC
 * 6066 section 3). */
static char *host_of(const struct endpoint *address)
{
	char ip[ADDR_IP_TEXT_MAX];
	size_t length;

	switch (address->kind) {
	case ENDPOINT_IP:
		addr_format_ip(&address->ip, ip);
		return strdup(ip);
	case ENDPOINT_NAME:
		length = strlen(address->name);
		while (length > 0 && address->name[length - 1] == '.') {
			length--;
		}
		return strndup(address->name, length);
	default:
		return strdup("");
	}
}

static bool copy_text(char **to, const char *from)
{
	*to = strdup(from);
	return *to != NULL;
}

/* A backend with all that both kinds have; NULL when memory ran out. */
static struct backend *make(const char *name, const struct endpoint *address, enum config_tls tls,
			    struct tls_client *tls_client)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	if (backend == NULL) {
		return NULL;
	}
	backend->references = 1;
	backend->tls = tls;
	backend->tls_client = tls != CONFIG_TLS_NONE ? tls_client : NULL;
	if (!copy_text(&backend->name, name) || !endpoint_copy(&backend->address, address)) {
		backend_unref(backend);
		return NULL;
	}
	return backend;
}

static bool copy_config(struct backend *backend, const struct config_backend *config)
{
	const struct secret *password = &config->master_password;

	backend->send_proxy = config->send_proxy;
	backend->send_id = config->send_id;
	backend->ask_capability = config->ask_capability;
	backend->login = config->login;
	backend->connect_timeout_ms = config->connect_timeout_ms;
	backend->login_timeout_ms = config->login_timeout_ms;
	backend->server_name = config->server_name[0] != '\0' ? strdup(config->server_name)
							      : host_of(&backend->address);
	return backend->server_name != NULL && copy_text(&backend->user, config->user) &&
	       copy_text(&backend->master_user, config->master_user) &&
	       (password->length == 0 ||
		secret_set(&backend->master_password, password->bytes, password->length));
}

struct backend *backend_new(const struct config_backend *config, struct tls_client *tls_client)
{
	struct backend *backend = make(config->name, &config->address, config->tls, tls_client);

	if (backend != NULL && !copy_config(backend, config)) {
		backend_unref(backend);
		return NULL;
	}
	return backend;
}

struct backend *backend_new_of(const struct config_backend *config, struct member *member,
			       struct tls_client *tls_client)
{
	struct backend *backend = make(member->name, &member->address, config->tls, tls_client);

	if (backend == NULL) {
		return NULL;
	}
	backend->member = member_ref(member);
	if (!copy_config(backend, config)) {
		backend_unref(backend);
		return NULL;
	}
	return backend;
}

struct backend *backend_new_at(const struct endpoint *address, enum config_tls tls,
			       struct tls_client *tls_client)
{
	char name[sizeof("imaps://") + ENDPOINT_TEXT_MAX];
	char where[ENDPOINT_TEXT_MAX];
	struct backend *backend;

	endpoint_format(address, where);
	snprintf(name, sizeof(name), "%s://%s", tls == CONFIG_TLS_IMPLICIT ? "imaps" : "imap",
		 where);
	backend = make(name, address, tls, tls_client);
	if (backend == NULL) {
		return NULL;
	}
	backend->ask_capability = true;
	backend->connect_timeout_ms = BACKEND_CONNECT_TIMEOUT_MS;
	backend->login_timeout_ms = BACKEND_LOGIN_TIMEOUT_MS;
	backend->server_name = host_of(address);
	if (backend->server_name == NULL || !copy_text(&backend->user, SAME_USER) ||
	    !copy_text(&backend->master_user, "")) {
		backend_unref(backend);
		return NULL;
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
	member_unref(backend->member);
	endpoint_done(&backend->address);
	tls_session_done(&backend->tls_session);
	secret_done(&backend->master_password);
	free(backend->server_name);
	free(backend->user);
	free(backend->master_user);
	free(backend->name);
	free(backend);
}

enum write_form backend_form(const struct backend *backend)
{
	switch (backend->login) {
	case CONFIG_LOGIN_LOGIN:
		return WRITE_LOGIN;
	case CONFIG_LOGIN_PLAIN:
		return WRITE_PLAIN;
	default:
		return WRITE_BEST;
	}
}

bool backend_start_tls(struct backend *backend, struct stream *stream, struct error *error)
{
	struct tls_peer peer = {
		.client = backend->tls_client,
		.name = backend->server_name,
		.session = &backend->tls_session,
	};

	if (peer.client == NULL) {
		return error_set(error, "no authority is known to verify the backend by");
	}
	return stream_start_tls_client(stream, &peer) || error_set(error, "out of memory");
}

bool backend_learn(struct backend *backend, const struct capability_offer *offer)
{
	unsigned mechanisms = offer->mechanisms;

	if (!offer->known) {
		return false;
	}
	/* What a client signs holds the name that it typed, and cannot be written anew. */
	if (strcmp(backend->user, SAME_USER) != 0) {
		mechanisms &= ~SASL_EXCHANGES;
	}
	if (backend->offer.known && backend->offer.mechanisms == mechanisms &&
	    strcmp(backend->offer.atoms, offer->atoms) == 0) {
		return false;
	}
	backend->offer = *offer;
	backend->offer.mechanisms = mechanisms;
	return true;
}
