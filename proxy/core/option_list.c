/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that are lists. Their elements come one by one, so that each fault has its own place.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cidr.h"
#include "base/text.h"
#include "core/config_value.h"
#include "fault_internal.h"
#include "guess_internal.h"
#include "host_name_internal.h"
#include "imap/sasl.h"
#include "option_type_internal.h"

static bool refuse_twin(const struct option_value *value, struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	return error_set(error, "has \"%s\" twice; keep one",
			 fault_quote(quoted, value->text, value->length));
}

static bool cidr_equal(const struct cidr *left, const struct cidr *right)
{
	return left->bits == right->bits && addr_equal(&left->address, &right->address);
}

static bool networks_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	struct config_networks *list = field;
	struct cidr *networks;
	struct cidr cidr;

	(void)option;
	if (!cidr_parse(&cidr, value->text, error)) {
		error_prefix(error, "has a bad network");
		return false;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (cidr_equal(&list->networks[i], &cidr)) {
			return refuse_twin(value, error);
		}
	}
	networks = realloc(list->networks, (list->count + 1) * sizeof(*networks));
	if (networks == NULL) {
		return error_set(error, "out of memory");
	}
	networks[list->count++] = cidr;
	list->networks = networks;
	return true;
}

static void networks_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_networks *list = field;
	char text[CIDR_TEXT_MAX];

	(void)option;
	putc('[', out);
	for (size_t i = 0; i < list->count; i++) {
		cidr_format(&list->networks[i], text);
		fprintf(out, "%s\"%s\"", i == 0 ? "" : ", ", text);
	}
	putc(']', out);
}

static void networks_done(void *field)
{
	struct config_networks *list = field;

	free(list->networks);
	*list = (struct config_networks){0};
}

static bool mechanism_refuse(const struct option_value *value, struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	char name[FAULT_QUOTE_SIZE];
	char suggestion[160];
	struct guess guess;

	fault_quote(quoted, value->text, value->length);
	memcpy(name, quoted, sizeof(name));
	for (char *at = name; *at != '\0'; at++) {
		*at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
	}
	guess_begin(&guess, name, suggestion, sizeof(suggestion));
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		guess_word(&guess, sasl_name((enum sasl_mechanism)i));
	}
	guess_end(&guess);
	return error_set(error, "has \"%s\", which is no mechanism; %s", quoted, suggestion);
}

static bool mechanisms_set(const struct option *option, void *field,
			   const struct option_value *value, struct error *error)
{
	unsigned *set = field;
	enum sasl_mechanism mechanism;

	(void)option;
	if (!sasl_find(value->text, value->length, &mechanism)) {
		return mechanism_refuse(value, error);
	}
	if ((*set & SASL_BIT(mechanism)) != 0) {
		return refuse_twin(value, error);
	}
	*set |= SASL_BIT(mechanism);
	return true;
}

static void mechanisms_print(const struct option *option, const void *field, FILE *out)
{
	const unsigned *set = field;
	const char *between = "";

	(void)option;
	putc('[', out);
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if ((*set & SASL_BIT(i)) != 0) {
			fprintf(out, "%s\"%s\"", between, sasl_name((enum sasl_mechanism)i));
			between = ", ";
		}
	}
	putc(']', out);
}

static void mechanisms_done(void *field)
{
	*(unsigned *)field = 0;
}

static bool names_add(struct config_texts *list, char *name)
{
	char **texts = realloc(list->texts, (list->count + 1) * sizeof(*texts));

	if (texts == NULL) {
		return false;
	}
	texts[list->count++] = name;
	list->texts = texts;
	return true;
}

static bool names_set(const struct option *option, void *field, const struct option_value *value,
		      struct error *error)
{
	struct config_texts *list = field;
	char quoted[FAULT_QUOTE_SIZE];
	char *name;

	(void)option;
	if (!host_name_is_pattern(value->text)) {
		return error_set(error,
				 "has \"%s\", but must have host names, such as "
				 "\"imap.example.org\" or \"*.example.org\"",
				 fault_quote(quoted, value->text, value->length));
	}
	for (size_t i = 0; i < list->count; i++) {
		if (text_equal_nocase(value->text, value->length, list->texts[i])) {
			return refuse_twin(value, error);
		}
	}
	name = strdup(value->text);
	if (name == NULL || !names_add(list, name)) {
		free(name);
		return error_set(error, "out of memory");
	}
	text_lower(name);
	return true;
}

static void names_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_texts *list = field;

	(void)option;
	putc('[', out);
	for (size_t i = 0; i < list->count; i++) {
		fprintf(out, "%s\"%s\"", i == 0 ? "" : ", ", list->texts[i]);
	}
	putc(']', out);
}

static void names_done(void *field)
{
	struct config_texts *list = field;

	for (size_t i = 0; i < list->count; i++) {
		free(list->texts[i]);
	}
	free(list->texts);
	*list = (struct config_texts){0};
}

const struct option_manner option_networks = {
	TOML_ARRAY,    "an array of networks in quotes: [\"10.0.0.0/8\", \"2001:db8::/32\"]",
	networks_set,  networks_print,
	networks_done,
};
const struct option_manner option_mechanisms = {
	TOML_ARRAY,      "an array of mechanisms in quotes: [\"PLAIN\", \"LOGIN\"]",
	mechanisms_set,  mechanisms_print,
	mechanisms_done,
};
const struct option_manner option_names_list = {
	TOML_ARRAY, "an array of host names in quotes: [\"imap.example.org\", \"*.example.org\"]",
	names_set,  names_print,
	names_done,
};
