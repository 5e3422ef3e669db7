/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults between options, each with what stands just beside it and is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "support/config_text.h"

#define LISTENER     CONFIG_TEXT_LISTENER
#define CERTIFICATE  "[[tls.certificate]]\nchain = \"/dev/null\"\nkey = \"/dev/null\"\n"
#define BACKEND      "[[backend]]\nname = \"m\"\naddress = \"h:1\"\n"
#define UNIX_BACKEND "[[backend]]\nname = \"m\"\naddress = \"unix:/b\"\n"

struct fault_row {
	const char *toml;
	const char *faults;
};

static void check_faults(const struct fault_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *faults;

		assert_null(config_text_load(rows[i].toml, &faults));
		assert_string_equal(faults, rows[i].faults);
		free(faults);
	}
}

static void check_good(const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		config_unref(config_text_good(texts[i]));
	}
}

#define NEEDS_CERTIFICATE "needs a [[tls.certificate]] with chain and key\n"

static void test_certificates(void **state)
{
	static const struct fault_row faults[] = {
		{"[[listener]]\naddress = \"[::]:993\"\n",
		 "f:1:1: a [[listener]] with tls = \"implicit\" " NEEDS_CERTIFICATE},
		{LISTENER "[[listener]]\naddress = \"[::]:143\"\ntls = \"starttls\"\n"
			  "[[listener]]\naddress = \"[::]:993\"\n",
		 "f:6:7: a [[listener]] with tls = \"starttls\" " NEEDS_CERTIFICATE},
		/* A tls that is a fault itself asks for nothing. */
		{"[[listener]]\naddress = \"[::]:143\"\ntls = \"tls\"\n",
		 "f:3:7: \"tls\" is \"tls\", but must be \"none\", \"starttls\" or "
		 "\"implicit\"\n"},
	};
	static const char *const good[] = {
		"[[listener]]\naddress = \"[::]:143\"\ntls = \"starttls\"\n" CERTIFICATE,
		LISTENER CERTIFICATE CERTIFICATE CERTIFICATE,
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

#define TWO(first, second)                                                                         \
	"[[listener]]\naddress = \"" first "\"\ntls = \"none\"\n"                                  \
	"[[listener]]\naddress = \"" second "\"\ntls = \"none\"\n"

static void test_listener_twins(void **state)
{
	static const struct fault_row faults[] = {
		{TWO("0.0.0.0:993", "127.0.0.1:993"),
		 "f:5:11: two listeners on one port: \"127.0.0.1:993\" and, in line 2, "
		 "\"0.0.0.0:993\", of which one is every address; keep one\n"},
		{TWO("[2001:db8::1]:993", "[::]:993"),
		 "f:5:11: two listeners on one port: \"[::]:993\" and, in line 2, "
		 "\"[2001:db8::1]:993\", of which one is every address; keep one\n"},
		{TWO("[::]:993", "[::0]:993"),
		 "f:5:11: two listeners on one address: \"[::]:993\" stands in line 2 too; give "
		 "each [[listener]] its own\n"},
		{TWO("unix:/a", "unix:/a"),
		 "f:5:11: two listeners on one address: \"unix:/a\" stands in line 2 too; give "
		 "each [[listener]] its own\n"},
	};
	static const char *const good[] = {
		TWO("0.0.0.0:993", "127.0.0.1:143"), TWO("0.0.0.0:993", "[::]:993"),
		TWO("[::]:993", "127.0.0.1:993"),    TWO("127.0.0.1:993", "127.0.0.2:993"),
		TWO("unix:/a", "unix:/b"),           TWO("0.0.0.0:993", "unix:/a"),
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

#define ONLY_WITHOUT_TLS                                                                           \
	"\"allow_plaintext\" is for tls = \"none\" only; remove it, or set tls to \"none\"\n"

static void test_plaintext(void **state)
{
	static const struct fault_row faults[] = {
		{"[[listener]]\naddress = \"[::]:143\"\ntls = \"starttls\"\n"
		 "allow_plaintext = true\n" CERTIFICATE,
		 "f:4:19: " ONLY_WITHOUT_TLS},
		{"[[listener]]\naddress = \"[::]:993\"\nallow_plaintext = true\n" CERTIFICATE,
		 "f:3:19: " ONLY_WITHOUT_TLS},
	};
	static const char *const good[] = {
		LISTENER "allow_plaintext = true\n",
		"[[listener]]\naddress = \"[::]:143\"\ntls = \"starttls\"\n"
		"allow_plaintext = false\n" CERTIFICATE,
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

#define NEEDS_TRUSTED                                                                              \
	"\"proxy_protocol\" needs \"trusted\": the networks from which a PROXY header is "         \
	"believed, such as [\"10.0.0.0/8\"]\n"

static void test_proxy_protocol(void **state)
{
	static const struct fault_row faults[] = {
		{LISTENER "proxy_protocol = true\n", "f:4:18: " NEEDS_TRUSTED},
		{LISTENER "trusted = []\nproxy_protocol = true\n", "f:5:18: " NEEDS_TRUSTED},
		/* One fault is enough. */
		{LISTENER "trusted = [\"x\"]\nproxy_protocol = true\n",
		 "f:4:12: \"trusted\" has a bad network: a network is 10.0.0.0/8, 2001:db8::/32, "
		 "an IP address or unix, not \"x\"\n"},
	};
	static const char *const good[] = {
		LISTENER "proxy_protocol = true\ntrusted = [\"::/0\"]\n",
		LISTENER "proxy_protocol = false\ntrusted = [\"::/0\"]\n",
		LISTENER "proxy_protocol = false\n",
		LISTENER "mechanisms = [\"EXTERNAL\"]\n",
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

static void test_pairs(void **state)
{
	static const struct fault_row faults[] = {
		{LISTENER BACKEND "tls = \"implicit\"\nclient_chain = \"/dev/null\"\n",
		 "f:8:16: \"client_chain\" stands without \"client_key\"; write both, or "
		 "neither\n"},
		{LISTENER BACKEND "tls = \"implicit\"\nclient_chain = \"\"\n"
				  "client_key = \"/dev/null\"\n",
		 "f:9:14: \"client_key\" stands without \"client_chain\"; write both, or "
		 "neither\n"},
		{LISTENER BACKEND "master_user = \"proxy\"\nmaster_password = \"\"\n",
		 "f:7:15: \"master_user\" stands without \"master_password\"; write both, or "
		 "neither\n"},
		{LISTENER BACKEND "master_password = \"secret\"\n",
		 "f:7:19: \"master_password\" stands without \"master_user\"; write both, or "
		 "neither\n"},
		/* One fault is enough. */
		{LISTENER BACKEND "master_user = 7\nmaster_password = \"x\"\n",
		 "f:7:15: \"master_user\" must be a text in quotes, not a whole number\n"},
	};
	static const char *const good[] = {
		LISTENER BACKEND "master_user = \"\"\nmaster_password = \"\"\n",
		LISTENER BACKEND "client_chain = \"\"\nclient_key = \"\"\n",
		LISTENER BACKEND "master_user = \"a\"\nmaster_password = \"b\"\n",
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

#define NO_EFFECT                                                                                  \
	"has no effect where tls = \"none\"; set tls to \"starttls\" or \"implicit\", or remove "  \
	"it\n"

static void test_without_tls(void **state)
{
	static const struct fault_row faults[] = {
		{LISTENER BACKEND "verify = false\n", "f:7:10: \"verify\" " NO_EFFECT},
		{LISTENER BACKEND "tls = \"none\"\nca = \"/dev/null\"\nserver_name = \"a\"\n"
				  "client_key = \"/dev/null\"\nclient_chain = \"/dev/null\"\n",
		 "f:8:6: \"ca\" " NO_EFFECT "f:9:15: \"server_name\" " NO_EFFECT
		 "f:10:14: \"client_key\" " NO_EFFECT "f:11:16: \"client_chain\" " NO_EFFECT},
		/* A tls that is a fault itself may have been meant to be on. */
		{LISTENER BACKEND "tls = \"tls\"\nverify = false\n",
		 "f:7:7: \"tls\" is \"tls\", but must be \"none\", \"starttls\" or "
		 "\"implicit\"\n"},
		{LISTENER "backend = [7]\n",
		 "f:4:1: unknown key \"backend\" in [[listener]]; known are address, tls, "
		 "allow_plaintext, proxy_protocol, trusted, mechanisms, capabilities\n"},
		{"backend = [7, {name=\"m\", address=\"h:1\", verify=false}]\n" LISTENER,
		 "f:1:12: [[backend]] must be a table, not a whole number\n"
		 "f:1:48: \"verify\" " NO_EFFECT},
	};
	static const char *const good[] = {
		LISTENER BACKEND "verify = true\nca = \"\"\nserver_name = \"\"\n",
		LISTENER BACKEND "tls = \"starttls\"\nverify = false\n",
		LISTENER BACKEND "tls = \"implicit\"\nca = \"/dev/null\"\nserver_name = \"a\"\n",
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

static void test_unix_backend(void **state)
{
	static const struct fault_row faults[] = {
		{LISTENER UNIX_BACKEND "tls = \"starttls\"\n",
		 "f:6:11: no certificate names \"unix:/b\"; set server_name to the name that the "
		 "backend's certificate has\n"},
	};
	static const char *const good[] = {
		LISTENER UNIX_BACKEND,
		LISTENER UNIX_BACKEND "tls = \"implicit\"\nserver_name = \"mail.example\"\n",
		LISTENER UNIX_BACKEND "tls = \"implicit\"\nverify = false\n",
	};

	(void)state;
	check_faults(faults, array_length(faults));
	check_good(good, array_length(good));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates), cmocka_unit_test(test_listener_twins),
		cmocka_unit_test(test_plaintext),    cmocka_unit_test(test_proxy_protocol),
		cmocka_unit_test(test_pairs),        cmocka_unit_test(test_without_tls),
		cmocka_unit_test(test_unix_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
