/* SPDX-License-Identifier: Apache-2.0
 *
 * The lookup command: from template and user name to words. Pure.
 */
#include "lookup_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/template.h"

#define USER_PLACEHOLDER "{user}"

/* What all keys have in common, and whether one can be turned back into its user. A command of one
 * word has no key: its keys are "", which no key is. */
static bool cut_key(struct lookup *lookup)
{
	const char *key = lookup->word_count > 1 ? lookup->words[1] : "";
	const char *rest = key;
	const char *found;
	unsigned placeholders = 0;
	bool whole_user = false;
	size_t prefix_length = strlen(key);
	size_t length;

	while ((found = template_find(rest, &length)) != NULL) {
		if (placeholders++ == 0) {
			prefix_length = (size_t)(found - key);
			whole_user = length == strlen(USER_PLACEHOLDER) &&
				     memcmp(found, USER_PLACEHOLDER, length) == 0;
		}
		rest = found + length;
	}
	lookup->suffix = placeholders > 0 ? rest : NULL;
	lookup->one_user = placeholders == 1 && whole_user;
	lookup->prefix = strndup(key, prefix_length);
	return lookup->prefix != NULL;
}

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
	if (!cut_key(&made)) {
		free(made.text);
		return error_set(error, "out of memory");
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

const char *lookup_prefix(const struct lookup *lookup)
{
	return lookup->prefix;
}

/* What stands between prefix and suffix; false when the key is not made like that. */
static bool find_middle(const struct lookup *lookup, const char *key, size_t length,
			const char **middle, size_t *middle_length)
{
	size_t prefix_length = strlen(lookup->prefix);
	size_t suffix_length = lookup->suffix != NULL ? strlen(lookup->suffix) : 0;

	if (length < prefix_length + suffix_length ||
	    memcmp(key, lookup->prefix, prefix_length) != 0 ||
	    memcmp(key + length - suffix_length, lookup->suffix != NULL ? lookup->suffix : "",
		   suffix_length) != 0) {
		return false;
	}
	*middle = key + prefix_length;
	*middle_length = length - prefix_length - suffix_length;
	return lookup->suffix != NULL || *middle_length == 0;
}

enum lookup_verdict lookup_user_of_key(const struct lookup *lookup, const char *key, size_t length,
				       char user[CONFIG_USER_MAX + 1])
{
	const char *middle;
	size_t middle_length;

	if (length == 0 || !find_middle(lookup, key, length, &middle, &middle_length)) {
		return LOOKUP_NOT_OURS;
	}
	if (!lookup->one_user) {
		return LOOKUP_MANY_USERS;
	}
	if (middle_length == 0 || middle_length > CONFIG_USER_MAX ||
	    memchr(middle, '\0', middle_length) != NULL) {
		return LOOKUP_NOT_OURS;
	}
	memcpy(user, middle, middle_length);
	user[middle_length] = '\0';
	return LOOKUP_ONE_USER;
}

void lookup_command_done(struct lookup_command *command)
{
	buffer_done(&command->bytes);
	*command = (struct lookup_command){0};
}

void lookup_done(struct lookup *lookup)
{
	free(lookup->prefix);
	free(lookup->text);
	*lookup = (struct lookup){0};
}
