/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS's other end with every byte in the test's hands.
 */
#include "support/tls_peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/base.h"
#include "core/config.h"
#include "net/tls.h"
#include "support/certified.h"

/* --- The other end -------------------------------------------------------------------------- */

static void on_info(const SSL *tls, int type, int value)
{
	struct test_peer *peer = SSL_get_app_data(tls);

	if (type == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL) {
		peer->alert = value & 0xff;
	}
}

static int on_session(SSL *tls, SSL_SESSION *session)
{
	struct test_peer *peer = SSL_get_app_data(tls);

	SSL_SESSION_free(peer->session);
	peer->session = session;
	return 1;
}

static SSL_CTX *client_context(const struct tls_peer_settings *settings)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	assert_non_null(context);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(context, on_session);
	SSL_CTX_set_max_cert_list(context, 1 << 20);
	if (settings->identity != NULL) {
		assert_true(SSL_CTX_use_certificate(context, settings->identity->certificate));
		assert_true(SSL_CTX_use_PrivateKey(context, settings->identity->key));
	}
	return context;
}

void tls_peer_open(struct test_peer *peer, int fd, const struct tls_peer_settings *settings)
{
	*peer = (struct test_peer){.fd = fd, .alert = -1};
	peer->context = settings->server != NULL ? settings->server : client_context(settings);
	if (settings->server != NULL) {
		SSL_CTX_up_ref(peer->context);
	}
	peer->tls = SSL_new(peer->context);
	assert_non_null(peer->tls);
	SSL_set_app_data(peer->tls, peer);
	SSL_set_info_callback(peer->tls, on_info);
	SSL_set_bio(peer->tls, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(peer->tls), -1);
	assert_true(SSL_set_min_proto_version(peer->tls, settings->version != 0 ? settings->version
										: TLS1_VERSION));
	if (settings->version != 0) {
		assert_true(SSL_set_max_proto_version(peer->tls, settings->version));
	}
	if (settings->server != NULL) {
		SSL_set_accept_state(peer->tls);
		return;
	}
	SSL_set_connect_state(peer->tls);
	if (settings->alpn != NULL) {
		SSL_set_alpn_protos(peer->tls, (const uint8_t *)settings->alpn,
				    (unsigned)strlen(settings->alpn));
	}
	if (settings->name != NULL) {
		assert_true(SSL_set_tlsext_host_name(peer->tls, settings->name));
	}
	if (settings->session != NULL) {
		assert_true(SSL_set_session(peer->tls, settings->session));
	}
}

static bool take_from_socket(struct test_peer *peer)
{
	uint8_t bytes[16384];
	size_t most = peer->most != 0 && peer->most < sizeof(bytes) ? peer->most : sizeof(bytes);
	ssize_t count;

	if (peer->fin || peer->reset || peer->deaf) {
		return false;
	}
	count = recv(peer->fd, bytes, most, MSG_DONTWAIT);
	if (count > 0) {
		assert_int_equal(BIO_write(SSL_get_rbio(peer->tls), bytes, (int)count), count);
		return true;
	}
	peer->fin = count == 0;
	peer->reset = count < 0 && errno != EAGAIN;
	return peer->fin || peer->reset;
}

/* What the client's TLS has to say. */
static void collect(struct test_peer *peer)
{
	const uint8_t *bytes;
	size_t length;

	assert_true(BIO_mem_contents(SSL_get_wbio(peer->tls), &bytes, &length));
	assert_true(buffer_append(&peer->outgoing, bytes, length));
	BIO_reset(SSL_get_wbio(peer->tls));
}

static void advance(struct test_peer *peer)
{
	uint8_t bytes[16384];
	int count;

	ERR_clear_error();
	if (!peer->finished && SSL_do_handshake(peer->tls) == 1) {
		peer->finished = true;
		SSL_write(peer->tls, "", 0); /* the tickets of a server wait for it */
	}
	while (peer->finished && !peer->closed &&
	       (count = SSL_read(peer->tls, bytes, sizeof(bytes))) != 0) {
		if (count < 0) {
			break;
		}
		assert_true(buffer_append(&peer->received, bytes, (size_t)count));
	}
	peer->closed = (SSL_get_shutdown(peer->tls) & SSL_RECEIVED_SHUTDOWN) != 0;
	ERR_clear_error();
	collect(peer);
}

void tls_peer_send(struct test_peer *peer, size_t count)
{
	ssize_t sent;

	assert_true(count <= peer->outgoing.length);
	sent = send(peer->fd, buffer_bytes(&peer->outgoing), count, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0) {
		buffer_consume(&peer->outgoing, (size_t)sent);
	}
}

bool tls_peer_pump(struct test_peer *peer)
{
	bool moved = take_from_socket(peer);
	size_t before;

	advance(peer);
	before = peer->outgoing.length;
	if (!peer->hand_written && before > 0 && !peer->reset) {
		tls_peer_send(peer, before);
		moved = moved || peer->outgoing.length != before;
	}
	return moved;
}

void tls_peer_write(struct test_peer *peer, const void *bytes, size_t length, size_t record)
{
	const uint8_t *rest = bytes;

	assert_true(peer->finished);
	while (length > 0) {
		size_t part = record != 0 && record < length ? record : length;

		part = part < 16384 ? part : 16384;
		assert_int_equal(SSL_write(peer->tls, rest, (int)part), part);
		rest += part;
		length -= part;
	}
	collect(peer);
}

void tls_peer_update(struct test_peer *peer)
{
	assert_true(SSL_key_update(peer->tls, SSL_KEY_UPDATE_REQUESTED));
}

void tls_peer_end(struct test_peer *peer)
{
	assert_true(SSL_shutdown(peer->tls) >= 0);
	collect(peer);
}

void tls_peer_close(struct test_peer *peer)
{
	if (peer->fd >= 0) {
		close(peer->fd);
	}
	SSL_free(peer->tls);
	SSL_CTX_free(peer->context);
	SSL_SESSION_free(peer->session);
	buffer_done(&peer->received);
	buffer_done(&peer->outgoing);
}

void reset_connection(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
}

/* --- Certificates --------------------------------------------------------------------------- */

static EVP_PKEY *make_key(bool rsa)
{
	EVP_PKEY *key = EVP_PKEY_new();

	if (rsa) {
		RSA *pair = RSA_new();
		BIGNUM *exponent = BN_new();

		assert_true(BN_set_word(exponent, RSA_F4));
		assert_true(RSA_generate_key_ex(pair, 2048, exponent, NULL));
		assert_true(EVP_PKEY_assign_RSA(key, pair));
		BN_free(exponent);
	} else {
		EC_KEY *pair = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);

		assert_true(EC_KEY_generate_key(pair));
		assert_true(EVP_PKEY_assign_EC_KEY(key, pair));
	}
	return key;
}

static X509 *make_certificate(EVP_PKEY *key, size_t padding)
{
	static const uint8_t name[] = "imap.test";
	X509 *certificate = X509_new();
	uint8_t unit[60];

	memset(unit, 'x', sizeof(unit));
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_get_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_get_notAfter(certificate), 3600);
	assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN",
					       MBSTRING_ASC, name, sizeof(name) - 1, -1, 0));
	for (size_t i = 0; i < padding; i += sizeof(unit)) {
		assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "OU",
						       MBSTRING_ASC, unit, sizeof(unit), -1, 0));
	}
	assert_true(X509_set_pubkey(certificate, key));
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

static void write_key(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
	EVP_PKEY_free(key);
}

#define PADDING_OF_ONE 8192

static void write_chain(const char *path, EVP_PKEY *key, size_t padding)
{
	FILE *file = fopen(path, "w");
	X509 *leaf = make_certificate(key, 0);

	assert_non_null(file);
	assert_true(PEM_write_X509(file, leaf));
	X509_free(leaf);
	for (size_t i = 0; i < padding; i += PADDING_OF_ONE) {
		X509 *more = make_certificate(key, PADDING_OF_ONE);

		assert_true(PEM_write_X509(file, more));
		X509_free(more);
	}
	fclose(file);
}

void tls_files_make(struct tls_files *files, size_t padding)
{
	EVP_PKEY *key = make_key(false);

	files->store = NULL;
	strcpy(files->folder, "/tmp/gatepost-test-XXXXXX");
	assert_non_null(mkdtemp(files->folder));
	snprintf(files->chain, sizeof(files->chain), "%s/chain.pem", files->folder);
	snprintf(files->key, sizeof(files->key), "%s/key.pem", files->folder);
	snprintf(files->other_key, sizeof(files->other_key), "%s/other.pem", files->folder);
	snprintf(files->rsa_key, sizeof(files->rsa_key), "%s/rsa.pem", files->folder);
	write_chain(files->chain, key, padding);
	write_key(files->key, key);
	write_key(files->other_key, make_key(false));
	write_key(files->rsa_key, make_key(true));
}

void tls_files_remove(struct tls_files *files)
{
	tls_store_free(files->store);
	unlink(files->chain);
	unlink(files->key);
	unlink(files->other_key);
	unlink(files->rsa_key);
	assert_int_equal(rmdir(files->folder), 0);
}

struct ssl_ctx_st *tls_files_context(struct tls_files *files)
{
	struct config_certificate certificate = {.chain = files->chain, .key = files->key};
	struct config_tls_front config = {
		.min_version = CONFIG_TLS_1_2,
		.alpn = true,
		.tickets = true,
		.ticket_lifetime_ms = 3600000,
		.certificates = &certificate,
		.certificate_count = 1,
	};
	struct error error = {0};

	assert_null(files->store);
	files->store = tls_store_new(&config, &error);
	assert_string_equal(error.text, "");
	assert_non_null(files->store);
	return tls_store_context(files->store);
}
