/* SPDX-License-Identifier: Apache-2.0
 *
 * SRV records out of a DNS message. c-ares reads them too, but its older versions do not tell their
 * TTL. A compressed name only ever points backwards from where it began, so that none goes round.
 */
#include "resolver_srv_internal.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

#define HEADER_SIZE   12
#define QUESTION_TAIL 4  /* type and class */
#define RECORD_TAIL   10 /* type, class, TTL, length of the data */
#define SERVICE_HEAD  6  /* priority, weight, port */

#define CLASS_INTERNET 1
#define TYPE_CNAME     5
#define TYPE_SRV       33

#define LABEL_MAX    63
#define POINTER_BITS 0xC0
#define POINTERS_MAX 127 /* in one name: as many as it can have labels */
#define TTL_MAX      INT32_MAX

struct message {
	const uint8_t *bytes;
	size_t length;
};

/* struct name is in lower case and without its final dot; the root is "". A name with other
 * characters than those of hosts is `odd`, and its text means nothing. */
struct name {
	char text[ENDPOINT_HOST_MAX + 1];
	size_t length;
	bool odd;
};

struct record {
	struct name owner;
	uint16_t type;
	uint16_t class;
	uint32_t ttl;
	size_t data; /* where it begins */
	size_t data_length;
};

/* struct cursor walks over the answers. */
struct cursor {
	struct message message;
	size_t at;
	unsigned left;
	bool broken;
};

static uint16_t read_16(const struct message *message, size_t at)
{
	return (uint16_t)(message->bytes[at] << 8 | message->bytes[at + 1]);
}

/* --- Names ---------------------------------------------------------------------------------- */

static bool is_of_host(char letter)
{
	return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') ||
	       letter == '-' || letter == '_';
}

/* False when the name is longer than names can be. */
static bool add_label(struct name *name, const uint8_t *bytes, size_t length)
{
	size_t dot = name->length > 0 ? 1 : 0;

	if (name->length + dot + length > ENDPOINT_HOST_MAX) {
		return false;
	}
	if (dot > 0) {
		name->text[name->length++] = '.';
	}
	for (size_t i = 0; i < length; i++) {
		char letter = (char)text_fold(bytes[i]);

		name->odd = name->odd || !is_of_host(letter);
		name->text[name->length++] = letter;
	}
	return true;
}

/* Reads one run of labels; true where it ends with the name, or with a pointer, which goes to
 * `*pointer`. */
static bool read_labels(const struct message *message, size_t *at, struct name *name,
			size_t *pointer)
{
	*pointer = 0;
	while (*at < message->length) {
		size_t label = message->bytes[(*at)++];

		if (label == 0) {
			return true;
		}
		if (label >= POINTER_BITS && *at < message->length) {
			*pointer = (label & ~(size_t)POINTER_BITS) << 8 | message->bytes[(*at)++];
			return *pointer >= HEADER_SIZE;
		}
		if (label > LABEL_MAX || label > message->length - *at ||
		    !add_label(name, message->bytes + *at, label)) {
			return false;
		}
		*at += label;
	}
	return false;
}

/* `*at` is behind the name then. */
static bool read_name(const struct message *message, size_t *at, struct name *name)
{
	size_t begin = *at;
	size_t pointer;

	*name = (struct name){0};
	if (!read_labels(message, at, name, &pointer)) {
		return false;
	}
	for (unsigned hops = 0; pointer != 0; hops++) {
		size_t there = pointer;

		if (there >= begin || hops == POINTERS_MAX) {
			return false;
		}
		begin = there;
		if (!read_labels(message, &there, name, &pointer)) {
			return false;
		}
	}
	return true;
}

/* The name that makes up the rest of a record's data, from `at` on. */
static bool read_data_name(const struct message *message, const struct record *record, size_t at,
			   struct name *name)
{
	return read_name(message, &at, name) && at == record->data + record->data_length;
}

static bool is_named(const struct name *name, const char *text)
{
	return !name->odd && strcmp(name->text, text) == 0;
}

/* --- Records -------------------------------------------------------------------------------- */

/* The answers begin behind the questions. */
static struct cursor begin_answers(const struct message *message)
{
	struct cursor cursor = {.message = *message, .at = HEADER_SIZE};
	unsigned questions;

	if (message->length < HEADER_SIZE) {
		cursor.broken = true;
		return cursor;
	}
	cursor.left = read_16(message, 6);
	for (questions = read_16(message, 4); questions > 0 && !cursor.broken; questions--) {
		struct name name;

		cursor.broken = !read_name(message, &cursor.at, &name) ||
				message->length - cursor.at < QUESTION_TAIL;
		cursor.at += QUESTION_TAIL;
	}
	return cursor;
}

static bool read_record(struct cursor *cursor, struct record *record)
{
	const struct message *message = &cursor->message;
	size_t at;

	if (!read_name(message, &cursor->at, &record->owner) ||
	    message->length - cursor->at < RECORD_TAIL) {
		return false;
	}
	at = cursor->at;
	record->type = read_16(message, at);
	record->class = read_16(message, at + 2);
	record->ttl = (uint32_t)read_16(message, at + 4) << 16 | read_16(message, at + 6);
	record->ttl = record->ttl > TTL_MAX ? 0 : record->ttl;
	record->data_length = read_16(message, at + 8);
	record->data = at + RECORD_TAIL;
	cursor->at = record->data + record->data_length;
	return cursor->at <= message->length;
}

/* The next record of this type; false when there is none, or the message is broken. */
static bool find_record(struct cursor *cursor, struct record *record, uint16_t type)
{
	while (cursor->left > 0 && !cursor->broken) {
		cursor->left--;
		cursor->broken = !read_record(cursor, record);
		if (!cursor->broken && record->class == CLASS_INTERNET && record->type == type) {
			return true;
		}
	}
	return false;
}

static uint32_t smaller_of(uint32_t left, uint32_t right)
{
	return left < right ? left : right;
}

/* --- Aliases -------------------------------------------------------------------------------- */

/* What `name` is another name of. False where it is none, or the message is broken. */
static bool follow_alias(const struct message *message, struct name *name, uint32_t *ttl)
{
	struct cursor cursor = begin_answers(message);
	struct record record;
	struct name target;

	while (find_record(&cursor, &record, TYPE_CNAME)) {
		if (!is_named(&record.owner, name->text)) {
			continue;
		}
		if (!read_data_name(message, &record, record.data, &target) || target.odd) {
			return false;
		}
		*ttl = smaller_of(*ttl, record.ttl);
		*name = target;
		return true;
	}
	return false;
}

/* --- Services ------------------------------------------------------------------------------- */

/* Behind those of its priority, which came before. */
static void add_service(struct resolver_srv *srv, const struct resolver_service *service)
{
	size_t place = srv->count;
	char *host = srv->hosts[srv->count];

	memcpy(host, service->host, strlen(service->host) + 1);
	while (place > 0 && srv->services[place - 1].priority > service->priority) {
		srv->services[place] = srv->services[place - 1];
		place--;
	}
	srv->services[place] = *service;
	srv->services[place].host = host;
	srv->count++;
}

/* Whether the record is whole; what is of no use is passed over. */
static bool take_record(struct resolver_srv *srv, const struct message *message,
			const struct record *record, bool *is_root)
{
	struct name target;
	struct resolver_service service = {0};

	if (record->data_length < SERVICE_HEAD ||
	    !read_data_name(message, record, record->data + SERVICE_HEAD, &target)) {
		return false;
	}
	service.host = target.text;
	service.priority = read_16(message, record->data);
	service.weight = read_16(message, record->data + 2);
	service.port = read_16(message, record->data + 4);
	*is_root = target.length == 0;
	if (target.length > 0 && !target.odd && service.port != 0 &&
	    srv->count < RESOLVER_SERVICES_MAX) {
		add_service(srv, &service);
	}
	return true;
}

static enum resolver_srv_verdict
take_records(struct resolver_srv *srv, const struct message *message, const struct name *name)
{
	struct cursor cursor = begin_answers(message);
	struct record record;
	unsigned count = 0;
	bool is_root = false;

	while (find_record(&cursor, &record, TYPE_SRV)) {
		if (!is_named(&record.owner, name->text)) {
			continue;
		}
		count++;
		srv->ttl = smaller_of(srv->ttl, record.ttl);
		if (!take_record(srv, message, &record, &is_root)) {
			return RESOLVER_SRV_MALFORMED;
		}
	}
	if (cursor.broken) {
		return RESOLVER_SRV_MALFORMED;
	}
	if (srv->count > 0) {
		return RESOLVER_SRV_FOUND;
	}
	return count == 1 && is_root ? RESOLVER_SRV_NONE : RESOLVER_SRV_EMPTY;
}

enum resolver_srv_verdict resolver_srv_read(struct resolver_srv *srv, const uint8_t *message,
					    size_t length, const char *name)
{
	struct message answer = {.bytes = message, .length = length};
	struct name sought = {0};

	srv->ttl = TTL_MAX;
	srv->count = 0;
	sought.length = strlen(name);
	if (sought.length > ENDPOINT_HOST_MAX) {
		return RESOLVER_SRV_EMPTY;
	}
	memcpy(sought.text, name, sought.length + 1);
	for (unsigned i = 0; i < RESOLVER_SRV_ALIASES_MAX; i++) {
		if (!follow_alias(&answer, &sought, &srv->ttl)) {
			break;
		}
	}
	return take_records(srv, &answer, &sought);
}
