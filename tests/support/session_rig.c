/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor of sessions, and the sockets around it.
 */
#include "support/session_rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/base.h"
#include "core/config.h"
#include "net/resolver.h"
#include "routing/route.h"

#define PATIENCE_MS       30000
#define PAUSE_NANOSECONDS 100000
#define SETTLE_TURNS      100

/* --- Sockets -------------------------------------------------------------------------------- */

static int listen_on(const char *ip, int backlog)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static unsigned port_of(int fd)
{
	struct sockaddr_in address = {0};
	socklen_t length = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

static int connect_to(int listening)
{
	struct sockaddr_in address = {0};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	assert_true(connect(fd, (struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS);
	return fd;
}

/* What a peer says shall leave at once, even if a reset follows. */
static void send_at_once(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static unsigned free_port(void)
{
	int fd = listen_on("127.0.0.1", 1);
	unsigned port = port_of(fd);

	close(fd);
	return port;
}

static unsigned count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL) {
		count++;
	}
	closedir(directory);
	return count;
}

/* --- The floor ------------------------------------------------------------------------------ */

static const char *or_nothing(const char *text)
{
	return text != NULL ? text : "";
}

static void add_backend(struct buffer *text, const char *name, const char *address,
			const struct rig_options *options)
{
	buffer_printf(text, "[[backend]]\nname = \"%s\"\naddress = \"%s\"\n%s\n", name, address,
		      or_nothing(options->backend));
}

static void add_local_backend(struct buffer *text, const char *name, unsigned port,
			      const struct rig_options *options)
{
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	add_backend(text, name, address, options);
}

static struct config *make_config(struct session_rig *rig, const struct rig_options *options)
{
	struct buffer text = {0};
	struct config *config;

	buffer_printf(&text,
		      "[[listener]]\naddress = \"127.0.0.1:%d\"\ntls = \"none\"\n"
		      "allow_plaintext = true\n",
		      RIG_LISTENER_PORT);
	buffer_printf(&text, "[[listener]]\naddress = \"127.0.0.1:%d\"\n", RIG_LISTENER_PORT + 1);
	buffer_printf(&text, "[[listener]]\naddress = \"unix:/run/gatepost-rig\"\ntls = \"none\"\n"
			     "allow_plaintext = true\n");
	buffer_printf(&text, "[[tls.certificate]]\nchain = \"/proc/self/exe\"\n"
			     "key = \"/proc/self/exe\"\n");
	buffer_printf(&text, "[redis]\nurl = \"redis://127.0.0.1:%u\"\n%s\n", port_of(rig->redis),
		      options->redis != NULL ? options->redis : "timeout = \"60s\"");
	buffer_printf(&text, "[routing]\nsource = \"%s\"\n",
		      options->no_redis ? "static" : "redis");
	buffer_printf(&text, "[routing.users]\nalice = \"mail1\"\ncarol = \"mail1\"\n"
			     "stuck = \"stuck\"\nnowhere = \"nowhere\"\nloop = \"loop\"\n"
			     "unixloop = \"unixloop\"\nnounix = \"nounix\"\nsilent = \"silent\"\n");
	buffer_printf(&text, "[limits]\n%s\n", or_nothing(options->limits));
	if (options->backend_address != NULL) {
		add_backend(&text, "mail1", options->backend_address, options);
	} else {
		add_local_backend(&text, "mail1", port_of(rig->backend), options);
	}
	add_local_backend(&text, "stuck", port_of(rig->stuck), options);
	add_local_backend(&text, "nowhere", free_port(), options);
	add_local_backend(&text, "loop", RIG_LISTENER_PORT, options);
	add_backend(&text, "unixloop", "unix:/run/gatepost-rig", options);
	add_backend(&text, "nounix", "unix:/run/gatepost-no-such-socket", options);
	add_backend(&text, "silent", "silent.example:143", options);
	buffer_append_byte(&text, '\0');
	config = config_load_text((const char *)buffer_bytes(&text), "rig", stderr);
	buffer_done(&text);
	assert_non_null(config);
	return config;
}

/* One connection that nobody accepts fills a backlog of 0; some systems take a few more. */
static void open_stuck(struct session_rig *rig)
{
	rig->stuck = listen_on("127.0.0.1", 0);
	for (size_t i = 0; i < array_length(rig->fillers); i++) {
		rig->fillers[i] = connect_to(rig->stuck);
	}
}

static void open_set(struct session_rig *rig)
{
	struct session_house house = {
		.config = rig->config,
		.shared = &rig->shared,
		.timeouts = &rig->timeouts,
		.router = rig->router,
		.resolver = rig->resolver,
		.metrics = &rig->metrics,
		.limit = &rig->limit,
		.tls = rig->tls,
	};

	session_set_init(&rig->set, &house);
}

void session_rig_open(struct session_rig *rig, const struct rig_options *options)
{
	static const struct rig_options usual = {0};
	struct error error = {0};

	if (options == NULL) {
		options = &usual;
	}
	*rig = (struct session_rig){.descriptors = count_descriptors()};
	rig->front = listen_on("127.0.0.1", 128);
	rig->backend = listen_on("127.0.0.1", 128);
	rig->redis = listen_on("127.0.0.1", 128);
	open_stuck(rig);
	rig->config = make_config(rig, options);
	rig->limit.max = options->max_sessions > 0 ? options->max_sessions : 1000;
	rig->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_non_null(rig->loop);
	timeouts_init(&rig->timeouts, rig->loop);
	assert_true(stream_loop_init(&rig->shared, rig->loop, 0));
	rig->resolver = resolver_new(rig->loop, options->dns, &error);
	assert_non_null(rig->resolver);
	rig->router = router_new(
		&(struct router_settings){
			.config = rig->config,
			.shared = &rig->shared,
			.timeouts = &rig->timeouts,
			.resolver = rig->resolver,
			.metrics = &rig->metrics,
		},
		&error);
	assert_non_null(rig->router);
	rig->tls = SSL_CTX_new(TLS_method());
	assert_non_null(rig->tls);
	open_set(rig);
}

void session_rig_close(struct session_rig *rig)
{
	session_set_close(&rig->set);
	assert_int_equal(session_set_count(&rig->set), 0);
	session_set_done(&rig->set);
	assert_int_equal(atomic_load(&rig->limit.taken), 0);
	router_free(rig->router);
	resolver_free(rig->resolver);
	stream_loop_done(&rig->shared);
	timeouts_done(&rig->timeouts);
	ev_loop_destroy(rig->loop);
	config_unref(rig->config);
	SSL_CTX_free(rig->tls);
	close(rig->backend);
	close(rig->redis);
	close(rig->stuck);
	close(rig->front);
	for (size_t i = 0; i < array_length(rig->fillers); i++) {
		close(rig->fillers[i]);
	}
	assert_int_equal(count_descriptors(), rig->descriptors);
}

/* --- Time ----------------------------------------------------------------------------------- */

void rig_turn(struct session_rig *rig)
{
	ev_run(rig->loop, EVRUN_NOWAIT);
}

static void pause_briefly(void)
{
	struct timespec pause = {.tv_nsec = PAUSE_NANOSECONDS};

	nanosleep(&pause, NULL);
}

void rig_settle(struct session_rig *rig)
{
	for (unsigned i = 0; i < SETTLE_TURNS; i++) {
		rig_turn(rig);
		pause_briefly();
	}
}

void rig_wait(struct session_rig *rig, rig_condition_t *done, const void *context)
{
	uint64_t given_up_ms = timeouts_now_ms() + PATIENCE_MS;

	while (!done(rig, context)) {
		assert_true(timeouts_now_ms() < given_up_ms);
		rig_turn(rig);
		pause_briefly();
	}
}

struct phase_count {
	enum session_phase phase;
	unsigned count;
};

unsigned rig_count(const struct session_rig *rig, enum session_phase phase)
{
	return rig->set.phases[phase].count;
}

static bool has_count(struct session_rig *rig, const void *context)
{
	const struct phase_count *wanted = context;

	return rig_count(rig, wanted->phase) == wanted->count;
}

void rig_wait_phase(struct session_rig *rig, enum session_phase phase, unsigned count)
{
	rig_wait(rig, has_count, &(struct phase_count){phase, count});
}

static bool is_gone(struct session_rig *rig, const void *context)
{
	(void)context;
	return session_set_count(&rig->set) == 0 && rig_count(rig, SESSION_CLOSED) == 0;
}

void rig_wait_gone(struct session_rig *rig)
{
	rig_wait(rig, is_gone, NULL);
	assert_int_equal(atomic_load(&rig->limit.taken), 0);
}

/* --- Peers ---------------------------------------------------------------------------------- */

static void connect_client(struct session_rig *rig, size_t listener, struct rig_peer *client)
{
	struct sockaddr_storage from = {0};
	socklen_t length = sizeof(from);
	struct addr peer;
	int fd;

	*client = (struct rig_peer){.fd = connect_to(rig->front)};
	send_at_once(client->fd);
	do {
		fd = accept4(rig->front, (struct sockaddr *)&from, &length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno == EAGAIN);
	assert_true(fd >= 0);
	addr_from_sockaddr(&peer, (const struct sockaddr *)&from);
	session_accept(&rig->set, &rig->config->listeners[listener], fd, &peer);
}

void rig_connect(struct session_rig *rig, struct rig_peer *client)
{
	connect_client(rig, 0, client);
}

void rig_connect_tls(struct session_rig *rig, struct rig_peer *client)
{
	connect_client(rig, 1, client);
}

void rig_connect_unix(struct session_rig *rig, struct rig_peer *client)
{
	struct addr peer = {.family = AF_UNIX};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	*client = (struct rig_peer){.fd = pair[0]};
	session_accept(&rig->set, &rig->config->listeners[2], pair[1], &peer);
}

struct accepting {
	int listening;
	struct rig_peer *peer;
};

static bool has_accepted(struct session_rig *rig, const void *context)
{
	const struct accepting *accepting = context;

	(void)rig;
	accepting->peer->fd =
		accept4(accepting->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (accepting->peer->fd < 0) {
		return false;
	}
	send_at_once(accepting->peer->fd);
	return true;
}

void rig_accept(struct session_rig *rig, int listening, struct rig_peer *peer)
{
	*peer = (struct rig_peer){.fd = -1};
	rig_wait(rig, has_accepted, &(struct accepting){listening, peer});
}

void rig_hear(struct rig_peer *peer)
{
	uint8_t bytes[16384];
	ssize_t count;

	while (!peer->ended) {
		count = recv(peer->fd, bytes, sizeof(bytes), 0);
		if (count > 0) {
			buffer_append(&peer->heard, bytes, (size_t)count);
		} else if (count < 0 && errno == EAGAIN) {
			return;
		} else {
			peer->ended = true;
			peer->reset = count < 0;
		}
	}
}

static const uint8_t *find(const struct rig_peer *peer, const char *text)
{
	return memmem(buffer_bytes(&peer->heard), peer->heard.length, text, strlen(text));
}

bool rig_has_heard(const struct rig_peer *peer, const char *text)
{
	return find(peer, text) != NULL;
}

struct expecting {
	struct rig_peer *peer;
	const char *text;
};

static bool has_heard(struct session_rig *rig, const void *context)
{
	const struct expecting *expecting = context;

	(void)rig;
	rig_hear(expecting->peer);
	return find(expecting->peer, expecting->text) != NULL || expecting->peer->ended;
}

static void wait_text(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	rig_wait(rig, has_heard, &(struct expecting){peer, text});
	if (!rig_has_heard(peer, text)) {
		print_error("expected %s, heard %.*s\n", text, (int)peer->heard.length,
			    (const char *)buffer_bytes(&peer->heard));
		fail();
	}
}

static void drop_through(struct rig_peer *peer, const char *text)
{
	size_t before = (size_t)(find(peer, text) - buffer_bytes(&peer->heard));

	buffer_consume(&peer->heard, before + strlen(text));
}

void rig_expect(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	wait_text(rig, peer, text);
	drop_through(peer, text);
}

void rig_expect_only(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	wait_text(rig, peer, text);
	assert_ptr_equal(find(peer, text), buffer_bytes(&peer->heard));
	drop_through(peer, text);
}

static bool has_ended(struct session_rig *rig, const void *context)
{
	const struct expecting *expecting = context;

	(void)rig;
	rig_hear(expecting->peer);
	return expecting->peer->ended;
}

void rig_expect_end(struct session_rig *rig, struct rig_peer *peer)
{
	rig_wait(rig, has_ended, &(struct expecting){peer, NULL});
}

void rig_say_bytes(struct session_rig *rig, struct rig_peer *peer, const void *bytes, size_t length)
{
	uint64_t given_up_ms = timeouts_now_ms() + PATIENCE_MS;
	const uint8_t *next = bytes;

	while (length > 0) {
		ssize_t sent = send(peer->fd, next, length, MSG_NOSIGNAL);

		assert_true(sent > 0 || errno == EAGAIN);
		assert_true(timeouts_now_ms() < given_up_ms);
		if (sent > 0) {
			next += sent;
			length -= (size_t)sent;
		}
		rig_turn(rig);
	}
}

void rig_say(struct session_rig *rig, struct rig_peer *peer, const char *text)
{
	rig_say_bytes(rig, peer, text, strlen(text));
}

void rig_half_close(struct rig_peer *peer)
{
	assert_int_equal(shutdown(peer->fd, SHUT_WR), 0);
}

void rig_hang_up(struct rig_peer *peer)
{
	close(peer->fd);
	peer->fd = -1;
}

void rig_reset(struct rig_peer *peer)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	rig_hang_up(peer);
}

void rig_forget(struct rig_peer *peer)
{
	if (peer->fd >= 0) {
		close(peer->fd);
	}
	buffer_done(&peer->heard);
	*peer = (struct rig_peer){.fd = -1};
}

/* --- The way into a phase ------------------------------------------------------------------- */

static void say_login(struct session_rig *rig, struct rig_peer *client, const char *login)
{
	rig_connect(rig, client);
	rig_expect(rig, client, "* OK [CAPABILITY ");
	rig_expect(rig, client, "\r\n");
	rig_say(rig, client, login);
}

static void reach_authenticating(struct session_rig *rig, struct rig_peer *client,
				 struct rig_peer *backend)
{
	say_login(rig, client, RIG_LOGIN);
	rig_accept(rig, rig->backend, backend);
	rig_say(rig, backend, RIG_GREETING);
	rig_expect(rig, backend, "G1 AUTHENTICATE PLAIN ");
	rig_expect(rig, backend, "\r\n");
}

void rig_log_in(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	reach_authenticating(rig, client, backend);
	rig_say(rig, backend, "G1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
	rig_expect(rig, client, "a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
}

void rig_reach(struct session_rig *rig, enum session_phase phase, struct rig_peer *client,
	       struct rig_peer *backend)
{
	unsigned before = rig_count(rig, phase);

	*backend = (struct rig_peer){.fd = -1};
	switch (phase) {
	case SESSION_HANDSHAKE:
		rig_connect_tls(rig, client);
		break;
	case SESSION_GREETED:
		say_login(rig, client, "");
		break;
	case SESSION_ROUTING:
		say_login(rig, client, "a LOGIN bob secret\r\n");
		break;
	case SESSION_CONNECTING:
		say_login(rig, client, "a LOGIN stuck secret\r\n");
		break;
	case SESSION_GREETING:
		say_login(rig, client, RIG_LOGIN);
		rig_accept(rig, rig->backend, backend);
		break;
	case SESSION_AUTHENTICATING:
		reach_authenticating(rig, client, backend);
		break;
	case SESSION_REFUSING:
		reach_authenticating(rig, client, backend);
		rig_say(rig, backend, "G1 NO [AUTHENTICATIONFAILED] no\r\n");
		rig_expect_end(rig, backend);
		rig_forget(backend);
		break;
	case SESSION_RELAYING:
		rig_log_in(rig, client, backend);
		break;
	case SESSION_HALF_CLOSED:
		rig_log_in(rig, client, backend);
		rig_half_close(client);
		break;
	case SESSION_CLOSING:
		say_login(rig, client, "a LOGOUT\r\n");
		break;
	default:
		fail();
	}
	rig_wait_phase(rig, phase, before + 1);
}
