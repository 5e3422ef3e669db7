/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes of a dialogue with a backend: the client's first lines after a login, the refusal
 * otherwise, and the sentence for the log. Whatever the backend said passes through here and is
 * cleaned before anybody sees it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/referral.h"
#include "imap/sasl.h"
#include "upstream_internal.h"

/* So many octets in a row of a secret are a part of it; of a shorter secret, all. */
#define SECRET_RUN 6

#define WELCOME "Logged in."

#define REFERRAL_CODE "REFERRAL"

struct reply_view upstream_line(const struct upstream *upstream)
{
	const struct buffer *line = &upstream->reader.line;

	return (struct reply_view){(const char *)buffer_bytes(line), line->length};
}

/* ---- for the log ---- */

enum upstream_verdict upstream_fail(struct upstream *upstream, const struct refusal *refusal,
				    const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(upstream->reason, sizeof(upstream->reason), format, arguments);
	va_end(arguments);
	upstream->refusal = *refusal;
	return UPSTREAM_FAILED;
}

static bool repeats_part(struct reply_view text, const void *secret, size_t length)
{
	size_t run = length < SECRET_RUN ? length : SECRET_RUN;

	if (run == 0) {
		return false;
	}
	for (size_t i = 0; i + run <= text.length; i++) {
		if (memmem(secret, length, text.bytes + i, run) != NULL) {
			return true;
		}
	}
	return false;
}

static bool repeats_buffer(struct reply_view text, const struct buffer *secret)
{
	return secret->failed || repeats_part(text, buffer_bytes(secret), secret->length);
}

/* Some servers repeat a command that they did not understand: look for the secret as it is, as
 * LOGIN writes it, as it stands in the first message, and for the client's answer to a
 * challenge. */
static bool repeats_secret(const struct upstream *upstream, struct reply_view text)
{
	const struct credentials *credentials = upstream->settings.credentials;
	struct buffer encoded = {0};
	const struct secret *secret;
	bool repeats;

	if (credentials == NULL || credentials->secret.length == 0) {
		return false;
	}
	secret = &credentials->secret;
	repeats = repeats_part(text, secret->bytes, secret->length) ||
		  repeats_buffer(text, &upstream->response);
	if (!repeats) {
		sasl_encode(&encoded, credentials);
		repeats = repeats_buffer(text, &encoded);
	}
	if (!repeats && write_is_quotable(secret->bytes, secret->length)) {
		buffer_truncate(&encoded, 0);
		write_quoted(&encoded, secret->bytes, secret->length);
		repeats = repeats_buffer(text, &encoded);
	}
	buffer_done(&encoded);
	return repeats;
}

void upstream_quote(struct upstream *upstream, struct reply_view text)
{
	size_t used = strlen(upstream->reason);
	char *end = upstream->reason + used;
	size_t left = sizeof(upstream->reason) - used;
	struct buffer printable = {0};

	if (text.length > UPSTREAM_TEXT_MAX) {
		text.length = UPSTREAM_TEXT_MAX;
	}
	if (repeats_secret(upstream, text)) {
		snprintf(end, left, " (its text repeats the secret)");
		return;
	}
	text_append_printable(&printable, text.bytes, text.length, text.length);
	snprintf(end, left, ": %.*s", (int)printable.length,
		 (const char *)buffer_bytes(&printable));
	buffer_done(&printable);
}

const char *upstream_reason(const struct upstream *upstream)
{
	return upstream->reason;
}

/* ---- a NO or BAD ---- */

/* What a response code of a NO means. `fixed` is what the client gets; NULL passes on the code with
 * the backend's text. REFUSED is about this user, and FAILED about the backend: the two are counted
 * apart, and only the first is a reason to suspect the client. */
struct judgement {
	const char *code;
	enum upstream_verdict verdict;
	const struct refusal *fixed;
};

static const struct judgement *judgement_of(struct reply_view code)
{
	static const struct judgement judgements[] = {
		{"AUTHENTICATIONFAILED", UPSTREAM_REFUSED, &REFUSAL_CREDENTIALS},
		{"AUTHORIZATIONFAILED", UPSTREAM_REFUSED, NULL},
		{"EXPIRED", UPSTREAM_REFUSED, NULL},
		{"CONTACTADMIN", UPSTREAM_REFUSED, NULL},
		{"NOPERM", UPSTREAM_REFUSED, NULL},
		{"ALERT", UPSTREAM_REFUSED, NULL},
		{"LIMIT", UPSTREAM_REFUSED, NULL},
		{"UNAVAILABLE", UPSTREAM_FAILED, NULL},
		{"INUSE", UPSTREAM_FAILED, NULL},
		{"PRIVACYREQUIRED", UPSTREAM_FAILED, NULL},
		{"SERVERBUG", UPSTREAM_FAILED, &REFUSAL_SERVERBUG},
		{REFERRAL_CODE, UPSTREAM_FAILED, &REFUSAL_UNAVAILABLE},
	};
	static const struct judgement unknown = {"", UPSTREAM_REFUSED, &REFUSAL_CREDENTIALS};

	for (size_t i = 0; i < array_length(judgements); i++) {
		if (reply_is(code, judgements[i].code)) {
			return &judgements[i];
		}
	}
	return &unknown;
}

/* The URL of a referral names a host behind the proxy. As a code it is looked at; a text that holds
 * another one is not for the client either (C91). */
static bool refers(struct reply_view text)
{
	static const char mark[] = "[REFERRAL";

	for (size_t i = 0; i < text.length; i++) {
		if (text_starts_nocase(text.bytes + i, text.length - i, mark)) {
			return true;
		}
	}
	return false;
}

static void pass_on(struct upstream *upstream, const char *code, struct reply_view text)
{
	struct buffer printable = {0};

	if (!refers(text)) {
		text_append_printable(&printable, text.bytes, text.length, UPSTREAM_TEXT_MAX);
	}
	snprintf(upstream->refusal_text, sizeof(upstream->refusal_text), "%.*s",
		 (int)printable.length, (const char *)buffer_bytes(&printable));
	if (printable.length == 0) {
		snprintf(upstream->refusal_text, sizeof(upstream->refusal_text),
			 "The mail server refused the login.");
	}
	upstream->refusal = (struct refusal){.code = code, .text = upstream->refusal_text};
	buffer_done(&printable);
}

/* The first URL of a "[REFERRAL URL]" (there may be several): what stands up to a space or the
 * bracket that closes the code. It may hold brackets of its own, around an IPv6 address. */
static struct reply_view referred(const struct reply *reply)
{
	struct reply_view url = {reply->arguments.bytes, 0};
	size_t left = (size_t)(reply->rest.bytes + reply->rest.length - url.bytes);
	unsigned open = 1;

	for (size_t i = 0; i < left; i++) {
		open += url.bytes[i] == '[';
		open -= url.bytes[i] == ']';
		if (open == 0 || url.bytes[i] == ' ') {
			url.length = i;
			break;
		}
	}
	return url;
}

/* A URL that is cut, or has another octet, would be another URL: there is none then. */
static void keep_referral(struct upstream *upstream, const struct reply *reply)
{
	struct reply_view url;

	if (!reply_is(reply->code, REFERRAL_CODE) || reply->arguments.length == 0) {
		return;
	}
	url = referred(reply);
	if (url.length == 0 || url.length > REFERRAL_URL_MAX) {
		return;
	}
	for (size_t i = 0; i < url.length; i++) {
		if (url.bytes[i] < 0x20 || url.bytes[i] > 0x7E) {
			return;
		}
	}
	buffer_append(&upstream->referral, url.bytes, url.length);
	buffer_append_byte(&upstream->referral, '\0');
}

const char *upstream_referral(const struct upstream *upstream)
{
	const struct buffer *referral = &upstream->referral;

	return referral->length > 0 && !referral->failed ? (const char *)buffer_bytes(referral)
							 : NULL;
}

enum upstream_verdict upstream_judge(struct upstream *upstream, const struct reply *reply)
{
	const struct judgement *judgement;

	if (reply->status == REPLY_BAD) {
		upstream_fail(upstream, &REFUSAL_SERVERBUG,
			      "the backend answered the login with BAD");
		upstream_quote(upstream, reply->rest);
		return UPSTREAM_FAILED;
	}
	judgement = judgement_of(reply->code);
	keep_referral(upstream, reply);
	upstream_fail(upstream, &REFUSAL_CREDENTIALS, "the backend refused the login");
	upstream_quote(upstream, reply->rest);
	if (judgement->fixed != NULL) {
		upstream->refusal = *judgement->fixed;
	} else {
		pass_on(upstream, judgement->code, reply->text);
	}
	return judgement->verdict;
}

struct refusal upstream_refusal(const struct upstream *upstream)
{
	return upstream->refusal;
}

/* ---- an OK ---- */

/* Appends text with every control character replaced: it cannot end a line. */
static void append_clean(struct buffer *out, struct reply_view text)
{
	for (size_t i = 0; i < text.length; i++) {
		uint8_t byte = (uint8_t)text.bytes[i];

		buffer_append_byte(out, byte < 0x20 || byte == 0x7F ? '?' : byte);
	}
}

bool upstream_keep_capability(struct upstream *upstream, struct reply_view list)
{
	buffer_truncate(&upstream->capability, 0);
	capability_append_filtered(&upstream->capability, list.bytes, list.length);
	return !upstream->capability.failed;
}

bool upstream_knows_capability(const struct upstream *upstream)
{
	return upstream->capability.length > 0;
}

bool upstream_keep_alert(struct upstream *upstream, struct reply_view text)
{
	struct buffer *alerts = &upstream->alerts;

	if (upstream->alert_count == UPSTREAM_ALERTS_MAX || text.length == 0 || refers(text)) {
		return true;
	}
	upstream->alert_count++;
	buffer_append_text(alerts, "* OK [ALERT] ");
	text_append_printable(alerts, text.bytes, text.length, UPSTREAM_TEXT_MAX);
	buffer_append_text(alerts, "\r\n");
	return !alerts->failed;
}

/* A REFERRAL goes with all its text: the URL names a host behind the proxy, and may hold a bracket
 * that ends the code too early. So does a text that would be read as a code. */
bool upstream_keep_ok(struct upstream *upstream, const struct reply *reply)
{
	bool is_referral = refers(reply->rest);
	bool lists = reply_is(reply->code, "CAPABILITY");
	bool has_own_code = reply->code.length > 0 && !is_referral && !lists;
	bool has_text = !is_referral && reply->text.length > 0 && reply->text.bytes[0] != '[';

	if (has_own_code) {
		append_clean(&upstream->ok, reply->rest);
	} else if (has_text) {
		append_clean(&upstream->ok, reply->text);
	} else {
		buffer_append_text(&upstream->ok, WELCOME);
	}
	upstream->ok_has_code = has_own_code;
	if (lists && !upstream_keep_capability(upstream, reply->arguments)) {
		return false;
	}
	return !upstream->ok.failed;
}

static void append_buffer(struct buffer *out, const struct buffer *bytes)
{
	buffer_append(out, buffer_bytes(bytes), bytes->length);
}

void upstream_write_ready(const struct upstream *upstream, const char *tag,
			  bool untagged_capability, struct buffer *reply)
{
	const struct buffer *list = &upstream->capability;
	bool fits = list->length + upstream->ok.length <= UPSTREAM_LINE_MAX;
	bool untagged = untagged_capability || upstream->ok_has_code || !fits;

	append_buffer(reply, &upstream->alerts);
	if (list->length > 0 && untagged) {
		buffer_append_text(reply, "* CAPABILITY ");
		append_buffer(reply, list);
		buffer_append_text(reply, "\r\n");
	}
	buffer_append_text(reply, tag);
	buffer_append_text(reply, " OK ");
	if (list->length > 0 && !untagged) {
		buffer_append_text(reply, "[CAPABILITY ");
		append_buffer(reply, list);
		buffer_append_text(reply, "] ");
	}
	append_buffer(reply, &upstream->ok);
	buffer_append_text(reply, "\r\n");
}
