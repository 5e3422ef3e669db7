/* SPDX-License-Identifier: Apache-2.0
 *
 * The lookup command: from template and user name to words. Pure.
 */
#include "lookup_internal.h"

#include <stdlib.h>
#include <string.h>

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

struct placeholder {
	const char *name;
	const char *value;
	size_t length;
};

#define PLACEHOLDERS 3

static void set_placeholders(struct placeholder placeholders[PLACEHOLDERS], const char *user)
{
	size_t length = strlen(user);
	const char *at = strrchr(user, '@');
	size_t local_length = at != NULL ? (size_t)(at - user) : length;
	const char *domain = at != NULL ? at + 1 : user + length;

	placeholders[0] = (struct placeholder){"{user}", user, length};
	placeholders[1] = (struct placeholder){"{local}", user, local_length};
	placeholders[2] = (struct placeholder){"{domain}", domain, strlen(domain)};
}

/* The placeholder that `text` begins with, or NULL. */
static const struct placeholder *find_placeholder(const struct placeholder *placeholders,
						  const char *text)
{
	for (size_t i = 0; i < PLACEHOLDERS; i++) {
		if (strncmp(text, placeholders[i].name, strlen(placeholders[i].name)) == 0) {
			return &placeholders[i];
		}
	}
	return NULL;
}

static void expand_word(struct buffer *out, const struct placeholder *placeholders,
			const char *word)
{
	while (*word != '\0') {
		const struct placeholder *found = find_placeholder(placeholders, word);

		if (found != NULL) {
			buffer_append(out, found->value, found->length);
			word += strlen(found->name);
		} else {
			buffer_append_byte(out, (unsigned char)*word++);
		}
	}
}

bool lookup_expand(const struct lookup *lookup, const char *user, struct lookup_command *command)
{
	struct placeholder placeholders[PLACEHOLDERS];
	size_t offset = 0;

	set_placeholders(placeholders, user);
	for (size_t i = 0; i < lookup->word_count; i++) {
		expand_word(&command->bytes, placeholders, lookup->words[i]);
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
