/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of keys, redirections, and maps of slots, good ones and nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../proxy/routing/redis_internal.h"
#include "../../proxy/routing/redis_reply_internal.h"
#include "../../proxy/routing/redis_slots_internal.h"
#include "base/base.h"
#include "base/buffer.h"

/* --- The slot of a key ---------------------------------------------------------------------- */

static void test_slots(void **state)
{
	static const struct {
		const char *key;
		uint16_t slot;
	} rows[] = {
		{"", 0},
		{"123456789", 0x31c3},
		{"foo", 12182},
		{"bar", 5061},
		{"hello", 866},
		{"{foo}", 12182},
		{"{foo}.bar", 12182},
		{"x{foo}y{bar}z", 12182},
		{"gatepost:route:{foo}", 12182},
		{"foo{}{bar}", 8363}, /* an empty tag is none */
		{"{}", 15257},
		{"foo{{bar}}zap", 4015}, /* the tag is "{bar" */
		{"foo{", 7673},
		{"}foo{", 8453},
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		assert_int_equal(redis_key_slot(rows[i].key, strlen(rows[i].key)), rows[i].slot);
	}
	assert_int_equal(redis_key_slot("foo\0bar", 7), redis_key_slot("{foo\0bar}", 9));
	assert_int_not_equal(redis_key_slot("foo\0bar", 7), redis_key_slot("foo", 3));
}

/* --- Redirections --------------------------------------------------------------------------- */

static const char *place_of(struct endpoint *endpoint)
{
	static char text[ENDPOINT_TEXT_MAX];

	endpoint_format(endpoint, text);
	endpoint_done(endpoint);
	return text;
}

static void test_redirects(void **state)
{
	static const struct {
		const char *text;
		enum redis_redirect_kind kind;
		uint16_t slot;
		const char *place;
	} rows[] = {
		{"MOVED 3999 127.0.0.1:6381", REDIS_REDIRECT_MOVED, 3999, "127.0.0.1:6381"},
		{"ASK 0 127.0.0.1:6381", REDIS_REDIRECT_ASK, 0, "127.0.0.1:6381"},
		{"MOVED 16383 redis-2.example:1", REDIS_REDIRECT_MOVED, 16383, "redis-2.example:1"},
		{"MOVED 1 fd00::2:6379", REDIS_REDIRECT_MOVED, 1, "[fd00::2]:6379"},
		{"MOVED 1 :6379", REDIS_REDIRECT_MOVED, 1, "10.0.0.1:6379"},
		{"MOVED 1 10.0.0.2:6379 more", REDIS_REDIRECT_MOVED, 1, "10.0.0.2:6379"},
		{"MOVED 16384 10.0.0.2:6379", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED -1 10.0.0.2:6379", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED  10.0.0.2:6379", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 ", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED ", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 10.0.0.2", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 10.0.0.2:", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 10.0.0.2:0", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 10.0.0.2:65536", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 10.0.0.2:6379x", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED 1 ?:6379", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"ASK 1 a/b:6379", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"ASK 1 unix:/tmp/x:1", REDIS_REDIRECT_NONSENSE, 0, NULL},
		{"MOVED", REDIS_REDIRECT_NONE, 0, NULL},
		{"moved 1 10.0.0.2:1", REDIS_REDIRECT_NONE, 0, NULL},
		{"ASKING 1 10.0.0.2:1", REDIS_REDIRECT_NONE, 0, NULL},
		{"ERR no such command", REDIS_REDIRECT_NONE, 0, NULL},
		{"", REDIS_REDIRECT_NONE, 0, NULL},
	};
	struct endpoint asked = {0};

	(void)state;
	assert_true(endpoint_parse(&asked, "10.0.0.1:7000", 0, NULL));
	for (size_t i = 0; i < array_length(rows); i++) {
		struct redis_reply error = {.kind = REDIS_REPLY_ERROR,
					    .text = rows[i].text,
					    .length = strlen(rows[i].text)};
		struct endpoint place = {0};
		uint16_t slot = 0;

		assert_int_equal(redis_redirect_read(&error, &asked, &slot, &place), rows[i].kind);
		assert_int_equal(slot, rows[i].slot);
		if (rows[i].place == NULL) {
			assert_int_equal(place.kind, ENDPOINT_NONE);
		} else {
			assert_string_equal(place_of(&place), rows[i].place);
		}
	}
	endpoint_done(&asked);
}

static void test_hosts(void **state)
{
	char longest[ENDPOINT_HOST_MAX + 2];
	struct endpoint endpoint = {0};

	(void)state;
	memset(longest, 'a', sizeof(longest));
	for (size_t i = 63; i < sizeof(longest); i += 64) {
		longest[i] = '.';
	}
	assert_true(redis_host_endpoint(longest, ENDPOINT_HOST_MAX, 65535, NULL, &endpoint));
	endpoint_done(&endpoint);
	assert_false(redis_host_endpoint(longest, ENDPOINT_HOST_MAX + 1, 65535, NULL, &endpoint));
	assert_false(redis_host_endpoint("a\0b", 3, 1, NULL, &endpoint));
	assert_false(redis_host_endpoint("", 0, 1, NULL, &endpoint));
	assert_false(redis_host_endpoint("a", 1, 0, NULL, &endpoint));
	assert_false(redis_host_endpoint("a:b", 3, 1, NULL, &endpoint));
	assert_int_equal(endpoint.kind, ENDPOINT_NONE);
}

/* --- Maps ----------------------------------------------------------------------------------- */

static struct redis_map *read_map(const char *bytes, struct error *error)
{
	static const struct redis_limits limits = {1 << 20, 65536};
	struct redis_codec codec = {0};
	struct redis_input input = {(const uint8_t *)bytes, strlen(bytes)};
	struct redis_reply reply = {0};
	struct endpoint asked = {0};
	struct redis_map *map;

	assert_true(endpoint_parse(&asked, "10.0.0.1:7000", 0, NULL));
	assert_true(redis_codec_init(&codec, &limits));
	assert_int_equal(redis_codec_feed(&codec, &input, &reply, error), REDIS_CODEC_REPLY);
	map = redis_map_new(&reply, &asked, error);
	redis_reply_done(&reply);
	redis_codec_done(&codec);
	endpoint_done(&asked);
	return map;
}

#define ID "$3\r\nabc\r\n"

static void test_map(void **state)
{
	static const char bytes[] =
		"*4\r\n"
		"*4\r\n:0\r\n:99\r\n"
		"*3\r\n$8\r\n10.0.0.2\r\n:7001\r\n" ID "*3\r\n$8\r\n10.0.0.9\r\n:7009\r\n" ID
		"*3\r\n:100\r\n:100\r\n*4\r\n$-1\r\n:7002\r\n" ID
		"*2\r\n$8\r\nhostname\r\n$1\r\na\r\n"
		"*3\r\n:101\r\n:16382\r\n*2\r\n$8\r\n10.0.0.2\r\n:7001\r\n"
		"*3\r\n:16383\r\n:16383\r\n*3\r\n$1\r\n?\r\n:7001\r\n" ID;
	struct error error = {0};
	struct redis_map *map = read_map(bytes, &error);

	(void)state;
	assert_non_null(map);
	assert_int_equal(map->master_count, 2);
	assert_string_equal(place_of(&map->masters[0]), "10.0.0.2:7001");
	assert_string_equal(place_of(&map->masters[1]), "10.0.0.1:7002");
	assert_int_equal(map->owners[0], 0);
	assert_int_equal(map->owners[99], 0);
	assert_int_equal(map->owners[100], 1);
	assert_int_equal(map->owners[101], 0);
	assert_int_equal(map->owners[16382], 0);
	assert_int_equal(map->owners[16383], REDIS_NOBODY);
	redis_map_free(map);
	redis_map_free(NULL);
}

static void test_maps_of_nonsense(void **state)
{
	static const char *const rows[] = {
		"$1\r\na\r\n",
		"*1\r\n:1\r\n",
		"*1\r\n*2\r\n:0\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:-1\r\n",
		"*1\r\n*3\r\n:1\r\n:0\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*3\r\n:-1\r\n:0\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*3\r\n$1\r\n0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*2\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n*0\r\n",
		"-ERR This instance has cluster support disabled\r\n",
	};

	(void)state;
	for (size_t i = 0; i < array_length(rows); i++) {
		struct error error = {0};

		assert_null(read_map(rows[i], &error));
		assert_string_not_equal(error.text, "");
	}
}

static void write_masters(struct buffer *out, unsigned count)
{
	buffer_printf(out, "*%u\r\n", count);
	for (unsigned i = 0; i < count; i++) {
		buffer_printf(out, "*3\r\n:%u\r\n:%u\r\n*2\r\n$1\r\na\r\n:%u\r\n", i, i, i + 1);
	}
	buffer_append_byte(out, '\0');
}

static void test_masters_bound(void **state)
{
	struct buffer bytes = {0};
	struct error error = {0};
	struct redis_map *map;

	(void)state;
	write_masters(&bytes, REDIS_MASTERS_MAX);
	map = read_map((const char *)buffer_bytes(&bytes), &error);
	assert_non_null(map);
	assert_int_equal(map->master_count, REDIS_MASTERS_MAX);
	redis_map_free(map);
	buffer_done(&bytes);
	write_masters(&bytes, REDIS_MASTERS_MAX + 1);
	assert_null(read_map((const char *)buffer_bytes(&bytes), &error));
	assert_string_equal(error.text, "a map of more than 1000 masters");
	buffer_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_maps_of_nonsense),
		cmocka_unit_test(test_masters_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
