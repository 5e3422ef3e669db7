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
#include "base/secret.h"
#include "core/config_backend.h"
#include "core/config_front.h"
#include "core/config_redis.h"
#include "core/config_value.h"

/* Bounds of the file itself, of what may be repeated in it, of the words of a lookup command, and
 * of a user name once it is normalised. */
#define CONFIG_FILE_MAX         (16 << 20)
#define CONFIG_TABLES_MAX       4096
#define CONFIG_LOOKUP_WORDS_MAX 16
#define CONFIG_USER_MAX         255

enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_LOGFMT, CONFIG_LOG_JSON };
enum config_source { CONFIG_SOURCE_REDIS, CONFIG_SOURCE_STATIC };
enum config_unknown {
	CONFIG_UNKNOWN_REJECT,
	CONFIG_UNKNOWN_HASH,
	CONFIG_UNKNOWN_ASSIGN,
	CONFIG_UNKNOWN_BACKEND
};
enum config_user_case { CONFIG_USER_LOWER, CONFIG_USER_KEEP };

struct config_process {
	char *node; /* what this proxy is called in the fleet, "" = the host's name */
	unsigned workers; /* 0 = one per CPU */
	char *user;       /* "" = stay */
	uint64_t drain_timeout_ms;
	unsigned max_sessions; /* 0 = what RLIMIT_NOFILE allows */
};

struct config_log {
	enum config_log_level level;
	enum config_log_format format;
};

/* A user of [routing.users]; `backend` is an index into config.backends. */
struct config_user {
	char *name; /* normalised as user_case and default_domain say */
	size_t backend;
};

/* A share of those whom unknown = "hash" places; `share` is 0 where there is none. */
struct config_canary {
	size_t backend;     /* index into config.backends */
	unsigned share;     /* in hundredths of a percent */
};

struct config_routing {
	enum config_source source;
	char *lookup; /* checked: reads only, has a placeholder, words with single spaces */
	enum config_user_case user_case;
	enum config_unknown unknown;
	size_t unknown_backend; /* index, CONFIG_UNKNOWN_BACKEND only */
	bool failover;          /* to the next by rank, of those placed by hash or assign */
	char *default_domain;
	uint64_t cache_ttl_ms;
	uint64_t unknown_ttl_ms; /* of "no such user" */
	uint64_t stale_ttl_ms;
	unsigned cache_routes; /* at most */
	struct config_canary canary;
	unsigned canary_threshold;       /* percent of failing logins beyond those elsewhere */
	char *url_ca;                    /* path of a PEM file, "" = the system's */
	struct config_hosts url_hosts;   /* that a URL may name; none = any */
	struct config_hosts referrals;   /* hosts that a REFERRAL may name; none = none is followed */
	struct config_place url_ca_place;
	struct config_user *users; /* sorted by name */
	size_t user_count;
};

enum config_check { CONFIG_CHECK_NONE, CONFIG_CHECK_CONNECT, CONFIG_CHECK_GREETING, CONFIG_CHECK_LOGIN };

struct config_health {
	enum config_check check;
	uint64_t interval_ms;
	unsigned rise;
	unsigned fall;
	char *user; /* of CONFIG_CHECK_LOGIN, and only then not "" */
	struct secret password;
	unsigned witnesses; /* clients whose logins must fail to mark a backend down; 0 = never */
};

struct config_moves {
	uint64_t kick_grace_ms;   /* a session that shall end does so when quiet, or then */
	uint64_t hold_timeout_ms; /* how long a login waits */
	uint64_t hold_line_ms;    /* between the lines that a waiting client gets */
	uint64_t release_spread_ms; /* logins that waited go on within so long */
	unsigned max_parked;      /* logins that wait at a time */
	unsigned drain_rate;      /* sessions a second that a kicking drain ends */
	unsigned disconnect_rate; /* sessions a second that end when their backend dies; 0 = at once */
	uint64_t disconnect_spread_ms; /* the longest that one of them waits */
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
	unsigned bad_commands;     /* in a row; three times as many in all */
	unsigned commands;         /* before the login */
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
	struct config_health health;
	struct config_moves moves;
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
 * for passwords, of which only "***" is shown. */
void config_print(const struct config *config, FILE *out);

/* config_dump_defaults writes every option with its default and its sentence, as TOML. */
void config_dump_defaults(FILE *out);

#endif
