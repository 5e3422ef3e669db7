/* SPDX-License-Identifier: Apache-2.0
 *
 * [routing.users]: names normalised, sorted and found.
 */
#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/config_user.h"

bool config_normalise_user(const struct config_routing *routing, const char *user, char *key,
			   size_t size)
{
	bool bare = routing->default_domain[0] != '\0' && strchr(user, '@') == NULL;
	int length = snprintf(key, size, "%s%s%s", user, bare ? "@" : "",
			      bare ? routing->default_domain : "");

	if (user[0] == '\0' || length < 0 || (size_t)length >= size) {
		return false;
	}
	if (routing->user_case == CONFIG_USER_LOWER) {
		text_lower(key);
	}
	return true;
}

static int user_compare(const void *key, const void *user)
{
	return strcmp(key, ((const struct config_user *)user)->name);
}

size_t config_find_user(const struct config *config, const char *key)
{
	const struct config_user *user = NULL;

	if (config->routing.user_count > 0) {
		user = bsearch(key, config->routing.users, config->routing.user_count,
			       sizeof(*user), user_compare);
	}
	return user != NULL ? user->backend : config->backend_count;
}

/* struct entry is a user while the file is being read: with the place where it stands. */
struct entry {
	struct config_user user;
	const struct toml_node *node;
};

/* struct reading: entries are in the order of the file at first, then sorted. */
struct reading {
	struct config *config;
	struct faults *faults;
	const struct config_backend **backends; /* sorted by name */
	size_t backend_count;
	struct entry *entries;
	size_t entry_count;
};

static int backend_compare(const void *left, const void *right)
{
	const struct config_backend *const *a = left;
	const struct config_backend *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static int backend_find(const void *name, const void *backend)
{
	const struct config_backend *const *found = backend;

	return strcmp(name, (*found)->name);
}

static int entry_compare(const void *left, const void *right)
{
	const struct entry *a = left;
	const struct entry *b = right;
	int order = strcmp(a->user.name, b->user.name);

	if (order != 0) {
		return order;
	}
	if (a->node->key_place.line != b->node->key_place.line) {
		return a->node->key_place.line < b->node->key_place.line ? -1 : 1;
	}
	return a->node->key_place.column < b->node->key_place.column ? -1 : 1;
}

static void sort_backends(struct reading *reading)
{
	for (size_t i = 0; i < reading->config->backend_count; i++) {
		if (reading->config->backends[i].name != NULL) {
			reading->backends[reading->backend_count++] = &reading->config->backends[i];
		}
	}
	qsort(reading->backends, reading->backend_count, sizeof(*reading->backends),
	      backend_compare);
}

/* The index of the backend that a user's value names; backend_count when there is a fault. */
static size_t read_backend(struct reading *reading, const struct toml_node *node)
{
	struct config *config = reading->config;
	const struct config_backend *const *found;
	char user[FAULT_QUOTE_SIZE];
	char quoted[FAULT_QUOTE_SIZE];

	fault_quote(user, node->key, node->key_length);
	if (node->kind != TOML_STRING) {
		faults_add(reading->faults, node->place,
			   "user \"%s\" must be the name of a backend in quotes, not %s%s", user,
			   config_kind_name(node->kind),
			   node->kind == TOML_TABLE ? "; a user name with a dot needs quotes too"
						    : "");
		return config->backend_count;
	}
	found = bsearch(node->text, reading->backends, reading->backend_count,
			sizeof(*reading->backends), backend_find);
	if (found == NULL || strlen(node->text) != node->length) {
		faults_add(reading->faults, node->place,
			   "user \"%s\" lives on \"%s\", but no "
			   "[[backend]] has that name",
			   user, fault_quote(quoted, node->text, node->length));
		return config->backend_count;
	}
	return (size_t)(*found - config->backends);
}

static void read_user(struct reading *reading, const struct toml_node *node)
{
	char key[CONFIG_USER_MAX + 1];
	char quoted[FAULT_QUOTE_SIZE];
	struct entry entry = {.node = node, .user.backend = read_backend(reading, node)};

	fault_quote(quoted, node->key, node->key_length);
	if (text_has_control(node->key, node->key_length)) {
		faults_add(reading->faults, node->key_place,
			   "user \"%s\" has a control character "
			   "in its name; no client can log in as that",
			   quoted);
	} else if (!config_normalise_user(&reading->config->routing, node->key, key, sizeof(key))) {
		faults_add(reading->faults, node->key_place,
			   "user \"%s\" must have a name of 1 to "
			   "%d bytes, the default domain included",
			   quoted, CONFIG_USER_MAX);
	} else if ((entry.user.name = strdup(key)) == NULL) {
		faults_add(reading->faults, node->key_place, "out of memory");
	} else {
		reading->entries[reading->entry_count++] = entry;
	}
}

static void report_twins(struct reading *reading)
{
	char quoted[FAULT_QUOTE_SIZE];

	for (size_t i = 1; i < reading->entry_count; i++) {
		const struct entry *entry = &reading->entries[i];
		const struct entry *first = entry - 1;

		if (strcmp(entry->user.name, first->user.name) == 0) {
			faults_add(reading->faults, entry->node->key_place,
				   "user \"%s\" is the same as the one in line %u: both become the "
				   "same name by user_case and default_domain; keep one",
				   fault_quote(quoted, entry->node->key, entry->node->key_length),
				   first->node->key_place.line);
		}
	}
}

static void read_all(struct reading *reading, const struct toml_node *table)
{
	struct config_routing *routing = &reading->config->routing;

	sort_backends(reading);
	for (size_t i = 0; i < table->child_count; i++) {
		read_user(reading, &table->children[i]);
	}
	qsort(reading->entries, reading->entry_count, sizeof(*reading->entries), entry_compare);
	report_twins(reading);
	for (size_t i = 0; i < reading->entry_count; i++) {
		routing->users[routing->user_count++] = reading->entries[i].user;
	}
}

void config_read_users(struct config *config, const struct toml_node *root, struct faults *faults)
{
	const struct toml_node *table = config_child(config_child(root, "routing"), "users");
	struct reading reading = {.config = config, .faults = faults};

	if (table == NULL || table->kind != TOML_TABLE) {
		return;
	}
	/* One more of each: an empty table is no failure. */
	reading.entries = calloc(table->child_count + 1, sizeof(*reading.entries));
	reading.backends = calloc(config->backend_count + 1, sizeof(struct config_backend *));
	config->routing.users = calloc(table->child_count + 1, sizeof(struct config_user));
	if (reading.entries != NULL && reading.backends != NULL && config->routing.users != NULL) {
		read_all(&reading, table);
	} else {
		faults_add(faults, table->place, "out of memory");
	}
	free(reading.entries);
	free(reading.backends);
}
