/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses: where a peer is (struct addr) and where a configuration says to go (struct endpoint).
 */
#ifndef GATEPOST_BASE_ADDR_H
#define GATEPOST_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "base/error.h"

/* Longest text of an IP address with its NUL (INET6_ADDRSTRLEN), and of "[address]:port". */
#define ADDR_IP_TEXT_MAX 46
#define ADDR_TEXT_MAX    56

/* struct addr is an IPv4 or IPv6 address with its port, or "some Unix socket" (no path), in 28
 * bytes. Zero (AF_UNSPEC) is no address. */
struct addr {
	union {
		sa_family_t family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

/* addr_parse reads a numeric IPv4 or IPv6 address (no brackets). False when it is not one. */
bool addr_parse(struct addr *addr, const char *ip, uint16_t port);

/* addr_from_sockaddr copies what getpeername, accept or a resolver gave; a family that is neither
 * IPv4 nor IPv6 becomes AF_UNIX. IPv4-mapped IPv6 addresses become IPv4. */
void addr_from_sockaddr(struct addr *addr, const struct sockaddr *sockaddr);

/* addr_length is the number of bytes that connect or bind want for this address. */
socklen_t addr_length(const struct addr *addr);

uint16_t addr_port(const struct addr *addr);
bool addr_equal(const struct addr *left, const struct addr *right);

/* addr_same_host compares IP addresses without their ports and scopes; false for other families. */
bool addr_same_host(const struct addr *left, const struct addr *right);

/* addr_is_wildcard: 0.0.0.0 or ::. addr_is_loopback: 127.0.0.0/8 or ::1. */
bool addr_is_wildcard(const struct addr *addr);
bool addr_is_loopback(const struct addr *addr);

/* addr_format_ip writes the address without port ("10.0.0.1", "::1", "unix"). */
void addr_format_ip(const struct addr *addr, char text[ADDR_IP_TEXT_MAX]);

/* addr_format writes "10.0.0.1:143", "[::1]:143" or "unix". */
void addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX]);

/* Longest host name (RFC 1035 section 2.3.4), and longest text of an endpoint with its NUL: a host
 * name with ":65535"; a Unix path is shorter. */
#define ENDPOINT_HOST_MAX 253
#define ENDPOINT_TEXT_MAX (ENDPOINT_HOST_MAX + 7)

enum endpoint_kind { ENDPOINT_NONE, ENDPOINT_IP, ENDPOINT_NAME, ENDPOINT_UNIX };

/* struct endpoint owns `name`: the host name (ENDPOINT_NAME), the numeric address as written
 * (ENDPOINT_IP) or the path (ENDPOINT_UNIX). Zero is ENDPOINT_NONE. */
struct endpoint {
	enum endpoint_kind kind;
	char *name;
	uint16_t port;
	struct addr ip; /* ENDPOINT_IP only */
};

/* endpoint_parse reads "host:port", "10.0.0.1:993", "[::1]:993" or "unix:/path". `default_port`
 * serves where no port is written; 0 means that one must be. Host names are letters, digits, '-',
 * '_' and '.', at most ENDPOINT_HOST_MAX; ports 1 to 65535; paths absolute and shorter than
 * sun_path. On failure `error` says what would be right and `endpoint` is unchanged. */
must_use bool endpoint_parse(struct endpoint *endpoint, const char *text, uint16_t default_port,
			     struct error *error);

must_use bool endpoint_copy(struct endpoint *to, const struct endpoint *from);
bool endpoint_equal(const struct endpoint *left, const struct endpoint *right);
void endpoint_done(struct endpoint *endpoint);

/* endpoint_format writes "mail1.example:143", "[::1]:143", "unix:/run/x", or "none". */
void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);

#endif
