/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: binding them, and accepting without ever spinning when nothing can be had.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "core/log.h"
#include "core/metrics.h"

#define BACKLOG 4096

static bool set_flag(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

/* A listening socket, or -1 with errno. */
static int open_socket(const struct sockaddr *address, socklen_t length, bool shared_port)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved_errno;

	if (fd < 0) {
		return -1;
	}
	if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) &&
	    (!shared_port || set_flag(fd, SOL_SOCKET, SO_REUSEPORT)) &&
	    (address->sa_family != AF_INET6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
	    bind(fd, address, length) == 0 && listen(fd, BACKLOG) == 0) {
		return fd;
	}
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return -1;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		close(fds[i]);
	}
}

/* SO_REUSEPORT would let a second instance steal half of the connections without a word, so a
 * socket without it goes first to see whether the address is free. */
static bool bind_ip(const struct addr *address, int *fds, unsigned count)
{
	const struct sockaddr *sockaddr = (const struct sockaddr *)address;
	int probe = open_socket(sockaddr, addr_length(address), false);

	if (probe < 0) {
		return false;
	}
	close(probe);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = open_socket(sockaddr, addr_length(address), true);
		if (fds[i] < 0) {
			int saved_errno = errno;

			close_all(fds, i);
			errno = saved_errno;
			return false;
		}
	}
	return true;
}

static bool is_socket(const char *path)
{
	struct stat found;

	return lstat(path, &found) == 0 && S_ISSOCK(found.st_mode);
}

/* A socket that nobody listens on. Connecting to any other kind of file is refused too, and that
 * file is somebody's. */
static bool is_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool refused;

	if (fd < 0) {
		return false;
	}
	refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
		  errno == ECONNREFUSED;
	close(fd);
	return refused && is_socket(address->sun_path);
}

static bool bind_unix(const char *path, int *fds, unsigned count)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	invariant(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (is_stale(&address)) {
		unlink(path);
	}
	fds[0] = open_socket((const struct sockaddr *)&address, sizeof(address), false);
	if (fds[0] < 0) {
		return false;
	}
	for (unsigned i = 1; i < count; i++) {
		fds[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		if (fds[i] < 0) {
			close_all(fds, i);
			return false;
		}
	}
	return true;
}

bool listener_bind(const struct endpoint *endpoint, int *fds, unsigned count, struct error *error)
{
	char text[ENDPOINT_TEXT_MAX];

	invariant(endpoint->kind == ENDPOINT_IP || endpoint->kind == ENDPOINT_UNIX);
	if (endpoint->kind == ENDPOINT_IP ? bind_ip(&endpoint->ip, fds, count)
					  : bind_unix(endpoint->name, fds, count)) {
		return true;
	}
	endpoint_format(endpoint, text);
	return error_set(error, "cannot listen on %.120s: %s", text, strerror(errno));
}

enum accept_failure { ACCEPT_NONE_WAITING, ACCEPT_CONNECTION_GONE, ACCEPT_IMPOSSIBLE };

/* accept(2) also reports what has already happened to the connection that it would have given. */
static enum accept_failure kind_of_failure(int error_number)
{
	switch (error_number) {
	case EAGAIN:
		return ACCEPT_NONE_WAITING;
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case ENOPROTOOPT:
		return ACCEPT_CONNECTION_GONE;
	default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody thought of */
		return ACCEPT_IMPOSSIBLE;
	}
}

/* Nothing can be accepted for now, and the socket would report itself ready for ever: stop asking
 * for a moment. */
static void pause_accepting(struct listener *listener, int error_number)
{
	metrics_count(listener->metrics, METRIC_ACCEPT_FAILURES);
	if (!listener->exhausted) {
		log_error("cannot accept connections", log_text("detail", strerror(error_number)));
		listener->exhausted = true;
	}
	ev_io_stop(listener->loop, &listener->watcher);
	ev_timer_set(&listener->pause, LISTENER_PAUSE_SECONDS, 0.0);
	ev_timer_start(listener->loop, &listener->pause);
}

/* False when accepting should stop for this turn. */
static bool accept_one(struct listener *listener)
{
	struct sockaddr_storage storage = {0};
	socklen_t length = sizeof(storage);
	struct addr peer;
	int fd = accept4(listener->watcher.fd, (struct sockaddr *)&storage, &length,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		enum accept_failure failure = kind_of_failure(errno);

		if (failure == ACCEPT_IMPOSSIBLE) {
			pause_accepting(listener, errno);
		}
		return failure == ACCEPT_CONNECTION_GONE;
	}
	listener->exhausted = false;
	addr_from_sockaddr(&peer, (const struct sockaddr *)&storage);
	listener->accepted(listener, fd, &peer);
	return true;
}

static void on_connection(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct listener *listener = container_of(watcher, struct listener, watcher);

	(void)loop;
	(void)events;
	for (int i = 0; i < LISTENER_BATCH && ev_is_active(watcher); i++) {
		if (!accept_one(listener)) {
			return;
		}
	}
}

static void on_pause_over(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct listener *listener = container_of(timer, struct listener, pause);

	(void)events;
	ev_io_start(loop, &listener->watcher);
}

void listener_start(struct listener *listener, struct ev_loop *loop, int fd,
		    struct metrics *metrics, listener_callback_t *accepted)
{
	*listener = (struct listener){.loop = loop, .metrics = metrics, .accepted = accepted};
	ev_io_init(&listener->watcher, on_connection, fd, EV_READ);
	ev_timer_init(&listener->pause, on_pause_over, LISTENER_PAUSE_SECONDS, 0.0);
	ev_io_start(loop, &listener->watcher);
}

void listener_stop(struct listener *listener)
{
	if (listener->loop == NULL) {
		return;
	}
	ev_io_stop(listener->loop, &listener->watcher);
	ev_timer_stop(listener->loop, &listener->pause);
	close(listener->watcher.fd);
	listener->loop = NULL;
}
