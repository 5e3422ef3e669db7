/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of close reasons: labels that a metric can carry, sentences that a person can read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session/close_reason.h"

static void test_labels_are_words_of_their_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *label = close_reason_label((enum close_reason)i);

		assert_true(strlen(label) > 0);
		assert_int_equal(strspn(label, "abcdefghijklmnopqrstuvwxyz_"), strlen(label));
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(label, close_reason_label((enum close_reason)j));
		}
	}
}

static void test_sentences(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *sentence = close_reason_sentence((enum close_reason)i);

		assert_non_null(strchr(sentence, ' '));
		assert_int_not_equal(sentence[strlen(sentence) - 1], '.');
	}
}

static void test_blame(void **state)
{
	(void)state;
	assert_int_equal(close_reason_blame(CLOSE_LOGOUT), BLAME_NOBODY);
	assert_int_equal(close_reason_blame(CLOSE_NOT_IMAP), BLAME_CLIENT);
	assert_int_equal(close_reason_blame(CLOSE_BACKEND_CUT), BLAME_NOBODY);
	assert_int_equal(close_reason_blame(CLOSE_BACKEND_LOST), BLAME_BACKEND);
	assert_int_equal(close_reason_blame(CLOSE_NO_MEMORY), BLAME_OURSELVES);
	assert_string_equal(close_reason_label(CLOSE_BACKEND_LOST), "backend_lost");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels_are_words_of_their_own),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_blame),
	};

	return cmocka_run_group_tests_name("close_reason", tests, NULL, NULL);
}
