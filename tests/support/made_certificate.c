/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates made on the spot.
 */
#include "support/made_certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
#include <openssl/x509.h>
#include <openssl/x509v3.h>

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

static EVP_PKEY *make_key(enum made_key kind)
{
	static const int curves[] = {
		[MADE_P256] = NID_X9_62_prime256v1,
		[MADE_P384] = NID_secp384r1,
		[MADE_P521] = NID_secp521r1,
		[MADE_P224] = NID_secp224r1,
	};
	EVP_PKEY *key;

	if (kind == MADE_ED25519) {
		uint8_t public[32];
		uint8_t private[64];

		ED25519_keypair(public, private);
		key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private, 32);
		assert_non_null(key);
		return key;
	}
	key = EVP_PKEY_new();
	if (kind == MADE_RSA) {
		make_rsa(key);
	} else {
		make_ec(key, curves[kind]);
	}
	return key;
}

static void add_extension(X509 *certificate, int kind, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_nconf_nid(NULL, &context, kind, (char *)value);
	assert_non_null(extension);
	assert_true(X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

static void set_name(X509 *certificate, const char *common)
{
	assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN",
					       MBSTRING_UTF8, (const uint8_t *)common,
					       (int)strlen(common), -1, 0));
}

void made_make(struct made_certificate *made, const struct made_settings *settings)
{
	const struct made_certificate *issuer = settings->issuer != NULL ? settings->issuer : made;
	X509 *certificate = X509_new();
	const EVP_MD *digest;

	made->key = make_key(settings->key);
	made->certificate = certificate;
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), settings->serial);
	X509_gmtime_adj(X509_get_notBefore(certificate), -7200);
	X509_gmtime_adj(X509_get_notAfter(certificate), settings->end != 0 ? settings->end : 3600);
	set_name(certificate, settings->common != NULL ? settings->common : "made");
	assert_true(X509_set_issuer_name(certificate, X509_get_subject_name(issuer->certificate)));
	assert_true(X509_set_pubkey(certificate, made->key));
	if (settings->names != NULL) {
		add_extension(certificate, NID_subject_alt_name, settings->names);
	}
	if (settings->usage != NULL) {
		add_extension(certificate, NID_ext_key_usage, settings->usage);
	}
	if (settings->authority) {
		add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
	}
	digest = EVP_PKEY_id(issuer->key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
	assert_true(X509_sign(certificate, issuer->key, digest) > 0);
}

static void write_key(const struct made_certificate *made, const char *path,
		      const EVP_CIPHER *cipher)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(PEM_write_PrivateKey(file, made->key, cipher, (uint8_t *)"secret",
					 cipher != NULL ? 6 : 0, NULL, NULL));
	fclose(file);
}

void made_write(const struct made_certificate *made, const char *chain, const char *key)
{
	if (chain != NULL) {
		FILE *file = fopen(chain, "w");

		assert_non_null(file);
		assert_true(PEM_write_X509(file, made->certificate));
		fclose(file);
	}
	if (key != NULL) {
		write_key(made, key, NULL);
	}
}

void made_write_encrypted(const struct made_certificate *made, const char *key)
{
	write_key(made, key, EVP_aes_256_cbc());
}

void made_done(struct made_certificate *made)
{
	EVP_PKEY_free(made->key);
	X509_free(made->certificate);
	*made = (struct made_certificate){0};
}
