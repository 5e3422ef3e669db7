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
#include "core/config_backend.h"
#include "core/config_front.h"
#include "core/config_pool.h"
#include "core/config_redis.h"
#include "core/config_routing.h"

/* Bounds of the file itself, and of what may be repeated in it. */
#define CONFIG_FILE_MAX   (16 << 20)
#define CONFIG_TABLES_MAX 4096

enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_LOGFMT, CONFIG_LOG_JSON };

struct config_process {
	char *node;       /* what this proxy is called in the fleet, "" = the host's name */
	unsigned workers; /* 0 = one per CPU */
	char *user;       /* "" = stay */
	uint64_t drain_timeout_ms;
	unsigned max_sessions; /* 0 = what RLIMIT_NOFILE allows */
};

struct config_log {
	enum config_log_level level;
	enum config_log_format format;
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
