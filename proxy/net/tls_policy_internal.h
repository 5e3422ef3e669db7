/* SPDX-License-Identifier: Apache-2.0
 *
 * What we accept of TLS, on either side. Shared by tls*.c only.
 */
#ifndef GATEPOST_NET_TLS_POLICY_INTERNAL_H
#define GATEPOST_NET_TLS_POLICY_INTERNAL_H

/* TLS 1.2: RFC 9325 section 4.2. In brackets the client's order decides, which is how phones
 * without AES hardware get ChaCha20. TLS 1.3 suites are all good and not configurable. */
#define TLS_CIPHER_POLICY                                                                          \
	"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"                           \
	"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"                               \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"

#endif
