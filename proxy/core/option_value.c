/* SPDX-License-Identifier: Apache-2.0
 *
 * The types of options: how a value of each is read and checked, written, and freed.
 */
#include "option_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "core/config.h"
#include "config_lookup_internal.h"
#include "fault_internal.h"
#include "quantity_internal.h"
#include "redis_url_internal.h"

#define WORD_MAX      32
#define DURATION_WHAT "a duration in quotes: \"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\""
#define SIZE_WHAT     "a size in quotes: \"4096\", \"64KiB\" or \"1MiB\""

/* Fields of a text type hold a string of their own; takes over `copy`. */
static bool replace_text(void *field, char *copy, struct error *error)
{
	char **text = field;

	if (copy == NULL) {
		return error_set(error, "out of memory");
	}
	free(*text);
	*text = copy;
	return true;
}

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

/* Copies the `index`th of the words that are separated by spaces; false behind the last one. */
static bool word_at(const char *words, unsigned index, char word[WORD_MAX])
{
	for (; index > 0; index--) {
		words += strcspn(words, " ");
		words += *words == ' ' ? 1 : 0;
	}
	snprintf(word, WORD_MAX, "%.*s", (int)strcspn(words, " "), words);
	return word[0] != '\0';
}

/* Writes `"this", "that" or "other"`. */
static void list_words(const char *words, char list[OPTION_EXPECTED_MAX])
{
	char word[WORD_MAX];
	char next[WORD_MAX];

	list[0] = '\0';
	for (unsigned i = 0; word_at(words, i, word); i++) {
		size_t used = strlen(list);
		const char *before = i == 0 ? "" : word_at(words, i + 1, next) ? ", " : " or ";

		snprintf(list + used, OPTION_EXPECTED_MAX - used, "%s\"%s\"", before, word);
	}
}

static bool word_refuse(const struct option *option, const struct option_value *value,
			struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	char list[OPTION_EXPECTED_MAX];

	list_words(option->accepts, list);
	return error_set(error, "is \"%s\", but must be %s",
			 fault_quote(quoted, value->text, value->length), list);
}

static bool word_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char word[WORD_MAX];

	for (unsigned i = 0; word_at(option->accepts, i, word); i++) {
		if (strcmp(word, value->text) == 0) {
			*(unsigned *)field = i;
			return true;
		}
	}
	return word_refuse(option, value, error);
}

static void word_print(const struct option *option, const void *field, FILE *out)
{
	char word[WORD_MAX];

	word_at(option->accepts, *(const unsigned *)field, word);
	fprintf(out, "\"%s\"", word);
}

static bool text_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	(void)option;
	return replace_text(field, strdup(value->text), error);
}

static void text_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	option_print_text(*(char *const *)field, out);
}

static void text_done(void *field)
{
	free(*(char **)field);
	*(char **)field = NULL;
}

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool name_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	if (strspn(value->text, LETTERS_AND_DIGITS "-_.") != value->length) {
		return error_set(error, "is \"%s\", but must be letters, digits, '-', '_' and '.'",
				 fault_quote(quoted, value->text, value->length));
	}
	return text_set(option, field, value, error);
}

/* Bytes above 0x7F are left alone: domains may be written in UTF-8. */
static bool domain_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	if (strpbrk(value->text, "@ \"\\") != NULL) {
		return error_set(error,
				 "is \"%s\", but must be a domain without '@', such as "
				 "\"example.org\"",
				 fault_quote(quoted, value->text, value->length));
	}
	return text_set(option, field, value, error);
}

/* Not a promise that the file can still be read later, but the common mistakes have a line. */
static bool path_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	struct stat status;
	int file = open(value->text, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	int problem = errno;

	if (file >= 0) {
		problem = fstat(file, &status) == 0 && S_ISDIR(status.st_mode) ? EISDIR : 0;
		close(file);
	}
	if (problem != 0) {
		return error_set(error, "\"%s\" cannot be read: %s; name a PEM file",
				 fault_quote(quoted, value->text, value->length),
				 strerror(problem));
	}
	return text_set(option, field, value, error);
}

static bool endpoint_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	struct endpoint endpoint = {0};
	char quoted[FAULT_QUOTE_SIZE];

	if (!endpoint_parse(&endpoint, value->text, 0, error)) {
		error_prefix(error, "is not an address");
		return false;
	}
	if (option->type == OPTION_LISTEN && endpoint.kind == ENDPOINT_NAME) {
		endpoint_done(&endpoint);
		return error_set(error,
				 "is \"%s\", but must be an IP address with its port, such "
				 "as \"0.0.0.0:993\" or \"[::]:993\", or \"unix:/path\"",
				 fault_quote(quoted, value->text, value->length));
	}
	endpoint_done(field);
	*(struct endpoint *)field = endpoint;
	return true;
}

static void endpoint_print(const struct option *option, const void *field, FILE *out)
{
	char text[ENDPOINT_TEXT_MAX];

	(void)option;
	endpoint_format(field, text);
	option_print_text(text, out);
}

static void endpoint_free(void *field)
{
	endpoint_done(field);
}

static bool url_set(const struct option *option, void *field, const struct option_value *value,
		    struct error *error)
{
	(void)option;
	return redis_url_parse(field, value->text, error);
}

static void url_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	redis_url_print(field, out);
}

static void url_done(void *field)
{
	redis_url_done(field);
}

static bool lookup_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	return config_lookup_check(value->text, error) && text_set(option, field, value, error);
}

/* struct type: what differs from one option_type to another. */
struct type {
	enum toml_kind kind;
	const char *what;
	bool (*set)(const struct option *option, void *field, const struct option_value *value,
		    struct error *error);
	void (*print)(const struct option *option, const void *field, FILE *out);
	void (*done)(void *field); /* NULL: nothing to free */
};

static const struct type types[OPTION_TYPE_COUNT] = {
	[OPTION_NUMBER] = {TOML_INTEGER, "a whole number", number_set, number_print, NULL},
	[OPTION_BOOLEAN] = {TOML_BOOLEAN, "true or false, without quotes", boolean_set,
			    boolean_print, NULL},
	[OPTION_DURATION] = {TOML_STRING, DURATION_WHAT, quantity_set, quantity_print, NULL},
	[OPTION_SIZE] = {TOML_STRING, SIZE_WHAT, quantity_set, quantity_print, NULL},
	[OPTION_WORD] = {TOML_STRING, "a word in quotes", word_set, word_print, NULL},
	[OPTION_TEXT] = {TOML_STRING, "a text in quotes", text_set, text_print, text_done},
	[OPTION_NAME] = {TOML_STRING, "a name in quotes", name_set, text_print, text_done},
	[OPTION_DOMAIN] = {TOML_STRING, "a domain in quotes", domain_set, text_print, text_done},
	[OPTION_PATH] = {TOML_STRING, "a path in quotes", path_set, text_print, text_done},
	[OPTION_LISTEN] = {TOML_STRING, "an address in quotes", endpoint_set, endpoint_print,
			   endpoint_free},
	[OPTION_CONNECT] = {TOML_STRING, "an address in quotes", endpoint_set, endpoint_print,
			    endpoint_free},
	[OPTION_REDIS_URL] = {TOML_STRING, "a URL in quotes", url_set, url_print, url_done},
	[OPTION_LOOKUP] = {TOML_STRING, "a command in quotes", lookup_set, text_print, text_done},
};

enum toml_kind option_kind(enum option_type type)
{
	return types[type].kind;
}

void option_expected(const struct option *option, char text[OPTION_EXPECTED_MAX])
{
	if (option->type == OPTION_WORD) {
		list_words(option->accepts, text);
	} else if (option->type == OPTION_NUMBER) {
		snprintf(text, OPTION_EXPECTED_MAX, "a whole number from %llu to %llu",
			 (unsigned long long)option->smallest, (unsigned long long)option->largest);
	} else {
		snprintf(text, OPTION_EXPECTED_MAX, "%s", types[option->type].what);
	}
}

static const char *type_what(const struct option *option)
{
	return types[option->type].what;
}

static bool is_free_text(const struct option *option)
{
	return types[option->type].kind == TOML_STRING && option->largest != 0 &&
	       option->type != OPTION_DURATION && option->type != OPTION_SIZE;
}

static bool check_length(const struct option *option, const struct option_value *value,
			 struct error *error)
{
	if (value->length < option->smallest) {
		return error_set(error, "is empty, but must be %s", type_what(option));
	}
	if (value->length > option->largest) {
		return error_set(error, "is %zu bytes long, but may have at most %llu",
				 value->length, (unsigned long long)option->largest);
	}
	return true;
}

bool option_set(const struct option *option, void *structure, const struct option_value *value,
		struct error *error)
{
	const struct type *type = &types[option->type];

	if (type->kind == TOML_STRING && text_has_control(value->text, value->length)) {
		return error_set(error, "has a control character in it; write it without");
	}
	if (is_free_text(option) && !check_length(option, value, error)) {
		return false;
	}
	return type->set(option, (char *)structure + option->offset, value, error);
}

bool option_set_default(const struct option *option, void *structure)
{
	struct option_value value = {.text = option->preset, .length = strlen(option->preset)};
	struct error error;

	if (option->type == OPTION_BOOLEAN) {
		value.integer = strcmp(option->preset, "true") == 0;
	} else if (option->type == OPTION_NUMBER) {
		value.integer = strtoll(option->preset, NULL, 10);
	}
	return option_set(option, structure, &value, &error);
}

void option_print_escaped(const char *text, FILE *out)
{
	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 0x20 || byte == 0x7F) {
			fprintf(out, "\\u%04X", byte);
		} else {
			fputs(byte == '"' || byte == '\\' ? "\\" : "", out);
			putc(byte, out);
		}
	}
}

void option_print_text(const char *text, FILE *out)
{
	putc('"', out);
	option_print_escaped(text, out);
	putc('"', out);
}

void option_print(const struct option *option, const void *structure, FILE *out)
{
	types[option->type].print(option, (const char *)structure + option->offset, out);
}

void option_print_default(const struct option *option, FILE *out)
{
	if (types[option->type].kind == TOML_STRING) {
		option_print_text(option->preset, out);
	} else {
		fputs(option->preset, out);
	}
}

void option_print_bounds(const struct option *option, FILE *out)
{
	char smallest[QUANTITY_TEXT_MAX];
	char largest[QUANTITY_TEXT_MAX];
	const struct quantity_unit *units =
		option->type == OPTION_SIZE ? quantity_bytes : quantity_time;
	char word[WORD_MAX];

	if (option->type == OPTION_NUMBER) {
		fprintf(out, " From %llu to %llu.", (unsigned long long)option->smallest,
			(unsigned long long)option->largest);
	} else if (option->type == OPTION_DURATION || option->type == OPTION_SIZE) {
		quantity_format(units, option->smallest, smallest);
		quantity_format(units, option->largest, largest);
		fprintf(out, " From %s to %s.", smallest, largest);
	} else if (option->type == OPTION_WORD) {
		for (unsigned i = 0; word_at(option->accepts, i, word); i++) {
			fprintf(out, "%s%s", i == 0 ? " One of: " : ", ", word);
		}
		putc('.', out);
	}
}

void option_done(const struct option *option, void *structure)
{
	if (types[option->type].done != NULL) {
		types[option->type].done((char *)structure + option->offset);
	}
}
