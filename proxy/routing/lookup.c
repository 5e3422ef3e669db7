/* SPDX-License-Identifier: Apache-2.0
 *
 * The lookup command: from template and user name to words. Pure.
 */
#include "lookup_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/template.h"

bool lookup_init(struct lookup *lookup, const char *template, struct error *error)
{
	struct lookup made = {.text = strdup(template)};
	char *rest = made.text;

	if (made.text == NULL) {
		return error_set(error, "out of memory");
	}
	for (;;) {
		char *word = rest + strspn(rest, " ");

		if (*word == '\0') {
			break;
		}
		if (made.word_count == LOOKUP_WORDS_MAX) {
			free(made.text);
			return error_set(error, "a lookup command has at most %d words",
					 LOOKUP_WORDS_MAX);
		}
		made.words[made.word_count++] = word;
		rest = word + strcspn(word, " ");
		if (*rest != '\0') {
			*rest++ = '\0';
		}
	}
	if (made.word_count == 0) {
		free(made.text);
		return error_set(error, "a lookup command has at least one word");
	}
	*lookup = made;
	return true;
}

bool lookup_expand(const struct lookup *lookup, const char *user, struct lookup_command *command)
{
	size_t offset = 0;

	for (size_t i = 0; i < lookup->word_count; i++) {
		template_expand(&command->bytes, lookup->words[i], user);
		command->lengths[i] = command->bytes.length - offset;
		offset = command->bytes.length;
	}
	command->word_count = lookup->word_count;
	if (command->bytes.failed) {
		return false;
	}
	/* Only now, since the bytes move while they grow. */
	offset = 0;
	for (size_t i = 0; i < command->word_count; i++) {
		command->words[i] = (const char *)buffer_bytes(&command->bytes) + offset;
		offset += command->lengths[i];
	}
	return true;
}

void lookup_command_done(struct lookup_command *command)
{
	buffer_done(&command->bytes);
	*command = (struct lookup_command){0};
}

void lookup_done(struct lookup *lookup)
{
	free(lookup->text);
	*lookup = (struct lookup){0};
}
