/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Redis sends, through the guard and hiredis, and as news of changes. The replies must not
 * depend on the cuts, and none may be longer, or have more elements, than its limits. The first
 * byte chooses the cuts.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../../proxy/routing/redis_internal.h"
#include "../../proxy/routing/redis_news_internal.h"
#include "../../proxy/routing/redis_server_internal.h"
#include "base/buffer.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small enough that inputs reach them. */
#define BYTES    1000
#define ELEMENTS 50

/* Returns how many elements it has, with those of its elements. */
static size_t note_reply(struct buffer *outcome, const struct redis_reply *reply, unsigned depth)
{
	struct error why = {0};
	size_t count = reply->count;

	invariant(depth <= REDIS_DEPTH_MAX + 1 && reply->length <= BYTES);
	buffer_append_byte(outcome, (uint8_t)('0' + reply->kind));
	buffer_append(outcome, &reply->number, sizeof(reply->number));
	if (reply->text != NULL) {
		invariant(reply->text[reply->length] == '\0');
		buffer_append(outcome, reply->text, reply->length);
	}
	redis_reply_explain(reply, &why);
	invariant(!text_has_control(why.text, strlen(why.text)));
	for (size_t i = 0; i < reply->count; i++) {
		struct redis_reply element = {0};

		redis_reply_element(reply, i, &element);
		count += note_reply(outcome, &element, depth + 1);
	}
	return count;
}

/* A message has a channel, and a body of any shape. */
static void note_news(struct buffer *outcome, const struct redis_reply *reply)
{
	struct redis_news news;

	redis_news_read(&news, reply);
	buffer_append_byte(outcome, (uint8_t)('a' + news.kind));
	if (news.kind == REDIS_NEWS_MESSAGE) {
		invariant(reply->count == 3 && news.channel.kind == REDIS_REPLY_TEXT);
		buffer_append_byte(outcome, redis_news_is_of(&news, REDIS_INVALIDATIONS));
		(void)note_reply(outcome, &news.body, 1);
	} else {
		invariant(!redis_news_is_of(&news, REDIS_INVALIDATIONS));
	}
}

/* Takes one piece; false when the connection would be ended over it. */
static bool read_piece(struct redis_codec *codec, const uint8_t *bytes, size_t size,
		       struct buffer *outcome)
{
	struct redis_input input = {bytes, size};

	while (input.length > 0) {
		struct redis_reply reply = {0};
		struct error why = {0};
		size_t before = input.length;
		enum redis_codec_verdict verdict = redis_codec_feed(codec, &input, &reply, &why);

		if (verdict == REDIS_CODEC_BROKEN) {
			invariant(why.text[0] != '\0');
			buffer_append_text(outcome, why.text);
			return false;
		}
		invariant(input.length < before);
		invariant(verdict == REDIS_CODEC_REPLY || input.length == 0);
		if (verdict == REDIS_CODEC_REPLY) {
			invariant(note_reply(outcome, &reply, 0) <= ELEMENTS);
			note_news(outcome, &reply);
			redis_reply_done(&reply);
		}
	}
	return true;
}

static void read_all(const uint8_t *bytes, size_t size, size_t piece, struct buffer *outcome)
{
	struct redis_codec codec = {0};
	size_t at = 0;

	invariant(redis_codec_init(&codec, &(struct redis_limits){BYTES, ELEMENTS}));
	while (at < size) {
		size_t count = size - at < piece ? size - at : piece;

		if (!read_piece(&codec, bytes + at, count, outcome)) {
			break;
		}
		at += count;
	}
	redis_codec_done(&codec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer cut = {0};

	if (size == 0) {
		return 0;
	}
	read_all(data + 1, size - 1, size, &whole);
	read_all(data + 1, size - 1, 1 + data[0] % 16, &cut);
	invariant(whole.length == cut.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&cut), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&cut);
	return 0;
}
