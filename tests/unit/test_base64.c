/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64: the vectors of RFC 4648 section 10, every length, and everything that is not strict.
 */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

static const struct {
	const char *bytes;
	const char *text;
} vectors[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"},
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(vectors); i++) {
		struct buffer text = {0};
		struct buffer bytes = {0};

		base64_encode(&text, vectors[i].bytes, strlen(vectors[i].bytes));
		assert_int_equal(text.length, strlen(vectors[i].text));
		assert_memory_equal(buffer_bytes(&text), vectors[i].text, text.length);
		assert_true(base64_decode(&bytes, vectors[i].text, strlen(vectors[i].text)));
		assert_int_equal(bytes.length, strlen(vectors[i].bytes));
		assert_memory_equal(buffer_bytes(&bytes), vectors[i].bytes, bytes.length);
		buffer_done(&text);
		buffer_done(&bytes);
	}
}

static void test_there_and_back(void **state)
{
	uint8_t bytes[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * 151 + 7);
	}
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		struct buffer text = {0};
		struct buffer back = {0};

		base64_encode(&text, bytes, length);
		assert_int_equal(text.length, (length + 2) / 3 * 4);
		assert_true(base64_decode(&back, buffer_bytes(&text), text.length));
		assert_int_equal(back.length, length);
		assert_memory_equal(buffer_bytes(&back), bytes, length);
		buffer_done(&text);
		buffer_done(&back);
	}
}

static void test_not_strict(void **state)
{
	static const char *const wrong[] = {
		"A",          "AA",       "AAA",      "AAAAA",      "=",         "==",
		"===",        "====",     "A===",     "=AAA",       "A=AA",      "AA=A",
		"AAA=BBBB",   "AA==BBBB", "AAAA====", "AHUxAHB3\t", "AHUxAHB3 ", "AHUx AHB3",
		"AHUx\r\nAA", "!!!!",     "AAA-",     "AAA_",       "AAA*",      "AAA\x80",
		"AAA\xff",    "AAA.",     "Zh==",     "Zm9=",       "AB==",      "AAB=",
	};

	(void)state;
	for (size_t i = 0; i < array_length(wrong); i++) {
		struct buffer out = {0};

		buffer_append_text(&out, "kept");
		if (base64_decode(&out, wrong[i], strlen(wrong[i]))) {
			fail_msg("\"%s\" was decoded", wrong[i]);
		}
		assert_int_equal(out.length, 4);
		assert_memory_equal(buffer_bytes(&out), "kept", 4);
		assert_false(out.failed);
		buffer_done(&out);
	}
}

static void test_every_foreign_byte(void **state)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char text[4] = {'A', (char)byte, 'A', 'A'};
		struct buffer out = {0};
		bool known = byte != 0 && strchr(alphabet, byte) != NULL;

		assert_int_equal(base64_decode(&out, text, sizeof(text)), known);
		buffer_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_not_strict),
		cmocka_unit_test(test_every_foreign_byte),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
