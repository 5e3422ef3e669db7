/* SPDX-License-Identifier: Apache-2.0
 *
 * The only file that knows toml++: its tree, copied into plain structs. Every exception ends here,
 * as a fault in words.
 */
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "toml_internal.h"

namespace {

toml_place place_of(const toml::source_region &region)
{
	return toml_place{region.begin.line, region.begin.column};
}

char *copy_text(std::string_view text)
{
	char *copy = static_cast<char *>(std::malloc(text.size() + 1));

	if (copy == nullptr) {
		throw std::bad_alloc();
	}
	std::memcpy(copy, text.data(), text.size());
	copy[text.size()] = '\0';
	return copy;
}

void copy_node(toml_node *to, const toml::node &from);

void make_children(toml_node *to, size_t count)
{
	if (count == 0) {
		return;
	}
	to->children = static_cast<toml_node *>(std::calloc(count, sizeof(*to->children)));
	if (to->children == nullptr) {
		throw std::bad_alloc();
	}
	to->child_count = count;
}

void copy_table(toml_node *to, const toml::table &table)
{
	size_t i = 0;

	to->kind = TOML_TABLE;
	make_children(to, table.size());
	for (const auto &[key, value] : table) {
		toml_node *child = &to->children[i++];

		child->key = copy_text(key.str());
		child->key_length = key.str().size();
		child->key_place = place_of(key.source());
		copy_node(child, value);
	}
}

void copy_array(toml_node *to, const toml::array &array)
{
	size_t i = 0;

	to->kind = TOML_ARRAY;
	make_children(to, array.size());
	for (const toml::node &value : array) {
		copy_node(&to->children[i++], value);
	}
}

void copy_node(toml_node *to, const toml::node &from)
{
	to->place = place_of(from.source());
	switch (from.type()) {
	case toml::node_type::table:
		copy_table(to, *from.as_table());
		break;
	case toml::node_type::array:
		copy_array(to, *from.as_array());
		break;
	case toml::node_type::string:
		to->kind = TOML_STRING;
		to->text = copy_text(from.as_string()->get());
		to->length = from.as_string()->get().size();
		break;
	case toml::node_type::integer:
		to->kind = TOML_INTEGER;
		to->integer = from.as_integer()->get();
		break;
	case toml::node_type::boolean:
		to->kind = TOML_BOOLEAN;
		to->integer = from.as_boolean()->get() ? 1 : 0;
		break;
	case toml::node_type::floating_point:
		to->kind = TOML_FLOAT;
		break;
	default:
		to->kind = TOML_TIME;
		break;
	}
}

void fault_set(toml_fault *fault, toml_place place, const char *text)
{
	fault->place = place;
	std::snprintf(fault->text, sizeof(fault->text), "%s", text);
}

void node_done(toml_node *node)
{
	for (size_t i = 0; i < node->child_count; i++) {
		node_done(&node->children[i]);
	}
	if (node->text != nullptr) {
		explicit_bzero(node->text, node->length);
	}
	std::free(node->text);
	std::free(node->key);
	std::free(node->children);
}

} /* namespace */

void toml_free(toml_node *root)
{
	if (root != nullptr) {
		node_done(root);
		std::free(root);
	}
}

toml_node *toml_parse(const char *text, size_t length, toml_fault *fault)
{
	toml_place deep = toml_too_deep(text, length);
	toml_node *root = nullptr;

	if (deep.line != 0) {
		fault_set(fault, deep, "nested too deeply");
		return nullptr;
	}
	try {
		const toml::table table = toml::parse(std::string_view(text, length));

		root = static_cast<toml_node *>(std::calloc(1, sizeof(*root)));
		if (root == nullptr) {
			throw std::bad_alloc();
		}
		copy_node(root, table);
		return root;
	} catch (const toml::parse_error &error) {
		fault_set(fault, place_of(error.source()), error.what());
	} catch (const std::bad_alloc &) {
		fault_set(fault, toml_place{1, 1}, "out of memory");
	} catch (const std::exception &error) {
		fault_set(fault, toml_place{1, 1}, error.what());
	} catch (...) {
		fault_set(fault, toml_place{1, 1}, "the TOML library failed");
	}
	toml_free(root);
	return nullptr;
}
