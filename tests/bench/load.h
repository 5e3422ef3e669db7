/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator's three parts as they see each other: connections (load_connection.c) carry
 * bytes and lines, modes (load_modes.c) decide what is asked and when, the report (load_report.c)
 * counts.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <ev.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CIPHER_BYTES (64 * 1024)
#define CLEAR_BYTES  (32 * 1024)
#define UPLOAD_BLOCK (16 * 1024) /* one full TLS record */
#define ACCOUNTS_MAX 4

enum mode { MODE_LOGIN, MODE_IDLE, MODE_DOWNLOAD, MODE_UPLOAD, MODE_NOOP };

enum step {
	STEP_CLOSED,
	STEP_CONNECT,
	STEP_HANDSHAKE,
	STEP_GREETING,
	STEP_LOGIN,
	STEP_WORK,
	STEP_REST, /* idle, or waiting for an operation to be due */
	STEP_LOGOUT
};

struct options {
	enum mode mode;
	struct sockaddr_in address;
	bool tls;
	bool resume;
	unsigned sessions;
	unsigned concurrency; /* logins at once while the sessions are opened */
	unsigned users;
	const char *prefix; /* of their names */
	bool announce;
	unsigned sources;
	double rate; /* operations per second; 0 = closed loop */
	double warmup;
	double seconds;
	uint64_t bytes;
};

struct account {
	char name[16];
	char *pids; /* joined with commas */
};

/* What is counted; a window is the difference of two. */
struct counts {
	double time;
	double cpu_self;
	double cpu[ACCOUNTS_MAX];
	uint64_t operations;
	uint64_t resumed;
	uint64_t failed;
	uint64_t unclean; /* TLS ends without close_notify */
	uint64_t bytes_in;
	uint64_t bytes_out;
};

struct connection {
	struct load *load;
	ev_io watcher;
	int fd;
	enum step step;
	SSL *ssl;
	SSL_SESSION *ticket;
	double due; /* when the operation in flight should have begun */
	uint64_t literal_left;
	uint64_t upload_left;
	unsigned output_length;
	unsigned line_length;
	char output[128];
	char line[256];
};

struct load {
	struct options options;
	struct account accounts[ACCOUNTS_MAX];
	unsigned account_count;
	struct ev_loop *loop;
	SSL_CTX *tls;
	BIO_METHOD *bio;
	struct connection *connections;
	struct connection **resting; /* ring of those that wait for an open-loop operation */
	unsigned resting_first;
	unsigned resting_count;
	unsigned serial;  /* connections opened so far */
	unsigned opening; /* of them, not yet working */
	unsigned ready;
	unsigned lost;    /* idle sessions that ended by themselves */
	double lost_last; /* when the last of them did */
	uint64_t issued;  /* open loop: operations begun in the window */
	uint64_t answered;
	double next_due;
	bool measuring;
	struct counts now;
	struct counts begin;
	struct counts end;
	double *latencies;
	size_t latency_count;
	size_t latency_room;
	char protocol[64];
	char last_failure[256];
	ev_timer timer;
	ev_io ticks;
	uint8_t cipher[CIPHER_BYTES]; /* received TLS bytes of the connection that is being read */
	unsigned cipher_start;
	unsigned cipher_length;
	uint8_t clear[CLEAR_BYTES];
	uint8_t block[UPLOAD_BLOCK];
};

/* load_fatal says why and exits with 1. */
void load_fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* --- load_report.c --- */

extern const char *const mode_names[MODE_NOOP + 1];

/* now_seconds is the monotonic clock. */
double now_seconds(void);

/* counts_take notes the counters, the time and the CPU accounts of this moment. */
void counts_take(struct load *load, struct counts *counts);

/* record_latency notes one answered operation, if it was due in the measured window. */
void record_latency(struct load *load, double due);

/* print_lost writes what became of idle sessions, as one line of JSON. */
void print_lost(const struct load *load);

/* print_result writes the window as one line of JSON. */
void print_result(struct load *load);

/* --- load_connection.c --- */

void load_init_tls(struct load *load);

/* The functions that return bool return false when the connection has ended, or was replaced. */
bool connection_open(struct connection *connection, double due);
bool connection_command(struct connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool connection_fail(struct connection *connection, const char *why);

/* --- load_modes.c --- */

/* load_start begins what the options ask for. */
void load_start(struct load *load);

/* connection_line acts on one line of the server, in connection->line. */
bool connection_line(struct connection *connection);

/* connection_lost is told that an idle session has ended by itself. */
void connection_lost(struct connection *connection);

/* connection_replace is what follows the end of a connection, wanted or not. */
void connection_replace(struct connection *connection);

#endif
