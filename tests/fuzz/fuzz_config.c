/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a configuration: either faults, each a printable line with a place and in the order
 * of the file, or a configuration that prints, reads back and prints the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/config.h"
#include "core/config_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *load(const char *text, char **faults)
{
	size_t size;
	FILE *out = open_memstream(faults, &size);
	struct config *config = config_load_text(text, "f", out);

	fclose(out);
	return config;
}

static char *print(const struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print(config, out);
	fclose(out);
	return text;
}

static void check_round_trip(const struct config *config)
{
	char *first = print(config);
	char *faults;
	struct config *again = load(first, &faults);
	char *second;

	invariant(again != NULL && faults[0] == '\0');
	second = print(again);
	invariant(strcmp(first, second) == 0);
	for (size_t i = 0; i < config->routing.user_count; i++) {
		invariant(config_find_user(config, config->routing.users[i].name) ==
			  config->routing.users[i].backend);
	}
	free(second);
	free(faults);
	free(first);
	config_unref(again);
}

static void check_faults(const char *faults)
{
	unsigned long last = 0;

	for (const char *line = faults; *line != '\0';) {
		const char *end = strchr(line, '\n');
		unsigned row;
		unsigned column;

		invariant(end != NULL);
		for (const char *at = line; at < end; at++) {
			invariant(*at >= 0x20 && *at < 0x7F);
		}
		invariant(sscanf(line, "f:%u:%u: ", &row, &column) == 2);
		invariant(row > 0 && column > 0);
		if (strstr(line, " more faults are not shown\n") == NULL) {
			invariant(row * 65536UL + column >= last);
			last = row * 65536UL + column;
		}
		line = end + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *faults;
	struct config *config;

	memcpy(text, data, size);
	text[size] = '\0';
	config = load(text, &faults);
	invariant((config == NULL) == (faults[0] != '\0'));
	check_faults(faults);
	if (config != NULL) {
		check_round_trip(config);
	}
	config_unref(config);
	free(faults);
	free(text);
	return 0;
}
