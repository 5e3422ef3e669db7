/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends that say too much, hang up, or repeat what they were told: the limits of the dialogue,
 * and what reaches the log.
 */
#include "imap/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/referral.h"
#include "support/chunks.h"

#define GREETING "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n"
#define CANARY   "CANARY-\"7f3a"

/* One dialogue of u1 with a backend. */
struct run {
	const char *password;
	struct credentials credentials;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
	enum upstream_verdict verdict;
};

static void run_begin(void *context)
{
	struct run *run = context;
	struct credentials_claim claim = {
		.user = "u1",
		.user_length = 2,
		.secret = run->password,
		.secret_length = strlen(run->password),
	};
	struct upstream_settings settings = {.credentials = &run->credentials};

	assert_int_equal(credentials_set(&run->credentials, &claim), CREDENTIALS_FINE);
	run->upstream = upstream_new(&settings);
	assert_non_null(run->upstream);
	run->verdict = UPSTREAM_MORE;
}

static void run_feed(void *context, const void *bytes, size_t length)
{
	struct run *run = context;

	buffer_append(&run->input, bytes, length);
	if (run->verdict == UPSTREAM_MORE) {
		run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
	}
}

static void run_end(void *context, struct buffer *outcome)
{
	struct run *run = context;

	if (outcome != NULL) {
		buffer_append(outcome, buffer_bytes(&run->output), run->output.length);
		buffer_printf(outcome, "\nverdict: %d\n", run->verdict);
		buffer_append_text(outcome, upstream_reason(run->upstream));
	}
	upstream_free(run->upstream);
	credentials_done(&run->credentials);
	buffer_done(&run->input);
	buffer_done(&run->output);
	*run = (struct run){.password = run->password};
}

/* C97: the verdict and its reason must be the same however the script is cut. */
static enum upstream_verdict verdict_of(const struct buffer *script, const char *name)
{
	struct run run = {.password = "pw"};
	struct chunks_subject subject = {run_begin, run_feed, run_end, &run};
	enum upstream_verdict verdict;

	run_begin(&run);
	run_feed(&run, buffer_bytes(script), script->length);
	verdict = run.verdict;
	if (verdict == UPSTREAM_FAILED) {
		assert_string_equal(upstream_refusal(run.upstream).code, "UNAVAILABLE");
	}
	run_end(&run, NULL);
	chunks_check(&subject, name, buffer_bytes(script), script->length, NULL);
	return verdict;
}

static void append_repeated(struct buffer *out, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buffer_append_text(out, text);
	}
}

static enum upstream_verdict verdict_of_line(size_t length, const char *end)
{
	struct buffer script = {0};
	enum upstream_verdict verdict;

	buffer_append_text(&script, GREETING "* ");
	append_repeated(&script, "x", length - 2);
	buffer_append_text(&script, end);
	buffer_append_text(&script, "G1 OK hi\r\n");
	verdict = verdict_of(&script, "a long line");
	buffer_done(&script);
	return verdict;
}

static void test_line_limit(void **state)
{
	(void)state;
	assert_int_equal(verdict_of_line(UPSTREAM_LINE_MAX, "\r\n"), UPSTREAM_READY);
	assert_int_equal(verdict_of_line(UPSTREAM_LINE_MAX, "\n"), UPSTREAM_READY);
	assert_int_equal(verdict_of_line(UPSTREAM_LINE_MAX + 1, "\r\n"), UPSTREAM_FAILED);
	assert_int_equal(verdict_of_line(UPSTREAM_LINE_MAX + 1, "\n"), UPSTREAM_FAILED);
	assert_int_equal(verdict_of_line(1 << 20, "\r\n"), UPSTREAM_FAILED);
}

static enum upstream_verdict verdict_of_total(size_t total, const char *line)
{
	struct buffer script = {0};
	enum upstream_verdict verdict;
	static const char end[] = "G1 OK hi\r\n";

	buffer_append_text(&script, GREETING);
	while (script.length + 2 * strlen(line) + sizeof(end) < total) {
		buffer_append_text(&script, line);
	}
	buffer_append_text(&script, "* ");
	append_repeated(&script, "x", total - script.length - 2 - (sizeof(end) - 1));
	buffer_append_text(&script, "\r\n");
	buffer_truncate(&script, total - (sizeof(end) - 1) - 2);
	buffer_append_text(&script, "\r\n");
	buffer_append_text(&script, end);
	assert_int_equal(script.length, total);
	verdict = verdict_of(&script, line);
	buffer_done(&script);
	return verdict;
}

static void test_total_limit(void **state)
{
	static const char *const lines[] = {"* 5 EXISTS\r\n", "+ x\r\n", "* L {7}\r\nG1 NO \n\r\n"};

	(void)state;
	for (size_t i = 0; i < array_length(lines); i++) {
		assert_int_equal(verdict_of_total(UPSTREAM_TOTAL_MAX, lines[i]), UPSTREAM_READY);
		assert_int_equal(verdict_of_total(UPSTREAM_TOTAL_MAX + 1, lines[i]),
				 UPSTREAM_FAILED);
		assert_int_equal(verdict_of_total(UPSTREAM_TOTAL_MAX * 3, lines[i]),
				 UPSTREAM_FAILED);
	}
}

static void test_literal_limit(void **state)
{
	static const char *const sizes[] = {"65536", "999999", "18446744073709551617",
					    "99999999999999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < array_length(sizes); i++) {
		struct buffer script = {0};

		buffer_printf(&script, "%s* LIST {%s}\r\n", GREETING, sizes[i]);
		assert_int_equal(verdict_of(&script, sizes[i]), UPSTREAM_FAILED);
		buffer_done(&script);
	}
}

/* A list and a text that only together are too long for a line go apart. */
static void test_ready_line_fits(void **state)
{
	struct run run = {.password = "pw"};
	struct buffer script = {0};
	struct buffer reply = {0};

	(void)state;
	buffer_append_text(&script, GREETING "* CAPABILITY ");
	append_repeated(&script, "x", UPSTREAM_LINE_MAX / 2);
	buffer_append_text(&script, "\r\nG1 OK ");
	append_repeated(&script, "y", UPSTREAM_LINE_MAX / 2 + 1);
	buffer_append_text(&script, "\r\n");
	run_begin(&run);
	run_feed(&run, buffer_bytes(&script), script.length);
	assert_int_equal(run.verdict, UPSTREAM_READY);
	upstream_write_ready(run.upstream, "a", false, &reply);
	assert_memory_equal(buffer_bytes(&reply), "* CAPABILITY x", 14);
	run_end(&run, NULL);
	buffer_done(&script);
	buffer_done(&reply);
}

/* C87: the backend hangs up. */
static void test_end(void **state)
{
	static const struct {
		const char *script;
		const char *reason;
	} ends[] = {
		{"", "before its greeting"},
		{"* OK", "before its greeting"},
		{"* OK hi\r\n", "before it named its capabilities"},
		{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "in the middle of the login"},
		{GREETING, "before it answered the login"},
		{GREETING "G1 O", "before it answered the login"},
		{GREETING "* BYE Too many\x1b\r\n", "before it answered the login: Too many?"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(ends); i++) {
		struct run run = {.password = "pw"};

		run_begin(&run);
		run_feed(&run, ends[i].script, strlen(ends[i].script));
		assert_int_equal(run.verdict, UPSTREAM_MORE);
		assert_int_equal(upstream_end(run.upstream), UPSTREAM_FAILED);
		assert_string_equal(upstream_refusal(run.upstream).code, "UNAVAILABLE");
		assert_non_null(strstr(upstream_reason(run.upstream), ends[i].reason));
		run_end(&run, NULL);
	}
}

/* C105: a backend that repeats what it was told does not bring the password into the log. */
static void test_reasons(void **state)
{
	static const struct {
		const char *password;
		const char *script;
		const char *said;
		const char *not_said;
	} cases[] = {
		{"pw", "* PREAUTH hi\r\n", "greeted with PREAUTH", "repeats"},
		{"pw", "* BYE busy\r\n", "greeted with BYE: busy", "repeats"},
		{"pw", "\x01smtp\r\n", "not IMAP's: ?smtp", "repeats"},
		{"pw", GREETING "G1 NO [EXPIRED] since May\r\n", "[EXPIRED] since May", "repeats"},
		{"pw", GREETING "G1 BAD for you\x1b\xff\r\n", "BAD: for you??", "repeats"},
		{"pw", GREETING "G1 BAD u1 pw\r\n", "repeats", "pw"},
		{CANARY, GREETING "G1 BAD LOGIN u1 CANARY-\"7f3a\r\n", "repeats", "CANARY"},
		{CANARY, GREETING "G1 BAD LOGIN u1 CANARY\r\n", "repeats", "CANARY"},
		{CANARY, GREETING "G1 NO x-\"7f3ax\r\n", "repeats", "7f3a"},
		{CANARY, GREETING "G1 BAD PLAIN AHUxAENBTkFSWS0iN2YzYQ==\r\n", "repeats", "N2Yz"},
		{CANARY, GREETING "G1 BAD PLAIN AHUxAENBTkFS\r\n", "repeats", "TkFS"},
		{CANARY, GREETING "LOGIN CANARY-\"7f3a\r\n", "repeats", "CANARY"},
		{CANARY, GREETING "G9 BAD CANARY-\"7f3a\r\n", "repeats", "CANARY"},
		{"a\"b\"c\"d", GREETING "G1 BAD \"a\\\"b\\\"c\\\"d\"\r\n", "repeats", "d\""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct run run = {.password = cases[i].password};
		const char *reason;

		run_begin(&run);
		run_feed(&run, cases[i].script, strlen(cases[i].script));
		assert_int_not_equal(run.verdict, UPSTREAM_MORE);
		reason = upstream_reason(run.upstream);
		if (strstr(reason, cases[i].said) == NULL ||
		    strstr(reason, cases[i].not_said) != NULL) {
			fail_msg("case %zu: %s", i, reason);
		}
		run_end(&run, NULL);
	}
}

/* C104: long texts are cut. */
static void test_texts_are_bounded(void **state)
{
	struct run run = {.password = "pw"};
	struct buffer script = {0};

	(void)state;
	buffer_append_text(&script, GREETING "G1 NO [LIMIT] ");
	append_repeated(&script, "x", UPSTREAM_LINE_MAX - 14);
	buffer_append_text(&script, "\r\n");
	run_begin(&run);
	run_feed(&run, buffer_bytes(&script), script.length);
	assert_int_equal(run.verdict, UPSTREAM_REFUSED);
	assert_int_equal(strlen(upstream_refusal(run.upstream).text), 200);
	assert_in_range(strlen(upstream_reason(run.upstream)), 200, 255);
	run_end(&run, NULL);
	buffer_done(&script);
}

/* C91: a URL that was cut would be another one. */
static void test_referral_limit(void **state)
{
	(void)state;
	for (size_t length = REFERRAL_URL_MAX; length <= REFERRAL_URL_MAX + 1; length++) {
		struct run run = {.password = "pw"};
		struct buffer script = {0};
		const char *referral;

		buffer_append_text(&script, GREETING "G1 NO [REFERRAL ");
		append_repeated(&script, "x", length);
		buffer_append_text(&script, "] moved\r\n");
		run_begin(&run);
		run_feed(&run, buffer_bytes(&script), script.length);
		assert_int_equal(run.verdict, UPSTREAM_FAILED);
		referral = upstream_referral(run.upstream);
		assert_int_equal(referral != NULL, length == REFERRAL_URL_MAX);
		assert_true(referral == NULL || strlen(referral) == length);
		run_end(&run, NULL);
		buffer_done(&script);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_limit),      cmocka_unit_test(test_referral_limit),
		cmocka_unit_test(test_total_limit),     cmocka_unit_test(test_literal_limit),
		cmocka_unit_test(test_ready_line_fits), cmocka_unit_test(test_end),
		cmocka_unit_test(test_reasons),         cmocka_unit_test(test_texts_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
