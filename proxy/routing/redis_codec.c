/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that knows hiredis (0.14 to 1.x), and of it only the codec: it connects nowhere.
 */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* Kinds of replies have the same names here and there. */
enum hiredis_type {
	HIREDIS_STRING = REDIS_REPLY_STRING,
	HIREDIS_ARRAY = REDIS_REPLY_ARRAY,
	HIREDIS_INTEGER = REDIS_REPLY_INTEGER,
	HIREDIS_STATUS = REDIS_REPLY_STATUS,
	HIREDIS_ERROR = REDIS_REPLY_ERROR,
};
#undef REDIS_REPLY_ARRAY
#undef REDIS_REPLY_NIL
#undef REDIS_REPLY_STATUS
#undef REDIS_REPLY_ERROR

#include "base/text.h"
#include "redis_internal.h"

/* Bytes of an error reply that are shown. */
#define ERROR_SHOWN 240

bool redis_codec_init(struct redis_codec *codec, const struct redis_limits *limits)
{
	*codec = (struct redis_codec){.guard.limits = *limits, .reader = redisReaderCreate()};
	return codec->reader != NULL;
}

void redis_codec_done(struct redis_codec *codec)
{
	if (codec->reader != NULL) {
		redisReaderFree(codec->reader);
	}
	*codec = (struct redis_codec){0};
}

static void view_reply(struct redis_reply *view, const redisReply *reply)
{
	*view = (struct redis_reply){.kind = REDIS_REPLY_NIL, .object = reply};
	switch (reply->type) {
	case HIREDIS_INTEGER:
		view->kind = REDIS_REPLY_NUMBER;
		view->number = reply->integer;
		return;
	case HIREDIS_ARRAY:
		view->kind = REDIS_REPLY_ARRAY;
		view->count = reply->elements;
		return;
	case HIREDIS_STRING:
		view->kind = REDIS_REPLY_TEXT;
		break;
	case HIREDIS_STATUS:
		view->kind = REDIS_REPLY_STATUS;
		break;
	case HIREDIS_ERROR:
		view->kind = REDIS_REPLY_ERROR;
		break;
	default:
		return;
	}
	view->text = reply->str;
	view->length = (size_t)reply->len;
}

enum redis_codec_verdict redis_codec_feed(struct redis_codec *codec, struct redis_input *input,
					  struct redis_reply *reply, struct error *error)
{
	const uint8_t *bytes = input->bytes;
	void *object = NULL;
	size_t used = 0;
	enum redis_guard_verdict verdict =
		redis_guard_scan(&codec->guard, bytes, input->length, &used, error);

	if (verdict == REDIS_GUARD_REFUSED) {
		return REDIS_CODEC_BROKEN;
	}
	input->bytes += used;
	input->length -= used;
	if (redisReaderFeed(codec->reader, (const char *)bytes, used) != REDIS_OK) {
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

void redis_reply_element(const struct redis_reply *array, size_t index, struct redis_reply *element)
{
	const redisReply *reply = array->object;

	invariant(array->kind == REDIS_REPLY_ARRAY && index < array->count);
	view_reply(element, reply->element[index]);
}

void redis_reply_explain(const struct redis_reply *reply, struct error *error)
{
	struct buffer shown = {0};

	if (reply->kind != REDIS_REPLY_ERROR && reply->kind != REDIS_REPLY_FAILED) {
		error_set(error, "a reply of an unexpected type");
		return;
	}
	text_append_printable(&shown, reply->text, reply->length, ERROR_SHOWN);
	error_set(error, "%.*s", (int)shown.length, (const char *)buffer_bytes(&shown));
	buffer_done(&shown);
}

void redis_reply_done(struct redis_reply *reply)
{
	if (reply->object != NULL) {
		freeReplyObject((void *)reply->object);
	}
	*reply = (struct redis_reply){0};
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

void redis_codec_write_text(struct buffer *out, size_t count, const char *const *words)
{
	size_t *lengths = calloc(count, sizeof(*lengths));

	if (lengths == NULL) {
		out->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		lengths[i] = strlen(words[i]);
	}
	redis_codec_write(out, &(struct redis_command){count, words, lengths});
	free(lengths);
}
