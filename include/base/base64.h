/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 as RFC 4648 section 4 and RFC 9051 section 9 have it: padded, one line, nothing else.
 */
#ifndef GATEPOST_BASE_BASE64_H
#define GATEPOST_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct buffer;

/* base64_decode appends the decoded bytes to `out`. False, with `out` as it was, when `text` is not
 * strict base64: a length that is no multiple of 4, a foreign byte, '=' anywhere but at the end,
 * or padding bits that are not zero. The empty text is valid and decodes to nothing. */
must_use bool base64_decode(struct buffer *out, const void *text, size_t length);

/* base64_encode appends the text of `length` bytes. */
void base64_encode(struct buffer *out, const void *bytes, size_t length);

#endif
