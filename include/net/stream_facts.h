/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of a stream's connection: part of net/stream.h.
 */
#ifndef GATEPOST_NET_STREAM_FACTS_H
#define GATEPOST_NET_STREAM_FACTS_H

#include <stdbool.h>

#include "base/addr.h"
#include "core/config.h"

struct stream;

#define STREAM_CERTIFIED_USER_MAX 255

/* Zeroed addresses when the connection is gone. */
void stream_peer(const struct stream *stream, struct addr *address);
void stream_local(const struct stream *stream, struct addr *address);

/* TLS facts for the log, NULL or false without TLS and before they are agreed on. Valid while the
 * stream is open. */
const char *stream_tls_version(const struct stream *stream);
const char *stream_tls_cipher(const struct stream *stream);
const char *stream_tls_server_name(const struct stream *stream);
bool stream_tls_resumed(const struct stream *stream);

/* stream_tls_offered tells, while `failed` is called for a handshake of TLS's client, whether it
 * offered a session: without one, the next may succeed. */
bool stream_tls_offered(const struct stream *stream);

/* stream_tls_certified_user writes whom the client's certificate names (tls.client_name). False
 * where it showed none, one that has expired since, or none that names somebody: the name is 1 to
 * 255 octets of UTF-8 without control characters, and stands there once. */
bool stream_tls_certified_user(const struct stream *stream, enum config_client_name which,
			       char user[STREAM_CERTIFIED_USER_MAX + 1]);

#endif
