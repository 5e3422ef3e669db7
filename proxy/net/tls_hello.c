/* SPDX-License-Identifier: Apache-2.0
 *
 * What a ClientHello says about names, keys and stapling. The library judges its form later, and
 * ends the handshake where it is bad; here, what cannot be read was not said.
 */
#include "tls_internal.h"

#include <string.h>

#include "base/text.h"

static bool find(const SSL_CLIENT_HELLO *client, uint16_t type, CBS *content)
{
	const uint8_t *bytes;
	size_t length;

	if (!SSL_early_callback_ctx_extension_get(client, type, &bytes, &length)) {
		return false;
	}
	CBS_init(content, bytes, length);
	return true;
}

/* An extension that is one list of two-byte numbers. */
static void find_numbers(const SSL_CLIENT_HELLO *client, uint16_t type, CBS *numbers)
{
	CBS content;

	if (!find(client, type, &content) || !CBS_get_u16_length_prefixed(&content, numbers)) {
		CBS_init(numbers, NULL, 0);
	}
}

static bool contains(CBS numbers, uint16_t wanted)
{
	uint16_t number;

	while (CBS_get_u16(&numbers, &number)) {
		if (number == wanted) {
			return true;
		}
	}
	return false;
}

static bool contains_any(CBS numbers, const uint16_t *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (contains(numbers, wanted[i])) {
			return true;
		}
	}
	return false;
}

/* RFC 6066 section 3; there is one type of name, and one name. */
static void read_name(struct tls_hello *hello, const SSL_CLIENT_HELLO *client)
{
	CBS content;
	CBS list;
	CBS name;
	uint8_t type;
	size_t length;

	if (!find(client, TLSEXT_TYPE_server_name, &content) ||
	    !CBS_get_u16_length_prefixed(&content, &list) || !CBS_get_u8(&list, &type) ||
	    type != TLSEXT_NAMETYPE_host_name || !CBS_get_u16_length_prefixed(&list, &name)) {
		return;
	}
	length = CBS_len(&name);
	if (length > 0 && CBS_data(&name)[length - 1] == '.') {
		length--;
	}
	if (length <= TLS_NAME_MAX && memchr(CBS_data(&name), '\0', length) == NULL) {
		memcpy(hello->name, CBS_data(&name), length);
		hello->name[length] = '\0';
		text_lower(hello->name);
	}
}

static bool offers_tls13(const SSL_CLIENT_HELLO *client)
{
	CBS content;
	CBS versions;

	return find(client, TLSEXT_TYPE_supported_versions, &content) &&
	       CBS_get_u8_length_prefixed(&content, &versions) &&
	       contains(versions, TLS1_3_VERSION);
}

void tls_hello_read(struct tls_hello *hello, const SSL_CLIENT_HELLO *client)
{
	CBS status;

	*hello = (struct tls_hello){0};
	read_name(hello, client);
	hello->tls13 = offers_tls13(client);
	hello->wants_staple = find(client, TLSEXT_TYPE_status_request, &status);
	CBS_init(&hello->ciphers, client->cipher_suites, client->cipher_suites_len);
	find_numbers(client, TLSEXT_TYPE_signature_algorithms, &hello->signatures);
	find_numbers(client, TLSEXT_TYPE_supported_groups, &hello->groups);
}

static bool verifies_rsa(const struct tls_hello *hello)
{
	static const uint16_t pss[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384,
				       SSL_SIGN_RSA_PSS_RSAE_SHA512};
	static const uint16_t pkcs1[] = {SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_RSA_PKCS1_SHA384,
					 SSL_SIGN_RSA_PKCS1_SHA512};
	/* AES-128-GCM, ChaCha20-Poly1305, AES-256-GCM: what TLS_CIPHER_POLICY names. */
	static const uint16_t suites[] = {0xc02f, 0xcca8, 0xc030};
	bool modern = contains_any(hello->signatures, pss, array_length(pss));

	if (hello->tls13) {
		return modern;
	}
	return contains_any(hello->ciphers, suites, array_length(suites)) &&
	       (modern || contains_any(hello->signatures, pkcs1, array_length(pkcs1)));
}

/* In TLS 1.3 an algorithm stands for its curve as well (RFC 8446 section 4.2.3). Before, it stands
 * for its hash alone, and the curve is one of the groups (RFC 8422 section 5.1). */
static bool verifies_ecdsa(const struct tls_hello *hello, uint16_t algorithm, uint16_t group)
{
	static const uint16_t hashes[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256,
					  SSL_SIGN_ECDSA_SECP384R1_SHA384,
					  SSL_SIGN_ECDSA_SECP521R1_SHA512};

	if (hello->tls13) {
		return contains(hello->signatures, algorithm);
	}
	return contains(hello->groups, group) &&
	       contains_any(hello->signatures, hashes, array_length(hashes));
}

static bool has_ecdsa_suite(const struct tls_hello *hello)
{
	static const uint16_t suites[] = {0xc02b, 0xcca9, 0xc02c};

	return hello->tls13 || contains_any(hello->ciphers, suites, array_length(suites));
}

bool tls_hello_verifies(const struct tls_hello *hello, enum tls_key key)
{
	if (key == TLS_KEY_RSA) {
		return verifies_rsa(hello);
	}
	if (!has_ecdsa_suite(hello)) {
		return false;
	}
	switch (key) {
	case TLS_KEY_P256:
		return verifies_ecdsa(hello, SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_CURVE_SECP256R1);
	case TLS_KEY_P384:
		return verifies_ecdsa(hello, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_CURVE_SECP384R1);
	case TLS_KEY_P521:
		return verifies_ecdsa(hello, SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_CURVE_SECP521R1);
	default:
		return contains(hello->signatures, SSL_SIGN_ED25519);
	}
}
