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

static bool networks_take(struct cidr **networks, size_t *count, const struct option_value *value,
			  struct error *error)
{
	struct cidr *grown;
	struct cidr cidr;

	if (!cidr_parse(&cidr, value->text, error)) {
		error_prefix(error, "has a bad network");
		return false;
	}
	for (size_t i = 0; i < *count; i++) {
		if (cidr_equal(&(*networks)[i], &cidr)) {
			return refuse_twin(value, error);
		}
	}
	grown = realloc(*networks, (*count + 1) * sizeof(*grown));
	if (grown == NULL) {
		return error_set(error, "out of memory");
	}
	grown[(*count)++] = cidr;
	*networks = grown;
	return true;
}

static bool networks_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	struct config_networks *list = field;

	(void)option;
	return networks_take(&list->networks, &list->count, value, error);
}

static void networks_write(const struct cidr *networks, size_t count, const char *before, FILE *out)
{
	char text[CIDR_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		cidr_format(&networks[i], text);
		fprintf(out, "%s\"%s\"", i == 0 ? before : ", ", text);
	}
}

static void networks_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_networks *list = field;

	(void)option;
	putc('[', out);
	networks_write(list->networks, list->count, "", out);
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

static bool names_take(struct config_texts *list, const struct option_value *value,
		       struct error *error)
{
	char *name;

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

static bool names_set(const struct option *option, void *field, const struct option_value *value,
		      struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	(void)option;
	return host_name_is_pattern(value->text)
		       ? names_take(field, value, error)
		       : error_set(error,
				   "has \"%s\", but must have host names, such as "
				   "\"imap.example.org\" or \"*.example.org\"",
				   fault_quote(quoted, value->text, value->length));
}

static void names_write(const struct config_texts *list, FILE *out)
{
	for (size_t i = 0; i < list->count; i++) {
		fprintf(out, "%s\"%s\"", i == 0 ? "" : ", ", list->texts[i]);
	}
}

static void names_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	putc('[', out);
	names_write(field, out);
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

/* A name may be all letters of an IPv6 address, but has no colon. */
static bool hosts_set(const struct option *option, void *field, const struct option_value *value,
		      struct error *error)
{
	struct config_hosts *hosts = field;
	char quoted[FAULT_QUOTE_SIZE];
	struct addr ip;

	(void)option;
	if (host_name_is_pattern(value->text)) {
		return names_take(&hosts->names, value, error);
	}
	if (strchr(value->text, '/') == NULL && !addr_parse(&ip, value->text, 0)) {
		return error_set(error,
				 "has \"%s\", but must have host names, \"*.example.org\", IP "
				 "addresses or networks",
				 fault_quote(quoted, value->text, value->length));
	}
	return networks_take(&hosts->networks, &hosts->network_count, value, error);
}

static void hosts_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_hosts *hosts = field;

	(void)option;
	putc('[', out);
	names_write(&hosts->names, out);
	networks_write(hosts->networks, hosts->network_count, hosts->names.count > 0 ? ", " : "",
		       out);
	putc(']', out);
}

static void hosts_done(void *field)
{
	struct config_hosts *hosts = field;

	names_done(&hosts->names);
	free(hosts->networks);
	*hosts = (struct config_hosts){0};
}

/* Of a peer's address ::ffff:10.0.0.1 and 10.0.0.1 are one; and so they are here. */
static bool addresses_parse(struct addr *addr, const struct option_value *value,
			    struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	struct addr parsed;

	if (!addr_parse(&parsed, value->text, 0) || addr_is_wildcard(&parsed)) {
		return error_set(error,
				 "has \"%s\", but must have IP addresses of this host, such as "
				 "\"10.0.0.5\"",
				 fault_quote(quoted, value->text, value->length));
	}
	addr_from_sockaddr(addr, (const struct sockaddr *)&parsed);
	return true;
}

static bool addresses_set(const struct option *option, void *field,
			  const struct option_value *value, struct error *error)
{
	struct config_addresses *list = field;
	struct addr *addresses;
	struct addr addr;

	(void)option;
	if (!addresses_parse(&addr, value, error)) {
		return false;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (addr_equal(&list->addresses[i], &addr)) {
			return refuse_twin(value, error);
		}
	}
	addresses = realloc(list->addresses, (list->count + 1) * sizeof(*addresses));
	if (addresses == NULL) {
		return error_set(error, "out of memory");
	}
	addresses[list->count++] = addr;
	list->addresses = addresses;
	return true;
}

static void addresses_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_addresses *list = field;
	char text[ADDR_IP_TEXT_MAX];

	(void)option;
	putc('[', out);
	for (size_t i = 0; i < list->count; i++) {
		addr_format_ip(&list->addresses[i], text);
		fprintf(out, "%s\"%s\"", i == 0 ? "" : ", ", text);
	}
	putc(']', out);
}

static void addresses_done(void *field)
{
	struct config_addresses *list = field;

	free(list->addresses);
	*list = (struct config_addresses){0};
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
const struct option_manner option_hosts = {
	TOML_ARRAY, "an array of hosts in quotes: [\"*.example.org\", \"10.0.0.0/8\"]",
	hosts_set,  hosts_print,
	hosts_done,
};
const struct option_manner option_addresses = {
	TOML_ARRAY,     "an array of IP addresses in quotes: [\"10.0.0.5\", \"2001:db8::5\"]",
	addresses_set,  addresses_print,
	addresses_done,
};
