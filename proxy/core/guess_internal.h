/* SPDX-License-Identifier: Apache-2.0
 *
 * What a misspelt word was meant to be.
 */
#ifndef GATEPOST_CORE_GUESS_INTERNAL_H
#define GATEPOST_CORE_GUESS_INTERNAL_H

#include <stddef.h>

/* struct guess: the nearest word so far, and in `text` the list of all words. */
struct guess {
	const char *key;
	const char *nearest;
	unsigned distance;
	char *text;
	size_t size;
};

/* guess_begin is followed by guess_word for every known word, in any order, and by guess_end: it
 * leaves in `text` which word is near enough to `key`, or else all of them. */
void guess_begin(struct guess *guess, const char *key, char *text, size_t size);
void guess_word(struct guess *guess, const char *word);
void guess_end(struct guess *guess);

#endif
