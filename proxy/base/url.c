/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of URLs.
 */
#include "base/url.h"

#include <string.h>

#include "base/text.h"

static int hexadecimal(char digit)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = memchr(digits, text_fold((uint8_t)digit), sizeof(digits) - 1);

	return at != NULL ? (int)(at - digits) : -1;
}

bool url_decode(char *text, size_t *length)
{
	char *out = text;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at != '%') {
			*out++ = *at;
			continue;
		}
		/* A NUL is no digit, so nothing behind it is looked at. */
		if (hexadecimal(at[1]) < 0 || hexadecimal(at[2]) < 0) {
			return false;
		}
		*out++ = (char)(hexadecimal(at[1]) * 16 + hexadecimal(at[2]));
		at += 2;
	}
	*out = '\0';
	*length = (size_t)(out - text);
	return true;
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

bool url_parse_host(struct endpoint *endpoint, const char *text, uint16_t default_port,
		    struct error *error)
{
	struct endpoint parsed = {0};

	if (text_equal_nocase(text, strcspn(text, ":"), "unix")) {
		return error_set(error,
				 "a URL names a host, and \"unix\" would be read as a socket");
	}
	if (!endpoint_parse(&parsed, text, default_port, error)) {
		return false;
	}
	if (parsed.kind == ENDPOINT_NAME && ends_in_number(parsed.name)) {
		endpoint_done(&parsed);
		return error_set(error, "its host is neither an IP address nor a host name");
	}
	text_lower(parsed.name);
	*endpoint = parsed;
	return true;
}
