/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: sessions that stay with their certificate and policy, clients with certificates, and
 * what is refused with which words.
 */
#include <malloc.h>
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
#include <openssl/x509.h>

#include "../../proxy/net/tls_internal.h"
#include "base/base.h"
#include "net/ticket.h"
#include "support/tls_pair.h"

static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct tls_store *open_store(const struct tls_front *front)
{
	struct error error = {0};
	struct tls_store *store = tls_store_new(&front->config, &error);

	assert_string_equal(error.text, "");
	assert_non_null(store);
	return store;
}

static void run(struct tls_pair *pair, const struct tls_store *store,
		const struct tls_pair_settings *settings)
{
	tls_pair_run(pair, tls_store_context(store), settings);
}

/* --- Sessions ------------------------------------------------------------------------------- */

static void check_return(const struct tls_store *store, struct tls_pair_settings settings,
			 SSL_SESSION *session, bool resumed)
{
	struct tls_pair pair;

	settings.session = session;
	run(&pair, store, &settings);
	assert_true(pair.finished);
	assert_int_equal(tls_pair_resumed(&pair), resumed);
	tls_pair_done(&pair);
}

/* Names of one certificate are one; another certificate is another. */
static void test_certificates_apart(void **state)
{
	struct tls_front front;
	struct tls_store *store;

	(void)state;
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test", "b.test"}});
	tls_front_add(&front, &(struct certified_wish){.names = {"c.test"}});
	store = open_store(&front);
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_pair_settings settings = {.version = versions[i], .name = "a.test"};
		struct tls_pair first;

		run(&first, store, &settings);
		assert_true(first.finished);
		assert_non_null(first.session);
		assert_false(SSL_SESSION_early_data_capable(first.session));
		check_return(store, settings, first.session, true);
		settings.name = "b.test";
		check_return(store, settings, first.session, true);
		settings.name = "nobody.test";
		check_return(store, settings, first.session, true);
		settings.name = NULL;
		check_return(store, settings, first.session, true);
		settings.name = "c.test";
		check_return(store, settings, first.session, false);
		tls_pair_done(&first);
	}
	tls_store_free(store);
	tls_front_end(&front);
}

/* The same keys, but another policy. */
static void check_policies(struct tls_front *front, struct config_tls_front *changed, bool resumed)
{
	struct config_tls_front before = front->config;
	struct tls_store *store = open_store(front);
	struct tls_store *other;

	front->config = *changed;
	other = open_store(front);
	front->config = before;
	for (size_t i = 0; i < other->count; i++) {
		assert_true(ticket_keys_serve(store->tickets, other->certificates[i].context));
	}
	assert_true(ticket_keys_serve(store->tickets, other->context));
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_pair_settings settings = {.version = versions[i], .name = "a.test"};
		struct tls_pair first;

		if (versions[i] == TLS1_2_VERSION && changed->min_version == CONFIG_TLS_1_3) {
			continue;
		}
		run(&first, store, &settings);
		check_return(other, settings, first.session, resumed);
		tls_pair_done(&first);
	}
	tls_store_free(other);
	tls_store_free(store);
}

static void test_policies_apart(void **state)
{
	struct certified authority;
	struct certified another;
	struct config_tls_front changed;
	struct tls_front front;
	char *first_ca;
	char *second_ca;

	(void)state;
	certified_make(&authority,
		       &(struct certified_wish){.common_name = "made", .authority = true});
	certified_make(&another,
		       &(struct certified_wish){.common_name = "made", .authority = true});
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
	first_ca = tls_front_path(&front, "first.pem");
	second_ca = tls_front_path(&front, "second.pem");
	certified_write(&authority, NULL, first_ca);
	certified_write(&another, NULL, second_ca);

	changed = front.config;
	check_policies(&front, &changed, true);
	changed.min_version = CONFIG_TLS_1_3;
	check_policies(&front, &changed, false);
	changed = front.config;
	changed.client_ca = first_ca;
	check_policies(&front, &changed, false);
	front.config.client_ca = second_ca;
	check_policies(&front, &changed, false);
	front.config.client_ca = first_ca;
	check_policies(&front, &changed, true);

	free(first_ca);
	free(second_ca);
	certified_done(&authority);
	certified_done(&another);
	tls_front_end(&front);
}

/* Where nobody comes, the refresh forgets keys of tickets. */
static void test_keys_age(void **state)
{
	struct tls_front front;
	struct tls_store *store;
	struct tls_pair pair;
	const uint8_t *ticket;
	size_t length;

	(void)state;
	tls_front_begin(&front);
	front.config.ticket_lifetime_ms = 1;
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
	store = open_store(&front);
	run(&pair, store, &(struct tls_pair_settings){0});
	assert_non_null(pair.session);
	SSL_SESSION_get0_ticket(pair.session, &ticket, &length);
	usleep(5000);
	tls_store_refresh(store);
	assert_null(memmem(store->tickets, malloc_usable_size(store->tickets), ticket,
			   SSL_TICKET_KEY_NAME_LEN));
	tls_pair_done(&pair);
	tls_store_free(store);
	tls_front_end(&front);
}

/* --- Clients -------------------------------------------------------------------------------- */

enum { TRUSTED, LATE, STRANGE, SERVER, CLIENTS };

static void make_clients(struct certified *clients, const struct certified *authority,
			 const struct certified *stranger)
{
	certified_make(&clients[TRUSTED],
		       &(struct certified_wish){.common_name = "user", .issuer = authority});
	certified_make(
		&clients[LATE],
		&(struct certified_wish){.common_name = "user", .issuer = authority, .ends = -60});
	certified_make(&clients[STRANGE],
		       &(struct certified_wish){.common_name = "user", .issuer = stranger});
	certified_make(&clients[SERVER], &(struct certified_wish){.common_name = "user",
								  .issuer = authority,
								  .for_servers = true});
}

/* Whichever certificate is shown. */
static void check_client(const struct tls_store *store, const struct tls_pair_settings *settings,
			 bool taken)
{
	static const char *const names[] = {"a.test", "b.test", NULL};

	for (size_t i = 0; i < array_length(names) * 2; i++) {
		struct tls_pair_settings named = *settings;
		struct tls_pair pair;

		named.name = names[i / 2];
		named.version = versions[i % 2];
		run(&pair, store, &named);
		assert_int_equal(pair.finished, taken);
		if (taken) {
			const STACK_OF(CRYPTO_BUFFER) *chain =
				SSL_get0_peer_certificates(pair.server);

			assert_int_equal(chain != NULL, named.certificate != NULL);
			assert_int_equal(pair.authorities, 1);
			check_return(store, named, pair.session, true);
		}
		tls_pair_done(&pair);
	}
}

static void test_clients(void **state)
{
	struct certified authority;
	struct certified stranger;
	struct certified clients[CLIENTS];
	struct tls_front front;
	struct tls_store *store;

	(void)state;
	certified_make(&authority,
		       &(struct certified_wish){.common_name = "ours", .authority = true});
	certified_make(&stranger,
		       &(struct certified_wish){.common_name = "theirs", .authority = true});
	make_clients(clients, &authority, &stranger);
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
	tls_front_add(&front, &(struct certified_wish){.names = {"b.test"}});
	front.config.client_ca = tls_front_path(&front, "ca.pem");
	certified_write(&authority, NULL, front.config.client_ca);
	store = open_store(&front);

	check_client(store, &(struct tls_pair_settings){0}, true);
	check_client(store, &(struct tls_pair_settings){.certificate = &clients[TRUSTED]}, true);
	check_client(store, &(struct tls_pair_settings){.certificate = &clients[LATE]}, false);
	check_client(store, &(struct tls_pair_settings){.certificate = &clients[STRANGE]}, false);
	check_client(store, &(struct tls_pair_settings){.certificate = &clients[SERVER]}, false);

	tls_store_free(store);
	for (size_t i = 0; i < CLIENTS; i++) {
		certified_done(&clients[i]);
	}
	certified_done(&authority);
	certified_done(&stranger);
	free(front.config.client_ca);
	tls_front_end(&front);
}

/* Without client_ca. */
static void test_nobody_asked(void **state)
{
	struct certified client;
	struct tls_front front;
	struct tls_store *store;

	(void)state;
	certified_make(&client, &(struct certified_wish){.common_name = "user"});
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
	store = open_store(&front);
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_pair pair;

		run(&pair, store,
		    &(struct tls_pair_settings){.version = versions[i], .certificate = &client});
		assert_true(pair.finished);
		assert_int_equal(pair.authorities, -1);
		assert_null(SSL_get0_peer_certificates(pair.server));
		tls_pair_done(&pair);
	}
	tls_store_free(store);
	certified_done(&client);
	tls_front_end(&front);
}

/* --- Words ---------------------------------------------------------------------------------- */

static void check_refused(const struct tls_front *front, enum tls_load fault, const char *path,
			  const char *words)
{
	struct error error = {0};
	char expected[320];

	assert_null(tls_store_new(&front->config, &error));
	snprintf(expected, sizeof(expected), "%s: %s", path, words);
	assert_string_equal(error.text, expected);
	error.text[0] = '\0';
	if (fault == TLS_BAD_CLIENT_CA) {
		assert_int_equal(tls_check_client_ca(path, &error), fault);
	} else {
		assert_int_equal(tls_check_certificate(&front->certificates[1], &error), fault);
	}
	assert_string_equal(error.text, expected);
	/* Nothing is left for the next to find. */
	tls_error_set(&error, "nothing");
	assert_string_equal(error.text, "nothing");
}

/* Of the second certificate: every one is looked at. */
static void test_refused_keys(void **state)
{
	static const struct {
		enum certified_key key;
		bool encrypted;
		const char *words;
	} rows[] = {
		{CERTIFIED_P256, true, "this key is encrypted; write it without a password"},
		{CERTIFIED_RSA, true, "this key is encrypted; write it without a password"},
		{CERTIFIED_P224, false, "no RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct tls_front front;

		tls_front_begin(&front);
		tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
		tls_front_add(&front,
			      &(struct certified_wish){.key = rows[i].key, .common_name = "other"});
		if (rows[i].encrypted) {
			certified_write_key_encrypted(&front.certified[1],
						      front.certificates[1].key);
		}
		check_refused(&front, TLS_BAD_KEY, front.certificates[1].key, rows[i].words);
		tls_front_end(&front);
	}
}

static void test_refused_authorities(void **state)
{
	struct tls_front front;
	char *missing;
	char *broken;
	FILE *file;

	(void)state;
	tls_front_begin(&front);
	tls_front_add(&front, &(struct certified_wish){.names = {"a.test"}});
	missing = tls_front_path(&front, "none.pem");
	broken = tls_front_path(&front, "broken.pem");
	front.config.client_ca = missing;
	check_refused(&front, TLS_BAD_CLIENT_CA, missing, "No such file or directory");
	front.config.client_ca = front.certificates[0].key;
	check_refused(&front, TLS_BAD_CLIENT_CA, front.certificates[0].key,
		      "not a PEM file of certificates");
	front.config.client_ca = front.folder;
	check_refused(&front, TLS_BAD_CLIENT_CA, front.folder, "not a PEM file of certificates");
	/* A good one, and then one that is not. */
	certified_write(&front.certified[0], NULL, broken);
	file = fopen(broken, "a");
	assert_non_null(file);
	fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	front.config.client_ca = broken;
	check_refused(&front, TLS_BAD_CLIENT_CA, broken, "not a PEM file of certificates");
	assert_int_equal(tls_check_client_ca(front.certificates[0].chain, NULL), TLS_LOADED);
	free(missing);
	free(broken);
	tls_front_end(&front);
}

static void test_free_nothing(void **state)
{
	(void)state;
	tls_store_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates_apart),
		cmocka_unit_test(test_policies_apart),
		cmocka_unit_test(test_keys_age),
		cmocka_unit_test(test_clients),
		cmocka_unit_test(test_nobody_asked),
		cmocka_unit_test(test_refused_keys),
		cmocka_unit_test(test_refused_authorities),
		cmocka_unit_test(test_free_nothing),
	};

	return cmocka_run_group_tests_name("tls_store", tests, NULL, NULL);
}
