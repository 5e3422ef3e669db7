/* SPDX-License-Identifier: Apache-2.0
 *
 * A Redis of a test's own.
 */
#include "support/fake_redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "support/redis_words.h"
#include "support/tls_peer.h"

static void handle_input(struct fake_redis *fake)
{
	char joined[4096];
	unsigned accepted = fake->accepted;

	while (fake->client.fd >= 0 && fake->accepted == accepted) {
		size_t taken = redis_words_take(&fake->input, joined, sizeof(joined));

		if (taken == 0) {
			return;
		}
		buffer_consume(&fake->input, taken);
		if (strcmp(joined, "PING") == 0 && !fake->hears_pings) {
			fake_redis_send(fake, "+PONG\r\n");
			continue;
		}
		fake->commands++;
		fake->on_command(fake, joined);
	}
}

static bool take_plain(struct fake_redis *fake)
{
	char bytes[16384];
	ssize_t count = recv(fake->client.fd, bytes, sizeof(bytes), 0);

	if (count > 0) {
		assert_true(buffer_append(&fake->input, bytes, (size_t)count));
	}
	return count > 0;
}

static bool take_tls(struct fake_redis *fake)
{
	struct test_peer *peer = fake->peer;

	tls_peer_pump(peer);
	buffer_append(&fake->input, buffer_bytes(&peer->received), peer->received.length);
	buffer_done(&peer->received);
	return !peer->fin && !peer->reset;
}

static void on_client(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_redis *fake = container_of(watcher, struct fake_redis, client);

	(void)loop;
	(void)events;
	if (fake->peer != NULL ? !take_tls(fake) : !take_plain(fake)) {
		fake_redis_hang_up(fake);
	} else if (!fake->deaf) {
		handle_input(fake);
	}
}

static void begin_tls(struct fake_redis *fake, int fd)
{
	fake->peer = calloc(1, sizeof(*fake->peer));
	assert_non_null(fake->peer);
	tls_peer_open(fake->peer, fd, &(struct tls_peer_settings){.server = fake->tls});
}

static void on_listener(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_redis *fake = container_of(watcher, struct fake_redis, listener);
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	assert_true(fd >= 0);
	fake_redis_hang_up(fake);
	fake->accepted++;
	if (fake->tls != NULL) {
		begin_tls(fake, fd);
	}
	ev_io_init(&fake->client, on_client, fd, EV_READ);
	ev_io_start(loop, &fake->client);
}

static int listen_tcp(struct fake_redis *fake, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	fake->port = ntohs(address.sin_port);
	return fd;
}

static int listen_unix(struct fake_redis *fake, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	memcpy(fake->path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void fake_redis_open(struct fake_redis *fake, struct ev_loop *loop, uint16_t port, const char *path,
		     fake_redis_command_t *on_command)
{
	int fd;

	*fake = (struct fake_redis){.loop = loop, .on_command = on_command};
	fake->client.fd = -1;
	fd = path != NULL ? listen_unix(fake, path) : listen_tcp(fake, port);
	assert_int_equal(listen(fd, 64), 0);
	ev_io_init(&fake->listener, on_listener, fd, EV_READ);
	ev_io_start(loop, &fake->listener);
}

void fake_redis_send_bytes(struct fake_redis *fake, const void *bytes, size_t length)
{
	const char *rest = bytes;

	if (fake->peer != NULL) {
		tls_peer_write(fake->peer, bytes, length, 0);
		tls_peer_pump(fake->peer);
		return;
	}
	while (length > 0) {
		ssize_t sent = send(fake->client.fd, rest, length, MSG_NOSIGNAL);

		if (sent < 0) {
			return; /* the other side has hung up, as it should over some of this */
		}
		rest += sent;
		length -= (size_t)sent;
	}
}

void fake_redis_send(struct fake_redis *fake, const char *text)
{
	fake_redis_send_bytes(fake, text, strlen(text));
}

void fake_redis_hang_up(struct fake_redis *fake)
{
	if (fake->client.fd < 0) {
		return;
	}
	ev_io_stop(fake->loop, &fake->client);
	if (fake->peer != NULL) {
		tls_peer_close(fake->peer);
		free(fake->peer);
		fake->peer = NULL;
	} else {
		close(fake->client.fd);
	}
	fake->client.fd = -1;
	buffer_done(&fake->input);
}

void fake_redis_forget_tls(struct fake_redis *fake)
{
	SSL_CTX_free(fake->tls);
	fake->tls = NULL;
}

void fake_redis_close(struct fake_redis *fake)
{
	fake_redis_hang_up(fake);
	ev_io_stop(fake->loop, &fake->listener);
	close(fake->listener.fd);
	if (fake->path[0] != '\0') {
		unlink(fake->path);
	}
}
