/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses and endpoints: parsing, comparing, writing. Opens no socket and asks no resolver.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool addr_parse(struct addr *addr, const char *ip, uint16_t port)
{
	struct addr parsed = {0};

	if (inet_pton(AF_INET, ip, &parsed.v4.sin_addr) == 1) {
		parsed.family = AF_INET;
		parsed.v4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, ip, &parsed.v6.sin6_addr) == 1) {
		parsed.family = AF_INET6;
		parsed.v6.sin6_port = htons(port);
	} else {
		return false;
	}
	*addr = parsed;
	return true;
}

static void addr_from_mapped(struct addr *addr, const struct sockaddr_in6 *v6)
{
	*addr = (struct addr){0};
	addr->family = AF_INET;
	addr->v4.sin_port = v6->sin6_port;
	memcpy(&addr->v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
}

void addr_from_sockaddr(struct addr *addr, const struct sockaddr *sockaddr)
{
	*addr = (struct addr){0};
	if (sockaddr->sa_family == AF_INET) {
		memcpy(&addr->v4, sockaddr, sizeof(addr->v4));
	} else if (sockaddr->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;

		memcpy(&v6, sockaddr, sizeof(v6));
		if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
			addr_from_mapped(addr, &v6);
		} else {
			addr->v6 = v6;
		}
	} else {
		addr->family = AF_UNIX;
	}
}

socklen_t addr_length(const struct addr *addr)
{
	return addr->family == AF_INET6 ? sizeof(addr->v6) : sizeof(addr->v4);
}

uint16_t addr_port(const struct addr *addr)
{
	switch (addr->family) {
	case AF_INET:
		return ntohs(addr->v4.sin_port);
	case AF_INET6:
		return ntohs(addr->v6.sin6_port);
	default:
		return 0;
	}
}

bool addr_equal(const struct addr *left, const struct addr *right)
{
	if (left->family != right->family || addr_port(left) != addr_port(right)) {
		return false;
	}
	switch (left->family) {
	case AF_INET:
		return addr_same_host(left, right);
	case AF_INET6:
		return addr_same_host(left, right) &&
		       left->v6.sin6_scope_id == right->v6.sin6_scope_id;
	default:
		return true;
	}
}

bool addr_same_host(const struct addr *left, const struct addr *right)
{
	if (left->family != right->family) {
		return false;
	}
	switch (left->family) {
	case AF_INET:
		return left->v4.sin_addr.s_addr == right->v4.sin_addr.s_addr;
	case AF_INET6:
		return memcmp(&left->v6.sin6_addr, &right->v6.sin6_addr, 16) == 0;
	default:
		return false;
	}
}

bool addr_is_wildcard(const struct addr *addr)
{
	return (addr->family == AF_INET && addr->v4.sin_addr.s_addr == htonl(INADDR_ANY)) ||
	       (addr->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6.sin6_addr));
}

bool addr_is_loopback(const struct addr *addr)
{
	return (addr->family == AF_INET && ntohl(addr->v4.sin_addr.s_addr) >> 24 == 127) ||
	       (addr->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->v6.sin6_addr));
}

void addr_format_ip(const struct addr *addr, char text[ADDR_IP_TEXT_MAX])
{
	switch (addr->family) {
	case AF_INET:
		inet_ntop(AF_INET, &addr->v4.sin_addr, text, ADDR_IP_TEXT_MAX);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &addr->v6.sin6_addr, text, ADDR_IP_TEXT_MAX);
		break;
	default:
		snprintf(text, ADDR_IP_TEXT_MAX, "unix");
	}
}

void addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX])
{
	char ip[ADDR_IP_TEXT_MAX];

	addr_format_ip(addr, ip);
	if (addr->family == AF_INET6) {
		snprintf(text, ADDR_TEXT_MAX, "[%s]:%u", ip, addr_port(addr));
	} else if (addr->family == AF_INET) {
		snprintf(text, ADDR_TEXT_MAX, "%s:%u", ip, addr_port(addr));
	} else {
		snprintf(text, ADDR_TEXT_MAX, "%s", ip);
	}
}

static bool parse_port(uint16_t *port, const char *text, struct error *error)
{
	unsigned long value = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && digits <= 5 && text[digits] == '\0') {
		value = strtoul(text, NULL, 10);
	}
	if (value < 1 || value > 65535) {
		return error_set(error, "a port is a number from 1 to 65535, not \"%.32s\"", text);
	}
	*port = (uint16_t)value;
	return true;
}

static bool is_host_name(const char *host)
{
	size_t length = strlen(host);

	return length > 0 && length <= ENDPOINT_HOST_MAX && host[0] != '-' && host[0] != '.' &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       length;
}

static bool parse_unix(struct endpoint *endpoint, const char *path, struct error *error)
{
	struct sockaddr_un limit;

	if (path[0] != '/' || strlen(path) >= sizeof(limit.sun_path)) {
		return error_set(error,
				 "a Unix socket is unix:/path with a path of at most %zu bytes",
				 sizeof(limit.sun_path) - 1);
	}
	endpoint->kind = ENDPOINT_UNIX;
	endpoint->name = strdup(path);
	return endpoint->name != NULL || error_set(error, "out of memory");
}

/* Splits "host", "host:port", "[v6]" and "[v6]:port"; `*port` stays untouched where none is. */
static bool split_host(char *host, size_t size, const char *text, const char **port,
		       struct error *error)
{
	bool bracketed = text[0] == '[';
	const char *start = bracketed ? text + 1 : text;
	size_t length = strcspn(start, bracketed ? "]" : ":");
	const char *rest = start + length;

	if (length == 0 || length >= size || (bracketed && *rest != ']')) {
		return error_set(
			error, "an address is host:port, [IPv6]:port or unix:/path, not \"%.64s\"",
			text);
	}
	memcpy(host, start, length);
	host[length] = '\0';
	rest += bracketed ? 1 : 0;
	if (*rest == ':') {
		*port = rest + 1;
	} else if (*rest != '\0') {
		return error_set(error, "unexpected \"%.32s\" behind the address", rest);
	}
	return true;
}

static bool parse_host(struct endpoint *endpoint, const char *text, uint16_t default_port,
		       struct error *error)
{
	char host[ENDPOINT_HOST_MAX + 2];
	const char *port = NULL;

	if (!split_host(host, sizeof(host), text, &port, error)) {
		return false;
	}
	endpoint->port = default_port;
	if (port != NULL && !parse_port(&endpoint->port, port, error)) {
		return false;
	}
	if (endpoint->port == 0) {
		return error_set(error, "a port is missing behind \"%.64s\"", text);
	}
	if (addr_parse(&endpoint->ip, host, endpoint->port)) {
		endpoint->kind = ENDPOINT_IP;
	} else if (text[0] != '[' && is_host_name(host)) {
		endpoint->kind = ENDPOINT_NAME;
	} else {
		return error_set(error, "\"%.64s\" is neither an IP address nor a host name", host);
	}
	endpoint->name = strdup(host);
	return endpoint->name != NULL || error_set(error, "out of memory");
}

bool endpoint_parse(struct endpoint *endpoint, const char *text, uint16_t default_port,
		    struct error *error)
{
	struct endpoint parsed = {0};
	bool valid = strncmp(text, "unix:", 5) == 0
			     ? parse_unix(&parsed, text + 5, error)
			     : parse_host(&parsed, text, default_port, error);

	if (valid) {
		*endpoint = parsed;
	}
	return valid;
}

bool endpoint_copy(struct endpoint *to, const struct endpoint *from)
{
	struct endpoint copy = *from;

	if (from->name != NULL && (copy.name = strdup(from->name)) == NULL) {
		return false;
	}
	*to = copy;
	return true;
}

bool endpoint_equal(const struct endpoint *left, const struct endpoint *right)
{
	if (left->kind != right->kind || left->port != right->port) {
		return false;
	}
	if (left->kind == ENDPOINT_IP) {
		return addr_equal(&left->ip, &right->ip);
	}
	return left->kind == ENDPOINT_NONE || strcmp(left->name, right->name) == 0;
}

void endpoint_done(struct endpoint *endpoint)
{
	free(endpoint->name);
	*endpoint = (struct endpoint){0};
}

void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
	switch (endpoint->kind) {
	case ENDPOINT_UNIX:
		snprintf(text, ENDPOINT_TEXT_MAX, "unix:%s", endpoint->name);
		break;
	case ENDPOINT_IP:
		addr_format(&endpoint->ip, text);
		break;
	case ENDPOINT_NAME:
		snprintf(text, ENDPOINT_TEXT_MAX, "%s:%u", endpoint->name, endpoint->port);
		break;
	default:
		snprintf(text, ENDPOINT_TEXT_MAX, "none");
	}
}
