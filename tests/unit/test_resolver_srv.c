/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS messages with SRV records, from servers that are honest, sloppy or hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/net/resolver_srv_internal.h"
#include "base/base.h"

#define NAME "_imap._tcp.test"

#define CNAME 5
#define SRV   33

/* --- Making messages ------------------------------------------------------------------------ */

struct made {
	uint8_t bytes[65536];
	size_t length;
	unsigned records;
};

static void put(struct made *made, const void *bytes, size_t length)
{
	assert_true(made->length + length <= sizeof(made->bytes));
	memcpy(made->bytes + made->length, bytes, length);
	made->length += length;
}

static void put_16(struct made *made, unsigned value)
{
	put(made, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

/* "a.b" in labels; "@12" is a pointer to octet 12, and may follow labels: "a.@12". */
static void put_name(struct made *made, const char *name)
{
	while (*name != '\0') {
		size_t label = strcspn(name, ".");

		if (*name == '@') {
			put_16(made, 0xC000U | (unsigned)strtoul(name + 1, NULL, 10));
			return;
		}
		put(made, (uint8_t[]){(uint8_t)label}, 1);
		put(made, name, label);
		name += label + (name[label] == '.' ? 1 : 0);
	}
	put(made, "", 1);
}

/* With the question, whose name is at octet 12. */
static struct made *make(const char *name)
{
	struct made *made = calloc(1, sizeof(*made));

	assert_non_null(made);
	put(made, (uint8_t[]){0, 1, 0x84, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, 12);
	put_name(made, name);
	put_16(made, SRV);
	put_16(made, 1);
	return made;
}

static void count_record(struct made *made)
{
	made->records++;
	made->bytes[6] = (uint8_t)(made->records >> 8);
	made->bytes[7] = (uint8_t)made->records;
}

/* Where the length of the data belongs, which end_record writes. */
static size_t begin_record(struct made *made, const char *owner, unsigned type, uint32_t ttl)
{
	count_record(made);
	put_name(made, owner);
	put_16(made, type);
	put_16(made, 1);
	put_16(made, ttl >> 16);
	put_16(made, ttl & 0xFFFF);
	put_16(made, 0);
	return made->length - 2;
}

static void end_record(struct made *made, size_t begin)
{
	size_t length = made->length - begin - 2;

	made->bytes[begin] = (uint8_t)(length >> 8);
	made->bytes[begin + 1] = (uint8_t)length;
}

struct service {
	unsigned priority, weight, port;
	const char *target;
};

static void add_service(struct made *made, const char *owner, uint32_t ttl, struct service service)
{
	size_t begin = begin_record(made, owner, SRV, ttl);

	put_16(made, service.priority);
	put_16(made, service.weight);
	put_16(made, service.port);
	put_name(made, service.target);
	end_record(made, begin);
}

static void add_alias(struct made *made, const char *owner, uint32_t ttl, const char *target)
{
	size_t begin = begin_record(made, owner, CNAME, ttl);

	put_name(made, target);
	end_record(made, begin);
}

/* --- Reading them --------------------------------------------------------------------------- */

/* In a block of their own, so that a read past the end is seen. */
static enum resolver_srv_verdict read_bytes(struct resolver_srv *srv, const uint8_t *bytes,
					    size_t length)
{
	uint8_t *copy = malloc(length > 0 ? length : 1);
	enum resolver_srv_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	memset(srv, 0x5A, sizeof(*srv));
	verdict = resolver_srv_read(srv, copy, length, NAME);
	free(copy);
	return verdict;
}

/* Frees what was made. */
static enum resolver_srv_verdict read_made(struct resolver_srv *srv, struct made *made)
{
	enum resolver_srv_verdict verdict = read_bytes(srv, made->bytes, made->length);

	free(made);
	return verdict;
}

static void check_service(const struct resolver_srv *srv, size_t index, const char *expected)
{
	const struct resolver_service *service = &srv->services[index];
	char text[300];

	assert_true(index < srv->count);
	snprintf(text, sizeof(text), "%.253s:%u/%u/%u", service->host, service->port,
		 service->priority, service->weight);
	assert_string_equal(text, expected);
}

static struct resolver_srv *srv_of(void **state)
{
	return *state;
}

static int srv_begin(void **state)
{
	*state = calloc(1, sizeof(struct resolver_srv));
	return *state != NULL ? 0 : -1;
}

static int srv_end(void **state)
{
	free(*state);
	return 0;
}

/* --- Honest --------------------------------------------------------------------------------- */

static void test_services(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	add_service(made, NAME, 60, (struct service){20, 1, 143, "last.test"});
	add_service(made, "@12", 50, (struct service){10, 2, 144, "One.TEST"});
	add_service(made, "_IMAP.@18", 70, (struct service){10, 3, 65535, "two.@23"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_FOUND);
	assert_int_equal(srv->count, 3);
	assert_int_equal(srv->ttl, 50);
	check_service(srv, 0, "one.test:144/10/2");
	check_service(srv, 1, "two.test:65535/10/3");
	check_service(srv, 2, "last.test:143/20/1");
}

static void test_ttl(void **state)
{
	static const struct {
		uint32_t given, read;
	} cases[] = {{0, 0}, {1, 1}, {INT32_MAX, INT32_MAX}, {0x80000000U, 0}, {UINT32_MAX, 0}};
	struct resolver_srv *srv = srv_of(state);

	for (size_t i = 0; i < array_length(cases); i++) {
		struct made *made = make(NAME);

		add_service(made, NAME, cases[i].given, (struct service){0, 0, 143, "a.test"});
		assert_int_equal(read_made(srv, made), RESOLVER_SRV_FOUND);
		assert_int_equal(srv->ttl, cases[i].read);
	}
}

static void test_root(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	add_service(made, NAME, 9, (struct service){0, 0, 0, ""});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_NONE);
	assert_int_equal(srv->ttl, 9);
	made = make(NAME);
	add_service(made, NAME, 9, (struct service){0, 0, 0, ""});
	add_service(made, NAME, 9, (struct service){0, 0, 143, "a.test"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_FOUND);
	assert_int_equal(srv->count, 1);
	made = make(NAME);
	add_service(made, NAME, 9, (struct service){0, 0, 0, ""});
	add_service(made, NAME, 9, (struct service){0, 0, 143, ""});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
}

static struct made *make_chain(unsigned links, bool backwards)
{
	struct made *made = make(NAME);

	for (unsigned i = 0; i < links; i++) {
		unsigned link = backwards ? links - 1 - i : i;
		char owner[32];
		char target[32];

		snprintf(owner, sizeof(owner), "n%u.test", link);
		snprintf(target, sizeof(target), "N%u.test", link + 1);
		add_alias(made, link == 0 ? NAME : owner, link == 1 ? 5 : 100, target);
	}
	return made;
}

static void test_aliases(void **state)
{
	struct resolver_srv *srv = srv_of(state);

	for (unsigned links = 1; links <= RESOLVER_SRV_ALIASES_MAX + 1; links++) {
		bool short_enough = links <= RESOLVER_SRV_ALIASES_MAX;
		struct made *made = make_chain(links, links % 2 == 0);
		char last[16];

		snprintf(last, sizeof(last), "n%u.test", links);
		add_service(made, last, 60, (struct service){0, 0, 143, "a.test"});
		assert_int_equal(read_made(srv, made),
				 short_enough ? RESOLVER_SRV_FOUND : RESOLVER_SRV_EMPTY);
		assert_true(!short_enough || srv->ttl == (links > 1 ? 5 : 60));
	}
}

/* --- Limits --------------------------------------------------------------------------------- */

static void test_most_services(void **state)
{
	static const unsigned counts[] = {RESOLVER_SERVICES_MAX, RESOLVER_SERVICES_MAX + 1, 1000};
	struct resolver_srv *srv = srv_of(state);

	for (size_t i = 0; i < array_length(counts); i++) {
		struct made *made = make(NAME);

		for (unsigned k = 0; k < counts[i]; k++) {
			add_service(made, "@12", 60, (struct service){counts[i] - k, k, 143, "a"});
		}
		assert_int_equal(read_made(srv, made), RESOLVER_SRV_FOUND);
		assert_int_equal(srv->count, RESOLVER_SERVICES_MAX);
		for (size_t k = 0; k < srv->count; k++) {
			assert_int_equal(srv->services[k].weight, srv->count - 1 - k);
		}
	}
}

/* Labels of 63, 63, 63 and 61 octets make up 253 with their dots. */
static void test_longest_name(void **state)
{
	struct resolver_srv *srv = srv_of(state);

	for (size_t last = 61; last <= 62; last++) {
		struct made *made = make(NAME);
		char target[300];

		memset(target, 'x', sizeof(target));
		target[63] = '.';
		target[127] = '.';
		target[191] = '.';
		target[192 + last] = '\0';
		add_service(made, NAME, 60, (struct service){0, 0, 143, target});
		assert_int_equal(read_made(srv, made),
				 last == 61 ? RESOLVER_SRV_FOUND : RESOLVER_SRV_MALFORMED);
		if (last == 61) {
			assert_string_equal(srv->services[0].host, target);
		}
	}
}

/* A chain of pointers to pointers, each two octets before the next: the data of a record of a type
 * that nobody reads. */
static void test_most_pointers(void **state)
{
	struct resolver_srv *srv = srv_of(state);

	for (unsigned hops = 127; hops <= 128; hops++) {
		struct made *made = make(NAME);
		size_t begin = begin_record(made, "@12", 99, 60);
		char pointer[16];

		put_name(made, "a.test");
		put_16(made, 0xC000U | (unsigned)(begin + 2));
		for (unsigned i = 2; i < hops; i++) {
			put_16(made, 0xC000U | (unsigned)(made->length - 2));
		}
		end_record(made, begin);
		snprintf(pointer, sizeof(pointer), "@%zu", made->length - 2);
		add_service(made, NAME, 60, (struct service){0, 0, 143, pointer});
		assert_int_equal(read_made(srv, made),
				 hops == 127 ? RESOLVER_SRV_FOUND : RESOLVER_SRV_MALFORMED);
		if (hops == 127) {
			check_service(srv, 0, "a.test:143/0/0");
		}
	}
}

/* --- Sloppy and hostile --------------------------------------------------------------------- */

/* None of these is a backend, and none keeps the good one from being found. */
static void test_passed_over(void **state)
{
	static const struct {
		const char *owner;
		struct service service;
	} useless[] = {
		{"other.test", {0, 0, 143, "bad.test"}},
		{"x." NAME, {0, 0, 143, "bad.test"}},
		{"_imap._tcp", {0, 0, 143, "bad.test"}},
		{"", {0, 0, 143, "bad.test"}},
		{"_imap._tcp.te\001st", {0, 0, 143, "bad.test"}},
		{NAME, {0, 0, 0, "port.test"}},
		{NAME, {0, 0, 143, "white space.test"}},
		{NAME, {0, 0, 143, "new\nline.test"}},
		{NAME, {0, 0, 143, "sla/sh.test"}},
		{NAME, {0, 0, 143, "\303\244.test"}},
	};
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	for (size_t i = 0; i < array_length(useless); i++) {
		add_service(made, useless[i].owner, 60, useless[i].service);
	}
	assert_int_equal(read_bytes(srv, made->bytes, made->length), RESOLVER_SRV_EMPTY);
	add_service(made, NAME, 60, (struct service){0, 0, 143, "good.test"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_FOUND);
	assert_int_equal(srv->count, 1);
	check_service(srv, 0, "good.test:143/0/0");
}

/* A dot, or a NUL, within a label is no dot between labels, and no end. */
static void test_odd_labels(void **state)
{
	static const struct {
		const char *label;
		size_t length;
	} labels[] = {{"\006a.test", 7}, {"\006a\0test", 7}, {"\001.", 2}};
	struct resolver_srv *srv = srv_of(state);

	for (size_t i = 0; i < array_length(labels); i++) {
		struct made *made = make(NAME);
		size_t begin = begin_record(made, NAME, SRV, 60);

		put_16(made, 0);
		put_16(made, 0);
		put_16(made, 143);
		put(made, labels[i].label, labels[i].length);
		put(made, "", 1);
		end_record(made, begin);
		assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
	}
}

static void test_other_class(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);
	size_t type = made->length + strlen(NAME) + 2;

	add_service(made, NAME, 60, (struct service){0, 0, 143, "a.test"});
	made->bytes[type + 3] = 3;
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
}

/* Pointers that go forwards, to themselves, round and round, into the header, past the end. */
static void test_pointers(void **state)
{
	static const char *const pointers[] = {"@16383", "a.@16383", "@0", "@11"};
	struct resolver_srv *srv = srv_of(state);

	for (size_t i = 0; i < array_length(pointers) + 2; i++) {
		struct made *made = make(NAME);
		size_t target = made->length + strlen(NAME) + 2 + 10 + 6;
		char itself[16];
		const char *pointer = itself;

		snprintf(itself, sizeof(itself), i % 2 == 0 ? "@%zu" : "a.@%zu", target);
		if (i < array_length(pointers)) {
			pointer = pointers[i];
		}
		add_service(made, NAME, 60, (struct service){0, 0, 143, pointer});
		assert_int_equal(read_made(srv, made), RESOLVER_SRV_MALFORMED);
	}
}

/* There is a name where it points to, but it comes later. */
static void test_pointer_to_later(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);
	size_t later = made->length + strlen(NAME) + 2 + 10 + 6 + 2;
	char pointer[16];

	snprintf(pointer, sizeof(pointer), "@%zu", later);
	add_service(made, NAME, 60, (struct service){0, 0, 143, pointer});
	add_service(made, NAME, 60, (struct service){0, 0, 143, "a.test"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_MALFORMED);
}

static void test_alias_circles(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	add_alias(made, NAME, 60, "b.test");
	add_alias(made, "b.test", 60, NAME);
	add_service(made, "a.test", 60, (struct service){0, 0, 143, "a.test"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
	made = make(NAME);
	add_alias(made, NAME, 60, NAME);
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
	made = make(NAME);
	add_alias(made, NAME, 60, "white space.test");
	add_service(made, "white space.test", 60, (struct service){0, 0, 143, "a.test"});
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
}

/* What does not fill its data, or more than that. */
static void test_data_length(void **state)
{
	struct resolver_srv *srv = srv_of(state);

	for (int change = -9; change <= 3; change++) {
		struct made *made = make(NAME);
		size_t length = made->length + strlen(NAME) + 2 + 9;

		add_service(made, NAME, 60, (struct service){0, 0, 143, "a"});
		put(made, "\0\0\0", 3); /* beyond the answers: nobody reads it */
		made->bytes[length] = (uint8_t)(made->bytes[length] + change);
		assert_int_equal(read_made(srv, made),
				 change == 0 ? RESOLVER_SRV_FOUND : RESOLVER_SRV_MALFORMED);
	}
}

/* Cut anywhere, and with any octet changed, it is read without harm; cut, it is malformed. */
static void test_cut_and_changed(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	add_alias(made, NAME, 60, "b.test");
	add_service(made, "b.test", 60, (struct service){1, 2, 143, "a.@23"});
	add_service(made, "b.test", 60, (struct service){1, 2, 143, "c.test"});
	for (size_t length = 0; length < made->length; length++) {
		assert_int_equal(read_bytes(srv, made->bytes, length), RESOLVER_SRV_MALFORMED);
	}
	for (size_t at = 0; at < made->length; at++) {
		uint8_t before = made->bytes[at];

		for (unsigned value = 0; value < 256; value++) {
			made->bytes[at] = (uint8_t)value;
			if (read_bytes(srv, made->bytes, made->length) == RESOLVER_SRV_FOUND) {
				assert_in_range(srv->count, 1, 2);
			}
		}
		made->bytes[at] = before;
	}
	free(made);
}

/* 65535 records are announced, and there are none; or as many questions. */
static void test_announced(void **state)
{
	struct resolver_srv *srv = srv_of(state);
	struct made *made = make(NAME);

	made->bytes[6] = 0xFF;
	made->bytes[7] = 0xFF;
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_MALFORMED);
	made = make(NAME);
	made->bytes[4] = 0xFF;
	made->bytes[5] = 0xFF;
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_MALFORMED);
	made = make(NAME);
	assert_int_equal(read_made(srv, made), RESOLVER_SRV_EMPTY);
}

#define with_srv(test) cmocka_unit_test_setup_teardown(test, srv_begin, srv_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_srv(test_services),
		with_srv(test_ttl),
		with_srv(test_root),
		with_srv(test_aliases),
		with_srv(test_most_services),
		with_srv(test_longest_name),
		with_srv(test_most_pointers),
		with_srv(test_passed_over),
		with_srv(test_odd_labels),
		with_srv(test_other_class),
		with_srv(test_pointers),
		with_srv(test_pointer_to_later),
		with_srv(test_alias_circles),
		with_srv(test_data_length),
		with_srv(test_cut_and_changed),
		with_srv(test_announced),
	};

	return cmocka_run_group_tests_name("resolver_srv", tests, NULL, NULL);
}
