/* SPDX-License-Identifier: Apache-2.0
 *
 * PEM files: chains with their keys, and the authorities of clients.
 */
#include "tls_internal.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "core/config.h"

/* --- Certificates ---------------------------------------------------------------------------- */

/* Nobody is at the terminal. */
static int no_password(char *password, int size, int writing, void *unused)
{
	(void)password;
	(void)size;
	(void)writing;
	(void)unused;
	return 0;
}

static bool ec_key(const EVP_PKEY *public, enum tls_key *key)
{
	const EC_KEY *pair = EVP_PKEY_get0_EC_KEY(public);

	switch (EC_GROUP_get_curve_name(EC_KEY_get0_group(pair))) {
	case NID_X9_62_prime256v1:
		*key = TLS_KEY_P256;
		return true;
	case NID_secp384r1:
		*key = TLS_KEY_P384;
		return true;
	case NID_secp521r1:
		*key = TLS_KEY_P521;
		return true;
	default:
		return false;
	}
}

static bool kind_of_key(const EVP_PKEY *public, enum tls_key *key)
{
	switch (EVP_PKEY_id(public)) {
	case EVP_PKEY_RSA:
		*key = TLS_KEY_RSA;
		return true;
	case EVP_PKEY_ED25519:
		*key = TLS_KEY_ED25519;
		return true;
	case EVP_PKEY_EC:
		return ec_key(public, key);
	default:
		return false;
	}
}

static bool is_reason(uint32_t code, int library, int reason)
{
	return ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason;
}

static void explain_key(const struct config_certificate *certificate, struct error *error)
{
	uint32_t first = ERR_peek_error();
	uint32_t last = ERR_peek_last_error();

	tls_error_set(error, "not a PEM private key");
	if (is_reason(last, ERR_LIB_X509, X509_R_KEY_VALUES_MISMATCH) ||
	    is_reason(last, ERR_LIB_X509, X509_R_KEY_TYPE_MISMATCH)) {
		error_set(error, "this key does not belong to the certificate %s",
			  certificate->chain);
	} else if (is_reason(first, ERR_LIB_PEM, PEM_R_BAD_PASSWORD_READ)) {
		error_set(error, "this key is encrypted; write it without a password");
	}
	error_prefix(error, certificate->key);
}

enum tls_load tls_load_certificate(SSL_CTX *context, const struct config_certificate *certificate,
				   enum tls_key *key, struct error *error)
{
	SSL_CTX_set_default_passwd_cb(context, no_password);
	if (!SSL_CTX_use_certificate_chain_file(context, certificate->chain)) {
		tls_error_set(error, "not a PEM certificate chain");
		error_prefix(error, certificate->chain);
		return TLS_BAD_CHAIN;
	}
	if (!SSL_CTX_use_PrivateKey_file(context, certificate->key, SSL_FILETYPE_PEM)) {
		explain_key(certificate, error);
		return TLS_BAD_KEY;
	}
	if (!kind_of_key(SSL_CTX_get0_privatekey(context), key)) {
		error_set(error, "%s: no RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key",
			  certificate->key);
		return TLS_BAD_KEY;
	}
	return TLS_LOADED;
}

/* --- Authorities of clients ------------------------------------------------------------------ */

static bool add_authority(struct tls_clients *clients, X509 *authority, SHA256_CTX *digest)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(authority));
	uint8_t one[SHA256_DIGEST_LENGTH];

	if (name == NULL || !sk_X509_NAME_push(clients->names, name)) {
		X509_NAME_free(name);
		return false;
	}
	return X509_STORE_add_cert(clients->authorities, authority) &&
	       X509_digest(authority, EVP_sha256(), one, NULL) &&
	       SHA256_Update(digest, one, sizeof(one));
}

/* The end of the file is a line that does not begin a certificate. */
static bool at_end(void)
{
	return is_reason(ERR_peek_last_error(), ERR_LIB_PEM, PEM_R_NO_START_LINE);
}

static bool read_authorities(struct tls_clients *clients, BIO *file)
{
	SHA256_CTX digest;
	X509 *authority;

	SHA256_Init(&digest);
	while ((authority = PEM_read_bio_X509(file, NULL, no_password, NULL)) != NULL) {
		bool added = add_authority(clients, authority, &digest);

		X509_free(authority);
		if (!added) {
			return false;
		}
	}
	SHA256_Final(clients->digest, &digest);
	return sk_X509_NAME_num(clients->names) > 0 && at_end();
}

bool tls_clients_load(struct tls_clients *clients, const char *path, struct error *error)
{
	BIO *file = BIO_new_file(path, "r");
	bool loaded;

	clients->authorities = X509_STORE_new();
	clients->names = sk_X509_NAME_new_null();
	loaded = file != NULL && clients->authorities != NULL && clients->names != NULL &&
		 read_authorities(clients, file);
	if (!loaded) {
		if (at_end()) {
			ERR_clear_error();
		}
		tls_error_set(error, "not a PEM file of certificates");
		error_prefix(error, path);
		tls_clients_done(clients);
	}
	BIO_free(file);
	ERR_clear_error();
	return loaded;
}

void tls_clients_done(struct tls_clients *clients)
{
	X509_STORE_free(clients->authorities);
	sk_X509_NAME_pop_free(clients->names, X509_NAME_free);
	*clients = (struct tls_clients){0};
}

/* --- Checks ---------------------------------------------------------------------------------- */

enum tls_load tls_check_certificate(const struct config_certificate *certificate,
				    struct error *error)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct tls_staple staple = {0};
	enum tls_load outcome;
	enum tls_key key;

	if (context == NULL) {
		error_set(error, "out of memory");
		return TLS_BAD_CHAIN;
	}
	ERR_clear_error();
	outcome = tls_load_certificate(context, certificate, &key, error);
	if (outcome == TLS_LOADED && !tls_staple_init(&staple, certificate->ocsp,
						      SSL_CTX_get0_certificate(context), error)) {
		outcome = TLS_BAD_OCSP;
	}
	if (outcome == TLS_LOADED) {
		tls_staple_refresh(&staple, &lock);
	}
	tls_staple_done(&staple);
	SSL_CTX_free(context);
	return outcome;
}

enum tls_load tls_check_client_ca(const char *path, struct error *error)
{
	struct tls_clients clients = {0};
	bool loaded;

	ERR_clear_error();
	loaded = tls_clients_load(&clients, path, error);
	tls_clients_done(&clients);
	return loaded ? TLS_LOADED : TLS_BAD_CLIENT_CA;
}
