/* SPDX-License-Identifier: Apache-2.0
 *
 * What a ClientHello says. Two bytes of length and the cipher suites, then the extensions.
 */
#include <stdint.h>
#include <string.h>

#include "../../proxy/net/tls_internal.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
	size_t length = strlen(name);

	invariant(length <= TLS_NAME_MAX);
	for (size_t i = 0; i < length; i++) {
		invariant(text_fold((uint8_t)name[i]) == (uint8_t)name[i]);
	}
}

/* An RSA key may stand anywhere; the store is never left without an answer. */
static void check_select(const struct tls_hello *hello)
{
	static struct tls_name names[] = {{"*.test", 1}, {"a.test", 2}};
	struct tls_certificate certificates[] = {{.key = TLS_KEY_RSA, .fallback = true},
						 {.key = TLS_KEY_P256},
						 {.key = TLS_KEY_P384}};
	const struct tls_store store = {
		.certificates = certificates, .count = 3, .names = {.names = names, .count = 2}};

	invariant(tls_select(&store, hello) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SSL_CLIENT_HELLO client = {0};
	struct tls_hello hello;
	CBS input;
	CBS ciphers;

	CBS_init(&input, data, size);
	if (!CBS_get_u16_length_prefixed(&input, &ciphers)) {
		return 0;
	}
	client.cipher_suites = CBS_data(&ciphers);
	client.cipher_suites_len = CBS_len(&ciphers);
	client.extensions = CBS_data(&input);
	client.extensions_len = CBS_len(&input);
	tls_hello_read(&hello, &client);
	check_name(hello.name);
	for (enum tls_key key = TLS_KEY_P256; key <= TLS_KEY_RSA; key++) {
		bool verifies = tls_hello_verifies(&hello, key);

		invariant(!verifies || CBS_len(&hello.signatures) >= 2);
		invariant(!verifies || hello.tls13 || CBS_len(&hello.ciphers) >= 2);
	}
	check_select(&hello);
	return 0;
}
