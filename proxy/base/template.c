/* SPDX-License-Identifier: Apache-2.0
 *
 * Placeholders: finding them, and filling them in.
 */
#include "base/template.h"

#include <string.h>

#include "base/buffer.h"

enum placeholder { PLACEHOLDER_USER, PLACEHOLDER_LOCAL, PLACEHOLDER_DOMAIN, PLACEHOLDER_NONE };

static const char *const names[] = {
	[PLACEHOLDER_USER] = "{user}",
	[PLACEHOLDER_LOCAL] = "{local}",
	[PLACEHOLDER_DOMAIN] = "{domain}",
};

/* The placeholder that `text` begins with. */
static enum placeholder find_placeholder(const char *text)
{
	for (unsigned i = 0; i < array_length(names); i++) {
		if (strncmp(text, names[i], strlen(names[i])) == 0) {
			return (enum placeholder)i;
		}
	}
	return PLACEHOLDER_NONE;
}

#define QUOTE_MAX 64

static bool refuse_brace(const char *text, struct error *error)
{
	size_t length = strcspn(text, "} ");
	bool cut;

	length += text[length] == '}' ? 1 : 0;
	cut = length > QUOTE_MAX;
	return error_set(error,
			 "has \"%.*s%s\", but only {user}, {local} and {domain} are filled in",
			 cut ? QUOTE_MAX : (int)length, text, cut ? "..." : "");
}

bool template_check(const char *template, struct error *error)
{
	bool found = false;
	const char *text = template + strcspn(template, "{}");

	while (*text != '\0') {
		enum placeholder placeholder = find_placeholder(text);

		if (placeholder == PLACEHOLDER_NONE) {
			return refuse_brace(text, error);
		}
		found = true;
		text += strlen(names[placeholder]);
		text += strcspn(text, "{}");
	}
	return found || error_set(error, "is the same for everybody: write {user}, {local} or "
					 "{domain} where the user belongs");
}

static void append_value(struct buffer *out, enum placeholder placeholder, const char *user)
{
	const char *at = strrchr(user, '@');
	size_t local_length = at != NULL ? (size_t)(at - user) : strlen(user);

	switch (placeholder) {
	case PLACEHOLDER_USER:
		buffer_append_text(out, user);
		break;
	case PLACEHOLDER_LOCAL:
		buffer_append(out, user, local_length);
		break;
	default:
		buffer_append_text(out, at != NULL ? at + 1 : "");
	}
}

void template_expand(struct buffer *out, const char *template, const char *user)
{
	const char *text = template;

	while (*text != '\0') {
		enum placeholder placeholder = find_placeholder(text);

		if (placeholder == PLACEHOLDER_NONE) {
			buffer_append_byte(out, (unsigned char)*text++);
		} else {
			append_value(out, placeholder, user);
			text += strlen(names[placeholder]);
		}
	}
}

const char *template_find(const char *template, size_t *length)
{
	const char *text = strchr(template, '{');

	while (text != NULL) {
		enum placeholder placeholder = find_placeholder(text);

		if (placeholder != PLACEHOLDER_NONE) {
			*length = strlen(names[placeholder]);
			break;
		}
		text = strchr(text + 1, '{');
	}
	return text;
}
