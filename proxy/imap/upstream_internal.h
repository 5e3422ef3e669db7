/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a dialogue with a backend, shared by upstream.c (line by line),
 * upstream_starttls.c, upstream_identity.c, upstream_login.c (what is said at their steps) and
 * upstream_result.c (what comes of it: the client's lines, refusals, reasons).
 */
#ifndef GATEPOST_IMAP_UPSTREAM_INTERNAL_H
#define GATEPOST_IMAP_UPSTREAM_INTERNAL_H

#include "imap/capability.h"
#include "imap/reply.h"
#include "imap/upstream.h"
#include "imap/write.h"

/* Texts of the backend that a client may see before its tagged reply, or in a NO. */
#define UPSTREAM_TEXT_MAX    200
#define UPSTREAM_ALERTS_MAX  4
#define UPSTREAM_REASON_SIZE 256

/* A tag of ours with its NUL. */
#define UPSTREAM_TAG_SIZE 12

enum upstream_step {
	STEP_GREETING,
	STEP_STARTTLS,     /* asked, in the clear: whatever else is said is nobody's */
	STEP_HANDSHAKE,    /* granted; TLS is not on yet */
	STEP_CAPABILITY,   /* the list is due: in the greeting, or asked for */
	STEP_IDENTITY,     /* ID alone is on its way, because the login must wait for `+` */
	STEP_CONTINUATION, /* a part of the login command is sent; `+` is due */
	STEP_CHALLENGE,    /* the client's answer to a challenge is due */
	STEP_REPLY,        /* the whole login command, or the answer, is sent */
	STEP_LOGGED_IN,    /* the backend said OK; replies to commands of ours may be due */
};

struct upstream {
	struct upstream_settings settings;
	struct reply_reader reader;
	enum upstream_step step;

	/* Tags of commands of ours that wait for their tagged reply; "" = none. */
	unsigned last_tag;
	char starttls_tag[UPSTREAM_TAG_SIZE];
	char capability_tag[UPSTREAM_TAG_SIZE];
	char identity_tag[UPSTREAM_TAG_SIZE];
	char login_tag[UPSTREAM_TAG_SIZE];

	/* What the backend offers before login. */
	bool is_imap;
	bool takes_identity;
	bool is_gatepost; /* the greeting is ours, and nobody could forge it */
	struct write_offer ways;
	struct capability_offer offer;
	struct write_login login;
	bool is_unsuited; /* for these credentials */

	/* An exchange: the challenge that was passed on last, with its NUL, and the last answer
	 * that was not empty. */
	unsigned challenge_count;
	struct buffer challenge;
	struct buffer response;

	/* For the client, without control characters: what follows OK, the backend's last list
	 * since it had the credentials (filtered), whole lines with alerts. */
	struct buffer ok;
	bool ok_has_code;
	struct buffer capability;
	struct buffer alerts;
	unsigned alert_count;

	/* The text of the last BYE, printable. */
	struct buffer bye;

	struct buffer referral; /* the URL with its NUL, or empty */
	struct refusal refusal;
	char refusal_text[UPSTREAM_TEXT_MAX + 1];
	char reason[UPSTREAM_REASON_SIZE];
};

/* upstream_line is the backend's line that is being looked at. */
struct reply_view upstream_line(const struct upstream *upstream);

/* upstream_fail sets refusal and reason, and returns UPSTREAM_FAILED. Text of the backend comes
 * into the reason only through upstream_quote. */
enum upstream_verdict upstream_fail(struct upstream *upstream, const struct refusal *refusal,
				    const char *format, ...) printf_format(3, 4);

/* upstream_fail_memory is upstream_fail for exhausted memory; it sets `output->failed`. */
enum upstream_verdict upstream_fail_memory(struct upstream *upstream, struct buffer *output);

/* upstream_quote adds what the backend said to the reason, made printable; a text that repeats a
 * part of a secret is left out. */
void upstream_quote(struct upstream *upstream, struct reply_view text);

/* upstream_next_tag writes a tag that was not used before. */
void upstream_next_tag(struct upstream *upstream, char tag[UPSTREAM_TAG_SIZE]);

/* upstream_ask_capability sends CAPABILITY; the step stays. */
void upstream_ask_capability(struct upstream *upstream, struct buffer *output);

/* upstream_begin_starttls answers a greeting where STARTTLS must come first, and
 * upstream_end_starttls the tagged reply to it. */
enum upstream_verdict upstream_begin_starttls(struct upstream *upstream,
					      const struct reply *greeting, struct buffer *output);
enum upstream_verdict upstream_end_starttls(struct upstream *upstream, const struct reply *reply);

/* upstream_fail_injected is upstream_fail for input between that reply and TLS. */
enum upstream_verdict upstream_fail_injected(struct upstream *upstream);

/* upstream_send_id sends ID with all that may be said to this backend. */
void upstream_send_id(struct upstream *upstream, struct buffer *output);

/* upstream_begin_login goes on when the offer is known: ID and login, as far as they may leave, or
 * LOGOUT where nobody logs in. */
enum upstream_verdict upstream_begin_login(struct upstream *upstream, struct buffer *output);

/* upstream_continue_login sends the next part of the login command. */
void upstream_continue_login(struct upstream *upstream, struct buffer *output);

/* upstream_take_continuation looks at a `+`: a part of the command is due, or it is a challenge
 * (the step tells), or it means nothing. */
enum upstream_verdict upstream_take_continuation(struct upstream *upstream,
						 const struct reply *reply, struct buffer *output);

/* upstream_has_proven tells whether the backend has got all that it may say OK to; otherwise it
 * sets refusal and reason. */
bool upstream_has_proven(struct upstream *upstream);

/* upstream_judge sets refusal and reason from a tagged NO or BAD to the login command, and returns
 * UPSTREAM_REFUSED or UPSTREAM_FAILED. */
enum upstream_verdict upstream_judge(struct upstream *upstream, const struct reply *reply);

/* The keepers store what the client shall see after the login; false when memory ran out. A list in
 * the tagged OK takes the place of one that was sent before it. */
bool upstream_keep_ok(struct upstream *upstream, const struct reply *reply);
bool upstream_keep_capability(struct upstream *upstream, struct reply_view list);
bool upstream_keep_alert(struct upstream *upstream, struct reply_view text);

/* upstream_knows_capability tells whether the backend sent its list with or before its OK. */
bool upstream_knows_capability(const struct upstream *upstream);

#endif
