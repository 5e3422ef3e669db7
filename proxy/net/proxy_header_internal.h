/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader and the writer of PROXY headers share: version 2 on the wire.
 */
#ifndef GATEPOST_NET_PROXY_HEADER_INTERNAL_H
#define GATEPOST_NET_PROXY_HEADER_INTERNAL_H

#include "net/proxy_header.h"

/* Section 2.2: the signature, version and command, family and transport, length. */
#define PROXY_HEADER_SIGNATURE  12
#define PROXY_HEADER_FIXED      16
#define PROXY_HEADER_VERSION_2  0x20
#define PROXY_HEADER_CLIENT_SSL 0x01

enum proxy_header_command { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };

enum proxy_header_family { FAMILY_UNSPEC = 0, FAMILY_INET = 1, FAMILY_INET6 = 2, FAMILY_UNIX = 3 };

enum proxy_header_transport { TRANSPORT_UNSPEC = 0, TRANSPORT_STREAM = 1 };

/* Sections 2.2.1 to 2.2.6. */
enum proxy_header_tlv {
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
	TLV_SSL_VERSION = 0x21,
	TLV_SSL_CIPHER = 0x23,
};

/* The first bytes of a header of version 2. */
extern const uint8_t proxy_header_signature[PROXY_HEADER_SIGNATURE];

/* struct proxy_header_span is a run of the bytes that are read. */
struct proxy_header_span {
	const uint8_t *bytes;
	size_t length;
};

/* proxy_header_refuse is BAD, for this reason. */
enum proxy_header_verdict proxy_header_refuse(const char **why, const char *reason);

/* proxy_header_is_printable tells whether no byte is a space, a control character or not ASCII. */
bool proxy_header_is_printable(const void *text, size_t length);

/* proxy_header_read_v2 reads what begins like the signature. `header` begins empty. */
enum proxy_header_verdict proxy_header_read_v2(struct proxy_header *header,
					       struct proxy_header_span input, size_t *size,
					       const char **why);

#endif
