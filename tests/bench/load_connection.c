/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection of the load generator: TCP, TLS by BoringSSL, lines and literals. Received TLS
 * bytes go through one buffer that all connections share, 64 KiB at a time, so that the generator
 * costs less than what it measures.
 */
#include "bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_BYTES     (1024 * 1024)
#define FAILURES_MAX   1000
#define RECEIVE_AGAIN  (-1)
#define RECEIVE_FAILED (-2)

static int bio_read(BIO *bio, char *bytes, int length)
{
	struct connection *connection = BIO_get_data(bio);
	struct load *load = connection->load;
	unsigned take = (unsigned)length;

	BIO_clear_retry_flags(bio);
	if (load->cipher_length == 0) {
		ssize_t got = recv(connection->fd, load->cipher, CIPHER_BYTES, 0);

		if (got <= 0) {
			if (got < 0 && errno == EAGAIN) {
				BIO_set_retry_read(bio);
			}
			return (int)got;
		}
		load->cipher_start = 0;
		load->cipher_length = (unsigned)got;
	}
	take = take < load->cipher_length ? take : load->cipher_length;
	memcpy(bytes, load->cipher + load->cipher_start, take);
	load->cipher_start += take;
	load->cipher_length -= take;
	return (int)take;
}

static int bio_write(BIO *bio, const char *bytes, int length)
{
	struct connection *connection = BIO_get_data(bio);
	ssize_t sent = send(connection->fd, bytes, (size_t)length, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (sent < 0 && errno == EAGAIN) {
		BIO_set_retry_write(bio);
	}
	return (int)sent;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int on_new_ticket(SSL *ssl, SSL_SESSION *ticket)
{
	struct connection *connection = SSL_get_app_data(ssl);

	SSL_SESSION_free(connection->ticket);
	connection->ticket = ticket;
	return 1;
}

static int connection_receive(struct connection *connection, uint8_t *bytes, int length)
{
	int got;

	if (connection->ssl == NULL) {
		got = (int)recv(connection->fd, bytes, (size_t)length, 0);
		return got >= 0 ? got : errno == EAGAIN ? RECEIVE_AGAIN : RECEIVE_FAILED;
	}
	got = SSL_read(connection->ssl, bytes, length);
	if (got > 0) {
		return got;
	}
	switch (SSL_get_error(connection->ssl, got)) {
	case SSL_ERROR_WANT_READ:
		return RECEIVE_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		connection->load->now.unclean++;
		ERR_clear_error();
		return got == 0 ? 0 : RECEIVE_FAILED;
	}
}

static int connection_send(struct connection *connection, const void *bytes, int length)
{
	int sent;

	if (connection->ssl == NULL) {
		sent = (int)send(connection->fd, bytes, (size_t)length, MSG_NOSIGNAL);
		return sent >= 0 ? sent : errno == EAGAIN ? RECEIVE_AGAIN : RECEIVE_FAILED;
	}
	sent = SSL_write(connection->ssl, bytes, length);
	if (sent > 0) {
		return sent;
	}
	return SSL_get_error(connection->ssl, sent) == SSL_ERROR_WANT_WRITE ? RECEIVE_AGAIN
									    : RECEIVE_FAILED;
}

static void connection_watch(struct connection *connection)
{
	struct ev_loop *loop = connection->load->loop;
	int events = EV_READ;

	if (connection->step == STEP_CONNECT || connection->output_length > 0 ||
	    connection->upload_left > 0) {
		events |= EV_WRITE;
	}
	if ((connection->watcher.events & (EV_READ | EV_WRITE)) != events) {
		ev_io_stop(loop, &connection->watcher);
		ev_io_set(&connection->watcher, connection->fd, events);
		ev_io_start(loop, &connection->watcher);
	}
}

static void connection_close(struct connection *connection)
{
	struct load *load = connection->load;

	ev_io_stop(load->loop, &connection->watcher);
	if (connection->step < STEP_WORK) {
		load->opening--;
	}
	SSL_free(connection->ssl);
	connection->ssl = NULL;
	close(connection->fd);
	connection->step = STEP_CLOSED;
	load->cipher_length = 0;
}

bool connection_fail(struct connection *connection, const char *why)
{
	struct load *load = connection->load;

	snprintf(load->last_failure, sizeof(load->last_failure), "%s, step %d", why,
		 (int)connection->step);
	load->now.failed++;
	connection_close(connection);
	if (load->now.failed > FAILURES_MAX) {
		load_fatal("%d failures; the last: %s", FAILURES_MAX, load->last_failure);
	}
	if (load->options.mode != MODE_LOGIN && load->options.mode != MODE_IDLE) {
		load_fatal("a session ended: %s", load->last_failure);
	}
	connection_replace(connection);
	return false;
}

static bool connection_ended(struct connection *connection, bool at_end)
{
	if (connection->step == STEP_REST) {
		connection_lost(connection);
		connection_close(connection);
		return false;
	}
	if (connection->step != STEP_LOGOUT || !at_end) {
		return connection_fail(connection, at_end ? "the peer closed" : "receiving failed");
	}
	connection->load->now.operations++;
	connection_close(connection);
	connection_replace(connection);
	return false;
}

/* Sends what is due; false when the connection has ended. */
static bool connection_flush(struct connection *connection)
{
	struct load *load = connection->load;
	uint64_t budget = TURN_BYTES;

	while (connection->output_length > 0 || (connection->upload_left > 0 && budget > 0)) {
		bool bulk = connection->output_length == 0;
		int length = bulk ? UPLOAD_BLOCK : (int)connection->output_length;
		int sent;

		if (bulk && connection->upload_left < UPLOAD_BLOCK) {
			length = (int)connection->upload_left;
		}
		sent = connection_send(connection, bulk ? (void *)load->block : connection->output,
				       length);
		if (sent == RECEIVE_AGAIN) {
			return true;
		}
		if (sent < 0) {
			return connection_fail(connection, "sending failed");
		}
		load->now.bytes_out += (uint64_t)sent;
		if (!bulk) {
			connection->output_length -= (unsigned)sent;
			memmove(connection->output, connection->output + sent,
				connection->output_length);
			continue;
		}
		budget -= (uint64_t)sent < budget ? (uint64_t)sent : budget;
		connection->upload_left -= (uint64_t)sent;
		if (connection->upload_left == 0) {
			memcpy(connection->output, "\r\n", 2);
			connection->output_length = 2;
		}
	}
	return true;
}

bool connection_command(struct connection *connection, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	connection->output_length = (unsigned)vsnprintf(
		connection->output, sizeof(connection->output), format, arguments);
	va_end(arguments);
	if (!connection_flush(connection)) {
		return false;
	}
	connection_watch(connection);
	return true;
}

static bool connection_consume(struct connection *connection, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		const uint8_t *newline;
		size_t take;

		if (connection->literal_left > 0) {
			take = length < connection->literal_left ? length
								 : (size_t)connection->literal_left;
			connection->literal_left -= take;
			bytes += take;
			length -= take;
			continue;
		}
		newline = memchr(bytes, '\n', length);
		take = newline == NULL ? length : (size_t)(newline - bytes) + 1;
		if (connection->line_length + take >= sizeof(connection->line)) {
			return connection_fail(connection, "line too long");
		}
		memcpy(connection->line + connection->line_length, bytes, take);
		connection->line_length += (unsigned)take;
		connection->line[connection->line_length] = '\0';
		bytes += take;
		length -= take;
		if (newline != NULL) {
			connection->line_length = 0;
			if (!connection_line(connection)) {
				return false;
			}
		}
	}
	return true;
}

static bool connection_pump(struct connection *connection)
{
	struct load *load = connection->load;
	uint64_t seen = 0;

	/* The shared buffer must be empty when another connection is read. */
	while (seen < TURN_BYTES || load->cipher_length > 0) {
		int got = connection_receive(connection, load->clear, CLEAR_BYTES);

		if (got == RECEIVE_AGAIN) {
			return true;
		}
		if (got <= 0) {
			return connection_ended(connection, got == 0);
		}
		seen += (uint64_t)got;
		load->now.bytes_in += (uint64_t)got;
		if (!connection_consume(connection, load->clear, (size_t)got)) {
			return false;
		}
	}
	return true;
}

static bool connection_connected(struct connection *connection)
{
	struct load *load = connection->load;
	socklen_t length = sizeof(int);
	int failure = 0;
	BIO *bio;

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &length);
	if (failure != 0) {
		return connection_fail(connection, strerror(failure));
	}
	connection->step = STEP_GREETING;
	if (!load->options.tls) {
		return true;
	}
	connection->ssl = SSL_new(load->tls);
	bio = BIO_new(load->bio);
	if (connection->ssl == NULL || bio == NULL) {
		load_fatal("no memory");
	}
	BIO_set_data(bio, connection);
	BIO_set_init(bio, 1);
	SSL_set_bio(connection->ssl, bio, bio);
	SSL_set_app_data(connection->ssl, connection);
	SSL_set_connect_state(connection->ssl);
	if (connection->ticket != NULL) {
		SSL_set_session(connection->ssl, connection->ticket);
	}
	connection->step = STEP_HANDSHAKE;
	return true;
}

/* True when the handshake is over. */
static bool connection_handshake(struct connection *connection)
{
	int result = SSL_do_handshake(connection->ssl);

	if (result == 1) {
		connection->step = STEP_GREETING;
		return true;
	}
	if (SSL_get_error(connection->ssl, result) != SSL_ERROR_WANT_READ) {
		ERR_print_errors_fp(stderr);
		return connection_fail(connection, "TLS handshake failed");
	}
	return false;
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct connection *connection = watcher->data;

	(void)loop;
	if (connection->step == STEP_CONNECT && !connection_connected(connection)) {
		return;
	}
	if (connection->step == STEP_HANDSHAKE && !connection_handshake(connection)) {
		if (connection->step == STEP_HANDSHAKE) {
			connection_watch(connection);
		}
		return;
	}
	if ((events & EV_WRITE) && !connection_flush(connection)) {
		return;
	}
	if (connection_pump(connection)) {
		connection_watch(connection);
	}
}

bool connection_open(struct connection *connection, double due)
{
	struct load *load = connection->load;
	struct sockaddr_in source = {.sin_family = AF_INET};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		load_fatal("socket: %s", strerror(errno));
	}
	/* Several source addresses, so that ports never run out. */
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + load->serial++ % load->options.sources);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (load->options.sources > 1 && bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0) {
		load_fatal("bind: %s", strerror(errno));
	}
	load->opening++;
	connection->fd = fd;
	connection->step = STEP_CONNECT;
	connection->due = due;
	connection->output_length = 0;
	connection->line_length = 0;
	connection->literal_left = 0;
	connection->upload_left = 0;
	connection->watcher.data = connection;
	ev_io_init(&connection->watcher, on_connection, fd, EV_READ | EV_WRITE);
	ev_io_start(load->loop, &connection->watcher);
	if (connect(fd, (struct sockaddr *)&load->options.address, sizeof(load->options.address)) <
		    0 &&
	    errno != EINPROGRESS) {
		return connection_fail(connection, strerror(errno));
	}
	return true;
}

void load_init_tls(struct load *load)
{
	load->tls = SSL_CTX_new(TLS_client_method());
	load->bio = BIO_meth_new(0, "imapload");
	if (load->tls == NULL || load->bio == NULL ||
	    !SSL_CTX_set1_curves_list(load->tls, "X25519")) {
		load_fatal("TLS does not start");
	}
	BIO_meth_set_read(load->bio, bio_read);
	BIO_meth_set_write(load->bio, bio_write);
	BIO_meth_set_ctrl(load->bio, bio_control);
	SSL_CTX_set_min_proto_version(load->tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(load->tls, SSL_VERIFY_NONE, NULL);
	if (load->options.resume) {
		SSL_CTX_set_session_cache_mode(load->tls,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(load->tls, on_new_ticket);
	}
}
