/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client says to log in, decoded and checked, whatever form it came in.
 */
#ifndef GATEPOST_IMAP_CREDENTIALS_H
#define GATEPOST_IMAP_CREDENTIALS_H

#include <stddef.h>

#include "base/base.h"
#include "base/secret.h"

/* RFC 4616 section 2 lets each of authzid, authcid and passwd be 255 octets; no name is longer.
 * A password may fill a literal. */
#define CREDENTIALS_USER_MAX     255
#define CREDENTIALS_PASSWORD_MAX 4096

/* struct credentials owns its strings. `user` is whose password it is (authcid), 1 to 255 octets
 * of UTF-8 as the client typed them; `owner` is whose mailbox shall open (authzid), NULL where that
 * is the user. Neither they nor the password hold a control character. Zero is "none". */
struct credentials {
	char *user;
	char *owner;
	struct secret password;
};

enum credentials_fault {
	CREDENTIALS_FINE,
	CREDENTIALS_EMPTY,     /* no user name or no password */
	CREDENTIALS_TOO_LONG,  /* past CREDENTIALS_USER_MAX or CREDENTIALS_PASSWORD_MAX */
	CREDENTIALS_MALFORMED, /* control characters, or a name that is not UTF-8 */
	CREDENTIALS_NO_MEMORY,
};

/* struct credentials_claim is what a client says, unchecked and borrowed from its command or
 * message. `owner` may be NULL or empty. */
struct credentials_claim {
	const void *user;
	size_t user_length;
	const void *owner;
	size_t owner_length;
	const void *password;
	size_t password_length;
};

/* credentials_set checks and copies. An owner equal to the user counts as none (RFC 4616 section
 * 2). The credentials are unchanged unless the answer is CREDENTIALS_FINE. */
must_use enum credentials_fault credentials_set(struct credentials *credentials,
						const struct credentials_claim *claim);

/* credentials_mailbox is the name to route by: the owner, or else the user. Borrowed. */
const char *credentials_mailbox(const struct credentials *credentials);

/* credentials_done wipes, frees, and leaves the zero state. */
void credentials_done(struct credentials *credentials);

#endif
