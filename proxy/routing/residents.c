/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of those who are here.
 */
#include "residents_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static uint64_t hash_of(const struct table *table, const struct table_link *link)
{
	(void)table;
	return container_of(link, struct resident, link)->hash;
}

void residents_init(struct residents *residents)
{
	*residents = (struct residents){.table = {.hash = hash_of}};
}

struct resident *residents_find(const struct residents *residents, const char *user, uint64_t hash)
{
	struct table_link *link = table_chain(&residents->table, hash);

	for (; link != NULL; link = link->next) {
		struct resident *resident = container_of(link, struct resident, link);

		if (resident->hash == hash && strcmp(resident->user, user) == 0) {
			return resident;
		}
	}
	return NULL;
}

struct resident *residents_add(struct residents *residents, const char *user, uint64_t hash)
{
	size_t size = strlen(user) + 1;
	struct resident *resident = calloc(1, sizeof(*resident) + size);

	if (resident == NULL) {
		return NULL;
	}
	resident->hash = hash;
	memcpy(resident->user, user, size);
	if (!table_add(&residents->table, &resident->link, hash)) {
		free(resident);
		return NULL;
	}
	DL_PREPEND2(residents->list, resident, previous, next);
	return resident;
}

static void release(struct resident *resident)
{
	free(resident->hold);
	free(resident->heard_text);
	free(resident);
}

void residents_remove(struct residents *residents, struct resident *resident)
{
	invariant(resident->stays == NULL && resident->waiting == 0 &&
		  !timeout_is_waiting(&resident->due));
	table_remove(&residents->table, &resident->link, resident->hash);
	DL_DELETE2(residents->list, resident, previous, next);
	release(resident);
}

void residents_done(struct residents *residents)
{
	while (residents->list != NULL) {
		residents_remove(residents, residents->list);
	}
	table_done(&residents->table);
}
