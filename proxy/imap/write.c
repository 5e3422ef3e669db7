/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials encoded anew for a backend.
 */
#include "imap/write.h"

#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "imap/credentials.h"
#include "imap/sasl.h"

bool write_is_quotable(const void *bytes, size_t length)
{
	const uint8_t *text = bytes;

	for (size_t i = 0; i < length; i++) {
		if (text[i] < 0x20 || text[i] > 0x7E) {
			return false;
		}
	}
	return true;
}

void write_quoted(struct buffer *out, const void *bytes, size_t length)
{
	const uint8_t *text = bytes;

	buffer_append_byte(out, '"');
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"' || text[i] == '\\') {
			buffer_append_byte(out, '\\');
		}
		buffer_append_byte(out, text[i]);
	}
	buffer_append_byte(out, '"');
}

/* The literal need not wait for the backend's `+` (RFC 7888 sections 4 and 5). */
static bool may_send_at_once(const struct write_offer *offer, size_t length)
{
	return offer->literal_plus || (offer->literal_minus && length <= WRITE_LITERAL_MINUS_MAX);
}

static bool must_wait(const struct write_offer *offer, const void *bytes, size_t length)
{
	return !write_is_quotable(bytes, length) && !may_send_at_once(offer, length);
}

/* Appends one argument of LOGIN. False where only its announcement could be written. */
static bool append_argument(const struct write_offer *offer, struct buffer *out, const void *bytes,
			    size_t length)
{
	if (write_is_quotable(bytes, length)) {
		write_quoted(out, bytes, length);
		return true;
	}
	if (!may_send_at_once(offer, length)) {
		buffer_printf(out, "{%zu}\r\n", length);
		return false;
	}
	buffer_printf(out, "{%zu+}\r\n", length);
	buffer_append(out, bytes, length);
	return true;
}

/* How a password is said: WRITE_FINE, and `authenticate` is set. */
static enum write_fault choose_form(const struct credentials *credentials,
				    const struct write_offer *offer, enum write_form form,
				    bool *authenticate)
{
	bool plain = (offer->mechanisms & SASL_BIT(SASL_PLAIN)) != 0;

	if (plain && form != WRITE_LOGIN) {
		*authenticate = true;
		return WRITE_FINE;
	}
	if (offer->login_disabled || form == WRITE_PLAIN) {
		return WRITE_LOGIN_DISABLED;
	}
	*authenticate = false;
	return credentials->owner == NULL ? WRITE_FINE : WRITE_OWNER;
}

static enum write_fault choose_mechanism(const struct credentials *credentials,
					 const struct write_offer *offer, bool *authenticate)
{
	unsigned mechanism = SASL_BIT(credentials->mechanism);

	if ((mechanism & offer->mechanisms & (SASL_TOKENS | SASL_EXCHANGES)) == 0) {
		return WRITE_MECHANISM;
	}
	*authenticate = true;
	return (mechanism & SASL_TOKENS) != 0 && credentials->owner != NULL ? WRITE_OWNER
									    : WRITE_FINE;
}

static bool has_control(const struct credentials *credentials)
{
	const char *owner = credentials->owner;

	return text_has_control(credentials->user, strlen(credentials->user)) ||
	       (owner != NULL && text_has_control(owner, strlen(owner))) ||
	       text_has_control(credentials->secret.bytes, credentials->secret.length);
}

enum write_fault write_login_start(struct write_login *login, const struct credentials *credentials,
				   const struct write_offer *offer, enum write_form form)
{
	bool authenticate = false;
	enum write_fault fault;

	if (has_control(credentials)) {
		return WRITE_CONTROL;
	}
	fault = credentials->mechanism == SASL_PLAIN
			? choose_form(credentials, offer, form, &authenticate)
			: choose_mechanism(credentials, offer, &authenticate);
	if (fault != WRITE_FINE) {
		return fault;
	}
	*login = (struct write_login){
		.credentials = credentials,
		.offer = *offer,
		.authenticate = authenticate,
		.step = WRITE_COMMAND,
	};
	return WRITE_FINE;
}

static bool has_initial_response(const struct write_login *login)
{
	return login->offer.sasl_ir &&
	       login->credentials->secret.length <= WRITE_INITIAL_SECRET_MAX;
}

bool write_login_is_single(const struct write_login *login)
{
	const struct credentials *credentials = login->credentials;
	const struct secret *password = &credentials->secret;

	if (login->authenticate) {
		return has_initial_response(login);
	}
	return !must_wait(&login->offer, credentials->user, strlen(credentials->user)) &&
	       !must_wait(&login->offer, password->bytes, password->length);
}

static enum write_step next_authenticate(const struct write_login *login, const char *tag,
					 struct buffer *out)
{
	enum write_step step = WRITE_DONE;

	if (login->step == WRITE_COMMAND) {
		buffer_printf(out, "%s AUTHENTICATE %s", tag,
			      sasl_name((enum sasl_mechanism)login->credentials->mechanism));
		if (has_initial_response(login)) {
			buffer_append_byte(out, ' ');
		} else {
			step = WRITE_MESSAGE;
		}
	}
	if (step == WRITE_DONE) {
		sasl_encode(out, login->credentials);
	}
	buffer_append_text(out, "\r\n");
	return step;
}

static enum write_step next_login(const struct write_login *login, const char *tag,
				  struct buffer *out)
{
	const char *user = login->credentials->user;
	const struct secret *password = &login->credentials->secret;
	const struct write_offer *offer = &login->offer;

	if (login->step == WRITE_COMMAND) {
		buffer_printf(out, "%s LOGIN ", tag);
		if (!append_argument(offer, out, user, strlen(user))) {
			return WRITE_USER;
		}
	} else if (login->step == WRITE_USER) {
		buffer_append_text(out, user);
	}
	if (login->step == WRITE_PASSWORD) {
		buffer_append(out, password->bytes, password->length);
	} else {
		buffer_append_byte(out, ' ');
		if (!append_argument(offer, out, password->bytes, password->length)) {
			return WRITE_PASSWORD;
		}
	}
	buffer_append_text(out, "\r\n");
	return WRITE_DONE;
}

bool write_login_next(struct write_login *login, const char *tag, struct buffer *out)
{
	invariant(login->step != WRITE_DONE);
	login->step = login->authenticate ? next_authenticate(login, tag, out)
					  : next_login(login, tag, out);
	return login->step == WRITE_DONE;
}
