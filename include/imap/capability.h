/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability lists: the one that the proxy announces before login, and what of a backend's list a
 * client may see after it (RFC 9051 section 6.1.1).
 */
#ifndef GATEPOST_IMAP_CAPABILITY_H
#define GATEPOST_IMAP_CAPABILITY_H

#include <stdbool.h>
#include <stddef.h>

struct buffer;

/* capability_append_preauth appends the list before login, without the word CAPABILITY: the one
 * source of greeting, CAPABILITY reply and behaviour. `secrets_allowed` as in preauth_settings. */
void capability_append_preauth(struct buffer *out, bool secrets_allowed);

/* capability_append_filtered appends those atoms of a backend's list that hold behind a proxy,
 * verbatim and in order, single spaces between. Dropped: STARTTLS, LOGINDISABLED, AUTH=*,
 * UNAUTHENTICATE, LOGIN-REFERRALS, X-*PROXY*, and whatever is no atom and would therefore break the
 * line or the response code around the list. */
void capability_append_filtered(struct buffer *out, const void *list, size_t length);

/* capability_has tells whether the space-separated list holds the atom, letters folded. */
bool capability_has(const void *list, size_t length, const char *atom);

#endif
