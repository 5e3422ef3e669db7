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

static void check_name(const struct route_value *value, const uint8_t *data, size_t size)
{
	invariant(strlen(value->name) == size && memcmp(value->name, data, size) == 0);
	invariant(!text_has_control(value->name, size) && strchr(value->name, ' ') == NULL);
}

static void check_url(const struct route_value *value)
{
	struct route_value again = {0};
	struct error why = {0};
	char address[ENDPOINT_TEXT_MAX];
	char text[sizeof("imap://") + ENDPOINT_TEXT_MAX];

	invariant(value->name[0] == '\0' && value->address.port != 0);
	invariant(value->address.kind == ENDPOINT_IP || value->address.kind == ENDPOINT_NAME);
	endpoint_format(&value->address, address);
	snprintf(text, sizeof(text), "imap://%s", address);
	invariant(route_value_parse(&again, text, strlen(text), &why));
	invariant(endpoint_equal(&again.address, &value->address));
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
	if (value.address.kind == ENDPOINT_NONE) {
		check_name(&value, data, size);
	} else {
		check_url(&value);
	}
	route_value_done(&value);
	return 0;
}
