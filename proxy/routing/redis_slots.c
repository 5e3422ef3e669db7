/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of a cluster: whose a key is, and what servers say about it. All of it is what a peer
 * wrote: every number is looked at before it is used.
 */
#include "redis_slots_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_reply_internal.h"

/* --- The slot of a key ---------------------------------------------------------------------- */

/* CRC-16 with the polynomial 0x1021, bits as they come, beginning with 0; by half bytes. */
static uint16_t crc16(const uint8_t *bytes, size_t length)
{
	static const uint16_t table[16] = {
		0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
		0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
	};
	uint16_t crc = 0;

	for (size_t i = 0; i < length; i++) {
		crc = (uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (bytes[i] >> 4)];
		crc = (uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (bytes[i] & 15)];
	}
	return crc;
}

uint16_t redis_key_slot(const void *key, size_t length)
{
	const uint8_t *bytes = key;
	const uint8_t *open = length > 0 ? memchr(bytes, '{', length) : NULL;

	if (open != NULL) {
		size_t rest = length - (size_t)(open + 1 - bytes);
		const uint8_t *close = rest > 0 ? memchr(open + 1, '}', rest) : NULL;

		if (close != NULL && close > open + 1) {
			return crc16(open + 1, (size_t)(close - open - 1)) % REDIS_SLOTS;
		}
	}
	return crc16(bytes, length) % REDIS_SLOTS;
}

/* --- Places --------------------------------------------------------------------------------- */

/* Digits up to the end: at most `most`. */
static bool read_number(const char *text, size_t length, unsigned most, unsigned *number)
{
	unsigned value = 0;

	if (length == 0 || length > 5) {
		return false;
	}
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return false;
		}
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (value > most) {
		return false;
	}
	*number = value;
	return true;
}

bool redis_port_read(const char *text, size_t length, uint16_t *port)
{
	unsigned number = 0;

	if (!read_number(text, length, UINT16_MAX, &number) || number == 0) {
		return false;
	}
	*port = (uint16_t)number;
	return true;
}

bool redis_host_endpoint(const char *host, size_t length, uint16_t port,
			 const struct endpoint *asked, struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT_MAX];
	struct endpoint made = {0};
	bool is_v6;

	if (length == 0 && asked != NULL && asked->kind != ENDPOINT_UNIX) {
		host = asked->name;
		length = strlen(host);
	}
	if (port == 0 || length == 0 || length > ENDPOINT_HOST_MAX ||
	    memchr(host, '\0', length) != NULL) {
		return false;
	}
	is_v6 = memchr(host, ':', length) != NULL;
	if (snprintf(text, sizeof(text), "%s%.*s%s:%u", is_v6 ? "[" : "", (int)length, host,
		     is_v6 ? "]" : "", port) >= (int)sizeof(text) ||
	    !endpoint_parse(&made, text, 0, NULL)) {
		return false;
	}
	if (made.kind == ENDPOINT_UNIX || made.port != port) {
		endpoint_done(&made);
		return false;
	}
	*endpoint = made;
	return true;
}

static bool read_place(const char *text, size_t length, const struct endpoint *asked,
		       struct endpoint *endpoint)
{
	const char *colon = memrchr(text, ':', length);
	uint16_t port = 0;

	return colon != NULL &&
	       redis_port_read(colon + 1, length - (size_t)(colon + 1 - text), &port) &&
	       redis_host_endpoint(text, (size_t)(colon - text), port, asked, endpoint);
}

/* "3999 127.0.0.1:6381", and whatever follows behind a blank. */
static bool read_slot_and_place(const char *text, size_t length, const struct endpoint *asked,
				uint16_t *slot, struct endpoint *endpoint)
{
	const char *blank = memchr(text, ' ', length);
	const char *place;
	const char *end;
	unsigned number = 0;

	if (blank == NULL || !read_number(text, (size_t)(blank - text), REDIS_SLOTS - 1, &number)) {
		return false;
	}
	place = blank + 1;
	end = memchr(place, ' ', length - (size_t)(place - text));
	end = end != NULL ? end : text + length;
	if (!read_place(place, (size_t)(end - place), asked, endpoint)) {
		return false;
	}
	*slot = (uint16_t)number;
	return true;
}

enum redis_redirect_kind redis_redirect_read(const struct redis_reply *error,
					     const struct endpoint *asked, uint16_t *slot,
					     struct endpoint *endpoint)
{
	static const struct {
		const char *word;
		enum redis_redirect_kind kind;
	} rows[] = {{"MOVED ", REDIS_REDIRECT_MOVED}, {"ASK ", REDIS_REDIRECT_ASK}};

	for (size_t i = 0; i < array_length(rows); i++) {
		size_t length = strlen(rows[i].word);

		if (error->length < length || memcmp(error->text, rows[i].word, length) != 0) {
			continue;
		}
		return read_slot_and_place(error->text + length, error->length - length, asked,
					   slot, endpoint)
			       ? rows[i].kind
			       : REDIS_REDIRECT_NONSENSE;
	}
	return REDIS_REDIRECT_NONE;
}

/* --- The map -------------------------------------------------------------------------------- */

static bool read_bounded(const struct redis_reply *array, size_t index, unsigned most,
			 unsigned *number)
{
	struct redis_reply element;

	redis_reply_element(array, index, &element);
	if (element.kind != REDIS_REPLY_NUMBER || element.number < 0 || element.number > most) {
		return false;
	}
	*number = (unsigned)element.number;
	return true;
}

/* The master of a range: "[host, port, id, ...]". A host that is nil is that which was asked; one
 * that is "?", or cannot be read, is unknown, and ENDPOINT_NONE. False for nonsense. */
static bool read_master(const struct redis_reply *node, const struct endpoint *asked,
			struct endpoint *endpoint)
{
	struct redis_reply host;
	unsigned port = 0;
	bool known;

	if (node->kind != REDIS_REPLY_ARRAY || node->count < 2 ||
	    !read_bounded(node, 1, UINT16_MAX, &port)) {
		return false;
	}
	redis_reply_element(node, 0, &host);
	if (host.kind != REDIS_REPLY_TEXT && host.kind != REDIS_REPLY_NIL) {
		return false;
	}
	known = redis_host_endpoint(host.kind == REDIS_REPLY_TEXT ? host.text : "",
				    host.kind == REDIS_REPLY_TEXT ? host.length : 0, (uint16_t)port,
				    asked, endpoint);
	if (!known) {
		*endpoint = (struct endpoint){0};
	}
	return true;
}

/* Takes `endpoint`. Neighbouring ranges are often of one master, so the last is looked at first. */
static bool find_master(struct redis_map *map, struct endpoint *endpoint, uint16_t *index)
{
	for (size_t i = map->master_count; i > 0; i--) {
		if (endpoint_equal(&map->masters[i - 1], endpoint)) {
			endpoint_done(endpoint);
			*index = (uint16_t)(i - 1);
			return true;
		}
	}
	if (map->master_count >= REDIS_MASTERS_MAX) {
		endpoint_done(endpoint);
		return false;
	}
	*index = (uint16_t)map->master_count;
	map->masters[map->master_count++] = *endpoint;
	return true;
}

static bool read_range(struct redis_map *map, const struct redis_reply *range,
		       const struct endpoint *asked, struct error *error)
{
	struct endpoint endpoint = {0};
	struct redis_reply node;
	unsigned first = 0;
	unsigned last = 0;
	uint16_t index = REDIS_NOBODY;

	if (range->kind != REDIS_REPLY_ARRAY || range->count < 3 ||
	    !read_bounded(range, 0, REDIS_SLOTS - 1, &first) ||
	    !read_bounded(range, 1, REDIS_SLOTS - 1, &last) || last < first) {
		return error_set(error, "a map of slots that makes no sense");
	}
	redis_reply_element(range, 2, &node);
	if (!read_master(&node, asked, &endpoint)) {
		return error_set(error, "a map of slots that makes no sense");
	}
	if (endpoint.kind != ENDPOINT_NONE && !find_master(map, &endpoint, &index)) {
		return error_set(error, "a map of more than %d masters", REDIS_MASTERS_MAX);
	}
	for (unsigned slot = first; slot <= last; slot++) {
		map->owners[slot] = index;
	}
	return true;
}

struct redis_map *redis_map_new(const struct redis_reply *reply, const struct endpoint *asked,
				struct error *error)
{
	struct redis_map *map;

	if (reply->kind != REDIS_REPLY_ARRAY) {
		redis_reply_explain(reply, error);
		return NULL;
	}
	map = calloc(1, sizeof(*map));
	if (map == NULL) {
		error_set(error, "out of memory");
		return NULL;
	}
	memset(map->owners, 0xff, sizeof(map->owners));
	for (size_t i = 0; i < reply->count; i++) {
		struct redis_reply range;

		redis_reply_element(reply, i, &range);
		if (!read_range(map, &range, asked, error)) {
			redis_map_free(map);
			return NULL;
		}
	}
	return map;
}

void redis_map_free(struct redis_map *map)
{
	if (map == NULL) {
		return;
	}
	for (size_t i = 0; i < map->master_count; i++) {
		endpoint_done(&map->masters[i]);
	}
	free(map);
}
