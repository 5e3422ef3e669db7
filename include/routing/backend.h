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
#include "base/error.h"
#include "base/secret.h"
#include "core/config.h"
#include "imap/capability.h"
#include "imap/write.h"
#include "net/tls_client.h"

struct member;
struct stream;

/* How a backend that only a URL in Redis names is spoken to: its timeouts, and no more. */
#define BACKEND_CONNECT_TIMEOUT_MS 5000
#define BACKEND_LOGIN_TIMEOUT_MS   30000

/* struct backend: read-only for sessions but for the references and the TLS session. */
struct backend {
	char *name; /* the member's, or scheme, host and port of the URL */
	struct endpoint address;
	struct member *member; /* one reference; NULL where it is none's */
	enum config_tls tls;
	struct tls_client *tls_client; /* borrowed; NULL where tls is none */
	char *server_name;             /* whom its certificate must name; "" for a Unix socket
					* where the configuration names nobody */
	struct tls_session tls_session;
	bool send_proxy;
	bool send_id;
	bool ask_capability;
	enum config_login login;
	char *user;        /* template of the users' names there */
	char *master_user; /* "" = none */
	struct secret master_password;
	uint64_t connect_timeout_ms;
	uint64_t login_timeout_ms;
	struct capability_offer offer; /* what it was last seen to offer before login */
	unsigned references;
};

/* backend_new copies what the configuration says; backend_new_of does so too, but for name and
 * address, which are the member's, of which it keeps a reference. A certificate must name the
 * configured server_name, or the host of the address. backend_new_at makes one for the address of a
 * URL, without ID or PROXY header since nothing says that it is trusted. `tls_client` is what it is
 * spoken to with where it has TLS, and is not looked at elsewhere. NULL when memory ran out;
 * otherwise the caller owns one reference. */
must_use struct backend *backend_new(const struct config_backend *config,
				     struct tls_client *tls_client);
must_use struct backend *backend_new_of(const struct config_backend *config, struct member *member,
					struct tls_client *tls_client);
must_use struct backend *backend_new_at(const struct endpoint *address, enum config_tls tls,
					struct tls_client *tls_client);

struct backend *backend_ref(struct backend *backend);
void backend_unref(struct backend *backend);

/* backend_form is how a password is said there. */
enum write_form backend_form(const struct backend *backend);

/* backend_start_tls makes an open stream to the backend TLS's client: `ready` or `failed` of the
 * stream follows. False, and `error`, when nobody could verify it or memory ran out. */
must_use bool backend_start_tls(struct backend *backend, struct stream *stream,
				struct error *error);

/* backend_learn keeps what the backend was just seen to offer; true when that is news. What is not
 * known is ignored. A backend that calls its users otherwise does not get exchanges, whatever it
 * offers: clients sign the name that they typed. */
bool backend_learn(struct backend *backend, const struct capability_offer *offer);

#endif
