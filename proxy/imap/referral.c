/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the URL of a referral. What it says is a backend's word, and is believed no further than
 * the configuration allows; here it only must have one meaning.
 */
#include "imap/referral.h"

#include <string.h>

#include "base/text.h"
#include "base/url.h"

#define SCHEME     "imap://"
#define SCHEME_TLS "imaps://"
#define PORT       143
#define PORT_TLS   993

#define AUTH ";AUTH="

/* What a user may be written with (RFC 5092 section 11: achar), and the '@' that some servers leave
 * as it is: the last one is where the host begins, and no host has one. */
#define USER_CHARACTERS                                                                            \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                           \
	"-._~!$'()*+,&=%@"

static bool has_form(const char *url, struct error *error)
{
	size_t length = strnlen(url, REFERRAL_URL_MAX + 1);

	if (length > REFERRAL_URL_MAX) {
		return error_set(error, "it has more than %d octets", REFERRAL_URL_MAX);
	}
	for (size_t i = 0; i < length; i++) {
		if (url[i] <= ' ' || url[i] > '~') {
			return error_set(error, "a URL is printable ASCII without spaces");
		}
	}
	return true;
}

/* Reads `text`, a copy that may be cut up: all before the '@'. */
static bool read_user(struct referral *referral, char *text, struct error *error)
{
	char *mechanism = strchr(text, ';');
	size_t length = 0;

	if (mechanism != NULL) {
		if (!text_starts_nocase(mechanism, strlen(mechanism), AUTH) ||
		    mechanism[strlen(AUTH)] == '\0' ||
		    mechanism[strlen(AUTH) + strspn(mechanism + strlen(AUTH), USER_CHARACTERS)] !=
			    '\0') {
			return error_set(error, "behind its user stands something but ;AUTH=");
		}
		*mechanism = '\0';
	} else if (text[0] == '\0') {
		return error_set(error, "nobody stands before its '@'");
	}
	if (text[strspn(text, USER_CHARACTERS)] != '\0' || !url_decode(text, &length)) {
		return error_set(error, "its user is not encoded as in a URL");
	}
	if (length > REFERRAL_USER_MAX) {
		return error_set(error, "its user has more than %d octets", REFERRAL_USER_MAX);
	}
	if (text_has_control(text, length) || !text_is_utf8(text, length)) {
		return error_set(error, "its user is not UTF-8 without control characters");
	}
	memcpy(referral->user, text, length + 1);
	return true;
}

/* Reads `text`, a copy that may be cut up: all behind the scheme. */
static bool read_server(struct referral *referral, char *text, struct error *error)
{
	char *path = strchr(text, '/');
	char *at;

	if (path != NULL) {
		if (path[1] != '\0') {
			return error_set(error, "it has a path, and names more than a server");
		}
		*path = '\0';
	}
	at = strrchr(text, '@');
	if (at != NULL) {
		*at = '\0';
		if (!read_user(referral, text, error)) {
			return false;
		}
		text = at + 1;
	}
	return url_parse_host(&referral->address, text, referral->tls ? PORT_TLS : PORT, error);
}

bool referral_parse(struct referral *referral, const char *url, struct error *error)
{
	char copy[REFERRAL_URL_MAX + 1];
	struct referral parsed = {0};
	size_t scheme_length;

	if (!has_form(url, error)) {
		return false;
	}
	parsed.tls = text_starts_nocase(url, strlen(url), SCHEME_TLS);
	scheme_length = strlen(parsed.tls ? SCHEME_TLS : SCHEME);
	if (!parsed.tls && !text_starts_nocase(url, strlen(url), SCHEME)) {
		return error_set(error, "its scheme is neither imap nor imaps");
	}
	memcpy(copy, url + scheme_length, strlen(url) - scheme_length + 1);
	if (!read_server(&parsed, copy, error)) {
		return false;
	}
	*referral = parsed;
	return true;
}

void referral_done(struct referral *referral)
{
	endpoint_done(&referral->address);
	*referral = (struct referral){0};
}
