/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts beside the list of those that are allowed.
 */
#include "core/config_host.h"

#include <string.h>

#include "base/addr.h"
#include "base/cidr.h"
#include "base/text.h"
#include "core/config_value.h"

/* "*.example.org" is all below example.org, at any depth, and not that itself. */
static bool fits(const char *name, size_t length, const char *pattern)
{
	size_t tail = strlen(pattern) - 1;

	if (pattern[0] != '*') {
		return text_equal_nocase(name, length, pattern);
	}
	return length > tail && text_equal_nocase(name + length - tail, tail, pattern + 1);
}

/* "mail.example.org." is the same host. */
static bool allows_name(const struct config_texts *names, const char *name)
{
	size_t length = strlen(name);

	if (length > 0 && name[length - 1] == '.') {
		length--;
	}
	for (size_t i = 0; i < names->count; i++) {
		if (fits(name, length, names->texts[i])) {
			return true;
		}
	}
	return false;
}

bool config_host_allows(const struct config_hosts *hosts, const struct endpoint *endpoint)
{
	struct addr plain;

	switch (endpoint->kind) {
	case ENDPOINT_NAME:
		return allows_name(&hosts->names, endpoint->name);
	case ENDPOINT_IP:
		addr_from_sockaddr(&plain, (const struct sockaddr *)&endpoint->ip);
		return cidr_contains(hosts->networks, hosts->network_count, &plain);
	default:
		return false;
	}
}
