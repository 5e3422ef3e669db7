/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login, as the conformance cases ask (C-numbers): each is fed whole, byte by
 * byte and in random pieces, must come to the same words, and leave the connection usable.
 */
#include "imap/preauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/refusal.h"
#include "support/preauth_dialogue.h"

#define CAPABILITIES "IMAP4rev1 LITERAL- SASL-IR ID AUTH=PLAIN"

static struct preauth *start(const struct dialogue *dialogue)
{
	static struct preauth_ration ration;
	static struct preauth_settings settings;
	struct preauth *preauth;

	settings = dialogue_settings(dialogue, &ration);
	preauth = preauth_new(&settings);
	assert_non_null(preauth);
	return preauth;
}

static void test_greeting(void **state)
{
	const struct dialogue *dialogues[] = {&dialogue_with_tls, &dialogue_without_tls};
	const char *greetings[] = {
		"* OK [CAPABILITY " CAPABILITIES "] gatepost ready\r\n",
		"* OK [CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID LOGINDISABLED] gatepost ready\r\n",
	};

	(void)state;
	for (size_t i = 0; i < array_length(dialogues); i++) {
		struct preauth *preauth = start(dialogues[i]);
		struct buffer reply = {0};

		preauth_greet(preauth, &reply);
		buffer_append_byte(&reply, '\0');
		assert_string_equal((const char *)buffer_bytes(&reply), greetings[i]);
		preauth_free(preauth);
		buffer_done(&reply);
	}
	preauth_free(NULL);
}

static void test_state(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C02", bytes("a CAPABILITY\r\n"),
		 "* CAPABILITY " CAPABILITIES "\na OK CAPABILITY completed.\n"},
		{"C07", bytes("a NOOP\r\n"), "a" NOOP_OK},
		{"C09", bytes("a CAPABILITY x\r\nb NOOP x\r\nc LOGOUT x\r\n"),
		 "a" BAD "b" BAD "c" BAD},
		{"C24",
		 bytes("a SELECT INBOX\r\nb IDLE\r\nc COMPRESS DEFLATE\r\nd UNAUTHENTICATE\r\n"
		       "e APPEND INBOX {5}\r\nf GETQUOTAROOT INBOX\r\ng ENABLE CONDSTORE\r\n"),
		 "a" UNKNOWN "b" UNKNOWN "c" UNKNOWN "d" UNKNOWN "e" UNKNOWN "f" UNKNOWN
		 "g" UNKNOWN},
		{"C65", bytes("a STARTTLS\r\n"), "a" NO_STARTTLS},
		{"C67", bytes("a STARTTLS\r\nb STARTTLS\r\nc STARTTLS x\r\n"),
		 "a" NO_STARTTLS "b" NO_STARTTLS "c" BAD},
	};

	(void)state;
	dialogue_check_usable(&dialogue_with_tls, cases, array_length(cases));
	dialogue_check(&dialogue_with_tls, "C08", bytes("a LOGOUT\r\n"),
		       LOGOUT_REPLY "a" LOGOUT_OK "(logout)");
	dialogue_check(&dialogue_with_tls, "C08 pipelined",
		       bytes("a NOOP\r\nb logout\r\nc NOOP\r\n"),
		       "a" NOOP_OK LOGOUT_REPLY "b" LOGOUT_OK "(logout)");
}

static void test_framing(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C11", bytes("A cApAbIlItY\r\nb noop\r\nc login u1 pw\r\n"),
		 "* CAPABILITY " CAPABILITIES "\nA OK CAPABILITY completed.\nb" NOOP_OK U1 "c" NO},
		{"C12", bytes("a  NOOP\r\na\tNOOP\r\n a NOOP\r\n"), "a" BAD "*" BAD "*" BAD},
		{"C13", bytes("a NOOP \r\nb CAPABILITY \r\nc LOGOUT \r\n"),
		 "a" BAD "b" BAD "c" BAD},
		{"C14", bytes("a NOOP\nb LOGIN {2}\nu1 {2}\npw\n"),
		 "a" NOOP_OK "+ OK\n+ OK\n" U1 "b" NO},
		{"C15", bytes("a NOOP\r\nb NO\rOP\r\n"), "a" NOOP_OK "b" BAD},
		{"C16", bytes("\r\n"), "*" BAD},
		{"C17", bytes("a\r\na \r\n"), "*" BAD "a" BAD},
		{"C18", bytes("a+ NOOP\r\n+ NOOP\r\n* NOOP\r\n"), "*" BAD "*" BAD "*" BAD},
		{"C19", bytes("\xe9 NOOP\r\na\x01 NOOP\r\na\0 NOOP\r\na{ NOOP\r\n"),
		 "*" BAD "*" BAD "*" BAD "*" BAD},
		{"C19 on", bytes("a\" NOOP\r\na%n%s NOOP\r\na( NOOP\r\n"), "*" BAD "*" BAD "*" BAD},
		{"C23", bytes("a XFOO bar\r\n"), "a" UNKNOWN},
		{"C25, but not the first line", bytes("GET / HTTP/1.1\r\n"), "GET" UNKNOWN},
	};

	(void)state;
	dialogue_check_usable(&dialogue_with_tls, cases, array_length(cases));
}

/* C25: other protocols end at their first line, and no word of it is repeated. */
static void test_not_imap(void **state)
{
	static const struct dialogue_case foreign[] = {
		{"C25 POST", bytes("POST / HTTP/1.1\r\nHost: x\r\nCookie: s=SECRET\r\n\r\n"), NULL},
		{"C25 GET", bytes("GET /index.html HTTP/1.0\r\n\r\n"), NULL},
		{"C25 get", bytes("get http://x/ HTTP/1.0\n\n"), NULL},
		{"C25 PUT", bytes("PUT /x HTTP/1.1\r\nHost: x\r\n"), NULL},
		{"C25 HEAD", bytes("HEAD / HTTP/1.1\r\n"), NULL},
		{"C25 OPTIONS", bytes("OPTIONS * HTTP/1.1\r\n"), NULL},
		{"C25 CONNECT", bytes("CONNECT x:443 HTTP/1.1\r\n"), NULL},
		{"C25 DELETE", bytes("DELETE / HTTP/1.1\r\n"), NULL},
		{"C25 PATCH", bytes("PATCH / HTTP/1.1\r\n"), NULL},
		{"C25 TRACE", bytes("TRACE / HTTP/1.1\r\n"), NULL},
		{"C25 EHLO", bytes("EHLO mail.example\r\nMAIL FROM:<a@b>\r\n"), NULL},
		{"C25 HELO", bytes("HELO x\r\n"), NULL},
		{"C25 TLS", bytes("\x16\x03\x01\x02"), NULL},
		{"C27 PROXY, version 1",
		 bytes("PROXY TCP4 192.0.2.1 192.0.2.2 1 143\r\na NOOP\r\n"), NULL},
		{"C25 NUL", bytes("\0"), NULL},
		{"C25 DEL", bytes("\x7f"), NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_length(foreign); i++) {
		dialogue_check(&dialogue_with_tls, foreign[i].name, foreign[i].input,
			       foreign[i].length, NOT_IMAP);
	}
	dialogue_check(&dialogue_with_tls, "a tag like any other", bytes("GET NOOP\r\nGET /\r\n"),
		       "GET" NOOP_OK "GET" UNKNOWN);
	dialogue_check(&dialogue_with_tls, "known command, wrong form",
		       bytes("POST NOOP x\r\nz NOOP\r\n"), "POST" BAD "z" NOOP_OK);
	dialogue_check(&dialogue_with_tls, "a bad line first", bytes("x\r\nGET /\r\n"),
		       "*" BAD "GET" UNKNOWN);
	dialogue_check(&dialogue_with_tls, "C16 first", bytes("\r\nz NOOP\r\n"),
		       "*" BAD "z" NOOP_OK);
	dialogue_check(&dialogue_with_tls, "C19 first", bytes("\xe9 NOOP\r\nz NOOP\r\n"),
		       "*" BAD "z" NOOP_OK);
	dialogue_check(&dialogue_with_tls, "C12 first", bytes(" a NOOP\r\nz NOOP\r\n"),
		       "*" BAD "z" NOOP_OK);
}

static void test_login(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C28", bytes("a LOGIN u1 pw\r\n"), U1 "a" NO},
		{"C29", bytes("a LOGIN \"u1\" \"p\\\"w\\\\x\"\r\n"), "[u1|-|p\"w\\x]a" NO},
		{"C30", bytes("a LOGIN {2}\r\nu1 {2}\r\npw\r\n"), "+ OK\n+ OK\n" U1 "a" NO},
		{"C31", bytes("a LOGIN {2+}\r\nu1 {2+}\r\npw\r\n"), U1 "a" NO},
		{"C32 aq", bytes("a LOGIN u1 \"pw\"\r\n"), U1 "a" NO},
		{"C32 al", bytes("a LOGIN u1 {2}\r\npw\r\n"), "+ OK\n" U1 "a" NO},
		{"C32 qa", bytes("a LOGIN \"u1\" pw\r\n"), U1 "a" NO},
		{"C32 ql", bytes("a LOGIN \"u1\" {2}\r\npw\r\n"), "+ OK\n" U1 "a" NO},
		{"C32 la", bytes("a LOGIN {2}\r\nu1 pw\r\n"), "+ OK\n" U1 "a" NO},
		{"C32 lq", bytes("a LOGIN {2+}\r\nu1 \"pw\"\r\n"), U1 "a" NO},
		{"C35", bytes("a LOGIN u1 {1000000}\r\n"), "a" TOO_BIG},
		{"C36", bytes("a LOGIN {-1}\r\nb LOGIN {}\r\nc LOGIN {1\r\nd LOGIN { 1}\r\n"),
		 "a" BAD "b" BAD "c" BAD "d" BAD},
		{"C36 on",
		 bytes("a LOGIN {1 }\r\nb LOGIN {0x2}\r\nc LOGIN {+}\r\nd LOGIN {1++}\r\n"),
		 "a" BAD "b" BAD "c" BAD "d" BAD},
		{"C36 last", bytes("a LOGIN {18446744073709551617}\r\n"), "a" TOO_BIG},
		{"C37", bytes("a LOGIN\r\nb LOGIN u1\r\nc LOGIN u1 pw x\r\n"),
		 "a" BAD "b" BAD "c" BAD},
		{"C38", bytes("a LOGIN (u1) pw\r\nb LOGIN u1 (pw)\r\n"), "a" BAD "b" BAD},
		{"C39", bytes("a LOGIN u\xc3\xa9 pw\r\n"), "a" BAD},
		{"C40", bytes("a LOGIN \"u1 pw\r\nb NOOP\r\n"), "a" BAD "b" NOOP_OK},
		{"C41", bytes("a LOGIN \"u\\1\" pw\r\nb LOGIN u1 \"p\\w\"\r\n"), "a" BAD "b" BAD},
		{"C42", bytes("a LOGIN \"\" pw\r\nb LOGIN {0+}\r\n pw\r\nc LOGIN u1 \"\"\r\n"),
		 "a" NO "b" NO "c" NO},
		{"C43", bytes("a LOGIN {2+}\r\nu1pw\r\n"), "a" BAD},
		{"C44", bytes("a LOGIN \"\xc3\xa9\" \"\xc3\xbc\"\r\n"),
		 "[\xc3\xa9|-|\xc3\xbc]a" NO},
		{"C44 literal", bytes("a LOGIN {2}\r\n\xc3\xa9 {2+}\r\n\xc3\xbc\r\n"),
		 "+ OK\n[\xc3\xa9|-|\xc3\xbc]a" NO},
		{"not UTF-8", bytes("a LOGIN \"\xe9\" pw\r\n"), "a" NO},
		{"control characters", bytes("a LOGIN \"u\x1b\" pw\r\nb LOGIN u1 {3+}\r\np\rw\r\n"),
		 "a" NO "b" NO},
		{"rule 1", bytes("a LOGIN \"u1 {8+}\r\nb NOOP\r\n x {2+}\r\ny \r\n"), "a" BAD},
		{"C77", bytes("a LOGIN u1 pw\r\nb LOGIN u2 px\r\n"), U1 "a" NO "[u2|-|px]b" NO},
	};

	(void)state;
	dialogue_check_usable(&dialogue_with_tls, cases, array_length(cases));
	dialogue_check(&dialogue_with_tls, "C36 +}",
		       bytes("a LOGIN {99999999999999999999+}\r\nz NOOP\r\n"), FATAL);
}

static void test_id(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C61 a", bytes("a ID NIL\r\n"), ID_REPLY "a" ID_OK},
		{"C61 b", bytes("b ID (\"name\" \"x\")\r\n"), ID_REPLY "b" ID_OK},
		{"C61 c", bytes("c ID (\"name\" {1}\r\nx)\r\n"), "+ OK\n" ID_REPLY "c" ID_OK},
		{"C61 bad", bytes("d ID (\"x\")\r\ne ID (x y\r\nf ID\r\n"),
		 "d" BAD "e" BAD "f" BAD},
		{"LOGIN behind", bytes("a ID NIL\r\nb LOGIN u1 pw\r\n"),
		 ID_REPLY "a" ID_OK U1 "b" NO},
	};

	(void)state;
	dialogue_check_usable(&dialogue_with_tls, cases, array_length(cases));
	dialogue_check_usable(&dialogue_without_tls, cases, 4);
}

/* C63: nothing is asked for, and right and wrong cannot be told apart. */
static void test_without_secrets(void **state)
{
	static const struct dialogue_case cases[] = {
		{"C03", bytes("a CAPABILITY\r\n"),
		 "* CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID LOGINDISABLED\na OK CAPABILITY "
		 "completed.\n"},
		{"C63 LOGIN", bytes("a LOGIN u1 pw\r\n"), "a" PRIVACY},
		{"C63 PLAIN", bytes("a AUTHENTICATE PLAIN AHUxAHB3\r\n"), "a" PRIVACY},
		{"no + for AUTHENTICATE", bytes("a AUTHENTICATE PLAIN\r\n"), "a" PRIVACY},
		{"no + for a literal", bytes("a LOGIN {2}\r\nb LOGIN u1 {2}\r\n"),
		 "a" PRIVACY "b" PRIVACY},
		{"swallowed", bytes("a LOGIN {9+}\r\nb NOOP\r\nx {9+}\r\nc NOOP\r\ny\r\n"),
		 "a" PRIVACY},
		{"C62", bytes("a AUTHENTICATE GSSAPI\r\n"), "a" PRIVACY},
		{"no STARTTLS here", bytes("a STARTTLS\r\n"), "a" NO_STARTTLS},
	};

	(void)state;
	dialogue_check_usable(&dialogue_without_tls, cases, array_length(cases));
}

static const struct dialogue with_starttls = {
	.front = {.starttls = true, .mechanisms = SASL_BIT(SASL_PLAIN)},
};

/* C64 to C70: what comes behind the line is left for TLS, and is no command. */
static void test_starttls(void **state)
{
	static const struct dialogue_case usable[] = {
		{"C04", bytes("a CAPABILITY\r\n"),
		 "* CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID STARTTLS LOGINDISABLED\n"
		 "a OK CAPABILITY completed.\n"},
		{"C63 LOGIN", bytes("a LOGIN u1 pw\r\nb LOGIN u1 {2}\r\n"),
		 "a" PRIVACY "b" PRIVACY},
		{"C63 swallowed", bytes("a LOGIN u1 {8+}\r\nb NOOP\r\n\r\n"), "a" PRIVACY},
		{"C63 PLAIN", bytes("a AUTHENTICATE PLAIN AHUxAHB3\r\n"), "a" PRIVACY},
		{"C63 no +", bytes("a AUTHENTICATE PLAIN\r\n"), "a" PRIVACY},
		{"C68", bytes("a STARTTLS x\r\nb STARTTLS \r\n"), "a" BAD "b" BAD},
		{"C68 literal", bytes("a STARTTLS {8+}\r\nb NOOP\r\n\r\n"), "a" BAD},
	};
	static const struct dialogue_case ends[] = {
		{"C64", bytes("a STARTTLS\r\n"), "a" BEGIN_TLS "(starttls )"},
		{"C64 letters", bytes("a starttls\n"), "a" BEGIN_TLS "(starttls )"},
		{"C66", bytes("a STARTTLS\r\nb NOOP\r\n"), "a" BEGIN_TLS "(starttls b NOOP\r\n)"},
		{"C68 and again", bytes("a STARTTLS x\r\nb STARTTLS\r\n"),
		 "a" BAD "b" BEGIN_TLS "(starttls )"},
		{"C69", bytes("a STARTTLS\r\n\x16\x03\x01"),
		 "a" BEGIN_TLS "(starttls \x16\x03\x01)"},
		{"C70", bytes("a STARTTLS\r\nb LOGIN u1 pw\r\n"),
		 "a" BEGIN_TLS "(starttls b LOGIN u1 pw\r\n)"},
	};

	(void)state;
	dialogue_check_usable(&with_starttls, usable, array_length(usable));
	for (size_t i = 0; i < array_length(ends); i++) {
		dialogue_check(&with_starttls, ends[i].name, ends[i].input, ends[i].length,
			       ends[i].expected);
	}
}

/* LOGIN is one more way to say a password: it goes where passwords go. */
static void test_login_disabled(void **state)
{
	static const struct dialogue tokens = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_TOKENS},
	};
	static const struct dialogue login_only = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_BIT(SASL_LOGIN)},
	};
	static const struct dialogue_case cases[] = {
		{"announced", bytes("a CAPABILITY\r\n"),
		 "* CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID LOGINDISABLED AUTH=XOAUTH2 "
		 "AUTH=OAUTHBEARER\na OK CAPABILITY completed.\n"},
		{"refused", bytes("a LOGIN u1 pw\r\nb LOGIN {2}\r\n"), "a" DISABLED "b" DISABLED},
		{"swallowed", bytes("a LOGIN {8+}\r\nb NOOP\r\n\r\n"), "a" DISABLED},
		{"PLAIN too", bytes("a AUTHENTICATE PLAIN AHUxAHB3\r\n"), "a" MECHANISM},
	};

	(void)state;
	dialogue_check_usable(&tokens, cases, array_length(cases));
	dialogue_check(&login_only, "by LOGIN alone", bytes("a LOGIN u1 pw\r\n"), U1 "a" NO);
}

struct change {
	const char *name;
	const char *before;
	struct capability_front front;
	const char *after;
	const char *expected;
};

/* The front may change while a command is on its way: what holds at its end counts. */
static void test_live_front(void **state)
{
	static const struct change changes[] = {
		{"LOGIN is disabled",
		 "a LOGIN u1 p",
		 {.secrets_allowed = true},
		 "w\r\n",
		 "a NO [CANNOT] LOGIN is disabled.\r\n"},
		{"before its name ends",
		 "a LOG",
		 {.secrets_allowed = true},
		 "IN u1 {2}\r\n",
		 "a NO [CANNOT] LOGIN is disabled.\r\n"},
		{"secrets are forbidden",
		 "a AUTHENTICATE PLAIN AHUx",
		 {0},
		 "AHB3\r\n",
		 "a NO [PRIVACYREQUIRED] Logging in needs TLS.\r\n"},
		{"no mechanism is left",
		 "a AUTHENTICATE PLAIN AHUx",
		 {.secrets_allowed = true},
		 "AHB3\r\n",
		 "a NO Unsupported authentication mechanism.\r\n"},
		{"more is announced",
		 "a CAPABI",
		 {true, true, SASL_TOKENS, "IDLE"},
		 "LITY\r\n",
		 "* CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID IDLE STARTTLS LOGINDISABLED "
		 "AUTH=XOAUTH2 AUTH=OAUTHBEARER\r\na OK CAPABILITY completed.\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(changes); i++) {
		struct dialogue dialogue = dialogue_with_tls;
		struct preauth *preauth = start(&dialogue);
		struct buffer input = {0};
		struct buffer reply = {0};

		buffer_append_text(&input, changes[i].before);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		dialogue.front = changes[i].front;
		buffer_append_text(&input, changes[i].after);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		buffer_append_byte(&reply, '\0');
		assert_string_equal((const char *)buffer_bytes(&reply), changes[i].expected);
		preauth_free(preauth);
		buffer_done(&input);
		buffer_done(&reply);
	}
}

/* C76: what stands behind a login is not touched while the login is pending. */
static void test_leaves_the_rest(void **state)
{
	static const char *const logins[] = {
		"a LOGIN u1 pw\r\n",
		"a LOGIN u1 {2+}\r\npw\r\n",
		"a AUTHENTICATE PLAIN AHUxAHB3\r\n",
		"a AUTHENTICATE PLAIN\r\nAHUxAHB3\r\n",
	};
	static const char rest[] = "b SELECT INBOX\r\nc FETCH 1 {5+}\r\n";

	(void)state;
	for (size_t i = 0; i < array_length(logins); i++) {
		struct preauth *preauth = start(&dialogue_with_tls);
		struct buffer input = {0};
		struct buffer reply = {0};

		buffer_append_text(&input, logins[i]);
		buffer_append_text(&input, rest);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_LOGIN);
		assert_int_equal(input.length, strlen(rest));
		assert_memory_equal(buffer_bytes(&input), rest, strlen(rest));
		assert_string_equal(preauth_tag(preauth), "a");
		assert_string_equal(preauth_credentials(preauth)->user, "u1");
		assert_false(preauth_asked_capability(preauth));
		preauth_free(preauth);
		buffer_done(&input);
		buffer_done(&reply);
	}
}

static void test_asked_capability(void **state)
{
	struct preauth *preauth = start(&dialogue_with_tls);
	struct buffer input = {0};
	struct buffer reply = {0};

	(void)state;
	buffer_append_text(&input, "a CAPABILITY x\r\n");
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
	assert_false(preauth_asked_capability(preauth));
	buffer_append_text(&input, "a CAPABILITY\r\nb LOGIN u1 pw\r\n");
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_LOGIN);
	assert_true(preauth_asked_capability(preauth));
	preauth_free(preauth);
	buffer_done(&input);
	buffer_done(&reply);
}

static void test_refusals(void **state)
{
	static const struct refusal plain = {NULL, "Go away."};
	static const struct refusal limit = {"LIMIT", "Too many."};
	struct preauth *preauth = start(&dialogue_with_tls);
	struct buffer input = {0};
	struct buffer reply = {0};

	(void)state;
	buffer_append_text(&input, "tag LOGIN u1 pw\r\nb NOOP\r\n");
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_LOGIN);
	preauth_refuse(preauth, &limit, &reply);
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
	preauth_bye(&plain, &reply);
	preauth_bye(&REFUSAL_UNAVAILABLE, &reply);
	buffer_append_byte(&reply, '\0');
	assert_string_equal((const char *)buffer_bytes(&reply),
			    "tag NO [LIMIT] Too many.\r\nb OK NOOP completed.\r\n"
			    "* BYE Go away.\r\n* BYE [UNAVAILABLE] The mail server cannot be "
			    "reached, try again later.\r\n");
	preauth_free(preauth);
	buffer_done(&input);
	buffer_done(&reply);
}

static void test_exhausted_memory(void **state)
{
	struct preauth *preauth = start(&dialogue_with_tls);
	struct buffer input = {0};
	struct buffer reply = {.failed = true};

	(void)state;
	buffer_append_text(&input, "a NOOP\r\n");
	assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
	assert_true(reply.failed);
	preauth_free(preauth);
	buffer_done(&input);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),        cmocka_unit_test(test_state),
		cmocka_unit_test(test_framing),         cmocka_unit_test(test_not_imap),
		cmocka_unit_test(test_login),           cmocka_unit_test(test_id),
		cmocka_unit_test(test_without_secrets), cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_login_disabled),  cmocka_unit_test(test_live_front),
		cmocka_unit_test(test_leaves_the_rest), cmocka_unit_test(test_asked_capability),
		cmocka_unit_test(test_refusals),        cmocka_unit_test(test_exhausted_memory),
	};

	return cmocka_run_group_tests_name("preauth", tests, NULL, NULL);
}
