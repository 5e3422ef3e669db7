/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of options and sections, finding in it, and guessing what a misspelt key meant.
 */
#include "option_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "guess_internal.h"

const struct section option_sections[SECTION_COUNT] = {
	[SECTION_TOP] = {.name = "", .kind = SECTION_ONE},
#define ONE(symbol, text, words)                                                                   \
	[SECTION_##symbol] = {.name = text, .kind = SECTION_ONE, .sentence = words},
#define MANY(symbol, text, structure, array, number, words)                                        \
	[SECTION_##symbol] = {.name = text,                                                        \
			      .kind = SECTION_MANY,                                                \
			      .array_offset = offsetof(struct config, array),                      \
			      .count_offset = offsetof(struct config, number),                     \
			      .size = sizeof(struct structure),                                    \
			      .sentence = words},
#define NAMES(symbol, text, line, words)                                                           \
	[SECTION_##symbol] = {                                                                     \
		.name = text, .kind = SECTION_NAMES, .example = line, .sentence = words},
#include "core/options.def"
};

/* The struct that each section's fields are of. */
#define ONE(symbol, name, sentence) typedef struct config structure_##symbol;
#define MANY(symbol, name, structure, array, count, sentence)                                      \
	typedef struct structure structure_##symbol;
#include "core/options.def"

#define REQUIRED true
#define OPTIONAL false

const struct option option_table[] = {
#define OPTION(part, word, kind, field, need, value, low, high, takes, reload, words)              \
	{.section = SECTION_##part,                                                                \
	 .key = #word,                                                                             \
	 .type = OPTION_##kind,                                                                    \
	 .offset = offsetof(structure_##part, field),                                              \
	 .required = (need),                                                                       \
	 .preset = (value),                                                                        \
	 .smallest = (low),                                                                        \
	 .largest = (high),                                                                        \
	 .accepts = (takes),                                                                       \
	 .sentence = (words)},
#include "core/options.def"
};

const size_t option_count = array_length(option_table);

const struct option *option_find(enum section_symbol section, const char *key)
{
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].section == section && strcmp(option_table[i].key, key) == 0) {
			return &option_table[i];
		}
	}
	return NULL;
}

/* The last part of a section's name: "users" of "routing.users"; NULL when the section does not lie
 * directly in `parent`. */
static const char *section_key(const struct section *section, enum section_symbol parent)
{
	const char *prefix = option_sections[parent].name;
	size_t length = strlen(prefix);
	const char *key = section->name;

	if (strncmp(key, prefix, length) != 0) {
		return NULL;
	}
	key += length;
	if (length > 0 && *key++ != '.') {
		return NULL;
	}
	return *key == '\0' || strchr(key, '.') != NULL ? NULL : key;
}

const struct section *option_find_section(enum section_symbol parent, const char *key)
{
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		const char *name = section_key(&option_sections[i], parent);

		if (name != NULL && strcmp(name, key) == 0) {
			return &option_sections[i];
		}
	}
	return NULL;
}

/* The one other section that has an option of this name. */
static const struct section *only_home(const char *key)
{
	const struct section *home = NULL;

	for (size_t i = 0; i < option_count; i++) {
		if (strcmp(option_table[i].key, key) != 0) {
			continue;
		}
		if (home != NULL) {
			return NULL;
		}
		home = &option_sections[option_table[i].section];
	}
	return home;
}

void option_suggest(enum section_symbol section, const char *key, bool is_section, char *text,
		    size_t size)
{
	struct guess guess;
	const struct section *home = is_section ? NULL : only_home(key);

	if (home != NULL && home != &option_sections[section]) {
		snprintf(text, size,
			 home->kind == SECTION_MANY ? "it belongs in [[%s]]" : "it belongs in [%s]",
			 home->name);
		return;
	}
	guess_begin(&guess, key, text, size);
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].section == section) {
			guess_word(&guess, option_table[i].key);
		}
	}
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		const char *name = section_key(&option_sections[i], section);

		if (name != NULL) {
			guess_word(&guess, name);
		}
	}
	guess_end(&guess);
}

/* Fields are reached by offset and copied as bytes: their types differ from table to table. */
static void *array_of(const struct config *config, const struct section *section)
{
	void *array;

	memcpy(&array, (const char *)config + section->array_offset, sizeof(array));
	return array;
}

void *option_structure(const struct config *config, const struct section *section, size_t index)
{
	if (section->kind != SECTION_MANY) {
		return (void *)(uintptr_t)config;
	}
	return (char *)array_of(config, section) + index * section->size;
}

size_t option_structure_count(const struct config *config, const struct section *section)
{
	size_t count = 1;

	if (section->kind == SECTION_MANY) {
		memcpy(&count, (const char *)config + section->count_offset, sizeof(count));
	}
	return count;
}

bool option_resize(struct config *config, const struct section *section, size_t count)
{
	void *array = calloc(count == 0 ? 1 : count, section->size);

	if (array == NULL) {
		return false;
	}
	free(array_of(config, section));
	memcpy((char *)config + section->array_offset, &array, sizeof(array));
	memcpy((char *)config + section->count_offset, &count, sizeof(count));
	return true;
}
