/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tree to the structs: every table against the sections and options of the one table,
 * every value through its type.
 */
#include "config_internal.h"

#include <string.h>

#include "option_internal.h"

/* struct reading is what the functions below hand down. */
struct reading {
	struct config *config;
	struct faults *faults;
};

static void read_table(struct reading *reading, enum section_symbol symbol,
		       const struct toml_node *table, void *structure);

const char *config_kind_name(enum toml_kind kind)
{
	static const char *const names[] = {
		[TOML_TABLE] = "a table",       [TOML_ARRAY] = "an array",
		[TOML_STRING] = "a string",     [TOML_INTEGER] = "a whole number",
		[TOML_FLOAT] = "a fraction",    [TOML_BOOLEAN] = "a truth value",
		[TOML_TIME] = "a date or time",
	};

	return names[kind];
}

const struct toml_node *config_child(const struct toml_node *table, const char *key)
{
	if (table == NULL || table->kind != TOML_TABLE) {
		return NULL;
	}
	for (size_t i = 0; i < table->child_count; i++) {
		if (strcmp(table->children[i].key, key) == 0) {
			return &table->children[i];
		}
	}
	return NULL;
}

/* "[tls]" or "[[listener]]". */
static const char *section_label(const struct section *section, char label[64])
{
	snprintf(label, 64, section->kind == SECTION_MANY ? "[[%s]]" : "[%s]", section->name);
	return label;
}

static void set_defaults(struct reading *reading, enum section_symbol symbol, void *structure)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *option = &option_table[i];

		if (option->section == symbol && !option->required &&
		    !option_set_default(option, structure)) {
			faults_add(reading->faults, (struct config_place){1, 1}, "out of memory");
		}
	}
}

static void read_value(struct reading *reading, const struct option *option,
		       const struct toml_node *node, void *structure)
{
	struct option_value value = {node->integer, node->text, node->length};
	struct error error = {0};

	if (!option_set(option, structure, &value, &error)) {
		faults_add(reading->faults, node->place, "\"%s\" %s", option->key, error.text);
	}
}

static void read_list(struct reading *reading, const struct option *option,
		      const struct toml_node *array, void *structure)
{
	char expected[OPTION_EXPECTED_MAX];
	struct error error = {0};

	if (!option_check_count(option, array->child_count, &error)) {
		faults_add(reading->faults, array->place, "\"%s\" %s", option->key, error.text);
		return;
	}
	option_done(option, structure);
	for (size_t i = 0; i < array->child_count; i++) {
		const struct toml_node *node = &array->children[i];

		if (node->kind == TOML_STRING) {
			read_value(reading, option, node, structure);
		} else {
			option_expected(option, expected);
			faults_add(reading->faults, node->place,
				   "\"%s\" must be %s, but has %s in it", option->key, expected,
				   config_kind_name(node->kind));
		}
	}
}

static void read_option(struct reading *reading, const struct option *option,
			const struct toml_node *node, void *structure)
{
	if (node->kind != option_kind(option->type)) {
		char expected[OPTION_EXPECTED_MAX];

		option_expected(option, expected);
		faults_add(reading->faults, node->place, "\"%s\" must be %s, not %s", option->key,
			   expected, config_kind_name(node->kind));
	} else if (node->kind == TOML_ARRAY) {
		read_list(reading, option, node, structure);
	} else {
		read_value(reading, option, node, structure);
	}
}

/* Files are loaded by other rooms, which may find that they are not what they should be. */
static const struct {
	enum section_symbol section;
	const char *key;
	size_t offset;
} places[] = {
	{SECTION_TLS, "client_ca", offsetof(struct config, tls.client_ca_place)},
	{SECTION_CERTIFICATE, "chain", offsetof(struct config_certificate, chain_place)},
	{SECTION_CERTIFICATE, "key", offsetof(struct config_certificate, key_place)},
	{SECTION_CERTIFICATE, "ocsp", offsetof(struct config_certificate, ocsp_place)},
	{SECTION_REDIS, "ca", offsetof(struct config, redis.ca_place)},
	{SECTION_REDIS, "client_chain", offsetof(struct config, redis.client_chain_place)},
	{SECTION_REDIS, "client_key", offsetof(struct config, redis.client_key_place)},
	{SECTION_ROUTING, "url_ca", offsetof(struct config, routing.url_ca_place)},
	{SECTION_BACKEND, "ca", offsetof(struct config_backend, ca_place)},
	{SECTION_BACKEND, "client_chain", offsetof(struct config_backend, client_chain_place)},
	{SECTION_BACKEND, "client_key", offsetof(struct config_backend, client_key_place)},
};

static void note_place(const struct option *option, const struct toml_node *node, void *structure)
{
	for (size_t i = 0; i < array_length(places); i++) {
		if (places[i].section == option->section &&
		    strcmp(places[i].key, option->key) == 0) {
			memcpy((char *)structure + places[i].offset, &node->place,
			       sizeof(node->place));
		}
	}
}

static bool is_section(const struct toml_node *node)
{
	return node->kind == TOML_TABLE || (node->kind == TOML_ARRAY && node->child_count > 0 &&
					    node->children[0].kind == TOML_TABLE);
}

static void report_unknown(struct reading *reading, enum section_symbol symbol,
			   const struct toml_node *node)
{
	char quoted[FAULT_QUOTE_SIZE];
	char label[64];
	char suggestion[320] = "";

	if (reading->faults->count >= FAULTS_MAX) { /* guessing is slow, and nobody will read it */
		faults_add(reading->faults, node->key_place, "unknown");
		return;
	}
	option_suggest(symbol, node->key, is_section(node), suggestion, sizeof(suggestion));
	fault_quote(quoted, node->key, node->key_length);
	if (symbol == SECTION_TOP) {
		faults_add(reading->faults, node->key_place, "unknown %s \"%s\"; %s",
			   is_section(node) ? "section" : "key", quoted, suggestion);
	} else {
		faults_add(reading->faults, node->key_place, "unknown %s \"%s\" in %s; %s",
			   is_section(node) ? "section" : "key", quoted,
			   section_label(&option_sections[symbol], label), suggestion);
	}
}

static void report_missing(struct reading *reading, enum section_symbol symbol,
			   const struct toml_node *table)
{
	char label[64];

	for (size_t i = 0; i < option_count; i++) {
		const struct option *option = &option_table[i];

		if (option->section == symbol && option->required &&
		    config_child(table, option->key) == NULL) {
			faults_add(reading->faults, table->place,
				   "%s has no \"%s\"; for example %s = \"%s\"",
				   section_label(&option_sections[symbol], label), option->key,
				   option->key, option->preset);
		}
	}
}

static void read_many(struct reading *reading, enum section_symbol symbol,
		      const struct toml_node *array)
{
	const struct section *section = &option_sections[symbol];

	if (array->child_count > CONFIG_TABLES_MAX) {
		faults_add(reading->faults, array->place,
			   "[[%s]] stands here %zu times, but may "
			   "at most %d times",
			   section->name, array->child_count, CONFIG_TABLES_MAX);
		return;
	}
	if (!option_resize(reading->config, section, array->child_count)) {
		faults_add(reading->faults, array->place, "out of memory");
		return;
	}
	for (size_t i = 0; i < array->child_count; i++) {
		const struct toml_node *table = &array->children[i];
		void *structure = option_structure(reading->config, section, i);

		set_defaults(reading, symbol, structure);
		if (table->kind == TOML_TABLE) {
			read_table(reading, symbol, table, structure);
		} else {
			faults_add(reading->faults, table->place, "[[%s]] must be a table, not %s",
				   section->name, config_kind_name(table->kind));
		}
	}
}

static void read_section(struct reading *reading, const struct section *section,
			 const struct toml_node *node)
{
	enum section_symbol symbol = (enum section_symbol)(section - option_sections);
	enum toml_kind kind = section->kind == SECTION_MANY ? TOML_ARRAY : TOML_TABLE;

	if (node->kind != kind) {
		char label[64];

		faults_add(reading->faults, node->key_place,
			   "\"%s\" must be written as %s, not "
			   "as %s",
			   section->name, section_label(section, label),
			   config_kind_name(node->kind));
	} else if (section->kind == SECTION_MANY) {
		read_many(reading, symbol, node);
	} else if (section->kind == SECTION_ONE) {
		read_table(reading, symbol, node, reading->config);
	}
}

static void read_table(struct reading *reading, enum section_symbol symbol,
		       const struct toml_node *table, void *structure)
{
	for (size_t i = 0; i < table->child_count; i++) {
		const struct toml_node *node = &table->children[i];
		bool whole = strlen(node->key) == node->key_length; /* TOML keys may have NULs */
		const struct option *option = whole ? option_find(symbol, node->key) : NULL;
		const struct section *section =
			whole ? option_find_section(symbol, node->key) : NULL;

		if (option != NULL) {
			read_option(reading, option, node, structure);
			note_place(option, node, structure);
		} else if (section != NULL) {
			read_section(reading, section, node);
		} else {
			report_unknown(reading, symbol, node);
		}
	}
	report_missing(reading, symbol, table);
}

void config_read(struct config *config, const struct toml_node *root, struct faults *faults)
{
	struct reading reading = {config, faults};

	for (unsigned i = 0; i < SECTION_COUNT; i++) {
		if (option_sections[i].kind == SECTION_ONE) {
			set_defaults(&reading, (enum section_symbol)i, config);
		}
	}
	read_table(&reading, SECTION_TOP, root, config);
	config_read_users(config, root, faults);
	config_read_names(config, root, faults);
}
