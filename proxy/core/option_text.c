/* SPDX-License-Identifier: Apache-2.0
 *
 * Options that are a text, each with rules of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/secret.h"
#include "base/template.h"
#include "config_lookup_internal.h"
#include "fault_internal.h"
#include "host_name_internal.h"
#include "imap/capability.h"
#include "option_type_internal.h"

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool text_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char *copy = strdup(value->text);

	(void)option;
	if (copy == NULL) {
		return error_set(error, "out of memory");
	}
	free(*(char **)field);
	*(char **)field = copy;
	return true;
}

static void text_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	option_print_text(*(char *const *)field, out);
}

static void text_done(void *field)
{
	free(*(char **)field);
	*(char **)field = NULL;
}

static bool name_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	if (strspn(value->text, LETTERS_AND_DIGITS "-_.") != value->length) {
		return error_set(error, "is \"%s\", but must be letters, digits, '-', '_' and '.'",
				 fault_quote(quoted, value->text, value->length));
	}
	return text_set(option, field, value, error);
}

/* Bytes above 0x7F are left alone: domains may be written in UTF-8. */
static bool domain_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];

	if (strpbrk(value->text, "@ \"\\") != NULL) {
		return error_set(error,
				 "is \"%s\", but must be a domain without '@', such as "
				 "\"example.org\"",
				 fault_quote(quoted, value->text, value->length));
	}
	return text_set(option, field, value, error);
}

/* Not a promise that the file can still be read later, but the common mistakes have a line. */
static bool path_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	struct stat status;
	int file = open(value->text, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	int problem = errno;

	if (file >= 0) {
		problem = fstat(file, &status) == 0 && S_ISDIR(status.st_mode) ? EISDIR : 0;
		close(file);
	}
	if (problem != 0) {
		return error_set(error, "\"%s\" cannot be read: %s; name a %s",
				 fault_quote(quoted, value->text, value->length), strerror(problem),
				 option->type == OPTION_FILE ? "file, or \"\"" : "PEM file");
	}
	return text_set(option, field, value, error);
}

static bool file_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	return value->length == 0 ? text_set(option, field, value, error)
				  : path_set(option, field, value, error);
}

static bool host_set(const struct option *option, void *field, const struct option_value *value,
		     struct error *error)
{
	char quoted[FAULT_QUOTE_SIZE];
	struct addr ip;

	if (value->length > 0 && !addr_parse(&ip, value->text, 0) && !host_name_is(value->text)) {
		return error_set(error, "is \"%s\", but must be a host name, or an IP address",
				 fault_quote(quoted, value->text, value->length));
	}
	return text_set(option, field, value, error);
}

static bool template_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	return template_check(value->text, error) && text_set(option, field, value, error);
}

static bool capabilities_set(const struct option *option, void *field,
			     const struct option_value *value, struct error *error)
{
	return (value->length == 0 || capability_check_atoms(value->text, error)) &&
	       text_set(option, field, value, error);
}

static bool secret_set_text(const struct option *option, void *field,
			    const struct option_value *value, struct error *error)
{
	(void)option;
	return secret_set(field, value->text, value->length) || error_set(error, "out of memory");
}

static void secret_print(const struct option *option, const void *field, FILE *out)
{
	const struct secret *secret = field;

	(void)option;
	fputs(secret->length == 0 ? "\"\"" : "\"***\"", out);
}

static void secret_free(void *field)
{
	secret_done(field);
}

/* Passwords of rooms that take them as strings. */
static void password_free(void *field)
{
	char *password = *(char **)field;

	if (password != NULL) {
		explicit_bzero(password, strlen(password));
	}
	text_done(field);
}

static bool password_set(const struct option *option, void *field, const struct option_value *value,
			 struct error *error)
{
	char *password = NULL;

	if (!text_set(option, &password, value, error)) {
		return false;
	}
	password_free(field);
	*(char **)field = password;
	return true;
}

static void password_print(const struct option *option, const void *field, FILE *out)
{
	(void)option;
	fputs(**(char *const *)field == '\0' ? "\"\"" : "\"***\"", out);
}

static bool lookup_set(const struct option *option, void *field, const struct option_value *value,
		       struct error *error)
{
	return config_lookup_check(value->text, error) && text_set(option, field, value, error);
}

const struct option_manner option_text = {
	TOML_STRING, "a text in quotes", text_set, text_print, text_done,
};
const struct option_manner option_name = {
	TOML_STRING, "a name in quotes", name_set, text_print, text_done,
};
const struct option_manner option_domain = {
	TOML_STRING, "a domain in quotes", domain_set, text_print, text_done,
};
const struct option_manner option_path = {
	TOML_STRING, "a path in quotes", path_set, text_print, text_done,
};
const struct option_manner option_file = {
	TOML_STRING, "a path in quotes", file_set, text_print, text_done,
};
const struct option_manner option_host = {
	TOML_STRING, "a host name in quotes", host_set, text_print, text_done,
};
const struct option_manner option_template = {
	TOML_STRING, "a template in quotes", template_set, text_print, text_done,
};
const struct option_manner option_capabilities = {
	TOML_STRING, "capabilities in quotes", capabilities_set, text_print, text_done,
};
const struct option_manner option_lookup = {
	TOML_STRING, "a command in quotes", lookup_set, text_print, text_done,
};
const struct option_manner option_secret = {
	TOML_STRING, "a password in quotes", secret_set_text, secret_print, secret_free,
};
const struct option_manner option_password = {
	TOML_STRING, "a password in quotes", password_set, password_print, password_free,
};
