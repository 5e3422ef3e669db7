/* SPDX-License-Identifier: Apache-2.0
 *
 * OCSP responses made on the spot (RFC 6960 section 4.2.1).
 */
#include "support/made_ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <openssl/bytestring.h>
#include <openssl/mem.h>

#define EXPLICIT(number) (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | (number))
#define IMPLICIT(number) (CBS_ASN1_CONTEXT_SPECIFIC | (number))

static const uint8_t basic_type[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01};
static const uint8_t sha1_type[] = {0x2b, 0x0e, 0x03, 0x02, 0x1a};
static const uint8_t ecdsa_type[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};

static void add(CBB *to, unsigned tag, const void *bytes, size_t length)
{
	CBB child;

	assert_true(CBB_add_asn1(to, &child, tag) && CBB_add_bytes(&child, bytes, length) &&
		    CBB_flush(to));
}

static void add_time(CBB *to, const char *text)
{
	add(to, CBS_ASN1_GENERALIZEDTIME, text, strlen(text));
}

static void open(CBB *to, CBB *child, unsigned tag)
{
	assert_true(CBB_add_asn1(to, child, tag));
}

static void add_identity(CBB *to, long serial)
{
	static const uint8_t hash[20] = {1, 2, 3};
	CBB identity;
	CBB algorithm;

	open(to, &identity, CBS_ASN1_SEQUENCE);
	open(&identity, &algorithm, CBS_ASN1_SEQUENCE);
	add(&algorithm, CBS_ASN1_OBJECT, sha1_type, sizeof(sha1_type));
	add(&algorithm, CBS_ASN1_NULL, "", 0);
	assert_true(CBB_flush(&identity));
	add(&identity, CBS_ASN1_OCTETSTRING, hash, sizeof(hash));
	add(&identity, CBS_ASN1_OCTETSTRING, hash, sizeof(hash));
	assert_true(CBB_add_asn1_uint64(&identity, (uint64_t)serial) && CBB_flush(to));
}

static void add_singles(CBB *to, const struct made_ocsp *made)
{
	CBB list;

	open(to, &list, CBS_ASN1_SEQUENCE);
	for (size_t i = 0; i < MADE_OCSP_SINGLES && made->singles[i].begin != NULL; i++) {
		CBB single;
		CBB inner;

		open(&list, &single, CBS_ASN1_SEQUENCE);
		add_identity(&single, made->singles[i].serial);
		if (made->singles[i].revoked) {
			open(&single, &inner, EXPLICIT(1));
			add_time(&inner, "20200101000000Z");
		} else {
			add(&single, IMPLICIT(0), "", 0);
		}
		assert_true(CBB_flush(&single));
		add_time(&single, made->singles[i].begin);
		if (made->singles[i].end != NULL) {
			open(&single, &inner, EXPLICIT(0));
			add_time(&inner, made->singles[i].end);
		}
		assert_true(CBB_flush(&list));
	}
	assert_true(CBB_flush(to));
}

static void add_data(CBB *to, const struct made_ocsp *made)
{
	static const uint8_t hash[20] = {4, 5, 6};
	CBB data;
	CBB inner;

	open(to, &data, CBS_ASN1_SEQUENCE);
	if (made->versioned) {
		open(&data, &inner, EXPLICIT(0));
		assert_true(CBB_add_asn1_uint64(&inner, 0) && CBB_flush(&data));
	}
	if (made->by_key) {
		open(&data, &inner, EXPLICIT(2));
		add(&inner, CBS_ASN1_OCTETSTRING, hash, sizeof(hash));
	} else {
		open(&data, &inner, EXPLICIT(1));
		add(&inner, CBS_ASN1_SEQUENCE, "", 0);
	}
	assert_true(CBB_flush(&data));
	add_time(&data, "20200101000000Z");
	add_singles(&data, made);
	assert_true(CBB_flush(to));
}

static void add_basic(CBB *to, const struct made_ocsp *made)
{
	CBB basic;
	CBB algorithm;

	open(to, &basic, CBS_ASN1_SEQUENCE);
	add_data(&basic, made);
	open(&basic, &algorithm, CBS_ASN1_SEQUENCE);
	add(&algorithm, CBS_ASN1_OBJECT, ecdsa_type, sizeof(ecdsa_type));
	assert_true(CBB_flush(&basic));
	add(&basic, CBS_ASN1_BITSTRING, "\0sign", 5);
	assert_true(CBB_flush(to));
}

void made_ocsp_write(struct buffer *out, const struct made_ocsp *made)
{
	uint8_t *bytes;
	size_t length;
	CBB whole;
	CBB response;
	CBB tagged;
	CBB inner;
	CBB content;

	assert_true(CBB_init(&whole, 512));
	open(&whole, &response, CBS_ASN1_SEQUENCE);
	add(&response, CBS_ASN1_ENUMERATED, &made->status, 1);
	if (made->status == 0) {
		open(&response, &tagged, EXPLICIT(0));
		open(&tagged, &inner, CBS_ASN1_SEQUENCE);
		add(&inner, CBS_ASN1_OBJECT, basic_type,
		    sizeof(basic_type) - (made->other_type ? 1 : 0));
		open(&inner, &content, CBS_ASN1_OCTETSTRING);
		add_basic(&content, made);
	}
	assert_true(CBB_finish(&whole, &bytes, &length));
	assert_true(buffer_append(out, bytes, length));
	OPENSSL_free(bytes);
}

void made_ocsp_time(char text[MADE_OCSP_TIME_MAX], long seconds)
{
	time_t moment = time(NULL) + seconds;
	struct tm broken;

	assert_non_null(gmtime_r(&moment, &broken));
	assert_int_equal(strftime(text, MADE_OCSP_TIME_MAX, "%Y%m%d%H%M%SZ", &broken), 15);
}
