/* SPDX-License-Identifier: Apache-2.0
 *
 * The first commands on a connection to Redis leave together, and are answered in their order.
 */
#include "redis_greeting_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/config_redis.h"

enum step { STEP_AUTH, STEP_SELECT, STEP_PING, STEP_ROLE, STEP_END };

static const char *const commands[STEP_END] = {
	[STEP_AUTH] = "AUTH",
	[STEP_SELECT] = "SELECT",
	[STEP_PING] = "PING",
	[STEP_ROLE] = "ROLE",
};

static bool is_sentinel(const struct redis_settings *settings)
{
	return settings->login == REDIS_LOGIN_SENTINEL;
}

static const char *user_of(const struct redis_settings *settings)
{
	const struct config_redis *config = settings->config;

	return is_sentinel(settings) ? config->sentinel_user : config->user;
}

static const char *password_of(const struct redis_settings *settings)
{
	const struct config_redis *config = settings->config;

	return is_sentinel(settings) ? config->sentinel_password : config->password;
}

static bool is_wanted(const struct redis_settings *settings, unsigned step)
{
	switch (step) {
	case STEP_AUTH:
		return password_of(settings)[0] != '\0';
	case STEP_SELECT:
		return settings->config->database != 0 && !is_sentinel(settings) &&
		       !settings->in_cluster;
	case STEP_ROLE:
		return settings->master_only;
	default:
		return true;
	}
}

static void skip_unwanted(struct redis_greeting *greeting)
{
	while (greeting->step < STEP_END && !is_wanted(greeting->settings, greeting->step)) {
		greeting->step++;
	}
}

static void write_auth(struct buffer *out, const struct redis_settings *settings)
{
	const char *const words[] = {"AUTH", user_of(settings), password_of(settings)};

	if (words[1][0] != '\0') {
		redis_codec_write_text(out, 3, words);
	} else {
		redis_codec_write_text(out, 2, (const char *const[]){words[0], words[2]});
	}
}

static void write_select(struct buffer *out, unsigned database)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", database);
	redis_codec_write_text(out, 2, (const char *const[]){"SELECT", number});
}

static void write_step(struct buffer *out, const struct redis_settings *settings, unsigned step)
{
	switch (step) {
	case STEP_AUTH:
		write_auth(out, settings);
		break;
	case STEP_SELECT:
		write_select(out, settings->config->database);
		break;
	default:
		redis_codec_write_text(out, 1, &commands[step]);
	}
}

void redis_greeting_begin(struct redis_greeting *greeting, const struct redis_settings *settings,
			  struct buffer *out)
{
	*greeting = (struct redis_greeting){.settings = settings};
	for (unsigned step = 0; step < STEP_END; step++) {
		if (is_wanted(settings, step)) {
			write_step(out, settings, step);
		}
	}
	skip_unwanted(greeting);
}

/* Redis repeats the arguments of a command that it does not know, cut short: so whatever could be
 * one is not shown. */
static void explain(const struct redis_greeting *greeting, const struct redis_reply *reply,
		    struct error *error)
{
	redis_reply_explain(reply, error);
	if (greeting->step == STEP_AUTH &&
	    (strstr(error->text, "args") != NULL ||
	     strstr(error->text, password_of(greeting->settings)) != NULL)) {
		error_set(error, "refused; the reply is not shown since it may hold the password");
	}
}

static bool is_error(const struct redis_reply *reply, const char *code)
{
	return reply->kind == REDIS_REPLY_ERROR &&
	       text_starts_nocase(reply->text, reply->length, code);
}

static bool accept_role(const struct redis_reply *reply, struct error *error)
{
	struct redis_reply role = {0};
	struct buffer shown = {0};

	if (reply->kind == REDIS_REPLY_ARRAY && reply->count > 0) {
		redis_reply_element(reply, 0, &role);
	}
	if (role.kind != REDIS_REPLY_TEXT) {
		redis_reply_explain(reply, error);
		return false;
	}
	if (text_equal_nocase(role.text, role.length, "master")) {
		return true;
	}
	text_append_printable(&shown, role.text, role.length, 32);
	error_set(error, "the server is no master but a %.*s", (int)shown.length,
		  (const char *)buffer_bytes(&shown));
	buffer_done(&shown);
	return false;
}

static bool accept_reply(const struct redis_greeting *greeting, const struct redis_reply *reply,
			 struct error *error)
{
	if (greeting->step == STEP_ROLE) {
		return accept_role(reply, error);
	}
	/* Who may not use PING has been answered. */
	if (reply->kind == REDIS_REPLY_STATUS ||
	    (greeting->step == STEP_PING && is_error(reply, "NOPERM"))) {
		return true;
	}
	explain(greeting, reply, error);
	return false;
}

enum redis_greeting_verdict redis_greeting_take(struct redis_greeting *greeting,
						const struct redis_reply *reply,
						struct error *error)
{
	invariant(greeting->step < STEP_END);
	if (!accept_reply(greeting, reply, error)) {
		error_prefix(error, commands[greeting->step]);
		return REDIS_GREETING_REFUSED;
	}
	greeting->step++;
	skip_unwanted(greeting);
	return greeting->step == STEP_END ? REDIS_GREETING_DONE : REDIS_GREETING_MORE;
}

const char *redis_greeting_awaits(const struct redis_greeting *greeting)
{
	invariant(greeting->step < STEP_END);
	return commands[greeting->step];
}
