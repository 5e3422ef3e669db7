/* SPDX-License-Identifier: Apache-2.0
 *
 * The values of options, whatever their type: read and checked, written, and freed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "option_type_internal.h"
#include "quantity_internal.h"

static const struct option_manner *const manners[OPTION_TYPE_COUNT] = {
	[OPTION_NUMBER] = &option_number,
	[OPTION_BOOLEAN] = &option_boolean,
	[OPTION_DURATION] = &option_duration,
	[OPTION_SIZE] = &option_size,
	[OPTION_WORD] = &option_word,
	[OPTION_TEXT] = &option_text,
	[OPTION_NAME] = &option_name,
	[OPTION_DOMAIN] = &option_domain,
	[OPTION_PATH] = &option_path,
	[OPTION_FILE] = &option_file,
	[OPTION_HOST] = &option_host,
	[OPTION_TEMPLATE] = &option_template,
	[OPTION_CAPABILITIES] = &option_capabilities,
	[OPTION_SECRET] = &option_secret,
	[OPTION_PASSWORD] = &option_password,
	[OPTION_LISTEN] = &option_listen,
	[OPTION_CONNECT] = &option_connect,
	[OPTION_REDIS_URL] = &option_redis_url,
	[OPTION_LOOKUP] = &option_lookup,
	[OPTION_UNKNOWN] = &option_unknown,
	[OPTION_CANARY] = &option_canary,
	[OPTION_NETWORKS] = &option_networks,
	[OPTION_MECHANISMS] = &option_mechanisms,
	[OPTION_NAMES_LIST] = &option_names_list,
	[OPTION_HOSTS] = &option_hosts,
	[OPTION_ADDRESSES] = &option_addresses,
};

enum toml_kind option_kind(enum option_type type)
{
	return manners[type]->kind;
}

void option_expected(const struct option *option, char text[OPTION_EXPECTED_MAX])
{
	if (option->type == OPTION_WORD) {
		option_list_words(option->accepts, text);
	} else if (option->type == OPTION_NUMBER) {
		snprintf(text, OPTION_EXPECTED_MAX, "a whole number from %llu to %llu",
			 (unsigned long long)option->smallest, (unsigned long long)option->largest);
	} else {
		snprintf(text, OPTION_EXPECTED_MAX, "%s", manners[option->type]->what);
	}
}

static bool is_free_text(const struct option *option)
{
	return manners[option->type]->kind == TOML_STRING && option->largest != 0 &&
	       option->type != OPTION_DURATION && option->type != OPTION_SIZE;
}

static bool check_length(const struct option *option, const struct option_value *value,
			 struct error *error)
{
	if (value->length < option->smallest) {
		return error_set(error, "is empty, but must be %s", manners[option->type]->what);
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
	const struct option_manner *manner = manners[option->type];

	if (value->text != NULL && text_has_control(value->text, value->length)) {
		return error_set(error, "has a control character in it; write it without");
	}
	if (is_free_text(option) && !check_length(option, value, error)) {
		return false;
	}
	return manner->set(option, (char *)structure + option->offset, value, error);
}

bool option_check_count(const struct option *option, size_t count, struct error *error)
{
	if (count < option->smallest || count > option->largest) {
		return error_set(error, "has %zu %s, but must have from %llu to %llu", count,
				 option->accepts, (unsigned long long)option->smallest,
				 (unsigned long long)option->largest);
	}
	return true;
}

static bool set_default_list(const struct option *option, void *structure)
{
	char word[OPTION_WORD_MAX];
	struct error error;

	for (unsigned i = 0; option_word_at(option->preset, i, word); i++) {
		struct option_value value = {.text = word, .length = strlen(word)};

		if (!option_set(option, structure, &value, &error)) {
			return false;
		}
	}
	return true;
}

bool option_set_default(const struct option *option, void *structure)
{
	struct option_value value = {0};
	struct error error;

	switch (manners[option->type]->kind) {
	case TOML_ARRAY:
		return set_default_list(option, structure);
	case TOML_BOOLEAN:
		value.integer = strcmp(option->preset, "true") == 0;
		break;
	case TOML_INTEGER:
		value.integer = strtoll(option->preset, NULL, 10);
		break;
	default:
		value.text = option->preset;
		value.length = strlen(option->preset);
		break;
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
	manners[option->type]->print(option, (const char *)structure + option->offset, out);
}

static void print_default_list(const struct option *option, FILE *out)
{
	char word[OPTION_WORD_MAX];

	putc('[', out);
	for (unsigned i = 0; option_word_at(option->preset, i, word); i++) {
		fputs(i == 0 ? "" : ", ", out);
		option_print_text(word, out);
	}
	putc(']', out);
}

void option_print_default(const struct option *option, FILE *out)
{
	if (manners[option->type]->kind == TOML_ARRAY) {
		print_default_list(option, out);
	} else if (manners[option->type]->kind == TOML_STRING) {
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
	char word[OPTION_WORD_MAX];

	if (option->type == OPTION_NUMBER) {
		fprintf(out, " From %llu to %llu.", (unsigned long long)option->smallest,
			(unsigned long long)option->largest);
	} else if (manners[option->type]->kind == TOML_ARRAY) {
		fprintf(out, " From %llu to %llu %s.", (unsigned long long)option->smallest,
			(unsigned long long)option->largest, option->accepts);
	} else if (option->type == OPTION_DURATION || option->type == OPTION_SIZE) {
		quantity_format(units, option->smallest, smallest);
		quantity_format(units, option->largest, largest);
		fprintf(out, " From %s to %s.", smallest, largest);
	} else if (option->type == OPTION_WORD) {
		for (unsigned i = 0; option_word_at(option->accepts, i, word); i++) {
			fprintf(out, "%s%s", i == 0 ? " One of: " : ", ", word);
		}
		putc('.', out);
	}
}

void option_done(const struct option *option, void *structure)
{
	if (manners[option->type]->done != NULL) {
		manners[option->type]->done((char *)structure + option->offset);
	}
}
