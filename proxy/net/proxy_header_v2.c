/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads PROXY headers of version 2. Section numbers are those of HAProxy's proxy-protocol.txt.
 */
#include "proxy_header_internal.h"

#include <string.h>

const uint8_t proxy_header_signature[PROXY_HEADER_SIGNATURE] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
								0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

/* How many bytes the addresses of a family take, with their ports. */
static const size_t address_sizes[] = {
	[FAMILY_UNSPEC] = 0,
	[FAMILY_INET] = 12,
	[FAMILY_INET6] = 36,
	[FAMILY_UNIX] = 216,
};

#define TLV_HEAD   3
#define SSL_HEAD   5
#define CRC32C_LEN 4

struct tlv {
	uint8_t type;
	struct proxy_header_span value;
};

static uint16_t read_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t read_u32(const uint8_t *bytes)
{
	return (uint32_t)read_u16(bytes) << 16 | read_u16(bytes + 2);
}

static bool next_tlv(struct proxy_header_span *rest, struct tlv *tlv)
{
	size_t length;

	if (rest->length < TLV_HEAD) {
		return false;
	}
	length = read_u16(rest->bytes + 1);
	if (length > rest->length - TLV_HEAD) {
		return false;
	}
	tlv->type = rest->bytes[0];
	tlv->value = (struct proxy_header_span){rest->bytes + TLV_HEAD, length};
	rest->bytes += TLV_HEAD + length;
	rest->length -= TLV_HEAD + length;
	return true;
}

static uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t length)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < length; i++) {
		crc ^= byte[i];
		for (int bit = 0; bit < 8; bit++) {
			crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78 : 0);
		}
	}
	return crc;
}

/* Section 2.2.3: the sum of the whole header, with zeros in the place of the sum. */
static bool checksum_fits(struct proxy_header_span whole, struct proxy_header_span sum)
{
	static const uint8_t zeros[CRC32C_LEN] = {0};
	const uint8_t *behind = sum.bytes + CRC32C_LEN;
	uint32_t crc = crc32c_add(UINT32_MAX, whole.bytes, (size_t)(sum.bytes - whole.bytes));

	crc = crc32c_add(crc, zeros, sizeof(zeros));
	crc = crc32c_add(crc, behind, (size_t)(whole.bytes + whole.length - behind));
	return ~crc == read_u32(sum.bytes);
}

bool proxy_header_is_printable(const void *text, size_t length)
{
	const uint8_t *byte = text;

	for (size_t i = 0; i < length; i++) {
		if (byte[i] <= ' ' || byte[i] > '~') {
			return false;
		}
	}
	return true;
}

static enum proxy_header_verdict read_authority(struct proxy_header *header,
						struct proxy_header_span value, const char **why)
{
	if (value.length > PROXY_HEADER_AUTHORITY_MAX ||
	    !proxy_header_is_printable(value.bytes, value.length)) {
		return proxy_header_refuse(why, "its authority is not a host name");
	}
	memcpy(header->authority, value.bytes, value.length);
	header->authority[value.length] = '\0';
	return PROXY_HEADER_DONE;
}

static enum proxy_header_verdict read_ssl(struct proxy_header *header,
					  struct proxy_header_span value, const char **why)
{
	struct tlv part;

	if (value.length < SSL_HEAD) {
		return proxy_header_refuse(why, "its part about TLS is too short");
	}
	header->tls = (value.bytes[0] & PROXY_HEADER_CLIENT_SSL) != 0;
	value.bytes += SSL_HEAD;
	value.length -= SSL_HEAD;
	while (value.length > 0) {
		if (!next_tlv(&value, &part)) {
			return proxy_header_refuse(why, "its part about TLS reaches past its end");
		}
	}
	return PROXY_HEADER_DONE;
}

static enum proxy_header_verdict read_tlv(struct proxy_header *header,
					  struct proxy_header_span whole, const struct tlv *tlv,
					  const char **why)
{
	switch (tlv->type) {
	case TLV_AUTHORITY:
		return read_authority(header, tlv->value, why);
	case TLV_SSL:
		return read_ssl(header, tlv->value, why);
	case TLV_CRC32C:
		return tlv->value.length == CRC32C_LEN && checksum_fits(whole, tlv->value)
			       ? PROXY_HEADER_DONE
			       : proxy_header_refuse(why, "its checksum is wrong");
	case TLV_UNIQUE_ID:
		return tlv->value.length <= PROXY_HEADER_UNIQUE_ID_MAX
			       ? PROXY_HEADER_DONE
			       : proxy_header_refuse(why, "its unique id is longer than 128 bytes");
	default:
		return PROXY_HEADER_DONE;
	}
}

/* What we act on is said once: of two, the sender and we might believe different ones. */
static bool is_second(uint64_t *seen, uint8_t type)
{
	uint64_t bit = 0;

	if (type == TLV_AUTHORITY || type == TLV_SSL || type == TLV_CRC32C) {
		bit = UINT64_C(1) << type;
	}
	if ((*seen & bit) != 0) {
		return true;
	}
	*seen |= bit;
	return false;
}

static enum proxy_header_verdict read_tlvs(struct proxy_header *header,
					   struct proxy_header_span whole,
					   struct proxy_header_span rest, const char **why)
{
	enum proxy_header_verdict verdict = PROXY_HEADER_DONE;
	uint64_t seen = 0;
	struct tlv tlv;

	while (rest.length > 0 && verdict == PROXY_HEADER_DONE) {
		if (!next_tlv(&rest, &tlv)) {
			return proxy_header_refuse(why, "a part of it reaches past its end");
		}
		if (is_second(&seen, tlv.type)) {
			return proxy_header_refuse(why, "it says the same thing twice");
		}
		verdict = read_tlv(header, whole, &tlv, why);
	}
	return verdict;
}

static void read_v2_addresses(struct proxy_header *header, const uint8_t *block, sa_family_t family)
{
	size_t length = family == AF_INET ? 4 : 16;
	struct addr *addrs[] = {&header->source, &header->destination};
	const uint8_t *ports = block + 2 * length;

	for (size_t i = 0; i < array_length(addrs); i++) {
		struct addr raw = {0};

		raw.family = family;
		if (family == AF_INET) {
			memcpy(&raw.v4.sin_addr, block + i * length, length);
			memcpy(&raw.v4.sin_port, ports + i * 2, 2);
		} else {
			memcpy(&raw.v6.sin6_addr, block + i * length, length);
			memcpy(&raw.v6.sin6_port, ports + i * 2, 2);
		}
		addr_from_sockaddr(addrs[i], (const struct sockaddr *)&raw.v6);
	}
}

/* `whole` is all of a header with the command PROXY. */
static enum proxy_header_verdict read_v2_proxy(struct proxy_header *header,
					       struct proxy_header_span whole, const char **why)
{
	uint8_t family = whole.bytes[13] >> 4;
	uint8_t transport = whole.bytes[13] & 0x0F;
	struct proxy_header_span rest = {whole.bytes + PROXY_HEADER_FIXED,
					 whole.length - PROXY_HEADER_FIXED};

	if (family >= array_length(address_sizes) || transport > TRANSPORT_STREAM) {
		return proxy_header_refuse(why,
					   "its address family or transport cannot carry IMAP");
	}
	if (rest.length < address_sizes[family]) {
		return proxy_header_refuse(why, "it is too short for its addresses");
	}
	if (transport == TRANSPORT_STREAM && (family == FAMILY_INET || family == FAMILY_INET6)) {
		read_v2_addresses(header, rest.bytes, family == FAMILY_INET ? AF_INET : AF_INET6);
	} else {
		header->local = true;
		header->unnamed = true;
	}
	rest.bytes += address_sizes[family];
	rest.length -= address_sizes[family];
	return read_tlvs(header, whole, rest, why);
}

enum proxy_header_verdict proxy_header_read_v2(struct proxy_header *header,
					       struct proxy_header_span input, size_t *size,
					       const char **why)
{
	struct proxy_header_span whole = {input.bytes, 0};
	uint8_t command;

	if (input.length <= PROXY_HEADER_SIGNATURE) {
		return PROXY_HEADER_MORE;
	}
	command = input.bytes[PROXY_HEADER_SIGNATURE] & 0x0F;
	if ((input.bytes[PROXY_HEADER_SIGNATURE] & 0xF0) != PROXY_HEADER_VERSION_2 ||
	    command > COMMAND_PROXY) {
		return proxy_header_refuse(why, "its version or command is unknown");
	}
	if (input.length < PROXY_HEADER_FIXED) {
		return PROXY_HEADER_MORE;
	}
	whole.length = PROXY_HEADER_FIXED + (size_t)read_u16(input.bytes + 14);
	if (whole.length > PROXY_HEADER_MAX) {
		return proxy_header_refuse(why, "it is longer than 4096 bytes");
	}
	if (input.length < whole.length) {
		return PROXY_HEADER_MORE;
	}
	*size = whole.length;
	if (command == COMMAND_LOCAL) {
		header->local = true;
		return PROXY_HEADER_DONE;
	}
	return read_v2_proxy(header, whole, why);
}
