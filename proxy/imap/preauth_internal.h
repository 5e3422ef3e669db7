/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a dialogue with a client, shared by preauth.c (which command is done how),
 * preauth_answer.c, preauth_sasl.c (logins of every kind) and preauth_identity.c (what an ID says).
 */
#ifndef GATEPOST_IMAP_PREAUTH_INTERNAL_H
#define GATEPOST_IMAP_PREAUTH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"
#include "imap/command.h"
#include "imap/credentials.h"
#include "imap/preauth.h"
#include "imap/sasl.h"

/* Longest address or session id that an ID may name. */
#define PREAUTH_IDENTITY_TEXT_MAX 64

/* While credentials wait for the end of an exchange, so much of a response is kept without a place
 * in the ration: a login keeps no more in all than a command does. */
#define PREAUTH_SHORT_RESPONSE 2048

/* What the next line is. */
enum preauth_state {
	PREAUTH_AT_COMMAND,
	PREAUTH_AT_MESSAGE,  /* the first message of an AUTHENTICATE */
	PREAUTH_AT_PASSWORD, /* the second one of AUTHENTICATE LOGIN */
	PREAUTH_AT_RESPONSE, /* the response to a backend's challenge */
	PREAUTH_PENDING,     /* none: the session decides over a login */
};

/* struct preauth_claims is what the last ID said. `pairs` is NULL for none, the texts are "". */
struct preauth_claims {
	char *pairs;
	char originating_ip[PREAUTH_IDENTITY_TEXT_MAX + 1];
	char connected_ip[PREAUTH_IDENTITY_TEXT_MAX + 1];
	char session_id[PREAUTH_IDENTITY_TEXT_MAX + 1];
	unsigned originating_port;
	unsigned connected_port;
};

struct preauth {
	const struct preauth_settings *settings;
	struct command_limits limits;
	struct command command;
	enum preauth_state state;

	/* A login: how it is said, the user name of AUTHENTICATE LOGIN, and what came of it. */
	enum sasl_mechanism mechanism;
	struct secret user;
	struct credentials credentials;
	struct secret response;
	const char *fault; /* of the response: what the client gets whatever the refusal says */
	bool in_ration;
	bool may_cross; /* the next line may be a response to a login that is over */

	struct preauth_claims claims;
	bool has_proxy_ttl;
	unsigned proxy_ttl;

	unsigned commands;
	unsigned bad_in_a_row;
	unsigned bad_in_all;
	bool asked_capability;
	bool spoke_imap; /* the first command is over, and no other protocol's */
};

/* preauth_answer appends `TAG REST`, or `* REST` where no tag may be echoed. */
void preauth_answer(const struct preauth *preauth, const char *rest, struct buffer *reply);

/* preauth_reject ends a command, or a line that an AUTHENTICATE waited for, with `TAG ANSWER`. The
 * response to a challenge becomes PREAUTH_RESPONSE, and is answered so when the session refuses.
 * `is_bad` counts it among the bad commands. */
enum preauth_verdict preauth_reject(struct preauth *preauth, const char *answer, bool is_bad,
				    struct buffer *reply);

/* preauth_reject_login ends what cannot be a login as the session would refuse it, and counts it:
 * nobody else would. */
enum preauth_verdict preauth_reject_login(struct preauth *preauth, const struct refusal *refusal,
					  struct buffer *reply);

/* preauth_end_abuse appends a whole line. */
enum preauth_verdict preauth_end_abuse(const char *line, struct buffer *reply);

/* preauth_end_login wipes all that a login leaves; commands are heard again. */
void preauth_end_login(struct preauth *preauth);

/* preauth_run_login and preauth_run_authenticate do those commands; preauth_run_line takes a line
 * that an AUTHENTICATE waited for. */
enum preauth_verdict preauth_run_login(struct preauth *preauth, struct buffer *reply);
enum preauth_verdict preauth_run_authenticate(struct preauth *preauth, struct buffer *reply);
enum preauth_verdict preauth_run_line(struct preauth *preauth, struct buffer *reply);

/* Those fields of an ID, in lower case, that mean something to the proxy; NULL at the end. */
extern const char *const preauth_wanted_fields[];

/* preauth_learn_identity takes what the ID that is ready says; false when memory ran out. */
must_use bool preauth_learn_identity(struct preauth *preauth);

#endif
