/* SPDX-License-Identifier: Apache-2.0
 *
 * What may stand in routing.lookup. An allow-list: a command that is not known to read only, or
 * to answer with one string, is refused.
 */
#include "config_lookup_internal.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "core/config.h"
#include "fault_internal.h"

static const struct {
	const char *name;
	size_t words; /* the command's own included */
} commands[] = {
	{"GET", 2},
	{"HGET", 3},
	{"GETRANGE", 4},
	{"LINDEX", 3},
};

static const char *const placeholders[] = {"{user}", "{local}", "{domain}"};

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
			 "begins with \"%s\", but must be a command that only reads: GET, "
			 "HGET, GETRANGE or LINDEX",
			 quoted);
}

/* The length of the placeholder at `text`, 0 when there is none. */
static size_t placeholder_length(const char *text)
{
	for (size_t i = 0; i < array_length(placeholders); i++) {
		size_t length = strlen(placeholders[i]);

		if (strncmp(text, placeholders[i], length) == 0) {
			return length;
		}
	}
	return 0;
}

static bool check_placeholders(const char *text, struct error *error)
{
	bool found = false;
	char quoted[FAULT_QUOTE_SIZE];

	for (;;) {
		size_t length;

		text += strcspn(text, "{}");
		if (*text == '\0') {
			break;
		}
		length = placeholder_length(text);
		if (length == 0) {
			length = strcspn(text, "} ");
			length += text[length] == '}' ? 1 : 0;
			return error_set(error,
					 "has \"%s\", but only {user}, {local} and {domain} "
					 "are filled in",
					 fault_quote(quoted, text, length));
		}
		found = true;
		text += length;
	}
	return found || error_set(error, "asks the same for everybody: write {user}, {local} or "
					 "{domain} where the user belongs");
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
	return check_command(text, words, error) && check_placeholders(text, error);
}
