/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue with a backend, step by step:
 *
 *	greeting -> [STARTTLS] -> [CAPABILITY] -> [ID] -> login command, with its continuations and
 *	         challenges -> tagged reply -> [CAPABILITY]
 *
 * Nothing secret leaves before the peer has shown that it is an IMAP server. A tagged reply counts
 * only for a command of ours that waits for one, and all of them are answered before the stream
 * becomes the client's.
 */
#include "imap/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "imap/preauth.h"
#include "imap/sasl.h"
#include "upstream_internal.h"

enum upstream_verdict upstream_fail_memory(struct upstream *upstream, struct buffer *output)
{
	output->failed = true;
	return upstream_fail(upstream, &REFUSAL_UNAVAILABLE, "out of memory");
}

void upstream_next_tag(struct upstream *upstream, char tag[UPSTREAM_TAG_SIZE])
{
	snprintf(tag, UPSTREAM_TAG_SIZE, "G%u", ++upstream->last_tag);
}

void upstream_ask_capability(struct upstream *upstream, struct buffer *output)
{
	upstream_next_tag(upstream, upstream->capability_tag);
	buffer_printf(output, "%s CAPABILITY\r\n", upstream->capability_tag);
}

static void learn_offer(struct upstream *upstream, struct reply_view list)
{
	upstream->is_imap = capability_has(list.bytes, list.length, "IMAP4rev1") ||
			    capability_has(list.bytes, list.length, "IMAP4rev2");
	capability_offer_learn(&upstream->offer, list.bytes, list.length);
	upstream->takes_identity = capability_has(list.bytes, list.length, "ID");
	upstream->ways = (struct write_offer){
		.sasl_ir = capability_has(list.bytes, list.length, "SASL-IR"),
		.mechanisms = sasl_offered(list.bytes, list.length),
		.literal_plus = capability_has(list.bytes, list.length, "LITERAL+"),
		.literal_minus = capability_has(list.bytes, list.length, "LITERAL-"),
		.login_disabled = capability_has(list.bytes, list.length, "LOGINDISABLED"),
	};
}

/* The list that was asked for tells how to log in, and one behind the credentials what the client
 * has. What comes in between is neither. */
static bool take_capability(struct upstream *upstream, struct reply_view list)
{
	if (upstream->step == STEP_CAPABILITY) {
		learn_offer(upstream, list);
	}
	return upstream->step < STEP_REPLY || upstream_keep_capability(upstream, list);
}

static enum upstream_verdict take_greeting(struct upstream *upstream, const struct reply *reply,
					   struct buffer *output)
{
	if (reply->kind == REPLY_UNTAGGED && reply->status == REPLY_BYE) {
		upstream_fail(upstream, &REFUSAL_UNAVAILABLE, "the backend greeted with BYE");
		upstream_quote(upstream, reply->rest);
		return UPSTREAM_FAILED;
	}
	if (reply->kind == REPLY_UNTAGGED && reply->status == REPLY_PREAUTH) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "the backend greeted with PREAUTH");
	}
	if (reply->kind != REPLY_UNTAGGED || reply->status != REPLY_OK) {
		upstream_fail(upstream, &REFUSAL_SERVERBUG, "the greeting is not IMAP's");
		upstream_quote(upstream, upstream_line(upstream));
		return UPSTREAM_FAILED;
	}
	if (upstream->settings.starttls) {
		return upstream_begin_starttls(upstream, reply, output);
	}
	upstream->is_gatepost = reply_is(reply->text, PREAUTH_GREETING);
	upstream->step = STEP_CAPABILITY;
	if (!reply_is(reply->code, "CAPABILITY")) {
		upstream_ask_capability(upstream, output);
		return UPSTREAM_MORE;
	}
	learn_offer(upstream, reply->arguments);
	if (!upstream->is_imap) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "the greeting names neither IMAP4rev1 nor IMAP4rev2");
	}
	return upstream_begin_login(upstream, output);
}

/* A BYE while the backend still waits for credentials ends the dialogue. Behind the whole command
 * it may stand before the tagged reply, which then decides. */
static enum upstream_verdict take_bye(struct upstream *upstream, struct reply_view text)
{
	buffer_truncate(&upstream->bye, 0);
	text_append_printable(&upstream->bye, text.bytes, text.length, UPSTREAM_TEXT_MAX);
	return upstream->step < STEP_REPLY ? upstream_end(upstream) : UPSTREAM_MORE;
}

/* Only the capabilities and alerts are for the client; RFC 9051 section 11.3 has clients ignore all
 * else before authentication. */
static enum upstream_verdict take_untagged(struct upstream *upstream, const struct reply *reply,
					   struct buffer *output)
{
	bool kept = true;

	if (reply->status == REPLY_BYE) {
		return take_bye(upstream, reply->rest);
	}
	if (upstream->step == STEP_STARTTLS) {
		return UPSTREAM_MORE;
	}
	if (reply->status == REPLY_NONE && reply_is(reply->word, "CAPABILITY")) {
		kept = take_capability(upstream, reply->rest);
	} else if (reply->status == REPLY_OK && reply_is(reply->code, "CAPABILITY")) {
		kept = take_capability(upstream, reply->arguments);
	} else if (reply->status == REPLY_OK && reply_is(reply->code, "ALERT")) {
		kept = upstream_keep_alert(upstream, reply->text);
	}
	return kept ? UPSTREAM_MORE : upstream_fail_memory(upstream, output);
}

/* READY as soon as every command of ours is answered: no reply to one may reach the client. */
static enum upstream_verdict settle(const struct upstream *upstream)
{
	bool settled = upstream->step == STEP_LOGGED_IN && upstream->identity_tag[0] == '\0' &&
		       upstream->capability_tag[0] == '\0';

	return settled ? UPSTREAM_READY : UPSTREAM_MORE;
}

static enum upstream_verdict end_identity(struct upstream *upstream, struct buffer *output)
{
	upstream->identity_tag[0] = '\0';
	if (upstream->step == STEP_IDENTITY) {
		upstream_continue_login(upstream, output);
	}
	return settle(upstream);
}

static enum upstream_verdict end_capability(struct upstream *upstream, const struct reply *reply,
					    struct buffer *output)
{
	upstream->capability_tag[0] = '\0';
	if (reply_is(reply->code, "CAPABILITY") && !take_capability(upstream, reply->arguments)) {
		return upstream_fail_memory(upstream, output);
	}
	if (upstream->step == STEP_LOGGED_IN) {
		return settle(upstream);
	}
	if (reply->status != REPLY_OK || !upstream->is_imap) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "CAPABILITY names neither IMAP4rev1 nor IMAP4rev2");
	}
	return upstream_begin_login(upstream, output);
}

static enum upstream_verdict end_login(struct upstream *upstream, const struct reply *reply,
				       struct buffer *output)
{
	if (reply->status != REPLY_OK) {
		return upstream_judge(upstream, reply);
	}
	if (!upstream_has_proven(upstream)) {
		return UPSTREAM_FAILED;
	}
	upstream->login_tag[0] = '\0';
	upstream->step = STEP_LOGGED_IN;
	if (!upstream_keep_ok(upstream, reply)) {
		return upstream_fail_memory(upstream, output);
	}
	if (upstream->settings.ask_capability && !upstream_knows_capability(upstream)) {
		upstream_ask_capability(upstream, output);
	}
	return settle(upstream);
}

static enum upstream_verdict fail_line(struct upstream *upstream, const char *what)
{
	upstream_fail(upstream, &REFUSAL_UNAVAILABLE, "%s", what);
	upstream_quote(upstream, upstream_line(upstream));
	return UPSTREAM_FAILED;
}

static enum upstream_verdict take_tagged(struct upstream *upstream, const struct reply *reply,
					 struct buffer *output)
{
	if (reply_has_tag(reply, upstream->starttls_tag)) {
		return upstream_end_starttls(upstream, reply);
	}
	if (reply_has_tag(reply, upstream->identity_tag)) {
		return end_identity(upstream, output);
	}
	if (reply_has_tag(reply, upstream->capability_tag)) {
		return end_capability(upstream, reply, output);
	}
	if (reply_has_tag(reply, upstream->login_tag)) {
		return end_login(upstream, reply, output);
	}
	return fail_line(upstream, "the backend answered a command that was not sent");
}

static enum upstream_verdict take_line(struct upstream *upstream, struct buffer *output)
{
	struct reply_view line = upstream_line(upstream);
	struct reply reply = reply_parse(line.bytes, line.length);

	if (upstream->step == STEP_GREETING) {
		return take_greeting(upstream, &reply, output);
	}
	switch (reply.kind) {
	case REPLY_UNTAGGED:
		return take_untagged(upstream, &reply, output);
	case REPLY_CONTINUATION:
		return upstream_take_continuation(upstream, &reply, output);
	case REPLY_TAGGED:
		return take_tagged(upstream, &reply, output);
	case REPLY_INVALID:
		break;
	}
	return fail_line(upstream, "the backend sent a line that is no IMAP response");
}

static enum upstream_verdict feed(struct upstream *upstream, struct buffer *input,
				  struct buffer *output)
{
	enum upstream_verdict verdict = UPSTREAM_MORE;

	while (verdict == UPSTREAM_MORE) {
		switch (reply_reader_next(&upstream->reader, input)) {
		case REPLY_MORE:
			return UPSTREAM_MORE;
		case REPLY_LINE:
			verdict = take_line(upstream, output);
			break;
		case REPLY_LINE_TOO_LONG:
			return upstream_fail(upstream, &REFUSAL_UNAVAILABLE,
					     "the backend sent a line of more than %d octets",
					     UPSTREAM_LINE_MAX);
		case REPLY_TOO_MUCH:
			return upstream_fail(upstream, &REFUSAL_UNAVAILABLE,
					     "the backend sent more than %d octets before the "
					     "login was answered",
					     UPSTREAM_TOTAL_MAX);
		case REPLY_NO_MEMORY:
			return upstream_fail_memory(upstream, output);
		}
	}
	return verdict;
}

struct upstream *upstream_new(const struct upstream_settings *settings)
{
	struct upstream *upstream = calloc(1, sizeof(*upstream));

	if (upstream != NULL) {
		upstream->settings = *settings;
		upstream->reader.line_max = UPSTREAM_LINE_MAX;
		upstream->reader.total_max = UPSTREAM_TOTAL_MAX;
	}
	return upstream;
}

enum upstream_verdict upstream_feed(struct upstream *upstream, struct buffer *input,
				    struct buffer *output)
{
	bool was_challenged = upstream->step == STEP_CHALLENGE;
	enum upstream_verdict verdict = UPSTREAM_MORE;

	if (upstream->step != STEP_HANDSHAKE) {
		verdict = feed(upstream, input, output);
	}
	if (upstream->step == STEP_HANDSHAKE && input->length > 0) {
		verdict = upstream_fail_injected(upstream);
	}
	if (verdict == UPSTREAM_MORE && upstream->step == STEP_CHALLENGE && !was_challenged) {
		verdict = UPSTREAM_CHALLENGE;
	}
	if (output->failed && verdict != UPSTREAM_FAILED) {
		verdict = upstream_fail_memory(upstream, output);
	}
	return verdict;
}

const struct capability_offer *upstream_offer(const struct upstream *upstream)
{
	return &upstream->offer;
}

bool upstream_greeted(const struct upstream *upstream)
{
	return upstream->step != STEP_GREETING;
}

bool upstream_has_presented(const struct upstream *upstream)
{
	return upstream->step >= STEP_CONTINUATION;
}

bool upstream_is_unsuited(const struct upstream *upstream)
{
	return upstream->is_unsuited;
}

enum upstream_verdict upstream_end(struct upstream *upstream)
{
	static const char *const when[] = {
		[STEP_GREETING] = "before its greeting",
		[STEP_STARTTLS] = "before it answered STARTTLS",
		[STEP_HANDSHAKE] = "before TLS was on",
		[STEP_CAPABILITY] = "before it named its capabilities",
		[STEP_IDENTITY] = "before the login",
		[STEP_CONTINUATION] = "in the middle of the login command",
		[STEP_CHALLENGE] = "before its challenge was answered",
		[STEP_REPLY] = "before it answered the login",
		[STEP_LOGGED_IN] = "right after the login",
	};
	const struct buffer *bye = &upstream->bye;

	upstream_fail(upstream, &REFUSAL_UNAVAILABLE, "the backend ended the connection %s",
		      when[upstream->step]);
	if (bye->length > 0) {
		upstream_quote(upstream,
			       (struct reply_view){(const char *)buffer_bytes(bye), bye->length});
	}
	return UPSTREAM_FAILED;
}

void upstream_free(struct upstream *upstream)
{
	if (upstream == NULL) {
		return;
	}
	reply_reader_done(&upstream->reader);
	buffer_done(&upstream->challenge);
	buffer_done(&upstream->response);
	buffer_done(&upstream->ok);
	buffer_done(&upstream->capability);
	buffer_done(&upstream->alerts);
	buffer_done(&upstream->bye);
	buffer_done(&upstream->referral);
	explicit_bzero(upstream, sizeof(*upstream));
	free(upstream);
}
