/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login, as the conformance cases ask (C-numbers): each is fed whole, byte by
 * byte and in random pieces, must come to the same words, and leave the connection usable.
 */
#include "imap/preauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/command.h"
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

static void test_authenticate(void **state)
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
		{"C65", bytes("a STARTTLS\r\n"), "a" NO_STARTTLS},
	};

	(void)state;
	dialogue_check_usable(&dialogue_without_tls, cases, array_length(cases));
}

static void test_limits(void **state)
{
	static const struct dialogue_repeated cases[] = {
		{"C20", "", "t", 100000, " NOOP\r\nz NOOP\r\n", "*" BAD "z" NOOP_OK},
		{"line at its limit", "a XFOO ", "x", 8185, "\r\nz NOOP\r\n",
		 "a" UNKNOWN "z" NOOP_OK},
		{"LOGIN at the limit", "a LOGIN u ", "p", 4096, "\r\nz NOOP\r\n",
		 "[u|-|4096]a" NO "z" NOOP_OK},
		{"password past its limit", "a LOGIN u ", "p", 4097, "\r\nz NOOP\r\n",
		 "a" NO "z" NOOP_OK},
		{"line past its limit", "a LOGIN u ", "p", 8183, "\r\nz NOOP\r\n",
		 "a" TOO_LONG "z" NOOP_OK},
		{"C22", "a LOGIN ", "x LOGOUT ", 111111, "\r\nz NOOP\r\n", "a" BAD "z" NOOP_OK},
		{"C22 quoted", "a LOGIN \"", "x LOGOUT ", 111111, "\r\nz NOOP\r\n",
		 "a" TOO_LONG "z" NOOP_OK},
		{"C34", "a LOGIN u1 {4096+}\r\n", "p", 4096, "\r\nz NOOP\r\n",
		 "[u1|-|4096]a" NO "z" NOOP_OK},
		{"C34 past", "a LOGIN u1 {4097+}\r\n", "p", 4097, "\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
		{"C45", "a LOGIN u1 ", "p", 255, "\r\nz NOOP\r\n", "[u1|-|255]a" NO "z" NOOP_OK},
		{"C45 past", "a LOGIN ", "u", 1024, " pw\r\nz NOOP\r\n", "a" NO "z" NOOP_OK},
		{"C59", "a AUTHENTICATE PLAIN\r\n", "AAAA", 3000, "\r\nz NOOP\r\n",
		 "+ \na" NO "z" NOOP_OK},
		{"C59 as IR", "a AUTHENTICATE PLAIN ", "AAAA", 3000, "\r\nz NOOP\r\n",
		 "a" NO "z" NOOP_OK},
		{"C59 at the limit", "a AUTHENTICATE PLAIN\r\n", "AAAA", 32768 / 4,
		 "\r\nz NOOP\r\n", "+ \na" NO "z" NOOP_OK},
		{"C59 past it", "a AUTHENTICATE PLAIN\r\n", "AAAA", 32768 / 4, "A\r\nz NOOP\r\n",
		 "+ \na" TOO_LONG "z" NOOP_OK},
		{"C59 1 MB", "a AUTHENTICATE PLAIN\r\n", "b NOOP {9", 111111, "\r\nz NOOP\r\n",
		 "+ \na" TOO_LONG "z" NOOP_OK},
		{"C61 (", "a ID ", "(", 1000000, "\r\nz NOOP\r\n", "a" BAD "z" NOOP_OK},
		{"C61 pairs", "a ID (", "\"a\" \"b\" ", 100000, "\r\nz NOOP\r\n",
		 "a" BAD "z" NOOP_OK},
		{"C61 31 pairs", "a ID (\"a\" \"b\"", " \"a\" \"b\"", 30, ")\r\nz NOOP\r\n",
		 "a" BAD "z" NOOP_OK},
		{"C21", "a ID (\"name\" \"", "v", 1000, "\")\r\nz NOOP\r\n",
		 ID_REPLY "a" ID_OK "z" NOOP_OK},
		{"C61 value", "a ID (\"name\" \"", "v", 1025, "\")\r\nz NOOP\r\n",
		 "a" TOO_BIG "z" NOOP_OK},
	};

	(void)state;
	dialogue_check_repeated(&dialogue_with_tls, cases, array_length(cases));
}

/* C20, C21: a long tag comes back whole, a long ID line is taken. */
static void test_long_but_right(void **state)
{
	struct buffer input = {0};
	char tag[COMMAND_TAG_MAX + 1] = {0};
	char expected[COMMAND_TAG_MAX + 64];

	(void)state;
	memset(tag, 't', COMMAND_TAG_MAX);
	buffer_append_text(&input, tag);
	buffer_append_text(&input, " NOOP\r\n");
	snprintf(expected, sizeof(expected), "%s" NOOP_OK, tag);
	dialogue_check(&dialogue_with_tls, "C20", buffer_bytes(&input), input.length, expected);
	buffer_truncate(&input, 0);

	buffer_append_text(&input, "a ID (");
	for (int i = 0; i < 8; i++) {
		buffer_printf(&input, "%s\"f%d\" \"%0990d\"", i > 0 ? " " : "", i, i);
	}
	buffer_append_text(&input, ")\r\n");
	assert_true(input.length > 7900 && input.length < 8192);
	dialogue_check(&dialogue_with_tls, "C21", buffer_bytes(&input), input.length,
		       ID_REPLY "a" ID_OK);
	buffer_done(&input);
}

/* C45: a user name of 255 octets in each form. */
static void test_longest_names(void **state)
{
	static const struct {
		const char *head;
		const char *rest;
		const char *go_ahead;
	} forms[] = {
		{"a LOGIN ", " pw\r\n", ""},
		{"a LOGIN \"", "\" pw\r\n", ""},
		{"a LOGIN {255}\r\n", " pw\r\n", "+ OK\n"},
	};
	char user[CREDENTIALS_USER_MAX + 1] = {0};

	(void)state;
	memset(user, 'u', CREDENTIALS_USER_MAX);
	for (size_t i = 0; i < array_length(forms); i++) {
		char input[512];
		char expected[512];

		snprintf(input, sizeof(input), "%s%s%s", forms[i].head, user, forms[i].rest);
		snprintf(expected, sizeof(expected), "%s[%s|-|pw]a" NO, forms[i].go_ahead, user);
		dialogue_check(&dialogue_with_tls, "C45", input, strlen(input), expected);
	}
}

/* C26 */
static void test_abuse(void **state)
{
	static const struct dialogue_repeated cases[] = {
		{"nine in a row", "", "a\r\n", 9, "z NOOP\r\n",
		 "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD
		 "z" NOOP_OK},
		{"ten in a row", "", "a\r\n", 20, "z NOOP\r\n",
		 "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD "*" BAD
		 "*" BAD ABUSE},
		{"what cannot be a login counts", "", "a LOGIN \"\" x\r\n", 20, "",
		 "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO "a" NO ABUSE},
		{"bad base64 counts", "", "a AUTHENTICATE PLAIN x\r\n", 10, "",
		 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64 "a" BASE64
		 "a" BASE64 "a" BASE64 "a" BASE64 ABUSE},
	};
	struct buffer input = {0};
	struct buffer expected = {0};

	(void)state;
	dialogue_check_repeated(&dialogue_with_tls, cases, array_length(cases));

	/* A good command between them begins a new row, but all are counted. */
	for (int i = 0; i < 30; i++) {
		buffer_append_text(&input, "b XFOO\r\nc NOOP\r\n");
		buffer_append_text(&expected, "b" UNKNOWN);
		buffer_append_text(&expected, i < 30 - 1 ? "c" NOOP_OK : ABUSE);
	}
	buffer_append_byte(&expected, '\0');
	dialogue_check(&dialogue_with_tls, "thirty in all", buffer_bytes(&input), input.length,
		       (const char *)buffer_bytes(&expected));
	buffer_done(&input);
	buffer_done(&expected);
}

/* C54, C106: cancelling, and logins that the session refuses, are no abuse. */
static void test_not_abuse(void **state)
{
	static const char *const rounds[] = {
		"a AUTHENTICATE PLAIN\r\n*\r\n",
		"a LOGIN u1 pw\r\n",
		"a AUTHENTICATE FOO\r\n",
	};
	static const char *const answers[] = {"+ \na" CANCELLED, U1 "a" NO, "a" MECHANISM};

	(void)state;
	for (size_t i = 0; i < array_length(rounds); i++) {
		struct buffer input = {0};
		struct buffer expected = {0};

		for (int round = 0; round < 500; round++) {
			buffer_append_text(&input, rounds[i]);
			buffer_append_text(&expected, answers[i]);
		}
		buffer_append_byte(&expected, '\0');
		dialogue_check(&dialogue_with_tls, rounds[i], buffer_bytes(&input), input.length,
			       (const char *)buffer_bytes(&expected));
		buffer_done(&input);
		buffer_done(&expected);
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

struct ttl_case {
	const char *input;
	bool told;
	unsigned ttl;
};

/* C98: how a proxy in front of us keeps a login from going round for ever. */
static void test_proxy_ttl(void **state)
{
	static const struct ttl_case cases[] = {
		{"a NOOP\r\n", false, 7},
		{"a ID NIL\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"3\")\r\n", true, 3},
		{"a ID (\"name\" \"x\" \"X-Proxy-TTL\" \"0\")\r\n", true, 0},
		{"a ID (\"x-proxy-ttl\" \"9999\")\r\n", true, 9999},
		{"a ID (\"x-proxy-ttl\" \"10000\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"-1\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"\")\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" NIL)\r\n", false, 7},
		{"a ID (\"x-proxy-ttl\" \"2\")\r\nb ID NIL\r\n", true, 2},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct preauth *preauth = start(&dialogue_with_tls);
		struct buffer input = {0};
		struct buffer reply = {0};
		unsigned ttl = 7;

		buffer_append_text(&input, cases[i].input);
		assert_int_equal(preauth_feed(preauth, &input, &reply), PREAUTH_MORE);
		assert_int_equal(preauth_proxy_ttl(preauth, &ttl), cases[i].told);
		assert_int_equal(ttl, cases[i].ttl);
		preauth_free(preauth);
		buffer_done(&input);
		buffer_done(&reply);
	}
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
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_not_imap),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_authenticate),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_without_secrets),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_long_but_right),
		cmocka_unit_test(test_longest_names),
		cmocka_unit_test(test_abuse),
		cmocka_unit_test(test_not_abuse),
		cmocka_unit_test(test_leaves_the_rest),
		cmocka_unit_test(test_asked_capability),
		cmocka_unit_test(test_proxy_ttl),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_exhausted_memory),
	};

	return cmocka_run_group_tests_name("preauth", tests, NULL, NULL);
}
