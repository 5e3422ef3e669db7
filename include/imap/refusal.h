/* SPDX-License-Identifier: Apache-2.0
 *
 * The tagged NO that a client gets when its login cannot be granted (RFC 5530, RFC 9051 7.1).
 */
#ifndef GATEPOST_IMAP_REFUSAL_H
#define GATEPOST_IMAP_REFUSAL_H

/* struct refusal borrows its strings: a response code without brackets, and a text in printable
 * ASCII. What the client reads is `TAG NO [CODE] TEXT`. */
struct refusal {
	const char *code;
	const char *text;
};

/* The fixed answers. A wrong password and an unknown user both get REFUSAL_CREDENTIALS, so that
 * nobody can tell the one from the other. */
extern const struct refusal REFUSAL_CREDENTIALS;   /* [AUTHENTICATIONFAILED] */
extern const struct refusal REFUSAL_AUTHORIZATION; /* [AUTHORIZATIONFAILED]: another's mailbox */
extern const struct refusal REFUSAL_UNAVAILABLE;   /* [UNAVAILABLE]: try again later */
extern const struct refusal REFUSAL_SERVERBUG;     /* [SERVERBUG]: the backend is not usable */

#endif
