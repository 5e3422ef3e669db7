/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict base64 (RFC 4648 section 4).
 */
#include "base/base64.h"

#include "base/buffer.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define FOREIGN 64

static unsigned sextet(uint8_t byte)
{
	if (byte >= 'A' && byte <= 'Z') {
		return byte - 'A';
	}
	if (byte >= 'a' && byte <= 'z') {
		return byte - 'a' + 26U;
	}
	if (byte >= '0' && byte <= '9') {
		return byte - '0' + 52U;
	}
	if (byte == '+') {
		return 62;
	}
	return byte == '/' ? 63 : FOREIGN;
}

static size_t count_padding(const uint8_t *text, size_t length)
{
	if (length == 0 || text[length - 1] != '=') {
		return 0;
	}
	return text[length - 2] == '=' ? 2 : 1;
}

/* One group of four characters, of which the last `padding` are '='. */
static bool decode_group(struct buffer *out, const uint8_t group[4], size_t padding)
{
	uint32_t bits = 0;
	uint8_t bytes[3];

	for (size_t i = 0; i < 4; i++) {
		unsigned value = i < 4 - padding ? sextet(group[i]) : 0;

		if (value == FOREIGN) {
			return false;
		}
		bits = bits << 6 | value;
	}
	if ((padding == 1 && (bits & 0xFF) != 0) || (padding == 2 && (bits & 0xFFFF) != 0)) {
		return false;
	}
	bytes[0] = (uint8_t)(bits >> 16);
	bytes[1] = (uint8_t)(bits >> 8);
	bytes[2] = (uint8_t)bits;
	return buffer_append(out, bytes, 3 - padding);
}

bool base64_decode(struct buffer *out, const void *text, size_t length)
{
	const uint8_t *characters = text;
	size_t before = out->length;
	size_t padding;

	if (length % 4 != 0) {
		return false;
	}
	padding = count_padding(characters, length);
	for (size_t i = 0; i < length; i += 4) {
		bool last = i + 4 == length;

		if (!decode_group(out, characters + i, last ? padding : 0)) {
			buffer_truncate(out, before);
			return false;
		}
	}
	return true;
}

void base64_encode(struct buffer *out, const void *bytes, size_t length)
{
	const uint8_t *in = bytes;

	for (size_t i = 0; i < length; i += 3) {
		size_t rest = length - i;
		uint32_t bits = (uint32_t)in[i] << 16;
		char group[4];

		if (rest > 1) {
			bits |= (uint32_t)in[i + 1] << 8;
		}
		if (rest > 2) {
			bits |= in[i + 2];
		}
		group[0] = alphabet[bits >> 18];
		group[1] = alphabet[bits >> 12 & 63];
		group[2] = rest > 1 ? alphabet[bits >> 6 & 63] : '=';
		group[3] = rest > 2 ? alphabet[bits & 63] : '=';
		buffer_append(out, group, sizeof(group));
	}
}
