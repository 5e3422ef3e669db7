/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole dialogue with a hostile backend. Whatever it says and however its bytes are cut: no
 * secret before IMAP capabilities, nothing at all before TLS where STARTTLS is due, whole lines
 * towards it and towards the client, no referral for the client, nothing in the log that should not
 * be there. The first byte chooses the settings, the second the cuts, the third the kind of login.
 * The byte 0xFF is never fed: there TLS begins, or the client answers, if it is time.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/referral.h"
#include "imap/sasl.h"
#include "imap/upstream.h"
#include "imap/write.h"

#define SECRET_ASCII "CANARY-\"7f3a"
#define SECRET_UTF8  "CANARY-\xc3\xa9"
#define SECRET_TOKEN "CANARY-7f3a"
#define SECRET_FIRST "n,,n=u1,r=CANARY-7f3a"
#define OUTPUT_MAX   8192
#define CLIENT_MAX   (2 * UPSTREAM_LINE_MAX + 2048)
#define STARTTLS     "G1 STARTTLS\r\n"
#define TURN_END     0xFF

/* Of the first byte. */
enum { IDENTITY = 1, ASK = 2, UNTAGGED = 4, OWNER = 8, UTF8_SECRET = 16, UTF8_USER = 32 };

/* Of the third byte, behind the number of the login's kind. */
enum { KIND_MASK = 7, MUST_STARTTLS = 8, PAIRS = 16 };

/* The kind of a login. */
static const struct {
	enum sasl_mechanism mechanism;
	enum write_form form;
	bool nobody;
} kinds[KIND_MASK + 1] = {
	{SASL_PLAIN, WRITE_BEST, false},         {SASL_PLAIN, WRITE_LOGIN, false},
	{SASL_PLAIN, WRITE_PLAIN, false},        {SASL_XOAUTH2, WRITE_BEST, false},
	{SASL_OAUTHBEARER, WRITE_BEST, false},   {SASL_SCRAM_SHA_1, WRITE_BEST, false},
	{SASL_SCRAM_SHA_256, WRITE_BEST, false}, {SASL_PLAIN, WRITE_BEST, true},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	unsigned flags;
	unsigned kind;
	struct upstream_identity identity;
	struct credentials credentials;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
	struct buffer said;       /* by the backend; behind STARTTLS, since TLS is on */
	struct buffer challenges; /* that were answered */
	enum upstream_verdict verdict;
	bool secured;
	bool asks_client;
	unsigned answers;
};

static bool is_over(const struct run *run)
{
	return run->verdict == UPSTREAM_READY || run->verdict == UPSTREAM_REFUSED ||
	       run->verdict == UPSTREAM_FAILED;
}

static bool is_exchange(const struct run *run)
{
	return (SASL_BIT(run->credentials.mechanism) & SASL_EXCHANGES) != 0;
}

static bool contains(const struct buffer *buffer, const void *bytes, size_t length)
{
	return memmem(buffer_bytes(buffer), buffer->length, bytes, length) != NULL;
}

static bool contains_nocase(const void *bytes, size_t length, const char *word)
{
	const uint8_t *text = bytes;

	for (size_t i = 0; i < length; i++) {
		if (text_starts_nocase(text + i, length - i, word)) {
			return true;
		}
	}
	return false;
}

static bool holds_secret(const struct run *run)
{
	struct buffer message = {0};
	bool holds;

	sasl_encode(&message, &run->credentials);
	holds = contains(&run->output, buffer_bytes(&message), message.length) ||
		contains(&run->output, "CANARY", 6);
	buffer_done(&message);
	return holds;
}

/* What must hold whenever something was sent. */
static void check_output(const struct run *run)
{
	const struct buffer *said = &run->said;
	bool greeted = run->secured || text_starts_nocase(buffer_bytes(said), said->length, "* OK");

	if (run->kind & MUST_STARTTLS && !run->secured) {
		invariant(run->output.length == 0 ||
			  (run->output.length == strlen(STARTTLS) &&
			   contains(&run->output, STARTTLS, strlen(STARTTLS))));
	}
	invariant(!holds_secret(run) ||
		  (greeted && contains_nocase(buffer_bytes(said), said->length, "IMAP4rev")));
	invariant(!kinds[run->kind & KIND_MASK].nobody ||
		  (!holds_secret(run) && !contains(&run->output, " AUTHENTICATE ", 14)));
}

/* Only CRLF ends lines, something ends in one, and no other control character is there. */
static void check_lines(const struct buffer *lines)
{
	const uint8_t *bytes = buffer_bytes(lines);

	invariant(lines->length == 0 || bytes[lines->length - 1] == '\n');
	for (size_t i = 0; i < lines->length; i++) {
		invariant(bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r'));
		invariant(bytes[i] != '\r' || (i + 1 < lines->length && bytes[i + 1] == '\n'));
		invariant(bytes[i] >= 0x20 || bytes[i] == '\r' || bytes[i] == '\n');
	}
}

/* The list that a client's line shows: no way back to before the login. */
static void check_list(const uint8_t *line, size_t length, const char *before, char end)
{
	size_t skipped = strlen(before);
	const uint8_t *list = line + skipped;
	const uint8_t *list_end;

	if (!text_starts_nocase(line, length, before)) {
		return;
	}
	length -= skipped;
	list_end = memchr(list, end, length);
	invariant(list_end != NULL && list_end > list);
	invariant(!capability_has(list, (size_t)(list_end - list), "STARTTLS"));
	invariant(!capability_has(list, (size_t)(list_end - list), "AUTH=PLAIN"));
}

static void check_client_lines(const struct run *run, const struct buffer *client)
{
	const uint8_t *line = buffer_bytes(client);
	size_t left = client->length;

	check_lines(client);
	invariant(client->length <= CLIENT_MAX);
	invariant(!contains_nocase(line, left, "[REFERRAL"));
	while (!text_starts_nocase(line, left, "a OK ")) {
		size_t length = (size_t)((const uint8_t *)memchr(line, '\n', left) - line) + 1;

		invariant(text_starts_nocase(line, length, "* OK [ALERT] ") ||
			  text_starts_nocase(line, length, "* CAPABILITY "));
		check_list(line, length, "* CAPABILITY ", '\r');
		line += length;
		left -= length;
	}
	invariant(memchr(line, '\n', left) == line + left - 1);
	check_list(line, left, "a OK [CAPABILITY ", ']');
	invariant(!(run->flags & UNTAGGED) || !text_starts_nocase(line, left, "a OK [CAPABILITY "));
}

static void check_refusal(const struct run *run)
{
	struct refusal refusal = upstream_refusal(run->upstream);
	const char *referral = upstream_referral(run->upstream);
	const char *reason = upstream_reason(run->upstream);

	invariant(referral == NULL || (run->verdict == UPSTREAM_FAILED && referral[0] != '\0' &&
				       strlen(referral) <= REFERRAL_URL_MAX &&
				       write_is_quotable(referral, strlen(referral)) &&
				       strcmp(refusal.code, "UNAVAILABLE") == 0));
	invariant(refusal.code[0] != '\0' && strpbrk(refusal.code, " []") == NULL);
	invariant(refusal.text[0] != '\0' && strlen(refusal.text) <= 200);
	invariant(write_is_quotable(refusal.text, strlen(refusal.text)));
	invariant(!contains_nocase(refusal.text, strlen(refusal.text), "[REFERRAL"));
	invariant(reason[0] != '\0' && strlen(reason) <= 255);
	invariant(write_is_quotable(reason, strlen(reason)));
	invariant(kinds[run->kind & KIND_MASK].nobody || strstr(reason, "CANARY") == NULL);
}

static const char *secret_of(unsigned flags, enum sasl_mechanism mechanism)
{
	if (SASL_BIT(mechanism) & SASL_EXCHANGES) {
		return SECRET_FIRST;
	}
	if (SASL_BIT(mechanism) & SASL_TOKENS) {
		return SECRET_TOKEN;
	}
	return flags & UTF8_SECRET ? SECRET_UTF8 : SECRET_ASCII;
}

static void run_begin(struct run *run, unsigned flags, unsigned kind)
{
	const char *user = flags & UTF8_USER ? "\xc3\xa9" : "u1";
	enum sasl_mechanism mechanism = kinds[kind & KIND_MASK].mechanism;
	const char *secret = secret_of(flags, mechanism);
	struct credentials_claim claim = {
		.user = user,
		.user_length = strlen(user),
		.owner = "o",
		.owner_length = flags & OWNER && mechanism == SASL_PLAIN ? 1 : 0,
		.secret = secret,
		.secret_length = strlen(secret),
		.mechanism = (uint8_t)mechanism,
	};
	struct upstream_settings settings = {
		.credentials = kinds[kind & KIND_MASK].nobody ? NULL : &run->credentials,
		.proxy_ttl = 4,
		.identity = flags & IDENTITY ? &run->identity : NULL,
		.starttls = (kind & MUST_STARTTLS) != 0,
		.ask_capability = flags & ASK,
		.form = kinds[kind & KIND_MASK].form,
	};

	run->flags = flags;
	run->kind = kind;
	run->identity = (struct upstream_identity){
		.originating_ip = "192.0.2.7",
		.originating_port = 40001,
		.connected_ip = "2001:db8::1",
		.connected_port = 993,
		.session_id = "s1",
		.pairs = kind & PAIRS ? "\"name\" \"x \\\"y\\\"\" \"os\" NIL" : "",
	};
	invariant(credentials_set(&run->credentials, &claim) == CREDENTIALS_FINE);
	run->upstream = upstream_new(&settings);
	invariant(run->upstream != NULL);
	run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
}

static void check_challenge(const struct run *run)
{
	const char *challenge = upstream_challenge(run->upstream);
	struct buffer decoded = {0};

	invariant(!run->asks_client && base64_decode(&decoded, challenge, strlen(challenge)));
	buffer_done(&decoded);
}

static void feed(struct run *run, const uint8_t *bytes, size_t length)
{
	enum upstream_verdict verdict;

	buffer_append(&run->input, bytes, length);
	if (is_over(run)) {
		return;
	}
	buffer_append(&run->said, bytes, length);
	verdict = upstream_feed(run->upstream, &run->input, &run->output);
	check_output(run);
	if (verdict == UPSTREAM_MORE || verdict == UPSTREAM_CHALLENGE) {
		invariant(run->input.length == 0);
	}
	if (verdict == UPSTREAM_CHALLENGE) {
		check_challenge(run);
		run->asks_client = true;
	}
	run->verdict = verdict;
}

static void end_turn(struct run *run)
{
	static const char *const answers[] = {"QUFB", "", "AQ=="};

	if (run->verdict == UPSTREAM_STARTTLS) {
		run->secured = true;
		run->verdict = UPSTREAM_MORE;
		buffer_truncate(&run->said, 0);
		upstream_secured(run->upstream, &run->output);
	} else if (run->asks_client && !is_over(run)) {
		run->asks_client = false;
		run->verdict = UPSTREAM_MORE;
		buffer_append_text(&run->challenges, upstream_challenge(run->upstream));
		buffer_append_byte(&run->challenges, '\n');
		upstream_respond(run->upstream, answers[run->answers % array_length(answers)],
				 &run->output);
		run->answers++;
	}
}

static void run_all(struct run *run, const uint8_t *data, size_t size, size_t piece)
{
	while (size > 0) {
		const uint8_t *end = memchr(data, TURN_END, size);
		size_t turn = end != NULL ? (size_t)(end - data) : size;
		size_t count = turn < piece ? turn : piece;

		if (count == 0) {
			end_turn(run);
			count = 1;
		} else {
			feed(run, data, count);
		}
		data += count;
		size -= count;
	}
}

static void append_buffer(struct buffer *out, const struct buffer *bytes)
{
	buffer_append(out, buffer_bytes(bytes), bytes->length);
}

static void end_ready(const struct run *run, struct buffer *outcome)
{
	struct buffer client = {0};

	invariant(!is_exchange(run) || run->answers > 0);
	invariant(!run->asks_client);
	if (kinds[run->kind & KIND_MASK].nobody) {
		invariant(contains(&run->output, " LOGOUT\r\n", 9));
		invariant(upstream_offer(run->upstream)->known);
	} else {
		upstream_write_ready(run->upstream, "a", run->flags & UNTAGGED, &client);
		check_client_lines(run, &client);
	}
	append_buffer(outcome, &client);
	append_buffer(outcome, &run->input);
	buffer_done(&client);
}

/* Everything that must not depend on the cuts. */
static void run_end(struct run *run, struct buffer *outcome)
{
	check_lines(&run->output);
	invariant(run->output.length <= OUTPUT_MAX);
	append_buffer(outcome, &run->output);
	append_buffer(outcome, &run->challenges);
	buffer_append_text(outcome, upstream_offer(run->upstream)->atoms);
	if (run->verdict == UPSTREAM_READY) {
		end_ready(run, outcome);
	} else {
		if (!is_over(run)) {
			upstream_end(run->upstream);
		}
		check_refusal(run);
		buffer_append_byte(outcome, run->verdict == UPSTREAM_REFUSED);
		buffer_append_text(outcome, upstream_refusal(run->upstream).code);
		buffer_append_text(outcome, upstream_reason(run->upstream));
		if (upstream_referral(run->upstream) != NULL) {
			buffer_append_text(outcome, upstream_referral(run->upstream));
		}
	}
	upstream_free(run->upstream);
	credentials_done(&run->credentials);
	buffer_done(&run->input);
	buffer_done(&run->output);
	buffer_done(&run->said);
	buffer_done(&run->challenges);
}

static void run_whole(const uint8_t *data, size_t size, size_t piece, struct buffer *outcome)
{
	struct run run = {0};

	run_begin(&run, data[0], data[2]);
	run_all(&run, data + 3, size - 3, piece);
	run_end(&run, outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer cut = {0};

	if (size < 3) {
		return 0;
	}
	run_whole(data, size, SIZE_MAX, &whole);
	run_whole(data, size, 1 + (data[1] & 63), &cut);
	invariant(whole.length == cut.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&cut), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&cut);
	return 0;
}
