/* SPDX-License-Identifier: Apache-2.0
 *
 * STARTTLS towards a backend (RFC 9051 section 6.2.1). Who sits in between can say anything before
 * TLS is on: nothing is learnt from it but that STARTTLS may be tried, and whatever goes wrong ends
 * the dialogue. There is no way from here to a login in the clear.
 */
#include "base/buffer.h"
#include "imap/capability.h"
#include "upstream_internal.h"

/* The greeting may be forged, so even the mark of another gatepost does not count: behind STARTTLS
 * a route in a circle ends only where the backend is told the identity, and the TTL with it. */
enum upstream_verdict upstream_begin_starttls(struct upstream *upstream,
					      const struct reply *greeting, struct buffer *output)
{
	bool lists = reply_is(greeting->code, "CAPABILITY");
	struct reply_view list = greeting->arguments;

	if (lists && !capability_has(list.bytes, list.length, "STARTTLS")) {
		return upstream_fail(upstream, &REFUSAL_SERVERBUG,
				     "the backend does not offer STARTTLS");
	}
	upstream->step = STEP_STARTTLS;
	upstream_next_tag(upstream, upstream->starttls_tag);
	buffer_printf(output, "%s STARTTLS\r\n", upstream->starttls_tag);
	return UPSTREAM_MORE;
}

enum upstream_verdict upstream_end_starttls(struct upstream *upstream, const struct reply *reply)
{
	upstream->starttls_tag[0] = '\0';
	if (reply->status != REPLY_OK) {
		upstream_fail(upstream, &REFUSAL_UNAVAILABLE, "the backend refused STARTTLS");
		upstream_quote(upstream, reply->rest);
		return UPSTREAM_FAILED;
	}
	upstream->step = STEP_HANDSHAKE;
	return UPSTREAM_STARTTLS;
}

/* Behind its OK the backend waits for our first TLS message: a byte that is there is somebody
 * else's, and would be read as if it had come through TLS (C95). */
enum upstream_verdict upstream_fail_injected(struct upstream *upstream)
{
	return upstream_fail(upstream, &REFUSAL_UNAVAILABLE,
			     "the backend's OK to STARTTLS was followed by more in the clear");
}

void upstream_secured(struct upstream *upstream, struct buffer *output)
{
	invariant(upstream->step == STEP_HANDSHAKE);
	upstream->step = STEP_CAPABILITY;
	upstream_ask_capability(upstream, output);
}
