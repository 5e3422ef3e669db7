/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory answers for a user: the name of a backend, or imap://host[:port][/]. Nothing
 * else is guessed at.
 */
#ifndef GATEPOST_ROUTING_ROUTE_VALUE_INTERNAL_H
#define GATEPOST_ROUTING_ROUTE_VALUE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"

/* Longest value that is read, and how much of a bad one is shown. */
#define ROUTE_VALUE_MAX   512
#define ROUTE_VALUE_SHOWN 64

/* struct route_value is one answer, read. */
struct route_value {
	char name[ROUTE_VALUE_MAX + 1]; /* what may be the name of a backend; "" for a URL */
	struct endpoint address;        /* owned, of a URL; ENDPOINT_NONE for a name */
};

/* route_value_parse reads `length` bytes of an answer. False, and `error` naming the value
 * (escaped, at most ROUTE_VALUE_SHOWN bytes of it), when it is empty, longer than ROUTE_VALUE_MAX,
 * holds a control character or a space, or is a URL that is not imap://host[:port][/] with a host
 * that is an IP address, a bracketed IPv6 address or a DNS name. */
must_use bool route_value_parse(struct route_value *value, const char *text, size_t length,
				struct error *error);

/* route_value_refuse says in `error` that a value is not usable, and why. Returns false. */
bool route_value_refuse(struct error *error, const char *text, size_t length, const char *reason);

void route_value_done(struct route_value *value);

#endif
