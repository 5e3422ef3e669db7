/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of [routing] and [health] that no single option can be blamed for.
 */
#include "config_check_internal.h"
#include "config_lookup_internal.h"

static bool has_weight(const struct config *config)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		if (config->backends[i].weight > 0) {
			return true;
		}
	}
	return false;
}

static bool places(const struct config *config)
{
	return config->routing.unknown == CONFIG_UNKNOWN_HASH ||
	       config->routing.unknown == CONFIG_UNKNOWN_ASSIGN;
}

static void check_weights(struct checking *checking, const struct toml_node *table)
{
	if (places(checking->config) && !has_weight(checking->config)) {
		faults_add(checking->faults, check_place(table, "unknown"),
			   "no [[backend]] has a weight, so that nobody can be placed; add one, or "
			   "set its weight to 100");
	}
}

/* What is assigned is written where the lookup reads it. */
static void check_assign(struct checking *checking, const struct toml_node *table)
{
	const struct config_routing *routing = &checking->config->routing;

	if (routing->unknown != CONFIG_UNKNOWN_ASSIGN) {
		return;
	}
	if (check_is_word(table, "source", "static")) {
		faults_add(checking->faults, check_place(table, "unknown"),
			   "\"assign\" keeps routes in Redis, which source = \"static\" does not "
			   "use; set unknown to \"hash\", or source to \"redis\"");
	} else if (!config_lookup_is_of_user(routing->lookup)) {
		faults_add(checking->faults, check_place(table, "lookup"),
			   "\"assign\" writes what this reads, which must be each user's own: GET "
			   "and a key with {user} in it, such as \"GET gatepost:route:{user}\"");
	}
}

static void check_failover(struct checking *checking, const struct toml_node *table)
{
	const struct config_routing *routing = &checking->config->routing;

	if (routing->failover && !places(checking->config)) {
		faults_add(
			checking->faults, check_place(table, "failover"),
			"\"failover\" is for those whom unknown = \"hash\" or \"assign\" places; "
			"set unknown so, or remove it");
	}
}

static void check_canary(struct checking *checking, const struct toml_node *table)
{
	const struct config *config = checking->config;
	const struct config_canary *canary = &config->routing.canary;

	if (canary->share == 0 || canary->backend == config->backend_count) {
		return;
	}
	if (config->routing.unknown != CONFIG_UNKNOWN_HASH) {
		faults_add(checking->faults, check_place(table, "canary"),
			   "\"canary\" is a share of those whom unknown = \"hash\" places; set "
			   "unknown so, or remove it");
	}
	if (config->backends[canary->backend].service != NULL &&
	    config->backends[canary->backend].service[0] != '\0') {
		faults_add(checking->faults, check_place(table, "canary"),
			   "\"canary\" must be one backend, and \"%s\" is all of a \"srv:\" name; "
			   "name another",
			   config->backends[canary->backend].name);
	}
}

/* Whether `unknown` is a fault itself, and may have been meant as any word. */
static bool is_faulty(const struct config *config, const struct toml_node *table)
{
	const struct config_routing *routing = &config->routing;

	return routing->unknown == CONFIG_UNKNOWN_BACKEND
		       ? routing->unknown_backend == config->backend_count
		       : routing->unknown == CONFIG_UNKNOWN_REJECT &&
				 !check_may_be(table, "unknown", "reject");
}

void check_routing(struct checking *checking)
{
	const struct toml_node *table = config_child(checking->root, "routing");

	if (is_faulty(checking->config, table)) {
		return;
	}
	check_weights(checking, table);
	check_assign(checking, table);
	check_failover(checking, table);
	check_canary(checking, table);
}

void check_health(struct checking *checking)
{
	static const char *const keys[] = {"user", "password"};
	const struct toml_node *table = config_child(checking->root, "health");

	for (size_t i = 0; i < array_length(keys); i++) {
		bool said = check_is_said(table, keys[i]);

		if (!said && check_is_word(table, "check", "login")) {
			faults_add(checking->faults, check_place(table, "check"),
				   "check = \"login\" needs \"%s\"", keys[i]);
		} else if (said && check_may_be(table, "check", "none connect greeting")) {
			faults_add(checking->faults, check_place(table, keys[i]),
				   "\"%s\" is for check = \"login\" only; remove it, or set check "
				   "so",
				   keys[i]);
		}
	}
}
