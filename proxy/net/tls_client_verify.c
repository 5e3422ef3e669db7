/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the peer whom we want? Its chain must lead to an authority and its certificate must name it.
 * Certificates are understood here for the time of one handshake only.
 */
#include "tls_client_internal.h"

#include <arpa/inet.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/addr.h"
#include "base/buffer.h"
#include "base/text.h"

/* Names of a wrong certificate that the log gets to see. */
#define NAMES_SHOWN 3

/* --- Words ---------------------------------------------------------------------------------- */

static void append_name(struct buffer *out, const GENERAL_NAME *name)
{
	char text[INET6_ADDRSTRLEN];
	const ASN1_STRING *string;

	if (name->type == GEN_DNS) {
		string = name->d.dNSName;
		text_append_printable(out, ASN1_STRING_get0_data(string),
				      (size_t)ASN1_STRING_length(string), ENDPOINT_HOST_MAX);
		return;
	}
	string = name->d.iPAddress;
	if (inet_ntop(ASN1_STRING_length(string) == 4 ? AF_INET : AF_INET6,
		      ASN1_STRING_get0_data(string), text, sizeof(text)) != NULL) {
		buffer_append_text(out, text);
	}
}

static bool is_of_server(const GENERAL_NAME *name)
{
	int length;

	if (name->type != GEN_IPADD) {
		return name->type == GEN_DNS;
	}
	length = ASN1_STRING_length(name->d.iPAddress);
	return length == 4 || length == 16;
}

static void append_names(struct buffer *out, const GENERAL_NAMES *names)
{
	size_t count = 0;

	for (size_t i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (!is_of_server(name)) {
			continue;
		}
		if (count < NAMES_SHOWN) {
			buffer_append_text(out, count > 0 ? ", " : "");
			append_name(out, name);
		}
		count++;
	}
	buffer_append_text(out, count == 0 ? "no host" : count > NAMES_SHOWN ? " and more" : "");
}

static void say_wrong_name(struct error *why, X509 *leaf, const char *wanted)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	struct buffer text = {0};

	append_names(&text, names);
	GENERAL_NAMES_free(names);
	error_set(why, "certificate names %.*s, not %s", (int)text.length,
		  (const char *)buffer_bytes(&text), wanted);
	buffer_done(&text);
}

/* The library's sentences, which administrators know from elsewhere. */
static void say_why(struct error *why, X509_STORE_CTX *context, const char *wanted)
{
	int reason = X509_STORE_CTX_get_error(context);
	int depth = X509_STORE_CTX_get_error_depth(context);

	if (reason == X509_V_ERR_HOSTNAME_MISMATCH || reason == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		say_wrong_name(why, X509_STORE_CTX_get0_cert(context), wanted);
	} else if (depth == 0) {
		error_set(why, "%s", X509_verify_cert_error_string(reason));
	} else {
		error_set(why, "%s (certificate %d of its chain)",
			  X509_verify_cert_error_string(reason), depth + 1);
	}
}

/* --- Verifying ------------------------------------------------------------------------------ */

/* An empty name would match any certificate. The common name is none (RFC 6125 section 6.4.4 lets
 * it count only where older certificates must be taken). */
static bool expect_name(X509_STORE_CTX *context, const char *name)
{
	X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
	struct addr ip;

	if (name[0] == '\0') {
		return false;
	}
	if (addr_parse(&ip, name, 0)) {
		return X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1;
	}
	X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
							    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return X509_VERIFY_PARAM_set1_host(parameters, name, strlen(name)) == 1;
}

static bool verify(X509_STORE_CTX *context, const char *name, uint8_t *alert, struct error *why)
{
	if (!X509_STORE_CTX_set_default(context, "ssl_server") || !expect_name(context, name)) {
		return error_set(why, "no name that its certificate could be verified for");
	}
	if (X509_verify_cert(context) == 1) {
		return true;
	}
	*alert = (uint8_t)SSL_alert_from_verify_result(X509_STORE_CTX_get_error(context));
	say_why(why, context, name);
	return false;
}

static bool parse_chain(STACK_OF(X509) * parsed, const STACK_OF(CRYPTO_BUFFER) * chain)
{
	for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); i++) {
		X509 *certificate = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));

		if (certificate == NULL) {
			return false;
		}
		if (!sk_X509_push(parsed, certificate)) {
			X509_free(certificate);
			return false;
		}
	}
	return sk_X509_num(parsed) > 0;
}

bool tls_client_verify(X509_STORE *authorities, const char *name,
		       const STACK_OF(CRYPTO_BUFFER) * chain, uint8_t *alert, struct error *why)
{
	STACK_OF(X509) *parsed = sk_X509_new_null();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	bool outcome = false;

	*alert = SSL_AD_BAD_CERTIFICATE;
	if (parsed == NULL || context == NULL || !parse_chain(parsed, chain)) {
		error_set(why, "a certificate of its chain cannot be read");
	} else if (!X509_STORE_CTX_init(context, authorities, sk_X509_value(parsed, 0), parsed)) {
		error_set(why, "out of memory");
	} else {
		outcome = verify(context, name, alert, why);
	}
	X509_STORE_CTX_free(context);
	sk_X509_pop_free(parsed, X509_free);
	ERR_clear_error();
	return outcome;
}
