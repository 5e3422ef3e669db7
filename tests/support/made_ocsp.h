/* SPDX-License-Identifier: Apache-2.0
 *
 * OCSP responses made on the spot: of the right form, with a signature that is none.
 */
#ifndef GATEPOST_TESTS_MADE_OCSP_H
#define GATEPOST_TESTS_MADE_OCSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define MADE_OCSP_SINGLES 3

/* struct made_ocsp: zero is a successful response about nobody. */
struct made_ocsp {
	uint8_t status;
	bool other_type; /* than id-pkix-ocsp-basic */
	bool versioned;  /* says that it is of version 1, the default */
	bool by_key;     /* names the responder by its key */
	struct {
		long serial;
		bool revoked;
		const char *begin; /* thisUpdate; NULL: the list ends here */
		const char *end;   /* nextUpdate, NULL: none */
	} singles[MADE_OCSP_SINGLES];
};

void made_ocsp_write(struct buffer *out, const struct made_ocsp *made);

/* made_ocsp_time writes the time so many seconds from now. */
#define MADE_OCSP_TIME_MAX 16
void made_ocsp_time(char text[MADE_OCSP_TIME_MAX], long seconds);

#endif
