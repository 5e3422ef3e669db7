/* SPDX-License-Identifier: Apache-2.0
 *
 * A dialogue with a scripted backend: what it says turn by turn, what the proxy must answer at
 * once, the verdict, and what the client gets. Each script is run turn by turn, and then whole,
 * byte by byte and at random cuts.
 */
#ifndef GATEPOST_TESTS_UPSTREAM_SCRIPT_H
#define GATEPOST_TESTS_UPSTREAM_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "imap/upstream.h"

#define UPSTREAM_SCRIPT_TURNS 10

/* What a dialogue has that differs from u1/pw, no ID, no question after the login. SCRIPT_NOBODY
 * has no credentials. */
enum {
	SCRIPT_IDENTITY = 1,
	SCRIPT_BARE_IDENTITY = 2,
	SCRIPT_ASK = 4,
	SCRIPT_UNTAGGED = 8,
	SCRIPT_STARTTLS = 16,
	SCRIPT_NOBODY = 32,
};

/* struct upstream_turn: `say` is the backend's, `sent` what the proxy must send in this turn. A
 * turn behind UPSTREAM_STARTTLS begins with TLS. A turn that ends in UPSTREAM_CHALLENGE names the
 * `challenge`; one that begins with the client's answer to it has the `answer`. */
struct upstream_turn {
	const char *say;
	const char *sent;
	const char *challenge;
	const char *answer;
};

/* struct upstream_script: `client` is what the client reads after READY (under the tag "a"), or `NO
 * [CODE] TEXT`, of which only the beginning is compared where that is SCRIPT_UNAVAILABLE or
 * SCRIPT_SERVERBUG: their words may be improved. `left` is the input that must remain. `reason`,
 * where set, must be in upstream_reason. `atoms`, where set, and `mechanisms` must be
 * upstream_offer's at the end; SCRIPT_NOT_KNOWN where there is none. `referral` must be
 * upstream_referral, which most scripts have not, and `unsuited` upstream_is_unsuited. Behind each
 * turn upstream_has_presented must be true from that on in which a login command is sent. */
struct upstream_script {
	const char *name;
	unsigned flags;
	const char *user;
	const char *owner;
	const char *secret;
	uint8_t mechanism; /* enum sasl_mechanism */
	enum write_form form;
	const char *pairs; /* of the identity */
	struct upstream_turn turns[UPSTREAM_SCRIPT_TURNS];
	enum upstream_verdict verdict;
	const char *client;
	const char *left;
	const char *reason;
	const char *atoms;
	unsigned mechanisms;
	const char *referral;
	bool unsuited;
};

#define SCRIPT_NOT_KNOWN "?"

#define SCRIPT_CREDENTIALS "NO [AUTHENTICATIONFAILED] Authentication failed."
#define SCRIPT_UNAVAILABLE "NO [UNAVAILABLE] "
#define SCRIPT_SERVERBUG   "NO [SERVERBUG] "

/* What SCRIPT_IDENTITY and SCRIPT_BARE_IDENTITY say, without the end of the command. */
#define SCRIPT_ID_PAIRS                                                                            \
	" ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"40001\" "                \
	"\"x-connected-ip\" \"2001:db8::1\" \"x-connected-port\" \"993\" "                         \
	"\"x-session-id\" \"s-1 \\\"q\\\"\" \"x-proxy-ttl\" \"4\""
#define SCRIPT_BARE_ID_PAIRS                                                                       \
	" ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"0\" "                    \
	"\"x-proxy-ttl\" \"4\""

/* upstream_script_check runs the script in all ways and fails the running test, naming it. */
void upstream_script_check(const struct upstream_script *script);

#endif
