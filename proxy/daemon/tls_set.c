/* SPDX-License-Identifier: Apache-2.0
 *
 * From files to TLS: what the configuration names is loaded, or only looked at.
 */
#include "daemon/tls_set.h"

#include <stdlib.h>

#include "core/config.h"
#include "core/log.h"
#include "net/tls.h"
#include "net/tls_client.h"

static bool wants_front(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		if (config->listeners[i].tls != CONFIG_TLS_NONE) {
			return true;
		}
	}
	return false;
}

/* Redis names backends by URLs, and so do those that refer users elsewhere. */
static bool wants_urls(const struct config *config)
{
	const struct config_hosts *referrals = &config->routing.referrals;

	return config->routing.source == CONFIG_SOURCE_REDIS || referrals->names.count > 0 ||
	       referrals->network_count > 0;
}

static struct tls_client_settings settings_of(const struct config_backend *backend)
{
	return (struct tls_client_settings){
		.verify = backend->verify,
		.ca = backend->ca,
		.chain = backend->client_chain,
		.key = backend->client_key,
	};
}

static bool wants_redis(const struct config *config)
{
	return config->routing.source == CONFIG_SOURCE_REDIS && config->redis.tls;
}

static struct tls_client_settings settings_of_redis(const struct config_redis *redis)
{
	return (struct tls_client_settings){
		.verify = redis->verify,
		.ca = redis->ca,
		.chain = redis->client_chain,
		.key = redis->client_key,
	};
}

static struct tls_client_settings settings_of_urls(const struct config *config)
{
	return (struct tls_client_settings){
		.verify = true,
		.ca = config->routing.url_ca,
		.chain = "",
		.key = "",
	};
}

/* --- Loading -------------------------------------------------------------------------------- */

static bool load_backends(struct tls_set *set, const struct config *config, struct error *error)
{
	set->backends = calloc(config->backend_count + 1, sizeof(struct tls_client *));
	if (set->backends == NULL) {
		return error_set(error, "out of memory");
	}
	set->backend_count = config->backend_count;
	for (size_t i = 0; i < config->backend_count; i++) {
		struct tls_client_settings settings = settings_of(&config->backends[i]);
		enum tls_client_fault fault;

		if (config->backends[i].tls == CONFIG_TLS_NONE) {
			continue;
		}
		set->backends[i] = tls_client_new(set->trust, &settings, &fault, error);
		if (set->backends[i] == NULL) {
			return false;
		}
	}
	return true;
}

/* A system without authorities is none of our faults as long as no URL wants them: then that login
 * says so. */
static bool load_urls(struct tls_set *set, const struct config *config, struct error *error)
{
	struct tls_client_settings settings = settings_of_urls(config);
	enum tls_client_fault fault;
	struct error why = {0};

	set->urls = tls_client_new(set->trust, &settings, &fault, &why);
	if (set->urls != NULL) {
		return true;
	}
	if (settings.ca[0] != '\0') {
		return error_set(error, "%s", why.text);
	}
	log_debug("no authorities for imaps:// routes", log_text("detail", why.text));
	return true;
}

static bool load_redis(struct tls_set *set, const struct config *config, struct error *error)
{
	struct tls_client_settings settings = settings_of_redis(&config->redis);
	enum tls_client_fault fault;

	set->redis = tls_client_new(set->trust, &settings, &fault, error);
	return set->redis != NULL;
}

bool tls_set_load(struct tls_set *set, const struct config *config, struct error *error)
{
	if (wants_front(config)) {
		set->front = tls_store_new(&config->tls, error);
		if (set->front == NULL) {
			return false;
		}
	}
	set->trust = tls_client_trust_new();
	if (set->trust == NULL) {
		return error_set(error, "out of memory");
	}
	return load_backends(set, config, error) &&
	       (!wants_redis(config) || load_redis(set, config, error)) &&
	       (!wants_urls(config) || load_urls(set, config, error));
}

void tls_set_done(struct tls_set *set)
{
	for (size_t i = 0; i < set->backend_count; i++) {
		tls_client_free(set->backends[i]);
	}
	free(set->backends);
	tls_client_free(set->redis);
	tls_client_free(set->urls);
	tls_client_trust_free(set->trust);
	tls_store_free(set->front);
	*set = (struct tls_set){0};
}

/* --- Checking ------------------------------------------------------------------------------- */

/* struct checking is what the functions below hand down. */
struct checking {
	const char *file;
	FILE *out;
	struct tls_client_trust *trust;
	bool fine;
};

static void report(struct checking *checking, struct config_place place, const struct error *error)
{
	fprintf(checking->out, "%s:%u:%u: %s\n", checking->file, place.line, place.column,
		error->text);
	checking->fine = false;
}

static void check_certificate(struct checking *checking,
			      const struct config_certificate *certificate)
{
	struct error error = {0};

	switch (tls_check_certificate(certificate, &error)) {
	case TLS_LOADED:
		break;
	case TLS_BAD_KEY:
		report(checking, certificate->key_place, &error);
		break;
	case TLS_BAD_OCSP:
		report(checking, certificate->ocsp_place, &error);
		break;
	default:
		report(checking, certificate->chain_place, &error);
	}
}

static void check_front(struct checking *checking, const struct config_tls_front *front)
{
	struct error error = {0};

	for (size_t i = 0; i < front->certificate_count; i++) {
		check_certificate(checking, &front->certificates[i]);
	}
	if (front->client_ca[0] != '\0' &&
	    tls_check_client_ca(front->client_ca, &error) != TLS_LOADED) {
		report(checking, front->client_ca_place, &error);
	}
}

/* struct places is where the files of a client are named. */
struct places {
	struct config_place ca;
	struct config_place chain;
	struct config_place key;
};

static void check_client(struct checking *checking, const struct tls_client_settings *settings,
			 const struct places *places)
{
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct error error = {0};
	struct tls_client *client = tls_client_new(checking->trust, settings, &fault, &error);

	switch (fault) {
	case TLS_CLIENT_FINE:
		break;
	case TLS_CLIENT_CA:
		report(checking, places->ca, &error);
		break;
	case TLS_CLIENT_CHAIN:
		report(checking, places->chain, &error);
		break;
	case TLS_CLIENT_KEY:
		report(checking, places->key, &error);
		break;
	}
	tls_client_free(client);
}

static void check_redis(struct checking *checking, const struct config *config)
{
	const struct config_redis *redis = &config->redis;
	struct tls_client_settings settings = settings_of_redis(redis);
	struct places places = {redis->ca_place, redis->client_chain_place,
				redis->client_key_place};

	if (wants_redis(config)) {
		check_client(checking, &settings, &places);
	}
}

static void check_urls(struct checking *checking, const struct config *config)
{
	struct tls_client_settings settings = settings_of_urls(config);
	enum tls_client_fault fault = TLS_CLIENT_FINE;
	struct error error = {0};
	struct tls_client *client;

	if (config->routing.url_ca[0] == '\0') {
		return;
	}
	client = tls_client_new(checking->trust, &settings, &fault, &error);
	if (client == NULL) {
		report(checking, config->routing.url_ca_place, &error);
	}
	tls_client_free(client);
}

static void check_backends(struct checking *checking, const struct config *config)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		const struct config_backend *backend = &config->backends[i];
		struct tls_client_settings settings = settings_of(backend);
		struct places places = {backend->ca_place, backend->client_chain_place,
					backend->client_key_place};

		if (backend->tls != CONFIG_TLS_NONE) {
			check_client(checking, &settings, &places);
		}
	}
}

bool tls_set_check(const struct config *config, const char *file, FILE *faults)
{
	struct checking checking = {
		.file = file,
		.out = faults,
		.trust = tls_client_trust_new(),
		.fine = true,
	};

	if (checking.trust == NULL) {
		fprintf(faults, "%s: out of memory\n", file);
		return false;
	}
	check_front(&checking, &config->tls);
	check_redis(&checking, config);
	check_backends(&checking, config);
	check_urls(&checking, config);
	tls_client_trust_free(checking.trust);
	return checking.fine;
}
