/* SPDX-License-Identifier: Apache-2.0
 *
 * What servers of a cluster say about who has what: a reply is read as a redirection and as a map
 * of slots, and its texts as keys. Whatever is believed can be connected to.
 */
#include <stdint.h>
#include <string.h>

#include "../../proxy/routing/redis_internal.h"
#include "../../proxy/routing/redis_reply_internal.h"
#include "../../proxy/routing/redis_slots_internal.h"
#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct endpoint *place)
{
	char text[ENDPOINT_TEXT_MAX];
	struct endpoint again = {0};

	invariant(place->kind == ENDPOINT_IP || place->kind == ENDPOINT_NAME);
	invariant(place->port != 0);
	endpoint_format(place, text);
	invariant(endpoint_parse(&again, text, 0, NULL) && endpoint_equal(place, &again));
	endpoint_done(&again);
}

static void read_redirect(const struct redis_reply *reply, const struct endpoint *asked)
{
	struct endpoint place = {0};
	uint16_t slot = REDIS_NOBODY;

	switch (redis_redirect_read(reply, asked, &slot, &place)) {
	case REDIS_REDIRECT_MOVED:
	case REDIS_REDIRECT_ASK:
		invariant(slot < REDIS_SLOTS);
		check_place(&place);
		break;
	default:
		invariant(slot == REDIS_NOBODY && place.kind == ENDPOINT_NONE);
	}
	endpoint_done(&place);
}

static void read_map(const struct redis_reply *reply, const struct endpoint *asked)
{
	struct error why = {0};
	struct redis_map *map = redis_map_new(reply, asked, &why);

	if (map == NULL) {
		invariant(why.text[0] != '\0' || reply->length == 0);
		return;
	}
	invariant(map->master_count <= REDIS_MASTERS_MAX);
	for (size_t i = 0; i < map->master_count; i++) {
		check_place(&map->masters[i]);
	}
	for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
		invariant(map->owners[slot] == REDIS_NOBODY ||
			  map->owners[slot] < map->master_count);
	}
	redis_map_free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct redis_limits limits = {1 << 20, 65536};
	struct redis_input input = {data, size};
	struct redis_codec codec = {0};
	struct redis_reply reply = {0};
	struct endpoint asked = {0};
	struct error why = {0};

	invariant(endpoint_parse(&asked, "10.0.0.1:6379", 0, NULL));
	invariant(redis_key_slot(data, size) < REDIS_SLOTS);
	invariant(redis_codec_init(&codec, &limits));
	if (size > 0 && redis_codec_feed(&codec, &input, &reply, &why) == REDIS_CODEC_REPLY) {
		if (reply.kind == REDIS_REPLY_ERROR) {
			read_redirect(&reply, &asked);
		}
		read_map(&reply, &asked);
		redis_reply_done(&reply);
	}
	redis_codec_done(&codec);
	endpoint_done(&asked);
	return 0;
}
