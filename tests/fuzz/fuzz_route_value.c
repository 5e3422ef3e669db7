/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory says of a user. What is accepted must be clean, and a URL must mean the same
 * when it is written again.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../proxy/routing/route_value_internal.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends the user to what is written anew, every octet percent-encoded. */
static void append_mailbox(char *text, size_t size, const char *mailbox, char mark)
{
	size_t used = strlen(text);

	used += (size_t)snprintf(text + used, size - used, "%cuser=", mark);
	for (const char *at = mailbox; *at != '\0'; at++) {
		used += (size_t)snprintf(text + used, size - used, "%%%02X", (unsigned char)*at);
	}
	invariant(used < size);
}

static void check_mailbox(const char *mailbox)
{
	size_t length = strlen(mailbox);

	invariant(length <= ROUTE_MAILBOX_MAX && text_is_utf8(mailbox, length));
	invariant(!text_has_control(mailbox, length));
}

static void check_name(const struct route_value *value, const uint8_t *data, size_t size)
{
	size_t length = strlen(value->name);

	invariant(length > 0 && length <= size && memcmp(value->name, data, length) == 0);
	invariant(length == size ||
		  (data[length] == '?' && (value->mailbox[0] != '\0' || value->assigned)));
	invariant(!text_has_control(value->name, length) && strchr(value->name, ' ') == NULL);
	invariant(value->tls == CONFIG_TLS_NONE);
}

static void write_url(const struct route_value *value, char *text, size_t size)
{
	static const char *const options[] = {"", "?tls=starttls", ""};
	char address[ENDPOINT_TEXT_MAX];

	endpoint_format(&value->address, address);
	snprintf(text, size, "%s://%s%s", value->tls == CONFIG_TLS_IMPLICIT ? "imaps" : "imap",
		 address, options[value->tls]);
}

static void check_url(const struct route_value *value)
{
	invariant(value->name[0] == '\0' && value->address.port != 0 && !value->assigned);
	invariant(value->address.kind == ENDPOINT_IP || value->address.kind == ENDPOINT_NAME);
}

/* What was read, written again, is read as the same. */
static void check_again(const struct route_value *value)
{
	char text[2 * ROUTE_VALUE_MAX];
	struct route_value again = {0};
	struct error why = {0};

	if (value->address.kind == ENDPOINT_NONE) {
		snprintf(text, sizeof(text), "%s", value->name);
	} else {
		write_url(value, text, sizeof(text));
	}
	if (value->mailbox[0] != '\0') {
		append_mailbox(text, sizeof(text), value->mailbox,
			       strchr(text, '?') != NULL ? '&' : '?');
	}
	if (value->assigned) {
		strcat(text, value->mailbox[0] != '\0' ? "&assigned" : "?assigned");
	}
	if (strlen(text) > ROUTE_VALUE_MAX) {
		return; /* a name that fills the value, and a user that was shorter before */
	}
	invariant(route_value_parse(&again, text, strlen(text), &why));
	invariant(endpoint_equal(&again.address, &value->address) && again.tls == value->tls);
	invariant(strcmp(again.name, value->name) == 0);
	invariant(strcmp(again.mailbox, value->mailbox) == 0);
	invariant(again.assigned == value->assigned);
	route_value_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_value value = {0};
	struct error why = {0};

	if (!route_value_parse(&value, (const char *)data, size, &why)) {
		invariant(why.text[0] != '\0' && !text_has_control(why.text, strlen(why.text)));
		invariant(value.address.name == NULL);
		return 0;
	}
	invariant(size <= ROUTE_VALUE_MAX);
	check_mailbox(value.mailbox);
	if (value.address.kind == ENDPOINT_NONE) {
		check_name(&value, data, size);
	} else {
		check_url(&value);
	}
	check_again(&value);
	route_value_done(&value);
	return 0;
}
