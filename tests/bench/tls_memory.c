/* SPDX-License-Identifier: Apache-2.0
 *
 * What an idle TLS connection to a backend costs in memory: as gatepost makes it, through its
 * streams, and as a context of TLS_method() does. The backend is a process of its own, so that
 * malloc gives out here what is the client's alone.
 */
#include <err.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ev.h>
#include <openssl/ssl.h>

#include "base/base.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_client.h"
#include "support/certified.h"

/* The first connections pay for what all share. */
#define WARM_UP     20
#define CONNECTIONS 500

#define NAME     "mail1.example"
#define GREETING "* OK ready\r\n"

/* struct call is one connection; `tls` is that of TLS_method(). */
struct call {
	struct stream stream;
	SSL *tls;
	int fd;
	bool greeted;
};

static struct {
	char folder[32];
	char ca[64];
	char socket[64];
	struct certified authority;
	struct certified server;
	struct stream_loop shared;
	struct tls_client *client; /* ours */
	SSL_CTX *context;          /* TLS_method() */
	struct call calls[WARM_UP + CONNECTIONS];
} bench;

/* --- The backend ---------------------------------------------------------------------------- */

static struct sockaddr_un address_of_backend(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, bench.socket, sizeof(bench.socket));
	return address;
}

/* Its sockets stay open until it is killed: nobody hangs up on an idle connection. */
static void serve(int listening, uint16_t version)
{
	SSL_CTX *context = certified_server(&bench.server, &bench.authority, NULL);

	if (!SSL_CTX_set_min_proto_version(context, version) ||
	    !SSL_CTX_set_max_proto_version(context, version)) {
		errx(1, "backend: no such version");
	}
	for (;;) {
		SSL *tls = SSL_new(context);
		int fd = accept(listening, NULL, NULL);

		if (fd < 0 || tls == NULL || !SSL_set_fd(tls, fd) || SSL_accept(tls) != 1 ||
		    SSL_write(tls, GREETING, strlen(GREETING)) <= 0) {
			errx(1, "backend: no handshake");
		}
		SSL_free(tls);
	}
}

static pid_t start_backend(uint16_t version)
{
	struct sockaddr_un address = address_of_backend();
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t backend;

	if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listening, 1) != 0) {
		err(1, "%s", bench.socket);
	}
	backend = fork();
	if (backend < 0) {
		err(1, "fork");
	}
	if (backend == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listening, version);
	}
	close(listening);
	return backend;
}

static void stop_backend(pid_t backend)
{
	kill(backend, SIGKILL);
	waitpid(backend, NULL, 0);
	unlink(bench.socket);
}

/* --- Connections as gatepost makes them ----------------------------------------------------- */

static void on_ready(struct stream *stream)
{
	struct tls_peer peer = {.client = bench.client, .name = NAME};

	if (stream_tls_version(stream) != NULL) {
		stream_set_reading(stream, true);
	} else if (!stream_start_tls_client(stream, &peer)) {
		errx(1, "out of memory");
	}
}

static void on_readable(struct stream *stream)
{
	struct error why = {0};
	size_t count = 0;
	enum stream_read_result result;

	do {
		result = stream_read(stream, bench.shared.chunk, STREAM_CHUNK_MAX, &count, &why);
	} while (result == STREAM_READ_BYTES);
	if (result != STREAM_READ_LATER) {
		errx(1, "the backend has gone: %s", why.text);
	}
	container_of(stream, struct call, stream)->greeted = count > 0;
}

static void on_drained(struct stream *stream)
{
	(void)stream;
}

static void on_failed(struct stream *stream, const struct error *why)
{
	(void)stream;
	errx(1, "%s", why->text);
}

static const char *open_ours(struct call *call)
{
	static const struct stream_events events = {
		.ready = on_ready,
		.readable = on_readable,
		.drained = on_drained,
		.failed = on_failed,
	};
	struct stream_target target = {.path = bench.socket};
	struct error why = {0};

	if (!stream_connect(&call->stream, &bench.shared, &target, &events, &why)) {
		errx(1, "%s", why.text);
	}
	while (!call->greeted) {
		ev_run(bench.shared.loop, EVRUN_ONCE);
	}
	return stream_tls_version(&call->stream);
}

static void close_ours(struct call *call)
{
	stream_close(&call->stream);
}

/* --- Connections of TLS_method() ------------------------------------------------------------ */

static const char *open_common(struct call *call, bool sheds)
{
	struct sockaddr_un address = address_of_backend();
	char greeting[sizeof(GREETING)];

	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (call->fd < 0 || connect(call->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		err(1, "%s", bench.socket);
	}
	call->tls = SSL_new(bench.context);
	if (call->tls == NULL || !SSL_set_tlsext_host_name(call->tls, NAME) ||
	    !SSL_set1_host(call->tls, NAME) || !SSL_set_fd(call->tls, call->fd)) {
		errx(1, "out of memory");
	}
	SSL_set_shed_handshake_config(call->tls, sheds);
	if (SSL_connect(call->tls) != 1 || SSL_read(call->tls, greeting, sizeof(greeting)) <= 0) {
		errx(1, "no handshake");
	}
	return SSL_get_version(call->tls);
}

static const char *open_plain(struct call *call)
{
	return open_common(call, false);
}

static const char *open_shed(struct call *call)
{
	return open_common(call, true);
}

static void close_common(struct call *call)
{
	SSL_free(call->tls);
	close(call->fd);
}

/* --- Measuring ------------------------------------------------------------------------------ */

/* struct way: `open` returns the version of TLS when the greeting has been read. */
struct way {
	const char *name;
	const char *(*open)(struct call *call);
	void (*close)(struct call *call);
};

static const struct way ways[] = {
	{"gatepost", open_ours, close_ours},
	{"TLS_method(), shed", open_shed, close_common},
	{"TLS_method()", open_plain, close_common},
};

static size_t given_out(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void open_calls(const struct way *way, size_t first, size_t end, const char *version)
{
	for (size_t i = first; i < end; i++) {
		const char *spoken = way->open(&bench.calls[i]);

		if (strcmp(spoken, version) != 0) {
			errx(1, "%s instead of %s", spoken, version);
		}
	}
}

static size_t octets_per_call(const struct way *way, uint16_t number, const char *version)
{
	pid_t backend = start_backend(number);
	size_t before;
	size_t after;

	memset(bench.calls, 0, sizeof(bench.calls));
	open_calls(way, 0, WARM_UP, version);
	before = given_out();
	open_calls(way, WARM_UP, WARM_UP + CONNECTIONS, version);
	after = given_out();
	for (size_t i = 0; i < WARM_UP + CONNECTIONS; i++) {
		way->close(&bench.calls[i]);
	}
	stop_backend(backend);
	return (after - before + CONNECTIONS / 2) / CONNECTIONS;
}

static void report(void)
{
	printf("octets of an idle TLS connection to a backend (%d of them)\n\n"
	       "| | TLS 1.3 | TLS 1.2 |\n|---|---|---|\n",
	       CONNECTIONS);
	for (size_t i = 0; i < array_length(ways); i++) {
		size_t octets_1_3 = octets_per_call(&ways[i], TLS1_3_VERSION, "TLSv1.3");
		size_t octets_1_2 = octets_per_call(&ways[i], TLS1_2_VERSION, "TLSv1.2");

		printf("| %s | %zu | %zu |\n", ways[i].name, octets_1_3, octets_1_2);
	}
}

/* --- Both clients --------------------------------------------------------------------------- */

static void make_files(void)
{
	strcpy(bench.folder, "/tmp/gatepost-bench-XXXXXX");
	if (mkdtemp(bench.folder) == NULL) {
		err(1, "%s", bench.folder);
	}
	snprintf(bench.ca, sizeof(bench.ca), "%s/ca.pem", bench.folder);
	snprintf(bench.socket, sizeof(bench.socket), "%s/backend", bench.folder);
	certified_make(&bench.authority,
		       &(struct certified_wish){.common_name = "authority", .authority = true});
	certified_make(&bench.server, &(struct certified_wish){.common_name = "server",
							       .names = {NAME},
							       .issuer = &bench.authority});
	certified_write(&bench.authority, NULL, bench.ca);
}

static void make_common(void)
{
	bench.context = SSL_CTX_new(TLS_method());
	if (bench.context == NULL ||
	    !SSL_CTX_set_min_proto_version(bench.context, TLS1_2_VERSION) ||
	    !SSL_CTX_set_max_proto_version(bench.context, TLS1_3_VERSION) ||
	    !tls_set_groups(bench.context) ||
	    !SSL_CTX_load_verify_locations(bench.context, bench.ca, NULL)) {
		errx(1, "cannot set up TLS_method()");
	}
	SSL_CTX_set_verify(bench.context, SSL_VERIFY_PEER, NULL);
}

int main(void)
{
	struct tls_client_trust *trust = tls_client_trust_new();
	struct tls_client_settings settings = {
		.verify = true, .ca = bench.ca, .chain = "", .key = ""};
	enum tls_client_fault fault;
	struct error why = {0};

	make_files();
	make_common();
	bench.client = trust != NULL ? tls_client_new(trust, &settings, &fault, &why) : NULL;
	if (bench.client == NULL ||
	    !stream_loop_init(&bench.shared, ev_default_loop(EVFLAG_AUTO), 0)) {
		errx(1, "cannot set up gatepost's TLS: %s", why.text);
	}
	report();
	unlink(bench.ca);
	rmdir(bench.folder);
	stream_loop_done(&bench.shared);
	tls_client_free(bench.client);
	tls_client_trust_free(trust);
	SSL_CTX_free(bench.context);
	certified_done(&bench.server);
	certified_done(&bench.authority);
	return 0;
}
