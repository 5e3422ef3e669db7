/* SPDX-License-Identifier: Apache-2.0
 *
 * Gathering, sorting and telling faults.
 */
#include "fault_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE_LENGTH_MAX 64

static struct fault *faults_grow(struct faults *faults)
{
	if (faults->kept == faults->capacity) {
		size_t capacity = faults->capacity == 0 ? 16 : faults->capacity * 2;
		struct fault *items = realloc(faults->items, capacity * sizeof(*items));

		if (items == NULL) {
			return NULL;
		}
		faults->items = items;
		faults->capacity = capacity;
	}
	return &faults->items[faults->kept];
}

/* A fault is one line on somebody's terminal, whatever the file holds. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < 0x20 || *text >= 0x7F) {
			*text = '?';
		}
	}
}

void faults_add(struct faults *faults, struct config_place place, const char *format, ...)
{
	struct fault *fault;
	va_list arguments;
	char *text = NULL;

	faults->count++;
	if (faults->kept == FAULTS_MAX || (fault = faults_grow(faults)) == NULL) {
		return;
	}
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) >= 0) {
		make_printable(text);
		*fault = (struct fault){.place = place, .number = faults->count, .text = text};
		faults->kept++;
	}
	va_end(arguments);
}

static int fault_compare(const void *left, const void *right)
{
	const struct fault *a = left;
	const struct fault *b = right;

	if (a->place.line != b->place.line) {
		return a->place.line < b->place.line ? -1 : 1;
	}
	if (a->place.column != b->place.column) {
		return a->place.column < b->place.column ? -1 : 1;
	}
	return a->number < b->number ? -1 : 1;
}

void faults_write(struct faults *faults, const char *name, FILE *out)
{
	if (faults->kept > 1) {
		qsort(faults->items, faults->kept, sizeof(*faults->items), fault_compare);
	}
	for (size_t i = 0; i < faults->kept; i++) {
		const struct fault *fault = &faults->items[i];

		fprintf(out, "%s:%u:%u: %s\n", name, fault->place.line, fault->place.column,
			fault->text);
	}
	if (faults->count > faults->kept) {
		fprintf(out, "%s:1:1: %zu more faults are not shown\n", name,
			faults->count - faults->kept);
	}
}

void faults_done(struct faults *faults)
{
	for (size_t i = 0; i < faults->kept; i++) {
		free(faults->items[i].text);
	}
	free(faults->items);
	*faults = (struct faults){0};
}

const char *fault_quote(char quoted[FAULT_QUOTE_SIZE], const char *text, size_t length)
{
	size_t shown = length <= QUOTE_LENGTH_MAX ? length : QUOTE_LENGTH_MAX - 3;

	for (size_t i = 0; i < shown; i++) {
		quoted[i] = text[i] != '\0' ? text[i] : '?';
	}
	memcpy(quoted + shown, "...", 4);
	if (shown == length) {
		quoted[shown] = '\0';
	}
	return quoted;
}
