/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of certificates, in one table that is sorted when all are there. Nothing is remembered
 * about names that clients ask for (C114).
 */
#include "tls_internal.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/nid.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "core/config.h"

static bool grow(struct tls_names *names)
{
	size_t room = names->room != 0 ? names->room * 2 : 16;
	struct tls_name *grown;

	if (names->count < names->room) {
		return true;
	}
	grown = reallocarray(names->names, room, sizeof(*grown));
	if (grown == NULL) {
		return false;
	}
	names->names = grown;
	names->room = room;
	return true;
}

/* What cannot be a host name is left out: nobody can ask for it. */
static bool add(struct tls_names *names, const char *text, size_t length, size_t certificate)
{
	char *copy;

	if (length > 0 && text[length - 1] == '.') {
		length--;
	}
	if (length == 0 || length > TLS_NAME_MAX || memchr(text, '\0', length) != NULL) {
		return true;
	}
	copy = strndup(text, length);
	if (copy == NULL || !grow(names)) {
		free(copy);
		return false;
	}
	text_lower(copy);
	names->names[names->count++] = (struct tls_name){.text = copy, .certificate = certificate};
	return true;
}

static bool add_configured(struct tls_names *names, const struct config_texts *configured,
			   size_t certificate)
{
	for (size_t i = 0; i < configured->count; i++) {
		if (!add(names, configured->texts[i], strlen(configured->texts[i]), certificate)) {
			return false;
		}
	}
	return true;
}

static bool add_alternative(struct tls_names *names, const GENERAL_NAMES *alternatives,
			    size_t certificate)
{
	for (size_t i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(alternatives, i);
		const ASN1_IA5STRING *text;

		if (name->type != GEN_DNS) {
			continue;
		}
		text = name->d.dNSName;
		if (!add(names, (const char *)ASN1_STRING_get0_data(text),
			 (size_t)ASN1_STRING_length(text), certificate)) {
			return false;
		}
	}
	return true;
}

static bool add_common(struct tls_names *names, X509 *leaf, size_t certificate)
{
	char text[TLS_NAME_MAX + 2];
	int length = X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, text,
					       sizeof(text));

	return length <= 0 || add(names, text, (size_t)length, certificate);
}

bool tls_names_add(struct tls_names *names, const struct config_certificate *configured, X509 *leaf,
		   size_t certificate)
{
	GENERAL_NAMES *alternatives;
	size_t before = names->count;
	bool added = true;

	if (configured->names.count > 0) {
		return add_configured(names, &configured->names, certificate);
	}
	alternatives = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	if (alternatives != NULL) {
		added = add_alternative(names, alternatives, certificate);
		GENERAL_NAMES_free(alternatives);
	}
	if (added && names->count == before) {
		added = add_common(names, leaf, certificate);
	}
	return added;
}

static int compare(const void *left, const void *right)
{
	const struct tls_name *one = left;
	const struct tls_name *other = right;
	int order = strcmp(one->text, other->text);

	if (order == 0) {
		order = (one->certificate > other->certificate) -
			(one->certificate < other->certificate);
	}
	return order;
}

void tls_names_sort(struct tls_names *names)
{
	if (names->count > 0) {
		qsort(names->names, names->count, sizeof(*names->names), compare);
	}
}

size_t tls_names_find(const struct tls_names *names, const char *text,
		      const struct tls_name **first)
{
	size_t low = 0;
	size_t high = names->count;
	size_t count = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(names->names[middle].text, text) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	while (low + count < names->count && strcmp(names->names[low + count].text, text) == 0) {
		count++;
	}
	if (count > 0) {
		*first = &names->names[low];
	}
	return count;
}

void tls_names_done(struct tls_names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		free(names->names[i].text);
	}
	free(names->names);
	*names = (struct tls_names){0};
}
