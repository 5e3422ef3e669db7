/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing the URL of a Redis. Nothing of the URL is quoted in an error.
 */
#include "redis_url_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/url.h"
#include "core/config.h"
#include "option_internal.h"

#define REDIS_PORT    6379
#define SENTINEL_PORT 26379
#define DATABASE_MAX  65535

/* As Redis has it: another name, its sentinels would not take. */
#define MASTER_WITH "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

struct scheme {
	const char *prefix;
	enum config_redis_kind kind;
	bool tls;
	bool local;
	uint16_t port;
};

static const struct scheme schemes[] = {
	{"redis://", CONFIG_REDIS_SINGLE, false, false, REDIS_PORT},
	{"rediss://", CONFIG_REDIS_SINGLE, true, false, REDIS_PORT},
	{"unix://", CONFIG_REDIS_SINGLE, false, true, 0},
	{"sentinel://", CONFIG_REDIS_SENTINEL, false, false, SENTINEL_PORT},
	{"sentinels://", CONFIG_REDIS_SENTINEL, true, false, SENTINEL_PORT},
	{"cluster://", CONFIG_REDIS_CLUSTER, false, false, REDIS_PORT},
	{"clusters://", CONFIG_REDIS_CLUSTER, true, false, REDIS_PORT},
};

/* struct parts: the pieces of the URL between its separators, cut out of one copy. */
struct parts {
	const struct scheme *scheme;
	char *user;
	char *password;
	char *place;
	char *master;
	char *database;
};

/* False for control characters too: none belongs in a name or password, and a NUL would cut them.
 */
static bool percent_decode(char *text)
{
	size_t length = strlen(text);

	return url_decode(text, &length) && !text_has_control(text, length);
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
	if (!parts->scheme->local) {
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

static bool cut_query(struct parts *parts, struct error *error)
{
	char *query = strchr(parts->place, '?');

	if (query == NULL) {
		return true;
	}
	*query++ = '\0';
	if (strncmp(query, "db=", 3) != 0) {
		return error_set(error, "has an option behind '?' that is not known; only "
					"?db=NUMBER is");
	}
	parts->database = query + 3;
	return true;
}

/* What begins behind the next slash of `text`; NULL where nothing does. */
static char *cut_slash(char *text)
{
	char *slash = strchr(text, '/');

	if (slash == NULL) {
		return NULL;
	}
	*slash = '\0';
	return slash[1] == '\0' ? NULL : slash + 1;
}

static bool cut_database(struct parts *parts, struct error *error)
{
	char *rest = cut_slash(parts->place);

	if (parts->scheme->kind == CONFIG_REDIS_SENTINEL) {
		parts->master = rest;
		rest = rest == NULL ? NULL : cut_slash(rest);
	}
	if (rest != NULL && parts->database != NULL) {
		return error_set(error, "names the database twice: /NUMBER or ?db=NUMBER");
	}
	parts->database = rest != NULL ? rest : parts->database;
	return true;
}

static bool check_master(const struct parts *parts, struct error *error)
{
	if (parts->scheme->kind != CONFIG_REDIS_SENTINEL) {
		return true;
	}
	return (parts->master != NULL && parts->master[0] != '\0' &&
		parts->master[strspn(parts->master, MASTER_WITH)] == '\0') ||
	       error_set(error, "names no master as its sentinels do: sentinel://HOST,HOST/MASTER, "
				"of letters, digits, '-', '_' and '.'");
}

static bool check_database(const struct parts *parts, struct error *error)
{
	return parts->scheme->kind != CONFIG_REDIS_CLUSTER || parts->database == NULL ||
	       error_set(error, "names a database, but a cluster has only one; leave it out");
}

static bool parse_path(struct endpoint *address, const char *path, struct error *error)
{
	char text[sizeof(struct sockaddr_un) + 8];
	int length = snprintf(text, sizeof(text), "unix:%s", path);

	return (length < (int)sizeof(text) && endpoint_parse(address, text, 0, NULL)) ||
	       error_set(error, "has no good path: unix:///path/of/redis.sock");
}

static bool add_address(struct config_redis *redis, const struct parts *parts, const char *text,
			struct error *error)
{
	struct endpoint *address = &redis->addresses[redis->address_count];

	if (parts->scheme->local) {
		if (!parse_path(address, text, error)) {
			return false;
		}
	} else if (!endpoint_parse(address, text, parts->scheme->port, NULL)) {
		return error_set(error, "has no good address: %sHOST, %sHOST:PORT or %s[IPv6]:PORT",
				 parts->scheme->prefix, parts->scheme->prefix,
				 parts->scheme->prefix);
	}
	redis->address_count++;
	for (size_t i = 0; i + 1 < redis->address_count; i++) {
		if (endpoint_equal(&redis->addresses[i], address)) {
			return error_set(error, "has one host twice; keep one");
		}
	}
	return true;
}

/* Paths may have commas, and a single server has one address. */
static bool parse_place(struct config_redis *redis, const struct parts *parts, struct error *error)
{
	size_t most = parts->scheme->kind == CONFIG_REDIS_SINGLE ? 1 : CONFIG_REDIS_ADDRESSES_MAX;
	char *next = parts->place;

	redis->addresses = calloc(most, sizeof(redis->addresses[0]));
	if (redis->addresses == NULL) {
		return error_set(error, "out of memory");
	}
	while (next != NULL) {
		char *text = next;

		next = most == 1 ? NULL : strchr(text, ',');
		if (next != NULL) {
			*next++ = '\0';
		}
		if (redis->address_count == most) {
			return error_set(error, "has more than %zu hosts", most);
		}
		if (!add_address(redis, parts, text, error)) {
			return false;
		}
	}
	return true;
}

static bool copy_text(char **copy, const char *text, struct error *error)
{
	*copy = strdup(text != NULL ? text : "");
	return *copy != NULL || error_set(error, "out of memory");
}

static bool fill(struct config_redis *redis, const struct parts *parts, struct error *error)
{
	redis->kind = parts->scheme->kind;
	redis->tls = parts->scheme->tls;
	return copy_text(&redis->user, parts->user, error) &&
	       copy_text(&redis->password, parts->password, error) &&
	       copy_text(&redis->master, parts->master, error) && check_database(parts, error) &&
	       check_master(parts, error) &&
	       (parts->database == NULL ||
		parse_database(&redis->database, parts->database, error)) &&
	       parse_place(redis, parts, error);
}

static const struct scheme *find_scheme(const char *url)
{
	for (size_t i = 0; i < array_length(schemes); i++) {
		if (strncmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			return &schemes[i];
		}
	}
	return NULL;
}

bool redis_url_scheme(const char *url, enum config_redis_kind *kind, bool *tls)
{
	const struct scheme *scheme = find_scheme(url);

	if (scheme == NULL) {
		return false;
	}
	*kind = scheme->kind;
	*tls = scheme->tls;
	return true;
}

static bool parse_copy(struct config_redis *redis, char *text, struct error *error)
{
	struct parts parts = {.scheme = find_scheme(text)};

	if (parts.scheme == NULL) {
		return error_set(error, "has a scheme that is not supported; redis://, unix://, "
					"sentinel:// and cluster:// are, and with TLS rediss://, "
					"sentinels:// and clusters://");
	}
	return cut_credentials(&parts, text + strlen(parts.scheme->prefix), error) &&
	       cut_query(&parts, error) && (parts.scheme->local || cut_database(&parts, error)) &&
	       fill(redis, &parts, error);
}

/* The fields that the URL does not tell are left alone. */
static void forget(struct config_redis *redis)
{
	redis->kind = CONFIG_REDIS_SINGLE;
	redis->tls = false;
	redis->addresses = NULL;
	redis->address_count = 0;
	redis->master = NULL;
	redis->user = NULL;
	redis->password = NULL;
	redis->database = 0;
}

bool redis_url_parse(struct config_redis *redis, const char *url, struct error *error)
{
	struct config_redis parsed = *redis;
	char *copy = strdup(url);
	size_t length = strlen(url);
	bool valid;

	if (copy == NULL) {
		return error_set(error, "out of memory");
	}
	forget(&parsed);
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

static const struct scheme *scheme_of(const struct config_redis *redis)
{
	const struct scheme *scheme = schemes;

	while (scheme->kind != redis->kind || scheme->tls != redis->tls ||
	       scheme->local != (redis->addresses[0].kind == ENDPOINT_UNIX)) {
		scheme++;
	}
	return scheme;
}

static void print_place(const struct config_redis *redis, FILE *out)
{
	char place[ENDPOINT_TEXT_MAX];

	for (size_t i = 0; i < redis->address_count; i++) {
		endpoint_format(&redis->addresses[i], place);
		fprintf(out, "%s%s", i == 0 ? "" : ",", place);
	}
}

void redis_url_print(const struct config_redis *redis, FILE *out)
{
	const struct scheme *scheme = scheme_of(redis);

	fprintf(out, "\"%s", scheme->prefix);
	if (redis->password[0] != '\0') {
		print_encoded(redis->user, out);
		fputs(":***@", out);
	}
	if (scheme->local) {
		option_print_escaped(redis->addresses[0].name, out);
		fprintf(out, "?db=%u", redis->database);
	} else {
		print_place(redis, out);
	}
	if (redis->kind == CONFIG_REDIS_SENTINEL) {
		fprintf(out, "/%s", redis->master);
	}
	if (!scheme->local && redis->kind != CONFIG_REDIS_CLUSTER) {
		fprintf(out, "/%u", redis->database);
	}
	putc('"', out);
}

void redis_url_done(struct config_redis *redis)
{
	if (redis->password != NULL) {
		explicit_bzero(redis->password, strlen(redis->password));
	}
	for (size_t i = 0; i < redis->address_count; i++) {
		endpoint_done(&redis->addresses[i]);
	}
	free(redis->addresses);
	free(redis->master);
	free(redis->user);
	free(redis->password);
	forget(redis);
}
