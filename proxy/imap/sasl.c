/* SPDX-License-Identifier: Apache-2.0
 *
 * The PLAIN message, read and written.
 */
#include "imap/sasl.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"

enum credentials_fault sasl_plain_parse(struct credentials *credentials, const void *message,
					size_t length)
{
	const uint8_t *owner = message;
	const uint8_t *end = owner + length;
	const uint8_t *first = memchr(owner, '\0', length);
	const uint8_t *second;
	struct credentials_claim claim = {.owner = owner};

	if (first == NULL) {
		return CREDENTIALS_MALFORMED;
	}
	second = memchr(first + 1, '\0', (size_t)(end - (first + 1)));
	if (second == NULL || memchr(second + 1, '\0', (size_t)(end - (second + 1))) != NULL) {
		return CREDENTIALS_MALFORMED;
	}
	claim.owner_length = (size_t)(first - owner);
	claim.user = first + 1;
	claim.user_length = (size_t)(second - (first + 1));
	claim.password = second + 1;
	claim.password_length = (size_t)(end - (second + 1));
	return credentials_set(credentials, &claim);
}

void sasl_plain_encode(struct buffer *out, const struct credentials *credentials)
{
	struct buffer message = {0};

	if (credentials->owner != NULL) {
		buffer_append_text(&message, credentials->owner);
	}
	buffer_append_byte(&message, '\0');
	buffer_append_text(&message, credentials->user);
	buffer_append_byte(&message, '\0');
	buffer_append(&message, credentials->password.bytes, credentials->password.length);
	if (message.failed) {
		out->failed = true;
	} else {
		base64_encode(out, buffer_bytes(&message), message.length);
	}
	buffer_done(&message);
}
