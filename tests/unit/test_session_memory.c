/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole lives of sessions, with the n-th allocation failing, for every n: this one is refused or
 * ends, its place and its descriptors come back, and the next one finds all as before. The linker
 * leads malloc, calloc and strdup of the house through here (see the Makefile).
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/fake_directory.h"
#include "support/session_rig.h"
#include "support/tls_peer.h"

#define PATIENCE_MS 30000

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);

/* struct failing: allocations are counted only while the house has the word. */
static struct {
	bool armed;
	unsigned counted;
	unsigned nth; /* 0: none fails */
	bool from_there_on;
} failing;

static bool fails(void)
{
	if (!failing.armed) {
		return false;
	}
	failing.counted++;
	return failing.nth > 0 && (failing.counted == failing.nth ||
				   (failing.from_there_on && failing.counted > failing.nth));
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

static void turn(struct session_rig *rig)
{
	failing.armed = true;
	rig_turn(rig);
	failing.armed = false;
}

/* --- Stories -------------------------------------------------------------------------------- */

struct story;

/* struct plot is what a client and a backend do in turn; both look at what they have heard. */
struct plot {
	enum rig_listener listener;
	const char *first; /* what the client says at once */
	void (*prepare)(void);
	void (*play_client)(struct session_rig *rig, struct story *story);
	void (*play_backend)(struct session_rig *rig, struct story *story);
	bool is_secure;  /* it is the backend with TLS that is reached, by a client that lets its
			  * ClientHello follow at once */
	unsigned logins; /* that the backend sees */
};

/* struct story is a plot that is being played. */
struct story {
	const struct plot *plot;
	struct rig_peer client;
	struct rig_peer backend;
	unsigned logins; /* that the backend has seen */
	bool said;       /* the client has said its login */
	bool relayed;
};

/* Nothing here turns the loop. */
static void say(struct rig_peer *peer, const char *text)
{
	if (peer->tls != NULL) {
		tls_peer_write(peer->tls, text, strlen(text), 0);
		rig_hear(peer);
	} else {
		(void)!send(peer->fd, text, strlen(text), MSG_NOSIGNAL);
	}
}

/* True once for each time that it was heard; all else that was is forgotten then. */
static bool take(struct rig_peer *peer, const char *text)
{
	if (!rig_has_heard(peer, text)) {
		return false;
	}
	buffer_done(&peer->heard);
	return true;
}

static void end_relay(struct story *story)
{
	if (take(&story->backend, "d LOGOUT\r\n")) {
		story->relayed = true;
		rig_hang_up(&story->backend);
		rig_forget(&story->backend);
	}
}

/* A login with a refusal before it, pipelined bytes, and some relaying. */
static void play_password_client(struct session_rig *rig, struct story *story)
{
	(void)rig;
	if (take(&story->client, "+ ")) {
		say(&story->client, "AGFsaWNlAHNlY3JldA==\r\nd LOGOUT\r\n");
	}
}

static void play_password_backend(struct session_rig *rig, struct story *story)
{
	struct rig_peer *backend = &story->backend;

	(void)rig;
	if (take(backend, "AUTHENTICATE PLAIN")) {
		story->logins++;
		say(backend, "G1 OK\r\n* OK [ALERT] beware\r\n");
		say(backend, story->logins == 1 ? "G2 NO [EXPIRED] too old\r\n" : "G2 OK in\r\n");
	} else if (take(backend, "G3 CAPABILITY")) {
		say(backend, "* CAPABILITY IMAP4rev1\r\nG3 OK\r\n* 1 EXISTS\r\n");
	} else {
		end_relay(story);
	}
}

/* TLS behind a PROXY header, and a backend with STARTTLS. */
static void play_secure_client(struct session_rig *rig, struct story *story)
{
	(void)rig;
	if (!story->said && story->client.tls->finished) {
		story->said = true;
		say(&story->client, "a LOGIN erin secret\r\nd LOGOUT\r\n");
	}
}

static void play_secure_backend(struct session_rig *rig, struct story *story)
{
	struct rig_peer *backend = &story->backend;

	if (take(backend, "G1 STARTTLS\r\n")) {
		say(backend, "G1 OK go\r\n");
		rig_serve_tls(rig, backend, NULL);
	} else if (take(backend, "G2 CAPABILITY\r\n")) {
		say(backend, "* CAPABILITY IMAP4rev1 ID SASL-IR AUTH=PLAIN\r\nG2 OK\r\n");
	} else if (take(backend, "AUTHENTICATE PLAIN ")) {
		story->logins++;
		say(backend, "G3 OK\r\nG4 OK [CAPABILITY IMAP4rev1] in\r\n* 1 EXISTS\r\n");
	} else {
		end_relay(story);
	}
}

/* STARTTLS of the client, and an exchange of two rounds. */
static void play_exchange_client(struct session_rig *rig, struct story *story)
{
	struct rig_peer *client = &story->client;

	(void)rig;
	if (client->tls == NULL) {
		if (take(client, "s OK Begin TLS negotiation now.\r\n")) {
			rig_begin_tls(client, NULL);
		}
	} else if (!story->said && client->tls->finished) {
		story->said = true;
		say(client, "a " RIG_EXCHANGE);
	} else if (take(client, "+ cj14WVo=\r\n")) {
		say(client, "Yz1iaXdz\r\n\r\nd LOGOUT\r\n");
	} else if (take(client, "a NO ")) {
		say(client, "d LOGOUT\r\n");
	}
}

static void play_exchange_backend(struct session_rig *rig, struct story *story)
{
	struct rig_peer *backend = &story->backend;

	(void)rig;
	if (take(backend, "AUTHENTICATE SCRAM-SHA-256 ")) {
		story->logins++;
		say(backend, "G1 OK\r\n+ cj14WVo=\r\n");
	} else if (take(backend, "Yz1iaXdz\r\n")) {
		say(backend, "+ dj1yNnQ=\r\n");
	} else if (take(backend, "\r\n") && !story->relayed) {
		say(backend, "G2 OK [CAPABILITY IMAP4rev1] in\r\n");
	}
}

/* The empty answer and what follows it may come at once. */
static void play_exchange_end(struct session_rig *rig, struct story *story)
{
	if (rig_has_heard(&story->backend, "d LOGOUT\r\n")) {
		end_relay(story);
	} else {
		play_exchange_backend(rig, story);
	}
}

/* A hold, a backend that refuses to be connected to, the next one by rank, which refers to another,
 * and two names of the user. */
static void prepare_travel(void)
{
	fake_knows("bob", "nowhere?user=robert&assigned");
	fake_hold("bob");
}

static void play_travel_client(struct session_rig *rig, struct story *story)
{
	(void)rig;
	(void)story;
	if (fake_count("bob", FAKE_PARKED) > 0) {
		failing.armed = true;
		fake_release("bob");
		failing.armed = false;
	}
}

static void play_travel_backend(struct session_rig *rig, struct story *story)
{
	static const char *const logins[] = {"AUTHENTICATE PLAIN AHJvYmVydABzZWNyZXQ=\r\n",
					     "AUTHENTICATE PLAIN AHJvYgBzZWNyZXQ=\r\n"};
	struct rig_peer *backend = &story->backend;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	char reply[100];

	if (!rig_has_heard(backend, "AUTHENTICATE PLAIN ")) {
		end_relay(story);
		return;
	}
	/* Never under another name for want of memory. */
	assert_true(take(backend, logins[story->logins]));
	story->logins++;
	assert_int_equal(getsockname(rig->third, (struct sockaddr *)&address, &length), 0);
	snprintf(reply, sizeof(reply), "G1 OK\r\nG2 NO [REFERRAL imap://rob@127.0.0.1:%u/] x\r\n",
		 ntohs(address.sin_port));
	say(backend, story->logins == 1 ? reply : "G1 OK\r\nG2 OK [CAPABILITY IMAP4rev1] in\r\n");
}

static const struct plot travel = {
	.listener = RIG_PLAIN,
	.first = "a LOGIN bob secret\r\nd LOGOUT\r\n",
	.prepare = prepare_travel,
	.play_client = play_travel_client,
	.play_backend = play_travel_backend,
	.logins = 2,
};

static const struct plot passwords = {
	.listener = RIG_PLAIN,
	.first = "a ID (\"name\" \"test\")\r\nb LOGIN {5+}\r\nalice \"wrong\"\r\n"
		 "c AUTHENTICATE PLAIN\r\n",
	.play_client = play_password_client,
	.play_backend = play_password_backend,
	.logins = 2,
};

static const struct plot secure = {
	.listener = RIG_PROXY_TLS,
	.first = "PROXY TCP4 192.0.2.7 203.0.113.9 4711 993\r\n",
	.play_client = play_secure_client,
	.play_backend = play_secure_backend,
	.is_secure = true,
	.logins = 1,
};

static const struct plot exchange = {
	.listener = RIG_STARTTLS,
	.first = "i ID (\"name\" \"test\")\r\ns STARTTLS\r\n",
	.play_client = play_exchange_client,
	.play_backend = play_exchange_end,
	.logins = 1,
};

static void accept_backend(struct session_rig *rig, struct story *story)
{
	const int listening[] = {rig->backend, rig->second, rig->third, rig->secure};

	for (size_t i = 0; i < array_length(listening) && story->backend.fd < 0; i++) {
		story->backend.fd = accept4(listening[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
}

static void play_backend(struct session_rig *rig, struct story *story)
{
	struct rig_peer *backend = &story->backend;

	if (backend->fd < 0) {
		int one = 1;

		accept_backend(rig, story);
		if (backend->fd < 0) {
			return;
		}
		(void)setsockopt(backend->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		say(backend, story->plot->is_secure
				     ? "* OK [CAPABILITY IMAP4rev1 STARTTLS] backend\r\n"
				     : "* OK [CAPABILITY " RIG_MECHANISMS "] backend\r\n");
	}
	rig_hear(backend);
	if (backend->ended) {
		rig_forget(backend);
	} else {
		story->plot->play_backend(rig, story);
	}
}

static void say_first(const struct plot *plot, struct rig_peer *client)
{
	struct buffer bytes = {0};

	buffer_append_text(&bytes, plot->first);
	if (plot->is_secure) {
		rig_begin_tls(client, NULL);
		client->tls->hand_written = true;
		rig_hear(client);
		client->tls->hand_written = false;
		buffer_append(&bytes, buffer_bytes(&client->tls->outgoing),
			      client->tls->outgoing.length);
		buffer_truncate(&client->tls->outgoing, 0);
	}
	(void)!send(client->fd, buffer_bytes(&bytes), bytes.length, MSG_NOSIGNAL);
	buffer_done(&bytes);
}

/* Goes on until the story is told, or the client was left: nobody may be kept waiting for ever. */
static void play(struct session_rig *rig, const struct plot *plot, struct story *story)
{
	uint64_t given_up_ms = timeouts_now_ms() + PATIENCE_MS;

	*story = (struct story){.plot = plot, .client = {.fd = -1}, .backend = {.fd = -1}};
	if (plot->prepare != NULL) {
		plot->prepare();
	}
	failing.armed = true;
	rig_connect_to(rig, plot->listener, &story->client);
	failing.armed = false;
	say_first(plot, &story->client);
	while (!story->relayed && !story->client.ended) {
		assert_true(timeouts_now_ms() < given_up_ms);
		turn(rig);
		play_backend(rig, story);
		rig_hear(&story->client);
		if (!story->client.ended) {
			plot->play_client(rig, story);
		}
	}
	rig_forget(&story->client);
	rig_forget(&story->backend);
}

static const struct rig_options options = {
	.limits = "failure_delay = \"0s\"\nclose_timeout = \"10m\"\n",
	.moves = "release_spread = \"0s\"\n",
	.routing = "unknown = \"hash\"\nfailover = true\nreferrals = [\"127.0.0.0/8\"]\n",
	.health = "witnesses = 0\n",
	.directory = &fake_directory,
};

static unsigned play_whole(struct session_rig *rig, const struct plot *plot)
{
	struct story story;

	failing.nth = 0;
	failing.counted = 0;
	rig_teach(rig, RIG_MECHANISMS);
	play(rig, plot, &story);
	assert_true(story.relayed);
	assert_int_equal(story.logins, plot->logins);
	rig_wait_gone(rig);
	return failing.counted;
}

/* How TLS's records meet the reads of a turn differs: a story may come to its end with fewer
 * allocations than another. */
static void fail_each(const struct plot *plot, bool from_there_on)
{
	struct session_rig rig;
	unsigned total;

	session_rig_open(&rig, &options);
	total = play_whole(&rig, plot);
	assert_true(total > 20);
	for (unsigned n = 1; n <= total; n++) {
		struct story story;

		failing.nth = n;
		failing.counted = 0;
		failing.from_there_on = from_there_on;
		play(&rig, plot, &story);
		assert_true(failing.counted >= n || story.relayed);
		rig_wait_gone(&rig);
		assert_int_equal(fake_here(), 0);
	}
	play_whole(&rig, plot);
	session_rig_close(&rig);
}

static void test_passwords(void **state)
{
	(void)state;
	fail_each(&passwords, false);
	fail_each(&passwords, true);
}

static void test_secure(void **state)
{
	(void)state;
	fail_each(&secure, false);
	fail_each(&secure, true);
}

static void test_exchange(void **state)
{
	(void)state;
	fail_each(&exchange, false);
	fail_each(&exchange, true);
}

static void test_travel(void **state)
{
	(void)state;
	fail_each(&travel, false);
	fail_each(&travel, true);
}

static void test_the_first_is_refused_and_counted(void **state)
{
	struct session_rig rig;
	struct story story;

	(void)state;
	session_rig_open(&rig, &options);
	failing.nth = 1;
	failing.counted = 0;
	failing.from_there_on = false;
	play(&rig, &passwords, &story);
	assert_int_equal(rig.set.closed[CLOSE_NO_MEMORY], 1);
	assert_int_equal(session_set_count(&rig.set), 0);
	assert_int_equal(atomic_load(&rig.limit.taken), 0);
	session_rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passwords),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_travel),
		cmocka_unit_test(test_the_first_is_refused_and_counted),
	};

	return cmocka_run_group_tests_name("session_memory", tests, NULL, NULL);
}
