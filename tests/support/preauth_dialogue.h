/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogues before login in tables: what a client sends, and all that comes of it, however the
 * input is cut.
 *
 * Expected outcomes are written with \n for CRLF; a bare CR or LF would show as <CR> or <LF>. A
 * login shows as `[user|owner|secret]`, with the mechanism before the user where it is not PLAIN.
 * It is challenged where the table says so, and then refused; a response shows as `<text>`, or
 * `<->` where there is none. An end shows as `(verdict)`, STARTTLS with the octets behind it.
 */
#ifndef GATEPOST_TESTS_PREAUTH_DIALOGUE_H
#define GATEPOST_TESTS_PREAUTH_DIALOGUE_H

#include <stdbool.h>
#include <stddef.h>

#include "imap/capability.h"
#include "imap/preauth.h"
#include "imap/sasl.h"

#define BAD          " BAD Syntax error.\n"
#define UNKNOWN      " BAD Unknown command, or one that needs a login first.\n"
#define TOO_LONG     " BAD [TOOBIG] Line too long.\n"
#define TOO_BIG      " BAD [TOOBIG] Argument too long.\n"
#define NO_PLACE     " NO [LIMIT] Too many long lines at once, try again later.\n"
#define BASE64       " BAD Invalid base64.\n"
#define CANCELLED    " BAD Authentication cancelled.\n"
#define NO           " NO [AUTHENTICATIONFAILED] Authentication failed.\n"
#define NOT_YOURS    " NO [AUTHORIZATIONFAILED] You may not open this mailbox.\n"
#define MECHANISM    " NO Unsupported authentication mechanism.\n"
#define PRIVACY      " NO [PRIVACYREQUIRED] Logging in needs TLS.\n"
#define DISABLED     " NO [CANNOT] LOGIN is disabled.\n"
#define NO_STARTTLS  " BAD STARTTLS is not possible here.\n"
#define BEGIN_TLS    " OK Begin TLS negotiation now.\n"
#define ID_REPLY     "* ID (\"name\" \"gatepost\")\n"
#define ID_OK        " OK ID completed.\n"
#define NOOP_OK      " OK NOOP completed.\n"
#define LOGOUT_REPLY "* BYE Logging out.\n"
#define LOGOUT_OK    " OK LOGOUT completed.\n"
#define NOT_IMAP     "* BYE This is an IMAP server.\n(not imap)"
#define ABUSE        "* BYE Too many bad commands.\n(abuse)"
#define TOO_MANY     "* BYE Too many commands.\n(abuse)"
#define FATAL        "* BYE [TOOBIG] Literal too long.\n(too big)"
#define U1           "[u1|-|pw]"

#define bytes(text) text, sizeof(text) - 1

/* The limits that a configuration has by default. */
extern const struct preauth_limits dialogue_limits;

/* struct dialogue is one listener. NULL limits are the default, and so is a `most` of 0. */
struct dialogue {
	struct capability_front front;
	const struct preauth_limits *limits;
	unsigned most;
	const char *certified_user;
	bool trusted;
	const char *const *challenges; /* of each login, NULL at the end; NULL for none */
};

/* TLS or not, and of the mechanisms PLAIN alone. */
extern const struct dialogue dialogue_with_tls;
extern const struct dialogue dialogue_without_tls;

struct dialogue_case {
	const char *name;
	const char *input;
	size_t length;
	const char *expected;
};

/* struct dialogue_repeated is HEAD, COUNT times PART, REST. */
struct dialogue_repeated {
	const char *name;
	const char *head;
	const char *part;
	size_t count;
	const char *rest;
	const char *expected;
};

/* dialogue_check feeds the input whole, byte by byte and at random cuts. No place of the ration may
 * be taken when the dialogue is freed. */
void dialogue_check(const struct dialogue *dialogue, const char *name, const void *input,
		    size_t length, const char *expected);

/* dialogue_check_usable has a line of no interest before each case, so that it is not the first of
 * its connection, and `z NOOP` behind it. */
void dialogue_check_usable(const struct dialogue *dialogue, const struct dialogue_case *cases,
			   size_t count);

void dialogue_check_repeated(const struct dialogue *dialogue, const struct dialogue_repeated *cases,
			     size_t count);

/* dialogue_settings fills in settings for dialogues that a test leads itself. */
struct preauth_settings dialogue_settings(const struct dialogue *dialogue,
					  struct preauth_ration *ration);

#endif
