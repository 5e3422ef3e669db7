/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole dialogue with a hostile backend. Whatever it says and however its bytes are cut: no
 * password before an IMAP greeting, whole lines towards it and towards the client, nothing in the
 * log that should not be there. The first byte chooses the settings, the second the cuts.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/sasl.h"
#include "imap/upstream.h"
#include "imap/write.h"

#define PASSWORD_ASCII "CANARY-\"7f3a"
#define PASSWORD_UTF8  "CANARY-\xc3\xa9"
#define OUTPUT_MAX     8192
#define CLIENT_MAX     (2 * UPSTREAM_LINE_MAX + 2048)

enum { IDENTITY = 1, ASK = 2, UNTAGGED = 4, OWNER = 8, UTF8_PASSWORD = 16, UTF8_USER = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct upstream_identity identity = {
	.originating_ip = "192.0.2.7",
	.originating_port = 40001,
	.connected_ip = "2001:db8::1",
	.connected_port = 993,
	.session_id = "s1",
};

struct run {
	unsigned flags;
	struct credentials credentials;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
	enum upstream_verdict verdict;
};

static bool contains(const struct buffer *buffer, const void *bytes, size_t length)
{
	return memmem(buffer_bytes(buffer), buffer->length, bytes, length) != NULL;
}

static bool holds_secret(const struct run *run)
{
	struct buffer message = {0};
	bool holds;

	sasl_plain_encode(&message, &run->credentials);
	holds = contains(&run->output, buffer_bytes(&message), message.length) ||
		contains(&run->output, "CANARY", 6);
	buffer_done(&message);
	return holds;
}

/* What must have been said before credentials may leave. */
static bool has_imap_greeting(const uint8_t *said, size_t size)
{
	if (!text_starts_nocase(said, size, "* OK")) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		if (text_starts_nocase(said + i, size - i, "IMAP4rev")) {
			return true;
		}
	}
	return false;
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
	invariant(!text_starts_nocase(line, left, "a OK [REFERRAL "));
	invariant(!(run->flags & UNTAGGED) || !text_starts_nocase(line, left, "a OK [CAPABILITY "));
}

static void check_refusal(const struct run *run)
{
	struct refusal refusal = upstream_refusal(run->upstream);
	const char *reason = upstream_reason(run->upstream);

	invariant(refusal.code[0] != '\0' && strpbrk(refusal.code, " []") == NULL);
	invariant(refusal.text[0] != '\0' && strlen(refusal.text) <= 200);
	invariant(write_is_quotable(refusal.text, strlen(refusal.text)));
	invariant(reason[0] != '\0' && strlen(reason) <= 255);
	invariant(write_is_quotable(reason, strlen(reason)));
	invariant(strstr(reason, "CANARY") == NULL);
}

static void run_begin(struct run *run, unsigned flags)
{
	const char *user = flags & UTF8_USER ? "\xc3\xa9" : "u1";
	const char *password = flags & UTF8_PASSWORD ? PASSWORD_UTF8 : PASSWORD_ASCII;
	struct credentials_claim claim = {
		.user = user,
		.user_length = strlen(user),
		.owner = "o",
		.owner_length = flags & OWNER ? 1 : 0,
		.password = password,
		.password_length = strlen(password),
	};
	struct upstream_settings settings = {
		.credentials = &run->credentials,
		.proxy_ttl = 4,
		.identity = flags & IDENTITY ? &identity : NULL,
		.ask_capability = flags & ASK,
	};

	run->flags = flags;
	invariant(credentials_set(&run->credentials, &claim) == CREDENTIALS_FINE);
	run->upstream = upstream_new(&settings);
	invariant(run->upstream != NULL);
	run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
}

static void run_all(struct run *run, const uint8_t *data, size_t size, size_t piece)
{
	size_t at = 0;

	while (at < size && run->verdict == UPSTREAM_MORE) {
		size_t count = size - at < piece ? size - at : piece;
		size_t before = run->output.length;

		buffer_append(&run->input, data + at, count);
		at += count;
		run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
		invariant(run->verdict != UPSTREAM_MORE || run->input.length == 0);
		invariant(run->output.length == before || !holds_secret(run) ||
			  has_imap_greeting(data, at));
	}
	if (run->verdict == UPSTREAM_READY) {
		buffer_append(&run->input, data + at, size - at);
	}
}

/* Everything that must not depend on the cuts. */
static void run_end(struct run *run, struct buffer *outcome)
{
	check_lines(&run->output);
	invariant(run->output.length <= OUTPUT_MAX);
	buffer_append(outcome, buffer_bytes(&run->output), run->output.length);
	buffer_append_byte(outcome, (uint8_t)run->verdict);
	if (run->verdict == UPSTREAM_READY) {
		struct buffer client = {0};

		upstream_write_ready(run->upstream, "a", run->flags & UNTAGGED, &client);
		check_client_lines(run, &client);
		buffer_append(outcome, buffer_bytes(&client), client.length);
		buffer_append(outcome, buffer_bytes(&run->input), run->input.length);
		buffer_done(&client);
	} else {
		if (run->verdict == UPSTREAM_MORE) {
			upstream_end(run->upstream);
		}
		check_refusal(run);
		buffer_append_text(outcome, upstream_refusal(run->upstream).code);
		buffer_append_text(outcome, upstream_reason(run->upstream));
	}
	upstream_free(run->upstream);
	credentials_done(&run->credentials);
	buffer_done(&run->input);
	buffer_done(&run->output);
}

static void run_whole(unsigned flags, const uint8_t *data, size_t size, size_t piece,
		      struct buffer *outcome)
{
	struct run run = {0};

	run_begin(&run, flags);
	run_all(&run, data, size, piece);
	run_end(&run, outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer cut = {0};

	if (size < 2) {
		return 0;
	}
	run_whole(data[0], data + 2, size - 2, SIZE_MAX, &whole);
	run_whole(data[0], data + 2, size - 2, 1 + (data[1] & 63), &cut);
	invariant(whole.length == cut.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&cut), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&cut);
	return 0;
}
