/* SPDX-License-Identifier: Apache-2.0
 *
 * core/options.def as data, and how a value of each type is read, shown and freed.
 */
#ifndef GATEPOST_CORE_OPTION_INTERNAL_H
#define GATEPOST_CORE_OPTION_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/base.h"
#include "base/error.h"
#include "toml_internal.h"

struct config;

enum section_symbol {
	SECTION_TOP, /* the file itself: holds sections only */
#define ONE(symbol, name, sentence)                           SECTION_##symbol,
#define MANY(symbol, name, structure, array, count, sentence) SECTION_##symbol,
#define NAMES(symbol, name, example, sentence)                SECTION_##symbol,
#include "core/options.def"
	SECTION_COUNT
};

enum section_kind { SECTION_ONE, SECTION_MANY, SECTION_NAMES };

/* struct section: offsets are those of the array and its count in struct config (MANY only). */
struct section {
	const char *name;
	enum section_kind kind;
	size_t array_offset;
	size_t count_offset;
	size_t size;
	const char *example;
	const char *sentence;
};

enum option_type {
	OPTION_NUMBER,
	OPTION_BOOLEAN,
	OPTION_DURATION,
	OPTION_SIZE,
	OPTION_WORD,
	OPTION_TEXT,
	OPTION_NAME,
	OPTION_DOMAIN,
	OPTION_PATH,
	OPTION_FILE, /* a path, or "" */
	OPTION_HOST,
	OPTION_TEMPLATE,
	OPTION_CAPABILITIES,
	OPTION_SECRET,
	OPTION_PASSWORD, /* a secret in a string */
	OPTION_LISTEN,
	OPTION_CONNECT,
	OPTION_REDIS_URL,
	OPTION_LOOKUP,
	OPTION_UNKNOWN,
	OPTION_CANARY,
	OPTION_NETWORKS, /* lists, from here on */
	OPTION_MECHANISMS,
	OPTION_NAMES_LIST,
	OPTION_HOSTS,
	OPTION_ADDRESSES,
	OPTION_TYPE_COUNT
};

struct option {
	enum section_symbol section;
	const char *key;
	enum option_type type;
	size_t offset;
	bool required;
	const char *preset; /* the default; where an option is required, an example; of a list its
			     * elements with single spaces between */
	uint64_t smallest;
	uint64_t largest;
	const char *accepts;
	const char *sentence;
};

extern const struct section option_sections[SECTION_COUNT];
extern const struct option option_table[];
extern const size_t option_count;

/* option_find gives the option of a section by its key, option_find_section the section that `key`
 * names within `parent`; NULL where there is none. */
const struct option *option_find(enum section_symbol section, const char *key);
const struct section *option_find_section(enum section_symbol parent, const char *key);

/* option_suggest writes what `key`, of a value or of a section, may have been meant to be: the
 * section where it belongs, the nearest known one, or all that is known in this section. */
void option_suggest(enum section_symbol section, const char *key, bool is_section, char *text,
		    size_t size);

/* option_structure is the struct that holds the fields of a section's `index`th table, and
 * option_structure_count how many tables there are. */
void *option_structure(const struct config *config, const struct section *section, size_t index);
size_t option_structure_count(const struct config *config, const struct section *section);

/* option_resize makes room for `count` tables of a MANY section, all zero. */
must_use bool option_resize(struct config *config, const struct section *section, size_t count);

#define OPTION_EXPECTED_MAX 160

/* option_kind is how a type is written in TOML: TOML_ARRAY, of strings, where it is a list.
 * option_expected says what an option takes. */
enum toml_kind option_kind(enum option_type type);
void option_expected(const struct option *option, char text[OPTION_EXPECTED_MAX]);

/* struct option_value: `text` for types written as strings, otherwise `integer`. */
struct option_value {
	int64_t integer;
	const char *text;
	size_t length;
};

/* option_set reads and checks a value into its field; of a list, one more element. False, and
 * `error`, when it is not allowed; the field is unchanged then. */
must_use bool option_set(const struct option *option, void *structure,
			 const struct option_value *value, struct error *error);

/* option_check_count tells whether a list may have so many elements. */
must_use bool option_check_count(const struct option *option, size_t count, struct error *error);

/* option_set_default does so with the default of the table, which is always allowed. */
must_use bool option_set_default(const struct option *option, void *structure);

/* option_print writes the value as TOML. option_print_default does so for the default. */
void option_print(const struct option *option, const void *structure, FILE *out);
void option_print_default(const struct option *option, FILE *out);

/* option_print_bounds writes what values are allowed, as a sentence, or nothing. */
void option_print_bounds(const struct option *option, FILE *out);

/* option_done frees what the field owns, and empties a list. */
void option_done(const struct option *option, void *structure);

/* option_print_text writes a TOML string in quotes, option_print_escaped what is between them. */
void option_print_text(const char *text, FILE *out);
void option_print_escaped(const char *text, FILE *out);

#endif
