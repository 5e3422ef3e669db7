/* SPDX-License-Identifier: Apache-2.0
 *
 * The scripted backend, which speaks through the streams of the house.
 */
#include "support/probe_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "net/resolver.h"

/* A header of version 2: signature, LOCAL, no address. */
#define HEADER_LOCAL      "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
#define HEADER_LOCAL_SIZE 16

static const struct stream_events line_events;

/* --- The backend ---------------------------------------------------------------------------- */

static void say(struct scripted_line *line, const char *text)
{
	if (text != NULL) {
		stream_write(&line->stream, text, strlen(text));
	}
}

static void say_tagged(struct scripted_line *line, const char *tag, const char *text)
{
	char reply[200];

	if (text == NULL) {
		return;
	}
	snprintf(reply, sizeof(reply), "%.16s %.150s\r\n", tag, text);
	say(line, reply);
}

static void close_line(struct scripted_line *line)
{
	if (line->stream.phase == STREAM_CLOSED) {
		return;
	}
	stream_close(&line->stream);
	buffer_done(&line->input);
}

static void answer_capability(struct scripted_line *line, const char *tag)
{
	struct scripted_backend *scripted = line->backend;
	bool secured = stream_tls_version(&line->stream) != NULL && scripted->secured != NULL;
	const char *list = secured ? scripted->secured : scripted->capabilities;

	if (list != NULL) {
		say(line, list);
		say_tagged(line, tag, "OK done");
	}
}

static void start_tls(struct scripted_line *line)
{
	assert_true(stream_start_tls(&line->stream, line->backend->world->context,
				     buffer_bytes(&line->input), line->input.length));
	buffer_done(&line->input);
}

static void answer_starttls(struct scripted_line *line, const char *tag)
{
	const char *text = line->backend->starttls;

	say_tagged(line, tag, text);
	if (text != NULL && strncmp(text, "OK", 2) == 0 && strchr(text, '\n') == NULL) {
		start_tls(line);
	}
}

static void answer(struct scripted_line *line, const char *tag, const char *command)
{
	struct scripted_backend *scripted = line->backend;

	if (strcmp(command, "CAPABILITY") == 0) {
		answer_capability(line, tag);
	} else if (strcmp(command, "STARTTLS") == 0) {
		answer_starttls(line, tag);
	} else if (strncmp(command, "LOGIN ", 6) == 0) {
		say_tagged(line, tag, scripted->login);
	} else if (strcmp(command, "LOGOUT") == 0) {
		scripted->logouts++;
		say(line, "* BYE\r\n");
		say_tagged(line, tag, "OK done");
		if (!scripted->stays) {
			stream_shutdown(&line->stream, STREAM_ENDING_CLEAN);
		}
	} else {
		fail_msg("the backend heard \"%s\"", command);
	}
}

/* False when there is no whole line. */
static bool take_line(struct scripted_line *line)
{
	char text[200];
	const uint8_t *bytes = buffer_bytes(&line->input);
	const uint8_t *end = memmem(bytes, line->input.length, "\r\n", 2);
	char *command;

	if (end == NULL) {
		return false;
	}
	snprintf(text, sizeof(text), "%.*s", (int)(end - bytes), (const char *)bytes);
	buffer_consume(&line->input, (size_t)(end - bytes) + 2);
	command = strchr(text, ' ');
	assert_non_null(command);
	*command++ = '\0';
	buffer_append_text(&line->backend->heard, command);
	buffer_append_text(&line->backend->heard, "\n");
	answer(line, text, command);
	return true;
}

/* The header comes before all else, TLS too. */
static bool take_header(struct scripted_line *line)
{
	struct scripted_backend *scripted = line->backend;

	if (!scripted->expects_header || line->header_read) {
		return true;
	}
	if (line->input.length < HEADER_LOCAL_SIZE) {
		return false;
	}
	assert_memory_equal(buffer_bytes(&line->input), HEADER_LOCAL, HEADER_LOCAL_SIZE);
	buffer_consume(&line->input, HEADER_LOCAL_SIZE);
	line->header_read = true;
	scripted->headers++;
	if (scripted->implicit) {
		start_tls(line);
		return false;
	}
	say(line, scripted->greeting);
	return true;
}

static void on_ready(struct stream *stream)
{
	struct scripted_line *line = container_of(stream, struct scripted_line, stream);
	struct scripted_backend *scripted = line->backend;
	bool secured = stream_tls_version(stream) != NULL;

	stream_set_reading(stream, true);
	if (secured == scripted->implicit && (secured || !scripted->expects_header)) {
		say(line, scripted->greeting);
	}
}

static void on_readable(struct stream *stream)
{
	struct scripted_line *line = container_of(stream, struct scripted_line, stream);
	uint8_t bytes[4096];
	struct error error;
	size_t count;

	for (;;) {
		switch (stream_read(stream, bytes, sizeof(bytes), &count, &error)) {
		case STREAM_READ_BYTES:
			assert_true(buffer_append(&line->input, bytes, count));
			while (take_header(line) && take_line(line)) {
			}
			break;
		case STREAM_READ_LATER:
			return;
		default:
			close_line(line);
			return;
		}
		if (stream->phase != STREAM_OPEN) {
			return;
		}
	}
}

static void on_drained(struct stream *stream)
{
	(void)stream;
}

static void on_failed(struct stream *stream, const struct error *why)
{
	(void)why;
	close_line(container_of(stream, struct scripted_line, stream));
}

static const struct stream_events line_events = {
	.ready = on_ready,
	.readable = on_readable,
	.drained = on_drained,
	.failed = on_failed,
};

static void on_connection(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct scripted_backend *scripted =
		container_of(watcher, struct scripted_backend, listener);
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	bool tls = scripted->implicit && !scripted->expects_header;
	struct scripted_line *line;

	(void)loop;
	(void)events;
	assert_true(fd >= 0 && scripted->accepted < SCRIPTED_LINES_MAX);
	line = &scripted->lines[scripted->accepted++];
	if (scripted->drops) {
		close(fd);
		return;
	}
	line->backend = scripted;
	assert_true(stream_accept(&line->stream, &scripted->world->shared, fd,
				  tls ? scripted->world->context : NULL, &line_events));
}

static int bind_loopback(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

uint16_t probe_world_free_port(void)
{
	uint16_t port;

	close(bind_loopback(&port));
	return port;
}

const char *scripted_heard(struct scripted_backend *scripted)
{
	buffer_append_byte(&scripted->heard, '\0');
	scripted->heard.length--; /* it stays behind the text */
	return (const char *)buffer_bytes(&scripted->heard);
}

/* --- The world ------------------------------------------------------------------------------ */

int probe_world_begin(void **state)
{
	struct probe_world *world = calloc(1, sizeof(*world));
	struct error error = {0};
	int fd;

	assert_non_null(world);
	world->loop = ev_loop_new(EVFLAG_AUTO);
	assert_true(stream_loop_init(&world->shared, world->loop, 0));
	timeouts_init(&world->timeouts, world->loop);
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	world->house = (struct probe_house){
		.shared = &world->shared,
		.timeouts = &world->timeouts,
		.resolver = world->resolver,
		.metrics = &world->metrics,
	};
	world->scripted.world = world;
	world->scripted.greeting = SCRIPTED_GREETING;
	fd = bind_loopback(&world->scripted.port);
	assert_int_equal(listen(fd, 64), 0);
	ev_io_init(&world->scripted.listener, on_connection, fd, EV_READ);
	ev_io_start(world->loop, &world->scripted.listener);
	*state = world;
	return 0;
}

int probe_world_end(void **state)
{
	struct probe_world *world = *state;

	for (unsigned i = 0; i < world->scripted.accepted; i++) {
		close_line(&world->scripted.lines[i]);
	}
	ev_io_stop(world->loop, &world->scripted.listener);
	close(world->scripted.listener.fd);
	buffer_done(&world->scripted.heard);
	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	timeouts_done(&world->timeouts);
	stream_loop_done(&world->shared);
	ev_loop_destroy(world->loop);
	SSL_CTX_free(world->context);
	free(world);
	return 0;
}

void probe_world_serve_tls(struct probe_world *world, const char *chain, const char *key)
{
	world->context = SSL_CTX_new(TLS_method());
	assert_non_null(world->context);
	assert_int_equal(SSL_CTX_use_certificate_chain_file(world->context, chain), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(world->context, key, SSL_FILETYPE_PEM), 1);
}

struct backend *probe_world_backend(struct probe_world *world, const char *name, const char *host,
				    uint16_t port)
{
	char user[] = "{user}";
	char empty[] = "";
	char *copy = strdup(name);
	struct config_backend config = {
		.name = copy,
		.server_name = empty,
		.user = user,
		.master_user = empty,
		.connect_timeout_ms = PROBE_PATIENT_MS,
		.login_timeout_ms = PROBE_PATIENT_MS,
	};
	struct error error = {0};
	struct backend *backend;

	assert_true(endpoint_parse(&config.address, host, port != 0 ? port : world->scripted.port,
				   &error));
	backend = backend_new(&config, NULL);
	assert_non_null(backend);
	endpoint_done(&config.address);
	free(copy);
	return backend;
}

uint64_t probe_world_counted(const struct probe_world *world, enum metric metric)
{
	return metrics_get(&world->metrics, metric);
}
