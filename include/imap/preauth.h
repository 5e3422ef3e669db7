/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue with a client before login (RFC 9051 sections 3.1 and 6.1 to 6.2): bytes in, bytes
 * out, a named verdict. Does no I/O, knows no clock, and may be fed the same input whole or byte
 * by byte with the same outcome.
 */
#ifndef GATEPOST_IMAP_PREAUTH_H
#define GATEPOST_IMAP_PREAUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct buffer;
struct credentials;
struct refusal;
struct preauth;

/* struct preauth_settings is what a listener lets its clients do; it outlives every preauth that
 * was made from it. */
struct preauth_settings {
	bool secrets_allowed; /* TLS is on, or plaintext logins are allowed on purpose */
	size_t line_max;      /* octets of a command line without its CRLF (limits.preauth_line) */
};

enum preauth_verdict {
	PREAUTH_MORE,     /* all input is consumed: send the reply, feed again when bytes arrive */
	PREAUTH_LOGIN,    /* credentials are complete. Input behind the command is left unconsumed:
			   * it belongs to the backend if the login succeeds. The session either
			   * calls preauth_refuse() and feeds on, or ends the dialogue. */
	PREAUTH_LOGOUT,   /* the client logged out; the reply ends in its tagged OK: send, close */
	PREAUTH_NOT_IMAP, /* HTTP, SMTP or binary on an IMAP port; reply is a BYE: send, close */
	PREAUTH_ABUSE,    /* too many bad commands; reply is a BYE: send, close */
	PREAUTH_TOO_BIG,  /* a literal that can be neither taken nor skipped; as above */
};

/* Limits of the dialogue. PREAUTH_BAD_IN_A_ROW bad commands in a row, or PREAUTH_BAD_IN_ALL, end
 * it; names and passwords that cannot be any (empty, too long, control characters) count, logins
 * that the session refuses do not. A tag has at most PREAUTH_TAG_MAX octets, a line of an
 * AUTHENTICATE PREAUTH_SASL_LINE_MAX whatever `line_max` is; command.h has the other limits. */
#define PREAUTH_BAD_IN_A_ROW  10
#define PREAUTH_BAD_IN_ALL    30
#define PREAUTH_TAG_MAX       126
#define PREAUTH_SASL_LINE_MAX 24576

/* preauth_new starts a dialogue in the not-authenticated state; NULL when memory ran out.
 * `settings` is borrowed. */
must_use struct preauth *preauth_new(const struct preauth_settings *settings);

/* By its greeting one gatepost knows another. */
#define PREAUTH_GREETING "gatepost ready"

/* preauth_greet appends the untagged greeting with its CAPABILITY code to `reply`. */
void preauth_greet(const struct preauth *preauth, struct buffer *reply);

/* preauth_feed consumes from `input` and appends answers to `reply`. Call it again with whatever
 * is left after PREAUTH_LOGIN was refused; never after the verdicts that end the dialogue. When
 * memory runs out `reply->failed` is set and the caller closes. */
enum preauth_verdict preauth_feed(struct preauth *preauth, struct buffer *input,
				  struct buffer *reply);

/* After PREAUTH_LOGIN, until the next feed, refuse or free: the credentials, the client's tag, and
 * whether the client has asked for CAPABILITY before (it may then ignore the code in the tagged
 * OK, so the untagged form is due). Borrowed. */
const struct credentials *preauth_credentials(const struct preauth *preauth);
const char *preauth_tag(const struct preauth *preauth);
bool preauth_asked_capability(const struct preauth *preauth);

/* preauth_proxy_ttl tells how many more proxies the client's login may pass, where its ID said so
 * (Dovecot's x-proxy-ttl). False, and `ttl` untouched, where it did not. */
bool preauth_proxy_ttl(const struct preauth *preauth, unsigned *ttl);

/* preauth_refuse answers the pending login with `TAG NO [CODE] TEXT`, wipes the credentials, and
 * returns to the not-authenticated state. */
void preauth_refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply);

/* preauth_bye appends `* BYE [CODE] TEXT`, for a close that the proxy decides on. */
void preauth_bye(const struct refusal *refusal, struct buffer *reply);

/* preauth_free wipes and frees all that the dialogue learnt; NULL is fine. */
void preauth_free(struct preauth *preauth);

#endif
