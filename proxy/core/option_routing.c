/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of [routing] that name a backend. Here only their form is read: backends may stand behind
 * them, so that config_names.c finds those that are meant.
 */
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "fault_internal.h"
#include "option_routing_internal.h"
#include "option_type_internal.h"

#define SHARE_MAX 5000 /* in hundredths of a percent */

static bool unknown_set(const struct option *option, void *field, const struct option_value *value,
			struct error *error)
{
	char word[OPTION_WORD_MAX];
	unsigned place = 0;

	(void)error;
	while (option_word_at(option->accepts, place, word) && strcmp(word, value->text) != 0) {
		place++;
	}
	*(enum config_unknown *)field = (enum config_unknown)place;
	return true;
}

static void unknown_print(const struct option *option, const void *field, FILE *out)
{
	const struct config *config = container_of(field, struct config, routing.unknown);
	char word[OPTION_WORD_MAX];

	if (config->routing.unknown == CONFIG_UNKNOWN_BACKEND) {
		option_print_text(config->backends[config->routing.unknown_backend].name, out);
	} else {
		option_word_at(option->accepts, config->routing.unknown, word);
		option_print_text(word, out);
	}
}

/* Two digits behind the point at most, as hundredths. */
static bool parse_fraction(const char *text, unsigned *hundredths)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 2 || strcmp(text + digits, "%") != 0) {
		return false;
	}
	*hundredths =
		(unsigned)(text[0] - '0') * 10 + (digits == 2 ? (unsigned)(text[1] - '0') : 0);
	return true;
}

/* "5%", "0.25%", in hundredths of a percent. */
static bool parse_share(const char *text, unsigned *share)
{
	size_t digits = strspn(text, "0123456789");
	unsigned hundredths = 0;

	if (digits == 0 || digits > 2 ||
	    !(strcmp(text + digits, "%") == 0 ||
	      (text[digits] == '.' && parse_fraction(text + digits + 1, &hundredths)))) {
		return false;
	}
	*share = (unsigned)strtoul(text, NULL, 10) * 100 + hundredths;
	return *share > 0 && *share <= SHARE_MAX;
}

size_t option_canary_name(const char *text)
{
	const char *colon = strrchr(text, ':');

	return colon == NULL ? 0 : (size_t)(colon - text);
}

static bool canary_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	struct config_canary *canary = field;
	size_t length = option_canary_name(value->text);
	char quoted[FAULT_QUOTE_SIZE];
	unsigned share = 0;

	(void)option;
	if (value->length > 0 && (length == 0 || !parse_share(value->text + length + 1, &share))) {
		return error_set(error,
				 "is \"%s\", but must be a backend and its share, such as "
				 "\"mail3:5%%\", from 0.01%% to 50%%, or \"\"",
				 fault_quote(quoted, value->text, value->length));
	}
	canary->share = share;
	return true;
}

static void canary_print(const struct option *option, const void *field, FILE *out)
{
	const struct config *config = container_of(field, struct config, routing.canary);
	const struct config_canary *canary = field;

	(void)option;
	if (canary->share == 0) {
		fputs("\"\"", out);
	} else {
		fprintf(out, "\"%s:%u", config->backends[canary->backend].name,
			canary->share / 100);
		if (canary->share % 100 != 0) {
			fprintf(out, ".%02u", canary->share % 100);
		}
		fputs("%\"", out);
	}
}

const struct option_manner option_unknown = {
	TOML_STRING, "a word, or the name of a backend, in quotes", unknown_set, unknown_print,
	NULL,
};
const struct option_manner option_canary = {
	TOML_STRING, "a backend and its share in quotes", canary_set, canary_print, NULL,
};
