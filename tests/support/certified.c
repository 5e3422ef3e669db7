/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates as a test wishes them.
 */
#include "support/certified.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/cipher.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/addr.h"

static void make_rsa(EVP_PKEY *key)
{
	RSA *pair = RSA_new();
	BIGNUM *exponent = BN_new();

	assert_true(BN_set_word(exponent, RSA_F4));
	assert_true(RSA_generate_key_ex(pair, 2048, exponent, NULL));
	assert_true(EVP_PKEY_assign_RSA(key, pair));
	BN_free(exponent);
}

static void make_ec(EVP_PKEY *key, int curve)
{
	EC_KEY *pair = EC_KEY_new_by_curve_name(curve);

	assert_true(EC_KEY_generate_key(pair));
	assert_true(EVP_PKEY_assign_EC_KEY(key, pair));
}

static EVP_PKEY *make_key(enum certified_key kind)
{
	static const int curves[] = {
		[CERTIFIED_P256] = NID_X9_62_prime256v1,
		[CERTIFIED_P384] = NID_secp384r1,
		[CERTIFIED_P521] = NID_secp521r1,
		[CERTIFIED_P224] = NID_secp224r1,
	};
	EVP_PKEY *key;

	if (kind == CERTIFIED_ED25519) {
		uint8_t public[32];
		uint8_t private[64];

		ED25519_keypair(public, private);
		key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private, 32);
		assert_non_null(key);
		return key;
	}
	key = EVP_PKEY_new();
	if (kind == CERTIFIED_RSA) {
		make_rsa(key);
	} else {
		make_ec(key, curves[kind]);
	}
	return key;
}

/* Unlike MBSTRING_UTF8 this may be empty. */
static void add_common_name(X509 *certificate, const char *name)
{
	assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN",
					       V_ASN1_UTF8STRING, (const uint8_t *)name, -1, -1,
					       0));
}

static GENERAL_NAME *make_name(const char *text, size_t length)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	struct addr ip;
	ASN1_STRING *value;

	if (addr_parse(&ip, text, 0)) {
		bool is_v4 = ip.family == AF_INET;

		value = ASN1_OCTET_STRING_new();
		assert_true(ASN1_STRING_set(
			value, is_v4 ? (void *)&ip.v4.sin_addr : (void *)&ip.v6.sin6_addr,
			is_v4 ? 4 : 16));
		GENERAL_NAME_set0_value(name, GEN_IPADD, value);
		return name;
	}
	value = ASN1_IA5STRING_new();
	assert_true(ASN1_STRING_set(value, text, (int)length));
	GENERAL_NAME_set0_value(name, memchr(text, '@', length) != NULL ? GEN_EMAIL : GEN_DNS,
				value);
	return name;
}

static void add_names(X509 *certificate, const struct certified_wish *wish)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

	for (size_t i = 0; i < CERTIFIED_NAMES_MAX && wish->names[i] != NULL; i++) {
		size_t length = i == 0 && wish->name_length != 0 ? wish->name_length
								 : strlen(wish->names[i]);

		assert_true(sk_GENERAL_NAME_push(names, make_name(wish->names[i], length)));
	}
	if (sk_GENERAL_NAME_num(names) > 0) {
		assert_true(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0));
	}
	GENERAL_NAMES_free(names);
}

static void add_purpose(X509 *certificate, const struct certified_wish *wish)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();

	constraints->ca = wish->authority ? 0xff : 0;
	assert_true(X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints, 1, 0));
	BASIC_CONSTRAINTS_free(constraints);
	if (wish->for_clients) {
		assert_true(sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_client_auth)));
	}
	if (wish->for_servers) {
		assert_true(sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_server_auth)));
	}
	if (sk_ASN1_OBJECT_num(usage) > 0) {
		assert_true(X509_add1_ext_i2d(certificate, NID_ext_key_usage, usage, 0, 0));
	}
	sk_ASN1_OBJECT_free(usage);
}

void certified_make(struct certified *certified, const struct certified_wish *wish)
{
	static long serial = 1;
	const struct certified *issuer = wish->issuer != NULL ? wish->issuer : certified;
	X509 *certificate = X509_new();
	const EVP_MD *digest;

	certified->key = make_key(wish->key);
	certified->certificate = certificate;
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate),
			 wish->serial != 0 ? wish->serial : serial++);
	X509_gmtime_adj(X509_get_notBefore(certificate), wish->begins != 0 ? wish->begins : -3600);
	X509_gmtime_adj(X509_get_notAfter(certificate), wish->ends != 0 ? wish->ends : 3600);
	if (wish->common_name != NULL) {
		add_common_name(certificate, wish->common_name);
	}
	if (wish->common_name_2 != NULL) {
		add_common_name(certificate, wish->common_name_2);
	}
	add_names(certificate, wish);
	add_purpose(certificate, wish);
	assert_true(X509_set_issuer_name(certificate, X509_get_subject_name(issuer->certificate)));
	assert_true(X509_set_pubkey(certificate, certified->key));
	digest = EVP_PKEY_id(issuer->key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
	assert_true(X509_sign(certificate, issuer->key, digest) > 0);
}

void certified_done(struct certified *certified)
{
	EVP_PKEY_free(certified->key);
	X509_free(certified->certificate);
	*certified = (struct certified){0};
}

void certified_write(const struct certified *certified, const struct certified *issuer,
		     const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(PEM_write_X509(file, certified->certificate));
	if (issuer != NULL) {
		assert_true(PEM_write_X509(file, issuer->certificate));
	}
	fclose(file);
}

static void write_key(const struct certified *certified, const char *path, const EVP_CIPHER *cipher)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(PEM_write_PrivateKey(file, certified->key, cipher, (uint8_t *)"secret",
					 cipher != NULL ? 6 : 0, NULL, NULL));
	fclose(file);
}

void certified_write_key(const struct certified *certified, const char *path)
{
	write_key(certified, path, NULL);
}

void certified_write_key_encrypted(const struct certified *certified, const char *path)
{
	write_key(certified, path, EVP_aes_256_cbc());
}

struct ssl_ctx_st *certified_server(const struct certified *certified,
				    const struct certified *issuer, const struct certified *clients)
{
	static const uint8_t words[] = "test";
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	assert_non_null(context);
	assert_true(SSL_CTX_use_certificate(context, certified->certificate));
	assert_true(SSL_CTX_use_PrivateKey(context, certified->key));
	assert_true(SSL_CTX_set_session_id_context(context, words, sizeof(words)));
	if (issuer != NULL) {
		assert_true(SSL_CTX_add1_chain_cert(context, issuer->certificate));
	}
	if (clients != NULL) {
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
		assert_true(
			X509_STORE_add_cert(SSL_CTX_get_cert_store(context), clients->certificate));
	}
	return context;
}
