/* SPDX-License-Identifier: Apache-2.0
 *
 * Configurations from text, for tests.
 */
#include "support/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/config.h"

struct config *config_text_load(const char *text, char **faults)
{
	size_t size;
	FILE *out = open_memstream(faults, &size);
	struct config *config = config_load_text(text, "f", out);

	fclose(out);
	return config;
}

struct config *config_text_good(const char *text)
{
	char *faults;
	struct config *config = config_text_load(text, &faults);

	assert_string_equal(faults, "");
	assert_non_null(config);
	free(faults);
	return config;
}

char *config_text_print(const struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print(config, out);
	fclose(out);
	return text;
}
