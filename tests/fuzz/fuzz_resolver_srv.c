/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers to a question for SRV records: what is found are hosts that one can ask for, in order of
 * priority, and what lies behind the message changes nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../proxy/net/resolver_srv_internal.h"
#include "base/error.h"

#define NAME "_imap._tcp.test"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of its own, so that a read past its end is seen. */
static enum resolver_srv_verdict read_exactly(struct resolver_srv *srv, const uint8_t *data,
					      size_t length, size_t more)
{
	uint8_t *copy = calloc(1, length + more + 1);
	enum resolver_srv_verdict verdict;

	invariant(copy != NULL && srv != NULL);
	memcpy(copy, length > 0 ? data : (const uint8_t *)"", length);
	copy = realloc(copy, length + more > 0 ? length + more : 1);
	invariant(copy != NULL);
	verdict = resolver_srv_read(srv, copy, length + more, NAME);
	free(copy);
	return verdict;
}

static void check_found(const struct resolver_srv *srv)
{
	invariant(srv->count > 0 && srv->count <= RESOLVER_SERVICES_MAX);
	invariant(srv->ttl <= INT32_MAX);
	for (size_t i = 0; i < srv->count; i++) {
		const struct resolver_service *service = &srv->services[i];
		size_t length = strlen(service->host);

		invariant(length > 0 && length <= ENDPOINT_HOST_MAX);
		invariant(strspn(service->host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") ==
			  length);
		invariant(strstr(service->host, "..") == NULL && service->host[0] != '.' &&
			  service->host[length - 1] != '.');
		invariant(service->port != 0);
		invariant(i == 0 || srv->services[i - 1].priority <= service->priority);
	}
}

static void check_same(const struct resolver_srv *srv, const struct resolver_srv *again)
{
	invariant(srv->count == again->count && srv->ttl == again->ttl);
	for (size_t i = 0; i < srv->count; i++) {
		invariant(strcmp(srv->services[i].host, again->services[i].host) == 0);
		invariant(srv->services[i].port == again->services[i].port);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resolver_srv *srv = malloc(sizeof(*srv));
	struct resolver_srv *again = malloc(sizeof(*again));
	enum resolver_srv_verdict verdict = read_exactly(srv, data, size, 0);

	if (verdict != RESOLVER_SRV_MALFORMED) {
		invariant(read_exactly(again, data, size, 3) == verdict);
	}
	if (verdict == RESOLVER_SRV_FOUND) {
		check_found(srv);
		check_same(srv, again);
	}
	free(again);
	free(srv);
	return 0;
}
