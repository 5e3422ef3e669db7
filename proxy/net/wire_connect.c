/* SPDX-License-Identifier: Apache-2.0
 *
 * How sockets set out to a peer. A source is bound without its port (IP_BIND_ADDRESS_NO_PORT): the
 * kernel finds one when it knows the peer, so that every peer has all ports of the address.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/source_pool.h"
#include "net/stream.h"
#include "wire_internal.h"

#define NO_PORT "no port is left at any source address"

int wire_connected(int fd)
{
	int error_number = 0;
	socklen_t length = sizeof(error_number);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0) {
		error_number = errno;
	}
	return error_number;
}

static bool connect_path(int fd, const char *path)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(local.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(local.sun_path, path, strlen(path) + 1);
	return connect(fd, (const struct sockaddr *)&local, sizeof(local)) == 0;
}

static bool connect_address(int fd, const struct addr *address)
{
	return connect(fd, (const struct sockaddr *)address, addr_length(address)) == 0 ||
	       errno == EINPROGRESS;
}

static bool bind_source(int fd, const struct source *source, struct error *error)
{
	const struct addr *address = source_addr(source);
	char text[ADDR_IP_TEXT_MAX];
	int on = 1;

	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, addr_length(address)) == 0) {
		return true;
	}
	addr_format_ip(address, text);
	return error_set(error, "cannot come from %s: %s", text, strerror(errno));
}

static enum wire_beginning name_failure(const struct wire_link *link, int error_number)
{
	switch (error_number) {
	case EADDRNOTAVAIL: /* without a source: ::1 where IPv6 is switched off */
		return link->source != NULL ? WIRE_NO_PORT : WIRE_NO_NETWORK;
	case ENETUNREACH:
	case EAFNOSUPPORT:
		return WIRE_NO_NETWORK;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return WIRE_NO_ROOM;
	default:
		return WIRE_REFUSED;
	}
}

/* WIRE_NO_PORT: another source may have one. An address that cannot be bound, since it is not this
 * host's or not yet, rests as a full one does. */
static enum wire_beginning connect_from(struct wire_link *link, const struct stream_target *target,
					struct error *error)
{
	sa_family_t family = target->address != NULL ? target->address->family : AF_UNIX;
	enum wire_beginning beginning;
	int error_number;

	link->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0) {
		error_number = errno;
		error_set(error, "socket: %s", strerror(error_number));
		return name_failure(link, error_number);
	}
	if (link->source != NULL && !bind_source(link->fd, link->source, error)) {
		close(link->fd);
		return WIRE_NO_PORT;
	}
	if (target->address != NULL ? connect_address(link->fd, target->address)
				    : connect_path(link->fd, target->path)) {
		return WIRE_CONNECTING;
	}
	error_number = errno;
	close(link->fd);
	beginning = name_failure(link, error_number);
	error_set(error, "%s", beginning == WIRE_NO_PORT ? NO_PORT : strerror(error_number));
	return beginning;
}

static enum wire_beginning
connect_from_pool(struct wire_link *link, const struct stream_target *target, struct error *error)
{
	sa_family_t family = target->address->family;
	enum wire_beginning beginning;
	uint64_t tried = 0;

	if (!source_pool_has(target->sources, family)) {
		error_set(error, "no source address is of the family of the peer's");
		return WIRE_NO_NETWORK;
	}
	error_set(error, NO_PORT);
	do {
		link->source = source_take(target->sources, family, &tried);
		if (link->source == NULL) {
			return WIRE_NO_PORT;
		}
		beginning = connect_from(link, target, error);
		if (beginning != WIRE_CONNECTING) {
			source_give(link->source, beginning == WIRE_NO_PORT);
		}
	} while (beginning == WIRE_NO_PORT);
	return beginning;
}

enum wire_beginning wire_connect(struct wire_link *link, const struct stream_target *target,
				 struct error *error)
{
	*link = (struct wire_link){.fd = -1};
	if (target->sources != NULL && target->address != NULL) {
		return connect_from_pool(link, target, error);
	}
	return connect_from(link, target, error);
}
