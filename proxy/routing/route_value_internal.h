/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory answers for a user: where the user lives, and the user's name there. Nothing
 * else is guessed at.
 *
 *	NAME[?user=USER&assigned]                  a member of the pool, or a "srv:" backend;
 *assigned where the fleet has chosen it, and may again imap://host[:port][/][?user=USER&tls=TLS]
 *port 143; TLS is none, starttls or implicit (then port 993); without it none
 *	imaps://host[:port][/][?user=USER]         port 993, TLS from the first byte
 */
#ifndef GATEPOST_ROUTING_ROUTE_VALUE_INTERNAL_H
#define GATEPOST_ROUTING_ROUTE_VALUE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"
#include "core/config.h"

/* Longest value that is read: the longest host, and the longest user with every octet
 * percent-encoded. And how much of a bad one is shown. */
#define ROUTE_VALUE_MAX   1100
#define ROUTE_VALUE_SHOWN 64

/* Longest name of a user on the backend, in octets. */
#define ROUTE_MAILBOX_MAX CONFIG_USER_MAX

/* struct route_value is one answer, read. */
struct route_value {
	char name[ROUTE_VALUE_MAX + 1]; /* what may be the name of a backend; "" for a URL */
	struct endpoint address;        /* owned, of a URL, its host in lower case; ENDPOINT_NONE
					 * for a name */
	enum config_tls tls;            /* of a URL */
	char mailbox[ROUTE_MAILBOX_MAX + 1]; /* the user's name there, decoded; "" = none */
	bool assigned;
};

/* route_value_parse reads `length` bytes of an answer. False, and `error` naming the value
 * (escaped, at most ROUTE_VALUE_SHOWN bytes of it), when it is empty, longer than ROUTE_VALUE_MAX,
 * holds a control character or a space, or has another form than those above: the host is an IP
 * address, a bracketed IPv6 address or a DNS name; each option stands at most once; USER is
 * percent-encoded (RFC 3986 section 2.1), and 1 to ROUTE_MAILBOX_MAX octets of UTF-8 without a
 * control character; tls=none or starttls contradicts imaps. */
must_use bool route_value_parse(struct route_value *value, const char *text, size_t length,
				struct error *error);

/* route_value_refuse says in `error` that a value is not usable, and why. Returns false. */
bool route_value_refuse(struct error *error, const char *text, size_t length, const char *reason);

void route_value_done(struct route_value *value);

#endif
