/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking and keeping what a client says to log in.
 */
#include "imap/credentials.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static enum credentials_fault check_name(const void *name, size_t length)
{
	if (length > CREDENTIALS_USER_MAX) {
		return CREDENTIALS_TOO_LONG;
	}
	if (text_has_control(name, length) || !text_is_utf8(name, length)) {
		return CREDENTIALS_MALFORMED;
	}
	return CREDENTIALS_FINE;
}

static size_t longest_secret(uint8_t mechanism)
{
	switch (mechanism) {
	case SASL_PLAIN:
	case SASL_LOGIN:
		return CREDENTIALS_PASSWORD_MAX;
	default:
		return CREDENTIALS_SECRET_MAX;
	}
}

static enum credentials_fault check_secret(const struct credentials_claim *claim)
{
	if (claim->mechanism == SASL_EXTERNAL) {
		return claim->secret_length > 0 ? CREDENTIALS_MALFORMED : CREDENTIALS_FINE;
	}
	if (claim->secret_length == 0) {
		return CREDENTIALS_EMPTY;
	}
	if (claim->secret_length > longest_secret(claim->mechanism)) {
		return CREDENTIALS_TOO_LONG;
	}
	return text_has_control(claim->secret, claim->secret_length) ? CREDENTIALS_MALFORMED
								     : CREDENTIALS_FINE;
}

static char *copy_name(const void *name, size_t length)
{
	char *copy = malloc(length + 1);

	if (copy != NULL) {
		memcpy(copy, name, length);
		copy[length] = '\0';
	}
	return copy;
}

static void wipe_name(char *name)
{
	if (name != NULL) {
		explicit_bzero(name, strlen(name));
		free(name);
	}
}

static bool has_owner(const struct credentials_claim *claim)
{
	return claim->owner != NULL && claim->owner_length > 0 &&
	       (claim->owner_length != claim->user_length ||
		memcmp(claim->owner, claim->user, claim->user_length) != 0);
}

static bool is_token(uint8_t mechanism)
{
	return mechanism == SASL_XOAUTH2 || mechanism == SASL_OAUTHBEARER;
}

static enum credentials_fault check_claim(const struct credentials_claim *claim)
{
	enum credentials_fault fault;

	if (claim->user_length == 0) {
		return CREDENTIALS_EMPTY;
	}
	fault = check_secret(claim);
	if (fault == CREDENTIALS_FINE) {
		fault = check_name(claim->user, claim->user_length);
	}
	if (fault == CREDENTIALS_FINE && has_owner(claim)) {
		fault = is_token(claim->mechanism) ? CREDENTIALS_MALFORMED
						   : check_name(claim->owner, claim->owner_length);
	}
	return fault;
}

enum credentials_fault credentials_set(struct credentials *credentials,
				       const struct credentials_claim *claim)
{
	struct credentials copy = {.mechanism = claim->mechanism};
	bool owned = has_owner(claim);
	bool secret = claim->secret_length > 0;
	enum credentials_fault fault = check_claim(claim);

	if (fault != CREDENTIALS_FINE) {
		return fault;
	}
	if (copy.mechanism == SASL_LOGIN) {
		copy.mechanism = SASL_PLAIN;
	}
	copy.user = copy_name(claim->user, claim->user_length);
	copy.owner = owned ? copy_name(claim->owner, claim->owner_length) : NULL;
	if (copy.user == NULL || (owned && copy.owner == NULL) ||
	    (secret && !secret_set(&copy.secret, claim->secret, claim->secret_length))) {
		credentials_done(&copy);
		return CREDENTIALS_NO_MEMORY;
	}
	credentials_done(credentials);
	*credentials = copy;
	return CREDENTIALS_FINE;
}

const char *credentials_mailbox(const struct credentials *credentials)
{
	return credentials->owner != NULL ? credentials->owner : credentials->user;
}

void credentials_done(struct credentials *credentials)
{
	wipe_name(credentials->user);
	wipe_name(credentials->owner);
	secret_done(&credentials->secret);
	*credentials = (struct credentials){0};
}
