/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffers: what goes in comes out, and nothing readable stays behind.
 */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(const struct buffer *buffer, const char *text)
{
	assert_int_equal(buffer->length, strlen(text));
	assert_memory_equal(buffer_bytes(buffer), text, strlen(text));
}

static void assert_wiped(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		assert_int_equal(bytes[i], 0);
	}
}

static void test_empty_is_valid(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_non_null(buffer_bytes(&buffer));
	buffer_consume(&buffer, 5);
	buffer_truncate(&buffer, 5);
	assert_true(buffer_append(&buffer, "", 0));
	assert_int_equal(buffer.length, 0);
	buffer_done(&buffer);
	buffer_done(&buffer);
}

static void test_append_and_consume(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_true(buffer_append(&buffer, "ab", 2));
	assert_true(buffer_append_text(&buffer, "cd"));
	assert_true(buffer_append_byte(&buffer, 'e'));
	assert_true(buffer_printf(&buffer, "%d-%s", 7, "x"));
	assert_holds(&buffer, "abcde7-x");
	buffer_consume(&buffer, 3);
	assert_holds(&buffer, "de7-x");
	buffer_truncate(&buffer, 2);
	assert_holds(&buffer, "de");
	buffer_truncate(&buffer, 2);
	assert_holds(&buffer, "de");
	buffer_consume(&buffer, 100);
	assert_int_equal(buffer.length, 0);
	assert_int_equal(buffer.start, 0);
	buffer_done(&buffer);
}

static void test_grows_and_keeps_order(void **state)
{
	struct buffer buffer = {0};
	uint8_t next = 0;
	uint8_t expected = 0;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		for (int i = 0; i < 7; i++) {
			assert_true(buffer_append_byte(&buffer, next++));
		}
		for (int i = 0; i < 6; i++) {
			assert_int_equal(buffer_bytes(&buffer)[0], expected++);
			buffer_consume(&buffer, 1);
		}
	}
	assert_int_equal(buffer.length, 2000);
	for (size_t i = 0; i < 2000; i++) {
		assert_int_equal(buffer_bytes(&buffer)[i], expected++);
	}
	buffer_done(&buffer);
}

/* A queue that is read as fast as it is written needs no more memory than what it holds. */
static void test_reuses_consumed_room(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_true(buffer_append(&buffer, "0123456789", 10));
	for (int i = 0; i < 1000; i++) {
		assert_true(buffer_append(&buffer, "0123456789", 10));
		buffer_consume(&buffer, 10);
	}
	assert_int_equal(buffer.capacity, 64);
	assert_holds(&buffer, "0123456789");
	buffer_done(&buffer);
}

static void test_wipes_what_leaves(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_true(buffer_append(&buffer, "secret-and-more", 15));
	buffer_consume(&buffer, 7);
	assert_wiped(buffer.data, 7);
	buffer_truncate(&buffer, 3);
	assert_wiped(buffer.data + 10, 5);
	assert_holds(&buffer, "and");
	buffer_done(&buffer);
}

/* Moving the bytes to the front leaves their old place behind. */
static void test_wipes_behind_a_move(void **state)
{
	struct buffer buffer = {0};
	char filler[60];

	(void)state;
	memset(filler, 'f', sizeof(filler));
	assert_true(buffer_append(&buffer, filler, sizeof(filler)));
	assert_true(buffer_append(&buffer, "key", 3));
	buffer_consume(&buffer, sizeof(filler));
	assert_int_equal(buffer.start, 60);
	assert_true(buffer_append(&buffer, "+4567", 5));
	assert_int_equal(buffer.start, 0);
	assert_int_equal(buffer.capacity, 64);
	assert_holds(&buffer, "key+4567");
	assert_wiped(buffer.data + 8, 55);
	buffer_done(&buffer);
}

static void test_failure_is_sticky(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_true(buffer_append_text(&buffer, "kept"));
	assert_false(buffer_append(&buffer, "x", SIZE_MAX / 2));
	assert_true(buffer.failed);
	assert_false(buffer_append_text(&buffer, "ignored"));
	assert_false(buffer_append(&buffer, "", 0));
	assert_holds(&buffer, "kept");
	buffer_done(&buffer);
	assert_false(buffer.failed);
	assert_true(buffer_append_text(&buffer, "again"));
	buffer_done(&buffer);
}

static void test_printf_at_its_limit(void **state)
{
	struct buffer buffer = {0};

	(void)state;
	assert_true(buffer_printf(&buffer, "%1023d", 5));
	assert_int_equal(buffer.length, 1023);
	assert_int_equal(buffer_bytes(&buffer)[1022], '5');
	buffer_done(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_is_valid),
		cmocka_unit_test(test_append_and_consume),
		cmocka_unit_test(test_grows_and_keeps_order),
		cmocka_unit_test(test_reuses_consumed_room),
		cmocka_unit_test(test_wipes_what_leaves),
		cmocka_unit_test(test_wipes_behind_a_move),
		cmocka_unit_test(test_failure_is_sticky),
		cmocka_unit_test(test_printf_at_its_limit),
	};

	return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
