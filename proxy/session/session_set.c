/* SPDX-License-Identifier: Apache-2.0
 *
 * The sessions of one worker: how they begin, what their deadlines mean, how all of them end, and
 * when their memory goes.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/log.h"
#include "core/metrics.h"
#include "session/limit.h"
#include "session_internal.h"

static void on_deadline(struct timeout *timeout);
static void on_turn_over(struct ev_loop *loop, struct ev_prepare *reaper, int events);

/* --- The set -------------------------------------------------------------------------------- */

static uint64_t random_number(void)
{
	uint64_t number = 0;

	/* Only the uniqueness of log lines depends on it. */
	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
		number = (uint64_t)getpid();
	}
	return number;
}

static struct preauth_limits preauth_limits_of(const struct config_limits *limits)
{
	return (struct preauth_limits){
		.line = limits->preauth_line,
		.sasl_line = limits->sasl_line,
		.literal = limits->literal,
		.tag = limits->tag,
		.id_pairs = limits->id_pairs,
		.bad_commands = limits->bad_commands,
		.commands = limits->commands,
	};
}

static bool may_vouch(const struct config *config)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		if (config->backends[i].master_user[0] == '\0') {
			return false;
		}
	}
	return config->backend_count > 0;
}

void session_set_init(struct session_set *set, const struct session_house *house)
{
	*set = (struct session_set){
		.house = *house,
		.id_prefix = random_number(),
		.preauth_limits = preauth_limits_of(&house->config->limits),
		.preauth_ration = {.most = house->config->limits.sasl_lines},
		.may_vouch = may_vouch(house->config),
	};
	for (size_t i = 0; i < SESSION_PHASE_COUNT; i++) {
		timeout_list_init(&set->phases[i], house->timeouts, on_deadline);
	}
	timeout_list_init(&set->farewells, house->timeouts, farewell_expired);
	timeout_list_init(&set->farewells_gone, house->timeouts, farewell_expired);
	timeout_list_init(&set->movers, house->timeouts, departure_look);
	ev_prepare_init(&set->reaper, on_turn_over);
	set->reaper.data = set;
}

static void reap(struct session_set *set)
{
	struct timeout_list *morgue = &set->phases[SESSION_CLOSED];

	while (morgue->head != NULL) {
		struct session *session = container_of(morgue->head, struct session, timeout);

		timeout_remove(&session->timeout);
		free(session->user);
		free(session);
	}
	farewells_reap(set);
	ev_prepare_stop(set->house.shared->loop, &set->reaper);
}

static void on_turn_over(struct ev_loop *loop, struct ev_prepare *reaper, int events)
{
	(void)loop;
	(void)events;
	reap(reaper->data);
}

void session_set_reap_later(struct session_set *set)
{
	if (!ev_is_active(&set->reaper)) {
		ev_prepare_start(set->house.shared->loop, &set->reaper);
	}
}

unsigned session_set_count(const struct session_set *set)
{
	unsigned count = set->farewells.count;

	for (size_t i = 0; i < SESSION_CLOSED; i++) {
		count += set->phases[i].count;
	}
	return count;
}

void session_set_done(struct session_set *set)
{
	invariant(session_set_count(set) == 0);
	reap(set);
	timeout_remove(&set->mover);
	timeout_list_done(&set->movers);
	timeout_list_done(&set->farewells);
	timeout_list_done(&set->farewells_gone);
	for (size_t i = 0; i < SESSION_PHASE_COUNT; i++) {
		timeout_list_done(&set->phases[i]);
	}
}

const struct route_events session_route_events = {
	.answered = client_login_answered,
	.parked = client_park_begin,
	.released = client_park_release,
	.changed = departure_changed,
	.held = departure_held,
	.drains_changed = departure_drains_changed,
};

typedef void session_visitor_t(struct session *session);

/* The visitor may move the session to another list, but only that one. */
static void visit_phase(struct session_set *set, enum session_phase phase,
			session_visitor_t *visitor)
{
	struct timeout *timeout = set->phases[phase].head;

	while (timeout != NULL) {
		struct timeout *next = timeout->next;

		visitor(container_of(timeout, struct session, timeout));
		timeout = next;
	}
}

static void close_drained(struct session *session)
{
	session_close(session, CLOSE_DRAINED);
}

void session_set_drain(struct session_set *set)
{
	set->draining = true;
	visit_phase(set, SESSION_PROXY_HEADER, close_drained);
	visit_phase(set, SESSION_HANDSHAKE, close_drained);
	visit_phase(set, SESSION_GREETED, client_side_drain);
	visit_phase(set, SESSION_PARKED, client_side_drain);
	visit_phase(set, SESSION_REFUSING, client_login_answer);
	visit_phase(set, SESSION_ORPHANED, departure_orphan_expired);
}

static void end_relay(struct session *session)
{
	relay_end(session, CLOSE_DRAINED);
}

void session_set_finish(struct session_set *set)
{
	for (unsigned phase = SESSION_ROUTING; phase <= SESSION_CHALLENGED; phase++) {
		visit_phase(set, (enum session_phase)phase, client_side_drain);
	}
	visit_phase(set, SESSION_REFUSING, client_login_answer);
	visit_phase(set, SESSION_RELAYING, end_relay);
	visit_phase(set, SESSION_LEAVING, end_relay);
}

void session_set_close(struct session_set *set)
{
	set->closing = true;
	farewells_close(set);
	for (unsigned phase = 0; phase < SESSION_CLOSED; phase++) {
		visit_phase(set, (enum session_phase)phase, close_drained);
	}
}

/* --- Birth ---------------------------------------------------------------------------------- */

static struct session *session_new(struct session_set *set, const struct config_listener *listener,
				   const struct addr *peer)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL) {
		return NULL;
	}
	session->login = calloc(1, sizeof(*session->login));
	if (session->login == NULL) {
		free(session);
		return NULL;
	}
	session->login->session = session;
	session->set = set;
	session->listener = listener;
	session->peer = *peer;
	session->id = set->id_prefix + set->id_next++;
	session->accepted_ms = timeouts_now_ms();
	return session;
}

void session_set_log_refusal(struct session_set *set, const char *event, const struct addr *client,
			     const char *why)
{
	char text[ADDR_TEXT_MAX];
	uint64_t held_back;

	if (log_bound_admits(&set->refusals, timeouts_now_ms(), &held_back)) {
		addr_format(client, text);
		log_warn(event, log_text("client", text), log_text("detail", why),
			 log_number("held_back", (int64_t)held_back));
	}
}

static void refuse_at_limit(struct session_set *set, const struct addr *peer)
{
	metrics_count(set->house.metrics, METRIC_LIMIT_MAX_SESSIONS);
	session_set_log_refusal(set, "client refused", peer, "max_sessions is reached");
}

void session_accept(struct session_set *set, const struct config_listener *listener, int fd,
		    const struct addr *peer)
{
	struct session *session = NULL;

	metrics_count(set->house.metrics, METRIC_SESSIONS_ACCEPTED);
	if (!limit_take(set->house.limit)) {
		refuse_at_limit(set, peer);
		close(fd);
		return;
	}
	session = session_new(set, listener, peer);
	if (session == NULL) {
		set->closed[CLOSE_NO_MEMORY]++;
		limit_give(set->house.limit);
		close(fd);
		return;
	}
	opening_start(session, fd);
}

/* --- Deadlines ------------------------------------------------------------------------------ */

/* A step of a login took too long, or all steps together did. */
static void login_expired(struct session *session)
{
	if (timeouts_now_ms() >= session_login_deadline(session)) {
		client_side_expired(session);
	} else {
		backend_side_expired(session);
	}
}

/* timeouts.c has taken the session off its list; each way from here puts it on one again. */
static void on_deadline(struct timeout *timeout)
{
	struct session *session = container_of(timeout, struct session, timeout);

	timeout_add(&session->set->phases[session->phase], timeout, TIMEOUT_NEVER);
	switch ((enum session_phase)session->phase) {
	case SESSION_PROXY_HEADER:
	case SESSION_HANDSHAKE:
		opening_expired(session);
		break;
	case SESSION_GREETED:
	case SESSION_ROUTING:
	case SESSION_CHALLENGED:
		client_side_expired(session);
		break;
	case SESSION_PARKED:
		client_park_expired(session);
		break;
	case SESSION_QUEUED:
	case SESSION_CONNECTING:
	case SESSION_SECURING:
	case SESSION_GREETING:
	case SESSION_AUTHENTICATING:
		login_expired(session);
		break;
	case SESSION_LEAVING:
		departure_expired(session);
		break;
	case SESSION_ORPHANED:
		departure_orphan_expired(session);
		break;
	case SESSION_REFUSING:
		client_login_answer(session);
		break;
	case SESSION_HALF_CLOSED:
		session_close(session, CLOSE_CLOSE_TIMEOUT);
		break;
	case SESSION_CLOSING:
		session_close(session, (enum close_reason)session->reason);
		break;
	case SESSION_RELAYING:
	case SESSION_CLOSED:
	case SESSION_PHASE_COUNT:
		invariant(!"a phase without a deadline");
	}
}
