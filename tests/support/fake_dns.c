/* SPDX-License-Identifier: Apache-2.0
 *
 * A DNS server of a test's own.
 */
#include "support/fake_dns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"

#define CLASS_INTERNET 1
#define TYPE_A         1
#define TYPE_CNAME     5
#define TYPE_SRV       33

#define DATAGRAM_MAX 512
#define MESSAGE_MAX  65535

/* The length of the question's name on the wire, which is written with dots to `name`. */
static size_t read_name(const uint8_t *wire, size_t length, char *name, size_t size)
{
	size_t at = 0;
	size_t used = 0;

	while (at < length && wire[at] != 0) {
		size_t label = wire[at];

		assert_true(at + 1 + label < length && used + label + 2 < size);
		memcpy(name + used, wire + at + 1, label);
		used += label;
		name[used++] = '.';
		at += label + 1;
	}
	name[used > 0 ? used - 1 : 0] = '\0';
	return at + 1;
}

static struct fake_name *find_name(struct fake_dns *fake, const char *name)
{
	for (size_t i = 0; i < fake->name_count; i++) {
		const char *pattern = fake->names[i].name;
		size_t tail = strlen(pattern) - 1;

		if (strcmp(pattern, name) == 0) {
			return &fake->names[i];
		}
		if (pattern[0] == '*' && strlen(name) >= tail &&
		    strcmp(name + strlen(name) - tail, pattern + 1) == 0) {
			return &fake->names[i];
		}
	}
	return NULL;
}

/* Writes a name without compression. */
static size_t write_name(uint8_t *out, const char *name)
{
	size_t used = 0;

	while (*name != '\0') {
		size_t label = strcspn(name, ".");

		out[used++] = (uint8_t)label;
		memcpy(out + used, name, label);
		used += label;
		name += label + (name[label] == '.' ? 1 : 0);
	}
	out[used++] = 0;
	return used;
}

static size_t write_16(uint8_t *out, size_t value)
{
	out[0] = (uint8_t)(value >> 8);
	out[1] = (uint8_t)value;
	return 2;
}

/* struct answering is an answer that grows: its records are of `owner`, or of the question's name
 * where that is NULL. */
struct answering {
	uint8_t *packet;
	size_t length;
	unsigned count;
	const char *owner;
	uint32_t ttl;
};

static void add_record(struct answering *answering, uint16_t type, const uint8_t *data,
		       size_t length)
{
	uint8_t *out = answering->packet + answering->length;
	size_t used = answering->owner != NULL ? write_name(out, answering->owner)
					       : write_16(out, 0xC00C);

	assert_true(answering->length + used + 10 + length <= MESSAGE_MAX);
	used += write_16(out + used, type);
	used += write_16(out + used, CLASS_INTERNET);
	used += write_16(out + used, answering->ttl >> 16);
	used += write_16(out + used, answering->ttl & 0xFFFF);
	used += write_16(out + used, length);
	memcpy(out + used, data, length);
	answering->length += used + length;
	answering->count++;
}

static void add_addresses(struct answering *answering, uint16_t type, const char *const *addresses)
{
	for (size_t i = 0; addresses[i] != NULL; i++) {
		uint8_t data[16];

		assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, addresses[i], data),
				 1);
		add_record(answering, type, data, type == TYPE_A ? 4 : 16);
	}
}

static void add_services(struct answering *answering, const struct fake_name *name)
{
	for (size_t i = 0; i < name->service_count; i++) {
		const struct fake_service *service = &name->services[i];
		uint8_t data[300];
		size_t used = write_16(data, service->priority);

		used += write_16(data + used, service->weight);
		used += write_16(data + used, service->port);
		used += write_name(data + used, service->host);
		add_record(answering, TYPE_SRV, data, used);
	}
}

static void add_all(struct answering *answering, uint16_t type, const struct fake_name *name)
{
	if (name->alias != NULL) {
		uint8_t data[300];

		add_record(answering, TYPE_CNAME, data, write_name(data, name->alias));
		answering->owner = name->alias;
	}
	if (type == TYPE_SRV) {
		add_services(answering, name);
	} else {
		add_addresses(answering, type, type == TYPE_A ? name->v4 : name->v6);
	}
}

/* The answer to the query in `packet`, in its place; 0 for none. */
static size_t answer(struct fake_dns *fake, uint8_t *packet, size_t length, bool datagram)
{
	char name[300];
	size_t end = 12 + read_name(packet + 12, length - 12, name, sizeof(name)) + 4;
	uint16_t type = packet[end - 3];
	struct fake_name *found = find_name(fake, name);
	struct answering answering = {.packet = packet, .length = end};

	if (found != NULL && datagram && (type == TYPE_A || type == TYPE_SRV)) {
		found->asked++;
	}
	if (found != NULL && found->silent) {
		return 0;
	}
	packet[2] = 0x84; /* a response, authoritative */
	packet[3] = 0x80 | (found == NULL ? 3 : found->code);
	memset(packet + 6, 0, 6);
	if (found == NULL || found->code != 0) {
		return end;
	}
	answering.ttl = found->ttl;
	add_all(&answering, type, found);
	if (datagram && answering.length > DATAGRAM_MAX) {
		packet[2] |= 0x02; /* truncated */
		return end;
	}
	write_16(packet + 6, found->garbage ? 200 : answering.count);
	return answering.length;
}

static void on_query(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_dns *fake = container_of(watcher, struct fake_dns, watcher);
	struct sockaddr_in from;
	socklen_t from_length = sizeof(from);
	uint8_t packet[MESSAGE_MAX];
	ssize_t length =
		recvfrom(watcher->fd, packet, 512, 0, (struct sockaddr *)&from, &from_length);
	size_t answered;

	(void)loop;
	(void)events;
	assert_true(length > 12);
	answered = answer(fake, packet, (size_t)length, true);
	if (answered > 0) {
		assert_true(sendto(watcher->fd, packet, answered, 0, (struct sockaddr *)&from,
				   from_length) > 0);
	}
}

static void close_stream(struct fake_dns *fake)
{
	if (ev_is_active(&fake->stream)) {
		ev_io_stop(fake->loop, &fake->stream);
		close(fake->stream.fd);
	}
}

/* A query comes in one piece. */
static void on_stream(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_dns *fake = container_of(watcher, struct fake_dns, stream);
	uint8_t packet[2 + MESSAGE_MAX];
	ssize_t length = recv(watcher->fd, packet, 514, 0);
	size_t answered = 0;

	(void)loop;
	(void)events;
	if (length > 14) {
		answered = answer(fake, packet + 2, (size_t)length - 2, false);
	}
	if (answered == 0) {
		close_stream(fake);
		return;
	}
	write_16(packet, answered);
	assert_int_equal(send(watcher->fd, packet, answered + 2, MSG_NOSIGNAL), answered + 2);
}

static void on_connection(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_dns *fake = container_of(watcher, struct fake_dns, listener);
	int fd = accept(watcher->fd, NULL, NULL);
	int size = 4 << 20;

	(void)events;
	assert_true(fd >= 0);
	close_stream(fake);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ev_io_init(&fake->stream, on_stream, fd, EV_READ);
	ev_io_start(loop, &fake->stream);
	fake->streams++;
}

static int open_socket(int type, struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	int size = 4 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)address, length) != 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
	return fd;
}

/* A port that is free on both. */
void fake_dns_open(struct fake_dns *fake, struct ev_loop *loop)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int datagrams;
	int streams;

	*fake = (struct fake_dns){.loop = loop};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (;;) {
		address.sin_port = 0;
		datagrams = open_socket(SOCK_DGRAM, &address);
		assert_true(datagrams >= 0);
		streams = open_socket(SOCK_STREAM, &address);
		if (streams >= 0) {
			break;
		}
		close(datagrams);
	}
	assert_int_equal(listen(streams, 8), 0);
	ev_io_init(&fake->watcher, on_query, datagrams, EV_READ);
	ev_io_start(loop, &fake->watcher);
	ev_io_init(&fake->listener, on_connection, streams, EV_READ);
	ev_io_start(loop, &fake->listener);
	snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%u", ntohs(address.sin_port));
}

void fake_dns_close(struct fake_dns *fake)
{
	ev_io_stop(fake->loop, &fake->watcher);
	close(fake->watcher.fd);
	ev_io_stop(fake->loop, &fake->listener);
	close(fake->listener.fd);
	close_stream(fake);
}
