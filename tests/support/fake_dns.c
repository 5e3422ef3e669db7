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

#define TYPE_A 1

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

static size_t add_record(uint8_t *out, uint16_t type, uint32_t ttl, const char *address)
{
	uint16_t length = type == TYPE_A ? 4 : 16;
	uint8_t head[12] = {0xC0,
			    12,
			    0,
			    (uint8_t)type,
			    0,
			    1,
			    (uint8_t)(ttl >> 24),
			    (uint8_t)(ttl >> 16),
			    (uint8_t)(ttl >> 8),
			    (uint8_t)ttl,
			    0,
			    (uint8_t)length};

	memcpy(out, head, sizeof(head));
	assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, out + 12), 1);
	return sizeof(head) + length;
}

/* The answer to the query in `packet`, in its place; 0 for none. */
static size_t answer(struct fake_dns *fake, uint8_t *packet, size_t length)
{
	char name[300];
	size_t end = 12 + read_name(packet + 12, length - 12, name, sizeof(name)) + 4;
	uint16_t type = packet[end - 3];
	struct fake_name *found = find_name(fake, name);
	const char *const *records;
	uint8_t count = 0;

	if (found != NULL && type == TYPE_A) {
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
	records = type == TYPE_A ? found->v4 : found->v6;
	for (; records[count] != NULL; count++) {
		end += add_record(packet + end, type, found->ttl, records[count]);
	}
	packet[7] = found->garbage ? 200 : count;
	return end;
}

static void on_query(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_dns *fake = container_of(watcher, struct fake_dns, watcher);
	struct sockaddr_in from;
	socklen_t from_length = sizeof(from);
	uint8_t packet[2048];
	ssize_t length =
		recvfrom(watcher->fd, packet, 512, 0, (struct sockaddr *)&from, &from_length);
	size_t answered;

	(void)loop;
	(void)events;
	assert_true(length > 12);
	answered = answer(fake, packet, (size_t)length);
	if (answered > 0) {
		assert_true(sendto(watcher->fd, packet, answered, 0, (struct sockaddr *)&from,
				   from_length) > 0);
	}
}

void fake_dns_open(struct fake_dns *fake, struct ev_loop *loop)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int size = 4 << 20;

	*fake = (struct fake_dns){.loop = loop};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	ev_io_init(&fake->watcher, on_query, fd, EV_READ);
	ev_io_start(loop, &fake->watcher);
	snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%u", ntohs(address.sin_port));
}

void fake_dns_close(struct fake_dns *fake)
{
	ev_io_stop(fake->loop, &fake->watcher);
	close(fake->watcher.fd);
}
