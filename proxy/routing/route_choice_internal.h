/* SPDX-License-Identifier: Apache-2.0
 *
 * From what the directory says of a user to a backend, or to a reason why not.
 */
#ifndef GATEPOST_ROUTING_ROUTE_CHOICE_INTERNAL_H
#define GATEPOST_ROUTING_ROUTE_CHOICE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "roster_internal.h"
#include "route_value_internal.h"
#include "url_backends_internal.h"

struct backend;
struct referral;

/* struct route_chooser is what is chosen from. */
struct route_chooser {
	const struct config *config;
	struct roster roster;
	struct url_backends by_url;
	struct tls_client *url_tls_client; /* NULL: URLs with TLS are not usable */
};

enum route_choice_verdict {
	ROUTE_CHOICE_FOUND,
	ROUTE_CHOICE_UNKNOWN,  /* nobody knows the user, and such are rejected */
	ROUTE_CHOICE_UNUSABLE, /* the directory's answer cannot be used, `why` */
	ROUTE_CHOICE_DOWN,     /* the backend is down, or there is none to choose, `why` */
	ROUTE_CHOICE_ASSIGN,   /* it was assigned to a member that is left or moves users away */
};

struct route_choice {
	enum route_choice_verdict verdict;
	struct backend *backend; /* FOUND only: one reference, the caller's */
	bool placed;             /* by hash or assign: another may serve as well */
	uint8_t tried;           /* ranks given out so far, a bit for each */
	uint16_t group;          /* of whose members it was chosen: the backend of the configuration
				  * plus 1, 0 for all */
	char mailbox[ROUTE_MAILBOX_MAX + 1]; /* "" = none */
	struct error why;
};

/* What is chosen for: the routing key of a user, and the directory's answer: `length` bytes at
 * `route`, NULL where it knows none. */
struct route_subject {
	const char *key;
	const char *route;
	size_t length;
	bool even_down; /* only where the user belongs is asked, not whether it works */
	bool as_it_is;  /* it was to be assigned anew just now, and this is what came of it */
};

void route_choose(struct route_chooser *chooser, const struct route_subject *subject,
		  struct route_choice *choice);

/* route_choose_named chooses for a user whom the configuration gives to `backend`, an index. */
void route_choose_named(struct route_chooser *chooser, size_t backend, const char *key,
			struct route_choice *choice);

/* route_choose_next goes on from what `choice` holds: the next by rank that is up and not `failed`.
 */
void route_choose_next(struct route_chooser *chooser, const char *key, const struct backend *failed,
		       struct route_choice *choice);

/* route_choose_referral: see route_refer. NULL, and `why`, where it is not to be followed. */
struct backend *route_choose_referral(struct route_chooser *chooser,
				      const struct referral *referral, struct error *why);

#endif
