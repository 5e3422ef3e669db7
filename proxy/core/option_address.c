/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that say where to listen, and where to go.
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "core/config.h"
#include "fault_internal.h"
#include "host_name_internal.h"
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

#define SERVICE "srv:"

/* The address of a backend has two fields: one of them is empty. */
static struct config_backend *backend_of(void *field)
{
	return container_of(field, struct config_backend, address);
}

static bool service_parse(char **service, const struct option_value *value, struct error *error)
{
	const char *name = value->text + strlen(SERVICE);
	char quoted[FAULT_QUOTE_SIZE];

	if (!host_name_is(name)) {
		return error_set(error,
				 "has \"%s\" behind \"srv:\", but must have the name of a "
				 "service, such as \"_imap._tcp.example.org\"",
				 fault_quote(quoted, name, value->length - strlen(SERVICE)));
	}
	*service = strdup(name);
	return *service != NULL || error_set(error, "out of memory");
}

static bool connect_set(const struct option *option, void *field, const struct option_value *value,
			struct error *error)
{
	struct config_backend *backend = backend_of(field);
	char *service = NULL;

	if (strncmp(value->text, SERVICE, strlen(SERVICE)) == 0) {
		if (!service_parse(&service, value, error)) {
			return false;
		}
		endpoint_done(&backend->address);
	} else {
		service = calloc(1, 1);
		if (service == NULL || !endpoint_set(option, field, value, error)) {
			free(service);
			return false;
		}
	}
	free(backend->service);
	backend->service = service;
	return true;
}

static void connect_print(const struct option *option, const void *field, FILE *out)
{
	const struct config_backend *backend = container_of(field, struct config_backend, address);

	if (backend->service[0] == '\0') {
		endpoint_print(option, field, out);
	} else {
		fprintf(out, "\"" SERVICE "%s\"", backend->service);
	}
}

static void connect_done(void *field)
{
	struct config_backend *backend = backend_of(field);

	endpoint_done(&backend->address);
	free(backend->service);
	backend->service = NULL;
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
	TOML_STRING, "an address in quotes", connect_set, connect_print, connect_done,
};
const struct option_manner option_redis_url = {
	TOML_STRING, "a URL in quotes", url_set, url_print, url_done,
};
