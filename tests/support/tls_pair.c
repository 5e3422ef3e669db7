/* SPDX-License-Identifier: Apache-2.0
 *
 * A client and a server that shake hands in memory.
 */
#include "support/tls_pair.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* --- The front ------------------------------------------------------------------------------ */

void tls_front_begin(struct tls_front *front)
{
	*front = (struct tls_front){
		.folder = "/tmp/gatepost-test-XXXXXX",
		.config = {.alpn = true, .tickets = true, .ticket_lifetime_ms = 3600000},
	};
	front->config.certificates = front->certificates;
	assert_non_null(mkdtemp(front->folder));
}

char *tls_front_path(const struct tls_front *front, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", front->folder, name) > 0);
	return path;
}

size_t tls_front_add(struct tls_front *front, const struct certified_wish *wish)
{
	size_t index = front->config.certificate_count++;
	char name[32];

	assert_true(index < TLS_FRONT_MOST);
	certified_make(&front->certified[index], wish);
	snprintf(name, sizeof(name), "chain%zu.pem", index);
	front->certificates[index].chain = tls_front_path(front, name);
	snprintf(name, sizeof(name), "key%zu.pem", index);
	front->certificates[index].key = tls_front_path(front, name);
	certified_write(&front->certified[index], NULL, front->certificates[index].chain);
	certified_write_key(&front->certified[index], front->certificates[index].key);
	return index;
}

void tls_front_end(struct tls_front *front)
{
	DIR *folder = opendir(front->folder);
	const struct dirent *entry;

	for (size_t i = 0; i < front->config.certificate_count; i++) {
		free(front->certificates[i].chain);
		free(front->certificates[i].key);
		certified_done(&front->certified[i]);
	}
	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] != '.') {
			char *path = tls_front_path(front, entry->d_name);

			unlink(path);
			free(path);
		}
	}
	closedir(folder);
	assert_int_equal(rmdir(front->folder), 0);
}

/* --- The pair ------------------------------------------------------------------------------- */

static void on_info(const SSL *tls, int type, int value)
{
	struct tls_pair *pair = SSL_get_app_data(tls);

	if (type == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL) {
		pair->alert = value & 0xff;
	}
}

static int on_session(SSL *tls, SSL_SESSION *session)
{
	struct tls_pair *pair = SSL_get_app_data(tls);

	SSL_SESSION_free(pair->session);
	pair->session = session;
	pair->sessions++;
	return 1;
}

static int on_asked(SSL *tls, void *unused)
{
	struct tls_pair *pair = SSL_get_app_data(tls);

	(void)unused;
	pair->authorities = (int)sk_X509_NAME_num(SSL_get_client_CA_list(tls));
	return 1;
}

static void set_client(SSL *client, const struct tls_pair_settings *settings)
{
	size_t count = 0;

	if (settings->name != NULL) {
		assert_true(SSL_set_tlsext_host_name(client, settings->name));
	}
	if (settings->ciphers != NULL) {
		assert_true(SSL_set_strict_cipher_list(client, settings->ciphers));
	}
	if (settings->groups != NULL) {
		assert_true(SSL_set1_curves_list(client, settings->groups));
	}
	if (settings->signatures != NULL) {
		while (settings->signatures[count] != 0) {
			count++;
		}
		assert_true(SSL_set_verify_algorithm_prefs(client, settings->signatures, count));
	}
	if (settings->staple) {
		SSL_enable_ocsp_stapling(client);
	}
	if (settings->session != NULL) {
		assert_true(SSL_set_session(client, settings->session));
	}
	if (settings->certificate != NULL) {
		assert_true(SSL_use_certificate(client, settings->certificate->certificate));
		assert_true(SSL_use_PrivateKey(client, settings->certificate->key));
	}
}

static void open_client(struct tls_pair *pair, const struct tls_pair_settings *settings)
{
	pair->context = SSL_CTX_new(TLS_method());
	SSL_CTX_set_session_cache_mode(pair->context, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(pair->context, on_session);
	SSL_CTX_set_info_callback(pair->context, on_info);
	if (settings->version != 0) {
		assert_true(SSL_CTX_set_min_proto_version(pair->context, settings->version));
		assert_true(SSL_CTX_set_max_proto_version(pair->context, settings->version));
	}
	pair->client = SSL_new(pair->context);
	assert_non_null(pair->client);
	SSL_set_app_data(pair->client, pair);
	SSL_set_cert_cb(pair->client, on_asked, NULL);
	SSL_set_connect_state(pair->client);
	set_client(pair->client, settings);
}

void tls_pair_run(struct tls_pair *pair, struct ssl_ctx_st *server,
		  const struct tls_pair_settings *settings)
{
	BIO *near;
	BIO *far;
	uint8_t byte;

	*pair = (struct tls_pair){.alert = -1, .authorities = -1};
	open_client(pair, settings);
	pair->server = SSL_new(server);
	assert_non_null(pair->server);
	SSL_set_shed_handshake_config(pair->server, 1);
	SSL_set_accept_state(pair->server);
	assert_true(BIO_new_bio_pair(&near, 1 << 20, &far, 1 << 20));
	SSL_set_bio(pair->client, near, near);
	SSL_set_bio(pair->server, far, far);
	for (int round = 0; round < 10; round++) {
		bool ours = SSL_do_handshake(pair->client) == 1;
		bool theirs = SSL_do_handshake(pair->server) == 1;

		pair->finished = ours && theirs;
	}
	if (pair->finished) {
		assert_int_equal(SSL_write(pair->server, "x", 1), 1);
		pair->finished = SSL_read(pair->client, &byte, 1) == 1;
	}
	ERR_clear_error();
}

int tls_pair_shown(const struct tls_pair *pair, const struct tls_front *front)
{
	X509 *shown = pair->finished ? SSL_get_peer_certificate(pair->client) : NULL;
	int index = -1;

	for (size_t i = 0; shown != NULL && i < front->config.certificate_count; i++) {
		if (X509_cmp(shown, front->certified[i].certificate) == 0) {
			index = (int)i;
		}
	}
	X509_free(shown);
	return index;
}

bool tls_pair_resumed(const struct tls_pair *pair)
{
	assert_int_equal(SSL_session_reused(pair->client), SSL_session_reused(pair->server));
	return SSL_session_reused(pair->client) == 1;
}

void tls_pair_done(struct tls_pair *pair)
{
	SSL_free(pair->client);
	SSL_free(pair->server);
	SSL_CTX_free(pair->context);
	SSL_SESSION_free(pair->session);
}
