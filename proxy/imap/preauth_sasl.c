/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins: LOGIN, AUTHENTICATE with all its lines, and the responses of an exchange that a backend
 * leads. What a message says is sasl.c's business.
 */
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "imap/capability.h"
#include "imap/refusal.h"
#include "preauth_internal.h"

/* "Username:" and "Password:" in base64. */
#define PROMPT_USER     "VXNlcm5hbWU6"
#define PROMPT_PASSWORD "UGFzc3dvcmQ6"

/* A user name is kept so far that one that is too long is seen to be. */
#define USER_KEPT_MAX (CREDENTIALS_USER_MAX + 1)

static enum preauth_verdict end_claim(struct preauth *preauth, enum credentials_fault fault,
				      struct buffer *reply)
{
	switch (fault) {
	case CREDENTIALS_FINE:
		command_forget(&preauth->command);
		secret_done(&preauth->user);
		preauth->state = PREAUTH_PENDING;
		return PREAUTH_LOGIN;
	case CREDENTIALS_NO_MEMORY:
		reply->failed = true;
		return PREAUTH_MORE;
	default:
		return preauth_reject_login(preauth, &REFUSAL_CREDENTIALS, reply);
	}
}

enum preauth_verdict preauth_run_login(struct preauth *preauth, struct buffer *reply)
{
	struct credentials_claim claim = {.mechanism = SASL_PLAIN};

	claim.user = command_argument(&preauth->command, 0, &claim.user_length);
	claim.secret = command_argument(&preauth->command, 1, &claim.secret_length);
	return end_claim(preauth, credentials_set(&preauth->credentials, &claim), reply);
}

static void prompt(struct preauth *preauth, const char *challenge, enum preauth_state state,
		   struct buffer *reply)
{
	buffer_append_text(reply, "+ ");
	buffer_append_text(reply, challenge);
	buffer_append_text(reply, "\r\n");
	command_continue(&preauth->command, state == PREAUTH_AT_RESPONSE ? PREAUTH_SHORT_RESPONSE
									 : PREAUTH_SHORT_LINE);
	preauth->state = state;
}

static enum preauth_verdict take_user(struct preauth *preauth, const struct buffer *message,
				      struct buffer *reply)
{
	size_t length = message->length < USER_KEPT_MAX ? message->length : USER_KEPT_MAX;

	if (!secret_set(&preauth->user, buffer_bytes(message), length)) {
		reply->failed = true;
		return PREAUTH_MORE;
	}
	prompt(preauth, PROMPT_PASSWORD, PREAUTH_AT_PASSWORD, reply);
	return PREAUTH_MORE;
}

static enum preauth_verdict take_password(struct preauth *preauth, const struct buffer *message,
					  struct buffer *reply)
{
	struct credentials_claim claim = {
		.user = preauth->user.bytes,
		.user_length = preauth->user.length,
		.secret = buffer_bytes(message),
		.secret_length = message->length,
		.mechanism = SASL_PLAIN,
	};

	return end_claim(preauth, credentials_set(&preauth->credentials, &claim), reply);
}

/* A certificate opens the mailbox that it names, and no other. */
static enum preauth_verdict take_external(struct preauth *preauth, const struct buffer *message,
					  struct buffer *reply)
{
	const char *user = preauth->settings->certified_user;
	struct credentials_claim claim = {.mechanism = SASL_EXTERNAL};

	invariant(user != NULL);
	claim.user = user;
	claim.user_length = strlen(user);
	if (message->length > 0 && (message->length != claim.user_length ||
				    memcmp(buffer_bytes(message), user, claim.user_length) != 0)) {
		return preauth_reject_login(preauth, &REFUSAL_AUTHORIZATION, reply);
	}
	return end_claim(preauth, credentials_set(&preauth->credentials, &claim), reply);
}

static enum preauth_verdict take_first(struct preauth *preauth, const struct buffer *message,
				       struct buffer *reply)
{
	switch (preauth->mechanism) {
	case SASL_LOGIN:
		return take_user(preauth, message, reply);
	case SASL_EXTERNAL:
		return take_external(preauth, message, reply);
	default:
		return end_claim(preauth,
				 sasl_parse(&preauth->credentials, preauth->mechanism,
					    buffer_bytes(message), message->length),
				 reply);
	}
}

static enum preauth_verdict take_response(struct preauth *preauth, const uint8_t *text,
					  size_t length, struct buffer *reply)
{
	if (!secret_set(&preauth->response, text, length)) {
		reply->failed = true;
		return PREAUTH_MORE;
	}
	command_forget(&preauth->command);
	preauth->state = PREAUTH_PENDING;
	return PREAUTH_RESPONSE;
}

static enum preauth_verdict take_message(struct preauth *preauth, const struct buffer *message,
					 struct buffer *reply)
{
	return preauth->state == PREAUTH_AT_PASSWORD ? take_password(preauth, message, reply)
						     : take_first(preauth, message, reply);
}

static enum preauth_verdict take_text(struct preauth *preauth, const uint8_t *text, size_t length,
				      struct buffer *reply)
{
	struct buffer message = {0};
	enum preauth_verdict verdict = PREAUTH_MORE;

	if (base64_decode(&message, text, length)) {
		verdict = preauth->state == PREAUTH_AT_RESPONSE
				  ? take_response(preauth, text, length, reply)
				  : take_message(preauth, &message, reply);
	} else if (message.failed) {
		reply->failed = true;
	} else {
		verdict = preauth_reject(preauth, "BAD Invalid base64.", true, reply);
	}
	buffer_done(&message);
	return verdict;
}

enum preauth_verdict preauth_run_line(struct preauth *preauth, struct buffer *reply)
{
	size_t length = 0;
	const uint8_t *text = command_argument(&preauth->command, 0, &length);

	if (length == 1 && text[0] == '*') {
		return preauth_reject(preauth, "BAD Authentication cancelled.", false, reply);
	}
	return take_text(preauth, text, length, reply);
}

enum preauth_verdict preauth_run_authenticate(struct preauth *preauth, struct buffer *reply)
{
	size_t length = 0;
	const uint8_t *name = command_argument(&preauth->command, 0, &length);
	const uint8_t *text;

	if (!sasl_find(name, length, &preauth->mechanism) ||
	    (preauth->settings->front->mechanisms & SASL_BIT(preauth->mechanism)) == 0) {
		return preauth_reject(preauth, "NO Unsupported authentication mechanism.", false,
				      reply);
	}
	text = command_argument(&preauth->command, 1, &length);
	if (text == NULL) {
		prompt(preauth, preauth->mechanism == SASL_LOGIN ? PROMPT_USER : "",
		       PREAUTH_AT_MESSAGE, reply);
		return PREAUTH_MORE;
	}
	if (length == 1 && text[0] == '=') {
		length = 0; /* RFC 4959 section 3: present, and empty */
	}
	preauth->state = PREAUTH_AT_MESSAGE;
	return take_text(preauth, text, length, reply);
}

void preauth_challenge(struct preauth *preauth, const char *challenge, struct buffer *reply)
{
	invariant(preauth->state == PREAUTH_PENDING && preauth->fault == NULL);
	invariant(command_shape(&preauth->command)->form == COMMAND_FORM_ATOMS);
	secret_done(&preauth->response);
	prompt(preauth, challenge, PREAUTH_AT_RESPONSE, reply);
}

const char *preauth_response(const struct preauth *preauth)
{
	return preauth->fault == NULL ? (const char *)preauth->response.bytes : NULL;
}
