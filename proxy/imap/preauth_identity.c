/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client's ID says: its own words, made ready to be sent on, and what only a proxy or a
 * webmail in front of us may say.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/write.h"
#include "preauth_internal.h"

/* More digits than any number of proxies, and any port, has. */
#define PROXY_TTL_MOST 9999
#define PORT_MOST      65535

enum wanted {
	WANTED_PROXY_TTL,
	WANTED_ORIGINATING_IP,
	WANTED_ORIGINATING_PORT,
	WANTED_CONNECTED_IP,
	WANTED_CONNECTED_PORT,
	WANTED_SESSION_ID,
	WANTED_COUNT
};

/* Dovecot's names. */
const char *const preauth_wanted_fields[] = {
	[WANTED_PROXY_TTL] = "x-proxy-ttl",
	[WANTED_ORIGINATING_IP] = "x-originating-ip",
	[WANTED_ORIGINATING_PORT] = "x-originating-port",
	[WANTED_CONNECTED_IP] = "x-connected-ip",
	[WANTED_CONNECTED_PORT] = "x-connected-port",
	[WANTED_SESSION_ID] = "x-session-id",
	[WANTED_COUNT] = NULL,
};

/* Digits only, and not more of them than `most` has. */
static bool read_number(const struct command_pair *pair, unsigned most, unsigned *number)
{
	unsigned sum = 0;

	if (pair->value_length == 0) {
		return false;
	}
	for (size_t i = 0; i < pair->value_length; i++) {
		if (pair->value[i] < '0' || pair->value[i] > '9') {
			return false;
		}
		sum = sum * 10 + (unsigned)(pair->value[i] - '0');
		if (sum > most) {
			return false;
		}
	}
	*number = sum;
	return true;
}

/* What is said twice holds as it was said first. */
static void learn_port(unsigned *port, const struct command_pair *pair)
{
	if (*port == 0) {
		read_number(pair, PORT_MOST, port);
	}
}

static void learn_text(char text[PREAUTH_IDENTITY_TEXT_MAX + 1], const struct command_pair *pair)
{
	if (text[0] != '\0' || pair->value_length > PREAUTH_IDENTITY_TEXT_MAX ||
	    !write_is_quotable(pair->value, pair->value_length) ||
	    memchr(pair->value, '"', pair->value_length) != NULL ||
	    memchr(pair->value, '\\', pair->value_length) != NULL) {
		return;
	}
	memcpy(text, pair->value, pair->value_length);
}

static void learn_claim(struct preauth_claims *claims, enum wanted wanted,
			const struct command_pair *pair)
{
	switch (wanted) {
	case WANTED_ORIGINATING_IP:
		learn_text(claims->originating_ip, pair);
		break;
	case WANTED_ORIGINATING_PORT:
		learn_port(&claims->originating_port, pair);
		break;
	case WANTED_CONNECTED_IP:
		learn_text(claims->connected_ip, pair);
		break;
	case WANTED_CONNECTED_PORT:
		learn_port(&claims->connected_port, pair);
		break;
	case WANTED_SESSION_ID:
		learn_text(claims->session_id, pair);
		break;
	default:
		break;
	}
}

static enum wanted find_wanted(const struct command_pair *pair)
{
	size_t i = 0;

	while (i < WANTED_COUNT &&
	       !text_equal_nocase(pair->field, pair->field_length, preauth_wanted_fields[i])) {
		i++;
	}
	return (enum wanted)i;
}

/* Anybody may say how many more proxies a login may pass: a small number stops nobody's logins but
 * their own. The other fields would put words into the proxy's mouth. */
static void learn_wanted(struct preauth *preauth, struct preauth_claims *claims,
			 const struct command_pair *pair)
{
	enum wanted wanted = find_wanted(pair);

	if (pair->value == NULL) {
		return;
	}
	if (wanted == WANTED_PROXY_TTL) {
		preauth->has_proxy_ttl = read_number(pair, PROXY_TTL_MOST, &preauth->proxy_ttl) ||
					 preauth->has_proxy_ttl;
	} else if (preauth->settings->trusted) {
		learn_claim(claims, wanted, pair);
	}
}

/* A pair that does not fit, or that would need a literal, is left out. */
static void append_pair(struct buffer *pairs, const struct command_pair *pair)
{
	size_t before = pairs->length;

	if (!write_is_quotable(pair->field, pair->field_length) ||
	    (pair->value != NULL && !write_is_quotable(pair->value, pair->value_length))) {
		return;
	}
	if (before > 0) {
		buffer_append_byte(pairs, ' ');
	}
	write_quoted(pairs, pair->field, pair->field_length);
	buffer_append_byte(pairs, ' ');
	if (pair->value != NULL) {
		write_quoted(pairs, pair->value, pair->value_length);
	} else {
		buffer_append_text(pairs, "NIL");
	}
	if (pairs->length > PREAUTH_IDENTITY_MAX) {
		buffer_truncate(pairs, before);
	}
}

/* A copy without the room that a buffer grows by: it stays as long as the dialogue. */
static char *copy_pairs(struct buffer *pairs)
{
	buffer_append_byte(pairs, '\0');
	return pairs->failed ? NULL : strdup((const char *)buffer_bytes(pairs));
}

bool preauth_learn_identity(struct preauth *preauth)
{
	struct preauth_claims claims = {0};
	struct buffer pairs = {0};
	struct command_pair pair;
	size_t at = 0;

	while (command_pair(&preauth->command, &at, &pair)) {
		if (text_starts_nocase(pair.field, pair.field_length, "x-")) {
			learn_wanted(preauth, &claims, &pair);
		} else {
			append_pair(&pairs, &pair);
		}
	}
	claims.pairs = copy_pairs(&pairs);
	buffer_done(&pairs);
	if (claims.pairs == NULL) {
		return false;
	}
	free(preauth->claims.pairs);
	preauth->claims = claims;
	return true;
}

static const char *text_or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

struct preauth_identity preauth_identity(const struct preauth *preauth)
{
	const struct preauth_claims *claims = &preauth->claims;

	return (struct preauth_identity){
		.pairs = claims->pairs != NULL ? claims->pairs : "",
		.originating_ip = text_or_null(claims->originating_ip),
		.originating_port = claims->originating_port,
		.connected_ip = text_or_null(claims->connected_ip),
		.connected_port = claims->connected_port,
		.session_id = text_or_null(claims->session_id),
	};
}

bool preauth_proxy_ttl(const struct preauth *preauth, unsigned *ttl)
{
	if (preauth->has_proxy_ttl) {
		*ttl = preauth->proxy_ttl;
	}
	return preauth->has_proxy_ttl;
}
