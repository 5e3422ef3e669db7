/* SPDX-License-Identifier: Apache-2.0
 *
 * The certificates of the front: one context each, and one that accepts and hands over to them when
 * the ClientHello is there.
 */
#include "tls_internal.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "core/config.h"
#include "net/ticket.h"

/* A session resumes only under the certificate and the policy that it was made with (RFC 8446
 * section 8.1): what tells them apart is digested into the context of sessions. */
static bool isolate_sessions(SSL_CTX *context, const struct config_tls_front *config,
			     const struct tls_clients *clients)
{
	static const char words[] = "gatepost imap";
	const uint8_t policy[] = {(uint8_t)config->min_version, clients->authorities != NULL};
	uint8_t leaf[SHA256_DIGEST_LENGTH];
	uint8_t whole[SHA256_DIGEST_LENGTH];
	SHA256_CTX digest;

	_Static_assert(sizeof(whole) <= SSL_MAX_SID_CTX_LENGTH, "it is the context of sessions");
	if (!X509_digest(SSL_CTX_get0_certificate(context), EVP_sha256(), leaf, NULL)) {
		return false;
	}
	SHA256_Init(&digest);
	SHA256_Update(&digest, words, sizeof(words));
	SHA256_Update(&digest, policy, sizeof(policy));
	SHA256_Update(&digest, clients->digest, sizeof(clients->digest));
	SHA256_Update(&digest, leaf, sizeof(leaf));
	SHA256_Final(whole, &digest);
	return SSL_CTX_set_session_id_context(context, whole, sizeof(whole)) == 1;
}

static SSL_CTX *new_context(const struct tls_store *store, const struct config_tls_front *config,
			    struct error *error)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	if (context == NULL || !tls_policy_set(context, config, &store->clients) ||
	    !ticket_keys_serve(store->tickets, context)) {
		tls_error_set(error, "cannot set up TLS");
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

static bool load(struct tls_store *store, const struct config_tls_front *config, size_t index,
		 struct error *error)
{
	const struct config_certificate *configured = &config->certificates[index];
	struct tls_certificate *certificate = &store->certificates[index];
	X509 *leaf;

	certificate->context = new_context(store, config, error);
	if (certificate->context == NULL ||
	    tls_load_certificate(certificate->context, configured, &certificate->key, error) !=
		    TLS_LOADED) {
		return false;
	}
	leaf = SSL_CTX_get0_certificate(certificate->context);
	if (!isolate_sessions(certificate->context, config, &store->clients) ||
	    !tls_names_add(&store->names, configured, leaf, index)) {
		return error_set(error, "out of memory");
	}
	return tls_staple_init(&certificate->staple, configured->ocsp, leaf, error);
}

/* Where no name fits, the first certificate serves, and those that have the same names: another
 * kind of key for the same. */
static void find_fallback(struct tls_store *store)
{
	const struct tls_name *names = store->names.names;
	size_t end;

	for (size_t i = 0; i < store->count; i++) {
		store->certificates[i].fallback = true;
	}
	for (size_t begin = 0; begin < store->names.count; begin = end) {
		const struct tls_name *run;
		bool of_first = names[begin].certificate == 0;

		end = begin + tls_names_find(&store->names, names[begin].text, &run);
		for (size_t i = 0, at = begin; i < store->count; i++) {
			bool has = at < end && names[at].certificate == i;

			while (at < end && names[at].certificate == i) {
				at++;
			}
			if (has != of_first) {
				store->certificates[i].fallback = false;
			}
		}
	}
}

static bool build(struct tls_store *store, const struct config_tls_front *config,
		  struct error *error)
{
	store->tickets = ticket_keys_new(config->ticket_lifetime_ms);
	store->certificates = calloc(config->certificate_count, sizeof(*store->certificates));
	if (store->tickets == NULL || store->certificates == NULL) {
		return error_set(error, "out of memory");
	}
	store->count = config->certificate_count;
	if (config->client_ca != NULL && config->client_ca[0] != '\0' &&
	    !tls_clients_load(&store->clients, config->client_ca, error)) {
		return false;
	}
	store->context = new_context(store, config, error);
	if (store->context == NULL) {
		return false;
	}
	SSL_CTX_set_app_data(store->context, store);
	SSL_CTX_set_select_certificate_cb(store->context, tls_on_hello);
	for (size_t i = 0; i < store->count; i++) {
		if (!load(store, config, i, error)) {
			return false;
		}
	}
	tls_names_sort(&store->names);
	find_fallback(store);
	tls_store_refresh(store);
	return true;
}

struct tls_store *tls_store_new(const struct config_tls_front *config, struct error *error)
{
	struct tls_store *store = calloc(1, sizeof(*store));

	invariant(config->certificate_count > 0);
	if (store == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	ERR_clear_error();
	pthread_mutex_init(&store->lock, NULL);
	if (!build(store, config, error)) {
		tls_store_free(store);
		return NULL;
	}
	return store;
}

struct ssl_ctx_st *tls_store_context(const struct tls_store *store)
{
	return store->context;
}

void tls_store_refresh(struct tls_store *store)
{
	ticket_keys_age(store->tickets);
	for (size_t i = 0; i < store->count; i++) {
		tls_staple_refresh(&store->certificates[i].staple, &store->lock);
	}
}

void tls_store_free(struct tls_store *store)
{
	if (store == NULL) {
		return;
	}
	for (size_t i = 0; i < store->count; i++) {
		SSL_CTX_free(store->certificates[i].context);
		tls_staple_done(&store->certificates[i].staple);
	}
	free(store->certificates);
	SSL_CTX_free(store->context);
	tls_names_done(&store->names);
	tls_clients_done(&store->clients);
	ticket_keys_free(store->tickets);
	pthread_mutex_destroy(&store->lock);
	free(store);
}
