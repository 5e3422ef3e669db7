/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of what a directory answers. Pure; the bytes are not trusted.
 */
#include "route_value_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "base/url.h"

#define SCHEME     "imap://"
#define SCHEME_TLS "imaps://"
#define PORT       143
#define PORT_TLS   993

/* What may stand in the options as it is (RFC 3986 section 3.4: query), '&' between them. */
#define QUERY_CHARACTERS                                                                           \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                           \
	"-._~!$&'()*+,;=:@/?%"

/* struct options: what is written behind each '=', NULL where the option is not written. */
struct options {
	char *user;
	char *tls;
	char *assigned; /* it has no value */
};

bool route_value_refuse(struct error *error, const char *text, size_t length, const char *reason)
{
	struct buffer shown = {0};

	text_append_printable(&shown, text, length, ROUTE_VALUE_SHOWN);
	error_set(error, "the route \"%.*s%s\" cannot be used: %.150s", (int)shown.length,
		  (const char *)buffer_bytes(&shown), length > ROUTE_VALUE_SHOWN ? "..." : "",
		  reason);
	buffer_done(&shown);
	return false;
}

/* --- Options -------------------------------------------------------------------------------- */

static bool take_option(struct options *options, char *option, struct error *why)
{
	static const char *const names[] = {"user=", "tls=", "assigned"};
	char **const places[] = {&options->user, &options->tls, &options->assigned};

	for (size_t i = 0; i < array_length(names); i++) {
		size_t length = strlen(names[i]);

		if (strncmp(option, names[i], length) != 0) {
			continue;
		}
		if (*places[i] != NULL) {
			return error_set(why, "%s stands there twice", names[i]);
		}
		*places[i] = option + length;
		return true;
	}
	return error_set(why, "\"%.32s\" is no option: there are user=, tls= and assigned", option);
}

/* Cuts `text` at its first '?' and reads what stands behind it. */
static bool cut_options(struct options *options, char *text, struct error *why)
{
	char *rest = strchr(text, '?');

	if (rest == NULL) {
		return true;
	}
	*rest++ = '\0';
	if (rest[strspn(rest, QUERY_CHARACTERS)] != '\0') {
		return error_set(why, "what is no plain character of a URL is written as %%XX");
	}
	while (rest != NULL) {
		char *option = strsep(&rest, "&");

		if (!take_option(options, option, why)) {
			return false;
		}
	}
	return true;
}

static bool read_mailbox(struct route_value *value, char *user, struct error *why)
{
	size_t length = 0;

	if (user == NULL) {
		return true;
	}
	if (!url_decode(user, &length)) {
		return error_set(why, "behind %% stand two hexadecimal digits");
	}
	if (length == 0 || length > ROUTE_MAILBOX_MAX) {
		return error_set(why, "a user is 1 to %d octets long", ROUTE_MAILBOX_MAX);
	}
	if (text_has_control(user, length) || !text_is_utf8(user, length)) {
		return error_set(why, "a user is UTF-8 without control characters");
	}
	memcpy(value->mailbox, user, length + 1);
	return true;
}

static bool read_tls(struct route_value *value, const char *word, bool scheme_has_tls,
		     struct error *why)
{
	value->tls = scheme_has_tls ? CONFIG_TLS_IMPLICIT : CONFIG_TLS_NONE;
	if (word == NULL) {
		return true;
	}
	if (strcmp(word, "implicit") == 0) {
		value->tls = CONFIG_TLS_IMPLICIT;
	} else if (strcmp(word, "starttls") != 0 && strcmp(word, "none") != 0) {
		return error_set(why, "tls is none, starttls or implicit");
	} else if (scheme_has_tls) {
		return error_set(why, "imaps is TLS from the first byte");
	} else if (strcmp(word, "starttls") == 0) {
		value->tls = CONFIG_TLS_STARTTLS;
	}
	return true;
}

/* --- The two kinds -------------------------------------------------------------------------- */

static bool is_ascii(const char *text)
{
	while (*text != '\0' && (unsigned char)*text < 0x80) {
		text++;
	}
	return *text == '\0';
}

/* `text` has lost its options. */
static bool read_url(struct route_value *value, char *text, const struct options *options,
		     struct error *why)
{
	bool has_tls = text_starts_nocase(text, strlen(text), SCHEME_TLS);
	char *authority = text + strlen(has_tls ? SCHEME_TLS : SCHEME);
	size_t length = strlen(authority);

	if (options->assigned != NULL) {
		return error_set(why, "only a backend's name is assigned");
	}
	if (!is_ascii(authority)) {
		return error_set(why, "a URL is written in ASCII");
	}
	if (length > 0 && authority[length - 1] == '/') {
		authority[length - 1] = '\0';
	}
	if (strpbrk(authority, "/#@") != NULL) {
		return error_set(why, "no user, path or fragment may stand in it");
	}
	return read_tls(value, options->tls, has_tls, why) &&
	       url_parse_host(&value->address, authority,
			      value->tls == CONFIG_TLS_IMPLICIT ? PORT_TLS : PORT, why);
}

static bool read_name(struct route_value *value, const char *text, const struct options *options,
		      struct error *why)
{
	if (text[0] == '\0') {
		return error_set(why, "it names no backend");
	}
	if (options->tls != NULL) {
		return error_set(why, "the configuration says whether a backend has TLS");
	}
	if (options->assigned != NULL && options->assigned[0] != '\0') {
		return error_set(why, "assigned has no value");
	}
	value->assigned = options->assigned != NULL;
	memcpy(value->name, text, strlen(text) + 1);
	return true;
}

static bool is_url(const char *text)
{
	return text_starts_nocase(text, strlen(text), SCHEME) ||
	       text_starts_nocase(text, strlen(text), SCHEME_TLS);
}

/* `text` is a copy that may be cut up. */
static bool read_value(struct route_value *value, char *text, struct error *why)
{
	struct options options = {0};

	return cut_options(&options, text, why) && read_mailbox(value, options.user, why) &&
	       (is_url(text) ? read_url(value, text, &options, why)
			     : read_name(value, text, &options, why));
}

bool route_value_parse(struct route_value *value, const char *text, size_t length,
		       struct error *error)
{
	char copy[ROUTE_VALUE_MAX + 1];
	struct route_value parsed = {0};
	struct error why = {0};

	if (length == 0) {
		return error_set(error, "the route is empty");
	}
	if (length > ROUTE_VALUE_MAX) {
		return route_value_refuse(error, text, length, "it is too long");
	}
	if (text_has_control(text, length) || memchr(text, ' ', length) != NULL) {
		return route_value_refuse(error, text, length,
					  "it holds a space or a control character");
	}
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (!read_value(&parsed, copy, &why)) {
		return route_value_refuse(error, text, length, why.text);
	}
	*value = parsed;
	return true;
}

void route_value_done(struct route_value *value)
{
	endpoint_done(&value->address);
	*value = (struct route_value){0};
}
