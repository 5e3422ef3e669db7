/* SPDX-License-Identifier: Apache-2.0
 *
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who is at the other end of a
 * connection that somebody passes on. Bytes in, a named verdict; nothing is allocated.
 */
#ifndef GATEPOST_NET_PROXY_HEADER_H
#define GATEPOST_NET_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"

struct buffer;

/* Longest header that is taken: version 1 (section 2.1), and all of version 2 with its TLVs. */
#define PROXY_HEADER_V1_MAX 107
#define PROXY_HEADER_MAX    4096

/* Longest host name of PP2_TYPE_AUTHORITY, and longest PP2_TYPE_UNIQUE_ID (section 2.2.5). */
#define PROXY_HEADER_AUTHORITY_MAX 255
#define PROXY_HEADER_UNIQUE_ID_MAX 128

enum proxy_header_verdict {
	PROXY_HEADER_MORE, /* so far it is one, but not whole */
	PROXY_HEADER_DONE,
	PROXY_HEADER_BAD, /* it is none, or one that must not be believed; say why in the log */
};

/* struct proxy_header is what it says. `local` (LOCAL, or UNKNOWN, or an address family that is
 * none of ours): nobody is at the other end but the sender itself; the addresses are then zero.
 * `unnamed`: somebody is, but the header does not say who (all of those but LOCAL). */
struct proxy_header {
	bool local;
	bool unnamed;
	struct addr source;      /* the client */
	struct addr destination; /* where the client connected to */
	bool tls;                /* PP2_TYPE_SSL: the client speaks TLS to the sender */
	char authority[PROXY_HEADER_AUTHORITY_MAX + 1]; /* the SNI there, "" for none; printable */
};

/* proxy_header_read reads a header at the start of `bytes`. DONE: `header` is filled, and `size` is
 * how many bytes it took. BAD: `why` is a sentence for the log, static text. A checksum
 * (PP2_TYPE_CRC32C) is verified, unknown TLVs are passed over, a TLV that reaches past the end
 * makes the header BAD, as does a version, command, family or length that the specification does
 * not have, datagrams, and an authority, checksum or PP2_TYPE_SSL that is said twice. What a LOCAL
 * header holds is passed over unread (section 2.2). */
enum proxy_header_verdict proxy_header_read(struct proxy_header *header, const void *bytes,
					    size_t length, size_t *size, const char **why);

/* struct proxy_header_client is what we tell a backend. LOCAL where `source` is no IP address; a
 * `destination` that is none is written as the unspecified one. */
struct proxy_header_client {
	struct addr source;
	struct addr destination;
	const char *tls_version; /* "TLSv1.3", "" if not known, NULL where the client has no
				  * TLS */
	const char *tls_cipher;
	const char *authority; /* SNI, NULL for none */
	const char *unique_id; /* NULL for none */
};

/* proxy_header_write appends a header of version 2. Addresses of different families are both
 * written as IPv6. An authority or unique id that is too long or not printable is left out. */
void proxy_header_write(struct buffer *out, const struct proxy_header_client *client);

#endif
