/* SPDX-License-Identifier: Apache-2.0
 *
 * The backends that options of [routing] name: wherever these stand in the file.
 */
#include <string.h>

#include "config_internal.h"
#include "option_routing_internal.h"

/* The index of the backend of this name; backend_count where there is none. */
static size_t find_backend(const struct config *config, const char *name, size_t length)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		const char *known = config->backends[i].name;

		if (known != NULL && strncmp(known, name, length) == 0 && known[length] == '\0') {
			return i;
		}
	}
	return config->backend_count;
}

static void read_unknown(struct config_routing *routing, const struct config *config,
			 const struct toml_node *node, struct faults *faults)
{
	char quoted[FAULT_QUOTE_SIZE];

	routing->unknown_backend = find_backend(config, node->text, node->length);
	if (routing->unknown_backend == config->backend_count) {
		faults_add(faults, node->place,
			   "\"unknown\" is \"%s\", but must be \"reject\", \"hash\", \"assign\" or "
			   "the name of a [[backend]]",
			   fault_quote(quoted, node->text, node->length));
	}
}

static void read_canary(struct config_routing *routing, const struct config *config,
			const struct toml_node *node, struct faults *faults)
{
	size_t length = option_canary_name(node->text);
	char quoted[FAULT_QUOTE_SIZE];

	routing->canary.backend = find_backend(config, node->text, length);
	if (routing->canary.backend == config->backend_count) {
		faults_add(faults, node->place,
			   "\"canary\" is \"%s\", but no [[backend]] has that name",
			   fault_quote(quoted, node->text, length));
	}
}

void config_read_names(struct config *config, const struct toml_node *root, struct faults *faults)
{
	const struct toml_node *table = config_child(root, "routing");
	const struct toml_node *unknown = config_child(table, "unknown");
	const struct toml_node *canary = config_child(table, "canary");

	if (config->routing.unknown == CONFIG_UNKNOWN_BACKEND) {
		read_unknown(&config->routing, config, unknown, faults);
	}
	if (config->routing.canary.share > 0) {
		read_canary(&config->routing, config, canary, faults);
	}
}
