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
#include "imap/sasl.h"

/* LITERAL- and not LITERAL+ because literals are bounded here (RFC 7888 section 5). */
static const char *const own_atoms[] = {"IMAP4rev1", "LITERAL-", "SASL-IR", "ID"};

static bool is_one_of(const uint8_t *atom, size_t size, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equal_nocase(atom, size, words[i])) {
			return true;
		}
	}
	return false;
}

static bool is_own(const uint8_t *atom, size_t size)
{
	return is_one_of(atom, size, own_atoms, array_length(own_atoms));
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

/* What each of two peers says of the connection between them alone. */
static bool is_of_connection(const uint8_t *atom, size_t size)
{
	static const char *const words[] = {"STARTTLS", "LOGINDISABLED"};

	return is_one_of(atom, size, words, array_length(words)) ||
	       text_starts_nocase(atom, size, "AUTH=");
}

/* What would lead a client past the proxy, or shows what stands behind it. */
static bool is_past_proxy(const uint8_t *atom, size_t size)
{
	static const char *const words[] = {
		"UNAUTHENTICATE",
		"LOGIN-REFERRALS",
		"MAILBOX-REFERRALS",
	};

	return is_one_of(atom, size, words, array_length(words)) ||
	       (text_starts_nocase(atom, size, "X-") && contains_nocase(atom, size, "PROXY"));
}

static bool holds_behind_proxy(const uint8_t *atom, size_t size)
{
	return !is_of_connection(atom, size) && !is_past_proxy(atom, size);
}

/* The proxy itself neither takes long literals at once nor compresses. LOGIN is no capability; some
 * clients would read it as a mechanism (C06). */
static bool is_beyond_proxy(const uint8_t *atom, size_t size)
{
	static const char *const words[] = {"LITERAL+", "LOGIN"};

	return is_one_of(atom, size, words, array_length(words)) ||
	       text_starts_nocase(atom, size, "COMPRESS=");
}

/* A client may act on these before another backend has said that it has them too. */
static bool is_premature(const uint8_t *atom, size_t size)
{
	return is_beyond_proxy(atom, size) || text_equal_nocase(atom, size, "IMAP4rev2") ||
	       text_starts_nocase(atom, size, "UTF8=");
}

static bool list_has(const void *list, size_t length, const uint8_t *atom, size_t size)
{
	const uint8_t *rest = list;
	const uint8_t *word;
	size_t word_size;

	while (text_next_word(&rest, &length, &word, &word_size)) {
		size_t same = 0;

		if (word_size != size) {
			continue;
		}
		while (same < size && text_fold(word[same]) == text_fold(atom[same])) {
			same++;
		}
		if (same == size) {
			return true;
		}
	}
	return false;
}

static void keep_atom(struct capability_offer *offer, const uint8_t *atom, size_t size)
{
	size_t used = strlen(offer->atoms);
	size_t space = used > 0 ? 1 : 0;

	if (used + space + size >= sizeof(offer->atoms) ||
	    list_has(offer->atoms, used, atom, size)) {
		return;
	}
	if (space > 0) {
		offer->atoms[used++] = ' ';
	}
	memcpy(offer->atoms + used, atom, size);
	offer->atoms[used + size] = '\0';
}

void capability_offer_learn(struct capability_offer *offer, const void *list, size_t length)
{
	struct capability_offer learnt = {
		.known = true,
		.mechanisms = sasl_offered(list, length),
	};
	const uint8_t *rest = list;
	const uint8_t *atom;
	size_t size;

	while (text_next_word(&rest, &length, &atom, &size)) {
		if (is_atom(atom, size) && holds_behind_proxy(atom, size) && !is_own(atom, size) &&
		    !is_premature(atom, size)) {
			keep_atom(&learnt, atom, size);
		}
	}
	*offer = learnt;
}

void capability_offer_meet(struct capability_offer *common, const struct capability_offer *other)
{
	struct capability_offer met = {.known = true};
	const uint8_t *rest = (const uint8_t *)common->atoms;
	size_t length = strlen(common->atoms);
	const uint8_t *atom;
	size_t size;

	if (!other->known) {
		return;
	}
	if (!common->known) {
		*common = *other;
		return;
	}
	met.mechanisms = common->mechanisms & other->mechanisms;
	while (text_next_word(&rest, &length, &atom, &size)) {
		if (list_has(other->atoms, strlen(other->atoms), atom, size)) {
			keep_atom(&met, atom, size);
		}
	}
	*common = met;
}

static void append_mechanisms(struct buffer *out, unsigned mechanisms)
{
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (mechanisms & SASL_BIT(i)) {
			buffer_printf(out, " AUTH=%s", sasl_name((enum sasl_mechanism)i));
		}
	}
}

void capability_append_preauth(struct buffer *out, const struct capability_front *front)
{
	unsigned mechanisms = front->secrets_allowed ? front->mechanisms : 0;

	for (size_t i = 0; i < array_length(own_atoms); i++) {
		if (i > 0) {
			buffer_append_byte(out, ' ');
		}
		buffer_append_text(out, own_atoms[i]);
	}
	if (front->atoms != NULL && front->atoms[0] != '\0') {
		buffer_append_byte(out, ' ');
		buffer_append_text(out, front->atoms);
	}
	if (front->starttls) {
		buffer_append_text(out, " STARTTLS");
	}
	if ((mechanisms & SASL_PASSWORDS) == 0) {
		buffer_append_text(out, " LOGINDISABLED");
	}
	append_mechanisms(out, mechanisms);
}

static bool check_atom(const uint8_t *atom, size_t size, struct error *error)
{
	const char *why;

	if (!is_atom(atom, size)) {
		why = "is no atom";
	} else if (is_own(atom, size) || is_of_connection(atom, size)) {
		why = "gatepost announces by itself where it applies";
	} else if (is_past_proxy(atom, size) || is_beyond_proxy(atom, size)) {
		why = "gatepost cannot keep";
	} else {
		return true;
	}
	return error_set(error, "has \"%.*s\", which %s", size < 64 ? (int)size : 64, atom, why);
}

bool capability_check_atoms(const char *atoms, struct error *error)
{
	const uint8_t *rest = (const uint8_t *)atoms;
	size_t length = strlen(atoms);
	const uint8_t *atom;
	size_t size;

	if (atoms[0] == ' ' || strstr(atoms, "  ") != NULL ||
	    (length > 0 && atoms[length - 1] == ' ')) {
		return error_set(error, "must be atoms with a single space between them");
	}
	while (text_next_word(&rest, &length, &atom, &size)) {
		if (!check_atom(atom, size, error)) {
			return false;
		}
	}
	return true;
}

void capability_append_filtered(struct buffer *out, const void *list, size_t length)
{
	const uint8_t *rest = list;
	const uint8_t *atom;
	size_t size;
	bool first = true;

	while (text_next_word(&rest, &length, &atom, &size)) {
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
	return list_has(list, length, (const uint8_t *)atom, strlen(atom));
}
