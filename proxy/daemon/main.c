/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of gatepost: what was asked, and nothing else.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "core/config.h"
#include "daemon/process.h"
#include "net/tls.h"

#define DEFAULT_FILE "/etc/gatepost/config.toml"

enum action { ACTION_RUN, ACTION_CHECK, ACTION_PRINT, ACTION_DUMP, ACTION_VERSION, ACTION_HELP };

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check", no_argument, NULL, ACTION_CHECK},
	{"print-config", no_argument, NULL, ACTION_PRINT},
	{"dump-defaults", no_argument, NULL, ACTION_DUMP},
	{"version", no_argument, NULL, ACTION_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_help(FILE *out)
{
	fputs("Usage: gatepost [-c FILE] [--check | --print-config]\n"
	      "       gatepost --dump-defaults | --version | --help\n"
	      "\n"
	      "A TLS-terminating IMAP proxy that takes each user to their own backend.\n"
	      "\n"
	      "  -c, --config FILE  read FILE instead of " DEFAULT_FILE "\n"
	      "      --check        check the configuration, certificates included; print every\n"
	      "                     fault and exit 2, or \"ok\" and exit 0\n"
	      "      --print-config print the configuration in force\n"
	      "      --dump-defaults\n"
	      "                     print every option with its default\n"
	      "      --version      print the version\n"
	      "  -h, --help         print this\n"
	      "\n"
	      "Signals: SIGTERM drains, a second SIGTERM or SIGINT stops at once.\n"
	      "Exit status: 0 stopped as asked, 1 failed at run time, 2 bad configuration or "
	      "usage.\n",
	      out);
}

/* The sockets of sessions must never be numbered 0 to 2: something would print into them. */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO) {
		close(fd);
	}
}

/* False when the command line makes no sense; getopt has said why. */
static bool read_command_line(int argc, char **argv, enum action *action, const char **file)
{
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			*file = optarg;
			break;
		case 'h':
			*action = ACTION_HELP;
			break;
		case '?':
			return false;
		default:
			*action = (enum action)option;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gatepost: unexpected argument \"%s\"\n", argv[optind]);
		return false;
	}
	return true;
}

static enum process_status act_on_config(enum action action, const char *file)
{
	struct config *config = config_load(file, stderr);
	enum process_status status = PROCESS_STOPPED;

	if (config == NULL) {
		return PROCESS_USAGE;
	}
	if (action == ACTION_PRINT) {
		config_print(config, stdout);
	} else {
		status = process_check(config, file);
	}
	if (status == PROCESS_STOPPED && action == ACTION_CHECK) {
		puts("ok");
	} else if (status == PROCESS_STOPPED && action == ACTION_RUN) {
		status = process_run(config);
	}
	config_unref(config);
	return status;
}

int main(int argc, char **argv)
{
	enum action action = ACTION_RUN;
	const char *file = DEFAULT_FILE;

	fill_standard_descriptors();
	if (!read_command_line(argc, argv, &action, &file)) {
		fputs("Try gatepost --help.\n", stderr);
		return PROCESS_USAGE;
	}
	switch (action) {
	case ACTION_HELP:
		print_help(stdout);
		return PROCESS_STOPPED;
	case ACTION_VERSION:
		printf("gatepost %s\n%s\n", GATEPOST_VERSION, tls_library_version());
		return PROCESS_STOPPED;
	case ACTION_DUMP:
		config_dump_defaults(stdout);
		return PROCESS_STOPPED;
	default:
		return act_on_config(action, file);
	}
}
