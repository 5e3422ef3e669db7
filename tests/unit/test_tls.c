/* SPDX-License-Identifier: Apache-2.0
 *
 * The TLS store of one certificate: what loads and what is refused with which words, and what a
 * client may negotiate with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/base.h"
#include "core/config.h"
#include "net/tls.h"
#include "support/stream_world.h"
#include "support/tls_peer.h"

static struct tls_files files;

static int begin_files(void **state)
{
	(void)state;
	tls_files_make(&files, 0);
	return 0;
}

static int end_files(void **state)
{
	(void)state;
	tls_files_remove(&files);
	return 0;
}

/* --- Loading -------------------------------------------------------------------------------- */

static void check_refused(const char *chain, const char *key, enum tls_load fault,
			  const char *words)
{
	const char *path = fault == TLS_BAD_CHAIN ? chain : key;
	struct config_certificate certificate = {.chain = (char *)chain, .key = (char *)key};
	struct config_tls_front config = {
		.alpn = true,
		.tickets = true,
		.ticket_lifetime_ms = 1000,
		.certificates = &certificate,
		.certificate_count = 1,
	};
	struct error error = {0};
	char expected[320];

	assert_null(tls_store_new(&config, &error));
	snprintf(expected, sizeof(expected), "%s: %s", path, words);
	assert_string_equal(error.text, expected);
	error.text[0] = '\0';
	assert_int_equal(tls_check_certificate(&certificate, &error), fault);
	assert_string_equal(error.text, expected);
	/* Nothing is left for the next to find. */
	tls_error_set(&error, "nothing");
	assert_string_equal(error.text, "nothing");
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static void test_refused_files(void **state)
{
	char missing[64];
	char broken[64];
	char mismatch[160];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/none.pem", files.folder);
	snprintf(broken, sizeof(broken), "%s/broken.pem", files.folder);
	snprintf(mismatch, sizeof(mismatch), "this key does not belong to the certificate %s",
		 files.chain);
	write_text(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	check_refused(missing, files.key, TLS_BAD_CHAIN, "No such file or directory");
	check_refused(files.chain, missing, TLS_BAD_KEY, "No such file or directory");
	check_refused(files.folder, files.key, TLS_BAD_CHAIN, "not a PEM certificate chain");
	check_refused(files.chain, files.other_key, TLS_BAD_KEY, mismatch);
	check_refused(files.chain, files.rsa_key, TLS_BAD_KEY, mismatch);
	check_refused("/dev/null", files.key, TLS_BAD_CHAIN, "not a PEM certificate chain");
	check_refused(files.chain, "/dev/null", TLS_BAD_KEY, "not a PEM private key");
	check_refused(files.key, files.key, TLS_BAD_CHAIN, "not a PEM certificate chain");
	check_refused(files.chain, files.chain, TLS_BAD_KEY, "not a PEM private key");
	check_refused(broken, files.key, TLS_BAD_CHAIN, "not a PEM certificate chain");
	unlink(broken);
}

static void test_good_files(void **state)
{
	struct config_certificate certificate = {.chain = files.chain, .key = files.key};
	struct error error = {0};

	(void)state;
	assert_int_equal(tls_check_certificate(&certificate, &error), TLS_LOADED);
	assert_string_equal(error.text, "");
}

static void test_free_nothing(void **state)
{
	(void)state;
	tls_store_free(NULL);
	assert_non_null(strstr(tls_library_version(), "BoringSSL"));
}

/* --- Negotiating ---------------------------------------------------------------------------- */

struct dialogue {
	struct stream_world *world;
	struct stream_owner owner;
	struct test_peer peer;
};

static void open_dialogue(struct dialogue *dialogue, void *state, const struct tls_store *store,
			  const struct tls_peer_settings *settings)
{
	int ours;
	int theirs;

	memset(dialogue, 0, sizeof(*dialogue));
	dialogue->world = state;
	stream_world_pair(false, &ours, &theirs);
	tls_peer_open(&dialogue->peer, theirs, settings);
	dialogue->world->peer = &dialogue->peer;
	stream_owner_accept(&dialogue->owner, dialogue->world, ours, tls_store_context(store));
}

static void close_dialogue(struct dialogue *dialogue)
{
	dialogue->world->peer = NULL;
	stream_owner_done(&dialogue->owner);
	tls_peer_close(&dialogue->peer);
}

static struct tls_store *make_store(enum config_tls_version lowest, bool alpn, bool tickets)
{
	struct config_certificate certificate = {.chain = files.chain, .key = files.key};
	struct config_tls_front config = {
		.min_version = lowest,
		.alpn = alpn,
		.tickets = tickets,
		.ticket_lifetime_ms = 3600000,
		.certificates = &certificate,
		.certificate_count = 1,
	};
	struct tls_store *store = tls_store_new(&config, NULL);

	assert_non_null(store);
	return store;
}

static void test_versions(void **state)
{
	static const struct {
		enum config_tls_version lowest;
		uint16_t version;
		const char *agreed; /* NULL: alert protocol_version */
	} rows[] = {
		{CONFIG_TLS_1_2, 0, "TLSv1.3"},
		{CONFIG_TLS_1_2, TLS1_3_VERSION, "TLSv1.3"},
		{CONFIG_TLS_1_2, TLS1_2_VERSION, "TLSv1.2"},
		{CONFIG_TLS_1_2, TLS1_1_VERSION, NULL},
		{CONFIG_TLS_1_2, TLS1_VERSION, NULL},
		{CONFIG_TLS_1_3, TLS1_3_VERSION, "TLSv1.3"},
		{CONFIG_TLS_1_3, TLS1_2_VERSION, NULL},
	};

	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_peer_settings settings = {.version = rows[i].version,
						     .name = "imap.test"};
		struct tls_store *store = make_store(rows[i].lowest, true, true);
		struct dialogue dialogue;

		open_dialogue(&dialogue, *state, store, &settings);
		stream_world_settle(dialogue.world);
		if (rows[i].agreed != NULL) {
			const struct stream *stream = &dialogue.owner.stream;

			assert_string_equal(dialogue.owner.events, "R");
			assert_string_equal(stream_tls_version(stream), rows[i].agreed);
			assert_string_equal(stream_tls_server_name(stream), "imap.test");
			assert_non_null(stream_tls_cipher(stream));
			assert_false(stream_tls_resumed(stream));
		} else {
			assert_string_equal(dialogue.owner.events, "F");
			assert_int_equal(dialogue.peer.alert, SSL_AD_PROTOCOL_VERSION);
			assert_false(stream_is_open(&dialogue.owner.stream));
		}
		close_dialogue(&dialogue);
		tls_store_free(store);
	}
}

static void test_alpn(void **state)
{
	static const struct {
		bool alpn;
		const char *offer;
		const char *selected;
		int alert;
	} rows[] = {
		{true, NULL, "", -1},
		{true, "\x04imap", "imap", -1},
		{true, "\x08http/1.1\x04imap", "imap", -1},
		{true, "\x04imap\x08http/1.1", "imap", -1},
		{true, "\x08http/1.1", "", SSL_AD_NO_APPLICATION_PROTOCOL},
		{true, "\x05imaps\x03ima", "", SSL_AD_NO_APPLICATION_PROTOCOL},
		{true, "\x04IMAP", "", SSL_AD_NO_APPLICATION_PROTOCOL},
		{false, "\x08http/1.1", "", -1},
	};
	static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	for (size_t i = 0; i < array_length(rows) * 2; i++) {
		const struct tls_peer_settings settings = {.version = versions[i % 2],
							   .alpn = rows[i / 2].offer};
		struct tls_store *store = make_store(CONFIG_TLS_1_2, rows[i / 2].alpn, true);
		const uint8_t *selected = NULL;
		unsigned length = 0;
		struct dialogue dialogue;

		open_dialogue(&dialogue, *state, store, &settings);
		stream_world_settle(dialogue.world);
		SSL_get0_alpn_selected(dialogue.peer.tls, &selected, &length);
		assert_int_equal(dialogue.peer.alert, rows[i / 2].alert);
		assert_string_equal(dialogue.owner.events, rows[i / 2].alert < 0 ? "R" : "F");
		assert_int_equal(length, strlen(rows[i / 2].selected));
		assert_memory_equal(selected != NULL ? (const char *)selected : "",
				    rows[i / 2].selected, length);
		close_dialogue(&dialogue);
		tls_store_free(store);
	}
}

/* A client comes back with what it was given. */
static void check_resumption(void *state, uint16_t version, bool tickets)
{
	struct tls_store *store = make_store(CONFIG_TLS_1_2, true, tickets);
	struct tls_peer_settings settings = {.version = version, .name = "imap.test"};
	struct dialogue first;
	struct dialogue second;

	open_dialogue(&first, state, store, &settings);
	stream_world_settle(first.world);
	stream_write(&first.owner.stream, "* OK\r\n", 6); /* tickets go with the first bytes */
	stream_world_settle(first.world);
	assert_int_equal(first.peer.received.length, 6);
	assert_false(stream_tls_resumed(&first.owner.stream));
	if (tickets) {
		assert_non_null(first.peer.session);
	}
	settings.session = first.peer.session;
	if (first.peer.session != NULL) {
		assert_true(tickets || !SSL_SESSION_has_ticket(first.peer.session));
	}
	open_dialogue(&second, state, store, &settings);
	stream_world_settle(second.world);
	assert_string_equal(second.owner.events, "R");
	assert_int_equal(stream_tls_resumed(&second.owner.stream), tickets);
	assert_string_equal(stream_tls_server_name(&second.owner.stream), "imap.test");
	close_dialogue(&second);
	close_dialogue(&first);
	tls_store_free(store);
}

static void test_resumption(void **state)
{
	check_resumption(*state, TLS1_3_VERSION, true);
	check_resumption(*state, TLS1_2_VERSION, true);
	check_resumption(*state, TLS1_3_VERSION, false);
	check_resumption(*state, TLS1_2_VERSION, false);
}

/* AEAD with forward secrecy only: a client that can do nothing else gets no further. */
static void test_ciphers(void **state)
{
	static const struct {
		const char *offer;
		const char *agreed;
	} rows[] = {
		{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
		/* Where both are as good, the client's wish counts. */
		{"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
		 "ECDHE-ECDSA-CHACHA20-POLY1305"},
		{"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
		 "ECDHE-ECDSA-AES128-GCM-SHA256"},
		{"ECDHE-ECDSA-AES128-SHA", NULL},
		{"AES128-GCM-SHA256", NULL},
	};

	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_peer_settings settings = {.version = TLS1_2_VERSION};
		struct tls_store *store = make_store(CONFIG_TLS_1_2, true, true);
		struct dialogue dialogue;

		open_dialogue(&dialogue, *state, store, &settings);
		assert_true(SSL_set_strict_cipher_list(dialogue.peer.tls, rows[i].offer));
		stream_world_settle(dialogue.world);
		if (rows[i].agreed != NULL) {
			assert_string_equal(stream_tls_cipher(&dialogue.owner.stream),
					    rows[i].agreed);
		} else {
			assert_string_equal(dialogue.owner.events, "F");
			assert_int_equal(dialogue.peer.alert, SSL_AD_HANDSHAKE_FAILURE);
		}
		close_dialogue(&dialogue);
		tls_store_free(store);
	}
}

/* A chain larger than the buffer in which a worker seals records, to a client with little room. */
static void test_large_chain(void **state)
{
	for (int small = 0; small < 2; small++) {
		struct tls_peer_settings settings = {.version = TLS1_3_VERSION};
		struct tls_files large;
		struct dialogue dialogue = {.world = *state};
		SSL_CTX *context;
		int ours;
		int theirs;

		tls_files_make(&large, 100000);
		context = tls_files_context(&large);
		stream_world_pair(small, &ours, &theirs);
		tls_peer_open(&dialogue.peer, theirs, &settings);
		dialogue.world->peer = &dialogue.peer;
		stream_owner_accept(&dialogue.owner, dialogue.world, ours, context);
		stream_world_until_flag(dialogue.world, &dialogue.peer.finished);
		stream_world_settle(dialogue.world);
		assert_int_equal(dialogue.owner.events[0], 'R');
		assert_null(strchr(dialogue.owner.events, 'F'));
		close_dialogue(&dialogue);
		tls_files_remove(&large);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_good_files),
		cmocka_unit_test(test_free_nothing),
		cmocka_unit_test_setup_teardown(test_versions, stream_world_begin,
						stream_world_end),
		cmocka_unit_test_setup_teardown(test_alpn, stream_world_begin, stream_world_end),
		cmocka_unit_test_setup_teardown(test_resumption, stream_world_begin,
						stream_world_end),
		cmocka_unit_test_setup_teardown(test_ciphers, stream_world_begin, stream_world_end),
		cmocka_unit_test_setup_teardown(test_large_chain, stream_world_begin,
						stream_world_end),
	};

	return cmocka_run_group_tests_name("tls", tests, begin_files, end_files);
}
