/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream with TLS, its owner, and the other end.
 */
#include "support/tls_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "net/tls_client.h"

uint8_t line_pattern[MEBIBYTE];
const uint16_t line_versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct tls_files files;
static SSL_CTX *context;
static struct tls_client_trust *trust;
static struct tls_client *client; /* NULL: the streams are servers */

int tls_line_begin_group(void **state)
{
	(void)state;
	stream_pattern(line_pattern, sizeof(line_pattern), 7);
	tls_files_make(&files, 0);
	context = tls_files_context(&files);
	return 0;
}

int tls_line_begin_client_group(void **state)
{
	struct tls_client_settings settings = {.ca = "", .chain = "", .key = ""};
	enum tls_client_fault fault;

	trust = tls_client_trust_new();
	client = tls_client_new(trust, &settings, &fault, NULL);
	assert_non_null(client);
	return tls_line_begin_group(state);
}

int tls_line_end_group(void **state)
{
	(void)state;
	tls_client_free(client);
	tls_client_trust_free(trust);
	client = NULL;
	trust = NULL;
	tls_files_remove(&files);
	return 0;
}

int tls_line_begin_test(void **state)
{
	stream_world_begin(state);
	((struct stream_world *)*state)->context = context;
	return 0;
}

void tls_line_check_received(const struct tls_line *line, size_t length)
{
	assert_int_equal(line->owner.received.length, length);
	assert_memory_equal(buffer_bytes(&line->owner.received), line_pattern, length);
}

/* The event of the plain stream is none of the test's. */
static void start_client(struct tls_line *line, int fd)
{
	struct tls_peer peer = {.client = client, .name = "imap.test"};
	stream_owner_hook_t *on_ready = line->owner.on_ready;

	SSL_set_options(line->peer.tls, SSL_OP_NO_TICKET); /* they would be events too */
	line->owner.on_ready = NULL;
	stream_owner_accept(&line->owner, line->world, fd, NULL);
	assert_string_equal(line->owner.events, "R");
	line->owner.events[0] = '\0';
	line->owner.on_ready = on_ready;
	assert_true(stream_start_tls_client(&line->owner.stream, &peer));
}

void tls_line_begin(struct tls_line *line, struct stream_world *world, uint16_t version, bool small)
{
	struct tls_peer_settings settings = {.version = version,
					     .server = client != NULL ? world->context : NULL};
	int ours;
	int theirs;

	line->world = world;
	stream_world_pair(small, &ours, &theirs);
	tls_peer_open(&line->peer, theirs, &settings);
	world->peer = &line->peer;
	if (client != NULL) {
		start_client(line, ours);
	} else {
		stream_owner_accept(&line->owner, world, ours, world->context);
	}
}

void tls_line_open(struct tls_line *line, struct stream_world *world, uint16_t version, bool small)
{
	tls_line_begin(line, world, version, small);
	stream_world_settle(world);
	assert_string_equal(line->owner.events, "R");
	assert_true(line->peer.finished);
}

void tls_line_close(struct tls_line *line)
{
	line->world->peer = NULL;
	stream_owner_done(&line->owner);
	tls_peer_close(&line->peer);
}

void tls_line_send_all(struct tls_line *line)
{
	size_t length = line->peer.outgoing.length;
	int arrived = 0;

	tls_peer_send(&line->peer, length);
	assert_int_equal(line->peer.outgoing.length, 0);
	do {
		assert_int_equal(ioctl(line->owner.stream.watcher.fd, FIONREAD, &arrived), 0);
	} while ((size_t)arrived < length);
}
