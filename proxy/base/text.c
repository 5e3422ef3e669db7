/* SPDX-License-Identifier: Apache-2.0
 *
 * Small questions about text that a peer wrote.
 */
#include "base/text.h"

#include <string.h>

#include "base/buffer.h"

uint8_t text_fold(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

bool text_starts_nocase(const void *bytes, size_t length, const char *word)
{
	const uint8_t *text = bytes;
	size_t word_length = strlen(word);

	if (length < word_length) {
		return false;
	}
	for (size_t i = 0; i < word_length; i++) {
		if (text_fold(text[i]) != text_fold((uint8_t)word[i])) {
			return false;
		}
	}
	return true;
}

bool text_equal_nocase(const void *bytes, size_t length, const char *word)
{
	return length == strlen(word) && text_starts_nocase(bytes, length, word);
}

void text_lower(char *text)
{
	for (; *text != '\0'; text++) {
		*text = (char)text_fold((uint8_t)*text);
	}
}

bool text_has_control(const void *bytes, size_t length)
{
	const uint8_t *text = bytes;

	for (size_t i = 0; i < length; i++) {
		if (text[i] < 0x20 || text[i] == 0x7F) {
			return true;
		}
	}
	return false;
}

/* The number of continuation bytes that a lead byte announces, and the smallest code point that
 * may be written with so many; -1 for a byte that leads nothing. */
static int continuation_count(uint8_t lead, uint32_t *smallest)
{
	if (lead < 0x80) {
		*smallest = 0;
		return 0;
	}
	if (lead >= 0xC2 && lead <= 0xDF) {
		*smallest = 0x80;
		return 1;
	}
	if (lead >= 0xE0 && lead <= 0xEF) {
		*smallest = 0x800;
		return 2;
	}
	if (lead >= 0xF0 && lead <= 0xF4) {
		*smallest = 0x10000;
		return 3;
	}
	return -1;
}

bool text_is_utf8(const void *bytes, size_t length)
{
	const uint8_t *text = bytes;
	size_t i = 0;

	while (i < length) {
		uint32_t smallest = 0;
		int more = continuation_count(text[i], &smallest);
		uint32_t point;

		if (more < 0 || length - i <= (size_t)more) {
			return false;
		}
		point = more == 0 ? text[i] : text[i] & (0x3FU >> more);
		i++;
		for (; more > 0; more--, i++) {
			if ((text[i] & 0xC0) != 0x80) {
				return false;
			}
			point = point << 6 | (text[i] & 0x3F);
		}
		if (point < smallest || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
			return false;
		}
	}
	return true;
}

bool text_next_word(const uint8_t **list, size_t *length, const uint8_t **word, size_t *size)
{
	while (*length > 0 && **list == ' ') {
		(*list)++;
		(*length)--;
	}
	*word = *list;
	*size = 0;
	while (*length > 0 && **list != ' ') {
		(*list)++;
		(*length)--;
		(*size)++;
	}
	return *size > 0;
}

void text_append_printable(struct buffer *out, const void *bytes, size_t length, size_t limit)
{
	const uint8_t *text = bytes;

	for (size_t i = 0; i < length && i < limit; i++) {
		bool printable = text[i] >= 0x20 && text[i] <= 0x7E;

		buffer_append_byte(out, printable ? text[i] : '?');
	}
}

static unsigned smallest_of(unsigned a, unsigned b, unsigned c)
{
	unsigned smaller = a < b ? a : b;

	return smaller < c ? smaller : c;
}

#define LONGEST_WORD 63

unsigned text_distance(const char *left, const char *right)
{
	unsigned row[LONGEST_WORD + 1];
	size_t left_length = strlen(left);
	size_t right_length = strlen(right);

	if (left_length > LONGEST_WORD || right_length > LONGEST_WORD) {
		return LONGEST_WORD + 1;
	}
	for (unsigned j = 0; j <= right_length; j++) {
		row[j] = j;
	}
	for (unsigned i = 1; i <= left_length; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= right_length; j++) {
			unsigned change = diagonal + (left[i - 1] != right[j - 1] ? 1 : 0);

			diagonal = row[j];
			row[j] = smallest_of(row[j] + 1, row[j - 1] + 1, change);
		}
	}
	return row[right_length];
}
