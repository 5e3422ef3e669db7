/* SPDX-License-Identifier: Apache-2.0
 *
 * A password or token: bytes that are wiped when released and that nothing can print.
 */
#ifndef GATEPOST_BASE_SECRET_H
#define GATEPOST_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* struct secret: all zero is a valid empty secret. `bytes` is followed by a NUL that `length`
 * does not count. */
struct secret {
	uint8_t *bytes;
	size_t length;
};

/* secret_set replaces the content by a copy of `length` bytes. False when memory ran out; the old
 * content is wiped in any case. */
must_use bool secret_set(struct secret *secret, const void *bytes, size_t length);

/* secret_done wipes, frees, and leaves the empty zero state. */
void secret_done(struct secret *secret);

#endif
