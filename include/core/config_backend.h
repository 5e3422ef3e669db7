/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration says of one backend.
 */
#ifndef GATEPOST_CORE_CONFIG_BACKEND_H
#define GATEPOST_CORE_CONFIG_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/secret.h"
#include "core/config_value.h"

enum config_login { CONFIG_LOGIN_SAME, CONFIG_LOGIN_LOGIN, CONFIG_LOGIN_PLAIN };

/* struct config_backend: only where `tls` is on, the options of TLS say something. A certificate
 * has its key, and a master user a password. */
struct config_backend {
	char *name; /* letters, digits, '-', '_' and '.': never mistaken for a URL */
	struct endpoint address;
	char *service;   /* of "srv:" its name, and `address` is ENDPOINT_NONE; "" otherwise */
	unsigned weight; /* for hash and assign; 0 = only users routed here by name */
	struct config_addresses sources; /* of connections to it; none = the system chooses */
	unsigned connect_rate;           /* connections a second, 0 = no limit */
	uint64_t connect_queue_ms;       /* the longest that one waits for its turn */
	uint64_t slow_start_ms;          /* until all of connect_rate is used, once it is up */
	enum config_tls tls;
	bool verify;
	char *ca;           /* path of a PEM file, "" = the system's */
	char *server_name;  /* "" = the host of the address */
	char *client_chain; /* path of a PEM file, "" = none */
	char *client_key;   /* path of a PEM file */
	bool send_proxy;
	bool send_id;
	bool ask_capability;
	bool probe;
	enum config_login login;
	char *user;        /* template */
	char *master_user; /* "" = none */
	struct secret master_password;
	uint64_t connect_timeout_ms;
	uint64_t login_timeout_ms; /* greeting, and then the login, each at most so long */
	struct config_place ca_place;
	struct config_place client_chain_place;
	struct config_place client_key_place;
};

#endif
