/* SPDX-License-Identifier: Apache-2.0
 *
 * PLAIN messages: whatever becomes credentials keeps their promises, and survives being encoded for
 * a backend and read again.
 */
#include <stdbool.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "imap/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
	size_t length = strlen(name);

	invariant(length >= 1 && length <= CREDENTIALS_USER_MAX);
	invariant(text_is_utf8(name, length) && !text_has_control(name, length));
}

static void check_promises(const struct credentials *credentials)
{
	const struct secret *password = &credentials->password;

	check_name(credentials->user);
	if (credentials->owner != NULL) {
		check_name(credentials->owner);
		invariant(strcmp(credentials->owner, credentials->user) != 0);
	}
	invariant(password->length >= 1 && password->length <= CREDENTIALS_PASSWORD_MAX);
	invariant(!text_has_control(password->bytes, password->length));
}

static bool at_place(const uint8_t *data, size_t size, size_t place, const void *part,
		     size_t length)
{
	return place + length <= size && memcmp(data + place, part, length) == 0;
}

/* The message is these credentials and nothing else: above all, no authzid was dropped. */
static void check_message(const struct credentials *credentials, const uint8_t *data, size_t size)
{
	size_t user_length = strlen(credentials->user);
	size_t owner_length = strnlen((const char *)data, size);
	size_t user_at = owner_length + 1;
	size_t password_at = user_at + user_length + 1;

	invariant(at_place(data, size, user_at, credentials->user, user_length + 1));
	invariant(at_place(data, size, password_at, credentials->password.bytes,
			   credentials->password.length));
	invariant(size == password_at + credentials->password.length);
	if (owner_length > 0) {
		const char *mailbox = credentials_mailbox(credentials);

		invariant(at_place(data, size, 0, mailbox, strlen(mailbox) + 1));
	}
}

static void check_again(const struct credentials *credentials)
{
	struct buffer text = {0};
	struct buffer message = {0};
	struct credentials again = {0};

	sasl_plain_encode(&text, credentials);
	invariant(base64_decode(&message, buffer_bytes(&text), text.length));
	invariant(sasl_plain_parse(&again, buffer_bytes(&message), message.length) ==
		  CREDENTIALS_FINE);
	invariant(strcmp(again.user, credentials->user) == 0);
	invariant(strcmp(credentials_mailbox(&again), credentials_mailbox(credentials)) == 0);
	invariant(again.password.length == credentials->password.length);
	invariant(memcmp(again.password.bytes, credentials->password.bytes,
			 again.password.length) == 0);
	credentials_done(&again);
	buffer_done(&text);
	buffer_done(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials credentials = {0};

	if (sasl_plain_parse(&credentials, data, size) == CREDENTIALS_FINE) {
		check_promises(&credentials);
		check_message(&credentials, data, size);
		check_again(&credentials);
	} else {
		invariant(credentials.user == NULL && credentials.password.bytes == NULL);
	}
	credentials_done(&credentials);
	return 0;
}
