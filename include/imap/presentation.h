/* SPDX-License-Identifier: Apache-2.0
 *
 * How a login is presented to a backend: which name the user has there, and when the proxy vouches
 * for the user with credentials of its own.
 */
#ifndef GATEPOST_IMAP_PRESENTATION_H
#define GATEPOST_IMAP_PRESENTATION_H

#include "base/base.h"
#include "imap/credentials.h"

/* struct presentation is a backend's way; strings are borrowed. */
struct presentation {
	const char *user;        /* template of names there, "{user}" leaves them as they are */
	const char *mailbox;     /* the name that the route gives the mailbox there, or NULL; it
				  * wins over the template */
	const char *master_user; /* "" = none */
	const struct secret *master_password;
};

enum presentation_fault {
	PRESENTATION_FINE,
	PRESENTATION_NO_MASTER, /* SASL_EXTERNAL, and no master user to vouch for the client */
	PRESENTATION_OWNER,     /* SASL_EXTERNAL for somebody else's mailbox: the master user may
				 * open it, but nobody has said that this client may */
	PRESENTATION_MASTER,   /* SASL_EXTERNAL, and the user is called there as the master user is:
				* with that password it would be the master user's own login */
	PRESENTATION_SIGNED,   /* an exchange, and the user has another name there: what the client
				* signs cannot be changed */
	PRESENTATION_UNUSABLE, /* the name there would be empty, too long or malformed */
	PRESENTATION_NO_MEMORY,
};

/* presentation_make writes into `presented` (zero at first) what the backend gets; nothing unless
 * the answer is PRESENTATION_FINE. The route's mailbox is the name of the owner, or of the user
 * where there is none; all other names go through the template.
 *
 *	password, token      the same secret under the name there; an owner is renamed too
 *	SCRAM                the same message, and only where no name changes
 *	EXTERNAL             PLAIN with the master user, and the mailbox as the owner
 *
 * The master user speaks only for clients whom the proxy itself has identified: a password that
 * nobody has checked is never replaced by one that opens every mailbox. */
must_use enum presentation_fault presentation_make(struct credentials *presented,
						   const struct credentials *claimed,
						   const struct presentation *presentation);

/* presentation_sentence says a fault in words for the log. Static text. */
const char *presentation_sentence(enum presentation_fault fault);

#endif
