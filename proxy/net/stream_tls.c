/* SPDX-License-Identifier: Apache-2.0
 *
 * The TLS half of a stream. TLS runs over a BIO of our own: it reads through the worker's large
 * buffer, and it never refuses a record, since what the socket does not take is kept as spill. So a
 * TLS write always succeeds whole, and nothing has to be repeated.
 */
#include "stream_internal.h"

#include <errno.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/tls.h"
#include "tls_client_internal.h"
#include "wire_internal.h"

#define RECORD_MAX 16384

/* --- The BIO between BoringSSL and the wire ------------------------------------------------- */

/* A BIO belongs to the link of its stream, where the callbacks of a client's context find it. */
static struct stream *stream_of(BIO *bio)
{
	return container_of(BIO_get_data(bio), struct stream, tls_link);
}

static int bio_read(BIO *bio, char *bytes, int size)
{
	size_t count = 0;

	BIO_clear_retry_flags(bio);
	switch (wire_read_through(stream_of(bio), bytes, (size_t)size, &count)) {
	case WIRE_BYTES:
		return (int)count;
	case WIRE_LATER:
		BIO_set_retry_read(bio);
		return -1;
	case WIRE_END:
		return 0;
	default:
		return -1;
	}
}

static int bio_write(BIO *bio, const char *bytes, int length)
{
	BIO_clear_retry_flags(bio);
	wire_seal(stream_of(bio), bytes, (size_t)length);
	return length;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

struct bio_method_st *stream_tls_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(0, "gatepost stream");

	if (method != NULL) {
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_control);
	}
	return method;
}

void stream_tls_method_free(struct bio_method_st *method)
{
	BIO_meth_free(method);
}

/* --- Beginning and ending ------------------------------------------------------------------- */

/* Takes over `tls`. */
static bool attach(struct stream *stream, SSL *tls)
{
	BIO *bio = tls != NULL ? BIO_new(stream->shared->bio_method) : NULL;

	if (bio == NULL) {
		SSL_free(tls);
		tls_link_done(&stream->tls_link);
		return false;
	}
	BIO_set_data(bio, &stream->tls_link);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls, bio, bio);
	SSL_set_shed_handshake_config(tls, 1);
	stream->tls = tls;
	return true;
}

bool stream_tls_serve(struct stream *stream, struct ssl_ctx_st *context)
{
	SSL *tls = SSL_new(context);

	if (tls != NULL) {
		SSL_set_accept_state(tls);
	}
	return attach(stream, tls);
}

bool stream_tls_call(struct stream *stream, const struct tls_peer *peer)
{
	return attach(stream, tls_link_begin(&stream->tls_link, peer));
}

void stream_tls_done(struct stream *stream)
{
	if (!stream->hello_due) {
		tls_link_leave(&stream->tls_link);
	}
	SSL_free(stream->tls);
	stream->tls = NULL;
	tls_link_done(&stream->tls_link);
}

/* --- The handshake -------------------------------------------------------------------------- */

/* What to say where the TLS library has no words. */
static const char *handshake_ended_by(const struct stream *stream, int reason)
{
	if (stream->end_seen || reason == SSL_ERROR_ZERO_RETURN) {
		return "the peer closed the connection";
	}
	return strerror(errno);
}

/* A server speaks after its client. What it has said already was not under TLS, and would count as
 * if it were, should it be taken in with the rest (CVE-2021-38371). */
static bool may_say_hello(struct stream *stream, struct error *why)
{
	if (stream->hello_due && wire_is_waiting(stream)) {
		return error_set(why, "the peer spoke in the clear where TLS should begin");
	}
	stream->hello_due = false;
	return true;
}

enum stream_tls_step stream_tls_shake(struct stream *stream, struct error *why)
{
	int outcome;
	int reason;

	if (!may_say_hello(stream, why)) {
		return STREAM_TLS_FAILED;
	}
	ERR_clear_error();
	errno = 0;
	outcome = SSL_do_handshake(stream->tls);
	if (outcome == 1) {
		tls_link_trust(&stream->tls_link, stream_tls_resumed(stream));
		return STREAM_TLS_OPEN;
	}
	reason = SSL_get_error(stream->tls, outcome);
	if (reason == SSL_ERROR_WANT_READ) {
		return STREAM_TLS_LATER;
	}
	tls_error_set(why, handshake_ended_by(stream, reason));
	tls_link_fail(&stream->tls_link, why);
	return STREAM_TLS_FAILED;
}

void stream_tls_break_off(struct stream *stream, struct error *why)
{
	if (!stream->hello_due) {
		tls_link_fail(&stream->tls_link, why);
	}
}

/* --- Reading and writing -------------------------------------------------------------------- */

/* An end may have been met behind bytes which were read alone. */
bool stream_tls_has_input(const struct stream *stream)
{
	return SSL_pending(stream->tls) > 0 ||
	       (!stream->end_told && (SSL_get_shutdown(stream->tls) & SSL_RECEIVED_SHUTDOWN) != 0);
}

static enum stream_read_result no_record(struct stream *stream, int outcome, struct error *error)
{
	int saved_errno = errno;

	switch (SSL_get_error(stream->tls, outcome)) {
	case SSL_ERROR_WANT_READ:
		return STREAM_READ_LATER;
	case SSL_ERROR_ZERO_RETURN:
		return STREAM_READ_END;
	default:
		if (stream->end_seen) {
			ERR_clear_error();
			error_set(error, "ended without close_notify");
			return STREAM_READ_TRUNCATED;
		}
		tls_error_set(error, strerror(saved_errno));
		return STREAM_READ_FAILED;
	}
}

/* One record is at most 16 KiB; several are gathered, so that they go on in one system call. What
 * has gathered something does not go to the socket again: a reset would be told only once. */
enum stream_read_result stream_tls_read(struct stream *stream, void *bytes, size_t size,
					size_t *count, struct error *error)
{
	size_t filled = 0;

	ERR_clear_error();
	errno = 0;
	while (filled < size &&
	       (filled == 0 || wire_has_input(stream) || stream_tls_has_input(stream))) {
		uint8_t *rest = (uint8_t *)bytes + filled;
		int outcome = SSL_read(stream->tls, rest, (int)(size - filled));

		if (outcome <= 0) {
			if (filled > 0) {
				break;
			}
			return no_record(stream, outcome, error);
		}
		filled += (size_t)outcome;
	}
	*count = filled;
	return STREAM_READ_BYTES;
}

void stream_tls_write(struct stream *stream, const void *bytes, size_t length)
{
	const uint8_t *rest = bytes;

	ERR_clear_error();
	while (length > 0 && stream->error_number == 0) {
		size_t part = length < RECORD_MAX ? length : RECORD_MAX;

		if (SSL_write(stream->tls, rest, (int)part) <= 0) {
			ERR_clear_error();
			stream->error_number = EPROTO;
			return;
		}
		rest += part;
		length -= part;
	}
}

void stream_tls_end(struct stream *stream)
{
	SSL_shutdown(stream->tls);
	ERR_clear_error();
}

/* --- Facts ---------------------------------------------------------------------------------- */

const char *stream_tls_version(const struct stream *stream)
{
	bool chosen = stream->tls != NULL && SSL_get_current_cipher(stream->tls) != NULL;

	return chosen ? SSL_get_version(stream->tls) : NULL;
}

const char *stream_tls_cipher(const struct stream *stream)
{
	bool chosen = stream->tls != NULL && SSL_get_current_cipher(stream->tls) != NULL;

	return chosen ? SSL_get_cipher(stream->tls) : NULL;
}

const char *stream_tls_server_name(const struct stream *stream)
{
	return stream->tls != NULL ? SSL_get_servername(stream->tls, TLSEXT_NAMETYPE_host_name)
				   : NULL;
}

bool stream_tls_resumed(const struct stream *stream)
{
	return stream->tls != NULL && SSL_session_reused(stream->tls) == 1;
}

bool stream_tls_offered(const struct stream *stream)
{
	return !stream->hello_due && tls_link_offered(&stream->tls_link);
}
