/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue with a backend until the user is logged in there: bytes in, bytes out, a named
 * verdict. Does no I/O and knows no clock. Greeting, CAPABILITY where the greeting had none,
 * STARTTLS and ID where configured, the credentials in the best form that the backend offers, the
 * rounds of an exchange, the tagged reply, and the backend's capabilities for the client.
 */
#ifndef GATEPOST_IMAP_UPSTREAM_H
#define GATEPOST_IMAP_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "imap/refusal.h"
#include "imap/write.h"

struct buffer;
struct capability_offer;
struct credentials;
struct upstream;

/* struct upstream_identity is what ID tells a trusting backend of the client (Dovecot's keys
 * x-originating-ip, x-originating-port, x-connected-ip, x-connected-port, x-session-id). Strings
 * are borrowed, printable, without quotes; what is NULL is not told, nor the port of it. */
struct upstream_identity {
	const char *originating_ip;
	uint16_t originating_port;
	const char *connected_ip;
	uint16_t connected_port;
	const char *session_id;
	const char *pairs; /* further ones, quoted and ready to be sent; "" for none */
};

/* struct upstream_settings: all borrowed until upstream_free. */
struct upstream_settings {
	const struct credentials *credentials;    /* as presented; NULL: only ask what it offers */
	const struct upstream_identity *identity; /* NULL: tell nothing of the client */
	unsigned proxy_ttl;   /* x-proxy-ttl: told with the identity, and to another gatepost in any
			       * case, so that a route in a circle ends */
	bool starttls;        /* nothing of a user is said before STARTTLS */
	bool ask_capability;  /* fetch the list after login where the backend did not send it */
	enum write_form form; /* of a password */
};

enum upstream_verdict {
	UPSTREAM_MORE,      /* send the output, feed again when bytes arrive */
	UPSTREAM_STARTTLS,  /* begin TLS now, then upstream_secured() */
	UPSTREAM_CHALLENGE, /* upstream_challenge() is for the client; its answer goes to
			     * upstream_respond(). All input is consumed, as with MORE; what the
			     * backend says before the answer may be fed, and is MORE or final */
	UPSTREAM_READY,     /* logged in. Input behind the tagged OK is left unconsumed: it is the
			     * client's. upstream_write_ready() says what the client reads first.
			     * Without credentials: the offer is known, LOGOUT is in the output */
	UPSTREAM_REFUSED,   /* the backend said NO to this user; upstream_refusal() */
	UPSTREAM_FAILED,    /* the backend cannot be used; upstream_refusal(), upstream_reason() */
};

/* Limits of the dialogue: a line of the backend, all that it says before the login is answered, and
 * the challenges of one exchange. */
#define UPSTREAM_LINE_MAX       8192
#define UPSTREAM_TOTAL_MAX      65536
#define UPSTREAM_CHALLENGES_MAX 10

/* Limits of our ID: pairs (RFC 2971 section 3.3), and octets of the command with its CRLF. Pairs
 * of the client that do not fit are left out. */
#define UPSTREAM_ID_PAIRS_MAX 30
#define UPSTREAM_ID_LINE_MAX  8192

/* upstream_new begins by waiting for the greeting; NULL when memory ran out. */
must_use struct upstream *upstream_new(const struct upstream_settings *settings);

/* upstream_feed consumes from `input` (empty at first is fine) and appends to `output` what shall
 * be sent. `output` may hold the password: wipe what was sent. Never call it after a final
 * verdict. Exhausted memory sets `output->failed`. A BYE behind the login command is no
 * verdict: either a tagged reply follows, or the connection ends. */
enum upstream_verdict upstream_feed(struct upstream *upstream, struct buffer *input,
				    struct buffer *output);

/* upstream_secured tells that TLS is on after UPSTREAM_STARTTLS, and appends what is asked next.
 * What the backend said before is forgotten. A byte that came behind the tagged OK in the clear is
 * an injection, and was UPSTREAM_FAILED (feed it, if it came later). */
void upstream_secured(struct upstream *upstream, struct buffer *output);

/* upstream_challenge is the backend's last challenge after UPSTREAM_CHALLENGE: strict base64, ""
 * for an empty one. Borrowed until the next feed. */
const char *upstream_challenge(const struct upstream *upstream);

/* upstream_respond appends the client's answer (strict base64) and waits for what follows. Once
 * after each UPSTREAM_CHALLENGE. */
void upstream_respond(struct upstream *upstream, const char *response, struct buffer *output);

/* upstream_offer is what the backend offered before the login; not known where it never said. */
const struct capability_offer *upstream_offer(const struct upstream *upstream);

/* upstream_end tells that the backend closed the connection before a verdict. It sets refusal and
 * reason (how far the dialogue came, and what a BYE said) and returns UPSTREAM_FAILED. */
enum upstream_verdict upstream_end(struct upstream *upstream);

/* upstream_greeted tells whether the greeting has arrived: the time allowed for it is then over and
 * the time for the login runs. */
bool upstream_greeted(const struct upstream *upstream);

/* upstream_has_presented tells whether anything of the credentials is in the output so far; ID is
 * not. Where it is not, the backend can have no session of the user, and another may be tried. */
bool upstream_has_presented(const struct upstream *upstream);

/* upstream_is_unsuited tells, after UPSTREAM_FAILED, that the backend is well, but that these
 * credentials cannot be said there: by their mechanism, their form, or what they hold. */
bool upstream_is_unsuited(const struct upstream *upstream);

/* upstream_write_ready appends the client's lines after UPSTREAM_READY: alerts, the capabilities
 * (filtered: RFC 9051 section 6.1.1 lists what changes with login; untagged if
 * `untagged_capability` or where the tagged OK has another code), and `TAG OK ...`. */
void upstream_write_ready(const struct upstream *upstream, const char *tag,
			  bool untagged_capability, struct buffer *reply);

/* upstream_refusal is what the client gets after UPSTREAM_REFUSED or UPSTREAM_FAILED; its strings
 * live as long as `upstream`. By the code of the backend's NO (RFC 5530):
 *
 *	none, unknown, AUTHENTICATIONFAILED           REFUSED  REFUSAL_CREDENTIALS
 *	AUTHORIZATIONFAILED EXPIRED CONTACTADMIN
 *	NOPERM ALERT LIMIT                            REFUSED  code and text passed on
 *	UNAVAILABLE INUSE PRIVACYREQUIRED             FAILED   code and text passed on
 *	SERVERBUG, and BAD                            FAILED   REFUSAL_SERVERBUG
 *	REFERRAL                                      FAILED   REFUSAL_UNAVAILABLE
 *
 * Text passed on is printable and has at most 200 octets. */
struct refusal upstream_refusal(const struct upstream *upstream);

/* upstream_referral is the URL of a [REFERRAL ...] in the NO that refused the login, after
 * UPSTREAM_FAILED: printable, at most 512 octets. NULL where there was none. Borrowed. */
const char *upstream_referral(const struct upstream *upstream);

/* upstream_reason is the sentence for the log after UPSTREAM_REFUSED or UPSTREAM_FAILED: printable,
 * at most 255 octets, no secret. Borrowed. */
const char *upstream_reason(const struct upstream *upstream);

/* upstream_free wipes and frees; NULL is fine. */
void upstream_free(struct upstream *upstream);

#endif
