/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability lists: what is promised before login, what of a backend's list passes.
 */
#include "imap/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/buffer.h"
#include "imap/sasl.h"

#define OWN "IMAP4rev1 LITERAL- SASL-IR ID"

/* C01, C03, C05, C06 */
static void test_preauth_list(void **state)
{
	static const struct {
		struct capability_front front;
		const char *list;
	} cases[] = {
		{{true, false, SASL_PASSWORDS, NULL}, OWN " AUTH=PLAIN AUTH=LOGIN"},
		{{true, false, SASL_PASSWORDS, ""}, OWN " AUTH=PLAIN AUTH=LOGIN"},
		{{true, false, SASL_PASSWORDS, "IDLE X"}, OWN " IDLE X AUTH=PLAIN AUTH=LOGIN"},
		{{false, true, SASL_PASSWORDS, "IDLE"}, OWN " IDLE STARTTLS LOGINDISABLED"},
		{{false, false, SASL_ALL, NULL}, OWN " LOGINDISABLED"},
		{{true, true, SASL_BIT(SASL_PLAIN), NULL}, OWN " STARTTLS AUTH=PLAIN"},
		{{true, false, SASL_TOKENS, NULL},
		 OWN " LOGINDISABLED AUTH=XOAUTH2 AUTH=OAUTHBEARER"},
		{{true, false, 0, NULL}, OWN " LOGINDISABLED"},
		{{true, false, SASL_BIT(SASL_LOGIN), NULL}, OWN " AUTH=LOGIN"},
		{{true, false, SASL_ALL, "A"},
		 OWN " A AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=EXTERNAL "
		     "AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-512"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct buffer list = {0};

		capability_append_preauth(&list, &cases[i].front);
		buffer_append_byte(&list, '\0');
		assert_string_equal(buffer_bytes(&list), cases[i].list);
		buffer_done(&list);
	}
}

static void learn(struct capability_offer *offer, const char *list)
{
	capability_offer_learn(offer, list, strlen(list));
}

static void test_learn(void **state)
{
	static const struct {
		const char *list;
		unsigned mechanisms;
		const char *atoms;
	} cases[] = {
		{"", 0, ""},
		{"IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN",
		 SASL_BIT(SASL_PLAIN), "ENABLE IDLE"},
		{"imap4REV1 literal- Id sasl-ir Literal+", 0, ""},
		{"IMAP4rev2 COMPRESS=DEFLATE compress=x UTF8=ACCEPT utf8=only Login NAMESPACE", 0,
		 "NAMESPACE"},
		{"IMAP4 UTF8 COMPRESS LITERAL IMAP4rev2X LOGINX", 0,
		 "IMAP4 UTF8 COMPRESS LITERAL IMAP4rev2X LOGINX"},
		{"LOGINDISABLED UNAUTHENTICATE X-PROXY A] B{ C", 0, "C"},
		{"Mailbox-Referrals MAILBOX-REFERRALSX LOGIN-REFERRALS", 0, "MAILBOX-REFERRALSX"},
		{"IDLE idle  IDLE X", 0, "IDLE X"},
		{"AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-1-PLUS AUTH=XOAUTH2 AUTH=NTLM",
		 SASL_BIT(SASL_XOAUTH2), ""},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct capability_offer offer = {.mechanisms = SASL_ALL, .atoms = "BEFORE"};

		learn(&offer, cases[i].list);
		assert_true(offer.known);
		assert_int_equal(offer.mechanisms, cases[i].mechanisms);
		assert_string_equal(offer.atoms, cases[i].atoms);
	}
}

/* An atom of `length` octets, then one of three: the room is for all of it, or not. */
static void check_room(size_t length, bool fits)
{
	char list[CAPABILITY_ATOMS_SIZE + 16] = "";
	struct capability_offer offer;

	memset(list, 'x', length);
	memcpy(list + length, " ABC D", sizeof(" ABC D"));
	learn(&offer, list);
	assert_int_equal(strlen(offer.atoms), fits ? length + 4 : length + 2);
	assert_string_equal(offer.atoms + length, fits ? " ABC" : " D");
}

static void test_learn_room(void **state)
{
	struct capability_offer offer;
	char list[CAPABILITY_ATOMS_SIZE + 1];

	(void)state;
	check_room(CAPABILITY_ATOMS_SIZE - 5, true);
	check_room(CAPABILITY_ATOMS_SIZE - 4, false);
	memset(list, 'x', sizeof(list));
	capability_offer_learn(&offer, list, CAPABILITY_ATOMS_SIZE - 1);
	assert_int_equal(strlen(offer.atoms), CAPABILITY_ATOMS_SIZE - 1);
	capability_offer_learn(&offer, list, CAPABILITY_ATOMS_SIZE);
	assert_string_equal(offer.atoms, "");
}

static void test_meet(void **state)
{
	static const struct capability_offer unknown;
	struct capability_offer common = {0};
	struct capability_offer other = {0};

	(void)state;
	capability_offer_meet(&common, &unknown);
	assert_false(common.known);
	learn(&other, "AUTH=PLAIN AUTH=XOAUTH2 IDLE ENABLE NAMESPACE");
	capability_offer_meet(&common, &other);
	assert_true(common.known);
	assert_string_equal(common.atoms, "IDLE ENABLE NAMESPACE");
	capability_offer_meet(&common, &unknown);
	assert_string_equal(common.atoms, "IDLE ENABLE NAMESPACE");
	assert_int_equal(common.mechanisms, SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_XOAUTH2));

	learn(&other, "AUTH=PLAIN namespace QUOTA idle");
	capability_offer_meet(&common, &other);
	assert_string_equal(common.atoms, "IDLE NAMESPACE");
	assert_int_equal(common.mechanisms, SASL_BIT(SASL_PLAIN));
	learn(&other, "QUOTA NAMESPACEX");
	capability_offer_meet(&common, &other);
	assert_true(common.known);
	assert_string_equal(common.atoms, "");
	assert_int_equal(common.mechanisms, 0);
}

static void test_check_atoms(void **state)
{
	static const struct {
		const char *atoms;
		const char *error; /* NULL where they are fine */
	} cases[] = {
		{"", NULL},
		{"IDLE", NULL},
		{"ENABLE IDLE NAMESPACE IMAP4rev2 UTF8=ACCEPT X-PROX", NULL},
		{" IDLE", "must be atoms with a single space between them"},
		{"IDLE ", "must be atoms with a single space between them"},
		{"IDLE  X", "must be atoms with a single space between them"},
		{" ", "must be atoms with a single space between them"},
		{"IDLE A]", "has \"A]\", which is no atom"},
		{"IDLE\r\n", "has \"IDLE\r\n\", which is no atom"},
		{"\xc3\xa9", "has \"\xc3\xa9\", which is no atom"},
		{"imap4rev1", "has \"imap4rev1\", which gatepost announces by itself where it "
			      "applies"},
		{"IDLE ID", "has \"ID\", which gatepost announces by itself where it applies"},
		{"SASL-IR", "has \"SASL-IR\", which gatepost announces by itself where it "
			    "applies"},
		{"LITERAL-", "has \"LITERAL-\", which gatepost announces by itself where it "
			     "applies"},
		{"auth=plain", "has \"auth=plain\", which gatepost announces by itself where it "
			       "applies"},
		{"STARTTLS", "has \"STARTTLS\", which gatepost announces by itself where it "
			     "applies"},
		{"LoginDisabled", "has \"LoginDisabled\", which gatepost announces by itself "
				  "where it applies"},
		{"LITERAL+", "has \"LITERAL+\", which gatepost cannot keep"},
		{"COMPRESS=DEFLATE", "has \"COMPRESS=DEFLATE\", which gatepost cannot keep"},
		{"IDLE login", "has \"login\", which gatepost cannot keep"},
		{"Unauthenticate", "has \"Unauthenticate\", which gatepost cannot keep"},
		{"LOGIN-REFERRALS", "has \"LOGIN-REFERRALS\", which gatepost cannot keep"},
		{"X-MYPROXY", "has \"X-MYPROXY\", which gatepost cannot keep"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct error error = {0};
		bool fine = capability_check_atoms(cases[i].atoms, &error);

		assert_int_equal(fine, cases[i].error == NULL);
		assert_string_equal(error.text, fine ? "" : cases[i].error);
	}
}

static void test_filter(void **state)
{
	static const struct {
		const char *list;
		const char *passes;
	} cases[] = {
		/* C73 */
		{"IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED UNAUTHENTICATE LOGIN-REFERRALS IDLE "
		 "X",
		 "IMAP4rev1 IDLE X"},
		{"IMAP4rev1 starttls auth=plain LoginDisabled Unauthenticate login-Referrals idle",
		 "IMAP4rev1 idle"},
		{"AUTH=PLAIN IMAP4rev1 AUTH=X", "IMAP4rev1"},
		{"AUTH AUTHX=1 STARTTLSX XSTARTTLS LOGIN",
		 "AUTH AUTHX=1 STARTTLSX XSTARTTLS LOGIN"},
		{"X-PROXY X-MYPROXY-2 x-proxyless X-PROX PROXY XPROXY", "X-PROX PROXY XPROXY"},
		{"COMPRESS=DEFLATE LITERAL+ UTF8=ACCEPT", "COMPRESS=DEFLATE LITERAL+ UTF8=ACCEPT"},
		{"  IMAP4rev1   IDLE  ", "IMAP4rev1 IDLE"},
		{"", ""},
		{"   ", ""},
		{"STARTTLS", ""},
		{"A] B", "B"},
		{"A\r\n* BYE B {5} \"C\" D\xe9 E", "BYE B E"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct buffer out = {0};

		buffer_append_text(&out, "[");
		capability_append_filtered(&out, cases[i].list, strlen(cases[i].list));
		buffer_append_byte(&out, '\0');
		assert_string_equal((const char *)buffer_bytes(&out) + 1, cases[i].passes);
		buffer_done(&out);
	}
}

static void test_has(void **state)
{
	static const char list[] = "IMAP4rev1 SASL-IR  AUTH=PLAIN LITERAL-";

	(void)state;
	assert_true(capability_has(list, strlen(list), "imap4REV1"));
	assert_true(capability_has(list, strlen(list), "AUTH=PLAIN"));
	assert_true(capability_has(list, strlen(list), "LITERAL-"));
	assert_false(capability_has(list, strlen(list) - 1, "LITERAL-"));
	assert_false(capability_has(list, strlen(list), "IMAP4"));
	assert_false(capability_has(list, strlen(list), "AUTH="));
	assert_false(capability_has(list, strlen(list), "PLAIN"));
	assert_false(capability_has(list, strlen(list), ""));
	assert_false(capability_has("", 0, "IMAP4rev1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preauth_list), cmocka_unit_test(test_learn),
		cmocka_unit_test(test_learn_room),   cmocka_unit_test(test_meet),
		cmocka_unit_test(test_check_atoms),  cmocka_unit_test(test_filter),
		cmocka_unit_test(test_has),
	};

	return cmocka_run_group_tests_name("capability", tests, NULL, NULL);
}
