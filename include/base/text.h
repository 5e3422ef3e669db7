/* SPDX-License-Identifier: Apache-2.0
 *
 * Small questions about text that a peer wrote: never locale-dependent, never trusting a NUL.
 */
#ifndef GATEPOST_BASE_TEXT_H
#define GATEPOST_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

/* text_equal_nocase compares `length` bytes with a NUL-terminated word; A-Z equal a-z, nothing else
 * folds. */
bool text_equal_nocase(const void *bytes, size_t length, const char *word);

/* text_starts_nocase tells whether `bytes` begins with `word`, folded the same way. */
bool text_starts_nocase(const void *bytes, size_t length, const char *word);

/* text_fold is the byte in lower case, where it is one of A-Z. */
uint8_t text_fold(uint8_t byte);

/* text_lower folds A-Z in place. */
void text_lower(char *text);

/* text_has_control tells whether a byte below 0x20 or 0x7F (NUL, CR, LF and their kin) is there. */
bool text_has_control(const void *bytes, size_t length);

/* text_is_utf8 tells whether the bytes are well-formed UTF-8 (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF). */
bool text_is_utf8(const void *bytes, size_t length);

/* text_next_word cuts the next word off a list that has spaces between its words; false when none
 * is left. */
bool text_next_word(const uint8_t **list, size_t *length, const uint8_t **word, size_t *size);

/* text_append_printable appends at most `limit` bytes of peer text with every byte outside
 * 0x20-0x7E replaced by '?': what may be shown to a client. */
void text_append_printable(struct buffer *out, const void *bytes, size_t length, size_t limit);

/* text_distance is the Levenshtein distance of two words of at most 63 bytes; longer words are
 * 64 apart from everything. */
unsigned text_distance(const char *left, const char *right);

#endif
