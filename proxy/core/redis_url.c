/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing the URL of a Redis. Nothing of the URL is quoted in an error.
 */
#include "redis_url_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/config.h"
#include "option_internal.h"

#define REDIS_PORT   6379
#define DATABASE_MAX 65535
#define PREFIX_REDIS "redis://"
#define PREFIX_UNIX  "unix://"

/* struct parts: the pieces of the URL between its separators, cut out of one copy. */
struct parts {
	bool local;
	char *user;
	char *password;
	char *place;
	char *database;
};

static int hex_value(char digit)
{
	const char *digits = "0123456789abcdef";
	const char *found = strchr(digits, digit >= 'A' && digit <= 'F' ? digit + 32 : digit);

	return digit == '\0' || found == NULL ? -1 : (int)(found - digits);
}

/* Decodes in place. False for a % that is not followed by two digits, and for control characters:
 * none belongs in a name or password, and a NUL would cut them. */
static bool percent_decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		if (*from == '%') {
			int high = hex_value(from[1]);
			int low = high < 0 ? -1 : hex_value(from[2]);

			if (low < 0) {
				return false;
			}
			*to++ = (char)(high * 16 + low);
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return !text_has_control(text, (size_t)(to - text));
}

static bool parse_database(unsigned *database, const char *text, struct error *error)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long number = digits <= 5 ? strtoul(text, NULL, 10) : DATABASE_MAX + 1;

	if (digits == 0 || text[digits] != '\0' || number > DATABASE_MAX) {
		return error_set(error, "has a database that is not a number from 0 to %d",
				 DATABASE_MAX);
	}
	*database = (unsigned)number;
	return true;
}

/* Everything before the last '@' is user and password, so that no piece of a password that should
 * have been encoded is taken for a host. A path may have an '@' of its own. */
static char *credentials_end(const struct parts *parts, char *text)
{
	if (!parts->local) {
		return strrchr(text, '@');
	}
	return text[0] == '/' ? NULL : strstr(text, "@/");
}

static bool cut_credentials(struct parts *parts, char *text, struct error *error)
{
	char *at = credentials_end(parts, text);

	parts->place = text;
	if (at == NULL) {
		return true;
	}
	*at = '\0';
	parts->place = at + 1;
	parts->user = text;
	parts->password = strchr(text, ':');
	if (parts->password == NULL || parts->password[1] == '\0') {
		return error_set(error, "has no password before its '@': write user:password@, or "
					":password@");
	}
	*parts->password++ = '\0';
	return (percent_decode(parts->user) && percent_decode(parts->password)) ||
	       error_set(error, "has a user or password in which a %% is not followed by two "
				"hexadecimal digits, or a control character");
}

static bool cut_database(struct parts *parts, struct error *error)
{
	char *query = strchr(parts->place, '?');
	char *slash;

	if (query != NULL) {
		*query++ = '\0';
		if (strncmp(query, "db=", 3) != 0) {
			return error_set(error, "has an option behind '?' that is not known; only "
						"?db=NUMBER is");
		}
		parts->database = query + 3;
	}
	slash = parts->local ? NULL : strchr(parts->place, '/');
	if (slash == NULL) {
		return true;
	}
	*slash++ = '\0';
	if (*slash != '\0' && parts->database != NULL) {
		return error_set(error, "names the database twice: /NUMBER or ?db=NUMBER");
	}
	parts->database = *slash != '\0' ? slash : parts->database;
	return true;
}

static bool parse_place(struct endpoint *address, const struct parts *parts, struct error *error)
{
	if (!parts->local) {
		return endpoint_parse(address, parts->place, REDIS_PORT, NULL) ||
		       error_set(error, "has no good address: redis://HOST, redis://HOST:PORT or "
					"redis://[IPv6]:PORT");
	}
	char text[sizeof(struct sockaddr_un) + 8];
	int length = snprintf(text, sizeof(text), "unix:%s", parts->place);

	return (length < (int)sizeof(text) && endpoint_parse(address, text, 0, NULL)) ||
	       error_set(error, "has no good path: unix:///path/of/redis.sock");
}

static bool fill(struct config_redis *redis, const struct parts *parts, struct error *error)
{
	redis->user = strdup(parts->user != NULL ? parts->user : "");
	redis->password = strdup(parts->password != NULL ? parts->password : "");
	if (redis->user == NULL || redis->password == NULL) {
		return error_set(error, "out of memory");
	}
	return (parts->database == NULL ||
		parse_database(&redis->database, parts->database, error)) &&
	       parse_place(&redis->address, parts, error);
}

static bool parse_copy(struct config_redis *redis, char *text, struct error *error)
{
	struct parts parts = {0};

	if (strncmp(text, PREFIX_REDIS, strlen(PREFIX_REDIS)) == 0) {
		text += strlen(PREFIX_REDIS);
	} else if (strncmp(text, PREFIX_UNIX, strlen(PREFIX_UNIX)) == 0) {
		text += strlen(PREFIX_UNIX);
		parts.local = true;
	} else {
		return error_set(error, "has a scheme that is not supported; redis:// and unix:// "
					"are");
	}
	return cut_credentials(&parts, text, error) && cut_database(&parts, error) &&
	       fill(redis, &parts, error);
}

bool redis_url_parse(struct config_redis *redis, const char *url, struct error *error)
{
	struct config_redis parsed = {.timeout_ms = redis->timeout_ms};
	char *copy = strdup(url);
	size_t length = strlen(url);
	bool valid;

	if (copy == NULL) {
		return error_set(error, "out of memory");
	}
	valid = parse_copy(&parsed, copy, error);
	if (valid) {
		redis_url_done(redis);
		*redis = parsed;
	} else {
		redis_url_done(&parsed);
	}
	explicit_bzero(copy, length);
	free(copy);
	return valid;
}

static void print_encoded(const char *text, FILE *out)
{
	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte <= 0x20 || byte >= 0x7F || strchr("%:@/?#\"\\", byte) != NULL) {
			fprintf(out, "%%%02X", byte);
		} else {
			putc(byte, out);
		}
	}
}

void redis_url_print(const struct config_redis *redis, FILE *out)
{
	bool local = redis->address.kind == ENDPOINT_UNIX;
	char place[ENDPOINT_TEXT_MAX];

	endpoint_format(&redis->address, place);
	fprintf(out, "\"%s", local ? PREFIX_UNIX : PREFIX_REDIS);
	if (redis->password[0] != '\0') {
		print_encoded(redis->user, out);
		fputs(":***@", out);
	}
	option_print_escaped(local ? redis->address.name : place, out);
	fprintf(out, local ? "?db=%u\"" : "/%u\"", redis->database);
}

void redis_url_done(struct config_redis *redis)
{
	if (redis->password != NULL) {
		explicit_bzero(redis->password, strlen(redis->password));
	}
	free(redis->user);
	free(redis->password);
	endpoint_done(&redis->address);
	redis->user = NULL;
	redis->password = NULL;
	redis->database = 0;
}
