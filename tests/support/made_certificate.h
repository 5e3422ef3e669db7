/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates made on the spot, as a test wants them.
 */
#ifndef GATEPOST_TESTS_MADE_CERTIFICATE_H
#define GATEPOST_TESTS_MADE_CERTIFICATE_H

#include <stdbool.h>

struct evp_pkey_st;
struct x509_st;

enum made_key { MADE_P256, MADE_P384, MADE_P521, MADE_P224, MADE_ED25519, MADE_RSA };

/* struct made_settings: zero is a certificate for a P-256 key that signed itself, good for an hour.
 */
struct made_settings {
	enum made_key key;
	const char *common; /* common name, NULL: "made" */
	const char *names;  /* subjectAltName as in "DNS:a.test,DNS:b.test", NULL: none */
	const char *usage;  /* extendedKeyUsage, NULL: none */
	long serial;
	const struct made_certificate *issuer; /* NULL: itself */
	bool authority;
	long end; /* seconds from now, 0: an hour */
};

struct made_certificate {
	struct evp_pkey_st *key;
	struct x509_st *certificate;
};

void made_make(struct made_certificate *made, const struct made_settings *settings);

/* made_write writes PEM files; either path may be NULL. made_write_encrypted writes the key under a
 * password. */
void made_write(const struct made_certificate *made, const char *chain, const char *key);
void made_write_encrypted(const struct made_certificate *made, const char *key);

void made_done(struct made_certificate *made);

#endif
