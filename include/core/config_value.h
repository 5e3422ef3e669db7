/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that stand in several parts of a configuration (core/config.h).
 */
#ifndef GATEPOST_CORE_CONFIG_VALUE_H
#define GATEPOST_CORE_CONFIG_VALUE_H

#include <stddef.h>

struct addr;
struct cidr;

enum config_tls { CONFIG_TLS_NONE, CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT };

/* struct config_place is where the file says something, so that whoever reads on may name it: line
 * and column count from 1, columns in characters. 0 is "nowhere". */
struct config_place {
	unsigned line;
	unsigned column;
};

/* Lists are in the order of the file, without twins. Zero is the empty list. */
struct config_texts {
	char **texts;
	size_t count;
};

struct config_addresses {
	struct addr *addresses; /* without ports */
	size_t count;
};

/* Hosts that are allowed: names ("mail.example.org"), all below a domain ("*.example.org"), and
 * networks, which are for hosts that are written as addresses. Zero is the empty list. */
struct config_hosts {
	struct config_texts names; /* in lower case */
	struct cidr *networks;
	size_t network_count;
};

struct config_networks {
	struct cidr *networks;
	size_t count;
};

#endif
