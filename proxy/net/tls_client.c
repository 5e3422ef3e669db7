/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards backends: builds the contexts that all workers share, and what one connection has of
 * them: whom it must reach, and the session that it tries to resume.
 */
#include "net/tls_client.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/addr.h"
#include "net/tls.h"
#include "tls_client_internal.h"
#include "tls_policy_internal.h"

struct tls_client {
	SSL_CTX *context;
	X509_STORE *authorities; /* NULL: nothing is verified */
};

/* struct tls_check lives as long as the handshake: `name` is whom `authorities` must have
 * certified, `why` is what they say against it. */
struct tls_check {
	X509_STORE *authorities;
	SSL_SESSION *offered; /* NULL: none */
	struct error why;
	char name[];
};

/* --- What the library asks ------------------------------------------------------------------ */

static struct tls_link *link_of(const SSL *tls)
{
	return BIO_get_data(SSL_get_rbio(tls));
}

static enum ssl_verify_result_t verify_peer(SSL *tls, uint8_t *alert)
{
	struct tls_check *check = link_of(tls)->check;

	if (check->authorities == NULL ||
	    tls_client_verify(check->authorities, check->name, SSL_get0_peer_certificates(tls),
			      alert, &check->why)) {
		return ssl_verify_ok;
	}
	return ssl_verify_invalid;
}

/* Called when the handshake is over, so for peers that were verified. */
static int keep_session(SSL *tls, SSL_SESSION *session)
{
	struct tls_session *place = link_of(tls)->session;

	if (place == NULL || place->refusals >= TLS_SESSION_REFUSALS_MAX ||
	    !SSL_SESSION_is_resumable(session)) {
		return 0;
	}
	SSL_SESSION_free(place->session);
	place->session = session;
	return 1;
}

/* --- Contexts ------------------------------------------------------------------------------- */

struct chain {
	CRYPTO_BUFFER *certificates[TLS_CLIENT_CHAIN_MAX];
	size_t count;
	bool too_long;
};

static void free_chain(struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		CRYPTO_BUFFER_free(chain->certificates[i]);
	}
}

static bool add_to_chain(void *context, X509 *certificate)
{
	struct chain *chain = context;
	uint8_t *bytes = NULL;
	CRYPTO_BUFFER *buffer;
	int length;

	if (chain->count == TLS_CLIENT_CHAIN_MAX) {
		chain->too_long = true;
		return false;
	}
	length = i2d_X509(certificate, &bytes);
	if (length <= 0) {
		return false;
	}
	buffer = CRYPTO_BUFFER_new(bytes, (size_t)length, NULL);
	OPENSSL_free(bytes);
	if (buffer == NULL) {
		return false;
	}
	chain->certificates[chain->count++] = buffer;
	return true;
}

static bool read_chain(struct chain *chain, const char *path, struct error *error)
{
	if (tls_client_read_certificates(path, add_to_chain, chain, error)) {
		return true;
	}
	if (chain->too_long) {
		error_set(error, "%s: more than %d certificates", path, TLS_CLIENT_CHAIN_MAX);
	}
	return false;
}

static EVP_PKEY *read_key(const char *path, struct error *error)
{
	EVP_PKEY *key;
	BIO *file;

	ERR_clear_error();
	file = BIO_new_file(path, "r");
	if (file == NULL) {
		tls_error_set(error, "cannot be opened");
		error_prefix(error, path);
		return NULL;
	}
	key = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);
	BIO_free(file);
	if (key == NULL) {
		ERR_clear_error();
		error_set(error, "%s: not a PEM private key", path);
	}
	return key;
}

static bool use_key(SSL_CTX *context, const struct chain *chain,
		    const struct tls_client_settings *settings, struct error *error)
{
	EVP_PKEY *key = read_key(settings->key, error);
	bool used;

	if (key == NULL) {
		return false;
	}
	used = SSL_CTX_set_chain_and_key(context, chain->certificates, chain->count, key, NULL);
	EVP_PKEY_free(key);
	if (!used) {
		ERR_clear_error();
		error_set(error, "%s: this key does not belong to the certificate %s",
			  settings->key, settings->chain);
	}
	return used;
}

static enum tls_client_fault
load_identity(SSL_CTX *context, const struct tls_client_settings *settings, struct error *error)
{
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct chain chain = {.count = 0};

	if (settings->chain[0] == '\0') {
		return TLS_CLIENT_FINE;
	}
	if (!read_chain(&chain, settings->chain, error)) {
		fault = TLS_CLIENT_CHAIN;
	} else if (!use_key(context, &chain, settings, error)) {
		fault = TLS_CLIENT_KEY;
	}
	free_chain(&chain);
	return fault;
}

static SSL_CTX *make_context(struct tls_client_trust *trust)
{
	SSL_CTX *context = SSL_CTX_new(TLS_with_buffers_method());

	if (context == NULL || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
	    !SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) ||
	    !SSL_CTX_set_strict_cipher_list(context, TLS_CIPHER_POLICY) ||
	    !tls_set_groups(context)) {
		SSL_CTX_free(context);
		return NULL;
	}
	SSL_CTX_set0_buffer_pool(context, tls_client_trust_pool(trust));
	SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER, verify_peer);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep_session);
	return context;
}

static enum tls_client_fault load(struct tls_client *client, struct tls_client_trust *trust,
				  const struct tls_client_settings *settings, struct error *error)
{
	const char *ca = settings->ca[0] != '\0' ? settings->ca : TLS_CLIENT_SYSTEM_CA;

	client->context = make_context(trust);
	if (client->context == NULL) {
		tls_error_set(error, "cannot set up TLS");
		return TLS_CLIENT_CA;
	}
	if (settings->verify) {
		client->authorities = tls_client_trust_store(trust, ca, error);
		if (client->authorities == NULL) {
			return TLS_CLIENT_CA;
		}
	}
	return load_identity(client->context, settings, error);
}

struct tls_client *tls_client_new(struct tls_client_trust *trust,
				  const struct tls_client_settings *settings,
				  enum tls_client_fault *fault, struct error *error)
{
	struct tls_client *client = calloc(1, sizeof(*client));
	enum tls_client_fault outcome;

	if (client == NULL) {
		*fault = TLS_CLIENT_CA;
		error_set(error, "out of memory");
		return NULL;
	}
	outcome = load(client, trust, settings, error);
	if (outcome != TLS_CLIENT_FINE) {
		*fault = outcome;
		tls_client_free(client);
		return NULL;
	}
	return client;
}

void tls_client_free(struct tls_client *client)
{
	if (client != NULL) {
		SSL_CTX_free(client->context);
		X509_STORE_free(client->authorities);
		free(client);
	}
}

void tls_session_done(struct tls_session *session)
{
	SSL_SESSION_free(session->session);
	session->session = NULL;
}

/* --- One connection ------------------------------------------------------------------------- */

static struct tls_check *make_check(const struct tls_peer *peer)
{
	size_t size = strlen(peer->name) + 1;
	struct tls_check *check = malloc(sizeof(*check) + size);

	if (check == NULL) {
		return NULL;
	}
	*check = (struct tls_check){.authorities = peer->client->authorities};
	memcpy(check->name, peer->name, size);
	/* A name may be written with the root's dot; certificates and SNI have none. */
	if (size > 2 && check->name[size - 2] == '.') {
		check->name[size - 2] = '\0';
	}
	if (check->authorities != NULL) {
		X509_STORE_up_ref(check->authorities);
	}
	return check;
}

static void free_check(struct tls_check *check)
{
	if (check != NULL) {
		SSL_SESSION_free(check->offered);
		X509_STORE_free(check->authorities);
		free(check);
	}
}

/* SNI has host names only (RFC 6066 section 3). */
static bool set_server_name(SSL *tls, const char *name)
{
	struct addr ip;

	return name[0] == '\0' || addr_parse(&ip, name, 0) || SSL_set_tlsext_host_name(tls, name);
}

/* RFC 8446 appendix C.4: a ticket that is shown twice tells who watches that both are ours. */
static SSL_SESSION *offer_session(SSL *tls, struct tls_session *place)
{
	SSL_SESSION *session = place != NULL ? place->session : NULL;

	if (session == NULL || !SSL_set_session(tls, session)) {
		return NULL;
	}
	SSL_SESSION_up_ref(session);
	if (SSL_SESSION_should_be_single_use(session)) {
		tls_session_done(place);
	}
	return session;
}

SSL *tls_link_begin(struct tls_link *link, const struct tls_peer *peer)
{
	struct tls_check *check = make_check(peer);
	SSL *tls = check != NULL ? SSL_new(peer->client->context) : NULL;

	if (tls == NULL || !set_server_name(tls, check->name)) {
		SSL_free(tls);
		free_check(check);
		return NULL;
	}
	SSL_set_connect_state(tls);
	check->offered = offer_session(tls, peer->session);
	*link = (struct tls_link){.session = peer->session, .check = check};
	return tls;
}

bool tls_link_offered(const struct tls_link *link)
{
	return link->check != NULL && link->check->offered != NULL;
}

/* A server that refused sessions may have learnt to take them since: now and then one more is
 * tried. */
static void count_handshake(struct tls_session *place, bool resumed)
{
	if (resumed) {
		place->refusals = 0;
	} else if (place->refusals >= TLS_SESSION_REFUSALS_MAX) {
		place->refusals++;
		if (place->refusals > TLS_SESSION_REFUSALS_MAX + TLS_SESSION_REST) {
			place->refusals = TLS_SESSION_REFUSALS_MAX - 1;
		}
	}
}

void tls_link_trust(struct tls_link *link, bool resumed)
{
	if (link->session != NULL) {
		count_handshake(link->session, resumed);
	}
	free_check(link->check);
	link->check = NULL;
}

/* Several handshakes may offer one session, and a server that goes away ends them all: it counts
 * once, and what another has brought since stays. */
static void count_refusal(struct tls_session *place, const SSL_SESSION *offered)
{
	if (place->session == offered) {
		tls_session_done(place);
		place->refusals++;
	} else if (SSL_SESSION_should_be_single_use(offered)) {
		place->refusals++;
	}
}

void tls_link_fail(struct tls_link *link, struct error *why)
{
	struct tls_check *check = link->check;

	if (check == NULL) {
		return; /* a server */
	}
	if (check->why.text[0] != '\0') {
		*why = check->why;
	}
	if (check->offered != NULL) {
		count_refusal(link->session, check->offered);
	}
}

void tls_link_leave(struct tls_link *link)
{
	if (tls_link_offered(link) && link->session->session == link->check->offered) {
		tls_session_done(link->session);
	}
}

void tls_link_done(struct tls_link *link)
{
	free_check(link->check);
	*link = (struct tls_link){0};
}
