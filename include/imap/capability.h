/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability lists: the one that the proxy announces before login, and what of a backend's list a
 * client may see after it (RFC 9051 section 6.1.1).
 */
#ifndef GATEPOST_IMAP_CAPABILITY_H
#define GATEPOST_IMAP_CAPABILITY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"

struct buffer;

/* Room for the atoms of an offer, with spaces between and a NUL. What does not fit is left out. */
#define CAPABILITY_ATOMS_SIZE 1024

/* struct capability_offer is what one backend offers before login, or all of them together. Zero is
 * "not known yet". */
struct capability_offer {
	bool known;
	unsigned mechanisms;               /* set of SASL_BIT */
	char atoms[CAPABILITY_ATOMS_SIZE]; /* those that a client may be told, see below */
};

/* capability_offer_learn reads a backend's list from before the login. Its atoms are those that
 * hold behind the proxy (capability_append_filtered) and that the proxy does not answer for itself:
 * without IMAP4rev1, LITERAL+, LITERAL-, SASL-IR, ID, and without what must not be promised before
 * it is known who logs in: COMPRESS=*, UTF8=*, IMAP4rev2, and a bare LOGIN. */
void capability_offer_learn(struct capability_offer *offer, const void *list, size_t length);

/* capability_offer_meet leaves in `common` what both offer; an offer that is not known yet changes
 * nothing, and to a `common` that is not known yet the other is copied. */
void capability_offer_meet(struct capability_offer *common, const struct capability_offer *other);

/* struct capability_front is all that decides over the list before login; borrowed. */
struct capability_front {
	bool secrets_allowed; /* TLS is on, or plaintext logins are allowed on purpose */
	bool starttls;        /* STARTTLS is possible, and TLS not on yet */
	unsigned mechanisms;  /* set of those that work now */
	const char *atoms;    /* further ones, single spaces between; NULL or "" for none */
};

/* capability_append_preauth appends the list before login, without the word CAPABILITY: the one
 * source of greeting and CAPABILITY reply. IMAP4rev1 LITERAL- SASL-IR ID, then the atoms, then
 * STARTTLS, and AUTH=... where secrets are allowed. LOGINDISABLED where they are not, or where no
 * mechanism of SASL_PASSWORDS works: LOGIN is one more way to say a password. */
void capability_append_preauth(struct buffer *out, const struct capability_front *front);

/* capability_check_atoms tells whether an operator may have these atoms announced: each is an atom,
 * and none is the proxy's own business (IMAP4rev1, LITERAL-, SASL-IR, ID) or one that it cannot
 * keep (AUTH=*, STARTTLS, LOGINDISABLED, LITERAL+, LOGIN, COMPRESS=*, UNAUTHENTICATE,
 * LOGIN-REFERRALS, MAILBOX-REFERRALS, X-*PROXY*). Single spaces stand between them; none at all is
 * fine. On failure `error` names it. */
must_use bool capability_check_atoms(const char *atoms, struct error *error);

/* capability_append_filtered appends those atoms of a backend's list that hold behind a proxy,
 * verbatim and in order, single spaces between. Dropped: STARTTLS, LOGINDISABLED, AUTH=*,
 * UNAUTHENTICATE, LOGIN-REFERRALS and MAILBOX-REFERRALS (RFC 2221, 2193), X-*PROXY*, and whatever
 * is no atom and would therefore break the line or the response code around the list. */
void capability_append_filtered(struct buffer *out, const void *list, size_t length);

/* capability_has tells whether the space-separated list holds the atom, letters folded. */
bool capability_has(const void *list, size_t length, const char *atom);

#endif
