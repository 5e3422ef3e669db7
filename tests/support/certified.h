/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates as a test wishes them, good ones and bad ones, made on the spot.
 */
#ifndef GATEPOST_TESTS_CERTIFIED_H
#define GATEPOST_TESTS_CERTIFIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_pkey_st;
struct ssl_ctx_st;
struct x509_st;

enum certified_key {
	CERTIFIED_P256,
	CERTIFIED_P384,
	CERTIFIED_P521,
	CERTIFIED_P224,
	CERTIFIED_ED25519,
	CERTIFIED_RSA,
};

/* struct certified is a key with its certificate. */
struct certified {
	struct evp_pkey_st *key;
	struct x509_st *certificate;
};

#define CERTIFIED_NAMES_MAX 6

/* struct certified_wish: `names` are alternative names, "a@b" an rfc822Name, an IP address an
 * iPAddress, others DNS names. It is valid for an hour around now, or where `begins` or `ends` is
 * set from and until so many seconds from now. */
struct certified_wish {
	enum certified_key key;
	long serial;                    /* 0: one that no other has */
	const struct certified *issuer; /* NULL: signed by itself */
	const char *common_name;        /* NULL: none */
	const char *common_name_2;
	const char *names[CERTIFIED_NAMES_MAX];
	size_t name_length; /* of the first, 0: up to its NUL */
	long begins;
	long ends;
	bool authority;
	bool for_clients; /* it may not be a server's */
	bool for_servers; /* nor a client's */
};

void certified_make(struct certified *certified, const struct certified_wish *wish);
void certified_done(struct certified *certified);

/* certified_write writes the certificate, followed by that of `issuer` where it is not NULL;
 * certified_write_key writes the key, certified_write_key_encrypted under a password. */
void certified_write(const struct certified *certified, const struct certified *issuer,
		     const char *path);
void certified_write_key(const struct certified *certified, const char *path);
void certified_write_key_encrypted(const struct certified *certified, const char *path);

/* certified_server is a context that shows the certificate, and that of `issuer` if not NULL. The
 * caller frees it. With `clients` it wants certificates that these have signed. */
struct ssl_ctx_st *certified_server(const struct certified *certified,
				    const struct certified *issuer,
				    const struct certified *clients);

#endif
