/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login: which command gets which answer. How commands are read is command.c's
 * business; what the client learns of the proxy's abilities comes from capability.c.
 */
#include "imap/preauth.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "imap/command.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "imap/sasl.h"

_Static_assert(PREAUTH_TAG_MAX == COMMAND_TAG_MAX, "one limit of two names");

/* A response of the longest line, behind the mechanism's name. */
#define SASL_STORED_MAX (PREAUTH_SASL_LINE_MAX + 64)

/* More digits than any number of proxies has. */
#define PROXY_TTL_DIGITS 4

struct preauth {
	const struct preauth_settings *settings;
	struct command command;
	struct credentials credentials;
	uint8_t bad_in_a_row;
	uint8_t bad_in_all;
	bool has_proxy_ttl;
	unsigned proxy_ttl;
	bool asked_capability;
	bool heard;       /* the first byte has arrived */
	bool spoke_imap;  /* the first command is over, and no other protocol's */
	bool in_exchange; /* the next line is the response of an AUTHENTICATE */
};

/* The places of the commands in both tables. */
enum verb { VERB_CAPABILITY, VERB_NOOP, VERB_LOGOUT, VERB_ID, VERB_LOGIN, VERB_AUTHENTICATE };

#define ID_SHAPE                                                                                   \
	{                                                                                          \
		.name = "ID", .kept_field = "x-proxy-ttl", .form = COMMAND_FORM_ID,                \
		.line_max = COMMAND_ID_LINE_MAX                                                    \
	}

static const struct command_shape shapes_with_secrets[] = {
	[VERB_CAPABILITY] = {.name = "CAPABILITY", .form = COMMAND_FORM_NONE},
	[VERB_NOOP] = {.name = "NOOP", .form = COMMAND_FORM_NONE},
	[VERB_LOGOUT] = {.name = "LOGOUT", .form = COMMAND_FORM_NONE},
	[VERB_ID] = ID_SHAPE,
	[VERB_LOGIN] = {.name = "LOGIN", .form = COMMAND_FORM_STRINGS, .fewest = 2, .most = 2},
	[VERB_AUTHENTICATE] =
		{
			.name = "AUTHENTICATE",
			.form = COMMAND_FORM_ATOMS,
			.fewest = 1,
			.most = 2,
			.line_max = PREAUTH_SASL_LINE_MAX,
			.stored_max = SASL_STORED_MAX,
		},
};

static const struct command_shape shapes_without_secrets[] = {
	[VERB_CAPABILITY] = {.name = "CAPABILITY", .form = COMMAND_FORM_NONE},
	[VERB_NOOP] = {.name = "NOOP", .form = COMMAND_FORM_NONE},
	[VERB_LOGOUT] = {.name = "LOGOUT", .form = COMMAND_FORM_NONE},
	[VERB_ID] = ID_SHAPE,
	[VERB_LOGIN] = {.name = "LOGIN", .form = COMMAND_FORM_FORBIDDEN},
	[VERB_AUTHENTICATE] = {.name = "AUTHENTICATE", .form = COMMAND_FORM_FORBIDDEN},
};

_Static_assert(array_length(shapes_with_secrets) == array_length(shapes_without_secrets),
	       "both tables hold every verb");

struct preauth *preauth_new(const struct preauth_settings *settings)
{
	struct preauth *preauth = calloc(1, sizeof(*preauth));

	if (preauth == NULL) {
		return NULL;
	}
	preauth->settings = settings;
	command_init(&preauth->command,
		     settings->secrets_allowed ? shapes_with_secrets : shapes_without_secrets,
		     array_length(shapes_with_secrets), settings->line_max);
	return preauth;
}

void preauth_free(struct preauth *preauth)
{
	if (preauth == NULL) {
		return;
	}
	command_done(&preauth->command);
	credentials_done(&preauth->credentials);
	free(preauth);
}

void preauth_greet(const struct preauth *preauth, struct buffer *reply)
{
	buffer_append_text(reply, "* OK [CAPABILITY ");
	capability_append_preauth(reply, preauth->settings->secrets_allowed);
	buffer_append_text(reply, "] " PREAUTH_GREETING "\r\n");
}

/* `TAG REST`, or `* REST` where no tag may be echoed. */
static void answer(struct buffer *reply, const struct command *command, const char *rest)
{
	const char *tag = command_tag(command);

	buffer_append_text(reply, tag[0] != '\0' ? tag : "*");
	buffer_append_byte(reply, ' ');
	buffer_append_text(reply, rest);
	buffer_append_text(reply, "\r\n");
}

static void answer_refusal(struct buffer *reply, const char *start, const struct refusal *refusal)
{
	buffer_append_text(reply, start);
	if (refusal->code != NULL && refusal->code[0] != '\0') {
		buffer_append_byte(reply, '[');
		buffer_append_text(reply, refusal->code);
		buffer_append_text(reply, "] ");
	}
	buffer_append_text(reply, refusal->text);
	buffer_append_text(reply, "\r\n");
}

void preauth_bye(const struct refusal *refusal, struct buffer *reply)
{
	answer_refusal(reply, "* BYE ", refusal);
}

static void refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply)
{
	buffer_append_text(reply, command_tag(&preauth->command));
	answer_refusal(reply, " NO ", refusal);
}

void preauth_refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply)
{
	credentials_done(&preauth->credentials);
	refuse(preauth, refusal, reply);
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

static enum preauth_verdict count_bad(struct preauth *preauth, struct buffer *reply)
{
	preauth->bad_in_a_row++;
	preauth->bad_in_all++;
	if (preauth->bad_in_a_row < PREAUTH_BAD_IN_A_ROW &&
	    preauth->bad_in_all < PREAUTH_BAD_IN_ALL) {
		return PREAUTH_MORE;
	}
	buffer_append_text(reply, "* BYE Too many bad commands.\r\n");
	return PREAUTH_ABUSE;
}

static enum preauth_verdict run_capability(struct preauth *preauth, struct buffer *reply)
{
	preauth->asked_capability = true;
	buffer_append_text(reply, "* CAPABILITY ");
	capability_append_preauth(reply, preauth->settings->secrets_allowed);
	buffer_append_text(reply, "\r\n");
	answer(reply, &preauth->command, "OK CAPABILITY completed.");
	return PREAUTH_MORE;
}

static enum preauth_verdict run_logout(struct preauth *preauth, struct buffer *reply)
{
	buffer_append_text(reply, "* BYE Logging out.\r\n");
	answer(reply, &preauth->command, "OK LOGOUT completed.");
	return PREAUTH_LOGOUT;
}

/* A proxy in front of us says how many more a login may pass. Anybody may say so: a small number
 * stops nobody's logins but their own. */
static void learn_proxy_ttl(struct preauth *preauth)
{
	size_t length = 0;
	const uint8_t *digits = command_argument(&preauth->command, 0, &length);
	unsigned ttl = 0;

	if (digits == NULL || length == 0 || length > PROXY_TTL_DIGITS) {
		return;
	}
	for (size_t i = 0; i < length; i++) {
		if (digits[i] < '0' || digits[i] > '9') {
			return;
		}
		ttl = ttl * 10 + (digits[i] - '0');
	}
	preauth->has_proxy_ttl = true;
	preauth->proxy_ttl = ttl;
}

bool preauth_proxy_ttl(const struct preauth *preauth, unsigned *ttl)
{
	if (preauth->has_proxy_ttl) {
		*ttl = preauth->proxy_ttl;
	}
	return preauth->has_proxy_ttl;
}

static enum preauth_verdict run_id(struct preauth *preauth, struct buffer *reply)
{
	learn_proxy_ttl(preauth);
	buffer_append_text(reply, "* ID (\"name\" \"gatepost\")\r\n");
	answer(reply, &preauth->command, "OK ID completed.");
	return PREAUTH_MORE;
}

/* What cannot be a login gets the answer of a wrong password at once, and counts as a bad command:
 * nobody else would count it. */
static enum preauth_verdict end_login(struct preauth *preauth, enum credentials_fault fault,
				      struct buffer *reply)
{
	command_forget(&preauth->command);
	switch (fault) {
	case CREDENTIALS_FINE:
		return PREAUTH_LOGIN;
	case CREDENTIALS_NO_MEMORY:
		reply->failed = true;
		return PREAUTH_MORE;
	default:
		refuse(preauth, &REFUSAL_CREDENTIALS, reply);
		return count_bad(preauth, reply);
	}
}

static enum preauth_verdict run_login(struct preauth *preauth, struct buffer *reply)
{
	struct credentials_claim claim = {0};

	claim.user = command_argument(&preauth->command, 0, &claim.user_length);
	claim.password = command_argument(&preauth->command, 1, &claim.password_length);
	return end_login(preauth, credentials_set(&preauth->credentials, &claim), reply);
}

static enum preauth_verdict bad_response(struct preauth *preauth, struct buffer *reply)
{
	command_forget(&preauth->command);
	answer(reply, &preauth->command, "BAD Invalid base64.");
	return count_bad(preauth, reply);
}

static enum preauth_verdict run_message(struct preauth *preauth, const uint8_t *text, size_t length,
					struct buffer *reply)
{
	struct buffer message = {0};
	enum preauth_verdict verdict = PREAUTH_MORE;

	if (base64_decode(&message, text, length)) {
		enum credentials_fault fault = sasl_plain_parse(
			&preauth->credentials, buffer_bytes(&message), message.length);

		verdict = end_login(preauth, fault, reply);
	} else if (message.failed) {
		reply->failed = true;
	} else {
		verdict = bad_response(preauth, reply);
	}
	buffer_done(&message);
	return verdict;
}

static enum preauth_verdict run_authenticate(struct preauth *preauth, struct buffer *reply)
{
	size_t length = 0;
	const uint8_t *mechanism = command_argument(&preauth->command, 0, &length);
	const uint8_t *response;

	if (!text_equal_nocase(mechanism, length, "PLAIN")) {
		answer(reply, &preauth->command, "NO Unsupported authentication mechanism.");
		return PREAUTH_MORE;
	}
	response = command_argument(&preauth->command, 1, &length);
	if (response == NULL) {
		buffer_append_text(reply, "+ \r\n");
		command_continue(&preauth->command);
		preauth->in_exchange = true;
		return PREAUTH_MORE;
	}
	if (length == 1 && response[0] == '=') {
		length = 0; /* RFC 4959 section 3: present, and empty */
	}
	return run_message(preauth, response, length, reply);
}

static enum preauth_verdict run_response(struct preauth *preauth, struct buffer *reply)
{
	size_t length = 0;
	const uint8_t *response = command_argument(&preauth->command, 1, &length);

	preauth->in_exchange = false;
	if (length == 1 && response[0] == '*') {
		answer(reply, &preauth->command, "BAD Authentication cancelled.");
		return PREAUTH_MORE;
	}
	return run_message(preauth, response, length, reply);
}

static enum preauth_verdict run_command(struct preauth *preauth, struct buffer *reply)
{
	const struct command_shape *shape = command_shape(&preauth->command);
	const struct command_shape *shapes =
		preauth->settings->secrets_allowed ? shapes_with_secrets : shapes_without_secrets;

	switch ((enum verb)(shape - shapes)) {
	case VERB_CAPABILITY:
		return run_capability(preauth, reply);
	case VERB_NOOP:
		answer(reply, &preauth->command, "OK NOOP completed.");
		return PREAUTH_MORE;
	case VERB_LOGOUT:
		return run_logout(preauth, reply);
	case VERB_ID:
		return run_id(preauth, reply);
	case VERB_LOGIN:
		return run_login(preauth, reply);
	case VERB_AUTHENTICATE:
		return run_authenticate(preauth, reply);
	}
	return PREAUTH_MORE;
}

static enum preauth_verdict end_ready(struct preauth *preauth, struct buffer *reply)
{
	uint8_t bad_before = preauth->bad_in_all;
	enum preauth_verdict verdict =
		preauth->in_exchange ? run_response(preauth, reply) : run_command(preauth, reply);

	preauth->spoke_imap = true;
	if (preauth->bad_in_all == bad_before) {
		preauth->bad_in_a_row = 0;
	}
	return verdict;
}

/* A browser or a mail server that was led to this port says one of these before anything else, and
 * might be made to say more (RFC 9051 section 11: cross-protocol attacks): hear no second line. */
static bool is_foreign_word(const char *word)
{
	static const char *const words[] = {
		"GET",    "POST",  "PUT",   "HEAD", "OPTIONS", "CONNECT",
		"DELETE", "PATCH", "TRACE", "EHLO", "HELO",
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
		[COMMAND_FINE] = "",
		[COMMAND_SYNTAX] = "BAD Syntax error.",
		[COMMAND_UNKNOWN] = "BAD Unknown command, or one that needs a login first.",
		[COMMAND_FORBIDDEN] = "NO [PRIVACYREQUIRED] Logging in needs TLS.",
		[COMMAND_TOO_LONG] = "BAD [TOOBIG] Line too long.",
		[COMMAND_TOO_BIG] = "BAD [TOOBIG] Argument too long.",
		[COMMAND_NO_MEMORY] = "",
	};
	enum command_fault fault = command_fault(&preauth->command);
	bool first = !preauth->spoke_imap;

	preauth->spoke_imap = true;
	preauth->in_exchange = false;
	if (fault == COMMAND_NO_MEMORY) {
		reply->failed = true;
		return PREAUTH_MORE;
	}
	if (first && command_shape(&preauth->command) == NULL &&
	    is_foreign_word(command_tag(&preauth->command))) {
		return end_not_imap(reply);
	}
	answer(reply, &preauth->command, answers[fault]);
	return fault == COMMAND_FORBIDDEN ? PREAUTH_MORE : count_bad(preauth, reply);
}

static enum preauth_verdict end_event(struct preauth *preauth, enum command_event event,
				      struct buffer *reply)
{
	switch (event) {
	case COMMAND_LITERAL:
		buffer_append_text(reply, "+ OK\r\n");
		return PREAUTH_MORE;
	case COMMAND_READY:
		return end_ready(preauth, reply);
	case COMMAND_BAD:
		return end_bad(preauth, reply);
	case COMMAND_FATAL:
		buffer_append_text(reply, "* BYE [TOOBIG] Literal too long.\r\n");
		return PREAUTH_TOO_BIG;
	default:
		return PREAUTH_MORE;
	}
}

/* No tag begins with a control character; TLS inside TLS and other binary protocols do. */
static bool is_binary(uint8_t byte)
{
	return (byte < 0x20 && byte != '\r' && byte != '\n') || byte == 0x7F;
}

enum preauth_verdict preauth_feed(struct preauth *preauth, struct buffer *input,
				  struct buffer *reply)
{
	enum preauth_verdict verdict = PREAUTH_MORE;

	credentials_done(&preauth->credentials);
	if (!preauth->heard && input->length > 0) {
		preauth->heard = true;
		if (is_binary(buffer_bytes(input)[0])) {
			return end_not_imap(reply);
		}
	}
	while (verdict == PREAUTH_MORE && input->length > 0 && !reply->failed) {
		size_t consumed = 0;
		enum command_event event = command_feed(&preauth->command, buffer_bytes(input),
							input->length, &consumed);

		buffer_consume(input, consumed);
		verdict = end_event(preauth, event, reply);
	}
	return verdict;
}
