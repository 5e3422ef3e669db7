/* SPDX-License-Identifier: Apache-2.0
 *
 * Which certificate answers a ClientHello.
 */
#include "tls_internal.h"

#include <stdio.h>
#include <string.h>

/* The certificates that may serve, best first by the order of asking: each is considered once. */
struct choice {
	const struct tls_store *store;
	const struct tls_hello *hello;
	struct tls_certificate *best;  /* of those that the client can verify */
	struct tls_certificate *first; /* of all */
};

static void consider(struct choice *choice, size_t index)
{
	struct tls_certificate *certificate = &choice->store->certificates[index];
	bool better = choice->best == NULL ||
		      (choice->best->key == TLS_KEY_RSA && certificate->key != TLS_KEY_RSA);

	if (choice->first == NULL) {
		choice->first = certificate;
	}
	if (better && tls_hello_verifies(choice->hello, certificate->key)) {
		choice->best = certificate;
	}
}

static void consider_name(struct choice *choice, const char *name)
{
	const struct tls_name *first;
	size_t count = tls_names_find(&choice->store->names, name, &first);

	for (size_t i = 0; i < count; i++) {
		consider(choice, first[i].certificate);
	}
}

/* A wildcard stands for one whole leftmost label (RFC 6125 section 6.4.3). */
static void consider_wildcard(struct choice *choice)
{
	const char *name = choice->hello->name;
	const char *dot = strchr(name, '.');
	char pattern[TLS_NAME_MAX + 2];

	if (dot != NULL && dot != name) {
		snprintf(pattern, sizeof(pattern), "*%s", dot);
		consider_name(choice, pattern);
	}
}

static void consider_fallback(struct choice *choice)
{
	for (size_t i = 0; i < choice->store->count; i++) {
		if (choice->store->certificates[i].fallback) {
			consider(choice, i);
		}
	}
}

struct tls_certificate *tls_select(const struct tls_store *store, const struct tls_hello *hello)
{
	struct choice choice = {.store = store, .hello = hello};

	if (hello->name[0] != '\0') {
		consider_name(&choice, hello->name);
		if (choice.best == NULL) {
			consider_wildcard(&choice);
		}
	}
	if (choice.first == NULL) {
		consider_fallback(&choice);
	}
	/* Where the client can verify none, the handshake fails, and says why. */
	return choice.best != NULL ? choice.best : choice.first;
}

/* The library copies the response, a few kilobytes, which is short enough to hold a lock. */
static bool staple(struct tls_store *store, const struct tls_certificate *certificate, SSL *tls)
{
	const CRYPTO_BUFFER *response;
	bool stapled = true;

	pthread_mutex_lock(&store->lock);
	response = certificate->staple.current;
	if (response != NULL) {
		stapled = SSL_set_ocsp_response(tls, CRYPTO_BUFFER_data(response),
						CRYPTO_BUFFER_len(response)) == 1;
	}
	pthread_mutex_unlock(&store->lock);
	return stapled;
}

enum ssl_select_cert_result_t tls_on_hello(const SSL_CLIENT_HELLO *client)
{
	struct tls_store *store = SSL_CTX_get_app_data(SSL_get_SSL_CTX(client->ssl));
	struct tls_certificate *certificate;
	struct tls_hello hello;

	tls_hello_read(&hello, client);
	certificate = tls_select(store, &hello);
	if (SSL_set_SSL_CTX(client->ssl, certificate->context) == NULL ||
	    (hello.wants_staple && !staple(store, certificate, client->ssl))) {
		return ssl_select_cert_error;
	}
	return ssl_select_cert_success;
}
