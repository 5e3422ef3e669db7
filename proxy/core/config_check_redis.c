/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of [redis] that no single option can be blamed for.
 */
#include "config_check_internal.h"
#include "redis_url_internal.h"

static void check_sentinel(struct checking *checking, const struct toml_node *table,
			   enum config_redis_kind kind)
{
	static const char *const keys[] = {"sentinel_user", "sentinel_password"};

	for (size_t i = 0; i < array_length(keys) && kind != CONFIG_REDIS_SENTINEL; i++) {
		if (check_is_said(table, keys[i])) {
			faults_add(checking->faults, check_place(table, keys[i]),
				   "\"%s\" is for sentinel:// and sentinels:// only; remove it",
				   keys[i]);
		}
	}
	if (kind == CONFIG_REDIS_SENTINEL && check_is_said(table, keys[0]) &&
	    !check_is_said(table, keys[1])) {
		faults_add(checking->faults, check_place(table, keys[0]),
			   "\"sentinel_user\" stands without \"sentinel_password\"; write both, or "
			   "neither");
	}
}

/* A URL that is a fault itself may have been meant as any other, but for its scheme. */
void check_redis(struct checking *checking)
{
	const struct toml_node *table = config_child(checking->root, "redis");
	const struct toml_node *url = config_child(table, "url");
	enum config_redis_kind kind = CONFIG_REDIS_SINGLE;
	bool tls = false;

	check_pair(checking, table, "client_chain", "client_key");
	if (url != NULL &&
	    (url->kind != TOML_STRING || !redis_url_scheme(url->text, &kind, &tls))) {
		return;
	}
	check_sentinel(checking, table, kind);
	if (!tls) {
		check_no_tls(checking, table, checking->config->redis.verify, "the URL has no TLS",
			     "begin it with rediss://, sentinels:// or "
			     "clusters://");
	}
}
