/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a configuration: either faults, each a printable line with a place and in the order
 * of the file, or a configuration that keeps what its headers promise, prints, reads back and
 * prints the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/cidr.h"
#include "base/template.h"
#include "core/config.h"
#include "core/config_host.h"
#include "core/config_user.h"
#include "imap/capability.h"
#include "imap/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *load(const char *text, char **faults)
{
	size_t size;
	FILE *out = open_memstream(faults, &size);
	struct config *config = config_load_text(text, "f", out);

	fclose(out);
	return config;
}

static char *print(const struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print(config, out);
	fclose(out);
	return text;
}

static void check_front(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];

		invariant(listener->mechanisms != 0 && (listener->mechanisms & ~SASL_ALL) == 0);
		invariant(!listener->proxy_protocol || listener->trusted.count > 0);
		invariant(listener->tls == CONFIG_TLS_NONE || config->tls.certificate_count > 0);
		invariant(capability_check_atoms(listener->capabilities, NULL));
	}
	for (size_t i = 0; i < config->tls.certificate_count; i++) {
		const struct config_certificate *certificate = &config->tls.certificates[i];

		invariant(certificate->chain_place.line > 0 && certificate->key_place.line > 0);
		for (size_t j = 0; j < certificate->names.count; j++) {
			invariant(certificate->names.texts[j][0] != '\0');
		}
	}
}

static void check_backends(const struct config *config)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		const struct config_backend *backend = &config->backends[i];
		bool shows = backend->client_chain[0] != '\0';

		invariant(shows == (backend->client_key[0] != '\0'));
		invariant(!shows || backend->client_chain_place.line > 0);
		invariant((backend->master_user[0] != '\0') ==
			  (backend->master_password.length > 0));
		invariant(template_check(backend->user, NULL));
		invariant(backend->tls != CONFIG_TLS_NONE ||
			  (backend->verify && !shows && backend->ca[0] == '\0'));
		invariant((backend->service[0] != '\0') ==
			  (backend->address.kind == ENDPOINT_NONE));
		invariant(backend->sources.count == 0 || backend->address.kind != ENDPOINT_UNIX);
		invariant(backend->slow_start_ms == 0 || backend->connect_rate > 0);
	}
}

static void check_redis(const struct config_redis *redis)
{
	bool asks = redis->sentinel_password[0] != '\0';

	invariant(redis->address_count > 0);
	invariant(redis->address_count <=
		  (redis->kind == CONFIG_REDIS_SINGLE ? 1 : CONFIG_REDIS_ADDRESSES_MAX));
	invariant((redis->kind == CONFIG_REDIS_SENTINEL) == (redis->master[0] != '\0'));
	invariant(redis->kind != CONFIG_REDIS_CLUSTER || redis->database == 0);
	invariant(redis->tls || (redis->verify && redis->ca[0] == '\0'));
	invariant((redis->client_chain[0] != '\0') == (redis->client_key[0] != '\0'));
	invariant(asks || redis->sentinel_user[0] == '\0');
	invariant(!asks || redis->kind == CONFIG_REDIS_SENTINEL);
	for (size_t i = 0; i < redis->address_count; i++) {
		invariant(redis->addresses[i].kind != ENDPOINT_NONE);
		invariant(redis->addresses[i].kind != ENDPOINT_UNIX ||
			  (redis->kind == CONFIG_REDIS_SINGLE && !redis->tls));
	}
}

static void check_hosts(const struct config_hosts *hosts)
{
	for (size_t i = 0; i < hosts->names.count; i++) {
		struct endpoint host = {
			.kind = ENDPOINT_NAME,
			.name = hosts->names.texts[i],
		};

		invariant(config_host_allows(hosts, &host));
	}
	for (size_t i = 0; i < hosts->network_count; i++) {
		struct endpoint host = {
			.kind = ENDPOINT_IP,
			.ip = hosts->networks[i].address,
		};

		invariant(config_host_allows(hosts, &host));
	}
}

static void check_routing(const struct config *config)
{
	const struct config_routing *routing = &config->routing;
	bool logs_in = config->health.check == CONFIG_CHECK_LOGIN;

	invariant(routing->unknown != CONFIG_UNKNOWN_BACKEND ||
		  routing->unknown_backend < config->backend_count);
	invariant(routing->unknown != CONFIG_UNKNOWN_ASSIGN ||
		  routing->source == CONFIG_SOURCE_REDIS);
	invariant(!routing->failover || routing->unknown == CONFIG_UNKNOWN_HASH ||
		  routing->unknown == CONFIG_UNKNOWN_ASSIGN);
	invariant(routing->canary.share == 0 ||
		  (routing->unknown == CONFIG_UNKNOWN_HASH && routing->canary.share <= 5000 &&
		   routing->canary.backend < config->backend_count));
	invariant(logs_in == (config->health.user[0] != '\0'));
	invariant(logs_in == (config->health.password.length > 0));
	check_hosts(&routing->url_hosts);
	check_hosts(&routing->referrals);
}

static void check_round_trip(const struct config *config)
{
	char *first = print(config);
	char *faults;
	struct config *again = load(first, &faults);
	char *second;

	invariant(again != NULL && faults[0] == '\0');
	second = print(again);
	invariant(strcmp(first, second) == 0);
	for (size_t i = 0; i < config->routing.user_count; i++) {
		invariant(config_find_user(config, config->routing.users[i].name) ==
			  config->routing.users[i].backend);
	}
	free(second);
	free(faults);
	free(first);
	config_unref(again);
}

static void check_faults(const char *faults)
{
	unsigned long last = 0;

	for (const char *line = faults; *line != '\0';) {
		const char *end = strchr(line, '\n');
		unsigned row;
		unsigned column;

		invariant(end != NULL);
		for (const char *at = line; at < end; at++) {
			invariant(*at >= 0x20 && *at < 0x7F);
		}
		invariant(sscanf(line, "f:%u:%u: ", &row, &column) == 2);
		invariant(row > 0 && column > 0);
		if (strstr(line, " more faults are not shown\n") == NULL) {
			invariant(row * 65536UL + column >= last);
			last = row * 65536UL + column;
		}
		line = end + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *faults;
	struct config *config;

	memcpy(text, data, size);
	text[size] = '\0';
	config = load(text, &faults);
	invariant((config == NULL) == (faults[0] != '\0'));
	check_faults(faults);
	if (config != NULL) {
		check_front(config);
		check_backends(config);
		check_redis(&config->redis);
		check_routing(config);
		check_round_trip(config);
	}
	config_unref(config);
	free(faults);
	free(text);
	return 0;
}
