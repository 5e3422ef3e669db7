/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking and keeping what a client says to log in.
 */
#include "imap/credentials.h"

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

static enum credentials_fault check_password(const void *password, size_t length)
{
	if (length > CREDENTIALS_PASSWORD_MAX) {
		return CREDENTIALS_TOO_LONG;
	}
	return text_has_control(password, length) ? CREDENTIALS_MALFORMED : CREDENTIALS_FINE;
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

static enum credentials_fault check_claim(const struct credentials_claim *claim)
{
	enum credentials_fault fault;

	if (claim->user_length == 0 || claim->password_length == 0) {
		return CREDENTIALS_EMPTY;
	}
	fault = check_name(claim->user, claim->user_length);
	if (fault == CREDENTIALS_FINE && has_owner(claim)) {
		fault = check_name(claim->owner, claim->owner_length);
	}
	if (fault == CREDENTIALS_FINE) {
		fault = check_password(claim->password, claim->password_length);
	}
	return fault;
}

enum credentials_fault credentials_set(struct credentials *credentials,
				       const struct credentials_claim *claim)
{
	struct credentials copy = {0};
	bool owned = has_owner(claim);
	enum credentials_fault fault = check_claim(claim);

	if (fault != CREDENTIALS_FINE) {
		return fault;
	}
	copy.user = copy_name(claim->user, claim->user_length);
	copy.owner = owned ? copy_name(claim->owner, claim->owner_length) : NULL;
	if (copy.user == NULL || (owned && copy.owner == NULL) ||
	    !secret_set(&copy.password, claim->password, claim->password_length)) {
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
	secret_done(&credentials->password);
	*credentials = (struct credentials){0};
}
