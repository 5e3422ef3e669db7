/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration as the rest of the house sees it: a checked, immutable snapshot of one TOML
 * file. core/options.def is the table from which the parser, the checks and the defaults come;
 * nobody else interprets TOML.
 */
#ifndef GATEPOST_CORE_CONFIG_H
#define GATEPOST_CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/base.h"
#include "base/cidr.h"
#include "base/secret.h"

/* Bounds of the file itself, of what may be repeated in it, of the words of a lookup command, and
 * of a user name once it is normalised. */
#define CONFIG_FILE_MAX         (16 << 20)
#define CONFIG_TABLES_MAX       4096
#define CONFIG_LOOKUP_WORDS_MAX 16
#define CONFIG_USER_MAX         255

enum config_tls { CONFIG_TLS_NONE, CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT };
enum config_login { CONFIG_LOGIN_SAME, CONFIG_LOGIN_LOGIN, CONFIG_LOGIN_PLAIN };
enum config_client_name { CONFIG_CLIENT_NAME_EMAIL, CONFIG_CLIENT_NAME_CN };
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_LOGFMT, CONFIG_LOG_JSON };
enum config_source { CONFIG_SOURCE_REDIS, CONFIG_SOURCE_STATIC };
enum config_unknown { CONFIG_UNKNOWN_REJECT };
enum config_user_case { CONFIG_USER_LOWER, CONFIG_USER_KEEP };
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

struct config_process {
	unsigned workers; /* 0 = one per CPU */
	char *user;       /* "" = stay */
	uint64_t drain_timeout_ms;
	unsigned max_sessions; /* 0 = what RLIMIT_NOFILE allows */
};

struct config_log {
	enum config_log_level level;
	enum config_log_format format;
};

struct config_texts {
	char **texts;
	size_t count;
};

struct config_networks {
	struct cidr *networks;
	size_t count;
};

struct config_listener {
	struct endpoint address; /* ENDPOINT_IP or ENDPOINT_UNIX */
	enum config_tls tls;
	bool allow_plaintext;
	bool proxy_protocol;
	struct config_networks trusted;
	unsigned mechanisms; /* set of SASL_BIT that may be offered */
	char *capabilities;  /* atoms announced before login; "" = what the backends have in common
			      */
};

/* struct config_place is where the file says something, so that who reads on may name it. */
struct config_place {
	unsigned line;
	unsigned column;
};

struct config_certificate {
	char *chain; /* path of a PEM file: leaf first */
	char *key;   /* path of a PEM file */
	struct config_texts names; /* none: those in the certificate */
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

struct config_redis {
	struct endpoint address; /* host, IP or Unix socket */
	char *user;              /* "" = none (AUTH password) */
	char *password;          /* "" = no AUTH */
	unsigned database;
	uint64_t timeout_ms;
};

/* A user of [routing.users]; `backend` is an index into config.backends. */
struct config_user {
	char *name; /* normalised as user_case and default_domain say */
	size_t backend;
};

struct config_routing {
	enum config_source source;
	char *lookup; /* checked: reads only, has a placeholder, words with single spaces */
	enum config_user_case user_case;
	enum config_unknown unknown;
	char *default_domain;
	char *url_ca; /* path of a PEM file, "" = the system's */
	struct config_place url_ca_place;
	struct config_user *users; /* sorted by name */
	size_t user_count;
};

struct config_backend {
	char *name; /* letters, digits, '-', '_' and '.': never mistaken for a URL */
	struct endpoint address;
	enum config_tls tls;
	bool verify;
	char *ca;           /* path of a PEM file, "" = the system's */
	char *server_name;  /* "" = the host of the address */
	char *client_chain; /* path of a PEM file, "" = none */
	char *client_key;   /* path of a PEM file */
	bool send_proxy;
	bool send_id;
	bool ask_capability;
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

struct config_limits {
	uint64_t handshake_timeout_ms; /* TLS handshake */
	uint64_t login_timeout_ms;     /* from accept to a login, whatever the client sends */
	uint64_t close_timeout_ms; /* to flush and linger, and the rest of a half-closed session */
	uint64_t peer_timeout_ms;  /* TCP: a peer that acknowledges nothing for so long is gone */
	uint64_t preauth_line;     /* bytes, of a command */
	uint64_t sasl_line;        /* bytes, of a line of an AUTHENTICATE */
	unsigned sasl_lines;       /* lines longer than 8 KiB that a worker keeps at a time */
	uint64_t literal;          /* bytes, of a literal of LOGIN */
	unsigned tag;              /* octets */
	unsigned id_pairs;
	unsigned bad_commands; /* in a row; three times as many in all */
	unsigned commands;     /* before the login */
	uint64_t failure_delay_ms; /* a refused login is answered so long after it was asked */
	unsigned login_failures;   /* on one connection, then BYE */
};

/* struct config is reference-counted and never changes after config_load. */
struct config {
	struct config_process process;
	struct config_log log;
	struct config_listener *listeners;
	size_t listener_count;
	struct config_tls_front tls;
	struct config_redis redis;
	struct config_routing routing;
	struct config_backend *backends;
	size_t backend_count;
	struct config_limits limits;
	int references; /* atomic; config.c only */
};

/* config_load reads and checks a file of at most CONFIG_FILE_MAX bytes. Every fault, not only the
 * first, is written to `faults` as `FILE:LINE:COL: what is wrong, what would be right`. NULL when
 * there was one. The caller owns one reference. Certificates are loaded by net/tls.h. */
must_use struct config *config_load(const char *path, FILE *faults);

/* config_load_text does the same for text in memory; `name` stands where the file's name would. */
must_use struct config *config_load_text(const char *text, const char *name, FILE *faults);

struct config *config_ref(struct config *config);

/* config_unref gives back one reference; the last one frees, wiping passwords. NULL is fine. */
void config_unref(struct config *config);

/* config_print writes the effective configuration as TOML. It reads back to the same values, but
 * for the Redis password, of which only "***" is shown. */
void config_print(const struct config *config, FILE *out);

/* config_dump_defaults writes every option with its default and its sentence, as TOML. */
void config_dump_defaults(FILE *out);

#endif
