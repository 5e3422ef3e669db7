/* SPDX-License-Identifier: Apache-2.0
 *
 * Logins that a backend did not take: refused, referred elsewhere (RFC 2221), or never answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/metrics.h"
#include "imap/referral.h"
#include "routing/backend.h"
#include "session_internal.h"

static void observe(struct session *session, enum route_outcome outcome, const char *why)
{
	route_observe(session->set->house.router, session->backend, &session->peer, outcome, why);
}

void backend_lost(struct session *session, const char *why)
{
	char told[256];

	snprintf(told, sizeof(told), "%s", why);
	if (!session_has_presented(session)) {
		backend_side_fail(session, &REFUSAL_UNAVAILABLE, told);
		return;
	}
	observe(session, ROUTE_FAILED, told);
	client_login_fail(session, &REFUSAL_UNAVAILABLE, told);
}

/* --- Referrals ------------------------------------------------------------------------------ */

static void enter_referred(struct session *session, struct backend *backend, char *mailbox)
{
	struct login *login = session->login;

	metrics_count(session->set->house.metrics, METRIC_REFERRALS);
	login->referrals++;
	free(login->mailbox);
	login->mailbox = mailbox;
	session->renamed = mailbox != NULL;
	session_leave_backend(session);
	backend_side_enter(session, backend);
}

/* False, and `why`, where the login must not go there. */
static bool follow(struct session *session, const struct referral *referral, struct error *why)
{
	struct backend *backend = NULL;
	char *mailbox = NULL;

	if (session->login->referrals >= SESSION_REFERRALS_MAX) {
		return error_set(why, "more than %d referrals", SESSION_REFERRALS_MAX);
	}
	if (!route_refer(session->set->house.router, referral, &backend, why)) {
		return false;
	}
	if (referral->user[0] != '\0') {
		mailbox = strdup(referral->user);
		if (mailbox == NULL) {
			backend_unref(backend);
			return error_set(why, "out of memory");
		}
	}
	enter_referred(session, backend, mailbox);
	return true;
}

/* True where the backend sends the user elsewhere and the login is on its way there; otherwise
 * `why` tells why not, where that is the case. */
static bool is_referred(struct session *session, struct error *why)
{
	const char *url = upstream_referral(session->login->upstream);
	struct referral referral = {0};
	bool followed;

	if (url == NULL) {
		return false;
	}
	followed = referral_parse(&referral, url, why) && follow(session, &referral, why);
	referral_done(&referral);
	if (!followed) {
		error_prefix(why, "the backend's referral is not followed");
	}
	return followed;
}

/* --- Refusals ------------------------------------------------------------------------------- */

/* A login that does not suit one backend would go round all of them. */
static bool may_go_elsewhere(const struct session *session)
{
	return !session_has_presented(session) && !upstream_is_unsuited(session->login->upstream);
}

void backend_refused(struct session *session, enum upstream_verdict verdict)
{
	struct refusal refusal = upstream_refusal(session->login->upstream);
	struct error why = {0};

	error_set(&why, "%s", upstream_reason(session->login->upstream));
	if (verdict == UPSTREAM_REFUSED) {
		session->login->refused = true;
		observe(session, ROUTE_REFUSED, why.text);
		client_login_reject(session, &refusal, why.text);
	} else if (may_go_elsewhere(session)) {
		backend_side_fail(session, &refusal, why.text);
	} else if (!is_referred(session, &why)) {
		observe(session, ROUTE_REFUSED, why.text);
		client_login_fail(session, &refusal, why.text);
	}
}
