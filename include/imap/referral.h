/* SPDX-License-Identifier: Apache-2.0
 *
 * The URL of a login referral (RFC 2221): `imap://user;AUTH=*@host:port/`, whose form is that of
 * RFC 5092.
 */
#ifndef GATEPOST_IMAP_REFERRAL_H
#define GATEPOST_IMAP_REFERRAL_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/error.h"

#define REFERRAL_URL_MAX  512
#define REFERRAL_USER_MAX 255

/* struct referral is where a server sends its user: `user` is the name there, decoded, "" where
 * the URL has none. */
struct referral {
	struct endpoint address; /* owned; ENDPOINT_IP or ENDPOINT_NAME in lower case */
	bool tls;                /* imaps: TLS from the first byte */
	char user[REFERRAL_USER_MAX + 1];
};

/* referral_parse reads a URL of at most REFERRAL_URL_MAX octets: the scheme imap or imaps (any
 * case), an optional user with an optional ";AUTH=mechanism" (ignored: the proxy presents what it
 * has), a host with an optional port (143, 993), and at most a "/" behind. False, and `error`, when
 * it has another form, percent-encodes a control character, or memory ran out. */
must_use bool referral_parse(struct referral *referral, const char *url, struct error *error);
void referral_done(struct referral *referral);

#endif
