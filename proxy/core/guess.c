/* SPDX-License-Identifier: Apache-2.0
 *
 * Guessing by the distance of words.
 */
#include "guess_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void guess_begin(struct guess *guess, const char *key, char *text, size_t size)
{
	*guess = (struct guess){.key = key, .distance = ~0U, .text = text, .size = size};
	text[0] = '\0';
}

void guess_word(struct guess *guess, const char *word)
{
	unsigned distance = text_distance(guess->key, word);
	size_t used = strlen(guess->text);

	if (distance < guess->distance) {
		guess->distance = distance;
		guess->nearest = word;
	}
	snprintf(guess->text + used, guess->size - used, "%s%s", used == 0 ? "known are " : ", ",
		 word);
}

void guess_end(struct guess *guess)
{
	if (guess->nearest != NULL && guess->distance <= 1 + strlen(guess->nearest) / 4) {
		snprintf(guess->text, guess->size, "the nearest known one is \"%s\"",
			 guess->nearest);
	}
}
