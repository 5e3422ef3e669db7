/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a client is by its certificate. The handshake has verified the certificate, or that of the
 * session which it resumed did; here it is only read, and what could be taken for two names, or for
 * something else than a name, is none.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "net/stream.h"

static bool write_user(char user[STREAM_CERTIFIED_USER_MAX + 1], const uint8_t *bytes, int length)
{
	if (length < 1 || length > STREAM_CERTIFIED_USER_MAX ||
	    text_has_control(bytes, (size_t)length) || !text_is_utf8(bytes, (size_t)length)) {
		return false;
	}
	memcpy(user, bytes, (size_t)length);
	user[length] = '\0';
	return true;
}

static const ASN1_STRING *only_email(const GENERAL_NAMES *names)
{
	const ASN1_STRING *found = NULL;

	for (size_t i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_EMAIL && found != NULL) {
			return NULL;
		}
		if (name->type == GEN_EMAIL) {
			found = name->d.rfc822Name;
		}
	}
	return found;
}

static bool read_email(char user[STREAM_CERTIFIED_USER_MAX + 1], X509 *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	const ASN1_STRING *email = only_email(names);
	bool outcome = email != NULL &&
		       write_user(user, ASN1_STRING_get0_data(email), ASN1_STRING_length(email));

	GENERAL_NAMES_free(names);
	return outcome;
}

static bool read_common_name(char user[STREAM_CERTIFIED_USER_MAX + 1], X509 *certificate)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int first = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	uint8_t *bytes = NULL;
	bool outcome;
	int length;

	if (first < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, first) >= 0) {
		return false;
	}
	length = ASN1_STRING_to_UTF8(&bytes,
				     X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, first)));
	outcome = write_user(user, bytes, length);
	OPENSSL_free(bytes);
	return outcome;
}

static X509 *certificate_of(const struct stream *stream)
{
	const STACK_OF(CRYPTO_BUFFER) *chain =
		stream->tls != NULL ? SSL_get0_peer_certificates(stream->tls) : NULL;

	if (chain == NULL || sk_CRYPTO_BUFFER_num(chain) == 0 ||
	    SSL_get_verify_result(stream->tls) != X509_V_OK) {
		return NULL;
	}
	return X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0));
}

/* A resumed session may outlive the certificate that it was made with. */
static bool is_current(X509 *certificate)
{
	return X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

static bool read_user(char user[STREAM_CERTIFIED_USER_MAX + 1], X509 *certificate,
		      enum config_client_name which)
{
	return which == CONFIG_CLIENT_NAME_EMAIL ? read_email(user, certificate)
						 : read_common_name(user, certificate);
}

bool stream_tls_certified_user(const struct stream *stream, enum config_client_name which,
			       char user[STREAM_CERTIFIED_USER_MAX + 1])
{
	X509 *certificate = certificate_of(stream);
	bool outcome;

	if (certificate == NULL) {
		ERR_clear_error();
		return false;
	}
	outcome = is_current(certificate) && read_user(user, certificate, which);
	X509_free(certificate);
	ERR_clear_error();
	return outcome;
}
