/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of backends that URLs name: what is kept, what goes first, and what never goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../proxy/routing/url_backends_internal.h"
#include "base/addr.h"
#include "imap/capability.h"
#include "imap/sasl.h"
#include "routing/backend.h"

static struct backend *get(struct url_backends *backends, unsigned port)
{
	struct endpoint address = {0};
	struct error error = {0};
	struct backend *backend;
	char text[32];

	snprintf(text, sizeof(text), "10.0.0.1:%u", port);
	assert_true(endpoint_parse(&address, text, 0, &error));
	backend = url_backends_get(backends, &address, CONFIG_TLS_NONE, NULL);
	assert_non_null(backend);
	assert_true(endpoint_equal(&backend->address, &address));
	endpoint_done(&address);
	return backend;
}

/* What an entry was called before tells whether it is still the same one. */
static void touch(struct url_backends *backends, unsigned port, uint64_t mark)
{
	struct backend *backend = get(backends, port);

	backend->connect_timeout_ms = mark;
	backend_unref(backend);
}

static bool is_kept(struct url_backends *backends, unsigned port, uint64_t mark)
{
	struct backend *backend = get(backends, port);
	bool kept = backend->connect_timeout_ms == mark;

	backend_unref(backend);
	return kept;
}

static void fill(struct url_backends *backends)
{
	for (unsigned i = 1; i <= ROUTE_URL_BACKENDS_MAX; i++) {
		touch(backends, i, i);
	}
}

static void test_limit(void **state)
{
	struct url_backends backends = {0};

	(void)state;
	fill(&backends);
	assert_true(is_kept(&backends, 1, 1)); /* and is now the youngest */
	touch(&backends, 20000, 0);
	assert_true(is_kept(&backends, 1, 1));
	assert_true(is_kept(&backends, 3, 3));
	assert_false(is_kept(&backends, 2, 2));
	url_backends_done(&backends);
	url_backends_done(&backends);
}

static void test_used_stay(void **state)
{
	struct url_backends backends = {0};
	struct backend *used;

	(void)state;
	fill(&backends);
	used = get(&backends, 1);
	for (unsigned i = 2; i <= ROUTE_URL_BACKENDS_MAX; i++) {
		touch(&backends, i, i);
	}
	touch(&backends, 20000, 0);
	assert_int_equal(used->references, 2);
	assert_true(is_kept(&backends, 1, 1));
	assert_false(is_kept(&backends, 2, 2));
	url_backends_done(&backends);
	assert_int_equal(used->references, 1);
	backend_unref(used);
}

static void test_all_used(void **state)
{
	struct url_backends backends = {0};
	static struct backend *used[ROUTE_URL_BACKENDS_MAX];
	struct backend *extra;
	struct backend *again;

	(void)state;
	for (unsigned i = 0; i < ROUTE_URL_BACKENDS_MAX; i++) {
		used[i] = get(&backends, i + 1);
	}
	extra = get(&backends, 20000);
	again = get(&backends, 20000);
	assert_ptr_not_equal(extra, again);
	assert_int_equal(extra->references, 1);
	backend_unref(again);
	/* The first that becomes free gives its place. */
	backend_unref(used[7]);
	again = get(&backends, 20000);
	assert_int_equal(again->references, 2);
	backend_unref(again);
	backend_unref(extra);
	for (unsigned i = 0; i < ROUTE_URL_BACKENDS_MAX; i++) {
		if (i != 7) {
			backend_unref(used[i]);
		}
	}
	url_backends_done(&backends);
}

static void test_meet(void **state)
{
	struct capability_offer offer = {.known = true, .mechanisms = SASL_ALL, .atoms = "IDLE"};
	struct capability_offer common = {0};
	struct url_backends backends = {0};
	struct backend *first = get(&backends, 1);
	struct backend *second = get(&backends, 2);

	(void)state;
	url_backends_meet(&backends, &common);
	assert_false(common.known);
	assert_true(backend_learn(first, &offer));
	offer.mechanisms = SASL_PASSWORDS;
	assert_true(backend_learn(second, &offer));
	backend_unref(get(&backends, 3)); /* nothing is known of it */
	url_backends_meet(&backends, &common);
	assert_true(common.known);
	assert_int_equal(common.mechanisms, SASL_PASSWORDS);
	assert_string_equal(common.atoms, "IDLE");
	backend_unref(first);
	backend_unref(second);
	url_backends_done(&backends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_used_stay),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
