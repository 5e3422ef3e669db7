/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults that no single option can be blamed for.
 */
#include <string.h>

#include "config_internal.h"

/* struct checking is what the functions below hand down. */
struct checking {
	const struct config *config;
	const struct toml_node *root;
	struct faults *faults;
};

/* The node of an option in the `index`th table of an array; the table where it is not written. */
static const struct toml_node *entry_node(const struct toml_node *array, size_t index,
					  const char *key)
{
	const struct toml_node *table;
	const struct toml_node *node;

	invariant(array != NULL && index < array->child_count);
	table = &array->children[index];
	node = config_child(table, key);

	return node != NULL ? node : table;
}

static void check_listener_twins(struct checking *checking, const struct toml_node *array,
				 size_t index)
{
	const struct config_listener *listeners = checking->config->listeners;
	char text[ENDPOINT_TEXT_MAX];

	if (listeners[index].address.kind == ENDPOINT_NONE) {
		return;
	}
	for (size_t i = 0; i < index; i++) {
		if (endpoint_equal(&listeners[i].address, &listeners[index].address)) {
			endpoint_format(&listeners[i].address, text);
			faults_add(checking->faults, entry_node(array, index, "address")->place,
				   "two listeners on one address: \"%s\" stands in line %u too; "
				   "give each [[listener]] its own",
				   text, entry_node(array, i, "address")->place.line);
			return;
		}
	}
}

/* A tls that is a fault itself has its default in the config, which nobody wrote. */
static bool wants_certificate(const struct checking *checking, const struct toml_node *array,
			      size_t index)
{
	const struct toml_node *node;

	invariant(array != NULL && index < array->child_count);
	node = config_child(&array->children[index], "tls");

	return checking->config->listeners[index].tls == CONFIG_TLS_IMPLICIT &&
	       array->children[index].kind == TOML_TABLE &&
	       (node == NULL || (node->kind == TOML_STRING && strcmp(node->text, "implicit") == 0));
}

static void check_listeners(struct checking *checking)
{
	const struct toml_node *array = config_child(checking->root, "listener");
	const struct toml_node *certificates =
		config_child(config_child(checking->root, "tls"), "certificate");
	const struct config *config = checking->config;
	bool told = certificates != NULL;

	if (array == NULL || (array->kind == TOML_ARRAY && array->child_count == 0)) {
		faults_add(checking->faults, (struct config_place){1, 1},
			   "no [[listener]]; add one "
			   "with address = \"0.0.0.0:993\"");
		return;
	}
	for (size_t i = 0; i < config->listener_count; i++) {
		check_listener_twins(checking, array, i);
		if (!told && wants_certificate(checking, array, i)) {
			told = true;
			faults_add(checking->faults, entry_node(array, i, "tls")->place,
				   "a [[listener]] with tls = \"implicit\" needs a "
				   "[[tls.certificate]] with chain and key");
		}
	}
}

static void check_certificates(struct checking *checking)
{
	const struct toml_node *array =
		config_child(config_child(checking->root, "tls"), "certificate");

	for (size_t i = 1; array != NULL && i < checking->config->tls.certificate_count; i++) {
		faults_add(checking->faults, array->children[i].place,
			   "a second "
			   "[[tls.certificate]]; this version takes one: remove the others");
	}
}

static void check_backends(struct checking *checking)
{
	const struct toml_node *array = config_child(checking->root, "backend");
	const struct config_backend *backends = checking->config->backends;

	for (size_t i = 1; array != NULL && i < checking->config->backend_count; i++) {
		for (size_t j = 0; j < i && backends[i].name != NULL; j++) {
			if (backends[j].name == NULL ||
			    strcmp(backends[i].name, backends[j].name) != 0) {
				continue;
			}
			faults_add(checking->faults, entry_node(array, i, "name")->place,
				   "two backends have one name: \"%s\" stands in line %u too; "
				   "give each [[backend]] its own",
				   backends[i].name, entry_node(array, j, "name")->place.line);
			break;
		}
	}
}

void config_check(const struct config *config, const struct toml_node *root, struct faults *faults)
{
	struct checking checking = {config, root, faults};

	check_listeners(&checking);
	check_certificates(&checking);
	check_backends(&checking);
}
