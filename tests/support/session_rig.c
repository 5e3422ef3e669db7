/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor of sessions, and what it stands on. Clients and backends are in session_rig_peers.c.
 */
#include "support/session_rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/base.h"
#include "core/config.h"
#include "imap/capability.h"
#include "net/resolver.h"
#include "net/tls.h"
#include "net/tls_client.h"
#include "routing/backend.h"
#include "routing/pool.h"
#include "routing/route.h"

#define PAUSE_NANOSECONDS 100000
#define SETTLE_TURNS      100

/* --- Sockets -------------------------------------------------------------------------------- */

static int listen_on(const char *ip, int backlog)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, ip, &address.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static unsigned port_of(int fd)
{
	struct sockaddr_in address = {0};
	socklen_t length = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

int rig_connect_socket(int listening)
{
	struct sockaddr_in address = {0};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	assert_true(connect(fd, (struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS);
	return fd;
}

static unsigned free_port(void)
{
	int fd = listen_on("127.0.0.1", 1);
	unsigned port = port_of(fd);

	close(fd);
	return port;
}

static unsigned count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL) {
		count++;
	}
	closedir(directory);
	return count;
}

/* --- The floor ------------------------------------------------------------------------------ */

static const char *or_nothing(const char *text)
{
	return text != NULL ? text : "";
}

static void add_backend(struct buffer *text, const char *name, const char *address,
			const struct rig_options *options)
{
	buffer_printf(text, "[[backend]]\nname = \"%s\"\naddress = \"%s\"\n%s\n", name, address,
		      or_nothing(options->backend));
}

static void add_local_backend(struct buffer *text, const char *name, unsigned port,
			      const struct rig_options *options)
{
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	add_backend(text, name, address, options);
}

static void add_listeners(struct buffer *text)
{
	static const char *const listeners[RIG_LISTENER_COUNT] = {
		[RIG_PLAIN] = "tls = \"none\"\nallow_plaintext = true\n",
		[RIG_TLS] = "",
		[RIG_UNIX] = "tls = \"none\"\nallow_plaintext = true\n",
		[RIG_STARTTLS] = "tls = \"starttls\"\ntrusted = [\"127.0.0.0/8\"]\n",
		[RIG_PROXY] = "tls = \"none\"\nallow_plaintext = true\nproxy_protocol = true\n"
			      "trusted = [\"127.0.0.0/8\", \"192.0.2.0/24\"]\n",
		[RIG_PROXY_TLS] = "proxy_protocol = true\ntrusted = [\"127.0.0.0/8\"]\n",
		[RIG_PROXY_IN_FRONT] = "tls = \"none\"\nproxy_protocol = true\n"
				       "trusted = [\"127.0.0.0/8\"]\n",
		[RIG_PROXY_STRANGERS] = "tls = \"none\"\nallow_plaintext = true\n"
					"proxy_protocol = true\ntrusted = [\"10.0.0.0/8\"]\n",
		[RIG_WEBMAIL] = "tls = \"none\"\nallow_plaintext = true\n"
				"trusted = [\"127.0.0.0/8\"]\n",
	};

	for (int i = 0; i < RIG_LISTENER_COUNT; i++) {
		if (i == RIG_UNIX) {
			buffer_printf(text, "[[listener]]\naddress = \"unix:/run/gatepost-rig\"\n");
		} else {
			buffer_printf(text, "[[listener]]\naddress = \"127.0.0.1:%d\"\n",
				      RIG_LISTENER_PORT + i);
		}
		buffer_append_text(text, listeners[i]);
	}
}

static void add_tls(struct buffer *text, const struct session_rig *rig)
{
	buffer_printf(text, "[tls]\nclient_ca = \"%s/ca.pem\"\n", rig->folder);
	buffer_printf(text, "[[tls.certificate]]\nchain = \"%s/chain.pem\"\nkey = \"%s/key.pem\"\n",
		      rig->folder, rig->folder);
}

static void add_mail(struct buffer *text, const struct session_rig *rig,
		     const struct rig_options *options)
{
	if (options->backend_address != NULL) {
		add_backend(text, "mail1", options->backend_address, options);
	} else {
		add_local_backend(text, "mail1", port_of(rig->backend), options);
	}
	buffer_append_text(text, or_nothing(options->mail1));
	add_local_backend(text, "mail2", port_of(rig->second), options);
	add_local_backend(text, "mail3", port_of(rig->third), options);
}

/* They have users by name only. */
static void add_others(struct buffer *text, const struct session_rig *rig,
		       const struct rig_options *usual)
{
	static const char *const words[] = {"implicit", "starttls"};
	struct rig_options options = *usual;
	struct buffer lines = {0};

	buffer_printf(&lines, "%s\nweight = 0%c", or_nothing(usual->backend), '\0');
	options.backend = (const char *)buffer_bytes(&lines);
	add_local_backend(text, "stuck", port_of(rig->stuck), &options);
	add_local_backend(text, "nowhere", free_port(), &options);
	add_local_backend(text, "loop", RIG_LISTENER_PORT, &options);
	add_backend(text, "unixloop", "unix:/run/gatepost-rig", &options);
	add_backend(text, "nounix", "unix:/run/gatepost-no-such-socket", &options);
	add_backend(text, "silent", "silent.example:143", &options);
	for (size_t i = 0; i < array_length(words); i++) {
		if (options.secure_address != NULL) {
			add_backend(text, words[i], options.secure_address, &options);
		} else {
			add_local_backend(text, words[i], port_of(rig->secure), &options);
		}
		buffer_printf(text, "tls = \"%s\"\nca = \"%s/ca.pem\"\n", words[i], rig->folder);
		buffer_append_text(text, or_nothing(options.secure));
	}
	buffer_done(&lines);
}

static const char users[] = "[routing.users]\nalice = \"mail1\"\ncarol = \"mail1\"\n"
			    "\"alice@example.org\" = \"mail1\"\n"
			    "dora = \"implicit\"\nerin = \"starttls\"\n"
			    "stuck = \"stuck\"\nnowhere = \"nowhere\"\nloop = \"loop\"\n"
			    "unixloop = \"unixloop\"\nnounix = \"nounix\"\nsilent = \"silent\"\n";

static struct config *make_config(struct session_rig *rig, const struct rig_options *options)
{
	struct buffer text = {0};
	struct config *config;

	add_listeners(&text);
	add_tls(&text, rig);
	buffer_printf(&text, "[routing]\nsource = \"%s\"\n%s\n",
		      options->directory != NULL ? "redis" : "static",
		      or_nothing(options->routing));
	if (!options->asks_all) {
		buffer_append_text(&text, users);
	}
	buffer_printf(&text, "[limits]\n%s\n[moves]\n%s\n[health]\n%s\n",
		      or_nothing(options->limits), or_nothing(options->moves),
		      or_nothing(options->health));
	add_mail(&text, rig, options);
	add_others(&text, rig, options);
	buffer_append_byte(&text, '\0');
	config = config_load_text((const char *)buffer_bytes(&text), "rig", stderr);
	buffer_done(&text);
	assert_non_null(config);
	return config;
}

/* One connection that nobody accepts fills a backlog of 0; some systems take a few more. */
static void open_stuck(struct session_rig *rig)
{
	rig->stuck = listen_on("127.0.0.1", 0);
	for (size_t i = 0; i < array_length(rig->fillers); i++) {
		rig->fillers[i] = rig_connect_socket(rig->stuck);
	}
}

/* --- TLS ------------------------------------------------------------------------------------ */

struct path {
	char text[48];
};

static struct path path_of(const struct session_rig *rig, const char *name)
{
	struct path path;

	snprintf(path.text, sizeof(path.text), "%s/%s", rig->folder, name);
	return path;
}

static void make_certificates(struct session_rig *rig)
{
	strcpy(rig->folder, "/tmp/gatepost-rig-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	certified_make(&rig->authority,
		       &(struct certified_wish){.common_name = "authority", .authority = true});
	certified_make(&rig->server, &(struct certified_wish){.issuer = &rig->authority,
							      .names = {"imap.test", "127.0.0.1"}});
	certified_make(&rig->stranger, &(struct certified_wish){.issuer = &rig->authority,
								.names = {"other.test"}});
	certified_make(&rig->alice, &(struct certified_wish){.issuer = &rig->authority,
							     .names = {"alice@example.org"},
							     .for_clients = true});
	certified_write(&rig->authority, NULL, path_of(rig, "ca.pem").text);
	certified_write(&rig->server, NULL, path_of(rig, "chain.pem").text);
	certified_write_key(&rig->server, path_of(rig, "key.pem").text);
	rig->backend_tls = certified_server(&rig->server, NULL, NULL);
	rig->stranger_tls = certified_server(&rig->stranger, NULL, NULL);
}

static void open_tls(struct session_rig *rig)
{
	struct path ca = path_of(rig, "ca.pem");
	struct tls_client_settings settings = {
		.verify = true,
		.ca = ca.text,
		.chain = "",
		.key = "",
	};
	enum tls_client_fault fault;
	struct error error = {0};

	rig->store = tls_store_new(&rig->config->tls, &error);
	assert_string_equal(error.text, "");
	rig->trust = tls_client_trust_new();
	assert_non_null(rig->trust);
	rig->tls_client = tls_client_new(rig->trust, &settings, &fault, &error);
	assert_non_null(rig->tls_client);
	assert_true(rig->config->backend_count <= RIG_BACKENDS_MAX);
	for (size_t i = 0; i < rig->config->backend_count; i++) {
		rig->tls_clients[i] = rig->tls_client;
	}
}

static void close_tls(struct session_rig *rig)
{
	SSL_CTX_free(rig->backend_tls);
	SSL_CTX_free(rig->stranger_tls);
	tls_store_free(rig->store);
	tls_client_free(rig->tls_client);
	tls_client_trust_free(rig->trust);
	certified_done(&rig->authority);
	certified_done(&rig->server);
	certified_done(&rig->stranger);
	certified_done(&rig->alice);
	unlink(path_of(rig, "ca.pem").text);
	unlink(path_of(rig, "chain.pem").text);
	unlink(path_of(rig, "key.pem").text);
	assert_int_equal(rmdir(rig->folder), 0);
}

/* --- Opening and closing -------------------------------------------------------------------- */

static void open_set(struct session_rig *rig)
{
	struct session_house house = {
		.config = rig->config,
		.shared = &rig->shared,
		.timeouts = &rig->timeouts,
		.router = rig->router,
		.resolver = rig->resolver,
		.metrics = &rig->metrics,
		.limit = &rig->limit,
		.tls = tls_store_context(rig->store),
	};

	session_set_init(&rig->set, &house);
}

/* struct teaching finds the backend as a login would. */
struct teaching {
	struct route_place place;
	struct backend *backend;
};

static struct teaching teaching;

static void on_answered(struct route_place *place, const struct route_answer *answer)
{
	if (place == &teaching.place) {
		teaching.backend = answer->backend;
	} else {
		session_route_events.answered(place, answer);
	}
}

static void open_router(struct session_rig *rig, const struct rig_options *options)
{
	struct router_settings settings = {
		.config = rig->config,
		.shared = &rig->shared,
		.timeouts = &rig->timeouts,
		.resolver = rig->resolver,
		.metrics = &rig->metrics,
		.pool = rig->pool,
		.directory = options->directory,
		.tls_clients = rig->tls_clients,
		.url_tls_client = rig->tls_client,
		.events = &rig->route_events,
		.owner = &rig->set,
	};
	struct error error = {0};

	rig->route_events = session_route_events;
	rig->route_events.answered = on_answered;
	rig->router = router_new(&settings, &error);
	assert_non_null(rig->router);
}

void session_rig_open(struct session_rig *rig, const struct rig_options *options)
{
	static const struct rig_options usual = {0};
	struct error error = {0};

	if (options == NULL) {
		options = &usual;
	}
	*rig = (struct session_rig){.descriptors = count_descriptors()};
	rig->front = listen_on("127.0.0.1", 128);
	rig->backend = listen_on("127.0.0.1", 128);
	rig->second = listen_on("127.0.0.1", 128);
	rig->third = listen_on("127.0.0.1", 128);
	rig->secure = listen_on("127.0.0.1", 128);
	open_stuck(rig);
	make_certificates(rig);
	rig->config = make_config(rig, options);
	rig->limit.max = options->max_sessions > 0 ? options->max_sessions : 1000;
	rig->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_non_null(rig->loop);
	timeouts_init(&rig->timeouts, rig->loop);
	assert_true(stream_loop_init(&rig->shared, rig->loop, 0));
	rig->resolver = resolver_new(rig->loop, options->dns, &error);
	assert_non_null(rig->resolver);
	open_tls(rig);
	rig->pool = pool_new(rig->config, &error);
	assert_non_null(rig->pool);
	open_router(rig, options);
	open_set(rig);
}

void session_rig_close(struct session_rig *rig)
{
	session_set_close(&rig->set);
	assert_int_equal(session_set_count(&rig->set), 0);
	session_set_done(&rig->set);
	assert_int_equal(atomic_load(&rig->limit.taken), 0);
	router_free(rig->router);
	pool_free(rig->pool);
	resolver_free(rig->resolver);
	stream_loop_done(&rig->shared);
	timeouts_done(&rig->timeouts);
	ev_loop_destroy(rig->loop);
	config_unref(rig->config);
	close_tls(rig);
	close(rig->backend);
	close(rig->second);
	close(rig->third);
	close(rig->secure);
	close(rig->stuck);
	close(rig->front);
	for (size_t i = 0; i < array_length(rig->fillers); i++) {
		close(rig->fillers[i]);
	}
	assert_int_equal(count_descriptors(), rig->descriptors);
}

void rig_teach(struct session_rig *rig, const char *list)
{
	struct capability_offer offer = {0};

	capability_offer_learn(&offer, list, strlen(list));
	route_ask(rig->router, &teaching.place, "alice");
	assert_non_null(teaching.backend);
	route_learn(rig->router, teaching.backend, &offer);
	route_leave(&teaching.place, true);
	backend_unref(teaching.backend);
	teaching.backend = NULL;
}

/* --- Time ----------------------------------------------------------------------------------- */

void rig_turn(struct session_rig *rig)
{
	ev_run(rig->loop, EVRUN_NOWAIT);
}

static void pause_briefly(void)
{
	struct timespec pause = {.tv_nsec = PAUSE_NANOSECONDS};

	nanosleep(&pause, NULL);
}

void rig_settle(struct session_rig *rig)
{
	for (unsigned i = 0; i < SETTLE_TURNS; i++) {
		rig_turn(rig);
		pause_briefly();
	}
}

void rig_wait(struct session_rig *rig, rig_condition_t *done, const void *context)
{
	time_t given_up = time(NULL) + RIG_PATIENCE_SECONDS;

	while (!done(rig, context)) {
		assert_true(time(NULL) < given_up);
		rig_turn(rig);
		pause_briefly();
	}
}

struct phase_count {
	enum session_phase phase;
	unsigned count;
};

unsigned rig_count(const struct session_rig *rig, enum session_phase phase)
{
	return rig->set.phases[phase].count;
}

static bool has_count(struct session_rig *rig, const void *context)
{
	const struct phase_count *wanted = context;

	return rig_count(rig, wanted->phase) == wanted->count;
}

void rig_wait_phase(struct session_rig *rig, enum session_phase phase, unsigned count)
{
	rig_wait(rig, has_count, &(struct phase_count){phase, count});
}

static bool is_gone(struct session_rig *rig, const void *context)
{
	(void)context;
	return session_set_count(&rig->set) == 0 && rig_count(rig, SESSION_CLOSED) == 0;
}

void rig_wait_gone(struct session_rig *rig)
{
	rig_wait(rig, is_gone, NULL);
	assert_int_equal(atomic_load(&rig->limit.taken), 0);
}
