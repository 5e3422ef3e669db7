/* SPDX-License-Identifier: Apache-2.0
 *
 * First messages of every mechanism: whatever becomes credentials keeps their promises, and
 * survives being encoded for a backend and read again. The first byte says which mechanism; behind
 * it comes the message.
 */
#include <stdbool.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "imap/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum sasl_mechanism mechanisms[] = {
	SASL_PLAIN,       SASL_XOAUTH2,       SASL_OAUTHBEARER,
	SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_512,
};

static void check_name(const char *name)
{
	size_t length = strlen(name);

	invariant(length >= 1 && length <= CREDENTIALS_USER_MAX);
	invariant(text_is_utf8(name, length) && !text_has_control(name, length));
}

static void check_promises(const struct credentials *credentials, enum sasl_mechanism mechanism)
{
	const struct secret *secret = &credentials->secret;

	check_name(credentials->user);
	if (credentials->owner != NULL) {
		check_name(credentials->owner);
		invariant(strcmp(credentials->owner, credentials->user) != 0);
		invariant((SASL_BIT(mechanism) & SASL_TOKENS) == 0);
	}
	invariant(credentials->mechanism == mechanism);
	invariant(secret->length >= 1);
	invariant(secret->length <=
		  (mechanism == SASL_PLAIN ? CREDENTIALS_PASSWORD_MAX : CREDENTIALS_SECRET_MAX));
	invariant(!text_has_control(secret->bytes, secret->length));
}

static bool at_place(const uint8_t *data, size_t size, size_t place, const void *part,
		     size_t length)
{
	return place + length <= size && memcmp(data + place, part, length) == 0;
}

/* The message is these credentials and nothing else: above all, no authzid was dropped. */
static void check_plain(const struct credentials *credentials, const uint8_t *data, size_t size)
{
	size_t user_length = strlen(credentials->user);
	size_t owner_length = strnlen((const char *)data, size);
	size_t user_at = owner_length + 1;
	size_t password_at = user_at + user_length + 1;

	invariant(at_place(data, size, user_at, credentials->user, user_length + 1));
	invariant(at_place(data, size, password_at, credentials->secret.bytes,
			   credentials->secret.length));
	invariant(size == password_at + credentials->secret.length);
	if (owner_length > 0) {
		const char *mailbox = credentials_mailbox(credentials);

		invariant(at_place(data, size, 0, mailbox, strlen(mailbox) + 1));
	}
}

static bool holds(const uint8_t *data, size_t size, const void *part, size_t length)
{
	return memmem(data, size, part, length) != NULL;
}

static void check_token(const struct credentials *credentials, const uint8_t *data, size_t size)
{
	const struct secret *token = &credentials->secret;

	invariant(holds(data, size, token->bytes, token->length));
	for (size_t i = 0; i < token->length; i++) {
		invariant(token->bytes[i] > 0x20 && token->bytes[i] < 0x7F);
	}
}

/* Without an owner there is no authzid, or the user's own name. Both are escaped in one way only.
 */
static void check_no_owner(const uint8_t *data, size_t size)
{
	const uint8_t *name = data + 4;
	const uint8_t *end = memchr(data + 2, ',', size - 2);
	size_t length;

	if (end == data + 2) {
		return;
	}
	length = (size_t)(end - name);
	invariant(at_place(data, size, 2, "a=", 2) && length > 0);
	invariant(at_place(data, size, length + 5, "n=", 2));
	invariant(at_place(data, size, length + 7, name, length + 1));
}

/* What is signed is kept as it came; no channel is bound, and nothing mandatory is promised. */
static void check_exchange(const struct credentials *credentials, const uint8_t *data, size_t size)
{
	const struct secret *message = &credentials->secret;

	invariant(message->length == size && at_place(data, size, 0, message->bytes, size));
	invariant((data[0] == 'n' || data[0] == 'y') && data[1] == ',');
	invariant(!holds(data, size, ",m=", 3));
	if (credentials->owner == NULL) {
		check_no_owner(data, size);
	}
}

static void check_message(const struct credentials *credentials, enum sasl_mechanism mechanism,
			  const uint8_t *data, size_t size)
{
	switch (mechanism) {
	case SASL_PLAIN:
		check_plain(credentials, data, size);
		break;
	case SASL_XOAUTH2:
	case SASL_OAUTHBEARER:
		check_token(credentials, data, size);
		break;
	default:
		check_exchange(credentials, data, size);
	}
}

static void check_again(const struct credentials *credentials)
{
	struct buffer text = {0};
	struct buffer message = {0};
	struct credentials again = {0};

	sasl_encode(&text, credentials);
	invariant(base64_decode(&message, buffer_bytes(&text), text.length));
	invariant(sasl_parse(&again, (enum sasl_mechanism)credentials->mechanism,
			     buffer_bytes(&message), message.length) == CREDENTIALS_FINE);
	invariant(again.mechanism == credentials->mechanism);
	invariant(strcmp(again.user, credentials->user) == 0);
	invariant((again.owner == NULL) == (credentials->owner == NULL));
	invariant(strcmp(credentials_mailbox(&again), credentials_mailbox(credentials)) == 0);
	invariant(again.secret.length == credentials->secret.length);
	invariant(memcmp(again.secret.bytes, credentials->secret.bytes, again.secret.length) == 0);
	credentials_done(&again);
	buffer_done(&text);
	buffer_done(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials credentials = {0};
	enum sasl_mechanism mechanism;

	if (size == 0) {
		return 0;
	}
	mechanism = mechanisms[data[0] % array_length(mechanisms)];
	if (sasl_parse(&credentials, mechanism, data + 1, size - 1) == CREDENTIALS_FINE) {
		check_promises(&credentials, mechanism);
		check_message(&credentials, mechanism, data + 1, size - 1);
		check_again(&credentials);
	} else {
		invariant(credentials.user == NULL && credentials.secret.bytes == NULL);
	}
	credentials_done(&credentials);
	return 0;
}
