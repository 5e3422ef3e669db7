/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins by a token or an exchange: the backend's challenges and the client's answers, how many
 * there may be, and what of them never reaches the log.
 */
#include "imap/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/sasl.h"
#include "support/upstream_script.h"

#define GREETING                                                                                   \
	"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER "             \
	"AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256] hi\r\n"
#define GREETING_WAITS "* OK [CAPABILITY IMAP4rev1 ID AUTH=XOAUTH2 AUTH=SCRAM-SHA-256] hi\r\n"

/* The messages are those of RFC 5802 section 5, with another user. */
#define TOKEN         "tok-123456"
#define XOAUTH2       "dXNlcj11MQFhdXRoPUJlYXJlciB0b2stMTIzNDU2AQE="
#define OAUTHBEARER   "bixhPXUxLAFhdXRoPUJlYXJlciB0b2stMTIzNDU2AQE="
#define ERROR         "eyJzdGF0dXMiOiI0MDEifQ=="
#define FIRST_MESSAGE "n,,n=u1,r=fyko+d2lbbFgONRv9qkx"
#define FIRST         "biwsbj11MSxyPWZ5a28rZDJsYmJGZ09OUnY5cWt4"
#define SERVER_FIRST  "cj1meWtvK2QybGJiRmdPTlJ2OXFreDNyZmMscz1RU1hDUitRNnNlazhiZjkyLGk9NDA5Ng=="
#define FINAL                                                                                      \
	"Yz1iaXdzLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3gzcmZjLHA9djBYOHYzQnoyVDBDSkdiSlF5RjBYK0hJNFRzPQ=="
#define SERVER_FINAL "dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9"

#define BY_XOAUTH2     .mechanism = SASL_XOAUTH2, .secret = TOKEN
#define BY_OAUTHBEARER .mechanism = SASL_OAUTHBEARER, .secret = TOKEN
#define BY_SCRAM       .mechanism = SASL_SCRAM_SHA_256, .secret = FIRST_MESSAGE

#define SAY_XOAUTH2 "G1 AUTHENTICATE XOAUTH2 " XOAUTH2 "\r\n"
#define SAY_SCRAM   "G1 AUTHENTICATE SCRAM-SHA-256 " FIRST "\r\n"

static const struct upstream_script scripts[] = {
	{.name = "a token that is taken",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2}, {"* CAPABILITY IMAP4rev1 IDLE\r\nG1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"},
	{.name = "a token that waits for its `+`",
	 BY_XOAUTH2,
	 .turns = {{GREETING_WAITS, "G1 AUTHENTICATE XOAUTH2\r\n"},
		   {"+ not base64\r\n", XOAUTH2 "\r\n"},
		   {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "a token that is refused: the error, an empty answer, NO",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2},
		   {"+ " ERROR "\r\n", "", .challenge = ERROR},
		   {"G1 NO bad token\r\n", "\r\n", .answer = ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = SCRIPT_CREDENTIALS},
	{.name = "a token that is refused: the error, ^A, NO with a code",
	 BY_OAUTHBEARER,
	 .turns = {{GREETING, "G1 AUTHENTICATE OAUTHBEARER " OAUTHBEARER "\r\n"},
		   {"+ " ERROR "\r\n", "", .challenge = ERROR},
		   {"G1 NO [UNAVAILABLE] later\r\n", "AQ==\r\n", .answer = "AQ=="}},
	 .verdict = UPSTREAM_FAILED,
	 .client = "NO [UNAVAILABLE] later"},
	{.name = "C90 BAD behind the answer",
	 BY_OAUTHBEARER,
	 .turns = {{GREETING, "G1 AUTHENTICATE OAUTHBEARER " OAUTHBEARER "\r\n"},
		   {"+ " ERROR "\r\n", "", .challenge = ERROR},
		   {"G1 BAD cancelled\r\n", "AQ==\r\n", .answer = "AQ=="}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "NO before the answer",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2},
		   {"+ " ERROR "\r\n", "", .challenge = ERROR},
		   {"G1 NO [EXPIRED] too slow\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [EXPIRED] too slow"},
	{.name = "SCRAM with its last message as a challenge",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ " SERVER_FIRST "\r\n", "", .challenge = SERVER_FIRST},
		   {"+ " SERVER_FINAL "\r\n", FINAL "\r\n", SERVER_FINAL, FINAL},
		   {"G1 OK [CAPABILITY IMAP4rev1 X] hi\r\n", "\r\n", .answer = ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 X] hi\r\n"},
	{.name = "SCRAM without it, as some servers do",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ " SERVER_FIRST "\r\n", "", .challenge = SERVER_FIRST},
		   {"G1 OK hi\r\n* 1 EXISTS\r\n", FINAL "\r\n", .answer = FINAL}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n",
	 .left = "* 1 EXISTS\r\n"},
	{.name = "SCRAM behind ID, without an initial response",
	 .flags = SCRIPT_IDENTITY,
	 BY_SCRAM,
	 .turns = {{GREETING_WAITS, "G1" SCRIPT_ID_PAIRS ")\r\n"},
		   {"G1 OK\r\n", "G2 AUTHENTICATE SCRAM-SHA-256\r\n"},
		   {"+ \r\n", FIRST "\r\n"},
		   {"+ " SERVER_FIRST "\r\n", "", .challenge = SERVER_FIRST},
		   {"G2 OK hi\r\n", FINAL "\r\n", .answer = FINAL}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "SCRAM behind STARTTLS",
	 .flags = SCRIPT_STARTTLS,
	 BY_SCRAM,
	 .turns = {{"* OK hi\r\n", "G1 STARTTLS\r\n"},
		   {"G1 OK\r\n", ""},
		   {"* CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256\r\nG2 OK\r\n",
		    "G2 CAPABILITY\r\nG3 AUTHENTICATE SCRAM-SHA-256 " FIRST "\r\n"},
		   {"+ " SERVER_FIRST "\r\n", "", .challenge = SERVER_FIRST},
		   {"G3 OK hi\r\n", FINAL "\r\n", .answer = FINAL}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "SCRAM that is refused",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ " SERVER_FIRST "\r\n", "", .challenge = SERVER_FIRST},
		   {"G1 NO [AUTHENTICATIONFAILED] no\r\n", FINAL "\r\n", .answer = FINAL}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = SCRIPT_CREDENTIALS},
	{.name = "a list between challenge and answer is not the client's",
	 .flags = SCRIPT_ASK,
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"* CAPABILITY IMAP4rev1 EARLY\r\n", ""},
		   {"+ " SERVER_FIRST "\r\n* CAPABILITY IMAP4rev1 EARLY\r\n", "",
		    .challenge = SERVER_FIRST},
		   {"* CAPABILITY IMAP4rev1 EARLY\r\n", ""},
		   {"G1 OK hi\r\n", FINAL "\r\nG2 CAPABILITY\r\n", .answer = FINAL},
		   {"G2 OK\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n",
	 .atoms = "",
	 .mechanisms = SASL_BIT(SASL_PLAIN) | SASL_TOKENS | SASL_BIT(SASL_SCRAM_SHA_1) |
		       SASL_BIT(SASL_SCRAM_SHA_256)},
	{.name = "empty challenges",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ \r\n", "", .challenge = ""},
		   {"+\r\n", "AAAA\r\n", .challenge = "", .answer = "AAAA"},
		   {"G1 OK hi\r\n", "\r\n", .answer = ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "untagged lines around a challenge",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"* OK [ALERT] one\r\n+ AAAA\r\n* OK [ALERT] two\r\n* 5 EXISTS\r\n", "",
		    .challenge = "AAAA"},
		   {"* OK still here\r\n", ""},
		   {"G1 OK hi\r\n", "BBBB\r\n", .answer = "BBBB"}},
	 .verdict = UPSTREAM_READY,
	 .client = "* OK [ALERT] one\r\n* OK [ALERT] two\r\na OK hi\r\n"},
	{.name = "a client is asked",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"+ AAAA\r\n", "", .challenge = "AAAA"}},
	 .verdict = UPSTREAM_CHALLENGE},
	{.name = "OK before the first challenge",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "before the client had proven"},
	{.name = "OK in one go with a challenge",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"+ AAAA\r\nG1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "before the client had proven"},
	{.name = "OK before the answer",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2},
		   {"+ AAAA\r\n", "", .challenge = "AAAA"},
		   {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "before the client had proven"},
	{.name = "OK before the first message",
	 BY_XOAUTH2,
	 .turns = {{GREETING_WAITS, "G1 AUTHENTICATE XOAUTH2\r\n"}, {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "before it had the credentials"},
	{.name = "two challenges at once",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"+ AAAA\r\n+ AAAA\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "before the answer to the last"},
	{.name = "a challenge with a foreign byte",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"+ AA\tA\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "not base64"},
	{.name = "a challenge with a space behind it",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM}, {"+ AAAA \r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "a challenge of a wrong length",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2}, {"+ AAA\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "a challenge with bits behind its end",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2}, {"+ AB==\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "C91 a referral as a challenge",
	 BY_XOAUTH2,
	 .turns = {{GREETING, SAY_XOAUTH2}, {"+ [REFERRAL imap://10.1.2.3/]\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG},
	{.name = "C91 a referral while the client answers",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ AAAA\r\n", "", .challenge = "AAAA"},
		   {"* BYE [REFERRAL imap://10.1.2.3/] moved\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .reason = "before its challenge was answered: [REFERRAL"},
	{.name = "C91 a referral in the NO behind the answer",
	 BY_SCRAM,
	 .turns = {{GREETING, SAY_SCRAM},
		   {"+ AAAA\r\n", "", .challenge = "AAAA"},
		   {"G1 NO [REFERRAL imap://10.1.2.3/] x\r\n", "BBBB\r\n", .answer = "BBBB"}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_UNAVAILABLE,
	 .referral = "imap://10.1.2.3/"},
	{.name = "the backend does not know the mechanism of a token",
	 .flags = SCRIPT_IDENTITY,
	 BY_OAUTHBEARER,
	 .turns = {{GREETING_WAITS, ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "does not offer the mechanism",
	 .unsuited = true},
	{.name = "the backend does not know the mechanism of an exchange",
	 .mechanism = SASL_SCRAM_SHA_1,
	 .secret = FIRST_MESSAGE,
	 .turns = {{GREETING_WAITS, ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SCRIPT_SERVERBUG,
	 .reason = "does not offer the mechanism",
	 .unsuited = true},
	{.name = "the form is for passwords",
	 BY_XOAUTH2,
	 .form = WRITE_LOGIN,
	 .turns = {{GREETING, SAY_XOAUTH2}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C79 a `+` behind a password means nothing",
	 .turns = {{GREETING, "G1 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"+ AAAA\r\n+ [REFERRAL imap://h/]\r\n", ""},
		   {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
};

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(scripts); i++) {
		upstream_script_check(&scripts[i]);
	}
}

/* One exchange, step by step. */
struct exchange {
	struct credentials credentials;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
};

static enum upstream_verdict hear(struct exchange *exchange, const char *line)
{
	buffer_append_text(&exchange->input, line);
	return upstream_feed(exchange->upstream, &exchange->input, &exchange->output);
}

static void exchange_begin(struct exchange *exchange, enum sasl_mechanism mechanism,
			   const char *secret)
{
	struct credentials_claim claim = {
		.user = "u1",
		.user_length = 2,
		.secret = secret,
		.secret_length = strlen(secret),
		.mechanism = (uint8_t)mechanism,
	};
	struct upstream_settings settings = {.credentials = &exchange->credentials};

	assert_int_equal(credentials_set(&exchange->credentials, &claim), CREDENTIALS_FINE);
	exchange->upstream = upstream_new(&settings);
	assert_non_null(exchange->upstream);
	assert_int_equal(hear(exchange, GREETING), UPSTREAM_MORE);
}

static void exchange_end(struct exchange *exchange)
{
	upstream_free(exchange->upstream);
	credentials_done(&exchange->credentials);
	buffer_done(&exchange->input);
	buffer_done(&exchange->output);
}

/* C97: challenges for ever. */
static void test_challenge_count(void **state)
{
	(void)state;
	for (unsigned goes_on = 0; goes_on < 2; goes_on++) {
		struct exchange exchange = {0};

		exchange_begin(&exchange, SASL_SCRAM_SHA_256, FIRST_MESSAGE);
		for (unsigned i = 0; i < UPSTREAM_CHALLENGES_MAX; i++) {
			assert_int_equal(hear(&exchange, "+ AAAA\r\n"), UPSTREAM_CHALLENGE);
			upstream_respond(exchange.upstream, "", &exchange.output);
		}
		if (goes_on) {
			assert_int_equal(hear(&exchange, "+ AAAA\r\n"), UPSTREAM_FAILED);
			assert_non_null(strstr(upstream_reason(exchange.upstream),
					       "more than 10 challenges"));
		} else {
			assert_int_equal(hear(&exchange, "G1 OK hi\r\n"), UPSTREAM_READY);
		}
		exchange_end(&exchange);
	}
}

static void append_challenge(struct buffer *line, size_t length)
{
	buffer_append_text(line, "+ ");
	while (line->length < length) {
		buffer_append_text(line, "AAAA");
	}
	buffer_truncate(line, length);
	buffer_append_text(line, "\r\n");
	buffer_append_byte(line, '\0');
}

/* C97: one challenge fills a line; all of them count into what the backend may say. */
static void test_challenge_size(void **state)
{
	/* The longest base64 that fits behind "+ ". */
	const size_t longest = (UPSTREAM_LINE_MAX - 2) / 4 * 4 + 2;
	const size_t lines = UPSTREAM_TOTAL_MAX / (UPSTREAM_LINE_MAX + 2);
	struct exchange exchange = {0};
	struct buffer line = {0};

	(void)state;
	append_challenge(&line, longest);
	exchange_begin(&exchange, SASL_SCRAM_SHA_256, FIRST_MESSAGE);
	for (size_t i = 0; i < lines; i++) {
		assert_int_equal(hear(&exchange, (const char *)buffer_bytes(&line)),
				 UPSTREAM_CHALLENGE);
		assert_int_equal(strlen(upstream_challenge(exchange.upstream)), longest - 2);
		upstream_respond(exchange.upstream, "", &exchange.output);
	}
	assert_int_equal(hear(&exchange, (const char *)buffer_bytes(&line)), UPSTREAM_FAILED);
	assert_non_null(strstr(upstream_reason(exchange.upstream), "more than 65536 octets"));
	exchange_end(&exchange);

	exchange = (struct exchange){0};
	buffer_truncate(&line, 0);
	append_challenge(&line, longest + 4);
	exchange_begin(&exchange, SASL_SCRAM_SHA_256, FIRST_MESSAGE);
	assert_int_equal(hear(&exchange, (const char *)buffer_bytes(&line)), UPSTREAM_FAILED);
	assert_non_null(strstr(upstream_reason(exchange.upstream), "more than 8192 octets"));
	exchange_end(&exchange);
	buffer_done(&line);
}

/* C105: no part of a token, of a message or of an answer reaches the log. */
static void test_reasons(void **state)
{
	static const struct {
		enum sasl_mechanism mechanism;
		const char *secret;
		const char *answer; /* NULL: there is no challenge */
		const char *line;
		bool repeats;
	} cases[] = {
		{SASL_XOAUTH2, TOKEN, NULL, "G1 NO bad token\r\n", false},
		{SASL_XOAUTH2, TOKEN, NULL, "G1 NO bad token " TOKEN "\r\n", true},
		{SASL_XOAUTH2, TOKEN, NULL, "G1 NO bad token k-1234\r\n", true},
		{SASL_XOAUTH2, TOKEN, NULL, "G1 BAD " XOAUTH2 "\r\n", true},
		{SASL_XOAUTH2, TOKEN, NULL, "G1 BAD dXNlcj11MQFhdXRoPUJl..\r\n", true},
		{SASL_OAUTHBEARER, TOKEN, "AQ==", "G1 BAD what is c2st or AQ==\r\n", true},
		{SASL_OAUTHBEARER, TOKEN, "AQ==", "G1 NO bad token\r\n", false},
		{SASL_OAUTHBEARER, TOKEN, "AQ==", "G1 NO " OAUTHBEARER "\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, NULL, "G1 BAD r=fyko+d2lbbFg\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, NULL, "G1 BAD " FIRST "\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, FINAL, "G1 BAD " FINAL "\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, FINAL, "G1 BAD HJNFRzPQ==\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, FINAL, "hello " FINAL "\r\n", true},
		{SASL_SCRAM_SHA_256, FIRST_MESSAGE, FINAL, "G1 NO wrong proof\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct exchange exchange = {0};
		const char *reason;

		exchange_begin(&exchange, cases[i].mechanism, cases[i].secret);
		if (cases[i].answer != NULL) {
			assert_int_equal(hear(&exchange, "+ AAAA\r\n"), UPSTREAM_CHALLENGE);
			upstream_respond(exchange.upstream, cases[i].answer, &exchange.output);
			/* An empty answer does not make the last one forgotten. */
			assert_int_equal(hear(&exchange, "+\r\n"), UPSTREAM_CHALLENGE);
			upstream_respond(exchange.upstream, "", &exchange.output);
		}
		assert_int_not_equal(hear(&exchange, cases[i].line), UPSTREAM_MORE);
		reason = upstream_reason(exchange.upstream);
		if ((strstr(reason, "repeats the secret") != NULL) != cases[i].repeats) {
			fail_msg("case %zu: %s", i, reason);
		}
		exchange_end(&exchange);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_challenge_count),
		cmocka_unit_test(test_challenge_size),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
