/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a dialogue with a backend, shared by upstream.c (what is said, step by step) and
 * upstream_result.c (what comes of it: the client's lines, refusals, reasons).
 */
#ifndef GATEPOST_IMAP_UPSTREAM_INTERNAL_H
#define GATEPOST_IMAP_UPSTREAM_INTERNAL_H

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
	STEP_CAPABILITY,   /* asked, because the greeting named none */
	STEP_IDENTITY,     /* ID alone is on its way, because the login must wait for `+` */
	STEP_CONTINUATION, /* a part of the login command is sent; `+` is due */
	STEP_REPLY,        /* the whole login command is sent */
	STEP_LOGGED_IN,    /* the backend said OK; replies to commands of ours may be due */
};

struct upstream {
	struct upstream_settings settings;
	struct reply_reader reader;
	enum upstream_step step;

	/* Tags of commands of ours that wait for their tagged reply; "" = none. */
	unsigned last_tag;
	char capability_tag[UPSTREAM_TAG_SIZE];
	char identity_tag[UPSTREAM_TAG_SIZE];
	char login_tag[UPSTREAM_TAG_SIZE];

	/* What the backend offers before login. */
	bool is_imap;
	bool takes_identity;
	bool is_gatepost; /* the greeting is ours */
	struct write_offer offer;
	struct write_login login;

	/* For the client, without control characters: what follows OK, the backend's last list
	 * since it had the credentials (filtered), whole lines with alerts. */
	struct buffer ok;
	bool ok_has_code;
	struct buffer capability;
	struct buffer alerts;
	unsigned alert_count;

	/* The text of the last BYE, printable. */
	struct buffer bye;

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

/* upstream_quote adds what the backend said to the reason, made printable; a text that repeats a
 * part of the password is left out. */
void upstream_quote(struct upstream *upstream, struct reply_view text);

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
