/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads PROXY headers: which version it is, and version 1. Section numbers are those of HAProxy's
 * proxy-protocol.txt.
 */
#include "net/proxy_header.h"

#include <string.h>

#include "proxy_header_internal.h"

#define V1_SIGNATURE "PROXY "

enum proxy_header_verdict proxy_header_refuse(const char **why, const char *reason)
{
	*why = reason;
	return PROXY_HEADER_BAD;
}

static size_t smaller_of(size_t left, size_t right)
{
	return left < right ? left : right;
}

/* Takes the next word of a line of version 1, which ends at exactly one space or at the line's end.
 * Words that are longer than an address are none of ours. */
static bool take_word(struct proxy_header_span *line, char word[ADDR_IP_TEXT_MAX])
{
	const uint8_t *space = memchr(line->bytes, ' ', line->length);
	size_t length = space != NULL ? (size_t)(space - line->bytes) : line->length;
	size_t used = length + (space != NULL ? 1 : 0);

	if (length == 0 || length >= ADDR_IP_TEXT_MAX || memchr(line->bytes, 0, length) != NULL) {
		return false;
	}
	memcpy(word, line->bytes, length);
	word[length] = '\0';
	line->bytes += used;
	line->length -= used;
	return true;
}

/* A port of version 1: 0 to 65535, without leading zeros (section 2.1). */
static bool take_port(struct proxy_header_span *line, uint16_t *port)
{
	char word[ADDR_IP_TEXT_MAX];
	uint32_t value = 0;
	size_t length;

	if (!take_word(line, word)) {
		return false;
	}
	length = strlen(word);
	if (length > 5 || strspn(word, "0123456789") != length || (length > 1 && word[0] == '0')) {
		return false;
	}
	for (size_t i = 0; i < length; i++) {
		value = value * 10 + (uint32_t)(word[i] - '0');
	}
	*port = (uint16_t)value;
	return value <= UINT16_MAX;
}

/* Dual-stack sockets write IPv4 addresses as mapped ones: they become IPv4 again. */
static bool make_addr(struct addr *addr, sa_family_t family, const char *ip, uint16_t port)
{
	struct addr parsed;

	if (!addr_parse(&parsed, ip, port) || parsed.family != family) {
		return false;
	}
	addr_from_sockaddr(addr, (const struct sockaddr *)&parsed.v6);
	return true;
}

/* What follows "PROXY TCP4 " or "PROXY TCP6 ", without the CRLF. */
static bool read_v1_addresses(struct proxy_header *header, struct proxy_header_span line,
			      sa_family_t family)
{
	char source[ADDR_IP_TEXT_MAX];
	char destination[ADDR_IP_TEXT_MAX];
	uint16_t source_port;
	uint16_t destination_port;

	/* A space at the end would be a word that is missing. */
	if (line.length == 0 || line.bytes[line.length - 1] == ' ') {
		return false;
	}
	return take_word(&line, source) && take_word(&line, destination) &&
	       take_port(&line, &source_port) && take_port(&line, &destination_port) &&
	       line.length == 0 && make_addr(&header->source, family, source, source_port) &&
	       make_addr(&header->destination, family, destination, destination_port);
}

static bool starts_with(struct proxy_header_span line, const char *word)
{
	return line.length >= strlen(word) && memcmp(line.bytes, word, strlen(word)) == 0;
}

static enum proxy_header_verdict read_v1_line(struct proxy_header *header,
					      struct proxy_header_span line, const char **why)
{
	sa_family_t family = starts_with(line, "TCP6 ") ? AF_INET6 : AF_INET;

	if (starts_with(line, "UNKNOWN")) {
		size_t name = strlen("UNKNOWN");

		header->local = true;
		header->unnamed = true;
		return line.length == name || line.bytes[name] == ' '
			       ? PROXY_HEADER_DONE
			       : proxy_header_refuse(why,
						     "its protocol is not TCP4, TCP6 or UNKNOWN");
	}
	if (!starts_with(line, "TCP4 ") && !starts_with(line, "TCP6 ")) {
		return proxy_header_refuse(why, "its protocol is not TCP4, TCP6 or UNKNOWN");
	}
	line.bytes += strlen("TCP4 ");
	line.length -= strlen("TCP4 ");
	return read_v1_addresses(header, line, family)
		       ? PROXY_HEADER_DONE
		       : proxy_header_refuse(
				 why, "its addresses or ports are not written as version 1 wants");
}

/* The line is complete with the CRLF, and never longer than PROXY_HEADER_V1_MAX with it. */
static enum proxy_header_verdict
read_v1(struct proxy_header *header, struct proxy_header_span input, size_t *size, const char **why)
{
	size_t limit = smaller_of(input.length, PROXY_HEADER_V1_MAX);
	size_t end = 0;
	struct proxy_header_span line;

	while (end < limit && input.bytes[end] != '\r' && input.bytes[end] != '\n') {
		end++;
	}
	if (end + 1 >= PROXY_HEADER_V1_MAX) {
		return proxy_header_refuse(why, "its line is longer than 107 bytes");
	}
	if (end < limit && input.bytes[end] == '\n') {
		return proxy_header_refuse(why, "its line does not end in CRLF");
	}
	if (end + 1 >= limit) {
		return PROXY_HEADER_MORE;
	}
	if (input.bytes[end + 1] != '\n') {
		return proxy_header_refuse(why, "its line does not end in CRLF");
	}
	line.bytes = input.bytes + strlen(V1_SIGNATURE);
	line.length = end - strlen(V1_SIGNATURE);
	*size = end + 2;
	return read_v1_line(header, line, why);
}

enum proxy_header_verdict proxy_header_read(struct proxy_header *header, const void *bytes,
					    size_t length, size_t *size, const char **why)
{
	struct proxy_header_span input = {bytes, length};
	struct proxy_header read = {0};
	enum proxy_header_verdict verdict;
	size_t used = 0;

	if (length == 0) {
		return PROXY_HEADER_MORE;
	}
	if (memcmp(bytes, proxy_header_signature, smaller_of(length, PROXY_HEADER_SIGNATURE)) ==
	    0) {
		verdict = proxy_header_read_v2(&read, input, &used, why);
	} else if (memcmp(bytes, V1_SIGNATURE, smaller_of(length, strlen(V1_SIGNATURE))) == 0) {
		verdict = read_v1(&read, input, &used, why);
	} else {
		verdict = proxy_header_refuse(why,
					      "the connection does not begin with a PROXY header");
	}
	if (verdict == PROXY_HEADER_DONE) {
		*header = read;
		*size = used;
	}
	return verdict;
}
