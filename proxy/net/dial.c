/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to addresses, and addresses in turn. Whoever is called back may free the dial, so nothing
 * is touched after that.
 */
#include "net/dial.h"

#include <string.h>

#include "net/stream.h"

static bool try_one(struct dial *dial)
{
	const struct dial_settings *settings = &dial->settings;
	struct stream_target target = {.path = dial->path};

	if (dial->path == NULL) {
		target.address = &dial->addresses[dial->next];
	}
	dial->next++;
	settings->events->trying(dial);
	return stream_connect(settings->stream, settings->shared, &target, settings->stream_events,
			      &dial->why);
}

static void try_rest(struct dial *dial)
{
	struct error why;

	while (dial->next < dial->count) {
		if (try_one(dial)) {
			return;
		}
	}
	why = dial->why;
	error_prefix(&why, "cannot connect");
	dial->settings.events->failed(dial, &why);
}

static void on_resolved(struct resolver_query *query, const struct addr *addresses, size_t count,
			const char *why)
{
	struct dial *dial = container_of(query, struct dial, query);

	if (count == 0) {
		struct error told = {0};

		error_set(&told, "%.255s", why);
		dial->settings.events->failed(dial, &told);
		return;
	}
	dial->count = count;
	memcpy(dial->addresses, addresses, dial->count * sizeof(addresses[0]));
	try_rest(dial);
}

void dial_begin(struct dial *dial, const struct dial_settings *settings,
		const struct endpoint *endpoint)
{
	*dial = (struct dial){.settings = *settings};
	switch (endpoint->kind) {
	case ENDPOINT_IP:
		dial->addresses[0] = endpoint->ip;
		dial->count = 1;
		try_rest(dial);
		break;
	case ENDPOINT_UNIX:
		dial->path = endpoint->name;
		dial->count = 1;
		try_rest(dial);
		break;
	case ENDPOINT_NAME:
		settings->events->trying(dial);
		resolver_ask(settings->resolver, &dial->query, endpoint->name, endpoint->port,
			     on_resolved);
		break;
	case ENDPOINT_NONE:
		invariant(!"an endpoint that is nowhere");
	}
}

void dial_next(struct dial *dial, const struct error *why)
{
	dial->why = *why;
	stream_close(dial->settings.stream);
	resolver_cancel(&dial->query);
	try_rest(dial);
}

void dial_again(struct dial *dial)
{
	invariant(dial->next > 0);
	stream_close(dial->settings.stream);
	dial->next--;
	try_rest(dial);
}

void dial_cancel(struct dial *dial)
{
	resolver_cancel(&dial->query);
}
