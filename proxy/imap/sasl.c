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

	if (first == NULL) {
		return CREDENTIALS_MALFORMED;
	}
	second = memchr(first + 1, '\0', (size_t)(end - (first + 1)));
	if (second == NULL || memchr(second + 1, '\0', (size_t)(end - (second + 1))) != NULL) {
		return CREDENTIALS_MALFORMED;
	}
	return credentials_set(credentials, first + 1, (size_t)(second - (first + 1)), owner,
			       (size_t)(first - owner), second + 1, (size_t)(end - (second + 1)));
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
