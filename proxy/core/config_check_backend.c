/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of backends that no single option can be blamed for.
 */
#include <string.h>

#include "config_check_internal.h"
#include "option_type_internal.h"

static void check_twins(struct checking *checking, const struct toml_node *array, size_t index)
{
	const struct config_backend *backends = checking->config->backends;

	for (size_t i = 0; i < index && backends[index].name != NULL; i++) {
		if (backends[i].name != NULL &&
		    strcmp(backends[i].name, backends[index].name) == 0) {
			faults_add(checking->faults, check_place(check_entry(array, index), "name"),
				   "two backends have one name: \"%s\" stands in line %u too; "
				   "give each [[backend]] its own",
				   backends[index].name,
				   check_place(check_entry(array, i), "name").line);
			return;
		}
	}
}

/* routing.unknown takes a name as well as one of its words. */
static void check_reserved(struct checking *checking, const struct toml_node *table,
			   const struct config_backend *backend)
{
	const char *words = option_find(SECTION_ROUTING, "unknown")->accepts;
	char word[OPTION_WORD_MAX];

	for (unsigned i = 0; backend->name != NULL && option_word_at(words, i, word); i++) {
		if (strcmp(backend->name, word) == 0) {
			faults_add(checking->faults, check_place(table, "name"),
				   "no backend can have the name \"%s\", which is a word of "
				   "routing.unknown; choose another",
				   word);
		}
	}
}

static void check_with_tls(struct checking *checking, const struct toml_node *table,
			   const struct config_backend *backend)
{
	char address[ENDPOINT_TEXT_MAX];

	if (backend->verify && backend->address.kind == ENDPOINT_UNIX &&
	    !check_is_said(table, "server_name")) {
		endpoint_format(&backend->address, address);
		faults_add(checking->faults, check_place(table, "address"),
			   "no certificate names \"%s\"; set server_name to the name that the "
			   "backend's certificate has",
			   address);
	}
}

/* A literal address is connected to from addresses of its own family only. */
static void check_sources(struct checking *checking, const struct toml_node *table,
			  const struct config_backend *backend)
{
	bool fits = backend->address.kind != ENDPOINT_IP;

	if (backend->sources.count > 0 && backend->address.kind == ENDPOINT_UNIX) {
		faults_add(checking->faults, check_place(table, "sources"),
			   "\"sources\" has no effect on \"unix:/path\"; remove it");
		return;
	}
	for (size_t i = 0; i < backend->sources.count && !fits; i++) {
		fits = backend->sources.addresses[i].family == backend->address.ip.family;
	}
	if (backend->sources.count > 0 && !fits) {
		faults_add(checking->faults, check_place(table, "sources"),
			   "\"sources\" has no address from which \"address\" can be connected to: "
			   "one is IPv4, the other IPv6; add one of its kind");
	}
}

static void check_pace(struct checking *checking, const struct toml_node *table,
		       const struct config_backend *backend)
{
	const struct toml_node *rate = config_child(table, "connect_rate");
	bool none = rate == NULL || (rate->kind == TOML_INTEGER && rate->integer == 0);

	if (backend->slow_start_ms > 0 && none) {
		faults_add(checking->faults, check_place(table, "slow_start"),
			   "\"slow_start\" needs \"connect_rate\", which it approaches; set it");
	}
}

static void check_backend(struct checking *checking, const struct toml_node *table,
			  const struct config_backend *backend)
{
	check_reserved(checking, table, backend);
	check_pair(checking, table, "client_chain", "client_key");
	check_pair(checking, table, "master_user", "master_password");
	check_sources(checking, table, backend);
	check_pace(checking, table, backend);
	if (backend->tls != CONFIG_TLS_NONE) {
		check_with_tls(checking, table, backend);
	} else if (check_may_be(table, "tls", "none")) {
		check_no_tls(checking, table, backend->verify, "tls = \"none\"",
			     "set tls to \"starttls\" or \"implicit\"");
	}
}

void check_backends(struct checking *checking)
{
	const struct toml_node *array = config_child(checking->root, "backend");

	for (size_t i = 0; i < checking->config->backend_count; i++) {
		check_twins(checking, array, i);
		check_backend(checking, check_entry(array, i), &checking->config->backends[i]);
	}
}
