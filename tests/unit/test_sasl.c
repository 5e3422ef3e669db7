/* SPDX-License-Identifier: Apache-2.0
 *
 * Mechanisms: their names, what a backend offers of them, and their messages, read and written.
 */
#include "imap/sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "support/canary.h"

#define bytes(text) text, sizeof(text) - 1

static void test_names(void **state)
{
	static const char *const none[] = {
		"",          "PLAI",   "PLAINX", "SCRAM-SHA-256-PLUS",
		"SCRAM-SHA", "XOAUTH", "OAUTH",  "CRAM-MD5",
		"ANONYMOUS", "PLAIN ", "GSSAPI", "SCRAM-SHA-1-PLUS",
	};
	enum sasl_mechanism found = SASL_EXTERNAL;

	(void)state;
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		const char *name = sasl_name((enum sasl_mechanism)i);

		assert_true(sasl_find(name, strlen(name), &found));
		assert_int_equal(found, i);
	}
	assert_string_equal(sasl_name(SASL_SCRAM_SHA_256), "SCRAM-SHA-256");
	/* C49 */
	assert_true(sasl_find("pLaIn", 5, &found));
	assert_int_equal(found, SASL_PLAIN);
	found = SASL_EXTERNAL;
	for (size_t i = 0; i < array_length(none); i++) {
		assert_false(sasl_find(none[i], strlen(none[i]), &found));
		assert_int_equal(found, SASL_EXTERNAL);
	}
}

static void test_offered(void **state)
{
	static const struct {
		const char *list;
		unsigned offered;
	} cases[] = {
		{"", 0},
		{"IMAP4rev1 SASL-IR LOGINDISABLED PLAIN", 0},
		{"IMAP4rev1 AUTH=PLAIN IDLE AUTH=LOGIN", SASL_PASSWORDS},
		{"auth=plain Auth=xoauth2  AUTH=OAUTHBEARER ", SASL_BIT(SASL_PLAIN) | SASL_TOKENS},
		{"AUTH=EXTERNAL AUTH=CRAM-MD5 AUTH= AUTH=GSSAPI", SASL_BIT(SASL_EXTERNAL)},
		{"AUTH=PLAINX XAUTH=PLAIN AUTH", 0},
		{"AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-512", SASL_EXCHANGES},
		{"AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-1-PLUS", 0},
		{"AUTH=SCRAM-SHA-256-plus AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1 AUTH=PLAIN",
		 SASL_BIT(SASL_PLAIN)},
		{"AUTH=SCRAM-SHA-1 AUTH=PLUS AUTH=-PLUS AUTH=XPLUS",
		 SASL_BIT(SASL_SCRAM_SHA_1)},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		assert_int_equal(sasl_offered(cases[i].list, strlen(cases[i].list)),
				 cases[i].offered);
	}
	assert_int_equal(SASL_ALL, 0xFF);
}

struct row {
	const char *message;
	size_t length;
	enum credentials_fault fault;
	const char *user;
	const char *owner;
	const char *secret;
};

#define MALFORMED CREDENTIALS_MALFORMED, NULL, NULL, NULL
#define EMPTY     CREDENTIALS_EMPTY, NULL, NULL, NULL

static void check_rows(enum sasl_mechanism mechanism, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		struct credentials credentials = {0};
		enum credentials_fault fault =
			sasl_parse(&credentials, mechanism, row->message, row->length);

		if (fault != row->fault) {
			fail_msg("%s: row %zu: fault %d", sasl_name(mechanism), i, fault);
		}
		if (fault == CREDENTIALS_FINE) {
			assert_int_equal(credentials.mechanism, mechanism);
			assert_string_equal(credentials.user, row->user);
			assert_string_equal(credentials.secret.bytes, row->secret);
		}
		if (row->owner != NULL) {
			assert_string_equal(credentials.owner, row->owner);
		} else {
			assert_null(credentials.owner);
		}
		credentials_done(&credentials);
	}
}

static void test_plain(void **state)
{
	static const struct row rows[] = {
		{bytes("\0u1\0pw"), CREDENTIALS_FINE, "u1", NULL, "pw"},
		{bytes("u2\0u1\0pw"), CREDENTIALS_FINE, "u1", "u2", "pw"},
		{bytes("u1\0u1\0pw"), CREDENTIALS_FINE, "u1", NULL, "pw"},
		{bytes("\0\xc3\xa9\0\xc3\xbc"), CREDENTIALS_FINE, "\xc3\xa9", NULL, "\xc3\xbc"},
		{bytes("\0a,b=2C\0pw"), CREDENTIALS_FINE, "a,b=2C", NULL, "pw"},
		/* C56 */
		{bytes(""), MALFORMED},
		{bytes("u1"), MALFORMED},
		{bytes("u1\0pw"), MALFORMED},
		{bytes("\0u1pw"), MALFORMED},
		{bytes("\0u1\0pw\0x"), MALFORMED},
		{bytes("\0u1\0pw\0"), MALFORMED},
		{bytes("\0\0\0"), MALFORMED},
		{bytes("\0\0"), EMPTY},
		{bytes("\0\0pw"), EMPTY},
		{bytes("\0u1\0"), EMPTY},
		{bytes("u2\0\0pw"), EMPTY},
		{bytes("\0u\r\n1\0pw"), MALFORMED},
	};

	(void)state;
	check_rows(SASL_PLAIN, rows, array_length(rows));
}

#define A "\x01"

static void test_xoauth2(void **state)
{
	static const struct row rows[] = {
		{bytes("user=u1" A "auth=Bearer t0k" A A), CREDENTIALS_FINE, "u1", NULL, "t0k"},
		{bytes("user=a@b.example" A "auth=bEARER x.y-z_~+/==" A A), CREDENTIALS_FINE,
		 "a@b.example", NULL, "x.y-z_~+/=="},
		/* Nothing is escaped here. */
		{bytes("user=a=2Cb,c" A "auth=Bearer t" A A), CREDENTIALS_FINE, "a=2Cb,c", NULL,
		 "t"},
		{bytes("user=\xc3\xa9" A "auth=Bearer t" A A), CREDENTIALS_FINE, "\xc3\xa9", NULL,
		 "t"},
		{bytes("user=" A "auth=Bearer t" A A), EMPTY},
		{bytes("user=u1" A "auth=Bearer " A A), EMPTY},
		{bytes(""), MALFORMED},
		{bytes(A), MALFORMED},
		{bytes("user=u1"), MALFORMED},
		{bytes("user=u1" A), MALFORMED},
		{bytes("user=u1" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t"), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t" A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t" A A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t" A A "x"), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t" A "x" A), MALFORMED},
		{bytes("user=u1" A A "auth=Bearer t" A A), MALFORMED},
		{bytes("auth=Bearer t" A "user=u1" A A), MALFORMED},
		{bytes("User=u1" A "auth=Bearer t" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearert" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer" A A), MALFORMED},
		{bytes("user=u1" A "auth=Basic t" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer  t" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t t" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t\r\n" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t\0" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t\x7f" A A), MALFORMED},
		{bytes("user=u1" A "auth=Bearer t\xc3\xa9" A A), MALFORMED},
		{bytes("user=u\0001" A "auth=Bearer t" A A), MALFORMED},
		{bytes("user=u\xff" A "auth=Bearer t" A A), MALFORMED},
	};

	(void)state;
	check_rows(SASL_XOAUTH2, rows, array_length(rows));
}

static void test_oauthbearer(void **state)
{
	static const struct row rows[] = {
		/* RFC 7628 section 4.1 */
		{bytes("n,a=user@example.com," A "host=server.example.com" A "port=143" A
		       "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" A A),
		 CREDENTIALS_FINE, "user@example.com", NULL,
		 "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
		{bytes("n,a=u1," A "auth=Bearer t" A A), CREDENTIALS_FINE, "u1", NULL, "t"},
		{bytes("y,a=u1," A "auth=bearer t" A "x=" A "other=a b\t\r\n=~" A A),
		 CREDENTIALS_FINE, "u1", NULL, "t"},
		{bytes("n,a=a=2Cb=3D2C," A "auth=Bearer t" A A), CREDENTIALS_FINE, "a,b=2C", NULL,
		 "t"},
		{bytes("n,a=\xc3\xa9," A "auth=Bearer t" A A), CREDENTIALS_FINE, "\xc3\xa9", NULL,
		 "t"},
		/* Without a name nobody can be routed. */
		{bytes("n,," A "auth=Bearer t" A A), EMPTY},
		{bytes("n,a=u1," A "auth=Bearer " A A), EMPTY},
		{bytes("n,a=," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,A=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("p=tls-unique,a=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("p,a=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("N,a=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("F,n,a=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("a=u1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1,auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1,x" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u,1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u=1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u=2c," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u=2," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u=," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u" A "1," A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u\xff," A "auth=Bearer t" A A), MALFORMED},
		{bytes(""), MALFORMED},
		{bytes("n"), MALFORMED},
		{bytes("n,"), MALFORMED},
		{bytes("n,a=u1,"), MALFORMED},
		{bytes(A), MALFORMED},
		{bytes("n,a=u1," A), MALFORMED},
		{bytes("n,a=u1," A A), MALFORMED},
		{bytes("n,a=u1," A "host=h" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t"), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t" A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t" A A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t" A A "x=y" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "AUTH=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "auth" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "=x" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "k1=x" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "k=\0" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "k=\x7f" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "k=\xc3\xa9" A "auth=Bearer t" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer\tt" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer  t" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Bearer t\n" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=Basic dTpw" A A), MALFORMED},
		{bytes("n,a=u1," A "auth=" A A), MALFORMED},
	};

	(void)state;
	check_rows(SASL_OAUTHBEARER, rows, array_length(rows));
}

static void test_exchange(void **state)
{
	static const struct row rows[] = {
		/* RFC 5802 section 5 */
		{bytes("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"), CREDENTIALS_FINE, "user", NULL,
		 "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"},
		{bytes("y,,n=u1,r=!~"), CREDENTIALS_FINE, "u1", NULL, "y,,n=u1,r=!~"},
		{bytes("n,a=u2,n=u1,r=x"), CREDENTIALS_FINE, "u1", "u2", "n,a=u2,n=u1,r=x"},
		{bytes("n,a=u1,n=u1,r=x"), CREDENTIALS_FINE, "u1", NULL, "n,a=u1,n=u1,r=x"},
		{bytes("n,a=o=2C,n=a=3Db,r=x"), CREDENTIALS_FINE, "a=b", "o,",
		 "n,a=o=2C,n=a=3Db,r=x"},
		{bytes("n,,n=\xc3\xa9,r=x"), CREDENTIALS_FINE, "\xc3\xa9", NULL,
		 "n,,n=\xc3\xa9,r=x"},
		{bytes("n,,n=u1,r=x,e=1,Z=\xc3\xa9=="), CREDENTIALS_FINE, "u1", NULL,
		 "n,,n=u1,r=x,e=1,Z=\xc3\xa9=="},
		{bytes("n,,n=,r=x"), EMPTY},
		{bytes("p=tls-exporter,,n=u1,r=x"), MALFORMED},
		{bytes("p=,,n=u1,r=x"), MALFORMED},
		{bytes("n,a=,n=u1,r=x"), MALFORMED},
		{bytes("n,o,n=u1,r=x"), MALFORMED},
		{bytes("n,,m=x,n=u1,r=x"), MALFORMED},
		{bytes("n,,n=u1,r=x,m=x"), MALFORMED},
		{bytes("n,,n=u1,m=x,r=x"), MALFORMED},
		{bytes("n,,r=x,n=u1"), MALFORMED},
		{bytes("n,n=u1,r=x"), MALFORMED},
		{bytes("n=u1,r=x"), MALFORMED},
		{bytes("n,,n=u=2c,r=x"), MALFORMED},
		{bytes("n,,n=u=,r=x"), MALFORMED},
		{bytes("n,a=u=2D,n=u1,r=x"), MALFORMED},
		{bytes("n,,n=u1"), MALFORMED},
		{bytes("n,,n=u1,"), MALFORMED},
		{bytes("n,,n=u1,r="), MALFORMED},
		{bytes("n,,n=u1,r=,e=1"), MALFORMED},
		{bytes("n,,n=u1,r=x "), MALFORMED},
		{bytes("n,,n=u1,r=\xc3\xa9"), MALFORMED},
		{bytes("n,,n=u1,r=x,"), MALFORMED},
		{bytes("n,,n=u1,r=x,e"), MALFORMED},
		{bytes("n,,n=u1,r=x,e="), MALFORMED},
		{bytes("n,,n=u1,r=x,1=e"), MALFORMED},
		{bytes("n,,n=u1,r=x,ee=1"), MALFORMED},
		{bytes("n,,n=u1,r=x,,e=1"), MALFORMED},
		{bytes("n,,n=u1,r=x,e=\xff"), MALFORMED},
		{bytes("n,,n=u1,r=x,e=\r\n"), MALFORMED},
		{bytes("n,,n=u1,r=x,e=\0"), MALFORMED},
		{bytes("n,,n=u\0001,r=x"), MALFORMED},
		{bytes("n,,n=u\xff,r=x"), MALFORMED},
		{bytes(""), MALFORMED},
	};

	(void)state;
	check_rows(SASL_SCRAM_SHA_1, rows, array_length(rows));
	check_rows(SASL_SCRAM_SHA_256, rows, array_length(rows));
	check_rows(SASL_SCRAM_SHA_512, rows, array_length(rows));
}

/* A message between `before` and `behind`, with `length` times 'x' between. */
static enum credentials_fault parse_long(enum sasl_mechanism mechanism, const char *before,
					 size_t length, const char *behind)
{
	struct credentials credentials = {0};
	struct buffer message = {0};
	enum credentials_fault fault;

	buffer_append_text(&message, before);
	for (size_t i = 0; i < length; i++) {
		buffer_append_byte(&message, 'x');
	}
	buffer_append_text(&message, behind);
	fault = sasl_parse(&credentials, mechanism, buffer_bytes(&message), message.length);
	credentials_done(&credentials);
	buffer_done(&message);
	return fault;
}

static void test_longest(void **state)
{
	static const struct {
		enum sasl_mechanism mechanism;
		const char *before;
		size_t most;
		const char *behind;
	} cases[] = {
		{SASL_XOAUTH2, "user=u" A "auth=Bearer ", CREDENTIALS_SECRET_MAX, A A},
		{SASL_XOAUTH2, "user=", CREDENTIALS_USER_MAX, A "auth=Bearer t" A A},
		{SASL_OAUTHBEARER, "n,a=u," A "auth=Bearer ", CREDENTIALS_SECRET_MAX, A A},
		{SASL_OAUTHBEARER, "n,a=", CREDENTIALS_USER_MAX, "," A "auth=Bearer t" A A},
		{SASL_SCRAM_SHA_1, "n,,n=u,r=", CREDENTIALS_SECRET_MAX - 9, ""},
		{SASL_SCRAM_SHA_1, "n,,n=", CREDENTIALS_USER_MAX, ",r=x"},
		{SASL_SCRAM_SHA_1, "n,a=", CREDENTIALS_USER_MAX, ",n=u,r=x"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		assert_int_equal(parse_long(cases[i].mechanism, cases[i].before, cases[i].most,
					    cases[i].behind),
				 CREDENTIALS_FINE);
		assert_int_equal(parse_long(cases[i].mechanism, cases[i].before, cases[i].most + 1,
					    cases[i].behind),
				 CREDENTIALS_TOO_LONG);
	}
}

static void test_longest_plain(void **state)
{
	struct buffer message = {0};
	struct credentials credentials = {0};
	char text[CREDENTIALS_PASSWORD_MAX];

	(void)state;
	memset(text, 'o', sizeof(text));
	buffer_append(&message, text, CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, '\0');
	memset(text, 'u', sizeof(text));
	buffer_append(&message, text, CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, '\0');
	buffer_append(&message, text, sizeof(text));
	assert_int_equal(
		sasl_parse(&credentials, SASL_PLAIN, buffer_bytes(&message), message.length),
		CREDENTIALS_FINE);
	assert_int_equal(strlen(credentials.owner), CREDENTIALS_USER_MAX);
	buffer_append_byte(&message, 'u');
	assert_int_equal(
		sasl_parse(&credentials, SASL_PLAIN, buffer_bytes(&message), message.length),
		CREDENTIALS_TOO_LONG);
	credentials_done(&credentials);
	buffer_done(&message);
}

/* What comes in as `message` goes out as `encoded`. */
static void check_encode(enum sasl_mechanism mechanism, const char *message, size_t length,
			 const char *encoded, size_t encoded_length)
{
	struct credentials credentials = {0};
	struct buffer out = {0};
	struct buffer decoded = {0};

	assert_int_equal(sasl_parse(&credentials, mechanism, message, length), CREDENTIALS_FINE);
	buffer_append_text(&out, "X ");
	sasl_encode(&out, &credentials);
	assert_memory_equal(buffer_bytes(&out), "X ", 2);
	assert_true(base64_decode(&decoded, buffer_bytes(&out) + 2, out.length - 2));
	assert_int_equal(decoded.length, encoded_length);
	assert_memory_equal(buffer_bytes(&decoded), encoded, encoded_length);
	credentials_done(&credentials);
	buffer_done(&out);
	buffer_done(&decoded);
}

static void test_encode(void **state)
{
	(void)state;
	check_encode(SASL_PLAIN, bytes("\0u1\0pw"), bytes("\0u1\0pw"));
	check_encode(SASL_PLAIN, bytes("u2\0u1\0pw"), bytes("u2\0u1\0pw"));
	check_encode(SASL_PLAIN, bytes("u1\0u1\0pw"), bytes("\0u1\0pw"));
	check_encode(SASL_XOAUTH2, bytes("user=u=,1" A "auth=bearer t==" A A),
		     bytes("user=u=,1" A "auth=Bearer t==" A A));
	check_encode(SASL_OAUTHBEARER,
		     bytes("y,a=u=3D=2C1," A "host=h" A "port=143" A "auth=BEARER t" A A),
		     bytes("n,a=u=3D=2C1," A "auth=Bearer t" A A));
	check_encode(SASL_SCRAM_SHA_256, bytes("y,a=o,n=u=2C,r=x,e=1"),
		     bytes("y,a=o,n=u=2C,r=x,e=1"));
}

static void test_encode_out_of_memory(void **state)
{
	struct credentials credentials = {0};
	struct buffer out = {.failed = true};

	(void)state;
	assert_int_equal(sasl_parse(&credentials, SASL_PLAIN, bytes("\0u1\0pw")), CREDENTIALS_FINE);
	sasl_encode(&out, &credentials);
	assert_true(out.failed);
	assert_int_equal(out.length, 0);
	credentials_done(&credentials);
}

static void parse_canary(struct credentials *credentials, enum sasl_mechanism mechanism,
			 const char *before, size_t before_length, const char *behind)
{
	char message[2 * CANARY_LENGTH];
	size_t length = before_length;

	memcpy(message, before, before_length);
	canary_write(message + length);
	length += CANARY_LENGTH;
	memcpy(message + length, behind, strlen(behind));
	length += strlen(behind);
	assert_int_equal(sasl_parse(credentials, mechanism, message, length), CREDENTIALS_FINE);
	explicit_bzero(message, sizeof(message));
}

static void test_leaves_nothing(void **state)
{
	static const struct {
		enum sasl_mechanism mechanism;
		const char *before;
		size_t before_length;
		const char *behind;
	} cases[] = {
		{SASL_PLAIN, bytes("\0u1\0"), ""},
		{SASL_XOAUTH2, bytes("user=u1" A "auth=Bearer "), A A},
		{SASL_OAUTHBEARER, bytes("n,a=u1," A "auth=Bearer "), A A},
		{SASL_SCRAM_SHA_256, bytes("n,,n=u1,r="), ""},
	};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	for (size_t i = 0; i < array_length(cases); i++) {
		struct credentials credentials = {0};
		struct buffer out = {0};

		parse_canary(&credentials, cases[i].mechanism, cases[i].before,
			     cases[i].before_length, cases[i].behind);
		assert_int_equal(canary_count(), 1);
		sasl_encode(&out, &credentials);
		assert_int_equal(canary_count(), 1);
		credentials_done(&credentials);
		assert_int_equal(canary_count(), 0);
		buffer_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),          cmocka_unit_test(test_offered),
		cmocka_unit_test(test_plain),          cmocka_unit_test(test_xoauth2),
		cmocka_unit_test(test_oauthbearer),    cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_longest),        cmocka_unit_test(test_longest_plain),
		cmocka_unit_test(test_encode),         cmocka_unit_test(test_encode_out_of_memory),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests_name("sasl", tests, NULL, NULL);
}
