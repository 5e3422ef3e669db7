/* SPDX-License-Identifier: Apache-2.0
 *
 * What a certificate can name: host names (RFC 1123 section 2.1, RFC 6125 section 6.4).
 */
#ifndef GATEPOST_CORE_HOST_NAME_INTERNAL_H
#define GATEPOST_CORE_HOST_NAME_INTERNAL_H

#include <stdbool.h>

/* host_name_is tells whether the text is labels with dots between: each of 1 to 63 letters, digits,
 * '-' and '_', no '-' at an end, the last one not a number, at most 253 bytes in all. */
bool host_name_is(const char *text);

/* host_name_is_pattern takes "*" for the leftmost label too, where others follow. */
bool host_name_is_pattern(const char *text);

#endif
