/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of what a directory answers. Pure; the bytes are not trusted.
 */
#include "route_value_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

#define SCHEME       "imap://"
#define DEFAULT_PORT 143

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

/* A name whose last label is a number is a mistyped address, never a host (RFC 3696 section 2). */
static bool ends_in_number(const char *host)
{
	size_t length = strlen(host);
	const char *label;

	while (length > 0 && host[length - 1] == '.') {
		length--;
	}
	label = memrchr(host, '.', length);
	label = label != NULL ? label + 1 : host;
	return strspn(label, "0123456789") >= length - (size_t)(label - host);
}

static bool parse_authority(struct endpoint *address, const char *authority, struct error *why)
{
	struct endpoint parsed = {0};

	if (strcmp(authority, "unix") == 0 || strncmp(authority, "unix:", 5) == 0) {
		return error_set(why, "a URL names a host, and \"unix\" would be read as a socket");
	}
	if (!endpoint_parse(&parsed, authority, DEFAULT_PORT, why)) {
		return false;
	}
	if (parsed.kind == ENDPOINT_NAME && ends_in_number(parsed.name)) {
		endpoint_done(&parsed);
		return error_set(why, "its host is neither an IP address nor a host name");
	}
	*address = parsed;
	return true;
}

static bool is_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] >= 0x80) {
			return false;
		}
	}
	return true;
}

static bool parse_url(struct route_value *value, const char *text, size_t length,
		      struct error *error)
{
	char authority[ROUTE_VALUE_MAX + 1];
	int authority_length = (int)(length - strlen(SCHEME));
	struct error why = {0};

	if (!is_ascii(text, length)) {
		return route_value_refuse(error, text, length, "a URL is written in ASCII");
	}
	snprintf(authority, sizeof(authority), "%.*s", authority_length, text + strlen(SCHEME));
	if (authority_length > 0 && authority[authority_length - 1] == '/') {
		authority[authority_length - 1] = '\0';
	}
	if (strpbrk(authority, "/?#@") != NULL) {
		return route_value_refuse(error, text, length,
					  "no user, path or option may stand in it");
	}
	if (!parse_authority(&value->address, authority, &why)) {
		return route_value_refuse(error, text, length, why.text);
	}
	value->name[0] = '\0';
	return true;
}

bool route_value_parse(struct route_value *value, const char *text, size_t length,
		       struct error *error)
{
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
	*value = (struct route_value){0};
	if (text_starts_nocase(text, length, SCHEME)) {
		return parse_url(value, text, length, error);
	}
	memcpy(value->name, text, length);
	return true;
}

void route_value_done(struct route_value *value)
{
	endpoint_done(&value->address);
	*value = (struct route_value){0};
}
