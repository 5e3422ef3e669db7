/* SPDX-License-Identifier: Apache-2.0
 *
 * Presentation: which names a backend gets, and for whom the master user speaks.
 */
#include "imap/presentation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "imap/sasl.h"

#define MASTER_PASSWORD "master secret"

struct row {
	const char *name;
	enum sasl_mechanism mechanism;
	const char *user;
	const char *owner;
	const char *secret;
	const char *template;
	const char *mailbox;
	const char *master_user;
	enum presentation_fault fault;
	const char *user_there;
	const char *owner_there;
};

#define FINE        PRESENTATION_FINE
#define FAULT(what) PRESENTATION_##what, NULL, NULL

static const struct row rows[] = {
	{"as it is", SASL_PLAIN, "a@x", NULL, "pw", "{user}", NULL, "", FINE, "a@x", NULL},
	{"an owner as it is", SASL_PLAIN, "a", "b", "pw", "{user}", NULL, "", FINE, "a", "b"},
	{"{local}", SASL_PLAIN, "a@x", NULL, "pw", "{local}", NULL, "", FINE, "a", NULL},
	{"both by the template", SASL_PLAIN, "a@x", "b@y", "pw", "{domain}|{local}", NULL, "", FINE,
	 "x|a", "y|b"},
	{"both become one", SASL_PLAIN, "a@x", "a@y", "pw", "{local}", NULL, "", FINE, "a", NULL},
	{"the route's name", SASL_PLAIN, "a@x", NULL, "pw", "{local}", "m7", "", FINE, "m7", NULL},
	{"the route's name is the owner's", SASL_PLAIN, "a@x", "b@y", "pw", "{local}", "m7", "",
	 FINE, "a", "m7"},
	{"the route's name is no template", SASL_PLAIN, "a", NULL, "pw", "{user}", "{user}", "",
	 FINE, "{user}", NULL},
	{"a master user is not for passwords", SASL_PLAIN, "a", NULL, "pw", "{user}", NULL,
	 "master", FINE, "a", NULL},
	{"a token", SASL_XOAUTH2, "a@x", NULL, "t", "{local}", NULL, "master", FINE, "a", NULL},
	{"a token under the route's name", SASL_OAUTHBEARER, "a@x", NULL, "t", "{user}", "m7", "",
	 FINE, "m7", NULL},

	{"SCRAM", SASL_SCRAM_SHA_1, "a", NULL, "n,,n=a,r=x", "{user}", NULL, "", FINE, "a", NULL},
	{"SCRAM with an owner", SASL_SCRAM_SHA_256, "a", "b", "n,a=b,n=a,r=x", "{user}", NULL, "",
	 FINE, "a", "b"},
	{"SCRAM, and a template that changes nothing", SASL_SCRAM_SHA_512, "a", NULL, "n,,n=a,r=x",
	 "{local}", NULL, "", FINE, "a", NULL},
	{"SCRAM, and the route says the same", SASL_SCRAM_SHA_1, "a", NULL, "n,,n=a,r=x", "{user}",
	 "a", "", FINE, "a", NULL},
	{"SCRAM under another name", SASL_SCRAM_SHA_1, "a@x", NULL, "n,,n=a@x,r=x", "{local}", NULL,
	 "", FAULT(SIGNED)},
	{"SCRAM under the route's name", SASL_SCRAM_SHA_1, "a", NULL, "n,,n=a,r=x", "{user}", "m7",
	 "", FAULT(SIGNED)},
	{"SCRAM under a longer name", SASL_SCRAM_SHA_1, "a", NULL, "n,,n=a,r=x", "{user}b", NULL,
	 "", FAULT(SIGNED)},
	{"SCRAM for an owner with another name", SASL_SCRAM_SHA_1, "a", "b", "n,a=b,n=a,r=x",
	 "{user}", "m7", "", FAULT(SIGNED)},

	{"a certificate", SASL_EXTERNAL, "a@x", NULL, "", "{user}", NULL, "master", FINE, "master",
	 "a@x"},
	{"a certificate, and a template", SASL_EXTERNAL, "a@x", NULL, "", "{local}", NULL, "m@x",
	 FINE, "m@x", "a"},
	{"a certificate, and the route's name", SASL_EXTERNAL, "a@x", NULL, "", "{local}", "m7",
	 "master", FINE, "master", "m7"},
	{"a certificate with the master's name", SASL_EXTERNAL, "master", NULL, "", "{user}", NULL,
	 "master", FAULT(MASTER)},
	{"in other letters", SASL_EXTERNAL, "MASTER", NULL, "", "{user}", NULL, "Master",
	 FAULT(MASTER)},
	{"by a template", SASL_EXTERNAL, "master@x", NULL, "", "{local}", NULL, "master",
	 FAULT(MASTER)},
	{"by the route", SASL_EXTERNAL, "a", NULL, "", "{user}", "master", "master", FAULT(MASTER)},
	{"a certificate with a part of it", SASL_EXTERNAL, "mast", NULL, "", "{user}", NULL,
	 "master", FINE, "master", "mast"},
	{"nobody vouches", SASL_EXTERNAL, "a", NULL, "", "{user}", NULL, "", FAULT(NO_MASTER)},
	{"a certificate opens no other mailbox", SASL_EXTERNAL, "a", "b", "", "{user}", NULL,
	 "master", FAULT(OWNER)},
	{"not even where the route names it", SASL_EXTERNAL, "a", "b", "", "{user}", "m7", "master",
	 FAULT(OWNER)},

	{"no name is left", SASL_PLAIN, "a", NULL, "pw", "{domain}", NULL, "", FAULT(UNUSABLE)},
	{"no owner is left", SASL_PLAIN, "a@x", "b", "pw", "{domain}", NULL, "", FAULT(UNUSABLE)},
	{"no mailbox is left", SASL_EXTERNAL, "a", NULL, "", "{domain}", NULL, "master",
	 FAULT(UNUSABLE)},
	{"an empty name of the route", SASL_PLAIN, "a", NULL, "pw", "{user}", "", "",
	 FAULT(UNUSABLE)},
	{"an empty owner of the route", SASL_PLAIN, "a", "b", "pw", "{user}", "", "",
	 FAULT(UNUSABLE)},
	{"a control character of the route", SASL_PLAIN, "a", NULL, "pw", "{user}", "m\r\n7", "",
	 FAULT(UNUSABLE)},
	{"a route that is not UTF-8", SASL_PLAIN, "a", NULL, "pw", "{user}", "m\xff", "",
	 FAULT(UNUSABLE)},
};

static void set_claimed(struct credentials *claimed, const struct row *row)
{
	const struct credentials_claim claim = {
		.user = row->user,
		.user_length = strlen(row->user),
		.owner = row->owner,
		.owner_length = row->owner != NULL ? strlen(row->owner) : 0,
		.secret = row->secret,
		.secret_length = strlen(row->secret),
		.mechanism = (uint8_t)row->mechanism,
	};

	assert_int_equal(credentials_set(claimed, &claim), CREDENTIALS_FINE);
}

static void check_presented(const struct credentials *presented, const struct row *row)
{
	bool vouched = row->mechanism == SASL_EXTERNAL;

	assert_string_equal(presented->user, row->user_there);
	if (row->owner_there != NULL) {
		assert_non_null(presented->owner);
		assert_string_equal(presented->owner, row->owner_there);
	} else {
		assert_null(presented->owner);
	}
	assert_string_equal(presented->secret.bytes, vouched ? MASTER_PASSWORD : row->secret);
	assert_int_equal(presented->mechanism, vouched ? SASL_PLAIN : row->mechanism);
}

static void test_rows(void **state)
{
	struct secret master_password = {0};

	(void)state;
	assert_true(secret_set(&master_password, MASTER_PASSWORD, strlen(MASTER_PASSWORD)));
	for (size_t i = 0; i < array_length(rows); i++) {
		const struct presentation presentation = {
			.user = rows[i].template,
			.mailbox = rows[i].mailbox,
			.master_user = rows[i].master_user,
			.master_password = &master_password,
		};
		struct credentials claimed = {0};
		struct credentials presented = {0};
		enum presentation_fault fault;

		set_claimed(&claimed, &rows[i]);
		fault = presentation_make(&presented, &claimed, &presentation);
		if (fault != rows[i].fault) {
			fail_msg("%s: fault %d", rows[i].name, fault);
		}
		if (fault == PRESENTATION_FINE) {
			check_presented(&presented, &rows[i]);
		} else {
			assert_null(presented.user);
			assert_null(presented.secret.bytes);
		}
		credentials_done(&claimed);
		credentials_done(&presented);
	}
	secret_done(&master_password);
}

static void test_longest_name(void **state)
{
	static const struct secret none;
	char user[CREDENTIALS_USER_MAX + 1];
	const struct row row = {.user = user, .secret = "pw"};
	struct presentation presentation = {"{user}", NULL, "", &none};
	struct credentials claimed = {0};
	struct credentials presented = {0};

	(void)state;
	memset(user, 'u', sizeof(user) - 1);
	user[sizeof(user) - 1] = '\0';
	set_claimed(&claimed, &row);
	assert_int_equal(presentation_make(&presented, &claimed, &presentation), FINE);
	assert_int_equal(strlen(presented.user), CREDENTIALS_USER_MAX);
	credentials_done(&presented);
	presentation.user = "{user}x";
	assert_int_equal(presentation_make(&presented, &claimed, &presentation),
			 PRESENTATION_UNUSABLE);
	assert_null(presented.user);
	credentials_done(&claimed);
}

/* What config_check would have refused. */
static void test_master_without_password(void **state)
{
	static const struct secret none;
	static const struct row row = {.user = "a", .secret = "", .mechanism = SASL_EXTERNAL};
	const struct presentation presentation = {"{user}", NULL, "master", &none};
	struct credentials claimed = {0};
	struct credentials presented = {0};

	(void)state;
	set_claimed(&claimed, &row);
	assert_int_equal(presentation_make(&presented, &claimed, &presentation),
			 PRESENTATION_UNUSABLE);
	assert_null(presented.user);
	credentials_done(&claimed);
}

static void test_sentences(void **state)
{
	(void)state;
	for (int i = PRESENTATION_FINE; i <= PRESENTATION_NO_MEMORY; i++) {
		const char *sentence = presentation_sentence((enum presentation_fault)i);

		assert_true(sentence[0] != '\0');
		for (int j = PRESENTATION_FINE; j < i; j++) {
			assert_string_not_equal(sentence,
						presentation_sentence((enum presentation_fault)j));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_longest_name),
		cmocka_unit_test(test_master_without_password),
		cmocka_unit_test(test_sentences),
	};

	return cmocka_run_group_tests_name("presentation", tests, NULL, NULL);
}
