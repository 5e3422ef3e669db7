/* SPDX-License-Identifier: Apache-2.0
 *
 * Names, asked of a DNS server in this process and loop that answers, denies, lies or is silent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ev.h>

#include "base/base.h"
#include "base/error.h"
#include "net/resolver.h"
#include "net/timeouts.h"
#include "support/fake_dns.h"
#include "support/log_capture.h"
#include "support/turns.h"

#define STALE_LINE "DNS does not answer, known addresses serve on"

/* Where it is not 0, the time stands still. */
static uint64_t frozen_ms;

/* The linker puts it in the place of the real one. */
uint64_t __real_timeouts_now_ms(void);
uint64_t __wrap_timeouts_now_ms(void);

uint64_t __wrap_timeouts_now_ms(void)
{
	return frozen_ms != 0 ? frozen_ms : __real_timeouts_now_ms();
}

struct world {
	struct ev_loop *loop;
	struct fake_dns dns;
	struct resolver *resolver;
};

static int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct error error = {0};

	assert_non_null(world);
	frozen_ms = 0;
	buffer_done(&logged);
	world->loop = ev_loop_new(EVFLAG_AUTO);
	fake_dns_open(&world->dns, world->loop);
	world->resolver = resolver_new(world->loop, world->dns.address, &error);
	assert_non_null(world->resolver);
	*state = world;
	return 0;
}

static int world_end(void **state)
{
	struct world *world = *state;

	resolver_free(world->resolver);
	fake_dns_close(&world->dns);
	assert_false(ev_run(world->loop, EVRUN_NOWAIT)); /* nothing of c-ares is left in it */
	ev_loop_destroy(world->loop);
	free(world);
	buffer_done(&logged);
	return 0;
}

static void set_names(struct world *world, struct fake_name *names, size_t count)
{
	world->dns.names = names;
	world->dns.name_count = count;
}

/* --- The asker ------------------------------------------------------------------------------ */

struct asked {
	struct resolver_query query;
	struct resolver *resolver;
	unsigned answers;
	size_t count;
	char text[16 * (ADDR_TEXT_MAX + 1)]; /* the addresses, each with a space behind */
	char why[128];
	struct asked *then_cancel; /* by the callback */
	const char *then_ask;      /* by the callback, once */
};

static void on_resolved(struct resolver_query *query, const struct addr *addresses, size_t count,
			const char *why)
{
	struct asked *asked = container_of(query, struct asked, query);

	asked->answers++;
	asked->count = count;
	asked->text[0] = '\0';
	asked->why[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		char text[ADDR_TEXT_MAX];

		addr_format(&addresses[i], text);
		strcat(strcat(asked->text, text), " ");
	}
	if (count == 0) {
		snprintf(asked->why, sizeof(asked->why), "%s", why);
	}
	if (asked->then_cancel != NULL) {
		resolver_cancel(&asked->then_cancel->query);
	}
	if (asked->then_ask != NULL) {
		const char *host = asked->then_ask;

		asked->then_ask = NULL;
		resolver_ask(asked->resolver, query, host, 143, on_resolved);
	}
}

static void ask(struct world *world, struct asked *asked, const char *host, uint16_t port)
{
	asked->resolver = world->resolver;
	resolver_ask(world->resolver, &asked->query, host, port, on_resolved);
}

static void resolve(struct world *world, struct asked *asked, const char *host, uint16_t port)
{
	unsigned answers = asked->answers + 1;

	ask(world, asked, host, port);
	turns_until_count(world->loop, &asked->answers, answers);
	assert_int_equal(asked->answers, answers);
}

/* --- The tests ------------------------------------------------------------------------------ */

static void test_addresses(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "one.test", .v4 = {"192.0.2.1"}, .ttl = 60},
		{.name = "both.test", .v4 = {"192.0.2.2"}, .v6 = {"2001:db8::2"}, .ttl = 60},
		{.name = "mapped.test", .v6 = {"::ffff:192.0.2.3"}, .ttl = 60},
	};
	struct asked asked = {0};

	set_names(world, names, array_length(names));
	resolve(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.1:143 ");
	resolve(world, &asked, "both.test", 10143);
	assert_int_equal(asked.count, 2);
	assert_non_null(strstr(asked.text, "192.0.2.2:10143 "));
	assert_non_null(strstr(asked.text, "[2001:db8::2]:10143 "));
	resolve(world, &asked, "mapped.test", 143);
	assert_string_equal(asked.text, "192.0.2.3:143 ");
}

static void test_failures(void **state)
{
	static const char long_label[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test";
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "empty.test", .ttl = 60},
		{.name = "broken.test", .code = 2},
		{.name = "garbage.test", .v4 = {"192.0.2.1"}, .ttl = 60, .garbage = true},
	};
	const char *const hosts[] = {
		"none.test", "empty.test", "broken.test", "garbage.test", long_label, "a..test",
		""};
	struct asked asked = {0};
	char longest[300];

	set_names(world, names, array_length(names));
	for (size_t i = 0; i < array_length(hosts); i++) {
		resolve(world, &asked, hosts[i], 143);
		assert_int_equal(asked.count, 0);
		assert_true(asked.why[0] != '\0');
	}
	memset(longest, 'x', sizeof(longest));
	longest[254] = '\0';
	resolve(world, &asked, longest, 143);
	assert_string_equal(asked.why, "the name is too long");
}

/* Both questions are answered by the table of hosts, or by what is a number already. */
static void test_without_dns(void **state)
{
	struct world *world = *state;
	struct asked asked = {0};

	resolve(world, &asked, "localhost", 143);
	assert_non_null(strstr(asked.text, ":143"));
	resolve(world, &asked, "192.0.2.9", 143);
	assert_string_equal(asked.text, "192.0.2.9:143 ");
}

static void test_shared_and_remembered(void **state)
{
	enum { COUNT = 50 };
	struct world *world = *state;
	struct fake_name name = {.name = "one.test", .v4 = {"192.0.2.1"}, .ttl = 60};
	struct asked asked[COUNT] = {0};
	struct asked later = {0};

	set_names(world, &name, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		ask(world, &asked[i], i % 2 == 0 ? "one.test" : "ONE.Test", (uint16_t)(i + 1));
	}
	turns_until_count(world->loop, &asked[COUNT - 1].answers, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		char expected[32];

		snprintf(expected, sizeof(expected), "192.0.2.1:%u ", i + 1);
		assert_int_equal(asked[i].answers, 1);
		assert_string_equal(asked[i].text, expected);
	}
	ask(world, &later, "one.test", 7);
	assert_int_equal(later.answers, 1);
	assert_string_equal(later.text, "192.0.2.1:7 ");
	assert_int_equal(name.asked, 1);
}

/* The shortest TTL is a second: an answer of TTL 0 serves that long, and then no longer. */
static void test_expiry(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "zero.test", .v4 = {"192.0.2.1"}, .ttl = 0},
		{.name = "long.test", .v4 = {"192.0.2.1"}, .v6 = {"2001:db8::1"}, .ttl = 9},
		{.name = "gone.test", .code = 3},
	};
	struct asked asked = {0};
	struct asked still = {0};
	uint64_t began_ms = timeouts_now_ms();
	bool soon;

	set_names(world, names, array_length(names));
	for (int i = 0; i < 2; i++) {
		resolve(world, &asked, "zero.test", 143);
		resolve(world, &asked, "gone.test", 143);
		resolve(world, &still, "long.test", 143);
	}
	soon = timeouts_now_ms() - began_ms < 900;
	assert_true(!soon || names[0].asked == 1);
	assert_true(!soon || names[2].asked == 1);
	names[0].asked = 1;
	names[2].asked = 1;
	turns_for(world->loop, 1100);
	names[0].v4[0] = "192.0.2.2";
	resolve(world, &asked, "zero.test", 143);
	assert_string_equal(asked.text, "192.0.2.2:143 ");
	names[2] = (struct fake_name){.name = "gone.test", .v4 = {"192.0.2.3"}, .asked = 1};
	resolve(world, &asked, "gone.test", 143);
	assert_string_equal(asked.text, "192.0.2.3:143 ");
	resolve(world, &still, "long.test", 143);
	assert_int_equal(names[0].asked, 2);
	assert_int_equal(names[1].asked, 1);
	assert_int_equal(names[2].asked, 2);
}

static void test_most_addresses(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "many.test", .ttl = 60};
	struct asked asked = {0};
	char texts[20][24];

	for (int i = 0; i < 19; i++) {
		snprintf(texts[i], sizeof(texts[i]), "192.0.2.%d", i + 1);
		name.v4[i] = texts[i];
	}
	set_names(world, &name, 1);
	resolve(world, &asked, "many.test", 143);
	assert_int_equal(asked.count, RESOLVER_ADDRESSES_MAX);
}

static void test_cancel(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "one.test", .v4 = {"192.0.2.1"}, .ttl = 60};
	struct asked first = {0};
	struct asked second = {0};
	struct asked third = {0};

	set_names(world, &name, 1);
	resolver_cancel(&first.query);
	ask(world, &first, "one.test", 143);
	ask(world, &second, "one.test", 143);
	ask(world, &third, "one.test", 143);
	resolver_cancel(&first.query);
	resolver_cancel(&first.query);
	second.then_cancel = &third;
	turns_until_count(world->loop, &second.answers, 1);
	assert_int_equal(first.answers + third.answers, 0);
	/* Nobody waits for it, but it is remembered. */
	name = (struct fake_name){.name = "two.test", .v4 = {"192.0.2.2"}, .ttl = 60};
	ask(world, &first, "two.test", 143);
	resolver_cancel(&first.query);
	turns_until_count(world->loop, &name.asked, 1);
	turns_for(world->loop, 50);
	ask(world, &third, "two.test", 143);
	assert_int_equal(third.answers, 1);
	assert_int_equal(name.asked, 1);
}

static void test_callback_asks(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "one.test", .v4 = {"192.0.2.1"}, .ttl = 60},
		{.name = "two.test", .v4 = {"192.0.2.2"}, .ttl = 60},
	};
	struct asked same = {.then_ask = "one.test"};
	struct asked other = {.then_ask = "two.test"};

	set_names(world, names, array_length(names));
	ask(world, &same, "one.test", 143);
	ask(world, &other, "one.test", 143);
	turns_until_count(world->loop, &other.answers, 2);
	assert_int_equal(same.answers, 2);
	assert_string_equal(same.text, "192.0.2.1:143 ");
	assert_string_equal(other.text, "192.0.2.2:143 ");
	assert_int_equal(names[0].asked, 1);
}

/* A server that says nothing, or cannot be reached: an answer comes all the same. */
static void test_silence(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "silent.test", .silent = true};
	struct asked asked = {0};

	set_names(world, &name, 1);
	resolve(world, &asked, "silent.test", 143);
	assert_int_equal(asked.count, 0);
	assert_true(asked.why[0] != '\0');
	assert_int_equal(name.asked, RESOLVER_TRIES);
}

static void test_oldest_is_forgotten(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "*.test", .v4 = {"192.0.2.1"}, .ttl = 300};
	struct asked asked = {0};
	char host[32];

	set_names(world, &name, 1);
	for (int i = 0; i < RESOLVER_NAMES_MAX; i++) {
		snprintf(host, sizeof(host), "n%d.test", i);
		resolve(world, &asked, host, 143);
	}
	resolve(world, &asked, "n0.test", 143);
	assert_int_equal(name.asked, RESOLVER_NAMES_MAX);
	resolve(world, &asked, "more.test", 143); /* n0 has to go */
	resolve(world, &asked, "n1.test", 143);
	assert_int_equal(name.asked, RESOLVER_NAMES_MAX + 1);
	resolve(world, &asked, "n0.test", 143); /* and now n1 */
	assert_int_equal(name.asked, RESOLVER_NAMES_MAX + 2);
	resolve(world, &asked, "n2.test", 143);
	assert_int_equal(name.asked, RESOLVER_NAMES_MAX + 2);
}

static void fill(struct world *world, int count)
{
	struct asked asked = {0};
	char host[32];

	for (int i = 0; i < count; i++) {
		snprintf(host, sizeof(host), "fill%d.test", i);
		resolve(world, &asked, host, 143);
	}
}

/* A name that expired and is asked for again counts as young. */
static void test_asked_again_is_young(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "again.test", .v4 = {"192.0.2.1"}, .ttl = 0},
		{.name = "*.test", .v4 = {"192.0.2.2"}, .ttl = 300},
	};
	struct asked asked = {0};

	set_names(world, names, array_length(names));
	resolve(world, &asked, "again.test", 143);
	fill(world, RESOLVER_NAMES_MAX - 1);
	turns_for(world->loop, 1100);
	names[0].ttl = 300;
	resolve(world, &asked, "again.test", 143);
	resolve(world, &asked, "more.test", 143); /* fill0 has to go */
	names[0].asked = 0;
	names[1].asked = 0;
	resolve(world, &asked, "again.test", 143);
	assert_int_equal(names[0].asked, 0);
	resolve(world, &asked, "fill0.test", 143);
	assert_int_equal(names[1].asked, 1);
}

/* The name whose askers are just being answered is the oldest, and one of them asks for one more.
 */
static void test_answered_is_not_forgotten(void **state)
{
	struct world *world = *state;
	struct fake_name names[] = {
		{.name = "late.test", .v4 = {"192.0.2.1"}, .ttl = 300, .silent = true},
		{.name = "*.test", .v4 = {"192.0.2.2"}, .ttl = 300},
	};
	struct asked first = {.then_ask = "more.test"};
	struct asked second = {0};

	set_names(world, names, array_length(names));
	ask(world, &first, "late.test", 143);
	ask(world, &second, "late.test", 143);
	fill(world, RESOLVER_NAMES_MAX - 1);
	names[0].silent = false; /* c-ares asks again */
	turns_until_count(world->loop, &first.answers, 2);
	assert_int_equal(second.answers, 1);
	assert_string_equal(second.text, "192.0.2.1:143 ");
	assert_string_equal(first.text, "192.0.2.2:143 ");
}

/* All that are remembered are still being asked: one more is refused at once. */
static void test_too_many(void **state)
{
	struct world *world = *state;
	struct fake_name name = {.name = "*.test", .silent = true};
	struct asked *asked = calloc(RESOLVER_NAMES_MAX, sizeof(*asked));
	struct asked more = {0};
	char host[32];

	set_names(world, &name, 1);
	for (int i = 0; i < RESOLVER_NAMES_MAX; i++) {
		snprintf(host, sizeof(host), "n%d.test", i);
		ask(world, &asked[i], host, 143);
	}
	ask(world, &more, "more.test", 143);
	assert_int_equal(more.answers, 1);
	assert_string_equal(more.why, "too many names are being asked for");
	ask(world, &more, "n7.test", 143); /* shares the question that is asked already */
	assert_int_equal(more.answers, 1);
	resolver_cancel(&more.query);
	for (int i = 0; i < RESOLVER_NAMES_MAX; i++) {
		resolver_cancel(&asked[i].query);
		assert_int_equal(asked[i].answers, 0);
	}
	free(asked);
}

/* --- An outage of DNS ----------------------------------------------------------------------- */

/* What a server says that has no answer: SERVFAIL, NOTIMP, REFUSED, nonsense. */
static const struct fake_name no_answers[] = {
	{.name = "one.test", .code = 2},
	{.name = "one.test", .code = 4},
	{.name = "one.test", .code = 5},
	{.name = "one.test", .v4 = {"192.0.2.9"}, .ttl = 60, .garbage = true},
};

static const struct fake_name one = {.name = "one.test", .v4 = {"192.0.2.1"}, .ttl = 60};

/* The name is known, and its TTL just over. */
static void know_stale(struct world *world, struct fake_name *name)
{
	struct asked asked = {0};

	*name = one;
	set_names(world, name, 1);
	frozen_ms = timeouts_now_ms() + RESOLVER_TTL_NEGATIVE * 1000;
	resolve(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.1:143 ");
	frozen_ms += 60 * 1000;
}

/* DNS has no answer, and the resolver knows that. */
static void fail_stale(struct world *world, struct fake_name *name,
		       const struct fake_name *no_answer)
{
	struct asked asked = {0};

	know_stale(world, name);
	*name = *no_answer;
	resolve(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.1:143 ");
}

static void test_stale(void **state)
{
	for (size_t i = 0; i < array_length(no_answers); i++) {
		struct world *world;
		struct fake_name name;
		struct asked asked = {0};

		assert_int_equal(world_end(state), 0);
		assert_int_equal(world_begin(state), 0);
		world = *state;
		fail_stale(world, &name, &no_answers[i]);
		assert_int_equal(count_logged(STALE_LINE " one.test"), 1);
		/* Not asked again yet. */
		name.asked = 0;
		frozen_ms += RESOLVER_TTL_NEGATIVE * 1000 - 1;
		ask(world, &asked, "one.test", 10143);
		assert_int_equal(asked.answers, 1);
		assert_string_equal(asked.text, "192.0.2.1:10143 ");
		turns_for(world->loop, 50);
		assert_int_equal(name.asked, 0);
		/* Asked, but nobody waits; and once an outage is told once. */
		frozen_ms += 1;
		ask(world, &asked, "one.test", 143);
		assert_int_equal(asked.answers, 2);
		assert_string_equal(asked.text, "192.0.2.1:143 ");
		turns_until_count(world->loop, &name.asked, 1);
		turns_for(world->loop, 50);
		assert_int_equal(count_logged(STALE_LINE), 1);
	}
}

/* The first answer ends it, and the next outage is told again. */
static void test_stale_recovers(void **state)
{
	struct world *world = *state;
	struct fake_name name;
	struct asked asked = {0};

	fail_stale(world, &name, &no_answers[0]);
	name = (struct fake_name){.name = "one.test", .v4 = {"192.0.2.2"}, .ttl = 60};
	frozen_ms += RESOLVER_TTL_NEGATIVE * 1000;
	ask(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.1:143 ");
	turns_until_count(world->loop, &name.asked, 1);
	turns_for(world->loop, 50);
	ask(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.2:143 ");
	frozen_ms += 60 * 1000;
	name = no_answers[0];
	ask(world, &asked, "one.test", 143);
	assert_int_equal(asked.answers, 2); /* one waits again */
	turns_until_count(world->loop, &asked.answers, 3);
	assert_string_equal(asked.text, "192.0.2.2:143 ");
	assert_int_equal(count_logged(STALE_LINE), 2);
}

static void test_stale_ends(void **state)
{
	struct world *world = *state;
	struct fake_name name;
	struct asked asked = {0};
	uint64_t end_ms;

	know_stale(world, &name);
	end_ms = frozen_ms + RESOLVER_STALE_MAX * UINT64_C(1000);
	name = no_answers[0];
	frozen_ms = end_ms - 1;
	resolve(world, &asked, "one.test", 143);
	assert_string_equal(asked.text, "192.0.2.1:143 ");
	frozen_ms = end_ms + RESOLVER_TTL_NEGATIVE * 1000;
	resolve(world, &asked, "one.test", 143);
	assert_int_equal(asked.count, 0);
	assert_true(asked.why[0] != '\0');
	/* Nor from the first moment past it, where nobody has asked before. */
	know_stale(world, &name);
	name = no_answers[0];
	frozen_ms += RESOLVER_STALE_MAX * UINT64_C(1000);
	resolve(world, &asked, "one.test", 143);
	assert_int_equal(asked.count, 0);
}

/* What was known is wrong now, also where DNS failed in between. */
static void test_denial_is_an_answer(void **state)
{
	static const struct fake_name denials[] = {
		{.name = "one.test", .code = 3},
		{.name = "one.test", .ttl = 60},
	};
	struct world *world = *state;

	for (size_t i = 0; i < array_length(denials); i++) {
		struct fake_name name;
		struct asked asked = {0};

		know_stale(world, &name);
		name = denials[i];
		resolve(world, &asked, "one.test", 143);
		assert_int_equal(asked.count, 0);
		assert_int_equal(count_logged(STALE_LINE), 0);
		name = no_answers[0];
		frozen_ms += RESOLVER_TTL_NEGATIVE * 1000;
		resolve(world, &asked, "one.test", 143);
		assert_int_equal(asked.count, 0);
	}
}

/* All who ask first wait, but not for all retries; who asks then does not wait at all. A late
 * answer counts. */
static void test_stale_silence(void **state)
{
	struct world *world = *state;
	struct fake_name name;
	struct asked first = {0};
	struct asked second = {0};

	know_stale(world, &name);
	name.silent = true;
	name.asked = 0;
	ask(world, &first, "one.test", 143);
	ask(world, &second, "one.test", 143);
	assert_int_equal(first.answers + second.answers, 0);
	turns_until_count(world->loop, &second.answers, 1);
	assert_string_equal(first.text, "192.0.2.1:143 ");
	assert_string_equal(second.text, "192.0.2.1:143 ");
	assert_int_equal(count_logged("no answer yet"), 1);
	ask(world, &first, "one.test", 143);
	assert_int_equal(first.answers, 2);
	assert_string_equal(first.text, "192.0.2.1:143 ");
	name.silent = false; /* c-ares asks again */
	name.v4[0] = "192.0.2.2";
	turns_until_count(world->loop, &name.asked, RESOLVER_TRIES);
	turns_for(world->loop, 50);
	ask(world, &second, "one.test", 143);
	assert_int_equal(second.answers, 2);
	assert_string_equal(second.text, "192.0.2.2:143 ");
}

/* The resolver ends with a question on its way, and with patience that is not over. */
static void test_stale_asked_at_the_end(void **state)
{
	struct world *world = *state;
	struct fake_name name;
	struct asked asked = {0};

	know_stale(world, &name);
	name.silent = true;
	name.asked = 0;
	ask(world, &asked, "one.test", 143);
	turns_until_count(world->loop, &name.asked, 1);
	resolver_cancel(&asked.query);
	assert_int_equal(asked.answers, 0);
}

static void test_bad_servers(void **state)
{
	struct world *world = *state;
	struct error error = {0};

	assert_null(resolver_new(world->loop, "not an address", &error));
	assert_memory_equal(error.text, "cannot start the resolver: ", 27);
	resolver_free(NULL);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(test_addresses),
		in_world(test_failures),
		in_world(test_without_dns),
		in_world(test_shared_and_remembered),
		in_world(test_expiry),
		in_world(test_most_addresses),
		in_world(test_cancel),
		in_world(test_callback_asks),
		in_world(test_silence),
		in_world(test_oldest_is_forgotten),
		in_world(test_asked_again_is_young),
		in_world(test_answered_is_not_forgotten),
		in_world(test_too_many),
		in_world(test_stale),
		in_world(test_stale_recovers),
		in_world(test_stale_ends),
		in_world(test_denial_is_an_answer),
		in_world(test_stale_silence),
		in_world(test_stale_asked_at_the_end),
		in_world(test_bad_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
