/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that say where to listen, and where to go.
 */
#include "base/addr.h"
#include "fault_internal.h"
#include "option_type_internal.h"
#include "redis_url_internal.h"

static bool endpoint_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	struct endpoint endpoint = {0};
	char quoted[FAULT_QUOTE_SIZE];

	if (!endpoint_parse(&endpoint, value->text, 0, error)) {
		error_prefix(error, "is not an address");
		return false;
	}
	if (option->type == OPTION_LISTEN && endpoint.kind == ENDPOINT_NAME) {
		endpoint_done(&endpoint);
		return error_set(error,
				 "is \"%s\", but must be an IP address with its port, such "
				 "as \"0.0.0.0:993\" or \"[::]:993\", or \"unix:/path\"",
				 fault_quote(quoted, value->text, value->length));
	}
	endpoint_done(field);
	*(struct endpoint *)field = endpoint;
	return true;
}

static void endpoint_print(const struct option *option, const void *field, FILE *out)
{
	char text[ENDPOINT_TEXT_MAX];

	(void)option;
	endpoint_format(field, text);
	option_print_text(text, out);
}

static void endpoint_free(void *field)
{
	endpoint_done(field);
}

static bool url_set(const struct option *option, void *field, const struct option_value *value,
		    struct error *error)
{
	(void)option;
	return redis_url_parse(field, value->text, error);
}

static void url_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	redis_url_print(field, out);
}

static void url_done(void *field)
{
	redis_url_done(field);
}

const struct option_manner option_listen = {
	TOML_STRING, "an address in quotes", endpoint_set, endpoint_print, endpoint_free,
};
const struct option_manner option_connect = {
	TOML_STRING, "an address in quotes", endpoint_set, endpoint_print, endpoint_free,
};
const struct option_manner option_redis_url = {
	TOML_STRING, "a URL in quotes", url_set, url_print, url_done,
};
