/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of backends that no single option can be blamed for.
 */
#include <string.h>

#include "config_check_internal.h"

/* Options that stand together. */
static const char *const pairs[][2] = {
	{"client_chain", "client_key"},
	{"master_user", "master_password"},
};

/* Options that say nothing without TLS; somebody may have thought that they switch it on. */
static const char *const of_tls[] = {"ca", "server_name", "client_chain", "client_key"};

static void check_twins(struct checking *checking, const struct toml_node *array, size_t index)
{
	const struct config_backend *backends = checking->config->backends;

	for (size_t i = 0; i < index && backends[index].name != NULL; i++) {
		if (backends[i].name != NULL &&
		    strcmp(backends[i].name, backends[index].name) == 0) {
			faults_add(checking->faults, check_place(array, index, "name"),
				   "two backends have one name: \"%s\" stands in line %u too; "
				   "give each [[backend]] its own",
				   backends[index].name, check_place(array, i, "name").line);
			return;
		}
	}
}

static void check_pairs(struct checking *checking, const struct toml_node *array, size_t index)
{
	for (size_t i = 0; i < array_length(pairs); i++) {
		bool first = check_is_said(array, index, pairs[i][0]);

		if (first != check_is_said(array, index, pairs[i][1])) {
			faults_add(checking->faults,
				   check_place(array, index, pairs[i][first ? 0 : 1]),
				   "\"%s\" stands without \"%s\"; write both, or neither",
				   pairs[i][first ? 0 : 1], pairs[i][first ? 1 : 0]);
		}
	}
}

static void refuse_without_tls(struct checking *checking, const struct toml_node *array,
			       size_t index, const char *key)
{
	faults_add(checking->faults, check_place(array, index, key),
		   "\"%s\" has no effect where tls = \"none\"; set tls to \"starttls\" or "
		   "\"implicit\", or remove it",
		   key);
}

static void check_without_tls(struct checking *checking, const struct toml_node *array,
			      size_t index)
{
	if (!checking->config->backends[index].verify) {
		refuse_without_tls(checking, array, index, "verify");
	}
	for (size_t i = 0; i < array_length(of_tls); i++) {
		if (check_is_said(array, index, of_tls[i])) {
			refuse_without_tls(checking, array, index, of_tls[i]);
		}
	}
}

static void check_with_tls(struct checking *checking, const struct toml_node *array, size_t index)
{
	const struct config_backend *backend = &checking->config->backends[index];
	char address[ENDPOINT_TEXT_MAX];

	if (backend->verify && backend->address.kind == ENDPOINT_UNIX &&
	    !check_is_said(array, index, "server_name")) {
		endpoint_format(&backend->address, address);
		faults_add(checking->faults, check_place(array, index, "address"),
			   "no certificate names \"%s\"; set server_name to the name that the "
			   "backend's certificate has",
			   address);
	}
}

void check_backends(struct checking *checking)
{
	const struct toml_node *array = config_child(checking->root, "backend");

	for (size_t i = 0; i < checking->config->backend_count; i++) {
		check_twins(checking, array, i);
		check_pairs(checking, array, i);
		if (checking->config->backends[i].tls != CONFIG_TLS_NONE) {
			check_with_tls(checking, array, i);
		} else if (!check_is_said(array, i, "tls") ||
			   check_is_word(array, i, "tls", "none")) {
			check_without_tls(checking, array, i);
		}
	}
}
