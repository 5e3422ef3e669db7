/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogues before login, led as a session would lead them.
 */
#include "support/preauth_dialogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "support/chunks.h"

/* Longer secrets show as their length. */
#define SHOWN_MAX 20

const struct preauth_limits dialogue_limits = {
	.line = 8192,
	.sasl_line = 32768,
	.literal = 4096,
	.tag = 126,
	.id_pairs = 30,
	.bad_commands = 10,
	.commands = 1000,
};

const struct dialogue dialogue_with_tls = {
	.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
};

const struct dialogue dialogue_without_tls = {.front = {.mechanisms = SASL_BIT(SASL_PLAIN)}};

struct run {
	const struct dialogue *dialogue;
	struct preauth_settings settings;
	struct preauth_ration ration;
	struct preauth *preauth;
	const char *const *challenge;
	struct buffer input;
	struct buffer said;
	enum preauth_verdict verdict;
};

struct preauth_settings dialogue_settings(const struct dialogue *dialogue,
					  struct preauth_ration *ration)
{
	*ration = (struct preauth_ration){.most = dialogue->most > 0 ? dialogue->most : 256};
	return (struct preauth_settings){
		.front = &dialogue->front,
		.limits = dialogue->limits != NULL ? dialogue->limits : &dialogue_limits,
		.ration = ration,
		.certified_user = dialogue->certified_user,
		.trusted = dialogue->trusted,
	};
}

static void begin(void *context)
{
	struct run *run = context;

	*run = (struct run){.dialogue = run->dialogue};
	run->settings = dialogue_settings(run->dialogue, &run->ration);
	run->preauth = preauth_new(&run->settings);
	assert_non_null(run->preauth);
}

static void show_secret(struct buffer *said, const struct secret *secret)
{
	if (secret->length > SHOWN_MAX) {
		buffer_printf(said, "%zu", secret->length);
	} else {
		buffer_append(said, secret->bytes, secret->length);
	}
}

static void show_login(struct run *run)
{
	const struct credentials *credentials = preauth_credentials(run->preauth);

	buffer_append_text(&run->said, "[");
	if (credentials->mechanism != SASL_PLAIN) {
		buffer_printf(&run->said, "%s ",
			      sasl_name((enum sasl_mechanism)credentials->mechanism));
	}
	buffer_append_text(&run->said, credentials->user);
	buffer_append_text(&run->said, "|");
	buffer_append_text(&run->said, credentials->owner != NULL ? credentials->owner : "-");
	buffer_append_text(&run->said, "|");
	show_secret(&run->said, &credentials->secret);
	buffer_append_text(&run->said, "]");
}

static void refuse(struct run *run)
{
	preauth_refuse(run->preauth, &REFUSAL_CREDENTIALS, &run->said);
	assert_null(preauth_credentials(run->preauth)->user);
	assert_null(preauth_credentials(run->preauth)->secret.bytes);
	assert_int_equal(run->ration.taken, 0);
}

static void challenge_or_refuse(struct run *run)
{
	if (run->challenge == NULL || *run->challenge == NULL) {
		refuse(run);
		return;
	}
	preauth_challenge(run->preauth, *run->challenge, &run->said);
	run->challenge++;
}

/* The credentials stay to the end of an exchange. */
static void take_response(struct run *run)
{
	const char *response = preauth_response(run->preauth);

	assert_non_null(preauth_credentials(run->preauth)->user);
	if (response == NULL) {
		buffer_append_text(&run->said, "<->");
		refuse(run);
	} else if (strlen(response) > SHOWN_MAX) {
		buffer_printf(&run->said, "<%zu>", strlen(response));
		challenge_or_refuse(run);
	} else {
		buffer_printf(&run->said, "<%s>", response);
		challenge_or_refuse(run);
	}
}

static void answer(struct run *run)
{
	if (run->verdict == PREAUTH_LOGIN) {
		run->challenge = run->dialogue->challenges;
		show_login(run);
		challenge_or_refuse(run);
	} else {
		take_response(run);
	}
}

static bool is_question(enum preauth_verdict verdict)
{
	return verdict == PREAUTH_LOGIN || verdict == PREAUTH_RESPONSE;
}

static void feed(void *context, const void *piece, size_t length)
{
	struct run *run = context;

	buffer_append(&run->input, piece, length);
	if (run->verdict != PREAUTH_MORE) {
		return;
	}
	do {
		run->verdict = preauth_feed(run->preauth, &run->input, &run->said);
		if (is_question(run->verdict)) {
			answer(run);
		}
	} while (is_question(run->verdict) ||
		 (run->verdict == PREAUTH_MORE && run->input.length > 0));
}

static void show_lines(struct buffer *out, const uint8_t *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') {
			buffer_append_byte(out, '\n');
			i++;
		} else if (text[i] == '\r' || text[i] == '\n') {
			buffer_append_text(out, text[i] == '\r' ? "<CR>" : "<LF>");
		} else {
			buffer_append_byte(out, text[i]);
		}
	}
}

static void show_end(struct run *run, struct buffer *outcome)
{
	static const char *const ends[] = {
		[PREAUTH_MORE] = "",
		[PREAUTH_LOGOUT] = "(logout)",
		[PREAUTH_NOT_IMAP] = "(not imap)",
		[PREAUTH_ABUSE] = "(abuse)",
		[PREAUTH_TOO_BIG] = "(too big)",
	};

	if (run->verdict == PREAUTH_STARTTLS) {
		buffer_append_text(outcome, "(starttls ");
		buffer_append(outcome, buffer_bytes(&run->input), run->input.length);
		buffer_append_text(outcome, ")");
	} else {
		buffer_append_text(outcome, ends[run->verdict]);
	}
}

static void end(void *context, struct buffer *outcome)
{
	struct run *run = context;

	assert_false(run->said.failed);
	show_lines(outcome, buffer_bytes(&run->said), run->said.length);
	show_end(run, outcome);
	preauth_free(run->preauth);
	assert_int_equal(run->ration.taken, 0);
	buffer_done(&run->input);
	buffer_done(&run->said);
}

void dialogue_check(const struct dialogue *dialogue, const char *name, const void *input,
		    size_t length, const char *expected)
{
	struct run run = {.dialogue = dialogue};
	struct chunks_subject subject = {begin, feed, end, &run};

	chunks_check(&subject, name, input, length, expected);
}

void dialogue_check_usable(const struct dialogue *dialogue, const struct dialogue_case *cases,
			   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buffer input = {0};
		struct buffer expected = {0};

		buffer_append_text(&input, "y NOOP\r\n");
		buffer_append(&input, cases[i].input, cases[i].length);
		buffer_append_text(&input, "z NOOP\r\n");
		buffer_append_text(&expected, "y" NOOP_OK);
		buffer_append_text(&expected, cases[i].expected);
		buffer_append_text(&expected, "z" NOOP_OK);
		buffer_append_byte(&expected, '\0');
		dialogue_check(dialogue, cases[i].name, buffer_bytes(&input), input.length,
			       (const char *)buffer_bytes(&expected));
		buffer_done(&input);
		buffer_done(&expected);
	}
}

void dialogue_check_repeated(const struct dialogue *dialogue, const struct dialogue_repeated *cases,
			     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buffer input = {0};

		buffer_append_text(&input, cases[i].head);
		for (size_t j = 0; j < cases[i].count; j++) {
			buffer_append_text(&input, cases[i].part);
		}
		buffer_append_text(&input, cases[i].rest);
		dialogue_check(dialogue, cases[i].name, buffer_bytes(&input), input.length,
			       cases[i].expected);
		buffer_done(&input);
	}
}
