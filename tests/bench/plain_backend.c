/* SPDX-License-Identifier: Apache-2.0
 *
 * The far side of the benchmark: a plain IMAP server that lets everybody in and does as little as
 * an honest answer allows, so that what is measured is the proxy. It also answers the HTTP question
 * by which nginx finds a backend, always with itself; and GET /sessions with how many are logged
 * in, and when the last of those who were has ended, by the monotonic clock.
 *
 * Commands: CAPABILITY ID NOOP LOGIN AUTHENTICATE IDLE LOGOUT, APPEND (a sink), and
 * XDOWNLOAD <bytes>, answered like a FETCH of one message of that size.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CAPABILITIES "IMAP4rev1 SASL-IR LITERAL+ ID IDLE"
#define CHUNK_BYTES  (256 * 1024)
#define TAG_MAX      32

enum waiting { WAIT_COMMAND, WAIT_TOKEN, WAIT_DONE };

struct server;

struct peer {
	ev_io watcher;
	struct server *server;
	int fd;
	bool http;
	bool asks_sessions;
	bool counted;
	bool closing; /* when everything is written */
	enum waiting waiting;
	bool continued;         /* this line goes on where a literal ended */
	uint64_t skip_left;     /* bytes of a literal still to come */
	uint64_t download_left; /* bytes of a download still to go */
	char tag[TAG_MAX];
	char verb[16];
	unsigned line_length;
	unsigned output_length;
	char line[2048];
	char output[1024];
};

struct server {
	struct ev_loop *loop;
	ev_io imap;
	ev_io http;
	char http_answer[256];
	unsigned sessions;
	double last_end;
	char *chunk; /* read into by all peers in turn */
	char *block; /* what downloads are made of */
};

static void fatal(const char *what)
{
	fprintf(stderr, "plain_backend: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void peer_close(struct peer *peer)
{
	if (peer->counted) {
		peer->server->sessions--;
		peer->server->last_end = now_seconds();
	}
	ev_io_stop(peer->server->loop, &peer->watcher);
	close(peer->fd);
	free(peer);
}

static void peer_say(struct peer *peer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void peer_say(struct peer *peer, const char *format, ...)
{
	size_t room = sizeof(peer->output) - peer->output_length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(peer->output + peer->output_length, room, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= room) {
		/* Only a client that pipelines without reading comes here: it ends. */
		peer->closing = true;
		return;
	}
	peer->output_length += (unsigned)length;
}

/* Sends what is due. False when the peer has gone. */
static bool peer_flush(struct peer *peer)
{
	while (peer->output_length > 0 || peer->download_left > 0) {
		bool bulk = peer->output_length == 0;
		const char *bytes = bulk ? peer->server->block : peer->output;
		size_t length = bulk ? CHUNK_BYTES : peer->output_length;
		ssize_t sent;

		if (bulk && peer->download_left < length) {
			length = peer->download_left;
		}
		sent = send(peer->fd, bytes, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			return true;
		}
		if (sent < 0) {
			peer_close(peer);
			return false;
		}
		if (!bulk) {
			peer->output_length -= (unsigned)sent;
			memmove(peer->output, peer->output + sent, peer->output_length);
			continue;
		}
		peer->download_left -= (uint64_t)sent;
		if (peer->download_left == 0) {
			peer_say(peer, ")\r\n%s OK FETCH completed\r\n", peer->tag);
		}
	}
	if (peer->closing) {
		peer_close(peer);
		return false;
	}
	return true;
}

static void peer_watch(struct peer *peer)
{
	bool writing = peer->output_length > 0 || peer->download_left > 0;
	int events = writing ? EV_WRITE : EV_READ;

	if ((peer->watcher.events & (EV_READ | EV_WRITE)) != events) {
		ev_io_stop(peer->server->loop, &peer->watcher);
		ev_io_set(&peer->watcher, peer->fd, events);
		ev_io_start(peer->server->loop, &peer->watcher);
	}
}

static void command_login(struct peer *peer)
{
	if (!peer->counted) {
		peer->counted = true;
		peer->server->sessions++;
	}
	peer_say(peer, "%s OK [CAPABILITY " CAPABILITIES "] Logged in\r\n", peer->tag);
}

static void command_authenticate(struct peer *peer)
{
	/* With an initial response the line has four words. */
	const char *mechanism = strcasestr(peer->line, " PLAIN");

	if (mechanism != NULL && strchr(mechanism + 1, ' ') != NULL) {
		command_login(peer);
		return;
	}
	peer->waiting = WAIT_TOKEN;
	peer_say(peer, "+ \r\n");
}

static void command_capability(struct peer *peer)
{
	peer_say(peer, "* CAPABILITY " CAPABILITIES " AUTH=PLAIN\r\n%s OK done\r\n", peer->tag);
}

static void command_id(struct peer *peer)
{
	peer_say(peer, "* ID NIL\r\n%s OK done\r\n", peer->tag);
}

static void command_done(struct peer *peer)
{
	peer_say(peer, "%s OK %s completed\r\n", peer->tag, peer->verb);
}

static void command_idle(struct peer *peer)
{
	peer->waiting = WAIT_DONE;
	peer_say(peer, "+ idling\r\n");
}

static void command_logout(struct peer *peer)
{
	peer_say(peer, "* BYE see you\r\n%s OK done\r\n", peer->tag);
	peer->closing = true;
}

static void command_download(struct peer *peer)
{
	const char *number = strrchr(peer->line, ' ');

	peer->download_left = number == NULL ? 0 : strtoull(number + 1, NULL, 10);
	if (peer->download_left == 0) {
		peer_say(peer, "%s BAD how many bytes?\r\n", peer->tag);
		return;
	}
	peer_say(peer, "* 1 FETCH (BODY[] {%llu}\r\n", (unsigned long long)peer->download_left);
}

static const struct {
	const char *verb;
	void (*run)(struct peer *peer);
} commands[] = {
	{"NOOP", command_done},
	{"LOGIN", command_login},
	{"AUTHENTICATE", command_authenticate},
	{"IDLE", command_idle},
	{"LOGOUT", command_logout},
	{"XDOWNLOAD", command_download},
	{"APPEND", command_done},
	{"CAPABILITY", command_capability},
	{"ID", command_id},
};

static void peer_run(struct peer *peer)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcasecmp(commands[i].verb, peer->verb) == 0) {
			commands[i].run(peer);
			return;
		}
	}
	peer_say(peer, "%s BAD unknown command\r\n", peer->tag);
}

/* A line that ends in {n} or {n+} announces a literal: it is let fall, whatever it holds. */
static bool peer_take_literal(struct peer *peer)
{
	char *brace = strrchr(peer->line, '{');
	char *end;
	uint64_t length;

	if (brace == NULL || peer->line[peer->line_length - 1] != '}') {
		return false;
	}
	length = strtoull(brace + 1, &end, 10);
	if (end == brace + 1 || (*end != '}' && *end != '+')) {
		return false;
	}
	peer->skip_left = length;
	if (*end == '}') {
		peer_say(peer, "+ OK\r\n");
	}
	return true;
}

static void peer_line_imap(struct peer *peer)
{
	if (peer->waiting != WAIT_COMMAND) {
		peer->waiting = WAIT_COMMAND;
		command_login(peer);
		return;
	}
	if (!peer->continued && sscanf(peer->line, "%31s %15s", peer->tag, peer->verb) != 2) {
		peer_say(peer, "* BAD what?\r\n");
		return;
	}
	peer->continued = peer_take_literal(peer);
	if (!peer->continued) {
		peer_run(peer);
	}
}

static void peer_line_http(struct peer *peer)
{
	if (strncmp(peer->line, "GET /sessions ", strlen("GET /sessions ")) == 0) {
		peer->asks_sessions = true;
	}
	if (peer->line_length > 0) {
		return;
	}
	if (peer->asks_sessions) {
		peer_say(peer, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n%u %.6f\n",
			 peer->server->sessions, peer->server->last_end);
	} else {
		peer_say(peer, "%s", peer->server->http_answer);
	}
	peer->closing = true;
}

static void peer_line(struct peer *peer)
{
	if (peer->http) {
		peer_line_http(peer);
		return;
	}
	if (peer->waiting == WAIT_DONE) {
		peer->waiting = WAIT_COMMAND;
		command_done(peer);
		return;
	}
	peer_line_imap(peer);
}

/* Takes one line or the rest of a literal from the front of `bytes`; returns how much. */
static size_t peer_take(struct peer *peer, const char *bytes, size_t length)
{
	const char *newline;
	size_t taken;

	if (peer->skip_left > 0) {
		taken = length < peer->skip_left ? length : (size_t)peer->skip_left;
		peer->skip_left -= taken;
		return taken;
	}
	newline = memchr(bytes, '\n', length);
	taken = newline == NULL ? length : (size_t)(newline - bytes) + 1;
	if (peer->line_length + taken >= sizeof(peer->line)) {
		peer->closing = true;
		return length;
	}
	memcpy(peer->line + peer->line_length, bytes, taken);
	peer->line_length += (unsigned)taken;
	if (newline == NULL) {
		return taken;
	}
	while (peer->line_length > 0 && strchr("\r\n", peer->line[peer->line_length - 1])) {
		peer->line_length--;
	}
	peer->line[peer->line_length] = '\0';
	peer_line(peer);
	peer->line_length = 0;
	return taken;
}

static void on_peer(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct peer *peer = watcher->data;
	char *chunk = peer->server->chunk;
	ssize_t length;
	size_t taken = 0;

	(void)loop;
	if (events & EV_READ) {
		length = recv(peer->fd, chunk, CHUNK_BYTES, 0);
		if (length == 0 || (length < 0 && errno != EAGAIN)) {
			peer_close(peer);
			return;
		}
		while (length > 0 && taken < (size_t)length && !peer->closing) {
			taken += peer_take(peer, chunk + taken, (size_t)length - taken);
		}
	}
	if (peer_flush(peer)) {
		peer_watch(peer);
	}
}

static void on_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct server *server = watcher->data;
	int one = 1;

	(void)events;
	for (int i = 0; i < 64; i++) {
		struct peer *peer;
		int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			return;
		}
		peer = calloc(1, sizeof(*peer));
		if (peer == NULL) {
			close(fd);
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		peer->fd = fd;
		peer->server = server;
		peer->http = watcher == &server->http;
		peer->watcher.data = peer;
		ev_io_init(&peer->watcher, on_peer, fd, EV_READ);
		ev_io_start(loop, &peer->watcher);
		if (!peer->http) {
			peer_say(peer, "* OK [CAPABILITY " CAPABILITIES " AUTH=PLAIN] ready\r\n");
			(void)peer_flush(peer);
		}
	}
}

static void server_listen(struct server *server, ev_io *watcher, unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
		fatal("listen");
	}
	watcher->data = server;
	ev_io_init(watcher, on_accept, fd, EV_READ);
	ev_io_start(server->loop, watcher);
}

int main(int argc, char **argv)
{
	struct server server = {0};
	struct rlimit limit;
	unsigned imap_port = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	unsigned http_port = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	if (imap_port == 0 || http_port == 0) {
		fprintf(stderr, "usage: plain_backend IMAP_PORT HTTP_PORT\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	server.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	server.chunk = malloc(CHUNK_BYTES);
	server.block = malloc(CHUNK_BYTES);
	if (server.loop == NULL || server.chunk == NULL || server.block == NULL) {
		fatal("start");
	}
	for (size_t i = 0; i < CHUNK_BYTES; i++) {
		server.block[i] = (char)(i % 78 == 77 ? '\n' : 'a' + i % 26);
	}
	snprintf(server.http_answer, sizeof(server.http_answer),
		 "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n"
		 "Auth-Port: %u\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		 imap_port);
	server_listen(&server, &server.imap, imap_port);
	server_listen(&server, &server.http, http_port);
	printf("ready\n");
	fflush(stdout);
	ev_run(server.loop, 0);
	return 0;
}
