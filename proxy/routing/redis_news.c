/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking Redis to tell changes, and reading what it tells.
 */
#include "redis_news_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Asking --------------------------------------------------------------------------------- */

/* Of two that are equal the first is taken. */
static bool is_covered(const char *const *prefixes, size_t count, size_t index)
{
	const char *prefix = prefixes[index];

	for (size_t i = 0; i < count; i++) {
		const char *other = prefixes[i];

		if (i != index && strncmp(prefix, other, strlen(other)) == 0 &&
		    (i < index || strcmp(prefix, other) != 0)) {
			return true;
		}
	}
	return false;
}

void redis_news_write_tracking(struct buffer *out, const char *const *prefixes, size_t count,
			       int64_t id)
{
	char number[24];
	const char *const head[] = {"CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST"};
	const char **words = calloc(array_length(head) + 2 * count, sizeof(*words));
	size_t used = array_length(head);

	if (words == NULL) {
		out->failed = true;
		return;
	}
	snprintf(number, sizeof(number), "%" PRId64, id);
	memcpy(words, head, sizeof(head));
	for (size_t i = 0; i < count; i++) {
		/* "" covers all others, and is said by saying none. */
		if (prefixes[i][0] != '\0' && !is_covered(prefixes, count, i)) {
			words[used++] = "PREFIX";
			words[used++] = prefixes[i];
		}
	}
	redis_codec_write_text(out, used, words);
	free(words);
}

void redis_news_write_subscribe(struct buffer *out, const char *const *channels, size_t count,
				const char *further)
{
	const char **words = calloc(count + 2, sizeof(*words));
	size_t used = 0;

	if (words == NULL) {
		out->failed = true;
		return;
	}
	words[used++] = "SUBSCRIBE";
	for (size_t i = 0; i < count; i++) {
		words[used++] = channels[i];
	}
	if (further != NULL) {
		words[used++] = further;
	}
	redis_codec_write_text(out, used, words);
	free(words);
}

/* --- Reading -------------------------------------------------------------------------------- */

static bool is_text(const struct redis_reply *reply, const char *text)
{
	return reply->kind == REDIS_REPLY_TEXT && reply->length == strlen(text) &&
	       memcmp(reply->text, text, reply->length) == 0;
}

void redis_news_read(struct redis_news *news, const struct redis_reply *reply)
{
	struct redis_reply word = {0};

	*news = (struct redis_news){.kind = REDIS_NEWS_OTHER};
	if (reply->kind != REDIS_REPLY_ARRAY || reply->count < 2 || reply->count > 3) {
		return;
	}
	redis_reply_element(reply, 0, &word);
	redis_reply_element(reply, 1, &news->channel);
	if (reply->count == 2) {
		news->kind = is_text(&word, "pong") ? REDIS_NEWS_PONG : REDIS_NEWS_OTHER;
		return;
	}
	redis_reply_element(reply, 2, &news->body);
	if (news->channel.kind != REDIS_REPLY_TEXT) {
		return;
	}
	if (is_text(&word, "message")) {
		news->kind = REDIS_NEWS_MESSAGE;
	} else if (is_text(&word, "subscribe")) {
		news->kind = REDIS_NEWS_SUBSCRIBED;
	}
}

bool redis_news_is_of(const struct redis_news *news, const char *channel)
{
	return news->kind == REDIS_NEWS_MESSAGE && is_text(&news->channel, channel);
}
