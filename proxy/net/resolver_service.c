/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions for SRV records. A question is c-ares' until it is answered, also one that nobody asks
 * any more.
 */
/* ares_query is what all versions have. */
#define CARES_NO_DEPRECATED 1
#include <ares.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/resolver.h"
#include "resolver_internal.h"
#include "resolver_srv_internal.h"

#define CLASS_INTERNET 1
#define TYPE_SRV       33

struct resolver_service_question {
	struct resolver_service_query *query; /* NULL: cancelled */
	char name[ENDPOINT_HOST_MAX + 1];     /* in lower case, without the final dot */
};

static void fail(struct resolver_service_query *query, const char *why)
{
	query->callback(query, NULL, 0, RESOLVER_TTL_NEGATIVE, why);
}

static void tell(struct resolver_service_query *query, enum resolver_srv_verdict verdict,
		 const struct resolver_srv *srv)
{
	unsigned ttl = (unsigned)resolver_clamp_ttl((int)srv->ttl);

	switch (verdict) {
	case RESOLVER_SRV_FOUND:
		query->callback(query, srv->services, srv->count, ttl, NULL);
		break;
	case RESOLVER_SRV_NONE:
		query->callback(query, NULL, 0, ttl, NULL);
		break;
	case RESOLVER_SRV_EMPTY:
		fail(query, "the name has no service that can be used");
		break;
	case RESOLVER_SRV_MALFORMED:
		fail(query, "the DNS server's answer is malformed");
		break;
	}
}

static void read_answer(struct resolver_service_query *query, const char *name,
			const unsigned char *message, size_t length)
{
	struct resolver_srv *srv = malloc(sizeof(*srv));
	enum resolver_srv_verdict verdict;

	if (srv == NULL) {
		fail(query, "out of memory");
		return;
	}
	verdict = resolver_srv_read(srv, message, length, name);
	tell(query, verdict, srv);
	free(srv);
}

static void on_answer(void *argument, int status, int timeouts, unsigned char *message, int length)
{
	struct resolver_service_question *question = argument;
	struct resolver_service_query *query = question->query;

	(void)timeouts;
	if (query != NULL) {
		invariant(status != ARES_EDESTRUCTION);
		query->question = NULL;
		if (status != ARES_SUCCESS) {
			fail(query, ares_strerror(status));
		} else {
			read_answer(query, question->name, message, (size_t)length);
		}
	}
	free(question);
}

void resolver_ask_services(struct resolver *resolver, struct resolver_service_query *query,
			   const char *name, resolver_service_callback_t *callback)
{
	struct resolver_service_question *question;
	size_t length = strlen(name);

	invariant(query->question == NULL);
	query->callback = callback;
	length -= length > 0 && name[length - 1] == '.' ? 1 : 0;
	if (length > ENDPOINT_HOST_MAX) {
		fail(query, "the name is too long");
		return;
	}
	question = calloc(1, sizeof(*question));
	if (question == NULL) {
		fail(query, "out of memory");
		return;
	}
	question->query = query;
	query->question = question;
	memcpy(question->name, name, length);
	text_lower(question->name);
	ares_query(resolver_channel(resolver), question->name, CLASS_INTERNET, TYPE_SRV, on_answer,
		   question);
	resolver_set_timer(resolver);
}

void resolver_cancel_services(struct resolver_service_query *query)
{
	if (query->question != NULL) {
		query->question->query = NULL;
		query->question = NULL;
	}
}
