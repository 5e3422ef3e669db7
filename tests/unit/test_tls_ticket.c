/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of session tickets: which tickets open, which are renewed, and that old keys are gone.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <malloc.h>

#include <openssl/ssl.h>

#include "base/base.h"
#include "net/ticket.h"
#include "support/tls_pair.h"

#define HOUR_MS 3600000

static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct certified certified;

static int begin_certificate(void **state)
{
	(void)state;
	certified_make(&certified, &(struct certified_wish){.names = {"a.test"}});
	return 0;
}

static int end_certificate(void **state)
{
	(void)state;
	certified_done(&certified);
	return 0;
}

/* --- One context ---------------------------------------------------------------------------- */

static SSL_CTX *make_context(struct ticket_keys *keys)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	assert_true(SSL_CTX_use_certificate(context, certified.certificate));
	assert_true(SSL_CTX_use_PrivateKey(context, certified.key));
	assert_true(SSL_CTX_set_num_tickets(context, 1));
	assert_true(ticket_keys_serve(keys, context));
	return context;
}

struct world {
	struct ticket_keys *keys;
	SSL_CTX *context;
};

static void open_world(struct world *world, uint64_t lifetime_ms)
{
	world->keys = ticket_keys_new(lifetime_ms);
	assert_non_null(world->keys);
	world->context = make_context(world->keys);
}

static void close_world(struct world *world)
{
	SSL_CTX_free(world->context);
	ticket_keys_free(world->keys);
}

/* What the client is given is in `pair`, which the caller ends. */
static void shake(struct tls_pair *pair, const struct world *world, uint16_t version,
		  SSL_SESSION *session)
{
	tls_pair_run(pair, world->context,
		     &(struct tls_pair_settings){.version = version, .session = session});
	assert_true(pair->finished);
}

static void check_returning(const struct world *world, uint16_t version, SSL_SESSION *session,
			    bool resumed, unsigned sessions)
{
	struct tls_pair pair;

	shake(&pair, world, version, session);
	assert_int_equal(tls_pair_resumed(&pair), resumed);
	assert_int_equal(pair.sessions, sessions);
	tls_pair_done(&pair);
}

/* --- What opens ----------------------------------------------------------------------------- */

static void test_rotation(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(versions); i++) {
		/* TLS 1.3 gives a ticket with every handshake. */
		unsigned always = versions[i] == TLS1_3_VERSION ? 1 : 0;
		struct tls_pair first;
		struct world world;

		open_world(&world, HOUR_MS);
		shake(&first, &world, versions[i], NULL);
		assert_int_equal(first.sessions, 1);
		check_returning(&world, versions[i], first.session, true, always);
		assert_true(ticket_keys_rotate(world.keys));
		check_returning(&world, versions[i], first.session, true, 1);
		assert_true(ticket_keys_rotate(world.keys));
		check_returning(&world, versions[i], first.session, false, 1);
		tls_pair_done(&first);
		close_world(&world);
	}
}

/* The ticket that came with a resumption is of the new key. */
static void test_renewed(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(versions); i++) {
		struct tls_pair first;
		struct tls_pair second;
		struct world world;

		open_world(&world, HOUR_MS);
		shake(&first, &world, versions[i], NULL);
		assert_true(ticket_keys_rotate(world.keys));
		shake(&second, &world, versions[i], first.session);
		assert_true(tls_pair_resumed(&second));
		assert_true(ticket_keys_rotate(world.keys));
		check_returning(&world, versions[i], second.session, true, 1);
		check_returning(&world, versions[i], first.session, false, 1);
		tls_pair_done(&first);
		tls_pair_done(&second);
		close_world(&world);
	}
}

/* Any context with the keys opens what another sealed, and none without them. */
static void test_shared(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(versions); i++) {
		struct world world;
		struct world other;
		struct world stranger;
		struct tls_pair first;

		open_world(&world, HOUR_MS);
		open_world(&stranger, HOUR_MS);
		other = (struct world){.context = make_context(world.keys)};
		shake(&first, &world, versions[i], NULL);
		check_returning(&other, versions[i], first.session, true,
				versions[i] == TLS1_3_VERSION ? 1 : 0);
		check_returning(&stranger, versions[i], first.session, false, 1);
		tls_pair_done(&first);
		close_world(&other);
		close_world(&world);
		close_world(&stranger);
	}
}

/* --- Time ----------------------------------------------------------------------------------- */

static bool holds(const struct ticket_keys *keys, const uint8_t *name)
{
	return memmem(keys, malloc_usable_size((void *)keys), name, SSL_TICKET_KEY_NAME_LEN) !=
	       NULL;
}

/* After two lifetimes a key is gone, whether anybody comes or not. */
static void test_window(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(versions) * 2; i++) {
		bool visited = i / 2 == 0;
		uint8_t name[SSL_TICKET_KEY_NAME_LEN];
		const uint8_t *ticket;
		struct tls_pair first;
		struct world world;
		size_t length;

		open_world(&world, 1);
		shake(&first, &world, versions[i % 2], NULL);
		SSL_SESSION_get0_ticket(first.session, &ticket, &length);
		assert_true(length > sizeof(name));
		memcpy(name, ticket, sizeof(name));
		usleep(5000);
		if (visited) {
			check_returning(&world, versions[i % 2], first.session, false, 1);
		} else {
			ticket_keys_age(world.keys);
		}
		assert_false(holds(world.keys, name));
		tls_pair_done(&first);
		close_world(&world);
	}
}

static void test_young_keys_stay(void **state)
{
	uint8_t name[SSL_TICKET_KEY_NAME_LEN];
	const uint8_t *ticket;
	struct tls_pair first;
	struct world world;
	size_t length;

	(void)state;
	open_world(&world, HOUR_MS);
	shake(&first, &world, TLS1_3_VERSION, NULL);
	SSL_SESSION_get0_ticket(first.session, &ticket, &length);
	memcpy(name, ticket, sizeof(name));
	ticket_keys_age(world.keys);
	assert_true(holds(world.keys, name));
	assert_true(ticket_keys_rotate(world.keys));
	ticket_keys_age(world.keys);
	assert_true(holds(world.keys, name));
	assert_true(ticket_keys_rotate(world.keys));
	assert_false(holds(world.keys, name));
	tls_pair_done(&first);
	close_world(&world);
}

/* No client is promised more than what the last ticket of a key has. */
static void test_promise(void **state)
{
	static const struct {
		uint64_t lifetime_ms;
		uint32_t seconds;
	} rows[] = {{1, 1}, {999, 1}, {1000, 1}, {1999, 1}, {43200000, 43200}, {604800000, 604800}};

	(void)state;
	for (size_t i = 0; i < array_length(rows) * 2; i++) {
		struct tls_pair first;
		struct world world;
		uint32_t promised;

		open_world(&world, rows[i / 2].lifetime_ms);
		shake(&first, &world, versions[i % 2], NULL);
		/* What the client took it for, in TLS 1.3; before, it is only told. */
		promised = versions[i % 2] == TLS1_3_VERSION
				   ? SSL_SESSION_get_timeout(first.session)
				   : SSL_SESSION_get_ticket_lifetime_hint(first.session);
		assert_true(promised <= rows[i / 2].seconds);
		assert_true(promised > 0 || rows[i / 2].seconds == 1);
		assert_int_equal(SSL_CTX_get_timeout(world.context), rows[i / 2].seconds);
		tls_pair_done(&first);
		close_world(&world);
	}
}

static void test_free_nothing(void **state)
{
	(void)state;
	ticket_keys_free(NULL);
}

/* --- Threads -------------------------------------------------------------------------------- */

struct visitor {
	const struct world *world;
	uint16_t version;
	pthread_t thread;
};

static void *visit(void *context)
{
	const struct visitor *visitor = context;

	for (unsigned i = 0; i < 30; i++) {
		struct tls_pair first;
		struct tls_pair second;

		shake(&first, visitor->world, visitor->version, NULL);
		shake(&second, visitor->world, visitor->version, first.session);
		tls_pair_done(&second);
		tls_pair_done(&first);
	}
	return NULL;
}

/* For the thread sanitizer. */
static void test_threads(void **state)
{
	struct visitor visitors[4];
	struct world world;

	(void)state;
	open_world(&world, 20);
	for (size_t i = 0; i < array_length(visitors); i++) {
		visitors[i] = (struct visitor){.world = &world, .version = versions[i % 2]};
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		assert_true(ticket_keys_rotate(world.keys));
		ticket_keys_age(world.keys);
		usleep(1000);
	}
	for (size_t i = 0; i < array_length(visitors); i++) {
		pthread_join(visitors[i].thread, NULL);
	}
	close_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation),        cmocka_unit_test(test_renewed),
		cmocka_unit_test(test_shared),          cmocka_unit_test(test_window),
		cmocka_unit_test(test_young_keys_stay), cmocka_unit_test(test_promise),
		cmocka_unit_test(test_free_nothing),    cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("tls_ticket", tests, begin_certificate, end_certificate);
}
