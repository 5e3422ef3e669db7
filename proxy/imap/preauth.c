/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login: which command is done how. How commands are read is command.c's
 * business; what the client learns of the proxy's abilities comes from capability.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "preauth_internal.h"

_Static_assert(PREAUTH_SHORT_LINE == COMMAND_SHORT_LINE, "one limit of two names");

/* The places of the commands in the table. */
enum verb {
	VERB_CAPABILITY,
	VERB_NOOP,
	VERB_LOGOUT,
	VERB_ID,
	VERB_STARTTLS,
	VERB_LOGIN,
	VERB_AUTHENTICATE,
};

static const struct command_shape shapes[] = {
	[VERB_CAPABILITY] = {.name = "CAPABILITY", .form = COMMAND_FORM_NONE},
	[VERB_NOOP] = {.name = "NOOP", .form = COMMAND_FORM_NONE},
	[VERB_LOGOUT] = {.name = "LOGOUT", .form = COMMAND_FORM_NONE},
	[VERB_ID] = {.name = "ID", .form = COMMAND_FORM_ID, .wanted = preauth_wanted_fields},
	[VERB_STARTTLS] = {.name = "STARTTLS", .form = COMMAND_FORM_NONE},
	[VERB_LOGIN] = {.name = "LOGIN", .form = COMMAND_FORM_STRINGS, .fewest = 2, .most = 2},
	[VERB_AUTHENTICATE] =
		{
			.name = "AUTHENTICATE",
			.form = COMMAND_FORM_ATOMS,
			.fewest = 1,
			.most = 2,
			.long_lines = true,
		},
};

static size_t smaller(size_t left, size_t right)
{
	return left < right ? left : right;
}

struct preauth *preauth_new(const struct preauth_settings *settings)
{
	const struct preauth_limits *limits = settings->limits;
	struct preauth *preauth = calloc(1, sizeof(*preauth));

	if (preauth == NULL) {
		return NULL;
	}
	preauth->settings = settings;
	preauth->limits = (struct command_limits){
		.line = limits->line,
		.long_line = limits->sasl_line,
		.literal = limits->literal,
		.tag = smaller(limits->tag, COMMAND_TAG_MAX),
		.id_pairs = (unsigned)smaller(limits->id_pairs, COMMAND_ID_PAIRS_MAX),
	};
	command_init(&preauth->command, shapes, array_length(shapes), &preauth->limits);
	return preauth;
}

void preauth_end_login(struct preauth *preauth)
{
	bool awaits_response = preauth->state == PREAUTH_AT_RESPONSE;

	preauth->may_cross = !command_abandon(&preauth->command) && awaits_response;
	secret_done(&preauth->user);
	secret_done(&preauth->response);
	credentials_done(&preauth->credentials);
	preauth->fault = NULL;
	preauth->state = PREAUTH_AT_COMMAND;
	if (preauth->in_ration) {
		preauth->in_ration = false;
		preauth->settings->ration->taken--;
	}
}

void preauth_free(struct preauth *preauth)
{
	if (preauth == NULL) {
		return;
	}
	preauth_end_login(preauth);
	command_done(&preauth->command);
	free(preauth->claims.pairs);
	free(preauth);
}

void preauth_greet(const struct preauth *preauth, struct buffer *reply)
{
	buffer_append_text(reply, "* OK [CAPABILITY ");
	capability_append_preauth(reply, preauth->settings->front);
	buffer_append_text(reply, "] " PREAUTH_GREETING "\r\n");
}

const struct credentials *preauth_credentials(const struct preauth *preauth)
{
	return &preauth->credentials;
}

const char *preauth_tag(const struct preauth *preauth)
{
	return command_tag(&preauth->command);
}

bool preauth_asked_capability(const struct preauth *preauth)
{
	return preauth->asked_capability;
}

static enum preauth_verdict run_capability(struct preauth *preauth, struct buffer *reply)
{
	preauth->asked_capability = true;
	buffer_append_text(reply, "* CAPABILITY ");
	capability_append_preauth(reply, preauth->settings->front);
	buffer_append_text(reply, "\r\n");
	preauth_answer(preauth, "OK CAPABILITY completed.", reply);
	return PREAUTH_MORE;
}

static enum preauth_verdict run_logout(struct preauth *preauth, struct buffer *reply)
{
	buffer_append_text(reply, "* BYE Logging out.\r\n");
	preauth_answer(preauth, "OK LOGOUT completed.", reply);
	return PREAUTH_LOGOUT;
}

static enum preauth_verdict run_id(struct preauth *preauth, struct buffer *reply)
{
	if (!preauth_learn_identity(preauth)) {
		reply->failed = true;
		return PREAUTH_MORE;
	}
	command_forget(&preauth->command);
	buffer_append_text(reply, "* ID (\"name\" \"gatepost\")\r\n");
	preauth_answer(preauth, "OK ID completed.", reply);
	return PREAUTH_MORE;
}

static enum preauth_verdict run_starttls(struct preauth *preauth, struct buffer *reply)
{
	if (!preauth->settings->front->starttls) {
		return preauth_reject(preauth, "BAD STARTTLS is not possible here.", true, reply);
	}
	preauth_answer(preauth, "OK Begin TLS negotiation now.", reply);
	return PREAUTH_STARTTLS;
}

/* What the front does not announce now. */
static unsigned forbidden_verbs(const struct preauth *preauth)
{
	const struct capability_front *front = preauth->settings->front;

	if (!front->secrets_allowed) {
		return 1U << VERB_LOGIN | 1U << VERB_AUTHENTICATE;
	}
	return (front->mechanisms & SASL_PASSWORDS) == 0 ? 1U << VERB_LOGIN : 0;
}

static enum preauth_verdict run_forbidden(struct preauth *preauth, struct buffer *reply)
{
	const char *answer = preauth->settings->front->secrets_allowed
				     ? "NO [CANNOT] LOGIN is disabled."
				     : "NO [PRIVACYREQUIRED] Logging in needs TLS.";

	return preauth_reject(preauth, answer, false, reply);
}

static enum preauth_verdict run_command(struct preauth *preauth, struct buffer *reply)
{
	enum verb verb = (enum verb)(command_shape(&preauth->command) - shapes);

	/* It may have become so since its name was read. */
	if ((forbidden_verbs(preauth) >> verb & 1) != 0) {
		return run_forbidden(preauth, reply);
	}
	switch (verb) {
	case VERB_CAPABILITY:
		return run_capability(preauth, reply);
	case VERB_NOOP:
		preauth_answer(preauth, "OK NOOP completed.", reply);
		return PREAUTH_MORE;
	case VERB_LOGOUT:
		return run_logout(preauth, reply);
	case VERB_ID:
		return run_id(preauth, reply);
	case VERB_STARTTLS:
		return run_starttls(preauth, reply);
	case VERB_LOGIN:
		return preauth_run_login(preauth, reply);
	case VERB_AUTHENTICATE:
		return preauth_run_authenticate(preauth, reply);
	}
	return PREAUTH_MORE;
}

/* A command whose next line is still awaited is neither good nor bad. */
static bool is_between_lines(const struct preauth *preauth)
{
	return preauth->state == PREAUTH_AT_MESSAGE || preauth->state == PREAUTH_AT_PASSWORD;
}

static enum preauth_verdict end_ready(struct preauth *preauth, struct buffer *reply)
{
	unsigned bad_before = preauth->bad_in_all;
	enum preauth_verdict verdict = preauth->state == PREAUTH_AT_COMMAND
					       ? run_command(preauth, reply)
					       : preauth_run_line(preauth, reply);

	preauth->spoke_imap = true;
	if (preauth->bad_in_all == bad_before && !is_between_lines(preauth)) {
		preauth->bad_in_a_row = 0;
	}
	return verdict;
}

/* A browser or a mail server that was led to this port says one of these before anything else, and
 * might be made to say more (RFC 9051 section 11: cross-protocol attacks): hear no second line. So
 * does a balancer whose PROXY header nobody here shall believe. */
static bool is_foreign_word(const char *word)
{
	static const char *const words[] = {
		"GET",    "POST",  "PUT",   "HEAD", "OPTIONS", "CONNECT",
		"DELETE", "PATCH", "TRACE", "EHLO", "HELO",    "PROXY",
	};

	for (size_t i = 0; i < array_length(words); i++) {
		if (text_equal_nocase(word, strlen(word), words[i])) {
			return true;
		}
	}
	return false;
}

static enum preauth_verdict end_not_imap(struct buffer *reply)
{
	buffer_append_text(reply, "* BYE This is an IMAP server.\r\n");
	return PREAUTH_NOT_IMAP;
}

static enum preauth_verdict end_bad(struct preauth *preauth, struct buffer *reply)
{
	static const char *const answers[] = {
		[COMMAND_SYNTAX] = "BAD Syntax error.",
		[COMMAND_UNKNOWN] = "BAD Unknown command, or one that needs a login first.",
		[COMMAND_TOO_LONG] = "BAD [TOOBIG] Line too long.",
		[COMMAND_NO_PLACE] = "NO [LIMIT] Too many long lines at once, try again later.",
		[COMMAND_TOO_BIG] = "BAD [TOOBIG] Argument too long.",
	};
	enum command_fault fault = command_fault(&preauth->command);
	bool first = !preauth->spoke_imap;

	preauth->spoke_imap = !first || !command_is_empty(&preauth->command);
	if (fault == COMMAND_NO_MEMORY) {
		reply->failed = true;
		return PREAUTH_MORE;
	}
	if (first && command_shape(&preauth->command) == NULL &&
	    is_foreign_word(command_tag(&preauth->command))) {
		return end_not_imap(reply);
	}
	if (fault == COMMAND_FORBIDDEN) {
		return run_forbidden(preauth, reply);
	}
	return preauth_reject(preauth, answers[fault], fault != COMMAND_NO_PLACE, reply);
}

/* A response that was on its way when its login was refused is no command: it has no space. It
 * gets no answer, since the login had one. */
static bool is_late_response(struct preauth *preauth)
{
	bool crossed = preauth->may_cross && command_tag(&preauth->command)[0] == '\0';

	preauth->may_cross = false;
	return crossed || command_fault(&preauth->command) == COMMAND_ABANDONED;
}

static enum preauth_verdict end_command(struct preauth *preauth, enum command_event event,
					struct buffer *reply)
{
	if (preauth->state == PREAUTH_AT_COMMAND && is_late_response(preauth)) {
		return PREAUTH_MORE;
	}
	if (preauth->state == PREAUTH_AT_COMMAND &&
	    ++preauth->commands > preauth->settings->limits->commands) {
		command_forget(&preauth->command);
		return preauth_end_abuse("* BYE Too many commands.\r\n", reply);
	}
	return event == COMMAND_READY ? end_ready(preauth, reply) : end_bad(preauth, reply);
}

/* The place is kept until the login is over: what came of the line is as long as the line. */
static void ask_for_place(struct preauth *preauth)
{
	struct preauth_ration *ration = preauth->settings->ration;

	if (!preauth->in_ration && ration->taken < ration->most) {
		preauth->in_ration = true;
		ration->taken++;
	}
	if (!preauth->in_ration) {
		ration->refused++;
	}
	command_lengthen(&preauth->command, preauth->in_ration);
}

static enum preauth_verdict end_event(struct preauth *preauth, enum command_event event,
				      struct buffer *reply)
{
	switch (event) {
	case COMMAND_LITERAL:
		buffer_append_text(reply, "+ OK\r\n");
		return PREAUTH_MORE;
	case COMMAND_LONG:
		ask_for_place(preauth);
		return PREAUTH_MORE;
	case COMMAND_READY:
	case COMMAND_BAD:
		return end_command(preauth, event, reply);
	case COMMAND_FATAL:
		buffer_append_text(reply, "* BYE [TOOBIG] Literal too long.\r\n");
		return PREAUTH_TOO_BIG;
	case COMMAND_MORE:
		return PREAUTH_MORE;
	}
	return PREAUTH_MORE;
}

/* No tag begins with a control character; TLS inside TLS and other binary protocols do. A PROXY
 * header of version 2 does behind two empty lines. */
static bool is_binary(const struct preauth *preauth, const struct buffer *input)
{
	uint8_t byte = buffer_bytes(input)[0];

	if (preauth->spoke_imap || !command_is_between(&preauth->command)) {
		return false;
	}
	return (byte < 0x20 && byte != '\r' && byte != '\n') || byte == 0x7F;
}

enum preauth_verdict preauth_feed(struct preauth *preauth, struct buffer *input,
				  struct buffer *reply)
{
	enum preauth_verdict verdict = PREAUTH_MORE;
	size_t full = reply->length + PREAUTH_REPLY_MAX;

	invariant(preauth->state != PREAUTH_PENDING);
	command_forbid(&preauth->command, forbidden_verbs(preauth));
	while (verdict == PREAUTH_MORE && input->length > 0 && reply->length < full &&
	       !reply->failed) {
		size_t consumed = 0;
		enum command_event event;

		if (is_binary(preauth, input)) {
			return end_not_imap(reply);
		}
		event = command_feed(&preauth->command, buffer_bytes(input), input->length,
				     &consumed);
		buffer_consume(input, consumed);
		verdict = end_event(preauth, event, reply);
	}
	return verdict;
}
