/* SPDX-License-Identifier: Apache-2.0
 *
 * Host names by c-ares, which only resolver*.c know (1.18 and later). Every name that was asked
 * for is an entry of one table: being asked with those who wait, or known until it expires. Where
 * asking fails, the addresses that were known last serve on for a while (RFC 8767).
 */
#include "net/resolver.h"

#include <ares.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

/* Memory that runs out inside the table refuses one name instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "base/error.h"
#include "base/text.h"
#include "core/log.h"
#include "core/log_bound.h"
#include "net/timeouts.h"
#include "resolver_internal.h"

/* Sockets that c-ares may have open: a datagram and a stream socket for each of 16 servers. */
#define SOCKETS_MAX 32

struct resolver_socket {
	struct ev_io watcher;
	struct resolver *resolver;
	bool used;
};

struct resolver_name {
	UT_hash_handle hh;
	struct resolver *resolver;
	struct resolver_query *waiting;
	struct ev_timer patience; /* of those who wait, where there are stale addresses */
	uint64_t expires_ms;      /* when it is asked for again */
	uint64_t stale_until_ms;
	bool asking;     /* c-ares has it */
	bool failing;    /* the last question had no answer, or has none yet: nobody waits for it */
	unsigned pins;   /* those who wait are being answered, perhaps in a callback of another */
	const char *why; /* static words, where `count` is 0 */
	size_t count;
	struct addr addresses[RESOLVER_ADDRESSES_MAX];
	char host[];
};

struct resolver {
	struct ev_loop *loop;
	ares_channel channel;
	struct ev_timer timer;
	struct resolver_name *names; /* oldest first */
	struct resolver_socket sockets[SOCKETS_MAX];
	struct log_bound stale_lines;
	bool closing;
};

struct ares_channeldata *resolver_channel(struct resolver *resolver)
{
	return resolver->channel;
}

/* --- c-ares in the loop --------------------------------------------------------------------- */

void resolver_set_timer(struct resolver *resolver)
{
	struct timeval left;

	ev_timer_stop(resolver->loop, &resolver->timer);
	if (ares_timeout(resolver->channel, NULL, &left) != NULL) {
		ev_timer_set(&resolver->timer,
			     (double)left.tv_sec + (double)left.tv_usec / 1000000.0, 0.0);
		ev_timer_start(resolver->loop, &resolver->timer);
	}
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct resolver *resolver = container_of(timer, struct resolver, timer);

	(void)loop;
	(void)events;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolver_set_timer(resolver);
}

static void on_socket(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct resolver *resolver =
		container_of(watcher, struct resolver_socket, watcher)->resolver;
	int fd = watcher->fd;

	(void)loop;
	ares_process_fd(resolver->channel, (events & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
			(events & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	resolver_set_timer(resolver);
}

static struct resolver_socket *find_socket(struct resolver *resolver, int fd)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		struct resolver_socket *each = &resolver->sockets[i];

		if (each->used && each->watcher.fd == fd) {
			return each;
		}
	}
	return NULL;
}

static struct resolver_socket *unused_socket(struct resolver *resolver)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (!resolver->sockets[i].used) {
			return &resolver->sockets[i];
		}
	}
	return NULL;
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = data;
	int events = (readable != 0 ? EV_READ : 0) | (writable != 0 ? EV_WRITE : 0);
	struct resolver_socket *found = find_socket(resolver, fd);

	if (found != NULL) {
		ev_io_stop(resolver->loop, &found->watcher);
		found->used = false;
	}
	if (events == 0) {
		return;
	}
	found = found != NULL ? found : unused_socket(resolver);
	if (found == NULL) {
		return; /* never heard: the question ends by its timeout */
	}
	found->used = true;
	found->resolver = resolver;
	ev_io_init(&found->watcher, on_socket, fd, events);
	ev_io_start(resolver->loop, &found->watcher);
}

/* --- Names ---------------------------------------------------------------------------------- */

static void forget(struct resolver_name *name)
{
	HASH_DEL(name->resolver->names, name);
	free(name);
}

/* False when all of them are being asked for. */
static bool forget_oldest(struct resolver *resolver)
{
	for (struct resolver_name *name = resolver->names; name != NULL; name = name->hh.next) {
		if (!name->asking && name->pins == 0) {
			forget(name);
			return true;
		}
	}
	return false;
}

static void on_patience_over(struct ev_loop *loop, struct ev_timer *timer, int events);

/* NULL, and the name is gone, where there is no memory for it. */
static struct resolver_name *keep(struct resolver_name *name)
{
	struct resolver *resolver = name->resolver;

	HASH_ADD_KEYPTR(hh, resolver->names, name->host, strlen(name->host), name);
	if (name->hh.tbl == NULL) {
		free(name);
		return NULL;
	}
	return name;
}

/* As if it were asked for the first time, but for what is known of it. */
static struct resolver_name *make_youngest(struct resolver_name *name)
{
	HASH_DEL(name->resolver->names, name);
	return keep(name);
}

static struct resolver_name *remember(struct resolver *resolver, const char *host)
{
	size_t length = strlen(host);
	struct resolver_name *name;

	if (HASH_COUNT(resolver->names) >= RESOLVER_NAMES_MAX && !forget_oldest(resolver)) {
		return NULL;
	}
	name = calloc(1, sizeof(*name) + length + 1);
	if (name == NULL) {
		return NULL;
	}
	name->resolver = resolver;
	memcpy(name->host, host, length + 1);
	ev_timer_init(&name->patience, on_patience_over, RESOLVER_PATIENCE_MS / 1000.0, 0.0);
	return keep(name);
}

/* --- Answers -------------------------------------------------------------------------------- */

static void set_port(struct addr *address, uint16_t port)
{
	if (address->family == AF_INET6) {
		address->v6.sin6_port = htons(port);
	} else {
		address->v4.sin_port = htons(port);
	}
}

/* The callback gets a copy, since it may make the resolver forget the name. */
static void answer(struct resolver_query *query, const struct resolver_name *name)
{
	struct addr addresses[RESOLVER_ADDRESSES_MAX];
	size_t count = name->count;
	const char *why = name->why;

	for (size_t i = 0; i < count; i++) {
		addresses[i] = name->addresses[i];
		set_port(&addresses[i], query->port);
	}
	query->callback(query, addresses, count, why);
}

static void answer_waiting(struct resolver_name *name)
{
	name->pins++;
	while (name->waiting != NULL) {
		struct resolver_query *query = name->waiting;

		resolver_cancel(query);
		answer(query, name);
	}
	name->pins--;
}

int resolver_clamp_ttl(int ttl)
{
	if (ttl < RESOLVER_TTL_MIN) {
		return RESOLVER_TTL_MIN;
	}
	return ttl > RESOLVER_TTL_MAX ? RESOLVER_TTL_MAX : ttl;
}

/* The smallest TTL of what was kept, in seconds. */
static int keep_addresses(struct resolver_name *name, const struct ares_addrinfo *found)
{
	int ttl = RESOLVER_TTL_MAX;

	for (const struct ares_addrinfo_node *node = found->nodes;
	     node != NULL && name->count < RESOLVER_ADDRESSES_MAX; node = node->ai_next) {
		if (node->ai_family == AF_INET || node->ai_family == AF_INET6) {
			addr_from_sockaddr(&name->addresses[name->count++], node->ai_addr);
			ttl = node->ai_ttl < ttl ? node->ai_ttl : ttl;
		}
	}
	return resolver_clamp_ttl(ttl);
}

static void take_answer(struct resolver_name *name, int status, const struct ares_addrinfo *found)
{
	uint64_t ttl = RESOLVER_TTL_NEGATIVE;

	name->failing = false;
	name->count = 0;
	name->why = status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status);
	if (status == ARES_SUCCESS) {
		int shortest = keep_addresses(name, found);

		ttl = name->count > 0 ? (uint64_t)shortest : ttl;
	}
	name->expires_ms = timeouts_now_ms() + ttl * 1000;
	name->stale_until_ms = name->expires_ms + RESOLVER_STALE_MAX * UINT64_C(1000);
}

/* --- Without an answer ---------------------------------------------------------------------- */

/* That there is no such name, or no address of it, is an answer. */
static bool is_answer(int status)
{
	return status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA ||
	       status == ARES_EBADNAME;
}

static bool has_stale(const struct resolver_name *name)
{
	return name->count > 0 && timeouts_now_ms() < name->stale_until_ms;
}

/* Once an outage, since every question of it fails. */
static void begin_stale(struct resolver_name *name, const char *why)
{
	uint64_t held_back;

	if (!name->failing &&
	    log_bound_admits(&name->resolver->stale_lines, timeouts_now_ms(), &held_back)) {
		log_warn("DNS does not answer, known addresses serve on",
			 log_text("host", name->host), log_text("detail", why),
			 log_number("held_back", (int64_t)held_back));
	}
	name->failing = true;
}

static void on_patience_over(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct resolver_name *name = container_of(timer, struct resolver_name, patience);

	(void)loop;
	(void)events;
	if (has_stale(name)) {
		begin_stale(name, "no answer yet");
		answer_waiting(name);
	}
}

static void on_answer(void *argument, int status, int timeouts, struct ares_addrinfo *found)
{
	struct resolver_name *name = argument;

	(void)timeouts;
	name->asking = false;
	ev_timer_stop(name->resolver->loop, &name->patience);
	if (!name->resolver->closing) {
		if (is_answer(status) || !has_stale(name)) {
			take_answer(name, status, found);
		} else {
			begin_stale(name, ares_strerror(status));
			name->expires_ms = timeouts_now_ms() + RESOLVER_TTL_NEGATIVE * 1000;
		}
		answer_waiting(name);
	}
	if (status == ARES_SUCCESS) {
		ares_freeaddrinfo(found);
	}
}

/* --- For everybody -------------------------------------------------------------------------- */

static int init_channel(struct resolver *resolver)
{
	struct ares_options options = {
		.timeout = RESOLVER_TIMEOUT_MS,
		.tries = RESOLVER_TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = resolver,
	};
	int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;

#ifdef ARES_OPT_QUERY_CACHE
	options.qcache_max_ttl = 0; /* one cache is enough, and ours is the same everywhere */
	mask |= ARES_OPT_QUERY_CACHE;
#endif
	return ares_init_options(&resolver->channel, &options, mask);
}

static int init_ares(struct resolver *resolver, const char *servers)
{
	int status = ares_library_init(ARES_LIB_INIT_ALL);

	if (status != ARES_SUCCESS) {
		return status;
	}
	status = init_channel(resolver);
	if (status == ARES_SUCCESS && servers != NULL) {
		status = ares_set_servers_ports_csv(resolver->channel, servers);
		if (status != ARES_SUCCESS) {
			ares_destroy(resolver->channel);
		}
	}
	if (status != ARES_SUCCESS) {
		ares_library_cleanup();
	}
	return status;
}

struct resolver *resolver_new(struct ev_loop *loop, const char *servers, struct error *error)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	int status;

	if (resolver == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	resolver->loop = loop;
	ev_init(&resolver->timer, on_timer);
	status = init_ares(resolver, servers);
	if (status != ARES_SUCCESS) {
		error_set(error, "cannot start the resolver: %s", ares_strerror(status));
		free(resolver);
		return NULL;
	}
	return resolver;
}

static void begin_asking(struct resolver_name *name)
{
	struct resolver *resolver = name->resolver;
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	name->asking = true;
	if (has_stale(name) && !name->failing) {
		ev_now_update(resolver->loop);
		ev_timer_start(resolver->loop, &name->patience);
	}
	ares_getaddrinfo(resolver->channel, name->host, NULL, &hints, on_answer, name);
	resolver_set_timer(resolver);
}

static void fail(struct resolver_query *query, const char *why)
{
	query->callback(query, NULL, 0, why);
}

/* Where DNS is known not to answer, nobody waits for it: a question is on its way all the same. */
static void ask_name(struct resolver_name *name, struct resolver_query *query)
{
	bool at_once = name->failing && has_stale(name);

	if (!at_once) {
		query->name = name;
		DL_APPEND2(name->waiting, query, previous, next);
	}
	if (!name->asking) {
		begin_asking(name);
	}
	if (at_once) {
		answer(query, name);
	}
}

void resolver_ask(struct resolver *resolver, struct resolver_query *query, const char *host,
		  uint16_t port, resolver_callback_t *callback)
{
	char lower[ENDPOINT_HOST_MAX + 1];
	struct resolver_name *name;

	invariant(query->name == NULL);
	query->port = port;
	query->callback = callback;
	if (strlen(host) > ENDPOINT_HOST_MAX) {
		fail(query, "the name is too long");
		return;
	}
	memcpy(lower, host, strlen(host) + 1);
	text_lower(lower);
	HASH_FIND_STR(resolver->names, lower, name);
	if (name != NULL && !name->asking && name->expires_ms > timeouts_now_ms()) {
		answer(query, name);
		return;
	}
	if (name == NULL) {
		name = remember(resolver, lower);
	} else if (!name->asking && name->pins == 0) {
		name = make_youngest(name);
	}
	if (name == NULL) {
		fail(query, "too many names are being asked for");
		return;
	}
	ask_name(name, query);
}

void resolver_cancel(struct resolver_query *query)
{
	if (query->name == NULL) {
		return;
	}
	DL_DELETE2(query->name->waiting, query, previous, next);
	query->name = NULL;
	query->previous = NULL;
	query->next = NULL;
}

void resolver_free(struct resolver *resolver)
{
	if (resolver == NULL) {
		return;
	}
	resolver->closing = true;
	ares_destroy(resolver->channel);
	ares_library_cleanup();
	ev_timer_stop(resolver->loop, &resolver->timer);
	for (struct resolver_name *name = resolver->names; name != NULL; name = resolver->names) {
		invariant(name->waiting == NULL);
		forget(name);
	}
	free(resolver);
}
