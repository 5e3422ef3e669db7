/* SPDX-License-Identifier: Apache-2.0
 *
 * TOML 1.0 text as a tree of plain structs that remember where in the text they stand. toml.cpp is
 * the one file that knows the library behind it; no exception leaves it.
 */
#ifndef GATEPOST_CORE_TOML_INTERNAL_H
#define GATEPOST_CORE_TOML_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config_value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How deep tables, arrays and dotted keys may lie in one another: far more than any option needs,
 * and few enough that no recursion is deep. */
#define TOML_DEPTH_MAX 32

enum toml_kind {
	TOML_TABLE,
	TOML_ARRAY,
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_TIME, /* date, time or both */
};

/* struct toml_node owns its strings and children. The place of a table written as [header] is that
 * of its header. */
struct toml_node {
	enum toml_kind kind;
	char *key; /* NULL in arrays and for the root; `key_length` bytes and a NUL */
	size_t key_length;
	struct config_place key_place;
	struct config_place place; /* of the value */
	char *text;                /* TOML_STRING: `length` bytes and a NUL */
	size_t length;
	int64_t integer; /* TOML_INTEGER, TOML_BOOLEAN */
	struct toml_node *children;
	size_t child_count;
};

/* struct toml_fault: why text is not TOML. */
struct toml_fault {
	struct config_place place;
	char text[256];
};

/* toml_parse makes the tree of `length` bytes; NULL, and `fault`, when they are not TOML, lie
 * deeper than TOML_DEPTH_MAX, or memory ran out. */
struct toml_node *toml_parse(const char *text, size_t length, struct toml_fault *fault);

/* toml_free wipes and frees a tree; a string may have been a password. NULL is fine. */
void toml_free(struct toml_node *root);

/* toml_too_deep finds the first place that lies deeper than TOML_DEPTH_MAX; {0} when none does.
 * Reads as far as the text is TOML; what it makes of other text does not matter. */
struct config_place toml_too_deep(const char *text, size_t length);

#ifdef __cplusplus
}
#endif

#endif
