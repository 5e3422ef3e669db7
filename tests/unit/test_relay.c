/* SPDX-License-Identifier: Apache-2.0
 *
 * The splice: every byte, both ways, in order and once; back-pressure, half-closed sessions, and
 * how an end on one side becomes the end of the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/session_rig.h"

#include "../../proxy/session/session_internal.h"

#define BULK ((size_t)8 << 20)
#define TINY_BUFFER 2048

static const struct rig_options patient = {.limits = "close_timeout = \"10m\"\n"};

static struct session *only_session(const struct session_rig *rig, enum session_phase phase)
{
	return container_of(rig->set.phases[phase].head, struct session, timeout);
}

static void set_size(int fd, int option)
{
	int size = TINY_BUFFER;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)), 0);
}

/* Little fits between us and either peer: the rest stays in our hands. */
static void make_tiny(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	const struct session *session = only_session(rig, SESSION_RELAYING);

	set_size(client->fd, SO_RCVBUF);
	set_size(backend->fd, SO_RCVBUF);
	set_size(session->client.watcher.fd, SO_SNDBUF);
	set_size(session->upstream.watcher.fd, SO_SNDBUF);
}

/* struct flow is bulk from one end to another: byte i is known from i. */
struct flow {
	struct rig_peer *from;
	struct rig_peer *to;
	size_t sent;
	size_t heard;
	size_t total;
	uint8_t seed;
};

static uint8_t byte_at(const struct flow *flow, size_t i)
{
	return (uint8_t)((i * 2654435761U) >> 13) ^ flow->seed;
}

static void push(struct flow *flow)
{
	uint8_t bytes[4096];
	size_t length = flow->total - flow->sent;
	ssize_t sent;

	length = length < sizeof(bytes) ? length : sizeof(bytes);
	for (size_t i = 0; i < length; i++) {
		bytes[i] = byte_at(flow, flow->sent + i);
	}
	sent = length > 0 ? send(flow->from->fd, bytes, length, MSG_NOSIGNAL) : 0;
	flow->sent += sent > 0 ? (size_t)sent : 0;
}

static void pull(struct flow *flow)
{
	const uint8_t *bytes;
	size_t length;

	rig_hear(flow->to);
	bytes = buffer_bytes(&flow->to->heard);
	length = flow->to->heard.length;
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != byte_at(flow, flow->heard + i)) {
			fail_msg("byte %zu is wrong", flow->heard + i);
		}
	}
	flow->heard += length;
	assert_true(flow->heard <= flow->total);
	buffer_truncate(&flow->to->heard, 0);
}

static void run_flows(struct session_rig *rig, struct flow *flows, size_t count)
{
	uint64_t given_up_ms = timeouts_now_ms() + 120000;
	bool done = false;

	while (!done) {
		done = true;
		for (size_t i = 0; i < count; i++) {
			push(&flows[i]);
			rig_turn(rig);
			pull(&flows[i]);
			done = done && flows[i].heard == flows[i].total;
		}
		assert_true(timeouts_now_ms() < given_up_ms);
	}
}

static void end(struct session_rig *rig, struct rig_peer *client, struct rig_peer *backend)
{
	rig_forget(client);
	rig_forget(backend);
	rig_wait_gone(rig);
	session_rig_close(rig);
}

static void test_both_ways_at_once(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	const struct session *session;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	make_tiny(&rig, &client, &backend);
	struct flow flows[] = {
		{.from = &client, .to = &backend, .total = BULK / 8, .seed = 1},
		{.from = &backend, .to = &client, .total = BULK / 8 + 77, .seed = 2},
	};
	run_flows(&rig, flows, array_length(flows));
	session = only_session(&rig, SESSION_RELAYING);
	assert_int_equal(session->bytes_upstream, flows[0].total);
	assert_int_equal(session->bytes_downstream, flows[1].total);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BYTES_UPSTREAM), flows[0].total);
	assert_int_equal(metrics_get(&rig.metrics, METRIC_BYTES_DOWNSTREAM), flows[1].total);
	assert_false(stream_is_congested(&session->client));
	assert_null(session->client.spill);
	assert_null(session->upstream.spill);
	end(&rig, &client, &backend);
}

/* Pushes until we hold what `blocked` does not take and have stopped to read more of it. */
static void fill(struct session_rig *rig, struct flow *flow, const struct stream *blocked,
		 const struct stream *source)
{
	uint64_t given_up_ms = timeouts_now_ms() + 30000;

	while (!stream_is_congested(blocked) || source->reading) {
		push(flow);
		rig_turn(rig);
		assert_true(timeouts_now_ms() < given_up_ms);
	}
	assert_true(flow->sent < flow->total);
}

static void fill_down(struct session_rig *rig, struct flow *flow)
{
	const struct session *session = only_session(rig, SESSION_RELAYING);

	fill(rig, flow, &session->client, &session->upstream);
}

static void fill_up(struct session_rig *rig, struct flow *flow)
{
	const struct session *session = only_session(rig, SESSION_RELAYING);

	fill(rig, flow, &session->upstream, &session->client);
}

static void stall(bool from_client)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	struct session *session;
	struct stream *blocked;
	struct stream *source;

	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	make_tiny(&rig, &client, &backend);
	session = only_session(&rig, SESSION_RELAYING);
	blocked = from_client ? &session->upstream : &session->client;
	source = from_client ? &session->client : &session->upstream;
	struct flow flow = {.from = from_client ? &client : &backend,
			    .to = from_client ? &backend : &client,
			    .total = BULK};
	fill(&rig, &flow, blocked, source);
	push(&flow);
	rig_settle(&rig);
	assert_in_range(blocked->spill_length, 1, STREAM_CHUNK_MAX);
	assert_false(source->reading);
	flow.total = flow.sent;
	run_flows(&rig, &flow, 1);
	rig_settle(&rig);
	assert_false(stream_is_congested(blocked));
	assert_true(source->reading);
	end(&rig, &client, &backend);
}

static void test_a_client_that_does_not_read(void **state)
{
	(void)state;
	stall(false);
}

static void test_a_backend_that_does_not_read(void **state)
{
	(void)state;
	stall(true);
}

/* --- Ends ----------------------------------------------------------------------------------- */

static void test_client_half_closes_and_backend_goes_on(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	rig_say(&rig, &client, "z LOGOUT\r\n");
	rig_half_close(&client);
	rig_expect_only(&rig, &backend, "z LOGOUT\r\n");
	rig_expect_end(&rig, &backend);
	assert_false(backend.reset);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	struct flow flow = {.from = &backend, .to = &client, .total = BULK / 8};
	run_flows(&rig, &flow, 1);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	rig_say(&rig, &backend, "* BYE\r\nz OK\r\n");
	rig_hang_up(&backend);
	rig_expect_only(&rig, &client, "* BYE\r\nz OK\r\n");
	rig_expect_end(&rig, &client);
	assert_false(client.reset);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_CLIENT_ENDED], 1);
	end(&rig, &client, &backend);
}

/* Bytes that the backend does not take yet come before the end that the client announced. */
static void test_client_half_closes_behind_a_spill(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	make_tiny(&rig, &client, &backend);
	struct flow flow = {.from = &client, .to = &backend, .total = BULK};
	fill_up(&rig, &flow);
	rig_half_close(&client);
	rig_settle(&rig);
	assert_int_equal(rig_count(&rig, SESSION_RELAYING), 1);
	flow.total = flow.sent;
	run_flows(&rig, &flow, 1);
	rig_expect_end(&rig, &backend);
	assert_false(backend.reset);
	assert_int_equal(rig_count(&rig, SESSION_HALF_CLOSED), 1);
	end(&rig, &client, &backend);
}

/* The time allowed begins anew as long as the backend has something to say. */
static void test_half_closed_time_begins_anew(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	uint64_t before_ms;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_reach(&rig, SESSION_HALF_CLOSED, &client, &backend);
	before_ms = only_session(&rig, SESSION_HALF_CLOSED)->timeout.deadline_ms;
	rig_settle(&rig);
	assert_int_equal(only_session(&rig, SESSION_HALF_CLOSED)->timeout.deadline_ms, before_ms);
	rig_say(&rig, &backend, "* 1 EXISTS\r\n");
	rig_expect(&rig, &client, "* 1 EXISTS\r\n");
	assert_true(only_session(&rig, SESSION_HALF_CLOSED)->timeout.deadline_ms > before_ms);
	end(&rig, &client, &backend);
}

/* The last bytes of a backend reach a client that reads slowly, then the end. */
static void test_backend_ends_behind_a_spill(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	make_tiny(&rig, &client, &backend);
	struct flow flow = {.from = &backend, .to = &client, .total = BULK};
	fill_down(&rig, &flow);
	rig_hang_up(&backend);
	rig_settle(&rig);
	flow.total = flow.sent;
	flow.from = &client; /* nothing is pushed any more */
	run_flows(&rig, &flow, 1);
	rig_expect_end(&rig, &client);
	assert_false(client.reset);
	assert_int_equal(rig_count(&rig, SESSION_CLOSING), 1);
	end(&rig, &client, &backend);
}

static void test_backend_ends_and_client_talks_on(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	rig_say(&rig, &backend, "* BYE idle too long\r\n");
	rig_hang_up(&backend);
	rig_wait_phase(&rig, SESSION_CLOSING, 1);
	rig_say(&rig, &client, "q NOOP\r\n");
	rig_settle(&rig);
	rig_expect_only(&rig, &client, "* BYE idle too long\r\n");
	rig_expect_end(&rig, &client);
	assert_false(client.reset);
	end(&rig, &client, &backend);
}

/* What a backend said before it was lost is the client's. */
static void test_last_words_of_a_lost_backend(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	(void)!send(backend.fd, "* BYE crash\r\n", 13, MSG_NOSIGNAL);
	rig_reset(&backend);
	rig_say(&rig, &client, "q NOOP\r\n");
	rig_expect_only(&rig, &client, "* BYE crash\r\n");
	rig_expect_end(&rig, &client);
	rig_forget(&client);
	rig_wait_gone(&rig);
	assert_int_equal(rig.set.closed[CLOSE_BACKEND_LOST] + rig.set.closed[CLOSE_BACKEND_ENDED],
			 1);
	end(&rig, &client, &backend);
}

/* Closed while both sides still owe each other bytes: nothing leaks, nobody is called again. */
static void test_close_in_the_middle(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	make_tiny(&rig, &client, &backend);
	struct flow down = {.from = &backend, .to = &client, .total = BULK, .seed = 3};
	struct flow up = {.from = &client, .to = &backend, .total = BULK, .seed = 4};
	fill_down(&rig, &down);
	fill_up(&rig, &up);
	session_set_close(&rig.set);
	rig_wait_gone(&rig);
	end(&rig, &client, &backend);
}

/* An idle session owns no block at all. */
static void test_idle_session_owns_nothing(void **state)
{
	struct session_rig rig;
	struct rig_peer client;
	struct rig_peer backend;
	const struct session *session;

	(void)state;
	session_rig_open(&rig, &patient);
	rig_log_in(&rig, &client, &backend);
	session = only_session(&rig, SESSION_RELAYING);
	assert_null(session->login);
	assert_null(session->client.spill);
	assert_null(session->client.held);
	assert_null(session->upstream.spill);
	assert_null(session->upstream.held);
	/* C122: silence alone ends no session. */
	assert_int_equal(session->timeout.deadline_ms, TIMEOUT_NEVER);
	end(&rig, &client, &backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_a_client_that_does_not_read),
		cmocka_unit_test(test_a_backend_that_does_not_read),
		cmocka_unit_test(test_client_half_closes_and_backend_goes_on),
		cmocka_unit_test(test_client_half_closes_behind_a_spill),
		cmocka_unit_test(test_half_closed_time_begins_anew),
		cmocka_unit_test(test_backend_ends_behind_a_spill),
		cmocka_unit_test(test_backend_ends_and_client_talks_on),
		cmocka_unit_test(test_last_words_of_a_lost_backend),
		cmocka_unit_test(test_close_in_the_middle),
		cmocka_unit_test(test_idle_session_owns_nothing),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
