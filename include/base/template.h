/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts with {user}, {local} and {domain} in them: what a directory is asked, and what a user is
 * called on a backend.
 */
#ifndef GATEPOST_BASE_TEMPLATE_H
#define GATEPOST_BASE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"

struct buffer;

/* template_check tells whether every brace belongs to a placeholder, and whether there is one at
 * all. On failure `error` says what would be right. */
must_use bool template_check(const char *template, struct error *error);

/* template_expand appends the template for `user`: {local} is what stands before the last '@' (all
 * of it where there is none), {domain} what stands behind it (nothing where there is none). Other
 * braces stand for themselves, and so do those of the user. */
void template_expand(struct buffer *out, const char *template, const char *user);

/* template_find is where the first placeholder of `template` begins, and its length; NULL when
 * there is none. */
const char *template_find(const char *template, size_t *length);

#endif
