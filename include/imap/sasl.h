/* SPDX-License-Identifier: Apache-2.0
 *
 * SASL mechanisms: which the proxy knows, what a client's first message says of them, and what a
 * backend reads. PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), XOAUTH2 (Google's and
 * Microsoft's), OAUTHBEARER (RFC 7628), EXTERNAL (RFC 4422 appendix A), SCRAM (RFC 5802, 7677).
 */
#ifndef GATEPOST_IMAP_SASL_H
#define GATEPOST_IMAP_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "imap/credentials.h"

struct buffer;

/* Sets of mechanisms are sums of SASL_BIT. A token or an exchange means something to the backend
 * alone, so those can be offered only where every backend takes them. */
#define SASL_BIT(mechanism) (1U << (mechanism))
#define SASL_ALL            (SASL_BIT(SASL_MECHANISM_COUNT) - 1)
#define SASL_PASSWORDS      (SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN))
#define SASL_TOKENS         (SASL_BIT(SASL_XOAUTH2) | SASL_BIT(SASL_OAUTHBEARER))
#define SASL_EXCHANGES                                                                             \
	(SASL_BIT(SASL_SCRAM_SHA_1) | SASL_BIT(SASL_SCRAM_SHA_256) | SASL_BIT(SASL_SCRAM_SHA_512))

/* sasl_name is the registered name, "SCRAM-SHA-256". */
const char *sasl_name(enum sasl_mechanism mechanism);

/* sasl_find reads a name, letters folded. False, and `mechanism` untouched, where none has it. */
bool sasl_find(const void *name, size_t length, enum sasl_mechanism *mechanism);

/* sasl_offered is the set of the AUTH= atoms in a backend's capabilities. Where one of them ends in
 * -PLUS, no exchange is in the set: a client that could bind channels and sees no -PLUS says so,
 * and such a backend must then refuse it (RFC 5802 section 6). */
unsigned sasl_offered(const void *list, size_t length);

/* sasl_parse reads the first message of a client, decoded from base64, into credentials:
 *
 *	PLAIN        [authzid] NUL authcid NUL passwd
 *	XOAUTH2      user=USER ^A auth=Bearer TOKEN ^A ^A
 *	OAUTHBEARER  GS2 header with a=USER, ^A, key=value pairs each with ^A, one of them
 *	             auth=Bearer TOKEN, ^A; without a= it is CREDENTIALS_EMPTY
 *	SCRAM-*      GS2 header, n=USER,r=NONCE...; the whole message is kept as the secret, since
 *	             what follows is signed with it. A header that asks for channel binding (p=) is
 *	             CREDENTIALS_MALFORMED, as is a mandatory extension (m=)
 *
 * An authorisation identity becomes `credentials->owner` and is never dropped. What has another
 * shape is CREDENTIALS_MALFORMED. LOGIN and EXTERNAL have no such message: do not ask. */
must_use enum credentials_fault sasl_parse(struct credentials *credentials,
					   enum sasl_mechanism mechanism, const void *message,
					   size_t length);

/* sasl_encode appends the first message for a backend in base64, without line end, by
 * `credentials->mechanism` (LOGIN and EXTERNAL have none: do not ask). Made anew from the
 * credentials, but for SCRAM, whose message is the client's. As secret as the password. Exhausted
 * memory sets `out->failed`. */
void sasl_encode(struct buffer *out, const struct credentials *credentials);

#endif
