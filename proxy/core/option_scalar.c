/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that are a number, a truth value, an amount, or one of a few words.
 */
#include <string.h>

#include "fault_internal.h"
#include "option_type_internal.h"
#include "quantity_internal.h"

#define DURATION_WHAT "a duration in quotes: \"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\""
#define SIZE_WHAT     "a size in quotes: \"4096\", \"64KiB\" or \"1MiB\""

static bool number_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	if (value->integer < (int64_t)option->smallest ||
	    value->integer > (int64_t)option->largest) {
		return error_set(error, "is %lld, but must be from %llu to %llu",
				 (long long)value->integer, (unsigned long long)option->smallest,
				 (unsigned long long)option->largest);
	}
	*(unsigned *)field = (unsigned)value->integer;
	return true;
}

static void number_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	fprintf(out, "%u", *(const unsigned *)field);
}

static bool boolean_set(const struct option *option, void *field, const struct option_value *value,
			struct error *error)
{
	(void)option;
	(void)error;
	*(bool *)field = value->integer != 0;
	return true;
}

static void boolean_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	fputs(*(const bool *)field ? "true" : "false", out);
}

/* Durations and sizes: a number with a unit of `units`. */
static bool quantity_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	const struct quantity_unit *units =
		option->type == OPTION_SIZE ? quantity_bytes : quantity_time;
	char smallest[QUANTITY_TEXT_MAX];
	char largest[QUANTITY_TEXT_MAX];
	char quoted[FAULT_QUOTE_SIZE];
	uint64_t amount;

	fault_quote(quoted, value->text, value->length);
	if (!quantity_parse(units, value->text, &amount)) {
		return error_set(error, "is \"%s\", but must be %s", quoted,
				 option->type == OPTION_SIZE ? SIZE_WHAT : DURATION_WHAT);
	}
	if (amount < option->smallest || amount > option->largest) {
		quantity_format(units, option->smallest, smallest);
		quantity_format(units, option->largest, largest);
		return error_set(error, "is \"%s\", but must be from \"%s\" to \"%s\"", quoted,
				 smallest, largest);
	}
	*(uint64_t *)field = amount;
	return true;
}

static void quantity_print(const struct option *option, const void *field, FILE *out)
{
	char text[QUANTITY_TEXT_MAX];

	quantity_format(option->type == OPTION_SIZE ? quantity_bytes : quantity_time,
			*(const uint64_t *)field, text);
	fprintf(out, "\"%s\"", text);
}

bool option_word_at(const char *words, unsigned index, char word[OPTION_WORD_MAX])
{
	for (; index > 0; index--) {
		words += strcspn(words, " ");
		words += *words == ' ' ? 1 : 0;
	}
	snprintf(word, OPTION_WORD_MAX, "%.*s", (int)strcspn(words, " "), words);
	return word[0] != '\0';
}

void option_list_words(const char *words, char list[OPTION_EXPECTED_MAX])
{
	char word[OPTION_WORD_MAX];
	char next[OPTION_WORD_MAX];

	list[0] = '\0';
	for (unsigned i = 0; option_word_at(words, i, word); i++) {
		size_t used = strlen(list);
		const char *before = i == 0                               ? ""
				     : option_word_at(words, i + 1, next) ? ", "
									  : " or ";

		snprintf(list + used, OPTION_EXPECTED_MAX - used, "%s\"%s\"", before, word);
	}
}

static bool word_refuse(const struct option *option, const struct option_value *value,
			struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	char list[OPTION_EXPECTED_MAX];

	option_list_words(option->accepts, list);
	return error_set(error, "is \"%s\", but must be %s",
			 fault_quote(quoted, value->text, value->length), list);
}

static bool word_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char word[OPTION_WORD_MAX];

	for (unsigned i = 0; option_word_at(option->accepts, i, word); i++) {
		if (strcmp(word, value->text) == 0) {
			*(unsigned *)field = i;
			return true;
		}
	}
	return word_refuse(option, value, error);
}

static void word_print(const struct option *option, const void *field, FILE *out)
{
	char word[OPTION_WORD_MAX];

	option_word_at(option->accepts, *(const unsigned *)field, word);
	fprintf(out, "\"%s\"", word);
}

const struct option_manner option_number = {
	TOML_INTEGER, "a whole number", number_set, number_print, NULL,
};
const struct option_manner option_boolean = {
	TOML_BOOLEAN, "true or false, without quotes", boolean_set, boolean_print, NULL,
};
const struct option_manner option_duration = {
	TOML_STRING, DURATION_WHAT, quantity_set, quantity_print, NULL,
};
const struct option_manner option_size = {
	TOML_STRING, SIZE_WHAT, quantity_set, quantity_print, NULL,
};
const struct option_manner option_word = {
	TOML_STRING, "a word in quotes", word_set, word_print, NULL,
};
