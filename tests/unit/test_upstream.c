/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogues with scripted backends: what the proxy says at each turn, the verdict, and what the
 * client gets. Every script also runs whole, byte by byte and at random cuts.
 */
#include "imap/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "support/chunks.h"

#define TURNS_MAX 8

/* What a dialogue has that differs from u1/pw, no ID, no question after the login. */
enum { IDENTITY = 1, ASK = 2, UNTAGGED = 4, BARE_IDENTITY = 8 };

/* `say` is the backend's, `sent` what the proxy must answer at once to it. */
struct turn {
	const char *say;
	const char *sent;
};

/* `client` is what the client reads after READY (under the tag "a"), or `NO [CODE] TEXT`; `left` is
 * the input that must remain. */
struct dialogue {
	const char *name;
	unsigned flags;
	const char *user;
	const char *owner;
	const char *password;
	struct turn turns[TURNS_MAX];
	enum upstream_verdict verdict;
	const char *client;
	const char *left;
};

#define GREETING    "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN LOGIN-REFERRALS] ready\r\n"
#define PLAIN       "G1 AUTHENTICATE PLAIN AHUxAHB3\r\n"
#define LOGIN       "G1 LOGIN \"u1\" \"pw\"\r\n"
#define CREDENTIALS "NO [AUTHENTICATIONFAILED] Authentication failed."
#define ID_ARGUMENTS                                                                               \
	" ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"40001\" "                \
	"\"x-connected-ip\" \"2001:db8::1\" \"x-connected-port\" \"993\" "                         \
	"\"x-session-id\" \"s-1 \\\"q\\\"\" \"x-proxy-ttl\" \"4\")\r\n"

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

#define BARE_ARGUMENTS                                                                             \
	" ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"0\" "                    \
	"\"x-connected-port\" \"0\" \"x-proxy-ttl\" \"4\")\r\n"

/* Only the beginning of the two fixed answers is looked at: their words may be improved. */
#define UNAVAILABLE "NO [UNAVAILABLE] "
#define SERVERBUG   "NO [SERVERBUG] "

static const struct dialogue dialogues[] = {
	{.name = "C28 initial response where the backend takes it",
	 .turns = {{GREETING, PLAIN}, {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C73 the list in the tagged OK is filtered",
	 .turns = {{GREETING, PLAIN},
		   {"G1 OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED "
		    "UNAUTHENTICATE LOGIN-REFERRALS IDLE X] hi\r\n",
		    ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"},
	{.name = "C73 untagged for a client that asked before",
	 .flags = UNTAGGED,
	 .turns = {{GREETING, PLAIN}, {"G1 OK [CAPABILITY IMAP4rev1 STARTTLS IDLE] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "* CAPABILITY IMAP4rev1 IDLE\r\na OK hi\r\n"},
	{.name = "C73 nothing left of the list",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [CAPABILITY STARTTLS] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C74 the untagged list goes into the OK",
	 .flags = ASK,
	 .turns = {{GREETING, PLAIN},
		   {"* CAPABILITY IMAP4rev1 OLD\r\n", ""},
		   {"* CAPABILITY IMAP4rev1 AUTH=PLAIN IDLE\r\n", ""},
		   {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"},
	{.name = "C74 the untagged list stays one beside another code",
	 .turns = {{GREETING, PLAIN},
		   {"* capability IMAP4rev1 IDLE\r\n", ""},
		   {"G1 OK [APPENDLIMIT 5] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "* CAPABILITY IMAP4rev1 IDLE\r\na OK [APPENDLIMIT 5] hi\r\n"},
	{.name = "C74 the list of the tagged OK is the last word",
	 .turns = {{GREETING, PLAIN},
		   {"* CAPABILITY IMAP4rev1 OLD\r\n", ""},
		   {"G1 OK [CAPABILITY IMAP4rev1 NEW] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 NEW] hi\r\n"},
	{.name = "C74 a list from before the login is not the client's",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", ""},
		   {"G1 OK done\r\n", "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G2 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C74 a list from before the credentials is not the client's",
	 .flags = IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] hi\r\n", "G1" ID_ARGUMENTS},
		   {"* CAPABILITY IMAP4rev1 EARLY\r\nG1 OK\r\n", "G2 AUTHENTICATE PLAIN\r\n"},
		   {"* CAPABILITY IMAP4rev1 LATER\r\n+ \r\n", "AHUxAHB3\r\n"},
		   {"G2 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C75 asked after the login",
	 .flags = ASK,
	 .turns = {{GREETING, PLAIN},
		   {"G1 OK hi\r\n", "G2 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1 IDLE STARTTLS\r\n* 3 EXISTS\r\n", ""},
		   {"G2 OK done\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"},
	{.name = "C75 asked in vain",
	 .flags = ASK,
	 .turns = {{GREETING, PLAIN}, {"G1 OK hi\r\n", "G2 CAPABILITY\r\n"}, {"G2 BAD no\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C75 not asked where the OK has the list",
	 .flags = ASK,
	 .turns = {{GREETING, PLAIN}, {"G1 OK [CAPABILITY IMAP4rev1 X] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1 X] hi\r\n"},
	{.name = "C76 what follows the tagged OK is the client's",
	 .turns = {{GREETING, PLAIN}, {"G1 OK hi\r\n* 5 EXISTS\r\nG1 OK again\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n",
	 .left = "* 5 EXISTS\r\nG1 OK again\r\n"},
	{.name = "C78 ID leaves with the login, and its reply is ours",
	 .flags = IDENTITY,
	 .turns = {{GREETING, "G1" ID_ARGUMENTS "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"* ID (\"name\" \"x\")\r\nG1 OK ID done\r\n", ""},
		   {"G2 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C78 ID with what there is",
	 .flags = BARE_IDENTITY,
	 .turns = {{GREETING, "G1" BARE_ARGUMENTS "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G1 OK\r\nG2 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C78 ID answered NO",
	 .flags = IDENTITY,
	 .turns = {{GREETING, "G1" ID_ARGUMENTS "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G1 NO [NOPERM] who are you\r\nG2 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C78 ID answered behind the login",
	 .flags = IDENTITY,
	 .turns = {{GREETING, "G1" ID_ARGUMENTS "G2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G2 OK hi\r\n", ""},
		   {"* ID NIL\r\n", ""},
		   {"G1 BAD what\r\n* 1 EXISTS\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n",
	 .left = "* 1 EXISTS\r\n"},
	{.name = "C78 ID goes ahead of a login that must wait",
	 .flags = IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN] hi\r\n", "G1" ID_ARGUMENTS},
		   {"+ not for you\r\n", ""},
		   {"G1 BAD no\r\n", "G2 AUTHENTICATE PLAIN\r\n"},
		   {"+ \r\n", "AHUxAHB3\r\n"},
		   {"G2 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C78 no ID to a backend that does not list it",
	 .flags = IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 XID] hi\r\n", LOGIN}, {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C98 another gatepost hears of the round, and of nothing else",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] gatepost ready\r\n",
		    "G1 ID (\"x-proxy-ttl\" \"4\")\r\nG2 AUTHENTICATE PLAIN AHUxAHB3\r\n"},
		   {"G1 OK\r\nG2 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C79 AUTHENTICATE PLAIN waits for its `+`",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "G1 AUTHENTICATE PLAIN\r\n"},
		   {"+\r\n", "AHUxAHB3\r\n"},
		   {"+ again\r\n", ""},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C81 quoted where nothing better is there",
	 .password = "a b\"c\\d",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1] hi\r\n", "G1 LOGIN \"u1\" \"a b\\\"c\\\\d\"\r\n"},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C44 octets above 7 bits are a literal that waits",
	 .user = "\xc3\xa9",
	 .password = "\xc3\xbc",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1] hi\r\n", "G1 LOGIN {2}\r\n"},
		   {"* 1 EXISTS\r\n", ""},
		   {"+ go\r\n", "\xc3\xa9 {2}\r\n"},
		   {"+ go\r\n", "\xc3\xbc\r\n"},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C82 a literal leaves at once under LITERAL-",
	 .password = "\xc3\xbc",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 LITERAL-] hi\r\n",
		    "G1 LOGIN \"u1\" {2+}\r\n\xc3\xbc\r\n"},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "C83 the name as typed",
	 .user = "U1@Example.ORG",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1] hi\r\n", "G1 LOGIN \"U1@Example.ORG\" \"pw\"\r\n"},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "the owner goes along in PLAIN",
	 .owner = "o",
	 .turns = {{GREETING, "G1 AUTHENTICATE PLAIN bwB1MQBwdw==\r\n"}, {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "the owner is never dropped",
	 .flags = IDENTITY,
	 .owner = "o",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 SASL-IR ID] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "LOGINDISABLED with a way in",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR] hi\r\n", PLAIN},
		   {"G1 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "LOGINDISABLED without a way in",
	 .flags = IDENTITY,
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED ID] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "IMAP4rev2 alone is IMAP too, letters folded",
	 .turns = {{"* ok [capability imap4REV2] hi\r\n", LOGIN}, {"G1 ok\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK Logged in.\r\n"},
	{.name = "the list of a tagged reply to CAPABILITY counts",
	 .turns = {{"* OK\r\n", "G1 CAPABILITY\r\n"},
		   {"G1 OK [CAPABILITY IMAP4rev1] done\r\n", "G2 LOGIN \"u1\" \"pw\"\r\n"},
		   {"G2 OK in\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n"},
	{.name = "a second greeting does not matter",
	 .turns = {{"* OK Waiting for authentication process to respond..\r\n",
		    "G1 CAPABILITY\r\n"},
		   {GREETING, ""},
		   {"* CAPABILITY IMAP4rev1\r\nG1 OK done\r\n", "G2 LOGIN \"u1\" \"pw\"\r\n"}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C86 silence before the greeting", .turns = {{"", ""}}, .verdict = UPSTREAM_MORE},
	{.name = "C86 silence after the greeting",
	 .turns = {{GREETING, PLAIN}},
	 .verdict = UPSTREAM_MORE},
	{.name = "C88 SMTP",
	 .turns = {{"220 smtp\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 POP3",
	 .turns = {{"+OK pop\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 a continuation",
	 .turns = {{"+ OK\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 BAD",
	 .turns = {{"* BAD x\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 an empty line",
	 .turns = {{"\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 not rev1",
	 .turns = {{"* OK [CAPABILITY IMAP4] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 not rev1 when asked",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4\r\nG1 OK done\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 no answer to CAPABILITY",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"}, {"G1 BAD what\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 a list, but NO",
	 .turns = {{"* OK hi\r\n", "G1 CAPABILITY\r\n"},
		   {"* CAPABILITY IMAP4rev1\r\nG1 NO not now\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 a tagged line",
	 .turns = {{"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C88 binary",
	 .turns = {{"\x16\x03\x01\x02\x0a\x80\xff\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "PREAUTH is somebody else's session",
	 .turns = {{"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "greeted with BYE",
	 .turns = {{"* BYE too busy\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "C89 AUTHENTICATIONFAILED: fixed bytes",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [AUTHENTICATIONFAILED] no such user u1\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = CREDENTIALS},
	{.name = "C89 NO without a code: fixed bytes",
	 .turns = {{GREETING, PLAIN}, {"G1 NO no such user u1\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = CREDENTIALS},
	{.name = "C89 NO and nothing else",
	 .turns = {{GREETING, PLAIN}, {"G1 no\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = CREDENTIALS},
	{.name = "C89 an unknown code",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [X-HOST 10.1.2.3] away\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = CREDENTIALS},
	{.name = "C89 AUTHORIZATIONFAILED",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [authorizationfailed] not yours\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [AUTHORIZATIONFAILED] not yours"},
	{.name = "C89 EXPIRED",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [EXPIRED] renew\x1b\xc3\xa9 it\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [EXPIRED] renew??? it"},
	{.name = "C89 CONTACTADMIN",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [CONTACTADMIN] call 5\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [CONTACTADMIN] call 5"},
	{.name = "C89 LIMIT",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [LIMIT] too many\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [LIMIT] too many"},
	{.name = "C89 NOPERM",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [NOPERM] not by IMAP\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [NOPERM] not by IMAP"},
	{.name = "C89 ALERT",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [ALERT] pay\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = "NO [ALERT] pay"},
	{.name = "C89 UNAVAILABLE",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [UNAVAILABLE] LDAP is away\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = "NO [UNAVAILABLE] LDAP is away"},
	{.name = "C89 INUSE",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [INUSE] locked\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = "NO [INUSE] locked"},
	{.name = "C89 PRIVACYREQUIRED, no text",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [PRIVACYREQUIRED]\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = "NO [PRIVACYREQUIRED] The mail server refused the login."},
	{.name = "C89 SERVERBUG",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [SERVERBUG] at line 5\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C89 NO to the start of AUTHENTICATE",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "G1 AUTHENTICATE PLAIN\r\n"},
		   {"G1 NO [UNAVAILABLE] later\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = "NO [UNAVAILABLE] later"},
	{.name = "C89 NO instead of a literal's `+`",
	 .password = "\xc3\xbc",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1] hi\r\n", "G1 LOGIN \"u1\" {2}\r\n"},
		   {"G1 NO too long\r\n", ""}},
	 .verdict = UPSTREAM_REFUSED,
	 .client = CREDENTIALS},
	{.name = "C90 BAD",
	 .turns = {{GREETING, PLAIN}, {"G1 BAD what\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C90 BAD instead of a `+`",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "G1 AUTHENTICATE PLAIN\r\n"},
		   {"G1 BAD what\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "OK before the credentials is no login",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "G1 AUTHENTICATE PLAIN\r\n"},
		   {"G1 OK already in\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = SERVERBUG},
	{.name = "C91 NO with a referral",
	 .turns = {{GREETING, PLAIN}, {"G1 NO [REFERRAL imap://u1@10.1.2.3/] moved\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "C91 OK with a referral",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [REFERRAL imap://u1@10.1.2.3/] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK Logged in.\r\n"},
	{.name = "C91 a referral with a bracket in its URL",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [REFERRAL imap://[fd00::7]/secret] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK Logged in.\r\n"},
	{.name = "C92 untagged lines before the tagged OK",
	 .turns = {{GREETING, PLAIN},
		   {"* OK [ALERT] hello\x07\r\n* LIST () \"/\" x\r\n* 5 EXISTS\r\n", ""},
		   {"* OK [PARSE] psst\r\n* OK fine\r\n* NO [ALERT] disk\r\n* BAD hm\r\n", ""},
		   {"* BYE soon\r\nG1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "* OK [ALERT] hello?\r\na OK hi\r\n"},
	{.name = "C92 at most four alerts",
	 .turns = {{GREETING, PLAIN},
		   {"* OK [ALERT] 1\r\n* OK [ALERT] 2\r\n* OK [ALERT]\r\n* OK [ALERT] 3\r\n", ""},
		   {"* OK [ALERT] 4\r\n* OK [ALERT] 5\r\nG1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "* OK [ALERT] 1\r\n* OK [ALERT] 2\r\n* OK [ALERT] 3\r\n* OK [ALERT] 4\r\n"
		   "a OK hi\r\n"},
	{.name = "C92 octets of a literal are no lines",
	 .turns = {{GREETING, PLAIN},
		   {"* LIST () \"/\" {13}\r\nG1 OK owned\r\n\r\n", ""},
		   {"* X {0}\r\n {10}\r\nG1 NO x\r\n\r\r\n", ""},
		   {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi\r\n"},
	{.name = "C92 braces in a text are no literal",
	 .turns = {{GREETING, PLAIN}, {"* OK free {9}\r\nG1 OK hi {3}\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK hi {3}\r\n"},
	{.name = "BYE before the credentials were asked for",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "G1 AUTHENTICATE PLAIN\r\n"},
		   {"* BYE going\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "rule 17: whole tags only",
	 .turns = {{GREETING, PLAIN}, {"G11 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "rule 17: not a part of the tag",
	 .turns = {{GREETING, PLAIN}, {"G OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "a login answered twice",
	 .flags = ASK,
	 .turns = {{GREETING, PLAIN}, {"G1 OK hi\r\n", "G2 CAPABILITY\r\n"}, {"G1 OK hi\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "no IMAP in the middle",
	 .turns = {{GREETING, PLAIN}, {"hello\r\n", ""}},
	 .verdict = UPSTREAM_FAILED,
	 .client = UNAVAILABLE},
	{.name = "C104 control characters in the OK",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [X \x01] h\ri\x1b\xc3\xa9\x7f\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [X ?] h?i?\xc3\xa9?\r\n"},
	{.name = "C104 a list of more than atoms",
	 .turns = {{GREETING, PLAIN},
		   {"G1 OK [CAPABILITY IMAP4rev1 A\rB (C {3} \xc3\xa9] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY IMAP4rev1] hi\r\n"},
	{.name = "a code that is not closed is not passed on",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [CAPABILITY IMAP4rev1 STARTTLS\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK Logged in.\r\n"},
	{.name = "a code behind two spaces is not passed on",
	 .turns = {{GREETING, PLAIN}, {"G1 OK  [CAPABILITY STARTTLS] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK Logged in.\r\n"},
	{.name = "a second code is not passed on",
	 .turns = {{GREETING, PLAIN}, {"G1 OK [CAPABILITY A] [CAPABILITY STARTTLS] hi\r\n", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK [CAPABILITY A] Logged in.\r\n"},
	{.name = "lines that end in LF alone",
	 .turns = {{"* OK [CAPABILITY IMAP4rev1] hi\n", LOGIN}, {"* 1 EXISTS\nG1 OK in\nx", ""}},
	 .verdict = UPSTREAM_READY,
	 .client = "a OK in\r\n",
	 .left = "x"},
};

/* One run of a dialogue. */
struct run {
	const struct dialogue *dialogue;
	struct credentials credentials;
	struct upstream *upstream;
	struct buffer input;
	struct buffer output;
	enum upstream_verdict verdict;
};

static const char * or (const char *text, const char *otherwise)
{
	return text != NULL ? text : otherwise;
}

static void run_begin(void *context)
{
	struct run *run = context;
	const struct dialogue *dialogue = run->dialogue;
	const char *user = or (dialogue->user, "u1");
	const char *owner = or (dialogue->owner, "");
	const char *password = or (dialogue->password, "pw");
	struct credentials_claim claim = {
		.user = user,
		.user_length = strlen(user),
		.owner = owner,
		.owner_length = strlen(owner),
		.password = password,
		.password_length = strlen(password),
	};
	struct upstream_settings settings = {
		.credentials = &run->credentials,
		.proxy_ttl = 4,
		.identity = dialogue->flags & IDENTITY        ? &identity
			    : dialogue->flags & BARE_IDENTITY ? &bare_identity
							      : NULL,
		.ask_capability = dialogue->flags & ASK,
	};

	assert_int_equal(credentials_set(&run->credentials, &claim), CREDENTIALS_FINE);
	run->upstream = upstream_new(&settings);
	assert_non_null(run->upstream);
	run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
	assert_int_equal(run->verdict, UPSTREAM_MORE);
	assert_int_equal(run->output.length, 0);
	assert_false(upstream_greeted(run->upstream));
}

static void run_feed(void *context, const void *bytes, size_t length)
{
	struct run *run = context;

	buffer_append(&run->input, bytes, length);
	if (run->verdict == UPSTREAM_MORE) {
		run->verdict = upstream_feed(run->upstream, &run->input, &run->output);
		if (run->verdict == UPSTREAM_MORE) {
			assert_int_equal(run->input.length, 0);
		}
	}
}

static void append_buffer(struct buffer *out, const struct buffer *bytes)
{
	buffer_append(out, buffer_bytes(bytes), bytes->length);
}

static void append_result(const struct run *run, struct buffer *outcome)
{
	struct refusal refusal;

	if (run->verdict == UPSTREAM_READY) {
		upstream_write_ready(run->upstream, "a", run->dialogue->flags & UNTAGGED, outcome);
		buffer_append_text(outcome, "left: ");
		append_buffer(outcome, &run->input);
	} else if (run->verdict != UPSTREAM_MORE) {
		refusal = upstream_refusal(run->upstream);
		buffer_printf(outcome, "NO [%s] %s", refusal.code, refusal.text);
		buffer_append_text(outcome, "\nreason: ");
		buffer_append_text(outcome, upstream_reason(run->upstream));
	}
}

static void run_end(void *context, struct buffer *outcome)
{
	struct run *run = context;

	if (outcome != NULL) {
		append_buffer(outcome, &run->output);
		buffer_printf(outcome, "\nverdict: %d\n", run->verdict);
		append_result(run, outcome);
	}
	upstream_free(run->upstream);
	credentials_done(&run->credentials);
	buffer_done(&run->input);
	buffer_done(&run->output);
	*run = (struct run){.dialogue = run->dialogue};
}

static void check_text(const char *name, const char *what, const struct buffer *got,
		       const char *wanted)
{
	if (got->length != strlen(wanted) || memcmp(buffer_bytes(got), wanted, got->length) != 0) {
		fail_msg("%s: %s: expected\n%s\ngot\n%.*s", name, what, wanted, (int)got->length,
			 (const char *)buffer_bytes(got));
	}
}

/* A fixed answer is compared up to the end of `wanted`; one that a user reads, as a whole. */
static void check_result(const struct run *run)
{
	const struct dialogue *dialogue = run->dialogue;
	struct buffer result = {0};
	bool prefix_only;

	assert_int_equal(run->verdict, dialogue->verdict);
	if (run->verdict == UPSTREAM_READY) {
		upstream_write_ready(run->upstream, "a", dialogue->flags & UNTAGGED, &result);
		check_text(dialogue->name, "input left", &run->input, or (dialogue->left, ""));
	} else if (run->verdict != UPSTREAM_MORE) {
		struct refusal refusal = upstream_refusal(run->upstream);

		buffer_printf(&result, "NO [%s] %s", refusal.code, refusal.text);
		assert_true(strlen(upstream_reason(run->upstream)) > 10);
	}
	prefix_only = dialogue->client != NULL && (strcmp(dialogue->client, UNAVAILABLE) == 0 ||
						   strcmp(dialogue->client, SERVERBUG) == 0);
	if (prefix_only) {
		assert_true(result.length > strlen(dialogue->client));
		buffer_truncate(&result, strlen(dialogue->client));
	}
	check_text(dialogue->name, "client", &result, or (dialogue->client, ""));
	buffer_done(&result);
}

static void run_turns(struct run *run)
{
	const struct dialogue *dialogue = run->dialogue;

	run_begin(run);
	for (size_t i = 0; i < TURNS_MAX && dialogue->turns[i].say != NULL; i++) {
		const struct turn *turn = &dialogue->turns[i];

		if (run->verdict != UPSTREAM_MORE) {
			fail_msg("%s: over before turn %zu", dialogue->name, i);
		}
		run_feed(run, turn->say, strlen(turn->say));
		check_text(dialogue->name, turn->say, &run->output, turn->sent);
		buffer_consume(&run->output, run->output.length);
		assert_int_equal(upstream_greeted(run->upstream),
				 strchr(dialogue->turns[0].say, '\n') != NULL &&
					 (i > 0 || turn->sent[0] != '\0'));
	}
	check_result(run);
	run_end(run, NULL);
}

static void run_cuts(struct run *run)
{
	const struct dialogue *dialogue = run->dialogue;
	struct chunks_subject subject = {run_begin, run_feed, run_end, run};
	struct buffer script = {0};

	for (size_t i = 0; i < TURNS_MAX && dialogue->turns[i].say != NULL; i++) {
		buffer_append_text(&script, dialogue->turns[i].say);
	}
	chunks_check(&subject, dialogue->name, buffer_bytes(&script), script.length, NULL);
	buffer_done(&script);
}

static void test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(dialogues); i++) {
		struct run run = {.dialogue = &dialogues[i]};

		run_turns(&run);
		run_cuts(&run);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
