/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts that a list allows, and those just beside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/config.h"
#include "core/config_host.h"
#include "support/config_text.h"

static struct config *load_hosts(const char *list)
{
	char text[512];

	snprintf(text, sizeof(text), CONFIG_TEXT_LISTENER "[routing]\nurl_hosts = [%s]\n", list);
	return config_text_good(text);
}

static void test_hosts(void **state)
{
	static const struct {
		const char *list;
		const char *host; /* with its port */
		bool allowed;
	} rows[] = {
		{"\"mail.Example.org\"", "mail.example.org:143", true},
		{"\"mail.example.org\"", "MAIL.EXAMPLE.ORG:993", true},
		{"\"mail.example.org\"", "mail.example.org.uk:143", false},
		{"\"mail.example.org\"", "xmail.example.org:143", false},
		{"\"mail.example.org\"", "example.org:143", false},
		{"\"mail.example.org\"", "10.0.0.1:143", false},
		{"\"*.example.org\"", "mail.example.org:143", true},
		{"\"*.example.org\"", "a.b.EXAMPLE.org:143", true},
		{"\"*.example.org\"", "example.org:143", false},
		{"\"*.example.org\"", "badexample.org:143", false},
		{"\"*.example.org\"", "mail.example.org.evil.test:143", false},
		{"\"*.org\", \"localhost\"", "localhost:143", true},
		{"\"*.org\", \"localhost\"", "local:143", false},
		{"\"10.0.0.0/8\"", "10.255.0.1:143", true},
		{"\"10.0.0.0/8\"", "11.0.0.1:143", false},
		{"\"10.0.0.0/8\"", "[::ffff:10.0.0.1]:143", true},
		{"\"10.0.0.0/8\"", "[::ffff:11.0.0.1]:143", false},
		{"\"10.0.0.0/8\"", "[::10.0.0.1]:143", false},
		{"\"10.0.0.1\"", "10.0.0.1:143", true},
		{"\"10.0.0.1\"", "10.0.0.2:143", false},
		{"\"::/0\"", "[::ffff:10.0.0.1]:143", false},
		{"\"2001:db8::/32\"", "[2001:db8:1::1]:143", true},
		{"\"2001:db8::/32\"", "[2001:db9::1]:143", false},
		{"\"2001:db8::/32\", \"0.0.0.0/0\", \"*.a\"", "192.0.2.1:1", true},
		/* What a resolver may take for an address is a name here. */
		{"\"10.0.0.0/8\"", "0x0a000001:143", false},
		{"\"0.0.0.0/0\", \"::/0\", \"*.a\"", "b:143", false},
		{"\"0.0.0.0/0\", \"::/0\", \"unix\"", "unix:/run/x", false},
		{"", "mail.example.org:143", false},
		{"", "10.0.0.1:143", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct config *config = load_hosts(rows[i].list);
		struct endpoint endpoint = {0};
		struct error error = {0};

		if (!endpoint_parse(&endpoint, rows[i].host, 0, &error)) {
			fail_msg("%s: %s", rows[i].host, error.text);
		}
		if (config_host_allows(&config->routing.url_hosts, &endpoint) != rows[i].allowed) {
			fail_msg("[%s] and %s", rows[i].list, rows[i].host);
		}
		endpoint_done(&endpoint);
		config_unref(config);
	}
}

/* No name at all, and a final dot, which endpoint_parse may not take. */
static void test_odd_names(void **state)
{
	struct config *config = load_hosts("\"mail.example.org\", \"*.test\"");
	static const struct {
		const char *name;
		bool allowed;
	} rows[] = {
		{"mail.example.org.", true},
		{"a.test.", true},
		{"a.test..", false},
		{".test", false},
		{"", false},
		{".", false},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct endpoint endpoint = {
			.kind = ENDPOINT_NAME,
			.name = (char *)(uintptr_t)rows[i].name,
		};

		assert_int_equal(config_host_allows(&config->routing.url_hosts, &endpoint),
				 rows[i].allowed);
	}
	assert_false(config_host_allows(&config->routing.url_hosts, &(struct endpoint){0}));
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_odd_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
