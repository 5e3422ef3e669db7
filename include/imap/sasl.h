/* SPDX-License-Identifier: Apache-2.0
 *
 * SASL messages as they stand inside an AUTHENTICATE exchange: what a client sent becomes
 * credentials, and credentials become what a backend reads. PLAIN only (RFC 4616).
 */
#ifndef GATEPOST_IMAP_SASL_H
#define GATEPOST_IMAP_SASL_H

#include <stddef.h>

#include "base/base.h"
#include "imap/credentials.h"

struct buffer;

/* sasl_plain_parse reads the message `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2),
 * already decoded from base64. The authzid becomes `credentials->owner` and is never dropped. A
 * message without exactly two NULs is CREDENTIALS_MALFORMED; otherwise as credentials_set says. */
must_use enum credentials_fault sasl_plain_parse(struct credentials *credentials,
						 const void *message, size_t length);

/* sasl_plain_encode appends the PLAIN message for a backend in base64, without line end: the
 * argument of AUTHENTICATE PLAIN, or the answer to its `+`. The text is as secret as the password.
 * Exhausted memory sets `out->failed`. */
void sasl_plain_encode(struct buffer *out, const struct credentials *credentials);

#endif
