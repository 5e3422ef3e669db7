/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials as a backend gets them: the form for each offer, octet for octet.
 */
#include "imap/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "imap/credentials.h"
#include "imap/sasl.h"

#define STEPS_MAX 3

/* Beside the set of mechanisms. */
enum { IR = 0x100, PLUS = 0x200, MINUS = 0x400, DISABLED = 0x800, PLAIN = SASL_BIT(SASL_PLAIN) };

struct form {
	const char *name;
	unsigned offer;
	const char *user;
	const char *owner;
	const char *secret;
	enum write_fault fault;
	const char *steps[STEPS_MAX]; /* what is written at once, and after each `+` */
};

static const struct form forms[] = {
	{"C28 initial response",
	 IR | PLAIN,
	 "u1",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T AUTHENTICATE PLAIN AHUxAHB3\r\n"}},
	{"C79 without initial response",
	 PLAIN,
	 "u1",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T AUTHENTICATE PLAIN\r\n", "AHUxAHB3\r\n"}},
	{"PLAIN before everything else",
	 IR | PLAIN | PLUS | DISABLED,
	 "u1",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T AUTHENTICATE PLAIN AHUxAHB3\r\n"}},
	{"an initial response needs PLAIN",
	 IR,
	 "u1",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T LOGIN \"u1\" \"pw\"\r\n"}},
	{"the owner in PLAIN",
	 IR | PLAIN,
	 "u1",
	 "o",
	 "pw",
	 WRITE_FINE,
	 {"T AUTHENTICATE PLAIN bwB1MQBwdw==\r\n"}},
	{"no owner in LOGIN", IR | PLUS, "u1", "o", "pw", WRITE_OWNER, {NULL}},
	{"LOGINDISABLED", IR | DISABLED, "u1", NULL, "pw", WRITE_LOGIN_DISABLED, {NULL}},
	{"LOGINDISABLED comes before the owner",
	 DISABLED,
	 "u1",
	 "o",
	 "pw",
	 WRITE_LOGIN_DISABLED,
	 {NULL}},
	{"C81 quoting",
	 0,
	 "a\"b",
	 NULL,
	 "a b\"c\\d",
	 WRITE_FINE,
	 {"T LOGIN \"a\\\"b\" \"a b\\\"c\\\\d\"\r\n"}},
	{"first and last quotable octets",
	 0,
	 " ~",
	 NULL,
	 "~ {3}",
	 WRITE_FINE,
	 {"T LOGIN \" ~\" \"~ {3}\"\r\n"}},
	{"quoted even where literals are free",
	 PLUS,
	 "u1",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T LOGIN \"u1\" \"pw\"\r\n"}},
	{"both literals wait",
	 0,
	 "\xc3\xa9",
	 NULL,
	 "\x80",
	 WRITE_FINE,
	 {"T LOGIN {2}\r\n", "\xc3\xa9 {1}\r\n", "\x80\r\n"}},
	{"the user's literal waits",
	 0,
	 "\xc3\xa9",
	 NULL,
	 "pw",
	 WRITE_FINE,
	 {"T LOGIN {2}\r\n", "\xc3\xa9 \"pw\"\r\n"}},
	{"the password's literal waits",
	 0,
	 "u1",
	 NULL,
	 "\xff",
	 WRITE_FINE,
	 {"T LOGIN \"u1\" {1}\r\n", "\xff\r\n"}},
	{"LITERAL+ waits for nothing",
	 PLUS,
	 "\xc3\xa9",
	 NULL,
	 "\xff",
	 WRITE_FINE,
	 {"T LOGIN {2+}\r\n\xc3\xa9 {1+}\r\n\xff\r\n"}},
	{"LITERAL- neither",
	 MINUS,
	 "\xc3\xa9",
	 NULL,
	 "\xff",
	 WRITE_FINE,
	 {"T LOGIN {2+}\r\n\xc3\xa9 {1+}\r\n\xff\r\n"}},
	{"CR in the password", IR | PLAIN, "u1", NULL, "p\rw", WRITE_CONTROL, {NULL}},
	{"LF in the password", PLUS, "u1", NULL, "p\nw", WRITE_CONTROL, {NULL}},
	{"LF in the user name", PLUS, "u\n1", NULL, "pw", WRITE_CONTROL, {NULL}},
	{"CR in the owner", IR | PLAIN, "u1", "\ro", "pw", WRITE_CONTROL, {NULL}},
	{"DEL in the password", PLUS, "u1", NULL, "p\x7fw", WRITE_CONTROL, {NULL}},
};

/* Forms that are forced, and what is no password. */
static const struct {
	enum write_form way;
	enum sasl_mechanism mechanism;
	struct form form;
} others[] = {
	{WRITE_LOGIN,
	 SASL_PLAIN,
	 {"LOGIN although PLAIN is offered",
	  IR | PLAIN,
	  "u1",
	  NULL,
	  "pw",
	  WRITE_FINE,
	  {"T LOGIN \"u1\" \"pw\"\r\n"}}},
	{WRITE_LOGIN,
	 SASL_PLAIN,
	 {"LOGIN with literals although PLAIN is offered",
	  IR | PLAIN,
	  "\xc3\xa9",
	  NULL,
	  "pw",
	  WRITE_FINE,
	  {"T LOGIN {2}\r\n", "\xc3\xa9 \"pw\"\r\n"}}},
	{WRITE_LOGIN,
	 SASL_PLAIN,
	 {"LOGIN cannot be where it is disabled",
	  IR | PLAIN | DISABLED,
	  "u1",
	  NULL,
	  "pw",
	  WRITE_LOGIN_DISABLED,
	  {NULL}}},
	{WRITE_LOGIN,
	 SASL_PLAIN,
	 {"LOGIN with an owner", IR | PLAIN, "u1", "o", "pw", WRITE_OWNER, {NULL}}},
	{WRITE_PLAIN,
	 SASL_PLAIN,
	 {"PLAIN",
	  PLAIN,
	  "u1",
	  NULL,
	  "pw",
	  WRITE_FINE,
	  {"T AUTHENTICATE PLAIN\r\n", "AHUxAHB3\r\n"}}},
	{WRITE_PLAIN,
	 SASL_PLAIN,
	 {"PLAIN is not offered", IR | PLUS, "u1", NULL, "pw", WRITE_LOGIN_DISABLED, {NULL}}},
	{WRITE_BEST,
	 SASL_PLAIN,
	 {"the mechanism LOGIN is nothing to us",
	  SASL_BIT(SASL_LOGIN) | DISABLED,
	  "u1",
	  NULL,
	  "pw",
	  WRITE_LOGIN_DISABLED,
	  {NULL}}},
	{WRITE_BEST,
	 SASL_XOAUTH2,
	 {"XOAUTH2",
	  IR | SASL_BIT(SASL_XOAUTH2),
	  "u1",
	  NULL,
	  "t",
	  WRITE_FINE,
	  {"T AUTHENTICATE XOAUTH2 dXNlcj11MQFhdXRoPUJlYXJlciB0AQE=\r\n"}}},
	{WRITE_LOGIN,
	 SASL_XOAUTH2,
	 {"XOAUTH2 without initial response, whatever the form of passwords",
	  SASL_BIT(SASL_XOAUTH2) | DISABLED,
	  "u1",
	  NULL,
	  "t",
	  WRITE_FINE,
	  {"T AUTHENTICATE XOAUTH2\r\n", "dXNlcj11MQFhdXRoPUJlYXJlciB0AQE=\r\n"}}},
	{WRITE_PLAIN,
	 SASL_OAUTHBEARER,
	 {"OAUTHBEARER",
	  IR | SASL_TOKENS,
	  "u1",
	  NULL,
	  "t",
	  WRITE_FINE,
	  {"T AUTHENTICATE OAUTHBEARER bixhPXUxLAFhdXRoPUJlYXJlciB0AQE=\r\n"}}},
	{WRITE_BEST,
	 SASL_OAUTHBEARER,
	 {"a token is no password", IR | PLAIN | PLUS, "u1", NULL, "t", WRITE_MECHANISM, {NULL}}},
	{WRITE_BEST,
	 SASL_OAUTHBEARER,
	 {"one token is not the other",
	  IR | SASL_BIT(SASL_XOAUTH2),
	  "u1",
	  NULL,
	  "t",
	  WRITE_MECHANISM,
	  {NULL}}},
	{WRITE_BEST,
	 SASL_XOAUTH2,
	 {"no owner with a token", IR | SASL_TOKENS, "u1", "o", "t", WRITE_OWNER, {NULL}}},
	{WRITE_BEST,
	 SASL_XOAUTH2,
	 {"CR in a token", IR | SASL_TOKENS, "u1", NULL, "t\r", WRITE_CONTROL, {NULL}}},
	{WRITE_BEST,
	 SASL_SCRAM_SHA_256,
	 {"SCRAM",
	  IR | SASL_EXCHANGES,
	  "u1",
	  NULL,
	  "n,,n=u1,r=x",
	  WRITE_FINE,
	  {"T AUTHENTICATE SCRAM-SHA-256 biwsbj11MSxyPXg=\r\n"}}},
	{WRITE_LOGIN,
	 SASL_SCRAM_SHA_1,
	 {"SCRAM with an owner",
	  SASL_EXCHANGES,
	  "u1",
	  "o",
	  "n,a=o,n=u1,r=x",
	  WRITE_FINE,
	  {"T AUTHENTICATE SCRAM-SHA-1\r\n", "bixhPW8sbj11MSxyPXg=\r\n"}}},
	{WRITE_BEST,
	 SASL_SCRAM_SHA_512,
	 {"SCRAM with another hash",
	  IR | SASL_BIT(SASL_SCRAM_SHA_1),
	  "u1",
	  NULL,
	  "n,,n=u1,r=x",
	  WRITE_MECHANISM,
	  {NULL}}},
	{WRITE_BEST,
	 SASL_EXTERNAL,
	 {"EXTERNAL is never ours", IR | SASL_ALL, "u1", NULL, "", WRITE_MECHANISM, {NULL}}},
};

static struct write_offer offer_of(unsigned bits)
{
	return (struct write_offer){
		.sasl_ir = bits & IR,
		.mechanisms = bits & SASL_ALL,
		.literal_plus = bits & PLUS,
		.literal_minus = bits & MINUS,
		.login_disabled = bits & DISABLED,
	};
}

/* Past credentials_set, which lets no control character through. */
static void set_unchecked(struct credentials *credentials, const struct form *form)
{
	credentials->user = strdup(form->user);
	credentials->owner = form->owner != NULL ? strdup(form->owner) : NULL;
	assert_true(secret_set(&credentials->secret, form->secret, strlen(form->secret)));
}

static void check_steps(const struct form *form, struct write_login *login)
{
	bool single = write_login_is_single(login);
	bool done = false;

	for (size_t i = 0; i < STEPS_MAX && form->steps[i] != NULL; i++) {
		struct buffer out = {0};
		bool last = i + 1 == STEPS_MAX || form->steps[i + 1] == NULL;

		assert_false(done);
		done = write_login_next(login, "T", &out);
		if (out.length != strlen(form->steps[i]) || done != last ||
		    memcmp(buffer_bytes(&out), form->steps[i], out.length) != 0) {
			fail_msg("%s: step %zu: %.*s", form->name, i, (int)out.length,
				 (const char *)buffer_bytes(&out));
		}
		buffer_done(&out);
	}
	assert_true(done);
	assert_int_equal(single, form->steps[1] == NULL);
}

static void check_form(const struct form *form, enum write_form way, enum sasl_mechanism mechanism)
{
	struct write_offer offer = offer_of(form->offer);
	struct credentials credentials = {.mechanism = (uint8_t)mechanism};
	struct write_login login = {0};
	enum write_fault fault;

	set_unchecked(&credentials, form);
	fault = write_login_start(&login, &credentials, &offer, way);
	if (fault != form->fault) {
		fail_msg("%s: fault %d", form->name, fault);
	}
	if (fault == WRITE_FINE) {
		check_steps(form, &login);
	} else {
		assert_null(login.credentials);
	}
	credentials_done(&credentials);
}

static void test_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(forms); i++) {
		check_form(&forms[i], WRITE_BEST, SASL_PLAIN);
	}
	for (size_t i = 0; i < array_length(others); i++) {
		check_form(&others[i].form, others[i].way, others[i].mechanism);
	}
}

static void test_nul_in_password(void **state)
{
	struct write_offer offer = offer_of(IR | PLAIN);
	struct credentials credentials = {0};
	struct write_login login;

	(void)state;
	credentials.user = strdup("u1");
	assert_true(secret_set(&credentials.secret, "p\0w", 3));
	assert_int_equal(write_login_start(&login, &credentials, &offer, WRITE_BEST),
			 WRITE_CONTROL);
	credentials_done(&credentials);
}

/* C82: the announcement of a password of `length` octets that cannot be quoted. */
static void check_announcement(unsigned bits, size_t length, const char *announcement, bool single)
{
	struct write_offer offer = offer_of(bits);
	struct credentials credentials = {0};
	struct write_login login;
	struct buffer password = {0};
	struct buffer out = {0};

	credentials.user = strdup("u1");
	for (size_t i = 0; i < length; i++) {
		buffer_append_byte(&password, 0xE9);
	}
	assert_true(secret_set(&credentials.secret, buffer_bytes(&password), length));
	assert_int_equal(write_login_start(&login, &credentials, &offer, WRITE_BEST), WRITE_FINE);
	assert_int_equal(write_login_is_single(&login), single);
	assert_int_equal(write_login_next(&login, "T", &out), single);
	assert_true(out.length >= strlen(announcement));
	assert_memory_equal(buffer_bytes(&out), announcement, strlen(announcement));
	assert_int_equal(out.length,
			 single ? strlen(announcement) + length + 2 : strlen(announcement));
	buffer_done(&out);
	buffer_done(&password);
	credentials_done(&credentials);
}

static void test_literal_minus_limit(void **state)
{
	(void)state;
	check_announcement(MINUS, 4096, "T LOGIN \"u1\" {4096+}\r\n", true);
	check_announcement(MINUS, 4097, "T LOGIN \"u1\" {4097}\r\n", false);
	check_announcement(MINUS, 5000, "T LOGIN \"u1\" {5000}\r\n", false);
	check_announcement(PLUS, 5000, "T LOGIN \"u1\" {5000+}\r\n", true);
}

/* The longest names, each octet of which is escaped, and a token of `length` octets. */
static void check_initial(enum sasl_mechanism mechanism, size_t length, bool single)
{
	struct write_offer offer = offer_of(IR | SASL_ALL);
	struct credentials credentials = {.mechanism = (uint8_t)mechanism};
	char user[CREDENTIALS_USER_MAX + 1];
	char token[WRITE_INITIAL_SECRET_MAX + 1];
	struct write_login login;
	struct buffer out = {0};

	memset(user, ',', sizeof(user) - 1);
	user[sizeof(user) - 1] = '\0';
	memset(token, 't', sizeof(token));
	credentials.user = strdup(user);
	assert_true(secret_set(&credentials.secret, token, length));
	assert_int_equal(write_login_start(&login, &credentials, &offer, WRITE_BEST), WRITE_FINE);
	assert_int_equal(write_login_is_single(&login), single);
	assert_int_equal(write_login_next(&login, "G12345678", &out), single);
	assert_true(out.length <= 8000);
	if (!single) {
		assert_true(out.length < 64);
		buffer_truncate(&out, 0);
		assert_true(write_login_next(&login, "G12345678", &out));
		assert_true(out.length > length * 4 / 3);
	}
	buffer_done(&out);
	credentials_done(&credentials);
}

static void test_initial_limit(void **state)
{
	static const enum sasl_mechanism mechanisms[] = {
		SASL_PLAIN,
		SASL_XOAUTH2,
		SASL_OAUTHBEARER,
		SASL_SCRAM_SHA_512,
	};

	(void)state;
	for (size_t i = 0; i < array_length(mechanisms); i++) {
		check_initial(mechanisms[i], WRITE_INITIAL_SECRET_MAX, true);
		check_initial(mechanisms[i], WRITE_INITIAL_SECRET_MAX + 1, false);
	}
	assert_true(CREDENTIALS_PASSWORD_MAX <= WRITE_INITIAL_SECRET_MAX);
}

static void test_quotable(void **state)
{
	(void)state;
	assert_true(write_is_quotable("", 0));
	assert_true(write_is_quotable(" \"\\~", 4));
	assert_false(write_is_quotable("\x1f", 1));
	assert_false(write_is_quotable("\x7f", 1));
	assert_false(write_is_quotable("a\0", 2));
	assert_false(write_is_quotable("a\x80", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_nul_in_password),
		cmocka_unit_test(test_literal_minus_limit),
		cmocka_unit_test(test_initial_limit),
		cmocka_unit_test(test_quotable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
