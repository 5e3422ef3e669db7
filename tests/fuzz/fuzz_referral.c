/* SPDX-License-Identifier: Apache-2.0
 *
 * The URL of a referral, a backend's word: what is accepted must be clean, and mean the same when
 * it is written again.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "imap/referral.h"

/* Every octet of the user percent-encoded, and the longest address. */
#define WRITTEN_MAX (sizeof("imaps://@/") + 3 * REFERRAL_USER_MAX + ENDPOINT_TEXT_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct referral *referral, char text[WRITTEN_MAX])
{
	char address[ENDPOINT_TEXT_MAX];
	size_t used = (size_t)snprintf(text, WRITTEN_MAX, "imap%s://", referral->tls ? "s" : "");

	for (const char *at = referral->user; *at != '\0'; at++) {
		used += (size_t)snprintf(text + used, WRITTEN_MAX - used, "%%%02X",
					 (unsigned char)*at);
	}
	endpoint_format(&referral->address, address);
	snprintf(text + used, WRITTEN_MAX - used, "%s%s", referral->user[0] != '\0' ? "@" : "",
		 address);
}

static void check(const struct referral *referral)
{
	char text[WRITTEN_MAX];
	struct referral again = {0};
	struct error why = {0};
	size_t length = strlen(referral->user);

	invariant(length <= REFERRAL_USER_MAX && text_is_utf8(referral->user, length));
	invariant(!text_has_control(referral->user, length));
	invariant(referral->address.kind == ENDPOINT_IP || referral->address.kind == ENDPOINT_NAME);
	invariant(referral->address.port != 0);
	write_again(referral, text);
	if (strlen(text) > REFERRAL_URL_MAX) {
		return; /* it was shorter when less of it was encoded */
	}
	invariant(referral_parse(&again, text, &why));
	invariant(again.tls == referral->tls && strcmp(again.user, referral->user) == 0);
	invariant(endpoint_equal(&again.address, &referral->address));
	referral_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char url[2 * REFERRAL_URL_MAX];
	struct referral referral = {0};
	struct error why = {0};

	if (size >= sizeof(url)) {
		return 0;
	}
	memcpy(url, data, size);
	url[size] = '\0';
	if (!referral_parse(&referral, url, &why)) {
		invariant(why.text[0] != '\0' && !text_has_control(why.text, strlen(why.text)));
		invariant(referral.address.name == NULL && referral.user[0] == '\0');
		return 0;
	}
	check(&referral);
	referral_done(&referral);
	return 0;
}
