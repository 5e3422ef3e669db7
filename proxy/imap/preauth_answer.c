/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of the dialogue before login, and the count of the bad ones.
 */
#include "base/buffer.h"
#include "imap/refusal.h"
#include "preauth_internal.h"

void preauth_answer(const struct preauth *preauth, const char *rest, struct buffer *reply)
{
	const char *tag = command_tag(&preauth->command);

	buffer_append_text(reply, tag[0] != '\0' ? tag : "*");
	buffer_append_byte(reply, ' ');
	buffer_append_text(reply, rest);
	buffer_append_text(reply, "\r\n");
}

static void answer_refusal(struct buffer *reply, const char *start, const struct refusal *refusal)
{
	buffer_append_text(reply, start);
	if (refusal->code != NULL && refusal->code[0] != '\0') {
		buffer_append_byte(reply, '[');
		buffer_append_text(reply, refusal->code);
		buffer_append_text(reply, "] ");
	}
	buffer_append_text(reply, refusal->text);
	buffer_append_text(reply, "\r\n");
}

void preauth_bye(const struct refusal *refusal, struct buffer *reply)
{
	answer_refusal(reply, "* BYE ", refusal);
}

static void refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply)
{
	buffer_append_text(reply, command_tag(&preauth->command));
	answer_refusal(reply, " NO ", refusal);
	preauth_end_login(preauth);
}

void preauth_refuse(struct preauth *preauth, const struct refusal *refusal, struct buffer *reply)
{
	if (preauth->fault == NULL) {
		refuse(preauth, refusal, reply);
		return;
	}
	preauth_answer(preauth, preauth->fault, reply);
	preauth_end_login(preauth);
}

/* Counts a bad command. True when it was one too many. */
static bool count_bad(struct preauth *preauth)
{
	unsigned most = preauth->settings->limits->bad_commands;

	preauth->bad_in_a_row++;
	preauth->bad_in_all++;
	return preauth->bad_in_a_row >= most || preauth->bad_in_all >= 3 * most;
}

enum preauth_verdict preauth_end_abuse(const char *line, struct buffer *reply)
{
	buffer_append_text(reply, line);
	return PREAUTH_ABUSE;
}

static enum preauth_verdict end_bad_commands(struct buffer *reply)
{
	return preauth_end_abuse("* BYE Too many bad commands.\r\n", reply);
}

enum preauth_verdict preauth_reject(struct preauth *preauth, const char *answer, bool is_bad,
				    struct buffer *reply)
{
	bool is_abuse = is_bad && count_bad(preauth);

	if (preauth->state == PREAUTH_AT_RESPONSE && !is_abuse) {
		command_forget(&preauth->command);
		preauth->fault = answer;
		preauth->state = PREAUTH_PENDING;
		return PREAUTH_RESPONSE;
	}
	preauth_answer(preauth, answer, reply);
	preauth_end_login(preauth);
	return is_abuse ? end_bad_commands(reply) : PREAUTH_MORE;
}

enum preauth_verdict preauth_reject_login(struct preauth *preauth, const struct refusal *refusal,
					  struct buffer *reply)
{
	refuse(preauth, refusal, reply);
	return count_bad(preauth) ? end_bad_commands(reply) : PREAUTH_MORE;
}
