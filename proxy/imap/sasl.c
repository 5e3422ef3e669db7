/* SPDX-License-Identifier: Apache-2.0
 *
 * SASL mechanisms and their first messages, read and written.
 */
#include "imap/sasl.h"

#include <stdint.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"

/* Ends each part of the messages that carry a token. */
#define CONTROL_A 0x01

static const char *const names[SASL_MECHANISM_COUNT] = {
	[SASL_PLAIN] = "PLAIN",
	[SASL_LOGIN] = "LOGIN",
	[SASL_XOAUTH2] = "XOAUTH2",
	[SASL_OAUTHBEARER] = "OAUTHBEARER",
	[SASL_EXTERNAL] = "EXTERNAL",
	[SASL_SCRAM_SHA_1] = "SCRAM-SHA-1",
	[SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
	[SASL_SCRAM_SHA_512] = "SCRAM-SHA-512",
};

const char *sasl_name(enum sasl_mechanism mechanism)
{
	return names[mechanism];
}

bool sasl_find(const void *name, size_t length, enum sasl_mechanism *mechanism)
{
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (text_equal_nocase(name, length, names[i])) {
			*mechanism = (enum sasl_mechanism)i;
			return true;
		}
	}
	return false;
}

#define AUTH            "AUTH="
#define PLUS            "-PLUS"
#define length_of(text) (sizeof(text) - 1)

static bool binds_channels(const uint8_t *name, size_t length)
{
	size_t start = length - length_of(PLUS);

	return length > length_of(PLUS) && text_equal_nocase(name + start, length_of(PLUS), PLUS);
}

unsigned sasl_offered(const void *list, size_t length)
{
	const uint8_t *rest = list;
	const uint8_t *word;
	size_t size;
	unsigned offered = 0;
	bool bound = false;

	while (text_next_word(&rest, &length, &word, &size)) {
		enum sasl_mechanism mechanism;

		if (!text_starts_nocase(word, size, AUTH)) {
			continue;
		}
		word += length_of(AUTH);
		size -= length_of(AUTH);
		if (binds_channels(word, size)) {
			bound = true;
		} else if (sasl_find(word, size, &mechanism)) {
			offered |= SASL_BIT(mechanism);
		}
	}
	return bound ? offered & ~SASL_EXCHANGES : offered;
}

/* A part of a message, borrowed from it. */
struct part {
	const uint8_t *bytes;
	size_t length;
};

static void drop(struct part *rest, size_t count)
{
	rest->bytes += count;
	rest->length -= count;
}

static const uint8_t *find(struct part part, uint8_t byte)
{
	return part.length > 0 ? memchr(part.bytes, byte, part.length) : NULL;
}

/* Cuts what stands before the separator off, and the separator; false where there is none. */
static bool cut(struct part *rest, uint8_t separator, struct part *part)
{
	const uint8_t *end = find(*rest, separator);

	if (end == NULL) {
		return false;
	}
	*part = (struct part){rest->bytes, (size_t)(end - rest->bytes)};
	drop(rest, part->length + 1);
	return true;
}

static bool skip(struct part *rest, const char *text)
{
	size_t length = strlen(text);

	if (rest->length < length || memcmp(rest->bytes, text, length) != 0) {
		return false;
	}
	drop(rest, length);
	return true;
}

static bool is_letter(uint8_t byte)
{
	return text_fold(byte) >= 'a' && text_fold(byte) <= 'z';
}

static bool is_visible(struct part part)
{
	for (size_t i = 0; i < part.length; i++) {
		if (part.bytes[i] <= 0x20 || part.bytes[i] >= 0x7F) {
			return false;
		}
	}
	return true;
}

/* What a message says, before it is checked as credentials. Names that are escaped in it are
 * decoded into `user` and `owner`. */
struct message {
	struct buffer user;
	struct buffer owner;
	struct part secret;
	enum sasl_mechanism mechanism;
};

static bool take(struct buffer *name, struct part part)
{
	buffer_append(name, part.bytes, part.length);
	return true;
}

/* Decodes a saslname (RFC 5801 section 4): a comma and an equals sign are escaped in it. */
static bool take_escaped(struct buffer *name, struct part part)
{
	while (part.length > 0) {
		if (skip(&part, "=2C")) {
			buffer_append_byte(name, ',');
		} else if (skip(&part, "=3D")) {
			buffer_append_byte(name, '=');
		} else if (part.bytes[0] == '=') {
			return false;
		} else {
			buffer_append_byte(name, part.bytes[0]);
			drop(&part, 1);
		}
	}
	return true;
}

/* Takes the GS2 header (RFC 5801 section 4). The proxy is where TLS ends, so that no channel can be
 * bound through it: `p` is refused. */
static bool take_header(struct part *rest, struct buffer *name)
{
	struct part identity;

	if ((!skip(rest, "n,") && !skip(rest, "y,")) || !cut(rest, ',', &identity)) {
		return false;
	}
	return identity.length == 0 ||
	       (skip(&identity, "a=") && identity.length > 0 && take_escaped(name, identity));
}

/* Takes the token of RFC 6750 section 2.1. */
static bool take_bearer(struct message *message, struct part value)
{
	static const char scheme[] = "Bearer ";

	if (!text_starts_nocase(value.bytes, value.length, scheme)) {
		return false;
	}
	drop(&value, length_of(scheme));
	message->secret = value;
	return is_visible(value);
}

static bool read_plain(struct message *message, struct part rest)
{
	struct part owner;
	struct part user;

	message->secret = rest;
	return cut(&message->secret, '\0', &owner) && cut(&message->secret, '\0', &user) &&
	       find(message->secret, '\0') == NULL && take(&message->owner, owner) &&
	       take(&message->user, user);
}

static bool read_xoauth2(struct message *message, struct part rest)
{
	struct part user;
	struct part value;

	return skip(&rest, "user=") && cut(&rest, CONTROL_A, &user) && skip(&rest, "auth=") &&
	       cut(&rest, CONTROL_A, &value) && skip(&rest, "\x01") && rest.length == 0 &&
	       take(&message->user, user) && take_bearer(message, value);
}

/* RFC 7628 section 3.1: letters, an equals sign, then printable ASCII and white space. */
static bool is_pair(struct part pair)
{
	size_t key = 0;

	while (key < pair.length && is_letter(pair.bytes[key])) {
		key++;
	}
	if (key == 0 || key == pair.length || pair.bytes[key] != '=') {
		return false;
	}
	for (size_t i = key + 1; i < pair.length; i++) {
		uint8_t byte = pair.bytes[i];

		if (byte >= 0x7F || (byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n')) {
			return false;
		}
	}
	return true;
}

static bool read_pair(struct message *message, struct part pair, bool *found)
{
	if (!is_pair(pair)) {
		return false;
	}
	/* Host and port are the proxy's own, and mean nothing to a backend. */
	if (!skip(&pair, "auth=")) {
		return true;
	}
	if (*found) {
		return false;
	}
	*found = true;
	return take_bearer(message, pair);
}

static bool read_oauthbearer(struct message *message, struct part rest)
{
	bool found = false;
	struct part pair;

	if (!take_header(&rest, &message->user) || !skip(&rest, "\x01")) {
		return false;
	}
	while (cut(&rest, CONTROL_A, &pair)) {
		if (pair.length == 0) {
			return found && rest.length == 0;
		}
		if (!read_pair(message, pair, &found)) {
			return false;
		}
	}
	return false;
}

/* RFC 5802 section 7: a letter, an equals sign, then anything. An extension that the client calls
 * mandatory (m) cannot be promised for a backend. */
static bool is_extension(struct part part)
{
	return part.length > 2 && is_letter(part.bytes[0]) && part.bytes[0] != 'm' &&
	       part.bytes[1] == '=';
}

static bool read_exchange(struct message *message, struct part rest)
{
	struct part user;
	struct part part;
	bool more;

	message->secret = rest;
	if (!text_is_utf8(rest.bytes, rest.length) || !take_header(&rest, &message->owner) ||
	    !skip(&rest, "n=") || !cut(&rest, ',', &user) || !take_escaped(&message->user, user) ||
	    !skip(&rest, "r=")) {
		return false;
	}
	more = cut(&rest, ',', &part);
	if (!more) {
		part = rest;
	}
	if (part.length == 0 || !is_visible(part)) {
		return false;
	}
	while (more) {
		more = cut(&rest, ',', &part);
		if (!is_extension(more ? part : rest)) {
			return false;
		}
	}
	return true;
}

static bool read_message(struct message *message, struct part rest)
{
	switch (message->mechanism) {
	case SASL_PLAIN:
		return read_plain(message, rest);
	case SASL_XOAUTH2:
		return read_xoauth2(message, rest);
	case SASL_OAUTHBEARER:
		return read_oauthbearer(message, rest);
	default:
		return read_exchange(message, rest);
	}
}

enum credentials_fault sasl_parse(struct credentials *credentials, enum sasl_mechanism mechanism,
				  const void *message, size_t length)
{
	struct message read = {.mechanism = mechanism};
	enum credentials_fault fault = CREDENTIALS_MALFORMED;

	invariant(mechanism != SASL_LOGIN && mechanism != SASL_EXTERNAL);
	if (read_message(&read, (struct part){message, length})) {
		const struct credentials_claim claim = {
			.user = buffer_bytes(&read.user),
			.user_length = read.user.length,
			.owner = buffer_bytes(&read.owner),
			.owner_length = read.owner.length,
			.secret = read.secret.bytes,
			.secret_length = read.secret.length,
			.mechanism = (uint8_t)mechanism,
		};

		fault = read.user.failed || read.owner.failed
				? CREDENTIALS_NO_MEMORY
				: credentials_set(credentials, &claim);
	}
	buffer_done(&read.user);
	buffer_done(&read.owner);
	return fault;
}

static void append_escaped(struct buffer *out, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == ',') {
			buffer_append_text(out, "=2C");
		} else if (*name == '=') {
			buffer_append_text(out, "=3D");
		} else {
			buffer_append_byte(out, (uint8_t)*name);
		}
	}
}

static void append_secret(struct buffer *out, const struct credentials *credentials)
{
	buffer_append(out, credentials->secret.bytes, credentials->secret.length);
}

static void append_message(struct buffer *out, const struct credentials *credentials)
{
	switch (credentials->mechanism) {
	case SASL_PLAIN:
		if (credentials->owner != NULL) {
			buffer_append_text(out, credentials->owner);
		}
		buffer_append_byte(out, '\0');
		buffer_append_text(out, credentials->user);
		buffer_append_byte(out, '\0');
		append_secret(out, credentials);
		break;
	case SASL_XOAUTH2:
		buffer_append_text(out, "user=");
		buffer_append_text(out, credentials->user);
		buffer_append_text(out, "\x01"
					"auth=Bearer ");
		append_secret(out, credentials);
		buffer_append_text(out, "\x01\x01");
		break;
	case SASL_OAUTHBEARER:
		buffer_append_text(out, "n,a=");
		append_escaped(out, credentials->user);
		buffer_append_text(out, ",\x01"
					"auth=Bearer ");
		append_secret(out, credentials);
		buffer_append_text(out, "\x01\x01");
		break;
	default:
		append_secret(out, credentials);
	}
}

void sasl_encode(struct buffer *out, const struct credentials *credentials)
{
	struct buffer message = {0};

	invariant(credentials->mechanism != SASL_LOGIN && credentials->mechanism != SASL_EXTERNAL);
	append_message(&message, credentials);
	if (message.failed) {
		out->failed = true;
	} else {
		base64_encode(out, buffer_bytes(&message), message.length);
	}
	buffer_done(&message);
}
