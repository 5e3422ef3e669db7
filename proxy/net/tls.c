/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards clients: builds the immutable context that all workers share.
 */
#include "net/tls.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "core/config.h"

#ifndef OPENSSL_IS_BORINGSSL
#error "gatepost is built against BoringSSL; these headers are another library's"
#endif

/* TLS 1.2: RFC 9325 section 4.2. In brackets the client's order decides, which is how phones
 * without AES hardware get ChaCha20. TLS 1.3 suites are all good and not configurable. */
static const char cipher_policy[] = "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
				    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
				    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/* Sessions are resumed only by contexts that carry the same words (RFC 8446 section 8.1). */
static const uint8_t session_context[] = "gatepost imap";

static const uint8_t alpn_imap[] = "\x04imap";

/* The system's own error ("No such file or directory") is the first of several. One whose reason is
 * another part of the library ("PEM routines") tells people nothing. */
static const char *reason_of_failure(void)
{
	uint32_t first = ERR_peek_error();
	uint32_t last = ERR_peek_last_error();

	if (ERR_GET_LIB(first) == ERR_LIB_SYS) {
		return ERR_reason_error_string(first);
	}
	if (last == 0 || ERR_GET_REASON(last) < ERR_NUM_LIBS) {
		return NULL;
	}
	return ERR_reason_error_string(last);
}

void tls_error_set(struct error *error, const char *otherwise)
{
	const char *reason = reason_of_failure();

	error_set(error, "%s", reason != NULL ? reason : otherwise);
	ERR_clear_error();
}

const char *tls_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static int select_alpn(SSL *tls, const uint8_t **out, uint8_t *out_length, const uint8_t *offered,
		       unsigned offered_length, void *unused)
{
	uint8_t *selected;
	int outcome;

	(void)tls;
	(void)unused;
	outcome = SSL_select_next_proto(&selected, out_length, alpn_imap, sizeof(alpn_imap) - 1,
					offered, offered_length);
	if (outcome != OPENSSL_NPN_NEGOTIATED) {
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*out = selected;
	return SSL_TLSEXT_ERR_OK;
}

static bool set_policy(SSL_CTX *context, const struct config_tls_front *config)
{
	uint16_t lowest = config->min_version == CONFIG_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	if (!config->tickets) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	}
	if (config->alpn) {
		SSL_CTX_set_alpn_select_cb(context, select_alpn, NULL);
	}
	return SSL_CTX_set_min_proto_version(context, lowest) &&
	       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
	       SSL_CTX_set_strict_cipher_list(context, cipher_policy) &&
	       SSL_CTX_set_num_tickets(context, 1) &&
	       SSL_CTX_set_session_id_context(context, session_context,
					      sizeof(session_context) - 1);
}

static enum tls_load load_certificate(SSL_CTX *context,
				      const struct config_certificate *certificate,
				      struct error *error)
{
	if (!SSL_CTX_use_certificate_chain_file(context, certificate->chain)) {
		tls_error_set(error, "not a PEM certificate chain");
		error_prefix(error, certificate->chain);
		return TLS_BAD_CHAIN;
	}
	if (!SSL_CTX_use_PrivateKey_file(context, certificate->key, SSL_FILETYPE_PEM)) {
		int reason = ERR_GET_REASON(ERR_peek_last_error());
		bool mismatch =
			reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH;

		tls_error_set(error, "not a PEM private key");
		if (mismatch) {
			error_set(error, "this key does not belong to the certificate %s",
				  certificate->chain);
		}
		error_prefix(error, certificate->key);
		return TLS_BAD_KEY;
	}
	return TLS_LOADED;
}

enum tls_load tls_check_certificate(const struct config_certificate *certificate,
				    struct error *error)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	enum tls_load outcome;

	if (context == NULL) {
		error_set(error, "out of memory");
		return TLS_BAD_CHAIN;
	}
	ERR_clear_error();
	outcome = load_certificate(context, certificate, error);
	SSL_CTX_free(context);
	return outcome;
}

struct ssl_ctx_st *tls_context_new(const struct config_tls_front *config, struct error *error)
{
	SSL_CTX *context;

	invariant(config->certificate_count == 1);
	ERR_clear_error();
	context = SSL_CTX_new(TLS_method());
	if (context == NULL || !set_policy(context, config)) {
		tls_error_set(error, "cannot set up TLS");
		tls_context_free(context);
		return NULL;
	}
	if (load_certificate(context, &config->certificates[0], error) != TLS_LOADED) {
		tls_context_free(context);
		return NULL;
	}
	return context;
}

void tls_context_free(struct ssl_ctx_st *context)
{
	SSL_CTX_free(context);
}
