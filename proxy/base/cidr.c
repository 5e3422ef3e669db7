/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks: parsing, comparing, writing.
 */
#include "base/cidr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIX "unix"

#define V4_BITS 32
#define V6_BITS 128

/* The bytes of the address, as they stand on the wire. */
static uint8_t *bytes_of(struct addr *addr)
{
	return addr->family == AF_INET ? (uint8_t *)&addr->v4.sin_addr
				       : (uint8_t *)&addr->v6.sin6_addr;
}

static unsigned bits_of(const struct addr *addr)
{
	return addr->family == AF_INET ? V4_BITS : V6_BITS;
}

static void clear_behind(struct addr *addr, unsigned bits)
{
	uint8_t *bytes = bytes_of(addr);

	for (unsigned i = bits; i < bits_of(addr); i++) {
		bytes[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
	}
}

static bool parse_bits(unsigned *bits, const char *text, unsigned most, struct error *error)
{
	size_t digits = strspn(text, "0123456789");
	bool zeroed = text[0] == '0' && digits > 1;

	if (digits == 0 || digits > 3 || text[digits] != '\0' || zeroed ||
	    strtoul(text, NULL, 10) > most) {
		return error_set(error, "a prefix is a number from 0 to %u, not \"%.32s\"", most,
				 text);
	}
	*bits = (unsigned)strtoul(text, NULL, 10);
	return true;
}

/* Peers with such an address count as IPv4 (addr_from_sockaddr), so that the network would hold
 * nobody. */
static bool is_mapped(const struct addr *addr)
{
	return addr->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->v6.sin6_addr);
}

static bool parse_address(struct addr *addr, const char *text, size_t length, struct error *error)
{
	char ip[ADDR_IP_TEXT_MAX];

	if (length < sizeof(ip)) {
		memcpy(ip, text, length);
		ip[length] = '\0';
		if (addr_parse(addr, ip, 0)) {
			return !is_mapped(addr) ||
			       error_set(error, "\"%.64s\" is an IPv4 network: write it as one",
					 text);
		}
	}
	return error_set(error,
			 "a network is 10.0.0.0/8, 2001:db8::/32, an IP address or unix, "
			 "not \"%.64s\"",
			 text);
}

bool cidr_parse(struct cidr *cidr, const char *text, struct error *error)
{
	size_t length = strcspn(text, "/");
	struct cidr parsed = {0};
	struct addr given = {0};
	unsigned bits;

	if (strcmp(text, UNIX) == 0) {
		*cidr = (struct cidr){.address.family = AF_UNIX};
		return true;
	}
	if (!parse_address(&given, text, length, error)) {
		return false;
	}
	bits = bits_of(&given);
	if (text[length] == '/' && !parse_bits(&bits, text + length + 1, bits, error)) {
		return false;
	}
	parsed.address = given;
	parsed.bits = (uint8_t)bits;
	clear_behind(&parsed.address, bits);
	if (!addr_same_host(&parsed.address, &given)) {
		char network[CIDR_TEXT_MAX];

		cidr_format(&parsed, network);
		return error_set(error, "\"%.64s\" has bits behind its prefix: the network is %s",
				 text, network);
	}
	*cidr = parsed;
	return true;
}

static bool holds(const struct cidr *network, const struct addr *addr)
{
	struct addr masked = *addr;

	if (addr->family != network->address.family) {
		return false;
	}
	switch (addr->family) {
	case AF_INET:
	case AF_INET6:
		clear_behind(&masked, network->bits);
		return addr_same_host(&masked, &network->address);
	default:
		return addr->family == AF_UNIX;
	}
}

bool cidr_contains(const struct cidr *networks, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++) {
		if (holds(&networks[i], addr)) {
			return true;
		}
	}
	return false;
}

void cidr_format(const struct cidr *cidr, char text[CIDR_TEXT_MAX])
{
	char ip[ADDR_IP_TEXT_MAX];

	addr_format_ip(&cidr->address, ip);
	if (cidr->address.family == AF_UNIX || cidr->bits == bits_of(&cidr->address)) {
		snprintf(text, CIDR_TEXT_MAX, "%s", ip);
	} else {
		snprintf(text, CIDR_TEXT_MAX, "%s/%u", ip, cidr->bits);
	}
}
