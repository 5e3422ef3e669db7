/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes PROXY headers of version 2. Section numbers are those of HAProxy's proxy-protocol.txt.
 */
#include <string.h>

#include "base/buffer.h"
#include "proxy_header_internal.h"

/* TLS versions and ciphers are the names of a library, and no longer than this. */
#define TLS_NAME_MAX 64

/* The fixed part, IPv6 addresses, five TLVs with their heads of 3 bytes, and the head of 5 of
 * PP2_TYPE_SSL. */
#define WRITTEN_MAX                                                                                \
	(PROXY_HEADER_FIXED + 36 + 5 * 3 + 5 + PROXY_HEADER_AUTHORITY_MAX +                        \
	 PROXY_HEADER_UNIQUE_ID_MAX + 2 * TLS_NAME_MAX)

struct writer {
	uint8_t bytes[WRITTEN_MAX];
	size_t length;
};

static void put(struct writer *writer, const void *bytes, size_t length)
{
	invariant(length <= sizeof(writer->bytes) - writer->length);
	memcpy(writer->bytes + writer->length, bytes, length);
	writer->length += length;
}

static void put_byte(struct writer *writer, uint8_t byte)
{
	put(writer, &byte, 1);
}

static void put_u16(struct writer *writer, size_t value)
{
	put_byte(writer, (uint8_t)(value >> 8));
	put_byte(writer, (uint8_t)value);
}

static void put_tlv(struct writer *writer, uint8_t type, const char *value)
{
	put_byte(writer, type);
	put_u16(writer, strlen(value));
	put(writer, value, strlen(value));
}

/* An address as IPv6 has it: IPv4 addresses are mapped. */
static void put_v6(struct writer *writer, const struct addr *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};

	if (addr->family == AF_INET6) {
		put(writer, &addr->v6.sin6_addr, 16);
	} else {
		put(writer, mapped, sizeof(mapped));
		put(writer, &addr->v4.sin_addr, 4);
	}
}

static bool is_ip(const struct addr *addr)
{
	return addr->family == AF_INET || addr->family == AF_INET6;
}

static bool both_v4(const struct proxy_header_client *client)
{
	return client->source.family == AF_INET && client->destination.family == AF_INET;
}

static void put_addresses(struct writer *writer, const struct proxy_header_client *client)
{
	if (both_v4(client)) {
		put(writer, &client->source.v4.sin_addr, 4);
		put(writer, &client->destination.v4.sin_addr, 4);
	} else {
		put_v6(writer, &client->source);
		put_v6(writer, &client->destination);
	}
	put_u16(writer, addr_port(&client->source));
	put_u16(writer, addr_port(&client->destination));
}

/* Section 2.2.6. The field `verify` is not zero: no certificate of the client is vouched for. */
static void put_ssl(struct writer *writer, const struct proxy_header_client *client)
{
	static const uint8_t head[] = {PROXY_HEADER_CLIENT_SSL, 0, 0, 0, 1};
	const char *cipher = client->tls_cipher;
	const char *version = client->tls_version;
	size_t length = sizeof(head);

	length += version[0] != '\0' ? 3 + strlen(version) : 0;
	length += cipher != NULL ? 3 + strlen(cipher) : 0;
	put_byte(writer, TLV_SSL);
	put_u16(writer, length);
	put(writer, head, sizeof(head));
	if (version[0] != '\0') {
		put_tlv(writer, TLV_SSL_VERSION, version);
	}
	if (cipher != NULL) {
		put_tlv(writer, TLV_SSL_CIPHER, cipher);
	}
}

/* What came from a peer and would spoil the header for its reader is not passed on. */
static bool is_usable(const char *text, size_t limit)
{
	return text != NULL && text[0] != '\0' && strlen(text) <= limit &&
	       proxy_header_is_printable(text, strlen(text));
}

static void put_tlvs(struct writer *writer, const struct proxy_header_client *client)
{
	if (is_usable(client->authority, PROXY_HEADER_AUTHORITY_MAX)) {
		put_tlv(writer, TLV_AUTHORITY, client->authority);
	}
	if (is_usable(client->unique_id, PROXY_HEADER_UNIQUE_ID_MAX)) {
		put_tlv(writer, TLV_UNIQUE_ID, client->unique_id);
	}
	if (client->tls_version != NULL) {
		put_ssl(writer, client);
	}
}

static void put_fixed(struct writer *writer, uint8_t command, uint8_t family)
{
	put(writer, proxy_header_signature, PROXY_HEADER_SIGNATURE);
	put_byte(writer, PROXY_HEADER_VERSION_2 | command);
	put_byte(writer, family);
	put_u16(writer, 0);
}

/* Of a client whose way came by a Unix socket, all but the end of it is known. */
static struct proxy_header_client with_destination(const struct proxy_header_client *client)
{
	struct proxy_header_client whole = *client;

	if (!is_ip(&whole.destination)) {
		whole.destination = (struct addr){.family = client->source.family};
	}
	return whole;
}

void proxy_header_write(struct buffer *out, const struct proxy_header_client *client)
{
	struct writer writer = {.length = 0};
	size_t length;

	if (!is_ip(&client->source)) {
		put_fixed(&writer, COMMAND_LOCAL, FAMILY_UNSPEC);
	} else {
		struct proxy_header_client whole = with_destination(client);
		uint8_t family = both_v4(&whole) ? FAMILY_INET : FAMILY_INET6;

		put_fixed(&writer, COMMAND_PROXY, (uint8_t)(family << 4 | TRANSPORT_STREAM));
		put_addresses(&writer, &whole);
		put_tlvs(&writer, &whole);
	}
	length = writer.length - PROXY_HEADER_FIXED;
	writer.bytes[PROXY_HEADER_FIXED - 2] = (uint8_t)(length >> 8);
	writer.bytes[PROXY_HEADER_FIXED - 1] = (uint8_t)length;
	buffer_append(out, writer.bytes, writer.length);
}
