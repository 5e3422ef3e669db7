/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a client is by its certificate: which fields name a user, and which name nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/base.h"
#include "support/stream_world.h"
#include "support/tls_call.h"
#include "support/tls_peer.h"

static const uint16_t versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

static SSL_CTX *context;

static int begin_group(void **state)
{
	call_house_begin(state);
	context = certified_server(&call_house.server, NULL, &call_house.authority);
	return 0;
}

static int end_group(void **state)
{
	SSL_CTX_free(context);
	return call_house_end(state);
}

static void check_stream(const struct stream *stream, const char *email, const char *common_name)
{
	const char *const expected[] = {
		[CONFIG_CLIENT_NAME_EMAIL] = email, [CONFIG_CLIENT_NAME_CN] = common_name};

	for (size_t i = 0; i < array_length(expected); i++) {
		char user[STREAM_CERTIFIED_USER_MAX + 1] = "untouched";
		bool found = stream_tls_certified_user(stream, (enum config_client_name)i, user);

		assert_int_equal(found, expected[i] != NULL);
		assert_string_equal(user, found ? expected[i] : "untouched");
	}
}

/* One connection; `peer` is left with the session that the server gave it. */
static void connect_with(struct stream_world *world, struct test_peer *peer,
			 const struct tls_peer_settings *settings, const char *const expected[2])
{
	struct stream_owner owner = {0};
	int ours;
	int theirs;

	stream_world_pair(false, &ours, &theirs);
	tls_peer_open(peer, theirs, settings);
	world->peer = peer;
	stream_owner_accept(&owner, world, ours, context);
	stream_world_until_events(world, &owner, 1);
	assert_string_equal(owner.why.text, "");
	assert_string_equal(owner.events, "R");
	stream_write(&owner.stream, "x", 1); /* a ticket waits for it */
	stream_world_until_received(world, &peer->received, 1);
	assert_int_equal(stream_tls_resumed(&owner.stream), settings->session != NULL);
	check_stream(&owner.stream, expected[0], expected[1]);
	stream_owner_done(&owner);
	world->peer = NULL;
}

/* A session that is resumed is of the same user. */
static void check_user(struct stream_world *world, const struct certified_wish *wish,
		       const char *email, const char *common_name)
{
	const char *const expected[2] = {email, common_name};
	struct certified_wish signed_wish = *wish;
	struct certified identity;

	signed_wish.issuer = &call_house.authority;
	signed_wish.for_clients = true;
	certified_make(&identity, &signed_wish);
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_peer_settings settings = {.version = versions[i], .identity = &identity};
		struct test_peer first;
		struct test_peer second;

		connect_with(world, &first, &settings, expected);
		assert_non_null(first.session);
		settings.session = first.session;
		connect_with(world, &second, &settings, expected);
		tls_peer_close(&first);
		tls_peer_close(&second);
	}
	certified_done(&identity);
}

static void test_names(void **state)
{
	static const struct {
		struct certified_wish wish;
		const char *email;
		const char *common_name;
	} rows[] = {
		{{.names = {"joe@example.org"}}, "joe@example.org", NULL},
		{{.common_name = "joe"}, NULL, "joe"},
		{{.common_name = "joe", .names = {"joe@example.org"}}, "joe@example.org", "joe"},
		{{.common_name = "j\xc3\xb6rg"}, NULL, "j\xc3\xb6rg"},
		{{.names = {"joe.example.org", "joe@example.org", "10.0.0.1"}},
		 "joe@example.org",
		 NULL},
		/* Which one? */
		{{.names = {"joe@example.org", "jim@example.org"}}, NULL, NULL},
		{{.names = {"joe@example.org", "joe@example.org"}}, NULL, NULL},
		{{.common_name = "joe", .common_name_2 = "jim"}, NULL, NULL},
		{{.common_name = "joe", .common_name_2 = "joe"}, NULL, NULL},
		/* Neither. */
		{{.names = {"joe.example.org"}}, NULL, NULL},
		{{.common_name = "", .names = {"joe.example.org"}}, NULL, NULL},
		/* No text. */
		{{.names = {"joe@example.org\0@evil"}, .name_length = 21}, NULL, NULL},
		{{.names = {"joe@example.org\r\n"}}, NULL, NULL},
		{{.names = {"joe@\x7f"}}, NULL, NULL},
		{{.names = {"j\xc3\xb6@example.org"}}, "j\xc3\xb6@example.org", NULL},
		{{.names = {"j\xf6@example.org"}}, NULL, NULL},
		{{.common_name = "joe\n"}, NULL, NULL},
	};

	for (size_t i = 0; i < array_length(rows); i++) {
		check_user(*state, &rows[i].wish, rows[i].email, rows[i].common_name);
	}
}

static void test_longest_name(void **state)
{
	char name[STREAM_CERTIFIED_USER_MAX + 2];

	memset(name, 'x', sizeof(name));
	name[3] = '@';
	name[STREAM_CERTIFIED_USER_MAX + 1] = '\0';
	check_user(*state, &(struct certified_wish){.names = {name}}, NULL, NULL);
	name[STREAM_CERTIFIED_USER_MAX] = '\0';
	check_user(*state, &(struct certified_wish){.names = {name}}, name, NULL);
}

/* As after a resumption: it was good when it was verified, and is no longer. */
static void test_expired_since(void **state)
{
	static const struct certified_wish wish = {
		.names = {"joe@example.org"},
		.begins = -3600,
		.ends = -60,
	};
	SSL_CTX *strict = context;

	context = certified_server(&call_house.server, NULL, &call_house.authority);
	X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context), time(NULL) - 1800);
	check_user(*state, &wish, NULL, NULL);
	SSL_CTX_free(context);
	context = strict;
}

static int accept_anything(int ok, X509_STORE_CTX *unused)
{
	(void)ok;
	(void)unused;
	return 1;
}

/* Neither a stream without TLS, nor without a certificate, nor with one that was not verified. */
static void test_nobody(void **state)
{
	static const char *const nobody[2] = {NULL, NULL};
	SSL_CTX *strict = context;
	struct certified stranger;
	struct tls_peer_settings settings = {.identity = &stranger};
	struct stream_owner plain = {0};
	struct test_peer peer;
	int ours;
	int theirs;

	stream_world_pair(false, &ours, &theirs);
	stream_owner_accept(&plain, *state, ours, NULL);
	check_stream(&plain.stream, NULL, NULL);
	stream_owner_done(&plain);
	close(theirs);

	certified_make(&stranger, &(struct certified_wish){.common_name = "joe",
							   .names = {"joe@example.org"}});
	context = certified_server(&call_house.server, NULL, NULL);
	connect_with(*state, &peer, &settings, nobody);
	tls_peer_close(&peer);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_anything);
	connect_with(*state, &peer, &settings, nobody);
	tls_peer_close(&peer);
	settings.identity = NULL;
	connect_with(*state, &peer, &settings, nobody);
	tls_peer_close(&peer);
	SSL_CTX_free(context);
	context = strict;
	certified_done(&stranger);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, stream_world_begin, stream_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names),
		TEST(test_longest_name),
		TEST(test_expired_since),
		TEST(test_nobody),
	};

	return cmocka_run_group_tests_name("users by certificate", tests, begin_group, end_group);
}
