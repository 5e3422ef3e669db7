/* SPDX-License-Identifier: Apache-2.0
 *
 * Capability lists, the proxy's own and a backend's.
 */
#include "imap/capability.h"

#include <stdint.h>
#include <string.h>

#include "base/base.h"
#include "base/buffer.h"
#include "base/text.h"

/* LITERAL- and not LITERAL+ because literals are bounded here (RFC 7888 section 5). IDLE and ENABLE
 * work after login only; they are listed because some clients look no second time. */
#define WITH_SECRETS    "IMAP4rev1 LITERAL- SASL-IR ID ENABLE IDLE AUTH=PLAIN"
#define WITHOUT_SECRETS "IMAP4rev1 LITERAL- ID LOGINDISABLED"

void capability_append_preauth(struct buffer *out, bool secrets_allowed)
{
	buffer_append_text(out, secrets_allowed ? WITH_SECRETS : WITHOUT_SECRETS);
}

/* Cuts the next atom off a list; false when none is left. */
static bool next_atom(const uint8_t **list, size_t *length, const uint8_t **atom, size_t *size)
{
	while (*length > 0 && **list == ' ') {
		(*list)++;
		(*length)--;
	}
	*atom = *list;
	*size = 0;
	while (*length > 0 && **list != ' ') {
		(*list)++;
		(*length)--;
		(*size)++;
	}
	return *size > 0;
}

static bool contains_nocase(const uint8_t *bytes, size_t length, const char *word)
{
	for (size_t i = 0; i < length; i++) {
		if (text_starts_nocase(bytes + i, length - i, word)) {
			return true;
		}
	}
	return false;
}

/* A foreign byte or a ']' would end the line or the response code that the list is put into. */
static bool is_atom(const uint8_t *atom, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (atom[i] <= 0x20 || atom[i] >= 0x7F || strchr("()[]{}%*\"\\", atom[i]) != NULL) {
			return false;
		}
	}
	return true;
}

static bool holds_behind_proxy(const uint8_t *atom, size_t size)
{
	static const char *const dropped[] = {
		"STARTTLS",
		"LOGINDISABLED",
		"UNAUTHENTICATE",
		"LOGIN-REFERRALS",
	};

	for (size_t i = 0; i < array_length(dropped); i++) {
		if (text_equal_nocase(atom, size, dropped[i])) {
			return false;
		}
	}
	if (text_starts_nocase(atom, size, "AUTH=")) {
		return false;
	}
	return !text_starts_nocase(atom, size, "X-") || !contains_nocase(atom, size, "PROXY");
}

void capability_append_filtered(struct buffer *out, const void *list, size_t length)
{
	const uint8_t *rest = list;
	const uint8_t *atom;
	size_t size;
	bool first = true;

	while (next_atom(&rest, &length, &atom, &size)) {
		if (!is_atom(atom, size) || !holds_behind_proxy(atom, size)) {
			continue;
		}
		if (!first) {
			buffer_append_byte(out, ' ');
		}
		buffer_append(out, atom, size);
		first = false;
	}
}

bool capability_has(const void *list, size_t length, const char *atom)
{
	const uint8_t *rest = list;
	const uint8_t *candidate;
	size_t size;

	while (next_atom(&rest, &length, &candidate, &size)) {
		if (text_equal_nocase(candidate, size, atom)) {
			return true;
		}
	}
	return false;
}
