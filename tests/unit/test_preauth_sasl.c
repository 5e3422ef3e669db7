/* SPDX-License-Identifier: Apache-2.0
 *
 * AUTHENTICATE by every mechanism, with and without initial response, and the exchanges that a
 * backend leads, as the conformance cases ask (C-numbers).
 */
#include "imap/preauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "support/preauth_dialogue.h"

#define XOAUTH2_U1 "dXNlcj11MQFhdXRoPUJlYXJlciB0b2sBAQ=="
#define BEARER_U1  "bixhPXUxLAFhdXRoPUJlYXJlciB0b2sBAQ=="
#define SCRAM_U1   "biwsbj11MSxyPWFiYw=="

#define SHOWN_SCRAM "u1|-|n,,n=u1,r=abc]"

#define PROMPT_USER     "+ VXNlcm5hbWU6\n"
#define PROMPT_PASSWORD "+ UGFzc3dvcmQ6\n"

/* {"status":"400"} */
#define ERROR_CHALLENGE "eyJzdGF0dXMiOiI0MDAifQ=="

#define U51  "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
#define U255 U51 U51 U51 U51 U51

#define ALL_FRONT                                                                                  \
	{                                                                                          \
		.secrets_allowed = true, .mechanisms = SASL_ALL                                    \
	}

static const struct dialogue all = {.front = ALL_FRONT, .certified_user = "cu@example.org"};

static void test_plain(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C46", bytes("a AUTHENTICATE PLAIN AHUxAHB3\r\n"), U1 "a" NO},
		{"C47", bytes("a AUTHENTICATE PLAIN\r\nAHUxAHB3\r\n"), "+ \n" U1 "a" NO},
		{"C47 authzid", bytes("a AUTHENTICATE PLAIN dTIAdTEAcHc=\r\n"), "[u1|u2|pw]a" NO},
		{"C48", bytes("a AUTHENTICATE PLAIN =\r\n"), "a" NO},
		{"C49", bytes("a authenticate pLaIn AHUxAHB3\r\n"), U1 "a" NO},
		{"C49 case", bytes("a AUTHENTICATE PLAIN ahuxahb3\r\n"), "a" NO},
		{"C50", bytes("a AUTHENTICATE FOO\r\nb AUTHENTICATE FOO AAAA\r\n"),
		 "a" MECHANISM "b" MECHANISM},
		{"C51",
		 bytes("a AUTHENTICATE\r\nb AUTHENTICATE \"PLAIN\"\r\nc AUTHENTICATE {5}\r\n"),
		 "a" BAD "b" BAD "c" BAD},
		{"C51 +",
		 bytes("a AUTHENTICATE {5+}\r\nPLAIN\r\nb AUTHENTICATE PLAIN {8+}\r\nAHUxAHB3\r\n"),
		 "a" BAD "b" BAD},
		{"C52", bytes("a AUTHENTICATE PLAIN\r\n*\r\nb LOGIN u1 pw\r\n"),
		 "+ \na" CANCELLED U1 "b" NO},
		{"C53 !!!!", bytes("a AUTHENTICATE PLAIN\r\n!!!!\r\n"), "+ \na" BASE64},
		{"C53 inner =", bytes("a AUTHENTICATE PLAIN\r\nAAA=BBBB\r\n"), "+ \na" BASE64},
		{"C53 TAB", bytes("a AUTHENTICATE PLAIN\r\nAHUxAHB3\t\r\n"), "+ \na" BASE64},
		{"C53 SP", bytes("a AUTHENTICATE PLAIN\r\nAHUxAHB3 \r\n"), "+ \na" BASE64},
		{"C53 inner SP", bytes("a AUTHENTICATE PLAIN\r\nAHUx AHB3\r\n"), "+ \na" BASE64},
		{"C53 A", bytes("a AUTHENTICATE PLAIN\r\nA\r\n"), "+ \na" BASE64},
		{"C53 ====", bytes("a AUTHENTICATE PLAIN\r\n====\r\n"), "+ \na" BASE64},
		{"C53 = behind +", bytes("a AUTHENTICATE PLAIN\r\n=\r\n"), "+ \na" BASE64},
		{"C53 * SP", bytes("a AUTHENTICATE PLAIN\r\n* \r\n"), "+ \na" BASE64},
		{"C53 CR", bytes("a AUTHENTICATE PLAIN\r\nAHUx\rAHB3\r\n"), "+ \na" BAD},
		{"C53 NUL", bytes("a AUTHENTICATE PLAIN\r\nAHUx\0AHB3\r\n"), "+ \na" BAD},
		{"C53 IR",
		 bytes("a AUTHENTICATE PLAIN AAA=BBBB\r\nb AUTHENTICATE PLAIN AHUxAHB3 x\r\n"),
		 "a" BASE64 "b" BAD},
		{"C53 IR *", bytes("a AUTHENTICATE PLAIN *\r\n"), "a" BAD},
		{"C56 one NUL", bytes("a AUTHENTICATE PLAIN dTEAcHc=\r\n"), "a" NO},
		{"C56 three NUL", bytes("a AUTHENTICATE PLAIN AHUxAHB3AHg=\r\n"), "a" NO},
		{"C56 no user", bytes("a AUTHENTICATE PLAIN AABwdw==\r\n"), "a" NO},
		{"C56 no password", bytes("a AUTHENTICATE PLAIN AHUxAA==\r\n"), "a" NO},
		{"C56 empty", bytes("a AUTHENTICATE PLAIN\r\n\r\n"), "+ \na" NO},
		{"C60", bytes("a AUTHENTICATE PLAIN\r\nAHUxAHB3\r\nb NOOP\r\n"),
		 "+ \n" U1 "a" NO "b" NOOP_OK},
		{"C62",
		 bytes("a AUTHENTICATE SCRAM-SHA-256-PLUS\r\nb AUTHENTICATE SCRAM-SHA-256\r\n"
		       "c AUTHENTICATE EXTERNAL =\r\nd AUTHENTICATE CRAM-MD5\r\n"
		       "e AUTHENTICATE GSSAPI\r\nf AUTHENTICATE ANONYMOUS\r\n"),
		 "a" MECHANISM "b" MECHANISM "c" MECHANISM "d" MECHANISM "e" MECHANISM
		 "f" MECHANISM},
		{"a command inside", bytes("a AUTHENTICATE PLAIN\r\nb LOGIN u1 {2+}\r\npw\r\n"),
		 "+ \na" BAD},
		{"bare LF", bytes("a AUTHENTICATE PLAIN\nAHUxAHB3\n"), "+ \n" U1 "a" NO},
	};

	(void)state;
	dialogue_check_usable(&dialogue_with_tls, cases, array_length(cases));
}

/* C57, C58: the user name may come at once, and the password never does. */
static void test_login(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C57", bytes("a AUTHENTICATE LOGIN\r\ndTE=\r\ncHc=\r\n"),
		 PROMPT_USER PROMPT_PASSWORD U1 "a" NO},
		{"C57 letters", bytes("a authenticate login\ndTE=\ncHc=\n"),
		 PROMPT_USER PROMPT_PASSWORD U1 "a" NO},
		{"C57 * for the user", bytes("a AUTHENTICATE LOGIN\r\n*\r\n"),
		 PROMPT_USER "a" CANCELLED},
		{"C57 * for the password", bytes("a AUTHENTICATE LOGIN\r\ndTE=\r\n*\r\n"),
		 PROMPT_USER PROMPT_PASSWORD "a" CANCELLED},
		{"C58", bytes("a AUTHENTICATE LOGIN dTE=\r\ncHc=\r\n"), PROMPT_PASSWORD U1 "a" NO},
		{"C58 =", bytes("a AUTHENTICATE LOGIN =\r\ncHc=\r\n"), PROMPT_PASSWORD "a" NO},
		{"no user", bytes("a AUTHENTICATE LOGIN\r\n\r\ncHc=\r\n"),
		 PROMPT_USER PROMPT_PASSWORD "a" NO},
		{"no password", bytes("a AUTHENTICATE LOGIN dTE=\r\n\r\n"), PROMPT_PASSWORD "a" NO},
		{"bad user", bytes("a AUTHENTICATE LOGIN\r\ndTE\r\n"), PROMPT_USER "a" BASE64},
		{"bad password", bytes("a AUTHENTICATE LOGIN dTE=\r\ncHc\r\n"),
		 PROMPT_PASSWORD "a" BASE64},
		{"bad initial response", bytes("a AUTHENTICATE LOGIN dTE\r\n"), "a" BASE64},
		{"NUL in the user", bytes("a AUTHENTICATE LOGIN dQAx\r\ncHc=\r\n"),
		 PROMPT_PASSWORD "a" NO},
		{"C55",
		 bytes("a AUTHENTICATE LOGIN dTE=\r\n*\r\nb AUTHENTICATE LOGIN\r\ndTI=\r\n"
		       "cHc=\r\nc LOGIN u3 pw\r\n"),
		 PROMPT_PASSWORD "a" CANCELLED PROMPT_USER PROMPT_PASSWORD "[u2|-|pw]b" NO
				 "[u3|-|pw]c" NO},
	};
	static const struct dialogue_repeated names[] = {
		{"255 octets", "a AUTHENTICATE LOGIN ", "dXV1", 85, "\r\ncHc=\r\nz NOOP\r\n",
		 PROMPT_PASSWORD "[" U255 "|-|pw]a" NO "z" NOOP_OK},
		{"258 octets", "a AUTHENTICATE LOGIN ", "dXV1", 86, "\r\ncHc=\r\nz NOOP\r\n",
		 PROMPT_PASSWORD "a" NO "z" NOOP_OK},
		{"6000 octets", "a AUTHENTICATE LOGIN ", "dXV1", 2000, "\r\ncHc=\r\nz NOOP\r\n",
		 PROMPT_PASSWORD "a" NO "z" NOOP_OK},
	};

	(void)state;
	dialogue_check_usable(&all, cases, array_length(cases));
	dialogue_check_repeated(&all, names, array_length(names));
}

static void test_messages(void **state)
{
	static const struct dialogue_case cases[] = {
		{"XOAUTH2", bytes("a AUTHENTICATE XOAUTH2 " XOAUTH2_U1 "\r\n"),
		 "[XOAUTH2 u1|-|tok]a" NO},
		{"XOAUTH2 later", bytes("a AUTHENTICATE XOAUTH2\r\n" XOAUTH2_U1 "\r\n"),
		 "+ \n[XOAUTH2 u1|-|tok]a" NO},
		{"OAUTHBEARER", bytes("a AUTHENTICATE OAUTHBEARER " BEARER_U1 "\r\n"),
		 "[OAUTHBEARER u1|-|tok]a" NO},
		{"OAUTHBEARER later", bytes("a AUTHENTICATE oauthbearer\r\n" BEARER_U1 "\r\n"),
		 "+ \n[OAUTHBEARER u1|-|tok]a" NO},
		{"SCRAM-SHA-1", bytes("a AUTHENTICATE SCRAM-SHA-1 " SCRAM_U1 "\r\n"),
		 "[SCRAM-SHA-1 " SHOWN_SCRAM "a" NO},
		{"SCRAM-SHA-256", bytes("a AUTHENTICATE SCRAM-SHA-256\r\n" SCRAM_U1 "\r\n"),
		 "+ \n[SCRAM-SHA-256 " SHOWN_SCRAM "a" NO},
		{"SCRAM-SHA-512", bytes("a AUTHENTICATE scram-sha-512 " SCRAM_U1 "\r\n"),
		 "[SCRAM-SHA-512 " SHOWN_SCRAM "a" NO},
		{"SCRAM for another",
		 bytes("a AUTHENTICATE SCRAM-SHA-1 bixhPW93bixuPXUxLHI9YWJj\r\n"),
		 "[SCRAM-SHA-1 u1|own|n,a=own,n=u1,r=abc]a" NO},
		{"channel binding",
		 bytes("a AUTHENTICATE SCRAM-SHA-1 cD10bHMtdW5pcXVlLCxuPXUxLHI9YWJj\r\n"), "a" NO},
		{"another mechanism's", bytes("a AUTHENTICATE XOAUTH2 " SCRAM_U1 "\r\n"), "a" NO},
		{"cancelled", bytes("a AUTHENTICATE SCRAM-SHA-1\r\n*\r\n"), "+ \na" CANCELLED},
		{"no base64", bytes("a AUTHENTICATE XOAUTH2\r\n{}\r\n"), "+ \na" BASE64},
	};

	(void)state;
	dialogue_check_usable(&all, cases, array_length(cases));
}

/* What is not offered is refused before anything is asked for (C50, C62). */
static void test_not_offered(void **state)
{
	static const char *const names[] = {
		"PLAIN",    "LOGIN",       "XOAUTH2",       "OAUTHBEARER",
		"EXTERNAL", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512",
	};
	static const struct dialogue_case never[] = {
		{"C62 -PLUS",
		 bytes("a AUTHENTICATE SCRAM-SHA-1-PLUS\r\nb AUTHENTICATE "
		       "SCRAM-SHA-256-PLUS AAAA\r\n"),
		 "a" MECHANISM "b" MECHANISM},
		{"C62",
		 bytes("a AUTHENTICATE CRAM-MD5\r\nb AUTHENTICATE GSSAPI\r\n"
		       "c AUTHENTICATE ANONYMOUS =\r\n"),
		 "a" MECHANISM "b" MECHANISM "c" MECHANISM},
		{"C50", bytes("a AUTHENTICATE PLAI\r\nb AUTHENTICATE PLAINS\r\n"),
		 "a" MECHANISM "b" MECHANISM},
	};

	(void)state;
	assert_int_equal(array_length(names), SASL_MECHANISM_COUNT);
	dialogue_check_usable(&all, never, array_length(never));
	for (unsigned i = 0; i < array_length(names); i++) {
		const struct dialogue others = {
			.front = {.secrets_allowed = true, .mechanisms = SASL_ALL & ~SASL_BIT(i)},
			.certified_user = all.certified_user,
		};
		char input[128];

		snprintf(input, sizeof(input),
			 "a AUTHENTICATE %s\r\nb AUTHENTICATE %s AHUxAHB3\r\n", names[i], names[i]);
		dialogue_check(&others, names[i], input, strlen(input),
			       "a" MECHANISM "b" MECHANISM);
	}
}

/* RFC 4422 appendix A: a certificate opens the mailbox that it names. */
static void test_external(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C62 empty", bytes("a AUTHENTICATE EXTERNAL =\r\n"),
		 "[EXTERNAL cu@example.org|-|]a" NO},
		{"empty, later", bytes("a AUTHENTICATE EXTERNAL\r\n\r\n"),
		 "+ \n[EXTERNAL cu@example.org|-|]a" NO},
		{"its own", bytes("a AUTHENTICATE EXTERNAL Y3VAZXhhbXBsZS5vcmc=\r\n"),
		 "[EXTERNAL cu@example.org|-|]a" NO},
		{"its own, later", bytes("a AUTHENTICATE external\r\nY3VAZXhhbXBsZS5vcmc=\r\n"),
		 "+ \n[EXTERNAL cu@example.org|-|]a" NO},
		{"another's", bytes("a AUTHENTICATE EXTERNAL dTE=\r\n"), "a" NOT_YOURS},
		{"another's, later", bytes("a AUTHENTICATE EXTERNAL\r\ndTE=\r\n"),
		 "+ \na" NOT_YOURS},
		{"other letters", bytes("a AUTHENTICATE EXTERNAL Q1VARVhBTVBMRS5PUkc=\r\n"),
		 "a" NOT_YOURS},
		{"its beginning", bytes("a AUTHENTICATE EXTERNAL Y3U=\r\n"), "a" NOT_YOURS},
		{"NUL behind it", bytes("a AUTHENTICATE EXTERNAL Y3VAZXhhbXBsZS5vcmcA\r\n"),
		 "a" NOT_YOURS},
		{"cancelled", bytes("a AUTHENTICATE EXTERNAL\r\n*\r\n"), "+ \na" CANCELLED},
		{"no base64", bytes("a AUTHENTICATE EXTERNAL !\r\n"), "a" BASE64},
	};

	(void)state;
	dialogue_check_usable(&all, cases, array_length(cases));
}

static const char *const two_challenges[] = {"cj1hYmM=", "dj14", NULL};
static const char *const empty_challenge[] = {"", NULL};
static const char *const error_challenge[] = {ERROR_CHALLENGE, NULL};

#define BEGIN_SCRAM "a AUTHENTICATE SCRAM-SHA-256 " SCRAM_U1 "\r\n"
#define BEGUN       "[SCRAM-SHA-256 " SHOWN_SCRAM "+ cj1hYmM=\n"

/* RFC 5802 section 5: lines go to and fro until the backend has decided. */
static void test_exchange(void **state)
{
	static const struct dialogue scram = {
		.front = ALL_FRONT, .certified_user = "x", .challenges = two_challenges};
	static const struct dialogue_case cases[] = {
		{"both rounds", bytes(BEGIN_SCRAM "Yz1i\r\n\r\n"), BEGUN "<Yz1i>+ dj14\n<>a" NO},
		{"bare LF", bytes("a AUTHENTICATE SCRAM-SHA-256\n" SCRAM_U1 "\nYz1i\n=\n"),
		 "+ \n" BEGUN "<Yz1i>+ dj14\n<->a" BASE64},
		{"cancelled", bytes(BEGIN_SCRAM "*\r\n"), BEGUN "<->a" CANCELLED},
		{"cancelled late", bytes(BEGIN_SCRAM "Yz1i\r\n*\r\n"),
		 BEGUN "<Yz1i>+ dj14\n<->a" CANCELLED},
		{"C53 !!!!", bytes(BEGIN_SCRAM "!!!!\r\n"), BEGUN "<->a" BASE64},
		{"C53 TAB", bytes(BEGIN_SCRAM "Yz1i\t\r\n"), BEGUN "<->a" BASE64},
		{"C53 inner =", bytes(BEGIN_SCRAM "Yz1=Yz1i\r\n"), BEGUN "<->a" BASE64},
		{"C53 CR", bytes(BEGIN_SCRAM "Yz\r1i\r\n"), BEGUN "<->a" BAD},
		{"C53 NUL", bytes(BEGIN_SCRAM "Yz1i\0\r\n"), BEGUN "<->a" BAD},
		{"a command inside", bytes(BEGIN_SCRAM "b NOOP\r\n"), BEGUN "<->a" BASE64},
		{"a literal inside", bytes(BEGIN_SCRAM "b LOGIN u1 {8+}\r\nc NOOP\r\n\r\n"),
		 BEGUN "<->a" BAD},
		{"again", bytes(BEGIN_SCRAM "*\r\n" BEGIN_SCRAM "Yz1i\r\nYQ==\r\n"),
		 BEGUN "<->a" CANCELLED BEGUN "<Yz1i>+ dj14\n<YQ==>a" NO},
	};

	(void)state;
	dialogue_check_usable(&scram, cases, array_length(cases));
}

/* RFC 7628 section 3.2.3: a token's error is a challenge, and its answer is nothing, or ^A. */
static void test_token_error(void **state)
{
	static const struct dialogue error = {
		.front = ALL_FRONT, .certified_user = "x", .challenges = error_challenge};
	static const struct dialogue empty = {
		.front = ALL_FRONT, .certified_user = "x", .challenges = empty_challenge};
	static const struct dialogue_case cases[] = {
		{"XOAUTH2", bytes("a AUTHENTICATE XOAUTH2 " XOAUTH2_U1 "\r\n\r\n"),
		 "[XOAUTH2 u1|-|tok]+ " ERROR_CHALLENGE "\n<>a" NO},
		{"OAUTHBEARER", bytes("a AUTHENTICATE OAUTHBEARER " BEARER_U1 "\r\nAQ==\r\n"),
		 "[OAUTHBEARER u1|-|tok]+ " ERROR_CHALLENGE "\n<AQ==>a" NO},
	};

	(void)state;
	dialogue_check_usable(&error, cases, array_length(cases));
	dialogue_check(&empty, "an empty challenge",
		       bytes("a AUTHENTICATE XOAUTH2 " XOAUTH2_U1 "\r\n\r\nz NOOP\r\n"),
		       "[XOAUTH2 u1|-|tok]+ \n<>a" NO "z" NOOP_OK);
}

/* Bad responses are counted like bad commands, and end as they do. */
static void test_bad_responses(void **state)
{
	static const struct dialogue scram = {
		.front = ALL_FRONT, .certified_user = "x", .challenges = two_challenges};
	struct buffer input = {0};
	struct buffer expected = {0};

	(void)state;
	for (int i = 0; i < 30; i++) {
		buffer_append_text(&input, BEGIN_SCRAM "!\r\n");
		buffer_append_text(&expected,
				   i < 29 ? BEGUN "<->a" BASE64 : BEGUN "a" BASE64 ABUSE);
	}
	buffer_append_byte(&expected, '\0');
	dialogue_check(&scram, "thirty", buffer_bytes(&input), input.length,
		       (const char *)buffer_bytes(&expected));
	buffer_done(&input);
	buffer_done(&expected);
}

/* What stands behind a response is not touched while the session asks the backend. */
static void test_leaves_the_rest(void **state)
{
	struct preauth_ration ration;
	struct preauth_settings settings = dialogue_settings(&all, &ration);
	struct preauth *preauth = preauth_new(&settings);
	struct buffer input = {0};
	struct buffer reply = {0};

	(void)state;
	buffer_append_text(&input, BEGIN_SCRAM "Yz1i\r\nYQ==\r\nb NOOP\r\n");
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_LOGIN);
	assert_int_equal(reply.length, 0);
	preauth_challenge(preauth, "dj14", &reply);
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_RESPONSE);
	assert_string_equal(preauth_response(preauth), "Yz1i");
	assert_int_equal(input.length, strlen("YQ==\r\nb NOOP\r\n"));
	assert_string_equal(preauth_credentials(preauth)->user, "u1");
	assert_string_equal(preauth_tag(preauth), "a");
	preauth_challenge(preauth, "", &reply);
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_RESPONSE);
	assert_string_equal(preauth_response(preauth), "YQ==");
	assert_int_equal(input.length, strlen("b NOOP\r\n"));
	preauth_free(preauth);
	buffer_done(&input);
	buffer_done(&reply);
}

struct crossing {
	const char *name;
	const char *before; /* the refusal, after the challenge */
	const char *after;
	const char *reply; /* behind that of the refusal */
};

/* The backend may be gone while the client thinks: its answer is no command, whenever it comes. */
static void test_refused_in_exchange(void **state)
{
	static const struct crossing cases[] = {
		{"before the response", "", "Yz1i\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"before an empty one", "", "\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"before +/+/", "", "+/+/\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"before *", "", "*\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"in it", "Yz", "1i\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"before its end", "Yz1i", "\r\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"in its end", "Yz1i\r", "\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"in an empty one", "\r", "\nb NOOP\r\n", "b OK NOOP completed.\r\n"},
		{"in a literal", "x {8+}\r\nb N", "OOP\r\n\r\nc NOOP\r\n",
		 "c OK NOOP completed.\r\n"},
		{"in a command", "b NO", "OP\r\nc NOOP\r\n", "c OK NOOP completed.\r\n"},
		{"once only", "", "Yz1i\r\nYz1i\r\n", "* BAD Syntax error.\r\n"},
		{"in it, once only", "Yz", "1i\r\nYz1i\r\n", "* BAD Syntax error.\r\n"},
		{"a command came instead", "", "b NOOP\r\nYz1i\r\n",
		 "b OK NOOP completed.\r\n* BAD Syntax error.\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < 2 * array_length(cases); i++) {
		const struct crossing *one = &cases[i / 2];
		struct preauth_ration ration;
		struct preauth_settings settings = dialogue_settings(&all, &ration);
		struct preauth *preauth = preauth_new(&settings);
		size_t after = strlen(one->after);
		struct buffer input = {0};
		struct buffer reply = {0};

		buffer_append_text(&input, BEGIN_SCRAM);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_LOGIN);
		preauth_challenge(preauth, "dj14", &reply);
		buffer_append_text(&input, one->before);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		preauth_refuse(preauth, &REFUSAL_UNAVAILABLE, &reply);
		assert_null(preauth_credentials(preauth)->user);
		buffer_truncate(&reply, 0);
		for (size_t at = 0; at < after; at += i % 2 == 0 ? after : 1) {
			buffer_append(&input, one->after + at, i % 2 == 0 ? after : 1);
			assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		}
		buffer_append_byte(&reply, '\0');
		assert_string_equal((const char *)buffer_bytes(&reply), one->reply);
		preauth_free(preauth);
		buffer_done(&input);
		buffer_done(&reply);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),         cmocka_unit_test(test_login),
		cmocka_unit_test(test_messages),      cmocka_unit_test(test_not_offered),
		cmocka_unit_test(test_external),      cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_token_error),   cmocka_unit_test(test_refused_in_exchange),
		cmocka_unit_test(test_bad_responses), cmocka_unit_test(test_leaves_the_rest),
	};

	return cmocka_run_group_tests_name("preauth_sasl", tests, NULL, NULL);
}
