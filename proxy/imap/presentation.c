/* SPDX-License-Identifier: Apache-2.0
 *
 * Names as a backend knows them, and the proxy as a witness.
 */
#include "imap/presentation.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "base/template.h"
#include "base/text.h"
#include "imap/sasl.h"

/* What `user` and `owner` are called there, without a NUL. */
struct names {
	struct buffer user;
	struct buffer owner;
};

static void append_mailbox(struct buffer *name, const struct presentation *presentation,
			   const char *mailbox)
{
	if (presentation->mailbox != NULL) {
		buffer_append_text(name, presentation->mailbox);
	} else {
		template_expand(name, presentation->user, mailbox);
	}
}

static void rename_claimed(struct names *names, const struct credentials *claimed,
			   const struct presentation *presentation)
{
	if (claimed->owner != NULL) {
		template_expand(&names->user, presentation->user, claimed->user);
		append_mailbox(&names->owner, presentation, claimed->owner);
	} else {
		append_mailbox(&names->user, presentation, claimed->user);
	}
}

static bool failed(const struct names *names)
{
	return names->user.failed || names->owner.failed;
}

static bool is_name(const struct buffer *buffer, const char *name)
{
	return name != NULL ? buffer->length == strlen(name) &&
				      memcmp(buffer_bytes(buffer), name, buffer->length) == 0
			    : buffer->length == 0;
}

static enum presentation_fault set(struct credentials *presented, const struct names *names,
				   const struct secret *secret, uint8_t mechanism)
{
	const struct credentials_claim claim = {
		.user = buffer_bytes(&names->user),
		.user_length = names->user.length,
		.owner = buffer_bytes(&names->owner),
		.owner_length = names->owner.length,
		.secret = secret->bytes,
		.secret_length = secret->length,
		.mechanism = mechanism,
	};

	switch (credentials_set(presented, &claim)) {
	case CREDENTIALS_FINE:
		return PRESENTATION_FINE;
	case CREDENTIALS_NO_MEMORY:
		return PRESENTATION_NO_MEMORY;
	default:
		return PRESENTATION_UNUSABLE;
	}
}

static enum presentation_fault present_claimed(struct credentials *presented, struct names *names,
					       const struct credentials *claimed,
					       const struct presentation *presentation)
{
	rename_claimed(names, claimed, presentation);
	if (failed(names)) {
		return PRESENTATION_NO_MEMORY;
	}
	/* No owner at all would be another login: the user's own. */
	if (claimed->owner != NULL && names->owner.length == 0) {
		return PRESENTATION_UNUSABLE;
	}
	if ((SASL_BIT(claimed->mechanism) & SASL_EXCHANGES) != 0 &&
	    (!is_name(&names->user, claimed->user) || !is_name(&names->owner, claimed->owner))) {
		return PRESENTATION_SIGNED;
	}
	return set(presented, names, &claimed->secret, claimed->mechanism);
}

static enum presentation_fault present_vouched(struct credentials *presented, struct names *names,
					       const struct credentials *claimed,
					       const struct presentation *presentation)
{
	if (presentation->master_user[0] == '\0') {
		return PRESENTATION_NO_MASTER;
	}
	/* The backend would let the master user open any mailbox: nobody checks whether this client
	 * may open somebody else's. */
	if (claimed->owner != NULL) {
		return PRESENTATION_OWNER;
	}
	buffer_append_text(&names->user, presentation->master_user);
	append_mailbox(&names->owner, presentation, claimed->user);
	if (failed(names)) {
		return PRESENTATION_NO_MEMORY;
	}
	if (names->owner.length == 0) {
		return PRESENTATION_UNUSABLE;
	}
	/* An owner that is the user counts as none: the client would be the master user itself, who
	 * may do more than open one mailbox. Many servers fold letters. */
	if (text_equal_nocase(buffer_bytes(&names->owner), names->owner.length,
			      presentation->master_user)) {
		return PRESENTATION_MASTER;
	}
	return set(presented, names, presentation->master_password, SASL_PLAIN);
}

enum presentation_fault presentation_make(struct credentials *presented,
					  const struct credentials *claimed,
					  const struct presentation *presentation)
{
	struct names names = {0};
	enum presentation_fault fault =
		claimed->mechanism == SASL_EXTERNAL
			? present_vouched(presented, &names, claimed, presentation)
			: present_claimed(presented, &names, claimed, presentation);

	buffer_done(&names.user);
	buffer_done(&names.owner);
	return fault;
}

const char *presentation_sentence(enum presentation_fault fault)
{
	switch (fault) {
	case PRESENTATION_FINE:
		return "the login can be presented";
	case PRESENTATION_NO_MASTER:
		return "the backend has no master user to vouch for a client with a certificate";
	case PRESENTATION_OWNER:
		return "a client with a certificate asked for somebody else's mailbox";
	case PRESENTATION_MASTER:
		return "a client with a certificate is called there as the master user is";
	case PRESENTATION_SIGNED:
		return "the user has another name on the backend, but the client signs its own";
	case PRESENTATION_UNUSABLE:
		return "the user's name on the backend would be empty, too long or malformed";
	default:
		return "out of memory";
	}
}
