/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration says of the side of the clients: listeners and TLS.
 */
#ifndef GATEPOST_CORE_CONFIG_FRONT_H
#define GATEPOST_CORE_CONFIG_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cidr.h"
#include "core/config_value.h"

enum config_client_name { CONFIG_CLIENT_NAME_EMAIL, CONFIG_CLIENT_NAME_CN };
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

struct config_listener {
	struct endpoint address; /* ENDPOINT_IP or ENDPOINT_UNIX */
	enum config_tls tls;
	bool allow_plaintext; /* then `tls` is none */
	bool proxy_protocol;  /* then `trusted` is not empty */
	struct config_networks trusted;
	unsigned mechanisms; /* set of SASL_BIT that may be offered */
	char *capabilities;  /* atoms announced before login; "" = those that all backends have */
};

struct config_certificate {
	char *chain;               /* path of a PEM file: leaf first */
	char *key;                 /* path of a PEM file */
	struct config_texts names; /* in lower case; none: those in the certificate */
	char *ocsp;                /* path of a DER file, "" = none */
	struct config_place chain_place;
	struct config_place key_place;
	struct config_place ocsp_place;
};

struct config_tls_front {
	enum config_tls_version min_version;
	bool alpn;
	bool tickets;
	uint64_t ticket_lifetime_ms;
	char *client_ca; /* path of a PEM file, "" = clients are not asked for certificates */
	enum config_client_name client_name;
	struct config_place client_ca_place;
	struct config_certificate *certificates; /* the first serves where no name fits */
	size_t certificate_count;
};

#endif
