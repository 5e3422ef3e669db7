/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS towards backends: which files are refused and why, which servers are believed, sessions that
 * are resumed and those that are not, the certificate that we show.
 */
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

#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "../../proxy/net/tls_client_internal.h"
#include "base/base.h"
#include "net/tls.h"
#include "support/tls_call.h"

static const uint16_t versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* --- Files ---------------------------------------------------------------------------------- */

static void check_refused(const struct tls_client_settings *settings, enum tls_client_fault fault,
			  const char *words)
{
	const char *path = fault == TLS_CLIENT_CA      ? settings->ca
			   : fault == TLS_CLIENT_CHAIN ? settings->chain
						       : settings->key;
	enum tls_client_fault found = TLS_CLIENT_FINE;
	struct error error = {0};
	char expected[320];

	assert_null(tls_client_new(call_house.trust, settings, &found, &error));
	assert_int_equal(found, fault);
	snprintf(expected, sizeof(expected), "%s: %s", path, words);
	assert_string_equal(error.text, expected);
	/* Nothing is left for the next to find. */
	tls_error_set(&error, "nothing");
	assert_string_equal(error.text, "nothing");
}

static void write_text(const char *path, const char *mode, const char *text)
{
	FILE *file = fopen(path, mode);

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static void test_refused_files(void **state)
{
	const char *ca = call_house.ca;
	const char *key = call_house.key;
	struct certified other;
	char missing[64];
	char other_key[64];
	char broken[64];
	char mismatch[160];

	(void)state;
	call_house_path(missing, "none.pem");
	call_house_path(other_key, "other.pem");
	call_house_path(broken, "broken.pem");
	snprintf(mismatch, sizeof(mismatch), "this key does not belong to the certificate %s",
		 call_house.chain);
	certified_make(&other, &(struct certified_wish){.common_name = "other"});
	certified_write_key(&other, other_key);
	certified_write(&other, NULL, broken);
	write_text(broken, "a", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

	struct {
		const char *ca;
		const char *chain;
		const char *key;
		enum tls_client_fault fault;
		const char *words;
	} rows[] = {
		{missing, "", "", TLS_CLIENT_CA, "No such file or directory"},
		{call_house.folder, "", "", TLS_CLIENT_CA, "not certificates in PEM"},
		{"/dev/null", "", "", TLS_CLIENT_CA, "not certificates in PEM"},
		{key, "", "", TLS_CLIENT_CA, "not certificates in PEM"},
		{broken, "", "", TLS_CLIENT_CA, "not certificates in PEM"},
		{ca, missing, key, TLS_CLIENT_CHAIN, "No such file or directory"},
		{ca, key, key, TLS_CLIENT_CHAIN, "not certificates in PEM"},
		{ca, broken, other_key, TLS_CLIENT_CHAIN, "not certificates in PEM"},
		{ca, call_house.chain, missing, TLS_CLIENT_KEY, "No such file or directory"},
		{ca, call_house.chain, ca, TLS_CLIENT_KEY, "not a PEM private key"},
		{ca, call_house.chain, other_key, TLS_CLIENT_KEY, mismatch},
	};

	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_client_settings settings = {.verify = true,
						       .ca = rows[i].ca,
						       .chain = rows[i].chain,
						       .key = rows[i].key};

		check_refused(&settings, rows[i].fault, rows[i].words);
	}
	certified_done(&other);
	unlink(other_key);
	unlink(broken);
}

static void test_longest_chain(void **state)
{
	char path[64];
	char words[64];
	struct tls_client_settings settings = {.ca = "", .chain = path, .key = call_house.key};
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct tls_client *client;
	FILE *file;

	(void)state;
	call_house_path(path, "long.pem");
	file = fopen(path, "w");
	for (int i = 0; i < TLS_CLIENT_CHAIN_MAX; i++) {
		assert_true(PEM_write_X509(file, call_house.server.certificate));
	}
	fflush(file);
	client = tls_client_new(call_house.trust, &settings, &fault, NULL);
	assert_non_null(client);
	tls_client_free(client);
	assert_true(PEM_write_X509(file, call_house.server.certificate));
	fclose(file);
	snprintf(words, sizeof(words), "more than %d certificates", TLS_CLIENT_CHAIN_MAX);
	check_refused(&settings, TLS_CLIENT_CHAIN, words);
	unlink(path);
}

/* The authorities of a file are not looked at where nothing is verified. */
static void test_no_authorities(void **state)
{
	(void)state;
	tls_client_free(call_house_client(false, "/none", false));
	tls_client_free(NULL);
	tls_client_trust_free(NULL);
}

/* A connection that begins later, by a client of the same file, finds the same authorities, until
 * the file changes. */
static void test_authorities_in_memory_once(void **state)
{
	struct certified other;
	X509_STORE *first;
	X509_STORE *second;
	char path[64];

	(void)state;
	call_house_path(path, "authorities.pem");
	certified_write(&call_house.authority, NULL, path);
	first = tls_client_trust_store(call_house.trust, path, NULL);
	second = tls_client_trust_store(call_house.trust, path, NULL);
	assert_non_null(first);
	assert_ptr_equal(first, second);
	X509_STORE_free(second);
	second = tls_client_trust_store(call_house.trust, call_house.ca, NULL);
	assert_ptr_not_equal(first, second);
	X509_STORE_free(second);

	certified_make(&other, &(struct certified_wish){.common_name = "other"});
	certified_write(&other, &call_house.authority, path);
	second = tls_client_trust_store(call_house.trust, path, NULL);
	assert_ptr_not_equal(first, second);
	X509_STORE_free(first);
	X509_STORE_free(second);
	certified_done(&other);
	/* What is gone is not served from memory. */
	unlink(path);
	assert_null(tls_client_trust_store(call_house.trust, path, NULL));
}

static void test_system_authorities(void **state)
{
	(void)state;
	if (access(TLS_CLIENT_SYSTEM_CA, R_OK) != 0) {
		skip();
	}
	tls_client_free(call_house_client(true, "", false));
}

/* --- Whom we believe ------------------------------------------------------------------------ */

/* `why` is NULL where the server is believed. */
static void check_server(struct stream_world *world, struct tls_call *call, const char *why)
{
	struct tls_session session = {0};
	char expected[300];

	call->session = &session;
	tls_call_begin(call, world);
	stream_world_settle(world);
	if (why == NULL) {
		assert_string_equal(call->owner.why.text, "");
		assert_memory_equal(call->owner.events, "RR", 2);
		assert_non_null(session.session);
	} else {
		snprintf(expected, sizeof(expected), "TLS handshake: %s", why);
		assert_string_equal(call->owner.why.text, expected);
		assert_string_equal(call->owner.events, "RF");
		assert_true(call->peer.alert > 0);
		assert_null(session.session);
	}
	tls_call_close(call);
	tls_session_done(&session);
}

struct name_row {
	const char *names[CERTIFIED_NAMES_MAX];
	const char *common_name;
	const char *wanted;
	const char *why; /* NULL: believed */
};

static const struct name_row name_rows[] = {
	{{"mail1.example"}, NULL, "mail1.example", NULL},
	{{"MAIL1.Example"}, NULL, "mail1.eXAMPLE", NULL},
	{{"mail1.example"}, NULL, "mail1.example.", NULL},
	{{"other.example", "mail1.example"}, NULL, "mail1.example", NULL},
	{{"mail1.example"},
	 NULL,
	 "mail2.example",
	 "certificate names mail1.example, not mail2.example"},
	{{"a.example", "b.example"},
	 NULL,
	 "mail2.example",
	 "certificate names a.example, b.example, not mail2.example"},
	{{"a.example", "b.example", "x@y.example", "::1", "d.example"},
	 NULL,
	 "mail2.example",
	 "certificate names a.example, b.example, ::1 and more, not mail2.example"},
	{{"bad\n\x1b.example"},
	 NULL,
	 "mail2.example",
	 "certificate names bad??.example, not mail2.example"},
	/* The common name counts for nothing. */
	{{NULL}, "mail1.example", "mail1.example", "certificate names no host, not mail1.example"},
	{{"x@y.example"},
	 "mail1.example",
	 "mail1.example",
	 "certificate names no host, not mail1.example"},
	/* Wildcards: one whole label, the leftmost. */
	{{"*.mail.example"}, NULL, "a.mail.example", NULL},
	{{"*.mail.example"},
	 NULL,
	 "a.b.mail.example",
	 "certificate names *.mail.example, not a.b.mail.example"},
	{{"*.mail.example"},
	 NULL,
	 "mail.example",
	 "certificate names *.mail.example, not mail.example"},
	{{"m*.mail.example"},
	 NULL,
	 "m1.mail.example",
	 "certificate names m*.mail.example, not m1.mail.example"},
	{{"*1.mail.example"},
	 NULL,
	 "m1.mail.example",
	 "certificate names *1.mail.example, not m1.mail.example"},
	{{"mail.*.example"},
	 NULL,
	 "mail.a.example",
	 "certificate names mail.*.example, not mail.a.example"},
	{{"*.example"}, NULL, "mail1.example", "certificate names *.example, not mail1.example"},
	{{"*"}, NULL, "mail1", "certificate names *, not mail1"},
	/* Addresses are iPAddress, no text. */
	{{"127.0.0.1"}, NULL, "127.0.0.1", NULL},
	{{"::1"}, NULL, "::1", NULL},
	{{"::1"}, NULL, "0:0:0:0:0:0:0:1", NULL},
	{{"127.0.0.1"}, NULL, "127.0.0.2", "certificate names 127.0.0.1, not 127.0.0.2"},
	{{"*.0.0.1"}, NULL, "127.0.0.1", "certificate names *.0.0.1, not 127.0.0.1"},
	{{"mail1.example"},
	 "127.0.0.1",
	 "127.0.0.1",
	 "certificate names mail1.example, not 127.0.0.1"},
	{{"mail1.example"}, NULL, "", "no name that its certificate could be verified for"},
};

static void test_names(void **state)
{
	for (size_t i = 0; i < array_length(name_rows); i++) {
		const struct name_row *row = &name_rows[i];
		struct certified_wish wish = {.issuer = &call_house.authority,
					      .common_name = row->common_name};
		struct certified server;
		struct tls_call call = {.name = row->wanted, .version = versions[i % 2]};

		memcpy(wish.names, row->names, sizeof(wish.names));
		certified_make(&server, &wish);
		call.server = certified_server(&server, NULL, NULL);
		check_server(*state, &call, row->why);
		SSL_CTX_free(call.server);
		certified_done(&server);
	}
}

/* A NUL ends no name (CVE-2009-2408). */
static void test_name_with_nul(void **state)
{
	struct certified_wish wish = {.issuer = &call_house.authority,
				      .names = {"mail1.example\0.evil.example"},
				      .name_length = 27};
	struct certified server;
	struct tls_call call = {.name = "mail1.example"};

	certified_make(&server, &wish);
	call.server = certified_server(&server, NULL, NULL);
	check_server(*state, &call,
		     "certificate names mail1.example?.evil.example, not mail1.example");
	SSL_CTX_free(call.server);
	certified_done(&server);
}

static void check_wish(struct stream_world *world, const struct certified_wish *wish,
		       const struct certified *chain, const char *why)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_client *careless = call_house_client(false, "", false);
		struct certified server;
		struct tls_call call = {.version = versions[i]};

		certified_make(&server, wish);
		call.server = certified_server(&server, chain, NULL);
		check_server(world, &call, why);
		/* Without verification it serves, whoever it is. */
		call = (struct tls_call){.version = versions[i],
					 .server = call.server,
					 .client = careless,
					 .name = i == 0 ? "someone.else" : ""};
		check_server(world, &call, NULL);
		SSL_CTX_free(call.server);
		certified_done(&server);
		tls_client_free(careless);
	}
}

static void test_chains(void **state)
{
	const struct certified *authority = &call_house.authority;
	struct certified stranger;
	struct certified middle;
	struct certified old_middle;
	struct certified no_authority;

	certified_make(&stranger,
		       &(struct certified_wish){.common_name = "stranger", .authority = true});
	certified_make(&middle, &(struct certified_wish){.common_name = "middle",
							 .authority = true,
							 .issuer = authority});
	certified_make(&old_middle, &(struct certified_wish){.common_name = "old middle",
							     .authority = true,
							     .issuer = authority,
							     .begins = -7200,
							     .ends = -60});
	certified_make(&no_authority, &(struct certified_wish){.common_name = "no authority",
							       .issuer = authority});

	struct {
		struct certified_wish wish;
		const struct certified *chain;
		const char *why;
	} rows[] = {
		{{.issuer = authority}, NULL, NULL},
		{{.issuer = &middle}, &middle, NULL},
		{{.issuer = &middle}, NULL, "unable to get local issuer certificate"},
		{{.issuer = &stranger}, NULL, "unable to get local issuer certificate"},
		{{.issuer = &stranger},
		 &stranger,
		 "self signed certificate in certificate chain (certificate 2 of its chain)"},
		{{.common_name = "itself"}, NULL, "self signed certificate"},
		{{.issuer = authority, .begins = -7200, .ends = -60},
		 NULL,
		 "certificate has expired"},
		{{.issuer = authority, .begins = 60}, NULL, "certificate is not yet valid"},
		{{.issuer = &old_middle},
		 &old_middle,
		 "certificate has expired (certificate 2 of its chain)"},
		{{.issuer = &no_authority},
		 &no_authority,
		 "invalid CA certificate (certificate 2 of its chain)"},
		{{.issuer = authority, .for_clients = true},
		 NULL,
		 "unsupported certificate purpose"},
	};

	for (size_t i = 0; i < array_length(rows); i++) {
		rows[i].wish.names[0] = CALL_NAME;
		check_wish(*state, &rows[i].wish, rows[i].chain, rows[i].why);
	}
	certified_done(&stranger);
	certified_done(&middle);
	certified_done(&old_middle);
	certified_done(&no_authority);
}

/* What stands in the file of authorities is one: the server's own certificate, or one between. */
static void test_any_certificate_may_be_an_authority(void **state)
{
	struct certified itself;
	struct certified middle;
	struct certified below;
	char path[64];

	call_house_path(path, "own.pem");
	certified_make(&itself,
		       &(struct certified_wish){.common_name = "itself", .names = {CALL_NAME}});
	certified_make(&middle, &(struct certified_wish){.common_name = "middle",
							 .authority = true,
							 .issuer = &call_house.authority});
	certified_make(&below, &(struct certified_wish){.common_name = "below",
							.names = {CALL_NAME},
							.issuer = &middle});
	for (int i = 0; i < 3; i++) {
		const struct certified *trusted = i == 0 ? &itself : i == 1 ? &middle : &below;
		const struct certified *server = i == 0 ? &itself : &below;
		struct tls_call call = {0};

		certified_write(trusted, NULL, path);
		call.client = call_house_client(true, path, false);
		call.server = certified_server(server, NULL, NULL);
		check_server(*state, &call, NULL);
		call = (struct tls_call){
			.client = call.client, .server = call.server, .name = "else.example"};
		check_server(*state, &call, "certificate names mail1.example, not else.example");
		tls_client_free(call.client);
		SSL_CTX_free(call.server);
	}
	certified_done(&itself);
	certified_done(&middle);
	certified_done(&below);
	unlink(path);
}

/* --- What we say ---------------------------------------------------------------------------- */

static void test_server_name(void **state)
{
	static const struct {
		const char *name;
		const char *sent;
	} rows[] = {
		{"mail1.example", "mail1.example"},
		{"mail1.example.", "mail1.example"},
		{"127.0.0.1", NULL},
		{"::1", NULL},
		{"", NULL},
	};
	struct tls_client *careless = call_house_client(false, "", false);

	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_call call = {.client = careless, .name = rows[i].name};
		const char *sent;
		const uint8_t *alpn;
		unsigned alpn_length;

		tls_call_open(&call, *state);
		sent = SSL_get_servername(call.peer.tls, TLSEXT_NAMETYPE_host_name);
		assert_true((sent == NULL) == (rows[i].sent == NULL));
		if (sent != NULL) {
			assert_string_equal(sent, rows[i].sent);
		}
		SSL_get0_alpn_selected(call.peer.tls, &alpn, &alpn_length);
		assert_int_equal(alpn_length, 0);
		tls_call_close(&call);
	}
	tls_client_free(careless);
}

static void test_policy(void **state)
{
	struct tls_call old = {.version = TLS1_1_VERSION};
	struct tls_call weak = {.version = TLS1_2_VERSION,
				.server = certified_server(&call_house.server, NULL, NULL)};

	tls_call_begin(&old, *state);
	stream_world_settle(*state);
	assert_string_equal(old.owner.events, "RF");
	tls_call_close(&old);
	assert_true(SSL_CTX_set_strict_cipher_list(weak.server, "ECDHE-ECDSA-AES128-SHA"));
	tls_call_begin(&weak, *state);
	stream_world_settle(*state);
	assert_string_equal(weak.owner.events, "RF");
	SSL_CTX_free(weak.server);
	tls_call_close(&weak);
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_call call = {.version = versions[i]};

		tls_call_open(&call, *state);
		assert_string_equal(stream_tls_version(&call.owner.stream),
				    i == 0 ? "TLSv1.2" : "TLSv1.3");
		assert_non_null(stream_tls_cipher(&call.owner.stream));
		assert_false(stream_tls_resumed(&call.owner.stream));
		tls_call_close(&call);
	}
}

static void test_our_certificate(void **state)
{
	struct tls_client *shows = call_house_client(true, call_house.ca, true);
	SSL_CTX *server = certified_server(&call_house.server, NULL, &call_house.authority);

	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_call call = {.client = shows, .server = server, .version = versions[i]};
		struct tls_call silent = {.server = server, .version = versions[i]};
		X509 *shown;

		tls_call_open(&call, *state);
		shown = SSL_get_peer_certificate(call.peer.tls);
		assert_non_null(shown);
		assert_int_equal(X509_cmp(shown, call_house.server.certificate), 0);
		assert_int_equal(sk_CRYPTO_BUFFER_num(SSL_get0_peer_certificates(call.peer.tls)),
				 2);
		X509_free(shown);
		tls_call_close(&call);
		/* Under TLS 1.3 the client is through before the server can refuse it. */
		tls_call_begin(&silent, *state);
		stream_world_settle(*state);
		assert_string_equal(silent.owner.events, i == 0 ? "RF" : "RRr");
		assert_int_equal(silent.owner.ending, i == 0 ? 0 : STREAM_READ_FAILED);
		assert_non_null(strstr(silent.owner.why.text, "ALERT"));
		tls_call_close(&silent);
	}
	SSL_CTX_free(server);
	tls_client_free(shows);
}

/* --- Sessions ------------------------------------------------------------------------------- */

static void check_session(struct stream_world *world, struct tls_call call, bool resumed)
{
	tls_call_open(&call, world);
	assert_int_equal(stream_tls_resumed(&call.owner.stream), resumed);
	assert_int_equal(SSL_session_reused(call.peer.tls), resumed);
	tls_call_close(&call);
}

static void test_sessions(void **state)
{
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_session session = {0};
		struct tls_session other = {0};
		struct tls_call call = {.version = versions[i], .session = &session};
		struct tls_call elsewhere = {.version = versions[i], .session = &other};
		struct tls_call nowhere = {.version = versions[i]};
		SSL_CTX *restarted = certified_server(&call_house.server, NULL, NULL);

		check_session(*state, call, false);
		for (int again = 0; again < 3; again++) {
			assert_non_null(session.session);
			check_session(*state, call, true);
		}
		check_session(*state, elsewhere, false);
		check_session(*state, nowhere, false);
		check_session(*state, elsewhere, true);
		/* A server that knows nothing of it: a full handshake, and a new session. */
		call.server = restarted;
		check_session(*state, call, false);
		check_session(*state, call, true);
		tls_session_done(&session);
		assert_null(session.session);
		tls_session_done(&session);
		check_session(*state, call, false);
		tls_session_done(&session);
		tls_session_done(&other);
		SSL_CTX_free(restarted);
	}
}

/* A ticket of TLS 1.3 is shown once, also if nothing comes of it. */
static void test_ticket_once(void **state)
{
	struct tls_session session = {0};
	struct tls_call first = {.version = TLS1_3_VERSION, .session = &session};
	struct tls_call lost = {.version = TLS1_3_VERSION, .session = &session};

	check_session(*state, first, false);
	assert_non_null(session.session);
	tls_call_begin(&lost, *state);
	assert_null(session.session);
	tls_call_close(&lost);
	check_session(*state, first, false);
	tls_session_done(&session);
}

/* A server that breaks off when it is offered the session is not offered it for ever. */
static void test_session_that_breaks_off(void **state)
{
	struct tls_session session = {0};
	struct tls_call call = {.version = TLS1_2_VERSION, .session = &session};
	struct tls_call broken = {.version = TLS1_2_VERSION, .session = &session};

	check_session(*state, call, false);
	assert_non_null(session.session);
	tls_call_begin(&broken, *state);
	assert_non_null(session.session);
	shutdown(broken.peer.fd, SHUT_WR);
	broken.world->peer = NULL;
	stream_world_until_count(*state, &broken.owner.failures, 1);
	assert_null(session.session);
	assert_int_equal(session.refusals, 1);
	tls_call_close(&broken);
}

/* What the owner of a stream is told when its handshake failed. */
static unsigned told;
static bool told_offered;

static void note_event(struct stream *stream)
{
	(void)stream;
}

static void note_failure(struct stream *stream, const struct error *why)
{
	(void)why;
	told++;
	told_offered = stream_tls_offered(stream);
}

static const struct stream_events noting = {note_event, note_event, note_event, note_failure};

static void check_broken(struct stream_world *world, struct tls_call *broken, bool offered)
{
	told = 0;
	broken->world->peer = NULL;
	stream_set_events(&broken->owner.stream, &noting);
	stream_world_until_count(world, &told, 1);
	assert_int_equal(told_offered, offered);
	tls_call_close(broken);
}

/* A peer that is not TLS's server any more speaks before it is spoken to: no session was offered,
 * so that none is to blame, and nobody tries again at once. */
static void test_no_session_was_offered(void **state)
{
	static const char greeting[] = "* OK ready\r\n";
	struct tls_session session = {0};
	struct tls_call call = {.version = TLS1_2_VERSION, .session = &session};
	struct tls_call broken = {.version = TLS1_2_VERSION, .session = &session};

	check_session(*state, call, false);
	tls_call_begin(&broken, *state);
	assert_int_equal(write(broken.peer.fd, greeting, sizeof(greeting) - 1),
			 sizeof(greeting) - 1);
	check_broken(*state, &broken, false);
	assert_non_null(session.session);
	assert_int_equal(session.refusals, 0);
	tls_session_done(&session);
}

/* Also where the break is seen by what could not be sent. */
static void test_session_that_cannot_be_offered(void **state)
{
	struct tls_session session = {0};
	struct tls_call call = {.version = TLS1_2_VERSION, .session = &session};
	struct tls_call broken = {.version = TLS1_2_VERSION, .session = &session};

	check_session(*state, call, false);
	tls_call_begin(&broken, *state);
	shutdown(broken.owner.stream.watcher.fd, SHUT_WR);
	check_broken(*state, &broken, true);
	assert_null(session.session);
	assert_int_equal(session.refusals, 1);
}

/* A server that goes away in the middle of several handshakes has refused their session once. */
static void test_session_that_several_offer(void **state)
{
	struct tls_session session = {0};
	struct tls_call call = {.version = TLS1_2_VERSION, .session = &session};
	struct tls_call broken[TLS_SESSION_REFUSALS_MAX];

	check_session(*state, call, false);
	for (size_t i = 0; i < array_length(broken); i++) {
		broken[i] = call;
		tls_call_begin(&broken[i], *state);
	}
	for (size_t i = 0; i < array_length(broken); i++) {
		shutdown(broken[i].peer.fd, SHUT_WR);
		check_broken(*state, &broken[i], true);
	}
	assert_null(session.session);
	assert_int_equal(session.refusals, 1);
	check_session(*state, call, false);
	check_session(*state, call, true);
	tls_session_done(&session);
}

/* One more than the most: it is not tried again. A handshake that resumes forgets the others. */
static void test_refusals_in_a_row(void **state)
{
	struct tls_session session = {.refusals = TLS_SESSION_REFUSALS_MAX - 1};
	struct tls_call call = {.version = TLS1_3_VERSION, .session = &session};

	check_session(*state, call, false);
	check_session(*state, call, true);
	assert_int_equal(session.refusals, 0);
	tls_session_done(&session);
	session.refusals = TLS_SESSION_REFUSALS_MAX;
	check_session(*state, call, false);
	assert_null(session.session);
	/* After so many full handshakes one session is tried again. */
	session.refusals = TLS_SESSION_REFUSALS_MAX + TLS_SESSION_REST - 1;
	check_session(*state, call, false);
	assert_null(session.session);
	check_session(*state, call, false);
	assert_int_equal(session.refusals, TLS_SESSION_REFUSALS_MAX - 1);
	check_session(*state, call, true);
	tls_session_done(&session);
}

/* A server that says nothing to the session is not waited for a second time. */
static void test_session_without_an_answer(void **state)
{
	struct tls_session session = {0};
	struct tls_call call = {.version = TLS1_2_VERSION, .session = &session};
	struct tls_call silent = {.version = TLS1_2_VERSION, .session = &session};

	check_session(*state, call, false);
	tls_call_begin(&silent, *state);
	silent.world->peer = NULL;
	stream_world_settle(*state);
	assert_non_null(session.session);
	tls_call_close(&silent);
	assert_null(session.session);
	assert_int_equal(session.refusals, 0);
}

/* Clients may go before their connections, and their sessions still come. */
static void test_client_goes_first(void **state)
{
	for (size_t i = 0; i < array_length(versions) * 2; i++) {
		struct tls_session session = {0};
		struct tls_call call = {.version = versions[i % 2],
					.client = call_house_client(true, call_house.ca, true),
					.session = &session};

		if (i < 2) {
			tls_call_begin(&call, *state);
			tls_client_free(call.client);
			stream_world_settle(*state);
		} else {
			tls_call_open(&call, *state);
			tls_client_free(call.client);
		}
		assert_non_null(session.session);
		tls_peer_write(&call.peer, "hello", 5, 0);
		stream_world_until_received(*state, &call.owner.received, 5);
		tls_call_close(&call);
		tls_session_done(&session);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, stream_world_begin, stream_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refused_files),
		TEST(test_longest_chain),
		TEST(test_no_authorities),
		TEST(test_authorities_in_memory_once),
		TEST(test_system_authorities),
		TEST(test_names),
		TEST(test_name_with_nul),
		TEST(test_chains),
		TEST(test_any_certificate_may_be_an_authority),
		TEST(test_server_name),
		TEST(test_policy),
		TEST(test_our_certificate),
		TEST(test_sessions),
		TEST(test_ticket_once),
		TEST(test_session_that_breaks_off),
		TEST(test_no_session_was_offered),
		TEST(test_session_that_cannot_be_offered),
		TEST(test_session_that_several_offer),
		TEST(test_refusals_in_a_row),
		TEST(test_session_without_an_answer),
		TEST(test_client_goes_first),
	};

	return cmocka_run_group_tests_name("TLS client", tests, call_house_begin, call_house_end);
}
