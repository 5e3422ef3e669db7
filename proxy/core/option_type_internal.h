/* SPDX-License-Identifier: Apache-2.0
 *
 * What the types of options do, each its own way; option_value.c has the table of all.
 */
#ifndef GATEPOST_CORE_OPTION_TYPE_INTERNAL_H
#define GATEPOST_CORE_OPTION_TYPE_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/base.h"
#include "option_internal.h"

/* struct option_manner: `set` gets a value that has passed what all types of its kind ask for, or
 * one element of a list; `done` is NULL where there is nothing to free. */
struct option_manner {
	enum toml_kind kind;
	const char *what;
	bool (*set)(const struct option *option, void *field, const struct option_value *value,
		    struct error *error);
	void (*print)(const struct option *option, const void *field, FILE *out);
	void (*done)(void *field);
};

/* option_scalar.c */
extern const struct option_manner option_number;
extern const struct option_manner option_boolean;
extern const struct option_manner option_duration;
extern const struct option_manner option_size;
extern const struct option_manner option_word;

/* option_text.c */
extern const struct option_manner option_text;
extern const struct option_manner option_name;
extern const struct option_manner option_domain;
extern const struct option_manner option_path;
extern const struct option_manner option_file;
extern const struct option_manner option_host;
extern const struct option_manner option_template;
extern const struct option_manner option_capabilities;
extern const struct option_manner option_secret;
extern const struct option_manner option_password;
extern const struct option_manner option_lookup;

/* option_routing.c */
extern const struct option_manner option_unknown;
extern const struct option_manner option_canary;

/* option_address.c */
extern const struct option_manner option_listen;
extern const struct option_manner option_connect;
extern const struct option_manner option_redis_url;

/* option_list.c */
extern const struct option_manner option_networks;
extern const struct option_manner option_mechanisms;
extern const struct option_manner option_names_list;
extern const struct option_manner option_hosts;
extern const struct option_manner option_addresses;

/* Room for a word of the table of options: one that an option accepts, an element of a default. */
#define OPTION_WORD_MAX 32

/* option_word_at copies the `index`th of the words that are separated by spaces; false behind the
 * last one. */
bool option_word_at(const char *words, unsigned index, char word[OPTION_WORD_MAX]);

/* option_list_words writes `"this", "that" or "other"`. */
void option_list_words(const char *words, char list[OPTION_EXPECTED_MAX]);

#endif
