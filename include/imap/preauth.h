/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue with a client before login (RFC 9051 sections 3.1 and 6.1 to 6.2, RFC 4422): bytes
 * in, bytes out, a named verdict. Does no I/O, knows no clock, and may be fed the same input whole
 * or byte by byte with the same outcome.
 */
#ifndef GATEPOST_IMAP_PREAUTH_H
#define GATEPOST_IMAP_PREAUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

struct buffer;
struct capability_front;
struct credentials;
struct refusal;
struct preauth;

/* struct preauth_limits bounds what one client may say (the options of [limits]). */
struct preauth_limits {
	size_t line;           /* octets of a command line without its CRLF */
	size_t sasl_line;      /* of a line of an AUTHENTICATE */
	size_t literal;        /* octets of a literal; with `+` at most COMMAND_LITERAL_PLUS_MAX */
	size_t tag;            /* octets of a tag, at most COMMAND_TAG_MAX */
	unsigned id_pairs;     /* of one ID, at most COMMAND_ID_PAIRS_MAX */
	unsigned bad_commands; /* in a row; three times as many in all */
	unsigned commands;     /* of any kind */
};

/* struct preauth_ration is how many dialogues of a worker may keep a line longer than
 * PREAUTH_SHORT_LINE at a time. All its dialogues share it. */
struct preauth_ration {
	unsigned taken;
	unsigned most;
	uint64_t refused; /* lines for which there was no place */
};

#define PREAUTH_SHORT_LINE 8192

/* A feed that has answered so much begins no further command: who pipelines and does not read costs
 * no more memory than this and one answer. */
#define PREAUTH_REPLY_MAX 4096

/* struct preauth_settings is what a listener lets its clients do; all that it points to outlives
 * every preauth that was made from it. */
struct preauth_settings {
	const struct capability_front *front; /* what is announced is what is allowed: secrets,
					       * STARTTLS, mechanisms */
	const struct preauth_limits *limits;
	struct preauth_ration *ration;
	const char *certified_user; /* whom the client's certificate names, NULL where none */
	bool trusted;               /* the x- keys of its ID are believed */
};

enum preauth_verdict {
	PREAUTH_MORE,     /* all input is consumed: send the reply, feed again when bytes arrive.
			   * Or PREAUTH_REPLY_MAX is reached: send it, then feed the rest */
	PREAUTH_LOGIN,    /* credentials are complete. Input behind the command is left unconsumed:
			   * it belongs to the backend if the login succeeds. The session calls
			   * preauth_refuse() or preauth_challenge() and feeds on, or ends the
			   * dialogue. */
	PREAUTH_RESPONSE, /* the answer to a challenge has come: preauth_response(). As above. */
	PREAUTH_STARTTLS, /* send the reply, then begin TLS with what is left of the input as its
			   * first bytes, and a new dialogue when that is done (RFC 9051 6.2.1) */
	PREAUTH_LOGOUT,   /* the client logged out; the reply ends in its tagged OK: send, close */
	PREAUTH_NOT_IMAP, /* HTTP, SMTP or binary on an IMAP port; reply is a BYE: send, close */
	PREAUTH_ABUSE,    /* too many commands, or bad ones; reply is a BYE: send, close */
	PREAUTH_TOO_BIG,  /* a literal that can be neither taken nor skipped; as above */
};

/* preauth_new starts a dialogue in the not-authenticated state; NULL when memory ran out.
 * `settings` is borrowed. */
must_use struct preauth *preauth_new(const struct preauth_settings *settings);

/* By its greeting one gatepost knows another. */
#define PREAUTH_GREETING "gatepost ready"

/* preauth_greet appends the untagged greeting with its CAPABILITY code to `reply`. */
void preauth_greet(const struct preauth *preauth, struct buffer *reply);

/* preauth_feed consumes from `input` and appends answers to `reply`. Call it again with whatever
 * is left after PREAUTH_LOGIN was refused or challenged, or PREAUTH_REPLY_MAX was reached; never
 * after the verdicts that end the dialogue. When memory runs out `reply->failed` is set and the
 * caller closes.
 *
 * Names and secrets that cannot be any (empty, too long, control characters) count as bad commands;
 * logins that the session refuses do not. */
enum preauth_verdict preauth_feed(struct preauth *preauth, struct buffer *input,
				  struct buffer *reply);

/* From PREAUTH_LOGIN to preauth_refuse or preauth_free: the credentials, the client's tag, and
 * whether the client has asked for CAPABILITY before (it may then ignore the code in the tagged
 * OK, so the untagged form is due). Borrowed. */
const struct credentials *preauth_credentials(const struct preauth *preauth);
const char *preauth_tag(const struct preauth *preauth);
bool preauth_asked_capability(const struct preauth *preauth);

/* preauth_challenge passes a backend's challenge on (base64, "" for an empty one): the client's
 * next line is the response to it. */
void preauth_challenge(struct preauth *preauth, const char *challenge, struct buffer *reply);

/* preauth_response is the client's answer after PREAUTH_RESPONSE, strict base64 ("" if empty);
 * NULL where it has cancelled the exchange or sent something else: then drop the backend, and
 * refuse, which answers BAD whatever the refusal says (RFC 9051 section 6.2.2). Borrowed until the
 * next call. */
const char *preauth_response(const struct preauth *preauth);

/* struct preauth_identity is what the client's last ID said. `pairs` are its own, quoted and ready
 * to be sent, at most PREAUTH_IDENTITY_MAX octets ("" for none); none has a key that begins with
 * "x-". The rest is said by trusted clients alone: NULL, or 0, where it was not. */
struct preauth_identity {
	const char *pairs;
	const char *originating_ip;
	unsigned originating_port;
	const char *connected_ip;
	unsigned connected_port;
	const char *session_id;
};

#define PREAUTH_IDENTITY_MAX 2048

/* preauth_identity is valid until the next feed or free. */
struct preauth_identity preauth_identity(const struct preauth *preauth);

/* preauth_proxy_ttl tells how many more proxies the client's login may pass, where its ID said so
 * (Dovecot's x-proxy-ttl). Believed of everybody: a small number stops nobody's logins but the
 * sender's. False, and `ttl` untouched, where it did not. */
bool preauth_proxy_ttl(const struct preauth *preauth, unsigned *ttl);

/* preauth_refuse answers the pending login with `TAG NO [CODE] TEXT`, wipes the credentials, and
 * returns to the not-authenticated state. It may come while the client's response is awaited: what
 * of that line has come, or is on its way, gets no answer. */
void preauth_refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply);

/* preauth_bye appends `* BYE [CODE] TEXT`, for a close that the proxy decides on. */
void preauth_bye(const struct refusal *refusal, struct buffer *reply);

/* preauth_free wipes and frees all that the dialogue learnt; NULL is fine. */
void preauth_free(struct preauth *preauth);

#endif
