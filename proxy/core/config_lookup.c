/* SPDX-License-Identifier: Apache-2.0
 *
 * What may stand in routing.lookup. An allow-list: a command that is not known to read only, or
 * to answer with one string, is refused.
 */
#include "config_lookup_internal.h"

#include <stddef.h>
#include <string.h>

#include "base/template.h"
#include "base/text.h"
#include "core/config.h"
#include "fault_internal.h"

static const struct {
	const char *name;
	size_t words; /* the command's own included */
} commands[] = {
	{"GET", 2}, {"HGET", 3}, {"GETRANGE", 4}, {"SUBSTR", 4}, {"LINDEX", 3},
};

static bool check_command(const char *text, size_t words, struct error *error)
{
	size_t length = strcspn(text, " ");
	char quoted[FAULT_QUOTE_SIZE];

	fault_quote(quoted, text, length);
	for (size_t i = 0; i < array_length(commands); i++) {
		if (!text_equal_nocase(text, length, commands[i].name)) {
			continue;
		}
		return words == commands[i].words ||
		       error_set(error, "has %zu words, but \"%s\" takes %zu, itself included",
				 words, quoted, commands[i].words);
	}
	return error_set(error,
			 "begins with \"%s\", but must be a command that only reads one "
			 "string of one key: GET, HGET, GETRANGE, SUBSTR or LINDEX",
			 quoted);
}

/* The number of words; 0 where they are not separated by single spaces. */
static size_t count_words(const char *text)
{
	size_t words = 0;

	for (;;) {
		size_t length = strcspn(text, " ");

		if (length == 0) {
			return 0;
		}
		words++;
		text += length;
		if (*text == '\0') {
			return words;
		}
		text++;
	}
}

bool config_lookup_check(const char *text, struct error *error)
{
	size_t words = count_words(text);

	if (words == 0) {
		return error_set(error, "must be words with a single space between them");
	}
	if (words > CONFIG_LOOKUP_WORDS_MAX) {
		return error_set(error, "has %zu words, but may have at most %d", words,
				 CONFIG_LOOKUP_WORDS_MAX);
	}
	return check_command(text, words, error) && template_check(text, error);
}

bool config_lookup_is_of_user(const char *text)
{
	size_t length = strcspn(text, " ");

	return text_equal_nocase(text, length, "GET") && strstr(text + length, "{user}") != NULL;
}
