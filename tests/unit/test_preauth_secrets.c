/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login keeps no secret longer than it is needed: the copies of a password are
 * counted in our own memory.
 */
#include "imap/preauth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "imap/refusal.h"
#include "support/canary.h"
#include "support/preauth_dialogue.h"

static const struct dialogue all = {
	.front = {.secrets_allowed = true, .mechanisms = SASL_ALL},
	.certified_user = "u1",
};

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

/* Feeds HEAD, the canary, REST; gives the verdict. */
static enum preauth_verdict feed_canary(struct preauth *preauth, const char *head, const char *rest)
{
	char text[CANARY_LENGTH];
	struct buffer input = {0};
	struct buffer reply = {0};
	enum preauth_verdict verdict;

	canary_write(text);
	buffer_append_text(&input, head);
	buffer_append(&input, text, sizeof(text));
	buffer_append_text(&input, rest);
	explicit_bzero(text, sizeof(text));
	verdict = preauth_feed(preauth, &input, &reply);
	buffer_done(&input);
	buffer_done(&reply);
	return verdict;
}

/* Feeds HEAD, a PLAIN message of `user` and the canary in base64, and CRLF. */
static enum preauth_verdict feed_plain(struct preauth *preauth, const char *head, const char *user)
{
	char text[CANARY_LENGTH];
	struct buffer message = {0};
	struct buffer input = {0};
	struct buffer reply = {0};
	enum preauth_verdict verdict;

	canary_write(text);
	buffer_append_byte(&message, '\0');
	buffer_append_text(&message, user);
	buffer_append_byte(&message, '\0');
	buffer_append(&message, text, sizeof(text));
	explicit_bzero(text, sizeof(text));
	buffer_append_text(&input, head);
	base64_encode(&input, buffer_bytes(&message), message.length);
	buffer_append_text(&input, "\r\n");
	buffer_done(&message);
	verdict = preauth_feed(preauth, &input, &reply);
	buffer_done(&input);
	buffer_done(&reply);
	return verdict;
}

/* C105: the password is gone when its login is. */
static void test_no_secret_stays(void **state)
{
	static const struct {
		const char *head;
		const char *rest;
	} logins[] = {
		{"a LOGIN u1 ", "\r\n"},
		{"a LOGIN u1 \"", "\"\r\n"},
		{"a LOGIN u1 {64+}\r\n", "\r\n"},
		{"a LOGIN {64+}\r\n", " pw\r\n"},
	};
	static const struct {
		const char *head;
		const char *rest;
	} rejected[] = {
		{"a LOGIN u1 ", " x\r\n"},
		{"a LOGIN u1 \"", "\r\n"},
		{"a LOGIN u1 {64+}\r\n", "x\r\n"},
		{"a LOGIN \"\" ", "\r\n"},
		{"a LOGIN u1 ", "\xff"},
		{"a AUTHENTICATE PLAIN ", "x\r\n"},
		{"a AUTHENTICATE PLAIN ", "\r\n"},
		{"a AUTHENTICATE PLAIN\r\n", "x\r\n"},
		{"a AUTHENTICATE FOO ", "\r\nb NOOP\r\n"},
		{"a AUTHENTICATE LOGIN ", "x\r\n"},
		{"a AUTHENTICATE LOGIN ", "\r\n*\r\n"},
		{"a AUTHENTICATE LOGIN dTE=\r\n", "x\r\n"},
		{"a STARTTLS ", "\r\n"},
	};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	for (size_t i = 0; i < array_length(logins); i++) {
		struct preauth *preauth = start(&dialogue_with_tls);
		struct buffer reply = {0};

		assert_int_equal(feed_canary(preauth, logins[i].head, logins[i].rest),
				 PREAUTH_LOGIN);
		assert_int_equal(canary_count(), 1);
		preauth_refuse(preauth, &REFUSAL_CREDENTIALS, &reply);
		assert_int_equal(canary_count(), 0);
		assert_int_equal(feed_canary(preauth, logins[i].head, logins[i].rest),
				 PREAUTH_LOGIN);
		preauth_free(preauth);
		assert_int_equal(canary_count(), 0);
		buffer_done(&reply);
	}
	for (size_t i = 0; i < array_length(rejected); i++) {
		struct preauth *preauth = start(&all);

		assert_int_equal(feed_canary(preauth, rejected[i].head, rejected[i].rest),
				 PREAUTH_MORE);
		assert_int_equal(canary_count(), 0);
		preauth_free(preauth);
	}
}

/* C105, decoded from base64. */
static void test_no_message_stays(void **state)
{
	static const char *const heads[] = {"a AUTHENTICATE PLAIN ", "a AUTHENTICATE PLAIN\r\n"};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	for (size_t i = 0; i < array_length(heads); i++) {
		struct preauth *preauth = start(&dialogue_with_tls);
		struct buffer reply = {0};

		assert_int_equal(feed_plain(preauth, heads[i], "u1"), PREAUTH_LOGIN);
		assert_int_equal(canary_count(), 1);
		preauth_refuse(preauth, &REFUSAL_CREDENTIALS, &reply);
		assert_int_equal(canary_count(), 0);
		assert_int_equal(feed_plain(preauth, heads[i], ""), PREAUTH_MORE);
		assert_int_equal(canary_count(), 0);
		assert_int_equal(feed_plain(preauth, heads[i], "u\x7f"), PREAUTH_MORE);
		assert_int_equal(canary_count(), 0);
		preauth_free(preauth);
		buffer_done(&reply);
	}
}

/* Feeds HEAD, the canary in base64, and CRLF. */
static enum preauth_verdict feed_encoded(struct preauth *preauth, const char *head)
{
	char text[CANARY_LENGTH];
	struct buffer input = {0};
	struct buffer reply = {0};
	enum preauth_verdict verdict;

	canary_write(text);
	buffer_append_text(&input, head);
	base64_encode(&input, text, sizeof(text));
	explicit_bzero(text, sizeof(text));
	buffer_append_text(&input, "\r\n");
	verdict = preauth_feed(preauth, &input, &reply);
	buffer_done(&input);
	buffer_done(&reply);
	return verdict;
}

static enum preauth_verdict feed_text(struct preauth *preauth, const char *text)
{
	struct buffer input = {0};
	struct buffer reply = {0};
	enum preauth_verdict verdict;

	buffer_append_text(&input, text);
	verdict = preauth_feed(preauth, &input, &reply);
	buffer_done(&input);
	buffer_done(&reply);
	return verdict;
}

/* C105 for AUTHENTICATE LOGIN, whose user name waits for the password. */
static void test_no_prompted_secret_stays(void **state)
{
	struct preauth *preauth;
	struct buffer reply = {0};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	preauth = start(&all);
	assert_int_equal(feed_encoded(preauth, "a AUTHENTICATE LOGIN dTE=\r\n"), PREAUTH_LOGIN);
	assert_int_equal(canary_count(), 1);
	preauth_refuse(preauth, &REFUSAL_CREDENTIALS, &reply);
	assert_int_equal(canary_count(), 0);
	assert_int_equal(feed_encoded(preauth, "a AUTHENTICATE LOGIN "), PREAUTH_MORE);
	assert_int_equal(canary_count(), 1);
	assert_int_equal(feed_text(preauth, "*\r\n"), PREAUTH_MORE);
	assert_int_equal(canary_count(), 0);
	assert_int_equal(feed_encoded(preauth, "a AUTHENTICATE LOGIN "), PREAUTH_MORE);
	assert_int_equal(feed_text(preauth, "cHc=\r\n"), PREAUTH_LOGIN);
	assert_int_equal(canary_count(), 1);
	preauth_free(preauth);
	assert_int_equal(canary_count(), 0);
	buffer_done(&reply);
}

/* The canary's letters are base64 themselves. */
static void test_no_response_stays(void **state)
{
	struct preauth *preauth;
	struct buffer reply = {0};

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	preauth = start(&all);
	assert_int_equal(feed_text(preauth, "a AUTHENTICATE SCRAM-SHA-1 biwsbj11MSxyPWFiYw==\r\n"),
			 PREAUTH_LOGIN);
	preauth_challenge(preauth, "", &reply);
	assert_int_equal(feed_canary(preauth, "", "\r\n"), PREAUTH_RESPONSE);
	assert_int_equal(canary_count(), 1);
	preauth_challenge(preauth, "", &reply);
	assert_int_equal(canary_count(), 0);
	assert_int_equal(feed_canary(preauth, "", "!\r\n"), PREAUTH_RESPONSE);
	assert_int_equal(canary_count(), 0);
	preauth_refuse(preauth, &REFUSAL_CREDENTIALS, &reply);
	assert_int_equal(feed_text(preauth, "a AUTHENTICATE SCRAM-SHA-1 biwsbj11MSxyPWFiYw==\r\n"),
			 PREAUTH_LOGIN);
	preauth_challenge(preauth, "", &reply);
	assert_int_equal(feed_canary(preauth, "", "\r\n"), PREAUTH_RESPONSE);
	preauth_refuse(preauth, &REFUSAL_CREDENTIALS, &reply);
	assert_int_equal(canary_count(), 0);
	preauth_free(preauth);
	buffer_done(&reply);
}

/* What is not kept for want of a place, or of room, is not kept in part. */
static void test_dropped_line_is_wiped(void **state)
{
	static const struct preauth_limits limits = {
		.line = 200, .sasl_line = 100, .tag = 9, .bad_commands = 80, .commands = 100};
	struct dialogue narrow = all;
	struct preauth *preauth;

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	narrow.limits = &limits;
	preauth = start(&narrow);
	assert_int_equal(feed_canary(preauth, "a AUTHENTICATE PLAIN ", ""), PREAUTH_MORE);
	assert_int_equal(canary_count(), 1);
	assert_int_equal(feed_text(preauth, "AAAAAAAAAAAAAAAAAAAA"), PREAUTH_MORE);
	assert_int_equal(canary_count(), 0);
	preauth_free(preauth);
}

/* C63: where it is not allowed no copy is made at all, not even while the line is still coming. */
static void test_forbidden_secret_is_not_kept(void **state)
{
	static const struct dialogue tokens = {
		.front = {.secrets_allowed = true, .mechanisms = SASL_TOKENS},
	};
	struct preauth *preauth;

	(void)state;
	if (!canary_can_count()) {
		skip();
	}
	preauth = start(&dialogue_without_tls);
	assert_int_equal(feed_canary(preauth, "a LOGIN u1 ", ""), PREAUTH_MORE);
	assert_int_equal(canary_count(), 0);
	assert_int_equal(feed_canary(preauth, "\r\nb AUTHENTICATE PLAIN ", ""), PREAUTH_MORE);
	assert_int_equal(canary_count(), 0);
	preauth_free(preauth);

	preauth = start(&tokens);
	assert_int_equal(feed_canary(preauth, "a LOGIN u1 ", ""), PREAUTH_MORE);
	assert_int_equal(canary_count(), 0);
	preauth_free(preauth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_secret_stays),
		cmocka_unit_test(test_no_message_stays),
		cmocka_unit_test(test_no_prompted_secret_stays),
		cmocka_unit_test(test_no_response_stays),
		cmocka_unit_test(test_dropped_line_is_wiped),
		cmocka_unit_test(test_forbidden_secret_is_not_kept),
	};

	return cmocka_run_group_tests_name("preauth_secrets", tests, NULL, NULL);
}
