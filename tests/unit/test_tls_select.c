/* SPDX-License-Identifier: Apache-2.0
 *
 * Which certificate a client is shown: by its name, and by the kinds of keys that it can verify.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "../../proxy/net/tls_internal.h"
#include "base/base.h"
#include "support/tls_pair.h"

static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* --- Names ---------------------------------------------------------------------------------- */

enum { FIRST, FIRST_RSA, EXAMPLE_RSA, EXAMPLE, MAIL, COMMON, CONFIGURED, NAMED };

static struct tls_front front;
static struct tls_store *store;

static int begin_front(void **state)
{
	static char *names[] = {"Configured.Test.", "*.wild.TEST"};

	(void)state;
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"first.test", "*.first.test"}});
	tls_front_add(&front, &(struct certified_wish){.key = CERTIFIED_RSA,
						       .names = {"*.First.Test", "first.test"}});
	tls_front_add(&front,
		      &(struct certified_wish){.key = CERTIFIED_RSA, .names = {"*.example.test"}});
	tls_front_add(&front, &(struct certified_wish){.names = {"*.example.test", "shared.test"}});
	tls_front_add(&front,
		      &(struct certified_wish){.key = CERTIFIED_RSA,
					       .common_name = "first.test",
					       .names = {"mail.example.test", "127.0.0.1"}});
	tls_front_add(&front, &(struct certified_wish){.common_name = "Common.Test",
						       .names = {"127.0.0.1", "a@b.test"}});
	tls_front_add(&front, &(struct certified_wish){.names = {"unused.test"}});
	tls_front_add(&front, &(struct certified_wish){.common_name = "unused.test",
						       .names = {"first.test", "f*.part.test"}});
	front.certificates[CONFIGURED].names.texts = names;
	front.certificates[CONFIGURED].names.count = array_length(names);
	store = tls_store_new(&front.config, NULL);
	assert_non_null(store);
	return 0;
}

static int end_front(void **state)
{
	(void)state;
	tls_store_free(store);
	tls_front_end(&front);
	return 0;
}

/* Only RSA. */
static const uint16_t rsa_only[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256, 0};

static void test_names(void **state)
{
	static const struct {
		const char *name;
		int modern;
		int rsa; /* of a client that verifies RSA alone; -1: the handshake fails */
	} rows[] = {
		{NULL, FIRST, FIRST_RSA},
		{"first.test", FIRST, FIRST_RSA},
		{"FIRST.Test", FIRST, FIRST_RSA},
		{"a.first.test", FIRST, FIRST_RSA},
		{"nobody.test", FIRST, FIRST_RSA},
		{"127.0.0.1", FIRST, FIRST_RSA},
		/* An exact name before a wildcard, though it has an RSA key. */
		{"mail.example.test", MAIL, MAIL},
		{"MAIL.EXAMPLE.TEST", MAIL, MAIL},
		{"mail.example.test.", MAIL, MAIL},
		{"mail.example.test..", FIRST, FIRST_RSA},
		{"other.example.test", EXAMPLE, EXAMPLE_RSA},
		{"oTHER.eXAMPLE.tEST", EXAMPLE, EXAMPLE_RSA},
		/* One whole label. */
		{"a.b.example.test", FIRST, FIRST_RSA},
		{"example.test", FIRST, FIRST_RSA},
		{"fox.part.test", FIRST, FIRST_RSA},
		{"xexample.test", FIRST, FIRST_RSA},
		{".example.test", FIRST, FIRST_RSA},
		/* No name that fits has a key that the client verifies. */
		{"shared.test", EXAMPLE, -1},
		/* The common name counts where there is no dNSName, the certificate's names where
		 * the configuration has none. */
		{"common.test", COMMON, -1},
		{"configured.test", CONFIGURED, -1},
		{"a.wild.test", CONFIGURED, -1},
		{"unused.test", FIRST, FIRST_RSA},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows) * 4; i++) {
		struct tls_pair_settings settings = {.version = versions[i % 2]};
		int expected = i / 2 % 2 == 0 ? rows[i / 4].modern : rows[i / 4].rsa;
		struct tls_pair pair;

		settings.name = rows[i / 4].name;
		settings.signatures = i / 2 % 2 == 0 ? NULL : rsa_only;
		tls_pair_run(&pair, tls_store_context(store), &settings);
		assert_int_equal(tls_pair_shown(&pair, &front), expected);
		assert_int_equal(pair.finished, expected >= 0);
		if (expected < 0) {
			assert_int_equal(pair.alert, SSL_AD_HANDSHAKE_FAILURE);
		} else if (settings.name != NULL) {
			assert_string_equal(
				SSL_get_servername(pair.server, TLSEXT_NAMETYPE_host_name),
				settings.name);
		}
		tls_pair_done(&pair);
	}
}

/* Who serves where no name fits, after an RSA key for a.test and b.test: an ECDSA key for the same
 * names alone. */
static void test_fallback(void **state)
{
	static const struct {
		struct certified_wish wish;
		int shown;
	} rows[] = {
		{{.names = {"a.test", "b.test"}}, 1},
		{{.names = {"b.test", "A.test", "b.test"}}, 1},
		{{.names = {"a.test"}}, 0},
		{{.names = {"b.test"}}, 0},
		{{.names = {"a.test", "b.test", "c.test"}}, 0},
		{{.names = {"c.test"}}, 0},
		{{.names = {"a.test", "c.test"}}, 0},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows) * 2; i++) {
		struct tls_front two;
		struct tls_store *both;
		struct tls_pair pair;

		tls_front_begin(&two);
		tls_front_add(&two, &(struct certified_wish){.key = CERTIFIED_RSA,
							     .names = {"a.test", "b.test"}});
		tls_front_add(&two, &rows[i / 2].wish);
		both = tls_store_new(&two.config, NULL);
		assert_non_null(both);
		tls_pair_run(&pair, tls_store_context(both),
			     &(struct tls_pair_settings){.name = i % 2 == 0 ? NULL : "no.test"});
		assert_int_equal(tls_pair_shown(&pair, &two), rows[i / 2].shown);
		tls_pair_done(&pair);
		tls_store_free(both);
		tls_front_end(&two);
	}
}

/* --- Keys ----------------------------------------------------------------------------------- */

#define RSA_1_2   "ECDHE-RSA-AES128-GCM-SHA256"
#define ECDSA_1_2 "ECDHE-ECDSA-AES128-GCM-SHA256"

/* What a client verifies, and the key of the certificate that it is shown where there is one of
 * each: P-521, P-384 and P-256, Ed25519, RSA, in this order. */
static const enum certified_key kinds[] = {CERTIFIED_P521, CERTIFIED_P384, CERTIFIED_P256,
					   CERTIFIED_ED25519, CERTIFIED_RSA};
enum { P521, P384, P256, ED25519, ANY_RSA };
static const struct {
	uint16_t version;
	uint16_t signatures[4];
	const char *ciphers;
	const char *groups;
	int shown;
} key_rows[] = {
	{TLS1_3_VERSION, {SSL_SIGN_ECDSA_SECP256R1_SHA256}, NULL, NULL, P256},
	{TLS1_3_VERSION, {SSL_SIGN_ECDSA_SECP384R1_SHA384}, NULL, NULL, P384},
	{TLS1_3_VERSION, {SSL_SIGN_ECDSA_SECP521R1_SHA512}, NULL, NULL, P521},
	{TLS1_3_VERSION, {SSL_SIGN_ED25519}, NULL, NULL, ED25519},
	{TLS1_3_VERSION, {SSL_SIGN_RSA_PSS_RSAE_SHA256}, NULL, NULL, ANY_RSA},
	{TLS1_3_VERSION, {SSL_SIGN_RSA_PSS_RSAE_SHA384}, NULL, NULL, ANY_RSA},
	{TLS1_3_VERSION, {SSL_SIGN_RSA_PSS_RSAE_SHA512}, NULL, NULL, ANY_RSA},
	{TLS1_3_VERSION, {SSL_SIGN_RSA_PKCS1_SHA256}, NULL, NULL, -1},
	{TLS1_3_VERSION,
	 {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_ECDSA_SECP256R1_SHA256},
	 NULL,
	 NULL,
	 P256},
	/* Groups are no matter of certificates there. */
	{TLS1_3_VERSION, {SSL_SIGN_ECDSA_SECP256R1_SHA256}, NULL, "X25519", P256},
	/* Before, the hash is any, and the curve one of the groups. */
	{TLS1_2_VERSION, {SSL_SIGN_ECDSA_SECP256R1_SHA256}, NULL, "X25519:P-384", P384},
	{TLS1_2_VERSION, {SSL_SIGN_ECDSA_SECP384R1_SHA384}, NULL, "X25519:P-256", P256},
	{TLS1_2_VERSION, {SSL_SIGN_ECDSA_SECP521R1_SHA512}, NULL, "P-256:P-521", P521},
	{TLS1_2_VERSION, {SSL_SIGN_ECDSA_SECP256R1_SHA256}, NULL, "X25519", -1},
	{TLS1_2_VERSION, {SSL_SIGN_ED25519}, NULL, "X25519", ED25519},
	{TLS1_2_VERSION, {SSL_SIGN_ED25519}, RSA_1_2, NULL, -1},
	{TLS1_2_VERSION, {SSL_SIGN_RSA_PKCS1_SHA256}, NULL, NULL, ANY_RSA},
	{TLS1_2_VERSION, {SSL_SIGN_RSA_PKCS1_SHA384}, NULL, NULL, ANY_RSA},
	{TLS1_2_VERSION, {SSL_SIGN_RSA_PKCS1_SHA512}, NULL, NULL, ANY_RSA},
	{TLS1_2_VERSION, {SSL_SIGN_RSA_PSS_RSAE_SHA256}, NULL, NULL, ANY_RSA},
	{TLS1_2_VERSION, {SSL_SIGN_RSA_PKCS1_SHA1, SSL_SIGN_ECDSA_SHA1}, NULL, NULL, -1},
	{TLS1_2_VERSION, {0}, RSA_1_2, NULL, ANY_RSA},
	{TLS1_2_VERSION, {0}, "ECDHE-RSA-AES256-GCM-SHA384", NULL, ANY_RSA},
	{TLS1_2_VERSION, {0}, "ECDHE-RSA-CHACHA20-POLY1305", NULL, ANY_RSA},
	{TLS1_2_VERSION, {0}, ECDSA_1_2, "P-256", P256},
	{TLS1_2_VERSION, {0}, "ECDHE-ECDSA-AES256-GCM-SHA384", "P-256", P256},
	{TLS1_2_VERSION, {0}, "ECDHE-ECDSA-CHACHA20-POLY1305", "P-256", P256},
	{TLS1_2_VERSION, {0}, RSA_1_2 ":" ECDSA_1_2, "P-256", P256},
	{TLS1_2_VERSION, {0}, "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA", NULL, -1},
};

static void test_keys(void **state)
{
	struct tls_front keys;
	struct tls_store *all;

	(void)state;
	tls_front_begin(&keys);
	for (size_t i = 0; i < array_length(kinds); i++) {
		tls_front_add(&keys,
			      &(struct certified_wish){.key = kinds[i], .names = {"a.test"}});
	}
	all = tls_store_new(&keys.config, NULL);
	assert_non_null(all);
	for (size_t i = 0; i < array_length(key_rows); i++) {
		struct tls_pair_settings settings = {.version = key_rows[i].version,
						     .name = i % 2 == 0 ? "a.test" : NULL,
						     .ciphers = key_rows[i].ciphers,
						     .groups = key_rows[i].groups};
		struct tls_pair pair;

		settings.signatures =
			key_rows[i].signatures[0] != 0 ? key_rows[i].signatures : NULL;
		tls_pair_run(&pair, tls_store_context(all), &settings);
		assert_int_equal(tls_pair_shown(&pair, &keys), key_rows[i].shown);
		assert_int_equal(pair.finished, key_rows[i].shown >= 0);
		tls_pair_done(&pair);
	}
	tls_store_free(all);
	tls_front_end(&keys);
}

/* RFC 9051 section 11.1; and nothing is signed by SHA-1 (RFC 9155). */
static void test_mandatory_suite(void **state)
{
	static const uint16_t sha1[] = {SSL_SIGN_RSA_PKCS1_SHA1, 0};
	struct tls_front one;
	struct tls_store *alone;
	struct tls_pair pair;

	(void)state;
	tls_front_begin(&one);
	tls_front_add(&one, &(struct certified_wish){.key = CERTIFIED_RSA, .names = {"a.test"}});
	alone = tls_store_new(&one.config, NULL);
	assert_non_null(alone);
	tls_pair_run(&pair, tls_store_context(alone),
		     &(struct tls_pair_settings){.version = TLS1_2_VERSION, .ciphers = RSA_1_2});
	assert_true(pair.finished);
	assert_string_equal(SSL_get_cipher(pair.server), RSA_1_2);
	tls_pair_done(&pair);
	tls_pair_run(&pair, tls_store_context(alone),
		     &(struct tls_pair_settings){.version = TLS1_2_VERSION, .signatures = sha1});
	assert_false(pair.finished);
	assert_int_equal(pair.alert, SSL_AD_HANDSHAKE_FAILURE);
	tls_pair_done(&pair);
	tls_store_free(alone);
	tls_front_end(&one);
}

/* A later library has it, and then both take it. */
static void test_groups(void **state)
{
	static const char *const groups[] = {"X25519MLKEM768", "X25519", "P-256", "P-384"};

	(void)state;
	for (size_t i = 0; i < array_length(groups); i++) {
		SSL_CTX *probe = SSL_CTX_new(TLS_method());
		bool known = SSL_CTX_set1_curves_list(probe, groups[i]) == 1;
		struct tls_pair pair;

		SSL_CTX_free(probe);
		ERR_clear_error();
		assert_true(known || i == 0);
		if (!known) {
			continue;
		}
		tls_pair_run(&pair, tls_store_context(store),
			     &(struct tls_pair_settings){.version = TLS1_3_VERSION,
							 .groups = groups[i]});
		assert_true(pair.finished);
		assert_string_equal(SSL_get_curve_name(SSL_get_curve_id(pair.server)), groups[i]);
		tls_pair_done(&pair);
	}
}

/* --- The ClientHello ------------------------------------------------------------------------ */

static void read_hello(struct tls_hello *hello, const uint8_t *extensions, size_t length)
{
	const SSL_CLIENT_HELLO client = {.extensions = extensions, .extensions_len = length};

	tls_hello_read(hello, &client);
}

/* A server_name of `length` bytes: 'a', or `bytes`. */
static void read_name_of(struct tls_hello *hello, const char *bytes, size_t length)
{
	uint8_t extensions[400] = {0, 0, 0, (uint8_t)(length + 5), 0, (uint8_t)(length + 3), 0};

	extensions[2] = (uint8_t)((length + 5) >> 8);
	extensions[4] = (uint8_t)((length + 3) >> 8);
	extensions[7] = (uint8_t)(length >> 8);
	extensions[8] = (uint8_t)length;
	memset(extensions + 9, 'a', length);
	if (bytes != NULL) {
		memcpy(extensions + 9, bytes, length);
	}
	read_hello(hello, extensions, length + 9);
}

static void test_name_limits(void **state)
{
	struct tls_hello hello;

	(void)state;
	read_name_of(&hello, NULL, TLS_NAME_MAX);
	assert_int_equal(strlen(hello.name), TLS_NAME_MAX);
	read_name_of(&hello, NULL, TLS_NAME_MAX + 1);
	assert_string_equal(hello.name, "");
	read_name_of(&hello, "a\0b", 3);
	assert_string_equal(hello.name, "");
	read_name_of(&hello, ".", 1);
	assert_string_equal(hello.name, "");
	read_name_of(&hello, "A.b.", 4);
	assert_string_equal(hello.name, "a.b");
	read_name_of(&hello, NULL, 0);
	assert_string_equal(hello.name, "");
	assert_ptr_equal(tls_select(store, &hello), &store->certificates[FIRST]);
}

/* What is cut off was not said. */
static void test_cut_extensions(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t length;
	} rows[] = {
		{{0, 0, 0, 6, 0, 4, 0, 0, 1, 'a'}, 10}, /* server_name */
		{{0, 13, 0, 4, 0, 2, 4, 3}, 8},         /* signature_algorithms */
		{{0, 10, 0, 4, 0, 2, 0, 23}, 8},        /* supported_groups */
		{{0, 43, 0, 3, 2, 3, 4}, 7},            /* supported_versions */
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		for (size_t length = 0; length <= rows[i].length; length++) {
			/* A block of its own size, so that reading past it is seen. */
			uint8_t *bytes = malloc(length + 1);
			bool whole = length == rows[i].length;
			struct tls_hello hello;

			memcpy(bytes, rows[i].bytes, length);
			if (!whole && length >= 4) {
				bytes[3] = (uint8_t)(length - 4);
			}
			read_hello(&hello, bytes, length);
			assert_int_equal(hello.name[0] != '\0', whole && i == 0);
			assert_int_equal(CBS_len(&hello.signatures) != 0, whole && i == 1);
			assert_int_equal(CBS_len(&hello.groups) != 0, whole && i == 2);
			assert_int_equal(hello.tls13, whole && i == 3);
			free(bytes);
		}
	}
}

/* --- Memory --------------------------------------------------------------------------------- */

#define NAME_LENGTH 16

/* The bytes of a ClientHello that nobody answers, for want of keys; its name is "xxxx...". */
static size_t write_hello(uint8_t *bytes, size_t size)
{
	static const uint16_t none[] = {SSL_SIGN_RSA_PKCS1_SHA1, 0};
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	SSL *client = SSL_new(context);
	BIO *out = BIO_new(BIO_s_mem());
	int length;

	assert_true(SSL_set_tlsext_host_name(client, "xxxxxxxxxxxxxxxx"));
	assert_true(SSL_set_verify_algorithm_prefs(client, none, 1));
	SSL_set_bio(client, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(client);
	assert_int_equal(SSL_do_handshake(client), -1);
	length = BIO_read(out, bytes, (int)size);
	assert_true(length > 0);
	SSL_free(client);
	SSL_CTX_free(context);
	return (size_t)length;
}

static void accept_hello(const uint8_t *bytes, size_t length)
{
	SSL *server = SSL_new(tls_store_context(store));
	BIO *in = BIO_new_mem_buf(bytes, (int)length);

	SSL_set_bio(server, in, BIO_new(BIO_s_mem()));
	SSL_set_accept_state(server);
	assert_int_equal(SSL_do_handshake(server), -1);
	SSL_free(server);
	ERR_clear_error();
}

/* Nothing is kept for a name that somebody made up (C114). */
static void test_random_names(void **state)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
	uint8_t bytes[2048];
	size_t length = write_hello(bytes, sizeof(bytes));
	uint8_t *name = memmem(bytes, length, "xxxxxxxxxxxxxxxx", NAME_LENGTH);
	unsigned seed = 1;
	size_t before = 0;

	(void)state;
	assert_non_null(name);
	for (unsigned i = 0; i < 20000; i++) {
		for (size_t at = 0; at < NAME_LENGTH; at++) {
			seed = seed * 1664525 + 1013904223;
			name[at] = (uint8_t)letters[seed >> 27];
		}
		accept_hello(bytes, length);
		if (i == 100) {
			before = mallinfo2().uordblks;
		}
	}
	assert_true(mallinfo2().uordblks <= before + 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),          cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_groups),         cmocka_unit_test(test_name_limits),
		cmocka_unit_test(test_cut_extensions), cmocka_unit_test(test_random_names),
		cmocka_unit_test(test_keys),           cmocka_unit_test(test_mandatory_suite),
	};

	return cmocka_run_group_tests_name("tls_select", tests, begin_front, end_front);
}
