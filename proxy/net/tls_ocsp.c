/* SPDX-License-Identifier: Apache-2.0
 *
 * OCSP responses (RFC 6960 section 4.2.1), read as far as it takes to know whether one belongs to a
 * certificate, and when.
 */
#include "tls_internal.h"

#include <string.h>

#define EXPLICIT(number) (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | (number))

/* RFC 6960 section 4.2.1: successful. */
#define STATUS_SUCCESSFUL 0

/* id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1. */
static const uint8_t basic_type[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01};

static bool two_digits(CBS *text, int *number)
{
	uint8_t tens;
	uint8_t ones;

	if (!CBS_get_u8(text, &tens) || !CBS_get_u8(text, &ones) || tens < '0' || tens > '9' ||
	    ones < '0' || ones > '9') {
		return false;
	}
	*number = (tens - '0') * 10 + (ones - '0');
	return true;
}

/* GeneralizedTime as in DER for certificates: YYYYMMDDHHMMSSZ (RFC 5280 section 4.1.2.5.2). */
static bool read_time(CBS *from, int64_t *seconds)
{
	int part[7]; /* century, year, month, day, hour, minute, second */
	struct tm broken = {0};
	uint8_t zone;
	CBS text;

	if (!CBS_get_asn1(from, &text, CBS_ASN1_GENERALIZEDTIME)) {
		return false;
	}
	for (size_t i = 0; i < array_length(part); i++) {
		if (!two_digits(&text, &part[i])) {
			return false;
		}
	}
	if (!CBS_get_u8(&text, &zone) || zone != 'Z' || CBS_len(&text) != 0 || part[2] < 1 ||
	    part[2] > 12 || part[3] < 1 || part[3] > 31 || part[4] > 23 || part[5] > 59 ||
	    part[6] > 60) {
		return false;
	}
	broken.tm_year = part[0] * 100 + part[1] - 1900;
	broken.tm_mon = part[2] - 1;
	broken.tm_mday = part[3];
	broken.tm_hour = part[4];
	broken.tm_min = part[5];
	broken.tm_sec = part[6];
	*seconds = (int64_t)timegm(&broken);
	return true;
}

/* Down to the list of SingleResponses; false where the form is another. `status` is the first that
 * is said. */
static bool open_response(CBS response, CBS *singles, uint8_t *status)
{
	CBS outer;
	CBS code;
	CBS bytes;
	CBS inner;
	CBS type;
	CBS content;
	CBS basic;
	CBS data;

	if (!CBS_get_asn1(&response, &outer, CBS_ASN1_SEQUENCE) || CBS_len(&response) != 0 ||
	    !CBS_get_asn1(&outer, &code, CBS_ASN1_ENUMERATED) || !CBS_get_u8(&code, status) ||
	    CBS_len(&code) != 0) {
		return false;
	}
	if (*status != STATUS_SUCCESSFUL) {
		return true;
	}
	if (!CBS_get_asn1(&outer, &bytes, EXPLICIT(0)) ||
	    !CBS_get_asn1(&bytes, &inner, CBS_ASN1_SEQUENCE) ||
	    !CBS_get_asn1(&inner, &type, CBS_ASN1_OBJECT) ||
	    !CBS_mem_equal(&type, basic_type, sizeof(basic_type)) ||
	    !CBS_get_asn1(&inner, &content, CBS_ASN1_OCTETSTRING) ||
	    !CBS_get_asn1(&content, &basic, CBS_ASN1_SEQUENCE) ||
	    !CBS_get_asn1(&basic, &data, CBS_ASN1_SEQUENCE)) {
		return false;
	}
	/* version, responderID and producedAt stand before them. */
	return CBS_get_optional_asn1(&data, NULL, NULL, EXPLICIT(0)) &&
	       CBS_get_any_asn1_element(&data, NULL, NULL, NULL) &&
	       CBS_get_asn1(&data, NULL, CBS_ASN1_GENERALIZEDTIME) &&
	       CBS_get_asn1(&data, singles, CBS_ASN1_SEQUENCE);
}

/* What one certificate's part says. Without nextUpdate, `end` is 0. */
struct single {
	CBS serial;
	struct tls_validity validity;
};

static bool read_single(CBS *singles, struct single *single)
{
	CBS one;
	CBS identity;
	CBS next;
	int has_next;

	if (!CBS_get_asn1(singles, &one, CBS_ASN1_SEQUENCE) ||
	    !CBS_get_asn1(&one, &identity, CBS_ASN1_SEQUENCE) ||
	    !CBS_get_asn1(&identity, NULL, CBS_ASN1_SEQUENCE) ||    /* hash algorithm */
	    !CBS_get_asn1(&identity, NULL, CBS_ASN1_OCTETSTRING) || /* issuer: name, key */
	    !CBS_get_asn1(&identity, NULL, CBS_ASN1_OCTETSTRING) ||
	    !CBS_get_asn1_element(&identity, &single->serial, CBS_ASN1_INTEGER) ||
	    !CBS_get_any_asn1_element(&one, NULL, NULL, NULL) || /* status */
	    !read_time(&one, &single->validity.begin) ||
	    !CBS_get_optional_asn1(&one, &next, &has_next, EXPLICIT(0))) {
		return false;
	}
	single->validity.end = 0;
	return !has_next || read_time(&next, &single->validity.end);
}

bool tls_ocsp_read(CBS response, CBS serial, struct tls_validity *validity, struct error *error)
{
	struct single single;
	uint8_t status;
	CBS singles;

	if (!open_response(response, &singles, &status)) {
		return error_set(error, "not an OCSP response in DER");
	}
	if (status != STATUS_SUCCESSFUL) {
		return error_set(error, "the responder refused to answer (status %u)", status);
	}
	while (CBS_len(&singles) > 0) {
		if (!read_single(&singles, &single)) {
			return error_set(error, "not an OCSP response in DER");
		}
		if (!CBS_mem_equal(&single.serial, CBS_data(&serial), CBS_len(&serial))) {
			continue;
		}
		if (single.validity.end == 0) {
			return error_set(error, "does not say until when it is valid");
		}
		*validity = single.validity;
		return true;
	}
	return error_set(error, "is for another certificate");
}
