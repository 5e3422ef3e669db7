/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that knows hiredis (0.14 to 1.x), and of it only the codec: it connects nowhere.
 */
#include "redis_internal.h"

#include <hiredis/hiredis.h>
#include <string.h>

#include "base/text.h"

/* Bytes of an error reply that are shown. */
#define ERROR_SHOWN 200

bool redis_codec_init(struct redis_codec *codec)
{
	*codec = (struct redis_codec){.reader = redisReaderCreate()};
	return codec->reader != NULL;
}

void redis_codec_done(struct redis_codec *codec)
{
	if (codec->reader != NULL) {
		redisReaderFree(codec->reader);
	}
	*codec = (struct redis_codec){0};
}

static void view_reply(struct redis_reply_view *view, redisReply *reply)
{
	view->kind = REDIS_REPLY_IS_OTHER;
	view->object = reply;
	switch (reply->type) {
	case REDIS_REPLY_STRING:
		view->kind = REDIS_REPLY_IS_TEXT;
		break;
	case REDIS_REPLY_STATUS:
		view->kind = REDIS_REPLY_IS_STATUS;
		break;
	case REDIS_REPLY_ERROR:
		view->kind = REDIS_REPLY_IS_ERROR;
		break;
	case REDIS_REPLY_NIL:
		view->kind = REDIS_REPLY_IS_NIL;
		return;
	default:
		return;
	}
	view->text = reply->str;
	view->length = (size_t)reply->len;
}

enum redis_codec_verdict redis_codec_feed(struct redis_codec *codec, const void *bytes,
					  size_t length, struct redis_reply_view *reply,
					  struct error *error)
{
	enum redis_guard_verdict verdict =
		redis_guard_scan(&codec->guard, bytes, length, &reply->used, error);
	void *object = NULL;

	if (verdict == REDIS_GUARD_REFUSED) {
		return REDIS_CODEC_BROKEN;
	}
	if (redisReaderFeed(codec->reader, bytes, reply->used) != REDIS_OK) {
		error_set(error, "out of memory for a reply");
		return REDIS_CODEC_BROKEN;
	}
	if (verdict == REDIS_GUARD_MORE) {
		return REDIS_CODEC_MORE;
	}
	if (redisReaderGetReply(codec->reader, &object) != REDIS_OK || object == NULL) {
		error_set(error, "a reply that cannot be read: %.100s", codec->reader->errstr);
		return REDIS_CODEC_BROKEN;
	}
	view_reply(reply, object);
	return REDIS_CODEC_REPLY;
}

void redis_reply_explain(const struct redis_reply_view *reply, struct error *error)
{
	struct buffer shown = {0};

	if (reply->kind != REDIS_REPLY_IS_ERROR) {
		error_set(error, "a reply of an unexpected type");
		return;
	}
	text_append_printable(&shown, reply->text, reply->length, ERROR_SHOWN);
	error_set(error, "%.*s", (int)shown.length, (const char *)buffer_bytes(&shown));
	buffer_done(&shown);
}

void redis_reply_done(struct redis_reply_view *reply)
{
	if (reply->object != NULL) {
		freeReplyObject(reply->object);
	}
	*reply = (struct redis_reply_view){0};
}

void redis_codec_write(struct buffer *out, const struct redis_command *command)
{
	char *text = NULL;
	long long length = redisFormatCommandArgv(&text, (int)command->word_count,
						  (const char **)command->words, command->lengths);

	if (length < 0) {
		out->failed = true;
		return;
	}
	buffer_append(out, text, (size_t)length);
	explicit_bzero(text, (size_t)length); /* it may be AUTH */
	redisFreeCommand(text);
}
