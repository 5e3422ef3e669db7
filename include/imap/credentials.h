/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client says to log in, decoded and checked, whatever form it came in.
 */
#ifndef GATEPOST_IMAP_CREDENTIALS_H
#define GATEPOST_IMAP_CREDENTIALS_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/secret.h"

/* enum sasl_mechanism is by which mechanism credentials are said. */
enum sasl_mechanism {
	SASL_PLAIN, /* and every other way to say a user name with a password */
	SASL_LOGIN,
	SASL_XOAUTH2,
	SASL_OAUTHBEARER,
	SASL_EXTERNAL,
	SASL_SCRAM_SHA_1,
	SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_512,
	SASL_MECHANISM_COUNT
};

/* RFC 4616 section 2 lets each of authzid, authcid and passwd be 255 octets; no name is longer.
 * A password may fill a literal. */
#define CREDENTIALS_USER_MAX     255
#define CREDENTIALS_PASSWORD_MAX 4096

/* Longest secret that is no password: a bearer token, or the first message of an exchange. */
#define CREDENTIALS_SECRET_MAX 16384

/* struct credentials owns its strings. `user` is whose secret it is (authcid), 1 to 255 octets of
 * UTF-8 as the client typed them; `owner` is whose mailbox shall open (authzid), NULL where that is
 * the user. The secret is a password (SASL_PLAIN, also of LOGIN), a bearer token (SASL_XOAUTH2,
 * SASL_OAUTHBEARER), the first message of an exchange (SASL_SCRAM_*), or empty (SASL_EXTERNAL: the
 * proxy itself has seen who it is). None of them holds a control character. Zero is "none". */
struct credentials {
	char *user;
	char *owner;
	struct secret secret;
	uint8_t mechanism; /* enum sasl_mechanism, never SASL_LOGIN */
};

enum credentials_fault {
	CREDENTIALS_FINE,
	CREDENTIALS_EMPTY,     /* no user name or no secret */
	CREDENTIALS_TOO_LONG,  /* past one of the limits */
	CREDENTIALS_MALFORMED, /* control characters, a name that is not UTF-8, another shape */
	CREDENTIALS_NO_MEMORY,
};

/* struct credentials_claim is what a client says, unchecked and borrowed from its command or
 * message. `owner` may be NULL or empty. */
struct credentials_claim {
	const void *user;
	size_t user_length;
	const void *owner;
	size_t owner_length;
	const void *secret;
	size_t secret_length;
	uint8_t mechanism; /* enum sasl_mechanism */
};

/* credentials_set checks and copies. An owner equal to the user counts as none (RFC 4616 section
 * 2); a token speaks for nobody else, and EXTERNAL has no secret: otherwise CREDENTIALS_MALFORMED.
 * The credentials are unchanged unless the answer is CREDENTIALS_FINE. */
must_use enum credentials_fault credentials_set(struct credentials *credentials,
						const struct credentials_claim *claim);

/* credentials_mailbox is the name to route by: the owner, or else the user. Borrowed. */
const char *credentials_mailbox(const struct credentials *credentials);

/* credentials_done wipes, frees, and leaves the zero state. */
void credentials_done(struct credentials *credentials);

#endif
