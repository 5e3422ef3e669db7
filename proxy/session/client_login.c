/* SPDX-License-Identifier: Apache-2.0
 *
 * The logins of one client: begun when its credentials are complete, given up where nobody is to
 * blame, refused where it is, and counted.
 */
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "imap/sasl.h"
#include "routing/backend.h"
#include "session_internal.h"

static const struct refusal farewell_failures = {"LIMIT", "Too many failed logins."};

static const struct config_limits *limits_of(const struct session *session)
{
	return &session->set->house.config->limits;
}

void client_login_answer(struct session *session)
{
	struct login *login = session->login;
	struct refusal refusal = {login->refusal_code, login->refusal_text};
	struct buffer reply = {0};

	preauth_refuse(login->preauth, &refusal, &reply);
	if (!client_side_send(session, &reply)) {
		return;
	}
	if (login->failures >= limits_of(session)->login_failures) {
		metrics_count(session->set->house.metrics, METRIC_LIMIT_LOGIN_FAILURES);
		client_side_bye(session, &farewell_failures, CLOSE_LOGIN_FAILURES);
		return;
	}
	client_side_await(session);
	if (session->phase == SESSION_GREETED) {
		client_side_continue(session);
	}
}

static void keep_refusal(struct login *login, const struct refusal *refusal)
{
	strncpy(login->refusal_code, refusal->code, sizeof(login->refusal_code) - 1);
	strncpy(login->refusal_text, refusal->text, sizeof(login->refusal_text) - 1);
}

static void log_refusal(struct session *session, enum config_log_level level, const char *event,
			const char *why, uint64_t held_back)
{
	char id[SESSION_ID_TEXT_MAX];
	char peer[ADDR_TEXT_MAX];

	session_format_id(session, id);
	addr_format(&session->peer, peer);
	log_at(level, event, log_text("session", id), log_text("client", peer),
	       log_text("user", session->user),
	       log_text("mechanism", sasl_name((enum sasl_mechanism)session->mechanism)),
	       log_text("backend", session->backend != NULL ? session->backend->name : NULL),
	       log_text("detail", why), log_number("held_back", (int64_t)held_back));
}

/* A dead backend or directory fails thousands of logins a second; one line a second tells it. */
static void log_failure(struct session *session, const char *why)
{
	uint64_t held_back;

	if (log_bound_admits(&session->set->warnings, timeouts_now_ms(), &held_back)) {
		log_refusal(session, CONFIG_LOG_WARN, "login failed", why, held_back);
	}
}

void client_login_fail(struct session *session, const struct refusal *refusal, const char *why)
{
	metrics_count(session->set->house.metrics, METRIC_LOGINS_FAILED);
	log_failure(session, why);
	keep_refusal(session->login, refusal);
	session_drop_backend(session);
	session->login->fails++;
	if (session->login->fails > SESSION_FAILS_AT_ONCE) {
		session_enter(session, SESSION_REFUSING, session_after(SESSION_FAIL_PAUSE_MS));
	} else {
		client_login_answer(session);
	}
}

/* When the answer is due: counted from the question, so that it does not matter how long which
 * source took; with up to a tenth more, so that averages tell less. */
static uint64_t refusal_due_ms(const struct session *session)
{
	uint64_t delay_ms = limits_of(session)->failure_delay_ms;
	uint64_t scatter = (session->id + session->login->failures) * UINT64_C(0x9E3779B97F4A7C15);

	return session->login->started_ms + delay_ms + (scatter >> 32) % (delay_ms / 10 + 1);
}

void client_login_reject(struct session *session, const struct refusal *refusal, const char *why)
{
	struct login *login = session->login;
	uint64_t due_ms = refusal_due_ms(session);

	metrics_count(session->set->house.metrics, METRIC_LOGINS_REFUSED);
	log_refusal(session, CONFIG_LOG_INFO, "login refused", why, 0);
	keep_refusal(login, refusal);
	session_drop_backend(session);
	login->failures++;
	if (due_ms <= timeouts_now_ms()) {
		client_login_answer(session);
		return;
	}
	session_enter(session, SESSION_REFUSING, due_ms);
}

static void enter_backend(struct session *session, const struct route_answer *answer)
{
	struct login *login = session->login;

	free(login->mailbox);
	login->mailbox = answer->mailbox != NULL ? strdup(answer->mailbox) : NULL;
	if (answer->mailbox != NULL && login->mailbox == NULL) {
		backend_unref(answer->backend);
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	session->renamed = answer->mailbox != NULL;
	backend_side_enter(session, answer->backend);
}

void client_login_answered(struct route_place *place, const struct route_answer *answer)
{
	struct session *session = container_of(place, struct session, place);

	switch (answer->result) {
	case ROUTE_FOUND:
		enter_backend(session, answer);
		break;
	case ROUTE_UNKNOWN:
		client_login_reject(session, &REFUSAL_CREDENTIALS, "unknown user");
		break;
	case ROUTE_UNAVAILABLE:
		client_login_fail(session, &REFUSAL_UNAVAILABLE, answer->why);
		break;
	}
}

/* What a proxy in front of us allows, but never more than where a login begins. */
static unsigned proxies_to_pass(const struct login *login)
{
	unsigned ttl = SESSION_PROXY_TTL;

	preauth_proxy_ttl(login->preauth, &ttl);
	return ttl < SESSION_PROXY_TTL ? ttl : SESSION_PROXY_TTL;
}

/* A webmail or a proxy that we trust says for whom it speaks, at each login anew. */
static void believe_identity(struct session *session)
{
	struct preauth_identity identity = preauth_identity(session->login->preauth);
	struct addr addr;

	if (session->login->came_to.family == AF_UNSPEC) {
		stream_local(&session->client, &session->login->came_to);
	}
	session->peer = session->login->came_from;
	session->login->connected = session->login->came_to;
	if (identity.originating_ip != NULL &&
	    addr_parse(&addr, identity.originating_ip, (uint16_t)identity.originating_port)) {
		session->peer = addr;
	}
	if (identity.connected_ip != NULL &&
	    addr_parse(&addr, identity.connected_ip, (uint16_t)identity.connected_port)) {
		session->login->connected = addr;
	}
}

static bool keep_user(struct session *session, const struct credentials *credentials)
{
	free(session->user);
	session->user = strdup(credentials->user);
	session->mechanism = credentials->mechanism;
	return session->user != NULL;
}

void client_login_begin(struct session *session)
{
	struct login *login = session->login;
	const struct credentials *credentials = preauth_credentials(login->preauth);

	login->started_ms = timeouts_now_ms();
	if (!keep_user(session, credentials)) {
		session_close(session, CLOSE_NO_MEMORY);
		return;
	}
	believe_identity(session);
	login->referrals = 0;
	login->must_leave = false;
	login->refused = false;
	login->proxy_ttl = proxies_to_pass(login);
	if (login->proxy_ttl > 0) {
		client_login_ask(session);
		return;
	}
	session_enter(session, SESSION_ROUTING, session_login_deadline(session));
	client_login_fail(session, &REFUSAL_SERVERBUG, "passed through too many proxies");
}

void client_login_ask(struct session *session)
{
	const struct credentials *credentials = preauth_credentials(session->login->preauth);

	client_park_end(session);
	session_enter(session, SESSION_ROUTING, session_login_deadline(session));
	route_ask(session->set->house.router, &session->place, credentials_mailbox(credentials));
}

void client_login_renew(struct session *session)
{
	session_drop_backend(session);
	client_login_ask(session);
}
