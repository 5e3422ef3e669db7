/* SPDX-License-Identifier: Apache-2.0
 *
 * The fixed refusals.
 */
#include "imap/refusal.h"

const struct refusal REFUSAL_CREDENTIALS = {
	.code = "AUTHENTICATIONFAILED",
	.text = "Authentication failed.",
};

const struct refusal REFUSAL_AUTHORIZATION = {
	.code = "AUTHORIZATIONFAILED",
	.text = "You may not open this mailbox.",
};

const struct refusal REFUSAL_UNAVAILABLE = {
	.code = "UNAVAILABLE",
	.text = "The mail server cannot be reached, try again later.",
};

const struct refusal REFUSAL_SERVERBUG = {
	.code = "SERVERBUG",
	.text = "The mail server is not usable, ask its operator.",
};
