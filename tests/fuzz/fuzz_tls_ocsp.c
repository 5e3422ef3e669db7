/* SPDX-License-Identifier: Apache-2.0
 *
 * OCSP responses. One that is read says the same when it stands alone in memory, and is read to its
 * last byte: cut, or with more behind it, it is none.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../proxy/net/tls_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_bytes(const uint8_t *bytes, size_t length, struct tls_validity *validity,
		       struct error *error)
{
	static const uint8_t serial_der[] = {2, 1, 77};
	CBS response;
	CBS serial;

	CBS_init(&response, bytes, length);
	CBS_init(&serial, serial_der, sizeof(serial_der));
	return tls_ocsp_read(response, serial, validity, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_validity validity = {0};
	struct tls_validity again = {0};
	struct error error = {0};
	uint8_t *more;

	if (!read_bytes(data, size, &validity, &error)) {
		invariant(error.text[0] != '\0' && validity.begin == 0 && validity.end == 0);
		return 0;
	}
	invariant(error.text[0] == '\0' && validity.end != 0);
	more = calloc(1, size + 1);
	invariant(more != NULL);
	memcpy(more, data, size);
	invariant(read_bytes(more, size, &again, &error));
	invariant(again.begin == validity.begin && again.end == validity.end);
	invariant(!read_bytes(more, size + 1, &again, &error));
	invariant(!read_bytes(more, size - 1, &again, &error));
	free(more);
	return 0;
}
