/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that are wiped when released.
 */
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

bool secret_set(struct secret *secret, const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	if (copy != NULL) {
		memcpy(copy, bytes, length);
		copy[length] = '\0';
	}
	secret_done(secret);
	if (copy == NULL) {
		return false;
	}
	secret->bytes = copy;
	secret->length = length;
	return true;
}

void secret_done(struct secret *secret)
{
	if (secret->bytes != NULL) {
		explicit_bzero(secret->bytes, secret->length);
		free(secret->bytes);
	}
	*secret = (struct secret){0};
}
