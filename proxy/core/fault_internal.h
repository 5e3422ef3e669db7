/* SPDX-License-Identifier: Apache-2.0
 *
 * The faults of one configuration, gathered in any order and told in the order of the file.
 */
#ifndef GATEPOST_CORE_FAULT_INTERNAL_H
#define GATEPOST_CORE_FAULT_INTERNAL_H

#include <stddef.h>
#include <stdio.h>

#include "base/base.h"
#include "toml_internal.h"

/* Faults that are told; of more only the number is. */
#define FAULTS_MAX 1000

struct fault {
	struct config_place place;
	size_t number; /* in which order they were found */
	char *text;
};

/* struct faults: zero is "none". `count` goes on past FAULTS_MAX; only so many are kept. */
struct faults {
	struct fault *items;
	size_t capacity;
	size_t kept;
	size_t count;
};

/* faults_add notes one sentence for a place; what is not printable ASCII becomes '?'. */
void faults_add(struct faults *faults, struct config_place place, const char *format, ...)
	printf_format(3, 4);

/* faults_write writes `name:line:column: text` for each, sorted by place. */
void faults_write(struct faults *faults, const char *name, FILE *out);

void faults_done(struct faults *faults);

/* Room for text of the file shown within a fault. */
#define FAULT_QUOTE_SIZE 68

/* fault_quote writes at most 64 of the `length` bytes of the file, "..." where they are cut, a
 * NUL as '?'. Returns `quoted`. */
const char *fault_quote(char quoted[FAULT_QUOTE_SIZE], const char *text, size_t length);

#endif
