/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks: what is read is what is written, and who lies in them.
 */
#include "base/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_and_format(void **state)
{
	static const struct {
		const char *text;
		sa_family_t family;
		unsigned bits;
		const char *formatted;
	} cases[] = {
		{"10.0.0.0/8", AF_INET, 8, "10.0.0.0/8"},
		{"0.0.0.0/0", AF_INET, 0, "0.0.0.0/0"},
		{"10.0.0.128/25", AF_INET, 25, "10.0.0.128/25"},
		{"192.0.2.1", AF_INET, 32, "192.0.2.1"},
		{"192.0.2.1/32", AF_INET, 32, "192.0.2.1"},
		{"255.255.255.255", AF_INET, 32, "255.255.255.255"},
		{"2001:DB8::/32", AF_INET6, 32, "2001:db8::/32"},
		{"::/0", AF_INET6, 0, "::/0"},
		{"::1", AF_INET6, 128, "::1"},
		{"::1/128", AF_INET6, 128, "::1"},
		{"fe80::/10", AF_INET6, 10, "fe80::/10"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", AF_INET6, 127,
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"},
		{"unix", AF_UNIX, 0, "unix"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct cidr cidr;
		struct error error = {0};
		char text[CIDR_TEXT_MAX];

		if (!cidr_parse(&cidr, cases[i].text, &error)) {
			fail_msg("%s: %s", cases[i].text, error.text);
		}
		assert_int_equal(cidr.address.family, cases[i].family);
		assert_int_equal(cidr.bits, cases[i].bits);
		assert_int_equal(addr_port(&cidr.address), 0);
		cidr_format(&cidr, text);
		assert_string_equal(text, cases[i].formatted);
	}
}

#define SHAPE(text)                                                                                \
	"a network is 10.0.0.0/8, 2001:db8::/32, an IP address or unix, not \"" text "\""

static void test_parse_refuses(void **state)
{
	static const struct {
		const char *text;
		const char *error;
	} cases[] = {
		{"", SHAPE("")},
		{"/8", SHAPE("/8")},
		{"10.0.0/8", SHAPE("10.0.0/8")},
		{"10.0.0.0 /8", SHAPE("10.0.0.0 /8")},
		{" 10.0.0.0/8", SHAPE(" 10.0.0.0/8")},
		{"[::1]", SHAPE("[::1]")},
		{"Unix", SHAPE("Unix")},
		{"unix:/run/x", SHAPE("unix:/run/x")},
		{"unix/0", SHAPE("unix/0")},
		{"mail1", SHAPE("mail1")},
		{"fe80::1%lo", SHAPE("fe80::1%lo")},
		{"1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234/8",
		 SHAPE("1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234/8")},
		{"10.0.0.0/", "a prefix is a number from 0 to 32, not \"\""},
		{"10.0.0.0/33", "a prefix is a number from 0 to 32, not \"33\""},
		{"10.0.0.0/-1", "a prefix is a number from 0 to 32, not \"-1\""},
		{"10.0.0.0/+8", "a prefix is a number from 0 to 32, not \"+8\""},
		{"10.0.0.0/ 8", "a prefix is a number from 0 to 32, not \" 8\""},
		{"10.0.0.0/8 ", "a prefix is a number from 0 to 32, not \"8 \""},
		{"10.0.0.0/08", "a prefix is a number from 0 to 32, not \"08\""},
		{"10.0.0.0/8/8", "a prefix is a number from 0 to 32, not \"8/8\""},
		{"10.0.0.0/255.0.0.0", "a prefix is a number from 0 to 32, not \"255.0.0.0\""},
		{"10.0.0.0/4294967304", "a prefix is a number from 0 to 32, not \"4294967304\""},
		{"::/129", "a prefix is a number from 0 to 128, not \"129\""},
		{"10.0.0.1/8", "\"10.0.0.1/8\" has bits behind its prefix: the network is "
			       "10.0.0.0/8"},
		{"10.0.0.1/0", "\"10.0.0.1/0\" has bits behind its prefix: the network is "
			       "0.0.0.0/0"},
		{"10.0.0.1/31", "\"10.0.0.1/31\" has bits behind its prefix: the network is "
				"10.0.0.0/31"},
		{"2001:db8::1/32", "\"2001:db8::1/32\" has bits behind its prefix: the network is "
				   "2001:db8::/32"},
		{"::1/127", "\"::1/127\" has bits behind its prefix: the network is ::/127"},
		{"::ffff:10.0.0.1", "\"::ffff:10.0.0.1\" is an IPv4 network: write it as one"},
		{"::ffff:0:0/96", "\"::ffff:0:0/96\" is an IPv4 network: write it as one"},
	};
	struct cidr cidr;

	(void)state;
	assert_true(cidr_parse(&cidr, "10.0.0.0/8", NULL));
	for (size_t i = 0; i < array_length(cases); i++) {
		struct error error = {0};

		assert_false(cidr_parse(&cidr, cases[i].text, &error));
		assert_string_equal(error.text, cases[i].error);
		assert_int_equal(cidr.bits, 8);
	}
}

static void test_contains(void **state)
{
	static const struct {
		const char *network;
		const char *inside;
		const char *outside;
	} cases[] = {
		{"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
		{"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
		{"10.0.0.128/25", "10.0.0.128", "10.0.0.127"},
		{"10.0.0.4/30", "10.0.0.7", "10.0.0.8"},
		{"192.0.2.1", "192.0.2.1", "192.0.2.0"},
		{"0.0.0.0/0", "255.255.255.255", "::"},
		{"128.0.0.0/1", "255.0.0.0", "127.255.255.255"},
		{"::/0", "ffff::", "0.0.0.0"},
		{"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
		{"2001:db8::8/125", "2001:db8::f", "2001:db8::10"},
		{"::1", "::1", "::2"},
	};

	(void)state;
	for (size_t i = 0; i < array_length(cases); i++) {
		struct cidr network;
		struct addr inside;
		struct addr outside;

		assert_true(cidr_parse(&network, cases[i].network, NULL));
		assert_true(addr_parse(&inside, cases[i].inside, 40000));
		assert_true(addr_parse(&outside, cases[i].outside, 40000));
		if (!cidr_contains(&network, 1, &inside) || cidr_contains(&network, 1, &outside)) {
			fail_msg("%s", cases[i].network);
		}
	}
}

static void test_contains_one_of(void **state)
{
	struct cidr networks[3];
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
	struct addr v4;
	struct addr v6;
	struct addr unix_peer = {.family = AF_UNIX};
	struct addr none = {0};
	static const struct cidr no_network;

	(void)state;
	assert_true(cidr_parse(&networks[0], "192.0.2.0/24", NULL));
	assert_true(cidr_parse(&networks[1], "::1", NULL));
	assert_true(cidr_parse(&networks[2], "unix", NULL));
	assert_true(addr_parse(&v4, "192.0.2.7", 1));
	assert_true(addr_parse(&v6, "::1", 1));
	assert_true(cidr_contains(networks, 3, &v4));
	assert_true(cidr_contains(networks, 3, &v6));
	assert_true(cidr_contains(networks, 3, &unix_peer));
	assert_false(cidr_contains(networks, 3, &none));
	assert_false(cidr_contains(&no_network, 1, &none));
	assert_false(cidr_contains(networks, 2, &unix_peer));
	assert_false(cidr_contains(networks + 1, 2, &v4));
	assert_false(cidr_contains(networks + 2, 1, &v6));
	assert_false(cidr_contains(NULL, 0, &v4));

	memcpy(mapped.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07", 16);
	addr_from_sockaddr(&v6, (const struct sockaddr *)&mapped);
	assert_true(cidr_contains(networks, 1, &v6));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_contains),
		cmocka_unit_test(test_contains_one_of),
	};

	return cmocka_run_group_tests_name("cidr", tests, NULL, NULL);
}
