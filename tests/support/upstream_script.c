/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripted backends.
 */
#include "support/upstream_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "support/chunks.h"

/* One run of a script. The turn is one past the last when all is said. */
struct run {
	const struct upstream_script *script;
	struct credentials credentials;
	struct upstream_identity identity;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
	enum upstream_verdict verdict;
	size_t turn;
	size_t said;      /* octets of this turn */
	bool asks_client; /* a challenge is not answered */
	bool presented;   /* some of the credentials */
	bool cut;         /* outputs are compared at the end only */
	char challenge[UPSTREAM_LINE_MAX];
};

static const char * or (const char *text, const char *otherwise)
{
	return text != NULL ? text : otherwise;
}

static bool is_over(const struct run *run)
{
	return run->verdict == UPSTREAM_READY || run->verdict == UPSTREAM_REFUSED ||
	       run->verdict == UPSTREAM_FAILED;
}

static bool is_last(const struct run *run)
{
	return run->turn == UPSTREAM_SCRIPT_TURNS || run->script->turns[run->turn].say == NULL;
}

static void append_buffer(struct buffer *out, const struct buffer *bytes)
{
	buffer_append(out, buffer_bytes(bytes), bytes->length);
}

static void check_text(const char *name, const char *what, const struct buffer *got,
		       const char *wanted)
{
	if (got->length != strlen(wanted) || memcmp(buffer_bytes(got), wanted, got->length) != 0) {
		fail_msg("%s: %s: expected\n%s\ngot\n%.*s", name, what, wanted, (int)got->length,
			 (const char *)buffer_bytes(got));
	}
}

static void feed(struct run *run, const void *bytes, size_t length)
{
	enum upstream_verdict verdict;

	buffer_append(&run->input, bytes, length);
	if (is_over(run)) {
		return;
	}
	verdict = upstream_feed(run->upstream, &run->input, &run->output);
	if (verdict == UPSTREAM_MORE || verdict == UPSTREAM_CHALLENGE) {
		assert_int_equal(run->input.length, 0);
	}
	if (verdict == UPSTREAM_CHALLENGE) {
		assert_false(run->asks_client);
		run->asks_client = true;
		snprintf(run->challenge, sizeof(run->challenge), "%s",
			 upstream_challenge(run->upstream));
	}
	run->verdict = verdict;
}

/* What happens between two turns: TLS, or the client's answer. */
static void begin_turn(struct run *run)
{
	const struct upstream_turn *turn = &run->script->turns[run->turn];

	if (run->verdict == UPSTREAM_STARTTLS) {
		upstream_secured(run->upstream, &run->output);
		run->verdict = UPSTREAM_MORE;
	}
	if (turn->answer != NULL && !is_over(run)) {
		assert_true(run->asks_client);
		run->asks_client = false;
		upstream_respond(run->upstream, turn->answer, &run->output);
		run->verdict = UPSTREAM_MORE;
	}
}

/* The first part of the command, at least. */
static bool says_login(const struct upstream_turn *turn)
{
	return turn->sent != NULL && (strstr(turn->sent, " LOGIN ") != NULL ||
				      strstr(turn->sent, " AUTHENTICATE ") != NULL);
}

static void end_turn(struct run *run)
{
	const struct upstream_turn *turn = &run->script->turns[run->turn];
	const char *name = run->script->name;
	bool asks = run->asks_client && !is_over(run);

	if (turn->challenge != NULL) {
		assert_true(asks);
		assert_string_equal(run->challenge, turn->challenge);
	}
	run->presented |= says_login(turn);
	if (!is_over(run)) {
		assert_int_equal(upstream_has_presented(run->upstream), run->presented);
	}
	if (!run->cut) {
		check_text(name, turn->say, &run->output, turn->sent);
		buffer_consume(&run->output, run->output.length);
		assert_true(is_over(run) ||
			    upstream_greeted(run->upstream) ==
				    (strchr(run->script->turns[0].say, '\n') != NULL));
	}
	run->turn++;
	run->said = 0;
}

/* A turn in which the backend says nothing has happened as soon as the one before it has ended. */
static void skip_silent_turns(struct run *run)
{
	while (!is_last(run) && run->script->turns[run->turn].say[0] == '\0') {
		begin_turn(run);
		end_turn(run);
	}
}

static void say(struct run *run, const char *bytes, size_t length)
{
	while (length > 0) {
		size_t left = strlen(run->script->turns[run->turn].say) - run->said;
		size_t count = length < left ? length : left;

		if (run->said == 0) {
			begin_turn(run);
		}
		feed(run, bytes, count);
		run->said += count;
		bytes += count;
		length -= count;
		if (count == left) {
			end_turn(run);
			skip_silent_turns(run);
		}
	}
}

static void run_begin(void *context)
{
	static const struct upstream_identity identity = {
		.originating_ip = "192.0.2.7",
		.originating_port = 40001,
		.connected_ip = "2001:db8::1",
		.connected_port = 993,
		.session_id = "s-1 \"q\"",
	};
	/* What cannot be said is left out. */
	static const struct upstream_identity bare_identity = {
		.originating_ip = "192.0.2.7",
		.session_id = "s\r\nG9 LOGOUT",
	};
	struct run *run = context;
	const struct upstream_script *script = run->script;
	const char *user = or (script->user, "u1");
	const char *owner = or (script->owner, "");
	const char *secret = or (script->secret, "pw");
	struct credentials_claim claim = {
		.user = user,
		.user_length = strlen(user),
		.owner = owner,
		.owner_length = strlen(owner),
		.secret = secret,
		.secret_length = strlen(secret),
		.mechanism = script->mechanism,
	};
	struct upstream_settings settings = {
		.credentials = script->flags & SCRIPT_NOBODY ? NULL : &run->credentials,
		.proxy_ttl = 4,
		.identity = script->flags & (SCRIPT_IDENTITY | SCRIPT_BARE_IDENTITY)
				    ? &run->identity
				    : NULL,
		.starttls = script->flags & SCRIPT_STARTTLS,
		.ask_capability = script->flags & SCRIPT_ASK,
		.form = script->form,
	};

	run->identity = script->flags & SCRIPT_BARE_IDENTITY ? bare_identity : identity;
	run->identity.pairs = script->pairs;
	assert_int_equal(credentials_set(&run->credentials, &claim), CREDENTIALS_FINE);
	run->upstream = upstream_new(&settings);
	assert_non_null(run->upstream);
	run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
	assert_int_equal(run->verdict, UPSTREAM_MORE);
	assert_int_equal(run->output.length, 0);
	assert_false(upstream_greeted(run->upstream));
	skip_silent_turns(run);
}

static void run_cut(void *context, const void *bytes, size_t length)
{
	struct run *run = context;

	run->cut = true;
	say(run, bytes, length);
}

static void append_result(const struct run *run, struct buffer *outcome)
{
	struct refusal refusal;

	if (run->verdict == UPSTREAM_READY) {
		if (!(run->script->flags & SCRIPT_NOBODY)) {
			upstream_write_ready(run->upstream, "a",
					     run->script->flags & SCRIPT_UNTAGGED, outcome);
		}
	} else if (is_over(run)) {
		refusal = upstream_refusal(run->upstream);
		buffer_printf(outcome, "NO [%s] %s", refusal.code, refusal.text);
	}
}

static void run_end(void *context, struct buffer *outcome)
{
	struct run *run = context;
	bool asks = run->asks_client && !is_over(run);

	if (outcome != NULL) {
		append_buffer(outcome, &run->output);
		buffer_printf(outcome, "\nverdict: %d\n", asks ? UPSTREAM_CHALLENGE : run->verdict);
		append_result(run, outcome);
		buffer_append_text(outcome, "\nreason: ");
		buffer_append_text(outcome, upstream_reason(run->upstream));
		if (run->verdict == UPSTREAM_READY) {
			buffer_append_text(outcome, "\nleft: ");
			append_buffer(outcome, &run->input);
		}
	}
	upstream_free(run->upstream);
	credentials_done(&run->credentials);
	buffer_done(&run->input);
	buffer_done(&run->output);
	*run = (struct run){.script = run->script};
}

static bool is_prefix_only(const char *client)
{
	return strcmp(client, SCRIPT_UNAVAILABLE) == 0 || strcmp(client, SCRIPT_SERVERBUG) == 0;
}

static void check_offer(const struct run *run)
{
	const struct capability_offer *offer = upstream_offer(run->upstream);
	const struct upstream_script *script = run->script;

	if (script->atoms == NULL) {
		return;
	}
	assert_string_equal(offer->known ? offer->atoms : SCRIPT_NOT_KNOWN, script->atoms);
	assert_int_equal(offer->mechanisms, script->mechanisms);
}

static void check_referral(const struct run *run)
{
	const char *referral = upstream_referral(run->upstream);
	const char *wanted = run->script->referral;

	assert_string_equal(or (referral, "none"), or (wanted, "none"));
}

static void check_login(const struct run *run)
{
	const char *name = run->script->name;

	if (upstream_is_unsuited(run->upstream) != run->script->unsuited) {
		fail_msg("%s: unsuited is %d", name, !run->script->unsuited);
	}
	if (upstream_has_presented(run->upstream) != run->presented) {
		fail_msg("%s: presented is %d", name, !run->presented);
	}
}

static void check_result(const struct run *run)
{
	const struct upstream_script *script = run->script;
	const char *client = or (script->client, "");
	struct buffer result = {0};

	if (run->verdict != script->verdict) {
		fail_msg("%s: verdict %d: %s", script->name, run->verdict,
			 upstream_reason(run->upstream));
	}
	append_result(run, &result);
	if (run->verdict == UPSTREAM_READY) {
		check_text(script->name, "input left", &run->input, or (script->left, ""));
	} else if (is_over(run)) {
		assert_true(strlen(upstream_reason(run->upstream)) > 10);
	}
	if (is_prefix_only(client)) {
		assert_true(result.length > strlen(client));
		buffer_truncate(&result, strlen(client));
	}
	check_text(script->name, "client", &result, client);
	check_offer(run);
	check_referral(run);
	check_login(run);
	if (strstr(upstream_reason(run->upstream), or (script->reason, "")) == NULL) {
		fail_msg("%s: reason: %s", script->name, upstream_reason(run->upstream));
	}
	buffer_done(&result);
}

static void check_turns(struct run *run)
{
	run_begin(run);
	while (!is_last(run)) {
		const char *text = run->script->turns[run->turn].say;

		if (is_over(run)) {
			fail_msg("%s: over before turn %zu", run->script->name, run->turn);
		}
		say(run, text, strlen(text));
	}
	check_result(run);
	run_end(run, NULL);
}

static void check_cuts(struct run *run)
{
	const struct upstream_script *script = run->script;
	struct chunks_subject subject = {run_begin, run_cut, run_end, run};
	struct buffer said = {0};

	for (size_t i = 0; i < UPSTREAM_SCRIPT_TURNS && script->turns[i].say != NULL; i++) {
		buffer_append_text(&said, script->turns[i].say);
	}
	chunks_check(&subject, script->name, buffer_bytes(&said), said.length, NULL);
	buffer_done(&said);
}

void upstream_script_check(const struct upstream_script *script)
{
	struct run run = {.script = script};

	check_turns(&run);
	check_cuts(&run);
}
