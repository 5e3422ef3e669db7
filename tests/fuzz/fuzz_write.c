/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials on their way to a backend and back: a strict server that reads what was written must
 * find the same octets, in one command, with waits exactly where it has to send `+`. The first
 * byte is the backend's offer, the second says whether there is an owner, which form is asked for
 * and which mechanism, the next two where the names end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "imap/credentials.h"
#include "imap/sasl.h"
#include "imap/write.h"

#define WAITS_MAX 2

/* Longest command line that a server must take (RFC 2683 section 3.2.1.5). */
#define COMMAND_MAX 8000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was written, and where the writer stopped for a `+`. */
struct written {
	struct buffer bytes;
	size_t waits[WAITS_MAX];
	size_t wait_count;
};

/* The server: reads `written` from `at` on. */
struct server {
	const struct written *written;
	const struct write_offer *offer;
	size_t at;
	size_t waits_seen;
};

static bool next_is(struct server *server, const char *text)
{
	const struct buffer *bytes = &server->written->bytes;
	size_t length = strlen(text);

	if (bytes->length - server->at < length ||
	    memcmp(buffer_bytes(bytes) + server->at, text, length) != 0) {
		return false;
	}
	server->at += length;
	return true;
}

static uint8_t next_byte(struct server *server)
{
	invariant(server->at < server->written->bytes.length);
	return buffer_bytes(&server->written->bytes)[server->at++];
}

static void expect_wait(struct server *server)
{
	invariant(server->waits_seen < server->written->wait_count);
	invariant(server->written->waits[server->waits_seen] == server->at);
	server->waits_seen++;
}

static void read_quoted(struct server *server, struct buffer *out)
{
	for (;;) {
		uint8_t byte = next_byte(server);

		if (byte == '"') {
			return;
		}
		if (byte == '\\') {
			byte = next_byte(server);
			invariant(byte == '"' || byte == '\\');
		}
		invariant(byte >= 0x20 && byte <= 0x7E);
		buffer_append_byte(out, byte);
	}
}

static void read_literal(struct server *server, struct buffer *out)
{
	size_t octets = 0;
	uint8_t byte = next_byte(server);

	invariant(byte >= '0' && byte <= '9');
	for (; byte >= '0' && byte <= '9'; byte = next_byte(server)) {
		octets = octets * 10 + (byte - '0');
	}
	if (byte == '+') {
		invariant(server->offer->literal_plus ||
			  (server->offer->literal_minus && octets <= 4096));
		invariant(next_is(server, "}\r\n"));
	} else {
		invariant(byte == '}' && next_is(server, "\r\n"));
		expect_wait(server);
	}
	invariant(octets > 0 && octets <= server->written->bytes.length - server->at);
	buffer_append(out, buffer_bytes(&server->written->bytes) + server->at, octets);
	server->at += octets;
}

static void read_argument(struct server *server, const void *bytes, size_t length)
{
	struct buffer argument = {0};

	if (next_is(server, "\"")) {
		read_quoted(server, &argument);
	} else {
		invariant(next_is(server, "{"));
		read_literal(server, &argument);
	}
	invariant(argument.length == length);
	invariant(length == 0 || memcmp(buffer_bytes(&argument), bytes, length) == 0);
	buffer_done(&argument);
}

static void append_escaped(struct buffer *message, const char *name)
{
	for (; *name != '\0'; name++) {
		switch (*name) {
		case ',':
			buffer_append_text(message, "=2C");
			break;
		case '=':
			buffer_append_text(message, "=3D");
			break;
		default:
			buffer_append_byte(message, (uint8_t)*name);
		}
	}
}

static void append_message(struct buffer *message, const struct credentials *credentials)
{
	const struct secret *secret = &credentials->secret;
	static const char bearer[] = "\x01"
				     "auth=Bearer ";

	switch (credentials->mechanism) {
	case SASL_PLAIN:
		buffer_append_text(message, credentials->owner != NULL ? credentials->owner : "");
		buffer_append_byte(message, 0);
		buffer_append_text(message, credentials->user);
		buffer_append_byte(message, 0);
		buffer_append(message, secret->bytes, secret->length);
		break;
	case SASL_XOAUTH2:
		buffer_printf(message, "user=%s%s", credentials->user, bearer);
		buffer_append(message, secret->bytes, secret->length);
		buffer_append_text(message, "\x01\x01");
		break;
	case SASL_OAUTHBEARER:
		buffer_append_text(message, "n,a=");
		append_escaped(message, credentials->user);
		buffer_printf(message, ",%s", bearer);
		buffer_append(message, secret->bytes, secret->length);
		buffer_append_text(message, "\x01\x01");
		break;
	default:
		buffer_append(message, secret->bytes, secret->length);
	}
}

static void read_message(struct server *server, const struct credentials *credentials)
{
	struct buffer text = {0};
	struct buffer message = {0};
	struct buffer expected = {0};
	uint8_t byte;

	if (next_is(server, " ")) {
		invariant(server->offer->sasl_ir && server->written->bytes.length <= COMMAND_MAX);
	} else {
		invariant(next_is(server, "\r\n"));
		invariant(!server->offer->sasl_ir ||
			  credentials->secret.length > WRITE_INITIAL_SECRET_MAX);
		expect_wait(server);
	}
	for (byte = next_byte(server); byte != '\r'; byte = next_byte(server)) {
		buffer_append_byte(&text, byte);
	}
	invariant(next_byte(server) == '\n');
	invariant(base64_decode(&message, buffer_bytes(&text), text.length));
	append_message(&expected, credentials);
	invariant(message.length == expected.length);
	invariant(memcmp(buffer_bytes(&message), buffer_bytes(&expected), message.length) == 0);
	buffer_done(&text);
	buffer_done(&message);
	buffer_done(&expected);
}

static void read_login(struct server *server, const struct credentials *credentials)
{
	invariant(next_is(server, "LOGIN "));
	invariant(!server->offer->login_disabled && credentials->owner == NULL);
	read_argument(server, credentials->user, strlen(credentials->user));
	invariant(next_is(server, " "));
	read_argument(server, credentials->secret.bytes, credentials->secret.length);
	invariant(next_is(server, "\r\n"));
}

static void read_command(struct server *server, const struct credentials *credentials,
			 enum write_form form)
{
	unsigned mechanism = SASL_BIT(credentials->mechanism);

	invariant(next_is(server, "G7 "));
	if (next_is(server, "AUTHENTICATE ")) {
		invariant((server->offer->mechanisms & mechanism) != 0);
		invariant(mechanism != SASL_BIT(SASL_PLAIN) || form != WRITE_LOGIN);
		invariant(next_is(server, sasl_name((enum sasl_mechanism)credentials->mechanism)));
		read_message(server, credentials);
	} else {
		invariant(credentials->mechanism == SASL_PLAIN && form != WRITE_PLAIN);
		read_login(server, credentials);
	}
	invariant(server->at == server->written->bytes.length);
	invariant(server->waits_seen == server->written->wait_count);
}

/* No octet but those of our own line ends may end a line, so that none can begin a command. */
static void check_line_ends(const struct written *written)
{
	const uint8_t *bytes = buffer_bytes(&written->bytes);

	for (size_t i = 0; i < written->bytes.length; i++) {
		invariant(bytes[i] != 0 && bytes[i] != 0x7F);
		invariant(bytes[i] >= 0x20 || bytes[i] == '\r' || bytes[i] == '\n');
		invariant(bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r'));
		invariant(bytes[i] != '\r' || bytes[i + 1] == '\n');
	}
}

/* Why nothing is written. */
static void check_fault(enum write_fault fault, const struct credentials *credentials,
			const struct write_offer *offer, enum write_form form)
{
	unsigned mechanism = SASL_BIT(credentials->mechanism);
	bool offered = (offer->mechanisms & mechanism) != 0;

	switch (fault) {
	case WRITE_LOGIN_DISABLED:
		invariant(credentials->mechanism == SASL_PLAIN);
		invariant(form == WRITE_PLAIN ? !offered : offer->login_disabled);
		break;
	case WRITE_MECHANISM:
		invariant(credentials->mechanism != SASL_PLAIN);
		invariant(!offered || credentials->mechanism == SASL_EXTERNAL);
		break;
	case WRITE_OWNER:
		invariant(credentials->owner != NULL && (mechanism & SASL_EXCHANGES) == 0);
		break;
	default:
		invariant(fault == WRITE_CONTROL);
	}
}

static void round_trip(const struct credentials *credentials, const struct write_offer *offer,
		       enum write_form form)
{
	struct write_login login;
	struct written written = {0};
	struct server server = {.written = &written, .offer = offer};
	enum write_fault fault = write_login_start(&login, credentials, offer, form);
	bool single;

	if (fault != WRITE_FINE) {
		check_fault(fault, credentials, offer, form);
		return;
	}
	single = write_login_is_single(&login);
	while (!write_login_next(&login, "G7", &written.bytes)) {
		invariant(written.wait_count < WAITS_MAX);
		written.waits[written.wait_count++] = written.bytes.length;
	}
	invariant(single == (written.wait_count == 0));
	check_line_ends(&written);
	read_command(&server, credentials, form);
	buffer_done(&written.bytes);
}

static bool has_control(const struct credentials *credentials)
{
	return text_has_control(credentials->user, strlen(credentials->user)) ||
	       (credentials->owner != NULL &&
		text_has_control(credentials->owner, strlen(credentials->owner))) ||
	       text_has_control(credentials->secret.bytes, credentials->secret.length);
}

static struct write_offer offer_of(uint8_t bits)
{
	return (struct write_offer){
		.sasl_ir = bits & 1,
		.mechanisms = (bits & 2 ? SASL_BIT(SASL_PLAIN) : 0) |
			      (bits & 32 ? SASL_ALL & ~SASL_BIT(SASL_PLAIN) : 0),
		.literal_plus = bits & 4,
		.literal_minus = bits & 8,
		.login_disabled = bits & 16,
	};
}

/* Past credentials_set: the writer must hold without its help. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials credentials = {0};
	struct write_offer offer;
	struct write_login login;
	enum write_form form;
	size_t user_length;
	size_t owner_length;

	if (size < 4) {
		return 0;
	}
	offer = offer_of(data[0]);
	form = (enum write_form)((data[1] >> 1 & 3) % 3);
	credentials.mechanism = data[1] >> 3 & 7;
	if (credentials.mechanism == SASL_LOGIN) {
		credentials.mechanism = SASL_PLAIN;
	}
	user_length = data[2] < size - 4 ? data[2] : size - 4;
	owner_length = data[3] < size - 4 - user_length ? data[3] : size - 4 - user_length;
	credentials.user = strndup((const char *)data + 4, user_length);
	if (data[1] & 1) {
		credentials.owner = strndup((const char *)data + 4 + user_length, owner_length);
	}
	invariant(secret_set(&credentials.secret, data + 4 + user_length + owner_length,
			     size - 4 - user_length - owner_length));
	invariant(has_control(&credentials) ==
		  (write_login_start(&login, &credentials, &offer, form) == WRITE_CONTROL));
	round_trip(&credentials, &offer, form);
	credentials_done(&credentials);
	return 0;
}
