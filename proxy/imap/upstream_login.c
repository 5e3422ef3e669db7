/* SPDX-License-Identifier: Apache-2.0
 *
 * The login command with a backend and its rounds: a password leaves in one or a few parts; a token
 * or the first message of an exchange may be answered by challenges, which the client answers.
 */
#include "base/base64.h"
#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/sasl.h"
#include "upstream_internal.h"

static const char *fault_sentence(enum write_fault fault)
{
	switch (fault) {
	case WRITE_LOGIN_DISABLED:
		return "the backend does not offer the form in which the password shall be said";
	case WRITE_MECHANISM:
		return "the backend does not offer the mechanism of the client's login";
	case WRITE_OWNER:
		return "the login there cannot carry the authorisation identity";
	case WRITE_CONTROL:
	case WRITE_FINE:
		break;
	}
	return "the credentials hold control characters";
}

/* A backend that is not trusted is told nothing, unless it is a proxy of our kind, whose next
 * backend might be us. */
static bool wants_id(const struct upstream *upstream)
{
	return upstream->takes_identity &&
	       (upstream->settings.identity != NULL || upstream->is_gatepost);
}

static enum upstream_verdict log_out(struct upstream *upstream, struct buffer *output)
{
	char tag[UPSTREAM_TAG_SIZE];

	upstream_next_tag(upstream, tag);
	buffer_printf(output, "%s LOGOUT\r\n", tag);
	return UPSTREAM_READY;
}

/* ID and the login command leave together where the login needs no `+`, which saves a round trip. A
 * backend that cannot be logged in to is not told who the client is. */
enum upstream_verdict upstream_begin_login(struct upstream *upstream, struct buffer *output)
{
	const struct upstream_settings *settings = &upstream->settings;
	enum write_fault fault;

	if (settings->credentials == NULL) {
		return log_out(upstream, output);
	}
	fault = write_login_start(&upstream->login, settings->credentials, &upstream->ways,
				  settings->form);
	if (fault != WRITE_FINE) {
		upstream->is_unsuited = true;
		return upstream_fail(upstream, &REFUSAL_SERVERBUG, "%s", fault_sentence(fault));
	}
	if (wants_id(upstream)) {
		upstream_send_id(upstream, output);
		if (!write_login_is_single(&upstream->login)) {
			upstream->step = STEP_IDENTITY;
			return UPSTREAM_MORE;
		}
	}
	upstream_continue_login(upstream, output);
	return UPSTREAM_MORE;
}

void upstream_continue_login(struct upstream *upstream, struct buffer *output)
{
	if (upstream->login_tag[0] == '\0') {
		upstream_next_tag(upstream, upstream->login_tag);
	}
	upstream->step = write_login_next(&upstream->login, upstream->login_tag, output)
				 ? STEP_REPLY
				 : STEP_CONTINUATION;
}

static bool uses(const struct upstream *upstream, unsigned mechanisms)
{
	return (mechanisms & SASL_BIT(upstream->settings.credentials->mechanism)) != 0;
}

static enum upstream_verdict take_challenge(struct upstream *upstream, struct reply_view text,
					    struct buffer *output)
{
	struct buffer decoded = {0};
	bool is_strict = base64_decode(&decoded, text.bytes, text.length);
	bool ran_out = decoded.failed;

	buffer_done(&decoded);
	if (ran_out) {
		return upstream_fail_memory(upstream, output);
	}
	if (!is_strict) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "the backend sent a challenge that is not base64");
	}
	if (upstream->challenge_count == UPSTREAM_CHALLENGES_MAX) {
		return upstream_fail(upstream, &REFUSAL_UNAVAILABLE,
				     "the backend sent more than %d challenges",
				     UPSTREAM_CHALLENGES_MAX);
	}
	upstream->challenge_count++;
	upstream->step = STEP_CHALLENGE;
	buffer_truncate(&upstream->challenge, 0);
	buffer_append(&upstream->challenge, text.bytes, text.length);
	buffer_append_byte(&upstream->challenge, '\0');
	return upstream->challenge.failed ? upstream_fail_memory(upstream, output) : UPSTREAM_MORE;
}

enum upstream_verdict upstream_take_continuation(struct upstream *upstream,
						 const struct reply *reply, struct buffer *output)
{
	if (upstream->step == STEP_CONTINUATION) {
		upstream_continue_login(upstream, output);
	} else if (upstream->step == STEP_CHALLENGE) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "the backend sent a challenge before the answer to the last");
	} else if (upstream->step == STEP_REPLY && uses(upstream, SASL_TOKENS | SASL_EXCHANGES)) {
		return take_challenge(upstream, reply->rest, output);
	}
	return UPSTREAM_MORE;
}

/* In an exchange the first message holds no proof: an OK that follows no answer at all is as wrong
 * as one before an answer. */
bool upstream_has_proven(struct upstream *upstream)
{
	if (upstream->step == STEP_CONTINUATION) {
		upstream_fail(upstream, &REFUSAL_SERVERBUG,
			      "the backend said OK before it had the credentials");
		return false;
	}
	if (upstream->step == STEP_CHALLENGE ||
	    (upstream->challenge_count == 0 && uses(upstream, SASL_EXCHANGES))) {
		upstream_fail(upstream, &REFUSAL_SERVERBUG,
			      "the backend said OK before the client had proven who it is");
		return false;
	}
	return true;
}

const char *upstream_challenge(const struct upstream *upstream)
{
	return (const char *)buffer_bytes(&upstream->challenge);
}

/* A list from before this answer is from before the login. */
void upstream_respond(struct upstream *upstream, const char *response, struct buffer *output)
{
	invariant(upstream->step == STEP_CHALLENGE);
	upstream->step = STEP_REPLY;
	buffer_truncate(&upstream->capability, 0);
	if (response[0] != '\0') {
		buffer_truncate(&upstream->response, 0);
		buffer_append_text(&upstream->response, response);
	}
	buffer_append_text(output, response);
	buffer_append_text(output, "\r\n");
}
