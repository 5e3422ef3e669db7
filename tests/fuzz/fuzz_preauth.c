/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login: the same words, verdicts and leftovers however the input is cut; only
 * whole lines; credentials that keep their promises. Every login is refused, until the input ends.
 * The first byte chooses the listener's settings.
 */
#include <string.h>

#include "base/base.h"
#include "base/buffer.h"
#include "base/text.h"
#include "cuts.h"
#include "imap/credentials.h"
#include "imap/preauth.h"
#include "imap/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
	size_t length = strlen(name);

	invariant(length >= 1 && length <= CREDENTIALS_USER_MAX);
	invariant(text_is_utf8(name, length) && !text_has_control(name, length));
}

static void refuse(struct preauth *preauth, const struct preauth_settings *settings,
		   struct buffer *reply)
{
	const struct credentials *credentials = preauth_credentials(preauth);
	const struct secret *password = &credentials->password;

	invariant(settings->secrets_allowed);
	check_name(credentials->user);
	if (credentials->owner != NULL) {
		check_name(credentials->owner);
	}
	invariant(password->length >= 1 && password->length <= CREDENTIALS_PASSWORD_MAX);
	invariant(!text_has_control(password->bytes, password->length));
	invariant(preauth_tag(preauth)[0] != '\0');
	/* Part of what must not depend on the cuts. */
	buffer_append_text(reply, credentials->user);
	buffer_append_text(reply, credentials_mailbox(credentials));
	buffer_append(reply, password->bytes, password->length);
	preauth_refuse(preauth, &REFUSAL_CREDENTIALS, reply);
	invariant(preauth_credentials(preauth)->user == NULL);
}

static enum preauth_verdict feed(struct preauth *preauth, const struct preauth_settings *settings,
				 struct buffer *input, struct buffer *reply)
{
	enum preauth_verdict verdict;

	do {
		size_t before = reply->length;

		verdict = preauth_feed(preauth, input, reply);
		if (reply->length > before) {
			invariant(buffer_bytes(reply)[reply->length - 1] == '\n');
		}
		if (verdict == PREAUTH_LOGIN) {
			refuse(preauth, settings, reply);
		}
	} while (verdict == PREAUTH_LOGIN);
	invariant(verdict != PREAUTH_MORE || input->length == 0);
	return verdict;
}

static void run(const struct preauth_settings *settings, const uint8_t *data, size_t size,
		uint32_t seed, struct buffer *reply)
{
	struct preauth *preauth = preauth_new(settings);
	struct buffer input = {0};
	enum preauth_verdict verdict = PREAUTH_MORE;
	size_t at = 0;

	invariant(preauth != NULL);
	while (at < size && verdict == PREAUTH_MORE) {
		size_t piece = seed == 0 ? size - at : cuts_next(&seed, size - at);

		buffer_append(&input, data + at, piece);
		at += piece;
		verdict = feed(preauth, settings, &input, reply);
	}
	buffer_printf(reply, "%d %d", verdict, preauth_asked_capability(preauth));
	if (verdict != PREAUTH_MORE) {
		buffer_printf(reply, " %zu", at - input.length);
	}
	preauth_free(preauth);
	buffer_done(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct preauth_settings settings = {0};
	struct buffer whole = {0};
	struct buffer pieces = {0};

	if (size == 0) {
		return 0;
	}
	settings.secrets_allowed = (data[0] & 1) == 0;
	settings.line_max = (data[0] & 2) == 0 ? 8192 : 64;
	run(&settings, data + 1, size - 1, 0, &whole);
	run(&settings, data + 1, size - 1, cuts_seed(data, size), &pieces);
	invariant(whole.length == pieces.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&pieces), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&pieces);
	return 0;
}
