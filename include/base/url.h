/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of URLs (RFC 3986) that somebody else wrote.
 */
#ifndef GATEPOST_BASE_URL_H
#define GATEPOST_BASE_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"

/* url_decode replaces every %XX in place; `length` is then that of the text, which may hold any
 * octet, NUL too. False where a '%' stands without two hexadecimal digits: the text is spoilt. */
must_use bool url_decode(char *text, size_t *length);

/* url_parse_host reads "host", "host:port" or "[::1]:port": what stands behind the '@' of an
 * authority. The endpoint is ENDPOINT_IP or ENDPOINT_NAME in lower case; a name that ends in a
 * number is a mistyped address and refused. On failure `error` says what would be right and
 * `endpoint` is unchanged. */
must_use bool url_parse_host(struct endpoint *endpoint, const char *text, uint16_t default_port,
			     struct error *error);

#endif
