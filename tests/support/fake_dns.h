/* SPDX-License-Identifier: Apache-2.0
 *
 * A DNS server of a test's own, in the test's process and loop: it answers A, AAAA and SRV from a
 * table, denies, lies, or is silent. What is too long for UDP is answered on TCP.
 */
#ifndef GATEPOST_TESTS_FAKE_DNS_H
#define GATEPOST_TESTS_FAKE_DNS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_service {
	const char *host;
	uint16_t port;
	uint16_t priority;
	uint16_t weight;
};

/* struct fake_name is what the server says of one name. */
struct fake_name {
	const char *name;                    /* a pattern: "*" in front stands for anything */
	const char *v4[20];                  /* A records */
	const char *v6[4];                   /* AAAA records */
	const struct fake_service *services; /* SRV records */
	size_t service_count;
	const char *alias; /* whose the records are, by a CNAME of the same TTL */
	uint32_t ttl;
	uint8_t code; /* of the answer: 3 is NXDOMAIN, 2 SERVFAIL */
	bool silent;
	bool garbage;   /* announces more records than there are */
	unsigned asked; /* for A or SRV, on UDP */
};

/* struct fake_dns: `names` is the test's, and may change at any time; other names do not exist. */
struct fake_dns {
	struct ev_loop *loop;
	struct ev_io watcher;
	struct ev_io listener;
	struct ev_io stream; /* one at a time */
	unsigned streams;    /* how many there were */
	struct fake_name *names;
	size_t name_count;
	char address[32]; /* for resolver_new */
};

void fake_dns_open(struct fake_dns *fake, struct ev_loop *loop);
void fake_dns_close(struct fake_dns *fake);

#endif
