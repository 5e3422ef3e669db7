/* SPDX-License-Identifier: Apache-2.0
 *
 * config.example.toml and --dump-defaults: both have every option with its default.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "support/config_text.h"

/* What config.example.toml and --dump-defaults must have: every option under its header. */
enum written { BARE, QUOTED, LISTED };

static const struct {
	const char *header;
	const char *key;
	const char *preset;
	enum written written;
} every_option[] = {
#define HEADER_PROCESS       "[process]"
#define HEADER_LOG           "[log]"
#define HEADER_LISTENER      "[[listener]]"
#define HEADER_TLS           "[tls]"
#define HEADER_CERTIFICATE   "[[tls.certificate]]"
#define HEADER_REDIS         "[redis]"
#define HEADER_ROUTING       "[routing]"
#define HEADER_BACKEND       "[[backend]]"
#define HEADER_HEALTH        "[health]"
#define HEADER_MOVES         "[moves]"
#define HEADER_LIMITS        "[limits]"
#define WRITTEN_NUMBER       BARE
#define WRITTEN_BOOLEAN      BARE
#define WRITTEN_DURATION     QUOTED
#define WRITTEN_SIZE         QUOTED
#define WRITTEN_WORD         QUOTED
#define WRITTEN_TEXT         QUOTED
#define WRITTEN_NAME         QUOTED
#define WRITTEN_DOMAIN       QUOTED
#define WRITTEN_PATH         QUOTED
#define WRITTEN_FILE         QUOTED
#define WRITTEN_HOST         QUOTED
#define WRITTEN_TEMPLATE     QUOTED
#define WRITTEN_CAPABILITIES QUOTED
#define WRITTEN_SECRET       QUOTED
#define WRITTEN_PASSWORD     QUOTED
#define WRITTEN_LISTEN       QUOTED
#define WRITTEN_CONNECT      QUOTED
#define WRITTEN_REDIS_URL    QUOTED
#define WRITTEN_LOOKUP       QUOTED
#define WRITTEN_UNKNOWN      QUOTED
#define WRITTEN_CANARY       QUOTED
#define WRITTEN_NETWORKS     LISTED
#define WRITTEN_MECHANISMS   LISTED
#define WRITTEN_NAMES_LIST   LISTED
#define WRITTEN_HOSTS        LISTED
#define WRITTEN_ADDRESSES    LISTED
#define OPTION(section, word, type, field, need, preset, low, high, takes, reload, sentence)       \
	{HEADER_##section, #word, preset, WRITTEN_##type},
#include "core/options.def"
};

/* The line `key = default` with a newline at either end: lists as ["a", "b"]. */
static void default_line(size_t index, char line[256])
{
	const char *preset = every_option[index].preset;
	size_t used = (size_t)snprintf(line, 256, "\n%s = ", every_option[index].key);

	switch (every_option[index].written) {
	case BARE:
		snprintf(line + used, 256 - used, "%s\n", preset);
		return;
	case QUOTED:
		snprintf(line + used, 256 - used, "\"%s\"\n", preset);
		return;
	default:
		break;
	}
	line[used++] = '[';
	while (*preset != '\0') {
		int length = (int)strcspn(preset, " ");

		used += (size_t)snprintf(line + used, 256 - used, "\"%.*s\"", length, preset);
		preset += length;
		if (*preset == ' ') {
			used += (size_t)snprintf(line + used, 256 - used, ", ");
			preset++;
		}
	}
	snprintf(line + used, 256 - used, "]\n");
}

/* Finds each header, and behind it, before the next one, each line `key = default` with a comment
 * right before it. */
static void check_complete(const char *text)
{
	for (size_t i = 0; i < array_length(every_option); i++) {
		char header[64];
		char line[256];
		const char *start;
		const char *found;
		const char *end;

		snprintf(header, sizeof(header), "\n%s\n", every_option[i].header);
		default_line(i, line);
		start = strstr(text, header);
		assert_non_null(start);
		end = strstr(start + strlen(header), "\n[");
		found = strstr(start, line);
		if (found == NULL || (end != NULL && found > end)) {
			fail_msg("%s lacks%s", every_option[i].header, line);
			return;
		}
		while (found > start && found[-1] != '\n') {
			found--;
		}
		assert_int_equal(found[0], '#');
	}
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text != '\0'; text++) {
		lines += *text == '\n';
	}
	return lines;
}

/* Loads with the example's certificate files, which do not exist, replaced. */
static struct config *load_example(char *text)
{
	char *at;
	char *faults;
	struct config *config = config_text_load(text, &faults);

	assert_null(config);
	assert_int_equal(count_lines(faults), 2);
	assert_non_null(strstr(faults, "\"chain\" \"/etc/gatepost/fullchain.pem\" cannot be read"));
	assert_non_null(strstr(faults, "\"key\" \"/etc/gatepost/privkey.pem\" cannot be read"));
	free(faults);
	while ((at = strstr(text, "\"/etc/gatepost/")) != NULL) {
		size_t length = strcspn(at + 1, "\"") + 2;

		memset(at, ' ', length);
		memcpy(at, "\"/dev/null\"", 11);
	}
	return config_text_good(text);
}

static char *defaults_text(void)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_dump_defaults(out);
	fclose(out);
	return text;
}

static char *example_text(void)
{
	char path[512];
	char *text = calloc(1, 1 << 16);
	FILE *file;

	snprintf(path, sizeof(path), "%.*sconfig.example.toml",
		 (int)(strlen(__FILE__) - strlen("tests/unit/test_config_complete.c")), __FILE__);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

/* Both name every option with its default, have nothing but defaults, and are the same. */
static void test_complete(void **state)
{
	char *texts[] = {defaults_text(), example_text()};
	char *printed[array_length(texts)];

	(void)state;
	for (size_t i = 0; i < array_length(texts); i++) {
		struct config *config;

		check_complete(texts[i]);
		config = load_example(texts[i]);
		printed[i] = config_text_print(config);
		config_unref(config);
		free(texts[i]);
	}
	assert_string_equal(printed[0], printed[1]);
	free(printed[0]);
	free(printed[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
