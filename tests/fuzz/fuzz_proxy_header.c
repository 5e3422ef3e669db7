/* SPDX-License-Identifier: Apache-2.0
 *
 * PROXY headers: the verdict never changes its mind when more bytes arrive, what is taken is clean,
 * and what was read is read again when it is written.
 */
#include "net/proxy_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes in a block of their own, so that a read past their end is seen. */
static enum proxy_header_verdict read_exactly(struct proxy_header *header, const uint8_t *data,
					      size_t length, size_t *used)
{
	const char *why = NULL;
	uint8_t *copy = malloc(length > 0 ? length : 1);
	enum proxy_header_verdict verdict;

	invariant(copy != NULL);
	memcpy(copy, length > 0 ? data : (const uint8_t *)"", length);
	verdict = proxy_header_read(header, copy, length, used, &why);
	invariant((verdict == PROXY_HEADER_BAD) == (why != NULL));
	free(copy);
	return verdict;
}

static void check_clean(const struct proxy_header *header, size_t used)
{
	size_t length = strlen(header->authority);

	invariant(used > 0 && used <= PROXY_HEADER_MAX);
	invariant(length <= PROXY_HEADER_AUTHORITY_MAX);
	invariant(!text_has_control(header->authority, length));
	invariant(header->local == (header->source.family == AF_UNSPEC));
	invariant(header->local == (header->destination.family == AF_UNSPEC));
}

static void check_written(const struct proxy_header *header)
{
	struct proxy_header_client client = {
		.source = header->source,
		.destination = header->destination,
		.authority = header->authority,
		.tls_version = header->tls ? "TLSv1.3" : NULL,
	};
	struct proxy_header again;
	struct buffer out = {0};
	size_t used;

	proxy_header_write(&out, &client);
	invariant(read_exactly(&again, buffer_bytes(&out), out.length, &used) == PROXY_HEADER_DONE);
	invariant(used == out.length && again.local == header->local);
	if (!header->local) {
		invariant(addr_equal(&again.source, &header->source));
		invariant(addr_equal(&again.destination, &header->destination));
		invariant(strcmp(again.authority, header->authority) == 0);
		invariant(again.tls == header->tls);
	}
	buffer_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header header = {0};
	size_t used = 0;
	size_t length = 0;
	enum proxy_header_verdict verdict = PROXY_HEADER_MORE;

	while (length < size && length <= PROXY_HEADER_MAX && verdict == PROXY_HEADER_MORE) {
		length++;
		verdict = read_exactly(&header, data, length, &used);
	}
	if (verdict == PROXY_HEADER_DONE) {
		invariant(used == length);
		check_clean(&header, used);
		check_written(&header);
	}
	invariant(verdict != PROXY_HEADER_MORE || length == size);
	invariant(read_exactly(&header, data, size, &used) == verdict);
	return 0;
}
