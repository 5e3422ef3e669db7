/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream that is TLS's client, its owner, and the server at its other end.
 */
#include "support/tls_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

struct call_house call_house;

void call_house_path(char path[64], const char *name)
{
	snprintf(path, 64, "%.31s/%.31s", call_house.folder, name);
}

int call_house_begin(void **state)
{
	struct call_house *house = &call_house;

	(void)state;
	strcpy(house->folder, "/tmp/gatepost-test-XXXXXX");
	assert_non_null(mkdtemp(house->folder));
	call_house_path(house->ca, "ca.pem");
	call_house_path(house->chain, "chain.pem");
	call_house_path(house->key, "key.pem");
	certified_make(&house->authority,
		       &(struct certified_wish){.common_name = "authority", .authority = true});
	certified_make(&house->server, &(struct certified_wish){.common_name = "server",
								.names = {CALL_NAME},
								.issuer = &house->authority});
	certified_write(&house->authority, NULL, house->ca);
	certified_write(&house->server, &house->authority, house->chain);
	certified_write_key(&house->server, house->key);
	house->context = certified_server(&house->server, NULL, NULL);
	house->trust = tls_client_trust_new();
	assert_non_null(house->trust);
	house->client = call_house_client(true, house->ca, false);
	return 0;
}

int call_house_end(void **state)
{
	struct call_house *house = &call_house;

	(void)state;
	tls_client_free(house->client);
	tls_client_trust_free(house->trust);
	SSL_CTX_free(house->context);
	certified_done(&house->server);
	certified_done(&house->authority);
	unlink(house->ca);
	unlink(house->chain);
	unlink(house->key);
	assert_int_equal(rmdir(house->folder), 0);
	return 0;
}

struct tls_client *call_house_client(bool verify, const char *ca, bool shows_certificate)
{
	struct tls_client_settings settings = {
		.verify = verify,
		.ca = ca,
		.chain = shows_certificate ? call_house.chain : "",
		.key = shows_certificate ? call_house.key : "",
	};
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct error error = {0};
	struct tls_client *client = tls_client_new(call_house.trust, &settings, &fault, &error);

	assert_string_equal(error.text, "");
	assert_non_null(client);
	return client;
}

void tls_call_begin(struct tls_call *call, struct stream_world *world)
{
	struct tls_peer_settings settings = {
		.version = call->version,
		.server = call->server != NULL ? call->server : call_house.context,
	};
	struct tls_peer peer = {
		.client = call->client != NULL ? call->client : call_house.client,
		.name = call->name != NULL ? call->name : CALL_NAME,
		.session = call->session,
	};
	int ours;
	int theirs;

	call->world = world;
	stream_world_pair(call->small, &ours, &theirs);
	tls_peer_open(&call->peer, theirs, &settings);
	world->peer = &call->peer;
	stream_owner_accept(&call->owner, world, ours, NULL);
	assert_true(stream_start_tls_client(&call->owner.stream, &peer));
	assert_string_equal(call->owner.events, "R");
}

void tls_call_open(struct tls_call *call, struct stream_world *world)
{
	tls_call_begin(call, world);
	stream_world_settle(world);
	assert_string_equal(call->owner.why.text, "");
	assert_memory_equal(call->owner.events, "RR", 2);
	assert_true(call->peer.finished);
}

void tls_call_close(struct tls_call *call)
{
	call->world->peer = NULL;
	stream_owner_done(&call->owner);
	tls_peer_close(&call->peer);
}
