/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults that no single option can be blamed for; those of backends are in config_check_backend.c.
 */
#include <string.h>

#include "config_check_internal.h"

static const struct toml_node *entry_node(const struct toml_node *array, size_t index,
					  const char *key)
{
	invariant(array != NULL && index < array->child_count);
	return config_child(&array->children[index], key);
}

struct config_place check_place(const struct toml_node *array, size_t index, const char *key)
{
	const struct toml_node *node = entry_node(array, index, key);

	return node != NULL ? node->place : array->children[index].place;
}

bool check_is_said(const struct toml_node *array, size_t index, const char *key)
{
	const struct toml_node *node = entry_node(array, index, key);

	return node != NULL && !(node->kind == TOML_STRING && node->length == 0) &&
	       !(node->kind == TOML_ARRAY && node->child_count == 0);
}

bool check_is_word(const struct toml_node *array, size_t index, const char *key, const char *word)
{
	const struct toml_node *node = entry_node(array, index, key);

	return node != NULL && node->kind == TOML_STRING && strcmp(node->text, word) == 0;
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
			faults_add(checking->faults, check_place(array, index, "address"),
				   "two listeners on one address: \"%s\" stands in line %u too; "
				   "give each [[listener]] its own",
				   here, check_place(array, i, "address").line);
		} else {
			faults_add(checking->faults, check_place(array, index, "address"),
				   "two listeners on one port: \"%s\" and, in line %u, \"%s\", of "
				   "which one is every address; keep one",
				   here, check_place(array, i, "address").line, there);
		}
		return;
	}
}

/* A tls that is a fault itself has its default in the config, which nobody wrote. */
static const char *tls_of(const struct toml_node *array, size_t index)
{
	if (check_is_word(array, index, "tls", "starttls")) {
		return "starttls";
	}
	if (array->children[index].kind == TOML_TABLE &&
	    (entry_node(array, index, "tls") == NULL ||
	     check_is_word(array, index, "tls", "implicit"))) {
		return "implicit";
	}
	return NULL;
}

static void check_needs_certificate(struct checking *checking, const struct toml_node *array)
{
	for (size_t i = 0; i < checking->config->listener_count; i++) {
		const char *word = tls_of(array, i);

		if (word != NULL) {
			faults_add(checking->faults, check_place(array, i, "tls"),
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

	if (listener->allow_plaintext && tls_of(array, index) != NULL) {
		faults_add(
			checking->faults, check_place(array, index, "allow_plaintext"),
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
		if (config->listeners[i].proxy_protocol && !check_is_said(array, i, "trusted")) {
			faults_add(checking->faults, check_place(array, i, "proxy_protocol"),
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
}
