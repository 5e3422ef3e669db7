/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults that no single option can be blamed for; those of backends, Redis and routing have
 * files of their own.
 */
#include <string.h>

#include "config_check_internal.h"
#include "option_type_internal.h"

const struct toml_node *check_entry(const struct toml_node *array, size_t index)
{
	invariant(array != NULL && index < array->child_count);
	return &array->children[index];
}

struct config_place check_place(const struct toml_node *table, const char *key)
{
	const struct toml_node *node = config_child(table, key);

	if (node == NULL) {
		node = table;
	}
	return node != NULL ? node->place : (struct config_place){1, 1};
}

bool check_is_said(const struct toml_node *table, const char *key)
{
	const struct toml_node *node = config_child(table, key);

	return node != NULL && !(node->kind == TOML_STRING && node->length == 0) &&
	       !(node->kind == TOML_ARRAY && node->child_count == 0);
}

bool check_is_word(const struct toml_node *table, const char *key, const char *word)
{
	const struct toml_node *node = config_child(table, key);

	return node != NULL && node->kind == TOML_STRING && strcmp(node->text, word) == 0;
}

bool check_may_be(const struct toml_node *table, const char *key, const char *words)
{
	char word[OPTION_WORD_MAX];

	for (unsigned i = 0; option_word_at(words, i, word); i++) {
		if (check_is_word(table, key, word)) {
			return true;
		}
	}
	return config_child(table, key) == NULL;
}

void check_pair(struct checking *checking, const struct toml_node *table, const char *first,
		const char *second)
{
	bool said = check_is_said(table, first);

	if (said != check_is_said(table, second)) {
		faults_add(checking->faults, check_place(table, said ? first : second),
			   "\"%s\" stands without \"%s\"; write both, or neither",
			   said ? first : second, said ? second : first);
	}
}

/* Somebody may have thought that they switch TLS on. */
void check_no_tls(struct checking *checking, const struct toml_node *table, bool verify,
		  const char *where, const char *remedy)
{
	static const char *const keys[] = {
		"verify", "ca", "server_name", "client_chain", "client_key",
	};

	for (size_t i = 0; i < array_length(keys); i++) {
		if (i == 0 ? !verify : check_is_said(table, keys[i])) {
			faults_add(checking->faults, check_place(table, keys[i]),
				   "\"%s\" has no effect where %s; %s, or remove it", keys[i],
				   where, remedy);
		}
	}
}

/* Every address of a port is a wildcard's, but IPv6 leaves IPv4 alone (IPV6_V6ONLY). */
static bool overlap(const struct endpoint *left, const struct endpoint *right)
{
	return left->kind == ENDPOINT_IP && right->kind == ENDPOINT_IP &&
	       left->port == right->port && left->ip.family == right->ip.family &&
	       (addr_is_wildcard(&left->ip) || addr_is_wildcard(&right->ip));
}

static void check_listener_twins(struct checking *checking, const struct toml_node *array,
				 size_t index)
{
	const struct config_listener *listeners = checking->config->listeners;
	const struct endpoint *address = &listeners[index].address;
	char here[ENDPOINT_TEXT_MAX];
	char there[ENDPOINT_TEXT_MAX];

	for (size_t i = 0; i < index && address->kind != ENDPOINT_NONE; i++) {
		bool equal = endpoint_equal(&listeners[i].address, address);

		if (!equal && !overlap(&listeners[i].address, address)) {
			continue;
		}
		endpoint_format(address, here);
		endpoint_format(&listeners[i].address, there);
		if (equal) {
			faults_add(checking->faults,
				   check_place(check_entry(array, index), "address"),
				   "two listeners on one address: \"%s\" stands in line %u too; "
				   "give each [[listener]] its own",
				   here, check_place(check_entry(array, i), "address").line);
		} else {
			faults_add(checking->faults,
				   check_place(check_entry(array, index), "address"),
				   "two listeners on one port: \"%s\" and, in line %u, \"%s\", of "
				   "which one is every address; keep one",
				   here, check_place(check_entry(array, i), "address").line, there);
		}
		return;
	}
}

/* A tls that is a fault itself has its default in the config, which nobody wrote. */
static const char *tls_of(const struct toml_node *table)
{
	if (check_is_word(table, "tls", "starttls")) {
		return "starttls";
	}
	if (table->kind == TOML_TABLE && check_may_be(table, "tls", "implicit")) {
		return "implicit";
	}
	return NULL;
}

static void check_needs_certificate(struct checking *checking, const struct toml_node *array)
{
	for (size_t i = 0; i < checking->config->listener_count; i++) {
		const char *word = tls_of(check_entry(array, i));

		if (word != NULL) {
			faults_add(checking->faults, check_place(check_entry(array, i), "tls"),
				   "a [[listener]] with tls = \"%s\" needs a [[tls.certificate]] "
				   "with chain and key",
				   word);
			return;
		}
	}
}

/* Somebody may think that it is needed for STARTTLS, and would have passwords in the clear. */
static void check_plaintext(struct checking *checking, const struct toml_node *array, size_t index)
{
	const struct config_listener *listener = &checking->config->listeners[index];

	if (listener->allow_plaintext && tls_of(check_entry(array, index)) != NULL) {
		faults_add(
			checking->faults, check_place(check_entry(array, index), "allow_plaintext"),
			"\"allow_plaintext\" is for tls = \"none\" only; remove it, or set tls to "
			"\"none\"");
	}
}

static void check_listeners(struct checking *checking)
{
	const struct toml_node *array = config_child(checking->root, "listener");
	const struct config *config = checking->config;

	if (array == NULL || (array->kind == TOML_ARRAY && array->child_count == 0)) {
		faults_add(checking->faults, (struct config_place){1, 1},
			   "no [[listener]]; add one with address = \"0.0.0.0:993\"");
		return;
	}
	if (config_child(config_child(checking->root, "tls"), "certificate") == NULL) {
		check_needs_certificate(checking, array);
	}
	for (size_t i = 0; i < config->listener_count; i++) {
		check_listener_twins(checking, array, i);
		check_plaintext(checking, array, i);
		if (config->listeners[i].proxy_protocol &&
		    !check_is_said(check_entry(array, i), "trusted")) {
			faults_add(checking->faults,
				   check_place(check_entry(array, i), "proxy_protocol"),
				   "\"proxy_protocol\" needs \"trusted\": the networks from which "
				   "a PROXY header is believed, such as [\"10.0.0.0/8\"]");
		}
	}
}

void config_check(const struct config *config, const struct toml_node *root, struct faults *faults)
{
	struct checking checking = {config, root, faults};

	check_listeners(&checking);
	check_backends(&checking);
	check_redis(&checking);
	check_routing(&checking);
	check_health(&checking);
}
