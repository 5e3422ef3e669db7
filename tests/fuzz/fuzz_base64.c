/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64: what is decoded is exactly what would be encoded, and bytes survive there and back.
 */
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "base/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_equal(const struct buffer *left, const void *bytes, size_t length)
{
	invariant(left->length == length);
	invariant(memcmp(buffer_bytes(left), length > 0 ? bytes : "", length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer decoded = {0};
	struct buffer encoded = {0};

	if (base64_decode(&decoded, data, size)) {
		base64_encode(&encoded, buffer_bytes(&decoded), decoded.length);
		check_equal(&encoded, data, size);
	} else {
		invariant(decoded.length == 0 && !decoded.failed);
	}
	buffer_truncate(&decoded, 0);
	buffer_truncate(&encoded, 0);
	base64_encode(&encoded, data, size);
	invariant(base64_decode(&decoded, buffer_bytes(&encoded), encoded.length));
	check_equal(&decoded, data, size);
	buffer_done(&decoded);
	buffer_done(&encoded);
	return 0;
}
