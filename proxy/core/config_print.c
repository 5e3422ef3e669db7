/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration as TOML: the one in effect, and the table of options with its words.
 */
#include "core/config.h"

#include "option_internal.h"

static void print_header(const struct section *section, FILE *out)
{
	fprintf(out, section->kind == SECTION_MANY ? "[[%s]]\n" : "[%s]\n", section->name);
}

static void print_options(const struct config *config, const struct section *section, FILE *out)
{
	size_t tables = option_structure_count(config, section);

	for (size_t i = 0; i < tables; i++) {
		putc('\n', out);
		print_header(section, out);
		for (size_t j = 0; j < option_count; j++) {
			const struct option *option = &option_table[j];

			if (&option_sections[option->section] == section) {
				fprintf(out, "%s = ", option->key);
				option_print(option, option_structure(config, section, i), out);
				putc('\n', out);
			}
		}
	}
}

static void print_users(const struct config *config, const struct section *section, FILE *out)
{
	putc('\n', out);
	print_header(section, out);
	for (size_t i = 0; i < config->routing.user_count; i++) {
		const struct config_user *user = &config->routing.users[i];

		option_print_text(user->name, out);
		fputs(" = ", out);
		option_print_text(config->backends[user->backend].name, out);
		putc('\n', out);
	}
}

void config_print(const struct config *config, FILE *out)
{
	fputs("# The configuration in effect.\n", out);
	for (unsigned i = SECTION_TOP + 1; i < SECTION_COUNT; i++) {
		const struct section *section = &option_sections[i];

		if (section->kind == SECTION_NAMES) {
			print_users(config, section, out);
		} else {
			print_options(config, section, out);
		}
	}
}

void config_dump_defaults(FILE *out)
{
	fputs("# Every option with its default.\n", out);
	for (unsigned i = SECTION_TOP + 1; i < SECTION_COUNT; i++) {
		const struct section *section = &option_sections[i];

		fprintf(out, "\n# %s\n", section->sentence);
		print_header(section, out);
		if (section->example != NULL) {
			fprintf(out, "# %s\n", section->example);
		}
		for (size_t j = 0; j < option_count; j++) {
			const struct option *option = &option_table[j];

			if (option->section != i) {
				continue;
			}
			fprintf(out, "# %s", option->sentence);
			option_print_bounds(option, out);
			fprintf(out, "%s\n%s = ", option->required ? " Required; an example:" : "",
				option->key);
			option_print_default(option, out);
			putc('\n', out);
		}
	}
}
