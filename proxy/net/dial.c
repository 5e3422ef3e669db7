/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to addresses, and addresses in a race. Each attempt has a socket of its own; the stream
 * gets the winner's. All that the owner is told comes from the loop: where something fails at once,
 * the timer is set to now. The owner may free the dial then, so nothing is touched after that.
 */
#include "net/dial.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/metrics.h"
#include "dial_internal.h"
#include "net/source_pool.h"
#include "net/stream.h"
#include "net/timeouts.h"
#include "wire_internal.h"

enum attempt_state {
	ATTEMPT_OPEN, /* not tried, or given up for another: nothing is known against it */
	ATTEMPT_RUNNING,
	ATTEMPT_REACHED,
	ATTEMPT_FAILED,
};

struct attempt {
	struct ev_io watcher; /* while it runs */
	struct dial *dial;
	struct source *source;
	struct addr address; /* unused for a path */
	enum attempt_state state;
};

struct dialing {
	unsigned running;
	bool asked;          /* somebody else than this host was */
	uint64_t stagger_ms; /* when one more may run beside those that do */
	struct error why;    /* of the last that failed */
	size_t count;
	struct attempt attempts[]; /* in order of trying */
};

/* NULL when memory ran out: the timer finds that out. */
static struct dialing *make_dialing(struct dial *dial, size_t count)
{
	struct dialing *dialing =
		calloc(1, sizeof(*dialing) + count * sizeof(dialing->attempts[0]));

	dial->dialing = dialing;
	if (dialing == NULL) {
		return NULL;
	}
	dialing->count = count;
	for (size_t i = 0; i < count; i++) {
		dialing->attempts[i].dial = dial;
	}
	return dialing;
}

static void set_timer(struct dial *dial, uint64_t due_ms)
{
	struct ev_loop *loop = dial->settings.shared->loop;
	uint64_t now_ms = timeouts_now_ms();

	ev_timer_stop(loop, &dial->timer);
	/* One more, so that rounding does not wake early. */
	ev_timer_set(&dial->timer, due_ms > now_ms ? (double)(due_ms - now_ms + 1) / 1000.0 : 0.0,
		     0.0);
	ev_timer_start(loop, &dial->timer);
}

/* --- One attempt ---------------------------------------------------------------------------- */

/* What an attempt has, it has no more. */
static void stop_watching(struct attempt *attempt, enum attempt_state state)
{
	ev_io_stop(attempt->dial->settings.shared->loop, &attempt->watcher);
	attempt->dial->dialing->running--;
	attempt->source = NULL;
	attempt->state = state;
}

static void give_up(struct attempt *attempt, enum attempt_state state)
{
	int fd = attempt->watcher.fd;
	struct source *source = attempt->source;

	stop_watching(attempt, state);
	close(fd);
	source_give(source, false);
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events);

/* That this host does not speak a family says less than what the other addresses answered. */
static void note_failure(struct dialing *dialing, enum wire_beginning how, const struct error *why)
{
	if (how != WIRE_NO_NETWORK || dialing->why.text[0] == '\0') {
		dialing->why = *why;
	}
}

static void try_one(struct attempt *attempt)
{
	const struct dial_settings *settings = &attempt->dial->settings;
	struct dialing *dialing = attempt->dial->dialing;
	struct stream_target target = {.sources = settings->sources};
	struct wire_link link;
	struct error why = {0};
	enum wire_beginning how;

	if (attempt->dial->endpoint->kind == ENDPOINT_UNIX) {
		target.path = attempt->dial->endpoint->name;
	} else {
		target.address = &attempt->address;
	}
	how = wire_connect(&link, &target, &why);
	dialing->asked = dialing->asked || how == WIRE_CONNECTING || how == WIRE_REFUSED;
	if (how != WIRE_CONNECTING) {
		attempt->state = ATTEMPT_FAILED;
		note_failure(dialing, how, &why);
		if (how == WIRE_NO_PORT && settings->metrics != NULL) {
			metrics_count(settings->metrics, METRIC_SOURCE_PORTS_EXHAUSTED);
		}
		return;
	}
	attempt->state = ATTEMPT_RUNNING;
	attempt->source = link.source;
	dialing->running++;
	dialing->stagger_ms = timeouts_now_ms() + DIAL_STAGGER_MS;
	ev_io_init(&attempt->watcher, on_io, link.fd, EV_WRITE);
	ev_io_start(settings->shared->loop, &attempt->watcher);
}

/* --- The race ------------------------------------------------------------------------------- */

static struct attempt *find_open(struct dialing *dialing)
{
	for (size_t i = 0; i < dialing->count; i++) {
		if (dialing->attempts[i].state == ATTEMPT_OPEN) {
			return &dialing->attempts[i];
		}
	}
	return NULL;
}

static uint64_t earlier_of(uint64_t left, uint64_t right)
{
	return left < right ? left : right;
}

/* Lets those run that may, and sets the timer to what is next; to now where all have failed. */
static void go_on(struct dial *dial)
{
	struct dialing *dialing = dial->dialing;
	struct attempt *open = find_open(dialing);

	while (open != NULL &&
	       (dialing->running == 0 || timeouts_now_ms() >= dialing->stagger_ms)) {
		try_one(open);
		open = find_open(dialing);
	}
	if (dialing->running == 0) {
		set_timer(dial, 0);
	} else if (open != NULL) {
		set_timer(dial, earlier_of(dialing->stagger_ms, dial->deadline_ms));
	} else {
		set_timer(dial, dial->deadline_ms);
	}
}

static void win(struct attempt *winner)
{
	struct dial *dial = winner->dial;
	struct dialing *dialing = dial->dialing;
	const struct dial_settings *settings = &dial->settings;
	int fd = winner->watcher.fd;
	struct source *source = winner->source;

	stop_watching(winner, ATTEMPT_REACHED);
	for (size_t i = 0; i < dialing->count; i++) {
		if (dialing->attempts[i].state == ATTEMPT_RUNNING) {
			give_up(&dialing->attempts[i], ATTEMPT_OPEN);
		}
	}
	ev_timer_stop(settings->shared->loop, &dial->timer);
	dial->phase = DIAL_REACHED;
	stream_adopt(settings->stream, settings->shared, fd, source, settings->stream_events);
}

static void on_io(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct attempt *attempt = container_of(watcher, struct attempt, watcher);
	struct dial *dial = attempt->dial;
	int error_number = wire_connected(watcher->fd);

	(void)loop;
	(void)events;
	if (error_number == 0) {
		win(attempt);
		return;
	}
	error_set(&dial->dialing->why, "%s", strerror(error_number));
	give_up(attempt, ATTEMPT_FAILED);
	dial->dialing->stagger_ms = 0;
	go_on(dial);
}

/* --- The end -------------------------------------------------------------------------------- */

static void fail(struct dial *dial, const struct error *why)
{
	struct error told = *why;

	dial->is_ours =
		dial->phase == DIAL_TRYING &&
		(dial->dialing == NULL || (dial->dialing->count > 0 && !dial->dialing->asked));
	dial_cancel(dial);
	dial->settings.events->failed(dial, &told);
}

static void fail_because(struct dial *dial, const char *why)
{
	struct error error = {0};

	error_set(&error, "%s", why);
	fail(dial, &error);
}

static void on_timer_trying(struct dial *dial)
{
	struct dialing *dialing = dial->dialing;

	if (dialing == NULL) {
		fail_because(dial, "out of memory");
	} else if (dialing->running == 0 && find_open(dialing) == NULL) {
		if (dialing->count > 0) {
			error_prefix(&dialing->why, "cannot connect");
		}
		fail(dial, &dialing->why);
	} else if (timeouts_now_ms() >= dial->deadline_ms) {
		fail_because(dial, "cannot connect: no answer in time");
	} else {
		go_on(dial);
	}
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct dial *dial = container_of(timer, struct dial, timer);

	(void)loop;
	(void)events;
	if (dial->phase == DIAL_TRYING) {
		on_timer_trying(dial);
	} else if (timeouts_now_ms() >= dial->deadline_ms) {
		fail_because(dial, "cannot connect: no answer in time");
	} else {
		set_timer(dial, dial->deadline_ms);
	}
}

/* --- Addresses ------------------------------------------------------------------------------ */

static size_t find_family(const struct addr *addresses, size_t count, size_t from,
			  sa_family_t family)
{
	while (from < count && addresses[from].family != family) {
		from++;
	}
	return from;
}

void dial_alternate(struct addr *to, const struct addr *from, size_t count)
{
	size_t six = find_family(from, count, 0, AF_INET6);
	size_t four = find_family(from, count, 0, AF_INET);
	bool six_is_next = true;

	for (size_t i = 0; i < count; i++) {
		if (six < count && (six_is_next || four >= count)) {
			to[i] = from[six];
			six = find_family(from, count, six + 1, AF_INET6);
			six_is_next = false;
		} else {
			to[i] = from[four];
			four = find_family(from, count, four + 1, AF_INET);
			six_is_next = true;
		}
	}
}

static void on_resolved(struct resolver_query *query, const struct addr *addresses, size_t count,
			const char *why)
{
	struct dial *dial = container_of(query, struct dial, query);
	struct dialing *dialing = make_dialing(dial, count);
	struct addr sorted[RESOLVER_ADDRESSES_MAX];

	dial->phase = DIAL_TRYING;
	if (dialing == NULL || count == 0) {
		error_set(dialing != NULL ? &dialing->why : NULL, "%.255s",
			  why != NULL ? why : "the name has no address");
		set_timer(dial, 0);
		return;
	}
	dial_alternate(sorted, addresses, count);
	for (size_t i = 0; i < count; i++) {
		dialing->attempts[i].address = sorted[i];
	}
	go_on(dial);
}

/* --- For the owner -------------------------------------------------------------------------- */

static void begin_at_once(struct dial *dial)
{
	struct dialing *dialing = make_dialing(dial, 1);

	dial->phase = DIAL_TRYING;
	if (dialing == NULL) {
		set_timer(dial, 0);
		return;
	}
	dialing->attempts[0].address = dial->endpoint->ip;
	go_on(dial);
}

void dial_begin(struct dial *dial, const struct dial_settings *settings,
		const struct endpoint *endpoint)
{
	invariant(endpoint->kind != ENDPOINT_NONE);
	dial_cancel(dial);
	*dial = (struct dial){.settings = *settings, .endpoint = endpoint};
	ev_init(&dial->timer, on_timer);
	dial->deadline_ms = timeouts_now_ms() + settings->timeout_ms;
	if (endpoint->kind != ENDPOINT_NAME) {
		begin_at_once(dial);
		return;
	}
	dial->phase = DIAL_RESOLVING;
	set_timer(dial, dial->deadline_ms);
	resolver_ask(settings->resolver, &dial->query, endpoint->name, endpoint->port, on_resolved);
}

/* Leaves what was reached, and tells what it was. */
static struct attempt *leave_reached(struct dial *dial)
{
	struct attempt *reached;

	invariant(dial->phase == DIAL_REACHED);
	reached = dial->dialing->attempts;
	while (reached->state != ATTEMPT_REACHED) {
		reached++;
	}
	stream_close(dial->settings.stream);
	dial->phase = DIAL_TRYING;
	dial->deadline_ms = timeouts_now_ms() + dial->settings.timeout_ms;
	return reached;
}

void dial_next(struct dial *dial, const struct error *why)
{
	leave_reached(dial)->state = ATTEMPT_FAILED;
	dial->dialing->why = *why;
	go_on(dial);
}

void dial_again(struct dial *dial)
{
	try_one(leave_reached(dial));
	go_on(dial);
}

void dial_cancel(struct dial *dial)
{
	struct dialing *dialing = dial->dialing;

	if (dial->phase == DIAL_IDLE) {
		return;
	}
	dial->phase = DIAL_IDLE;
	resolver_cancel(&dial->query);
	ev_timer_stop(dial->settings.shared->loop, &dial->timer);
	for (size_t i = 0; dialing != NULL && i < dialing->count; i++) {
		if (dialing->attempts[i].state == ATTEMPT_RUNNING) {
			give_up(&dialing->attempts[i], ATTEMPT_OPEN);
		}
	}
	free(dialing);
	dial->dialing = NULL;
}
