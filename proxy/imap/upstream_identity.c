/* SPDX-License-Identifier: Apache-2.0
 *
 * ID to a backend (RFC 2971): from where the client comes, how many proxies the login may still
 * pass, and what the client says of itself.
 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "upstream_internal.h"

#define PORT_TEXT_SIZE 6
#define TTL_TEXT_SIZE  12

#define END ")\r\n"

/* One ID command on its way. */
struct pairs {
	struct buffer *out;
	size_t begin; /* where in `out` the command begins */
	unsigned count;
};

static bool has_room(const struct pairs *pairs, size_t octets)
{
	size_t used = pairs->out->length - pairs->begin;

	return pairs->count < UPSTREAM_ID_PAIRS_MAX &&
	       used + 1 + octets + strlen(END) <= UPSTREAM_ID_LINE_MAX;
}

static void append_ready(struct pairs *pairs, const void *pair, size_t length)
{
	if (has_room(pairs, length)) {
		buffer_append_byte(pairs->out, pairs->count > 0 ? ' ' : '(');
		buffer_append(pairs->out, pair, length);
		pairs->count++;
	}
}

static void append_pair(struct pairs *pairs, const char *field, const char *value)
{
	struct buffer pair = {0};

	if (value == NULL || !write_is_quotable(value, strlen(value))) {
		return;
	}
	write_quoted(&pair, field, strlen(field));
	buffer_append_byte(&pair, ' ');
	write_quoted(&pair, value, strlen(value));
	append_ready(pairs, buffer_bytes(&pair), pair.length);
	pairs->out->failed |= pair.failed;
	buffer_done(&pair);
}

/* A port without its address says nothing. */
static void append_port(struct pairs *pairs, const char *field, const char *ip, uint16_t port)
{
	char text[PORT_TEXT_SIZE];

	if (ip != NULL) {
		snprintf(text, sizeof(text), "%u", port);
		append_pair(pairs, field, text);
	}
}

static void append_origin(struct pairs *pairs, const struct upstream_identity *identity)
{
	const char *from = identity->originating_ip;
	const char *to = identity->connected_ip;

	append_pair(pairs, "x-originating-ip", from);
	append_port(pairs, "x-originating-port", from, identity->originating_port);
	append_pair(pairs, "x-connected-ip", to);
	append_port(pairs, "x-connected-port", to, identity->connected_port);
	append_pair(pairs, "x-session-id", identity->session_id);
}

/* The end of one string or NIL at the front of a ready text; NULL where there is none. */
static const char *end_of_value(const char *text)
{
	if (*text != '"') {
		return strncmp(text, "NIL", 3) == 0 ? text + 3 : NULL;
	}
	for (text++; *text != '"'; text++) {
		if (*text == '\\') {
			text++;
		}
		if (*text == '\0') {
			return NULL;
		}
	}
	return text + 1;
}

static const char *end_of_pair(const char *text)
{
	const char *end = *text == '"' ? end_of_value(text) : NULL;

	return end != NULL && *end == ' ' ? end_of_value(end + 1) : NULL;
}

/* The client's own pairs come last, as long as there is room. */
static void append_client(struct pairs *pairs, const char *text)
{
	const char *end;

	if (text == NULL || !write_is_quotable(text, strlen(text))) {
		return;
	}
	while ((end = end_of_pair(text)) != NULL) {
		append_ready(pairs, text, (size_t)(end - text));
		text = *end == ' ' ? end + 1 : end;
	}
}

void upstream_send_id(struct upstream *upstream, struct buffer *output)
{
	const struct upstream_identity *identity = upstream->settings.identity;
	struct pairs pairs = {.out = output, .begin = output->length};
	char ttl[TTL_TEXT_SIZE];

	snprintf(ttl, sizeof(ttl), "%u", upstream->settings.proxy_ttl);
	upstream_next_tag(upstream, upstream->identity_tag);
	buffer_printf(output, "%s ID ", upstream->identity_tag);
	if (identity != NULL) {
		append_origin(&pairs, identity);
	}
	append_pair(&pairs, "x-proxy-ttl", ttl);
	if (identity != NULL) {
		append_client(&pairs, identity->pairs);
	}
	buffer_append_text(output, END);
}
