/* SPDX-License-Identifier: Apache-2.0
 *
 * The process: from a checked configuration to running workers, and from a signal to the end.
 */
#ifndef GATEPOST_DAEMON_PROCESS_H
#define GATEPOST_DAEMON_PROCESS_H

struct config;

/* Exit statuses of the program. */
enum process_status {
	PROCESS_STOPPED = 0, /* ended as asked */
	PROCESS_FAILED = 1,  /* failed at run time: an address in use, a refused privilege */
	PROCESS_USAGE = 2,   /* bad configuration or command line */
};

/* process_run binds, drops privileges, starts the workers, and returns when they have ended:
 * SIGTERM drains, a second one or SIGINT ends at once. Borrows `config`. Says on standard error
 * why it could not begin. */
enum process_status process_run(struct config *config);

/* process_check loads the certificates and keys, and writes what is wrong with them to standard
 * error, as faults of `file`. */
enum process_status process_check(const struct config *config, const char *file);

#endif
