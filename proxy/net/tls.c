/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS: the policy of every context, and what the library has to say.
 */
#include "tls_internal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "core/config.h"
#include "tls_policy_internal.h"

#ifndef OPENSSL_IS_BORINGSSL
#error "gatepost is built against BoringSSL; these headers are another library's"
#endif

static const uint8_t alpn_imap[] = "\x04imap";

/* The library's own list without SHA-1 (RFC 9155), which it signs with for clients of TLS 1.2 that
 * name no algorithms. */
static const uint16_t signature_policy[] = {
	SSL_SIGN_ED25519,          SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
	SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384,
	SSL_SIGN_RSA_PKCS1_SHA384, SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA512,
	SSL_SIGN_RSA_PKCS1_SHA512,
};

bool tls_set_groups(struct ssl_ctx_st *context)
{
	bool set = SSL_CTX_set1_curves_list(context, "X25519MLKEM768:X25519:P-256:P-384") == 1;

	if (!set) {
		/* An older library, which does not know the first. */
		ERR_clear_error();
		set = SSL_CTX_set1_curves_list(context, "X25519:P-256:P-384") == 1;
	}
	return set;
}

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

static bool ask_clients(SSL_CTX *context, const struct tls_clients *clients)
{
	STACK_OF(X509_NAME) *names = SSL_dup_CA_list(clients->names);

	if (names == NULL) {
		return false;
	}
	X509_STORE_up_ref(clients->authorities);
	SSL_CTX_set_cert_store(context, clients->authorities);
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return true;
}

bool tls_policy_set(SSL_CTX *context, const struct config_tls_front *config,
		    const struct tls_clients *clients)
{
	uint16_t lowest = config->min_version == CONFIG_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (!config->tickets) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	}
	if (config->alpn) {
		SSL_CTX_set_alpn_select_cb(context, select_alpn, NULL);
	}
	return SSL_CTX_set_min_proto_version(context, lowest) &&
	       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
	       SSL_CTX_set_strict_cipher_list(context, TLS_CIPHER_POLICY) &&
	       tls_set_groups(context) &&
	       SSL_CTX_set_signing_algorithm_prefs(context, signature_policy,
						   array_length(signature_policy)) &&
	       SSL_CTX_set_num_tickets(context, 1) &&
	       (clients->authorities == NULL || ask_clients(context, clients));
}
