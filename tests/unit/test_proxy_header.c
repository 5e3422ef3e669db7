/* SPDX-License-Identifier: Apache-2.0
 *
 * PROXY headers of both versions: what they say, at every cut, and what must not be believed.
 */
#include "net/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

#define V1_ADDRESSES "192.0.2.1 198.51.100.2 "
#define FILLER_91                                                                                  \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaa"

/* Version, command, family and transport; and the parts, each with its length. */
#define V4_BLOCK "\xC0\x00\x02\x01\xC6\x33\x64\x02\x9C\x40\x03\xE1"
#define V6_BLOCK                                                                                   \
	"\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01"                                               \
	"\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01\xFF\xFF"
#define MAPPED_BLOCK                                                                               \
	"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\x00\x02\x01"                                             \
	"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC6\x33\x64\x02\x9C\x40\x03\xE1"
#define AUTHORITY   "\x02\x00\x0Cmail.example"
#define SSL_CLIENT  "\x20\x00\x0F\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3"
#define SSL_NOTHING "\x20\x00\x05\x00\x00\x00\x00\x01"

static enum proxy_header_verdict read_bytes(struct proxy_header *header, const void *bytes,
					    size_t length, size_t *size)
{
	const char *why = NULL;
	enum proxy_header_verdict verdict = proxy_header_read(header, bytes, length, size, &why);

	assert_int_equal(why != NULL, verdict == PROXY_HEADER_BAD);
	return verdict;
}

/* Reads what is whole at every cut: MORE until the last byte, and then nothing behind it counts. */
static void read_whole(struct proxy_header *header, const char *name, const struct buffer *bytes)
{
	struct buffer longer = {0};
	size_t size = 0;

	for (size_t length = 0; length < bytes->length; length++) {
		struct proxy_header untouched = {.authority = "untouched"};

		if (read_bytes(&untouched, buffer_bytes(bytes), length, &size) !=
		    PROXY_HEADER_MORE) {
			fail_msg("%s: not MORE after %zu bytes", name, length);
		}
		assert_string_equal(untouched.authority, "untouched");
		assert_int_equal(size, 0);
	}
	buffer_append(&longer, buffer_bytes(bytes), bytes->length);
	buffer_append_text(&longer, "\r\na LOGIN");
	if (read_bytes(header, buffer_bytes(&longer), longer.length, &size) != PROXY_HEADER_DONE) {
		fail_msg("%s: refused", name);
	}
	assert_int_equal(size, bytes->length);
	if (read_bytes(header, buffer_bytes(bytes), bytes->length, &size) != PROXY_HEADER_DONE) {
		fail_msg("%s: refused when nothing follows", name);
	}
	buffer_done(&longer);
}

/* BAD at the end, and never DONE before; what it would fill stays as it was. */
static void read_bad(const char *name, const struct buffer *bytes)
{
	struct proxy_header header = {.authority = "untouched"};
	enum proxy_header_verdict verdict = PROXY_HEADER_MORE;
	size_t size = 0;

	for (size_t length = 0; length <= bytes->length; length++) {
		enum proxy_header_verdict now =
			read_bytes(&header, buffer_bytes(bytes), length, &size);

		if (now == PROXY_HEADER_DONE || (verdict == PROXY_HEADER_BAD && now != verdict)) {
			fail_msg("%s: verdict %d after %zu bytes", name, now, length);
		}
		verdict = now;
	}
	if (verdict != PROXY_HEADER_BAD) {
		fail_msg("%s: verdict %d", name, verdict);
	}
	assert_string_equal(header.authority, "untouched");
	assert_int_equal(size, 0);
}

static void check_addr(const char *name, const struct addr *addr, const char *expected)
{
	char text[ADDR_TEXT_MAX] = "none";

	if (addr->family != AF_UNSPEC) {
		addr_format(addr, text);
	}
	if (strcmp(text, expected) != 0) {
		fail_msg("%s: %s instead of %s", name, text, expected);
	}
}

static const struct {
	const char *line;
	const char *source; /* "none": local */
	const char *destination;
} v1_good[] = {
	{"PROXY TCP4 " V1_ADDRESSES "40000 993\r\n", "192.0.2.1:40000", "198.51.100.2:993"},
	{"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0", "255.255.255.255:65535"},
	{"PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n", "[2001:db8::1]:1", "[2001:db8::2]:2"},
	{"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2"},
	{"PROXY UNKNOWN\r\n", "none", "none"},
	{"PROXY UNKNOWN \r\n", "none", "none"},
	{"PROXY UNKNOWN 192.0.2.1 nonsense\r\n", "none", "none"},
	{"PROXY UNKNOWN " FILLER_91 "\r\n", "none", "none"},
};

static void test_v1(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(v1_good); i++) {
		const char *name = v1_good[i].line;
		struct proxy_header header = {.tls = true, .authority = "old"};
		struct buffer bytes = {0};

		buffer_append_text(&bytes, name);
		assert_true(bytes.length <= PROXY_HEADER_V1_MAX);
		read_whole(&header, name, &bytes);
		check_addr(name, &header.source, v1_good[i].source);
		check_addr(name, &header.destination, v1_good[i].destination);
		assert_int_equal(header.local, strcmp(v1_good[i].source, "none") == 0);
		assert_int_equal(header.unnamed, header.local);
		assert_false(header.tls);
		assert_string_equal(header.authority, "");
		buffer_done(&bytes);
	}
}

static const char *const v1_bad[] = {
	"a LOGIN alice secret\r\n",
	"proxy TCP4 " V1_ADDRESSES "1 2\r\n",
	"PROXY\tTCP4 " V1_ADDRESSES "1 2\r\n",
	"PROXY  TCP4 " V1_ADDRESSES "1 2\r\n",
	"PROXY \r\n",
	"PROXY TCP4\r\n",
	"PROXY TCP4 \r\n",
	"PROXY tcp4 " V1_ADDRESSES "1 2\r\n",
	"PROXY TCP5 " V1_ADDRESSES "1 2\r\n",
	"PROXY UDP4 " V1_ADDRESSES "1 2\r\n",
	"PROXY UNKNOWNS\r\n",
	"PROXY UNKNOW\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 \r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2 \r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2 3\r\n",
	"PROXY TCP4 " V1_ADDRESSES " 1 2\r\n",
	"PROXY TCP4  " V1_ADDRESSES "1 2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "01 2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 00\r\n",
	"PROXY TCP4 " V1_ADDRESSES "65536 2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 65536\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 100000\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 -2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 +2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2a\r\n",
	"PROXY TCP4 192.0.02.1 198.51.100.2 1 2\r\n",
	"PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n",
	"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
	"PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n",
	"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
	"PROXY TCP6 " V1_ADDRESSES "1 2\r\n",
	"PROXY TCP6 2001:db8::1 192.0.2.1 1 2\r\n",
	"PROXY TCP6 2001:db8::1::2 ::1 1 2\r\n",
	"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
	"PROXY TCP6 [::1] ::1 1 2\r\n",
	"PROXY TCP6 mail.example ::1 1 2\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2\r\r\n",
	"PROXY TCP4 " V1_ADDRESSES "1 2\ra LOGIN",
	"PROXY UNKNOWN \n\r\n",
	"PROXY UNKNOWN a" FILLER_91 "\r\n",
	"PROXY UNKNOWN " FILLER_91 "aaaa",
};

static void test_v1_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(v1_bad); i++) {
		struct buffer bytes = {0};

		buffer_append_text(&bytes, v1_bad[i]);
		read_bad(v1_bad[i], &bytes);
		buffer_done(&bytes);
	}
}

static void test_v1_with_nul(void **state)
{
	static const char line[] = "PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n";
	struct buffer bytes = {0};

	(void)state;
	buffer_append(&bytes, line, sizeof(line) - 1);
	read_bad("a NUL in an address", &bytes);
	buffer_done(&bytes);
}

/* 107 bytes are a line, one more is none; it is refused as soon as no CRLF can come in time. */
static void test_v1_limit(void **state)
{
	static const char longest[] = "PROXY UNKNOWN " FILLER_91 "\r\n";
	static const char longer[] = "PROXY UNKNOWN a" FILLER_91 "\r\n";
	struct proxy_header header;
	size_t size = 0;

	(void)state;
	assert_int_equal(strlen(longest), PROXY_HEADER_V1_MAX);
	assert_int_equal(read_bytes(&header, longest, strlen(longest), &size), PROXY_HEADER_DONE);
	assert_int_equal(read_bytes(&header, longer, PROXY_HEADER_V1_MAX - 2, &size),
			 PROXY_HEADER_MORE);
	assert_int_equal(read_bytes(&header, longer, PROXY_HEADER_V1_MAX - 1, &size),
			 PROXY_HEADER_BAD);
}

/* struct part is a literal with its length: there are NULs in it. */
struct part {
	const char *bytes;
	size_t length;
};

#define PART(literal)                                                                              \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static void build_v2(struct buffer *out, const char *fixed, const char *block, size_t length)
{
	buffer_append(out, "\r\n\r\n\0\r\nQUIT\n", 12);
	buffer_append(out, fixed, 2);
	buffer_append_byte(out, (uint8_t)(length >> 8));
	buffer_append_byte(out, (uint8_t)length);
	buffer_append(out, block, length);
}

static const struct {
	const char *name;
	const char fixed[3];
	struct part block;
	const char *source;
	const char *destination;
	bool tls;
	const char *authority;
} v2_good[] = {
	{"inet", "\x21\x11", PART(V4_BLOCK), "192.0.2.1:40000", "198.51.100.2:993", false, ""},
	{"inet6", "\x21\x21", PART(V6_BLOCK), "[2001:db8::1]:1", "[2001:db8::2]:65535", false, ""},
	{"mapped", "\x21\x21", PART(MAPPED_BLOCK), "192.0.2.1:40000", "198.51.100.2:993", false,
	 ""},
	{"inet6 and all that follows", "\x21\x21", PART(V6_BLOCK AUTHORITY SSL_CLIENT),
	 "[2001:db8::1]:1", "[2001:db8::2]:65535", true, "mail.example"},
	{"unspecified", "\x21\x00", PART(""), "none", "none", false, ""},
	{"unspecified with TLVs", "\x21\x00", PART(AUTHORITY), "none", "none", false,
	 "mail.example"},
	{"unspecified transport", "\x21\x10", PART(V4_BLOCK AUTHORITY), "none", "none", false,
	 "mail.example"},
	{"unspecified family", "\x21\x01", PART(""), "none", "none", false, ""},
	{"local", "\x20\x00", PART(""), "none", "none", false, ""},
	{"local with addresses", "\x20\x11", PART(V4_BLOCK SSL_CLIENT), "none", "none", false, ""},
	{"local with nonsense", "\x20\xFF", PART("\x02\xFF\xFF"), "none", "none", false, ""},
	{"ALPN", "\x21\x11", PART(V4_BLOCK "\x01\x00\x04imap"), "192.0.2.1:40000",
	 "198.51.100.2:993", false, ""},
	{"NOOP", "\x21\x11", PART(V4_BLOCK "\x04\x00\x00\x04\x00\x02\x00\x00"), "192.0.2.1:40000",
	 "198.51.100.2:993", false, ""},
	{"unknown", "\x21\x11", PART(V4_BLOCK "\xE0\x00\x01\x00\xFF\x00\x00" AUTHORITY),
	 "192.0.2.1:40000", "198.51.100.2:993", false, "mail.example"},
	{"namespace twice", "\x21\x11", PART(V4_BLOCK "\x30\x00\x01n\x30\x00\x01n"),
	 "192.0.2.1:40000", "198.51.100.2:993", false, ""},
	{"unique id", "\x21\x11", PART(V4_BLOCK "\x05\x00\x02\x00\xFF"), "192.0.2.1:40000",
	 "198.51.100.2:993", false, ""},
	{"no authority", "\x21\x11", PART(V4_BLOCK "\x02\x00\x00"), "192.0.2.1:40000",
	 "198.51.100.2:993", false, ""},
	{"client with TLS", "\x21\x11", PART(V4_BLOCK SSL_CLIENT), "192.0.2.1:40000",
	 "198.51.100.2:993", true, ""},
	{"client without TLS", "\x21\x11", PART(V4_BLOCK SSL_NOTHING), "192.0.2.1:40000",
	 "198.51.100.2:993", false, ""},
	{"client with a certificate", "\x21\x11",
	 PART(V4_BLOCK "\x20\x00\x0D\x07\x00\x00\x00\x00\x22\x00\x05"
		       "alice"),
	 "192.0.2.1:40000", "198.51.100.2:993", true, ""},
	{"certificate of the session alone", "\x21\x11",
	 PART(V4_BLOCK "\x20\x00\x05\x06\x00\x00\x00\x00"), "192.0.2.1:40000", "198.51.100.2:993",
	 false, ""},
	/* The sums were computed by another program. */
	{"checksum", "\x21\x11",
	 PART(V4_BLOCK AUTHORITY "\x03\x00\x04\xD1\x6E\x95\xC1\x04\x00\x02\x00\x00"),
	 "192.0.2.1:40000", "198.51.100.2:993", false, "mail.example"},
};

static void test_v2(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(v2_good); i++) {
		const char *name = v2_good[i].name;
		struct proxy_header header = {.tls = true, .authority = "old"};
		struct buffer bytes = {0};

		build_v2(&bytes, v2_good[i].fixed, v2_good[i].block.bytes, v2_good[i].block.length);
		read_whole(&header, name, &bytes);
		check_addr(name, &header.source, v2_good[i].source);
		check_addr(name, &header.destination, v2_good[i].destination);
		assert_int_equal(header.local, strcmp(v2_good[i].source, "none") == 0);
		assert_int_equal(header.unnamed, header.local && v2_good[i].fixed[0] != '\x20');
		if (header.tls != v2_good[i].tls) {
			fail_msg("%s: tls", name);
		}
		assert_string_equal(header.authority, v2_good[i].authority);
		buffer_done(&bytes);
	}
}

static void test_v2_unix(void **state)
{
	struct proxy_header header = {0};
	struct buffer bytes = {0};
	char block[216 + sizeof(SSL_CLIENT) - 1] = "/run/mail.sock";

	(void)state;
	memcpy(block + 216, SSL_CLIENT, sizeof(SSL_CLIENT) - 1);
	build_v2(&bytes, "\x21\x31", block, sizeof(block));
	read_whole(&header, "unix", &bytes);
	assert_true(header.local && header.unnamed);
	assert_true(header.tls);
	check_addr("unix", &header.source, "none");
	buffer_done(&bytes);
	build_v2(&bytes, "\x21\x31", block, 215);
	read_bad("unix, a byte short", &bytes);
	buffer_done(&bytes);
}

static const struct {
	const char *name;
	const char fixed[3];
	struct part block;
} v2_bad[] = {
	{"version 1", "\x11\x11", PART(V4_BLOCK)},
	{"version 3", "\x31\x11", PART(V4_BLOCK)},
	{"command 2", "\x22\x11", PART(V4_BLOCK)},
	{"command 15", "\x2F\x11", PART(V4_BLOCK)},
	{"family 4", "\x21\x41", PART(V4_BLOCK)},
	{"family 15", "\x21\xF1", PART(V4_BLOCK)},
	{"datagram", "\x21\x12", PART(V4_BLOCK)},
	{"datagram over IPv6", "\x21\x22", PART(V6_BLOCK)},
	{"transport 3", "\x21\x13", PART(V4_BLOCK)},
	{"no addresses", "\x21\x11", PART("")},
	{"a byte short of IPv4", "\x21\x11", PART("\xC0\x00\x02\x01\xC6\x33\x64\x02\x9C\x40\x03")},
	{"IPv6 with addresses of IPv4", "\x21\x21", PART(V4_BLOCK)},
	{"a byte behind", "\x21\x11", PART(V4_BLOCK "\x04")},
	{"two bytes behind", "\x21\x11", PART(V4_BLOCK "\x04\x00")},
	{"past the end", "\x21\x11", PART(V4_BLOCK "\x04\x00\x01")},
	{"far past the end", "\x21\x11", PART(V4_BLOCK "\xE0\xFF\xFF....")},
	{"past the end, the second", "\x21\x11", PART(V4_BLOCK AUTHORITY "\x01\x00\x05imap")},
	{"unspecified with nonsense", "\x21\x00", PART("nonsense")},
	{"authority with a NUL", "\x21\x11",
	 PART(V4_BLOCK "\x02\x00\x03"
		       "a\0b")},
	{"authority with a space", "\x21\x11",
	 PART(V4_BLOCK "\x02\x00\x03"
		       "a b")},
	{"authority with a line end", "\x21\x11",
	 PART(V4_BLOCK "\x02\x00\x03"
		       "a\r\n")},
	{"authority with DEL", "\x21\x11", PART(V4_BLOCK "\x02\x00\x01\x7F")},
	{"authority not ASCII", "\x21\x11", PART(V4_BLOCK "\x02\x00\x02\xC3\xA4")},
	{"authority twice", "\x21\x11", PART(V4_BLOCK AUTHORITY AUTHORITY)},
	{"TLS twice", "\x21\x11", PART(V4_BLOCK SSL_NOTHING SSL_CLIENT)},
	{"TLS too short", "\x21\x11", PART(V4_BLOCK "\x20\x00\x04\x01\x00\x00\x00")},
	{"TLS past its end", "\x21\x11",
	 PART(V4_BLOCK "\x20\x00\x0B\x01\x00\x00\x00\x01\x21\x00\x07TLS" AUTHORITY)},
	{"TLS, a byte behind", "\x21\x11", PART(V4_BLOCK "\x20\x00\x06\x01\x00\x00\x00\x01\x21")},
	{"checksum of 3 bytes", "\x21\x11", PART(V4_BLOCK "\x03\x00\x03\x00\x00\x00")},
	{"checksum of 5 bytes", "\x21\x11", PART(V4_BLOCK "\x03\x00\x05\x00\x00\x00\x00\x00")},
	{"wrong checksum", "\x21\x11",
	 PART(V4_BLOCK AUTHORITY "\x03\x00\x04\xD1\x6E\x95\xC0\x04\x00\x02\x00\x00")},
	{"changed behind the checksum", "\x21\x11",
	 PART(V4_BLOCK AUTHORITY "\x03\x00\x04\xD1\x6E\x95\xC1\x04\x00\x02\x00\x01")},
	{"changed before the checksum", "\x21\x11",
	 PART(V4_BLOCK "\x02\x00\x0Cmail.exampla\x03\x00\x04\xD1\x6E\x95\xC1\x04\x00\x02\x00\x00")},
};

static void test_v2_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(v2_bad); i++) {
		struct buffer bytes = {0};

		build_v2(&bytes, v2_bad[i].fixed, v2_bad[i].block.bytes, v2_bad[i].block.length);
		read_bad(v2_bad[i].name, &bytes);
		buffer_done(&bytes);
	}
}

/* Every byte of the signature counts, and is refused at once. */
static void test_signatures(void **state)
{
	static const struct part signatures[] = {PART("PROXY "), PART("\r\n\r\n\0\r\nQUIT\n")};

	(void)state;
	for (size_t i = 0; i < array_length(signatures); i++) {
		for (size_t at = 0; at < signatures[i].length; at++) {
			struct buffer bytes = {0};
			struct proxy_header header;
			size_t size = 0;

			buffer_append(&bytes, signatures[i].bytes, at);
			buffer_append_byte(&bytes, (uint8_t)(signatures[i].bytes[at] ^ 0x20));
			assert_int_equal(
				read_bytes(&header, buffer_bytes(&bytes), bytes.length, &size),
				PROXY_HEADER_BAD);
			buffer_done(&bytes);
		}
	}
}

static void append_tlv(struct buffer *out, uint8_t type, size_t length)
{
	buffer_append_byte(out, type);
	buffer_append_byte(out, (uint8_t)(length >> 8));
	buffer_append_byte(out, (uint8_t)length);
	for (size_t i = 0; i < length; i++) {
		buffer_append_byte(out, 'a');
	}
}

static enum proxy_header_verdict read_with_tlv(struct proxy_header *header, uint8_t type,
					       size_t length)
{
	struct buffer block = {0};
	struct buffer bytes = {0};
	enum proxy_header_verdict verdict;
	size_t size = 0;

	buffer_append(&block, V4_BLOCK, sizeof(V4_BLOCK) - 1);
	append_tlv(&block, type, length);
	build_v2(&bytes, "\x21\x11", (const char *)buffer_bytes(&block), block.length);
	verdict = read_bytes(header, buffer_bytes(&bytes), bytes.length, &size);
	buffer_done(&block);
	buffer_done(&bytes);
	return verdict;
}

static void test_v2_limits(void **state)
{
	const size_t head = 16 + 12 + 3;
	struct proxy_header header;

	(void)state;
	assert_int_equal(read_with_tlv(&header, 0x02, PROXY_HEADER_AUTHORITY_MAX),
			 PROXY_HEADER_DONE);
	assert_int_equal(strlen(header.authority), PROXY_HEADER_AUTHORITY_MAX);
	assert_int_equal(read_with_tlv(&header, 0x02, PROXY_HEADER_AUTHORITY_MAX + 1),
			 PROXY_HEADER_BAD);
	assert_int_equal(read_with_tlv(&header, 0x05, PROXY_HEADER_UNIQUE_ID_MAX),
			 PROXY_HEADER_DONE);
	assert_int_equal(read_with_tlv(&header, 0x05, PROXY_HEADER_UNIQUE_ID_MAX + 1),
			 PROXY_HEADER_BAD);
	assert_int_equal(read_with_tlv(&header, 0x04, PROXY_HEADER_MAX - head), PROXY_HEADER_DONE);
	assert_int_equal(read_with_tlv(&header, 0x04, PROXY_HEADER_MAX - head + 1),
			 PROXY_HEADER_BAD);
}

/* A header that announces too much is not waited for. */
static void test_v2_limit_at_once(void **state)
{
	struct proxy_header header;
	size_t size = 0;

	(void)state;
	assert_int_equal(read_bytes(&header, "\r\n\r\n\0\r\nQUIT\n\x21\x11\x0F\xF0", 16, &size),
			 PROXY_HEADER_MORE);
	assert_int_equal(read_bytes(&header, "\r\n\r\n\0\r\nQUIT\n\x21\x11\x0F\xF1", 16, &size),
			 PROXY_HEADER_BAD);
	assert_int_equal(read_bytes(&header, "\r\n\r\n\0\r\nQUIT\n\x20\x00\xFF\xFF", 16, &size),
			 PROXY_HEADER_BAD);
}

static void set_addr(struct addr *addr, const char *ip, uint16_t port)
{
	*addr = (struct addr){0};
	if (ip != NULL) {
		assert_true(addr_parse(addr, ip, port));
	}
}

static void check_bytes(const struct buffer *out, const char *bytes, size_t length)
{
	assert_int_equal(out->length, length);
	assert_memory_equal(buffer_bytes(out), bytes, length);
}

static void test_write_bytes(void **state)
{
	static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
	static const char v4[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C" V4_BLOCK;
	static const char full[] =
		"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x46" V4_BLOCK AUTHORITY "\x05\x00\x04s-17"
		"\x20\x00\x21\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3"
		"\x23\x00\x0F"
		"ECDHE-X-AES-GCM";
	struct proxy_header_client client = {0};
	struct buffer out = {0};

	(void)state;
	proxy_header_write(&out, &client);
	check_bytes(&out, local, sizeof(local) - 1);
	buffer_done(&out);
	set_addr(&client.source, "192.0.2.1", 40000);
	set_addr(&client.destination, "198.51.100.2", 993);
	proxy_header_write(&out, &client);
	check_bytes(&out, v4, sizeof(v4) - 1);
	buffer_done(&out);
	client.tls_version = "TLSv1.3";
	client.tls_cipher = "ECDHE-X-AES-GCM";
	client.authority = "mail.example";
	client.unique_id = "s-17";
	proxy_header_write(&out, &client);
	check_bytes(&out, full, sizeof(full) - 1);
	buffer_done(&out);
}

static const struct {
	const char *source;
	const char *destination;
	const char *source_read;
	const char *destination_read;
} written[] = {
	{"192.0.2.1", "198.51.100.2", "192.0.2.1:1", "198.51.100.2:65535"},
	{"2001:db8::1", "2001:db8::2", "[2001:db8::1]:1", "[2001:db8::2]:65535"},
	{"192.0.2.1", "2001:db8::2", "192.0.2.1:1", "[2001:db8::2]:65535"},
	{"2001:db8::1", "198.51.100.2", "[2001:db8::1]:1", "198.51.100.2:65535"},
	{NULL, "198.51.100.2", "none", "none"},
	{"2001:db8::1", NULL, "[2001:db8::1]:1", "[::]:0"},
	{"192.0.2.1", NULL, "192.0.2.1:1", "0.0.0.0:0"},
};

static void test_there_and_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(written); i++) {
		struct proxy_header_client client = {.authority = "mail.example",
						     .tls_version = i % 2 == 0 ? "TLSv1.2" : ""};
		struct proxy_header header = {0};
		struct buffer out = {0};

		set_addr(&client.source, written[i].source, 1);
		set_addr(&client.destination, written[i].destination, 65535);
		proxy_header_write(&out, &client);
		read_whole(&header, written[i].source_read, &out);
		check_addr("source", &header.source, written[i].source_read);
		check_addr("destination", &header.destination, written[i].destination_read);
		assert_int_equal(header.tls, !header.local);
		assert_string_equal(header.authority, header.local ? "" : "mail.example");
		buffer_done(&out);
	}
}

static void fill(char *text, size_t length)
{
	memset(text, 'a', length);
	text[length] = '\0';
}

/* The fullest header, and names that would spoil it for its reader. */
static void test_write_limits(void **state)
{
	char authority[PROXY_HEADER_AUTHORITY_MAX + 2];
	char unique_id[PROXY_HEADER_UNIQUE_ID_MAX + 2];
	char name[65];
	struct proxy_header_client client = {.authority = authority,
					     .unique_id = unique_id,
					     .tls_version = name,
					     .tls_cipher = name};
	struct proxy_header header = {0};
	struct buffer out = {0};
	size_t fullest;

	(void)state;
	set_addr(&client.source, "2001:db8::1", 1);
	set_addr(&client.destination, "2001:db8::2", 2);
	fill(authority, PROXY_HEADER_AUTHORITY_MAX);
	fill(unique_id, PROXY_HEADER_UNIQUE_ID_MAX);
	fill(name, 64);
	proxy_header_write(&out, &client);
	read_whole(&header, "fullest", &out);
	assert_string_equal(header.authority, authority);
	fullest = out.length;
	buffer_done(&out);
	fill(authority, PROXY_HEADER_AUTHORITY_MAX + 1);
	fill(unique_id, PROXY_HEADER_UNIQUE_ID_MAX + 1);
	proxy_header_write(&out, &client);
	read_whole(&header, "too long", &out);
	assert_string_equal(header.authority, "");
	assert_int_equal(out.length,
			 fullest - 6 - PROXY_HEADER_AUTHORITY_MAX - PROXY_HEADER_UNIQUE_ID_MAX);
	buffer_done(&out);
	client.authority = "a\r\nb";
	client.unique_id = "";
	proxy_header_write(&out, &client);
	read_whole(&header, "not printable", &out);
	assert_string_equal(header.authority, "");
	buffer_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),           cmocka_unit_test(test_v1_bad),
		cmocka_unit_test(test_v1_with_nul),  cmocka_unit_test(test_v1_limit),
		cmocka_unit_test(test_v2),           cmocka_unit_test(test_v2_unix),
		cmocka_unit_test(test_v2_bad),       cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_v2_limits),    cmocka_unit_test(test_v2_limit_at_once),
		cmocka_unit_test(test_write_bytes),  cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_write_limits),
	};

	return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
