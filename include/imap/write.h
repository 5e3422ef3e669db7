/* SPDX-License-Identifier: Apache-2.0
 *
 * What the proxy says to a backend: credentials in the best form that the backend offers, quoted
 * strings, ID. Nothing here repeats the form in which a client wrote something: decoded values go
 * in, and come out encoded anew.
 */
#ifndef GATEPOST_IMAP_WRITE_H
#define GATEPOST_IMAP_WRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct buffer;
struct credentials;

/* Longest literal that LITERAL- lets us send without waiting (RFC 7888 section 5). */
#define WRITE_LITERAL_MINUS_MAX 4096

/* Longest secret in an initial response. With the names, in base64, and behind the command, the
 * line has fewer than the 8,000 octets that every server takes (RFC 2683 section 3.2.1.5). What is
 * longer waits for `+`. */
#define WRITE_INITIAL_SECRET_MAX 5120

/* enum write_form is how a password is said. */
enum write_form {
	WRITE_BEST,  /* the best of the two that the backend offers */
	WRITE_LOGIN, /* the command LOGIN */
	WRITE_PLAIN, /* AUTHENTICATE PLAIN */
};

/* struct write_offer is what a backend's capabilities say of ways to log in. */
struct write_offer {
	bool sasl_ir;
	unsigned mechanisms; /* set of SASL_BIT */
	bool literal_plus;
	bool literal_minus;
	bool login_disabled;
};

enum write_step {
	WRITE_COMMAND,  /* nothing is written yet */
	WRITE_MESSAGE,  /* the SASL message is due */
	WRITE_USER,     /* the octets of the user name's literal are due */
	WRITE_PASSWORD, /* the octets of the password's literal are due */
	WRITE_DONE,
};

/* struct write_login is one login command on its way: AUTHENTICATE with initial response,
 * AUTHENTICATE that waits for `+`, or (a password only) LOGIN, in this order of preference; the
 * form may allow a password one of the two commands only. Each argument of LOGIN is a quoted string
 * if all its octets are 0x20 to 0x7E, else a literal: `{n+}` where the backend takes it, else `{n}`
 * that waits for `+`. Holds no secret of its own: the credentials are borrowed. */
struct write_login {
	const struct credentials *credentials;
	struct write_offer offer;
	bool authenticate; /* or else LOGIN */
	enum write_step step;
};

enum write_fault {
	WRITE_FINE,
	WRITE_LOGIN_DISABLED, /* LOGINDISABLED, and no AUTH=PLAIN, or the form is not offered */
	WRITE_MECHANISM,      /* the backend does not offer the mechanism of a token or exchange, or
			       * it is EXTERNAL, which speaks of another connection */
	WRITE_OWNER,          /* an authorisation identity, which LOGIN and tokens cannot carry */
	WRITE_CONTROL,        /* NUL, CR, LF or their kin in a name or secret */
};

/* write_login_start chooses the form and writes nothing. Unless the answer is WRITE_FINE, `login`
 * is unchanged and the login must not be written. */
must_use enum write_fault write_login_start(struct write_login *login,
					    const struct credentials *credentials,
					    const struct write_offer *offer, enum write_form form);

/* write_login_is_single tells whether the whole command leaves at once, without waiting for `+`. */
bool write_login_is_single(const struct write_login *login);

/* write_login_next appends the command, under `tag`, up to where a `+` must be awaited, or to its
 * end: true when that is reached. Call it first to begin, and then once for each `+`; never after
 * true. What it appends may hold the secret. The end is that of the first message: what a backend
 * challenges then is the client's to answer. */
bool write_login_next(struct write_login *login, const char *tag, struct buffer *out);

/* write_is_quotable tells whether all octets are 0x20 to 0x7E. */
bool write_is_quotable(const void *bytes, size_t length);

/* write_quoted appends quotable octets as a quoted string (RFC 9051 section 4.3). */
void write_quoted(struct buffer *out, const void *bytes, size_t length);

#endif
